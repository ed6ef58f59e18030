"""The encoders of IQ2 and IQ3: magnitudes from a codebook, 8 or 4 at a time, and a sign for each.

A vector of magnitudes |x| / scale is rounded to odd numbers 1, 3, 5 …, whose digits (0, 1, 2 …) make a word.
Where the word is no codebook vector the best of its neighbours is taken. A search tries several scales, and a
last step fits the scale to the vectors that were chosen.

The types with seven signs for eight weights need an even number of minus signs: where it is odd, the weight
that matters least changes its sign.

References
----------
`quantize_row_iq2_xxs_impl`, `quantize_row_iq2_xs_impl`, `quantize_row_iq2_s_impl`,
`quantize_row_iq3_xxs_impl` and `quantize_row_iq3_s_impl` in `ggml/src/ggml-quants.c` of ggml-org/llama.cpp
0c1e57098bba.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from quant_core.arrays import F32, U8
from quant_core.ggml import primitives
from quant_core.ggml.codebooks import Codebook, Words, codebook
from quant_core.ggml.codec import from_columns, to_columns
from quant_core.ggml.formats import FORMATS, block_bytes
from quant_core.ggml.primitives import ALL_ZERO, nint, sum_in_order, to_half
from quant_core.ggml.weighting import spread_weights, sum_of_squares

SUPER_BLOCK = 256
SIGNS = 8  # weights whose signs are one byte
TOP_SCALE = 31  # a stored scale s of 0 … 15 stands for 2s + 1
_HALF, _ONE = np.float32(0.5), np.float32(1)
_SIGN_BITS = (1 << np.arange(SIGNS, dtype=np.uint8))[:, None]


@dataclass(frozen=True)
class Search:
    """How a type looks for the scale of a sub-block.

    Attributes
    ----------
    book : str
        The codebook.
    size : int
        Weights in a sub-block.
    steps, step : int, float
        The largest magnitude is mapped to 2·top + 1 + step · k for k = −steps … steps.
    least : float
        A sub-block whose largest magnitude is below this has the scale 0.
    parity : bool
        Whether the number of minus signs of 8 weights must be even.
    refit : str
        The last step: "always"; "all" and "others" only where a vector is no rounding of its weights,
        and "others" chooses only such vectors again.
    factor : float
        What the scale of the scales is multiplied with before it is stored.
    """

    book: str
    size: int
    steps: int
    step: float
    least: np.float32
    parity: bool
    refit: Literal["always", "all", "others"]
    factor: float


_TINY = np.float32(1e-8)
_IQ2_XXS = Search("iq2xxs", 32, 6, 0.1, ALL_ZERO, True, "always", 1.0)
_IQ2_XS = Search("iq2xs", 16, 9, 0.1, ALL_ZERO, True, "others", 1.0)
_IQ2_S = Search("iq2s", 16, 9, 0.1, _TINY, False, "others", 0.9875)
_IQ3_XXS = Search("iq3xxs", 32, 15, 0.2, _TINY, True, "others", 1.0125)
_IQ3_S = Search("iq3s", 32, 9, 0.2, np.finfo(np.float32).smallest_subnormal, False, "all", 1.033)


def encode_iq2_xxs(rows: F32, importance: F32 | None) -> U8:
    """Return the IQ2_XXS blocks of `rows`; see `quant_core.ggml.codec.Codec`."""
    found = _fit(rows, _spread(rows, importance, 32, 1), _IQ2_XXS)
    blocks = FORMATS["IQ2_XXS"].empty(len(found.d))
    indices = np.ascontiguousarray(found.indices.astype(np.uint8)).view("<u4")
    blocks["d"] = found.d
    blocks["qs"] = np.stack([indices, _signs_and_scales(found)], axis=2).reshape(len(found.d), -1)
    return block_bytes(blocks)


def encode_iq2_xs(rows: F32, importance: F32 | None) -> U8:
    """Return the IQ2_XS blocks of `rows`; see `quant_core.ggml.codec.Codec`."""
    found = _fit(rows, _spread(rows, importance, 16, 1), _IQ2_XS)
    blocks = FORMATS["IQ2_XS"].empty(len(found.d))
    blocks["d"], blocks["scales"] = found.d, _in_nibbles(found.scales)
    blocks["qs"] = found.indices | (found.signs & 127).astype(np.intp) << 9
    return block_bytes(blocks)


def encode_iq2_s(rows: F32, importance: F32 | None) -> U8:
    """Return the IQ2_S blocks of `rows`; see `quant_core.ggml.codec.Codec`."""
    if importance is None:
        x = to_columns(rows, 16)
        twice = sum_of_squares(rows, SUPER_BLOCK) * np.float32(2 / SUPER_BLOCK)
        weights = np.float32(0.25) * np.repeat(twice, SUPER_BLOCK // 16) + x * x
    else:
        weights = _spread(rows, importance, 16, 2)
    found = _fit(rows, weights, _IQ2_S)
    blocks = FORMATS["IQ2_S"].empty(len(found.d))
    blocks["d"], blocks["scales"] = found.d, _in_nibbles(found.scales)
    blocks["qs"], blocks["signs"] = found.indices & 255, found.signs
    high = (found.indices >> 8).reshape(-1, 8, 4)
    blocks["qh"] = (high << np.array([0, 2, 4, 6])).sum(axis=2)
    return block_bytes(blocks)


def encode_iq3_xxs(rows: F32, importance: F32 | None) -> U8:
    """Return the IQ3_XXS blocks of `rows`; see `quant_core.ggml.codec.Codec`."""
    found = _fit(rows, _spread_or_squares(rows, importance), _IQ3_XXS)
    blocks = FORMATS["IQ3_XXS"].empty(len(found.d))
    blocks["d"], blocks["qs"] = found.d, found.indices
    blocks["scales_and_signs"] = _signs_and_scales(found)
    return block_bytes(blocks)


def encode_iq3_s(rows: F32, importance: F32 | None) -> U8:
    """Return the IQ3_S blocks of `rows`; see `quant_core.ggml.codec.Codec`."""
    found = _fit(rows, _spread_or_squares(rows, importance), _IQ3_S)
    blocks = FORMATS["IQ3_S"].empty(len(found.d))
    blocks["d"], blocks["scales"] = found.d, _in_nibbles(found.scales)
    # The C code does not step over the bytes of a sub-block of zeros: later ones move to the front.
    moved = np.argsort(~found.is_fitted, axis=1, kind="stable")[..., None]
    for name, parts in (("qs", found.indices & 255), ("signs", found.signs)):
        by_sub_block = parts.reshape(len(moved), moved.shape[1], -1)
        blocks[name] = np.take_along_axis(by_sub_block, moved, axis=1).reshape(len(moved), -1)
    blocks["qh"] = np.packbits((found.indices >> 8).astype(np.uint8), axis=1, bitorder="little")
    return block_bytes(blocks)


def _spread(rows: F32, importance: F32 | None, size: int, times: int) -> F32:
    """Return importance · √(times · mean square of the super-block + x²), sub-blocks in columns."""
    assert importance is not None  # `quantize` refuses the types that need it
    mean_square = sum_of_squares(rows, SUPER_BLOCK) * np.float32(times / SUPER_BLOCK)
    return spread_weights(rows, importance, size, mean_square)


def _spread_or_squares(rows: F32, importance: F32 | None) -> F32:
    if importance is not None:
        return _spread(rows, importance, 32, 2)
    x = to_columns(rows, 32)
    return x * x


@dataclass(frozen=True)
class _Fitted:
    """What a search found for b super-blocks.

    Attributes
    ----------
    d : ndarray of float16, shape (b,)
        The scale of the scales, as it is stored.
    scales : ndarray of uint8, shape (b, sub-blocks)
        0 … 15.
    indices : ndarray of intp, shape (b, vectors)
    signs : ndarray of uint8, shape (b, 32)
        A byte for each 8 weights; a set bit is a minus.
    is_fitted : ndarray of bool, shape (b, sub-blocks)
        False for those of zeros: all their numbers are 0.
    """

    d: NDArray[np.float16]
    scales: U8
    indices: Words
    signs: U8
    is_fitted: NDArray[np.bool_]


def _fit(rows: F32, weights: F32, search: Search) -> _Fitted:
    """Fit every sub-block of `rows`; `weights` count the squared errors, shape (size, sub-blocks)."""
    book = codebook(search.book)
    magnitudes, signs = _split_signs(to_columns(rows, search.size), weights, search.parity)
    is_fitted = magnitudes.max(axis=0) >= search.least
    if search.refit == "always":  # the search begins from the best scale of plain rounding
        start, _ = primitives.fit_positive(magnitudes, book.top + 2, weights)
        largest = start * np.float32(book.top + 1)
        is_fitted &= largest > 0
    else:
        largest = magnitudes.max(axis=0)
        start = largest / np.float32(2 * book.top + 1)
    columns = np.flatnonzero(is_fitted)
    scale = np.zeros(len(largest), np.float32)
    indices = np.zeros((search.size // book.length, len(largest)), np.intp)
    if len(columns):
        fitting = _Fitting(magnitudes[:, columns], weights[:, columns], book)
        scale[columns] = fitting.search(start[columns], largest[columns], search)
        indices[:, columns] = book.index[book.words(fitting.digits)].reshape(len(indices), -1)
    signs = np.where(is_fitted, np.where(scale < 0, ~signs, signs), np.uint8(0))
    d, scales = _scales_of(to_columns(np.abs(scale)[:, None], SUPER_BLOCK // search.size))
    return _Fitted(
        to_half(d * np.float32(search.factor)),
        scales,
        from_columns(indices, SUPER_BLOCK // book.length),
        from_columns(signs, SUPER_BLOCK // SIGNS),
        is_fitted.reshape(len(d), -1),
    )


def _split_signs(x: F32, weights: F32, parity: bool) -> tuple[F32, U8]:
    """Return magnitudes, shape (size, n), and a byte of signs for each 8 of them, shape (size / 8, n)."""
    minus = x < 0
    magnitudes = np.where(minus, -x, x)
    groups = minus.reshape(-1, SIGNS, x.shape[1])
    signs: U8 = (groups * _SIGN_BITS).sum(axis=1, dtype=np.uint8)
    if parity:
        matters = (weights * x * x).reshape(groups.shape)
        group, column = np.nonzero(groups.sum(axis=1) % 2)
        place = matters[group, :, column].argmin(axis=1)
        magnitudes[group * SIGNS + place, column] *= np.float32(-1)
        signs[group, column] ^= (1 << place).astype(np.uint8)
    return magnitudes, signs


class _Fitting:
    """The search for scale and vectors of n sub-blocks that are not all zero.

    Arrays of weights have the shape (g, vectors): the sub-blocks' first vectors, then their second ones.
    """

    def __init__(self, magnitudes: F32, weights: F32, book: Codebook) -> None:
        self.book, self.blocks = book, magnitudes.shape[1]
        self.magnitudes, self.weights = magnitudes, weights
        self.x, self.roots = self._in_vectors(magnitudes), self._in_vectors(np.sqrt(weights))
        self.odd = (2 * book.digits.astype(np.float32) + 1).T.copy()
        self.digits = np.zeros(self.x.shape, np.uint8)

    def search(self, scale: F32, largest: F32, search: Search) -> F32:
        """Return the best scale of each sub-block; `digits` are then those of its vectors."""
        top, step = np.float32(2 * self.book.top + 1), np.float32(search.step)
        rounded = np.full((self.x.shape[1] // self.blocks, self.blocks), search.refit == "others")
        best = np.zeros_like(scale)
        for k in range(-search.steps, search.steps + 1):
            inverse = (top + np.float32(k) * step) / largest
            digits, trial_rounded = self.choose(inverse, _ONE / inverse)
            sum_qx, sum_q2 = self.sums(digits)
            better = (sum_q2 > 0) & (sum_qx * sum_qx > best * sum_q2)
            trial = sum_qx / sum_q2
            np.copyto(scale, trial, where=better)
            np.copyto(best, trial * sum_qx, where=better)
            np.copyto(rounded, trial_rounded, where=better)
            np.copyto(self.digits, digits, where=self._of_vectors(better))
        self._refit(scale, rounded, search.refit)
        return scale

    def choose(self, inverse: F32, scale: F32) -> tuple[U8, NDArray[np.bool_]]:
        """Return the digits of the best vectors at a scale, and which are just the rounded weights."""
        book, scales = self.book, self._of_vectors(scale)
        digits = nint(_HALF * (self._of_vectors(inverse) * self.x - _ONE))
        words = book.words(np.clip(digits, 0, book.top).astype(np.uint8))

        def error(candidates: Words, at: Words) -> F32:
            total = np.zeros(len(at), np.float32)
            for x, root, odd in zip(self.x, self.roots, self.odd, strict=True):
                difference = scales[at] * odd[candidates] - x[at]
                total += root[at] * difference * difference
            return total

        indices = book.nearest(words, error)
        return book.digits[indices].T, (book.index[words] >= 0).reshape(-1, self.blocks)

    def sums(self, digits: U8) -> tuple[F32, F32]:
        """Return Σ w·x·q and Σ w·q² of each sub-block, for the odd numbers q of these digits."""
        odd = self._in_blocks(digits).astype(np.float32) * np.float32(2) + _ONE
        return sum_in_order(self.weights * self.magnitudes * odd), sum_in_order(self.weights * odd * odd)

    def _refit(self, scale: F32, rounded: NDArray[np.bool_], how: str) -> None:
        """Choose vectors again at the best scale, and fit the scale to them, in place."""
        again = scale > 0
        if how != "always":
            again &= ~rounded.all(axis=0)
        chosen, _ = self.choose(_ONE / scale, scale)
        replaced = again & ~rounded if how == "others" else np.broadcast_to(again, rounded.shape)
        np.copyto(self.digits, chosen, where=replaced.ravel())
        sum_qx, sum_q2 = self.sums(self.digits)
        np.copyto(scale, sum_qx / sum_q2, where=again & (sum_q2 > 0))

    def _in_vectors(self, blocks: F32) -> F32:
        length = self.book.length
        return np.ascontiguousarray(
            blocks.reshape(-1, length, self.blocks).transpose(1, 0, 2).reshape(length, -1)
        )

    def _in_blocks(self, vectors: U8) -> U8:
        return vectors.reshape(self.book.length, -1, self.blocks).transpose(1, 0, 2).reshape(-1, self.blocks)

    def _of_vectors(self, of_blocks: NDArray[Any]) -> NDArray[Any]:
        """Return a number of each sub-block as one of each of its vectors."""
        return np.tile(of_blocks, self.x.shape[1] // self.blocks)


def _scales_of(scales: F32) -> tuple[F32, U8]:
    """Return the step of the scales, (b,), and the scales as 0 … 15: (sub-blocks, b) -> (b, sub-blocks)."""
    d = scales.max(axis=0) / np.float32(TOP_SCALE)
    steps = nint(_HALF * (_ONE / d * scales - _ONE))
    return d, np.where(d > 0, np.clip(steps, 0, 15), 0).T.astype(np.uint8)


def _in_nibbles(scales: U8) -> U8:
    return (scales[:, ::2] | scales[:, 1::2] << 4).astype(np.uint8, copy=False)


def _signs_and_scales(found: _Fitted) -> NDArray[np.uint32]:
    """Return a word for each 32 weights: four patterns of 7 signs, and the scale on top."""
    signs = (found.signs & 127).reshape(len(found.d), -1, 4).astype(np.uint32)
    words = np.bitwise_or.reduce(signs << np.array([0, 7, 14, 21], np.uint32), axis=2)
    packed: NDArray[np.uint32] = words | found.scales.astype(np.uint32) << 28
    return packed
