"""The lesson's small model at seven widths, kept in memory: what it makes of a reader's sentence.

Each width is round-to-nearest with groups of 64 on all matrices, as in the table of `measuring`. They are
made once, at first use, and take 57 MB together.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lessons.quantization.measuring import GROUP_SIZE, tiny_model, tokenizer
from quant_core import calibrate
from quant_core.bpe import Tokenizer
from quant_core.model import Transformer
from quant_core.rtn import round_to_nearest

WIDTHS = (16, 8, 6, 5, 4, 3, 2)
BEGIN = 0
"""The token that begins every document of the training text; so it does in SmolLM2's, as <|endoftext|>."""

SPECIAL = re.compile(r"<\|\w+\|>")
"""Tokens that end a text."""

CONTINUED = 24
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


@functools.lru_cache(maxsize=256)
def read(sentence: str, seed: int) -> Reading:
    """Read a sentence at every width, and continue it.

    The sentence is read once a width: its last token gives the first prediction of the continuation.
    """
    ids = tokenizer().encode(sentence)
    losses, continuations = zip(
        *(read_by(at_width(bits), tokenizer(), ids, seed) for bits in WIDTHS), strict=True
    )
    return Reading(pieces(tokenizer(), ids), np.array(losses), continuations)


def read_by(
    model: Transformer, tokenizer: Tokenizer, ids: Sequence[int], seed: int
) -> tuple[NDArray[np.float64], str]:
    """The loss of each token behind the one that begins a document, in nats, and what the model adds."""
    read_ids = np.array([BEGIN, *ids])
    cache = model.cache(capacity=len(read_ids) + CONTINUED)
    scores = model.logits(read_ids[:-1], cache).astype(np.float64)
    scores -= scores.max(axis=-1, keepdims=True)
    predicted = scores[np.arange(len(ids)), read_ids[1:]]
    losses = np.log(np.exp(scores).sum(axis=-1)) - predicted
    made = model.generate(read_ids[-1:], CONTINUED, TEMPERATURE, seed, cache).tolist()
    ended = next((i for i, token in enumerate(made) if SPECIAL.fullmatch(tokenizer.tokens[token])), len(made))
    return losses, tokenizer.decode(made[:ended])


def pieces(tokenizer: Tokenizer, ids: Iterable[int]) -> tuple[str, ...]:
    """The text of each token by itself."""
    return tuple(tokenizer.decode([token]) for token in ids)
