"""FIG.07: SmoothQuant moves the difficulty of W8A8 from a layer's activations to its weights, as α says."""

from __future__ import annotations

import functools
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
HEIGHT = 300
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
    power = _power(output)

    def error(s: Array) -> float:
        return _power(rounded_output(held_out / s, weights * s, form) - output) / power

    return Sweep(
        of_x[0],
        of_w[0],
        factors,
        tuple(error(s) for s in factors),
        error(np.ones_like(factors[0])),
    )


def _power(outputs: Array) -> float:
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


def view(c: Controls) -> View:
    s = sweep(c.layer, c.format)
    at = round(c.alpha * STEPS)
    activations, weights = s.smoothed(at)
    ratios = {
        "activation_ratio": prominence(s.activations),
        "activation_ratio_smoothed": prominence(activations),
        "weight_ratio_smoothed": prominence(weights),
    }
    error = s.error_at(at)
    gain = s.plain / error
    best = int(np.argmin(s.errors))
    said = {
        "alpha": numbers.fixed(c.alpha, 2),
        "x": numbers.times(ratios["activation_ratio"], 1),
        "x_smoothed": numbers.times(ratios["activation_ratio_smoothed"], 1),
        "w": numbers.times(prominence(s.weights), 1),
        "w_smoothed": numbers.times(ratios["weight_ratio_smoothed"], 1),
        "error": ten_thousandths(error),
        "plain": ten_thousandths(s.plain),
        "gain": numbers.times(gain),
        "loss": numbers.times(1 / gain),
        "best": numbers.fixed(ALPHAS[best], 2),
        "best_gain": numbers.times(s.plain / s.errors[best]),
        "shown": str(SHOWN),
        "channels": str(len(weights)),
    }
    if at < 0:
        description = [Sentence("off", **said), Sentence("off_error", **said)]
    else:
        description = [Sentence("moved", **said), Sentence("lower" if gain > 1 else "higher", **said)]
    if at in (0, STEPS):
        description.append(Sentence("all_to_weights" if at else "all_to_activations", **said))
    description.append(Sentence("valley" if s.errors[best] < s.plain else "no_valley", **said))
    order = loudest(s)
    columns = (s.activations, s.factors_at(at), activations, s.weights, weights)
    return View(
        readouts=(
            *(Readout(name, ratio, numbers.times(ratio, 1)) for name, ratio in ratios.items()),
            Readout("output_error_plain", s.plain, ten_thousandths(s.plain), "×10⁻⁴"),
            Readout("output_error", error, ten_thousandths(error), "×10⁻⁴", accent=True),
            Readout("gain", gain, numbers.times(gain)),
        ),
        drawing=_drawing(s, at, order, _reach(c.layer)),
        description=tuple(description),
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
        formulas=_formulas(s, at, said),
        ran=(smoothquant.smoothing_factors, *RAN[c.format == "int8"]),
        notes=(Sentence("from_" + c.layer.replace(".", "_"), **said), Sentence(c.format)),
    )


def prominence(magnitudes: Array) -> float:
    """How far the loudest channel stands above the median one: what a shared int8 grid suffers from."""
    return float(magnitudes.max() / np.median(magnitudes))


def loudest(s: Sweep) -> NDArray[np.intp]:
    """The channels that are drawn, loudest activations first."""
    return np.argsort(-s.activations, kind="stable")[:SHOWN]


def ten_thousandths(error: float) -> str:
    return numbers.significant(error / UNIT, 3)


def _drawing(s: Sweep, at: int, order: NDArray[np.intp], error_reach: tuple[float, float]) -> dict[str, Any]:
    """The same channels twice, above one another: how far each falls on top is how far it rises below."""
    x = Scale((-0.5, SHOWN - 0.5))
    relative = _relative(s)
    ends = [_ends(part[:, order]) for part in relative]
    decades = [float(np.log10(high / low)) for low, high in ends]
    heights = [round(HEIGHT * each / sum(decades)) for each in decades]
    return {
        "panels": [
            _panel(key, part[[0, 1 + at]][:, order], x, Scale(reach, (float(height), 0.0), log=True), height)
            for key, part, reach, height in zip(
                ("activations", "weights"), relative, ends, heights, strict=True
            )
        ],
        "x_ticks": [
            {"at": x.percent(i), "text": str(order[i]), "minor": i % 4 != 0} for i in range(0, SHOWN, 2)
        ],
        "valley": _valley(s, at, HEIGHT + BETWEEN_PANELS, error_reach),
    }


@functools.lru_cache(maxsize=len(LAYERS))
def _relative(s: Sweep) -> tuple[Array, Array]:
    """Multiples of the median channel, shape (1 + alphas, channels): first as it is, then at every α."""
    activations = np.vstack([s.activations, s.activations / s.factors])
    weights = np.vstack([s.weights, s.weights * s.factors])
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


def _valley(s: Sweep, at: int, height: int, reach: tuple[float, float]) -> dict[str, Any]:
    errors, plain = np.array(s.errors) / UNIT, s.plain / UNIT
    x, y = Scale((OFF, 1.0)), Scale(reach, (float(height), 0.0), log=True)
    return {
        "height": height,
        "path": " ".join(
            f"{'L' if i else 'M'}{10 * x(alpha):.1f} {1000 * y(float(v)) / height:.1f}"
            for i, (alpha, v) in enumerate(zip(ALPHAS, errors, strict=True))
        ),
        "x": x.percent(at / STEPS),
        "y": y(s.error_at(at) / UNIT),
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


def _formulas(s: Sweep, at: int, said: dict[str, str]) -> tuple[str, ...]:
    product = r"Y = (X \, \mathrm{diag}(s)^{-1}) (\mathrm{diag}(s) \, W^\top)"
    measure = (
        r"\frac{\lVert Y - \hat Y \rVert^2}{\lVert Y \rVert^2}" + rf" = {tex(said['error'])} \times 10^{{-4}}"
    )
    if at < 0:
        return r"s_j = 1", product, measure
    loudest = int(np.argmax(s.activations))
    x, w, factor = (
        tex(numbers.significant(float(v)))
        for v in (s.activations[loudest], s.weights[loudest], s.factors[at][loudest])
    )
    alpha, rest = said["alpha"], numbers.fixed(1 - ALPHAS[at], 2)
    return (
        rf"s_j = \frac{{(\max |x_j|)^{{\alpha}}}}{{(\max |w_j|)^{{1-\alpha}}}}, \quad s_{{{loudest}}}"
        rf" = \frac{{{x}^{{{alpha}}}}}{{{w}^{{{rest}}}}} = {factor}",
        product,
        measure,
    )


FIGURE = Figure("smooth", "fig-07", "FIG.07", Controls, None, view)
