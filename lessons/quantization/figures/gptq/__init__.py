"""FIG.03B: GPTQ on a small cut of a real layer, one column at a time, with RTN's error beside it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice, slider
from lessons.kit.figure import Figure
from lessons.kit.mathml import tex
from lessons.kit.scales import Scale, linear_ticks
from lessons.kit.view import Column, PlotScales, Readout, Sentence, Table, View
from lessons.quantization import sources
from quant_core.methods import gptq, metrics, rtn

Matrix = NDArray[np.float64]

ROWS, COLUMNS = 8, 16
DAMPING = 0.01


@dataclass(frozen=True, slots=True)
class Cut:
    """Rows 0–7 and 16 input channels of a layer: from `first` on, or those with the largest mean square."""

    layer: str
    first: int | None


CUTS = {
    "strongest": Cut("minilm.5.ffn_in", None),
    "neighbours": Cut("minilm.5.ffn_in", 352),
    "calm": Cut("minilm.1.query", 0),
    "llm": Cut("smollm2.15.q", None),
}


class Controls(FigureControls):
    step: int = slider(7, low=0, high=COLUMNS)
    bits: str = choice("3", ("2", "3", "4"), style="segments")
    slice: str = choice("strongest", CUTS)
    order: str = choice("natural", ("natural", "act-order"), style="segments")


@dataclass(frozen=True)
class Run:
    """GPTQ on one cut, with every error measured on the cut's own Hessian, as a share of its output.

    `before[k]` is what rounding the k-th column adds if nothing else moves, `after[k]` what it adds once the
    columns to come have shifted; `running[k]` and `rtn[k]` are the errors after k columns.
    """

    channels: NDArray[np.intp]
    weights: Matrix
    scale: Matrix
    mean_square: Matrix
    result: gptq.GPTQResult
    before: Matrix
    after: Matrix
    running: Matrix
    rtn: Matrix
    held_out_ratio: float

    @property
    def ratio(self) -> float:
        """RTN's final error in units of GPTQ's."""
        return float(self.rtn[-1] / self.running[-1])

    @property
    def places(self) -> int:
        """Decimals of a printed percentage, enough to tell the columns of this cut apart."""
        return 2 if self.rtn[-1] > 0.01 else 3


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """GPTQ after `step` columns; the read-outs have their names. "none" before the first column."""

    controls: Controls
    run: Run
    column: int | str
    error_before: float | str
    error_after: float | str
    gptq_error: float
    rtn_error: float
    ratio: float
    held_out_ratio: float


def compute(controls: Controls) -> Result:
    """Round a cut of a layer column by column, and stop after some."""
    run = run_of(controls.slice, int(controls.bits), controls.order == "act-order")
    step, last = controls.step, controls.step - 1
    return Result(
        controls,
        run,
        column=int(run.channels[run.result.order[last]]) if step else "none",
        error_before=float(run.before[last]) if step else "none",
        error_after=float(run.after[last]) if step else "none",
        gptq_error=float(run.running[step]),
        rtn_error=float(run.rtn[step]),
        ratio=run.ratio,
        held_out_ratio=run.held_out_ratio,
    )


@functools.lru_cache(maxsize=64)
def run_of(name: str, bits: int, act_order: bool) -> Run:
    """Run GPTQ on a cut and measure every step of its trace."""
    cut = CUTS[name]
    layer = sources.load_layer(cut.layer)
    assert layer.hessian is not None, f"{cut.layer} is shipped without its Hessian"
    assert layer.activations_test is not None, f"{cut.layer} is shipped without activations"
    mean_square = np.diag(layer.hessian).astype(np.float64)
    if cut.first is None:
        channels = np.sort(np.argsort(-mean_square, kind="stable")[:COLUMNS])
    else:
        channels = np.arange(cut.first, cut.first + COLUMNS)
    weights = layer.weights[:ROWS, channels].astype(np.float64)
    hessian = 2 * layer.hessian[np.ix_(channels, channels)].astype(np.float64)

    result = gptq.gptq(weights, hessian, bits, act_order=act_order, damping=DAMPING, trace=True)
    nearest = rtn.round_to_nearest(weights, bits, group_size=None)
    rounded = np.asarray(nearest.dequantize(), np.float64)

    def error(approximation: Matrix) -> float:
        return metrics.relative_output_error_from_hessian(hessian, weights, approximation)

    before, running, rtn_running = [], [0.0], [0.0]
    state, plain = weights, weights.copy()
    for step in result.trace:
        alone = state.copy()
        alone[:, step.column] = step.quantized
        plain[:, step.column] = rounded[:, step.column]
        state = step.weights_after
        before.append(error(alone) - running[-1])
        running.append(error(state))
        rtn_running.append(error(plain))

    judge = functools.partial(metrics.relative_output_error, layer.activations_test[:, channels], weights)
    return Run(
        channels=channels,
        weights=weights,
        scale=np.asarray(nearest.scale, np.float64),
        mean_square=mean_square[channels],
        result=result,
        before=np.array(before),
        after=np.diff(running),
        running=np.array(running),
        rtn=np.array(rtn_running),
        held_out_ratio=judge(rounded) / judge(result.dequantized),
    )


def view(result: Result) -> View:
    run, done, places = result.run, result.controls.step, result.run.places
    order, channels = run.result.order, run.channels[run.result.order]

    def share(error: float) -> str:
        return numbers.fixed(100 * error, places)

    return View(
        readouts=(
            Readout.of(result, "gptq_error", share, "%", accent=True),
            Readout.of(result, "rtn_error", share, "%"),
            Readout.of(result, "ratio", numbers.times),
            Readout.of(result, "column", str if done else _none),
            _added_by("error_before", result, places),
            _added_by("error_after", result, places),
            Readout.of(result, "held_out_ratio", numbers.times),
        ),
        drawing={
            "step": done,
            **_matrix(run, done),
            "added": _added(run, done),
            "running": _running(run, done),
        },
        plots={"running": PlotScales(y=_error_scale(run))},
        description=tuple(_description(result)),
        table=Table(
            (
                Column("position", str),
                Column("channel", str),
                Column("mean_square", numbers.significant),
                Column("before", _printed),
                Column("after", _printed),
                Column("gptq", _printed),
                Column("rtn", _printed),
            ),
            tuple(
                (
                    k + 1,
                    int(channels[k]),
                    float(run.mean_square[order[k]]),
                    float(run.before[k]),
                    float(run.after[k]),
                    float(run.running[k + 1]),
                    float(run.rtn[k + 1]),
                )
                for k in range(COLUMNS)
            ),
            frozenset({done - 1} if done else ()),
        ),
        formulas=_formulas(done, numbers.percent(result.gptq_error, places)),
        ran=(gptq.gptq, rtn.round_to_nearest, metrics.relative_output_error_from_hessian),
        notes=(Sentence(f"from_{result.controls.slice}"), Sentence("cut")),
        source=Sentence(f"source_{result.controls.slice}"),
    )


def _description(result: Result) -> Iterator[Sentence]:
    run, done, places = result.run, result.controls.step, result.run.places
    said = {
        "step": str(done),
        "columns": str(COLUMNS),
        "left": str(COLUMNS - done),
        "gptq_final": numbers.percent(float(run.running[-1]), places),
        "rtn_final": numbers.percent(float(run.rtn[-1]), places),
        "first": str(run.channels[run.result.order[0]]),
    }
    if done:
        said["before"] = numbers.percent(float(run.before[done - 1]), places)
        said["after"] = numbers.percent(float(run.after[done - 1]), places)
    opening = {0: "none_rounded", COLUMNS - 1: "one_left", COLUMNS: "last_column"}.get(done, "rounded")
    yield Sentence(opening, **said)
    if 0 < done < COLUMNS:
        shifts = np.abs(run.result.trace[done - 1].update / run.scale)
        row, column = np.unravel_index(int(np.argmax(shifts)), shifts.shape)
        yield Sentence(
            "largest_shift",
            shift=numbers.fixed(float(shifts[row, column]), 2),
            into=str(run.channels[column]),
            row=str(row),
        )
        yield Sentence("so_far")
    yield Sentence("ends_better" if run.ratio > 1 else "ends_worse", **said)


def _none(_: object) -> str:
    """What is printed before the first step."""
    return "–"


def _added_by(name: str, result: Result, places: int) -> Readout:
    """What the column just rounded adds to the output error; nothing before the first step."""
    if not result.controls.step:
        return Readout.of(result, name, _none)
    return Readout.of(result, name, lambda share: numbers.signed(100 * share, places), "%")


def _printed(share: float) -> str:
    return numbers.percent(share, 3)


# --- drawing: columns stand in the order in which they are rounded ------------------------------------------

WIDTH = 100 / COLUMNS
ROW_HEIGHT, ARC_HEIGHT = 24, 40
STEP_PIXELS = 20.0
"""Length of the arrow of a shift by one whole step of the grid: most of a row's height."""

SMALLEST_ARROW = 1.5
WIDEST_ARC, SMALLEST_ARC = 6.0, 0.02


def _centre(position: int) -> float:
    return (position + 0.5) * WIDTH


def _matrix(run: Run, done: int) -> dict[str, Any]:
    """Cells by row and column, the shifts of this step as arrows, and their flow as arcs above."""
    order = run.result.order
    place = np.argsort(order)
    trace = run.result.trace
    now = trace[done - 1].weights_after if done else run.weights
    shifts = trace[done - 1].update / run.scale if done else np.zeros_like(now)
    strongest = np.abs(run.weights).max(axis=1)

    def cell(row: int, column: int) -> dict[str, Any]:
        weight = float(now[row, column])
        text = numbers.signed(weight, 3)
        sign = "" if text[0].isdigit() else text[0]
        return {
            "code": str(run.result.codes[row, column]) if place[column] < done else "",
            "sign": sign,
            "digits": text[len(sign) :].removeprefix("0"),
            "role": "minus" if weight < 0 else "plus",
            "strength": f"{0.85 * abs(weight) / float(strongest[row]):.2f}".removeprefix("0"),
            "arrow": _arrow(float(shifts[row, column])),
        }

    return {
        "height": ARC_HEIGHT + ROWS * ROW_HEIGHT,
        "arc_height": ARC_HEIGHT,
        "column_width": f"{WIDTH:g}%",
        "columns": [
            {
                "channel": str(run.channels[column]),
                "x": f"{int(place[column]) * WIDTH:g}%",
                "cells": [cell(row, column) for row in range(ROWS)],
            }
            for column in range(COLUMNS)
        ],
        "flow": {
            "x": f"{_centre(done - 1):g}%",
            "width": f"{100 - _centre(done - 1):g}%",
            "arcs": _arcs(run, done),
        },
        "outline": {"x": f"{(done - 1) * WIDTH:.5g}%", "width": f"{WIDTH:.5g}%"} if done else None,
        "rows": [ARC_HEIGHT + row * ROW_HEIGHT + ROW_HEIGHT // 2 for row in range(ROWS)],
        "labels": [
            {"at": f"{_centre(k):g}%", "text": str(run.channels[order[k]]), "minor": k % 2 == 1}
            for k in range(COLUMNS)
        ],
    }


def _arrow(shift: float) -> str:
    """Path of an arrow centred on 0, upwards for a weight that grows; empty when it would not be seen."""
    length = min(abs(shift) * STEP_PIXELS, ROW_HEIGHT - 4.0)
    if length < SMALLEST_ARROW:
        return ""
    tip = -np.sign(shift) * length / 2
    head = tip + np.sign(shift) * min(4.0, length / 2)
    return f"M0 {-tip:.1f}V{tip:.1f}M-3.2 {head:.1f}L0 {tip:.1f}L3.2 {head:.1f}"


def _arcs(run: Run, done: int) -> list[dict[str, Any]]:
    """From the column just rounded to each one that moved; as wide as the root mean square of its shifts.

    Positions count from the column just rounded, where the flow begins, to the right edge.
    """
    if not done:
        return []
    order, trace = run.result.order, run.result.trace
    sizes = [np.sqrt(np.mean((step.update / run.scale) ** 2, axis=0)) for step in trace]
    most = max(float(size.max()) for size in sizes)
    start = _centre(done - 1)
    arcs = []
    for k in range(done, COLUMNS):
        share = float(sizes[done - 1][order[k]]) / most
        if share < SMALLEST_ARC:
            continue
        end, peak = 1000 * (_centre(k) - start) / (100 - start), 700 - 1000 * (k - done + 1) / COLUMNS
        width = 1 + (WIDEST_ARC - 1) * share
        half = 2.5 + 0.6 * width
        arcs.append(
            {
                "path": f"M0 1000C0 {peak:.0f} {end:.0f} {peak:.0f} {end:.0f} {1000 - 10 * half:.0f}",
                "width": f"{width:.1f}",
                "at": f"{end / 10:.5g}%",
                "head": f"M{-half:.1f}{-1.7 * half:.1f}L0 0L{half:.1f}{-1.7 * half:.1f}z",
            }
        )
    return arcs


ADDED_HEIGHT, RUNNING_HEIGHT = 50, 72
ROOM_FOR_LABEL = 36.0


def _added(run: Run, done: int) -> dict[str, Any]:
    """For each column what its rounding adds: outlined if nothing else moved, filled after the shift."""
    top = 1.05 * float(max(run.before.max(), run.after.max()))
    y = Scale((0.0, top), (float(ADDED_HEIGHT), 0.0))

    def bar(value: float) -> dict[str, float]:
        at = y(max(0.0, value))
        return {"y": at, "height": round(ADDED_HEIGHT - at, 3)}

    return {
        "height": ADDED_HEIGHT,
        "width": f"{0.56 * WIDTH:.5g}%",
        "y_ticks": _ticks(top, y, 3),
        "bars": [
            {
                "x": f"{(k + 0.22) * WIDTH:.5g}%",
                "before": bar(float(run.before[k])),
                "after": bar(float(run.after[k])),
                "to_come": k >= done,
            }
            for k in range(COLUMNS)
        ],
    }


def _error_scale(run: Run) -> Scale:
    return Scale((0.0, 1.08 * float(max(run.running.max(), run.rtn.max()))), (float(RUNNING_HEIGHT), 0.0))


def _running(run: Run, done: int) -> dict[str, Any]:
    """The output error after each column, of both methods; what is still to come is drawn faintly."""
    y = _error_scale(run)
    x = [0.0, *(_centre(k) for k in range(COLUMNS))]

    def line(name: str, errors: Matrix) -> dict[str, Any]:
        points = [
            f"{10 * at:.1f} {1000 * y(float(value)) / RUNNING_HEIGHT:.1f}"
            for at, value in zip(x, errors, strict=True)
        ]
        return {
            "name": name,
            "whole": "M" + "L".join(points),
            "past": "M" + "L".join(points[: done + 1]),
            "y": y(float(errors[done])),
            "value": numbers.percent(float(errors[done]), run.places),
            "below": False,
        }

    lines = [line("gptq", run.running), line("rtn", run.rtn)]
    upper, lower = sorted(lines, key=lambda one: one["y"])
    late = done > COLUMNS * 0.6
    # A rising line leaves room above it on the left and below it on the right.
    lower["below"] = not late or lower["y"] - upper["y"] < ROOM_FOR_LABEL
    return {
        "height": RUNNING_HEIGHT,
        "y_ticks": _ticks(y.domain[1], y, 3),
        "at": f"{x[done]:.5g}%",
        "side": "end" if late else "start",
        "lines": lines,
    }


def _ticks(top: float, y: Scale, about: int) -> list[dict[str, Any]]:
    ticks = linear_ticks(0, top, about)
    places = 0 if ticks[1] >= 0.01 else 1 if ticks[1] >= 0.001 else 2
    return [{"at": y(value), "text": numbers.percent(value, places)} for value in ticks]


def _formulas(done: int, share: str) -> tuple[str, ...]:
    method = (
        r"\hat{\mathbf{w}}_j = \mathrm{round}(\mathbf{w}_j), \quad"
        r" \mathbf{w}_k \leftarrow \mathbf{w}_k - \frac{\mathbf{w}_j - \hat{\mathbf{w}}_j}{U_{jj}}\, U_{jk}"
        r" \quad (k > j), \quad (H + \lambda I)^{-1} = U^\top U"
    )
    damping = numbers.shortest(DAMPING)
    hessian = rf"H = 2 X X^\top, \quad \lambda = {damping} \cdot \mathrm{{mean}}(\mathrm{{diag}}\, H)"
    error = (
        rf"\frac{{\lVert (W - \hat W_{{{done}}}) X \rVert^2}}{{\lVert W X \rVert^2}}"
        rf" = \frac{{\mathrm{{tr}}\,(W - \hat W_{{{done}}}) H (W - \hat W_{{{done}}})^\top}}"
        rf"{{\mathrm{{tr}}\, W H W^\top}} = {tex(share)}"
    )
    return hessian, method, error


FIGURE = Figure("gptq", "fig-03b", "FIG.03B", Controls, compute, view, shows="matrix")
