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
from quant_core.ggml.codec import Codec, Stored
from quant_core.ggml.formats import FORMATS, Format, block_bytes
from quant_core.ggml.primitives import to_half
from quant_core.methods.floats import bf16_bits


def _plain(layout: Format, stored: Callable[[F32], NDArray[Any]], **floats: Callable[..., F32]) -> Codec:
    """Return the codec of a type whose block is one number, which `stored` makes of a weight."""

    def encode(rows: F32, importance: F32 | None) -> U8:
        blocks = layout.empty(rows.size)
        blocks["value"] = stored(rows).ravel()
        return block_bytes(blocks)

    def unpack(blocks: U8) -> Stored:
        return {"value": layout.view(blocks)["value"]}

    return Codec(encode, unpack, _values, floats)


def _values(fields: Mapping[str, NDArray[Any]]) -> F32:
    weights: F32 = fields["value"][:, None]
    return weights


def _bf16_values(bits: NDArray[Any]) -> F32:
    return (bits.astype(np.uint32) << 16).view(np.float32)


F32_CODEC = _plain(FORMATS["F32"], lambda rows: rows)
F16 = _plain(FORMATS["F16"], to_half)
BF16 = _plain(FORMATS["BF16"], bf16_bits, value=_bf16_values)
