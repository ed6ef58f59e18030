"""Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0: the simple 32-weight blocks of ggml.

Without an importance vector each block takes its scale from its range: no search. With one, the 4- and 5-bit
types use the searches of `quant_core.ggml.primitives` with one statistic per row; Q8_0 ignores it.

In the 4-bit plane byte j holds weight j in its low nibble and weight j+16 in its high nibble.

References
----------
`quantize_row_q4_0_ref` … `quantize_row_q8_0_ref` and `quantize_row_q4_0_impl` … `quantize_row_q5_1_impl` in
`ggml/src/ggml-quants.c` of ggml-org/llama.cpp 0c1e57098bba.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_core.arrays import F32, U8
from quant_core.ggml import primitives
from quant_core.ggml.bits import pack_nibbles, unpack_nibbles
from quant_core.ggml.codec import Codec, Stored, to_columns
from quant_core.ggml.formats import FORMATS, Blocks, Format, block_bytes
from quant_core.ggml.primitives import to_half
from quant_core.ggml.weighting import spread_weights, sum_of_squares

BLOCK = 32
_WITH_IMPORTANCE = primitives.Search(first=-0.9, step=0.05, last=36)


def _signed(layout: Format, bits: int) -> Codec:
    """Q4_0 and Q5_0: value = d · (code − half)."""
    half = 2 ** (bits - 1)

    def encode(rows: F32, importance: F32 | None) -> U8:
        x = to_columns(rows, BLOCK)
        if importance is None:
            scale = primitives.signed_abs_max(x) / np.float32(-half)
            codes: NDArray[Any] = _truncate(x * _reciprocal(scale), np.float32(half + 0.5), 2 * half - 1)
        else:
            scale, codes = primitives.fit_symmetric(x, half, _row_weights(rows, importance))
        blocks = layout.empty(x.shape[1])
        blocks["d"] = to_half(scale)
        _write_codes(blocks, codes, bits)
        return block_bytes(blocks)

    def unpack(blocks: U8) -> Stored:
        block = layout.view(blocks)
        return {"d": block["d"], "codes": _read_codes(block, bits)}

    def values(fields: Mapping[str, NDArray[Any]]) -> F32:
        weights: F32 = (fields["codes"].view(np.int8) - np.int8(half)).astype(np.float32)
        weights *= fields["d"][:, None]
        return weights

    return Codec(encode, unpack, values)


def _offset(layout: Format, bits: int) -> Codec:
    """Q4_1 and Q5_1: value = d · code + m."""
    top = 2**bits - 1

    def encode(rows: F32, importance: F32 | None) -> U8:
        x = to_columns(rows, BLOCK)
        if importance is None:
            minimum = x.min(axis=0)
            scale = (x.max(axis=0) - minimum) / np.float32(top)
            codes: NDArray[Any] = _truncate((x - minimum) * _reciprocal(scale), np.float32(0.5), top)
        else:
            weights = _row_weights(rows, importance)
            scale, negated, codes = primitives.fit_asymmetric(x, top, weights, _WITH_IMPORTANCE)
            minimum = -negated
        blocks = layout.empty(x.shape[1])
        blocks["d"], blocks["m"] = to_half(scale), to_half(minimum)
        _write_codes(blocks, codes, bits)
        return block_bytes(blocks)

    def unpack(blocks: U8) -> Stored:
        block = layout.view(blocks)
        return {"d": block["d"], "m": block["m"], "codes": _read_codes(block, bits)}

    def values(fields: Mapping[str, NDArray[Any]]) -> F32:
        weights: F32 = fields["codes"].astype(np.float32)
        weights *= fields["d"][:, None]
        weights += fields["m"][:, None]
        return weights

    return Codec(encode, unpack, values)


def _encode_q8_0(rows: F32, importance: F32 | None) -> U8:
    x = to_columns(rows, BLOCK)
    scale: F32 = np.divide(np.abs(primitives.signed_abs_max(x)), np.float32(127))
    codes = _round_half_away(x * _reciprocal(scale))
    blocks = FORMATS["Q8_0"].empty(x.shape[1])
    blocks["d"], blocks["qs"] = to_half(scale), codes.T
    return block_bytes(blocks)


def _unpack_q8_0(blocks: U8) -> Stored:
    block = FORMATS["Q8_0"].view(blocks)
    return {"d": block["d"], "codes": block["qs"]}


def _values_q8_0(fields: Mapping[str, NDArray[Any]]) -> F32:
    weights: F32 = fields["codes"].astype(np.float32)
    weights *= fields["d"][:, None]
    return weights


Q4_0, Q5_0 = _signed(FORMATS["Q4_0"], 4), _signed(FORMATS["Q5_0"], 5)
Q4_1, Q5_1 = _offset(FORMATS["Q4_1"], 4), _offset(FORMATS["Q5_1"], 5)
Q8_0 = Codec(_encode_q8_0, _unpack_q8_0, _values_q8_0)


def _row_weights(rows: F32, importance: F32) -> F32:
    """Return importance · √(mean square of the row + x²), shape (32, blocks)."""
    mean_square = sum_of_squares(rows, rows.shape[1]) / np.float32(rows.shape[1])
    return spread_weights(rows, importance, BLOCK, mean_square)


def _reciprocal(scale: F32) -> F32:
    return np.where(scale != 0, np.float32(1) / scale, np.float32(0))


def _truncate(values: F32, shift: np.float32, top: int) -> U8:
    """Return the integer part of values + shift, at most `top`; `values` is overwritten."""
    values += shift
    codes = values.astype(np.uint8)
    return np.minimum(codes, np.uint8(top), out=codes)


def _round_half_away(values: F32) -> NDArray[np.int8]:
    """Round to the nearest integer, ties away from zero (C's `roundf`); `values` is overwritten.

    Doubling is exact. Of the doubled integer parts −1, 0, 1, 2, 3 the results are −1, 0, 1, 1, 2.
    """
    values *= np.float32(2)
    doubled = values.astype(np.int16)
    doubled += doubled > 0
    return (doubled >> 1).astype(np.int8)


def _write_codes(blocks: Blocks, codes: NDArray[Any], bits: int) -> None:
    """Write 32 codes of 4 or 5 bits: the nibbles to qs, fifth bits as a little-endian integer to qh.

    `codes` has shape (32, b).
    """
    integers = codes.astype(np.uint8, copy=False)
    if bits == 5:
        fifth = (integers >> np.uint8(4)).reshape(4, 8, -1) << np.arange(8, dtype=np.uint8)[:, None]
        blocks["qh"] = np.bitwise_or.reduce(fifth, axis=1).T
        integers = integers & np.uint8(15)
    blocks["qs"] = pack_nibbles(integers.T, BLOCK)


def _read_codes(block: Blocks, bits: int) -> U8:
    """Undo `_write_codes`; shape (b, 32)."""
    low = unpack_nibbles(block["qs"], BLOCK)
    if bits == 4:
        return low
    fifth = np.unpackbits(block["qh"], axis=1, bitorder="little")
    codes: U8 = low | fifth << np.uint8(4)
    return codes
