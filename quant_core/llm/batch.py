"""Continue several texts of different lengths in one batch.

Half of the time of a small model's step is the overhead of calls, and a batch makes each call once. The
result of a text does not depend on the others in its batch, to the bit: every row is multiplied separately,
and every cache has the same capacity.

References
----------
As `quant_core.llm.model`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from quant_core.arrays import F32
from quant_core.llm.model import _EMBEDDING, Cache, Listener, Tokens, Transformer, _sampled


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """A text to continue.

    Attributes
    ----------
    cache : Cache
        Of one sequence: all its tokens but the last.
    last : int
        The last token.
    seed : int
        Of the random numbers that its continuation is drawn with.
    """

    cache: Cache
    last: int
    seed: int


def generate_each(
    model: Transformer, texts: Sequence[Text], count: int, temperature: float, room: int
) -> Tokens:
    """Return what `Transformer.generate` draws for each text.

    Sums are added in another order than in `generate`, so a token may differ where two have nearly the same
    probability.

    Parameters
    ----------
    model : Transformer
    texts : sequence of Text
    count : int
        Tokens to add to each.
    temperature : float
        As in `generate`.
    room : int
        Capacity of the caches: tokens of the longest text. The last bits of the result depend on it.

    Returns
    -------
    ndarray of int64, shape (texts, count)

    Raises
    ------
    ValueError
        If there is no text, one is longer than `room`, or an argument is negative.
    """
    lengths = [text.cache.length for text in texts]
    if not texts or max(lengths) > room:
        raise ValueError(f"texts have {lengths} tokens; give at least one text, of at most {room}")
    if count < 0 or temperature < 0:
        raise ValueError(f"count is {count} and temperature {temperature}; give 0 or more")
    rows = _RowwiseProduct(**{field.name: getattr(model, field.name) for field in fields(model)})
    cache = _right_aligned(model, texts, room, count)
    numbers = np.array([np.random.default_rng(text.seed).random(count) for text in texts])
    read = np.array([text.last for text in texts])
    made = np.empty((len(texts), count), np.int64)
    for step in range(count):
        turn = _TokenRotation(model, np.array(lengths) + step, room + step + 1)
        x = model.weights[_EMBEDDING][read]
        for layer in range(model.shape.n_layers):
            x = rows._layer(x, layer, len(texts), turn, cache, None)  # type: ignore[arg-type]
        cache.length += 1
        scores = rows._multiply(rows._norm(x, "output_norm.weight"), model.head, None)
        made[:, step] = read = _sampled(scores.astype(np.float64), temperature, numbers[:, step])
    return made


class _RowwiseProduct(Transformer):
    """Multiply each row separately: the order of additions in a product depends on the number of rows."""

    def _multiply(self, x: F32, name: str, listen: Listener | None) -> F32:
        return super()._multiply(x[:, None], name, listen)[:, 0]


class _TokenRotation:
    """The rotary angles of one token of each text, and the columns of the common cache that belong to it."""

    def __init__(self, model: Transformer, positions: Tokens, columns: int) -> None:
        angles = positions[:, None] * model.frequencies
        self._turn = np.exp(1j * angles).astype(np.complex64)[:, None, None]
        self._neighbours = model.neighbours
        outside = np.arange(columns) < columns - 1 - positions[:, None]
        self.mask = np.where(outside, np.float32(-np.inf), np.float32(0))[:, None, None, None]

    def apply(self, x: F32) -> F32:
        """Rotate every pair of (texts, 1, heads, head_dim), as `Transformer` does."""
        if self._neighbours:
            turned: F32 = (np.ascontiguousarray(x).view(np.complex64) * self._turn).view(np.float32)
            return turned
        half = x.shape[-1] // 2
        pairs = (x[..., :half] + 1j * x[..., half:]) * self._turn
        return np.concatenate([pairs.real, pairs.imag], axis=-1)


def _right_aligned(model: Transformer, texts: Sequence[Text], room: int, count: int) -> Cache:
    """Return one cache of all texts, aligned at their last tokens."""
    cache = Cache(model.shape, len(texts), room + count)
    for i, text in enumerate(texts):
        length = text.cache.length
        cache.keys[:, i, :, room - length : room] = text.cache.keys[:, 0, :, :length]
        cache.values[:, i, :, room - length : room] = text.cache.values[:, 0, :, :length]
    cache.length = room
    return cache
