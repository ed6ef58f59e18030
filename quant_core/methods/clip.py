"""AWQ's clip search: shrink each group's range where clipping improves the layer's output.

A group's grid must reach its largest weight. Clipping that weight adds an error there and makes the spacing
of all others finer. The better choice depends on the activations, so each group of each row is tried at
limits max|w| · (1, 0.95, … 0.55) and keeps the one with the smallest squared error of *its own* contribution
to the output, Σ over its columns of x (ŵ − w), averaged over calibration tokens.

AWQ applies this after the channel scales of `quant_core.methods.awq`, to the scaled weights W · s and inputs
X / s, and not to query and key projections, whose outputs are multiplied with each other.

References
----------
mit-han-lab/llm-awq d6e797a4, `awq/quantize/auto_clip.py` (`auto_clip_layer`, `apply_clip`). Its grid is not
widened to contain 0; the two agree on every group that has weights of both signs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant_core.arrays import F32, as_matrix, check_group_size
from quant_core.methods.rtn import Quantized, round_to_nearest

#: The reference divides the range into 20 steps and tries the upper half of them.
GRID = 20
MAX_SHRINK = 0.5
#: Calibration tokens that the reference uses, evenly spaced.
TOKENS = 512


@dataclass(frozen=True, eq=False)
class ClipResult:
    """The result of a clip search.

    Attributes
    ----------
    limit : ndarray of float32, shape (rows, groups)
        The largest magnitude that is kept.
    shares : ndarray of float64, shape (tries,)
        The limits that were tried, as shares of the group's largest magnitude: 1, 0.95, …
    losses : ndarray of float64, shape (tries, rows, groups)
        Mean squared error of each group's contribution to the output, for each try.
    quantized : Quantized
        RTN (asymmetric) of the clipped weights.
    """

    limit: F32
    shares: NDArray[np.float64]
    losses: NDArray[np.float64]
    quantized: Quantized


def search(
    weights: ArrayLike,
    activations: ArrayLike,
    bits: int,
    group_size: int | None,
    grid: int = GRID,
    max_shrink: float = MAX_SHRINK,
    tokens: int = TOKENS,
) -> ClipResult:
    """Search a clipping limit for each group of each row.

    Parameters
    ----------
    weights : array_like of float, shape (rows, columns)
        One row per output channel.
    activations : array_like of float, shape (tokens, columns)
        Inputs of the layer on calibration text.
    bits : int
        Code width, 2 to 8.
    group_size : int or None
        Weights that share a scale; None: the whole row.
    grid, max_shrink : int, float
        Tries at 1 − i / grid, i = 0 … int(max_shrink · grid) − 1.
    tokens : int
        Every k-th token is used, k = number of activations // tokens; all of them if there are fewer.

    Returns
    -------
    ClipResult
        Of several limits with the smallest loss, the widest.

    Raises
    ------
    ValueError
        If a shape does not fit, a number is not finite, or an argument is out of range.

    Examples
    --------
    The largest weight meets a silent input: clipping it is free, and the others fit exactly.

    >>> result = search([[8.0, 1.0, -1.0, 2.0]], np.eye(4)[1:], bits=3, group_size=None)
    >>> result.limit.tolist(), result.quantized.dequantize().tolist()
    ([[6.0]], [[6.0, 1.0, -1.0, 2.0]])

    After AWQ's scale search, with its `scales`, on the scaled weights and inputs:
    `Scaled(search(weights * scales, activations / scales, 4, 128).quantized, scales)`.
    """
    w = as_matrix(weights, "weights").astype(np.float32, copy=False)
    x = as_matrix(activations, "activations").astype(np.float64, copy=False)
    columns = w.shape[1]
    if x.shape[1] != columns:
        raise ValueError(f"activations have {x.shape[1]} columns, weights {columns}; give the same number")
    if tokens < 1:
        raise ValueError(f"tokens is {tokens}; give at least 1")
    size = check_group_size(group_size, columns)
    moments = _second_moments(x[:: max(1, len(x) // tokens)], size)
    return _search(w, moments, bits, grid, max_shrink)


def search_statistics(
    weights: ArrayLike,
    second_moment: ArrayLike,
    bits: int,
    group_size: int | None,
    grid: int = GRID,
    max_shrink: float = MAX_SHRINK,
) -> ClipResult:
    """As `search`, from the second moments of the activations.

    Parameters
    ----------
    weights : array_like of float, shape (rows, columns)
    second_moment : array_like of float, shape (columns, columns)
        XᵀX / tokens. Only the blocks on the diagonal, one for each group, are used.
    bits, group_size, grid, max_shrink
        As in `search`.

    Returns
    -------
    ClipResult

    Raises
    ------
    ValueError
        If a shape does not fit, a number is not finite, or an argument is out of range.
    """
    w = as_matrix(weights, "weights").astype(np.float32, copy=False)
    whole = as_matrix(second_moment, "second_moment")
    columns = w.shape[1]
    if whole.shape != (columns, columns):
        raise ValueError(f"second_moment has shape {whole.shape}; give ({columns}, {columns})")
    size = check_group_size(group_size, columns)
    starts = range(0, columns, size)
    moments = np.stack([whole[start : start + size, start : start + size] for start in starts])
    return _search(w, moments.astype(np.float64, copy=False), bits, grid, max_shrink)


def _search(w: F32, moments: NDArray[np.float64], bits: int, grid: int, max_shrink: float) -> ClipResult:
    """Search with the second moment of each group's inputs, shape (groups, size, size)."""
    if grid < 1 or not 1 <= int(max_shrink * grid) <= grid:
        raise ValueError(
            f"grid is {grid} and max_shrink {max_shrink}; give at least 1, and a share from 1 / grid to 1"
        )
    size = moments.shape[-1]
    groups = w.reshape(len(w), -1, size)
    largest = np.abs(groups).max(axis=-1)
    shares = 1 - np.arange(int(max_shrink * grid)) / grid
    losses = np.stack([_losses(groups, largest * np.float32(share), moments, bits) for share in shares])
    limit = largest * shares[np.argmin(losses, axis=0)].astype(np.float32)
    return ClipResult(limit, shares, losses, round_to_nearest(apply(w, limit), bits, size))


def apply(weights: ArrayLike, limit: ArrayLike) -> F32:
    """Return the weights with each group clipped to ± its limit.

    Parameters
    ----------
    weights : array_like of float, shape (rows, columns)
    limit : array_like of float, shape (rows, groups)

    Returns
    -------
    ndarray of float32, shape (rows, columns)

    Raises
    ------
    ValueError
        If the shapes do not fit, a number is not finite or a limit is negative.

    Examples
    --------
    >>> apply([[1.0, -3.0, 5.0, 2.0]], [[2.0, 4.0]]).tolist()
    [[1.0, -2.0, 4.0, 2.0]]
    """
    w = as_matrix(weights, "weights").astype(np.float32, copy=False)
    limits = as_matrix(limit, "limit").astype(np.float32, copy=False)
    if len(limits) != len(w) or w.shape[1] % limits.shape[1] or (limits < 0).any():
        raise ValueError(
            f"limit has shape {limits.shape} for weights of shape {w.shape}; "
            "give one number of at least 0 for each group, (rows, groups)"
        )
    groups = w.reshape(len(w), limits.shape[1], -1)
    return np.clip(groups, -limits[..., None], limits[..., None]).reshape(w.shape)


def _second_moments(x: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return XᵀX / tokens of each group's columns, shape (groups, size, size)."""
    by_group = x.reshape(len(x), -1, size).transpose(1, 0, 2)
    moments: NDArray[np.float64] = by_group.transpose(0, 2, 1) @ by_group / len(x)
    return moments


def _losses(groups: F32, limit: F32, moments: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    """Return the mean squared error of each group's output, shape (rows, groups), clipped to `limit`."""
    clipped = apply(groups.reshape(len(groups), -1), limit)
    rounded = round_to_nearest(clipped, bits, groups.shape[-1]).dequantize()
    error = (rounded.reshape(groups.shape) - groups).transpose(1, 0, 2).astype(np.float64, order="C")
    losses: NDArray[np.float64] = np.vecdot(error @ moments, error).T
    return losses
