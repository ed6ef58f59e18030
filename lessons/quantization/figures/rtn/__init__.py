"""FIG.02: a real block of weights snaps to a grid or to the levels of a format, one nudge for each weight."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice, slider
from lessons.kit.figure import Figure
from lessons.kit.language import gettext as _
from lessons.kit.mathml import tex
from lessons.kit.own import Own, OwnError
from lessons.kit.scales import Scale
from lessons.kit.view import Column, Limit, PlotScales, Readout, Sentence, Table, View
from lessons.quantization.blocks import BLOCKS, block_weights, row_length, start
from lessons.quantization.figures.rtn.levels import (
    QUANTIZED_TOGETHER,
    SIZES,
    UNEVEN,
    Array,
    Snapped,
    drawn_from,
    snap,
    snap_to_grid,
)
from quant_core import ggml
from quant_core.methods import metrics, nf4, rtn
from quant_core.methods.grid import Grid, Scheme

HEIGHT = 264
"""Pixels from the highest level to the lowest."""
STRIP, GAP, HALF_STEP = 60, 24, 24
"""Pixels of the strip of errors under the levels, of the space between, and of half a step in the strip."""

MOST_LINES = 32
LABEL_DISTANCE = 36
BARS = {16: 10, 32: 6, 64: 4, 128: 3}
"""Pixels of the width of an error's bar, by the number of weights."""

BEYOND = 0.5 + 1e-3
"""Steps that a weight may move: half of one, but for the rounding of float32."""

FP16_BITS = 16
PLAIN = "grid"
TWO_LEVELS = "Q1_0"
"""Has no level at zero or nearest to it, and the mean magnitude sets its two, not the largest weight."""


class Controls(FigureControls):
    bits: int = slider(4, low=2, high=8)
    stretch: int = slider(1, low=1, high=16, unit="×")
    block: str = choice("calm", BLOCKS)
    format: str = choice(PLAIN, (PLAIN, *SIZES))
    group_size: str = choice("32", ("16", "32", "64", "128"), style="segments")
    scheme: Scheme = choice("asymmetric", ("asymmetric", "symmetric"), style="segments")


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """A block of n weights on its levels; the read-outs have their names.

    `first` is the column of the first weight in its row, `offset` its place among those that were quantized
    together, `largest` the place of the largest in the block; `others` are the levels of all but that one.
    `at_zero` are the places of those of the others that are on the level nearest to zero, `zero`: none in
    Q1_0, whose two are equally far. `wider` is how many times as wide the steps are as without the stretch.
    """

    controls: Controls
    first: int
    offset: int
    weights: Array
    snapped: Snapped
    largest: int
    others: Array
    error: Array
    zero: float
    at_zero: NDArray[np.intp]
    wider: float
    bits_per_weight: float
    levels: int
    storage: float
    step: float
    widest_step: float
    mean_error: float
    worst_error: float
    sqnr: float
    others_sqnr: float
    zeros: int


def compute(controls: Controls) -> Result:
    """Round a block of real weights, once its largest weight is scaled up."""
    size, together = sizes(controls)
    shared, begin = block_weights(controls.block, together).copy(), start(controls.block, together)
    offset = drawn_from(shared, controls.format, start(controls.block, size) - begin)
    return rounded(controls, shared, offset, begin + offset)


def sizes(controls: Controls) -> tuple[int, int]:
    """How many weights are drawn, and how many are quantized together."""
    if controls.format == PLAIN:
        return int(controls.group_size), int(controls.group_size)
    return SIZES[controls.format], QUANTIZED_TOGETHER[controls.format]


def rounded(controls: Controls, shared: Array, offset: int, first: int) -> Result:
    """Round weights that share a scale, and measure those that are drawn, from `offset` on."""
    weights = shared[offset : offset + sizes(controls)[0]]
    largest = int(np.argmax(np.abs(weights)))
    unstretched = snapped_of(controls, shared, offset)
    weights[largest] *= controls.stretch
    snapped = snapped_of(controls, shared, offset)

    error = snapped.values - weights
    others, on_levels = np.delete(weights, largest), np.delete(snapped.values, largest)
    zero = snapped.levels[np.argmin(np.abs(snapped.levels))]
    at_zero = np.flatnonzero((snapped.values == zero) & (np.arange(len(weights)) != largest))
    if controls.format == TWO_LEVELS:
        at_zero = at_zero[:0]
    return Result(
        controls,
        first,
        offset,
        weights,
        snapped,
        largest,
        on_levels,
        error,
        float(zero),
        at_zero,
        wider=snapped.spacing[1] / unstretched.spacing[1],
        bits_per_weight=snapped.bits_per_weight,
        levels=int(snapped.levels.size),
        storage=snapped.bits_per_weight / FP16_BITS,
        step=snapped.spacing[0],
        widest_step=snapped.spacing[1],
        mean_error=float(np.abs(error).mean()),
        worst_error=float(np.abs(error).max()),
        sqnr=metrics.sqnr_db(weights, snapped.values),
        others_sqnr=sqnr_of_others(others, on_levels),
        zeros=len(at_zero),
    )


def snapped_of(controls: Controls, shared: Array, offset: int) -> Snapped:
    """The drawn weights on their levels: a plain grid of their own, or that of the format."""
    if controls.format == PLAIN:
        snapped = snap_to_grid(shared, controls.bits, controls.scheme)
    else:
        snapped = snap(shared, controls.format, offset)
    if snapped.levels.size < 2:
        raise ValueError("these weights are too small for the scale of this format")
    return snapped


def sqnr_of_others(weights: Array, values: Array) -> float:
    """As `metrics.sqnr_db`; −∞ where all weights are zero and their values are not."""
    if not weights.any() and values.any():
        return float("-inf")
    return metrics.sqnr_db(weights, values)


def on_own(controls: Controls, own: Own) -> View:
    """The same on a reader's own weights."""
    shared = own.take(sizes(controls)[1])
    try:
        offset = drawn_from(shared, controls.format, 0)
        result = rounded(controls, shared, offset, own.column + offset)
    except ValueError:
        message = _("These weights are too small for the scale of %(format)s.", format=controls.format)
        raise OwnError(message) from None
    return view(result, own)


def view(result: Result, own: Own | None = None) -> View:
    controls, weights, values = result.controls, result.weights, result.snapped.values
    first, size, worst = result.first, len(weights), int(np.argmax(np.abs(result.error)))
    ratio = r"10 \log_{10} \frac{\sum w^2}{\sum (w - \hat w)^2}"
    sqnr = Readout.of(result, "sqnr", _decibels, "dB")

    return View(
        readouts=(
            Readout.of(result, "step", lambda _: _spacing(result)),
            Readout.of(result, "zeros", str, f"/ {size - 1}", accent=True),
            Readout.of(result, "mean_error", numbers.significant),
            Readout.of(result, "bits_per_weight", lambda v: numbers.fixed(v, 2)),
            Readout.of(result, "levels", numbers.integer),
            Readout.of(result, "storage", lambda v: numbers.fixed(100 * v, 1), "%"),
            Readout.of(result, "worst_error", numbers.significant),
            sqnr,
            Readout.of(result, "others_sqnr", _decibels, "dB"),
        ),
        drawing=_drawing(result),
        plots={"levels": PlotScales(*_scales(weights, result.snapped))},
        description=tuple(_description(result, worst)),
        table=Table(
            (
                Column("column", str),
                Column("weight", lambda v: numbers.fixed(v, 5)),
                Column("code", numbers.integer),
                Column("snapped", lambda v: numbers.fixed(v, 5)),
                Column("error", lambda v: numbers.signed(v, 5)),
            ),
            tuple(
                (first + i, float(weights[i]), int(code), float(values[i]), float(result.error[i]))
                for i, code in enumerate(result.snapped.codes)
            ),
            frozenset({worst}),
        ),
        formulas=(*_formulas(result), rf"\mathrm{{SQNR}} = {ratio} = {tex(sqnr.text)}\;\mathrm{{dB}}"),
        ran=(*_functions(controls), metrics.sqnr_db),
        notes=tuple(_notes(controls, first + result.largest, own)),
        source=Sentence("own" if own else f"source_{controls.block}", n=str(size)),
        limits=_limits(controls.format),
    )


def _description(result: Result, worst: int) -> Iterable[Sentence]:
    yield _finding(result)
    others = str(len(result.others))
    yield Sentence("errors", where=str(result.first + worst))
    key = "others_two" if result.controls.format == TWO_LEVELS else "others"
    yield Sentence(key, largest=str(result.first + result.largest), others=others)


def _finding(result: Result) -> Sentence:
    """What rounding did to the block, in one sentence that is true of this state."""
    controls, others = result.controls, result.others
    n, left = str(len(result.weights)), str(len(others))
    steps = result.worst_error / result.widest_step
    said = {"n": n, "format": controls.format, "steps": numbers.fixed(steps, 2)}
    if controls.format == TWO_LEVELS:
        key = "two_stretched" if controls.stretch > 1 else "two"
        return Sentence(key, **said, factor=str(controls.stretch), wider=numbers.times(result.wider))
    one_code = np.unique(np.delete(result.snapped.codes, result.largest)).size == 1
    if one_code and np.allclose(others, others[0]):
        return Sentence("drowned", others=left, value=numbers.significant(float(others[0])))
    if controls.stretch > 1:
        factor, wider = str(controls.stretch), numbers.times(result.wider, 1)
        return Sentence(f"stretched_{_zeros(result)}", others=left, factor=factor, wider=wider)
    if controls.format == PLAIN:
        return Sentence(f"snapped_{_zeros(result)}", n=n, bits=str(controls.bits))
    kind = "even" if result.step == result.widest_step else "uneven"
    if steps > BEYOND:
        kind += "_beyond"
    return Sentence(f"format_{kind}", **said)


def _zeros(result: Result) -> str:
    """Which sentence says how many of the others are on zero, or on the level nearest to it."""
    count = "none" if result.zeros == 0 else "one" if result.zeros == 1 else "some"
    return count if result.zero == 0 or count == "none" else f"{count}_nearest"


def _limits(format: str) -> dict[str, Limit]:
    """A format leaves neither the bits nor the block nor the grid to choose."""
    if format == PLAIN:
        return {}
    decided = Limit(Sentence("format_decides", format=format))
    return {"bits": decided, "group_size": decided, "scheme": decided}


def _functions(controls: Controls) -> tuple[Callable[..., Any], ...]:
    """The functions of the library that rounded the block."""
    if controls.format == PLAIN:
        return (rtn.round_to_nearest, Grid.quantize, Grid.dequantize)
    if controls.format == "NF4":
        return (nf4.quantize, nf4.NF4.dequantize)
    return (ggml.quantize, ggml.fields, ggml.dequantize)


def _decibels(sqnr: float) -> str:
    """Infinite where every weight lies on its level, as may happen with a reader's own."""
    return numbers.fixed(sqnr, 1) if np.isfinite(sqnr) else numbers.significant(sqnr)


def _spacing(result: Result) -> str:
    """The gap between levels, or the narrowest and the widest."""
    narrowest, widest = result.step, result.widest_step
    if narrowest == widest:
        return numbers.significant(narrowest)
    return f"{numbers.significant(narrowest)}–{numbers.significant(widest)}"


def _notes(controls: Controls, largest: int, own: Own | None) -> Iterable[Sentence]:
    yield Sentence("from_own", name=own.name) if own else Sentence(f"from_{controls.block}")
    if controls.format != PLAIN:
        yield Sentence(f"format_{controls.format}")
        yield Sentence("format_absent")
    columns, together = row_length(controls.block), QUANTIZED_TOGETHER.get(controls.format, 1)
    if columns % together and not own:
        fallback = ggml.FORMATS[controls.format].fallback
        said = {"columns": str(columns), "block": str(together), "format": controls.format}
        yield Sentence("not_legal", **said, fallback=fallback) if fallback else Sentence("refused", **said)
    if controls.stretch > 1:
        yield Sentence("synthetic", factor=str(controls.stretch), column=str(largest))
    else:
        yield Sentence("unstretched")


def _scales(weights: NDArray[Any], snapped: Snapped) -> tuple[Scale, Scale]:
    """Columns of the block across, weights and levels upwards."""
    ends = (np.min([weights.min(), snapped.levels.min()]), np.max([weights.max(), snapped.levels.max()]))
    return Scale((-0.5, len(weights) - 0.5)), Scale((float(ends[0]), float(ends[1])), (HEIGHT, 0.0))


def _drawing(result: Result) -> dict[str, Any]:
    weights, snapped, first = result.weights, result.snapped, result.first
    lines, size = snapped.levels, len(weights)
    x, y = _scales(weights, snapped)
    every = max(1, len(lines) // MOST_LINES)
    drawn = [i for i in range(len(lines)) if i % every == 0 or i == len(lines) - 1 or lines[i] == 0]
    named = _apart([(i, y(float(lines[i]))) for i in drawn])
    ticks = range(0, size, size // 4)
    return {
        "height": HEIGHT,
        "size": size,
        "drawn_every": every,
        "levels": [
            {
                "y": y(float(lines[i])),
                "code": numbers.integer(int(snapped.level_codes[i])) if i in named else "",
                "zero": lines[i] == 0,
            }
            for i in drawn
        ],
        "x_ticks": [{"at": x.percent(i), "text": str(first + i), "minor": i in ticks[1:3]} for i in ticks],
        "marks": [
            {
                "x": x.percent(i),
                "true": y(float(w)),
                "snapped": y(float(s)),
                "top": min(y(float(w)), y(float(s))),
                "length": round(abs(y(float(w)) - y(float(s))), 3),
                "zeroed": i in result.at_zero,
            }
            for i, (w, s) in enumerate(zip(weights, snapped.values, strict=True))
        ],
        "largest": result.controls.format != TWO_LEVELS
        and {
            "x": x.percent(result.largest),
            "y": min(max(y(float(weights[result.largest])), 6), HEIGHT - 6),
            "left": result.largest >= size / 2,
        },
        **_right_side(result, y),
        **_strip(result),
    }


def _apart(places: list[tuple[int, float]]) -> set[int]:
    """Levels that can be named without touching: from the lowest up, and the highest."""
    kept = [places[0]]
    for place in places[1:]:
        if kept[-1][1] - place[1] >= LABEL_DISTANCE:
            kept.append(place)
    if kept[-1] != places[-1]:
        if kept[-1][1] - places[-1][1] < LABEL_DISTANCE / 2:
            kept.pop()
        kept.append(places[-1])
    return {i for i, _ in kept}


def _right_side(result: Result, y: Scale) -> dict[str, Any]:
    """The values of the lowest and highest level and of zero, and one step, the widest, as a bracket."""
    levels = result.snapped.levels.astype(np.float64)
    zero = y(result.zero)
    places = max(0, 2 - int(np.floor(np.log10(float(np.ptp(levels))))))
    # The label of zero has a second line under it: an end of the scale that is nearer is not named.
    ends = [(y(float(level)), float(level)) for level in levels[[0, -1]]]
    named = [(at, level) for at, level in ends if at - zero >= 32 or zero - at >= 16]
    two = result.controls.format == TWO_LEVELS
    if two:
        named = ends if ends[0][0] - ends[1][0] >= LABEL_DISTANCE / 2 else ends[1:]
    gaps = np.diff(levels)
    middles = np.array([y(float(m)) for m in (levels[1:] + levels[:-1]) / 2])
    wanted = zero / 2 if zero > HEIGHT / 2 else (zero + HEIGHT) / 2
    widest = gaps >= (1 - UNEVEN) * gaps.max()
    step = int(np.argmin(np.where(widest, np.abs(middles - wanted), np.inf)))
    top, bottom = y(float(levels[step + 1])), y(float(levels[step]))
    words = float(middles[step])
    if min(abs(words - at) for at in (zero, *[at for at, _ in named])) < 24:
        words += 20 if words < HEIGHT / 2 else -20
        if two:  # both levels are near: above the two
            words = ends[1][0] - 24
    return {
        "values": [{"y": at, "text": numbers.signed(level, places)} for at, level in named],
        "zero": {
            "y": zero,
            "text": "" if two else "0" if result.zero == 0 else numbers.significant(result.zero, 2),
            "weights": result.zeros,
            "above": zero > HEIGHT - 20,
        },
        "step": {
            "top": top,
            "length": round(bottom - top, 2),
            "words": round(words, 2),
            "value": result.widest_step,
            "text": numbers.significant(result.widest_step),
            "even": result.step == result.widest_step,
        },
    }


def _strip(result: Result) -> dict[str, Any]:
    """Every error on one scale, half of the widest step each way; further where a weight moves further."""
    middle, half = HEIGHT + GAP + STRIP / 2, result.widest_step / 2
    most = max(half * STRIP / 2 / HALF_STEP, float(np.abs(result.error).max()))
    y = Scale((-most, most), (HEIGHT + GAP + STRIP, HEIGHT + GAP))
    width = BARS[len(result.error)]
    return {
        "bar": width,
        "errors": [
            {"top": min(y(float(e)), middle), "length": round(abs(y(float(e)) - middle), 3)}
            for e in result.error
        ],
        "strip": {
            "middle": middle,
            "up": y(half),
            "down": y(-half),
            "foot": HEIGHT + GAP + STRIP,
            "close": y(-half) - y(half) < LABEL_DISTANCE / 2,
        },
    }


def _formulas(result: Result) -> tuple[str, ...]:
    """LaTeX with the numbers of this block."""
    format, stored = result.controls.format, result.snapped.stored
    if format == PLAIN:
        return _grid_formulas(result.controls, stored, result.weights)
    bits = rf"{result.bits_per_weight:g} \;\mathrm{{bits\ per\ weight}}"
    if format == "NF4":
        largest = _number(float(stored.absmax[0]))
        level = rf"\hat w = \max |w| \cdot T[q] = {largest} \cdot T[q]"
        return level, rf"4 + \frac{{32}}{{{stored.block_size}}} = {bits}"
    layout = ggml.FORMATS[format]
    part = result.offset // SIZES[format]
    sizes = rf"\frac{{8 \cdot {layout.block_bytes}}}{{{layout.block_size}}}"
    return _level(format, stored, part), f"{sizes} = {bits}"


_CODE_IN_FORMULAS = {
    "Q8_0": "q", "Q4_0": "(q - 8)", "IQ4_NL": "T[q]", "NVFP4": r"\mathrm{E2M1}[q]",
    "Q2_0": "(q - 1)", "TQ2_0": "(q - 1)", "Q1_0": "(2q - 1)",
}  # fmt: skip


def _level(format: str, fields: dict[str, NDArray[Any]], part: int) -> str:
    """The formula of a level, with the numbers of this block."""
    if format == "MXFP4":
        power, exponent = _number(float(fields["e"][0])), int(fields["e_bits"][0])
        return rf"\hat w = 2^{{{exponent} - 127}} \cdot \mathrm{{E2M1}}[q] = {power} \cdot \mathrm{{E2M1}}[q]"
    d = _number(float(fields["d"].reshape(-1)[part if format == "NVFP4" else 0]))
    if format == "Q4_K":
        scale, minimum = int(fields["scales"][0, part]), int(fields["mins"][0, part])
        dmin = _number(float(fields["dmin"][0]))
        return (
            rf"\hat w = d \cdot sc \cdot q - d_\mathrm{{min}} \cdot m"
            rf" = {d} \cdot {scale} \cdot q - {dmin} \cdot {minimum}"
        )
    code = _CODE_IN_FORMULAS[format]
    return rf"\hat w = d \cdot {code} = {d} \cdot {code}"


def _grid_formulas(controls: Controls, quantized: rtn.Quantized, weights: NDArray[Any]) -> tuple[str, ...]:
    low = _number(min(0.0, float(weights.min())))  # the grid always holds 0
    high = _number(max(0.0, float(weights.max())))
    s = _number(float(quantized.scale.item()))
    if controls.scheme == "symmetric":
        spacing = rf"s = \frac{{\max |w|}}{{2^{{{controls.bits} - 1}} - 1}} = {s}"
        back = r"\hat w = s \, q, \quad q = \operatorname{round}(w / s)"
    else:
        assert quantized.zero_point is not None  # an asymmetric grid has one
        z = int(quantized.zero_point.item())
        fraction = rf"\frac{{{high} - ({low})}}{{2^{{{controls.bits}}} - 1}}"
        spacing = rf"s = \frac{{\max w - \min w}}{{2^b - 1}} = {fraction} = {s}"
        back = rf"\hat w = s \, (q - z) = {s} \, (q - {z}), \quad q = \operatorname{{round}}(w / s) + z"
    return spacing, back


def _number(value: float) -> str:
    return tex(numbers.significant(value))


FIGURE = Figure("rtn", "fig-02", "FIG.02", Controls, compute, view, shows="block", on_own=on_own)
