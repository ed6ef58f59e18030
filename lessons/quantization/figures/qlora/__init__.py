"""FIG.07B: a layer frozen in NF4 and a low-rank adapter beside it: what it costs, what it can repair."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice, slider, switch
from lessons.kit.figure import Figure
from lessons.kit.language import current_language
from lessons.kit.mathml import tex
from lessons.kit.scales import Scale, linear_ticks
from lessons.kit.view import Column, Readout, Sentence, Table, View
from lessons.quantization import sources
from quant_core.methods import lora, nf4

LAYERS = ("minilm.5.ffn_in", "minilm.1.query")
HIGHEST_RANK = 64
RANK_STEP = 2
RANKS = tuple(range(0, HIGHEST_RANK + 1, RANK_STEP))
FP16_BITS = 16
USUAL_WIDTH = 4096
"""Columns and rows of a square layer in a model of seven or eight billion parameters."""

BINS = 64
HISTOGRAM_HEIGHT = 206
CURVE_HEIGHT = 330

Array = NDArray[np.float32]


class Controls(FigureControls):
    rank: int = slider(16, low=0, high=HIGHEST_RANK, step=RANK_STEP)
    double_quantization: bool = switch(True)
    layer: str = choice("minilm.5.ffn_in", LAYERS)


@dataclass(frozen=True, eq=False)
class Repaired:
    """A frozen layer, its best adapter of the highest rank, and the output error at each of `RANKS`."""

    base: nf4.NF4
    a: NDArray[np.float16]
    b: NDArray[np.float16]
    errors: tuple[float, ...]


@functools.lru_cache(maxsize=2 * len(LAYERS))
def repaired(name: str, double_quantization: bool) -> Repaired:
    """Freeze a layer, repair it from the second moment of calibration text, judge it on held-out text."""
    layer = sources.load_layer(name)
    weights, inputs = layer.weights, layer.activations_test
    assert layer.hessian is not None  # each of these layers is shipped with what flows into it
    assert inputs is not None
    base = nf4.quantize(weights, double_quantization=double_quantization)
    frozen = base.dequantize()
    parts = lora.low_rank_repair(weights, frozen, layer.hessian, HIGHEST_RANK)
    a, b = (part.astype(np.float16) for part in parts)
    errors = lora.output_errors(inputs, weights, frozen, a, b)
    return Repaired(base, a, b, tuple(errors[list(RANKS)].tolist()))


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """A frozen layer with an adapter of one rank; the read-outs have their names. Sizes are in bytes."""

    controls: Controls
    layer: Repaired
    memory: nf4.LoraMemory
    bits_per_weight: float
    base_bytes: float
    adapter_bytes: float
    adapter_share: float
    training_bytes: float
    frozen_error: float
    output_error: float


def compute(controls: Controls) -> Result:
    """Freeze a layer in NF4, put an adapter of low rank beside it, and count what each takes."""
    layer = repaired(controls.layer, controls.double_quantization)
    rows, columns = layer.base.shape
    memory = nf4.lora_memory(rows, columns, controls.rank, layer.base.bits_per_weight)
    return Result(
        controls,
        layer,
        memory,
        bits_per_weight=layer.base.bits_per_weight,
        base_bytes=memory.base,
        adapter_bytes=memory.adapter,
        adapter_share=memory.adapter / memory.base,
        training_bytes=memory.gradients + memory.optimizer,
        frozen_error=layer.errors[0],
        output_error=layer.errors[RANKS.index(controls.rank)],
    )


def view(result: Result) -> View:
    rank, layer, bits = result.controls.rank, result.layer, result.bits_per_weight
    rows, columns = layer.base.shape
    usual = nf4.lora_memory(USUAL_WIDTH, USUAL_WIDTH, rank, bits)
    sixteen = rows * columns * FP16_BITS / 8
    at = RANKS.index(rank)
    gaps = np.diff(nf4.TABLE)
    said = {
        "rank": str(rank),
        "usual_share": numbers.percent(usual.adapter / usual.base),
        "width": str(USUAL_WIDTH),
        "gain": numbers.times(result.frozen_error / result.output_error),
        "sixteen": kilobytes(sixteen),
        "nearest": numbers.significant(float(gaps.min()), 2),
        "farthest": numbers.significant(float(gaps.max()), 2),
    }
    sentences = ("adapted", "cost", "usual", "levels") if rank else ("frozen", "levels")
    return View(
        readouts=(
            Readout.of(result, "frozen_error", lambda v: numbers.fixed(100 * v, 3), "%", accent=True),
            Readout.of(result, "output_error", lambda v: numbers.fixed(100 * v, 3), "%"),
            Readout.of(result, "adapter_bytes", _thousands, "kB"),
            Readout.of(result, "base_bytes", _thousands, "kB"),
            Readout.of(result, "bits_per_weight", _bits, accent=True),
            Readout.of(result, "adapter_share", lambda v: numbers.fixed(100 * v, 1), "%"),
            Readout.of(result, "training_bytes", _thousands, "kB"),
        ),
        drawing={
            "histogram": _histogram(result.controls.layer, current_language().tag),
            "bytes": _bytes_bars(result.memory, sixteen, rows, columns),
            "curve": _curve(layer.errors, at),
        },
        description=tuple(Sentence(key, **said) for key in sentences),
        table=Table(
            (
                Column("rank", str),
                Column("adapter_bytes", kilobytes),
                Column("adapter_share", numbers.percent),
                Column("output_error", lambda v: numbers.percent(v, 3)),
            ),
            tuple(_row(rows, columns, rank, bits, layer.errors[i]) for i, rank in enumerate(RANKS)),
            frozenset({at}),
        ),
        formulas=_formulas(rank, bits, numbers.percent(result.output_error, 3)),
        ran=(nf4.quantize, lora.low_rank_repair, lora.output_errors, nf4.lora_memory),
        notes=(Sentence("computed"), Sentence("from_" + result.controls.layer.replace(".", "_"))),
        source=Sentence("source_" + result.controls.layer.replace(".", "_")),
    )


def kilobytes(size: float) -> str:
    return numbers.with_unit(_thousands(size), "kB")


def _thousands(size: float) -> str:
    return numbers.fixed(size / 1000, 1)


def _bits(bits: float) -> str:
    return numbers.fixed(bits, 3)


def _row(rows: int, columns: int, rank: int, bits: float, error: float) -> tuple[float, ...]:
    memory = nf4.lora_memory(rows, columns, rank, bits)
    return rank, memory.adapter, memory.adapter / memory.base, error


@functools.lru_cache(maxsize=4 * len(LAYERS))
def _histogram(name: str, language: str) -> dict[str, Any]:
    """The layer's weights, each divided by the largest of its block, and the levels that they may take.

    It prints numbers, so that it is kept for each language.
    """
    weights = sources.load_layer(name).weights
    blocks = weights.reshape(-1, nf4.BLOCK_SIZE)
    normalised = blocks / np.abs(blocks).max(axis=1, keepdims=True)
    counts, edges = np.histogram(normalised, bins=BINS, range=(-1.0, 1.0))
    x, y = Scale((-1.0, 1.0)), Scale((0.0, float(counts.max())), (float(HISTOGRAM_HEIGHT), 0.0))
    return {
        "height": HISTOGRAM_HEIGHT,
        "weights": numbers.integer(weights.size),
        "blocks": numbers.integer(len(blocks)),
        "bars": [
            {
                "x": x.percent(float(left)),
                "width": f"{100 / BINS}%",
                "y": y(float(count)),
                "length": round(HISTOGRAM_HEIGHT - y(float(count)), 3),
            }
            for left, count in zip(edges[:-1], counts, strict=True)
        ],
        "levels": [{"x": x.percent(float(level)), "code": code} for code, level in enumerate(nf4.TABLE)],
        "ticks": [{"at": x.percent(v), "text": numbers.fixed(v, 1)} for v in linear_ticks(-1, 1, 4)],
    }


def _bytes_bars(memory: nf4.LoraMemory, sixteen: float, rows: int, columns: int) -> dict[str, Any]:
    """The layer in 16 bits against base and adapter; one scale for every rank."""
    largest = memory.base + nf4.lora_memory(rows, columns, HIGHEST_RANK, 0).adapter
    x = Scale((0.0, max(sixteen, largest)))
    return {
        "sixteen": x.percent(sixteen),
        "sixteen_text": kilobytes(sixteen),
        "base": x.percent(memory.base),
        "adapter": x.percent(memory.adapter),
        "sum_text": kilobytes(memory.base + memory.adapter),
    }


def _curve(errors: tuple[float, ...], at: int) -> dict[str, Any]:
    top = 1.08 * errors[0]
    x, y = Scale((0.0, float(HIGHEST_RANK))), Scale((0.0, top), (float(CURVE_HEIGHT), 0.0))
    return {
        "height": CURVE_HEIGHT,
        "path": " ".join(
            f"{'L' if i else 'M'}{10 * x(rank):.1f} {1000 * y(error) / CURVE_HEIGHT:.1f}"
            for i, (rank, error) in enumerate(zip(RANKS, errors, strict=True))
        ),
        "x": x.percent(RANKS[at]),
        "y": y(errors[at]),
        "frozen": y(errors[0]),
        "y_ticks": [
            {"at": y(v), "text": numbers.percent(v), "zero": v == 0} for v in linear_ticks(0, top, 5)
        ],
        "x_ticks": [{"at": x.percent(v), "text": str(v)} for v in range(0, HIGHEST_RANK + 1, 16)],
    }


def _formulas(rank: int, bits: float, error: str) -> tuple[str, ...]:
    a, b = rf"{rank} \times d_\mathrm{{in}}", rf"d_\mathrm{{out}} \times {rank}"
    shapes = rf"A \in \mathbb{{R}}^{{{a}}}, \quad B \in \mathbb{{R}}^{{{b}}}"
    scales = "32/64" if bits == 4.5 else r"8/64 + 32/(64 \cdot 256)"
    return (
        r"\hat Y = X \, \hat W^\top" + (rf" + X A^\top B^\top, \quad {shapes}" if rank else ""),
        r"\min_{A, B} \, \lVert (W - \hat W - B A) \, H^{1/2} \rVert, \quad H = X^\top X / n",
        rf"4 + {scales} = {_bits(bits)} \;\mathrm{{bits}}",
        rf"\frac{{\lVert Y - \hat Y \rVert^2}}{{\lVert Y \rVert^2}} = {tex(error)}",
    )


FIGURE = Figure("qlora", "fig-07b", "FIG.07B", Controls, compute, view, shows="matrix")
