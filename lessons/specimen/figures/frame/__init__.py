"""FIG.G3: the least that a figure can be, without controls."""

from __future__ import annotations

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


def view(c: Controls) -> View:
    """One number of the library."""
    size = ggml.quantize(np.zeros((1, WEIGHTS), np.float32), FORMAT).shape[-1]
    bits = 8 * size / WEIGHTS
    return View(
        readouts=(Readout("bits_per_weight", bits, numbers.fixed(bits, 2), accent=True),),
        drawing={"format": FORMAT, "bits": numbers.fixed(bits, 1)},
        description=(Sentence("says", format=FORMAT, bits=numbers.fixed(bits, 1)),),
        table=Table(
            (Column("format"), Column("weights", numbers.integer), Column("bytes", numbers.integer)),
            ((FORMAT, WEIGHTS, size),),
        ),
        formulas=(rf"\frac{{8 \cdot {size}}}{{{WEIGHTS}}} = {numbers.fixed(bits, 1)}",),
        ran=(ggml.quantize,),
    )


FIGURE = Figure("frame", "fig-g3", "FIG.G3", Controls, None, view)
