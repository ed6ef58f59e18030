"""A tensor in a file, read by rows and only when needed.

Rows are read with seek and read and not mapped into memory: a file that is truncated while mapped kills the
process with a signal; one that is truncated while read gives an error that names it.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import numpy as np

from quant_core.arrays import F32, U8
from quant_core.files.bounded import Stamp, stamp_of
from quant_core.files.errors import FormatError, naming, printable, short_path
from quant_core.files.storage import SIZES, decode, row_size


@dataclass(frozen=True)
class StoredTensor:
    """The location of a tensor, and how to read it.

    Attributes
    ----------
    name : str
        As in the file, or the GGUF name that a converter gives it.
    shape : tuple of int
        numpy's order: the last is the contiguous dimension, along which blocks run.
    type_name : str
        A key of `quant_core.files.storage.SIZES`, or the name of a type whose size is not known.
    path : Path
    offset : int
        First byte in the file.
    head_dim : int
        Not 0: the rows of each head are read interleaved, as llama.cpp wants the queries and keys of Llama.
    inline : bytes or None
        The data itself, for a small tensor that no file holds.
    stamp : tuple of int or None
        State of the file when its header was read, as `quant_core.files.bounded.stamp_of` gives it.
    """

    name: str
    shape: tuple[int, ...]
    type_name: str
    path: Path
    offset: int
    head_dim: int = 0
    inline: bytes | None = None
    stamp: Stamp | None = None

    @property
    def columns(self) -> int:
        """Numbers in a row."""
        return self.shape[-1]

    @property
    def rows(self) -> int:
        """Product of all dimensions but the last."""
        return math.prod(self.shape[:-1])

    @property
    def elements(self) -> int:
        """Number of numbers."""
        return math.prod(self.shape)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return row_size(self.type_name, self.columns)

    @property
    def bytes(self) -> int:
        """Bytes of the tensor."""
        return self.rows * self.row_bytes

    @property
    def bits_per_weight(self) -> float:
        """Stored bits for one number."""
        block, size = SIZES[self.type_name]
        return 8 * size / block

    def raw(self, start: int = 0, stop: int | None = None) -> U8:
        """Return the bytes of rows `start` to `stop`, shape (rows, row_bytes).

        Raises
        ------
        FormatError
            If the file has become shorter than its header says, or the size of the type is not known.
        """
        if self.type_name not in SIZES:
            raise FormatError(
                f"{short_path(self.path)}: tensor {printable(self.name)} is {printable(self.type_name)}, "
                "whose size is not known"
            )
        stop = self.rows if stop is None else stop
        if not self.head_dim:
            return self._read(start, stop)
        if len(self.shape) == 1:
            return replace(self, shape=(self.columns, 1)).raw().reshape(1, -1)
        return self._interleaved(start, stop)

    def floats(self, start: int = 0, stop: int | None = None) -> F32:
        """Return rows `start` to `stop` as float32, shape (rows, columns).

        Raises
        ------
        FormatError
            As `raw`, or if the type has no decoder.
        """
        data = self.raw(start, stop)
        try:
            return decode(data, self.type_name)
        except ValueError as error:
            raise FormatError(f"{short_path(self.path)}: tensor {printable(self.name)}: {error}") from None

    def _interleaved(self, start: int, stop: int) -> U8:
        """Read the heads that the rows belong to; row 2i + j of a head is stored as row i + j · head_dim / 2.

        Hugging Face rotates the two halves of a head, llama.cpp neighbouring pairs (`LlamaModel.permute` of
        convert_hf_to_gguf.py).
        """
        head = self.head_dim
        first = start // head * head
        stored = self._read(first, -(-stop // head) * head)
        row = np.arange(start, stop)
        place = row % head
        turned: U8 = stored[row - place + place % 2 * (head // 2) + place // 2 - first]
        return turned

    def _read(self, start: int, stop: int) -> U8:
        size = self.row_bytes
        if self.inline is not None:
            data = self.inline[start * size : stop * size]
        else:
            with open(self.path, "rb") as file, naming(self.path):
                state = os.fstat(file.fileno())
                if self.offset + stop * size > state.st_size:
                    self._fail("the file became shorter after its header was read")
                if self.stamp not in (None, stamp_of(state)):
                    self._fail("the file was replaced or written to after its header was read")
                file.seek(self.offset + start * size)
                data = file.read((stop - start) * size)
                if len(data) != (stop - start) * size:
                    self._fail("the file became shorter while it was read")
        return np.frombuffer(data, np.uint8).reshape(stop - start, size)

    def _fail(self, problem: str) -> NoReturn:
        raise FormatError(
            f"{short_path(self.path)}: tensor {printable(self.name)} at byte {self.offset}: {problem}"
        )
