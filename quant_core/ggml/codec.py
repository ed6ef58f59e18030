"""What every block format provides: encode rows, unpack the stored integers, compute the values.

A codec works on whole arrays of blocks. `quant_core.ggml` cuts rows into blocks, checks
arguments and works in chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from quant_core.arrays import F32, U8

_Number = TypeVar("_Number", bound=np.generic)
Stored = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Codec:
    """The three functions of a block format.

    Attributes
    ----------
    encode : callable
        (rows (r, columns) float32, importance (columns,) float32 or None) -> blocks (b, block_bytes) uint8.
    unpack : callable
        blocks (b, block_bytes) uint8 -> the stored numbers by name, each of shape (b,) or (b, k): a bit of
        the block is a bit of exactly one of them.
    values : callable
        The arrays of `fields` -> weights (b, block_size) float32.
    floats : mapping of str to callable
        How the bits of a floating-point number that numpy has no type for are read, by its name: bits ->
        float32.
    weights_of : callable or None
        Of a number that belongs to no run of weights: (name, index) -> the weights that depend on it.
    needs_importance : bool
        Whether ggml writes the type only with an importance vector.
    """

    encode: Callable[[F32, F32 | None], U8]
    unpack: Callable[[U8], Stored]
    values: Callable[[Mapping[str, NDArray[Any]]], F32]
    floats: Mapping[str, Callable[[NDArray[Any]], F32]] = field(default_factory=dict)
    weights_of: Callable[[str, int], range] | None = None
    needs_importance: bool = False

    def fields(self, blocks: U8) -> Stored:
        """Return the named arrays of `unpack`: a floating-point `d` as float32, and its bits as `d_bits`."""
        named: Stored = {}
        for name, array in self.unpack(blocks).items():
            if name in self.floats:
                named[name] = self.floats[name](array)
                named[f"{name}_bits"] = array
            elif array.dtype.kind == "f":
                named[name] = array.astype(np.float32)
                named[f"{name}_bits"] = np.ascontiguousarray(array).view(f"<u{array.itemsize}")
            else:
                named[name] = array
        return named

    def decode(self, blocks: U8) -> F32:
        """Return the weights of `blocks`, shape (b, block_size)."""
        return self.values(self.fields(blocks))


def to_columns(blocks: F32, size: int) -> F32:
    """Return blocks (b, k·size) as sub-blocks in columns, shape (size, b·k), C-contiguous."""
    return np.ascontiguousarray(blocks.reshape(-1, size).T)


def from_columns(columns: NDArray[_Number], block_size: int) -> NDArray[_Number]:
    """Undo `to_columns`: return sub-blocks in columns as blocks, shape (b, block_size)."""
    return np.ascontiguousarray(columns.T).reshape(-1, block_size)
