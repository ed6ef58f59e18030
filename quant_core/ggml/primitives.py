"""The search primitives of ggml: fit a scale, or a scale and a minimum, to a sub-block of weights.

Every quantizer of the k-quant family is made of these fits, so they are written once. They work on many
sub-blocks at a time, **in columns**: an array of shape (n, blocks) holds a sub-block in each column. That is
what makes the result equal to the C code's bit by bit: all arithmetic is float32, each operation is rounded
by itself, and a sum over a block adds its rows strictly in index order.

Codes stay float32 during a search: they are small integers, exact in that type. Arrays of the size of x are
allocated once for each fit and written in place, and a search keeps what its best codes were rounded with,
not the codes: they are computed once more at the end.

References
----------
`make_qx_quants`, `make_q3_quants`, `make_qkx2_quants`, `make_qkx3_quants` and `make_qp_quants` in
`ggml/src/ggml-quants.c` of ggml-org/llama.cpp 0c1e57098bba.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quant_core.arrays import F32, U8

#: A block whose largest magnitude is below this counts as all zero.
ALL_ZERO = np.float32(1e-15)

_TENTH = np.float32(0.1)
_ONE = np.float32(1)
_SWEEPS = 5
#: 1.5 · 2²³: a float of this size has no fraction, so adding it rounds.
_SHIFTER = np.float32(12582912)
#: Below this `nint` is a rounding.
_NINT_LIMIT = np.float32(1 << 22)


@dataclass(frozen=True)
class Search:
    """The inverse scales that an asymmetric fit tries: (first + step·k + top) / range for k = 0 … last.

    The candidates are compared by squared errors, or by absolute ones.
    """

    first: float
    step: float
    last: int
    absolute: bool = False


def fit_asymmetric(x: F32, top: int, weights: F32, search: Search) -> tuple[F32, F32, F32]:
    """Fit x ≈ scale · code − minimum, with codes 0 … top and minimum ≥ 0, by weighted least squares.

    For given codes the best scale and minimum solve a 2×2 system; the search tries several sets of codes.
    **The minimum moves**: once a candidate is accepted, later candidates are rounded from its minimum.

    Parameters
    ----------
    x, weights : ndarray of float32, shape (n, blocks)
        Values, and the weight of each squared error.
    top : int
        Largest code.
    search : Search
        The candidates.

    Returns
    -------
    scale, minimum : ndarray of float32, shape (blocks,)
    codes : ndarray of float32, shape (n, blocks)
    """
    low, high = x.min(axis=0), x.max(axis=0)
    low = np.where(low > 0, np.float32(0), low)
    flat = high <= low
    high = np.where(flat, low + _ONE, high)  # any range: the result is discarded
    top32, first, step = np.float32(top), np.float32(search.first), np.float32(search.step)
    sum_w, sum_wx = sum_in_order(weights), sum_in_order(weights * x)
    codes, weighted, terms = np.empty_like(x), np.empty_like(x), np.empty_like(x)

    def round_codes(inverse: F32, minimum: F32) -> None:
        np.multiply(np.subtract(x, minimum, out=codes), inverse, out=codes)
        # The range's upper end is near `top`; where its lower end is far off, C's rounding overflows.
        if (np.abs(inverse * (low - minimum)) < _NINT_LIMIT).all():
            _round_within(codes, np.float32(0), top32)
        else:
            np.clip(nint(codes), 0, top32, out=codes)

    def weighted_error(scale: F32, minimum: F32) -> F32:
        difference = np.multiply(codes, scale, out=terms)
        np.subtract(np.add(difference, minimum, out=terms), x, out=terms)
        if search.absolute:
            np.abs(terms, out=terms)
        else:
            np.multiply(terms, terms, out=terms)
        return sum_in_order(np.multiply(terms, weights, out=terms))

    inverse: F32 = np.divide(top32, high - low)
    scale: F32 = _ONE / inverse
    minimum: F32 = low.copy()
    round_codes(inverse, minimum)
    error = weighted_error(scale, minimum)
    best_inverse, best_origin = inverse.copy(), low.copy()

    for k in range(search.last + 1):
        inverse = (first + step * np.float32(k) + top32) / (high - minimum)
        round_codes(inverse, minimum)
        np.multiply(weights, codes, out=weighted)
        sum_l = sum_in_order(weighted)
        sum_l2 = sum_in_order(np.multiply(weighted, codes, out=terms))
        sum_lx = sum_in_order(np.multiply(weighted, x, out=terms))
        determinant, trial_scale, trial_minimum = _solve(sum_w, sum_wx, sum_l, sum_l2, sum_lx)
        trial_error = weighted_error(trial_scale, trial_minimum)
        better = (determinant > 0) & (trial_error < error)
        _replace(better, best_inverse, inverse)
        _replace(better, best_origin, minimum)
        _replace(better, scale, trial_scale)
        _replace(better, minimum, trial_minimum)
        _replace(better, error, trial_error)

    round_codes(best_inverse, best_origin)
    _clear(codes, flat)
    return np.where(flat, np.float32(0), scale), -np.where(flat, low, minimum), codes


def _solve(sum_w: F32, sum_wx: F32, sum_l: F32, sum_l2: F32, sum_lx: F32) -> tuple[F32, F32, F32]:
    """Solve for scale and minimum of given codes; return the determinant and both, shape (blocks,)."""
    determinant = sum_w * sum_l2 - sum_l * sum_l
    scale = np.divide(sum_w * sum_lx - sum_wx * sum_l, determinant)
    minimum = np.divide(sum_l2 * sum_wx - sum_l * sum_lx, determinant)
    # A positive offset cannot be stored: fit through zero instead.
    positive = minimum > 0
    _replace(positive, minimum, np.zeros_like(minimum))
    _replace(positive, scale, sum_lx / sum_l2)
    return determinant, scale, minimum


def _replace(where: NDArray[np.bool_], best: F32, trial: F32) -> None:
    """Copy the trial into `best`, in place, where the mask is set."""
    np.putmask(best, where, trial)


def fit_symmetric(x: F32, half: int, weights: F32) -> tuple[F32, F32]:
    """Fit x ≈ scale · (code − half), with codes 0 … 2·half − 1, by weighted least squares.

    For given codes the best scale is Σwxl / Σwl², and it lowers the error by (Σwxl)² / Σwl²; 19 sets of
    codes are tried, around the one that maps the largest magnitude to −half.

    Parameters
    ----------
    x, weights : ndarray of float32, shape (n, blocks)
        Values, and the weight of each squared error.
    half : int
        Half the number of codes.

    Returns
    -------
    scale : ndarray of float32, shape (blocks,)
    codes : ndarray of float32, shape (n, blocks)
        Both 0 where the block counts as all zero.
    """
    largest = signed_abs_max(x)
    half32 = np.float32(half)
    weighted = weights * x
    levels, terms = np.empty_like(x), np.empty_like(x)

    def round_levels(inverse: F32) -> None:
        # No block that is kept overflows: |inverse · x| is half + 1 at most.
        _round_within(np.multiply(x, inverse, out=levels), -half32, half32 - 1)

    def sums(inverse: F32) -> tuple[F32, F32]:
        round_levels(inverse)
        sum_lx = sum_in_order(np.multiply(weighted, levels, out=terms))
        np.multiply(weights, levels, out=terms)
        return sum_lx, sum_in_order(np.multiply(terms, levels, out=terms))

    best_inverse = -half32 / largest
    sum_lx, sum_l2 = sums(best_inverse)
    scale = np.where(sum_l2 != 0, sum_lx / sum_l2, np.float32(0))
    best = scale * sum_lx
    for k in (k for k in range(-9, 10) if k):
        inverse = -(half32 + _TENTH * np.float32(k)) / largest
        sum_lx, sum_l2 = sums(inverse)
        better = (sum_l2 > 0) & (sum_lx * sum_lx > best * sum_l2)
        trial_scale = sum_lx / sum_l2
        _replace(better, best_inverse, inverse)
        _replace(better, scale, trial_scale)
        _replace(better, best, trial_scale * sum_lx)

    round_levels(best_inverse)
    levels += half32
    zero = np.abs(largest) < ALL_ZERO
    _clear(levels, zero)
    return np.where(zero, np.float32(0), scale), levels


def fit_symmetric_by_descent(x: F32, half: int) -> tuple[F32, F32]:
    """Fit x ≈ scale · (code − half), with codes 0 … 2·half − 1, by coordinate descent.

    One set of codes, the one that maps the largest magnitude to −half, is improved code by code. Each squared
    error counts x².

    Parameters
    ----------
    x : ndarray of float32, shape (n, blocks)
    half : int
        Half the number of codes.

    Returns
    -------
    scale : ndarray of float32, shape (blocks,)
    codes : ndarray of float32, shape (n, blocks)
        Both 0 where the block counts as all zero.
    """
    largest = signed_abs_max(x)
    half32 = np.float32(half)
    levels = x * (-half32 / largest)
    _round_within(levels, -half32, half32 - 1)
    scale = _descend(x, levels, x * x, -half32, half32 - 1, others_needed=False)
    levels += half32
    zero = np.abs(largest) < ALL_ZERO
    _clear(levels, zero)
    return np.where(zero, np.float32(0), scale), levels


def fit_positive(x: F32, top: int, weights: F32) -> tuple[F32, F32]:
    """Fit x ≈ scale · code for values ≥ 0, with codes 0 … top: the sub-block scales and minimums themselves.

    Eight scales around top / max are compared by weighted squared error; then each code in turn moves to
    where it would lower the error of the best-fitting scale (coordinate descent, at most five sweeps).

    Parameters
    ----------
    x, weights : ndarray of float32, shape (n, blocks)
        Values, and the weight of each squared error.
    top : int
        Largest code.

    Returns
    -------
    scale : ndarray of float32, shape (blocks,)
    codes : ndarray of float32, shape (n, blocks)
        Both 0 where the block counts as all zero.
    """
    largest = np.maximum(x.max(axis=0), np.float32(0))
    top32 = np.float32(top)

    def squared_error(inverse: F32, codes: F32) -> F32:
        difference = x - (_ONE / inverse) * codes
        return sum_in_order(weights * difference * difference)

    inverse = top32 / largest
    error = squared_error(inverse, _as_byte(nint(inverse * x)))
    for k in (k for k in range(-4, 5) if k):
        trial = (_TENTH * np.float32(k) + top32) / largest
        trial_error = squared_error(trial, np.minimum(nint(trial * x), top32))
        better = trial_error < error
        np.copyto(inverse, trial, where=better)
        np.copyto(error, trial_error, where=better)

    codes = np.minimum(nint(inverse * x), top32)
    scale = _descend(x, codes, weights, np.float32(-np.inf), top32, others_needed=True)
    zero = largest < ALL_ZERO
    _clear(codes, zero)
    return np.where(zero, np.float32(0), scale), codes


def _descend(x: F32, codes: F32, weights: F32, low: np.float32, high: np.float32, others_needed: bool) -> F32:
    """Improve `codes` in place, one index after the other, and return the best scale for them.

    With `others_needed` a code moves only where the other codes of its block are not all zero.

    Whether a code would move depends on the codes of its own block, so the answer holds until one of them
    moves. All codes are therefore judged at once, then each block makes its next move; a block without one is
    finished.
    """
    sum_lx = sum_in_order(weights * x * codes)
    sum_l2 = sum_in_order(weights * codes * codes)
    if others_needed:  # C stores these codes as bytes, but has added them up before
        codes[:] = _as_byte(codes)

    blocks = np.arange(len(sum_lx))
    step = np.full(len(sum_lx), -1)  # of each block: sweep · n + index of the last move
    state = _Descent(x, weights, codes, sum_lx, sum_l2)
    while len(blocks):
        move = _next_moves(state, step, low, high, others_needed)
        blocks, step = blocks[move.block], move.step
        codes[step % len(x), blocks] = _as_byte(move.level) if others_needed else move.level
        sum_lx[blocks], sum_l2[blocks] = move.sum_lx, move.sum_l2
        left = [array.take(blocks, axis=1) for array in (x, weights, codes)]
        state = _Descent(left[0], left[1], left[2], move.sum_lx, move.sum_l2)
    return np.where(sum_l2 > 0, sum_lx / sum_l2, np.float32(0))


class _Descent(NamedTuple):
    """The blocks of a descent that are not finished: shapes (n, blocks), and (blocks,) for the sums."""

    x: F32
    weights: F32
    codes: F32
    sum_lx: F32
    sum_l2: F32


class _Moves(NamedTuple):
    """At most one move of each block: its block and step, the code's new level and the block's new sums."""

    block: NDArray[np.intp]
    step: NDArray[np.intp]
    level: F32
    sum_lx: F32
    sum_l2: F32


def _next_moves(
    state: _Descent, last: NDArray[np.intp], low: np.float32, high: np.float32, others_needed: bool
) -> _Moves:
    """Find the first code of each block, from the step after its last move on, that lowers the error."""
    x, weights, codes, sum_lx, sum_l2 = state
    weighted = weights * x
    rest_lx, rest_l2 = weighted * codes, weights * codes
    rest_l2 *= codes
    np.subtract(sum_lx, rest_lx, out=rest_lx)
    np.subtract(sum_l2, rest_l2, out=rest_l2)
    target = x * rest_l2
    target /= rest_lx
    _round_between(target, low, high)

    # Few codes differ from their targets: the rest is done for them alone.
    at = np.flatnonzero(target != codes)
    index, block = np.divmod(at, x.shape[1])
    level, lx, l2 = target.take(at), rest_lx.take(at), rest_l2.take(at)
    new_lx, new_l2 = lx + weighted.take(at) * level, l2 + weights.take(at) * level * level
    old_lx, old_l2 = sum_lx[block], sum_l2[block]
    better = (lx > 0) & (new_l2 > 0) & (new_lx * new_lx * old_l2 > old_lx * old_lx * new_l2)
    if others_needed:
        better &= l2 > 0

    end = _SWEEPS * len(x)
    start = last[block] + 1
    step = np.where(better, start + (index - start) % len(x), end)
    first = np.full(len(last), end - 1)
    np.minimum.at(first, block, step)
    chosen = np.flatnonzero(step == first[block])
    return _Moves(
        block.take(chosen), step.take(chosen), level.take(chosen), new_lx.take(chosen), new_l2.take(chosen)
    )


def round_again(values: F32, step: F32, fitted: F32, zero: int, top: int) -> U8:
    """Round values / step to codes 0 … top, where code `zero` is 0: the last step of every k-quant.

    The stored scales differ from the fitted ones, so each value is rounded once more on the grid that they
    really give. Where the step is 0 the codes of the fit are kept.

    Parameters
    ----------
    values, fitted : ndarray of float32, shape (n, blocks)
        What to round, and the codes of the fit.
    step : ndarray of float32, shape (blocks,)
    zero, top : int

    Returns
    -------
    ndarray of uint8, shape (n, blocks)
    """
    levels = values / step
    _round_between(levels, np.float32(-zero), np.float32(top - zero))
    levels += np.float32(zero)
    codes = levels.astype(np.uint8)
    empty = step == 0
    if empty.any():
        codes[:, empty] = fitted[:, empty]
    return codes


def nint(values: F32) -> F32:
    """Round to the nearest integer, ties to even, as ggml's `nearest_int` does.

    Adding 1.5 · 2²³ leaves the integer in the low bits of the float. For |v| < 2²² this is `np.rint`; beyond,
    and for NaN, it returns what the bits happen to say, and the C code's bytes depend on that.

    Examples
    --------
    >>> nint(np.array([0.5, 1.5, -2.5], np.float32)).tolist()
    [0.0, 2.0, -2.0]
    """
    bits = (values + _SHIFTER).view(np.int32)
    bits &= 0x007FFFFF
    bits -= 0x00400000
    return bits.astype(np.float32)


def sum_in_order(terms: F32) -> F32:
    """Sum over axis 0, adding the rows strictly one after the other.

    numpy does that for a C-contiguous array of two columns or more. A single column it would sum pairwise,
    which rounds differently: then the running sum is taken instead.

    Examples
    --------
    >>> column = np.array([[1e8], [1.0], [-1e8]], np.float32)
    >>> sum_in_order(column).tolist() == sum_in_order(np.repeat(column, 2, axis=1)).tolist()[:1]
    True
    """
    terms = np.ascontiguousarray(terms)
    if terms.shape[1] == 1:
        return np.ascontiguousarray(np.add.accumulate(terms, axis=0)[-1])
    total: F32 = np.add.reduce(terms, axis=0)
    return total


def signed_abs_max(x: F32) -> F32:
    """Return the element of largest magnitude in each column, with its sign; the first one if several tie.

    A block of zeros gives +0, whatever the signs of its zeros.
    """
    low, high = x.min(axis=0), x.max(axis=0)
    largest = np.where(high > -low, high, low)
    tied = np.flatnonzero((high == -low) & (high > 0))
    if len(tied):
        columns = x[:, tied]
        largest[tied] = np.take_along_axis(columns, np.abs(columns).argmax(axis=0)[None], axis=0)[0]
    return np.where(largest == 0, np.float32(0), largest)


def to_half(values: F32) -> NDArray[np.float16]:
    """Round to IEEE half precision, to nearest even; too large values become infinite."""
    return values.astype("<f2")


def _round_within(values: F32, low: np.float32, high: np.float32) -> None:
    """Round to the nearest integers in [low, high], ties to even, in place.

    The same as `nint` and then a limit, for all values below 2²² in magnitude, in fewer passes.
    """
    values.clip(low, high, out=values)
    values += _SHIFTER
    values -= _SHIFTER


def _round_between(values: F32, low: np.float32, high: np.float32) -> None:
    """`nint` and then a limit, in place, for any values."""
    if values.min() > -_NINT_LIMIT and values.max() < _NINT_LIMIT:
        _round_within(values, low, high)
    else:
        np.clip(nint(values), low, high, out=values)


def _clear(codes: F32, blocks: NDArray[np.bool_]) -> None:
    if blocks.any():
        codes[:, blocks] = 0


def _as_byte(codes: F32) -> F32:
    """Return the codes as a C `uint8_t` would hold them: modulo 256."""
    return (codes.astype(np.int32) & 0xFF).astype(np.float32)
