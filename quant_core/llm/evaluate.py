"""Measure what quantization costs a model: perplexity, KL divergence and agreement on held-out text.

A text is read in windows, as in llama.cpp's `llama-perplexity`: each window begins with an empty cache, and
only the predictions of its later part are counted, which have enough context. The loss of a token is −log p,
in nats; perplexity is e to the mean loss.

Two more numbers compare with the model before quantization (the *reference*): the Kullback–Leibler divergence
of the predictions, which shows changes that perplexity averages away, and how often the most likely token is
the same.

References
----------
ggml-org/llama.cpp 0c1e57098bba, `tools/perplexity/perplexity.cpp` (`perplexity`, `perplexity_v2` with a
stride, `kl_divergence`). Jelinek et al. 1977, "Perplexity: a measure of the difficulty of speech recognition
tasks".
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant_core.arrays import F32
from quant_core.llm.model import Tokens, Transformer

F64 = NDArray[np.float64]

#: Tokens that are computed at a time, or one window where that is longer.
TOKENS_AT_ONCE = 1024
#: Called with the share of the work done so far.
Report = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of a text: which tokens are read, and which are predicted.

    Attributes
    ----------
    tokens : ndarray of int64, shape (windows, context)
    first : int
        Place in a window of the first token that is predicted and counted; those before it are only read.
    start : int or None
        Id that takes the place of each window's first token, for models whose texts begin with one (bos).
    """

    tokens: Tokens
    first: int
    start: int | None = None

    @property
    def targets(self) -> Tokens:
        """The tokens that are predicted, shape (windows, context − first)."""
        return self.tokens[:, self.first :]

    @property
    def inputs(self) -> Tokens:
        """What the model reads, shape (windows, context)."""
        if self.start is None:
            return self.tokens
        read = self.tokens.copy()
        read[:, 0] = self.start
        return read


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A model's predictions of a text, token by token.

    Attributes
    ----------
    losses : ndarray of float64, shape (windows, predictions)
        −log p of each token, in nats.
    divergences : ndarray of float64 of the same shape, or None
        Kullback–Leibler divergence Σ p log(p / q) of the reference's prediction p and the model's q, in nats.
    same_top : ndarray of bool of the same shape, or None
        Whether the most likely token is the same in both.
    """

    losses: F64
    divergences: F64 | None = None
    same_top: NDArray[np.bool_] | None = None

    @property
    def perplexity(self) -> float:
        """The exponential of the mean loss."""
        return math.exp(self.losses.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of the perplexity, as if the losses were independent; llama-perplexity's ±."""
        return self.perplexity * _standard_error(self.losses)

    @property
    def divergence(self) -> float:
        """Mean Kullback–Leibler divergence, in nats; 0 without a reference."""
        return 0.0 if self.divergences is None else float(self.divergences.mean())

    @property
    def divergence_error(self) -> float:
        """Standard error of the mean divergence."""
        return 0.0 if self.divergences is None else _standard_error(self.divergences)

    @property
    def agreement(self) -> float:
        """Share of places where the most likely token is the reference's; 1 without a reference."""
        return 1.0 if self.same_top is None else float(self.same_top.mean())

    def bits_per_byte(self, byte_count: int) -> float:
        """Return the bits for each byte of text, a measure that does not depend on the tokenizer.

        Parameters
        ----------
        byte_count : int
            Bytes of the text that was predicted.

        Raises
        ------
        ValueError
            If there is no byte.
        """
        if byte_count < 1:
            raise ValueError(f"byte_count is {byte_count}; give the bytes of the predicted text, 1 or more")
        return float(self.losses.sum()) / math.log(2) / byte_count


def windows(
    tokens: ArrayLike,
    context: int = 512,
    first: int | None = None,
    stride: int | None = None,
    start: int | None = None,
) -> Windows:
    """Cut a text into windows as llama-perplexity does; an incomplete one at the end is dropped.

    Parameters
    ----------
    tokens : array_like of int, shape (tokens,)
    context : int
        Tokens in a window (`-c`).
    first : int, optional
        See `Windows`; half the context plus one if not given, as in llama-perplexity without a stride. 1
        counts every token that has one before it.
    stride : int, optional
        Tokens from one window's beginning to the next (`--ppl-stride`); the last `stride` tokens of each are
        counted, so that no token is counted twice. Without it windows do not overlap.
    start : int, optional
        See `Windows`.

    Returns
    -------
    Windows

    Raises
    ------
    ValueError
        If an argument is out of range or the text is shorter than a window.

    Examples
    --------
    >>> windows(range(9), context=4).tokens.tolist(), windows(range(9), context=4).targets.tolist()
    ([[0, 1, 2, 3], [4, 5, 6, 7]], [[3], [7]])
    >>> windows(range(9), context=4, stride=2).targets.tolist()
    [[2, 3], [4, 5], [6, 7]]
    """
    ids = np.asarray(tokens)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise ValueError(f"tokens are {ids.dtype} of shape {ids.shape}; give a list of ids")
    # With a stride llama-perplexity wants one token more than a window.
    longest = len(ids) - (stride is not None)
    if not 2 <= context <= longest:
        raise ValueError(f"context is {context} and the text has {len(ids)} tokens; give from 2 to {longest}")
    if stride is not None:
        if first is not None or not 1 <= stride < context:
            raise ValueError(f"stride is {stride}; give from 1 to {context - 1}, and no first")
        first = context - stride
        begins = np.arange(0, len(ids) - context, stride)
    else:
        first = context // 2 + 1 if first is None else first
        begins = np.arange(0, len(ids) - context + 1, context)
    if not 1 <= first < context:
        raise ValueError(f"first is {first}; give from 1 to {context - 1}")
    return Windows(ids[begins[:, None] + np.arange(context)].astype(np.int64), first, start)


def evaluate(
    model: Transformer, text: Windows, reference: Transformer | None = None, report: Report | None = None
) -> Evaluation:
    """Measure a model on a text.

    Parameters
    ----------
    model : Transformer
    text : Windows
    reference : Transformer, optional
        The model before rounding, to measure divergence and agreement against.
    report : callable, optional
        Called after each piece of the work.

    Returns
    -------
    Evaluation
        The same numbers on every run with the same numpy, BLAS and number of its threads.

    Raises
    ------
    ValueError
        If a token is not of the model's vocabulary.
    """
    return evaluate_each({"": model}, text, reference, report)[""]


def evaluate_each(
    models: Mapping[str, Transformer],
    text: Windows,
    reference: Transformer | None = None,
    report: Report | None = None,
) -> dict[str, Evaluation]:
    """Measure several models; the reference is computed once.

    Parameters
    ----------
    models : mapping of str to Transformer
    text, reference, report
        As in `evaluate`.

    Returns
    -------
    dict of str to Evaluation

    Raises
    ------
    ValueError
        If a token is not of a model's vocabulary.
    """
    targets = text.targets
    results = {name: _empty(targets.shape, reference is not None) for name in models}
    at_once = max(1, TOKENS_AT_ONCE // text.tokens.shape[1])
    inputs = text.inputs
    for begin in range(0, len(inputs), at_once):
        rows = slice(begin, min(begin + at_once, len(inputs)))
        base = _predictions(reference, inputs[rows], text.first) if reference else None
        for name, model in models.items():
            known = base if model is reference else None
            predicted = _predictions(model, inputs[rows], text.first) if known is None else known
            _measure(results[name], rows, predicted, targets[rows], base)
        if report:
            report(rows.stop / len(inputs))
    return results


def losses(model: Transformer, tokens: Sequence[int]) -> F64:
    """Return the loss of each token of a short text but the first, shape (tokens − 1,), in nats.

    Raises
    ------
    ValueError
        If there are fewer than two tokens, or one is not of the model's vocabulary.
    """
    text = windows(np.asarray(tokens, np.int64), max(len(tokens), 2), first=1)
    of_each: F64 = evaluate(model, text).losses[0]
    return of_each


def _empty(shape: tuple[int, ...], compared: bool) -> Evaluation:
    return Evaluation(
        np.empty(shape),
        np.empty(shape) if compared else None,
        np.empty(shape, np.bool_) if compared else None,
    )


@dataclass(frozen=True, eq=False)
class _Predictions:
    """Log-probabilities of some windows, (windows, predictions, vocabulary), and the most likely tokens."""

    logs: F32
    top: Tokens

    @functools.cached_property
    def probabilities(self) -> F32:
        return np.exp(self.logs)


def _predictions(model: Transformer, inputs: Tokens, first: int) -> _Predictions:
    """Predict the tokens from place `first` on."""
    scores: F32 = model.logits(inputs[:, :-1])[:, first - 1 :]
    top = scores.argmax(axis=-1)
    scores -= np.take_along_axis(scores, top[..., None], axis=-1)
    scores -= np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    return _Predictions(scores, top)


def _measure(
    result: Evaluation, rows: slice, predicted: _Predictions, targets: Tokens, base: _Predictions | None
) -> None:
    result.losses[rows] = -np.take_along_axis(predicted.logs, targets[..., None], axis=-1)[..., 0]
    if base is not None and result.divergences is not None and result.same_top is not None:
        result.divergences[rows] = np.vecdot(base.probabilities, base.logs - predicted.logs)
        result.same_top[rows] = base.top == predicted.top


def _standard_error(values: F64) -> float:
    if values.size < 2:
        return 0.0
    spread = float(np.mean(values**2)) - float(np.mean(values)) ** 2
    return math.sqrt(max(spread, 0.0) / (values.size - 1))
