"""GPTQ: round one column after the other; the remaining columns compensate each error.

The layer's output error for a row w is (w − ŵ) H (w − ŵ)ᵀ with H ∝ XᵀX, the Hessian. When column j is
rounded, the best change of the columns not yet rounded is known in closed form from the inverse of H; GPTQ
applies it and goes on. Later columns absorb *part* of the error; for the last ones there are none left.

With `U` the upper Cholesky factor of H⁻¹ (H⁻¹ = UᵀU), column j of the current W is handled as ::

    q   = round(W[:, j])                     on the row's grid
    err = (W[:, j] − q) / U[j, j]
    W[:, j:] −= err ⊗ U[j, j:]

Arithmetic is float64. The Hessian is an argument: see `hessian`.

References
----------
Frantar et al. 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers",
algorithm 1. IST-DASLab/gptq 2d65066e, `gptq.py` and `quant.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant_core.arrays import FloatArray, as_matrix, check_bits, check_group_size

F64 = NDArray[np.float64]

#: A trace keeps three matrices for every column; above this many numbers, trace a slice of the layer.
MAX_TRACED = 1 << 25

_SMALL = 32


@dataclass(frozen=True, eq=False)
class ColumnStep:
    """One column of a trace. Matrices are in the original order of the columns.

    Attributes
    ----------
    column : int
        The column of the original matrix that was rounded.
    before : ndarray of float64, shape (rows,)
        Its values just before, with the errors of earlier columns absorbed.
    quantized : ndarray of float64, shape (rows,)
        Its levels.
    error : ndarray of float64, shape (rows,)
        before − quantized.
    update : ndarray of float64, shape (rows, columns)
        What was added to each column not yet rounded; 0 elsewhere.
    weights_after : ndarray of float64, shape (rows, columns)
        The matrix after the step: rounded columns are levels, the others carry the errors so far.
    """

    column: int
    before: F64
    quantized: F64
    error: F64
    update: F64
    weights_after: F64


@dataclass(frozen=True, eq=False)
class GPTQResult:
    """A matrix quantized by GPTQ. All arrays are in the original order of the columns.

    Attributes
    ----------
    dequantized : ndarray of float64, shape (rows, columns)
        The levels ŵ.
    codes : ndarray of int32, shape (rows, columns)
        Codes 0 … 2ᵇ − 1.
    scale, zero_point : ndarray of float64, shape (rows, groups)
        The grids: ŵ = scale · (code − zero_point).
    group_index : ndarray of int, shape (columns,)
        The group of each column. With act-order and without static groups it is not monotonic: inference
        needs it (`g_idx` of a checkpoint).
    order : ndarray of int, shape (columns,)
        The columns in the order in which they were rounded.
    loss : ndarray of float64, shape (columns,)
        Σ over rows of (w − ŵ)² / (2 U_jj²) when column j was rounded. They add up to the output error
        ½ tr(E H Eᵀ), E = W − Ŵ, under the damped Hessian.
    bits, group_size : int
        Code width, and columns that share a scale.
    trace : tuple of ColumnStep
        One step for each column, in `order`; empty unless asked for.
    """

    dequantized: F64
    codes: NDArray[np.int32]
    scale: F64
    zero_point: F64
    group_index: NDArray[np.intp]
    order: NDArray[np.intp]
    loss: F64
    bits: int
    group_size: int
    trace: tuple[ColumnStep, ...] = ()

    @property
    def bits_per_weight(self) -> float:
        """Stored bits for one weight: the code, and per group an fp16 scale and a `bits` wide zero-point."""
        return self.bits + (16 + self.bits) / self.group_size


def hessian(activations: ArrayLike) -> F64:
    """Return H = (2/n) XᵀX, the Hessian of the mean squared output error of any row of weights.

    Parameters
    ----------
    activations : array_like of float, shape (tokens, columns)
        Inputs of the layer on calibration text.

    Returns
    -------
    ndarray of float64, shape (columns, columns)

    Examples
    --------
    >>> hessian([[1.0, 0.0], [1.0, 2.0]]).tolist()
    [[2.0, 2.0], [2.0, 4.0]]
    """
    x = as_matrix(activations, "activations").astype(np.float64)
    result: F64 = 2 / len(x) * (x.T @ x)
    return result


def gptq(
    weights: ArrayLike,
    hessian: ArrayLike,
    bits: int = 4,
    group_size: int | None = None,
    symmetric: bool = False,
    act_order: bool = False,
    static_groups: bool = False,
    damping: float = 0.01,
    block_size: int = 128,
    mse: bool = False,
    trace: bool = False,
) -> GPTQResult:
    """Quantize a matrix column by column, keeping X Wᵀ rather than W.

    Parameters
    ----------
    weights : array_like of float, shape (rows, columns)
        One row per output channel.
    hessian : array_like of float, shape (columns, columns)
        Any positive multiple of XᵀX. A channel whose diagonal is 0 is dead: its weights become 0 (its
        diagonal becomes 1 and takes part in the damping, so then the multiple matters a little).
    bits : int
        Code width, 2 to 8.
    group_size : int or None
        Columns that share a scale; a divisor of `columns`. None: the whole row.
    symmetric : bool
        Grid centred on 0, with zero_point = 2ᵇ⁻¹ and scale = 2 max|w| / (2ᵇ − 1).
    act_order : bool
        Round columns in descending order of the Hessian's diagonal.
    static_groups : bool
        With groups: fit all grids to the original weights, in the original order.
    damping : float
        Share of the mean diagonal that is added to the diagonal.
    block_size : int
        Columns that are updated at once. It changes no result, save for groups smaller than a block: they
        take their grid from weights that lack the updates of their own block, as in the reference.
    mse : bool
        Shrink each grid to minimise Σ|w − ŵ|²·⁴ rather than take the range.
    trace : bool
        Record each step; for small layers.

    Returns
    -------
    GPTQResult

    Raises
    ------
    ValueError
        If a shape does not fit, a number is not finite, the Hessian is not positive definite after damping,
        or a trace would be too large.

    Examples
    --------
    Two inputs that always agree: the second column absorbs the error of the first.

    >>> result = gptq([[0.4, 0.4, 3.0]], [[1, 1, 0], [1, 1, 0], [0, 0, 1]], bits=2)
    >>> result.dequantized.tolist()
    [[0.0, 1.0, 3.0]]
    """
    original = as_matrix(weights, "weights").astype(np.float64)
    rows, columns = original.shape
    h = _checked_hessian(hessian, columns)
    size = check_group_size(group_size, columns)
    if damping < 0 or block_size < 1:
        raise ValueError(f"damping is {damping} and block_size {block_size}; give at least 0 and at least 1")
    if trace and rows * columns * columns > MAX_TRACED:
        raise ValueError(f"a trace of {rows} x {columns} weights is too large; trace a slice of the layer")

    grids = _Grids(rows, columns // size, check_bits(bits), symmetric, mse)
    if group_size is None:  # fitted to all weights, those of dead channels too, as in the reference
        grids.fit(0, original)
    dead = np.diag(h) == 0
    h[dead, dead] = 1
    original[:, dead] = 0
    if static_groups and group_size is not None:
        for group in range(columns // size):
            grids.fit(group, original[:, group * size : (group + 1) * size])

    order = np.argsort(-np.diag(h), kind="stable") if act_order else np.arange(columns)
    upper = _inverse_factor(h[np.ix_(order, order)], damping)
    group_of = (order if static_groups else np.arange(columns)) // size
    refit = size if group_size is not None and not static_groups else None
    codes, levels, errors, steps = _round_columns(
        original[:, order], upper, grids, group_of, refit, block_size, order if trace else None
    )
    place = np.argsort(order)
    return GPTQResult(
        dequantized=np.ascontiguousarray(levels[place].T),
        codes=np.ascontiguousarray(codes[place].T).astype(np.int32),
        scale=np.ascontiguousarray(grids.scale.T),
        zero_point=np.ascontiguousarray(grids.zero_point.T),
        group_index=group_of[place],
        order=order,
        loss=np.sum(errors[place] ** 2, axis=1) / 2,
        bits=int(bits),
        group_size=size,
        trace=tuple(steps),
    )


def _round_columns(
    weights: F64,
    upper: F64,
    grids: _Grids,
    group_of: NDArray[np.intp],
    refit: int | None,
    block_size: int,
    traced_order: NDArray[np.intp] | None,
) -> tuple[F64, F64, F64, list[ColumnStep]]:
    """Round one column after the other and subtract its error from the columns still to come.

    Parameters
    ----------
    weights : ndarray of float64, shape (rows, columns)
        Columns in the order in which they are rounded.
    upper : ndarray of float64, shape (columns, columns)
        From `_inverse_factor`.
    group_of : ndarray of int, shape (columns,)
        The group whose grid a column uses.
    refit : int or None
        Group size, if the grid of a group is fitted when its first column comes.
    traced_order : ndarray of int, shape (columns,), or None
        The order of the columns, if each step is to be recorded.

    Returns
    -------
    codes, levels, errors : ndarray of float64, shape (columns, rows)
    steps : list of ColumnStep
    """
    # Columns are rows here, so that the inner loop works on contiguous memory.
    work = np.ascontiguousarray(weights.T)
    codes, levels, errors = np.empty_like(work), np.empty_like(work), np.empty_like(work)
    steps: list[ColumnStep] = []
    for start in range(0, len(work), block_size):
        end = min(start + block_size, len(work))
        for j in range(start, end):
            if refit is not None and j % refit == 0:
                # `work` lacks the updates of this block: the reference does not see them here either.
                grids.fit(group_of[j], work[j : j + refit].T)
            # Within a block a column takes its updates when its turn comes, all at once.
            column = work[j] - upper[start:j, j] @ errors[start:j]
            codes[j], levels[j] = grids.round(group_of[j], column)
            errors[j] = (column - levels[j]) / upper[j, j]
            if traced_order is not None:
                steps.append(
                    _column_step(traced_order, j, column, levels, work, errors[start : j + 1], upper)
                )
        work[end:] -= upper[start:end, end:].T @ errors[start:end]
    return codes, levels, errors, steps


class _Grids:
    """GPTQ's grid of each group of each row; fitted when the loop reaches the group.

    Unlike `quant_core.methods.grid.fit_symmetric` the symmetric grid keeps all 2ᵇ codes, with zero_point
    2ᵇ⁻¹.
    """

    def __init__(self, rows: int, groups: int, bits: int, symmetric: bool, mse: bool) -> None:
        self.scale: F64 = np.empty((groups, rows))
        self.zero_point: F64 = np.empty((groups, rows))
        self.top, self.symmetric, self.mse = 2**bits - 1, symmetric, mse

    def fit(self, group: int, weights: F64) -> None:
        """Fit the grids of a group to its weights, shape (rows, size)."""
        low, high = np.minimum(weights.min(axis=1), 0), np.maximum(weights.max(axis=1), 0)
        if self.symmetric:
            high = np.maximum(-low, high)
            low = np.where(low < 0, -high, low)
        empty = (low == 0) & (high == 0)
        low, high = np.where(empty, -1.0, low), np.where(empty, 1.0, high)
        self._set(group, low, high)
        if self.mse:
            self._shrink(group, weights, low, high)

    def round(self, group: int, columns: F64) -> tuple[F64, F64]:
        """Return the codes and levels of one column or several, shape (..., rows) each."""
        scale, zero_point = self.scale[group], self.zero_point[group]
        codes = (np.rint(columns / scale) + zero_point).clip(0, self.top)
        return codes, scale * (codes - zero_point)

    def _set(self, group: int, low: F64, high: F64) -> None:
        self.scale[group] = (high - low) / self.top
        middle = (self.top + 1) / 2
        self.zero_point[group] = middle if self.symmetric else np.rint(-low / self.scale[group])

    def _shrink(self, group: int, weights: F64, low: F64, high: F64) -> None:
        """Keep for each row the one of 80 shrunken ranges with the smallest Σ|w − ŵ|²·⁴."""
        smallest, shares = np.full(len(weights), np.inf), np.ones(len(weights))
        for share in 1 - np.arange(80) / 100:
            self._set(group, share * low, share * high)
            error = np.sum(np.abs(self.round(group, weights.T)[1] - weights.T) ** 2.4, axis=0)
            shares = np.where(error < smallest, share, shares)
            smallest = np.minimum(error, smallest)
        self._set(group, shares * low, shares * high)


def _checked_hessian(hessian: ArrayLike, columns: int) -> F64:
    h = as_matrix(hessian, "hessian").astype(np.float64)
    if h.shape != (columns, columns):
        raise ValueError(f"hessian has shape {h.shape}; give ({columns}, {columns}), one row per column of W")
    allowed, difference = np.abs(h), h - h.T
    allowed = np.multiply(allowed, 1e-4, out=allowed) + 1e-6 * allowed.max()
    if (np.abs(difference, out=difference) > allowed).any():
        raise ValueError("hessian is not symmetric; give XᵀX of the layer's inputs")
    return h


def _inverse_factor(h: F64, damping: float) -> F64:
    """Return the upper U with (H + λI)⁻¹ = UᵀU, λ = damping · mean(diag H).

    Factored from the last column to the first, H + λI is RRᵀ with R upper, so U = R⁻¹. H⁻¹ itself, which
    costs more and rounds worse, is never formed.
    """
    damped = h + damping * np.mean(np.diag(h)) * np.eye(len(h))
    try:
        factor = np.linalg.cholesky(damped[::-1, ::-1])[::-1, ::-1]
    except np.linalg.LinAlgError:
        raise ValueError(
            f"the Hessian is not positive definite with damping {damping}; give more calibration tokens "
            "than columns, or raise the damping"
        ) from None
    return _inverse_of_upper(factor)


def _inverse_of_upper(r: FloatArray) -> F64:
    """Return R⁻¹ of an upper triangular R, by halves, so that nearly all work is in matrix products."""
    half = len(r) // 2
    if half < _SMALL:
        return np.triu(np.linalg.inv(r))
    inverse: F64 = np.zeros(r.shape)
    inverse[:half, :half] = _inverse_of_upper(r[:half, :half])
    inverse[half:, half:] = _inverse_of_upper(r[half:, half:])
    inverse[:half, half:] = -inverse[:half, :half] @ r[:half, half:] @ inverse[half:, half:]
    return inverse


def _column_step(
    order: NDArray[np.intp], j: int, column: F64, levels: F64, work: F64, errors: F64, upper: F64
) -> ColumnStep:
    """Describe the step of position j; `errors` are those of its block so far, this step's last."""
    place = np.argsort(order)
    after = work.copy()
    after[: j + 1] = levels[: j + 1]
    # `work` is updated at the end of the block; the trace has every column up to date.
    after[j + 1 :] -= upper[j + 1 - len(errors) : j + 1, j + 1 :].T @ errors
    update = np.zeros_like(work)
    update[j + 1 :] = -np.multiply.outer(upper[j, j + 1 :], errors[-1])
    return ColumnStep(
        column=int(order[j]),
        before=column,
        quantized=levels[j].copy(),
        error=column - levels[j],
        update=np.ascontiguousarray(update[place].T),
        weights_after=np.ascontiguousarray(after[place].T),
    )
