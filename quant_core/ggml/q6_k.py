"""Q6_K: 256 weights in 210 bytes, sixteen sub-blocks of 16 with a signed 8-bit scale each, no minimum.

The value of a weight with 6-bit code q in sub-block j is ŵ = (d · scales[j]) · (q − 32).

References
----------
`quantize_row_q6_K_ref`, `quantize_row_q6_K_impl` and `dequantize_row_q6_K` in `ggml/src/ggml-quants.c` of
ggml-org/llama.cpp 0c1e57098bba.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_core.arrays import F32, U8
from quant_core.ggml import primitives
from quant_core.ggml.codec import Codec, Stored, from_columns, to_columns
from quant_core.ggml.formats import FORMATS, block_bytes
from quant_core.ggml.primitives import nint, to_half
from quant_core.ggml.weighting import importance_columns

LAYOUT = FORMATS["Q6_K"]
SUPER_BLOCK, SUB_BLOCK, HALF = 256, 16, 32


def encode(rows: F32, importance: F32 | None) -> U8:
    """Return the blocks of `rows`; see `quant_core.ggml.codec.Codec`."""
    x = to_columns(rows, SUB_BLOCK)
    if importance is None:
        weights = x * x
    else:
        weights = importance_columns(rows, importance, SUB_BLOCK)
    scale, codes = primitives.fit_symmetric(x, HALF, weights)

    per_block = to_columns(scale, SUPER_BLOCK // SUB_BLOCK)
    largest = primitives.signed_abs_max(per_block)
    inverse = np.float32(-128) / largest
    stored_d = to_half(np.float32(1) / inverse)
    scales = np.minimum(nint(inverse * per_block), np.float32(127))

    step = from_columns(stored_d.astype(np.float32) * scales, 1).ravel()
    integers = primitives.round_again(x, step, codes, HALF, 2 * HALF - 1)
    signed_scales = from_columns(scales, SUPER_BLOCK // SUB_BLOCK).astype(np.int32).astype(np.int8)
    blocks = LAYOUT.empty(len(largest))
    blocks["ql"], blocks["qh"] = _pack_codes(from_columns(integers, SUPER_BLOCK))
    blocks["scales"] = signed_scales
    blocks["d"] = stored_d
    blocks[np.abs(largest) < primitives.ALL_ZERO] = 0
    return block_bytes(blocks)


def unpack(blocks: U8) -> Stored:
    """Return d, 16 signed scales and 256 codes 0 … 63 of each super-block."""
    block = LAYOUT.view(blocks)
    return {"d": block["d"], "scales": block["scales"], "codes": _unpack_codes(block["ql"], block["qh"])}


def values(fields: Mapping[str, NDArray[Any]]) -> F32:
    """Return (d · scale) · (code − 32) for every weight, shape (b, 256)."""
    scale = fields["d"][:, None] * fields["scales"].astype(np.float32)
    levels = (fields["codes"].view(np.int8) - np.int8(HALF)).astype(np.float32)
    weights: F32 = (scale[..., None] * levels.reshape(*scale.shape, SUB_BLOCK)).reshape(-1, SUPER_BLOCK)
    return weights


CODEC = Codec(encode, unpack, values)


def _pack_codes(codes: U8) -> tuple[NDArray[Any], NDArray[Any]]:
    """Pack 256 6-bit codes into 128 bytes of low nibbles (ql) and 64 bytes of high bit pairs (qh).

    Each half of 128 weights is four runs a, b, c, d of 32: the nibbles of a and c share bytes, those of b and
    d too, and the four high pairs share one byte.
    """
    a, b, c, d = np.moveaxis(codes.reshape(-1, 2, 4, 32), 2, 0)
    low = np.concatenate([(a & 15) | (c & 15) << 4, (b & 15) | (d & 15) << 4], axis=2)
    high = a >> 4 | (b >> 4) << 2 | (c >> 4) << 4 | (d >> 4) << 6
    return low.reshape(-1, 128), high.reshape(-1, 64)


def _unpack_codes(ql: U8, qh: U8) -> U8:
    low, high = ql.reshape(-1, 2, 2, 32), qh.reshape(-1, 2, 1, 32)
    nibbles = np.concatenate([low & 15, low >> 4], axis=2)
    pairs = np.concatenate([high >> shift & 3 for shift in (0, 2, 4, 6)], axis=2)
    codes: U8 = (nibbles | pairs << 4).reshape(-1, SUPER_BLOCK)
    return codes
