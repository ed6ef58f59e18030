"""The importance matrix: the mean squared activation of each input channel of each weight.

For every matrix of a model, llama.cpp's `llama-imatrix` adds up the squares of the activations that are
multiplied with each column, and counts the tokens. Their quotient, the mean of x² per input channel, is the
importance vector of `quant_core.ggml.quantize`: an error in column j of W costs mean(x_j²) times its square.
It is the diagonal of the Hessian of `quant_core.methods.gptq`.

Sums are stored, not means, so that files of several runs can be merged. A matrix of a mixture of
experts has one vector for each expert, over the tokens that were sent to it. Files are read and written by
`quant_core.files.imatrix`.

References
----------
ggml-org/llama.cpp 0c1e57098bba, `tools/imatrix/imatrix.cpp` (`collect_imatrix`, `load_imatrix`) and
`tools/quantize/quantize.cpp` (`load_imatrix`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant_core.arrays import F32, as_floats, as_matrix
from quant_core.ggml.primitives import sum_in_order

#: Tokens in a chunk of text: the default context of `llama-imatrix`.
CHUNK_SIZE = 512


@dataclass(frozen=True, eq=False)
class Statistics:
    """Statistics of the inputs of one tensor.

    Attributes
    ----------
    sums : ndarray of float32, shape (experts, columns)
        Σx² of each input channel. A tensor without experts has one row.
    counts : ndarray of int64, shape (experts,)
        Tokens that were added up.
    """

    sums: F32
    counts: NDArray[np.int64]

    def mean(self) -> F32:
        """Return the importance, Σx² / tokens, shape (experts, columns); 1 for an expert without tokens."""
        seen = self.counts[:, None] > 0
        counts = np.where(seen, self.counts[:, None], 1).astype(np.float32)
        means: F32 = np.where(seen, self.sums / counts, np.float32(1))
        return means


@dataclass(frozen=True, eq=False)
class ImportanceMatrix:
    """The statistics of a model's tensors.

    Attributes
    ----------
    entries : mapping of str to Statistics
        By the tensor's name, such as blk.0.attn_q.weight.
    chunk_size : int
        Tokens in a chunk; the files count in chunks too.
    datasets : tuple of str
        Names of the texts.
    """

    entries: Mapping[str, Statistics]
    chunk_size: int = CHUNK_SIZE
    datasets: tuple[str, ...] = ()

    @property
    def chunk_count(self) -> int:
        """Whole chunks of the tensor with the most tokens."""
        most = max((int(entry.counts.max()) for entry in self.entries.values()), default=0)
        return most // self.chunk_size

    def vectors(self) -> dict[str, F32]:
        """Return the importance of every tensor: shape (columns,), or (experts, columns) with experts."""
        means = {name: entry.mean() for name, entry in self.entries.items()}
        return {name: mean[0] if len(mean) == 1 else mean for name, mean in means.items()}


@dataclass
class Collector:
    """Adds up squared activations while a model runs.

    The sums are float32, added token by token in order: the same bits as llama.cpp's, if compiled without
    fused multiply-add.

    Attributes
    ----------
    chunk_size : int
        Tokens in a chunk of text.

    Examples
    --------
    >>> collector = Collector()
    >>> collector.add("blk.0.attn_q.weight", [[1.0, 2.0], [3.0, 0.0]])
    >>> collector.add("blk.0.attn_q.weight", [[1.0, 1.0], [1.0, 1.0]])
    >>> collector.result().vectors()["blk.0.attn_q.weight"].tolist()
    [3.0, 1.5]
    """

    chunk_size: int = CHUNK_SIZE
    _entries: dict[str, Statistics] = field(default_factory=dict, init=False, repr=False)

    def add(self, name: str, activations: ArrayLike) -> None:
        """Add the inputs of a tensor.

        Parameters
        ----------
        name : str
        activations : array_like of float, shape (tokens, columns)

        Raises
        ------
        ValueError
            If a number is not finite, the squares overflow, or the columns are not those of earlier inputs.
        """
        x = as_matrix(activations, "activations").astype(np.float32)
        sums = self._sums_of(name, 1, x.shape[1])
        _add_squares(sums[0], x, name)
        self._entries[name] = Statistics(sums, self._counts_of(name, 1) + len(x))

    def add_experts(self, name: str, activations: ArrayLike, experts: ArrayLike, expert_count: int) -> None:
        """Add the inputs of a tensor of experts, each to the experts it is sent to.

        Parameters
        ----------
        name : str
        activations : array_like of float, shape (tokens, columns) or (tokens, used, columns)
            With three dimensions each of the experts of a token has an input of its own, as after the first
            of two expert layers.
        experts : array_like of int, shape (tokens, used)
            The experts of each token.
        expert_count : int
            Experts of the tensor.

        Raises
        ------
        ValueError
            As `add`, or if an expert is out of range or the shapes do not fit.
        """
        x = as_floats(activations, "activations").astype(np.float32)
        chosen = np.asarray(experts)
        if x.ndim == 2:
            x = x[:, None, :]
        if chosen.ndim != 2 or x.ndim != 3 or len(x) != len(chosen) or x.shape[1] not in (1, chosen.shape[1]):
            raise ValueError(
                f"activations have shape {np.shape(activations)} and experts {chosen.shape}; give "
                "(tokens, columns) or (tokens, used, columns), and (tokens, used)"
            )
        whole = chosen.dtype.kind in "iu" and chosen.size > 0
        if not whole or chosen.min() < 0 or chosen.max() >= expert_count:
            raise ValueError(f"experts must be whole numbers from 0 to {expert_count - 1}, at least one")
        sums = self._sums_of(name, expert_count, x.shape[2])
        counts = self._counts_of(name, expert_count)
        for expert in np.unique(chosen):
            # All first choices come before all second choices, as in llama.cpp.
            choice, token = np.nonzero(np.equal(chosen.T, expert))
            _add_squares(sums[expert], x[token, choice % x.shape[1]], name)
            counts[expert] += len(token)
        self._entries[name] = Statistics(sums, counts)

    def result(self, *datasets: str) -> ImportanceMatrix:
        """Return the statistics so far; more can be added later."""
        return ImportanceMatrix(dict(self._entries), self.chunk_size, datasets)

    def _sums_of(self, name: str, experts: int, columns: int) -> F32:
        """Return a copy, because returned results must not change."""
        if name not in self._entries:
            return np.zeros((experts, columns), np.float32)
        sums = self._entries[name].sums
        if sums.shape != (experts, columns):
            raise ValueError(
                f"{name} had {sums.shape[0]} experts and {sums.shape[1]} columns so far, and now "
                f"{experts} and {columns}; give one name to one tensor"
            )
        return sums.copy()

    def _counts_of(self, name: str, experts: int) -> NDArray[np.int64]:
        return self._entries[name].counts.copy() if name in self._entries else np.zeros(experts, np.int64)


def merge(matrices: Iterable[ImportanceMatrix]) -> ImportanceMatrix:
    """Add up several importance matrices, as `llama-imatrix --in-file` does.

    Parameters
    ----------
    matrices : iterable of ImportanceMatrix
        Of the same model. Old files hold one count for all experts of a tensor: it then counts for each.

    Returns
    -------
    ImportanceMatrix
        With the chunk size of the first.

    Raises
    ------
    ValueError
        If there is none, or a tensor has different sizes.

    Examples
    --------
    >>> first, second = Collector(), Collector()
    >>> first.add("a", [[2.0]])
    >>> second.add("a", [[0.0], [1.0], [1.0]])
    >>> merge([first.result("one"), second.result("two")]).vectors()["a"].tolist()
    [1.5]
    """
    matrices = list(matrices)
    if not matrices:
        raise ValueError("there is no importance matrix to merge; give at least one")
    entries: dict[str, Statistics] = {}
    for matrix in matrices:
        for name, entry in matrix.entries.items():
            entries[name] = _sum(name, entries[name], entry) if name in entries else entry
    datasets = tuple(dataset for matrix in matrices for dataset in matrix.datasets)
    return ImportanceMatrix(entries, matrices[0].chunk_size, datasets)


def _sum(name: str, first: Statistics, second: Statistics) -> Statistics:
    experts = max(len(first.counts), len(second.counts))
    parts = [_with_experts(entry, experts) for entry in (first, second)]
    if any(part is None for part in parts) or first.sums.size != second.sums.size:
        raise ValueError(
            f"{name} has {first.sums.shape} sums in one matrix and {second.sums.shape} in another; "
            "merge matrices of the same model"
        )
    (sums, counts), (more_sums, more_counts) = ((part.sums, part.counts) for part in parts if part)
    return Statistics(sums + more_sums, counts + more_counts)


def _with_experts(entry: Statistics, experts: int) -> Statistics | None:
    """Return the statistics with one count for each expert, or None if the sizes do not divide."""
    if len(entry.counts) == experts:
        return entry
    if len(entry.counts) > 1 or entry.sums.size % experts:
        return None
    return Statistics(entry.sums.reshape(experts, -1), np.repeat(entry.counts, experts))


def _add_squares(sums: F32, x: F32, name: str) -> None:
    """Add the squares of the rows of x to `sums`, shape (columns,), one row after the other."""
    with np.errstate(over="ignore"):
        sums[:] = sum_in_order(np.concatenate([sums[None], x * x]))
    if not np.isfinite(sums).all():
        raise ValueError(f"the squares of the inputs of {name} exceed float32; the activations are broken")
