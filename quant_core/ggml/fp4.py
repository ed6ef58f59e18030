"""MXFP4 and NVFP4 as ggml stores them: 4-bit floats (E2M1) with a small float as the scale of a block.

The sixteen codes are ±{0, ½, 1, 1½, 2, 3, 4, 6}, the sign in the highest bit. MXFP4 scales 32 of them by a
power of two (E8M0), NVFP4 each 16 by an unsigned 8-bit float (UE4M3). There is no search and importance is
ignored; ties go to the smaller magnitude, and −0 is not written.

These are ggml's conventions. The OCP specification rounds ties to even, and NVIDIA's NVFP4 has a scale for
the whole tensor besides.

References
----------
`quantize_row_mxfp4_ref`, `quantize_row_nvfp4_ref`, `dequantize_row_mxfp4`, `dequantize_row_nvfp4` in
`ggml/src/ggml-quants.c` of ggml-org/llama.cpp 0c1e57098bba.
OCP Microscaling Formats (MX) Specification v1.0, sections 5.3.3 and 6.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_core.arrays import F32, U8
from quant_core.ggml.bits import pack_nibbles, unpack_nibbles
from quant_core.ggml.codec import Codec, Stored
from quant_core.ggml.formats import FORMATS, block_bytes

MX_BLOCK, NV_BLOCK, NV_SUB_BLOCK = 32, 64, 16
NV_SUB_BLOCKS = NV_BLOCK // NV_SUB_BLOCK

#: Twice the value of each code: integers, so code 8 (−0 in E2M1) is read as +0.
_DOUBLED = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], dtype=np.float32)
#: Value of each code.
E2M1 = _DOUBLED / 2
_MIDDLES = (E2M1[1:8] + E2M1[:7]) / 2
_LARGEST = E2M1[7]


def encode_mxfp4(rows: F32, importance: F32 | None) -> U8:
    """Return the MXFP4 blocks of `rows`; `importance` is ignored."""
    x = rows.reshape(-1, MX_BLOCK)
    largest = np.abs(x).max(axis=1)
    # C takes the logarithm in float32: just below a power of two it rounds up to that power's.
    exponent = np.floor(np.log2(largest, dtype=np.float64).astype(np.float32))
    scale_bits = np.where(largest > 0, exponent - 2 + 127, 0).astype(np.int32).astype(np.uint8)
    blocks = FORMATS["MXFP4"].empty(len(x))
    blocks["e"], blocks["qs"] = scale_bits, pack_nibbles(_nearest(x, e8m0_values(scale_bits)), MX_BLOCK)
    return block_bytes(blocks)


def encode_nvfp4(rows: F32, importance: F32 | None) -> U8:
    """Return the NVFP4 blocks of `rows`; `importance` is ignored."""
    x = rows.reshape(-1, NV_SUB_BLOCK)
    scale_bits = ue4m3_bits(np.abs(x).max(axis=1) / _LARGEST)
    codes = _nearest(x, ue4m3_values(scale_bits))
    blocks = FORMATS["NVFP4"].empty(len(x) // NV_SUB_BLOCKS)
    blocks["d"] = scale_bits.reshape(-1, NV_SUB_BLOCKS)
    blocks["qs"] = pack_nibbles(codes.reshape(-1, NV_BLOCK), NV_SUB_BLOCK)
    return block_bytes(blocks)


def _nearest(x: F32, scale: F32) -> U8:
    """Return the code of the value next to x / scale; between two, the smaller magnitude.

    Shapes (b, k), (b,) -> (b, k). The middles times the scale are exact, so nothing is divided.
    """
    magnitude = np.abs(x)
    codes = np.zeros(x.shape, np.uint8)
    for middle in _MIDDLES:
        codes += magnitude > (middle * scale)[:, None]
    codes[scale == 0] = 0
    codes |= ((x < 0) & (codes > 0)).view(np.uint8) << 3
    return codes


def e8m0_values(bits: NDArray[Any]) -> F32:
    """Return the scales 2^(bits − 127) of 8-bit exponents.

    Examples
    --------
    >>> e8m0_values(np.array([127, 130], np.uint8)).tolist()
    [1.0, 8.0]
    """
    return np.ldexp(np.float32(1), bits.astype(np.int32) - 127)


def ue4m3_bits(values: F32) -> U8:
    """Round positive numbers to unsigned floats of 4 exponent bits (bias 7) and 3 fraction bits.

    To nearest, ties up. From 256 on ggml writes 448, the largest, whatever lies between.

    Examples
    --------
    >>> ue4m3_bits(np.array([0, 1, 1.0625, 1000], np.float32)).tolist()
    [0, 56, 57, 126]
    """
    # Rounded to 3 fraction bits, a carry goes into the exponent; 120 is float32's bias less ours.
    pattern = values.view(np.uint32)
    normal = ((pattern + np.uint32(1 << 19)) >> 20).astype(np.int32) - (120 << 3)
    normal[normal >= 15 << 3] = 0x7E
    subnormal = np.minimum(np.trunc(values * np.float32(512) + np.float32(0.5)), np.float32(7))
    return np.where(pattern >> 23 > 120, normal, subnormal).astype(np.uint8)


def ue4m3_values(bits: NDArray[Any]) -> F32:
    """Return the values of UE4M3 scales. The top bit is ignored; 0x7F, no number in E4M3, is read as 0."""
    values: F32 = _UE4M3[bits]
    return values


def _ue4m3_table() -> F32:
    bits = np.arange(256)
    exponent, fraction = bits >> 3 & 15, bits & 7
    table = np.where(exponent > 0, (8 + fraction) * 2.0 ** (exponent - 10.0), fraction * 2.0**-9).astype(
        np.float32
    )
    table[0x7F] = 0
    return table


_UE4M3 = _ue4m3_table()


def _unpack_mxfp4(blocks: U8) -> Stored:
    block = FORMATS["MXFP4"].view(blocks)
    return {"e": block["e"], "codes": unpack_nibbles(block["qs"], MX_BLOCK)}


def values_mxfp4(fields: Mapping[str, NDArray[Any]]) -> F32:
    """Return scale · E2M1[code] for every weight, shape (b, 32)."""
    # Half the scale times twice the value, so that the largest exponents do not overflow too early.
    half_scale = e8m0_values(fields["e_bits"].astype(np.int32) - 1)
    weights: F32 = _DOUBLED[fields["codes"]] * half_scale[:, None]
    return weights


def _unpack_nvfp4(blocks: U8) -> Stored:
    block = FORMATS["NVFP4"].view(blocks)
    return {"d": block["d"], "codes": unpack_nibbles(block["qs"], NV_SUB_BLOCK)}


def values_nvfp4(fields: Mapping[str, NDArray[Any]]) -> F32:
    """Return scale · E2M1[code] for every weight, shape (b, 64)."""
    levels = E2M1[fields["codes"]].reshape(-1, NV_SUB_BLOCKS, NV_SUB_BLOCK)
    weights: F32 = (levels * fields["d"][..., None]).reshape(-1, NV_BLOCK)
    return weights


MXFP4 = Codec(encode_mxfp4, _unpack_mxfp4, values_mxfp4, {"e": e8m0_values})
NVFP4 = Codec(encode_nvfp4, _unpack_nvfp4, values_nvfp4, {"d": ue4m3_values})
