"""FIG.G3: the least that a figure can be, without controls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lessons.kit import numbers
from lessons.kit.controls import FigureControls
from lessons.kit.figure import Figure
from lessons.kit.view import Column, Readout, Sentence, Table, View
from quant_core import ggml

FORMAT = "Q4_K"
WEIGHTS = 256


class Controls(FigureControls):
    """None."""


@dataclass(frozen=True, slots=True)
class Result:
    """The bytes of a block, and its read-out."""

    controls: Controls
    size: int
    bits_per_weight: float


def compute(controls: Controls) -> Result:
    """Quantize a block of zeros, and count its bytes."""
    size = ggml.quantize(np.zeros((1, WEIGHTS), np.float32), FORMAT).shape[-1]
    return Result(controls, size, bits_per_weight=8 * size / WEIGHTS)


def view(result: Result) -> View:
    size, bits = result.size, result.bits_per_weight
    return View(
        readouts=(Readout.of(result, "bits_per_weight", lambda v: numbers.fixed(v, 2), accent=True),),
        drawing={"format": FORMAT, "bits": numbers.fixed(bits, 1)},
        description=(Sentence("says", format=FORMAT, bits=numbers.fixed(bits, 1)),),
        table=Table(
            (Column("format"), Column("weights", numbers.integer), Column("bytes", numbers.integer)),
            ((FORMAT, WEIGHTS, size),),
        ),
        formulas=(rf"\frac{{8 \cdot {size}}}{{{WEIGHTS}}} = {numbers.fixed(bits, 1)}",),
        ran=(ggml.quantize,),
    )


FIGURE = Figure("frame", "fig-g3", "FIG.G3", Controls, compute, view)
