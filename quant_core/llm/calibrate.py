"""Calibrate a whole model: run it on some text and quantize its matrices with statistics of their inputs.

`importance` collects what llama-imatrix does, `statistics` what AWQ and SmoothQuant need; both serve every
width and group size. GPTQ collects its own, layer by layer, on the outputs of the rounded layers.
`round_matrices`, `gptq_layers` and `awq_layers` return the weights after rounding, decoded again (*fake
quantization*). Only the matrices of the layers are rounded with statistics. The embedding and the head have
no channel scale to fold; they are usually kept in 16 bits or rounded to nearest.

References
----------
Those of `quant_core.methods.gptq`, `quant_core.methods.awq` and `quant_core.methods.smoothquant`.
IST-DASLab/gptq 2d65066e, `llama.py` (`llama_sequential`): each layer is calibrated on the outputs of the
layers already rounded.
mit-han-lab/llm-awq d6e797a4, `auto_scale.py`: queries, keys and values share one scale, gate and up another,
the one that folds into the norm before them; `attn_output` has none where heads share values.
mit-han-lab/smoothquant c61476d7, `smooth.py` (`smooth_lm`, `smooth_ln_fcs_llama_like`): only what a norm
feeds is smoothed. ggml-org/llama.cpp 0c1e57098bba, `tools/imatrix/imatrix.cpp`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant_core.arrays import F32
from quant_core.llm.model import Tokens, Transformer
from quant_core.methods import awq, clip, smoothquant
from quant_core.methods.gptq import gptq
from quant_core.methods.imatrix import Collector, ImportanceMatrix
from quant_core.methods.rtn import round_to_nearest

Weights = dict[str, F32]

#: Matrices of a layer that read the same activations, and so share a scale.
_SHARED_INPUTS = (("attn_q", "attn_k", "attn_v"), ("attn_output",), ("ffn_gate", "ffn_up"), ("ffn_down",))
#: Norm -> the matrices that it feeds: a channel's factor folds into the norm's weight.
_FED_BY_NORM = {"attn_norm": _SHARED_INPUTS[0], "ffn_norm": _SHARED_INPUTS[2]}
#: AWQ clips everything but queries and keys, whose outputs are multiplied with each other.
_NOT_CLIPPED = ("attn_q", "attn_k")
_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Statistics:
    """Statistics of the inputs of one matrix.

    Attributes
    ----------
    second_moment : ndarray of float64, shape (columns, columns)
        XᵀX / tokens.
    magnitude : ndarray of float64, shape (columns,)
        Mean |x| of each channel.
    largest : ndarray of float32, shape (columns,)
        Largest |x| of each channel.
    tokens : int
        Tokens that were read.
    """

    second_moment: NDArray[np.float64]
    magnitude: NDArray[np.float64]
    largest: F32
    tokens: int


def statistics(
    model: Transformer, tokens: ArrayLike, names: Iterable[str] | None = None
) -> dict[str, Statistics]:
    """Run a model on some text and return the statistics of the inputs of its matrices.

    Parameters
    ----------
    model : Transformer
    tokens : array_like of int, shape (windows, context)
        Each window is read with an empty cache.
    names : iterable of str, optional
        Names of matrices; all of the layers if not given.

    Returns
    -------
    dict of str to Statistics

    Raises
    ------
    ValueError
        If a name is unknown or a token is not of the vocabulary.
    """
    seen = _StatisticsCollector(_known(model, model.linears if names is None else names))
    for part in _parts(tokens):
        model.logits(part, listen=seen, last_only=True)
    return seen.result()


class _StatisticsCollector:
    """Adds up the statistics of some matrices; a listener of a model."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)
        # Queries, keys and values read the same array, gate and up another: it is summed once.
        self._last: F32 | None = None
        self._first_of = ""
        self._reads: dict[str, str] = {}
        self._sums: dict[str, tuple[NDArray[np.float64], NDArray[np.float64], F32, int]] = {}

    def __call__(self, name: str, x: F32) -> None:
        if name not in self._names:
            return
        if x is not self._last:
            self._last, self._first_of = x, name
            moment, magnitude, largest, tokens = self._sums.get(name, (0.0, 0.0, np.float32(0), 0))
            size = np.abs(x)
            self._sums[name] = (
                moment + (x.T @ x).astype(np.float64),
                magnitude + size.sum(axis=0, dtype=np.float64),
                np.maximum(largest, size.max(axis=0)),
                tokens + len(x),
            )
        self._reads[name] = self._first_of

    def result(self) -> dict[str, Statistics]:
        """Return the statistics, in the order of the names."""
        made = {
            first: Statistics(moment / tokens, magnitude / tokens, largest, tokens)
            for first, (moment, magnitude, largest, tokens) in self._sums.items()
        }
        return {name: made[self._reads[name]] for name in self._names}


def importance(model: Transformer, tokens: ArrayLike, *datasets: str) -> ImportanceMatrix:
    """Collect the importance matrix of a model on some text, as llama-imatrix does.

    Parameters
    ----------
    model : Transformer
    tokens : array_like of int, shape (windows, context)
    datasets : str
        Names of the texts.

    Returns
    -------
    ImportanceMatrix
        One entry for each matrix of the layers; the embedding and the head have none.

    Raises
    ------
    ValueError
        If a token is not of the vocabulary.
    """
    wanted = set(model.linears)
    collector = Collector(chunk_size=np.atleast_2d(np.asarray(tokens)).shape[1])

    def listen(name: str, x: F32) -> None:
        if name in wanted:
            collector.add(name, x)

    for part in _parts(tokens):
        model.logits(part, listen=listen, last_only=True)
    return collector.result(*datasets)


def round_matrices(model: Transformer, names: Iterable[str], rounded: Callable[[F32], ArrayLike]) -> Weights:
    """Apply a rounding that uses the weights only to some matrices.

    Parameters
    ----------
    model : Transformer
    names : iterable of str
    rounded : callable
        From a matrix to its dequantized values, of the same shape.

    Returns
    -------
    dict of str to ndarray of float32

    Raises
    ------
    ValueError
        If a name is unknown, or as `rounded`.
    """
    return {
        name: np.asarray(rounded(model.weights[name])).astype(np.float32) for name in _known(model, names)
    }


def gptq_layers(
    model: Transformer, tokens: ArrayLike, bits: int, group_size: int | None, act_order: bool = False
) -> Weights:
    """Round the matrices of the layers by GPTQ, each layer on the outputs of the rounded ones before it.

    Parameters
    ----------
    model : Transformer
    tokens : array_like of int, shape (windows, context)
        Calibration text.
    bits, group_size, act_order
        As in `quant_core.methods.gptq.gptq`.

    Returns
    -------
    dict of str to ndarray of float32

    Raises
    ------
    ValueError
        As `quant_core.methods.gptq.gptq`.
    """
    weights: Weights = {}
    hidden = [model.embed(part) for part in _parts(tokens)]
    for layer in range(model.shape.n_layers):
        names = [name for name in model.linears if name.startswith(f"blk.{layer}.")]
        seen = _StatisticsCollector(names)
        for x in hidden:
            model.layer(x, layer, seen)
        for name, one in seen.result().items():
            result = gptq(model.weights[name], one.second_moment, bits, group_size, act_order=act_order)
            weights[name] = result.dequantized.astype(np.float32)
        if layer + 1 < model.shape.n_layers:
            rounded = model.replaced({name: weights[name] for name in names})
            hidden = [rounded.layer(x, layer) for x in hidden]
    return weights


def awq_layers(
    model: Transformer,
    seen: Mapping[str, Statistics],
    bits: int,
    group_size: int | None,
    clipped: bool = False,
) -> Weights:
    """Round the matrices of the layers by AWQ; matrices with the same inputs share a scale.

    α minimises the error of their joint outputs, not of the whole block as in the reference. With `clipped`
    a clipping limit is searched too, after the scale: `quant_core.methods.clip`.

    Parameters
    ----------
    model : Transformer
    seen : mapping of str to Statistics
        Of all matrices of the layers: `statistics` of the model on calibration text.
    bits, group_size
        As in `quant_core.methods.awq.search`.
    clipped : bool

    Returns
    -------
    dict of str to ndarray of float32

    Raises
    ------
    ValueError
        As `quant_core.methods.awq.search`.
    """
    weights: Weights = {}
    for layer in range(model.shape.n_layers):
        for parts in _SHARED_INPUTS:
            names = _names(layer, parts)
            one = seen[names[0]]
            scales = np.ones(len(one.magnitude), np.float32)
            if parts != ("attn_output",) or model.shape.n_heads == model.shape.n_kv_heads:
                scales = awq.search_statistics(
                    _stacked(model, names), one.second_moment, one.magnitude, bits, group_size
                ).scales
            moment = one.second_moment / np.outer(scales, scales)
            for part, name in zip(parts, names, strict=True):
                scaled = model.weights[name] * scales
                if clipped and part not in _NOT_CLIPPED:
                    rounded = clip.search_statistics(scaled, moment, bits, group_size).quantized
                else:
                    rounded = round_to_nearest(scaled, bits, group_size)
                weights[name] = (rounded.dequantize() / scales).astype(np.float32)
    return weights


def smoothed(model: Transformer, seen: Mapping[str, Statistics], alpha: float = 0.5) -> Transformer:
    """Fold SmoothQuant's factors into a model: the same function with smoother activations.

    The weights of a norm are divided by the factors, the columns of the matrices that it feeds multiplied by
    them. Nothing is rounded yet.

    Parameters
    ----------
    model : Transformer
    seen : mapping of str to Statistics
        Of all matrices of the layers: `statistics` of the model on calibration text.
    alpha : float
        As in `quant_core.methods.smoothquant.smoothing_factors`.

    Raises
    ------
    ValueError
        If `alpha` is out of range.
    """
    weights: Weights = {}
    for layer in range(model.shape.n_layers):
        for norm, parts in _FED_BY_NORM.items():
            names, before = _names(layer, parts), f"blk.{layer}.{norm}.weight"
            largest = seen[names[0]].largest[None]
            factors = smoothquant.smoothing_factors(largest, _stacked(model, names), alpha)
            weights[before] = model.weights[before] / factors
            weights |= {name: model.weights[name] * factors for name in names}
    return model.replaced(weights)


def _names(layer: int, parts: Iterable[str]) -> list[str]:
    return [f"blk.{layer}.{part}.weight" for part in parts]


def _stacked(model: Transformer, names: Iterable[str]) -> F32:
    """Stack matrices that have the same inputs."""
    return np.concatenate([model.weights[name] for name in names])


def _parts(tokens: ArrayLike) -> Iterator[Tokens]:
    """Yield the windows in groups."""
    ids: Tokens = np.atleast_2d(np.asarray(tokens))
    at_once = max(1, _AT_ONCE // max(1, ids.shape[-1]))
    for begin in range(0, len(ids), at_once):
        yield ids[begin : begin + at_once]


def _known(model: Transformer, names: Iterable[str]) -> list[str]:
    wanted = list(names)
    unknown = next((name for name in wanted if name not in model.matrices), None)
    if unknown is not None:
        raise ValueError(f"{unknown} is no matrix of the model; it has {', '.join(model.matrices)}")
    return wanted
