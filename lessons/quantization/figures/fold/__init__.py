"""FIG.00: sixteen bits fold into four: the number of a rung on the block's own ladder, and a smaller model.

The steps between are not a file format. At each one the weight is rounded to a grid of 2ᵇ levels over its
block, b the bits still kept; the model's size is exact where llama.cpp has a file type of that width, and
elsewhere lies on the straight line between two such types. The figure says which.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice, slider
from lessons.kit.figure import Figure
from lessons.kit.mathml import tex
from lessons.kit.scales import Scale, linear_ticks
from lessons.kit.view import Column, Readout, Sentence, Table, View
from lessons.quantization import sources
from lessons.quantization.blocks import BLOCKS, block_weights, start
from quant_core import memory
from quant_core.arrays import MAX_BITS
from quant_core.memory import GIB
from quant_core.methods import floats, grid

GROUP_SIZE = 32
FLOAT_BITS = 16
LAST_BITS = 4
FILE_TYPES = {16: "F16", 8: "Q8_0", 6: "Q6_K", 5: "Q5_K_M", 4: "Q4_K_M"}
"""Bits of a code → the file type of llama.cpp that keeps so many of most weights."""

MODEL = "llama-3.1-70b"
CARD = "rtx-5090"
LAPTOP_BYTES = 64 * GIB
"""The MacBook Pro on which Llama 3 70B in Q4_K_M was timed: claims `memory-m1max` and `speed-m1max-70b`."""

LADDER = 176
"""Height of the ladder in pixels, from its foot to the highest mark."""
RUNGS = {6: 14, 5: 48, 4: LADDER}
"""Bits → height of the grid's lines. A finer grid than 2⁶ levels is a solid line on a phone."""
MARK_PITCH = 13.0


class Controls(FigureControls):
    step: int = slider(FLOAT_BITS - LAST_BITS, low=0, high=FLOAT_BITS - LAST_BITS)
    weight: int = slider(11, low=0, high=GROUP_SIZE - 1)
    block: str = choice("calm", BLOCKS)
    format: floats.FloatKind = choice("fp16", floats.LAYOUT, style="segments")


@dataclass(frozen=True)
class Kept:
    """A block with `bits` bits kept of each weight. With all sixteen there is no grid yet, and no code."""

    bits: int
    restored: NDArray[Any]
    fitted: grid.Grid | None = None
    codes: NDArray[np.int32] | None = None

    @property
    def scale(self) -> float:
        return 0.0 if self.fitted is None else float(self.fitted.scale)

    def code(self, i: int) -> int | None:
        return None if self.codes is None else int(self.codes[i])

    def pattern(self, i: int) -> str:
        """The code of weight `i` in binary; a dash where there is none."""
        code = self.code(i)
        return "–" if code is None else f"{code:0{self.bits}b}"


@dataclass(frozen=True)
class ModelSize:
    """The model's weights in bytes: in a real file type, or between two of them."""

    size: float
    bits_per_weight: float
    above: str
    below: str

    @property
    def is_file(self) -> bool:
        return self.above == self.below


@dataclass(frozen=True)
class Result:
    """A block and a model on the way from sixteen bits to four; the read-outs are of the chosen weight.

    `first` is the column of the first weight in its row; `code` is "" while there is none.
    """

    controls: Controls
    first: int
    parts: floats.FloatBits
    kept: Kept
    whole: ModelSize
    model: ModelSize
    bits_kept: int
    code: int | str
    restored: float
    error: float
    model_bits_per_weight: float
    model_size: float
    smaller: float


def compute(controls: Controls) -> Result:
    """Keep some bits of every weight of a block, and of every weight of a model."""
    bits, chosen = FLOAT_BITS - controls.step, controls.weight
    parts = floats.float_bits(block_weights(controls.block, GROUP_SIZE), controls.format)
    kept = keep(parts.value, bits)
    whole, model = model_size(FLOAT_BITS), model_size(bits)
    code, restored = kept.code(chosen), float(kept.restored[chosen])
    return Result(
        controls,
        start(controls.block, GROUP_SIZE),
        parts,
        kept,
        whole,
        model,
        bits_kept=bits,
        code="" if code is None else code,
        restored=restored,
        error=restored - float(parts.value[chosen]),
        model_bits_per_weight=model.bits_per_weight,
        model_size=model.size,
        smaller=whole.size / model.size,
    )


def keep(weights: NDArray[np.float32], bits: int) -> Kept:
    """Round a block to the 2ᵇ levels of its own grid; with sixteen bits it is left alone."""
    if bits == FLOAT_BITS:
        return Kept(bits, weights)
    fitted = fit_any_width(weights, bits)
    codes = fitted.quantize(weights)
    return Kept(bits, fitted.dequantize(codes), fitted, codes)


def fit_any_width(weights: NDArray[np.float32], bits: int) -> grid.Grid:
    """`grid.fit_asymmetric`, continued to the widths above 8 that no checkpoint has and the fold passes."""
    if bits <= MAX_BITS:
        return grid.fit_asymmetric(weights, bits)
    low, high = np.minimum(weights.min(), 0), np.maximum(weights.max(), 0)
    scale = np.asarray((high - low) / np.float32(2**bits - 1))
    return grid.Grid("asymmetric", bits, scale, zero_point=-np.rint(low / scale).astype(np.int32))


@functools.cache
def model_size(bits: int) -> ModelSize:
    """The model with `bits` bits of most weights: exact for a file type, else on the line between two."""
    preset = sources.model(MODEL)
    above, below = min(b for b in FILE_TYPES if b >= bits), max(b for b in FILE_TYPES if b <= bits)
    larger, smaller = (memory.weight_bytes(preset.shape, FILE_TYPES[b]) for b in (above, below))
    share = (above - bits) / (above - below or 1)
    size = larger + share * (smaller - larger)
    return ModelSize(size, 8 * size / preset.total_params, FILE_TYPES[above], FILE_TYPES[below])


def view(result: Result) -> View:
    controls, kept, model, weights = result.controls, result.kept, result.model, result.parts.value
    bits, chosen = result.bits_kept, controls.weight
    q = Readout.of(result, "code", lambda code: "–" if code == "" else numbers.integer(code))
    restored = Readout.of(result, "restored", _number)
    bits_per_weight = Readout.of(result, "model_bits_per_weight", lambda v: numbers.fixed(v, 2))
    size = Readout.of(result, "model_size", numbers.gigabytes)
    printed = {
        "column": str(result.first + chosen),
        "w": _number(float(weights[chosen])),
        "format": controls.format.upper(),
        "bits": str(bits),
        "levels": numbers.integer(2**bits),
        "code": kept.pattern(chosen),
        "q": q.text,
        "restored": restored.text,
        "gib": numbers.gibibytes(model.size),
        "laptop": numbers.integer(LAPTOP_BYTES / GIB),
        "card": numbers.integer(sources.device(CARD).memory_bytes / GIB),
        "bpw": bits_per_weight.text,
        "above": model.above,
        "below": model.below,
    }
    stage = "whole" if kept.codes is None else "folded" if bits == LAST_BITS else "between"
    fits = "beyond_both" if model.size > LAPTOP_BYTES else "beyond_card"
    return View(
        readouts=(
            Readout.of(result, "bits_kept", str, accent=True),
            q,
            restored,
            Readout.of(result, "error", _signed),
            bits_per_weight,
            size,
            Readout.of(result, "smaller", numbers.times),
        ),
        drawing={
            "original": _original(result.parts, chosen),
            "kept": _kept_cells(kept, result.parts, chosen),
            "ladder": _ladder(weights, kept, chosen),
            "bars": _bars(result.whole, model) | {"size": size.text},
            "printed": printed,
            "stage": stage,
            "is_file": model.is_file,
        },
        description=(
            Sentence(stage, **printed),
            Sentence("size_file" if model.is_file else "size_between", **printed),
            Sentence(fits, **printed),
        ),
        table=_table(result),
        formulas=_formulas(result),
        ran=(
            floats.float_bits,
            grid.fit_asymmetric,
            grid.Grid.quantize,
            grid.Grid.dequantize,
            memory.weight_bytes,
        ),
        notes=(Sentence(f"from_{controls.block}"), Sentence("machines")),
    )


def _original(parts: floats.FloatBits, chosen: int) -> dict[str, Any]:
    """The sixteen cells of the float: each bit with its field."""
    fields = dict(zip(("sign", "exponent", "fraction"), parts.strings()[chosen], strict=True))
    return {
        "cells": [{"bit": bit, "field": name} for name, text in fields.items() for bit in text],
        "spoken": " ".join(fields.values()),
        "widths": {name: str(len(text)) for name, text in fields.items()},
        "kind": parts.kind,
    }


def _kept_cells(kept: Kept, parts: floats.FloatBits, chosen: int) -> dict[str, Any]:
    """Sixteen cells of which the last have folded away; before the first fold, the float's own bits."""
    text = "".join(parts.strings()[chosen]) if kept.codes is None else kept.pattern(chosen)
    return {
        "cells": [{"bit": bit.strip(), "folded": bit == " "} for bit in text.ljust(FLOAT_BITS)],
        "spoken": text,
        "is_code": kept.codes is not None,
    }


def _ladder(weights: NDArray[np.float32], kept: Kept, chosen: int) -> dict[str, Any]:
    """Marks over the sixteen rungs: a mark's height is its place in the pile on its final rung."""
    final = fit_any_width(weights, LAST_BITS)
    levels, rung = final.levels(), final.quantize(weights)
    step = float(final.scale)
    x = Scale((float(levels[0]) - step / 2, float(levels[-1]) + step / 2))
    span = step * len(levels)
    piles = _places_in_pile(weights, rung)
    pitch = min(MARK_PITCH, (LADDER - 12) / (max(piles) + 1))
    drawn = kept.fitted.levels() if kept.fitted and kept.bits in RUNGS else ()
    arrived = kept.bits == LAST_BITS
    places = max(1, 1 - int(np.floor(np.log10(float(np.ptp(weights))))))
    ticks = linear_ticks(*x.domain, 5)
    return {
        "height": LADDER,
        "arrived": arrived,
        "quantized": kept.codes is not None,
        "fine": kept.codes is not None and kept.bits not in RUNGS,
        "rungs": [{"x": x.percent(float(level)), "height": RUNGS[kept.bits]} for level in drawn],
        "band": {  # every weight inside it would get the same code
            "x": x.percent(float(kept.restored[chosen]) - kept.scale / 2),
            "width": f"{100 * kept.scale / span:.5g}%",
        },
        "marks": [
            {
                "true": x.percent(float(w)),
                "kept": x.percent(float(kept.restored[i])),
                "y": round(LADDER - 10 - pitch * piles[i], 2),
            }
            for i, w in enumerate(weights)
        ],
        "nudge": {
            "x": x.percent(min(float(weights[chosen]), float(kept.restored[chosen]))),
            "width": f"{100 * abs(float(kept.restored[chosen] - weights[chosen])) / span:.5g}%",
        },
        "told": _beside_band(x, float(kept.restored[chosen]), kept.scale),
        "codes": _codes(len(levels), int(rung[chosen]) if arrived else None),
        "w_ticks": [{"at": x.percent(v), "text": numbers.fixed(v, places)} for v in ticks],
    }


def _codes(count: int, chosen: int | None) -> dict[str, Any]:
    """The number of every rung under it, in binary from above; of the chosen one, its place."""
    middles = [f"{100 * (i + 0.5) / count:g}%" for i in range(count)]
    patterns = [f"{i:0{LAST_BITS}b}" for i in range(count)]
    rows = ["".join(bits) for bits in zip(*patterns, strict=True)]
    cells = [(i, row) for row, bits in enumerate(rows) for i, bit in enumerate(bits) if bit == "1"]
    return {
        "middles": middles,
        "rows": rows,
        "ones": "".join(f"M{i} {row}h1v1h-1z" for i, row in cells),
        "lines": "".join(f"M{i} 0v{LAST_BITS}" for i in range(count + 1))
        + "".join(f"M0 {row}h{count}" for row in range(LAST_BITS + 1)),
        "chosen": chosen
        if chosen is None
        else {
            "code": chosen,
            "x": f"{100 * chosen / count:g}%",
            "bits": patterns[chosen],
        },
    }


def _beside_band(x: Scale, level: float, width: float) -> dict[str, str]:
    """Where the words about the chosen weight stand: on the side of its band that has more room."""
    side = 1 if x(level) < 50 else -1
    return {"x": x.percent(level + side * width / 2), "anchor": "start" if side > 0 else "end"}


def _places_in_pile(weights: NDArray[np.float32], rung: NDArray[np.int32]) -> list[int]:
    """How many smaller weights lie on the same rung, for each weight."""
    order = np.argsort(weights, kind="stable")
    places = [0] * len(weights)
    for n, i in enumerate(order):
        places[int(i)] = int(np.count_nonzero(rung[order[:n]] == rung[i]))
    return places


def _bars(whole: ModelSize, model: ModelSize) -> dict[str, Any]:
    x = Scale((0.0, whole.size))
    machines = {"card": sources.device(CARD).memory_bytes, "laptop": LAPTOP_BYTES}
    return {
        "width": x.percent(model.size),
        "whole": numbers.gigabytes(whole.size),
        "shrunk": model.size < whole.size,
        "machines": [
            {"key": key, "x": x.percent(size), "gib": str(size // GIB), "holds": model.size <= size}
            for key, size in machines.items()
        ],
    }


def _table(result: Result) -> Table:
    parts, kept = result.parts, result.kept
    columns = (
        Column("column", str),
        Column("weight", lambda v: numbers.fixed(v, 5)),
        Column("bits"),
        Column("code"),
        Column("restored", lambda v: numbers.fixed(v, 5)),
        Column("error", lambda v: numbers.signed(v, 5)),
    )
    rows = []
    for i, fields in enumerate(parts.strings()):
        w, restored = float(parts.value[i]), float(kept.restored[i])
        rows.append((result.first + i, w, " ".join(fields), kept.pattern(i), restored, restored - w))
    return Table(columns, tuple(rows), frozenset({result.controls.weight}))


def _formulas(result: Result) -> tuple[str, ...]:
    parts, kept, model, chosen = result.parts, result.kept, result.model, result.controls.weight
    exponent_bits, fraction_bits = floats.LAYOUT[parts.kind]
    bias = 2 ** (exponent_bits - 1) - 1
    sign, exponent, fraction = (int(field[chosen]) for field in (parts.sign, parts.exponent, parts.fraction))
    # A stored exponent of 0 is a subnormal: no implicit leading 1, and the exponent of the smallest normal.
    leading, power = (1, exponent - bias) if exponent else (0, 1 - bias)
    w = tex(_number(float(parts.value[chosen])))
    number = (
        rf"w = (-1)^{{{sign}}} \cdot 2^{{{power}}} \cdot"
        rf" \left({leading} + \frac{{{fraction}}}{{2^{{{fraction_bits}}}}}\right) = {w}"
    )
    n, billions = numbers.integer(sources.model(MODEL).total_params), numbers.fixed(model.size / 1e9, 1)
    bits = numbers.fixed(model.bits_per_weight, 3)
    size = (
        rf"\mathrm{{size}} = \frac{{n \cdot b}}{{8}}"
        rf" = \frac{{{tex(n)} \cdot {bits}}}{{8}} = {billions}\;\mathrm{{GB}}"
    )
    if kept.fitted is None or kept.fitted.zero_point is None:
        return number, size
    s, z, q = tex(_number(kept.scale)), int(kept.fitted.zero_point), kept.code(chosen)
    there = rf"q = \operatorname{{round}}(w / s) + z = \operatorname{{round}}({w} / {s}) + {z} = {q}"
    back = rf"\hat w = s \, (q - z) = {s} \cdot ({q} - {z}) = {tex(_number(float(kept.restored[chosen])))}"
    return number, f"{there} = {kept.pattern(chosen)}_2", back, size


def _number(value: float) -> str:
    return numbers.significant(value, 4)


def _signed(value: float) -> str:
    text = numbers.significant(value)
    return text if value <= 0 else f"+{text}"


FIGURE = Figure("fold", "fig-00", "FIG.00", Controls, compute, view, shows="weight")
