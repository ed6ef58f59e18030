"""Q3_K: 256 weights in 110 bytes, sixteen sub-blocks of 16 with a signed 6-bit scale each, no minimum.

The value of a weight with 3-bit code q in sub-block j is ŵ = (d · (scales[j] − 32)) · (q − 4).

References
----------
`quantize_row_q3_K_ref`, `quantize_row_q3_K_impl` and `dequantize_row_q3_K` in `ggml/src/ggml-quants.c` of
ggml-org/llama.cpp 0c1e57098bba.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_core.arrays import F32, U8
from quant_core.ggml import primitives
from quant_core.ggml.bits import pack_bits, pack_pairs, unpack_bits, unpack_pairs
from quant_core.ggml.codec import Codec, Stored, from_columns, to_columns
from quant_core.ggml.formats import FORMATS, block_bytes
from quant_core.ggml.primitives import nint, to_half
from quant_core.ggml.weighting import spread_weights, sum_of_squares

LAYOUT = FORMATS["Q3_K"]
SUPER_BLOCK, SUB_BLOCK = 256, 16
SUB_BLOCKS = SUPER_BLOCK // SUB_BLOCK
HALF, HALF_SCALE = 4, 32


def encode(rows: F32, importance: F32 | None) -> U8:
    """Return the blocks of `rows`; see `quant_core.ggml.codec.Codec`."""
    x = to_columns(rows, SUB_BLOCK)
    if importance is None:
        scale, codes = primitives.fit_symmetric_by_descent(x, HALF)
        d, scales = _round_to_six_bits(to_columns(scale, SUB_BLOCKS))
    else:
        twice_mean_square = np.float32(2) * sum_of_squares(rows, SUPER_BLOCK) / np.float32(SUPER_BLOCK)
        weights = spread_weights(rows, importance, SUB_BLOCK, twice_mean_square)
        scale, codes = primitives.fit_symmetric(x, HALF, weights)
        sub_weights = to_columns(primitives.sum_in_order(weights), SUB_BLOCKS)
        d, scales = primitives.fit_symmetric(to_columns(scale, SUB_BLOCKS), HALF_SCALE, sub_weights)
    stored_d = to_half(d)

    step = from_columns(stored_d.astype(np.float32) * (scales - np.float32(HALF_SCALE)), 1).ravel()
    integers = from_columns(primitives.round_again(x, step, codes, HALF, 2 * HALF - 1), SUPER_BLOCK)
    blocks = LAYOUT.empty(len(stored_d))
    blocks["hmask"] = pack_bits(integers >> np.uint8(2))
    blocks["qs"] = pack_pairs(integers & np.uint8(3))
    blocks["scales"] = _pack_six_bit(from_columns(scales, SUB_BLOCKS).astype(np.uint8))
    blocks["d"] = stored_d
    return block_bytes(blocks)


def unpack(blocks: U8) -> Stored:
    """Return d, 16 scales 0 … 63 and 256 codes 0 … 7 of each super-block."""
    block = LAYOUT.view(blocks)
    return {
        "d": block["d"],
        "scales": _unpack_six_bit(block["scales"]),
        "codes": unpack_pairs(block["qs"]) | unpack_bits(block["hmask"]) << 2,
    }


def values(fields: Mapping[str, NDArray[Any]]) -> F32:
    """Return (d · (scale − 32)) · (code − 4) for every weight, shape (b, 256)."""
    scale = fields["d"][:, None] * (fields["scales"].astype(np.float32) - np.float32(HALF_SCALE))
    levels = (fields["codes"].view(np.int8) - np.int8(HALF)).astype(np.float32)
    weights: F32 = (scale[..., None] * levels.reshape(-1, SUB_BLOCKS, SUB_BLOCK)).reshape(-1, SUPER_BLOCK)
    return weights


CODEC = Codec(encode, unpack, values)


def _round_to_six_bits(parts: F32) -> tuple[F32, F32]:
    """Round 16 scales to codes 0 … 63, 32 being zero, of a common step; (16, b) -> (b,), (16, b)."""
    largest = primitives.signed_abs_max(parts)
    half = np.float32(HALF_SCALE)
    inverse = -half / largest
    codes = np.clip(nint(inverse * parts), -half, half - 1) + half
    zero = largest == 0
    codes[:, zero] = 0
    return np.where(zero, np.float32(0), np.float32(1) / inverse), codes


def _pack_six_bit(scales: U8) -> U8:
    """Pack sixteen 6-bit scales into 12 bytes: low 4 bits of j and j+8 in byte j, then the high pairs."""
    low = (scales[:, :8] & 15) | (scales[:, 8:] & 15) << 4
    a, b, c, d = np.moveaxis((scales >> 4).reshape(-1, 4, 4), 1, 0)
    return np.hstack([low, a | b << 2 | c << 4 | d << 6]).astype(np.uint8, copy=False)


def _unpack_six_bit(packed: U8) -> U8:
    low, high = packed[:, :8], packed[:, None, 8:]
    shifts = np.array([0, 2, 4, 6], np.uint8)[:, None]
    pairs = (high >> shifts & 3).reshape(-1, SUB_BLOCKS)
    scales: U8 = np.hstack([low & 15, low >> 4]) | pairs << 4
    return scales
