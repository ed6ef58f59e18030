"""FIG.07E: a layer that is trained for its few bits, and two formats that keep what such a training won.

Trainings take minutes, so they were recorded by `scripts/record_training.py`. What the two formats make of
the blocks that are drawn is computed here.
"""

from __future__ import annotations

import functools
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
from quant_core import ggml
from quant_core.arrays import F32
from quant_core.methods import lattice, qat, rtn

BITS = ("4", "3", "2")
MOST_STEPS = 200
EVERY = 20
STEPS = tuple(range(0, MOST_STEPS + 1, EVERY))
SHOWN = 32
"""Weights of a block that are drawn: all of Q4_0's, the first of TQ2_0's 256."""

CODES = range(-8, 8)
"""Of Q4_0."""

HEIGHT = 330
PANEL_HEIGHT = 280


class Controls(FigureControls):
    """Which of the three cases is shown; bits and steps belong to the first."""

    story: str = choice("during", ("during", "lattice", "ternary"), style="segments")
    bits: str = choice("3", BITS, style="segments")
    steps: int = slider(MOST_STEPS, low=0, high=MOST_STEPS, step=EVERY)


@dataclass(frozen=True, slots=True, eq=False)
class During:
    """A layer rounded after its training, and during it: `errors` after each of `STEPS`."""

    controls: Controls
    errors: tuple[float, ...]
    after_error: float
    during_error: float
    gain: float


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """A block of trained weights, and what Q4_0 makes of it with its usual and with the recovered scale."""

    controls: Controls
    weights: F32
    usual: F32
    recovered: F32
    usual_scale: float
    recovered_scale: float
    untrained_error: float
    usual_error: float
    recovered_error: float


@dataclass(frozen=True, slots=True, eq=False)
class Ternary:
    """A part of a block of ordinary weights and of weights trained for three levels, as TQ2_0 keeps them."""

    controls: Controls
    ordinary: F32
    ordinary_kept: F32
    trained: F32
    trained_kept: F32
    ordinary_error: float
    trained_error: float
    changed: int


def compute(controls: Controls) -> During | Lattice | Ternary:
    """Show one of three cases."""
    if controls.story == "during":
        return during(controls)
    if controls.story == "lattice":
        return on_lattice(controls)
    return in_three_levels(controls)


def during(controls: Controls) -> During:
    """Look up what trainings with the rounding in place left of the output error."""
    errors = errors_of(int(controls.bits))
    now = errors[STEPS.index(controls.steps)]
    return During(controls, errors, after_error=errors[0], during_error=now, gain=errors[0] / now)


def errors_of(bits: int) -> tuple[float, ...]:
    """The output error after trainings of each length; the first, without a step, is rounding afterwards."""
    found = {row.steps: row.error for row in sources.trained_layer().rows if row.bits == bits}
    return tuple(found[steps] for steps in STEPS)


def on_lattice(controls: Controls) -> Lattice:
    """Store a block of trained weights as Q4_0, with the scale of its range and with that of its lattice."""
    case = sources.trained_layer().lattice
    weights = np.array([case.block], np.float32)
    usual, recovered = ggml.quantize(weights, "Q4_0"), lattice.recover_q4_0(weights).data
    return Lattice(
        controls,
        weights[0],
        ggml.dequantize(usual, "Q4_0")[0],
        ggml.dequantize(recovered, "Q4_0")[0],
        usual_scale=step_of(usual),
        recovered_scale=step_of(recovered),
        untrained_error=case.untrained,
        usual_error=case.usual,
        recovered_error=case.recovered,
    )


def step_of(block: NDArray[np.uint8]) -> float:
    """The scale of a block of Q4_0, with its sign."""
    return float(ggml.fields(block, "Q4_0")["d"].ravel()[0])


def in_three_levels(controls: Controls) -> Ternary:
    """Store ordinary weights and weights trained for three levels as TQ2_0."""
    recorded = sources.trained_layer()
    trained = np.array([recorded.ternary.block], np.float32)
    ordinary = sources.load_layer(recorded.layer).weights[:1, : trained.size]
    kept = [ggml.dequantize(ggml.quantize(part, "TQ2_0"), "TQ2_0") for part in (ordinary, trained)]
    return Ternary(
        controls,
        ordinary[0],
        kept[0][0],
        trained[0],
        kept[1][0],
        ordinary_error=recorded.ternary.usual,
        trained_error=recorded.ternary.stored,
        changed=int(np.count_nonzero(kept[1] != trained)),
    )


def view(result: During | Lattice | Ternary) -> View:
    match result:
        case During():
            return _during(result)
        case Lattice():
            return _on_lattice(result)
        case Ternary():
            return _in_three_levels(result)


def percent(error: float) -> str:
    return numbers.percent(error, places_of(error))


def places_of(error: float) -> int:
    """Decimals of an error in per cent: three digits of those below ten."""
    return 1 if error >= 0.0995 else 2


def _error(result: object, name: str, accent: bool = False) -> Readout:
    value: float = getattr(result, name)
    return Readout(name, value, numbers.fixed(100 * value, places_of(value)), "%", accent)


# --- rounding during the training -------------------------------------------------------------------------


def _during(result: During) -> View:
    bits, steps = result.controls.bits, result.controls.steps
    top = 1.15 * result.after_error
    x, y = Scale((0.0, float(MOST_STEPS))), Scale((0.0, top), (float(HEIGHT), 0.0))
    said = {"bits": bits, "steps": str(steps), "after": percent(result.after_error)}
    key = "trained" if steps else "untrained"
    return View(
        readouts=(
            _error(result, "after_error"),
            _error(result, "during_error", accent=True),
            Readout.of(result, "gain", numbers.times),
        ),
        drawing={
            "curve": {
                "height": HEIGHT,
                "path": " ".join(
                    f"{'L' if i else 'M'}{10 * x(at):.1f} {1000 * y(error) / HEIGHT:.1f}"
                    for i, (at, error) in enumerate(zip(STEPS, result.errors, strict=True))
                ),
                "dots": [
                    {"x": x.percent(at), "y": y(error)}
                    for at, error in zip(STEPS, result.errors, strict=True)
                ],
                "x": x.percent(steps),
                "y": y(result.during_error),
                "after": y(result.after_error),
                "y_ticks": [
                    {"at": y(v), "text": numbers.percent(v, 0 if top > 0.05 else 1), "zero": v == 0}
                    for v in linear_ticks(0, top, 5)
                ],
                "x_ticks": [{"at": x.percent(v), "text": str(v)} for v in range(0, MOST_STEPS + 1, 40)],
            }
        },
        description=(
            Sentence(f"finding_{key}", during=percent(result.during_error), **said),
            Sentence("estimator"),
            Sentence("each_training"),
        ),
        table=Table(
            (
                Column("steps", str),
                Column("during", percent),
                Column("share", lambda v: numbers.percent(v, 0)),
            ),
            tuple(
                (at, error, error / result.after_error)
                for at, error in zip(STEPS, result.errors, strict=True)
            ),
            frozenset({STEPS.index(steps)}),
        ),
        formulas=(
            r"\hat W = \mathrm{round}(W), \quad W \leftarrow W - \eta \, \frac{\partial L}{\partial \hat W}",
            r"\frac{\lVert Y - \hat Y \rVert^2}{\lVert Y \rVert^2} = " + tex(percent(result.during_error)),
        ),
        ran=(qat.train, qat.loss_and_gradient, rtn.round_to_nearest),
        notes=(Sentence("from_during"),),
        source=Sentence("source_during"),
        plots={"error": PlotScales(x, y)},
    )


# --- two formats ------------------------------------------------------------------------------------------


def _on_lattice(result: Lattice) -> View:
    order = np.argsort(result.weights, kind="stable")
    reach = 8.4 * max(abs(result.usual_scale), abs(result.recovered_scale))
    drawn = functools.partial(_panel, result.weights[order], reach=reach)
    return View(
        readouts=(
            _error(result, "usual_error", accent=True),
            _error(result, "recovered_error"),
            _error(result, "untrained_error"),
            *(
                Readout.of(result, name, lambda v: numbers.significant(v))
                for name in ("usual_scale", "recovered_scale")
            ),
        ),
        drawing={
            "panels": [
                drawn(
                    "usual", result.usual[order], [result.usual_scale * q for q in CODES], result.usual_error
                ),
                drawn(
                    "recovered",
                    result.recovered[order],
                    [result.recovered_scale * q for q in CODES],
                    result.recovered_error,
                ),
            ]
        },
        description=(
            Sentence("finding_lattice", ratio=numbers.times(result.usual_error / result.recovered_error, 1)),
            Sentence("lost"),
            Sentence("recovers", **_missed(result)),
        ),
        table=_table(("weight", "usual", "recovered"), result.weights, result.usual, result.recovered),
        formulas=(
            r"d_\mathrm{usual} = \frac{w_\mathrm{largest}}{-8} = "
            + tex(numbers.significant(result.usual_scale)),
            r"w = d \, q, \quad d = " + tex(numbers.significant(result.recovered_scale)),
        ),
        ran=(lattice.recover_q4_0, ggml.quantize, qat.train),
        notes=(Sentence("from_lattice"),),
        source=Sentence("source_lattice"),
    )


def _missed(result: Lattice) -> dict[str, str]:
    """How many of the drawn weights come back as they were, in BF16, with either scale."""
    usual, recovered = (
        int(np.count_nonzero(ggml.dequantize(ggml.quantize(kept, "BF16"), "BF16") == result.weights))
        for kept in (result.usual, result.recovered)
    )
    return {"kept_usual": str(usual), "kept_recovered": str(recovered), "shown": str(len(result.weights))}


def _in_three_levels(result: Ternary) -> View:
    ordinary, trained = (
        np.argsort(part[:SHOWN], kind="stable") for part in (result.ordinary, result.trained)
    )
    reach = 1.1 * float(np.abs(np.concatenate([result.ordinary_kept, result.ordinary[:SHOWN]])).max())
    steps = [float(np.abs(kept).max()) for kept in (result.ordinary_kept, result.trained_kept)]
    zeros = np.count_nonzero(result.ordinary_kept == 0) / result.ordinary_kept.size
    return View(
        readouts=(
            _error(result, "ordinary_error", accent=True),
            _error(result, "trained_error"),
            Readout.of(result, "changed", str),
        ),
        drawing={
            "panels": [
                _panel(
                    result.ordinary[ordinary],
                    "ordinary",
                    result.ordinary_kept[ordinary],
                    [-steps[0], 0, steps[0]],
                    result.ordinary_error,
                    reach=reach,
                ),
                _panel(
                    result.trained[trained],
                    "trained",
                    result.trained_kept[trained],
                    [-steps[1], 0, steps[1]],
                    result.trained_error,
                    reach=reach,
                ),
            ]
        },
        description=(
            Sentence("finding_ternary"),
            Sentence("zeros", zeros=numbers.percent(zeros, 0)),
            Sentence("lossless", levels=numbers.significant(steps[1])),
        ),
        table=_table(
            ("ordinary", "ordinary_kept", "trained", "trained_kept"),
            *(
                part[:SHOWN]
                for part in (result.ordinary, result.ordinary_kept, result.trained, result.trained_kept)
            ),
        ),
        formulas=(r"\hat w \in \{-d, \, 0, \, d\}, \quad d = \max_{\mathrm{block}} |w|",),
        ran=(ggml.quantize, lattice.ternary, qat.train),
        notes=(Sentence("from_ternary"),),
        source=Sentence("source_ternary"),
    )


def _panel(
    weights: F32, key: str, kept: F32, levels: list[float], error: float, *, reach: float
) -> dict[str, Any]:
    """Weights as rings, what the file keeps as dots, levels as lines."""
    x, y = Scale((-0.8, len(weights) - 0.2)), Scale((-reach, reach), (float(PANEL_HEIGHT), 0.0))
    return {
        "key": key,
        "error": percent(error),
        "height": PANEL_HEIGHT,
        "levels": [{"at": y(level), "zero": level == 0} for level in levels],
        "ticks": [
            {"at": y(v), "text": numbers.fixed(v, 1), "zero": v == 0} for v in linear_ticks(-reach, reach, 4)
        ],
        "marks": [
            {
                "x": x.percent(i),
                "true": y(float(w)),
                "kept": y(float(value)),
                "top": min(y(float(w)), y(float(value))),
                "length": round(abs(y(float(w)) - y(float(value))), 3),
            }
            for i, (w, value) in enumerate(zip(weights, kept, strict=True))
        ],
    }


def _table(names: tuple[str, ...], *parts: F32) -> Table:
    show = functools.partial(numbers.fixed, places=4)
    return Table(
        (Column("place", str), *(Column(name, show) for name in names)),
        tuple((i, *(float(v) for v in row)) for i, row in enumerate(zip(*parts, strict=True))),
    )


FIGURE = Figure("trained", "fig-07e", "FIG.07E", Controls, compute, view, shows="layer")
