"""Writing GGUF files (version 3, little-endian), tensor by tensor, without holding them in memory.

The offsets of all tensors follow from their shapes and types, so the header is written first and the data
streamed after it.

References
----------
The GGUF specification, `docs/gguf.md` of ggml-org/ggml.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike

from quant_core.arrays import U8
from quant_core.files.atomic import atomic_files
from quant_core.files.errors import printable
from quant_core.files.gguf import (
    ALIGNMENT,
    ARRAY,
    DEFAULT_ALIGNMENT,
    KINDS,
    MAGIC,
    MOST_DIMENSIONS,
    MOST_NAME_BYTES,
    VERSIONS,
    Meta,
)
from quant_core.files.storage import TYPE_NUMBERS, row_size


@dataclass(frozen=True)
class TensorSpec:
    """A tensor to be written.

    Attributes
    ----------
    name : str
    shape : tuple of int
        numpy's order, as in `StoredTensor`.
    type_name : str
        A ggml type.
    """

    name: str
    shape: tuple[int, ...]
    type_name: str

    @property
    def bytes(self) -> int:
        """Bytes of the tensor."""
        return math.prod(self.shape[:-1]) * row_size(self.type_name, self.shape[-1])


class GgufWriter:
    """Writes the data of the tensors, in order; `create_gguf` returns one."""

    def __init__(self, file: BinaryIO, specs: Sequence[TensorSpec], alignment: int) -> None:
        self._file = file
        self._specs = list(specs)
        self._alignment = alignment
        self._index = 0
        self._written = 0

    def write(self, data: U8) -> None:
        """Append bytes to the current tensor, and step to the next one when it is full.

        Raises
        ------
        ValueError
            If that is more than the tensor has room for, or no tensor is left.
        """
        if self._index == len(self._specs):
            raise ValueError("all tensors are written already")
        spec = self._specs[self._index]
        self._written += data.nbytes
        if self._written > spec.bytes:
            raise ValueError(f"tensor {spec.name} has {spec.bytes} bytes; {self._written} were given")
        self._file.write(np.ascontiguousarray(data).data)
        if self._written == spec.bytes:
            self._file.write(bytes(-self._written % self._alignment))
            self._index, self._written = self._index + 1, 0

    def finish(self) -> None:
        """Check that every tensor has been written.

        Raises
        ------
        ValueError
            If one is missing or incomplete.
        """
        if self._index < len(self._specs):
            spec = self._specs[self._index]
            raise ValueError(f"tensor {spec.name} has {spec.bytes} bytes; only {self._written} were given")


@contextmanager
def create_gguf(
    path: str | Path, metadata: Mapping[str, Meta], tensors: Iterable[TensorSpec], reads: Iterable[Path] = ()
) -> Iterator[GgufWriter]:
    """Write a GGUF file that appears when it is complete, and not before.

    Parameters
    ----------
    path : path
        Replaced if it exists.
    metadata : dict of str to Meta
        Written in this order, less `general.alignment`: tensors are aligned to 32 bytes.
    tensors : iterable of TensorSpec
        In the order in which their data will come.
    reads : iterable of Path
        Files that `path` must not be, whatever their names.

    Raises
    ------
    ValueError
        If a name is empty, too long or given twice, or a row does not divide into blocks.
    OSError
        If the file cannot be written, or something else than a file is there.

    Examples
    --------
    >>> import tempfile
    >>> from quant_core.files.gguf import read_gguf
    >>> target = Path(tempfile.mkdtemp()) / "one.gguf"
    >>> spec = TensorSpec("weight", (2, 32), "F32")
    >>> with create_gguf(target, {"general.architecture": string("llama")}, [spec]) as writer:
    ...     writer.write(np.ones((2, 32), np.float32).view(np.uint8))
    >>> read_gguf(target).tensors["weight"].floats().sum().item()
    64.0
    """
    with create_gguf_files([NewFile(Path(path), metadata, list(tensors))], reads) as (writer,):
        yield writer


@dataclass(frozen=True)
class NewFile:
    """A file to be written: its path, its metadata and its tensors, as `create_gguf` takes them."""

    path: Path
    metadata: Mapping[str, Meta]
    tensors: Sequence[TensorSpec]


@contextmanager
def create_gguf_files(files: Sequence[NewFile], reads: Iterable[Path] = ()) -> Iterator[list[GgufWriter]]:
    """Write several GGUF files; none appears before all are complete.

    Raises
    ------
    ValueError, OSError
        As `create_gguf`.
    """
    headers = []
    for file in files:
        metadata = {key: meta for key, meta in file.metadata.items() if key != ALIGNMENT}
        header = b"".join(_header(metadata, file.tensors))
        headers.append(header + bytes(-len(header) % DEFAULT_ALIGNMENT))
    with atomic_files([file.path for file in files], reads) as targets:
        writers = []
        for file, header, target in zip(files, headers, targets, strict=True):
            target.write(header)
            writers.append(GgufWriter(target, file.tensors, DEFAULT_ALIGNMENT))
        yield writers
        for writer in writers:
            writer.finish()


def string(value: str) -> Meta:
    """Return a text as a metadata value."""
    return Meta("str", value)


def string_array(values: Iterable[str]) -> Meta:
    """Return texts as a metadata array."""
    return Meta("str", tuple(values), array=True)


def uint32(value: int) -> Meta:
    """Return an integer as an unsigned 32-bit metadata value."""
    return Meta("u32", value)


def int32_array(values: ArrayLike) -> Meta:
    """Return integers as a metadata array of signed 32-bit numbers."""
    return Meta("i32", np.asarray(values, dtype="<i4"), array=True)


def float32(value: float) -> Meta:
    """Return a number as a float32 metadata value."""
    return Meta("f32", value)


def boolean(value: bool) -> Meta:
    """Return a bool as a metadata value."""
    return Meta("bool", value)


def _header(metadata: Mapping[str, Meta], specs: Sequence[TensorSpec]) -> Iterator[bytes]:
    yield MAGIC + struct.pack("<IQQ", VERSIONS[-1], len(specs), len(metadata))
    for key, meta in metadata.items():
        yield _packed_text(key)
        yield _packed(key, meta)
    place = 0
    seen: set[str] = set()
    for spec in specs:
        _check(spec, seen)
        yield _packed_text(spec.name)
        yield struct.pack(f"<I{len(spec.shape)}Q", len(spec.shape), *reversed(spec.shape))
        yield struct.pack("<IQ", TYPE_NUMBERS[spec.type_name], place)
        place += spec.bytes + -spec.bytes % DEFAULT_ALIGNMENT


def _check(spec: TensorSpec, seen: set[str]) -> None:
    if not 1 <= len(spec.name.encode()) <= MOST_NAME_BYTES or spec.name in seen:
        raise ValueError(
            f"tensor name {printable(spec.name)!r} is given twice or has not 1 to {MOST_NAME_BYTES} bytes"
        )
    seen.add(spec.name)
    if not 1 <= len(spec.shape) <= MOST_DIMENSIONS or min(spec.shape) < 1:
        raise ValueError(
            f"tensor {spec.name} has shape {spec.shape}; give 1 to {MOST_DIMENSIONS} dimensions, none 0"
        )
    if spec.type_name not in TYPE_NUMBERS:
        raise ValueError(f"tensor {spec.name} is of type {spec.type_name}, which GGUF has not")


def _packed(key: str, meta: Meta) -> bytes:
    number, code = KINDS[meta.kind]
    if not meta.array:
        value = _packed_text(meta.value) if meta.kind == "str" else _packed_number(key, code, meta.value)
        return struct.pack("<I", number) + value
    head = struct.pack("<IIQ", ARRAY, number, len(meta.value))
    if meta.kind == "str":
        return head + b"".join(map(_packed_text, meta.value))
    return head + np.asarray(meta.value).astype("<" + code).tobytes()


def _packed_number(key: str, code: str, value: float) -> bytes:
    try:
        return struct.pack("<" + code, value)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"metadata {printable(key)} is {value}: {error}") from None


def _packed_text(value: str) -> bytes:
    data = value.encode("utf-8", errors="surrogateescape")
    return struct.pack("<Q", len(data)) + data
