"""From a model in a file to a quantized GGUF file, in pieces that fit into memory.

First a plan is made: which type each tensor gets, and whether every one of them can be written. Then rows are
read, encoded and written piece by piece; several processes may encode, each reading its own rows. A row is
encoded by itself, so the bytes do not depend on the pieces or on the number of processes.

References
----------
`llama_model_quantize_impl` in `src/llama-quant.cpp` of ggml-org/llama.cpp 0c1e57098bba.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from quant_core.arrays import F32, U8
from quant_core.files.errors import FormatError, printable, short_path
from quant_core.files.gguf import Meta
from quant_core.files.gguf_writer import TensorSpec, create_gguf, whole
from quant_core.files.model import Model
from quant_core.files.storage import FILE_TYPES, PLAIN, decode, encode
from quant_core.files.tensors import StoredTensor
from quant_core.ggml.registry import QUANTIZABLE
from quant_core.mixes import MIXES, tensor_types

#: Weights that a process holds at a time, or one row where that is longer.
WEIGHTS_AT_ONCE = 1 << 19
QUANTIZATION_VERSION = 2

#: Types that come out useless without an importance vector; llama-quantize refuses them, and so does this.
_BLIND = frozenset(("IQ3_XXS", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_M", "IQ1_S"))
_NEVER_BLIND = frozenset(("token_embd.weight", "output.weight"))

Importance = Mapping[str, ArrayLike]


@dataclass(frozen=True)
class Step:
    """What happens to one tensor.

    Attributes
    ----------
    source : StoredTensor
    type_name : str
        The type it is written in.
    importance : ndarray of float32, shape (columns,), or None
    """

    source: StoredTensor
    type_name: str
    importance: F32 | None = None

    @property
    def spec(self) -> TensorSpec:
        """The tensor in the new file."""
        return TensorSpec(self.source.name, self.source.shape, self.type_name)


@dataclass(frozen=True)
class Progress:
    """How far the work is: after each piece of a tensor."""

    step: Step
    number: int
    count: int
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class Written:
    """What has been written: number of tensors and weights, bytes of the weights before and after."""

    tensors: int
    elements: int
    bytes_before: int
    bytes_after: int

    @property
    def bits_per_weight(self) -> float:
        """Stored bits for one weight, over all tensors."""
        return 8 * self.bytes_after / self.elements


def quantize_model(
    model: Model,
    target: str | Path,
    mix: str,
    importance: Importance | None = None,
    jobs: int = 1,
    report: Callable[[Progress], None] | None = None,
) -> Written:
    """Write a model as a GGUF file of a file type, as llama-quantize does.

    Parameters
    ----------
    model : Model
        As `quant_core.files.opening.open_model` returns it.
    target : path
        Appears when it is complete.
    mix : str
        A key of `quant_core.mixes.MIXES` that has a number in llama.cpp, such as "Q4_K_M".
    importance : mapping of str to array_like, optional
        Per tensor name one number for each column: an importance matrix.
    jobs : int
        Processes that encode; the bytes do not depend on it.
    report : callable, optional
        Called after each piece.

    Returns
    -------
    Written

    Raises
    ------
    ValueError
        If the mix is unknown, or needs a type that cannot be written or an importance matrix that is missing.
    FormatError
        If a tensor is missing, unexpected, of another shape, or quantized already.
    OSError
        If the file cannot be written.
    """
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}; give the number of processes, 1 or more")
    steps = plan(model, mix, importance)
    total = sum(step.spec.bytes for step in steps)
    done = 0
    with create_gguf(target, _metadata(model, mix), [step.spec for step in steps], model.sources) as writer:
        for piece, data in _encoded(_pieces(steps), jobs):
            writer.write(data)
            done += data.nbytes
            if report:
                report(Progress(piece.step, piece.number, len(steps), done, total))
    return Written(
        len(steps),
        sum(step.source.elements for step in steps),
        sum(step.source.bytes for step in steps),
        total,
    )


def plan(model: Model, mix: str, importance: Importance | None = None) -> list[Step]:
    """Decide the type of every tensor, and refuse before any work what cannot be done.

    Raises
    ------
    ValueError, FormatError
        As `quantize_model`.
    """
    if mix not in FILE_TYPES:
        raise ValueError(f"file type {mix!r} is not known; choose one of {', '.join(FILE_TYPES)}")
    if MIXES[mix].needs_importance and importance is None:
        raise ValueError(f"{mix} needs an importance matrix: without one its lowest types come out useless")
    types = {tensor.name: tensor for tensor in tensor_types(model.shape, mix, importance is not None)}
    steps = []
    for tensor in model.tensors:
        typed = types.pop(tensor.name, None)
        where = f"{short_path(tensor.path)}: tensor {printable(tensor.name)}"
        if typed is None and len(tensor.shape) > 1:
            raise FormatError(f"{where} of shape {tensor.shape} is not part of such a model")
        if typed is not None and (typed.rows, typed.columns) != (tensor.rows, tensor.columns):
            raise FormatError(
                f"{where} has shape {tensor.shape}; the model's numbers demand {(typed.rows, typed.columns)}"
            )
        steps.append(_step(tensor, typed.type if typed else "F32", importance, where))
    if types:
        raise FormatError(f"{short_path(model.path)}: tensor {next(iter(types))} is missing")
    return steps


def decoded(steps: Iterable[Step]) -> dict[str, F32]:
    """Return what would be read from the file that the steps of `plan` write.

    Returns
    -------
    dict of str to ndarray of float32
        By name; a vector has one dimension.

    Raises
    ------
    ValueError
        As `quant_core.files.storage.encode`.
    """
    weights: dict[str, F32] = {}
    for step in steps:
        values = step.source.floats()
        if step.type_name != step.source.type_name:
            values = decode(encode(values, step.type_name, step.importance), step.type_name)
        weights[step.source.name] = values.reshape(step.source.shape)
    return weights


def _step(tensor: StoredTensor, type_name: str, importance: Importance | None, where: str) -> Step:
    if type_name == tensor.type_name:
        return Step(tensor, type_name)
    if tensor.type_name not in PLAIN:
        raise FormatError(
            f"{where} is stored as {tensor.type_name} already and would be quantized twice; "
            "give the F32, F16 or BF16 file"
        )
    if type_name not in QUANTIZABLE:
        raise ValueError(
            f"{where} would be {type_name}, which cannot be written; the types that can are "
            f"{', '.join(QUANTIZABLE)}"
        )
    vector = None if type_name in PLAIN else _importance(tensor, importance, where)
    if vector is None and type_name in _BLIND and tensor.name not in _NEVER_BLIND:
        raise ValueError(f"{where} would be {type_name} and has no entry in the importance matrix")
    return Step(tensor, type_name, vector)


def _importance(tensor: StoredTensor, importance: Importance | None, where: str) -> F32 | None:
    if importance is None or tensor.name not in importance:
        return None
    vector = np.asarray(importance[tensor.name], dtype=np.float32)
    if vector.shape != (tensor.columns,):
        raise ValueError(f"{where} has {tensor.columns} columns; its importance has shape {vector.shape}")
    return vector


def _metadata(model: Model, mix: str) -> dict[str, Meta]:
    """The model's metadata with the file type at the end, and without the marks of a split file."""
    written = {
        "general.quantization_version": whole(QUANTIZATION_VERSION),
        "general.file_type": whole(FILE_TYPES[mix]),
    }
    kept = {
        key: meta
        for key, meta in model.metadata.items()
        if key not in written and key not in ("split.no", "split.count", "split.tensors.count")
    }
    return kept | written


@dataclass(frozen=True)
class _Piece:
    """Some rows of a tensor; `number` counts the tensors from 1."""

    number: int
    step: Step
    start: int
    stop: int


def _pieces(steps: Iterable[Step]) -> Iterator[_Piece]:
    for number, step in enumerate(steps, 1):
        rows, at_once = step.source.rows, max(1, WEIGHTS_AT_ONCE // step.source.columns)
        for start in range(0, rows, at_once):
            yield _Piece(number, step, start, min(start + at_once, rows))


def _encoded(pieces: Iterable[_Piece], jobs: int) -> Iterator[tuple[_Piece, U8]]:
    """Yield the bytes of the pieces in order, with no more of them in memory than are being worked on."""
    if jobs == 1:
        for piece in pieces:
            yield piece, _encode(piece)
        return
    pool = ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker
    )
    try:
        waiting: deque[tuple[_Piece, Future[U8]]] = deque()
        for piece in pieces:
            waiting.append((piece, pool.submit(_encode, piece)))
            if len(waiting) > 2 * jobs:
                first, encoded = waiting.popleft()
                yield first, encoded.result()
        for last, encoded in waiting:
            yield last, encoded.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _encode(piece: _Piece) -> U8:
    step = piece.step
    if step.type_name == step.source.type_name:
        return step.source.raw(piece.start, piece.stop)
    values = step.source.floats(piece.start, piece.stop)
    try:
        return encode(values, step.type_name, step.importance)
    except ValueError as error:
        where = f"{short_path(step.source.path)}: tensor {printable(step.source.name)}"
        raise FormatError(f"{where}, rows {piece.start} to {piece.stop - 1}: {error}") from None


def _begin_worker() -> None:
    """Leave the interrupt key to the parent, and end when it is killed: nothing else would say so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()


def _exit_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
