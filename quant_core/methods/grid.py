"""Affine grids: the allowed levels of a group of weights, in the three common conventions.

A grid maps a real weight w to an integer code q and back to a level ŵ:

==============  =============================  ==========================================================
convention      level                          codes
==============  =============================  ==========================================================
asymmetric      ŵ = scale · (q − zero_point)   0 … 2ᵇ − 1; zero_point is an integer, so 0 is a level
symmetric       ŵ = scale · q                  −(2ᵇ⁻¹ − 1) … 2ᵇ⁻¹ − 1, zero_point = 0 (restricted range)
float offset    ŵ = scale · q + minimum        0 … 2ᵇ − 1; minimum is a real number (GGUF, HQQ)
==============  =============================  ==========================================================

The first and the third are the same grid with minimum = −scale · zero_point, up to the rounding of the
zero-point to an integer: the third can begin at any real number, the first only at a multiple of its scale.

Every function is vectorised over leading axes: values of shape (..., n) give one grid per group of n.
Rows, groups and bytes are handled elsewhere: see `quant_core.methods.rtn` and `quant_core.ggml`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant_core.arrays import FloatArray, as_floats, check_bits

Scheme = Literal["asymmetric", "symmetric", "float_offset"]

#: A group narrower than this is treated as this wide, so that a constant group has a scale (as in AWQ).
MINIMUM_RANGE = 1e-5


@dataclass(frozen=True, eq=False)
class Grid:
    """The levels of one group, or of an array of groups.

    Attributes
    ----------
    scheme : {"asymmetric", "symmetric", "float_offset"}
        The convention (see the module's table).
    bits : int
        Width of a code.
    scale : ndarray of float, shape (...)
        Distance between two neighbouring levels.
    zero_point : ndarray of int32, shape (...), or None
        The code of the level 0; None with a float offset.
    minimum : ndarray of float, shape (...), or None
        The level of code 0; None with an integer zero-point.
    """

    scheme: Scheme
    bits: int
    scale: FloatArray
    zero_point: NDArray[np.int32] | None = None
    minimum: FloatArray | None = None

    @property
    def code_range(self) -> tuple[int, int]:
        """The smallest and the largest code."""
        if self.scheme == "symmetric":
            largest = 2 ** (self.bits - 1) - 1
            return -largest, largest
        return 0, 2**self.bits - 1

    def quantize(self, values: ArrayLike) -> NDArray[np.int32]:
        """Return the codes, shape (..., n), of the levels nearest to `values` (ties to the even multiple)."""
        floats = np.asarray(values)
        scale = self.scale[..., None]
        if self.minimum is not None:
            floats = floats - self.minimum[..., None]
        # A constant group with a float offset has scale 0 and a single level, code 0.
        codes: FloatArray = np.zeros(floats.shape, scale.dtype)
        np.divide(floats, scale, out=codes, where=scale != 0)
        np.rint(codes, out=codes)
        if self.zero_point is not None:
            # In the precision of the codes, which holds these small integers: int32 would make it float64.
            codes += self.zero_point[..., None].astype(codes.dtype)
        np.clip(codes, *self.code_range, out=codes)
        return codes.astype(np.int32)

    def dequantize(self, codes: ArrayLike) -> FloatArray:
        """Return the levels of `codes`, shape (..., n)."""
        q = np.asarray(codes)
        scale = self.scale[..., None]
        if self.minimum is not None:
            return scale * q.astype(scale.dtype) + self.minimum[..., None]
        assert self.zero_point is not None
        return scale * (q - self.zero_point[..., None]).astype(scale.dtype)

    def levels(self) -> FloatArray:
        """Return every level, ascending, shape (..., number of levels).

        Examples
        --------
        >>> fit_symmetric([-3.0, 1.0, 2.0], bits=3).levels().tolist()
        [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]
        """
        low, high = self.code_range
        return self.dequantize(np.broadcast_to(np.arange(low, high + 1), (*self.scale.shape, high - low + 1)))


def fit_asymmetric(values: ArrayLike, bits: int) -> Grid:
    """Fit an integer zero-point grid to the range of each group, widened to contain 0.

    scale = (max − min) / (2ᵇ − 1), zero_point = −round(min / scale). Because the range contains 0, every
    value lies within half a step of a level, and 0 itself is exact.

    Parameters
    ----------
    values : array_like of float, shape (..., n)
        The weights of each group.
    bits : int
        Code width, 2 to 8.

    Returns
    -------
    Grid
        With `scale` and `zero_point` of shape (...).

    Raises
    ------
    ValueError
        If a value is not finite, if a group is empty or if `bits` is out of range.

    References
    ----------
    `pseudo_quantize_tensor` of mit-han-lab/llm-awq d6e797a4. It does not widen the range; the two agree on
    every group that has weights of both signs.

    Examples
    --------
    >>> grid = fit_asymmetric([-1.0, 0.5, 2.0], bits=2)
    >>> float(grid.scale), int(grid.zero_point), grid.quantize([-1.0, 0.5, 2.0]).tolist()
    (1.0, 1, [0, 1, 3])
    """
    low, high = _range(values)
    low, high = np.minimum(low, 0), np.maximum(high, 0)
    top = 2 ** check_bits(bits) - 1
    scale = np.asarray(np.maximum(high - low, low.dtype.type(MINIMUM_RANGE)) / low.dtype.type(top))
    zero_point = np.asarray(np.clip(-np.rint(low / scale), 0, top), dtype=np.int32)
    return Grid("asymmetric", int(bits), scale, zero_point=zero_point)


def fit_symmetric(values: ArrayLike, bits: int) -> Grid:
    """Fit a grid centred on 0, scale = max|w| / (2ᵇ⁻¹ − 1), with the *restricted* code range.

    The code −2ᵇ⁻¹ is not used: the levels are then the same on both sides, and the largest weight of either
    sign is exact. This is the usual int8 rule, max|w| / 127. (GPTQ's own symmetric grid keeps all 2ᵇ codes;
    see `quant_core.methods.gptq`.)

    Parameters
    ----------
    values : array_like of float, shape (..., n)
        The weights of each group.
    bits : int
        Code width, 2 to 8.

    Returns
    -------
    Grid
        With `scale` of shape (...) and `zero_point` all 0.

    Raises
    ------
    ValueError
        If a value is not finite, if a group is empty or if `bits` is out of range.

    Examples
    --------
    >>> fit_symmetric([-7.0, 3.4], bits=4).quantize([-7.0, 3.4]).tolist()
    [-7, 3]
    """
    low, high = _range(values)
    largest = np.maximum(np.maximum(-low, high), low.dtype.type(MINIMUM_RANGE))
    scale = np.asarray(largest / low.dtype.type(2 ** (check_bits(bits) - 1) - 1))
    return Grid("symmetric", int(bits), scale, zero_point=np.zeros(scale.shape, np.int32))


def fit_float_offset(values: ArrayLike, bits: int) -> Grid:
    """Fit scale = (max − min) / (2ᵇ − 1) and minimum = min: both ends of the group are exact.

    Parameters
    ----------
    values : array_like of float, shape (..., n)
        The weights of each group.
    bits : int
        Code width, 2 to 8.

    Returns
    -------
    Grid
        With `scale` and `minimum` of shape (...). A constant group has scale 0 and is stored exactly.

    Raises
    ------
    ValueError
        If a value is not finite, if a group is empty or if `bits` is out of range.

    Examples
    --------
    >>> grid = fit_float_offset([2.0, 3.0, 5.0], bits=2)
    >>> grid.levels().tolist()
    [2.0, 3.0, 4.0, 5.0]
    """
    low, high = _range(values)
    scale = np.asarray((high - low) / low.dtype.type(2 ** check_bits(bits) - 1))
    return Grid("float_offset", int(bits), scale, minimum=low)


def as_float_offset(grid: Grid) -> Grid:
    """Return the same levels written with a float offset: minimum = −scale · zero_point.

    Examples
    --------
    >>> grid = fit_asymmetric([-1.0, 2.0], bits=2)
    >>> bool((as_float_offset(grid).levels() == grid.levels()).all())
    True
    """
    if grid.scheme != "asymmetric" or grid.zero_point is None:
        raise ValueError(f"as_float_offset takes an asymmetric grid, not a {grid.scheme} one")
    minimum = -grid.scale * grid.zero_point.astype(grid.scale.dtype)
    return Grid("float_offset", grid.bits, grid.scale, minimum=minimum)


FITS = {"asymmetric": fit_asymmetric, "symmetric": fit_symmetric, "float_offset": fit_float_offset}


def _range(values: ArrayLike) -> tuple[FloatArray, FloatArray]:
    floats = as_floats(values, "values")
    if floats.ndim == 0 or floats.shape[-1] == 0:
        raise ValueError(f"values have shape {floats.shape}; give groups of at least one value, (..., n)")
    # np.asarray: the minimum of a one-dimensional array is a scalar, and a Grid holds arrays.
    return np.asarray(floats.min(axis=-1)), np.asarray(floats.max(axis=-1))
