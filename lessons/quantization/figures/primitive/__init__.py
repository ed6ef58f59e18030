"""FIG.0A: the whole primitive: weights on a line, the allowed levels below it, and which goes to which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice, slider
from lessons.kit.figure import Figure
from lessons.kit.mathml import tex
from lessons.kit.own import Own
from lessons.kit.scales import Scale, linear_ticks
from lessons.kit.view import Column, PlotScales, Readout, Sentence, Table, View
from lessons.quantization.blocks import BLOCKS, block_weights, start
from quant_core.methods import grid, rtn

GROUP_SIZE = 32
CONVENTIONS = ("zero_point", "float_offset", "symmetric")

AXIS, FALL = 30, 148
"""Pixels from the top down to the line of the weights, and from there to the levels."""


Term = tuple[str, str, str, str, str]
"""Of the formula: a sign, what opens a bracket, a name, its printed value, and what closes the bracket."""


class Controls(FigureControls):
    weight: int = slider(11, low=0, high=GROUP_SIZE - 1)
    convention: str = choice("zero_point", CONVENTIONS, style="segments")
    bits: str = choice("4", ("2", "3", "4"), style="segments")
    block: str = choice("calm", BLOCKS)


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
    bits, chosen = int(controls.bits), controls.weight
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
    controls, levels = result.controls, result.fitted.levels()
    convention, identity, n = controls.convention, _identity(result), str(GROUP_SIZE)
    offset = "zero_point" if result.min is None else "min"
    stored = _stored_bits(controls)
    return View(
        readouts=(
            Readout.of(result, "q", numbers.integer, accent=True),
            Readout.of(result, "restored", _number, accent=True),
            Readout.of(result, "bits_per_weight", _number),
            Readout.of(result, "w", _number),
            Readout.of(result, "error", _signed),
            Readout.of(result, "scale", _precise),
            Readout.of(result, offset, str if offset == "zero_point" else _precise),
        ),
        plots={"weights": PlotScales(Scale(_domain(result.weights, int(controls.bits))))},
        drawing=_drawing(result, levels),
        description=(
            Sentence(f"finding_{_finding(result)}", **_in_brackets(result), n=n),
            Sentence("chosen", column=str(result.first + controls.weight)),
            Sentence("levels", n=n, levels=str(len(levels)), used=str(len(np.unique(result.codes)))),
            Sentence(
                f"reads_{convention}", **identity, levels=str(len(levels)), spare=str(2 ** int(controls.bits))
            ),
            Sentence(f"stored_{convention}", n=n, bits=controls.bits, **stored),
        ),
        table=_table(result),
        formulas=_formulas(result),
        ran=(
            fit(convention),
            grid.Grid.quantize,
            grid.Grid.dequantize,
            grid.as_float_offset,
            rtn.bits_per_weight,
        ),
        notes=(
            Sentence("from_own", name=own.name) if own else Sentence(f"from_{controls.block}"),
            *[Sentence("free_offset")] * (convention == "float_offset"),
        ),
        source=Sentence("own" if own else f"source_{controls.block}", n=n),
    )


def _table(result: Result) -> Table:
    error = result.values - result.weights
    columns = (
        Column("column", str),
        Column("weight", lambda v: numbers.fixed(v, 5)),
        Column("code", numbers.integer),
        Column("restored", lambda v: numbers.fixed(v, 5)),
        Column("error", lambda v: numbers.signed(v, 5)),
    )
    rows = (
        (
            result.first + i,
            float(result.weights[i]),
            int(result.codes[i]),
            float(result.values[i]),
            float(error[i]),
        )
        for i in range(GROUP_SIZE)
    )
    return Table(columns, tuple(rows), frozenset({result.controls.weight}))


def _identity(result: Result) -> dict[str, str]:
    """Zero-point and minimum of the same grid, whichever of the two is stored."""
    minimum, zero_point = result.min, result.zero_point
    if minimum is None:
        assert zero_point is not None
        minimum = -result.scale * zero_point
    elif zero_point is None:
        zero_point = round(-minimum / result.scale)
    return {"zero_point": str(zero_point), "min": _precise(minimum), "step": _precise(result.scale)}


def _finding(result: Result) -> str:
    """What is found of the chosen weight: that it is lost, or how its convention writes it."""
    return "lost" if result.restored == 0 != result.w else result.controls.convention


def _in_brackets(result: Result) -> dict[str, str]:
    """The code and the minimum as they stand in the finding: a negative one in brackets, or subtracted."""
    low = 0.0 if result.min is None else result.min
    return {"code": _bracketed(numbers.integer(result.q)), "low": _precise(abs(low))}


def _stored_bits(controls: Controls) -> dict[str, str]:
    """What the block takes besides the codes."""
    offset = {"zero_point": int(controls.bits), "float_offset": rtn.OFFSET_BITS, "symmetric": 0}
    return {"scale_bits": str(rtn.SCALE_BITS), "offset_bits": str(offset[controls.convention])}


def _drawing(result: Result, levels: NDArray[Any]) -> dict[str, Any]:
    controls, weights, codes = result.controls, result.weights, result.codes
    bits, chosen = int(controls.bits), controls.weight
    x = Scale(_domain(weights, bits))
    foot = AXIS + FALL
    low_code = result.fitted.code_range[0]
    taken = np.bincount(codes - low_code, minlength=len(levels))
    places = max(1, 1 - int(np.floor(np.log10(float(np.ptp(weights))))))

    def path(i: int) -> str:
        """From the weight down to its level, in a square of 1000 by 1000."""
        begin, end = 10 * x(float(weights[i])), 10 * x(float(result.values[i]))
        line = 1000 * AXIS / foot
        bend = (line + 1000) / 2
        return f"M{begin:.2f} {line:.1f} C{begin:.2f} {bend:.1f} {end:.2f} {bend:.1f} {end:.2f} 1000"

    return {
        "axis": AXIS,
        "height": foot,
        "w_ticks": [
            {"at": x.percent(v), "text": numbers.fixed(v, places)} for v in linear_ticks(*x.domain, 5)
        ],
        "dots": [
            {
                "x": x.percent(float(w)),
                "path": path(i),
                "column": str(result.first + i),
                "w": _number(float(w)),
                "q": numbers.integer(int(codes[i])),
            }
            for i, w in enumerate(weights)
        ],
        "path": path(chosen),
        "chosen": {
            "x": x.percent(result.w),
            "anchor": _anchor(x(result.w)),
            "w": _number(result.w),
            "level": x.percent(result.restored),
        },
        "levels": [
            {
                "x": x.percent(float(value)),
                "code": numbers.integer(low_code + i),
                "taken": int(taken[i]),
                "chosen": low_code + i == result.q,
            }
            for i, value in enumerate(levels)
        ],
        **_formula(result),
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


def _formula(result: Result) -> dict[str, Any]:
    """How the chosen weight is read back, term by term: a sign before, a symbol and a number."""
    code = numbers.integer(result.q)
    rest: list[Term]
    if result.min is not None:
        sign = "−" if result.min else "+"
        rest = [("×", "", "q", code, ""), (sign, "", "min", _precise(abs(result.min)), "")]
    elif result.controls.convention == "symmetric":
        rest = [("×", "", "q", _bracketed(code), "")]
    else:
        rest = [("×", "(", "q", code, ""), ("−", "", "zero_point", str(result.zero_point), ")")]
    scale: Term = ("=", "", "scale", _precise(result.scale), "")
    terms = [("", "", "restored", _number(result.restored), ""), scale, *rest]
    return {
        "terms": [
            {"before": before, "open": opens, "name": name, "number": number, "after": after}
            for before, opens, name, number, after in terms
        ],
        "spoken": " ".join(f"{before} {opens}{number}{after}" for before, opens, _, number, after in terms),
        "error": _signed(result.error),
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
