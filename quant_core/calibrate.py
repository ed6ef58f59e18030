"""Calibration on a whole model: run it on some text, and round its matrices by what flows into them.

`importance` is what llama-imatrix makes, `statistics` what GPTQ and AWQ need. `round_layers`, `gptq_layers`
and `awq_layers` return the weights after rounding, decoded again (*fake quantization*): what a kernel that
decodes them would compute with. Only the matrices of the layers are rounded. The embedding and the head have
no channel scale to fold and are usually kept, or rounded to nearest: `round_matrices`.

References
----------
Those of `quant_core.gptq` and `quant_core.awq`; IST-DASLab/gptq 2d65066e, `llama.py` (`llama_sequential`):
each layer is calibrated on the outputs of the layers already rounded. mit-han-lab/llm-awq d6e797a4,
`auto_scale.py`: queries, keys and values share one scale, gate and up another, the one that folds into the
norm before them; `attn_output` has none where heads share values. ggml-org/llama.cpp 0c1e57098bba,
`tools/imatrix/imatrix.cpp`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant_core import awq, clip
from quant_core.arrays import F32
from quant_core.gptq import gptq
from quant_core.imatrix import Collector, ImportanceMatrix
from quant_core.model import Tokens, Transformer
from quant_core.rtn import round_to_nearest

Weights = dict[str, F32]

#: Matrices of a layer that read the same activations, and so share a scale.
_TOGETHER = (("attn_q", "attn_k", "attn_v"), ("attn_output",), ("ffn_gate", "ffn_up"), ("ffn_down",))
#: AWQ clips everything but queries and keys, whose outputs are multiplied with each other.
_NOT_CLIPPED = ("attn_q", "attn_k")
_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Statistics:
    """What is known of the inputs of one matrix.

    Attributes
    ----------
    second_moment : ndarray of float64, shape (columns, columns)
        XᵀX / tokens.
    magnitude : ndarray of float64, shape (columns,)
        Mean |x| of each channel.
    tokens : int
        Tokens that were read.
    """

    second_moment: NDArray[np.float64]
    magnitude: NDArray[np.float64]
    tokens: int


def statistics(
    model: Transformer, tokens: ArrayLike, names: Iterable[str] | None = None
) -> dict[str, Statistics]:
    """Run a model on some text and keep the second moments of what enters its matrices.

    Parameters
    ----------
    model : Transformer
    tokens : array_like of int, shape (windows, context)
        Each window begins without a past.
    names : iterable of str, optional
        Matrices to look at; all of the layers if not given.

    Returns
    -------
    dict of str to Statistics

    Raises
    ------
    ValueError
        If a name is unknown or a token is not of the vocabulary.
    """
    wanted = _known(model, model.linears if names is None else names)
    moments = {name: np.zeros((model.weights[name].shape[1],) * 2) for name in wanted}
    sums = {name: np.zeros(model.weights[name].shape[1]) for name in wanted}
    last: list[tuple[F32, NDArray[np.float64]]] = []

    def listen(name: str, x: F32) -> None:
        if name in moments:
            if not last or last[0][0] is not x:  # queries, keys and values read the same array
                last[:] = [(x, (x.T @ x).astype(np.float64))]
            moments[name] += last[0][1]
            sums[name] += np.abs(x).sum(axis=0, dtype=np.float64)

    read = _run(model, tokens, listen)
    return {name: Statistics(moments[name] / read, sums[name] / read, read) for name in wanted}


def importance(model: Transformer, tokens: ArrayLike, *datasets: str) -> ImportanceMatrix:
    """Collect the importance matrix of a model on some text, as llama-imatrix does.

    Parameters
    ----------
    model : Transformer
    tokens : array_like of int, shape (windows, context)
    datasets : str
        Where the text came from.

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

    _run(model, tokens, listen)
    return collector.result(*datasets)


def round_matrices(model: Transformer, names: Iterable[str], rounded: Callable[[F32], ArrayLike]) -> Weights:
    """Put each of some matrices through a rounding that looks at weights only.

    Parameters
    ----------
    model : Transformer
    names : iterable of str
    rounded : callable
        From a matrix to what a kernel would decode, of the same shape.

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
    """Round the matrices of the layers by GPTQ, layer by layer.

    Parameters
    ----------
    model : Transformer
    tokens : array_like of int, shape (windows, context)
        Calibration text.
    bits, group_size, act_order
        As in `quant_core.gptq.gptq`.

    Returns
    -------
    dict of str to ndarray of float32

    Raises
    ------
    ValueError
        As `quant_core.gptq.gptq`.
    """
    weights: Weights = {}
    for layer in range(model.shape.n_layers):
        names = [name for name in model.linears if name.startswith(f"blk.{layer}.")]
        seen = statistics(model.replaced(weights), tokens, names)
        for name in names:
            result = gptq(
                model.weights[name], seen[name].second_moment, bits, group_size, act_order=act_order
            )
            weights[name] = result.dequantized.astype(np.float32)
    return weights


def awq_layers(
    model: Transformer, tokens: ArrayLike, bits: int, group_size: int | None, clipped: bool = False
) -> Weights:
    """Round the matrices of the layers by AWQ: matrices that read the same activations share a scale.

    α is searched for on the error of their outputs together, not on that of the whole block as the reference
    does.

    Parameters
    ----------
    model : Transformer
    tokens : array_like of int, shape (windows, context)
        Calibration text.
    bits, group_size
        As in `quant_core.awq.search`.
    clipped : bool
        Search a clipping limit too, after the scale: `quant_core.clip`.

    Returns
    -------
    dict of str to ndarray of float32

    Raises
    ------
    ValueError
        As `quant_core.awq.search`.
    """
    seen = statistics(model, tokens)
    weights: Weights = {}
    for layer in range(model.shape.n_layers):
        for parts in _TOGETHER:
            names = [f"blk.{layer}.{part}.weight" for part in parts]
            one = seen[names[0]]
            scales = np.ones(len(one.magnitude), np.float32)
            if parts != ("attn_output",) or model.shape.n_heads == model.shape.n_kv_heads:
                stacked = np.concatenate([model.weights[name] for name in names])
                scales = awq.search_statistics(
                    stacked, one.second_moment, one.magnitude, bits, group_size
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


def _run(model: Transformer, tokens: ArrayLike, listen: Callable[[str, F32], None]) -> int:
    """Read all windows, some at a time, and return the number of tokens."""
    ids: Tokens = np.atleast_2d(np.asarray(tokens))
    at_once = max(1, _AT_ONCE // max(1, ids.shape[-1]))
    for begin in range(0, len(ids), at_once):
        model.logits(ids[begin : begin + at_once], listen=listen, last_only=True)
    return int(ids.size)


def _known(model: Transformer, names: Iterable[str]) -> list[str]:
    wanted = list(names)
    unknown = next((name for name in wanted if name not in model.matrices), None)
    if unknown is not None:
        raise ValueError(f"{unknown} is no matrix of the model; it has {', '.join(model.matrices)}")
    return wanted
