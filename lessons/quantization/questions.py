"""A question before each main figure: what is asked, and what was so, read off the figure's own view.

Nothing here is typed in: truths are read-outs, charts and arrays of the views, at the moment of the reveal.
Each question asks for a state that the page does not show.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np

from lessons.kit import numbers
from lessons.kit.chart import STATIC_HEIGHT, Chart
from lessons.kit.controls import choice, slider
from lessons.kit.question import (
    Bar,
    Curve,
    Guess,
    Mark,
    Question,
    Reveal,
    Sketch,
    Verdict,
    across,
    answered_by,
    printed,
    upward,
)
from lessons.kit.scales import Scale, linear_ticks
from lessons.kit.view import Sentence, View
from lessons.quantization.anatomy import byte_roles
from lessons.quantization.blocks import block_weights
from lessons.quantization.figures import awq, fit, gptq, primitive, quality, rounding, rtn, xray
from quant_core.awq import GRID
from quant_core.memory import GIB

LINE = 60
"""Pixels of a drawing that is a number line and nothing else."""


def readout(view: View, name: str) -> float:
    """The raw value of a read-out."""
    return float(next(shown.value for shown in view.readouts if shown.name == name))


def _reveal(
    question: Callable[[], Question],
    guess: Guess | None,
    truth: str,
    verdict: Verdict,
    why: str,
    said: dict[str, str],
    sketch: Sketch,
    state: Any,
) -> Reveal:
    """The sentences are `so` and the reason that fits; who skipped gets that of a right guess."""
    own = None if guess is None else printed(question().widget, guess)
    if own is None:
        verdict, why = "skipped", "right"
    values = said | {"truth": truth, "guess": own or ""}
    return Reveal(
        truth, own, verdict, (Sentence("so", **values), Sentence(f"why_{why}", **values)), sketch, state
    )


def _ticks(
    scale: Scale, values: tuple[float, ...], text: Callable[[float], str]
) -> tuple[dict[str, str], ...]:
    return tuple({"at": scale.percent(value), "text": text(value)} for value in values)


def _up(scale: Scale, values: tuple[float, ...], text: Callable[[float], str]) -> tuple[dict[str, Any], ...]:
    return tuple({"at": scale(value), "text": text(value)} for value in values)


# --- FIG.0A: how many weights land on zero ------------------------------------------------------------------

ZERO_AT = primitive.Controls(bits="2")
ROW = 26


def _levels() -> tuple[list[float], list[int], int]:
    """The four levels of the block at two bits, how many weights each takes, and which of them is zero."""
    weights = block_weights(ZERO_AT.block, primitive.GROUP_SIZE)
    block = primitive.quantize_block(weights, int(ZERO_AT.bits), ZERO_AT.convention)
    taken = np.bincount(block.codes, minlength=2 ** int(ZERO_AT.bits))
    return [float(v) for v in block.fitted.levels()], taken.tolist(), block.zero_point


def _level_rows() -> Sketch:
    """A row for each level, and the axis that counts the weights on it: no bar yet."""
    levels, taken, _ = _levels()
    scale = Scale((0, sum(taken)))
    return Sketch(
        ROW * len(levels),
        x_ticks=_ticks(scale, linear_ticks(0, sum(taken), 4), numbers.integer),
        y_ticks=tuple(
            {"at": i * ROW + ROW / 2, "text": numbers.fixed(level, 3)} for i, level in enumerate(levels)
        ),
        x_title="x",
        y_title="y",
    )


def _zeros(guess: Guess | None) -> Reveal:
    levels, taken, zero = _levels()
    total, truth = sum(taken), taken[zero]
    even = total / len(taken)
    scale = Scale((0, total))
    bars = tuple(
        Bar("truth" if i == zero else "rest", 0, scale(count), i * ROW + 4, ROW - 8)
        for i, count in enumerate(taken)
    )
    own = None if guess is None else float(guess)
    off = abs((own or 0) - truth)
    why = (
        "right"
        if off <= 2
        else "even"
        if abs((own or 0) - even) <= 3
        else "few"
        if (own or 0) < truth
        else "many"
    )
    sketch = replace(
        _level_rows(),
        marks=across(scale, own, truth, (str(guess), str(truth)), zero * ROW + ROW / 2),
        bars=bars,
    )
    said = {"total": str(total), "levels": str(len(levels)), "even": numbers.integer(even)}
    verdict: Verdict = "right" if off <= 2 else "close" if off <= 5 else "off"
    return _reveal(lambda: QUESTIONS["primitive"], guess, str(truth), verdict, why, said, sketch, ZERO_AT)


def _primitive_given() -> dict[str, str]:
    return {"total": str(primitive.GROUP_SIZE), "levels": str(2 ** int(ZERO_AT.bits))}


# --- FIG.02: half the bits ----------------------------------------------------------------------------------

FINE, COARSE = rtn.Controls(bits=6), rtn.Controls(bits=3)


def _spacing(guess: Guess | None) -> Reveal:
    fine, coarse = (readout(rtn.view(c), "step") for c in (FINE, COARSE))
    truth = coarse / fine
    twice, powers = 2.0, 2.0 ** (FINE.bits - COARSE.bits)
    own = None if guess is None else float(guess)
    off = abs((own or 0) - truth)
    why = (
        "right"
        if off < 0.5
        else "powers"
        if own == powers
        else "twice"
        if (own or 0) <= twice + 1
        else "few"
        if (own or 0) < truth
        else "many"
    )
    scale = Scale((1, 20))
    sketch = Sketch(
        LINE,
        across(scale, own, truth, (f"{guess}×", numbers.times(truth, 0)), LINE),
        x_ticks=_ticks(scale, (1, 5, 10, 15, 20), numbers.integer),
        x_title="x",
    )
    said = {
        "fine": numbers.significant(fine),
        "coarse": numbers.significant(coarse),
        "fine_steps": str(2**FINE.bits - 1),
        "coarse_steps": str(2**COARSE.bits - 1),
        "powers": numbers.integer(powers),
    }
    verdict: Verdict = "right" if off < 0.5 else "close" if off <= 2 else "off"
    truth_text = numbers.times(truth, 0)
    return _reveal(lambda: QUESTIONS["rtn"], guess, truth_text, verdict, why, said, sketch, COARSE)


# --- FIG.03: how many roundings beat the nearest ------------------------------------------------------------

CROWD = rounding.Controls(n=12)


def _power(exponent: float) -> str:
    return "0" if exponent == 0 else f"≈{2 ** int(exponent)}"


def _beaten(guess: Guess | None) -> Reveal:
    crowd = rounding.crowd_of(CROWD.pair, int(CROWD.bits), CROWD.n)
    truth, total = crowd.rank - 1, 2**CROWD.n
    at = math.log2(max(1, truth))
    own = None if guess is None else float(guess)
    off = abs((own or 0) - at)
    why = "right" if off <= 1 else "none" if (own or 0) <= 1 else "few" if (own or 0) < at else "many"
    scale = Scale((0, CROWD.n))
    sketch = Sketch(
        LINE,
        across(scale, own, at, (_power(own or 0), numbers.integer(truth)), LINE),
        x_ticks=_ticks(scale, (0, 3, 6, 9, 12), lambda v: numbers.integer(2**v) if v else "0–1"),
        x_title="x",
    )
    said = {
        "total": numbers.integer(total),
        "n": str(CROWD.n),
        "share": numbers.percent(truth / total, 0),
        "nearest": numbers.significant(crowd.nearest),
        "best": numbers.significant(crowd.best, 2),
    }
    verdict: Verdict = "right" if off <= 1 else "close" if off <= 2 else "off"
    truth_text = numbers.integer(truth)
    return _reveal(lambda: QUESTIONS["rounding"], guess, truth_text, verdict, why, said, sketch, CROWD)


# --- FIG.03B: what is left of RTN's error -------------------------------------------------------------------

TWO_BITS = gptq.Controls(bits="2", step=gptq.COLUMNS)
RUN_HEIGHT = 150


def _left_over(guess: Guess | None) -> Reveal:
    run = gptq.run_of(TWO_BITS.slice, int(TWO_BITS.bits), TWO_BITS.order == "act-order")
    ours, theirs = run.running / run.rtn[-1], run.rtn / run.rtn[-1]
    truth = 100 * float(ours[-1])
    own = None if guess is None else float(guess)
    off = abs((own or 0) - truth)
    why = (
        "right"
        if off <= 7.5
        else "all"
        if (own or 0) <= 10
        else "none"
        if (own or 0) >= 90
        else "less"
        if (own or 0) < truth
        else "more"
    )
    x, y = Scale((0, gptq.COLUMNS)), Scale((0, 125), (float(RUN_HEIGHT), 0.0))

    def path(errors: Any) -> str:
        points = (
            f"{10 * x(k):.1f} {1000 * y(100 * float(e)) / RUN_HEIGHT:.1f}" for k, e in enumerate(errors)
        )
        return "M" + "L".join(points)

    percent: Callable[[float], str] = lambda v: numbers.percent(v / 100, 0)  # noqa: E731
    sketch = Sketch(
        RUN_HEIGHT,
        upward(y, own, truth, (percent(own or 0), percent(truth)), 100.0),
        curves=(Curve(path(theirs), "true"), Curve(path(ours), "quantized")),
        x_ticks=_ticks(x, (0, 4, 8, 12, 16), numbers.integer),
        y_ticks=_up(y, (0, 50, 100), percent),
        x_title="x",
        y_title="y",
    )
    said = {
        "ours": numbers.percent(float(run.running[-1]), run.places),
        "theirs": numbers.percent(float(run.rtn[-1]), run.places),
        "columns": str(gptq.COLUMNS),
        "last": numbers.percent(float(run.after[-1] / run.running[-1]), 0),
    }
    verdict: Verdict = "right" if off <= 7.5 else "close" if off <= 15 else "off"
    return _reveal(lambda: QUESTIONS["gptq"], guess, percent(truth), verdict, why, said, sketch, TWO_BITS)


# --- FIG.04: the best α where no channel is loud ------------------------------------------------------------

AXES_HEIGHT = 200
QUIET = awq.Controls(layer="minilm.1.query", alpha=0)


def _alpha_axes() -> Sketch:
    """The axes of the figure's chart of this layer, from 0 to 1: no curve yet."""
    chart = cast(Chart, awq.view(QUIET).chart)
    return Sketch(
        AXES_HEIGHT,
        x_ticks=_ticks(Scale((0, 1)), linear_ticks(0, 1, 5), lambda v: numbers.fixed(v, 1)),
        y_ticks=tuple({"at": _chart_y(chart, value), "text": text} for value, text in chart.y.ticks),
        x_title="x",
        y_title="y",
    )


def _along(alphas: Any, errors: Any, chart: Chart) -> str:
    points = (
        f"{1000 * float(alpha):.0f} {1000 * _chart_y(chart, float(error)) / AXES_HEIGHT:.1f}"
        for alpha, error in zip(alphas, errors, strict=True)
    )
    return "M" + "L".join(points)


def _best_alpha(guess: Guess | None) -> Reveal:
    sweep, usual = awq.sweep(QUIET.layer, int(QUIET.bits)), awq.Controls()
    chart = cast(Chart, awq.view(QUIET).chart)
    truth, loud = sweep.alpha, awq.sweep(usual.layer, int(usual.bits))
    own = None if guess is None else float(guess)
    off = abs((own or 0) - truth)
    why = (
        "right"
        if off < 0.075
        else "sharper"
        if (own or 0) >= 0.8
        else "constant"
        if abs((own or 0) - loud.alpha) < 0.075
        else "nothing"
        if own == 0
        else "high"
        if (own or 0) > truth
        else "low"
    )
    best, at_own = (round(alpha * GRID) for alpha in (truth, own or 0))
    heights = [_chart_y(chart, float(sweep.calibration[i])) for i in (best, at_own)]
    x, text = Scale((0, 1)), functools.partial(numbers.fixed, places=2)
    sketch = replace(
        _alpha_axes(),
        marks=across(x, own, truth, (text(own or 0), text(truth)), *heights),
        curves=(
            Curve(_along(sweep.alphas, sweep.calibration, chart), "true"),
            Curve(_along(sweep.alphas, sweep.held_out, chart), "quantized"),
        ),
    )
    said = {
        "loudness": numbers.times(sweep.loudness, 1),
        "loud": numbers.times(loud.loudness, 1),
        "usual": text(loud.alpha),
        "gain": numbers.percent(1 - float(sweep.held_out[best] / sweep.held_out[0]), 0),
        "cost": numbers.times(float(sweep.held_out[at_own] / sweep.held_out[0])),
    }
    verdict: Verdict = "right" if off < 0.075 else "close" if off < 0.175 else "off"
    state = awq.Controls(layer=QUIET.layer, alpha=truth)
    return _reveal(lambda: QUESTIONS["awq"], guess, text(truth), verdict, why, said, sketch, state)


def _chart_y(chart: Chart, value: float) -> float:
    return Scale(chart.y.domain, (float(AXES_HEIGHT), 0.0), chart.y.log)(value)


def _awq_given() -> dict[str, str]:
    return {"loudness": numbers.times(awq.sweep(QUIET.layer, int(QUIET.bits)).loudness, 1)}


# --- FIG.05: beyond the cliff -------------------------------------------------------------------------------

LOWEST, KNOWN = "IQ1_S", "IQ2_M"
CLIFF = quality.Controls(data="base", scheme=LOWEST)


def _base_row(scheme: str) -> quality.Row:
    return next(row for row in quality.rows_of("base") if row.scheme == scheme)


def _perplexity(scheme: str) -> float:
    """With an imatrix where there is one."""
    row = _base_row(scheme)
    measured = row.perplexity_imatrix or row.perplexity
    assert measured is not None
    return measured


def _cliff(guess: Guess | None) -> Reveal:
    chart = cast(Chart, quality.view(CLIFF).chart)
    row, known, usual = _base_row(LOWEST), _base_row(KNOWN), _base_row(quality.FALLBACK)
    truth, between, above = (_perplexity(scheme) for scheme in (LOWEST, KNOWN, quality.FALLBACK))
    full = _perplexity(quality.BASELINE)
    # As much again for each bit as between the two rows that the question names.
    slope = (between - above) / (usual.bits_per_weight - known.bits_per_weight)
    straight = between + slope * (known.bits_per_weight - row.bits_per_weight)
    own = None if guess is None else 10 ** float(guess)
    off = abs(math.log2((own or truth) / truth))
    why = "right" if off <= 0.5 else "straight" if (own or 0) <= 1.3 * straight else "low"
    x = Scale(chart.x.domain, log=chart.x.log)
    y = Scale(chart.y.domain, (float(STATIC_HEIGHT), 0.0), chart.y.log)
    drawn = chart.static()
    dots = tuple(
        Mark("rest", x(point.x), y(point.y), "", (0, "start"), upright=False)
        for series in chart.series
        if series.kind == "points"
        for point in series.points
        if point.key != LOWEST
    )
    text = functools.partial(numbers.significant, digits=2)
    sketch = Sketch(
        STATIC_HEIGHT,
        (*dots, *upward(y, own, truth, (text(own or 0), text(truth)), x(row.bits_per_weight))),
        x_ticks=drawn["x_ticks"],
        y_ticks=drawn["y_ticks"],
        x_title="x",
        y_title="y",
    )
    said = {
        "bits": numbers.fixed(row.bits_per_weight, 2),
        "straight": text(straight),
        "full": numbers.fixed(full, 2),
        "times": numbers.times(truth / full, 0),
    }
    verdict: Verdict = "right" if off <= 0.5 else "close" if off <= 1 else "off"
    return _reveal(lambda: QUESTIONS["quality"], guess, text(truth), verdict, why, said, sketch, CLIFF)


def _quality_given() -> dict[str, str]:
    known, usual = _base_row(KNOWN), _base_row(quality.FALLBACK)
    return {
        "usual": usual.scheme,
        "usual_bits": numbers.fixed(usual.bits_per_weight, 1),
        "usual_ppl": numbers.fixed(_perplexity(quality.FALLBACK), 1),
        "known": known.scheme,
        "known_bits": numbers.fixed(known.bits_per_weight, 1),
        "known_ppl": numbers.fixed(_perplexity(KNOWN), 1),
        "lowest": LOWEST,
        "bits": numbers.fixed(_base_row(LOWEST).bits_per_weight, 1),
    }


# --- FIG.05B: a bit of a scale ------------------------------------------------------------------------------

TURNED = xray.Controls(pick="byte-4", flip="0")
COUNTS = ("1", "8", "32", "256")
CELL = 13


def _moved(guess: Guess | None) -> Reveal:
    before = xray.encoded(TURNED.block, TURNED.importance, TURNED.format)
    byte, bit = int(TURNED.pick.partition("-")[2]), int(TURNED.flip)
    after = xray.flipped(before, byte, bit)
    moved = np.asarray(after.weights != before.weights)
    count = int(np.count_nonzero(moved))
    truth = next(option for option in COUNTS if int(option) >= count)
    columns = len(moved) // 8
    reach = 0 if guess is None else int(guess)
    bars = tuple(
        Bar(
            ("moved" if moved[i] else "still") + (" guessed" if i < reach else ""),
            100 * (i % columns) / columns,
            100 / columns - 0.4,
            CELL * (i // columns),
            CELL - 2,
        )
        for i in range(len(moved))
    )
    said = {
        "count": str(count),
        "span": truth,
        "idle": str(int(truth) - count),
        "byte": str(byte),
        "factor": numbers.integer(after.number(byte_roles(TURNED.format, byte)[0])),
        "was": numbers.integer(before.number(byte_roles(TURNED.format, byte)[0])),
    }
    right = guess == truth
    return _reveal(
        lambda: QUESTIONS["xray"],
        guess,
        str(count),
        "right" if right else "off",
        "right" if right else f"{guess}",
        said,
        Sketch(CELL * 8, bars=bars),
        TURNED,
    )


# --- FIG.06: the whole, with a long memory ------------------------------------------------------------------

LONG = fit.Controls(scope="everything", context=fit.CONTEXTS[-1])


def _whole(guess: Guess | None) -> Reveal:
    view = fit.view(LONG)
    parts = {
        name: float(value) for name, value in zip(("weights", "cache", "buffer"), _parts(view), strict=True)
    }
    total = readout(view, "total") / 1e9
    own = None if guess is None else float(guess)
    off = abs((own or 0) - total) / total
    why = (
        "right"
        if off <= 0.08
        else "weights"
        if (own or 0) <= 1.12 * parts["weights"]
        else "low"
        if (own or 0) < total
        else "high"
    )
    scale = Scale((0, 160))
    bars, start = [], 0.0
    for name, size in parts.items():
        bars.append(
            Bar(name, scale(start), scale(start + size) - scale(start), 14, 22, name if size > 12 else "")
        )
        start += size
    text: Callable[[float], str] = lambda v: numbers.with_unit(numbers.integer(v), "GB")  # noqa: E731
    sketch = Sketch(
        LINE,
        across(scale, own, total, (text(own or 0), text(total)), LINE),
        bars=tuple(bars),
        x_ticks=_ticks(scale, (0, 40, 80, 120, 160), numbers.integer),
        x_title="x",
    )
    said = {name: numbers.gigabytes(1e9 * size) for name, size in parts.items()} | {
        "context": numbers.integer(int(LONG.context)),
        "usable": numbers.gibibytes(1e9 * total + readout(view, "margin") * GIB),
    }
    verdict: Verdict = "right" if off <= 0.08 else "close" if off <= 0.2 else "off"
    return _reveal(lambda: QUESTIONS["fit"], guess, text(total), verdict, why, said, sketch, LONG)


def _parts(view: View) -> tuple[float, float, float]:
    """Weights, cache and buffer of the machine that is shown, in GB."""
    sizes = {segment["name"]: segment["size"] / 1e9 for segment in view.drawing["segments"]}
    return sizes["weights"], sizes["cache"], sizes["buffer"]


def _fit_given() -> dict[str, str]:
    weights = readout(fit.view(fit.Controls()), "weights")
    return {"weights": numbers.gigabytes(weights), "context": numbers.integer(int(LONG.context))}


QUESTIONS = {
    question.figure: question
    for question in (
        Question(
            "primitive", answered_by(slider(8, low=0, high=32), int), _zeros, _primitive_given, _level_rows
        ),
        Question("rtn", answered_by(slider(4, low=1, high=20, unit="×"), int), _spacing),
        Question(
            "rounding",
            answered_by(slider(3, low=0, high=CROWD.n, show=_power), int),
            _beaten,
            lambda: {"n": str(CROWD.n), "total": numbers.integer(2**CROWD.n)},
        ),
        Question("gptq", answered_by(slider(50, low=0, high=125, step=5, unit="%"), int), _left_over),
        Question(
            "awq",
            answered_by(slider(0.5, low=0, high=1, step=0.05), float),
            _best_alpha,
            _awq_given,
            _alpha_axes,
        ),
        Question(
            "quality",
            answered_by(
                slider(1, low=0.8, high=1.8, step=0.05, show=lambda v: numbers.significant(10**v, 2)), float
            ),
            _cliff,
            _quality_given,
        ),
        Question("xray", answered_by(choice("1", COUNTS, style="segments"), str), _moved),
        Question(
            "fit", answered_by(slider(60, low=40, high=160, step=2, unit="GB"), int), _whole, _fit_given
        ),
    )
}
"""In the order of the lesson."""
