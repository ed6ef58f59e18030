"""IQ1, IQ2 and IQ3: codebooks of 8 or 4 weights at a time, 1.56 to 3.44 bits per weight.

An index stands for a whole vector of small values; a sign for each weight and a scale for each 16 or 32 come
on top: ŵ = scale · sign · grid[index]. IQ1 has no signs but a common shift: ŵ = scale · (grid[index] ± ⅛).
The encoders are in `iq_encode` and `iq1_encode`, the codebooks in `codebooks`.

Some types store 7 of 8 signs: the number of minus signs of a vector is even, so the eighth follows.

References
----------
`dequantize_row_iq2_xxs` … `dequantize_row_iq1_m` in `ggml/src/ggml-quants.c` of ggml-org/llama.cpp
0c1e57098bba. The codebooks are data: `data/README.md` beside this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_core.arrays import F32, U8
from quant_core.ggml import iq1_encode, iq_encode
from quant_core.ggml.codebooks import grid
from quant_core.ggml.codec import Codec, Stored
from quant_core.ggml.formats import FORMATS, Blocks

SUPER_BLOCK = 256

#: The factor of each of 8 weights, +1 or −1, by the pattern of their signs: a set bit is a minus.
_SIGNS = np.array([[1 - 2 * (pattern >> bit & 1) for bit in range(8)] for pattern in range(256)], np.float32)
_SHIFT = np.float32(0.125)


def _signed(name: str, scale_of: Callable[[F32, F32], F32]) -> Callable[[Mapping[str, NDArray[Any]]], F32]:
    """Return the `values` of a type with signs: scale · grid[index] · sign."""

    def values(fields: Mapping[str, NDArray[Any]]) -> F32:
        scales = fields["scales"].astype(np.float32)
        scale = scale_of(fields["d"][:, None], scales)
        vectors = grid(name)[fields["indices"]].reshape(len(scales), scales.shape[1], -1)
        signs = _SIGNS[fields["signs"]].reshape(vectors.shape)
        weights: F32 = (scale[..., None] * vectors * signs).reshape(-1, SUPER_BLOCK)
        return weights

    return values


def _with_parity(values: Callable[[Mapping[str, NDArray[Any]]], F32]) -> Callable[..., F32]:
    """Let `values` read patterns of 7 signs: the eighth makes the number of minus signs even."""

    def with_eighth_sign(fields: Mapping[str, NDArray[Any]]) -> F32:
        seven = fields["signs"].astype(np.uint8)
        return values({**fields, "signs": seven | np.bitwise_count(seven) << 7})

    return with_eighth_sign


def _half_steps(factor: float) -> Callable[[F32, F32], F32]:
    return lambda d, scales: d * (np.float32(0.5) + scales) * np.float32(factor)


def _odd_steps(d: F32, scales: F32) -> F32:
    return d * (np.float32(2) * scales + np.float32(1))


def _unpack_iq2_xxs(block: Blocks) -> Stored:
    groups = block["qs"].reshape(-1, 8, 2)
    indices = np.ascontiguousarray(groups[..., 0]).view(np.uint8)
    return {"d": block["d"], "indices": indices, **_signs_and_scales(groups[..., 1])}


def _unpack_iq3_xxs(block: Blocks) -> Stored:
    return {"d": block["d"], "indices": block["qs"], **_signs_and_scales(block["scales_and_signs"])}


def _signs_and_scales(words: NDArray[np.uint32]) -> Stored:
    """Return four patterns of 7 signs and a 4-bit scale of each 32-bit word, shapes (b, 32) and (b, 8)."""
    signs = words[..., None] >> np.array([0, 7, 14, 21], np.uint32) & 0x7F
    return {"signs": signs.reshape(len(words), 32).astype(np.uint8), "scales": (words >> 28).astype(np.uint8)}


def _unpack_iq2_xs(block: Blocks) -> Stored:
    words = block["qs"]
    return {
        "d": block["d"],
        "indices": words & 511,
        "signs": (words >> 9).astype(np.uint8),
        "scales": _nibbles(block["scales"]),
    }


def _unpack_iq2_s(block: Blocks) -> Stored:
    high = block["qh"][..., None] >> np.array([0, 2, 4, 6], np.uint8) & 3
    return {
        "d": block["d"],
        "indices": block["qs"] | high.reshape(-1, 32).astype(np.uint16) << 8,
        "signs": block["signs"],
        "scales": _nibbles(block["scales"]),
    }


def _unpack_iq3_s(block: Blocks) -> Stored:
    high = np.unpackbits(block["qh"], axis=1, bitorder="little")
    return {
        "d": block["d"],
        "indices": block["qs"] | high.astype(np.uint16) << 8,
        "signs": block["signs"],
        "scales": _nibbles(block["scales"]),
    }


def _nibbles(packed: U8) -> U8:
    """Return the low and the high nibble of each byte in turn, shape (b, k) -> (b, 2·k)."""
    return np.stack([packed & 15, packed >> 4], axis=2).reshape(len(packed), -1)


def _unpack_iq1_s(block: Blocks) -> Stored:
    words = block["qh"]
    high = words[..., None] >> np.array([0, 3, 6, 9], np.uint16) & 7
    return {
        "d": block["d"],
        "indices": block["qs"] | high.reshape(-1, 32) << 8,
        "scales": (words >> 12 & 7).astype(np.uint8),
        "shifts": (words >> 15).astype(np.uint8),
    }


def _unpack_iq1_m(block: Blocks) -> Stored:
    nibbles = _nibbles(block["qh"])
    words = block["scales"]
    # The half d is spread over the highest nibbles of the four words of scales.
    d = np.bitwise_or.reduce(words >> 12 << np.array([0, 4, 8, 12], np.uint16), axis=1)
    scales = words[..., None] >> np.array([0, 3, 6, 9], np.uint16) & 7
    return {
        "d": d.view("<f2"),
        "indices": block["qs"] | (nibbles & 7).astype(np.uint16) << 8,
        "scales": scales.reshape(-1, 16).astype(np.uint8),
        "shifts": nibbles >> 3,
    }


def _shifted(fields: Mapping[str, NDArray[Any]]) -> F32:
    """Return scale · (grid[index] ± ⅛) for every weight, shape (b, 256); a set `shifts` bit is a minus."""
    blocks = len(fields["d"])
    scale = _odd_steps(fields["d"][:, None], fields["scales"].astype(np.float32))
    shift = np.where(fields["shifts"] == 0, _SHIFT, -_SHIFT)
    moved = grid("iq1s")[fields["indices"]].reshape(blocks, shift.shape[1], -1) + shift[..., None]
    weights = scale[..., None] * moved.reshape(blocks, scale.shape[1], -1)
    flat: F32 = weights.reshape(-1, SUPER_BLOCK)
    return flat


def _codec(
    name: str,
    encode: Callable[[F32, F32 | None], U8],
    unpack: Callable[[Blocks], Stored],
    values: Callable[[Mapping[str, NDArray[Any]]], F32],
    needs_importance: bool = False,
) -> Codec:
    return Codec(
        encode, lambda blocks: unpack(FORMATS[name].view(blocks)), values, needs_importance=needs_importance
    )


_IQ2_XXS = _with_parity(_signed("iq2xxs", _half_steps(0.25)))
_IQ2_XS = _with_parity(_signed("iq2xs", _half_steps(0.25)))
_IQ3_XXS = _with_parity(_signed("iq3xxs", _half_steps(0.5)))
IQ2_XXS = _codec("IQ2_XXS", iq_encode.encode_iq2_xxs, _unpack_iq2_xxs, _IQ2_XXS, needs_importance=True)
IQ2_XS = _codec("IQ2_XS", iq_encode.encode_iq2_xs, _unpack_iq2_xs, _IQ2_XS, needs_importance=True)
IQ2_S = _codec("IQ2_S", iq_encode.encode_iq2_s, _unpack_iq2_s, _signed("iq2s", _half_steps(0.25)))
IQ3_XXS = _codec("IQ3_XXS", iq_encode.encode_iq3_xxs, _unpack_iq3_xxs, _IQ3_XXS)
IQ3_S = _codec("IQ3_S", iq_encode.encode_iq3_s, _unpack_iq3_s, _signed("iq3s", _odd_steps))
IQ1_S = _codec("IQ1_S", iq1_encode.encode_iq1_s, _unpack_iq1_s, _shifted, needs_importance=True)
IQ1_M = _codec("IQ1_M", iq1_encode.encode_iq1_m, _unpack_iq1_m, _shifted)
