"""Reading the header of a GGUF file (versions 2 and 3, little-endian), which may be damaged or hostile.

A GGUF file is a list of metadata, a list of tensors with their offsets, and the tensors. Every count, length,
type and offset is checked here before anything that depends on it is read; the weights are read later, by
rows, through `quant_core.files.tensors.StoredTensor`.

References
----------
The GGUF specification, `docs/gguf.md` of ggml-org/ggml, and `ggml/src/gguf.cpp` of ggml-org/llama.cpp
0c1e57098bba, whose limits (names of 63 bytes, 4 dimensions, no arrays of arrays) are kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_core.files.bounded import Cursor, open_bounded
from quant_core.files.errors import printable
from quant_core.files.storage import SIZES, row_size, stored_type
from quant_core.files.tensors import StoredTensor

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT = "general.alignment"
DEFAULT_ALIGNMENT = 32

#: More than any published model has. The limits bound the work that a hostile header can cause.
MOST_TENSORS = 1 << 17
MOST_KEYS = 1 << 16
MOST_ITEMS = 1 << 24
MOST_TEXT_BYTES = 1 << 26
MOST_KEY_BYTES = (1 << 16) - 1
MOST_NAME_BYTES = 63
MOST_DIMENSIONS = 4
MOST_ALIGNMENT = 1 << 20

#: Kind of a metadata value -> (its number in the file, its code in `struct`).
KINDS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "u8": (0, "B"), "i8": (1, "b"), "u16": (2, "H"), "i16": (3, "h"), "u32": (4, "I"), "i32": (5, "i"),
        "f32": (6, "f"), "bool": (7, "B"), "str": (8, ""), "u64": (10, "Q"), "i64": (11, "q"),
        "f64": (12, "d"),
    }
)  # fmt: skip
ARRAY = 9
_KIND_NAMES = {number: name for name, (number, _) in KINDS.items()}


@dataclass(frozen=True, eq=False)
class Meta:
    """A metadata value with its type, so that it can be written back as it was.

    Attributes
    ----------
    kind : str
        A key of `KINDS`.
    value : int, float, bool, str, ndarray or tuple of str
        An array of numbers is an ndarray, an array of texts is a tuple. Bytes that are not UTF-8 are kept as
        surrogates.
    array : bool
        Whether it is an array of `kind`.
    """

    kind: str
    value: Any
    array: bool = False


@dataclass(frozen=True)
class GgufFile:
    """The header of a GGUF file.

    Attributes
    ----------
    path : Path
    version : int
    alignment : int
        Tensors begin at multiples of it, in bytes.
    metadata : dict of str to Meta
        In the order of the file.
    tensors : dict of str to StoredTensor
        In the order of the file.
    parts : tuple of Path
        The files of a model in several, in order; empty for one file.
    """

    path: Path
    version: int
    alignment: int
    metadata: Mapping[str, Meta] = field(repr=False)
    tensors: Mapping[str, StoredTensor] = field(repr=False)
    parts: tuple[Path, ...] = ()

    def value(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, without its type."""
        return self.metadata[key].value if key in self.metadata else default


def read_gguf(path: str | Path, *, header_alone: bool = False) -> GgufFile:
    """Read and check the header of one GGUF file; `quant_core.files.split.read_parts` reads several as one.

    Parameters
    ----------
    path : path
        A regular file.
    header_alone : bool
        Whether to accept a file that ends with its header.

    Returns
    -------
    GgufFile

    Raises
    ------
    FormatError
        If anything in the header is wrong; the message names the field and the byte.
    OSError
        If the file cannot be opened.
    """
    with open_bounded(Path(path)) as cursor:
        return parse_gguf(cursor, header_alone=header_alone)


def parse_gguf(cursor: Cursor, *, whole: bool = True, header_alone: bool = False) -> GgufFile:
    """Read and check a header from its first byte on, as `read_gguf` does.

    Parameters
    ----------
    cursor : Cursor
        At the first byte.
    whole : bool
        Whether the weights follow. Without them the offsets of the tensors are not checked.
    header_alone : bool
        As `read_gguf`.

    Raises
    ------
    FormatError
        If anything in the header is wrong.
    """
    version = _version(cursor)
    tensor_count = cursor.count("tensor count", MOST_TENSORS, each=24)
    key_count = cursor.count("metadata count", MOST_KEYS, each=13)
    metadata: dict[str, Meta] = {}
    for index in range(key_count):
        _read_pair(cursor, f"metadata {index}", metadata)
    alignment = int(metadata[ALIGNMENT].value) if ALIGNMENT in metadata else DEFAULT_ALIGNMENT
    listed: dict[str, _TensorEntry] = {}
    for index in range(tensor_count):
        _read_tensor(cursor, f"tensor {index}", alignment, listed)
    start = -(-cursor.offset // alignment) * alignment
    if header_alone and cursor.size <= start:
        whole = False
    return GgufFile(cursor.path, version, alignment, metadata, _located(cursor, listed, start, whole))


@dataclass(frozen=True)
class _TensorEntry:
    """An entry of the list of tensors; `place` is its offset from the first byte of the data."""

    shape: tuple[int, ...]
    type_name: str
    place: int
    at: int

    @property
    def size(self) -> int:
        """Bytes; at least one where the type is not known."""
        if self.type_name not in SIZES:
            return 1
        return math.prod(self.shape[:-1]) * row_size(self.type_name, self.shape[-1])


def _version(cursor: Cursor) -> int:
    magic = cursor.take(4, "magic")
    if magic != MAGIC:
        cursor.fail("magic", f"{magic!r} where a GGUF file has {MAGIC!r}", 0)
    version = int(cursor.number("I", "version"))
    if int.from_bytes(version.to_bytes(4, "little"), "big") in (1, *VERSIONS):
        cursor.fail("version", "the file is big-endian; convert it to little-endian", 4)
    if version not in VERSIONS:
        cursor.fail("version", f"{version}; versions 2 and 3 are read", 4)
    return version


def _read_pair(cursor: Cursor, field: str, metadata: dict[str, Meta]) -> None:
    start = cursor.offset
    key = _name(cursor, f"{field} key", MOST_KEY_BYTES)
    if key in metadata:
        cursor.fail(f"{field} key", f"{printable(key)} occurs twice", start)
    field = f"{field} ({printable(key)})"
    kind = _kind(cursor, f"{field} type", allowed=(*_KIND_NAMES, ARRAY))
    if kind == ARRAY:
        metadata[key] = _array(cursor, field)
    else:
        metadata[key] = Meta(_KIND_NAMES[kind], _scalar(cursor, _KIND_NAMES[kind], field))
    if key == ALIGNMENT:
        _check_alignment(cursor, metadata[key], start)


def _kind(cursor: Cursor, field: str, allowed: tuple[int, ...]) -> int:
    start = cursor.offset
    kind = int(cursor.number("I", field))
    if kind not in allowed:
        problem = "arrays of arrays are not read" if kind == ARRAY else f"{kind} is not a type of GGUF"
        cursor.fail(field, problem, start)
    return kind


def _scalar(cursor: Cursor, kind: str, field: str) -> int | float | bool | str:
    if kind == "str":
        return _text(cursor, field)
    start = cursor.offset
    value: int | float = cursor.number(KINDS[kind][1], field)
    if kind != "bool":
        return value
    if value not in (0, 1):
        cursor.fail(field, f"{value} where a truth value is 0 or 1", start)
    return bool(value)


def _array(cursor: Cursor, field: str) -> Meta:
    kind = _KIND_NAMES[_kind(cursor, f"{field} item type", allowed=tuple(_KIND_NAMES))]
    if kind == "str":
        count = cursor.count(f"{field} length", MOST_ITEMS, each=8)
        return Meta(kind, tuple(_text(cursor, f"{field} item {index}") for index in range(count)), array=True)
    dtype = np.dtype("<" + KINDS[kind][1])
    count = cursor.count(f"{field} length", MOST_ITEMS, each=dtype.itemsize)
    start = cursor.offset
    items: NDArray[Any] = np.frombuffer(cursor.take(count * dtype.itemsize, field), dtype)
    if kind == "bool":
        if (items > 1).any():
            cursor.fail(field, "a truth value is neither 0 nor 1", start + int(np.argmax(items > 1)))
        items = items.astype(np.bool_)
    return Meta(kind, items, array=True)


def _text(cursor: Cursor, field: str) -> str:
    length = cursor.count(f"{field} length", MOST_TEXT_BYTES, each=1)
    return cursor.take(length, field).decode("utf-8", errors="surrogateescape")


def _name(cursor: Cursor, field: str, most: int) -> str:
    length = cursor.count(f"{field} length", most, each=1)
    start = cursor.offset
    try:
        name = cursor.take(length, field).decode("utf-8")
    except UnicodeDecodeError:
        cursor.fail(field, "not UTF-8", start)
    if not name or "\0" in name:
        cursor.fail(field, "an empty name, or one with a zero byte", start)
    return name


def _check_alignment(cursor: Cursor, meta: Meta, start: int) -> None:
    if meta.kind != "u32" or meta.array:
        cursor.fail(ALIGNMENT, f"of type {meta.kind}; it must be one u32", start)
    alignment = int(meta.value)
    if not 1 <= alignment <= MOST_ALIGNMENT or alignment & (alignment - 1):
        cursor.fail(ALIGNMENT, f"{alignment}; it must be a power of two of at most {MOST_ALIGNMENT}", start)


def _read_tensor(cursor: Cursor, field: str, alignment: int, listed: dict[str, _TensorEntry]) -> None:
    start = cursor.offset
    name = _name(cursor, f"{field} name", MOST_NAME_BYTES)
    if name in listed:
        cursor.fail(f"{field} name", f"{printable(name)} occurs twice", start)
    field = f"{field} ({printable(name)})"
    shape = _shape(cursor, field)
    type_name = stored_type(int(cursor.number("I", f"{field} type")))
    block = SIZES[type_name][0] if type_name in SIZES else 1
    if shape[-1] % block:
        cursor.fail(
            f"{field} dimension 0",
            f"{shape[-1]} is not a multiple of {block}, the block of {type_name}",
            start,
        )
    at = cursor.offset
    place = int(cursor.number("Q", f"{field} offset"))
    if place % alignment:
        cursor.fail(f"{field} offset", f"{place} is not a multiple of {alignment}, the alignment", at)
    listed[name] = _TensorEntry(shape, type_name, place, at)


def _shape(cursor: Cursor, field: str) -> tuple[int, ...]:
    """Return the dimensions in numpy's order; the file lists the contiguous one first."""
    start = cursor.offset
    count = int(cursor.number("I", f"{field} dimension count"))
    if not 1 <= count <= MOST_DIMENSIONS:
        cursor.fail(f"{field} dimension count", f"{count}; a tensor has 1 to {MOST_DIMENSIONS}", start)
    shape: tuple[int, ...] = ()
    for index in range(count):
        start = cursor.offset
        size = int(cursor.number("Q", f"{field} dimension {index}"))
        if not 1 <= size < 1 << 63:
            cursor.fail(f"{field} dimension {index}", f"{size}; it must be 1 or more", start)
        shape = (size, *shape)
    return shape


def _located(
    cursor: Cursor, listed: Mapping[str, _TensorEntry], start: int, whole: bool
) -> dict[str, StoredTensor]:
    """Check that every tensor lies in the file and that no two overlap, if the data follows."""
    for name, entry in listed.items() if whole else ():
        if start + entry.place + entry.size > cursor.size:
            cursor.fail(
                f"tensor {printable(name)} offset",
                f"{entry.size} bytes from byte {start + entry.place} on end behind the file, "
                f"which has {cursor.size}",
                entry.at,
            )
    in_order = sorted(listed.items(), key=lambda item: item[1].place) if whole else []
    for (name, entry), (next_name, next_entry) in pairwise(in_order):
        if entry.place + entry.size > next_entry.place:
            cursor.fail(
                f"tensor {printable(next_name)} offset",
                f"{next_entry.place} lies in tensor {printable(name)}, which ends at "
                f"{entry.place + entry.size}",
                next_entry.at,
            )
    return {
        name: StoredTensor(
            name, entry.shape, entry.type_name, cursor.path, start + entry.place, stamp=cursor.stamp
        )
        for name, entry in listed.items()
    }
