"""FIG.G1: every kind of control and every mark of a drawing, on a wave of weights that is really rounded."""

from __future__ import annotations

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


def view(c: Controls) -> View:
    """The wave beside the levels that it is rounded to."""
    weights = _wave(c)
    rounded = rtn.round_to_nearest(weights[None, :], c.bits, SIZE, cast(Scheme, c.scheme))
    restored = rounded.dequantize()[0]
    moved = np.abs(restored - weights)
    picked, worst = int(c.pick), int(moved.argmax())
    bits, sqnr = rounded.bits_per_weight, metrics.sqnr_db(weights, restored)
    levels = rounded.grid.levels().reshape(-1)
    square = float(moved[worst]) ** 2
    values = {
        "levels": numbers.integer(levels.size),
        "worst": numbers.significant(float(moved[worst]), 2),
        "column": str(worst),
    }
    return View(
        readouts=(
            Readout("bits_per_weight", bits, numbers.fixed(bits, 2), accent=True),
            Readout("levels", int(levels.size), values["levels"]),
            Readout("sqnr", sqnr, numbers.fixed(sqnr, 1), "dB"),
            Readout("worst", float(moved[worst]), values["worst"]),
            Readout("long", square, numbers.significant(square, 4)),
            Readout("longest", square**4, numbers.significant(square**4, 5)),
            Readout("name", "a name", "a long name, no number"),
        ),
        drawing=_drawing(c, weights, restored, levels),
        description=(Sentence("snapped", **values), Sentence("worst", **values)),
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
            frozenset({picked}),
        ),
        formulas=(
            r"\hat w = s \, (q - z), \quad q = \operatorname{round}(w / s) + z",
            r"\mathrm{SQNR} = 10 \log_{10} \frac{\sum w^2}{\sum (w - \hat w)^2}"
            rf" = {tex(numbers.fixed(sqnr, 1))}\;\mathrm{{dB}}",
        ),
        ran=(rtn.round_to_nearest, metrics.sqnr_db),
        notes=(Sentence("note"),),
        limits={} if c.periods else {"shape": Limit(Sentence("limit"), ("square",))},
    )


def _wave(c: Controls) -> NDArray[np.float32]:
    phase = 2 * np.pi * 2**c.periods * (np.arange(SIZE) + 0.5) / SIZE
    wave = {
        "sine": np.sin(phase),
        "triangle": 2 / np.pi * np.arcsin(np.sin(phase)),
        "square": np.sign(np.sin(phase)),
    }[c.shape]
    wave[wave.argmax()] *= c.stretch
    weights: NDArray[np.float32] = (AMPLITUDE * wave).astype(np.float32)
    return weights


def _drawing(
    c: Controls, weights: NDArray[np.float32], restored: NDArray[Any], levels: NDArray[Any]
) -> dict[str, Any]:
    reach = 1.1 * float(np.abs(weights).max())
    x, y = Scale((-0.5, SIZE - 0.5)), Scale((-reach, reach), (HEIGHT, 0.0))
    points = [(10 * x(i), 1000 * y(float(w)) / HEIGHT) for i, w in enumerate(weights)]
    return {
        "height": HEIGHT,
        "radius": RADII[c.marks],
        "nudges": c.nudges,
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
                "picked": str(i) == c.pick,
            }
            for i, (w, s) in enumerate(zip(weights, restored, strict=True))
        ],
    }


FIGURE = Figure("marks", "fig-g1", "FIG.G1", Controls, None, view)
