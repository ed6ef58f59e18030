"""FIG.04: sweep AWQ's α: finer for a salient weight, coarser for its neighbours; a gain, then a loss."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.chart import Axis, Chart, Point, Rule, Series
from lessons.kit.controls import FigureControls, choice, slider
from lessons.kit.figure import Figure
from lessons.kit.mathml import tex
from lessons.kit.scales import Scale, linear_ticks
from lessons.kit.view import Column, Readout, Sentence, Table, View
from lessons.quantization import sources
from quant_core.methods import awq, rtn

GROUP_SIZES = {"minilm.5.ffn_in": 128, "minilm.1.query": 128, "smollm2.15.q": 64}
"""64 for SmolLM2: its 576 columns are no multiple of 128."""

WIDTHS = ("2", "3", "4")
KEEP = 0.01
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

    `candidates` hold the salient weight's row only: all that is drawn of the weights. Errors are relative to
    the layer's output; those of `kept` are relative to round-to-nearest.
    """

    alpha: float
    alphas: NDArray[np.float64]
    calibration: NDArray[np.float64]
    held_out: NDArray[np.float64]
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

    plain = rtn.round_to_nearest(weights, bits, size).dequantize()
    rounding = weights.astype(np.float64) - plain
    channel = int(np.argmax(mean_abs))
    row = int(np.argmax(np.abs(rounding[:, channel])))
    group = slice(channel // size * size, channel // size * size + size)
    return Sweep(
        result.alpha,
        result.alphas,
        result.losses / power(weights, layer.hessian),
        result.held_out / power(weights, unseen),
        tuple(
            awq.apply(weights[row : row + 1], awq.scales_for(mean_abs, float(alpha)), bits, size)
            for alpha in result.alphas
        ),
        {by: left[KEPT_SHARES.index(KEEP)] for by, left in kept(name, bits).items()},
        kept_count(KEEP, weights.shape[1]),
        (row, channel),
        group.start + int(np.argmin(mean_abs[group])),
        float(mean_abs[channel] / np.median(mean_abs)),
    )


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

    `scale`, `spacing` and `weight_error` are those of the salient weight.
    """

    controls: Controls
    sweep: Sweep
    step: int
    scale: float
    spacing: float
    weight_error: float
    output_error: float
    gain: float
    best_alpha: float


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
        scale=float(scaled.scales[channel]),
        spacing=float(scaled.spacing[0, channel]),
        weight_error=abs(rounded - weight) / abs(weight),
        output_error=float(tries.held_out[step]),
        gain=float(tries.held_out[0] / tries.held_out[step]),
        best_alpha=tries.alpha,
    )


def view(result: Result) -> View:
    tries, step, channel = result.sweep, result.step, result.sweep.salient[1]
    layer = sources.load_layer(result.controls.layer)
    best = round(tries.alpha * awq.GRID)
    scale = Readout.of(result, "scale", numbers.significant)
    spacing = Readout.of(result, "spacing", numbers.significant)
    error = Readout.of(result, "output_error", lambda v: numbers.fixed(100 * v, 2), "%", accent=True)
    said: dict[str, str] = {
        "alpha": numbers.fixed(result.controls.alpha, 2),
        "rtn": numbers.percent(float(tries.held_out[0]), 2),
        "best_gain": numbers.times(float(tries.held_out[0] / tries.held_out[best])),
        "loudness": numbers.times(tries.loudness, 1),
        **_block(tries, step),
        "kept": str(tries.kept_count),
        "columns": str(layer.weights.shape[1]),
        **{by: numbers.fixed(tries.kept[by], 2) for by in KEPT_BY},
    }
    gain = result.gain
    verdict = "plain" if step == 0 else "better" if gain > 1.02 else "same" if gain > 0.98 else "worse"
    return View(
        readouts=(
            scale,
            spacing,
            Readout.of(result, "weight_error", lambda v: numbers.fixed(100 * v, 1), "%"),
            error,
            Readout.of(result, "gain", numbers.times),
            Readout.of(result, "best_alpha", lambda v: numbers.fixed(v, 2)),
        ),
        drawing={
            "strips": _strips(tries, layer.weights, step),
            "kept": _kept_bars(tries),
            "count": tries.kept_count,
        },
        description=(
            Sentence(verdict, **said),
            *((Sentence("block", **said),) if step else ()),
            Sentence("curve", **said),
            Sentence("keep", **said),
        ),
        table=Table(
            (
                Column("alpha", lambda v: numbers.fixed(v, 2)),
                Column("scale", numbers.significant),
                Column("spacing", numbers.significant),
                Column("calibration", lambda v: numbers.percent(v, 2)),
                Column("held_out", lambda v: numbers.percent(v, 2)),
            ),
            tuple(
                (
                    float(alpha),
                    float(tries.candidates[i].scales[channel]),
                    float(tries.candidates[i].spacing[0, channel]),
                    float(tries.calibration[i]),
                    float(tries.held_out[i]),
                )
                for i, alpha in enumerate(tries.alphas)
            ),
            frozenset({step}),
        ),
        formulas=(
            r"s_j = \frac{\bar{x}_j^{\,\alpha}}{\sqrt{\max s \cdot \min s}}, \quad"
            rf" \alpha = {said['alpha']}, \quad s_{{{channel}}} = {tex(scale.text)}",
            rf"\hat W = Q(W \cdot s) / s, \quad \Delta / s_{{{channel}}} = {tex(spacing.text)}",
            r"\frac{\lVert X (W - \hat W)^\top \rVert^2}{\lVert X W^\top \rVert^2}"
            + f" = {tex(numbers.with_unit(error.text, error.unit))}",
        ),
        ran=(awq.search_statistics, awq.scales_for, awq.apply, awq.channel_order),
        notes=(Sentence("from_" + result.controls.layer.replace(".", "_")), Sentence("never_chosen")),
        chart=_chart(tries, step, best),
    )


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


def _strips(tries: Sweep, weights: NDArray[Any], step: int) -> list[dict[str, Any]]:
    """The levels that the salient weight, and a quiet neighbour of its group, can take at this α."""
    row, channel = tries.salient
    candidate = tries.candidates[step]
    quantized = candidate.quantized
    group = channel // quantized.group_size
    codes = np.arange(2**quantized.grid.bits)
    assert quantized.zero_point is not None
    levels = (codes - int(quantized.zero_point[0, group])) * float(quantized.scale[0, group])
    columns = slice(group * quantized.group_size, (group + 1) * quantized.group_size)
    reach = 1.15 * float(np.abs(weights[row, columns]).max())
    x = Scale((-reach, reach))
    snapped = candidate.dequantize()[0]
    strips = []
    for key, column in (("salient", channel), ("neighbour", tries.neighbour)):
        own = levels / float(candidate.scales[column])
        w, q = float(weights[row, column]), float(snapped[column])
        strips.append(
            {
                "key": key,
                "column": column,
                "weight": numbers.significant(w),
                "snapped": numbers.significant(q),
                "levels": [
                    {
                        "id": f"{key}-{i}",
                        "x": f"{min(max(x(float(v)), -30), 130)}%",
                        "inside": abs(v) <= reach,
                    }
                    for i, v in enumerate(own)
                ],
                "true": x.percent(w),
                "snap": x.percent(q),
                "left": f"{min(x(w), x(q))}%",
                "width": f"{round(abs(x(w) - x(q)), 3)}%",
                "ticks": [
                    {"at": x.percent(v), "text": numbers.significant(v, 2)}
                    for v in linear_ticks(-reach, reach, 5)
                ],
                "spacing": numbers.significant(float(candidate.spacing[0, column])),
            }
        )
    return strips


def _kept_bars(tries: Sweep) -> list[dict[str, str]]:
    widest = max(1.0, *tries.kept.values())
    return [
        {"by": by, "width": f"{100 * tries.kept[by] / widest:.2f}%", "text": numbers.fixed(tries.kept[by], 2)}
        for by in KEPT_BY
    ]


def _chart(tries: Sweep, step: int, best: int) -> Chart:
    highest = float(max(tries.calibration.max(), tries.held_out.max()))
    hover = "α {} · {}"

    def points(values: NDArray[np.float64], name: str, marked: int | None) -> tuple[Point, ...]:
        return tuple(
            Point(
                float(alpha),
                float(values[i]),
                f"{name}-{i}",
                hover=hover.format(numbers.fixed(float(alpha), 2), numbers.percent(float(values[i]), 2)),
                marked=i == marked,
            )
            for i, alpha in enumerate(tries.alphas)
        )

    top = highest * 1.08
    return Chart(
        Axis("alpha", (-0.03, 1.03), tuple((v, numbers.fixed(v, 1)) for v in linear_ticks(0, 1, 5))),
        Axis(
            "output_error",
            (0.0, top),
            tuple((v, numbers.percent(v, _places(top))) for v in linear_ticks(0, top, 5)),
        ),
        (
            Series("calibration", points(tries.calibration, "calibration", None), "line", "true"),
            Series("held_out", points(tries.held_out, "held-out", step), "both", "quantized"),
        ),
        (Rule("x", float(tries.alphas[best]), "best"), Rule("y", float(tries.held_out[0]), "rtn")),
    )


def _places(top: float) -> int:
    return 0 if top > 0.08 else 1


FIGURE = Figure("awq", "fig-04", "FIG.04", Controls, compute, view, shows="matrix")
