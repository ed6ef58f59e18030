"""FIG.07C: one real matrix under every method, ranked by weight error and by output error side by side."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice
from lessons.kit.figure import Figure
from lessons.kit.mathml import tex
from lessons.kit.view import Column, Readout, Sentence, Table, View
from lessons.quantization import sources
from quant_core import ggml
from quant_core.methods import awq, clip, gptq, hqq, metrics, nf4, rtn

LAYERS = ("minilm.5.ffn_in", "minilm.1.query", "smollm2.15.q")
WIDTHS = ("4", "3", "2", "1")
SORTS = ("weight_error", "output_error", "bits_per_weight")
GROUP_SIZE = 128
SUPER_BLOCK = 256
"""A k-quant's row is a multiple of this, so every method gets the same whole super-blocks of columns."""

SUB_BLOCK = {4: 32, 3: 16, 2: 16}
"""Weights that share a scale in the k-quant of each width that has one."""


Matrix: TypeAlias = NDArray[np.floating[Any]]


class Controls(FigureControls):
    bits: str = choice("4", WIDTHS, style="segments")
    layer: str = choice("minilm.5.ffn_in", LAYERS)
    sort: str = choice("weight_error", SORTS)


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What every method made of one matrix, in the order of both errors; the read-outs have their names.

    A rank begins at 1. `swapped` pairs of methods stand in the opposite order by the other error.
    """

    controls: Controls
    scores: tuple[Score, ...]
    by_weight: list[Score]
    by_output: list[Score]
    weight_best: str
    output_best: str
    output_best_rank: int
    weight_best_rank: int
    swapped: int
    output_spread: float


def compute(controls: Controls) -> Result:
    """Give one matrix to every method, and rank them by the error of the weights and of the outputs."""
    scores = scores_of(controls.layer, int(controls.bits))
    by_weight = sorted(scores, key=lambda score: score.weight_error)
    by_output = sorted(scores, key=lambda score: score.output_error)
    return Result(
        controls,
        scores,
        by_weight,
        by_output,
        weight_best=by_weight[0].id,
        output_best=by_output[0].id,
        output_best_rank=by_weight.index(by_output[0]) + 1,
        weight_best_rank=by_output.index(by_weight[0]) + 1,
        swapped=swaps(scores),
        output_spread=by_output[-1].output_error / by_output[0].output_error,
    )


@dataclass(frozen=True, eq=False)
class Sample:
    """Whole super-blocks of a layer's columns, and what flows into them.

    `second_moment` is XᵀX / n and `mean_abs` is mean |x| over the calibration text; `held_out` is
    (tokens, columns), from text that no method sees.
    """

    weights: NDArray[np.float32]
    second_moment: NDArray[np.float64]
    mean_abs: NDArray[np.float32]
    held_out: NDArray[np.float32]

    @property
    def importance(self) -> NDArray[np.float32]:
        """What an imatrix holds: the mean square of each input channel."""
        return np.diag(self.second_moment).astype(np.float32)

    @functools.cached_property
    def output_power(self) -> float:
        """What output errors are relative to."""
        return metrics.output_power(self.held_out, self.weights)


@functools.lru_cache(maxsize=len(LAYERS))
def sample_of(name: str) -> Sample:
    """The first columns of a layer, as many as k-quants can hold."""
    layer = sources.load_layer(name)
    assert layer.hessian is not None  # each of these layers is shipped with what flows into it
    assert layer.mean_abs is not None
    assert layer.activations_test is not None
    columns = layer.weights.shape[1] // SUPER_BLOCK * SUPER_BLOCK
    return Sample(
        np.ascontiguousarray(layer.weights[:, :columns]),
        layer.hessian[:columns, :columns].astype(np.float64),
        layer.mean_abs[:columns],
        np.ascontiguousarray(layer.activations_test[:, :columns]),
    )


@dataclass(frozen=True, slots=True)
class Score:
    """What one method made of the sample. Errors are relative and squared."""

    id: str
    name: str
    role: str
    statistics: str | None
    bits_per_weight: float
    weight_error: float
    output_error: float


@functools.lru_cache(maxsize=len(LAYERS) * len(WIDTHS))
def scores_of(layer: str, bits: int) -> tuple[Score, ...]:
    """Every method that has this width, on the same columns of the same layer."""
    sample = sample_of(layer)
    computed = (score_of(id, method, sample, bits) for id, method in METHODS.items() if bits in method.widths)
    return (*computed, *recorded_scores(layer, bits))


def recorded_scores(layer: str, bits: int) -> tuple[Score, ...]:
    """Codebook types, whose encoders search too long for a request: `scripts/record_codebook_types.py`."""
    return tuple(
        Score(
            f"{row.type.lower()}_imatrix" if row.importance else row.type.lower(),
            f"{row.type} + imatrix" if row.importance else row.type,
            "method-3",
            "E x²" if row.importance else None,
            ggml.FORMATS[row.type].bits_per_weight,
            row.weight_error,
            row.output_error,
        )
        for row in sources.codebook_types()
        if row.layer == layer and row.type.startswith(f"IQ{bits}")
    )


def score_of(id: str, method: Method, sample: Sample, bits: int) -> Score:
    approximation, bits_per_weight = method.quantize(sample, bits)
    return Score(
        id,
        method.name.format(bits=bits),
        method.role,
        method.statistics,
        bits_per_weight,
        *errors_of(sample, approximation),
    )


def errors_of(sample: Sample, approximation: Matrix) -> tuple[float, float]:
    """The error of the weights and that of the outputs, relative and squared."""
    return (
        metrics.relative_weight_error(sample.weights, approximation),
        metrics.output_power(sample.held_out, sample.weights - approximation) / sample.output_power,
    )


def swaps(scores: tuple[Score, ...]) -> int:
    """Pairs of methods that the two errors put in opposite order."""
    return sum(
        (a.weight_error - b.weight_error) * (a.output_error - b.output_error) < 0
        for i, a in enumerate(scores)
        for b in scores[:i]
    )


Quantizer: TypeAlias = Callable[[Sample, int], tuple[Matrix, float]]
"""Sample and width in; the approximated weights and the stored bits for one of them out."""


def by_rtn(sample: Sample, bits: int) -> tuple[Matrix, float]:
    rounded = rtn.round_to_nearest(sample.weights, bits, GROUP_SIZE)
    return rounded.dequantize(), rounded.bits_per_weight


def by_clipping(sample: Sample, bits: int) -> tuple[Matrix, float]:
    rounded = clip.search_statistics(sample.weights, sample.second_moment, bits, GROUP_SIZE).quantized
    return rounded.dequantize(), rounded.bits_per_weight


def by_hqq(sample: Sample, bits: int) -> tuple[Matrix, float]:
    fitted = hqq.hqq(sample.weights, bits, GROUP_SIZE)
    return fitted.dequantize(), fitted.bits_per_weight


def by_awq(sample: Sample, bits: int) -> tuple[Matrix, float]:
    found = awq.search_statistics(sample.weights, sample.second_moment, sample.mean_abs, bits, GROUP_SIZE)
    return found.dequantized, found.quantized.quantized.bits_per_weight


def by_gptq(sample: Sample, bits: int, act_order: bool = False) -> tuple[Matrix, float]:
    result = gptq.gptq(sample.weights, sample.second_moment, bits, GROUP_SIZE, act_order=act_order)
    return result.dequantized, result.bits_per_weight


def by_nf4(sample: Sample, _: int) -> tuple[Matrix, float]:
    stored = nf4.quantize(sample.weights, double_quantization=True)
    return stored.dequantize(), stored.bits_per_weight


def by_ggml(type_name: str, importance: bool = False) -> Quantizer:
    """A block format of llama.cpp; `{bits}` in its name is the width."""

    def quantize(sample: Sample, bits: int) -> tuple[Matrix, float]:
        name = type_name.format(bits=bits)
        data = ggml.quantize(sample.weights, name, sample.importance if importance else None)
        return ggml.dequantize(data, name), ggml.FORMATS[name].bits_per_weight

    return quantize


@dataclass(frozen=True, slots=True)
class Method:
    """A column of the comparison: how it is called and drawn, what it knows of the calibration text."""

    name: str
    role: str
    quantize: Quantizer
    statistics: str | None = None
    widths: tuple[int, ...] = (2, 3, 4)


FOUR = (4,)
METHODS = {
    "rtn": Method("RTN", "method-5", by_rtn),
    "clipped": Method("Clipped RTN", "method-5", by_clipping, "XᵀX"),
    "hqq": Method("HQQ", "method-5", by_hqq),
    "awq": Method("AWQ", "method-2", by_awq, "XᵀX, E|x|"),
    "gptq": Method("GPTQ", "method-1", by_gptq, "XᵀX"),
    "act_order": Method(
        "GPTQ act-order", "method-1", functools.partial(by_gptq, act_order=True), statistics="XᵀX"
    ),
    "q4_0": Method("Q4_0", "method-3", by_ggml("Q4_0"), widths=FOUR),
    "iq4_nl": Method("IQ4_NL", "method-3", by_ggml("IQ4_NL"), widths=FOUR),
    "iq4_xs": Method("IQ4_XS", "method-3", by_ggml("IQ4_XS"), widths=FOUR),
    "k_quant": Method("Q{bits}_K", "method-3", by_ggml("Q{bits}_K")),
    "imatrix": Method("Q{bits}_K + imatrix", "method-3", by_ggml("Q{bits}_K", importance=True), "E x²"),
    "nf4": Method("NF4", "method-4", by_nf4, widths=FOUR),
    "mxfp4": Method("MXFP4", "method-4", by_ggml("MXFP4"), widths=FOUR),
    "nvfp4": Method("NVFP4", "method-4", by_ggml("NVFP4"), widths=FOUR),
    "q2_0": Method("Q2_0", "method-4", by_ggml("Q2_0"), widths=(2,)),
    "tq2_0": Method("TQ2_0", "method-4", by_ggml("TQ2_0"), widths=(2,)),
    "tq1_0": Method("TQ1_0", "method-4", by_ggml("TQ1_0"), widths=(1,)),
    "q1_0": Method("Q1_0", "method-4", by_ggml("Q1_0"), widths=(1,)),
}


def view(result: Result) -> View:
    controls, scores, by_weight, by_output = (
        result.controls,
        result.scores,
        result.by_weight,
        result.by_output,
    )
    weight_best, output_best = by_weight[0], by_output[0]
    listed = sorted(scores, key=attrgetter(controls.sort, "weight_error"))
    ranks = {score.id: (by_weight.index(score) + 1, by_output.index(score) + 1) for score in scores}
    names = {score.id: score.name for score in scores}
    pairs = len(scores) * (len(scores) - 1) // 2
    said = _said(result, ranks) | {"pairs": str(pairs)}
    notes = ["from_" + controls.layer.replace(".", "_"), f"bits_{controls.bits}"]
    if controls.bits != "4":
        notes.append("recorded")
    if controls.bits != "1":
        notes += ["settings", "bits"]
    if controls.bits == "4" and controls.layer == "smollm2.15.q":
        notes.insert(1, "second_rounding")
    return View(
        readouts=(
            Readout.of(result, "weight_best", names.__getitem__),
            Readout.of(result, "output_best", names.__getitem__, accent=True),
            Readout.of(result, "output_best_rank", str),
            Readout.of(result, "weight_best_rank", str),
            Readout.of(result, "swapped", str, f"/ {pairs}"),
            Readout.of(result, "output_spread", lambda v: numbers.times(v, 1)),
        ),
        drawing=_drawing(scores, listed, by_output, weight_best, controls.sort),
        description=(
            Sentence(_finding(weight_best is output_best, controls.bits), **said),
            Sentence({0: "swapped_none", 1: "swapped_one"}.get(result.swapped, "swapped"), **said),
            Sentence("worst", **said),
            Sentence("cost", **said),
        ),
        table=Table(
            (
                Column("method"),
                Column("statistics"),
                Column("bits_per_weight", bits_text),
                Column("weight_error", percent),
                Column("weight_rank", str),
                Column("output_error", percent),
                Column("output_rank", str),
            ),
            tuple(
                (
                    score.name,
                    score.statistics,
                    score.bits_per_weight,
                    score.weight_error,
                    ranks[score.id][0],
                    score.output_error,
                    ranks[score.id][1],
                )
                for score in listed
            ),
            frozenset({listed.index(output_best)}),
        ),
        formulas=_formulas(output_best, weight_best),
        ran=(
            rtn.round_to_nearest,
            clip.search_statistics,
            hqq.hqq,
            awq.search_statistics,
            gptq.gptq,
            ggml.quantize,
            nf4.quantize,
            metrics.relative_weight_error,
            metrics.output_power,
        ),
        notes=tuple(Sentence(key, **said) for key in notes),
    )


def _finding(same: bool, bits: str) -> str:
    """Which sentence is the headline."""
    return ("same" if same else "differ") + ("_one" if bits == "1" else "")


def _said(result: Result, ranks: dict[str, tuple[int, int]]) -> dict[str, str]:
    """What the sentences say besides the read-outs."""
    controls, scores, sample = result.controls, result.scores, sample_of(result.controls.layer)
    cheapest, dearest = (pick(scores, key=attrgetter("bits_per_weight")) for pick in (min, max))
    worst = result.by_weight[-1]
    return {
        "bits": controls.bits,
        "sub_block": str(SUB_BLOCK.get(int(controls.bits))),
        "count": str(len(scores)),
        "columns": str(sample.weights.shape[1]),
        "all_columns": str(sources.load_layer(controls.layer).weights.shape[1]),
        "tokens": str(len(sample.held_out)),
        "weight_best_error": percent(result.by_weight[0].weight_error),
        "output_best_error": percent(result.by_output[0].output_error),
        "weight_worst": worst.name,
        "weight_worst_rank": str(ranks[worst.id][1]),
        "low": bits_text(cheapest.bits_per_weight),
        "low_name": cheapest.name,
        "high": bits_text(dearest.bits_per_weight),
        "high_name": dearest.name,
    }


def percent(error: float) -> str:
    """A relative squared error, with enough decimals to tell the methods of a width apart."""
    return numbers.percent(error, 1 if error >= 0.1 else 2 if error >= 0.001 else 3)


def bits_text(bits: float) -> str:
    return numbers.fixed(bits, 3)


def _drawing(
    scores: tuple[Score, ...], listed: list[Score], by_output: list[Score], weight_best: Score, sort: str
) -> dict[str, Any]:
    """Left the methods as sorted, with their weight error; right by output error; links between the two.

    Positions are ranks: the style sheet knows how high a row is on this screen.
    """
    most_weight = max(score.weight_error for score in scores)
    most_output = by_output[-1].output_error
    rows = []
    for score in scores:
        left, right = listed.index(score), by_output.index(score)
        start, end = (1000 * (place + 0.5) / len(scores) for place in (left, right))
        rows.append(
            {
                "id": score.id,
                "name": score.name,
                "role": score.role,
                "calibrated": score.statistics is not None,
                "first": score is weight_best or score is by_output[0],
                "bits": bits_text(score.bits_per_weight),
                "left": left,
                "right": right,
                "rank": right + 1,
                "weight": percent(score.weight_error),
                "output": percent(score.output_error),
                "weight_width": f"{100 * score.weight_error / most_weight:.5g}%",
                "weight_x": f"{100 * (1 - score.weight_error / most_weight):.5g}%",
                "output_width": f"{100 * score.output_error / most_output:.5g}%",
                "link": f"M0 {start:.1f} C500 {start:.1f} 500 {end:.1f} 1000 {end:.1f}",
            }
        )
    return {"rows": rows, "count": len(scores), "sort": sort}


def _formulas(output_best: Score, weight_best: Score) -> tuple[str, ...]:
    def weight(score: Score) -> str:
        return rf"E_W(\mathrm{{{_tex_name(score)}}}) = {tex(percent(score.weight_error))}"

    def output(score: Score) -> str:
        return rf"E_Y(\mathrm{{{_tex_name(score)}}}) = {tex(percent(score.output_error))}"

    return (
        r"E_W = \frac{\lVert W - \hat W \rVert^2}{\lVert W \rVert^2}, \quad "
        r"E_Y = \frac{\lVert X (W - \hat W)^\top \rVert^2}{\lVert X W^\top \rVert^2}",
        *(rf"{weight(score)}, \quad {output(score)}" for score in dict.fromkeys((weight_best, output_best))),
    )


def _tex_name(score: Score) -> str:
    return score.name.replace("_", r"\_").replace(" ", r"\ ")


FIGURE = Figure("methods", "fig-07c", "FIG.07C", Controls, compute, view, shows="matrix", is_html=True)
