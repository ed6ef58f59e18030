"""The codecs that exist, by type name: one line for each format of `formats` that can be read."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from quant_core.ggml import fp4, iq, iq4, legacy, plain, q2_k, q3_k, q4_k, q5_k, q6_k, ternary
from quant_core.ggml.codec import Codec

CODECS: Mapping[str, Codec] = MappingProxyType(
    {
        "F32": plain.F32_CODEC,
        "F16": plain.F16,
        "BF16": plain.BF16,
        "Q4_0": legacy.Q4_0,
        "Q4_1": legacy.Q4_1,
        "Q5_0": legacy.Q5_0,
        "Q5_1": legacy.Q5_1,
        "Q8_0": legacy.Q8_0,
        "Q2_K": q2_k.CODEC,
        "Q3_K": q3_k.CODEC,
        "Q4_K": q4_k.CODEC,
        "Q5_K": q5_k.CODEC,
        "Q6_K": q6_k.CODEC,
        "IQ4_NL": iq4.IQ4_NL,
        "IQ4_XS": iq4.IQ4_XS,
        "MXFP4": fp4.MXFP4,
        "NVFP4": fp4.NVFP4,
        "IQ3_S": iq.IQ3_S,
        "IQ3_XXS": iq.IQ3_XXS,
        "IQ2_S": iq.IQ2_S,
        "IQ2_XS": iq.IQ2_XS,
        "IQ2_XXS": iq.IQ2_XXS,
        "IQ1_S": iq.IQ1_S,
        "IQ1_M": iq.IQ1_M,
        "TQ2_0": ternary.TQ2_0,
        "TQ1_0": ternary.TQ1_0,
        "Q2_0": ternary.Q2_0,
        "Q1_0": ternary.Q1_0,
    }
)

#: The types that can be written: all of them.
QUANTIZABLE: tuple[str, ...] = tuple(CODECS)


def codec_of(type_name: str) -> Codec:
    """Return the codec of a type.

    Raises
    ------
    ValueError
        If there is none; the message lists those that exist.
    """
    if type_name not in CODECS:
        raise ValueError(f"type {type_name!r} is not known; the types are {', '.join(CODECS)}")
    return CODECS[type_name]
