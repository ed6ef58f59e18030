"""FIG.07D: channels of a real layer are mixed by a rotation, until no outlier stretches the grid."""

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
from lessons.kit.view import Column, Limit, PlotScales, Readout, Sentence, Table, View
from lessons.quantization.figures.smooth import LAYERS, power_of, texts
from lessons.quantization.sources import load_layer
from quant_core.methods import hadamard, smoothquant

MOST = 7
SEED = 0
"""Of the random signs."""

BINS = 7
"""Bars of the histogram for each of the fifteen levels of four bits."""
LEVELS = 15

HEIGHT = 176
BAR, STRIP_FOOT = 26, 8
ROOM = 1.06
NEAR = 1.05
"""Errors within this factor of each other are called nearly equal."""

Array = NDArray[np.float32]


class Controls(FigureControls):
    size: int = slider(MOST, low=0, high=MOST, show=lambda power: str(2 ** int(power)))
    bits: str = choice("4", ("8", "4"), style="segments")
    layer: str = choice("minilm.5.ffn_in", LAYERS)


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """Activations and weights whose product is a layer's output, as they are before rounding."""

    activations: Array
    weights: Array

    @property
    def loudness(self) -> Array:
        """Mean magnitude of each channel over that of the median one."""
        mean = np.abs(self.activations).mean(axis=0)
        relative: Array = mean / np.median(mean)
        return relative


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """A layer as it is and rotated, in so many bits; the read-outs have their names.

    `n` channels are mixed at a time. Errors are those of the output, relative and squared. `at_zero` is the
    share of the activations that round to zero. `product_change` is how far the exact output moves.
    """

    controls: Controls
    n: int
    plain: Side
    rotated: Side
    loudness: float
    at_zero: float
    output_error: float
    loudness_plain: float
    at_zero_plain: float
    output_error_plain: float
    output_error_smooth: float
    gain: float
    product_change: float


def compute(controls: Controls) -> Result:
    """Rotate a layer's activations and weights by one matrix, round both, and compare the outputs."""
    bits, plain = int(controls.bits), side_of(controls.layer)
    n = mixed_together(controls)
    turned = hadamard.rotate(plain.weights, plain.activations, SEED, n)
    rotated = Side(turned.activations, turned.weights)
    exact = output_of(controls.layer)
    error, before = output_error(rotated, bits, exact), plain_error(controls.layer, bits)
    return Result(
        controls,
        n,
        plain,
        rotated,
        loudness=float(rotated.loudness.max()),
        at_zero=zero_share(rotated.activations, bits),
        output_error=error,
        loudness_plain=float(plain.loudness.max()),
        at_zero_plain=zero_share(plain.activations, bits),
        output_error_plain=before,
        output_error_smooth=smooth_error(controls.layer, bits),
        gain=before / error,
        product_change=(power_of(rotated.activations @ rotated.weights.T - exact) / power_of(exact)) ** 0.5,
    )


def mixed_together(controls: Controls) -> int:
    """The chosen number of channels, or the largest power of two that divides the layer's."""
    columns = side_of(controls.layer).weights.shape[1]
    return int(min(2**controls.size, columns & -columns))


def rounded(values: Array, bits: int) -> Array:
    """Integers of so many bits, times a scale for each row: for each token, or each output of the weights."""
    scale = np.abs(values).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
    snapped: Array = np.rint(values / scale) * scale
    return snapped


def output_error(side: Side, bits: int, exact: Array) -> float:
    """What rounding both sides leaves in the output."""
    output = rounded(side.activations, bits) @ rounded(side.weights, bits).T
    return power_of(output - exact) / power_of(exact)


def zero_share(activations: Array, bits: int) -> float:
    """The share of the activations that round to zero."""
    return float((rounded(activations, bits) == 0).mean())


@functools.lru_cache(maxsize=len(LAYERS))
def side_of(layer: str) -> Side:
    """A layer's weights, and what flows into it on held-out text."""
    return Side(texts(layer)[1], load_layer(layer).weights)


@functools.lru_cache(maxsize=len(LAYERS))
def output_of(layer: str) -> Array:
    """The layer's output without rounding."""
    side = side_of(layer)
    return side.activations @ side.weights.T


@functools.lru_cache(maxsize=2 * len(LAYERS))
def plain_error(layer: str, bits: int) -> float:
    """The error when both sides are rounded as they are."""
    return output_error(side_of(layer), bits, output_of(layer))


@functools.lru_cache(maxsize=2 * len(LAYERS))
def smooth_error(layer: str, bits: int) -> float:
    """The error with SmoothQuant at α = 0.5, its factors from another text."""
    plain = side_of(layer)
    factors = smoothquant.smoothing_factors(texts(layer)[0], plain.weights)
    return output_error(Side(plain.activations / factors, plain.weights * factors), bits, output_of(layer))


def view(result: Result) -> View:
    controls = result.controls
    places = 4 if controls.bits == "8" else 2
    return View(
        readouts=(
            Readout.of(result, "loudness", _times, accent=True),
            Readout.of(result, "at_zero", _share, "%", accent=True),
            Readout.of(result, "output_error", lambda v: numbers.fixed(100 * v, places), "%", accent=True),
            Readout.of(result, "loudness_plain", _times),
            Readout.of(result, "at_zero_plain", _share, "%"),
            Readout.of(result, "output_error_plain", lambda v: numbers.fixed(100 * v, places), "%"),
            Readout.of(result, "output_error_smooth", lambda v: numbers.fixed(100 * v, places), "%"),
            Readout.of(result, "gain", lambda v: numbers.times(v, 1)),
            Readout.of(result, "product_change", lambda v: numbers.significant(v, 1)),
        ),
        drawing=_drawing(result, places),
        plots={"channels": PlotScales(None, _loudness_scale(controls.layer))},
        description=tuple(_description(result)),
        table=Table(
            (Column("channel", str), Column("before", numbers.times), Column("after", numbers.times)),
            tuple(
                (i, float(before), float(after))
                for i, (before, after) in enumerate(
                    zip(result.plain.loudness, result.rotated.loudness, strict=True)
                )
            ),
        ),
        formulas=(
            r"Y = X W^\top = (X R)(W R)^\top, \quad R R^\top = I",
            r"R = D H, \quad D = \mathrm{diag}(\pm 1), \quad "
            rf"H_{{ij}} = \pm \frac{{1}}{{\sqrt{{{result.n}}}}}",
            r"\frac{\lVert Y - \hat Y \rVert^2}{\lVert Y \rVert^2} = "
            + tex(numbers.percent(result.output_error, places)),
        ),
        ran=(hadamard.rotate, hadamard.transform, smoothquant.smoothing_factors),
        notes=(
            Sentence("from_" + controls.layer.replace(".", "_"), tokens=str(len(result.plain.activations))),
            Sentence("scales"),
            Sentence("signs"),
        ),
        source=Sentence("source_" + controls.layer.replace(".", "_")),
        limits=_limits(result),
    )


def _limits(result: Result) -> dict[str, Limit]:
    """Where no larger block divides the channels, the slider says so."""
    if 2**result.controls.size <= result.n:
        return {}
    columns = str(result.plain.weights.shape[1])
    return {"size": Limit(Sentence("no_larger", n=str(result.n), columns=columns), ())}


def _times(ratio: float) -> str:
    return numbers.times(ratio, 2 if ratio < 9.995 else 1)


def _share(share: float) -> str:
    return numbers.fixed(100 * share, 1)


def _description(result: Result) -> Iterator[Sentence]:
    n, bits = str(result.n), result.controls.bits
    yield Sentence("rotated" if result.n > 1 else "not_mixed", n=n, bits=bits)
    yield Sentence("zeros" if result.n > 1 else "zeros_plain", bits=bits)
    ours, theirs = result.output_error, result.output_error_smooth
    less = "less" if NEAR * ours < theirs else "more" if ours > NEAR * theirs else "near"
    yield Sentence(f"smooth_{less}")
    if result.n > 1:
        yield Sentence("product")


def _drawing(result: Result, places: int) -> dict[str, Any]:
    plain, rotated, y = result.plain.loudness, result.rotated.loudness, _loudness_scale(result.controls.layer)
    x = Scale((0.0, float(len(plain))))
    loud = int(plain.argmax())
    at = x(loud + 0.5)
    before, after = _bell(result.controls.layer, 1), _bell(result.controls.layer, result.n)
    return {
        "height": HEIGHT,
        "n": str(result.n),
        "bits": result.controls.bits,
        "before": _steps(plain, x, y),
        "after": _steps(rotated, x, y),
        "y_ticks": [
            {"at": y(v), "text": numbers.times(v, 0), "zero": v == 0} for v in linear_ticks(*y.domain, 4)
        ],
        "x_ticks": [
            {"at": x.percent(v), "text": str(v), "minor": v % 128 != 0} for v in range(0, len(plain) + 1, 64)
        ],
        "loudest": {
            "x": x.percent(loud + 0.5),
            "y": y(float(plain.max())),
            "anchor": "start" if at < 60 else "end",
            "channel": str(loud),
            "text": _times(float(plain.max())),
        },
        "bell": _histogram(before, after, result.controls.layer),
        **_strip(result, places),
    }


def _strip(result: Result, places: int) -> dict[str, Any]:
    """The output errors of the three ways, as bars on the scale of the largest."""
    errors = (result.output_error_plain, result.output_error_smooth, result.output_error)
    x = Scale((0.0, ROOM * result.output_error_plain))
    keys = ("plain", "smooth", "rotated")
    return {
        "strip": BAR * len(errors) + STRIP_FOOT,
        "errors": [
            {"key": key, "y": BAR * i, "width": x.percent(error), "text": numbers.percent(error, places)}
            for i, (key, error) in enumerate(zip(keys, errors, strict=True))
        ],
        "error_ticks": [
            {"at": x.percent(v), "text": numbers.percent(v, 2 if places == 4 else 0)}
            for v in linear_ticks(*x.domain, 3)
        ],
    }


@functools.lru_cache(maxsize=len(LAYERS))
def _loudness_scale(layer: str) -> Scale:
    """From nothing to the loudest channel, one for all sizes."""
    return Scale((0.0, ROOM * float(side_of(layer).loudness.max())), (float(HEIGHT), 0.0))


def _steps(values: Array, x: Scale, y: Scale) -> str:
    """A column for each channel as one outline, in a square of 1000 by 1000 over the plot."""
    tops = [round(1000 * y(float(v)) / HEIGHT) for v in values]
    columns = (f"L{10 * x(i):.1f} {top}H{10 * x(i + 1):.1f}" for i, top in enumerate(tops))
    return f"M0 1000{''.join(columns)}V1000Z"


@functools.lru_cache(maxsize=(MOST + 1) * len(LAYERS))
def _bell(layer: str, n: int) -> Array:
    """The share of the activations in each bar of the histogram, each divided by the largest of its token."""
    side = side_of(layer)
    x = hadamard.random_rotation(side.activations.shape[1], SEED, n).apply(side.activations)
    reach = LEVELS / (LEVELS - 1)
    shares = x / np.abs(x).max(axis=1, keepdims=True)
    counts = np.histogram(shares, LEVELS * BINS, (-reach, reach))[0]
    bars: Array = (counts / counts.sum()).astype(np.float32)
    return bars


def _histogram(before: Array, after: Array, layer: str) -> dict[str, Any]:
    """Both histograms on one scale, with a normal curve of the second one's spread, and four bits' levels."""
    reach = LEVELS / (LEVELS - 1)
    x = Scale((-reach, reach))
    y = Scale((0.0, ROOM * float(before.max())), (float(HEIGHT), 0.0))
    edges = Scale((0.0, float(len(before))))
    middles = (np.arange(len(after)) + 0.5) / len(after) * 2 * reach - reach
    spread = float(np.sqrt((after * middles**2).sum()))
    normal = np.exp(-((middles / spread) ** 2) / 2)
    normal *= after.sum() / normal.sum()
    line = (
        f"{10 * x(float(v)):.1f} {1000 * y(float(share)) / HEIGHT:.1f}"
        for v, share in zip(middles, normal, strict=True)
    )
    return {
        "before": _steps(before, edges, y),
        "after": _steps(after, edges, y),
        "normal": "M" + "L".join(line),
        "levels": [x.percent(level / (LEVELS // 2)) for level in range(-(LEVELS // 2), LEVELS // 2 + 1)],
        "ticks": [
            {"at": x.percent(v), "text": numbers.fixed(v, 1) if v % 1 else numbers.integer(v)}
            for v in (-1.0, -0.5, 0.0, 0.5, 1.0)
        ],
    }


FIGURE = Figure("rotation", "fig-07d", "FIG.07D", Controls, compute, view, shows="layer")
