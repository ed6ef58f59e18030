"""FIG.00: sixteen bits fold into four: a float is a point on a line, its four bits the number of a level.

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
from quant_core.methods import floats, grid

GROUP_SIZE = 32
FLOAT_BITS = 16
LAST_BITS = 4
FILE_TYPES = {16: "F16", 8: "Q8_0", 6: "Q6_K", 5: "Q5_K_M", 4: "Q4_K_M"}
"""Bits of a code → the file type of llama.cpp that keeps so many of most weights."""

MODEL = "llama-3.1-70b"

CELL, GAP = 5.2, 0.5
"""Width of a cell, and of the gap in it, in per cent of the drawing: sixteen leave room for the value."""
LADDER = 140
"""Height of the levels in pixels, from the line up."""
RUNGS = {6: 14, 5: 48, 4: LADDER}
"""Bits → height of the levels. A finer grid than 2⁶ levels is a solid line on a phone."""
CHOSEN_HEIGHT = 34
"""How far below the top of the levels the chosen weight lies, clear of the pile of the others."""
MARK_PITCH, PILE = 9.0, 68
EXACT = 0.005
"""Share of a step below which the error is printed as zero."""


class Controls(FigureControls):
    step: int = slider(FLOAT_BITS - LAST_BITS, low=0, high=FLOAT_BITS - LAST_BITS)
    weight: int = slider(11, low=0, high=GROUP_SIZE - 1)
    format: floats.FloatKind = choice("fp16", floats.LAYOUT, style="segments")
    block: str = choice("calm", BLOCKS)


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


@dataclass(frozen=True)
class Result:
    """A block and a model on the way from sixteen bits to four; the read-outs are of the chosen weight.

    `first` is the column of the first weight in its row; `code` and `error_in_steps` are "" while there is
    no grid.
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
    error_in_steps: float | str
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
    error = restored - float(parts.value[chosen])
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
        error=error,
        error_in_steps=abs(error) / kept.scale if kept.scale else "",
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
    q = Readout.of(result, "code", lambda code: "–" if code == "" else numbers.integer(code), accent=True)
    restored = Readout.of(result, "restored", numbers.significant, accent=True)
    bits_per_weight = Readout.of(result, "model_bits_per_weight", lambda v: numbers.fixed(v, 2))
    printed = {
        "column": str(result.first + chosen),
        "w": numbers.significant(float(weights[chosen])),
        "format": controls.format.upper(),
        "bits": str(bits),
        "levels": numbers.integer(2**bits),
        "code": kept.pattern(chosen),
        "float_bits": " ".join(result.parts.strings()[chosen]),
        "q": q.text,
        "restored": restored.text,
        "above": model.above,
        "below": model.below,
    }
    size = Sentence("size_file" if model.above == model.below else "size_between", **printed)
    index = Sentence("index" if kept.fitted else "index_whole", **printed)
    return View(
        readouts=(
            q,
            restored,
            Readout.of(result, "error_in_steps", lambda v: "–" if v == "" else numbers.fixed(v, 2)),
            Readout.of(result, "bits_kept", str),
            Readout.of(result, "error", _signed),
            bits_per_weight,
            Readout.of(result, "model_size", numbers.gigabytes),
            Readout.of(result, "smaller", numbers.times),
        ),
        drawing={
            "original": _original(result.parts, chosen),
            "ladder": _ladder(weights, kept, chosen),
            "printed": printed,
        }
        | _folded(kept, result.parts, chosen, _line(weights)),
        description=(Sentence(_finding(result), **printed), index, Sentence("where", **printed), size),
        table=_table(result),
        formulas=_formulas(result),
        ran=(
            floats.float_bits,
            grid.fit_asymmetric,
            grid.Grid.quantize,
            grid.Grid.dequantize,
            memory.weight_bytes,
        ),
        notes=(Sentence(f"from_{controls.block}"),),
        source=Sentence(f"source_{controls.block}", **printed),
    )


def _finding(result: Result) -> str:
    if isinstance(result.error_in_steps, str):
        return "whole"
    stage = "folded" if result.bits_kept == LAST_BITS else "between"
    return f"{stage}_exact" if result.error_in_steps < EXACT else stage


def _original(parts: floats.FloatBits, chosen: int) -> dict[str, Any]:
    """The sixteen cells of the float: each bit with its field and its place."""
    fields = dict(zip(("sign", "exponent", "fraction"), parts.strings()[chosen], strict=True))
    cells = [(name, bit) for name, text in fields.items() for bit in text]
    starts = np.cumsum([0, *map(len, fields.values())])
    return {
        "cells": [
            {"field": name, "bit": bit, "x": _percent(i * CELL)} for i, (name, bit) in enumerate(cells)
        ],
        "fields": [
            {"name": name, "x": _percent(start * CELL), "width": _percent(len(text) * CELL - GAP)}
            for (name, text), start in zip(fields.items(), starts.tolist(), strict=False)
        ],
    }


def _line(weights: NDArray[np.float32]) -> Scale:
    """The line of the weights: half a step of the final grid beyond its first and last level."""
    final = fit_any_width(weights, LAST_BITS)
    levels, step = final.levels(), float(final.scale)
    return Scale((float(levels[0]) - step / 2, float(levels[-1]) + step / 2))


def _folded(kept: Kept, parts: floats.FloatBits, chosen: int, x: Scale) -> dict[str, Any]:
    """The cells that are kept, which stand over their level, and the shape that joins them to the sixteen.

    Before the first fold they are the float's own bits. Cells that have folded away lie on the last one.
    """
    quantized = kept.codes is not None
    text = kept.pattern(chosen) if quantized else "".join(parts.strings()[chosen])
    width = kept.bits * CELL
    left = min(max(x(float(kept.restored[chosen])) - width / 2, 0), 100 - width) if quantized else 0.0
    right, whole = left + width, FLOAT_BITS * CELL - GAP
    beside_left = left > 100 - right
    return {
        "kept": {
            "cells": [
                {
                    "bit": bit.strip(),
                    "folded": bit == " ",
                    "x": _percent(left + min(i, kept.bits - 1) * CELL),
                }
                for i, bit in enumerate(text.ljust(FLOAT_BITS))
            ],
            "is_code": quantized,
        },
        "fold": f"M0 0L{10 * left:.1f} 1000L{10 * (right - GAP):.1f} 1000L{10 * whole:.1f} 0Z",
        "level": {"x": _percent(left if beside_left else right), "anchor": "end" if beside_left else "start"}
        if quantized and kept.bits in RUNGS
        else None,
    }


def _ladder(weights: NDArray[np.float32], kept: Kept, chosen: int) -> dict[str, Any]:
    """The weights on a line, in piles over their final level; the chosen one apart, with its own level."""
    x, final = _line(weights), fit_any_width(weights, LAST_BITS)
    rung = final.quantize(weights)
    piles = _places_in_pile(weights, rung)
    pitch = min(MARK_PITCH, PILE / (max(piles) + 1))
    drawn = kept.fitted.levels() if kept.fitted and kept.bits in RUNGS else ()
    w, restored, step = float(weights[chosen]), float(kept.restored[chosen]), kept.scale
    span = x.domain[1] - x.domain[0]
    places = max(1, 1 - int(np.floor(np.log10(float(np.ptp(weights))))))
    side = 1 if x(restored) < 50 else -1
    return {
        "height": LADDER,
        "arrived": kept.bits == LAST_BITS,
        "quantized": kept.codes is not None,
        "fine": kept.codes is not None and kept.bits not in RUNGS,
        "rungs": [{"x": x.percent(float(level)), "height": RUNGS[kept.bits]} for level in drawn],
        "band": {  # every weight inside it would get the same code
            "x": x.percent(restored - step / 2),
            "width": _percent(100 * step / span),
        },
        "others": [
            {"i": i, "x": x.percent(float(other)), "y": round(LADDER - 6 - pitch * piles[i], 2)}
            for i, other in enumerate(weights)
            if i != chosen
        ],
        "true": x.percent(w),
        "kept": x.percent(restored),
        "y": CHOSEN_HEIGHT,
        "nudge": {"x": x.percent(min(w, restored)), "width": _percent(100 * abs(restored - w) / span)},
        "told": {
            "x": x.percent(restored + side * step / 2),
            "anchor": "start" if side > 0 else "end",
        },
        "codes": [
            {"code": str(i), "x": x.percent(float(level)), "chosen": i == rung[chosen]}
            for i, level in enumerate(final.levels())
        ],
        "w_ticks": [
            {"at": x.percent(v), "text": numbers.fixed(v, places)} for v in linear_ticks(*x.domain, 5)
        ],
    }


def _percent(value: float) -> str:
    return f"{round(value, 2):g}%"


def _places_in_pile(weights: NDArray[np.float32], rung: NDArray[np.int32]) -> list[int]:
    """How many smaller weights lie on the same rung, for each weight."""
    order = np.argsort(weights, kind="stable")
    places = [0] * len(weights)
    for n, i in enumerate(order):
        places[int(i)] = int(np.count_nonzero(rung[order[:n]] == rung[i]))
    return places


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
    w = tex(numbers.significant(float(parts.value[chosen])))
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
    s, z, q = tex(numbers.significant(kept.scale)), int(kept.fitted.zero_point), kept.code(chosen)
    there = rf"q = \operatorname{{round}}(w / s) + z = \operatorname{{round}}({w} / {s}) + {z} = {q}"
    restored = tex(numbers.significant(float(kept.restored[chosen])))
    back = rf"\hat w = s \, (q - z) = {s} \cdot ({q} - {z}) = {restored}"
    return number, f"{there} = {kept.pattern(chosen)}_2", back, size


def _signed(value: float) -> str:
    text = numbers.significant(value)
    return text if value <= 0 else f"+{text}"


FIGURE = Figure("fold", "fig-00", "FIG.00", Controls, compute, view, shows="weight")
