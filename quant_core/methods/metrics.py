"""Error measures: how far a quantized matrix is from the original, in weights and in outputs.

A layer computes Y = X Wᵀ with activations X of shape (tokens, columns) and weights W of shape
(rows, columns). The *output* error is the one to minimise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from quant_core.arrays import FloatArray, as_floats


def sqnr_db(values: ArrayLike, approximation: ArrayLike) -> float:
    """Return the signal-to-quantization-noise ratio in decibels, 10 log₁₀(Σx² / Σ(x − x̂)²).

    Infinite if the two are equal. One bit more is worth 20 log₁₀ 2 = 6.02 dB.

    Examples
    --------
    >>> sqnr_db([3.0, 4.0], [3.0, 4.5])
    20.0
    """
    signal, noise = _difference(values, approximation)
    power = float(np.sum(noise**2))
    return float("inf") if power == 0 else float(10 * np.log10(np.sum(signal**2) / power))


def mean_absolute_error(values: ArrayLike, approximation: ArrayLike) -> float:
    """Return the mean of |x − x̂|.

    Examples
    --------
    >>> mean_absolute_error([1.0, 2.0], [1.0, 3.0])
    0.5
    """
    return float(np.mean(np.abs(_difference(values, approximation)[1])))


def relative_weight_error(weights: ArrayLike, approximation: ArrayLike) -> float:
    """Return ‖W − Ŵ‖² / ‖W‖² (Frobenius norms).

    Examples
    --------
    >>> relative_weight_error([[3.0, 4.0]], [[3.0, 3.0]])
    0.04
    """
    signal, noise = _difference(weights, approximation)
    return _ratio(float(np.sum(noise**2)), float(np.sum(signal**2)))


def relative_output_error(activations: ArrayLike, weights: ArrayLike, approximation: ArrayLike) -> float:
    """Return ‖X (W − Ŵ)ᵀ‖² / ‖X Wᵀ‖²: the share of the layer's output that rounding changed.

    Parameters
    ----------
    activations : array_like of float, shape (tokens, columns)
        Inputs of the layer, best from held-out text.
    weights, approximation : array_like of float, shape (rows, columns)
        Original and quantized weights.

    Examples
    --------
    >>> relative_output_error([[1.0, 1.0]], [[1.4, 1.4]], [[1.0, 1.8]]) < 1e-12
    True
    """
    signal, noise = _difference(weights, approximation)
    return _ratio(output_power(activations, noise), output_power(activations, signal))


def output_power(activations: ArrayLike, weights: ArrayLike) -> float:
    """Return ‖X Wᵀ‖², the sum of the squared outputs of a layer.

    Numerator and denominator of `relative_output_error`; compute the latter once for many approximations.

    Examples
    --------
    >>> output_power([[1.0, 2.0]], [[3.0, 0.0], [0.0, 2.0]])
    25.0
    """
    inputs = as_floats(activations, "activations").astype(np.float64, copy=False)
    outputs = inputs @ as_floats(weights, "weights").astype(np.float64, copy=False).T
    return float(np.sum(outputs**2))


def relative_output_error_from_hessian(
    hessian: ArrayLike, weights: ArrayLike, approximation: ArrayLike
) -> float:
    """Return tr(E H Eᵀ) / tr(W H Wᵀ), E = W − Ŵ: `relative_output_error` with H ∝ XᵀX in place of X.

    Any positive multiple of XᵀX gives the same number.

    Examples
    --------
    >>> relative_output_error_from_hessian([[2.0, 0.0], [0.0, 0.0]], [[1.0, 1.0]], [[1.0, 0.0]])
    0.0
    """
    signal, noise = _difference(weights, approximation)
    h = as_floats(hessian, "hessian").astype(np.float64)
    return _ratio(float(np.sum((noise @ h) * noise)), float(np.sum((signal @ h) * signal)))


def _difference(values: ArrayLike, approximation: ArrayLike) -> tuple[FloatArray, FloatArray]:
    original = as_floats(values, "values").astype(np.float64)
    approximated = as_floats(approximation, "approximation").astype(np.float64)
    if original.shape != approximated.shape or original.size == 0:
        raise ValueError(
            f"values have shape {original.shape} and their approximation {approximated.shape}; "
            "give two arrays of one shape, not empty"
        )
    return original, original - approximated


def _ratio(noise: float, signal: float) -> float:
    if signal == 0:
        return 0.0 if noise == 0 else float("inf")
    return noise / signal
