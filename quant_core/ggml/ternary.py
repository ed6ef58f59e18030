"""TQ1_0, TQ2_0, Q1_0 and Q2_0: one scale and very few levels, for models that were trained for them.

TQ1_0 and TQ2_0 hold −d, 0 and d with d = max |x|: lossless on weights that are of that kind, ruinous on
others. TQ1_0 packs five digits into a byte, 3⁵ = 243 ≤ 256, as a fraction of 256: the digits come out by
multiplying with 3 and taking what reaches the next byte. Q1_0 holds a sign for each weight and the mean of
|x|; Q2_0 has a fourth level, 2d, which its own encoder never writes.

References
----------
`quantize_row_tq1_0_ref`, `quantize_row_tq2_0_ref`, `quantize_row_q1_0_ref`, `quantize_row_q2_0_ref` and their
`dequantize_row_*` in `ggml/src/ggml-quants.c` of ggml-org/llama.cpp 0c1e57098bba.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_core.arrays import F32, U8
from quant_core.ggml.bits import pack_pairs, unpack_pairs
from quant_core.ggml.codec import Codec, Stored, to_columns
from quant_core.ggml.formats import FORMATS, Format, block_bytes
from quant_core.ggml.primitives import sum_in_order, to_half

_DIGITS = 5  # of a byte
_POWERS = 3 ** np.arange(_DIGITS, dtype=np.uint8)
#: TQ1_0: the first weight, the number of bytes and the digits of each run of bytes. Digit n of byte m is the
#: weight first + n · bytes + m.
_RUNS = ((0, 32, 5), (160, 16, 5), (240, 4, 4))


def _digits(rows: F32, layout: Format) -> tuple[F32, U8]:
    """Return max |x| of each block, and round(x / max |x|) + 1, halves away from zero, shape (b, size)."""
    blocks = rows.reshape(-1, layout.block_size)
    d = np.abs(blocks).max(axis=1)
    inverse = np.where(d > 0, np.float32(1) / d, np.float32(0))
    scaled = (blocks * inverse[:, None]).astype(np.float64)
    rounded = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled)
    return d, (rounded + 1).astype(np.uint8)


def _centred(fields: Mapping[str, NDArray[Any]]) -> F32:
    """Return d · (code − 1) for every weight, shape (b, size)."""
    weights: F32 = (fields["codes"].astype(np.float32) - np.float32(1)) * fields["d"][:, None]
    return weights


def _encode_tq1_0(rows: F32, importance: F32 | None) -> U8:
    d, codes = _digits(rows, FORMATS["TQ1_0"])
    packed = []
    for first, size, count in _RUNS:
        digits = codes[:, first : first + size * count].reshape(len(d), count, size).astype(np.uint16)
        number = sum(digits[:, n] * np.uint16(3 ** (_DIGITS - 1 - n)) for n in range(count))
        packed.append((number * np.uint32(256) + np.uint32(242)) // np.uint32(243))
    blocks = FORMATS["TQ1_0"].empty(len(d))
    blocks["qs"] = np.concatenate(packed[:2], axis=1)
    blocks["qh"] = packed[2]
    blocks["d"] = to_half(d)
    return block_bytes(blocks)


def _unpack_tq1_0(blocks: U8) -> Stored:
    block = FORMATS["TQ1_0"].view(blocks)
    return {"d": block["d"], "qs": block["qs"], "qh": block["qh"]}


def _values_tq1_0(fields: Mapping[str, NDArray[Any]]) -> F32:
    """Return d · digit for every weight, shape (b, 256)."""
    packed = fields["qs"][:, :32], fields["qs"][:, 32:], fields["qh"]
    codes = []
    for numbers, (_first, _size, count) in zip(packed, _RUNS, strict=True):
        shifted = numbers[:, None] * _POWERS[:count, None]
        codes.append((shifted.astype(np.uint16) * 3 >> 8).reshape(len(numbers), -1))
    return _centred({"d": fields["d"], "codes": np.concatenate(codes, axis=1)})


def _weights_of_tq1_0(name: str, index: int) -> range:
    """Return the weights whose digits a byte holds; all for d."""
    if name == "d":
        return range(256)
    run = 2 if name == "qh" else int(index >= 32)
    first, size, count = _RUNS[run]
    start = first + index - (32 if run == 1 else 0)
    return range(start, start + size * count, size)


def _encode_tq2_0(rows: F32, importance: F32 | None) -> U8:
    d, codes = _digits(rows, FORMATS["TQ2_0"])
    blocks = FORMATS["TQ2_0"].empty(len(d))
    blocks["qs"], blocks["d"] = pack_pairs(codes), to_half(d)
    return block_bytes(blocks)


def _unpack_tq2_0(blocks: U8) -> Stored:
    block = FORMATS["TQ2_0"].view(blocks)
    return {"d": block["d"], "codes": unpack_pairs(block["qs"])}


def _encode_q1_0(rows: F32, importance: F32 | None) -> U8:
    layout = FORMATS["Q1_0"]
    x = to_columns(rows, layout.block_size)
    blocks = layout.empty(x.shape[1])
    blocks["d"] = to_half(sum_in_order(np.abs(x)) / np.float32(layout.block_size))
    blocks["qs"] = np.packbits((x >= 0).T, axis=1, bitorder="little")
    return block_bytes(blocks)


def _unpack_q1_0(blocks: U8) -> Stored:
    block = FORMATS["Q1_0"].view(blocks)
    return {"d": block["d"], "codes": np.unpackbits(block["qs"], axis=1, bitorder="little")}


def _signs(fields: Mapping[str, NDArray[Any]]) -> F32:
    """Return d or −d for every weight, shape (b, 128)."""
    d = fields["d"][:, None]
    weights: F32 = np.where(fields["codes"] == 1, d, -d)
    return weights


_PAIRS = np.array([0, 2, 4, 6], np.uint8)


def _encode_q2_0(rows: F32, importance: F32 | None) -> U8:
    layout = FORMATS["Q2_0"]
    d, codes = _digits(rows, layout)
    blocks = layout.empty(len(d))
    blocks["d"] = to_half(d)
    blocks["qs"] = np.bitwise_or.reduce(codes.reshape(len(d), -1, 4) << _PAIRS, axis=2)
    return block_bytes(blocks)


def _unpack_q2_0(blocks: U8) -> Stored:
    block = FORMATS["Q2_0"].view(blocks)
    return {"d": block["d"], "codes": (block["qs"][..., None] >> _PAIRS & 3).reshape(len(block), -1)}


TQ1_0 = Codec(_encode_tq1_0, _unpack_tq1_0, _values_tq1_0, weights_of=_weights_of_tq1_0)
TQ2_0 = Codec(_encode_tq2_0, _unpack_tq2_0, _centred)
Q1_0 = Codec(_encode_q1_0, _unpack_q1_0, _signs)
Q2_0 = Codec(_encode_q2_0, _unpack_q2_0, _centred)
