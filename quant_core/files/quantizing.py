"""Quantize a model file to a GGUF file, in pieces that fit into memory.

First a plan is made: the type of each tensor, and whether each can be written. Then rows are
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
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from quant_core.arrays import F32, U8
from quant_core.files.errors import FormatError, printable, short_path
from quant_core.files.gguf import Meta
from quant_core.files.gguf_writer import NewFile, TensorSpec, create_gguf_files, uint32
from quant_core.files.model import Model
from quant_core.files.split import COUNT, NUMBER, TENSORS, part_names, prefix_of, split_metadata
from quant_core.files.storage import FILE_TYPES, SIZES, UNQUANTIZED, decode, encode
from quant_core.files.tensors import StoredTensor
from quant_core.ggml.mixes import MIXES, tensor_types

#: Weights that a process holds at a time, or one row where that is longer.
WEIGHTS_AT_ONCE = 1 << 19
QUANTIZATION_VERSION = 2

#: Types that are useless without an importance vector; llama-quantize refuses them, and so does this module.
_USELESS_WITHOUT_IMPORTANCE = frozenset(("IQ3_XXS", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_M", "IQ1_S"))
_USELESS_IN_MIX = {"Q2_K_S": _USELESS_WITHOUT_IMPORTANCE | {"Q2_K"}}
#: Types whose encoders ignore importance.
_IGNORES_IMPORTANCE = frozenset((*UNQUANTIZED, "Q8_0", "MXFP4", "NVFP4", "TQ1_0", "TQ2_0", "Q1_0", "Q2_0"))
#: llama-imatrix does not measure these: their entries are not required.
_EMBEDDINGS = frozenset(("token_embd.weight", "per_layer_token_embd.weight"))
_NOT_IN_IMATRIX = _EMBEDDINGS | {"output.weight"}
_IMATRIX_PREFIX = "quantize.imatrix."
_NAMES_IN_MESSAGES = 3

Importance = Mapping[str, ArrayLike]


@dataclass(frozen=True)
class TensorPlan:
    """What happens to one tensor.

    Attributes
    ----------
    source : StoredTensor
    type_name : str
        The type it is written in.
    importance : ndarray of float32, shape (columns,), or None
        None also where the type ignores it.
    wanted : str
        The type that the mix chose; `type_name` differs where the rows are no multiple of its block. "" for
        a tensor that the mix does not cover.
    """

    source: StoredTensor
    type_name: str
    importance: F32 | None = None
    wanted: str = ""

    @property
    def fell_back(self) -> bool:
        """Whether its rows do not divide into blocks of the type that the mix has for it."""
        return self.wanted not in ("", self.type_name)

    @property
    def spec(self) -> TensorSpec:
        """The tensor in the new file."""
        return TensorSpec(self.source.name, self.source.shape, self.type_name)


@dataclass(frozen=True)
class Progress:
    """Progress after a piece of a tensor."""

    step: TensorPlan
    number: int
    count: int
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class Written:
    """What has been written: number of tensors and weights, bytes of the weights before and after, files."""

    tensors: int
    elements: int
    bytes_before: int
    bytes_after: int
    files: tuple[Path, ...]

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
    metadata: Mapping[str, Meta] | None = None,
    keep_split: bool = False,
) -> Written:
    """Write a model as a GGUF file of a file type, as llama-quantize does.

    Parameters
    ----------
    model : Model
        As `quant_core.files.opening.open_model` returns it.
    target : path
        Appears when it is complete. What the model is read from is not replaced.
    mix : str
        A key of `quant_core.ggml.mixes.MIXES` that has a number in llama.cpp, such as "Q4_K_M".
    importance : mapping of str to array_like, optional
        Per tensor name one number for each column: an importance matrix.
    jobs : int
        Processes that encode; the bytes do not depend on it.
    report : callable, optional
        Called after each piece.
    metadata : mapping of str to Meta, optional
        Written behind the model's own.
    keep_split : bool
        Write as many files as the model was read from, each with the same tensors. They are named as
        `targets_of` says.

    Returns
    -------
    Written

    Raises
    ------
    ValueError
        If the mix is unknown, or needs a type that cannot be written or an importance matrix that is missing;
        or if the importance matrix names no tensor of the model.
    FormatError
        If a tensor is missing, unexpected, of another shape, or quantized already.
    OSError
        If the file cannot be written.
    """
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}; give the number of processes, 1 or more")
    steps = plan(model, mix, importance)
    targets = targets_of(model, target, keep_split)
    parts = _parts(model, steps) if len(targets) > 1 else [steps]
    headers = _headers(model, steps, mix, metadata or {}, len(targets))
    files = [
        NewFile(path, header, [step.spec for step in part])
        for path, header, part in zip(targets, headers, parts, strict=True)
    ]
    total = _write(files, parts, model, jobs, report)
    elements = sum(step.source.elements for step in steps)
    return Written(len(steps), elements, sum(step.source.bytes for step in steps), total, tuple(targets))


def _write(
    files: list[NewFile],
    parts: list[list[TensorPlan]],
    model: Model,
    jobs: int,
    report: Callable[[Progress], None] | None,
) -> int:
    """Write the files, each with the tensors of its part; return the bytes of the tensors."""
    steps = [step for part in parts for step in part]
    total, done = sum(step.spec.bytes for step in steps), 0
    with create_gguf_files(files, model.sources) as writers:
        writer_of = [writer for writer, part in zip(writers, parts, strict=True) for _ in part]
        for piece, data in _encoded(_pieces(steps), jobs):
            writer_of[piece.number - 1].write(data)
            done += data.nbytes
            if report:
                report(Progress(piece.step, piece.number, len(steps), done, total))
    return total


def targets_of(model: Model, target: str | Path, keep_split: bool) -> list[Path]:
    """Return the files that `quantize_model` writes.

    References
    ----------
    `--keep-split` in `tools/quantize/quantize.cpp` of ggml-org/llama.cpp 0c1e57098bba: OUT without its .gguf
    is what the names begin with, for one file too.
    """
    if not keep_split:
        return [Path(target)]
    return part_names(prefix_of(Path(target)), max(1, len(model.parts)))


def _parts(model: Model, steps: Iterable[TensorPlan]) -> list[list[TensorPlan]]:
    """Return the plans of each file's tensors, in the order of the file."""
    parts: dict[Path, list[TensorPlan]] = {path: [] for path in model.parts}
    for step in sorted(steps, key=lambda step: step.source.offset):
        parts[step.source.path].append(step)
    return list(parts.values())


def plan(model: Model, mix: str, importance: Importance | None = None) -> list[TensorPlan]:
    """Choose the type of every tensor, and refuse impossible tasks before any work.

    Raises
    ------
    ValueError, FormatError
        As `quantize_model`.
    """
    if mix not in FILE_TYPES:
        raise ValueError(f"file type {mix!r} is not known; choose one of {', '.join(FILE_TYPES)}")
    if MIXES[mix].needs_importance and importance is None:
        raise ValueError(f"{mix} needs an importance matrix: without one its lowest types come out useless")
    if importance is not None and not any(tensor.name in importance for tensor in model.tensors):
        raise ValueError(
            f"the importance matrix names no tensor of the model, but {_first_names(importance)}: "
            "it is that of another model"
        )
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
        step = _plan_tensor(tensor, typed.type if typed else "F32", mix, importance, where)
        steps.append(replace(step, wanted=typed.wanted) if typed else step)
    if types:
        raise FormatError(f"{short_path(model.path)}: tensor {next(iter(types))} is missing")
    return steps


def quantization_warnings(steps: Iterable[TensorPlan], importance: Importance | None = None) -> list[str]:
    """Return warnings: importance that is missing or not used, and types that fell back.

    Parameters
    ----------
    steps : iterable of TensorPlan
        From `plan`.
    importance : mapping of str to array_like, optional
        What `plan` was given.

    Returns
    -------
    list of str
        Sentences; the last one counts the tensors that fell back.

    References
    ----------
    `tensor_type_fallback` and the end of `llama_model_quantize_impl` in `src/llama-quant.cpp` of
    ggml-org/llama.cpp 0c1e57098bba.
    """
    steps = list(steps)
    warnings = list(_importance_warnings(steps, importance)) if importance is not None else []
    fallen = [step for step in steps if step.fell_back]
    for step in fallen:
        block = SIZES[step.wanted][0]
        warnings.append(
            f"{printable(step.source.name)}: rows of {step.source.columns} are not divisible by {block}, the "
            f"block of {step.wanted}: falling back to {step.type_name}"
        )
    if fallen:
        plain = sum(step.type_name in UNQUANTIZED for step in fallen)
        left = f"; {plain} of them are left at F16" if plain else ""
        warnings.append(f"{len(fallen)} of {len(steps)} tensor(s) required fallback quantization{left}")
    return warnings


def _importance_warnings(steps: Iterable[TensorPlan], importance: Importance) -> Iterator[str]:
    using = [
        step
        for step in steps
        if step.type_name not in _IGNORES_IMPORTANCE and step.source.name not in _NOT_IN_IMATRIX
    ]
    missing = [step.source.name for step in using if step.importance is None]
    names = {step.source.name for step in steps}
    unknown = [name for name in importance if name not in names]
    if all(step.importance is None for step in steps):
        yield "the importance matrix is not used: no tensor with an entry gets a type that heeds it"
    elif missing:
        yield (
            f"the importance matrix has no entry for {len(missing)} of the {len(using)} tensors that would "
            f"heed it: {_first_names(missing)}"
        )
    if unknown:
        yield (
            f"{len(unknown)} of the {len(importance)} entries of the importance matrix name no tensor of the "
            f"model: {_first_names(unknown)}"
        )


def _first_names(names: Iterable[str]) -> str:
    """Return the first names of a list and how many follow."""
    every = list(names)
    more = f" and {len(every) - _NAMES_IN_MESSAGES} more" if len(every) > _NAMES_IN_MESSAGES else ""
    return f"{', '.join(map(printable, every[:_NAMES_IN_MESSAGES]))}{more}"


def decoded(steps: Iterable[TensorPlan]) -> dict[str, F32]:
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


def _plan_tensor(
    tensor: StoredTensor, type_name: str, mix: str, importance: Importance | None, where: str
) -> TensorPlan:
    if type_name == tensor.type_name:
        return TensorPlan(tensor, type_name)
    if tensor.type_name not in UNQUANTIZED:
        raise FormatError(
            f"{where} is stored as {printable(tensor.type_name)} already and would be quantized twice; "
            "give the F32, F16 or BF16 file"
        )
    vector = None if type_name in UNQUANTIZED else _importance(tensor, importance, where)
    if (
        vector is None
        and type_name in _USELESS_IN_MIX.get(mix, _USELESS_WITHOUT_IMPORTANCE)
        and tensor.name not in _NOT_IN_IMATRIX
    ):
        raise ValueError(
            f"{where} would be {type_name} and has no entry in the importance matrix; without one the result "
            "is useless"
        )
    return TensorPlan(tensor, type_name, None if type_name in _IGNORES_IMPORTANCE else vector)


def _importance(tensor: StoredTensor, importance: Importance | None, where: str) -> F32 | None:
    if importance is None or tensor.name not in importance:
        return None
    vector = np.asarray(importance[tensor.name], dtype=np.float32)
    if vector.shape != (tensor.columns,):
        if tensor.name in _EMBEDDINGS:  # llama-quantize accepts these
            return None
        raise ValueError(f"{where} has {tensor.columns} columns; its importance has shape {vector.shape}")
    return vector


def _headers(
    model: Model, steps: Iterable[TensorPlan], mix: str, more: Mapping[str, Meta], count: int
) -> list[Mapping[str, Meta]]:
    """Return the metadata of each file: the model's and the file type in the first, its number in all.

    Metadata about an earlier importance matrix stays true only if quantized tensors are copied.
    """
    written = {
        "general.quantization_version": uint32(QUANTIZATION_VERSION),
        "general.file_type": uint32(FILE_TYPES[mix]),
        **more,
    }
    steps = list(steps)
    copied = any(step.source.type_name not in UNQUANTIZED for step in steps)
    own = {
        key: meta
        for key, meta in model.metadata.items()
        if key not in written
        and key not in (NUMBER, COUNT, TENSORS)
        and (copied or not key.startswith(_IMATRIX_PREFIX))
    }
    if count == 1:
        return [own | written]
    places = [split_metadata(number, count, len(steps)) for number in range(count)]
    return [own | written | places[0], *places[1:]]


@dataclass(frozen=True)
class _Piece:
    """Some rows of a tensor; `number` counts the tensors from 1."""

    number: int
    step: TensorPlan
    start: int
    stop: int


def _pieces(steps: Iterable[TensorPlan]) -> Iterator[_Piece]:
    for number, step in enumerate(steps, 1):
        rows, at_once = step.source.rows, max(1, WEIGHTS_AT_ONCE // step.source.columns)
        for start in range(0, rows, at_once):
            yield _Piece(number, step, start, min(start + at_once, rows))


def _encoded(pieces: Iterable[_Piece], jobs: int) -> Iterator[tuple[_Piece, U8]]:
    """Yield the bytes of the pieces in order; only those in work are in memory."""
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
    """Ignore the interrupt key, which the parent handles, and exit when the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()


def _exit_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
