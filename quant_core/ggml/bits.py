"""Pack codes of one, two and four bits into bytes, in the orders that the block formats of ggml share.

References
----------
`ggml/src/ggml-quants.c` of ggml-org/llama.cpp 0c1e57098bba.
"""

from __future__ import annotations

import numpy as np

from quant_core.arrays import U8

_BIT_SHIFTS = np.arange(8, dtype=np.uint64)[:, None]
_PAIR_SHIFTS = np.array([0, 2, 4, 6], np.uint8)[:, None]


def pack_nibbles(codes: U8, group: int) -> U8:
    """Pack 4-bit codes: of each `group` codes, byte j holds code j (low) and code j + group / 2 (high).

    Shape (b, n) -> (b, n / 2).

    Examples
    --------
    >>> pack_nibbles(np.array([[1, 2, 3, 4]], np.uint8), 4).tolist()
    [[49, 66]]
    """
    halves = codes.reshape(len(codes), -1, 2, group // 2)
    return (halves[:, :, 0] | halves[:, :, 1] << 4).astype(np.uint8, copy=False).reshape(len(codes), -1)


def unpack_nibbles(packed: U8, group: int) -> U8:
    """Undo `pack_nibbles`; shape (b, n / 2) -> (b, n).

    Examples
    --------
    >>> unpack_nibbles(np.array([[49, 66]], np.uint8), 4).tolist()
    [[1, 2, 3, 4]]
    """
    halves = packed.reshape(len(packed), -1, group // 2)
    return np.concatenate([halves & np.uint8(15), halves >> 4], axis=2).reshape(len(packed), -1)


def pack_pairs(codes: U8) -> U8:
    """Pack 256 2-bit codes: of each 128, byte l holds the codes l, l+32, l+64 and l+96; (b, 256) -> (b, 64).

    Examples
    --------
    >>> pack_pairs(np.arange(256, dtype=np.uint8)[None] // 32 % 4)[0, :2].tolist()
    [228, 228]
    """
    # Eight codes at a time: no shift carries a bit into the next byte.
    a, b, c, d = np.moveaxis(np.ascontiguousarray(codes).view(np.uint64).reshape(-1, 2, 4, 4), 2, 0)
    return (a | b << 2 | c << 4 | d << 6).view(np.uint8).reshape(-1, 64)


def unpack_pairs(packed: U8) -> U8:
    """Undo `pack_pairs`; shape (b, 64) -> (b, 256).

    Examples
    --------
    >>> unpack_pairs(np.full((1, 64), 228, np.uint8))[0, ::32].tolist()
    [0, 1, 2, 3, 0, 1, 2, 3]
    """
    return (packed.reshape(-1, 2, 1, 32) >> _PAIR_SHIFTS & np.uint8(3)).reshape(-1, 256)


def pack_bits(bits: U8) -> U8:
    """Pack 256 bits: bit t lies in byte t mod 32 at position t div 32; shape (b, 256) -> (b, 32).

    Examples
    --------
    >>> pack_bits(np.arange(256, dtype=np.uint8)[None] // 32 % 2)[0, :2].tolist()
    [170, 170]
    """
    eights = np.ascontiguousarray(bits).view(np.uint64).reshape(-1, 8, 4)
    packed: U8 = np.bitwise_or.reduce(eights << _BIT_SHIFTS, axis=1).view(np.uint8)
    return packed


def unpack_bits(packed: U8) -> U8:
    """Undo `pack_bits`; shape (b, 32) -> (b, 256).

    Examples
    --------
    >>> unpack_bits(np.full((1, 32), 170, np.uint8))[0, ::32].tolist()
    [0, 1, 0, 1, 0, 1, 0, 1]
    """
    return np.unpackbits(packed[:, None], axis=1, bitorder="little").reshape(-1, 256)
