"""F32, F16 and BF16: the types of ggml that store every weight by itself. A block is one weight.

References
----------
`ggml_fp32_to_fp16_row` and `ggml_fp32_to_bf16_row` in `ggml/src/ggml.c` of ggml-org/llama.cpp 0c1e57098bba.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_core.arrays import F32, U8
from quant_core.ggml.codec import Codec, Stored, half_values
from quant_core.ggml.primitives import to_half
from quant_core.methods.floats import bf16_bits

_Bits = NDArray[Any]


def _plain(dtype: str, to_bits: Callable[[F32], _Bits], to_values: Callable[[_Bits], F32]) -> Codec:
    """Return the codec of a floating-point type whose bits are little-endian integers of `dtype`."""

    def encode(rows: F32, importance: F32 | None) -> U8:
        bits = np.ascontiguousarray(to_bits(rows), dtype=dtype)
        return bits.view(np.uint8).reshape(-1, np.dtype(dtype).itemsize)

    def unpack(blocks: U8) -> Stored:
        return {"value": np.ascontiguousarray(blocks).view(dtype)[:, 0]}

    return Codec(encode, unpack, _values, {"value": to_values})


def _values(fields: Mapping[str, NDArray[Any]]) -> F32:
    weights: F32 = fields["value"][:, None]
    return weights


def _f32_values(bits: _Bits) -> F32:
    return bits.astype("<u4").view("<f4").astype(np.float32, copy=False)


def _bf16_values(bits: _Bits) -> F32:
    return _f32_values(bits.astype(np.uint32) << 16)


F32_CODEC = _plain("<u4", lambda rows: rows.view(np.uint32), _f32_values)
F16 = _plain("<u2", lambda rows: to_half(rows).view(np.uint16), half_values)
BF16 = _plain("<u2", bf16_bits, _bf16_values)
