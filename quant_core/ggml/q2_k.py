"""Q2_K: 256 weights in 84 bytes, sixteen sub-blocks of 16 with a 4-bit scale and a 4-bit minimum each.

The value of a weight with 2-bit code q in sub-block j is ŵ = (d · scales[j]) · q − dmin · mins[j], as in
Q4_K. Without an importance vector the search compares absolute errors, weighted by |x|; with one it compares
squared errors.

References
----------
`quantize_row_q2_K_ref`, `quantize_row_q2_K_impl` and `dequantize_row_q2_K` in `ggml/src/ggml-quants.c` of
ggml-org/llama.cpp 0c1e57098bba.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_core.arrays import F32, U8
from quant_core.ggml import primitives
from quant_core.ggml.bits import pack_pairs, unpack_pairs
from quant_core.ggml.codec import Codec, Stored, from_columns, to_columns
from quant_core.ggml.formats import FORMATS, block_bytes
from quant_core.ggml.primitives import Search, nint, to_half
from quant_core.ggml.weighting import spread_weights, sum_of_squares

LAYOUT = FORMATS["Q2_K"]
SUPER_BLOCK, SUB_BLOCK = 256, 16
SUB_BLOCKS = SUPER_BLOCK // SUB_BLOCK
TOP, TOP_SCALE = 3, 15

_WITHOUT_IMPORTANCE = Search(first=-0.5, step=0.1, last=15, absolute=True)
_WITH_IMPORTANCE = Search(first=-0.9, step=0.05, last=36)


def encode(rows: F32, importance: F32 | None) -> U8:
    """Return the blocks of `rows`; see `quant_core.ggml.codec.Codec`."""
    x = to_columns(rows, SUB_BLOCK)
    if importance is None:
        scale, minimum, codes = primitives.fit_asymmetric(x, TOP, np.abs(x), _WITHOUT_IMPORTANCE)
        (d, scales), (dmin, mins) = (
            _round_to_four_bits(to_columns(part, SUB_BLOCKS)) for part in (scale, minimum)
        )
    else:
        mean_square = sum_of_squares(rows, SUPER_BLOCK) / np.float32(SUPER_BLOCK)
        weights = spread_weights(rows, importance, SUB_BLOCK, mean_square)
        scale, minimum, codes = primitives.fit_asymmetric(x, TOP, weights, _WITH_IMPORTANCE)
        sub_weights = to_columns(primitives.sum_in_order(weights), SUB_BLOCKS)
        (d, scales), (dmin, mins) = (
            primitives.fit_positive(to_columns(part, SUB_BLOCKS), TOP_SCALE, sub_weights)
            for part in (scale, minimum)
        )
    stored_d, stored_dmin = to_half(d), to_half(dmin)
    # C joins the two without a mask: what does not fit into a nibble would reach the other one.
    scale_bytes = (scales.astype(np.int32) | mins.astype(np.int32) << 4).astype(np.uint8)

    step = from_columns(stored_d.astype(np.float32) * (scale_bytes & 15), 1).ravel()
    offset = from_columns(stored_dmin.astype(np.float32) * (scale_bytes >> 4), 1).ravel()
    integers = from_columns(primitives.round_again(x + offset, step, codes, 0, TOP), SUPER_BLOCK)
    blocks = LAYOUT.empty(len(stored_d))
    blocks["scales"] = scale_bytes.T
    blocks["qs"] = pack_pairs(integers)
    blocks["d"], blocks["dmin"] = stored_d, stored_dmin
    return block_bytes(blocks)


def unpack(blocks: U8) -> Stored:
    """Return d, dmin, 16 scales, 16 mins and 256 codes of each super-block."""
    block = LAYOUT.view(blocks)
    return {
        "d": block["d"],
        "dmin": block["dmin"],
        "scales": block["scales"] & 15,
        "mins": block["scales"] >> 4,
        "codes": unpack_pairs(block["qs"]),
    }


def values(fields: Mapping[str, NDArray[Any]]) -> F32:
    """Return (d · scale) · code − dmin · min for every weight, shape (b, 256)."""
    scale = fields["d"][:, None] * fields["scales"].astype(np.float32)
    minimum = fields["dmin"][:, None] * fields["mins"].astype(np.float32)
    codes = fields["codes"].reshape(-1, SUB_BLOCKS, SUB_BLOCK).astype(np.float32)
    weights: F32 = (scale[..., None] * codes - minimum[..., None]).reshape(-1, SUPER_BLOCK)
    return weights


CODEC = Codec(encode, unpack, values)


def _round_to_four_bits(parts: F32) -> tuple[F32, F32]:
    """Round 16 scales (or minimums) to codes 0 … 15 of a common step; shapes (16, b) -> (b,), (16, b)."""
    largest = np.maximum(parts.max(axis=0), np.float32(0))
    inverse = np.where(largest > 0, np.float32(TOP_SCALE) / largest, np.float32(0))
    return largest / np.float32(TOP_SCALE), nint(inverse * parts)
