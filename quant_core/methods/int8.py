"""LLM.int8(): multiply in int8, except the few input channels with outlier activations.

From a few billion parameters on, some channels of the activations reach magnitudes of 6 and more in almost
every token; an int8 grid per token that contains them leaves few levels for the others. LLM.int8() separates
those channels: their product is computed in 16 bits, the rest in int8 with one scale per token and one per
row of the weights. There is no calibration: outliers are found in every batch. All weights are stored in
int8; those of an outlier channel are expanded when needed.

`quant_core.methods.smoothquant` moves the outliers into the weights instead, without a 16-bit product.

References
----------
Dettmers et al. 2022, "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale", section 3 and
equation 8 (which keeps 16-bit weights for the outliers; the code does not). bitsandbytes 0.50.2,
`backends/default/ops.py` (`int8_vectorwise_quant`, `int8_mixed_scaled_mm`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant_core.arrays import F32, as_matrix

#: An activation at least this large is an outlier.
THRESHOLD = 6.0

_TOP = np.float32(127)


@dataclass(frozen=True, eq=False)
class MixedInt8:
    """A layer's weights in int8, and its inputs split into int8 and the channels with outliers.

    Attributes
    ----------
    weight_codes : ndarray of int8, shape (rows, columns)
    weight_scale : ndarray of float32, shape (rows, 1)
        Largest |w| of a row / 127.
    activation_codes : ndarray of int8, shape (tokens, columns)
        0 in the outlier channels.
    activation_scale : ndarray of float32, shape (tokens, 1)
        Largest |x| of a token without its outliers / 127.
    outlier_channels : ndarray of int, ascending
        The input channels in which some token is an outlier.
    outlier_activations : ndarray of float32, shape (tokens, number of outlier channels)
        Those channels, rounded to float16.
    """

    weight_codes: NDArray[np.int8]
    weight_scale: F32
    activation_codes: NDArray[np.int8]
    activation_scale: F32
    outlier_channels: NDArray[np.intp]
    outlier_activations: F32

    @property
    def weights(self) -> F32:
        """The weights, expanded from int8, shape (rows, columns)."""
        weights: F32 = self.weight_codes * self.weight_scale
        return weights

    def output(self) -> F32:
        """Return the layer's output X Wᵀ, shape (tokens, rows): the int8 product and that of the outliers."""
        # numpy multiplies integers without BLAS; in float64 the same sums are exact and fast.
        product = self.activation_codes.astype(np.float64) @ self.weight_codes.astype(np.float64).T
        regular = product.astype(np.float32) * self.activation_scale * self.weight_scale.T
        result: F32 = regular + self.outlier_activations @ self.weights[:, self.outlier_channels].T
        return result


def quantize_int8(activations: ArrayLike, weights: ArrayLike, threshold: float = THRESHOLD) -> MixedInt8:
    """Quantize a layer's weights and inputs to int8, and split off the outlier channels.

    Both are rounded to float16 first, the precision of the layer's inputs.

    Parameters
    ----------
    activations : array_like of float, shape (tokens, columns)
    weights : array_like of float, shape (rows, columns)
        One row per output channel.
    threshold : float
        Smallest |x| of an outlier; 0: split nothing.

    Returns
    -------
    MixedInt8

    Raises
    ------
    ValueError
        If the columns differ, a number is not finite or exceeds float16, or the threshold is negative.

    Examples
    --------
    >>> layer = quantize_int8([[0.5, 60.0, -1.0]], [[2.0, 3.0, 1.0]])
    >>> layer.outlier_channels.tolist(), layer.activation_codes.tolist()
    ([1], [[64, 0, -127]])
    >>> round(float(layer.output()[0, 0]), 2)  # exact: 180
    180.02
    """
    x, w = _as_half(activations, "activations"), _as_half(weights, "weights")
    if x.shape[1] != w.shape[1]:
        raise ValueError(f"activations have {x.shape[1]} columns, weights {w.shape[1]}; give the same number")
    codes, scale, channels = _split(x, threshold)
    weight_codes, weight_scale = _int8_per_row(w)
    return MixedInt8(weight_codes, weight_scale, codes, scale, channels, x[:, channels])


def round_activations(activations: ArrayLike, threshold: float = THRESHOLD) -> F32:
    """Return the activations that the two products of `quantize_int8` use, as one matrix.

    Parameters
    ----------
    activations : array_like of float, shape (tokens, columns)
        All tokens of a batch: one of them is enough to make a channel an outlier.
    threshold : float
        As in `quantize_int8`.

    Returns
    -------
    ndarray of float32, shape (tokens, columns)
        Outlier channels in half precision, int8 levels elsewhere.

    Raises
    ------
    ValueError
        As `quantize_int8`.

    Examples
    --------
    >>> round_activations([[1.25, 200.0, -127.0]], threshold=150).tolist()
    [[1.0, 200.0, -127.0]]
    """
    x = _as_half(activations, "activations")
    codes, scale, channels = _split(x, threshold)
    rounded: F32 = codes * scale
    rounded[:, channels] = x[:, channels]
    return rounded


def _split(x: F32, threshold: float) -> tuple[NDArray[np.int8], F32, NDArray[np.intp]]:
    """Return the codes and scales of all but the outlier channels, whose codes are 0, and those channels."""
    if not threshold >= 0:
        raise ValueError(f"threshold is {threshold}; give a magnitude, or 0 to split nothing")
    is_outlier = np.abs(x) >= threshold if threshold else np.zeros(x.shape, bool)
    channels = np.flatnonzero(is_outlier.any(axis=0))
    # The other tokens of an outlier channel still count for their scales, as in the reference.
    codes, scale = _int8_per_row(np.where(is_outlier, np.float32(0), x))
    codes[:, channels] = 0
    return codes, scale, channels


def _as_half(values: ArrayLike, name: str) -> F32:
    matrix = as_matrix(values, name)
    with np.errstate(over="ignore"):
        rounded = matrix.astype(np.float16).astype(np.float32)
    if np.isinf(rounded).any():
        raise ValueError(
            f"{name} reach {np.abs(matrix).max():g}, beyond the float16 maximum of 65504; scale them down"
        )
    return rounded


def _int8_per_row(values: F32) -> tuple[NDArray[np.int8], F32]:
    largest = np.abs(values).max(axis=1, keepdims=True)
    # Multiplied by (1 / largest) · 127, in this order: torch rounds so. A row of zeros has the codes 0.
    inverse = np.divide(np.float32(1), largest, out=np.zeros_like(largest), where=largest > 0)
    return np.rint(values * (inverse * _TOP)).astype(np.int8), largest / _TOP
