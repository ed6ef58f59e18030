"""Q4_K: 256 weights in 144 bytes, eight sub-blocks of 32 with a 6-bit scale and a 6-bit minimum each.

The value of a weight with 4-bit code q in sub-block j is ::

    ŵ = (d · scales[j]) · q − dmin · mins[j]

where d and dmin are one half-precision number each for the whole super-block: the scales are quantized too.
The encoder fits each sub-block by itself, quantizes the fitted scales and minimums to 6 bits, and then rounds
the weights once more, on the grid that the stored numbers really give.

The encoder is shared with `q5_k`, which differs in the number of codes and in the packing.

References
----------
`quantize_row_q4_K_ref`, `quantize_row_q4_K_impl`, `dequantize_row_q4_K` and `get_scale_min_k4` in
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
from quant_core.ggml.codec import Codec, Stored, from_columns, to_columns
from quant_core.ggml.formats import FORMATS, Blocks, Format, block_bytes
from quant_core.ggml.primitives import Search, nint, to_half
from quant_core.ggml.weighting import spread_weights, sum_of_squares

LAYOUT = FORMATS["Q4_K"]
SUPER_BLOCK = 256
SUB_BLOCK = 32
SUB_BLOCKS = SUPER_BLOCK // SUB_BLOCK
TOP_SCALE = 63

#: Candidates with an importance vector; the same for every code width.
WITH_IMPORTANCE = Search(first=-0.9, step=0.05, last=36)
_WITHOUT_IMPORTANCE = Search(first=-1.0, step=0.1, last=20)


def encode(rows: F32, importance: F32 | None) -> U8:
    """Return the blocks of `rows`; see `quant_core.ggml.codec.Codec`."""
    blocks, codes = encode_super_blocks(rows, importance, LAYOUT, top=15, search=_WITHOUT_IMPORTANCE)
    blocks["qs"] = pack_nibbles(codes, 2 * SUB_BLOCK)
    return block_bytes(blocks)


def unpack(blocks: U8) -> Stored:
    """Return d, dmin, 8 scales, 8 mins and 256 codes of each super-block."""
    block = LAYOUT.view(blocks)
    return unpack_header(block) | {"codes": unpack_nibbles(block["qs"], 2 * SUB_BLOCK)}


def values(fields: Mapping[str, NDArray[Any]]) -> F32:
    """Return (d · scale) · code − dmin · min for every weight, shape (b, 256)."""
    scale = fields["d"][:, None] * fields["scales"].astype(np.float32)
    minimum = fields["dmin"][:, None] * fields["mins"].astype(np.float32)
    codes = fields["codes"].reshape(-1, SUB_BLOCKS, SUB_BLOCK).astype(np.float32)
    weights: F32 = (scale[..., None] * codes - minimum[..., None]).reshape(-1, SUPER_BLOCK)
    return weights


CODEC = Codec(encode, unpack, values)


def encode_super_blocks(
    rows: F32, importance: F32 | None, layout: Format, top: int, search: Search
) -> tuple[Blocks, U8]:
    """Fit super-blocks with codes 0 … top.

    Parameters
    ----------
    rows : ndarray of float32, shape (r, columns)
    importance : ndarray of float32, shape (columns,), or None
    layout : Format
        That of Q4_K or Q5_K.
    top : int
        Largest code: 15 or 31.
    search : Search
        Candidates without an importance vector.

    Returns
    -------
    blocks : structured ndarray, shape (b,)
        With d, dmin and scales; the codes are not packed yet.
    codes : ndarray of uint8, shape (b, 256)
    """
    x = to_columns(rows, SUB_BLOCK)
    weights = _weights(rows, importance)
    scale, minimum, codes = primitives.fit_asymmetric(
        x, top, weights, search if importance is None else WITH_IMPORTANCE
    )
    per_block = [to_columns(part, SUB_BLOCKS) for part in (scale, minimum)]
    if importance is None:
        (d, scales), (dmin, mins) = (_round_to_six_bits(part) for part in per_block)
    else:
        sub_weights = to_columns(primitives.sum_in_order(weights), SUB_BLOCKS)
        (d, scales), (dmin, mins) = (
            primitives.fit_positive(part, TOP_SCALE, sub_weights) for part in per_block
        )
    stored_d, stored_dmin = to_half(d), to_half(dmin)

    step = from_columns(stored_d.astype(np.float32) * scales, 1).ravel()
    offset = from_columns(stored_dmin.astype(np.float32) * mins, 1).ravel()
    integers = primitives.round_again(x + offset, step, codes, 0, top)
    blocks = layout.empty(len(stored_d))
    blocks["d"], blocks["dmin"] = stored_d, stored_dmin
    six_bits = (from_columns(part, SUB_BLOCKS).astype(np.uint8) for part in (scales, mins))
    blocks["scales"] = pack_six_bit(*six_bits)
    return blocks, from_columns(integers, SUPER_BLOCK)


def _weights(rows: F32, importance: F32 | None) -> F32:
    """Return the weight of each squared error, shape (32, sub-blocks).

    Large weights count more: √(mean square) + |x| by itself, importance · √(2 · mean square + x²) with an
    importance vector. The mean square is the sub-block's in the first case, the super-block's in the second.
    """
    if importance is None:
        x = to_columns(rows, SUB_BLOCK)
        root_mean_square: F32 = np.sqrt(primitives.sum_in_order(x * x) / np.float32(SUB_BLOCK))
        return root_mean_square + np.abs(x)
    twice_mean_square = np.float32(2) * sum_of_squares(rows, SUPER_BLOCK) / np.float32(SUPER_BLOCK)
    return spread_weights(rows, importance, SUB_BLOCK, twice_mean_square)


def _round_to_six_bits(parts: F32) -> tuple[F32, F32]:
    """Round 8 scales (or minimums) to codes 0 … 63 of a common step; shapes (8, b) -> (b,), (8, b)."""
    largest = np.maximum(parts.max(axis=0), np.float32(0))
    inverse = np.where(largest > 0, np.float32(TOP_SCALE) / largest, np.float32(0))
    # C converts to an unsigned byte before it limits to 63, so a negative scale wraps around.
    codes = nint(inverse * parts).astype(np.int32) & 0xFF
    return largest / np.float32(TOP_SCALE), np.minimum(codes, TOP_SCALE).astype(np.float32)


def pack_six_bit(scales: U8, mins: U8) -> U8:
    """Pack eight 6-bit scales and eight 6-bit minimums into 12 bytes; shapes (b, 8), (b, 8) -> (b, 12).

    The first four of each keep their 6 bits together; of the last four, the low 4 bits go to bytes 8 … 11
    and the high 2 bits on top of the first four.
    """
    first, last = (scales[:, :4], mins[:, :4]), (scales[:, 4:], mins[:, 4:])
    heads = [low | (high >> 4) << 6 for low, high in zip(first, last, strict=True)]
    return np.hstack([*heads, (last[0] & 15) | (last[1] & 15) << 4])


def unpack_header(block: Blocks) -> Stored:
    """Return d, dmin, 8 scales and 8 mins of blocks of Q4_K or Q5_K."""
    scale_head, min_head, tail = np.split(block["scales"], 3, axis=1)
    return {
        "d": block["d"],
        "dmin": block["dmin"],
        "scales": np.hstack([scale_head & 63, (tail & 15) | (scale_head >> 6) << 4]),
        "mins": np.hstack([min_head & 63, (tail >> 4) | (min_head >> 6) << 4]),
    }
