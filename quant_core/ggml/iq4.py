"""IQ4_NL and IQ4_XS: 4-bit codes that point into a table of 16 values, denser around zero.

The table T approximates the quantiles of a normal distribution. IQ4_NL is a block of 32 with one scale,
ŵ = d · T[q]; IQ4_XS is a super-block of 256 whose eight sub-blocks have a signed 6-bit scale each,
ŵ = (d · (scales[j] − 32)) · T[q].

References
----------
`quantize_row_iq4_nl_impl`, `quantize_iq4_nl`, `quantize_iq4_xs`, `dequantize_row_iq4_nl`,
`dequantize_row_iq4_xs` in `ggml/src/ggml-quants.c`, and `kvalues_iq4nl` in `ggml/src/ggml-common.h`, of
ggml-org/llama.cpp 0c1e57098bba.
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
from quant_core.ggml.formats import FORMATS, block_bytes
from quant_core.ggml.primitives import ALL_ZERO, nint, sum_in_order, to_half
from quant_core.ggml.weighting import spread_weights, sum_of_squares

BLOCK, SUPER_BLOCK = 32, 256
SUB_BLOCKS = SUPER_BLOCK // BLOCK
HALF_SCALE = 32

TABLE = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], dtype=np.float32)
#: A value moves to the upper of two entries from the middle between them on.
_MIDDLES = (TABLE[1:] + TABLE[:-1]) / 2
#: The middles are multiples of ½: the nearest entry of v depends on floor(2v) alone.
_REACH = 256
_NEAREST = np.searchsorted(_MIDDLES, np.arange(-_REACH, _REACH) / 2, side="right").astype(np.uint8)
#: The search tries the scales that map the largest magnitude to −127 + k.
_SHIFTS = range(-7, 8)


def encode_nl(rows: F32, importance: F32 | None) -> U8:
    """Return the IQ4_NL blocks of `rows`; see `quant_core.ggml.codec.Codec`."""
    x = to_columns(rows, BLOCK)
    scale = _fit(x, _weights(rows, importance, BLOCK))
    inverse = np.where(scale != 0, np.float32(1) / scale, np.float32(0))
    codes = nearest(inverse * x)
    blocks = FORMATS["IQ4_NL"].empty(x.shape[1])
    blocks["d"], blocks["qs"] = to_half(scale), pack_nibbles(codes.T, BLOCK)
    return block_bytes(blocks)


def encode_xs(rows: F32, importance: F32 | None) -> U8:
    """Return the IQ4_XS blocks of `rows`; see `quant_core.ggml.codec.Codec`."""
    x = to_columns(rows, BLOCK)
    fitted = to_columns(_fit(x, _weights(rows, importance, SUPER_BLOCK)), SUB_BLOCKS)
    half = np.float32(HALF_SCALE)
    d = -primitives.signed_abs_max(fitted) / half
    inverse = np.where(d != 0, np.float32(1) / d, np.float32(0))
    scales = np.clip(nint(inverse * fitted), -half, half - 1)
    # The codes are those of the step before d is rounded to a half.
    step = from_columns(d * scales, 1).ravel()
    codes = nearest(np.where(step != 0, np.float32(1) / step, np.float32(0)) * x)
    blocks = FORMATS["IQ4_XS"].empty(len(d))
    blocks["d"] = to_half(d)
    blocks["scales_h"], blocks["scales_l"] = _pack_scales((scales + half).T.astype(np.uint8))
    blocks["qs"] = pack_nibbles(from_columns(codes, SUPER_BLOCK), BLOCK)
    return block_bytes(blocks)


def nearest(values: F32) -> U8:
    """Return the index of the entry of `TABLE` next to each value; between two, the upper.

    Examples
    --------
    >>> nearest(np.array([-200, -5, 0, 7, 13], np.float32)).tolist()
    [0, 7, 8, 9, 9]
    """
    doubled = np.floor(values * np.float32(2)) + np.float32(_REACH)
    clipped = np.clip(doubled, 0, np.float32(2 * _REACH - 1), out=doubled)
    # A block of zeros gives NaN, whose integer is out of range; its scale is discarded afterwards.
    codes: U8 = _NEAREST.take(clipped.astype(np.intp), mode="clip")
    return codes


def _weights(rows: F32, importance: F32 | None, size: int) -> F32:
    """Return the weight of each squared error: x², or importance · √(2 · mean square of `size` + x²)."""
    if importance is None:
        x = to_columns(rows, BLOCK)
        return x * x
    twice_mean_square = sum_of_squares(rows, size) * np.float32(2 / size)
    return spread_weights(rows, importance, BLOCK, twice_mean_square)


def _fit(x: F32, weights: F32) -> F32:
    """Return the scale of x ≈ scale · T[code] by weighted least squares, as `primitives.fit_symmetric`."""
    largest = primitives.signed_abs_max(x)

    def sums(inverse: F32) -> tuple[F32, F32]:
        levels = TABLE[nearest(inverse * x)]
        weighted = weights * levels
        return sum_in_order(weighted * x), sum_in_order(weighted * levels)

    sum_lx, sum_l2 = sums(np.float32(1) / (-largest / TABLE[0]))
    scale = np.where(sum_l2 > 0, sum_lx / sum_l2, np.float32(0))
    best = scale * sum_lx
    for k in _SHIFTS:
        sum_lx, sum_l2 = sums((np.float32(k) + TABLE[0]) / largest)
        better = (sum_l2 > 0) & (sum_lx * sum_lx > best * sum_l2)
        trial = sum_lx / sum_l2
        np.copyto(scale, trial, where=better)
        np.copyto(best, trial * sum_lx, where=better)
    return np.where(np.abs(largest) < ALL_ZERO, np.float32(0), scale)


def _unpack_nl(blocks: U8) -> Stored:
    block = FORMATS["IQ4_NL"].view(blocks)
    return {"d": block["d"], "codes": unpack_nibbles(block["qs"], BLOCK)}


def values_nl(fields: Mapping[str, NDArray[Any]]) -> F32:
    """Return d · T[code] for every weight, shape (b, 32)."""
    weights: F32 = fields["d"][:, None] * TABLE[fields["codes"]]
    return weights


def _unpack_xs(blocks: U8) -> Stored:
    block = FORMATS["IQ4_XS"].view(blocks)
    return {
        "d": block["d"],
        "scales": _unpack_scales(block["scales_h"], block["scales_l"]),
        "codes": unpack_nibbles(block["qs"], BLOCK),
    }


def values_xs(fields: Mapping[str, NDArray[Any]]) -> F32:
    """Return (d · (scale − 32)) · T[code] for every weight, shape (b, 256)."""
    scale = fields["d"][:, None] * (fields["scales"].astype(np.float32) - np.float32(HALF_SCALE))
    levels = TABLE[fields["codes"]].reshape(-1, SUB_BLOCKS, BLOCK)
    weights: F32 = (scale[..., None] * levels).reshape(-1, SUPER_BLOCK)
    return weights


IQ4_NL = Codec(encode_nl, _unpack_nl, values_nl)
IQ4_XS = Codec(encode_xs, _unpack_xs, values_xs)


def _pack_scales(scales: U8) -> tuple[NDArray[Any], NDArray[Any]]:
    """Pack eight 6-bit scales into 2 bytes of high pairs (bit 2j) and 4 bytes of nibbles (even j low)."""
    a, b, c, d = (scales >> 4).reshape(-1, 2, 4).transpose(2, 0, 1)
    return a | b << 2 | c << 4 | d << 6, (scales[:, ::2] & 15) | (scales[:, 1::2] & 15) << 4


def _unpack_scales(pairs: U8, nibbles: U8) -> U8:
    high = pairs[..., None] >> np.array([0, 2, 4, 6], np.uint8) & 3
    low = np.stack([nibbles & 15, nibbles >> 4], axis=2)
    scales: U8 = low.reshape(-1, SUB_BLOCKS) | high.reshape(-1, SUB_BLOCKS) << 4
    return scales
