"""SmoothQuant W8A8: weights and activations in int8, after moving outliers from activations to weights.

Activations have a few channels that are far larger than the rest and ruin their int8 grid; weights have none.
Dividing channel j of X by s_j and multiplying column j of W by it changes no output but shares the burden.
Weights get one scale per row, activations one per token, so the product of the integers is exact in int32
and is scaled afterwards.

References
----------
Xiao et al. 2022, "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models",
equation 4. mit-han-lab/smoothquant c61476d7.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant_core.arrays import F32, as_matrix

_TOP = np.float32(127)
_SMALLEST = np.float32(1e-5)


@dataclass(frozen=True, eq=False)
class W8A8:
    """A layer's weights and inputs in int8.

    Attributes
    ----------
    smoothing : ndarray of float32, shape (columns,)
        The factors s that moved from activations to weights; all 1 without smoothing.
    weight_codes : ndarray of int8, shape (rows, columns)
    weight_scale : ndarray of float32, shape (rows, 1)
    activation_codes : ndarray of int8, shape (tokens, columns)
    activation_scale : ndarray of float32, shape (tokens, 1)
    """

    smoothing: F32
    weight_codes: NDArray[np.int8]
    weight_scale: F32
    activation_codes: NDArray[np.int8]
    activation_scale: F32

    def output(self) -> F32:
        """Return the layer's output X Wᵀ, shape (tokens, rows), from the integers."""
        # numpy multiplies integers without BLAS. A float whose fraction holds the largest sum there can be is
        # exact too, in whatever order it adds, and fast.
        small = self.weight_codes.shape[1] * 128**2 <= 1 << 24
        exact = np.dtype(np.float32 if small else np.float64)
        x, w = (codes.astype(exact) for codes in (self.activation_codes, self.weight_codes))
        output: F32 = (x @ w.T).astype(np.float32, copy=False)
        output *= self.activation_scale
        output *= self.weight_scale.T
        return output


def smoothing_factors(activations: ArrayLike, weights: ArrayLike, alpha: float = 0.5) -> F32:
    """Return s_j = max|X_j|^α / max|W_j|^(1−α), at least 10⁻⁵.

    Parameters
    ----------
    activations : array_like of float, shape (tokens, columns)
    weights : array_like of float, shape (rows, columns)
    alpha : float
        Migration strength, 0 to 1: 0.5 shares the difficulty equally.

    Returns
    -------
    ndarray of float32, shape (columns,)

    Raises
    ------
    ValueError
        If the columns differ, a number is not finite, or `alpha` is out of range.

    Examples
    --------
    >>> smoothing_factors([[16.0, 1.0]], [[1.0, -1.0]]).tolist()
    [4.0, 1.0]
    """
    x, w = _pair(activations, weights)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; give a number from 0 to 1")
    of_x = np.abs(x).max(axis=0) ** np.float32(alpha)
    of_w = np.maximum(np.abs(w).max(axis=0), _SMALLEST) ** np.float32(1 - alpha)
    factors: F32 = np.maximum(of_x / of_w, _SMALLEST)
    return factors


def quantize_w8a8(activations: ArrayLike, weights: ArrayLike, alpha: float | None = 0.5) -> W8A8:
    """Quantize a layer's weights and inputs to int8.

    Parameters
    ----------
    activations : array_like of float, shape (tokens, columns)
    weights : array_like of float, shape (rows, columns)
    alpha : float or None
        Migration strength; None: no smoothing.

    Returns
    -------
    W8A8

    Raises
    ------
    ValueError
        As `smoothing_factors`.

    Examples
    --------
    >>> layer = quantize_w8a8([[1.0, 2.0]], [[3.0, 4.0]], alpha=None)
    >>> layer.weight_codes.tolist(), round(float(layer.output()[0, 0]), 2)
    ([[95, 127]], 11.02)
    """
    x, w = _pair(activations, weights)
    smoothing = np.ones(w.shape[1], np.float32) if alpha is None else smoothing_factors(x, w, alpha)
    weight_codes, weight_scale = _int8_per_row(w * smoothing)
    activation_codes, activation_scale = _int8_per_row(x / smoothing)
    return W8A8(smoothing, weight_codes, weight_scale, activation_codes, activation_scale)


def round_rows(values: ArrayLike) -> F32:
    """Round each row to int8 with a scale of its own: an output channel of weights, a token of activations.

    Parameters
    ----------
    values : array_like of float, shape (rows, columns)

    Returns
    -------
    ndarray of float32, shape (rows, columns)
        The levels: a product of two matrices so rounded is what `W8A8.output` computes from the integers.

    Raises
    ------
    ValueError
        If a number is not finite.

    Examples
    --------
    >>> round_rows([[127.0, 1.4], [0.0, 0.0]]).tolist()
    [[127.0, 1.0], [0.0, 0.0]]
    """
    codes, scale = _int8_per_row(as_matrix(values, "values").astype(np.float32, copy=False))
    levels: F32 = codes * scale
    return levels


def _int8_per_row(values: F32) -> tuple[NDArray[np.int8], F32]:
    scale = np.maximum(np.abs(values).max(axis=1, keepdims=True), _SMALLEST) / _TOP
    return np.rint(values / scale).astype(np.int8), scale


def _pair(activations: ArrayLike, weights: ArrayLike) -> tuple[F32, F32]:
    x = as_matrix(activations, "activations").astype(np.float32, copy=False)
    w = as_matrix(weights, "weights").astype(np.float32, copy=False)
    if x.shape[1] != w.shape[1]:
        raise ValueError(f"activations have {x.shape[1]} columns, weights {w.shape[1]}; give the same number")
    return x, w
