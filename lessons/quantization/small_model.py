"""The lesson's small model at seven widths, kept in memory: how it reads and continues a reader's sentence.

Each width is round-to-nearest with groups of 64 on all matrices, as in the table of `measuring`. They are
made once, at first use, and take 57 MB together.
"""

from __future__ import annotations

import functools
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lessons.quantization.measuring import CONTEXT, GROUP_SIZE, tiny_model, tokenizer
from quant_core.llm import calibrate
from quant_core.llm.batch import Text, generate_each
from quant_core.llm.bpe import Tokenizer
from quant_core.llm.model import Cache, Transformer
from quant_core.methods.rtn import round_to_nearest

WIDTHS = (16, 8, 6, 5, 4, 3, 2)
BEGIN = 0
"""The token that begins every document of the training text; so it does in SmolLM2's, as <|endoftext|>."""

SPECIAL = re.compile(r"<\|\w+\|>")
"""Tokens that end a text."""

CONTINUED = 16
"""Tokens that the model adds; with a sentence of 100 characters they fit into its context of 128."""

TEMPERATURE = 0.7


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A sentence under every width.

    `losses` is −log p of each token in nats, (widths, tokens), in the order of `WIDTHS`; `continuations` is
    what each writes after it, drawn with the same numbers.
    """

    tokens: tuple[str, ...]
    losses: NDArray[np.float64]
    continuations: tuple[str, ...]

    @property
    def perplexities(self) -> NDArray[np.float64]:
        """Of the sentence, one for each width."""
        perplexities: NDArray[np.float64] = np.exp(self.losses.mean(axis=1))
        return perplexities

    @property
    def rises(self) -> NDArray[np.float64]:
        """How much worse each token is predicted than at 16 bits, in nats."""
        rises: NDArray[np.float64] = self.losses - self.losses[0]
        return rises


@functools.cache
def at_width(bits: int) -> Transformer:
    """The model with all matrices rounded to a width; 16 is the model as it is."""
    model = tiny_model()
    if bits == 16:
        return model
    return model.replaced(
        calibrate.round_matrices(
            model, model.matrices, lambda w: round_to_nearest(w, bits, GROUP_SIZE).dequantize()
        )
    )


BATCH = 4
"""Sentences of one pass; more would gain little speed and make other requests wait longer."""

_MOST_KEPT = 256  # some 10 kB each
_kept: OrderedDict[tuple[str, int], Reading] = OrderedDict()
_lock = threading.Lock()


def read(sentence: str, seed: int) -> Reading:
    """Read a sentence at every width, and continue it.

    The sentence is read once a width: its last token gives the first prediction of the continuation.
    """
    return read_each([(sentence, seed)])[0]


def read_each(asked: Sequence[tuple[str, int]]) -> list[Reading]:
    """`read` of several sentences with their seeds, continued together; each is as it would be alone."""
    with _lock:
        found = {key: _kept[key] for key in asked if key in _kept}
    found |= _read_new([key for key in dict.fromkeys(asked) if key not in found])
    with _lock:
        for key, reading in found.items():
            _kept[key] = reading
            _kept.move_to_end(key)
        while len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
    return [found[key] for key in asked]


def forget() -> None:
    """Forget every reading."""
    with _lock:
        _kept.clear()


def _read_new(asked: list[tuple[str, int]]) -> dict[tuple[str, int], Reading]:
    ids = [tokenizer().encode(sentence) for sentence, _ in asked]
    room = CONTEXT - CONTINUED
    losses: list[list[NDArray[np.float64]]] = [[] for _ in asked]
    continuations: list[list[str]] = [[] for _ in asked]
    for bits in WIDTHS:
        texts = []
        for i, (_, seed) in enumerate(asked):
            cache, loss = _losses(at_width(bits), ids[i], len(ids[i]))
            losses[i].append(loss)
            texts.append(Text(cache, ids[i][-1], seed))
        for start in range(0, len(texts), BATCH):
            part = texts[start : start + BATCH]
            made = generate_each(at_width(bits), part, CONTINUED, TEMPERATURE, room)
            for i, row in enumerate(made.tolist(), start):
                continuations[i].append(_text(tokenizer(), row))
    return {
        key: Reading(pieces(tokenizer(), ids[i]), np.array(losses[i]), tuple(continuations[i]))
        for i, key in enumerate(asked)
    }


def read_by(
    model: Transformer, tokenizer: Tokenizer, ids: Sequence[int], seed: int
) -> tuple[NDArray[np.float64], str]:
    """The loss of each token behind the one that begins a document, in nats, and what the model adds."""
    cache, losses = _losses(model, ids, len(ids) + CONTINUED)
    made = model.generate(ids[-1:], CONTINUED, TEMPERATURE, seed, cache).tolist()
    return losses, _text(tokenizer, made)


def _losses(model: Transformer, ids: Sequence[int], capacity: int) -> tuple[Cache, NDArray[np.float64]]:
    """The loss of each token behind the one that begins a document, and a cache of all but the last."""
    read_ids = np.array([BEGIN, *ids])
    cache = model.cache(capacity=capacity)
    scores = model.logits(read_ids[:-1], cache).astype(np.float64)
    scores -= scores.max(axis=-1, keepdims=True)
    predicted = scores[np.arange(len(ids)), read_ids[1:]]
    return cache, np.log(np.exp(scores).sum(axis=-1)) - predicted


def _text(tokenizer: Tokenizer, made: Sequence[int]) -> str:
    """The text of the generated tokens, up to one that ends a text."""
    ended = next((i for i, token in enumerate(made) if SPECIAL.fullmatch(tokenizer.tokens[token])), len(made))
    return tokenizer.decode(made[:ended])


def pieces(tokenizer: Tokenizer, ids: Iterable[int]) -> tuple[str, ...]:
    """The text of each token by itself."""
    return tuple(tokenizer.decode([token]) for token in ids)
