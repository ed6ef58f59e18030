"""FIG.MAP: from a model down to one weight, in six steps, each drawn small and one of them large.

Counts and shapes are those of Llama 3.1 70B. Its weights are not shipped: the weights that are drawn, from
the matrix on, are those of a small model.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice
from lessons.kit.figure import Figure
from lessons.kit.mathml import tex
from lessons.kit.scales import Scale
from lessons.kit.view import Column, Readout, Sentence, Table, View
from lessons.quantization import sources
from lessons.quantization.blocks import BLOCKS, start
from quant_core.ggml.mixes import BLOCK_SIZES
from quant_core.llm.shapes import Tensor
from quant_core.methods import floats, grid

PARTS = ("model", "layer", "matrix", "row", "block", "weight")
MODEL = "llama-3.1-70b"
MATRIX = "ffn_up"
FLOAT_BITS = 16
FOUR_BIT = "Q4_0"
"""The plainest type of llama.cpp with four bits a weight: blocks of 32 with one scale, 4.5 bits in all."""

BLOCK, WEIGHT, TOKEN = "calm", 11, 0
"""What is drawn of the small model: a block and its row, one weight of it, one token's activations."""

BITS = 4
SHOWN_LAYER = 40

SMALL = 96
"""Height of a small drawing in pixels."""
KILO = 1024
"""Rows and columns in one unit of the drawing of a layer."""
PLACES = {
    "attn_q": (0, 0),
    "attn_k": (0, 11.5),
    "attn_v": (0, 15.5),
    "attn_output": (0, 20),
    "ffn_gate": (10, 0),
    "ffn_up": (20, 0),
    "ffn_down": (0, 30),
}
"""Where each matrix of a layer stands in its small drawing, in units."""

Array = NDArray[Any]


class Controls(FigureControls):
    at: str = choice("model", PARTS, style="drawn")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the model: how many weights it has, and the bytes of them at 16 and at 4.5 bits."""

    name: str
    weights: int

    @property
    def bytes_f16(self) -> float:
        return self.weights * FLOAT_BITS / 8

    @property
    def bytes_q4(self) -> float:
        block, size = BLOCK_SIZES[FOUR_BIT]
        return self.weights * size / block


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Real weights: a matrix, (rows, columns), the activations of a token, (columns,), and a block in `row`.

    `fitted` is the grid of the block, `codes` the level of each of its weights, `bits` the floats they were.
    """

    weights: Array
    activations: Array
    row: int
    first: int
    fitted: grid.Grid
    codes: NDArray[np.int32]
    bits: floats.FloatBits

    @property
    def block(self) -> Array:
        return self.bits.value

    @property
    def restored(self) -> Array:
        return self.fitted.dequantize(self.codes)

    @property
    def outputs(self) -> Array:
        return self.weights @ self.activations


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """All six parts; the read-outs are of the chosen one."""

    controls: Controls
    parts: tuple[Part, ...]
    tensors: tuple[Tensor, ...]
    sample: Sample
    weights: int
    bytes_f16: float
    bytes_q4: float


def compute(controls: Controls) -> Result:
    """Count the weights of each part, and round one block of real ones."""
    shape = sources.model(MODEL).shape
    tensors = shape.tensors()
    layer = [tensor for tensor in tensors if tensor.layer == SHOWN_LAYER]
    matrix = next(tensor for tensor in layer if tensor.kind == MATRIX)
    counts = (
        shape.parameters,
        sum(tensor.elements for tensor in layer),
        matrix.elements,
        matrix.columns,
        BLOCK_SIZES[FOUR_BIT][0],
        1,
    )
    parts = tuple(Part(name, count) for name, count in zip(PARTS, counts, strict=True))
    chosen = parts[PARTS.index(controls.at)]
    return Result(
        controls,
        parts,
        tensors,
        real_weights(),
        weights=chosen.weights,
        bytes_f16=chosen.bytes_f16,
        bytes_q4=chosen.bytes_q4,
    )


def real_weights() -> Sample:
    """A matrix of the small model with what enters it, and one block of it rounded to four bits."""
    block, size = BLOCKS[BLOCK], BLOCK_SIZES[FOUR_BIT][0]
    layer, first = sources.load_layer(block.layer), start(BLOCK, size)
    assert layer.activations_test is not None
    bits = floats.float_bits(layer.weights[block.row, first : first + size], "fp16")
    fitted = grid.fit_asymmetric(bits.value, BITS)
    return Sample(
        layer.weights,
        layer.activations_test[TOKEN],
        block.row,
        first,
        fitted,
        fitted.quantize(bits.value),
        bits,
    )


def view(result: Result) -> View:
    sample, part = result.sample, result.controls.at
    matrices = _matrices(result)
    shown = next(tensor for tensor in matrices if tensor.kind == MATRIX)
    code = int(sample.codes[WEIGHT])
    said = {
        "layers": str(sources.model(MODEL).shape.n_layers),
        "matrices": str(len(matrices)),
        "columns": numbers.integer(shown.columns),
        "rows": numbers.integer(shown.rows),
        "size": str(len(sample.block)),
        "levels": str(2**BITS),
        "w": numbers.significant(float(sample.block[WEIGHT])),
        "restored": numbers.significant(float(sample.restored[WEIGHT])),
        "code": str(code),
        "pattern": f"{code:0{BITS}b}",
        "count": _rounded(result.weights)[0],
        "products": str(sample.weights.shape[1]),
        "output": numbers.significant(float(sample.outputs[sample.row])),
    }
    return View(
        readouts=(
            Readout("weights", result.weights, *_rounded(result.weights)),
            Readout("bytes_f16", result.bytes_f16, *_size(result.bytes_f16)),
            Readout("bytes_q4", result.bytes_q4, *_size(result.bytes_q4), accent=True),
        ),
        drawing={
            "printed": said,
            "ladder": [{"name": p.name, "count": _rounded(p.weights)} for p in result.parts],
            "model": _model(result),
            "layer": _layer(matrices),
            "matrix": _matrix(sample),
            "row": _row(sample),
            "block": _block(sample),
            "weight": _weight(sample),
        },
        description=(Sentence(part, **said), Sentence(f"drawn_{part}", **said)),
        table=_table(result),
        formulas=_formulas(sample, said),
        ran=(floats.float_bits, grid.fit_asymmetric, grid.Grid.quantize, grid.Grid.dequantize),
        notes=(Sentence("from"), Sentence("file")),
        source=Sentence("source"),
    )


def _matrices(result: Result) -> list[Tensor]:
    """The matrices of a layer; its norms are vectors."""
    return [tensor for tensor in result.tensors if tensor.layer == SHOWN_LAYER and tensor.rows > 1]


def _rounded(count: int) -> tuple[str, str]:
    """A count to three digits and its unit: 70.6 billion, 235 million, 8192."""
    for size, unit in ((1e9, "billion"), (1e6, "million")):
        if count >= size:
            return numbers.significant(count / size), unit
    return numbers.integer(count), ""


def _size(size: float) -> tuple[str, str]:
    """Bytes to three digits and their unit; below one byte, bits."""
    for scale, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= scale:
            return numbers.significant(size / scale), unit
    return (numbers.shortest(size), "bytes") if size >= 1 else (numbers.shortest(8 * size), "bits")


def _model(result: Result) -> dict[str, Any]:
    """The layers as slices of a square of 1000, as thick as they have weights; a table at each end."""
    layers = sources.model(MODEL).shape.n_layers
    tables = [t.elements for t in result.tensors if t.layer is None and t.rows > 1]
    sizes = [tables[0], *([result.parts[1].weights] * layers), *tables[1:]]
    edges = 1000 * np.concatenate(([0], np.cumsum(sizes))) / sum(sizes)
    slices = [(float(a), float(b - a) * 0.68) for a, b in itertools.pairwise(edges)]
    at, size = slices[1 + SHOWN_LAYER]
    across = "".join(f"M0 {a:.1f}h1000v{b:.1f}h-1000z" for a, b in slices)
    along = "".join(f"M{a:.1f} 0v1000h{b:.1f}v-1000z" for a, b in slices)
    return {"across": across, "along": along, "at": f"{at / 10:.2f}%", "size": f"{size / 10:.2f}%"}


def _layer(matrices: list[Tensor]) -> dict[str, Any]:
    """The matrices to scale, rows downwards: packed in pixels, and side by side in per cent."""
    pixels, gap = SMALL / 38, 3.0
    sizes = [(tensor.columns / KILO, tensor.rows / KILO) for tensor in matrices]
    lefts = np.concatenate(([0], np.cumsum([width + gap for width, _ in sizes])))
    x, y = Scale((0.0, float(lefts[-1]) - gap)), Scale((0.0, max(height for _, height in sizes)))
    small, wide = {}, []
    for tensor, (width, height), left in zip(matrices, sizes, lefts.tolist(), strict=False):
        column, row = PLACES[tensor.kind]
        box = {"x": column, "y": row, "width": width, "height": height}
        small[tensor.kind] = {name: round(value * pixels, 1) for name, value in box.items()}
        wide.append(
            {
                "kind": tensor.kind,
                "x": x.percent(left),
                "middle": x.percent(left + width / 2),
                "width": x.percent(width),
                "height": y.percent(height),
            }
        )
    return {"small": small, "wide": wide, "kind": MATRIX}


def _matrix(sample: Sample) -> dict[str, Any]:
    """A corner of the real matrix, twice: tall and narrow as the whole is, and as wide as a block."""
    return {
        "tall": _corner(sample, rows=28, columns=8),
        "wide": _corner(sample, rows=12, columns=len(sample.block)),
        "row": sample.row,
    }


def _corner(sample: Sample, rows: int, columns: int) -> dict[str, Any]:
    part = slice(sample.first, sample.first + columns)
    return {
        "rows": rows,
        "columns": columns,
        "weights": _shades(sample.weights[:rows, part]),
        "inputs": _shades(sample.activations[None, part]),
        "outputs": _shades(sample.outputs[:rows, None]),
    }


def _shades(values: Array) -> list[str]:
    """Cells of one unit in three shades, as paths: the smallest third of the values first."""
    limits = np.quantile(np.abs(values), (1 / 3, 2 / 3))
    shade = np.searchsorted(limits, np.abs(values))
    return ["".join(f"M{x} {y}h1v1h-1z" for y, x in np.argwhere(shade == level)) for level in range(3)]


def _row(sample: Sample) -> dict[str, Any]:
    """The weights of a row and the activations that meet them, as bars from the middle of their strips."""
    weights, count = sample.weights[sample.row], sample.weights.shape[1]
    return {
        "count": count,
        "weights": _bars(weights),
        "inputs": _bars(sample.activations),
        "x": f"{100 * sample.first / count:.2f}%",
        "right": f"{100 * (sample.first + len(sample.block)) / count:.2f}%",
        "width": f"{100 * len(sample.block) / count:.2f}%",
    }


def _bars(values: Array) -> str:
    """Bars up and down from the middle of a box that is 1000 high and as wide as there are values."""
    heights = np.rint(-480 * values / np.abs(values).max()).astype(int)
    return "".join(f"M{i}.5 500v{height}" for i, height in enumerate(heights.tolist()) if height)


def _block(sample: Sample) -> dict[str, Any]:
    """The weights of a block over the levels of their grid, in per cent of both sides."""
    levels = sample.fitted.levels()
    step = float(sample.fitted.scale)
    y = Scale((float(levels[-1]) + step / 2, float(levels[0]) - step / 2))
    x = Scale((-0.5, len(sample.block) - 0.5))
    marks = [
        {"x": x.percent(i), "true": y.percent(float(w)), "kept": y.percent(float(v))}
        for i, (w, v) in enumerate(zip(sample.block, sample.restored, strict=True))
    ]
    return {
        "levels": [{"y": y.percent(float(v)), "zero": abs(float(v)) < step / 4} for v in levels],
        "marks": marks,
        "chosen": marks[WEIGHT],
    }


def _weight(sample: Sample) -> dict[str, Any]:
    """The cells of the float, and of the number of its level."""
    fields = zip(("sign", "exponent", "fraction"), sample.bits.strings()[WEIGHT], strict=True)
    cells = [
        {"field": name, "bit": bit, "first": i == 0} for name, text in fields for i, bit in enumerate(text)
    ]
    return {"cells": cells, "code": list(f"{int(sample.codes[WEIGHT]):0{BITS}b}")}


def _table(result: Result) -> Table:
    return Table(
        (
            Column("step", str),
            Column("weights", numbers.integer),
            Column("bytes_f16", numbers.integer),
            Column("bytes_q4", lambda size: numbers.shortest(size) if size < 1 else numbers.integer(size)),
        ),
        tuple((i + 1, part.weights, part.bytes_f16, part.bytes_q4) for i, part in enumerate(result.parts)),
        frozenset({PARTS.index(result.controls.at)}),
    )


def _formulas(sample: Sample, said: dict[str, str]) -> tuple[str, ...]:
    z = int(sample.fitted.zero_point) if sample.fitted.zero_point is not None else 0
    s = tex(numbers.significant(float(sample.fitted.scale), 4))
    return (
        rf"y_i = \sum_j w_{{ij}} \, x_j, \qquad y_{{{sample.row}}} = {tex(said['output'])}",
        rf"\hat w = s \, (q - z) = {s} \cdot ({said['code']} - {z}) = {tex(said['restored'])}",
        r"\mathrm{bytes} = \frac{n \cdot b}{8}",
    )


FIGURE = Figure("zoom", "zoom", "FIG.MAP", Controls, compute, view, shows="all", is_html=True)
