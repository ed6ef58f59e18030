"""The codebooks of IQ1, IQ2 and IQ3: their vectors, and for every other vector its neighbours among them.

A vector of 8 (or 4) digits is looked up as a *word*, the digits side by side in 2 (or 3) bits each. A word
that is no codebook vector has a list of the nearest ones, and an encoder takes the best of these.

References
----------
`iq2xs_init_impl`, `iq3xs_init_impl` and `iq2_find_best_neighbour` in `ggml/src/ggml-quants.c` of
ggml-org/llama.cpp 0c1e57098bba. The codebooks are data: `data/README.md` beside this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quant_core.arrays import F32, U8

_GRIDS = Path(__file__).with_name("data") / "iq_grids.npz"
#: What the digits of a codebook word stand for, and how many digits a word has.
_DIGITS: Mapping[str, tuple[tuple[int, ...], int]] = {
    "iq2xxs": ((8, 25, 43), 8),
    "iq2xs": ((8, 25, 43), 8),
    "iq2s": ((8, 25, 43), 8),
    "iq3xxs": ((4, 12, 20, 28, 36, 44, 52, 62), 4),
    "iq3s": ((1, 3, 5, 7, 9, 11, 13, 15), 4),
    "iq1s": ((-1, 0, 1), 8),
}
#: Of a word that is no codebook vector, how many distances count as near.
_SHELLS: Mapping[str, int] = {"iq2xxs": 2, "iq2xs": 2, "iq2s": 1, "iq3xxs": 2, "iq3s": 3, "iq1s": 3}

Words = NDArray[np.intp]


@cache
def digits_of(name: str) -> U8:
    """Return the digits of every vector of a codebook, shape (indices, 8) or (indices, 4).

    Examples
    --------
    >>> digits_of("iq3s")[1].tolist()
    [1, 0, 0, 0]
    """
    levels, length = _DIGITS[name]
    with np.load(_GRIDS) as stored:
        words = stored[name].astype(np.uint16)
    width = 2 if len(levels) == 3 else 3
    places = np.arange(0, width * length, width, dtype=np.uint16)
    digits: U8 = (words[:, None] >> places & (2**width - 1)).astype(np.uint8)
    return digits


@cache
def grid(name: str) -> F32:
    """Return a codebook: the vector of each index, shape (indices, 8) or (indices, 4).

    Examples
    --------
    >>> grid("iq2xxs").shape, grid("iq3s")[1].tolist()
    ((256, 8), [3.0, 1.0, 1.0, 1.0])
    """
    vectors: F32 = np.array(_DIGITS[name][0], np.float32)[digits_of(name)]
    return vectors


@dataclass(frozen=True)
class Codebook:
    """What an encoder needs of a codebook.

    Attributes
    ----------
    digits : ndarray of uint8, shape (indices, g)
        The digits of every vector.
    index : ndarray of intp, shape (words,)
        The index of the vector of each word, or -1.
    start, count : ndarray of intp, shape (words,)
        Where the neighbours of a word begin in `neighbours`, and how many there are.
    neighbours : ndarray of intp
        Indices of vectors: of each word its nearest first, at the same distance in order of their indices.
    """

    digits: U8
    index: Words
    start: Words
    count: Words
    neighbours: Words

    @property
    def length(self) -> int:
        """Weights of a vector."""
        return int(self.digits.shape[1])

    @property
    def top(self) -> int:
        """Largest digit."""
        return 2 if self.digits.shape[1] == 8 else 7

    def words(self, digits: NDArray[np.integer]) -> Words:
        """Return the word of each vector of digits, shape (g, m) -> (m,)."""
        width = 2 if len(digits) == 8 else 3
        words: Words = digits[0].astype(np.intp)
        for place, row in enumerate(digits[1:], start=1):
            words |= row.astype(np.intp) << width * place
        return words

    def nearest(self, words: Words, error: Callable[[Words, NDArray[np.intp]], F32]) -> Words:
        """Return the index of each word's vector, or where there is none of its best neighbour.

        Parameters
        ----------
        words : ndarray of intp, shape (m,)
        error : callable
            (indices (p,), positions (p,)) -> the error of taking these vectors for the words at these
            positions, shape (p,). Of equal ones the first neighbour is taken.
        """
        indices: Words = self.index[words]
        missing = np.flatnonzero(indices < 0)
        if not len(missing):
            return indices
        count = self.count[words[missing]]
        ends = np.cumsum(count)
        starts = ends - count
        within = np.arange(ends[-1]) - np.repeat(starts, count)
        candidates = self.neighbours[np.repeat(self.start[words[missing]], count) + within]
        errors = error(candidates, np.repeat(missing, count))
        errors = np.where(np.isnan(errors), np.float32(np.inf), errors)
        least = np.minimum.reduceat(errors, starts)
        hits = np.flatnonzero(errors == np.repeat(least, count))
        indices[missing] = candidates[hits[np.searchsorted(hits, starts)]]
        return indices


@cache
def codebook(name: str) -> Codebook:
    """Return a codebook with the neighbours of every vector of digits.

    Examples
    --------
    >>> book = codebook("iq2xxs")
    >>> len(book.digits), int((book.index >= 0).sum())
    (256, 256)
    """
    digits = digits_of(name)
    length, width = digits.shape[1], 2 if digits.shape[1] == 8 else 3
    levels = 3 if length == 8 else 8
    # The last digit changes fastest in `product`; the first digit of a vector has the lowest bits.
    vectors = np.array(list(product(range(levels), repeat=length)), np.int16)[:, ::-1]
    places = np.arange(0, width * length, width)
    all_words = (vectors.astype(np.intp) << places).sum(axis=1)
    size = int(all_words.max()) + 1

    index = np.full(size, -1, np.intp)
    index[(digits.astype(np.intp) << places).sum(axis=1)] = np.arange(len(digits))
    missing = index[all_words] < 0
    start, count = np.zeros(size, np.intp), np.zeros(size, np.intp)
    lists, end = [], 0
    for word, vector in zip(all_words[missing], vectors[missing], strict=True):
        distance = ((digits - vector) ** 2).sum(axis=1)
        near = np.unique(distance)[: _SHELLS[name]][-1]
        found = np.flatnonzero(distance <= near)
        lists.append(found[np.argsort(distance[found], kind="stable")])
        start[word], count[word] = end, len(found)
        end += len(found)
    return Codebook(digits, index, start, count, np.concatenate(lists))
