"""AWQ: scale up the weights of input channels with large activations before rounding.

Activations are divided by the same scale, so the product does not change: (W · s)(X / s) = W X. The rounding
error does: the effective grid spacing of a channel scaled by s is divided by s, as long as the scaled weights
do not widen the grid of their group. The scale is s = s_X^α with s_X the mean |activation| of each input
channel, and α is searched for on the layer's output error: 0 is plain RTN; the reference never tries 1.

Activations show which channels are salient, weights do not: see `keep_channels`.

References
----------
Lin et al. 2023, "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration", section 3.
mit-han-lab/llm-awq d6e797a4, `awq/quantize/auto_scale.py` and `quantizer.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant_core.arrays import F32, FloatArray, as_floats, as_matrix
from quant_core.methods.rtn import Quantized, round_to_nearest

#: Number of values of α in the reference: 0, 0.05, … 0.95.
GRID = 20
_SMALLEST_SCALE = 1e-4


@dataclass(frozen=True, eq=False)
class Scaled:
    """Weights that were multiplied by a scale per input channel and then rounded.

    Attributes
    ----------
    quantized : Quantized
        RTN of W · s.
    scales : ndarray of float32, shape (columns,)
        The channel scales s.
    """

    quantized: Quantized
    scales: F32

    @property
    def spacing(self) -> FloatArray:
        """The effective distance between levels of each weight, Δ/s, shape (rows, columns)."""
        spacing = np.repeat(self.quantized.scale, self.quantized.group_size, axis=1)
        return spacing / self.scales

    def dequantize(self) -> FloatArray:
        """Return Ŵ = RTN(W · s) / s, shape (rows, columns): what the layer computes with."""
        return self.quantized.dequantize() / self.scales


@dataclass(frozen=True, eq=False)
class AWQResult:
    """The result of a search over α.

    Attributes
    ----------
    alpha : float
        The α of the smallest loss among the tries below 1; of several, the first.
    scales : ndarray of float32, shape (columns,)
        Channel scales of that α.
    alphas, losses : ndarray of float64, shape (grid + 1,)
        All tries and their mean squared output error. The last, α = 1, is for display: it is never chosen.
    quantized : Scaled
        The weights at `alpha`.
    held_out : ndarray of float64, shape (grid + 1,), or None
        The losses of all tries on the held-out text, if there is one; not used for the choice.
    """

    alpha: float
    scales: F32
    alphas: NDArray[np.float64]
    losses: NDArray[np.float64]
    quantized: Scaled
    held_out: NDArray[np.float64] | None = None

    @property
    def dequantized(self) -> FloatArray:
        """Ŵ = RTN(W · s) / s, shape (rows, columns)."""
        return self.quantized.dequantize()


@dataclass(frozen=True, eq=False)
class KeptChannels:
    """Rounded weights, with some input channels left in 16 bits.

    Attributes
    ----------
    channels : ndarray of int, ascending
        The input channels that were kept.
    dequantized : ndarray of float, shape (rows, columns)
        RTN everywhere else.
    bits_per_weight : float
        16 for a weight of a kept channel, RTN's figure for the others.
    """

    channels: NDArray[np.intp]
    dequantized: FloatArray
    bits_per_weight: float


def search(
    weights: ArrayLike, activations: ArrayLike, bits: int, group_size: int | None, grid: int = GRID
) -> AWQResult:
    """Search α for the smallest mean squared output error on the calibration activations.

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
    grid : int
        Number of tries α = 0, 1/grid, … below 1.

    Returns
    -------
    AWQResult

    Raises
    ------
    ValueError
        If a shape does not fit or a number is not finite.

    Examples
    --------
    >>> x = np.array([[8.0, 0.1, 0.1, 0.1], [-8.0, 0.1, -0.1, 0.1]])
    >>> result = search([[0.3, 1.0, -1.0, 0.6]], x, bits=2, group_size=None)
    >>> result.alpha > 0, bool(result.losses.min() < result.losses[0])
    (True, True)
    """
    x = as_matrix(activations, "activations")
    gram = (x.T @ x).astype(np.float64) / len(x)
    return search_statistics(weights, gram, np.abs(x).mean(axis=0), bits, group_size, grid)


def search_statistics(
    weights: ArrayLike,
    second_moment: ArrayLike,
    activation_mean: ArrayLike,
    bits: int,
    group_size: int | None,
    grid: int = GRID,
    held_out: ArrayLike | None = None,
) -> AWQResult:
    """As `search`, from statistics of the activations.

    The mean squared output error is tr(E M Eᵀ) / rows with E = W − Ŵ and M = XᵀX / tokens.

    Parameters
    ----------
    weights : array_like of float, shape (rows, columns)
    second_moment : array_like of float, shape (columns, columns)
        XᵀX / tokens.
    activation_mean : array_like of float, shape (columns,)
        Mean |x| of each input channel.
    bits, group_size, grid
        As in `search`.
    held_out : array_like of float, shape (columns, columns), or None
        XᵀX / tokens of held-out text, on which every try is evaluated too.

    Returns
    -------
    AWQResult

    Raises
    ------
    ValueError
        If a shape does not fit or a number is not finite.
    """
    w = as_matrix(weights, "weights").astype(np.float32, copy=False)
    moments = [as_matrix(second_moment, "second_moment").astype(np.float64)]
    if held_out is not None:
        moments.append(as_matrix(held_out, "held_out").astype(np.float64))
    mean = as_floats(activation_mean, "activation_mean")
    rows, columns = w.shape
    for name, moment in zip(("second_moment", "held_out"), moments, strict=False):
        if moment.shape != (columns, columns) or mean.shape != (columns,):
            raise ValueError(
                f"weights have {columns} columns, but {name} has shape {moment.shape} "
                f"and activation_mean {mean.shape}; give ({columns}, {columns}) and ({columns},)"
            )
    if grid < 1:
        raise ValueError(f"grid is {grid}; give at least 1")
    alphas = np.arange(grid + 1) / grid
    losses = np.empty((len(moments), grid + 1))
    for index, alpha in enumerate(alphas):
        error = w - apply(w, scales_for(mean, float(alpha)), bits, group_size).dequantize()
        # tr(E M Eᵀ) = ⟨EᵀE, M⟩: EᵀE serves every M, and BLAS computes only half of a symmetric product.
        # Single precision is enough for it to rank candidates; the sum over it is in double.
        gram = (error.T @ error).astype(np.float64)
        losses[:, index] = [np.vdot(gram, moment) / rows for moment in moments]
    best = int(np.argmin(losses[0, :grid]))
    scales = scales_for(mean, float(alphas[best]))
    quantized = apply(w, scales, bits, group_size)
    return AWQResult(float(alphas[best]), scales, alphas, losses[0], quantized, *losses[1:])


def scales_for(activation_mean: ArrayLike, alpha: float) -> F32:
    """Return the channel scales s = s_X^α / √(max s · min s), at least 10⁻⁴ before the division.

    Parameters
    ----------
    activation_mean : array_like of float, shape (columns,)
        Mean |x| of each input channel.
    alpha : float
        0 gives 1 everywhere: plain RTN.

    Returns
    -------
    ndarray of float32, shape (columns,)

    Raises
    ------
    ValueError
        If a mean is negative or not finite, or there is none.

    Examples
    --------
    >>> scales_for([1.0, 4.0, 16.0], 0.5).tolist()
    [0.5, 1.0, 2.0]
    """
    mean = as_floats(activation_mean, "activation_mean").astype(np.float32)
    if mean.ndim != 1 or not len(mean) or (mean < 0).any():
        raise ValueError(f"activation_mean has shape {mean.shape}; give mean |x| per channel, 0 or more")
    scales = np.maximum(mean ** np.float32(alpha), np.float32(_SMALLEST_SCALE))
    normalised: F32 = scales / np.sqrt(scales.max() * scales.min())
    return normalised


def apply(weights: ArrayLike, scales: ArrayLike, bits: int, group_size: int | None) -> Scaled:
    """Round W · s to nearest (asymmetric); `Scaled.dequantize` divides by s again.

    Parameters
    ----------
    weights : array_like of float, shape (rows, columns)
    scales : array_like of float, shape (columns,)
        Positive channel scales.
    bits, group_size
        As in `quant_core.methods.rtn.round_to_nearest`.

    Returns
    -------
    Scaled

    Raises
    ------
    ValueError
        If a shape does not fit, a number is not finite, or a scale is not positive.

    Examples
    --------
    >>> apply([[0.0, 3.0]], [2.0, 1.0], bits=2, group_size=None).spacing.tolist()
    [[0.5, 1.0]]
    """
    w = as_matrix(weights, "weights").astype(np.float32, copy=False)
    s = as_floats(scales, "scales").astype(np.float32, copy=False)
    if s.shape != (w.shape[1],) or not (s > 0).all():
        raise ValueError(f"scales have shape {s.shape}; give one positive number per column, ({w.shape[1]},)")
    return Scaled(round_to_nearest(w * s, bits, group_size), s)


def channel_order(
    weights: ArrayLike,
    activation_mean: ArrayLike,
    by: Literal["activation", "weight", "random"] = "activation",
    seed: int = 0,
) -> NDArray[np.intp]:
    """Return the input channels in the order in which `keep_channels` keeps them.

    Parameters
    ----------
    weights : array_like of float, shape (rows, columns)
    activation_mean : array_like of float, shape (columns,)
        Mean |x| of each input channel.
    by : {"activation", "weight", "random"}
        Largest mean |x| first, largest mean |w| first, or random.
    seed : int
        Seed of the random order.

    Returns
    -------
    ndarray of int, shape (columns,)

    Raises
    ------
    ValueError
        If a shape does not fit, a number is not finite, or `by` is not one of the three.

    Examples
    --------
    >>> channel_order([[1.0, 4.0, 2.0]], [1.0, 2.0, 9.0]).tolist()
    [2, 1, 0]
    >>> channel_order([[1.0, 4.0, 2.0]], [1.0, 2.0, 9.0], by="weight").tolist()
    [1, 2, 0]
    """
    w = as_matrix(weights, "weights")
    mean = as_floats(activation_mean, "activation_mean")
    columns = w.shape[1]
    if mean.shape != (columns,):
        raise ValueError(f"activation_mean has shape {mean.shape}; give shape ({columns},)")
    importance: FloatArray
    if by == "activation":
        importance = mean
    elif by == "weight":
        importance = np.abs(w).mean(axis=0)
    elif by == "random":
        importance = np.random.default_rng(seed).random((columns,))
    else:
        raise ValueError(f"by is {by!r}; give one of activation, weight, random")
    return np.argsort(-importance, kind="stable")


def keep_channels(
    weights: ArrayLike,
    activation_mean: ArrayLike,
    bits: int,
    group_size: int | None,
    fraction: float = 0.01,
    by: Literal["activation", "weight", "random"] = "activation",
    seed: int = 0,
) -> KeptChannels:
    """Round all weights except those of a few input channels, which keep 16 bits.

    Parameters
    ----------
    weights : array_like of float, shape (rows, columns)
    activation_mean : array_like of float, shape (columns,)
        Mean |x| of each input channel.
    bits, group_size
        As in `quant_core.methods.rtn.round_to_nearest`.
    fraction : float
        Share of the channels to keep, 0 to 1; rounded to a whole number, at least one channel if above 0.
    by : {"activation", "weight", "random"}
        Keep the channels of largest mean |x|, of largest mean |w|, or random ones.
    seed : int
        Seed of the random choice.

    Returns
    -------
    KeptChannels

    Raises
    ------
    ValueError
        If a shape does not fit, a number is not finite, or an argument is out of range.

    References
    ----------
    AWQ paper, table 1.

    Examples
    --------
    >>> kept = keep_channels([[1.0, 2.0, 3.0, 4.0]], [1.0, 9.0, 1.0, 1.0], 2, None, fraction=0.25)
    >>> kept.channels.tolist(), kept.bits_per_weight
    ([1], 8.875)
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction is {fraction}; give a number from 0 to 1")
    w = as_matrix(weights, "weights")
    columns = w.shape[1]
    count = max(1, round(fraction * columns)) if fraction else 0
    channels = np.sort(channel_order(w, activation_mean, by, seed)[:count])
    rounded = round_to_nearest(w, bits, group_size)
    dequantized = rounded.dequantize()
    dequantized[:, channels] = w[:, channels]
    share = count / columns
    return KeptChannels(channels, dequantized, 16 * share + rounded.bits_per_weight * (1 - share))
