"""Q5_K: Q4_K with a fifth bit for every code, 256 weights in 176 bytes.

References
----------
`quantize_row_q5_K_ref`, `quantize_row_q5_K_impl` and `dequantize_row_q5_K` in `ggml/src/ggml-quants.c` of
ggml-org/llama.cpp 0c1e57098bba.
"""

from __future__ import annotations

import numpy as np

from quant_core.arrays import F32, U8
from quant_core.ggml import q4_k
from quant_core.ggml.bits import pack_bits, pack_nibbles, unpack_bits, unpack_nibbles
from quant_core.ggml.codec import Codec, Stored
from quant_core.ggml.formats import FORMATS, block_bytes
from quant_core.ggml.primitives import Search

LAYOUT = FORMATS["Q5_K"]
_WITHOUT_IMPORTANCE = Search(first=-0.5, step=0.1, last=15)


def encode(rows: F32, importance: F32 | None) -> U8:
    """Return the blocks of `rows`; see `quant_core.ggml.codec.Codec`."""
    blocks, codes = q4_k.encode_super_blocks(rows, importance, LAYOUT, top=31, search=_WITHOUT_IMPORTANCE)
    blocks["qh"] = pack_bits(codes >> np.uint8(4))
    blocks["qs"] = pack_nibbles(codes & np.uint8(15), 2 * q4_k.SUB_BLOCK)
    return block_bytes(blocks)


def unpack(blocks: U8) -> Stored:
    """Return d, dmin, 8 scales, 8 mins and 256 codes of each super-block."""
    block = LAYOUT.view(blocks)
    low = unpack_nibbles(block["qs"], 2 * q4_k.SUB_BLOCK)
    return q4_k.unpack_header(block) | {"codes": low | unpack_bits(block["qh"]) << 4}


CODEC = Codec(encode, unpack, q4_k.values)
