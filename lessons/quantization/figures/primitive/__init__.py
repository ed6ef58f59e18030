"""FIG.0A: the whole primitive: weights on a line, the allowed levels below it, and which goes to which."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice
from lessons.kit.figure import Figure
from lessons.kit.mathml import tex
from lessons.kit.own import Own
from lessons.kit.scales import Scale, linear_ticks
from lessons.kit.view import Column, Plot, Readout, Sentence, Table, View
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


@dataclasses.dataclass(frozen=True)
class Stored:
    """A block as it is stored: its codes and its grid, with every weight's way there and back."""

    weights: NDArray[np.float32]
    fitted: grid.Grid
    codes: NDArray[np.int32]
    restored: NDArray[Any]
    error: NDArray[Any]

    @property
    def scale(self) -> float:
        return float(self.fitted.scale)

    @property
    def zero_point(self) -> int:
        assert self.fitted.zero_point is not None
        return int(self.fitted.zero_point)

    @property
    def minimum(self) -> float:
        assert self.fitted.minimum is not None
        return float(self.fitted.minimum)


def quantize_block(weights: NDArray[np.float32], bits: int, convention: str) -> Stored:
    """Quantize a block in one of the three conventions.

    The float offset is the very grid of the zero-point, written the other way, so that the reader can see
    that nothing moves: minimum = −scale · zero_point.
    """
    fitted = _fit(convention)(weights, bits)
    if convention == "float_offset":
        fitted = grid.as_float_offset(fitted)
    codes = fitted.quantize(weights)
    restored = fitted.dequantize(codes)
    return Stored(weights, fitted, codes, restored, restored - weights)


def _fit(convention: str) -> Callable[[NDArray[np.float32], int], grid.Grid]:
    return grid.fit_symmetric if convention == "symmetric" else grid.fit_asymmetric


def view(c: Controls, own: Own | None = None) -> View:
    weights = own.take(GROUP_SIZE) if own else block_weights(c.block, GROUP_SIZE)
    bits = int(c.bits)
    block = quantize_block(weights, bits, c.convention)
    chosen, first = int(c.weight), own.column if own else start(c.block, GROUP_SIZE)
    bits_per_weight = rtn.bits_per_weight(bits, GROUP_SIZE, block.fitted.scheme)
    levels = block.fitted.levels()
    w, q = float(weights[chosen]), int(block.codes[chosen])
    restored, error = float(block.restored[chosen]), float(block.error[chosen])

    values = {
        "n": str(GROUP_SIZE),
        "levels": str(len(levels)),
        "used": str(len(np.unique(block.codes))),
        "column": str(first + chosen),
        "w": _number(w),
        "q": numbers.integer(q),
        "low": numbers.integer(int(block.fitted.code_range[0])),
        "high": numbers.integer(int(block.fitted.code_range[1])),
        "restored": _number(restored),
        "error": _signed(error),
        "spare": str(2**bits),
        "scale": _precise(block.scale),
    }
    identity = _identity_values(block)
    source = Sentence("from_own", name=own.name) if own else Sentence(f"from_{c.block}")
    notes = [source, *[Sentence("free_offset")] * (c.convention == "float_offset")]
    return View(
        readouts=(
            Readout("w", w, _number(w)),
            Readout("q", q, numbers.integer(q), accent=True),
            Readout("restored", restored, _number(restored)),
            Readout("error", error, _signed(error)),
            Readout("scale", block.scale, _precise(block.scale)),
            _offset(block),
            Readout("bits_per_weight", bits_per_weight, _number(bits_per_weight)),
        ),
        plots={"weights": Plot(Scale(_domain(weights, bits)))},
        drawing=_drawing(c, block, levels, chosen, first)
        | {"identity": identity, "range": {"low": values["low"], "high": values["high"]}},
        description=(
            Sentence("chosen", **values),
            Sentence("levels", **values),
            Sentence(f"reads_{c.convention}", **values, **identity),
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
                    first + i,
                    float(weights[i]),
                    int(block.codes[i]),
                    float(block.restored[i]),
                    float(block.error[i]),
                )
                for i in range(GROUP_SIZE)
            ),
            frozenset({chosen}),
        ),
        formulas=_formulas(block, c, w, q, restored, error),
        ran=(
            _fit(c.convention),
            grid.Grid.quantize,
            grid.Grid.dequantize,
            grid.as_float_offset,
            rtn.bits_per_weight,
        ),
        notes=tuple(notes),
    )


def _offset(block: Stored) -> Readout:
    """What the block stores beside its scale."""
    if block.fitted.minimum is not None:
        return Readout("min", block.minimum, _precise(block.minimum))
    return Readout("zero_point", block.zero_point, str(block.zero_point))


def _identity_values(block: Stored) -> dict[str, str]:
    """Zero-point and minimum of the same grid, whichever of the two is stored."""
    if block.fitted.minimum is None:
        zero_point = block.zero_point
        minimum = -block.scale * zero_point
    else:
        minimum = block.minimum
        zero_point = round(-minimum / block.scale)
    return {"zero_point": str(zero_point), "min": _precise(minimum), "step": _precise(block.scale)}


def _drawing(c: Controls, block: Stored, levels: NDArray[Any], chosen: int, first: int) -> dict[str, Any]:
    bits, weights = int(c.bits), block.weights
    x = Scale(_domain(weights, bits))
    lanes = _lanes([x(float(w)) / 100 * NARROWEST for w in weights])
    axis = (max(lanes) + 1) * LANE + 6
    height = axis + FALL
    low_code = block.fitted.code_range[0]
    taken = np.bincount(block.codes - low_code, minlength=len(levels))
    places = max(1, 1 - int(np.floor(np.log10(float(np.ptp(weights))))))
    top = [axis - 8 - LANE * (lane + 0.5) for lane in lanes]

    def path(i: int) -> str:
        """From the dot down to the axis, then over to its level, in a square of 1000 by 1000."""
        begin, end = 10 * x(float(weights[i])), 10 * x(float(block.restored[i]))
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
                "column": str(first + i),
                "w": _number(float(w)),
                "q": numbers.integer(int(block.codes[i])),
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
                "chosen": low_code + i == int(block.codes[chosen]),
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
        "equations": _equations(block, c.convention, chosen),
        "stored": {
            "codes": GROUP_SIZE * bits,
            "scale": rtn.SCALE_BITS,
            "offset": {"zero_point": bits, "float_offset": rtn.OFFSET_BITS, "symmetric": 0}[c.convention],
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


def _equations(block: Stored, convention: str, chosen: int) -> list[dict[str, Any]]:
    """Three equations, token by token: each symbol with its number, so that they stand in one column."""
    w, q = float(block.weights[chosen]), int(block.codes[chosen])
    restored, error = float(block.restored[chosen]), float(block.error[chosen])
    scale: Token = ("scale", _precise(block.scale))
    weight: Token = ("w", _bracketed(_number(w)))
    code: Token = ("q", numbers.integer(q))
    if convention == "float_offset":
        offset = ("min", _bracketed(_precise(block.minimum)))
        forward = ["round((", weight, "−", offset, ") /", scale, ")"]
        back = [scale, "·", code, "+", offset]
    elif convention == "symmetric":
        forward = ["round(", weight, "/", scale, ")"]
        back = [scale, "·", ("q", _bracketed(numbers.integer(q)))]
    else:
        offset = ("zero_point", str(block.zero_point))
        forward = ["round(", weight, "/", scale, ") +", offset]
        back = [scale, "· (", code, "−", offset, ")"]
    hat: Token = ("ŵ", _number(restored))
    return [
        _equation("store", [code, "=", *forward]),
        _equation("restore", [hat, "=", *back]),
        _equation("lose", [("error", _signed(error)), "=", hat, "−", weight]),
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


def _formulas(block: Stored, c: Controls, w: float, q: int, restored: float, error: float) -> tuple[str, ...]:
    s, number, hat = tex(_precise(block.scale)), tex(_number(w)), tex(_number(restored))
    known = {key: tex(text) for key, text in _identity_values(block).items()}
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
    }[c.convention]
    lost = rf"\hat w - w = {hat} - ({number}) = {tex(_signed(error))}"
    same = rf"\mathrm{{min}} = -s \, z = -{s} \cdot {z} = {low}"
    return (store, back, lost) if c.convention == "symmetric" else (store, back, lost, same)


FIGURE = Figure("primitive", "fig-0a", "FIG.0A", Controls, None, view, on_own=view)
