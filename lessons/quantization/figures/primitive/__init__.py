"""FIG.0A: the whole primitive: weights on a line, the allowed levels below it, and which goes to which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice
from lessons.kit.figure import Figure
from lessons.kit.mathml import tex
from lessons.kit.own import Own
from lessons.kit.scales import Scale, linear_ticks
from lessons.kit.view import Column, PlotScales, Readout, Sentence, Table, View
from lessons.quantization.blocks import BLOCKS, block_weights, start
from quant_core.methods import grid, rtn

GROUP_SIZE = 32
CONVENTIONS = ("zero_point", "float_offset", "symmetric")

NARROWEST = 300
"""Pixels of the narrowest drawing, for which the dots are laid out in lanes."""
LANE = 22
"""Pixels of a dot's target, and so the height of a lane and the wanted distance in it."""
DOT = 12
"""Pixels of a dot itself: what is left of the distance in a crowd."""
MOST_LANES = 7
FALL = 150
"""Pixels from the axis of the weights down to the levels."""

Token = str | tuple[str, str]
"""A sign of an equation, or a variable with its printed value."""


class Controls(FigureControls):
    convention: str = choice("zero_point", CONVENTIONS, style="segments")
    bits: str = choice("4", ("2", "3", "4"), style="segments")
    block: str = choice("calm", BLOCKS)
    weight: str = choice("11", tuple(str(i) for i in range(GROUP_SIZE)), style="drawn")


@dataclass(frozen=True)
class Result:
    """A block as it is stored, with every weight's way there and back; the read-outs are of the chosen one.

    `first` is the column of the first weight in its row. What is not stored, `zero_point` or `min`, is None.
    """

    controls: Controls
    first: int
    weights: NDArray[np.float32]
    fitted: grid.Grid
    codes: NDArray[np.int32]
    values: NDArray[Any]
    w: float
    q: int
    restored: float
    error: float
    scale: float
    zero_point: int | None
    min: float | None
    bits_per_weight: float


def compute(controls: Controls) -> Result:
    """Quantize a block of real weights, and follow one of them."""
    weights, first = block_weights(controls.block, GROUP_SIZE), start(controls.block, GROUP_SIZE)
    return quantize_block(controls, weights, first)


def quantize_block(controls: Controls, weights: NDArray[np.float32], first: int) -> Result:
    """Quantize a block in one of the three conventions.

    The float offset is the very grid of the zero-point, written the other way, so that the reader can see
    that nothing moves: minimum = −scale · zero_point.
    """
    bits, chosen = int(controls.bits), int(controls.weight)
    fitted = fit(controls.convention)(weights, bits)
    if controls.convention == "float_offset":
        fitted = grid.as_float_offset(fitted)
    codes = fitted.quantize(weights)
    values = fitted.dequantize(codes)
    w, restored = float(weights[chosen]), float(values[chosen])
    return Result(
        controls,
        first,
        weights,
        fitted,
        codes,
        values,
        w=w,
        q=int(codes[chosen]),
        restored=restored,
        error=float(values[chosen] - weights[chosen]),
        scale=float(fitted.scale),
        zero_point=None if fitted.zero_point is None else int(fitted.zero_point),
        min=None if fitted.minimum is None else float(fitted.minimum),
        bits_per_weight=rtn.bits_per_weight(bits, GROUP_SIZE, fitted.scheme),
    )


def fit(convention: str) -> Callable[[NDArray[np.float32], int], grid.Grid]:
    return grid.fit_symmetric if convention == "symmetric" else grid.fit_asymmetric


def on_own(controls: Controls, own: Own) -> View:
    """The same on a reader's own weights."""
    return view(quantize_block(controls, own.take(GROUP_SIZE), own.column), own)


def view(result: Result, own: Own | None = None) -> View:
    controls, chosen, levels = result.controls, int(result.controls.weight), result.fitted.levels()
    convention, error = controls.convention, result.values - result.weights
    low, high = (numbers.integer(int(code)) for code in result.fitted.code_range)
    identity = _identity(result)
    stored_offset = (
        Readout.of(result, "zero_point", str) if result.min is None else Readout.of(result, "min", _precise)
    )
    source = Sentence("from_own", name=own.name) if own else Sentence(f"from_{controls.block}")
    return View(
        readouts=(
            Readout.of(result, "w", _number),
            Readout.of(result, "q", numbers.integer, accent=True),
            Readout.of(result, "restored", _number),
            Readout.of(result, "error", _signed),
            Readout.of(result, "scale", _precise),
            stored_offset,
            Readout.of(result, "bits_per_weight", _number),
        ),
        plots={"weights": PlotScales(Scale(_domain(result.weights, int(controls.bits))))},
        drawing=_drawing(result, levels) | {"identity": identity, "range": {"low": low, "high": high}},
        description=(
            Sentence("chosen", column=str(result.first + chosen)),
            Sentence(
                "levels", n=str(GROUP_SIZE), levels=str(len(levels)), used=str(len(np.unique(result.codes)))
            ),
            Sentence(
                f"reads_{convention}", **identity, levels=str(len(levels)), spare=str(2 ** int(controls.bits))
            ),
        ),
        table=Table(
            (
                Column("column", str),
                Column("weight", lambda v: numbers.fixed(v, 5)),
                Column("code", numbers.integer),
                Column("restored", lambda v: numbers.fixed(v, 5)),
                Column("error", lambda v: numbers.signed(v, 5)),
            ),
            tuple(
                (
                    result.first + i,
                    float(result.weights[i]),
                    int(result.codes[i]),
                    float(result.values[i]),
                    float(error[i]),
                )
                for i in range(GROUP_SIZE)
            ),
            frozenset({chosen}),
        ),
        formulas=_formulas(result),
        ran=(
            fit(convention),
            grid.Grid.quantize,
            grid.Grid.dequantize,
            grid.as_float_offset,
            rtn.bits_per_weight,
        ),
        notes=(source, *[Sentence("free_offset")] * (convention == "float_offset")),
    )


def _identity(result: Result) -> dict[str, str]:
    """Zero-point and minimum of the same grid, whichever of the two is stored."""
    minimum, zero_point = result.min, result.zero_point
    if minimum is None:
        assert zero_point is not None
        minimum = -result.scale * zero_point
    elif zero_point is None:
        zero_point = round(-minimum / result.scale)
    return {"zero_point": str(zero_point), "min": _precise(minimum), "step": _precise(result.scale)}


def _drawing(result: Result, levels: NDArray[Any]) -> dict[str, Any]:
    controls, weights, codes = result.controls, result.weights, result.codes
    bits, chosen = int(controls.bits), int(controls.weight)
    x = Scale(_domain(weights, bits))
    lanes = _lanes([x(float(w)) / 100 * NARROWEST for w in weights])
    axis = (max(lanes) + 1) * LANE + 6
    height = axis + FALL
    low_code = result.fitted.code_range[0]
    taken = np.bincount(codes - low_code, minlength=len(levels))
    places = max(1, 1 - int(np.floor(np.log10(float(np.ptp(weights))))))
    top = [axis - 8 - LANE * (lane + 0.5) for lane in lanes]

    def path(i: int) -> str:
        """From the dot down to the axis, then over to its level, in a square of 1000 by 1000."""
        begin, end = 10 * x(float(weights[i])), 10 * x(float(result.values[i]))
        dot, line = 1000 * top[i] / height, 1000 * axis / height
        bend = (line + 1000) / 2
        down = f"M{begin:.2f} {dot:.1f} L{begin:.2f} {line:.1f}"
        return f"{down} C{begin:.2f} {bend:.1f} {end:.2f} {bend:.1f} {end:.2f} 1000"

    return {
        "axis": axis,
        "height": height,
        "w_ticks": [
            {"at": x.percent(v), "text": numbers.fixed(v, places)} for v in linear_ticks(*x.domain, 5)
        ],
        "dots": [
            {
                "index": str(i),
                "x": x.percent(float(w)),
                "y": top[i],
                "path": path(i),
                "column": str(result.first + i),
                "w": _number(float(w)),
                "q": numbers.integer(int(codes[i])),
            }
            for i, w in enumerate(weights)
        ],
        "chosen": chosen,
        "path": path(chosen),
        "levels": [
            {
                "x": x.percent(float(value)),
                "code": numbers.integer(low_code + i),
                "taken": int(taken[i]),
                "radius": 3 if taken[i] == 0 else 5,
                "chosen": low_code + i == result.q,
                "value": _number(float(value)),
            }
            for i, value in enumerate(levels)
        ],
        "ends": [
            {
                "x": x.percent(float(value)),
                "text": numbers.fixed(float(value), places + 1),
                "anchor": _anchor(x(float(value))),
            }
            for value in levels[[0, -1]]
        ],
        "equations": _equations(result),
        "stored": {
            "codes": GROUP_SIZE * bits,
            "scale": rtn.SCALE_BITS,
            "offset": {"zero_point": bits, "float_offset": rtn.OFFSET_BITS, "symmetric": 0}[
                controls.convention
            ],
        },
    }


def _anchor(percent: float) -> str:
    """Where a label at this place is held so that it stays inside the drawing."""
    return "start" if percent < 6 else "end" if percent > 94 else "middle"


def _domain(weights: NDArray[np.float32], bits: int) -> tuple[float, float]:
    """The range of the weights and of every convention's levels: the axis stands still between them."""
    ends = [fit(weights, bits).levels()[[0, -1]] for fit in (grid.fit_asymmetric, grid.fit_symmetric)]
    low, high = float(min(e[0] for e in ends)), float(max(e[1] for e in ends))
    margin = 0.02 * (high - low)
    return min(low, float(weights.min())) - margin, max(high, float(weights.max())) + margin


def _lanes(positions: list[float]) -> list[int]:
    """The lowest free lane for each dot, so that no two of a lane touch; a crowd stands closer."""
    lanes = [0] * len(positions)
    ends = [-np.inf] * MOST_LANES
    for i in sorted(range(len(positions)), key=positions.__getitem__):
        free = [lane for lane, end in enumerate(ends) if positions[i] - end >= LANE]
        lanes[i] = free[0] if free else int(np.argmin(ends))
        ends[lanes[i]] = positions[i]
    return lanes


def _equations(result: Result) -> list[dict[str, Any]]:
    """Three equations, token by token: each symbol with its number, so that they stand in one column."""
    scale: Token = ("scale", _precise(result.scale))
    weight: Token = ("w", _bracketed(_number(result.w)))
    code: Token = ("q", numbers.integer(result.q))
    if result.min is not None:
        offset = ("min", _bracketed(_precise(result.min)))
        forward = ["round((", weight, "−", offset, ") /", scale, ")"]
        back = [scale, "·", code, "+", offset]
    elif result.controls.convention == "symmetric":
        forward = ["round(", weight, "/", scale, ")"]
        back = [scale, "·", ("q", _bracketed(numbers.integer(result.q)))]
    else:
        offset = ("zero_point", str(result.zero_point))
        forward = ["round(", weight, "/", scale, ") +", offset]
        back = [scale, "· (", code, "−", offset, ")"]
    hat: Token = ("ŵ", _number(result.restored))
    return [
        _equation("store", [code, "=", *forward]),
        _equation("restore", [hat, "=", *back]),
        _equation("lose", [("error", _signed(result.error)), "=", hat, "−", weight]),
    ]


def _equation(name: str, tokens: list[Token]) -> dict[str, Any]:
    """`spoken` is the equation in symbols and then in numbers, for a reader who does not see the columns."""
    symbols, values = zip(*((t, t) if isinstance(t, str) else t for t in tokens), strict=True)
    return {
        "name": name,
        "tokens": [
            {"symbol": symbol, "number": number, "sign": isinstance(token, str)}
            for token, symbol, number in zip(tokens, symbols, values, strict=True)
        ],
        "spoken": f"{' '.join(symbols)}; {' '.join(values)}",
    }


def _number(value: float) -> str:
    return numbers.significant(value, 4)


def _precise(value: float) -> str:
    """A digit more for what is multiplied by a code: the printed equations then hold as printed."""
    return numbers.significant(value, 5)


def _bracketed(printed: str) -> str:
    return f"({printed})" if printed.startswith(numbers.MINUS) else printed


def _signed(value: float) -> str:
    text = numbers.significant(value)
    return text if value <= 0 else f"+{text}"


def _formulas(result: Result) -> tuple[str, ...]:
    convention, q = result.controls.convention, result.q
    s, number, hat = tex(_precise(result.scale)), tex(_number(result.w)), tex(_number(result.restored))
    known = {key: tex(text) for key, text in _identity(result).items()}
    z, low = known["zero_point"], known["min"]
    store, back = {
        "zero_point": (
            rf"q = \operatorname{{round}}(w / s) + z = \operatorname{{round}}({number} / {s}) + {z} = {q}",
            rf"\hat w = s \, (q - z) = {s} \cdot ({q} - {z}) = {hat}",
        ),
        "float_offset": (
            rf"q = \operatorname{{round}}\left(\frac{{w - \mathrm{{min}}}}{{s}}\right)"
            rf" = \operatorname{{round}}\left(\frac{{{number} - ({low})}}{{{s}}}\right) = {q}",
            rf"\hat w = s \, q + \mathrm{{min}} = {s} \cdot {q} + ({low}) = {hat}",
        ),
        "symmetric": (
            rf"q = \operatorname{{round}}(w / s) = \operatorname{{round}}({number} / {s}) = {q}",
            rf"\hat w = s \, q = {s} \cdot ({q}) = {hat}",
        ),
    }[convention]
    lost = rf"\hat w - w = {hat} - ({number}) = {tex(_signed(result.error))}"
    same = rf"\mathrm{{min}} = -s \, z = -{s} \cdot {z} = {low}"
    return (store, back, lost) if convention == "symmetric" else (store, back, lost, same)


FIGURE = Figure("primitive", "fig-0a", "FIG.0A", Controls, compute, view, shows="block", on_own=on_own)
