"""The encoders of IQ1_S and IQ1_M: three levels, shifted by ⅛ up or down, from a codebook of 8 at a time.

With three levels the best scale can be found exactly: sort the weights of a sub-block, and try every pair
of boundaries between the lowest, the middle and the highest group, with both shifts. IQ1_M has a shift for
each 8 weights of its sub-blocks of 16, so it tries four combinations. What is then no codebook vector becomes
the best of its neighbours.

References
----------
`quantize_row_iq1_s_impl`, `quantize_row_iq1_m_impl` and `iq1_find_best_neighbour2` in
`ggml/src/ggml-quants.c` of ggml-org/llama.cpp 0c1e57098bba.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_core.arrays import F32, U8
from quant_core.ggml.codebooks import Words, codebook
from quant_core.ggml.codec import to_columns
from quant_core.ggml.formats import FORMATS, block_bytes
from quant_core.ggml.primitives import nint, sum_in_order, to_half
from quant_core.ggml.weighting import spread_weights, sum_of_squares

SUPER_BLOCK, LENGTH = 256, 8
TOP_SCALE = 15  # a stored scale s of 0 … 7 stands for 2s + 1
#: The three levels with the shift up (0) and down (1).
LEVELS = np.array([[-0.875, 0.125, 1.125], [-1.125, -0.125, 0.875]], np.float32)
_HALF, _ONE = np.float32(0.5), np.float32(1)
_LOWEST = np.finfo(np.float32).min


@dataclass
class _Best:
    """The best split found so far of each of n sub-blocks: scale, boundaries, and which shifts."""

    score: F32
    scale: F32
    low: NDArray[np.intp]
    high: NDArray[np.intp]
    shifts: NDArray[np.intp]

    @classmethod
    def of(cls, blocks: int) -> _Best:
        nothing = np.full(blocks, -1)
        return cls(
            np.full(blocks, _LOWEST), np.zeros(blocks, np.float32), nothing, nothing.copy(), nothing.copy()
        )

    def offer(self, sum_qx: F32, sum_q2: F32, low: int, high: int, shifts: int) -> None:
        """Take this split where it lowers the error more."""
        better = (sum_q2 > 0) & (sum_qx * sum_qx > self.score * sum_q2)
        if better.any():
            scale = sum_qx / sum_q2
            np.copyto(self.scale, scale, where=better)
            np.copyto(self.score, scale * sum_qx, where=better)
            for array, value in ((self.low, low), (self.high, high), (self.shifts, shifts)):
                array[better] = value


def encode_iq1_s(rows: F32, importance: F32 | None) -> U8:
    """Return the IQ1_S blocks of `rows`; see `quant_core.ggml.codec.Codec`."""
    found = _fit(rows, _weights(rows, importance, 32), 32, np.float32(1e-12), _split_whole)
    blocks = FORMATS["IQ1_S"].empty(len(rows) * rows.shape[1] // SUPER_BLOCK)
    d, scales = _scales_of(to_columns(found.scale[:, None], SUPER_BLOCK // 32))
    blocks["d"] = to_half(d * np.float32(1.125))
    indices = found.indices.T.reshape(len(d), 8, 4)
    blocks["qs"] = (indices & 255).reshape(len(d), -1)
    words = ((indices >> 8) << np.array([0, 3, 6, 9])).sum(axis=2)
    shifts = np.where(d[:, None] > 0, found.shifts.reshape(len(d), 8), 0)
    blocks["qh"] = words | scales << 12 | shifts << 15
    return block_bytes(blocks)


def encode_iq1_m(rows: F32, importance: F32 | None) -> U8:
    """Return the IQ1_M blocks of `rows`; see `quant_core.ggml.codec.Codec`."""
    weights = _weights(rows, importance, 16)
    found = _fit(rows, weights, 16, np.float32(1e-7), _split_halves)
    d, scales = _scales_of(to_columns(found.scale[:, None], SUPER_BLOCK // 16))
    shifts = np.where(np.repeat(d > 0, SUPER_BLOCK // 16), found.shifts, 0)
    # The scale of the scales is fitted once more, to all 256 weights.
    steps = (2 * scales.ravel() + 1).astype(np.float32)
    q = to_columns(_values(found.indices, _per_vector(shifts, 2)).T * steps[:, None], SUPER_BLOCK)
    w = to_columns(weights.T, SUPER_BLOCK)
    sum_qx = sum_in_order(w * q * to_columns(rows, SUPER_BLOCK))
    sum_q2 = sum_in_order(w * q * q)
    d = np.where((d > 0) & (sum_q2 > 0), sum_qx / sum_q2, d)

    blocks = FORMATS["IQ1_M"].empty(len(d))
    indices = found.indices.T.reshape(len(d), 32)
    blocks["qs"] = indices & 255
    nibbles = indices >> 8 | _per_vector(shifts, 2).T.reshape(len(d), 32) << 3
    blocks["qh"] = nibbles[:, ::2] | nibbles[:, 1::2] << 4
    words = (scales.reshape(-1, 4, 4) << np.array([0, 3, 6, 9])).sum(axis=2)
    bits = to_half(d * np.float32(1.1125)).view("<u2").astype(np.intp)
    # The bits of the half d are spread over the highest nibbles of the four words.
    blocks["scales"] = words | (bits[:, None] >> np.array([0, 4, 8, 12]) & 15) << 12
    return block_bytes(blocks)


def _weights(rows: F32, importance: F32 | None, size: int) -> F32:
    """Return how much each squared error counts, sub-blocks in columns: x² without importance."""
    if importance is None:
        x = to_columns(rows, size)
        return x * x
    mean_square = sum_of_squares(rows, SUPER_BLOCK) * np.float32(2 / SUPER_BLOCK)
    return spread_weights(rows, importance, size, mean_square)


@dataclass(frozen=True)
class _Fitted:
    """Of n sub-blocks: the scale, the index of each vector (k, n), and the shifts as they are stored.

    Shifts of IQ1_S are 1 for down; those of IQ1_M count the combinations of two vectors, 2 for the first.
    """

    scale: F32
    indices: Words
    shifts: NDArray[np.intp]


def _fit(
    rows: F32,
    weights: F32,
    size: int,
    least: np.float32,
    split: Callable[[F32, F32, NDArray[np.intp]], _Best],
) -> _Fitted:
    """Fit every sub-block of `rows`; those whose magnitudes are all below `least` have the scale 0."""
    everything = to_columns(rows, size)
    vectors = size // LENGTH
    found = _Fitted(
        np.zeros(everything.shape[1], np.float32),
        np.zeros((vectors, everything.shape[1]), np.intp),
        np.zeros(everything.shape[1], np.intp),
    )
    columns = np.flatnonzero(np.abs(everything).max(axis=0) >= least)
    x, w = everything[:, columns], weights[:, columns]
    order = x.argsort(axis=0, kind="stable")
    best = split(np.take_along_axis(w * x, order, axis=0), np.take_along_axis(w, order, axis=0), order)
    kept = best.low >= 0
    columns, x, w, order = columns[kept], x[:, kept], w[:, kept], order[:, kept]
    if not len(columns):
        return found
    scale, shifts = best.scale[kept], best.shifts[kept]
    rank = np.arange(size)[:, None]
    sorted_digits = (rank >= best.low[kept]).astype(np.uint8) + (rank >= best.high[kept])
    digits = np.empty_like(sorted_digits)
    np.put_along_axis(digits, order, sorted_digits, axis=0)
    # A negative scale turns the levels around, and with them the shifts.
    turned = scale < 0
    digits[:, turned] = 2 - digits[:, turned]
    scale = np.abs(scale)
    shifts[turned] = (1 if size == 32 else 3) - shifts[turned]
    scale, indices = _to_codebook(x, w, digits, scale, _per_vector(shifts, vectors))
    found.scale[columns], found.indices[:, columns], found.shifts[columns] = scale, indices, shifts
    return found


def _per_vector(shifts: NDArray[np.intp], vectors: int) -> NDArray[np.intp]:
    """Return the shift of each vector, 0 for up and 1 for down, shape (vectors, n)."""
    if vectors == 2:
        return np.stack([shifts >> 1, shifts & 1])
    return np.broadcast_to(shifts, (vectors, len(shifts)))


def _values(indices: Words, shifts: NDArray[np.intp]) -> F32:
    """Return the shifted levels of the vectors of each sub-block, shape (vectors, n) -> (size, n)."""
    digits = codebook("iq1s").digits[indices]
    values: F32 = LEVELS[shifts[..., None], digits]
    return values.transpose(0, 2, 1).reshape(-1, indices.shape[1])


def _to_codebook(x: F32, weights: F32, digits: U8, scale: F32, shifts: NDArray[np.intp]) -> tuple[F32, Words]:
    """Return the scale of each sub-block and the indices of its vectors, shape (vectors, n)."""
    book = codebook("iq1s")
    vectors, blocks = shifts.shape

    def flat(array: NDArray[Any]) -> NDArray[Any]:
        return array.reshape(vectors, LENGTH, blocks).transpose(1, 0, 2).reshape(LENGTH, -1)

    values, counts, scales, shift = flat(x), flat(weights), np.tile(scale, vectors), shifts.ravel()
    words = book.words(flat(digits))

    def error(candidates: Words, at: Words) -> F32:
        total = np.zeros(len(at), np.float32)
        for place in range(LENGTH):
            q = LEVELS[shift[at], book.digits[candidates, place]]
            difference = scales[at] * q - values[place, at]
            total += counts[place, at] * difference * difference
        return total

    indices = book.nearest(words, error).reshape(vectors, blocks)
    q = _values(indices, shifts)
    sum_qx, sum_q2 = sum_in_order(weights * q * x), sum_in_order(weights * q * q)
    moved = (book.index[words] < 0).reshape(vectors, blocks).any(axis=0)
    return np.where(moved & (sum_qx > 0) & (sum_q2 > 0), sum_qx / sum_q2, scale), indices


def _sums_up_to(terms: F32) -> F32:
    """Return the sums of the first 0, 1, … rows, added in order, shape (n + 1, blocks)."""
    return np.concatenate([np.zeros_like(terms[:1]), np.add.accumulate(terms, axis=0)])


def _split_whole(weighted: F32, weights: F32, order: NDArray[np.intp]) -> _Best:
    """Try every pair of boundaries with both shifts; the arguments are sorted by x."""
    x, w = _sums_up_to(weighted), _sums_up_to(weights)
    best = _Best.of(x.shape[1])
    for low, high in combinations_with_replacement(range(len(x)), 2):
        parts_x = x[low] - x[0], x[high] - x[low], x[-1] - x[high]
        parts_w = w[low] - w[0], w[high] - w[low], w[-1] - w[high]
        for shift, (a, b, c) in enumerate(LEVELS):
            sum_qx = parts_x[0] * a + parts_x[1] * b + parts_x[2] * c
            sum_q2 = parts_w[0] * a * a + parts_w[1] * b * b + parts_w[2] * c * c
            best.offer(sum_qx, sum_q2, low, high, shift)
    return best


def _split_halves(weighted: F32, weights: F32, order: NDArray[np.intp]) -> _Best:
    """Try every pair of boundaries with each shift of the first and of the second 8 weights."""
    first = order < LENGTH
    halves = (first, ~first)
    x = [_sums_up_to(np.where(half, weighted, np.float32(0))) for half in halves]
    w = [_sums_up_to(np.where(half, weights, np.float32(0))) for half in halves]
    a, b, c = LEVELS.T
    step_low, step_high = a * a - b * b, b * b - c * c
    best = _Best.of(weighted.shape[1])
    for low, high in combinations_with_replacement(range(len(weights) + 1), 2):
        # The levels are 1 apart, so the sum over three groups is one over all, less two.
        qx = [[x[h][-1] * c[s] - (x[h][low] + x[h][high]) for s in (0, 1)] for h in (0, 1)]
        q2 = [
            [w[h][-1] * c[s] * c[s] + w[h][low] * step_low[s] + w[h][high] * step_high[s] for s in (0, 1)]
            for h in (0, 1)
        ]
        for shifts in range(4):
            one, other = shifts >> 1, shifts & 1
            best.offer(qx[0][one] + qx[1][other], q2[0][one] + q2[1][other], low, high, shifts)
    return best


def _scales_of(scales: F32) -> tuple[F32, NDArray[np.intp]]:
    """Return the step of the scales, (b,), and the scales as 0 … 7: (sub-blocks, b) -> (b, sub-blocks)."""
    d = scales.max(axis=0) / np.float32(TOP_SCALE)
    steps = nint(_HALF * (_ONE / d * scales - _ONE))
    return d, np.where(d > 0, np.clip(steps, 0, 7), 0).T.astype(np.intp)
