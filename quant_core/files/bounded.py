"""Bounded reading of untrusted bytes and JSON.

Every length is checked against the rest of the file before anything is read, so that no number in a file can
make the reader allocate more than the file's size.
"""

from __future__ import annotations

import json
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from quant_core.files.errors import FormatError, naming, printable, short_path

Stamp = tuple[int, int, int, int]


def stamp_of(state: os.stat_result) -> Stamp:
    """Return what changes when a file is replaced or written to: device, inode, size in bytes, time in ns."""
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


class Cursor:
    """A position in a file that only moves forward; errors name it.

    Parameters
    ----------
    file : binary file
        Positioned at its first byte.
    path : Path
        For messages.
    size : int
        Length of the file in bytes.
    stamp : tuple of int, optional
        Identity and state of the file: see `stamp_of`.
    """

    def __init__(self, file: BinaryIO, path: Path, size: int, stamp: Stamp | None = None) -> None:
        self._file = file
        self.stamp = stamp
        self.path = path
        self.size = size
        self.offset = 0

    @property
    def left(self) -> int:
        """Bytes from here to the end of the file."""
        return self.size - self.offset

    def fail(self, field: str, problem: str, offset: int | None = None) -> NoReturn:
        """Raise a `FormatError` that names the file, the field and its place."""
        place = self.offset if offset is None else offset
        raise FormatError(f"{short_path(self.path)}: {printable(field, 160)} at byte {place}: {problem}")

    def take(self, count: int, field: str) -> bytes:
        """Return the next `count` bytes.

        Raises
        ------
        FormatError
            If the file has fewer.
        """
        if count > self.left:
            self.fail(field, f"{count} bytes are needed and {self.left} are left: the file is cut off")
        with naming(self.path):
            data = self._file.read(count)
        if len(data) != count:
            self.fail(field, "the file became shorter while it was read")
        self.offset += count
        return data

    def number(self, code: str, field: str) -> Any:
        """Return one little-endian number; `code` is that of `struct`."""
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code), field))[0]

    def count(self, field: str, most: int, each: int) -> int:
        """Return a 64-bit count of things that take `each` bytes at least, if the file can hold so many.

        Raises
        ------
        FormatError
            If there are more than `most`, or more than the rest of the file has room for.
        """
        start = self.offset
        count = int(self.number("Q", field))
        if count > most:
            self.fail(field, f"{count} is more than the {most} that are accepted", start)
        if count * each > self.left:
            self.fail(field, f"{count} need {count * each} bytes and {self.left} are left", start)
        return count


@contextmanager
def open_bounded(path: Path) -> Iterator[Cursor]:
    """Open a regular file for reading.

    Raises
    ------
    FormatError
        If it is a folder, a pipe or a device, which have no fixed length.
    OSError
        If it cannot be opened.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise FormatError(f"{short_path(path)}: not a regular file")
    with open(path, "rb") as file:
        state = os.fstat(file.fileno())
        yield Cursor(file, path, state.st_size, stamp_of(state))


def read_json(path: Path, most: int) -> dict[str, Any]:
    """Return the object of a JSON file of at most `most` bytes, read as by `parse_config`.

    Raises
    ------
    FormatError
        If the file is too long, or not one JSON object.
    """
    with open_bounded(path) as cursor:
        if cursor.size > most:
            raise FormatError(f"{short_path(path)}: {cursor.size} bytes; at most {most} are read")
        return parse_config(cursor.take(cursor.size, "text"), short_path(path))


def parse_object(text: bytes, where: str) -> dict[str, Any]:
    """Return a JSON object in which no name occurs twice and every number is finite.

    Raises
    ------
    FormatError
        If the text is anything else; `where` begins the message.

    Examples
    --------
    >>> parse_object(b'{"a": 1, "a": 2}', "header")
    Traceback (most recent call last):
        ...
    quant_core.files.errors.FormatError: header: not valid JSON: the name 'a' occurs twice
    """
    return _object(text, where, "utf-8", _not_a_number)


def parse_config(text: bytes, where: str) -> dict[str, Any]:
    """Return a JSON object, accepting what programs and editors write.

    As `parse_object`, and also with a byte-order mark, in UTF-16, and with Infinity, -Infinity and NaN, which
    Python writes and JSON does not have.

    Raises
    ------
    FormatError
        If the text is anything else; `where` begins the message.

    Examples
    --------
    >>> parse_config(b'{"time_step_limit": [0.0, Infinity]}', "config.json")
    {'time_step_limit': [0.0, inf]}
    """
    marks = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    encoding = next((name for mark, name in marks.items() if text.startswith(mark)), "utf-8")
    return _object(text, where, encoding, float)


def _object(text: bytes, where: str, encoding: str, constant: Callable[[str], float]) -> dict[str, Any]:
    try:
        value = json.loads(text.decode(encoding), object_pairs_hook=_unique, parse_constant=constant)
    except RecursionError:
        raise FormatError(f"{where}: not valid JSON: nested too deeply") from None
    except ValueError as error:
        raise FormatError(f"{where}: not valid JSON: {printable(error, 160)}") from None
    if not isinstance(value, dict):
        raise FormatError(f"{where}: a JSON {type(value).__name__} where an object is expected")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the name {printable(name)!r} occurs twice")
        found[name] = value
    return found


def _not_a_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")
