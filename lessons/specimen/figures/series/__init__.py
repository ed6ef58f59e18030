"""FIG.G2: a data chart with every role, kind, symbol and label, error bars, rules and a band."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lessons.kit import numbers
from lessons.kit.chart import Axis, Chart, Point, Rule, Series
from lessons.kit.controls import FigureControls, slider
from lessons.kit.figure import Figure
from lessons.kit.mathml import tex
from lessons.kit.view import Column, Readout, Sentence, Table, View
from quant_core.methods import metrics, rtn

BITS = (2, 3, 4, 5, 6, 7, 8)
ROLES = ("true", "quantized", "method-1", "method-2", "method-3", "method-4", "method-5")
KINDS = ("points", "both", "line", "both", "points", "both", "both")
SYMBOLS = {
    "true": "square", "quantized": "triangle-down", "method-2": "triangle-up", "method-3": "diamond",
    "method-4": "triangle-right", "method-5": "pentagon",
}  # fmt: skip
SIDES = ("top", "left", "right", "bottom")
SIZE = 512
GROWTH = 1.5
DECIBELS = range(0, 51, 10)


class Controls(FigureControls):
    """The bits that are marked."""

    bits: int = slider(4, low=BITS[0], high=BITS[-1])


@dataclass(frozen=True, slots=True)
class Result:
    """The signal-to-noise ratios of every series at each of `BITS`, and the read-out, of the first."""

    controls: Controls
    measured: dict[str, list[float]]
    sqnr: float


def compute(controls: Controls) -> Result:
    """Round weights at every width; from series to series one outlier grows."""
    measured = {role: [sqnr_at(bits, GROWTH**i) for bits in BITS] for i, role in enumerate(ROLES)}
    return Result(controls, measured, sqnr=measured[ROLES[0]][BITS.index(controls.bits)])


def sqnr_at(bits: int, outlier: float) -> float:
    """Signal to noise in dB of weights one of which is so many times the largest of the others."""
    weights = np.random.default_rng(7).normal(size=(1, SIZE)).astype(np.float32)
    weights[0, 0] = outlier * np.abs(weights).max()
    return metrics.sqnr_db(weights, rtn.round_to_nearest(weights, bits, SIZE).dequantize())


def view(result: Result) -> View:
    bits, measured = result.controls.bits, result.measured
    sqnr = Readout.of(result, "sqnr", lambda v: numbers.fixed(v, 1), "dB", accent=True)
    series = tuple(
        Series(
            role,
            tuple(_point(bits, role, i, value) for i, value in enumerate(measured[role])),
            kind,
            role,
            SYMBOLS.get(role, "circle"),
        )
        for role, kind in zip(ROLES, KINDS, strict=True)
    )
    return View(
        readouts=(sqnr,),
        drawing={},
        description=(Sentence("marked", bits=str(bits)),),
        table=Table(
            (Column("bits", str), *(Column(role, lambda v: numbers.fixed(v, 1)) for role in ROLES)),
            tuple((width, *(measured[role][i] for role in ROLES)) for i, width in enumerate(BITS)),
            frozenset({BITS.index(bits)}),
        ),
        formulas=(rf"\mathrm{{SQNR}}({bits}) = {tex(sqnr.text)}\;\mathrm{{dB}}",),
        ran=(rtn.round_to_nearest, metrics.sqnr_db),
        chart=Chart(
            Axis("x_title", (1.7, 9), tuple((float(width), str(width)) for width in BITS), log=True),
            Axis(
                "y_title",
                (DECIBELS[0], DECIBELS[-1]),
                tuple((float(v), numbers.integer(v)) for v in DECIBELS),
            ),
            series,
            (Rule("x", float(bits), "rule_x"), Rule("y", 45, "rule_y", "quantized", spread=2)),
        ),
    )


def _point(bits: int, role: str, i: int, value: float) -> Point:
    labelled = role == "true" and i < len(SIDES)
    return Point(
        BITS[i],
        value,
        key=f"{role}-{BITS[i]}",
        label=SIDES[i] if labelled else "",
        hover=f"{BITS[i]}: {numbers.fixed(value, 1)}",
        marked=BITS[i] == bits,
        error=1.5 if role == "true" else None,
        label_side=SIDES[i] if labelled else "right",
        label_minor=labelled and i == len(SIDES) - 1,
    )


FIGURE = Figure("series", "fig-g2", "FIG.G2", Controls, compute, view, slider_below=True)
