"""Which way to round: all down/up choices of a few weights, and the one with the smallest output error.

Rounding to nearest minimises the error of each weight. A layer uses weights only in sums w·x, and there
another choice can be better. This module searches all 2ⁿ choices exactly for one row of a few weights;
`quant_core.methods.gptq` solves the problem approximately for a whole layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant_core.arrays import as_floats
from quant_core.methods.grid import Grid

MAX_ENUMERATED = 12
MAX_SEARCHED = 32


@dataclass(frozen=True, eq=False)
class Roundings:
    """All 2ⁿ roundings of n weights. Row i rounds weight j up where bit j of i is set; row 0 is all down.

    Attributes
    ----------
    up : ndarray of bool, shape (2ⁿ, n)
        The choices.
    codes : ndarray of int32, shape (2ⁿ, n)
        The codes on the grid.
    values : ndarray of float64, shape (2ⁿ, n)
        The rounded weights ŵ.
    weight_error : ndarray of float64, shape (2ⁿ,)
        ‖w − ŵ‖, the Euclidean distance.
    output_error : ndarray of float64, shape (2ⁿ,)
        |w·x − ŵ·x|.
    nearest : int
        Row of the rounding to nearest: the smallest weight error.
    best : int
        Row of the smallest output error; of several, the one with the smallest weight error.
    """

    up: NDArray[np.bool_]
    codes: NDArray[np.int32]
    values: NDArray[np.float64]
    weight_error: NDArray[np.float64]
    output_error: NDArray[np.float64]
    nearest: int
    best: int


@dataclass(frozen=True, eq=False)
class BestRounding:
    """The rounding of n weights with the smallest output error; attributes as one row of `Roundings`."""

    up: NDArray[np.bool_]
    codes: NDArray[np.int32]
    values: NDArray[np.float64]
    weight_error: float
    output_error: float


def all_roundings(weights: ArrayLike, activations: ArrayLike, grid: Grid) -> Roundings:
    """Enumerate the 2ⁿ ways to round n weights down or up.

    Down and up are the two neighbouring levels around a weight. A weight outside the grid has the last two
    levels on its side, and a weight on a level has that level and the next.

    Parameters
    ----------
    weights, activations : array_like of float, shape (n,)
        At most 12 weights, and the input that multiplies each.
    grid : Grid
        One grid for all of them (scale of shape ()).

    Raises
    ------
    ValueError
        If the shapes differ, if there are more than 12 weights, or if the grid is not a single one.

    References
    ----------
    Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization", section 3.

    Examples
    --------
    Both weights are nearest to 1, but 1 and 2 keep the sum.

    >>> from quant_core.methods.grid import Grid
    >>> unit = Grid("asymmetric", 2, np.array(1.0), zero_point=np.array(0, np.int32))
    >>> r = all_roundings([1.4, 1.4], [1.0, 1.0], unit)
    >>> r.values[r.nearest].tolist(), r.values[r.best].tolist()
    ([1.0, 1.0], [2.0, 1.0])
    """
    w, x, down = _row(weights, activations, grid, MAX_ENUMERATED)
    up = _choices(len(w))
    codes = down + up.astype(np.int32)
    values = grid.dequantize(codes).astype(np.float64)
    weight_error = np.linalg.norm(w - values, axis=1)
    output_error = np.abs((w - values) @ x)
    nearest_up = grid.quantize(w) > down
    return Roundings(
        up=up,
        codes=codes,
        values=values,
        weight_error=weight_error,
        output_error=output_error,
        nearest=int(nearest_up @ (1 << np.arange(len(w)))),
        best=int(np.lexsort((weight_error, output_error))[0]),
    )


def best_rounding(weights: ArrayLike, activations: ArrayLike, grid: Grid) -> BestRounding:
    """Find the down/up choice with the smallest |w·x − ŵ·x|, exactly, for at most 32 weights.

    Meet in the middle: the output error is a sum over weights, so the 2ⁿ choices are pairs of 2ⁿᐟ² choices of
    either half; for each sum of the first half, the best partner is next to its negative among the sorted
    sums of the second. The cost is 2ⁿᐟ² log 2ⁿᐟ² in place of 2ⁿ.

    Parameters
    ----------
    weights, activations : array_like of float, shape (n,)
        At most 32 weights, and the input that multiplies each.
    grid : Grid
        One grid for all of them (scale of shape ()).

    Raises
    ------
    ValueError
        If the shapes differ, if there are more than 32 weights, or if the grid is not a single one.

    References
    ----------
    Horowitz and Sahni 1974, "Computing Partitions with Applications to the Knapsack Problem".

    Examples
    --------
    >>> from quant_core.methods.grid import Grid
    >>> unit = Grid("asymmetric", 2, np.array(1.0), zero_point=np.array(0, np.int32))
    >>> best_rounding([1.4, 1.4], [1.0, 1.0], unit).codes.tolist()
    [2, 1]
    """
    w, x, down = _row(weights, activations, grid, MAX_SEARCHED)
    low, high = (grid.dequantize(codes).astype(np.float64) for codes in (down, down + 1))
    half = len(w) // 2
    first, second = _choices(half), _choices(len(w) - half)
    if_down, if_up = (w - low) * x, (w - high) * x
    left = np.where(first, if_up[:half], if_down[:half]).sum(axis=1)
    right = np.where(second, if_up[half:], if_down[half:]).sum(axis=1)

    order = np.argsort(right, kind="stable")
    place = np.searchsorted(right[order], -left)
    # The best partner of a left sum is one of its two neighbours in the sorted right sums.
    neighbours = order[np.clip(np.stack([place, place - 1]), 0, len(right) - 1)]
    errors = np.abs(left + right[neighbours])
    side, row = np.unravel_index(int(np.argmin(errors)), errors.shape)
    up = np.concatenate([first[row], second[neighbours[side, row]]])
    values = np.where(up, high, low)
    return BestRounding(
        up=up,
        codes=down + up.astype(np.int32),
        values=values,
        weight_error=float(np.linalg.norm(w - values)),
        output_error=float(abs((w - values) @ x)),
    )


def _row(
    weights: ArrayLike, activations: ArrayLike, grid: Grid, most: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int32]]:
    """Return w, x and the code below each weight."""
    w = as_floats(weights, "weights").astype(np.float64)
    x = as_floats(activations, "activations").astype(np.float64)
    if w.ndim != 1 or w.shape != x.shape or not 1 <= len(w) <= most:
        raise ValueError(
            f"weights have shape {w.shape} and activations {x.shape}; "
            f"give two vectors of the same length, 1 to {most}"
        )
    if grid.scale.shape != () or not grid.scale > 0:
        raise ValueError(f"grid has scales of shape {grid.scale.shape}; give one grid with a scale above 0")
    lowest, highest = grid.code_range
    codes = np.arange(lowest, highest + 1)
    below = np.searchsorted(grid.levels(), w, side="right") - 1
    return w, x, codes[np.clip(below, 0, len(codes) - 2)].astype(np.int32)


def _choices(n: int) -> NDArray[np.bool_]:
    """Return all rows of n bits, shape (2ⁿ, n); bit j of the row's number is in column j."""
    choices: NDArray[np.bool_] = (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1
    return choices
