"""FIG.02B: a real block in INT4, MXFP4 and NVFP4: where the levels lie, and what a kind of scale costs."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice
from lessons.kit.figure import Figure
from lessons.kit.mathml import tex
from lessons.kit.scales import Scale, linear_ticks
from lessons.kit.view import Column, PlotScales, Readout, Sentence, Table, View
from lessons.quantization.blocks import BLOCKS, block_weights, start
from lessons.quantization.figures.rtn.levels import Snapped, snap
from lessons.quantization.sources import load_layer
from quant_core import ggml
from quant_core.methods import e2m1, fp8, metrics

SIZE = 32
"""Weights that are drawn: one block of MXFP4 and of Q4_0, two of NVFP4."""

INT4 = "Q4_0"
LARGEST_SCALE, SMALLEST_SCALE = 448.0, 2.0**-6
"""Of E4M3: its largest number, and the smallest that has all three bits of fraction."""

TOP_EXPONENT = 2
"""The largest level, 6, lies between 2² and 2³."""

MXFP4, NVFP4 = ("e8m0", "32"), ("tensor", "16")

ROW, RING, TICK = 72, 29, 12
"""Pixels: a row of the drawing, a weight's distance from the axis in its middle, half of a level's mark."""
BAR, STRIP_FOOT = 26, 8
EQUAL, FITTING = 1.02, 1.05
"""Factors: errors that differ by less count as equal, a top level that is off by less as one that fits."""

Array = NDArray[np.float32]


class Controls(FigureControls):
    scale: str = choice("tensor", ("e8m0", "e4m3", "tensor"), style="segments")
    size: str = choice("16", ("32", "16"), style="segments")
    block: str = choice("calm", BLOCKS)


@dataclass(frozen=True, slots=True, eq=False)
class Floats:
    """n weights as four-bit floats: a scale for each block, codes 0 … 15 and the values read back, (n,)."""

    scale: Array
    codes: NDArray[np.uint8]
    values: Array

    @property
    def levels(self) -> Array:
        """All that a weight can become, shape (blocks, 16), in the order of the codes; code 8 is −0."""
        return e2m1.decode(np.arange(16, dtype=np.uint8)) * self.scale[:, None]


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """A block in the chosen floats, in MXFP4, in NVFP4 and in INT4; the read-outs have their names.

    Errors are relative and squared, `layer_…` those over all rows of the layer that are shipped. `first` is
    the column of the first weight.
    """

    controls: Controls
    first: int
    weights: Array
    own: Floats
    mxfp4: Floats
    nvfp4: Floats
    int4: Snapped
    error: float
    layer_error: float
    bits_per_weight: float
    mxfp4_error: float
    nvfp4_error: float
    int4_error: float
    layer_mxfp4_error: float
    layer_int4_error: float
    bytes: int
    minus_zeros: int


def compute(controls: Controls) -> Result:
    """Round a block of real weights to four-bit floats with the chosen scale, and compare the errors."""
    weights = block_weights(controls.block, SIZE)
    own = block_floats(controls.block, controls.scale, controls.size)
    mxfp4, nvfp4 = (block_floats(controls.block, *form) for form in (MXFP4, NVFP4))
    int4 = snap(weights, INT4, 0)
    bits = 4 + 8 / int(controls.size)
    return Result(
        controls,
        start(controls.block, SIZE),
        weights,
        own,
        mxfp4,
        nvfp4,
        int4,
        error=metrics.relative_weight_error(weights, own.values),
        layer_error=layer_error(controls.block, controls.scale, controls.size),
        bits_per_weight=bits,
        mxfp4_error=metrics.relative_weight_error(weights, mxfp4.values),
        nvfp4_error=metrics.relative_weight_error(weights, nvfp4.values),
        int4_error=metrics.relative_weight_error(weights, int4.values),
        layer_mxfp4_error=layer_error(controls.block, *MXFP4),
        layer_int4_error=layer_int4_error(controls.block),
        bytes=round(SIZE * bits / 8),
        minus_zeros=int(np.count_nonzero(own.codes == 8)),
    )


def block_floats(block: str, scale: str, size: str) -> Floats:
    """The drawn weights as four-bit floats, with the tensor's scale of their layer."""
    return four_bit_floats(block_weights(block, SIZE), scale, int(size), tensor_scale(block))


def four_bit_floats(weights: Array, scale: str, size: int, of_tensor: float) -> Floats:
    """Give each `size` weights a scale of this kind, and round them to E2M1 times that scale."""
    blocks = weights.reshape(-1, size)
    largest = np.abs(blocks).max(axis=1)
    if scale == "e8m0":
        scales = np.exp2(np.floor(np.log2(largest)) - TOP_EXPONENT)
    else:
        total = np.float32(of_tensor if scale == "tensor" else 1)
        wanted = np.clip(largest / e2m1.LARGEST / total, SMALLEST_SCALE, LARGEST_SCALE)
        scales = fp8.decode(fp8.encode(wanted, "e4m3"), "e4m3") * total
    codes = e2m1.encode(blocks / scales[:, None])
    values = e2m1.decode(codes) * scales[:, None]
    return Floats(scales, codes.reshape(-1), values.reshape(-1))


def tensor_scale(block: str) -> float:
    """The scale of the tensor: its largest weight gets the largest block scale times the largest level."""
    return float(np.abs(layer_of(block)).max()) / (LARGEST_SCALE * e2m1.LARGEST)


@functools.lru_cache(maxsize=24)
def layer_error(block: str, scale: str, size: str) -> float:
    """The error over all rows of the block's layer that are shipped."""
    layer = layer_of(block)
    floats = four_bit_floats(layer, scale, int(size), tensor_scale(block))
    return metrics.relative_weight_error(layer, floats.values.reshape(layer.shape))


@functools.lru_cache(maxsize=4)
def layer_int4_error(block: str) -> float:
    """The same in Q4_0."""
    layer = layer_of(block)
    return metrics.relative_weight_error(layer, ggml.dequantize(ggml.quantize(layer, INT4), INT4))


def layer_of(block: str) -> Array:
    """The rows of the block's layer that are shipped."""
    return np.ascontiguousarray(load_layer(BLOCKS[block].layer).weights)


def view(result: Result) -> View:
    controls = result.controls
    return View(
        readouts=(
            Readout.of(result, "error", _in_percent, "%", accent=True),
            Readout.of(result, "layer_error", _in_percent, "%", accent=True),
            Readout.of(result, "bits_per_weight", lambda v: numbers.fixed(v, 2)),
            Readout.of(result, "mxfp4_error", _in_percent, "%"),
            Readout.of(result, "int4_error", _in_percent, "%"),
            Readout.of(result, "layer_mxfp4_error", _in_percent, "%"),
            Readout.of(result, "layer_int4_error", _in_percent, "%"),
            Readout.of(result, "bytes", numbers.integer, "bytes"),
            Readout.of(result, "minus_zeros", numbers.integer, f"/ {SIZE}"),
        ),
        drawing=_drawing(result),
        plots={"errors": PlotScales(_error_scale(controls.block))},
        description=tuple(_description(result)),
        table=_table(result),
        formulas=_formulas(result),
        ran=(e2m1.encode, e2m1.decode, fp8.encode, ggml.quantize),
        notes=(
            Sentence(f"scale_{controls.scale}", size=controls.size),
            Sentence("int4", n=str(SIZE)),
            Sentence(f"from_{controls.block}", rows=str(len(layer_of(controls.block)))),
        ),
        source=Sentence(f"source_{controls.block}", n=str(SIZE)),
    )


def _in_percent(error: float) -> str:
    """Two decimals, or four where all would be zeros; so that a column of them stays aligned."""
    return numbers.fixed(100 * error, 2 if error >= 1e-3 else 4)


def _percent(error: float) -> str:
    return numbers.percent(error, 2 if error >= 1e-3 else 4)


def _description(result: Result) -> Iterator[Sentence]:
    yield _finding(result)
    largest, top = float(np.abs(result.weights).max()), float(result.mxfp4.levels.max())
    fit = "past" if top > FITTING * largest else "cut" if FITTING * top < largest else "fits"
    yield Sentence(
        f"mxfp4_{fit}",
        off=numbers.percent(abs(top / largest - 1), 0),
        top=numbers.significant(top),
        largest=numbers.significant(largest),
    )
    yield Sentence("layer", rows=str(len(layer_of(result.controls.block))))
    yield Sentence("minus_zeros" if result.minus_zeros else "no_minus_zeros")


def _finding(result: Result) -> Sentence:
    """How the chosen floats do beside MXFP4, and MXFP4 itself beside NVFP4."""
    form = result.controls.scale, result.controls.size
    error, other = result.error, result.nvfp4_error if form == MXFP4 else result.mxfp4_error
    verdict = "less" if EQUAL * error < other else "more" if error > EQUAL * other else "same"
    ratio = max(error / other, other / error)
    times = numbers.times(ratio, 1 if ratio < 9.95 else 0)
    return Sentence(f"{'_'.join(form)}_{verdict}", n=str(SIZE), size=form[1], times=times)


def _table(result: Result) -> Table:
    weight = Column("weight", lambda v: numbers.fixed(v, 5))
    read_back = [Column(name, weight.show) for name in ("int4", "mxfp4", "own")]
    error = Column("error", lambda v: numbers.signed(v, 5))
    columns = (result.int4.values, result.mxfp4.values, result.own.values, result.own.codes)
    rows = tuple(
        (result.first + i, float(w), float(int4), float(mx), float(own), int(code), float(own - w))
        for i, (w, int4, mx, own, code) in enumerate(zip(result.weights, *columns, strict=True))
    )
    return Table((Column("column", str), weight, *read_back, Column("code", str), error), rows)


def _formulas(result: Result) -> tuple[str, ...]:
    """The scale of the first block, how it rounds, and the error of all."""
    largest = float(np.abs(result.weights[: int(result.controls.size)]).max())
    scale, peak = (tex(numbers.significant(v)) for v in (float(result.own.scale[0]), largest))
    total = tex(numbers.significant(tensor_scale(result.controls.block)))
    of_block = {
        "e8m0": rf"s = 2^{{\lfloor \log_2 {peak} \rfloor - 2}} = {scale}",
        "e4m3": rf"s = \mathrm{{E4M3}}\left(\frac{{{peak}}}{{6}}\right) = {scale}",
        "tensor": rf"t = \frac{{\max |W|}}{{448 \cdot 6}} = {total}, \quad"
        rf" s = \mathrm{{E4M3}}\left(\frac{{{peak}}}{{6 \, t}}\right) \cdot t = {scale}",
    }[result.controls.scale]
    error = tex(_percent(result.error))
    return (
        of_block,
        r"\hat w = s \cdot \mathrm{E2M1}(w / s)",
        rf"\frac{{\sum (w - \hat w)^2}}{{\sum w^2}} = {error}",
    )


def _drawing(result: Result) -> dict[str, Any]:
    """Three formats, one under the other on one axis: half of the weights above it, half below."""
    controls, half = result.controls, SIZE // 2
    x = Scale((-_reach(controls.block), _reach(controls.block)), (1.0, 99.0))
    int4_levels = np.stack([result.int4.levels] * 2)
    own = f"{controls.scale}_{controls.size}"
    forms = (
        ("int4", result.int4.values, int4_levels, 4.5, result.int4_error, result.layer_int4_error),
        ("mxfp4", *_floats(result.mxfp4), 4.25, result.mxfp4_error, result.layer_mxfp4_error),
        (own, *_floats(result.own), result.bits_per_weight, result.error, result.layer_error),
    )
    columns = [f"{start}–{start + half - 1}" for start in (result.first, result.first + half)]
    x_error, last = _error_scale(controls.block), float(linear_ticks(*x.domain, 5)[-1])
    places = max(0, 1 - int(np.floor(np.log10(last))))
    return {
        "height": ROW,
        "axis": ROW / 2,
        "columns": columns,
        "rows": [
            {
                "key": key,
                "bits": numbers.fixed(bits, 2),
                "levels": _levels(values, levels, x),
                "weights": _weights(result.weights, values, x),
            }
            for key, values, levels, bits, _, _ in forms
        ],
        "ticks": [
            {"at": x.percent(v), "text": numbers.fixed(v, places) if v else "0", "minor": i % 2 == 0}
            for i, v in enumerate(linear_ticks(*x.domain, 5), 1)
        ],
        "size": controls.size,
        "n": str(SIZE),
        "strip": BAR * len(forms) + STRIP_FOOT,
        "errors": [
            {
                "key": key,
                "y": BAR * i,
                "width": x_error.percent(error),
                "layer": x_error.percent(of_layer),
                "text": _percent(error),
            }
            for i, (key, _, _, _, error, of_layer) in enumerate(forms)
        ],
        "error_ticks": [
            {"at": x_error.percent(v), "text": numbers.percent(v, 1 if x_error.domain[1] < 0.03 else 0)}
            for v in linear_ticks(*x_error.domain, 4)
        ],
    }


def _floats(floats: Floats) -> tuple[Array, Array]:
    """The values, and the levels of both halves of the drawing."""
    return floats.values, np.resize(np.delete(floats.levels, 8, axis=1), (2, 15))


def _levels(values: Array, levels: Array, x: Scale) -> list[dict[str, Any]]:
    """The levels of the upper half and of the lower, and whether a weight is there."""
    halves = zip(np.split(values, 2), levels, (ROW / 2 - TICK, ROW / 2), strict=True)
    return [
        {"x": x.percent(float(level)), "y": y, "free": not np.isclose(level, half, rtol=1e-5, atol=0).any()}
        for half, row, y in halves
        for level in np.sort(row)
    ]


def _weights(weights: Array, values: Array, x: Scale) -> list[dict[str, Any]]:
    """Each weight, with its way to its level in a square of 1000 by 1000."""
    marks = []
    for i, (w, value) in enumerate(zip(weights.tolist(), values.tolist(), strict=True)):
        side = -1 if i < len(weights) // 2 else 1
        y, end = ROW / 2 + side * RING, ROW / 2 + side * TICK
        path = f"M{10 * x(w):.1f} {1000 * y / ROW:.1f}L{10 * x(value):.1f} {1000 * end / ROW:.1f}"
        marks.append({"x": x.percent(w), "y": y, "path": path})
    return marks


FORMS = tuple((scale, size) for scale in ("e8m0", "e4m3", "tensor") for size in ("32", "16"))


@functools.lru_cache(maxsize=4)
def _reach(block: str) -> float:
    """The largest weight or level of a block in any state, so that the axis never moves."""
    floats = [float(np.abs(block_floats(block, *form).levels).max()) for form in FORMS]
    return max(*floats, float(np.abs(block_weights(block, SIZE)).max()))


@functools.lru_cache(maxsize=4)
def _error_scale(block: str) -> Scale:
    """From no error to the largest of any state."""
    weights = block_weights(block, SIZE)
    errors = [metrics.relative_weight_error(weights, snap(weights, INT4, 0).values), layer_int4_error(block)]
    for form in FORMS:
        errors += [metrics.relative_weight_error(weights, block_floats(block, *form).values)]
        errors += [layer_error(block, *form)]
    return Scale((0.0, 1.02 * max(errors)))


FIGURE = Figure("fourbit", "fig-02b", "FIG.02B", Controls, compute, view, shows="block")
