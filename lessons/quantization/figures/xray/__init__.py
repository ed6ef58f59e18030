"""FIG.05B: 256 real weights in a block format, bit by bit: every byte, every weight, and what holds what."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice, switch
from lessons.kit.figure import Figure
from lessons.kit.mathml import tex
from lessons.kit.own import Own
from lessons.kit.scales import Scale
from lessons.kit.view import Column, Limit, PlotScales, Readout, Sentence, Table, View
from lessons.quantization.anatomy import (
    FORMATS,
    Anatomy,
    Decoded,
    Term,
    byte_roles,
    decode,
    digits,
    flipped,
    weight_bytes,
)
from lessons.quantization.anatomy import SIZE as WEIGHTS
from lessons.quantization.super_blocks import SUPER_BLOCKS, SuperBlock, super_block
from quant_core import ggml
from quant_core.ggml import ByteRole, codebooks
from quant_core.methods import metrics

COLUMNS = 16
"""Cells of a line, of bytes as of weights."""

KINDS = {
    **dict.fromkeys(("d", "dmin", "m", "e"), "of-float"),
    **dict.fromkeys(("scales", "scales_h", "scales_l"), "of-scale"),
}
"""The look of bytes that say how to read the codes, by ggml's name of the field."""

LOUD = 3.0
"""A channel this many times as important as the block's average is marked."""

INSIDE = 0.52
"""From this share of its row on a bar has room for its own label."""

COMMIT = "0c1e570"
"""llama.cpp's commit that wrote the reference bytes."""

COMPARED_BYTES = {
    "Q4_0": 350784,
    "Q4_1": 389760,
    "Q5_0": 428736,
    "Q5_1": 467712,
    "Q8_0": 309536,
    "Q2_K": 204960,
    "Q3_K": 268400,
    "Q4_K": 351360,
    "Q5_K": 429440,
    "Q6_K": 512400,
    "IQ4_NL": 351360,
    "IQ4_XS": 331840,
    "IQ3_S": 50160,
    "IQ3_XXS": 44688,
    "IQ2_S": 37392,
    "IQ2_XS": 16872,
    "IQ2_XXS": 15048,
    "IQ1_M": 25536,
    "IQ1_S": 11400,
    "MXFP4": 154768,
    "NVFP4": 164160,
    "TQ2_0": 30096,
    "TQ1_0": 24624,
    "Q2_0": 32832,
    "Q1_0": 16416,
}
"""Bytes of llama.cpp's own that the tests hold against `quantize`, all equal."""

WITHOUT_SEARCH = frozenset({"Q8_0", "MXFP4", "NVFP4", "TQ2_0", "TQ1_0", "Q2_0", "Q1_0"})
"""Formats that an importance matrix leaves as they are."""

WORD_JOINER = "\u2060"

CODE_FIELDS = ("codes", "indices", "packed")

HALVES = ("low", "high")
"""Nibbles of a byte."""

FLIPS = ("none", *(str(bit) for bit in range(8)))

MOST_BYTES = max(form.bytes for form in FORMATS.values())
GROUPS = {
    "Q4_0 – Q8_0": ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"),
    "Q2_K – Q6_K": ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"),
    "IQ4_NL – IQ1_S": (
        "IQ4_NL",
        "IQ4_XS",
        "IQ3_S",
        "IQ3_XXS",
        "IQ2_S",
        "IQ2_XS",
        "IQ2_XXS",
        "IQ1_M",
        "IQ1_S",
    ),
    "MXFP4, NVFP4": ("MXFP4", "NVFP4"),
    "TQ2_0 – Q1_0": ("TQ2_0", "TQ1_0", "Q2_0", "Q1_0"),
}
"""The formats in the menu."""

SYMBOLS = {"d": "d", "scales": "sc[{}]", "indices": "k[{}]", "signs": "s[{}]", "shifts": "δ[{}]"}
"""What the numbers of a type with a codebook are called."""

PICKS = (*(f"byte-{i}" for i in range(MOST_BYTES)), *(f"weight-{i}" for i in range(WEIGHTS)))


class Controls(FigureControls):
    format: str = choice("Q4_K", FORMATS, together=3, groups=GROUPS)
    importance: bool = switch(False)
    block: str = choice("ffn_in", SUPER_BLOCKS)
    pick: str = choice("weight-5", PICKS, style="drawn", together=16)
    flip: str = choice("none", FLIPS, style="drawn")


class Errors(NamedTuple):
    """Squared errors relative to the squared weights; `weighted` counts each by its channel's importance."""

    plain: float
    weighted: float | None


class Picked(NamedTuple):
    """What is looked at: `kind` "byte" or "weight", and the byte and the weight that are shown with it."""

    kind: str
    byte: int
    weight: int

    @property
    def value(self) -> str:
        return f"byte-{self.byte}" if self.kind == "byte" else f"weight-{self.weight}"


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """256 weights as written and, where a bit is turned, as read then; the read-outs have their names.

    `moved` is how far every weight moved. The read-outs of a weight are of the picked one; `weighted_error`
    is "none" where there is no importance.
    """

    controls: Controls
    block: SuperBlock
    before: Decoded
    after: Decoded
    moved: NDArray[np.float64]
    picked: Picked
    bytes: int
    bits_per_weight: float
    value: float
    original: float
    error: float
    plain_error: float
    weighted_error: float | str


def compute(controls: Controls) -> Result:
    """Write 256 real weights as llama.cpp does, turn a bit, and read them back."""
    before = encoded(controls.block, controls.importance, controls.format)
    return turned(controls, super_block(controls.block), before)


def turned(controls: Controls, block: SuperBlock, before: Decoded) -> Result:
    """Turn the chosen bit of the picked byte, and measure what became of the weights."""
    picked = picked_by(controls)
    after = before if controls.flip == "none" else flipped(before, picked.byte, int(controls.flip))
    original, value = float(block.weights[picked.weight]), float(after.weights[picked.weight])
    errors = measure(block, after.weights)
    return Result(
        controls,
        block,
        before,
        after,
        after.weights.astype(np.float64) - before.weights.astype(np.float64),
        picked,
        bytes=before.data.size,
        bits_per_weight=ggml.FORMATS[controls.format].bits_per_weight,
        value=value,
        original=original,
        error=value - original,
        plain_error=errors.plain,
        weighted_error="none" if errors.weighted is None else errors.weighted,
    )


@functools.lru_cache(maxsize=64)
def encoded(name: str, with_importance: bool, type_name: str = "Q4_K") -> Decoded:
    """256 weights as llama.cpp writes them; without importance where no activations are shipped."""
    return written(super_block(name), with_importance, type_name)


def written(block: SuperBlock, with_importance: bool, type_name: str) -> Decoded:
    """A type that needs importance gets it, and where there is none every channel counts alike."""
    importance = block.importance if with_importance or needs_importance(type_name) else None
    if importance is None and needs_importance(type_name):
        importance = np.ones(WEIGHTS, np.float32)
    return decode(ggml.quantize(block.weights, type_name, importance)[0], type_name)


def needs_importance(type_name: str) -> bool:
    return ggml.CODECS[type_name].needs_importance


def is_weighted(controls: Controls) -> bool:
    return controls.importance or needs_importance(controls.format)


def measure(block: SuperBlock, weights: NDArray[np.float32]) -> Errors:
    """Both errors of decoded weights. Weighting by importance scales every column by its square root."""
    if not np.isfinite(weights).all():
        return Errors(np.inf, None if block.importance is None else np.inf)
    plain = metrics.relative_weight_error(block.weights, weights)
    if block.importance is None:
        return Errors(plain, None)
    loudness = np.sqrt(block.importance.astype(np.float64))
    return Errors(plain, metrics.relative_weight_error(loudness * block.weights, loudness * weights))


def picked_by(controls: Controls) -> Picked:
    """What the control names; the last byte, if the format has none of that number."""
    kind, _, number = controls.pick.partition("-")
    if kind == "weight":
        return Picked(kind, code_byte(controls.format, int(number)), int(number))
    byte = min(int(number), FORMATS[controls.format].bytes - 1)
    return Picked(kind, byte, byte_roles(controls.format, byte)[0].weights[0])


@functools.cache
def code_byte(type_name: str, weight: int) -> int:
    """The byte that holds the code, or its low bits."""
    roles = weight_bytes(type_name, weight)
    return next(role.byte for role in roles if role.field in CODE_FIELDS and role.field_low_bit == 0)


def on_own(controls: Controls, own: Own) -> View:
    """The same on a reader's own weights."""
    block = SuperBlock(own.take(WEIGHTS), 0, own.column, own.column + len(own.values), None)
    before = written(block, False, controls.format)
    return view(turned(controls, block, before), own)


def view(result: Result, own: Own | None = None) -> View:
    controls, block, after, picked = result.controls, result.block, result.after, result.picked
    form = FORMATS[controls.format]
    roles = weight_bytes(controls.format, picked.weight) if picked.kind == "weight" else ()
    used = {role.byte: role for role in roles}
    value = Readout.of(result, "value", _weight, accent=True)
    original = Readout.of(result, "original", _weight)
    return View(
        readouts=(
            Readout.of(result, "bytes", str),
            Readout.of(result, "bits_per_weight", numbers.shortest),
            value,
            original,
            Readout.of(result, "error", _weight),
            Readout.of(result, "plain_error", _percent, "%"),
            Readout.of(result, "weighted_error", _percent, "" if result.weighted_error == "none" else "%"),
        ),
        limits=_limits(controls, block),
        drawing={
            "byte": {"index": str(picked.byte), "hex": f"{after.data[picked.byte]:02X}"},
            "bits": _bits(result.before, picked.byte, controls.flip),
            "roles": _roles(after, picked.byte),
            "terms": _terms(after, picked.weight),
            "entry": _vector(form, after, picked.weight),
            "result": {"index": str(picked.weight), "value": value.text, "original": original.text},
            "blocks": form.blocks if form.blocks > 1 else 0,
            "fields": _fields(form, after),
            "bytes": _byte_cells(form, after, picked, used),
            "weights": _weight_cells(form, result),
            "scales": _scales(form, after),
            "trade": _trade(controls, block),
            "flip": controls.flip,
        },
        plots={"cells": PlotScales(Scale((0, WEIGHTS), (0, WEIGHTS)))},
        description=_description(result),
        table=_table(result),
        formulas=_formulas(form, after, picked.weight),
        ran=(
            ggml.quantize,
            ggml.dequantize,
            ggml.byte_roles,
            *_values(controls.format),
            metrics.relative_weight_error,
        ),
        notes=tuple(_notes(controls, block, own)),
    )


def _values(type_name: str) -> tuple[Callable[..., Any], ...]:
    """The decoder's sum, where it is a function with a name of its own."""
    values = ggml.CODECS[type_name].values
    return () if "<locals>" in values.__qualname__ else (values,)


def _percent(error: float | str) -> str:
    return "–" if isinstance(error, str) else numbers.significant(100 * error)


def _weight(value: float) -> str:
    return numbers.significant(value, 4)


# --- the picked byte, and the arithmetic of one weight -----------------------------------------------------


def _bits(before: Decoded, byte: int, flip: str) -> list[dict[str, Any]]:
    """The eight bits, the highest first: what each is, and which way it stands."""
    cells = []
    for position, role in enumerate(byte_roles(before.type_name, byte)):
        for bit in range(role.low_bit, role.high_bit + 1):
            was = int(before.data[byte]) >> bit & 1
            turned = flip == str(bit)
            place = _place(before, role, role.field_low_bit + bit - role.low_bit)
            cells.append({"bit": bit, "value": was ^ turned, "flipped": turned, "role": position, **place})
    return cells[::-1]


HALF_PRECISION = ("±", *(f"e{i}" for i in range(4, -1, -1)), *(f"f{i}" for i in range(9, -1, -1)))[::-1]
E8M0 = tuple(f"e{i}" for i in range(8))
E2M1 = ("f0", "e0", "e1", "±")
UE4M3 = ("f0", "f1", "f2", "e0", "e1", "e2", "e3", "–")
_PARTS = {"±": "sign", "e": "exponent", "f": "fraction", "–": "binary"}


def _place(block: Decoded, role: ByteRole, place: int) -> dict[str, str]:
    """What a bit is worth in its number: a power of two, or a part of a floating-point number."""
    floats = {"d": HALF_PRECISION, "dmin": HALF_PRECISION, "m": HALF_PRECISION, "e": E8M0}
    if block.type_name in ("MXFP4", "NVFP4"):
        floats["codes"] = E2M1
    if block.type_name == "NVFP4":
        floats["d"] = UE4M3
    if role.field in ("signs", "shifts"):
        return {"part": "sign", "worth": f"±{place}" if role.field == "signs" else "±"}
    if role.field in floats:
        worth = floats[role.field][place]
        return {"part": _PARTS[worth[0]], "worth": worth}
    if block.fields[role.field].dtype == np.int8 and place == 7:
        return {"part": "sign", "worth": numbers.integer(-128)}
    return {"part": "binary", "worth": str(2**place)}


def _roles(after: Decoded, byte: int) -> list[dict[str, Any]]:
    """The numbers that the byte's bits belong to, in the order in which the bits are drawn."""
    return [
        {
            "span": role.high_bit - role.low_bit + 1,
            "word": _role_word(after.type_name, role),
            "index": str(role.index),
            "value": _role_text(role, after),
        }
        for role in reversed(byte_roles(after.type_name, byte))
    ]


def _role_word(type_name: str, role: ByteRole) -> str:
    width = role.high_bit - role.low_bit + 1
    if width <= 2:
        return f"{'bit' if width == 1 else 'pair'}_of_{role.field}"
    return f"role_{role.field}{_of(type_name, role)}"


def _of(type_name: str, role: ByteRole) -> str:
    """Tells a number of one block among several from one of all 256 weights."""
    if role.field not in ("d", "m") or FORMATS[type_name].blocks == 1:
        return ""
    return "_of" if len(role.weights) == FORMATS[type_name].layout.block_size else "_part"


def _fine(value: float) -> str:
    """Digits enough that the printed product is the printed value."""
    return numbers.significant(value, 5)


def _field_text(field: str, value: float) -> str:
    return _fine(value) if field in ("d", "dmin", "m", "e") else numbers.integer(value)


def _role_text(role: ByteRole, block: Decoded) -> str:
    """The number that some bits belong to; a packed byte as its digits."""
    if role.field == "packed":
        return " ".join(map(str, digits(block.number(role), len(role.weights))))
    return _field_text(role.field, block.number(role))


def _ranges(indices: Iterable[int]) -> str:
    """Numbers in order, neighbours joined: 0–15, 32–47. A line never ends within a pair."""
    runs: list[list[int]] = []
    for i in indices:
        if runs and i == runs[-1][-1] + 1:
            runs[-1].append(i)
        else:
            runs.append([i])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{WORD_JOINER}{run[-1]}" for run in runs)


def _terms(after: Decoded, weight: int) -> list[list[dict[str, str]]]:
    """The factors of the sum with their numbers and the bytes that they come from."""
    runs: dict[str, list[ByteRole]] = {}
    for role in weight_bytes(after.type_name, weight):
        runs.setdefault(role.field, []).append(role)
    stored = after.stored(weight)
    return [
        [
            {
                "sign": term.sign,
                "field": term.field,
                "word": _term_word(after.type_name, term, runs[term.field][0]),
                "index": str(runs[term.field][0].index),
                "place": str(_place_in_vector(after.type_name, weight)),
                "shift": str(term.shift),
                "stored": _field_text(term.field, stored[term.field]),
                "value": _term_text(term, stored, weight),
                "bytes": ", ".join(
                    dict.fromkeys(str(role.byte) for role in runs[term.field] + runs.get(term.also, []))
                ),
            }
            for term in product
        ]
        for product in FORMATS[after.type_name].products
    ]


def _place_in_vector(type_name: str, weight: int) -> int:
    """The place of a weight in the vector of the codebook that it shares, or in its packed byte."""
    form = FORMATS[type_name]
    if form.codebook:
        return weight % int(codebooks.grid(form.codebook).shape[1])
    packed = next((role for role in weight_bytes(type_name, weight) if role.field == "packed"), None)
    return list(packed.weights).index(weight) if packed else 0


def _vector(form: Anatomy, after: Decoded, weight: int) -> dict[str, Any]:
    """The entry of the codebook that the weight belongs to, with its signs; empty without a codebook."""
    if not form.codebook:
        return {}
    count, length = codebooks.grid(form.codebook).shape
    first = weight // length * length
    return {
        "word": "entry_with_signs" if "signs" in after.fields else "entry",
        "index": _field_text("indices", after.stored(weight)["indices"]),
        "last": numbers.integer(count - 1),
        "values": [
            {"text": numbers.integer(int(after.levels[i])), "picked": i == weight}
            for i in range(first, first + length)
        ],
    }


def _term_word(type_name: str, term: Term, role: ByteRole) -> str:
    if term.word:
        return term.word
    if term.table:
        return f"term_{'E2M1' if type_name == 'NVFP4' else type_name}"
    return f"term_{term.field}{'_less' if term.shift else _of(type_name, role)}"


def _term_text(term: Term, stored: Mapping[str, float], weight: int) -> str:
    number = stored[term.field]
    if term.shift:
        return f"({numbers.integer(number)} {numbers.MINUS} {term.shift})"
    special = bool(term.table or term.read)
    text = _entry(term.value(stored, weight)) if special else _field_text(term.field, number)
    return f"({text})" if text.startswith(numbers.MINUS) and term.sign in "·+" else text


def _entry(value: float) -> str:
    return numbers.integer(value) if value == int(value) else numbers.shortest(value)


# --- the map of bytes and weights --------------------------------------------------------------------------


def _fields(form: Anatomy, after: Decoded) -> list[dict[str, str]]:
    """The runs of bytes of a block: what is stored there, and where."""
    with_mins = "_mins" if "mins" in after.fields else ""
    return [
        {
            "word": f"field_{field.name}_{form.type_name}"
            if form.level
            else f"field_{field.name}{with_mins if field.name == 'scales' else ''}",
            "kind": KINDS.get(field.name, ""),
            "span": _ranges(range(field.offset, field.offset + field.size)),
        }
        for field in form.layout.fields
    ]


def _looks(form: Anatomy, result: Result) -> list[str]:
    """The classes of every weight's cell; its bar stands as high as its code in the range of codes."""
    picked, moved = result.picked, result.moved
    roles = byte_roles(form.type_name, picked.byte) if picked.kind == "byte" else ()
    held = frozenset(i for role in roles for i in role.weights)
    loud = _loud(result.block) if is_weighted(result.controls) else frozenset()
    codes = result.after.levels
    return [
        " ".join(
            (
                f"q{height}",
                *(("long",) if codes[i] <= -100 else ()),
                *(("related",) if i in held else ()),
                *(("up",) if moved[i] > 0 else ("down",) if moved[i] < 0 else ()),
                *(("loud",) if i in loud else ()),
            )
        )
        for i, height in enumerate(_heights(form, codes))
    ]


def _heights(form: Anatomy, codes: NDArray[Any]) -> list[int]:
    """Fifteenths of the way from the lowest level to the highest."""
    table = form.code_term.table
    if form.codebook:
        high = codebooks.grid(form.codebook).max()
        low, values = -high, codes.astype(float)
    elif form.level:
        low, high, values = 0, 2, codes.astype(float)
    elif table:
        low, high = min(table), max(table)
        values = np.array(table)[codes]
    else:
        bits = sum(r.high_bit - r.low_bit + 1 for r in weight_bytes(form.type_name, 0) if r.field == "codes")
        low = -(2 ** (bits - 1)) if codes.dtype == np.int8 else 0
        high, values = low + 2**bits - 1, codes.astype(float)
    heights: list[int] = np.rint(15 * (values - low) / (high - low)).astype(int).tolist()
    return heights


def _weight_cells(form: Anatomy, result: Result) -> list[dict[str, Any]]:
    after, picked, looks = result.after, result.picked, _looks(form, result)
    return [
        {
            "value": f"weight-{i}",
            "index": i,
            "look": look,
            "checked": picked.value == f"weight-{i}",
            "code": numbers.integer(int(after.levels[i])),
            "text": _weight(float(after.weights[i])),
        }
        for i, look in enumerate(looks)
    ]


def _scales(form: Anatomy, after: Decoded) -> list[dict[str, Any]]:
    """What scales each sub-block, beside its lines of weights: scale and minimum, or the scale of a block."""
    fields = ("scales", "mins") if "scales" in after.fields else (form.products[0][0].field, "m")
    stored = [(name, after.fields[name]) for name in fields if name in after.fields]
    return [
        {
            "lines": form.sub_block // COLUMNS,
            "texts": [(f"scale_{name}", _in_margin(name, float(values[part]))) for name, values in stored],
        }
        for part in range(WEIGHTS // form.sub_block)
    ]


def _in_margin(field: str, value: float) -> str:
    return numbers.significant(value, 3) if field in ("d", "m", "e") else numbers.integer(int(value))


def _byte_cells(
    form: Anatomy, after: Decoded, picked: Picked, used: Mapping[int, ByteRole]
) -> list[dict[str, Any]]:
    """Bytes in hexadecimal; the digit that holds the picked weight's code is set apart by its look."""
    kinds = [KINDS.get(field.name, "") for field in form.layout.fields for _ in range(field.size)]
    cells = []
    for i, byte in enumerate(after.data.tolist()):
        looks = [kinds[i % len(kinds)]]
        if i in used:
            looks.append("related")
            if used[i].field == "codes" and used[i].high_bit - used[i].low_bit == 3:
                looks.append(f"{HALVES[used[i].low_bit // 4]}-digit")
        cells.append(
            {
                "value": f"byte-{i}",
                "index": i,
                "look": " ".join(filter(None, looks)),
                "checked": picked.value == f"byte-{i}",
                "hex": f"{byte:02X}",
            }
        )
    return cells


def _loud(block: SuperBlock) -> frozenset[int]:
    if block.importance is None:
        return frozenset()
    return frozenset(np.flatnonzero(block.importance > LOUD * block.importance.mean()).tolist())


def _trade(controls: Controls, block: SuperBlock) -> list[dict[str, Any]]:
    """Plain and weighted error, without and with an importance matrix; empty where it changes nothing."""
    if block.importance is None or controls.format in WITHOUT_SEARCH or needs_importance(controls.format):
        return []
    without, with_it = (
        measure(block, encoded(controls.block, chosen, controls.format).weights) for chosen in (False, True)
    )
    pairs = {"plain": (without.plain, with_it.plain), "weighted": (without.weighted, with_it.weighted)}
    return [
        {
            "measure": measure_name,
            "change": _change(a, b),
            "bars": [
                {
                    "which": which,
                    "value": _percent(error),
                    "length": f"{100 * error / max(a, b):.2f}%",
                    "inside": error > INSIDE * max(a, b),
                    "shown": controls.importance == (which == "with"),
                }
                for which, error in (("without", a), ("with", b))
            ],
        }
        for measure_name, (a, b) in pairs.items()
        if a is not None and b is not None
    ]


def _change(before: float, after: float) -> str:
    return numbers.signed(100 * (after / before - 1), 1)


# --- words and tables --------------------------------------------------------------------------------------


def _description(result: Result) -> tuple[Sentence, ...]:
    controls, picked = result.controls, result.picked
    sentences = [_weight_sentence(result.after, picked.weight)]
    if picked.kind == "byte":
        sentences.insert(0, _byte_sentence(result.after, picked.byte))
    if controls.flip != "none":
        sentences.insert(0, _flip_sentence(result))
    if picked.kind == "byte" and controls.pick != picked.value:
        given = controls.pick.removeprefix("byte-")
        sentences.insert(0, Sentence("no_such_byte", format=controls.format, given=given))
    trade = _trade(controls, result.block) if controls.importance else []
    if trade:
        plain, weighted = (entry["change"] for entry in trade)
        sentences.append(Sentence("traded", plain=plain, weighted=weighted))
    return tuple(sentences)


def _weight_sentence(after: Decoded, weight: int) -> Sentence:
    form = FORMATS[after.type_name]
    terms = [term for product in _terms(after, weight) for term in product]
    factors = {f"{term['field']}_factor": term["value"] for term in terms}
    return Sentence(
        form.sentence,
        **{term["field"]: term["stored"] for term in terms},
        **factors,
        level=factors.get("indices_factor", terms[-1]["value"]).strip("()"),
        digit=str(int(after.levels[weight])),
        place=terms[0]["place"],
        weight=str(weight),
        sub_block=str(weight // form.sub_block),
    )


def _byte_sentence(after: Decoded, byte: int) -> Sentence:
    """What the byte holds: a key for each pattern of fields, and the numbers as a, b, c …"""
    roles = byte_roles(after.type_name, byte)
    head = {"byte": str(byte), "hex": f"{after.data[byte]:02X}"}
    if FORMATS[after.type_name].codebook and [role.field for role in roles] != ["d"]:
        parts = [f"{SYMBOLS[role.field].format(role.index)} = {_role_text(role, after)}" for role in roles]
        return Sentence("byte_parts", **head, parts=", ".join(parts))
    patterns = itertools.groupby(roles, key=lambda role: f"{role.field}_{_part(after, role)}")
    key = "_".join(("byte", *(f"{len(list(same))}_{pattern}" for pattern, same in patterns)))
    values = head | {
        "all": ", ".join(str(role.index) for role in roles),
        "values": ", ".join(_role_text(role, after) for role in roles),
        "span": str(len(roles[0].weights)),
    }
    for name, role in zip("ab", roles, strict=False):
        values |= {name: str(role.index), f"{name}_value": _role_text(role, after)}
    return Sentence(key + _of(after.type_name, roles[0]), **values)


def _part(after: Decoded, role: ByteRole) -> str:
    """Whether the bits are all of their number, its low or its high ones."""
    width = role.high_bit - role.low_bit + 1
    same = [
        r
        for r in weight_bytes(after.type_name, role.weights[0])
        if (r.field, r.index) == (role.field, role.index)
    ]
    if width == sum(r.high_bit - r.low_bit + 1 for r in same):
        return "whole"
    return "high" if role.field_low_bit else "low"


def _flip_sentence(result: Result) -> Sentence:
    before, after, byte, bit = result.before, result.after, result.picked.byte, int(result.controls.flip)
    roles = byte_roles(after.type_name, byte)
    role = next(role for role in roles if role.low_bit <= bit <= role.high_bit)
    moved = np.abs(result.moved)
    most = int(np.argmax(moved))
    values = {
        "bit": str(bit),
        "byte": str(byte),
        "index": str(role.index),
        "was": _role_text(role, before),
        "now": _role_text(role, after),
        "first": str(role.weights[0]),
        "last": str(role.weights[-1]),
        "count": numbers.integer(int(np.count_nonzero(moved))),
        "span": str(len(role.weights)),
        "most": str(most),
        "old": _weight(float(before.weights[most])),
        "new": _weight(float(after.weights[most])),
    }
    return Sentence(
        f"flip_{role.field}{_of(after.type_name, role)}" if moved.any() else "flip_idle", **values
    )


def _table(result: Result) -> Table:
    """All weights; what a turned bit moved and the importance have a column when they are in play."""
    controls, block, after = result.controls, result.block, result.after
    form = FORMATS[controls.format]
    columns = [
        (Column("weight", str), range(WEIGHTS)),
        (Column("byte", str), [code_byte(controls.format, i) for i in range(WEIGHTS)]),
        (Column("level" if form.codebook else "code", numbers.integer), after.levels.tolist()),
        (Column("original", _in_table), block.weights.tolist()),
        (Column("value", _in_table), after.weights.tolist()),
        (Column("error", _change_in_table), (after.weights - block.weights).tolist()),
    ]
    if controls.flip != "none":
        columns.append((Column("moved", _change_in_table), result.moved.tolist()))
    if is_weighted(controls) and block.importance is not None:
        columns.append((Column("importance", numbers.significant), block.importance.tolist()))
    rows = zip(*(values for _, values in columns), strict=True)
    marked = frozenset({result.picked.weight})
    return Table(tuple(column for column, _ in columns), tuple(rows), marked)


_TOO_LARGE = 1e6
"""From here on a turned bit of a scale gives numbers that are printed as powers of ten."""


def _in_table(value: float) -> str:
    return numbers.fixed(value, 5) if abs(value) < _TOO_LARGE else _weight(value)


def _change_in_table(value: float) -> str:
    return numbers.signed(value, 5) if abs(value) < _TOO_LARGE else _weight(value)


def _formulas(form: Anatomy, after: Decoded, weight: int) -> tuple[str, ...]:
    places = {"{i}": f"{{{weight}}}", "{j}": f"{{{weight // form.sub_block}}}"}
    products = [
        (
            r" \cdot ".join(_placed(term.latex, places) for term in product),
            r" \cdot ".join(tex(entry["value"]) for entry in printed),
        )
        for product, printed in zip(form.products, _terms(after, weight), strict=True)
    ]
    joined = " + " if form.products[-1][0].sign == "+" else " - "
    symbols, values = (joined.join(sides) for sides in zip(*products, strict=True))
    sizes = " + ".join(str(field.size) for field in form.layout.fields)
    count, total = form.layout.block_size, form.layout.block_bytes
    return (
        rf"\hat w_{{{weight}}} = {symbols} = {values} = {tex(_weight(float(after.weights[weight])))}",
        rf"\frac{{8 \cdot ({sizes})}}{{{count}}} = \frac{{8 \cdot {total}}}{{{count}}}"
        rf" = {form.layout.bits_per_weight:g} \;\mathrm{{bits\ per\ weight}}",
        r"\mathrm{plain} = \frac{\sum (w - \hat w)^2}{\sum w^2}, \qquad"
        r" \mathrm{weighted} = \frac{\sum \overline{x^2} \, (w - \hat w)^2}{\sum \overline{x^2} \, w^2}",
    )


def _placed(latex: str, places: Mapping[str, str]) -> str:
    for slot, index in places.items():
        latex = latex.replace(slot, index)
    return latex


def _notes(controls: Controls, block: SuperBlock, own: Own | None) -> Iterable[Sentence]:
    form = FORMATS[controls.format]
    if own:
        yield Sentence("from_own", name=own.name)
    else:
        yield from _origin(controls, block)
    if len(form.code_term.table) > 2:
        entries = ", ".join(_entry(value) for value in form.code_term.table)
        kind = "T" if form.code_term.table[0] else "E2M1"
        yield Sentence(f"table_{kind}", entries=entries)
    if needs_importance(controls.format) and block.importance is None:
        yield Sentence("importance_even", format=controls.format)
    elif is_weighted(controls):
        yield from [Sentence("importance_own")] if own else _importance_notes(controls, block)
    yield Sentence(f"layout_{controls.format}")
    yield Sentence(
        "receipt",
        format=controls.format,
        bytes=numbers.integer(COMPARED_BYTES[controls.format]),
        commit=COMMIT,
    )


def _origin(controls: Controls, block: SuperBlock) -> Iterable[Sentence]:
    form = FORMATS[controls.format]
    place = {"row": str(block.row), "first": str(block.start), "last": str(block.start + WEIGHTS - 1)}
    place |= {"columns": str(block.row_length), "format": controls.format}
    yield Sentence(f"from_{controls.block}", **place)
    if controls.block == "outlier":
        yield _outlier(form)
    if block.row_length % form.layout.block_size:
        yield Sentence("not_legal", fallback=str(form.layout.fallback), **place)


OUTLIER = 88
"""Its place in the third block."""


def _outlier(form: Anatomy) -> Sentence:
    """What the outlier does to the scales of the others."""
    first = OUTLIER // form.sub_block * form.sub_block
    own_scale = form.blocks > 1 or form.sub_block == WEIGHTS
    key = "Q4_K" if form.type_name == "Q4_K" else "scale" if own_scale else "super_block"
    return Sentence(f"outlier_{key}", first=str(first), last=str(first + form.sub_block - 1))


def _limits(controls: Controls, block: SuperBlock) -> dict[str, Limit]:
    if needs_importance(controls.format):
        key = "needs_made_up" if block.importance is None else "needs_importance"
        return {"importance": Limit(Sentence(key, format=controls.format))}
    if block.importance is None:
        return {"importance": Limit(Sentence("no_importance"))}
    if controls.format in WITHOUT_SEARCH:
        return {"importance": Limit(Sentence("not_weighted", format=controls.format))}
    return {}


def _importance_notes(controls: Controls, block: SuperBlock) -> Iterable[Sentence]:
    yield Sentence(f"importance_{controls.block}", loud=str(len(_loud(block))), times=f"{LOUD:g}")
    if block.importance is None:
        return
    if controls.format in WITHOUT_SEARCH:
        yield Sentence("importance_ignored", format=controls.format)
    elif controls.format == "Q4_K":
        yield Sentence(f"typical_{controls.block}")


FIGURE = Figure(
    *("xray", "fig-05b", "FIG.05B", Controls, compute, view),
    shows="block",
    is_html=True,
    on_own=on_own,
)
