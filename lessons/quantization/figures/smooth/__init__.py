"""FIG.07: SmoothQuant moves the difficulty of W8A8 from a layer's activations to its weights, as α says."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice, slider
from lessons.kit.figure import Figure
from lessons.kit.language import gettext
from lessons.kit.mathml import tex
from lessons.kit.scales import Scale
from lessons.kit.view import Column, Readout, Sentence, Table, View
from lessons.quantization import sources
from quant_core.methods import fp8, smoothquant

LAYERS = ("minilm.5.ffn_in", "minilm.1.query", "smollm2.15.q")
FORMATS = ("int8", "e4m3", "e5m2")
"""What both weights and activations are rounded to; the last two are the kinds of FP8."""

STEPS = 20
ALPHAS = tuple(step / STEPS for step in range(STEPS + 1))
OFF = -1 / STEPS
"""The slider's first stop: not smoothed, all factors 1. α = 0 is not that, it makes the weights flat."""

SHOWN = 24
HEIGHT = 280
"""Of both panels together: each gets its part by the decades that it spans, so that they share one scale."""

BETWEEN_PANELS = 51
ROOM = 1.2
"""Free space at both ends of an axis, as a factor."""
UNIT = 1e-4
"""Output errors are printed in ten-thousandths: 1 is 10⁻⁴."""

RAN = {
    True: (smoothquant.quantize_w8a8, smoothquant.W8A8.output),
    False: (fp8.quantize, fp8.encode, fp8.decode),
}

Array = NDArray[np.float32]


class Controls(FigureControls):
    alpha: float = slider(
        0.5, low=OFF, high=1, step=0.05, show=lambda v: gettext("off") if v < 0 else numbers.fixed(v, 2)
    )
    layer: str = choice("minilm.5.ffn_in", LAYERS)
    format: str = choice("int8", FORMATS, style="segments")


@dataclass(frozen=True, eq=False)
class Sweep:
    """One layer at every α: the factors come from the calibration text, the error from held-out text.

    `activations` and `weights` are the largest magnitudes of each input channel, shape (channels,);
    `factors` is (alphas, channels), `errors` (alphas,); `plain` is the error without smoothing. A step is
    that of an α, or -1 where nothing is smoothed.
    """

    activations: Array
    weights: Array
    factors: Array
    errors: tuple[float, ...]
    plain: float

    def factors_at(self, step: int) -> Array:
        return self.factors[step] if step >= 0 else np.ones_like(self.activations)

    def error_at(self, step: int) -> float:
        return self.errors[step] if step >= 0 else self.plain

    def smoothed(self, step: int) -> tuple[Array, Array]:
        """Largest magnitudes of activations and weights at a step."""
        factors = self.factors_at(step)
        return self.activations / factors, self.weights * factors


@functools.lru_cache(maxsize=len(LAYERS) * len(FORMATS))
def sweep(name: str, form: str = "int8") -> Sweep:
    """Smooth a layer at every α and round it to a format. Without smoothing is all factors 1."""
    weights = sources.load_layer(name).weights
    calibration, held_out = texts(name)
    # The factors see nothing but the largest magnitudes, so they get one row with these in place of all.
    of_x, of_w = (np.abs(side).max(axis=0, keepdims=True) for side in (calibration, weights))
    factors = np.stack([smoothquant.smoothing_factors(of_x, of_w, alpha) for alpha in ALPHAS])
    output = held_out @ weights.T
    power = power_of(output)

    def error(s: Array) -> float:
        return power_of(rounded_output(held_out / s, weights * s, form) - output) / power

    return Sweep(
        of_x[0],
        of_w[0],
        factors,
        tuple(error(s) for s in factors),
        error(np.ones_like(factors[0])),
    )


def power_of(outputs: Array) -> float:
    exact = outputs.astype(np.float64)
    return float(np.vdot(exact, exact))


def rounded_output(activations: Array, weights: Array, form: str) -> Array:
    """The layer's output with both sides in eight bits: a scale for each token, one for each row."""
    if form == "int8":
        return smoothquant.quantize_w8a8(activations, weights, alpha=None).output()
    kind = cast(fp8.Kind, form)
    x, w = (fp8.quantize(side, kind, per="row").dequantize() for side in (activations, weights))
    product: Array = x @ w.T
    return product


def texts(name: str) -> tuple[Array, Array]:
    """Activations of the calibration text and of held-out text; halves of one where only one is shipped."""
    layer = sources.load_layer(name)
    held_out = layer.activations_test
    assert held_out is not None  # each of these layers is shipped with what flows into it
    if layer.activations_calibration is not None:
        return layer.activations_calibration, held_out
    half = len(held_out) // 2
    return held_out[:half], held_out[half:]


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """A layer at one α, stop `step` of the slider, where -1 smooths nothing; the read-outs have their names.

    `activations` and `weights` are the largest magnitudes of each channel after smoothing.
    """

    controls: Controls
    sweep: Sweep
    step: int
    activations: Array
    weights: Array
    activation_ratio: float
    activation_ratio_smoothed: float
    weight_ratio_smoothed: float
    output_error_plain: float
    output_error: float
    gain: float


def compute(controls: Controls) -> Result:
    """Divide the activations of a layer by their factors, multiply its weights by them, and round both."""
    tries = sweep(controls.layer, controls.format)
    step = round(controls.alpha * STEPS)
    activations, weights = tries.smoothed(step)
    return Result(
        controls,
        tries,
        step,
        activations,
        weights,
        activation_ratio=prominence(tries.activations),
        activation_ratio_smoothed=prominence(activations),
        weight_ratio_smoothed=prominence(weights),
        output_error_plain=tries.plain,
        output_error=tries.error_at(step),
        gain=tries.plain / tries.error_at(step),
    )


def prominence(magnitudes: Array) -> float:
    """How far the loudest channel stands above the median one: what a shared int8 grid suffers from."""
    return float(magnitudes.max() / np.median(magnitudes))


def view(result: Result) -> View:
    tries, step, layer = result.sweep, result.step, result.controls.layer
    order = loudest(tries)
    columns = (tries.activations, tries.factors_at(step), result.activations, tries.weights, result.weights)
    error = Readout.of(result, "output_error", ten_thousandths, "×10⁻⁴", accent=True)
    return View(
        readouts=(
            error,
            Readout.of(result, "output_error_plain", ten_thousandths, "×10⁻⁴"),
            Readout.of(result, "gain", numbers.times),
            *(
                Readout.of(result, name, lambda v: numbers.times(v, 1))
                for name in ("activation_ratio", "activation_ratio_smoothed", "weight_ratio_smoothed")
            ),
        ),
        drawing=_drawing(tries, step, order, _reach(layer)),
        description=tuple(_description(result)),
        table=Table(
            (
                Column("channel", str),
                Column("activation", numbers.significant),
                Column("factor", numbers.significant),
                Column("activation_smoothed", numbers.significant),
                Column("weight", numbers.significant),
                Column("weight_smoothed", numbers.significant),
            ),
            tuple((int(j), *(float(column[j]) for column in columns)) for j in order),
        ),
        formulas=_formulas(tries, step, error.text),
        ran=(smoothquant.smoothing_factors, *RAN[result.controls.format == "int8"]),
        notes=(
            Sentence("from_" + layer.replace(".", "_"), shown=str(SHOWN), channels=str(len(tries.weights))),
            Sentence(result.controls.format),
        ),
        source=Sentence("source_" + layer.replace(".", "_")),
    )


def _description(result: Result) -> Iterator[Sentence]:
    tries, alpha = result.sweep, numbers.fixed(result.controls.alpha, 2)
    before = numbers.times(prominence(tries.weights), 1)
    if result.step < 0:
        yield Sentence("off")
        yield Sentence("off_weights", w=before)
    else:
        loss = numbers.times(1 / result.gain)
        yield Sentence("lower" if result.gain > 1 else "higher", alpha=alpha, loss=loss)
        yield Sentence("weights", w=before)
    if result.step in (0, STEPS):
        yield Sentence("all_to_weights" if result.step else "all_to_activations")
    best = int(np.argmin(tries.errors))
    if tries.errors[best] < tries.plain:
        best_gain = numbers.times(tries.plain / tries.errors[best])
        yield Sentence("valley", best=numbers.fixed(ALPHAS[best], 2), best_gain=best_gain)
    else:
        yield Sentence("no_valley")


def loudest(tries: Sweep) -> NDArray[np.intp]:
    """The channels that are drawn, loudest activations first."""
    return np.argsort(-tries.activations, kind="stable")[:SHOWN]


def ten_thousandths(error: float) -> str:
    return numbers.significant(error / UNIT, 3)


def _drawing(
    tries: Sweep, step: int, order: NDArray[np.intp], error_reach: tuple[float, float]
) -> dict[str, Any]:
    """The same channels twice, above one another: how far each falls on top is how far it rises below."""
    x = Scale((-0.5, SHOWN - 0.5))
    relative = _relative(tries)
    ends = [_ends(part[:, order]) for part in relative]
    decades = [float(np.log10(high / low)) for low, high in ends]
    heights = [round(HEIGHT * each / sum(decades)) for each in decades]
    return {
        "panels": [
            _panel(
                key, part[[0, 1 + step]][:, order], x, Scale(reach, (float(height), 0.0), log=True), height
            )
            for key, part, reach, height in zip(
                ("activations", "weights"), relative, ends, heights, strict=True
            )
        ],
        "x_ticks": [
            {"at": x.percent(i), "text": str(order[i]), "minor": i % 4 != 0} for i in range(0, SHOWN, 2)
        ],
        "valley": _valley(tries, step, HEIGHT + BETWEEN_PANELS, error_reach),
    }


@functools.lru_cache(maxsize=len(LAYERS))
def _relative(tries: Sweep) -> tuple[Array, Array]:
    """Multiples of the median channel, shape (1 + alphas, channels): first as it is, then at every α."""
    activations = np.vstack([tries.activations, tries.activations / tries.factors])
    weights = np.vstack([tries.weights, tries.weights * tries.factors])
    return _times_median(activations), _times_median(weights)


def _times_median(magnitudes: Array) -> Array:
    return magnitudes / np.median(magnitudes, axis=1, keepdims=True)


def _ends(relative: Array) -> tuple[float, float]:
    """The range of an axis, one for all α, so that what moves is the marks and not the axis."""
    return min(float(relative.min()), 1.0) / ROOM, max(float(relative.max()), 1.0) * ROOM


def _panel(key: str, ratios: Array, x: Scale, y: Scale, height: int) -> dict[str, Any]:
    marks = []
    for i, (before, after) in enumerate(ratios.T.tolist()):
        ends = y(before), y(after)
        marks.append(
            {
                "x": x.percent(i),
                "before": ends[0],
                "after": ends[1],
                "top": min(ends),
                "length": round(abs(ends[1] - ends[0]), 3),
            }
        )
    ticks = [{"at": y(v), "text": numbers.times(v, 0 if v >= 1 else 1), "zero": v == 1} for v in y.ticks()]
    return {"key": key, "height": height, "ticks": ticks, "marks": marks}


def _valley(tries: Sweep, step: int, height: int, reach: tuple[float, float]) -> dict[str, Any]:
    errors, plain = np.array(tries.errors) / UNIT, tries.plain / UNIT
    x, y = Scale((OFF, 1.0)), Scale(reach, (float(height), 0.0), log=True)
    return {
        "height": height,
        "path": " ".join(
            f"{'L' if i else 'M'}{10 * x(alpha):.1f} {1000 * y(float(v)) / height:.1f}"
            for i, (alpha, v) in enumerate(zip(ALPHAS, errors, strict=True))
        ),
        "x": x.percent(step / STEPS),
        "y": y(tries.error_at(step) / UNIT),
        "plain": y(plain),
        "y_ticks": [{"at": y(v), "text": numbers.significant(v, 1)} for v in y.ticks()],
        "x_ticks": [{"at": x.percent(v), "text": numbers.fixed(v, 2)} for v in (0.0, 0.25, 0.5, 0.75, 1.0)],
    }


@functools.lru_cache(maxsize=len(LAYERS))
def _reach(name: str) -> tuple[float, float]:
    """The errors of a layer in every format, so that a change of format moves the curve and not the axis."""
    every = [
        error / UNIT for form in FORMATS for error in (*sweep(name, form).errors, sweep(name, form).plain)
    ]
    return min(every) / ROOM, max(every) * ROOM


def _formulas(tries: Sweep, step: int, error: str) -> tuple[str, ...]:
    product = r"Y = (X \, \mathrm{diag}(s)^{-1}) (\mathrm{diag}(s) \, W^\top)"
    measure = r"\frac{\lVert Y - \hat Y \rVert^2}{\lVert Y \rVert^2}" + rf" = {tex(error)} \times 10^{{-4}}"
    if step < 0:
        return r"s_j = 1", product, measure
    loudest = int(np.argmax(tries.activations))
    x, w, factor = (
        tex(numbers.significant(float(v)))
        for v in (tries.activations[loudest], tries.weights[loudest], tries.factors[step][loudest])
    )
    alpha, rest = (numbers.fixed(v, 2) for v in (ALPHAS[step], 1 - ALPHAS[step]))
    return (
        rf"s_j = \frac{{(\max |x_j|)^{{\alpha}}}}{{(\max |w_j|)^{{1-\alpha}}}}, \quad s_{{{loudest}}}"
        rf" = \frac{{{x}^{{{alpha}}}}}{{{w}^{{{rest}}}}} = {factor}",
        product,
        measure,
    )


FIGURE = Figure("smooth", "fig-07", "FIG.07", Controls, compute, view, shows="layer")
