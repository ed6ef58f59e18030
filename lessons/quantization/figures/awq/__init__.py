"""FIG.04: sweep AWQ's α: the error of the loud channels falls, that of their neighbours rises."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice, slider
from lessons.kit.figure import Figure
from lessons.kit.mathml import tex
from lessons.kit.scales import Scale, linear_ticks
from lessons.kit.view import Column, PlotScales, Readout, Sentence, Table, View
from lessons.quantization import sources
from quant_core.methods import awq, rtn

GROUP_SIZES = {"minilm.5.ffn_in": 128, "minilm.1.query": 128, "smollm2.15.q": 64}
"""64 for SmolLM2: its 576 columns are no multiple of 128."""

WIDTHS = ("2", "3", "4")
KEEP = 0.01
"""Share of the channels that count as loud, and that may be kept in sixteen bits."""

RANDOM_SEEDS = range(8)
KeptBy = Literal["activation", "weight", "random"]
KEPT_BY: tuple[KeptBy, ...] = ("activation", "weight", "random")
KEPT_SHARES = (0.0025, 0.005, KEEP, 0.02, 0.05, 0.1)
"""Shares of the channels that FIG.04B keeps; this figure keeps one of them."""


class Controls(FigureControls):
    alpha: float = slider(0.45, low=0, high=1, step=0.05)
    layer: str = choice("minilm.5.ffn_in", GROUP_SIZES)
    bits: str = choice("3", WIDTHS, style="segments")


@dataclass(frozen=True, eq=False)
class Sweep:
    """Everything about one layer at one width, for all tries of α.

    Errors are relative to the layer's output, on the calibration text but for `held_out`; `loud` and
    `neighbours` are the shares of the loud channels and of all others in `calibration`, and add up to it.
    `loudest_rounding` and `neighbour_rounding` are root mean squares of Ŵ − W. `kept` is relative to RTN.
    `candidates` hold the salient weight's row only.
    """

    alpha: float
    alphas: NDArray[np.float64]
    calibration: NDArray[np.float64]
    held_out: NDArray[np.float64]
    loud: NDArray[np.float64]
    neighbours: NDArray[np.float64]
    loudest_rounding: NDArray[np.float64]
    neighbour_rounding: NDArray[np.float64]
    candidates: tuple[awq.Scaled, ...]
    kept: dict[KeptBy, float]
    kept_count: int
    salient: tuple[int, int]
    neighbour: int
    loudness: float


@functools.lru_cache(maxsize=len(GROUP_SIZES) * len(WIDTHS))
def sweep(name: str, bits: int) -> Sweep:
    """All tries of α on a layer: the search sees the calibration statistics, the held-out text judges."""
    layer = sources.load_layer(name)
    weights, size = layer.weights, GROUP_SIZES[name]
    assert layer.hessian is not None  # each of these layers is shipped with what flows into it
    assert layer.mean_abs is not None
    assert layer.activations_test is not None
    mean_abs, inputs = layer.mean_abs, layer.activations_test.astype(np.float64)
    unseen = inputs.T @ inputs / len(inputs)
    result = awq.search_statistics(weights, layer.hessian, mean_abs, bits, size, held_out=unseen)
    assert result.held_out is not None

    count = kept_count(KEEP, weights.shape[1])
    loud = awq.channel_order(weights, mean_abs, "activation")[:count]
    scaled = [awq.apply(weights, awq.scales_for(mean_abs, float(a)), bits, size) for a in result.alphas]
    errors = [np.asarray(each.dequantize() - weights, np.float64) for each in scaled]
    channel = int(np.argmax(mean_abs))
    row = int(np.argmax(np.abs(errors[0][:, channel])))
    group = slice(channel // size * size, channel // size * size + size)
    output = power(weights, layer.hessian)
    shares = np.array([channel_shares(error, layer.hessian) for error in errors]) / output
    others = np.setdiff1d(np.arange(weights.shape[1]), loud)
    return Sweep(
        result.alpha,
        result.alphas,
        result.losses / output,
        result.held_out / power(weights, unseen),
        shares[:, loud].sum(axis=1),
        shares[:, others].sum(axis=1),
        np.array([rms(error[:, channel]) for error in errors]),
        np.array([rms(error[:, others]) for error in errors]),
        tuple(
            awq.apply(weights[row : row + 1], awq.scales_for(mean_abs, float(alpha)), bits, size)
            for alpha in result.alphas
        ),
        {by: left[KEPT_SHARES.index(KEEP)] for by, left in kept(name, bits).items()},
        count,
        (row, channel),
        group.start + int(np.argmin(mean_abs[group])),
        float(mean_abs[channel] / np.median(mean_abs)),
    )


def channel_shares(errors: NDArray[np.float64], moment: NDArray[Any]) -> NDArray[np.float64]:
    """What each channel adds to the layer's mean squared output error: Σⱼ (EᵀE)ᵢⱼ Mᵢⱼ ÷ rows.

    The errors of two channels meet in the output; each gets half of what they add together, so the shares
    add up exactly. A channel whose errors cancel those of others may have a negative share.
    """
    shares: NDArray[np.float64] = ((errors.T @ errors) * moment).sum(axis=1) / len(errors)
    return shares


def rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def power(weights: NDArray[Any], moment: NDArray[Any]) -> float:
    """The layer's mean squared output, tr(W M Wᵀ) / rows: what a loss is relative to."""
    w = weights.astype(np.float64)
    return float(np.vdot(w @ moment, w)) / len(w)


def kept_count(share: float, columns: int) -> int:
    """How many channels a share of them is: one at least."""
    return max(1, round(share * columns))


@functools.lru_cache(maxsize=len(GROUP_SIZES) * len(WIDTHS))
def kept(name: str, bits: int) -> dict[KeptBy, tuple[float, ...]]:
    """What is left of RTN's error on held-out text when each of `KEPT_SHARES` of the channels keeps 16 bits.

    `pairs[i, j]` is what the errors of channels i and j add to it together; a kept channel has no error.
    """
    layer = sources.load_layer(name)
    assert layer.mean_abs is not None
    assert layer.activations_test is not None
    weights, mean_abs, inputs = layer.weights, layer.mean_abs, layer.activations_test.astype(np.float64)
    plain = rtn.round_to_nearest(weights, bits, GROUP_SIZES[name]).dequantize()
    rounding = weights.astype(np.float64) - plain
    pairs = (rounding.T @ rounding) * (inputs.T @ inputs)
    counts = [kept_count(share, len(pairs)) for share in KEPT_SHARES]

    def left(by: KeptBy, seed: int = 0) -> NDArray[np.float64]:
        order = awq.channel_order(weights, mean_abs, by, seed)
        ordered = pairs[np.ix_(order, order)]
        return np.array([ordered[count:, count:].sum() / ordered.sum() for count in counts])

    return {
        "activation": tuple(left("activation").tolist()),
        "weight": tuple(left("weight").tolist()),
        "random": tuple(np.mean([left("random", seed) for seed in RANDOM_SEEDS], axis=0).tolist()),
    }


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """A layer at one α, the try number `step` of its sweep; the read-outs have their names.

    `scale`, `spacing` and `weight_error` are those of the salient weight; `gain` is that on held-out text.
    """

    controls: Controls
    sweep: Sweep
    step: int
    output_error: float
    loudest_rounding: float
    neighbour_rounding: float
    held_out: float
    gain: float
    best_alpha: float
    scale: float
    spacing: float
    weight_error: float


def compute(controls: Controls) -> Result:
    """Scale the channels of a layer by their loudness to the power α, and round it."""
    tries = sweep(controls.layer, int(controls.bits))
    step = round(controls.alpha * awq.GRID)
    scaled = tries.candidates[step]
    row, channel = tries.salient
    weight = float(sources.load_layer(controls.layer).weights[row, channel])
    rounded = float(scaled.dequantize()[0, channel])
    return Result(
        controls,
        tries,
        step,
        output_error=float(tries.calibration[step]),
        loudest_rounding=float(tries.loudest_rounding[step]),
        neighbour_rounding=float(tries.neighbour_rounding[step]),
        held_out=float(tries.held_out[step]),
        gain=float(tries.held_out[0] / tries.held_out[step]),
        best_alpha=tries.alpha,
        scale=float(scaled.scales[channel]),
        spacing=float(scaled.spacing[0, channel]),
        weight_error=abs(rounded - weight) / abs(weight),
    )


def view(result: Result) -> View:
    tries, step, channel = result.sweep, result.step, result.sweep.salient[1]
    error = Readout.of(result, "output_error", _hundredths, "%", accent=True)
    scale = Readout.of(result, "scale", numbers.significant)
    spacing = Readout.of(result, "spacing", numbers.significant)
    alpha = numbers.fixed(result.controls.alpha, 2)
    layer = result.controls.layer.replace(".", "_")
    shape = sources.load_layer(result.controls.layer).weights.shape
    return View(
        readouts=(
            error,
            Readout.of(result, "loudest_rounding", numbers.significant),
            Readout.of(result, "neighbour_rounding", numbers.significant),
            Readout.of(result, "held_out", _hundredths, "%"),
            Readout.of(result, "gain", numbers.times),
            Readout.of(result, "best_alpha", lambda v: numbers.fixed(v, 2)),
            scale,
            spacing,
            Readout.of(result, "weight_error", lambda v: numbers.fixed(100 * v, 1), "%"),
        ),
        drawing=_drawing(tries, step),
        plots={"error": PlotScales(ALPHAS, error_scale(tries))},
        description=_description(result),
        table=_table(tries, step),
        formulas=(
            r"s_j = \frac{\bar{x}_j^{\,\alpha}}{\sqrt{\max s \cdot \min s}}, \quad"
            rf" \alpha = {alpha}, \quad s_{{{channel}}} = {tex(scale.text)}",
            rf"\hat W = Q(W \cdot s) / s, \quad \Delta / s_{{{channel}}} = {tex(spacing.text)}",
            r"E = \hat W - W, \quad H = X^\top X, \quad \mathrm{error}_i ="
            r" \frac{\sum_j (E^\top E)_{ij} H_{ij}}{\lVert X W^\top \rVert^2}",
            r"\sum_i \mathrm{error}_i = \frac{\lVert X E^\top \rVert^2}{\lVert X W^\top \rVert^2}"
            + f" = {tex(numbers.with_unit(error.text, error.unit))}",
        ),
        ran=(awq.search_statistics, awq.scales_for, awq.apply, awq.channel_order),
        notes=(Sentence(f"from_{layer}"), Sentence("never_chosen")),
        source=Sentence(f"source_{layer}", rows=str(shape[0]), columns=str(shape[1])),
    )


def _hundredths(error: float) -> str:
    return numbers.fixed(100 * error, 2)


def _table(tries: Sweep, step: int) -> Table:
    percent = functools.partial(numbers.percent, places=2)
    channel = tries.salient[1]
    return Table(
        (
            Column("alpha", lambda v: numbers.fixed(v, 2)),
            Column("loud", percent),
            Column("neighbours", percent),
            Column("calibration", percent),
            Column("held_out", percent),
            Column("loudest_rounding", numbers.significant),
            Column("neighbour_rounding", numbers.significant),
            Column("scale", numbers.significant),
            Column("spacing", numbers.significant),
        ),
        tuple(
            (
                float(alpha),
                float(tries.loud[i]),
                float(tries.neighbours[i]),
                float(tries.calibration[i]),
                float(tries.held_out[i]),
                float(tries.loudest_rounding[i]),
                float(tries.neighbour_rounding[i]),
                float(tries.candidates[i].scales[channel]),
                float(tries.candidates[i].spacing[0, channel]),
            )
            for i, alpha in enumerate(tries.alphas)
        ),
        frozenset({step}),
    )


def _description(result: Result) -> tuple[Sentence, ...]:
    """The finding, by whether α is at the lowest error, before it or beyond it; then what lies behind."""
    tries, step = result.sweep, result.step
    percent = functools.partial(numbers.percent, places=2)
    best = round(tries.alpha * awq.GRID)
    said: dict[str, str] = {
        "alpha": numbers.fixed(result.controls.alpha, 2),
        "best": numbers.fixed(tries.alpha, 2),
        "count": str(tries.kept_count),
        "columns": str(len(tries.candidates[0].scales)),
        "without": percent(float(tries.calibration[0])),
        "share": numbers.percent(float(tries.loud[0] / tries.calibration[0]), 0),
        "less": _times(float(tries.loud[0] / tries.loud[step])),
        "more": numbers.times(float(tries.neighbours[step] / tries.neighbours[0])),
        "unseen": percent(result.held_out),
        "unseen_without": percent(float(tries.held_out[0])),
        "loudness": numbers.times(tries.loudness, 1),
        **_block(tries, step),
        **{by: numbers.fixed(tries.kept[by], 2) for by in KEPT_BY},
    }
    finding = (
        "plain"
        if step == 0
        else "before"
        if step < best
        else "least"
        if step == best
        else "beyond"
        if result.output_error < tries.calibration[0]
        else "worse"
    )
    return (
        Sentence(finding, **said),
        Sentence("loud", **said),
        *((Sentence("block", **said),) if step else ()),
        Sentence("unseen", **said),
        Sentence("keep", **said),
    )


def _times(factor: float) -> str:
    """A factor to a tenth, from ten on in whole numbers: 8.9×, 3×, 53×."""
    return numbers.shortest(round(factor, 1 if factor < 9.95 else 0)) + numbers.TIMES


def changes(tries: Sweep, step: int) -> tuple[float, float, float]:
    """Against plain RTN: the range of the salient weight's block, and the spacings of it and its neighbour.

    The range is a factor, and so is the step, which is a fixed part of it; the spacing of the salient weight
    is so many times finer, that of the neighbour so many times coarser.
    """
    plain, scaled = tries.candidates[0], tries.candidates[step]
    channel = tries.salient[1]
    group = channel // scaled.quantized.group_size
    widened = float(scaled.quantized.scale[0, group] / plain.quantized.scale[0, group])
    finer = float(plain.spacing[0, channel] / scaled.spacing[0, channel])
    coarser = float(scaled.spacing[0, tries.neighbour] / plain.spacing[0, tries.neighbour])
    return widened, finer, coarser


def _block(tries: Sweep, step: int) -> dict[str, str]:
    widened, finer, coarser = changes(tries, step)
    return {
        "range": numbers.percent(widened, 0),
        "finer": numbers.times(finer),
        "coarser": numbers.times(coarser),
    }


# --- the drawing ------------------------------------------------------------------------------------------

HEIGHT = 280
ALPHAS = Scale((0.0, 1.0))


def error_scale(tries: Sweep) -> Scale:
    """Upwards in the drawing: from no error to a little above the largest."""
    return Scale((0.0, 1.1 * float(tries.calibration.max())), (float(HEIGHT), 0.0))


def error_ticks(scale: Scale) -> list[tuple[float, str]]:
    top = scale.domain[1]
    return [(v, numbers.percent(v, 0 if top > 0.03 else 1)) for v in linear_ticks(0.0, top, 5)]


def _drawing(tries: Sweep, step: int) -> dict[str, Any]:
    """The shares of the loud channels and of their neighbours, and their sum; the sum again as columns."""
    y, alpha, best = error_scale(tries), float(tries.alphas[step]), round(tries.alpha * awq.GRID)
    last = len(tries.alphas) - 1
    parts = {"sum": tries.calibration, "neighbours": tries.neighbours, "loud": tries.loud}
    return {
        "height": HEIGHT,
        "y_ticks": [{"at": y(v), "text": text, "zero": v == 0} for v, text in error_ticks(y)],
        "x_ticks": [{"at": ALPHAS.percent(v), "text": numbers.shortest(v)} for v in (0, 0.25, 0.5, 0.75, 1)],
        "curves": {name: _path(tries, values, y) for name, values in parts.items()},
        "columns": [_column(tries, i, y) for i in (0, last)],
        "now": _column(tries, step, y) | {name: y(float(values[step])) for name, values in parts.items()},
        "right": alpha < 0.5,
        "ends": [alpha >= 0.15, alpha <= 0.85],
        "best": ALPHAS.percent(tries.alpha),
        "best_y": y(float(tries.calibration[best])),
        "best_text": numbers.fixed(tries.alpha, 2),
        "names": _names(tries, step, y),
        "count": str(tries.kept_count),
        "others": str(len(tries.candidates[0].scales) - tries.kept_count),
    }


def _path(tries: Sweep, values: NDArray[np.float64], y: Scale) -> str:
    points = zip(tries.alphas, values, strict=True)
    return "M" + "L".join(f"{1000 * a:.0f} {1000 * y(float(v)) / HEIGHT:.1f}" for a, v in points)


def _column(tries: Sweep, step: int, y: Scale) -> dict[str, Any]:
    """The share of the neighbours with that of the loud channels on it."""
    low, high = y(float(tries.neighbours[step])), y(float(tries.neighbours[step] + tries.loud[step]))
    return {
        "x": ALPHAS.percent(float(tries.alphas[step])),
        "neighbours_y": low,
        "neighbours_height": round(HEIGHT - low, 2),
        "loud_y": high,
        "loud_height": round(low - high, 2),
        "total": numbers.percent(float(tries.calibration[step]), 2),
    }


INSIDE = 20
"""Pixels that the loud channels' area must be high to hold their name."""


def _names(tries: Sweep, step: int, y: Scale) -> dict[str, dict[str, Any]]:
    """Where both curves are named: in their areas, clear of the column of the slider."""
    alpha = round(float(tries.alphas[step]), 2)
    loud = {round(float(a), 2): HEIGHT - y(float(v)) for a, v in zip(tries.alphas, tries.loud, strict=True)}
    inside = loud[0.25] >= INSIDE and not 0 < alpha <= 0.25
    start = alpha if 0.2 < alpha <= 0.5 or loud[0.25] >= INSIDE else 0.2
    middle = 0.75 if alpha <= 0.5 else 0.8 if alpha < 0.6 else 0.35
    top = HEIGHT - y(float(tries.neighbours[round(middle * awq.GRID)]))
    return {
        "loud": {
            "x": ALPHAS.percent(0 if inside else start),
            "y": HEIGHT - 8 if inside else round(HEIGHT - loud[start] - 8),
            "text": numbers.percent(float(tries.loud[step]), 2),
        },
        "neighbours": {
            "x": ALPHAS.percent(middle),
            "y": round(HEIGHT - (top + loud[round(middle - 0.1, 2)]) / 2 + 5),
            "text": numbers.percent(float(tries.neighbours[step]), 2),
        },
    }


FIGURE = Figure("awq", "fig-04", "FIG.04", Controls, compute, view, shows="matrix", slider_below=True)
