"""FIG.G1: every kind of control and every mark of a drawing, on a wave of weights that is really rounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice, line, slider, switch
from lessons.kit.figure import Figure
from lessons.kit.mathml import tex
from lessons.kit.scales import Scale, linear_ticks
from lessons.kit.view import Column, Limit, Readout, Sentence, Table, View
from quant_core.methods import metrics, rtn
from quant_core.methods.grid import Scheme

SIZE = 24
HEIGHT = 260
AMPLITUDE = 0.06
RADII = {"small": 3.0, "medium": 4.0, "large": 5.0}
SHAPES = {"Smooth": ("sine", "triangle"), "Broken": ("square",)}


class Controls(FigureControls):
    """Sliders plain, with a unit, with texts; menus plain and with groups; segments, a switch, a text."""

    bits: int = slider(4, low=2, high=8)
    stretch: float = slider(1, low=1, high=3, step=0.5, unit="×")
    periods: int = slider(0, low=0, high=2, unit="per wave", show=lambda value: f"{2**value:.0f}")
    marks: str = choice("medium", RADII)
    shape: str = choice("sine", ("sine", "triangle", "square"), groups=SHAPES)
    scheme: str = choice("asymmetric", ("asymmetric", "symmetric"), style="segments")
    nudges: bool = switch(True)
    words: str = line("", most=60, samples=("", "A wave"))
    pick: str = choice("9", tuple(str(i) for i in range(SIZE)), style="drawn")


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """The wave and the levels that it is rounded to; the read-outs have their names.

    `column` is that of the weight which moves most.
    """

    controls: Controls
    weights: NDArray[np.float32]
    restored: NDArray[Any]
    grid_levels: NDArray[Any]
    column: int
    bits_per_weight: float
    levels: int
    sqnr: float
    worst: float
    long: float
    longest: float
    name: str


def compute(controls: Controls) -> Result:
    """Round a wave of weights to nearest."""
    weights = wave_of(controls)
    rounded = rtn.round_to_nearest(weights[None, :], controls.bits, SIZE, cast(Scheme, controls.scheme))
    restored = rounded.dequantize()[0]
    moved = np.abs(restored - weights)
    levels = rounded.grid.levels().reshape(-1)
    return Result(
        controls,
        weights,
        restored,
        levels,
        column=int(moved.argmax()),
        bits_per_weight=rounded.bits_per_weight,
        levels=int(levels.size),
        sqnr=metrics.sqnr_db(weights, restored),
        worst=float(moved.max()),
        long=float(moved.max()) ** 2,
        longest=float(moved.max()) ** 8,
        name="a name",
    )


def wave_of(controls: Controls) -> NDArray[np.float32]:
    """The weights, one of them stretched."""
    phase = 2 * np.pi * 2**controls.periods * (np.arange(SIZE) + 0.5) / SIZE
    wave = {
        "sine": np.sin(phase),
        "triangle": 2 / np.pi * np.arcsin(np.sin(phase)),
        "square": np.sign(np.sin(phase)),
    }[controls.shape]
    wave[wave.argmax()] *= controls.stretch
    weights: NDArray[np.float32] = (AMPLITUDE * wave).astype(np.float32)
    return weights


def view(result: Result) -> View:
    controls, weights, restored = result.controls, result.weights, result.restored
    sqnr = Readout.of(result, "sqnr", lambda v: numbers.fixed(v, 1), "dB")
    return View(
        readouts=(
            Readout.of(result, "bits_per_weight", lambda v: numbers.fixed(v, 2), accent=True),
            Readout.of(result, "levels", numbers.integer),
            sqnr,
            Readout.of(result, "worst", lambda v: numbers.significant(v, 2)),
            Readout.of(result, "long", lambda v: numbers.significant(v, 4)),
            Readout.of(result, "longest", lambda v: numbers.significant(v, 5)),
            Readout.of(result, "name", lambda _: "a long name, no number"),
        ),
        drawing=_drawing(controls, weights, restored, result.grid_levels),
        description=(Sentence("snapped"), Sentence("worst", column=str(result.column))),
        table=Table(
            (
                Column("column", str),
                Column("kind"),
                Column("weight", lambda v: numbers.fixed(v, 4)),
                Column("error", lambda v: numbers.signed(v, 4)),
            ),
            tuple(
                (
                    i,
                    "true" if i % 2 else "also true",
                    float(weights[i]),
                    None if i == 0 else float(restored[i] - weights[i]),
                )
                for i in range(SIZE)
            ),
            frozenset({int(controls.pick)}),
        ),
        formulas=(
            r"\hat w = s \, (q - z), \quad q = \operatorname{round}(w / s) + z",
            r"\mathrm{SQNR} = 10 \log_{10} \frac{\sum w^2}{\sum (w - \hat w)^2}"
            rf" = {tex(sqnr.text)}\;\mathrm{{dB}}",
        ),
        ran=(rtn.round_to_nearest, metrics.sqnr_db),
        notes=(Sentence("note"),),
        source=Sentence("source"),
        limits={} if controls.periods else {"shape": Limit(Sentence("limit"), ("square",))},
    )


def _drawing(
    controls: Controls, weights: NDArray[np.float32], restored: NDArray[Any], levels: NDArray[Any]
) -> dict[str, Any]:
    reach = 1.1 * float(np.abs(weights).max())
    x, y = Scale((-0.5, SIZE - 0.5)), Scale((-reach, reach), (HEIGHT, 0.0))
    points = [(10 * x(i), 1000 * y(float(w)) / HEIGHT) for i, w in enumerate(weights)]
    return {
        "height": HEIGHT,
        "radius": RADII[controls.marks],
        "nudges": controls.nudges,
        "path": " ".join(f"{'L' if i else 'M'}{px:.1f} {py:.1f}" for i, (px, py) in enumerate(points)),
        "levels": [y(float(level)) for level in levels] if levels.size <= 32 else [],
        "rule": y(AMPLITUDE),
        "y_ticks": [
            {"at": y(v), "text": numbers.fixed(v, 2), "zero": abs(v) < 1e-9}
            for v in linear_ticks(-reach, reach, 5)
        ],
        "x_ticks": [{"at": x.percent(i), "text": str(i), "minor": i % 6 != 0} for i in range(0, SIZE, 3)],
        "marks": [
            {
                "x": x.percent(i),
                "true": y(float(w)),
                "snapped": y(float(s)),
                "top": min(y(float(w)), y(float(s))),
                "length": abs(y(float(w)) - y(float(s))),
                "picked": str(i) == controls.pick,
            }
            for i, (w, s) in enumerate(zip(weights, restored, strict=True))
        ],
    }


FIGURE = Figure("marks", "fig-g1", "FIG.G1", Controls, compute, view, shows="block")
