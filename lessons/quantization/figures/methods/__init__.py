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
WIDTHS = ("4", "3", "2")
SORTS = ("weight_error", "output_error", "bits_per_weight")
GROUP_SIZE = 128
SUPER_BLOCK = 256
"""A k-quant's row is a multiple of this, so every method gets the same whole super-blocks of columns."""

SUB_BLOCK = {4: 32, 3: 16, 2: 16}
"""Weights that share a scale in the k-quant of each width."""

Matrix: TypeAlias = NDArray[np.floating[Any]]


class Controls(FigureControls):
    layer: str = choice("minilm.5.ffn_in", LAYERS)
    bits: str = choice("4", WIDTHS, style="segments")
    sort: str = choice("weight_error", SORTS)


def view(c: Controls) -> View:
    sample, scores = sample_of(c.layer), scores_of(c.layer, int(c.bits))
    by_weight = sorted(scores, key=attrgetter("weight_error"))
    by_output = sorted(scores, key=attrgetter("output_error"))
    listed = sorted(scores, key=attrgetter(c.sort, "weight_error"))
    weight_best, output_best = by_weight[0], by_output[0]
    swapped, pairs = swaps(scores), len(scores) * (len(scores) - 1) // 2
    spread = by_output[-1].output_error / output_best.output_error
    ranks = {score.id: (by_weight.index(score) + 1, by_output.index(score) + 1) for score in scores}
    cheapest, dearest = (pick(scores, key=attrgetter("bits_per_weight")) for pick in (min, max))
    worst = by_weight[-1]
    said = {
        "bits": c.bits,
        "sub_block": str(SUB_BLOCK[int(c.bits)]),
        "count": str(len(scores)),
        "columns": str(sample.weights.shape[1]),
        "all_columns": str(sources.load_layer(c.layer).weights.shape[1]),
        "tokens": str(len(sample.held_out)),
        "weight_best": weight_best.name,
        "weight_best_error": percent(weight_best.weight_error),
        "output_best": output_best.name,
        "output_best_error": percent(output_best.output_error),
        "output_best_rank": str(ranks[output_best.id][0]),
        "weight_worst": worst.name,
        "weight_worst_rank": str(ranks[worst.id][1]),
        "swapped": str(swapped),
        "pairs": str(pairs),
        "low": bits_text(cheapest.bits_per_weight),
        "low_name": cheapest.name,
        "high": bits_text(dearest.bits_per_weight),
        "high_name": dearest.name,
    }
    four = c.bits == "4"
    notes = ["from_" + c.layer.replace(".", "_"), "settings", "four_bits" if four else "others", "bits"]
    if four and c.layer == "smollm2.15.q":
        notes.insert(1, "second_rounding")
    return View(
        readouts=(
            Readout("weight_best", weight_best.id, weight_best.name),
            Readout("output_best", output_best.id, output_best.name, accent=True),
            Readout("output_best_rank", ranks[output_best.id][0], said["output_best_rank"]),
            Readout("weight_best_rank", ranks[weight_best.id][1], str(ranks[weight_best.id][1])),
            Readout("swapped", swapped, said["swapped"], f"/ {pairs}"),
            Readout("output_spread", spread, numbers.times(spread, 1)),
        ),
        drawing=_drawing(scores, listed, by_output, weight_best, c.sort),
        description=(
            Sentence("same" if weight_best is output_best else "differ", **said),
            Sentence("swapped", **said),
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
    return tuple(_score(id, method, sample, bits) for id, method in METHODS.items() if bits in method.widths)


def _score(id: str, method: Method, sample: Sample, bits: int) -> Score:
    approximation, bits_per_weight = method.quantize(sample, bits)
    return Score(
        id,
        method.name.format(bits=bits),
        method.role,
        method.statistics,
        bits_per_weight,
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


def _rtn(s: Sample, bits: int) -> tuple[Matrix, float]:
    rounded = rtn.round_to_nearest(s.weights, bits, GROUP_SIZE)
    return rounded.dequantize(), rounded.bits_per_weight


def _clipped(s: Sample, bits: int) -> tuple[Matrix, float]:
    rounded = clip.search_statistics(s.weights, s.second_moment, bits, GROUP_SIZE).quantized
    return rounded.dequantize(), rounded.bits_per_weight


def _hqq(s: Sample, bits: int) -> tuple[Matrix, float]:
    fitted = hqq.hqq(s.weights, bits, GROUP_SIZE)
    return fitted.dequantize(), fitted.bits_per_weight


def _awq(s: Sample, bits: int) -> tuple[Matrix, float]:
    found = awq.search_statistics(s.weights, s.second_moment, s.mean_abs, bits, GROUP_SIZE)
    return found.dequantized, found.quantized.quantized.bits_per_weight


def _gptq(s: Sample, bits: int, act_order: bool = False) -> tuple[Matrix, float]:
    result = gptq.gptq(s.weights, s.second_moment, bits, GROUP_SIZE, act_order=act_order)
    return result.dequantized, result.bits_per_weight


def _nf4(s: Sample, _: int) -> tuple[Matrix, float]:
    stored = nf4.quantize(s.weights, double_quantization=True)
    return stored.dequantize(), stored.bits_per_weight


def _ggml(type_name: str, importance: bool = False) -> Quantizer:
    """A block format of llama.cpp; `{bits}` in its name is the width."""

    def quantize(s: Sample, bits: int) -> tuple[Matrix, float]:
        name = type_name.format(bits=bits)
        data = ggml.quantize(s.weights, name, s.importance if importance else None)
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
    "rtn": Method("RTN", "method-5", _rtn),
    "clipped": Method("Clipped RTN", "method-5", _clipped, "XᵀX"),
    "hqq": Method("HQQ", "method-5", _hqq),
    "awq": Method("AWQ", "method-2", _awq, "XᵀX, E|x|"),
    "gptq": Method("GPTQ", "method-1", _gptq, "XᵀX"),
    "act_order": Method(
        "GPTQ act-order", "method-1", functools.partial(_gptq, act_order=True), statistics="XᵀX"
    ),
    "q4_0": Method("Q4_0", "method-3", _ggml("Q4_0"), widths=FOUR),
    "iq4_nl": Method("IQ4_NL", "method-3", _ggml("IQ4_NL"), widths=FOUR),
    "k_quant": Method("Q{bits}_K", "method-3", _ggml("Q{bits}_K")),
    "imatrix": Method("Q{bits}_K + imatrix", "method-3", _ggml("Q{bits}_K", importance=True), "E x²"),
    "nf4": Method("NF4", "method-4", _nf4, widths=FOUR),
    "mxfp4": Method("MXFP4", "method-4", _ggml("MXFP4"), widths=FOUR),
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


FIGURE = Figure("methods", "fig-07c", "FIG.07C", Controls, None, view, is_html=True)
