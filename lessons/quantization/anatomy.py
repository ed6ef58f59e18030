"""How FIG.05B takes 256 weights apart in each block format: what holds what, and the sum that gives a weight.

What a bit belongs to comes from `quant_core.ggml`, which reads it off the decoder. Here is the arithmetic as
it is written. A type with blocks of 32 stores 256 weights in eight blocks, which are numbered through: byte
18 of Q4_0 is the first of block 1.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_core import ggml
from quant_core.ggml import ByteRole, fp4, iq4

SIZE = 256


@dataclass(frozen=True, slots=True)
class Term:
    """A factor of the sum: the number `field`, less `shift`, or the entry of `table` that it points to."""

    sign: str
    field: str
    latex: str
    shift: int = 0
    table: tuple[float, ...] = ()

    def value(self, stored: float) -> float:
        return self.table[int(stored)] if self.table else stored - self.shift


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A format as it is drawn.

    Attributes
    ----------
    products : tuple of tuple of Term
        The value of a weight is the first product, less the second where there is one.
    sub_block : int
        Weights that share a scale.
    """

    type_name: str
    products: tuple[tuple[Term, ...], ...]
    sub_block: int

    @property
    def layout(self) -> ggml.Format:
        return ggml.FORMATS[self.type_name]

    @property
    def blocks(self) -> int:
        return SIZE // self.layout.block_size

    @property
    def bytes(self) -> int:
        """Bytes of 256 weights."""
        return self.blocks * self.layout.block_bytes

    @property
    def code_term(self) -> Term:
        return self.products[0][-1]


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """The bytes of 256 weights with the numbers in them and the weights that they give; flat arrays."""

    type_name: str
    data: NDArray[np.uint8]
    fields: Mapping[str, NDArray[Any]]
    weights: NDArray[np.float32]

    def number(self, role: ByteRole) -> float:
        """The number to which some bits belong."""
        return float(self.fields[role.field][role.index])


def decode(data: NDArray[np.uint8], type_name: str) -> Decoded:
    """Read bytes back by the real decoder."""
    data.setflags(write=False)
    with np.errstate(over="ignore"):  # the highest exponent of MXFP4's scale stands for infinity
        fields = {name: array.reshape(-1) for name, array in ggml.fields(data, type_name).items()}
    return Decoded(type_name, data, fields, ggml.dequantize(data, type_name)[0])


def flipped(block: Decoded, byte: int, bit: int) -> Decoded:
    """The same bytes with one bit flipped."""
    data = block.data.copy()
    data[byte] ^= 1 << bit
    return decode(data, block.type_name)


@functools.cache
def byte_roles(type_name: str, byte: int) -> tuple[ByteRole, ...]:
    """`ggml.byte_roles`, with bytes, numbers and weights counted through all blocks."""
    block, inside = divmod(byte, ggml.FORMATS[type_name].block_bytes)
    return tuple(_in_block(role, block, type_name) for role in ggml.byte_roles(inside, type_name))


@functools.cache
def weight_bytes(type_name: str, weight: int) -> tuple[ByteRole, ...]:
    """`ggml.weight_bytes`, with bytes, numbers and weights counted through all blocks."""
    block, inside = divmod(weight, ggml.FORMATS[type_name].block_size)
    return tuple(_in_block(role, block, type_name) for role in ggml.weight_bytes(inside, type_name))


def _in_block(role: ByteRole, block: int, type_name: str) -> ByteRole:
    layout = ggml.FORMATS[type_name]
    first = block * layout.block_size
    return replace(
        role,
        byte=role.byte + block * layout.block_bytes,
        index=role.index + block * (layout.block_size // len(role.weights)),
        weights=range(first + role.weights.start, first + role.weights.stop),
    )


# --- the formats -------------------------------------------------------------------------------------------

_D = Term("=", "d", "d")
_CODE = Term("·", "codes", "q_{i}")
_SCALE = Term("·", "scales", "sc_{j}")
_MINIMUM = (Term("−", "dmin", r"d_\mathrm{min}"), Term("·", "mins", "m_{j}"))


def _less(term: Term, shift: int) -> Term:
    return replace(term, latex=f"({term.latex} - {shift})", shift=shift)


def _entry(table: NDArray[np.floating], latex: str) -> Term:
    return replace(_CODE, latex=latex, table=tuple(table.tolist()))


_D_OF_BLOCK = replace(_D, latex="d_{j}")
_EXPONENT = Term("=", "e", "2^{e_{j} - 127}")
_ALL = (
    Anatomy("Q2_K", ((_D, _SCALE, _CODE), _MINIMUM), 16),
    Anatomy("Q3_K", ((_D, _less(_SCALE, 32), _less(_CODE, 4)),), 16),
    Anatomy("Q4_K", ((_D, _SCALE, _CODE), _MINIMUM), 32),
    Anatomy("Q5_K", ((_D, _SCALE, _CODE), _MINIMUM), 32),
    Anatomy("Q6_K", ((_D, _SCALE, _less(_CODE, 32)),), 16),
    Anatomy("Q4_0", ((_D_OF_BLOCK, _less(_CODE, 8)),), 32),
    Anatomy("Q8_0", ((_D_OF_BLOCK, _CODE),), 32),
    Anatomy("IQ4_NL", ((_D_OF_BLOCK, _entry(iq4.TABLE, "T[q_{i}]")),), 32),
    Anatomy("MXFP4", ((_EXPONENT, _entry(fp4.E2M1, r"\mathrm{E2M1}[q_{i}]")),), 32),
)

FORMATS: Mapping[str, Anatomy] = {anatomy.type_name: anatomy for anatomy in _ALL}
