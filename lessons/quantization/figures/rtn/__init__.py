"""FIG.02: a real block of weights snaps to a grid or to the levels of a format, one nudge for each weight."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice, slider
from lessons.kit.figure import Figure
from lessons.kit.language import gettext as _
from lessons.kit.mathml import tex
from lessons.kit.own import Own, OwnError
from lessons.kit.scales import Scale, linear_ticks
from lessons.kit.view import Column, Plot, Readout, Sentence, Table, View
from lessons.quantization import levels
from lessons.quantization.blocks import BLOCKS, block_weights, row_length, start
from lessons.quantization.levels import Snapped
from quant_core import ggml
from quant_core.methods import metrics, rtn
from quant_core.methods.grid import Grid, Scheme

HEIGHT = 384
MOST_LINES = 32
FP16_BITS = 16


PLAIN = "grid"


class Controls(FigureControls):
    bits: int = slider(3, low=2, high=8)
    block: str = choice("calm", BLOCKS)
    format: str = choice(PLAIN, (PLAIN, *levels.SIZES))
    group_size: str = choice("32", ("16", "32", "64", "128"), style="segments")
    scheme: str = choice("asymmetric", ("asymmetric", "symmetric"), style="segments")
    stretch: int = slider(1, low=1, high=16, unit="×")


def view(c: Controls, own: Own | None = None) -> View:
    size = int(c.group_size) if c.format == PLAIN else levels.SIZES[c.format]
    together = size if c.format == PLAIN else levels.QUANTIZED_TOGETHER[c.format]
    if own:
        first, offset, shared = own.column, 0, own.take(together)
    else:
        first = start(c.block, size)
        offset = first - start(c.block, together)
        shared = block_weights(c.block, together).copy()  # one weight may be scaled up
    weights = shared[offset : offset + size]
    largest = int(np.argmax(np.abs(weights)))
    weights[largest] *= c.stretch
    kept = snapped(c, weights) if c.format == PLAIN else levels.snap(shared, c.format, offset)
    if kept.levels.size < 2:
        raise OwnError(_("These weights are too small for the scale of %(format)s.", format=c.format))

    error = kept.values - weights
    worst = int(np.argmax(np.abs(error)))
    sqnr = metrics.sqnr_db(weights, kept.values)
    others, other_values = np.delete(weights, largest), np.delete(kept.values, largest)
    others_sqnr = _sqnr(others, other_values)
    zeros = int(np.count_nonzero(other_values == kept.levels[np.argmin(np.abs(kept.levels))]))
    mean_error = float(np.abs(error).mean())
    values = {
        "levels": numbers.integer(kept.levels.size),
        "format": c.format,
        "n": str(size),
        "step": _spacing(kept),
        "mean": numbers.significant(mean_error),
        "worst": numbers.significant(abs(float(error[worst]))),
        "where": str(first + worst),
        "sqnr": _decibels(sqnr),
        "largest": str(first + largest),
        "others": str(size - 1),
        "others_sqnr": _decibels(others_sqnr),
        "zeros": str(zeros),
    }
    description = [
        Sentence("snapped" if c.format == PLAIN else "snapped_format", **values),
        Sentence("errors", **values),
        Sentence("others", **values),
    ]
    one_code = np.unique(np.delete(kept.codes, largest)).size == 1
    if one_code and np.allclose(other_values, other_values[0]):
        description.append(Sentence("drowned", **values, value=numbers.significant(float(other_values[0]))))
    ratio = r"10 \log_{10} \frac{\sum w^2}{\sum (w - \hat w)^2}"
    quality = rf"\mathrm{{SQNR}} = {ratio} = {tex(_decibels(sqnr))}\;\mathrm{{dB}}"

    return View(
        readouts=(
            Readout(
                "bits_per_weight",
                kept.bits_per_weight,
                numbers.fixed(kept.bits_per_weight, 2),
                accent=True,
            ),
            Readout("levels", int(kept.levels.size), numbers.integer(kept.levels.size)),
            Readout(
                "storage",
                kept.bits_per_weight / FP16_BITS,
                numbers.fixed(100 * kept.bits_per_weight / FP16_BITS, 1),
                "%",
            ),
            Readout("step", kept.spacing[0], _spacing(kept)),
            Readout("mean_error", mean_error, numbers.significant(mean_error)),
            Readout("worst_error", abs(float(error[worst])), numbers.significant(abs(float(error[worst])))),
            Readout("sqnr", sqnr, _decibels(sqnr), "dB"),
            Readout("others_sqnr", others_sqnr, _decibels(others_sqnr), "dB"),
            Readout("zeros", zeros, str(zeros), f"/ {size - 1}"),
        ),
        drawing=_drawing(weights, kept, first),
        plots={"levels": Plot(*_scales(weights, kept))},
        description=tuple(description),
        table=Table(
            (
                Column("column", str),
                Column("weight", lambda v: numbers.fixed(v, 5)),
                Column("code", numbers.integer),
                Column("snapped", lambda v: numbers.fixed(v, 5)),
                Column("error", lambda v: numbers.signed(v, 5)),
            ),
            tuple(
                (first + i, float(weights[i]), int(kept.codes[i]), float(kept.values[i]), float(error[i]))
                for i in range(size)
            ),
            frozenset({worst}),
        ),
        formulas=(*kept.formulas, quality),
        ran=(*kept.ran, metrics.sqnr_db),
        notes=tuple(_notes(c, first + largest, own)),
    )


def snapped(c: Controls, weights: NDArray[Any]) -> Snapped:
    """The block on a plain grid of its own."""
    quantized = rtn.round_to_nearest(weights[None, :], c.bits, len(weights), cast(Scheme, c.scheme))
    grid_levels = quantized.grid.levels().reshape(-1)
    return Snapped(
        quantized.codes[0],
        quantized.dequantize()[0],
        grid_levels,
        quantized.grid.code_range[0] + np.arange(grid_levels.size),
        quantized.bits_per_weight,
        _formulas(c, quantized, weights),
        (rtn.round_to_nearest, Grid.quantize, Grid.dequantize),
    )


def _sqnr(weights: NDArray[Any], values: NDArray[Any]) -> float:
    """As `metrics.sqnr_db`; −∞ where all weights are zero and their values are not."""
    if not weights.any() and values.any():
        return float("-inf")
    return metrics.sqnr_db(weights, values)


def _decibels(sqnr: float) -> str:
    """Infinite where every weight lies on its level, as may happen with a reader's own."""
    return numbers.fixed(sqnr, 1) if np.isfinite(sqnr) else numbers.significant(sqnr)


def _spacing(kept: Snapped) -> str:
    """The gap between levels, or the narrowest and the widest."""
    narrowest, widest = kept.spacing
    if narrowest == widest:
        return numbers.significant(narrowest)
    return f"{numbers.significant(narrowest)}–{numbers.significant(widest)}"


def _notes(c: Controls, largest: int, own: Own | None) -> Iterable[Sentence]:
    yield Sentence("from_own", name=own.name) if own else Sentence(f"from_{c.block}")
    if c.format != PLAIN:
        yield Sentence(f"format_{c.format}")
        yield Sentence("format_decides", format=c.format)
    columns, together = row_length(c.block), levels.QUANTIZED_TOGETHER.get(c.format, 1)
    if columns % together and not own:
        fallback = str(ggml.FORMATS[c.format].fallback)
        yield Sentence("not_legal", columns=str(columns), fallback=fallback)
    if c.stretch > 1:
        yield Sentence("stretched", factor=str(c.stretch), column=str(largest))
    else:
        yield Sentence("unstretched")


def _scales(weights: NDArray[Any], kept: Snapped) -> tuple[Scale, Scale]:
    """Columns of the block across, weights and levels upwards."""
    ends = (np.min([weights.min(), kept.levels.min()]), np.max([weights.max(), kept.levels.max()]))
    return Scale((-0.5, len(weights) - 0.5)), Scale((float(ends[0]), float(ends[1])), (HEIGHT, 0.0))


def _drawing(weights: NDArray[Any], kept: Snapped, first: int) -> dict[str, Any]:
    lines = kept.levels
    x, y = _scales(weights, kept)
    low, high = y.domain
    every = max(1, len(lines) // MOST_LINES)
    label_every = max(every, -(-len(lines) // 16))
    places = max(0, 1 - int(np.floor(np.log10(high - low or 1))))
    return {
        "height": HEIGHT,
        "size": len(weights),
        "levels": [
            {
                "y": y(float(value)),
                "code": numbers.integer(int(kept.level_codes[i]))
                if i % label_every == 0 or i == len(lines) - 1
                else "",
            }
            for i, value in enumerate(lines)
            if i % every == 0 or i == len(lines) - 1
        ],
        "drawn_every": every,
        "y_ticks": [{"at": y(v), "text": numbers.fixed(v, places)} for v in linear_ticks(low, high, 6)],
        "x_ticks": [
            {"at": x.percent(i), "text": str(first + i), "minor": (i // (len(weights) // 8)) % 2 == 1}
            for i in range(0, len(weights), len(weights) // 8)
        ],
        "marks": [
            {
                "x": x.percent(i),
                "true": y(float(w)),
                "snapped": y(float(s)),
                "top": min(y(float(w)), y(float(s))),
                "length": round(abs(y(float(w)) - y(float(s))), 3),
            }
            for i, (w, s) in enumerate(zip(weights, kept.values, strict=True))
        ],
    }


def _formulas(c: Controls, quantized: rtn.Quantized, weights: NDArray[Any]) -> tuple[str, ...]:
    low = tex(numbers.significant(min(0.0, float(weights.min()))))  # the grid always holds 0
    high = tex(numbers.significant(max(0.0, float(weights.max()))))
    s = tex(numbers.significant(float(quantized.scale.item())))
    if c.scheme == "symmetric":
        spacing = rf"s = \frac{{\max |w|}}{{2^{{{c.bits} - 1}} - 1}} = {s}"
        back = r"\hat w = s \, q, \quad q = \operatorname{round}(w / s)"
    else:
        assert quantized.zero_point is not None  # an asymmetric grid has one
        z = int(quantized.zero_point.item())
        fraction = rf"\frac{{{high} - ({low})}}{{2^{{{c.bits}}} - 1}}"
        spacing = rf"s = \frac{{\max w - \min w}}{{2^b - 1}} = {fraction} = {s}"
        back = rf"\hat w = s \, (q - z) = {s} \, (q - {z}), \quad q = \operatorname{{round}}(w / s) + z"
    return spacing, back


FIGURE = Figure("rtn", "fig-02", "FIG.02", Controls, view, on_own=view)
