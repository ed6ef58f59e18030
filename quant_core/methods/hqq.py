"""HQQ: optimise each group's real-valued zero-point for a sparse weight error; no activations.

A group starts on the grid of its range, as in round-to-nearest with a float offset, and keeps that scale. HQQ
splits the error W − Ŵ into a sparse part E, the outliers, and a rest that the zero-point minimises.
Half-quadratic splitting alternates between two steps that both have a closed form::

    E = shrink(W − Ŵ)                            large errors stay almost whole, small ones become 0
    z = mean(codes − (W − E) / scale)            the zero-point that fits the rest best

The shrinkage belongs to the norm Σ|e|ᵖ with p < 1, which weights outliers less than Σe². The scale is not
optimised, and the zero-point is not an integer: see `quant_core.methods.grid` for the conventions.

References
----------
Badri and Shaji 2023, "Half-Quadratic Quantization of Large Machine Learning Models". mobiusml/hqq e0b1d00e,
`hqq/core/quantize.py` and the default solver `optimize_weights_proximal_legacy` of `hqq/core/optimize.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant_core.arrays import F32, as_floats, as_matrix, check_bits, check_group_size
from quant_core.methods.grid import Grid
from quant_core.methods.rtn import Quantized

#: Defaults of the reference: iterations at most, weight β of the quadratic penalty, exponent p of the norm.
ITERATIONS = 20
BETA = 10.0
NORM = 0.7

#: A range this narrow gets the scale 1, and no scale is finer than 1 / 20000: both keep fp16 metadata finite.
_NARROW = np.float32(1e-4)
_MOST_LEVELS_PER_UNIT = np.float32(2e4)


@dataclass(frozen=True, eq=False)
class Fit:
    """The grids and codes of an array of groups.

    Attributes
    ----------
    codes : ndarray of int32, shape (..., n)
        Codes 0 … 2ᵇ − 1.
    scale : ndarray of float32, shape (...)
        Distance between two neighbouring levels.
    zero_point : ndarray of float32, shape (...)
        The real-valued code of the level 0: ŵ = scale · (code − zero_point).
    errors : tuple of float
        Mean |w − ŵ| before each update of the zero-points; the first is that of the starting grid, the last
        did not fall, unless the iterations ran out.
    """

    codes: NDArray[np.int32]
    scale: F32
    zero_point: F32
    errors: tuple[float, ...]

    def dequantize(self) -> F32:
        """Return the levels ŵ, shape (..., n)."""
        levels: F32 = self.scale[..., None] * (self.codes.astype(np.float32) - self.zero_point[..., None])
        return levels


def hqq(
    weights: ArrayLike,
    bits: int,
    group_size: int | None = 64,
    iterations: int = ITERATIONS,
    beta: float = BETA,
    norm: float = NORM,
) -> Quantized:
    """Quantize a matrix with HQQ; groups run along a row (`axis=1` of the reference).

    Parameters
    ----------
    weights : array_like of float, shape (rows, columns)
        One row per output channel.
    bits : int
        Code width, 2 to 8.
    group_size : int or None
        Weights that share a scale; a divisor of `columns`. None: the whole row.
    iterations, beta, norm
        As in `fit`.

    Returns
    -------
    Quantized
        On grids with a float offset, minimum = −scale · zero_point, float32.

    Raises
    ------
    ValueError
        If a weight is not finite, or an argument is out of range.

    Examples
    --------
    >>> q = hqq([[0.0, 1.0, 2.0, 3.0]], bits=2, group_size=None)
    >>> q.dequantize().tolist(), q.bits_per_weight
    ([[0.0, 1.0, 2.0, 3.0]], 10.0)
    """
    matrix = as_matrix(weights, "weights")
    rows, columns = matrix.shape
    size = check_group_size(group_size, columns)
    fitted = fit(matrix.reshape(rows, columns // size, size), bits, iterations, beta, norm)
    grid = Grid("float_offset", int(bits), fitted.scale, minimum=-fitted.scale * fitted.zero_point)
    return Quantized(fitted.codes.reshape(rows, columns), grid, size)


def fit(
    groups: ArrayLike,
    bits: int,
    iterations: int = ITERATIONS,
    beta: float = BETA,
    norm: float = NORM,
) -> Fit:
    """Fit one grid to each group of n weights.

    The iterations stop for all groups at once, when the mean error over all of them does not fall. The
    zero-points of that last iteration are still used, as in the reference.

    Parameters
    ----------
    groups : array_like of float, shape (..., n)
        The weights of each group. The reference's own default, `axis=0`, takes its groups from the columns of
        `weights.reshape(n, -1)`: pass the transpose of that.
    bits : int
        Code width, 2 to 8.
    iterations : int
        Most updates of the zero-points; 0 gives round-to-nearest on the range of each group.
    beta : float
        Weight of the quadratic penalty; the larger, the less is shrunk.
    norm : float
        The exponent p of Σ|e|ᵖ, above 0 and at most 1.

    Returns
    -------
    Fit

    Raises
    ------
    ValueError
        If a weight is not finite, a group is empty or an argument is out of range.

    Examples
    --------
    The two weights in the middle lie 0.1 above their levels, and pull the zero-point of all.

    >>> fitted = fit([0.0, 1.1, 2.1, 3.0], bits=2)
    >>> fitted.codes.tolist(), round(float(fitted.zero_point), 2), round(float(fitted.scale), 2)
    ([0, 1, 2, 3], -0.05, 1.0)
    """
    w = as_floats(groups, "groups").astype(np.float32)
    if w.ndim == 0 or w.size == 0:
        raise ValueError(f"groups have shape {w.shape}; give groups of at least one weight, (..., n)")
    if iterations < 0 or beta <= 0 or not 0 < norm <= 1:
        raise ValueError(
            f"iterations is {iterations}, beta {beta} and norm {norm}; "
            "give at least 0, more than 0, and more than 0 but at most 1"
        )
    top = np.float32(2 ** check_bits(bits) - 1)
    per_unit, zero_point = _range_grid(w, top)
    errors: list[float] = []
    for _ in range(iterations):
        codes = _round(w, per_unit, zero_point, top)
        error = w - (codes - zero_point) / per_unit
        sparse = _shrink(error, np.float32(beta), np.float32(norm))
        zero_point = np.mean(codes - (w - sparse) * per_unit, axis=-1, keepdims=True)
        errors.append(float(np.mean(np.abs(error))))
        if len(errors) > 1 and errors[-1] >= errors[-2]:
            break
    codes = _round(w, per_unit, zero_point, top)
    return Fit(codes.astype(np.int32), (np.float32(1) / per_unit)[..., 0], zero_point[..., 0], tuple(errors))


def _range_grid(w: F32, top: np.float32) -> tuple[F32, F32]:
    """Return levels per unit of weight (the inverse scale) and the zero-point, shape (..., 1) each."""
    low, high = w.min(axis=-1, keepdims=True), w.max(axis=-1, keepdims=True)
    wide = high - low > _NARROW
    # Not top / width: torch divides a number by a tensor as number · (1 / tensor), which rounds twice.
    per_unit = np.where(wide, (np.float32(1) / np.where(wide, high - low, 1)) * top, np.float32(1))
    per_unit = np.minimum(per_unit, _MOST_LEVELS_PER_UNIT)
    return per_unit, -low * per_unit


def _round(w: F32, per_unit: F32, zero_point: F32, top: np.float32) -> F32:
    codes: F32 = np.clip(np.rint(w * per_unit + zero_point), 0, top)
    return codes


def _shrink(error: F32, beta: np.float32, norm: np.float32) -> F32:
    """Return sign(e) · max(|e| − |e|ᵖ⁻¹ / β, 0): the minimiser of the penalised norm, to first order."""
    size = np.abs(error)
    with np.errstate(divide="ignore"):  # 0 to a negative power is infinite, and shrinks to 0 as it should
        shrunk: F32 = np.sign(error) * np.maximum(size - size ** (norm - 1) / beta, 0)
    return shrunk
