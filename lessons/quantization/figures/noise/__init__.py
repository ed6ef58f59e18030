"""FIG.01: rounding errors of a sum of products: with mixed signs they wander, with one sign they climb."""

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
from lessons.kit.view import Column, Readout, Sentence, Table, View
from lessons.quantization import sources
from quant_core.methods import rtn

LAYER = "minilm.5.ffn_in"
GROUP_SIZE = 32
LENGTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 384)
"""Products in the sum, by the stop of the slider; the last is the whole row."""

ROW = 3
TOKENS = (0, 73, 146, 219, 292, 365)
"""One row and some tokens of the held-out text, whose own sums are drawn thinly."""

HEIGHT, SHARE_HEIGHT, GAP = 258, 56, 22
BELOW = 0.43
"""Of the room above zero, how much there is below it: for the walks, and what is said of them."""
DRAWN_EVERY = 4
NAMED_AT, EARLY = 192, 128
"""Products where the curve of one sign has its name; up to which its label is above what follows of it."""

Sums = NDArray[np.float64]


class Controls(FigureControls):
    length: int = slider(9, low=0, high=len(LENGTHS) - 1, show=lambda stop: str(LENGTHS[int(stop)]))
    signs: str = choice("mixed", ("mixed", "one"), style="segments")
    bits: str = choice("4", ("2", "3", "4"), style="segments")


@dataclass(frozen=True, slots=True, eq=False)
class Growth:
    """How the sums of a layer grow with the number of their products, n = 1, 2, …, columns.

    Root mean squares over all rows and tokens, shape (columns,): the output itself, the error that rounding
    leaves in it, and what that would be if all errors had one sign. `walks` and `climbs` are the same errors
    of single sums, shape (tokens, columns).
    """

    rows: int
    tokens: int

    output: Sums
    mixed: Sums
    agreed: Sums
    walks: Sums
    climbs: Sums


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """The error of a sum of `n` products; the read-outs have their names."""

    controls: Controls
    growth: Growth
    n: int
    error: float
    agreed: float
    ratio: float
    share: float


def compute(controls: Controls) -> Result:
    """Round a layer, and add up the errors of the first n products of each output."""
    growth = growth_of(int(controls.bits))
    n = LENGTHS[controls.length]
    error, agreed = float(growth.mixed[n - 1]), float(growth.agreed[n - 1])
    return Result(
        controls,
        growth,
        n,
        error=error,
        agreed=agreed,
        ratio=agreed / error,
        share=error / float(growth.output[n - 1]),
    )


@functools.lru_cache(maxsize=3)
def growth_of(bits: int) -> Growth:
    """The sums of a layer whose weights have been rounded to so many bits."""
    layer = sources.load_layer(LAYER)
    assert layer.activations_test is not None
    weights, inputs = layer.weights.astype(np.float64), layer.activations_test.astype(np.float64)
    errors = rtn.round_to_nearest(layer.weights, bits, GROUP_SIZE).dequantize() - weights
    products = errors[ROW] * inputs[list(TOKENS)]
    return Growth(
        rows=len(weights),
        tokens=len(inputs),
        output=rms_of_sums(weights, inputs),
        mixed=rms_of_sums(errors, inputs),
        agreed=rms_of_sums(np.abs(errors), np.abs(inputs)),
        walks=products.cumsum(axis=1),
        climbs=np.abs(products).cumsum(axis=1),
    )


def rms_of_sums(rows: Sums, inputs: Sums) -> Sums:
    """Root mean square of the sum of the first n products, over all rows and inputs, for every n.

    The square of a sum is a sum over pairs of columns, and the mean over rows and inputs goes into the pairs.
    """
    pairs = (rows.T @ rows) * (inputs.T @ inputs) / (len(rows) * len(inputs))
    return np.sqrt(np.diag(pairs.cumsum(axis=0).cumsum(axis=1)))


def view(result: Result) -> View:
    growth, one_sign = result.growth, result.controls.signs == "one"
    shares = growth.mixed / growth.output
    error = Readout.of(result, "error", numbers.significant, accent=True)
    finding = "one_product" if result.n == 1 else "one_sign" if one_sign else "mixed_signs"
    said = {
        "columns": str(len(growth.mixed)),
        "least": numbers.percent(float(shares.min()), 0),
        "most": numbers.percent(float(shares.max()), 0),
    }
    return View(
        readouts=(
            error,
            Readout.of(result, "agreed", numbers.significant),
            Readout.of(result, "ratio", lambda v: numbers.times(v, 1)),
            Readout.of(result, "share", lambda v: numbers.fixed(100 * v, 1), "%"),
        ),
        drawing=_drawing(result, shares) | said,
        description=(Sentence(finding, n=str(result.n)), Sentence("share", **said)),
        table=Table(
            (
                Column("n", str),
                Column("error", numbers.significant),
                Column("agreed", numbers.significant),
                Column("ratio", lambda v: numbers.times(v, 1)),
                Column("share", lambda v: numbers.percent(v, 1)),
            ),
            tuple(_row(growth, n) for n in LENGTHS),
            frozenset({LENGTHS.index(result.n)}),
        ),
        formulas=(
            r"e_n = \sum_{j \le n} (\hat w_j - w_j) \, x_j, \qquad"
            r" \mathrm{RMS}(e_n) = \sqrt{\mathrm{mean}_{\mathrm{rows, tokens}} \; e_n^2}"
            rf" = {tex(error.text)}",
            r"\text{mixed signs: } \mathrm{RMS} \propto \sqrt n, \qquad"
            r" \text{one sign: } \mathrm{RMS} \propto n",
        ),
        ran=(rtn.round_to_nearest,),
        notes=(Sentence("from"),),
        source=Sentence("source", rows=str(growth.rows), tokens=str(growth.tokens)),
    )


def _row(growth: Growth, n: int) -> tuple[float, ...]:
    mixed, agreed, output = (float(sums[n - 1]) for sums in (growth.mixed, growth.agreed, growth.output))
    return n, mixed, agreed, agreed / mixed, mixed / output


def _drawing(result: Result, shares: Sums) -> dict[str, Any]:
    """Sums from zero on, both ways on one scale; under them the error as a share of the output."""
    growth, one_sign = result.growth, result.controls.signs == "one"
    columns = len(growth.mixed)
    top = 1.08 * float(max(growth.agreed[-1], growth.climbs.max()))
    x, y = Scale((0.0, float(columns))), Scale((-BELOW * top, top), (float(HEIGHT), 0.0))
    most = 1.8 * float(shares.max())  # its name is above the curve
    strip = HEIGHT + GAP
    y_share = Scale((0.0, most), (float(strip + SHARE_HEIGHT), float(strip)))
    band = [(n, float(v)) for n, v in _drawn(growth.mixed)]
    outline = _path([*band, *((n, -v) for n, v in reversed(band))], x, y)
    lines = growth.climbs if one_sign else growth.walks
    agreed, mixed, zero = y(result.agreed), y(result.error), y(0.0)
    return {
        "height": HEIGHT,
        "foot": strip + SHARE_HEIGHT,
        "strip": strip,
        "one_sign": one_sign,
        "y_ticks": [
            {"at": y(v), "text": numbers.fixed(v, 1) if v else "0", "zero": v == 0}
            for v in linear_ticks(0.0, top, 4)
        ],
        "x_ticks": [
            {"at": x.percent(v), "text": str(v), "minor": v in (96, 288)} for v in (1, 96, 192, 288, 384)
        ],
        "band": outline + "Z",
        "agreed": _path(_drawn(growth.agreed), x, y),
        "mixed": _path(band, x, y),
        "walks": [_path(_drawn(line), x, y) for line in lines],
        "n": x.percent(result.n),
        "zero": zero,
        "mixed_at": mixed,
        "agreed_at": agreed,
        "mixed_label": 2 * zero - y(float(growth.mixed[-1])) + 20,
        **_agreed_label(result, y),
        "ratio_label": (agreed + mixed) / 2 + 12 if mixed - agreed > 60 else None,
        "texts": {
            "agreed": numbers.significant(result.agreed),
            "mixed": numbers.significant(result.error),
            "ratio": numbers.times(result.ratio, 1),
            "share": numbers.percent(result.share),
        },
        "named": {"x": x.percent(NAMED_AT), "y": y(float(growth.agreed[NAMED_AT - 1]))}
        if result.n > NAMED_AT
        else None,
        "sums": str(len(TOKENS)),
        "row": str(ROW),
        "share": _path(_drawn(shares), x, y_share),
        "share_at": y_share(result.share),
        "share_ticks": [
            {"at": y_share(v), "text": numbers.percent(v, 0), "zero": v == 0}
            for v in linear_ticks(0.0, most, 2)
        ],
    }


def _agreed_label(result: Result, y: Scale) -> dict[str, Any]:
    """Beside the line at n: right of a whole row, else left and above the curve, or above what follows."""
    agreed = result.growth.agreed
    if result.n == len(agreed):
        return {"agreed_label": y(result.agreed) + 15, "label_left": False}
    if result.n >= EARLY:
        return {"agreed_label": y(result.agreed) - 24, "label_left": True}
    return {"agreed_label": y(float(agreed[result.n + EARLY])) - 24, "label_left": False}


def _drawn(sums: Sums) -> list[tuple[int, float]]:
    """The points of a line, n and value: the first, every fourth and the last."""
    picked = [0, *range(DRAWN_EVERY - 1, len(sums), DRAWN_EVERY)]
    return [(i + 1, float(sums[i])) for i in picked]


def _path(points: list[tuple[int, float]], x: Scale, y: Scale) -> str:
    """In a square of 1000 by 1000, stretched over the height of the sums."""
    return "M" + "L".join(f"{10 * x(n):.1f} {1000 * y(value) / HEIGHT:.1f}" for n, value in points)


FIGURE = Figure("noise", "fig-01", "FIG.01", Controls, compute, view, shows="row")
