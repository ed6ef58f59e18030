"""What each bit of a block is for: the map from bytes to fields to weights, and back.

The map is computed with the decoder: a block with a single bit set unpacks to a single nonzero number, which
shows which bit of which number it was. So the map cannot disagree with the code.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from quant_core.ggml.formats import FORMATS
from quant_core.ggml.registry import codec_of


@dataclass(frozen=True)
class ByteRole:
    """A run of bits in one byte, and the number that they belong to.

    Attributes
    ----------
    byte : int
        Position of the byte in the block.
    low_bit, high_bit : int
        First and last bit of the run in the byte; bit 0 is the least significant.
    field : str
        Name of the number, as in `quant_core.ggml.fields`: "d", "scales", "codes" …
    index : int
        Which one of them, 0 if there is only one.
    field_low_bit : int
        The bit of the number that `low_bit` is.
    weights : range
        The weights of the block that depend on it.
    """

    byte: int
    low_bit: int
    high_bit: int
    field: str
    index: int
    field_low_bit: int
    weights: range


def byte_roles(byte: int, type_name: str = "Q4_K") -> tuple[ByteRole, ...]:
    """Return what a byte of a block holds, from its lowest bit to its highest.

    Raises
    ------
    ValueError
        If the type is not known or has no such byte.

    Examples
    --------
    >>> [(r.field, r.index, r.low_bit, r.high_bit, r.weights) for r in byte_roles(16)]
    [('codes', 0, 0, 3, range(0, 1)), ('codes', 32, 4, 7, range(32, 33))]
    >>> [(r.field, r.index, r.field_low_bit) for r in byte_roles(4)]
    [('scales', 0, 0), ('scales', 4, 4)]
    """
    roles = _roles(type_name)
    count = FORMATS[type_name].block_bytes
    if not 0 <= byte < count:
        raise ValueError(f"byte is {byte}; a block of {type_name} has bytes 0 to {count - 1}")
    return tuple(role for role in roles if role.byte == byte)


def weight_bytes(index: int, type_name: str = "Q4_K") -> tuple[ByteRole, ...]:
    """Return every run of bits that the value of a weight depends on, in the order of the bytes.

    Raises
    ------
    ValueError
        If the type is not known or has no such weight.

    Examples
    --------
    >>> [(r.field, r.byte) for r in weight_bytes(255)]
    [('d', 0), ('d', 1), ('dmin', 2), ('dmin', 3), ('scales', 7), ('mins', 11), ('scales', 15), \
('mins', 15), ('codes', 143)]
    """
    roles = _roles(type_name)
    count = FORMATS[type_name].block_size
    if not 0 <= index < count:
        raise ValueError(f"index is {index}; a block of {type_name} has weights 0 to {count - 1}")
    return tuple(role for role in roles if index in role.weights)


@cache
def _roles(type_name: str) -> tuple[ByteRole, ...]:
    """Return the roles of all bits of a block, neighbouring bits of one number joined into runs."""
    codec, layout = codec_of(type_name), FORMATS[type_name]
    single_bits = np.packbits(np.eye(8 * layout.block_bytes, dtype=np.uint8), axis=1, bitorder="little")
    owner: dict[int, tuple[str, int, int, range]] = {}
    for name, array in codec.unpack(single_bits).items():
        numbers = array.reshape(len(single_bits), -1)
        unsigned = numbers.view(f"u{numbers.dtype.itemsize}")
        span = layout.block_size // numbers.shape[1]
        for position, index in np.argwhere(unsigned):
            bit = int(unsigned[position, index]).bit_length() - 1
            run = range(int(index) * span, (int(index) + 1) * span)
            weights = codec.weights_of(name, int(index)) if codec.weights_of else run
            owner[int(position)] = (name, int(index), bit, weights)

    roles: list[ByteRole] = []
    for position in range(8 * layout.block_bytes):
        name, index, bit, weights = owner[position]
        byte, in_byte = divmod(position, 8)
        last = roles[-1] if roles else None
        if last and (last.byte, last.field, last.index) == (byte, name, index):
            roles[-1] = ByteRole(byte, last.low_bit, in_byte, name, index, last.field_low_bit, weights)
        else:
            roles.append(ByteRole(byte, in_byte, in_byte, name, index, bit, weights))
    return tuple(roles)
