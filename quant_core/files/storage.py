"""How numbers are stored in files: the types, their sizes, and rows of bytes to float32 and back.

The block encoders and decoders are in `quant_core.ggml`; this module adds the other types of files.

References
----------
`enum ggml_type` in `ggml/include/ggml.h` and `enum llama_ftype` in `include/llama.h` of ggml-org/llama.cpp
0c1e57098bba; the dtype names of safetensors 0.8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from quant_core import ggml
from quant_core.arrays import F32, U8
from quant_core.files.errors import printable
from quant_core.ggml.mixes import BLOCK_SIZES

#: Number of a type in a GGUF file -> ggml's name (not those of activations, Q8_1 and Q8_K).
TYPE_NAMES: Mapping[int, str] = MappingProxyType(
    {
        0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0",
        10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K",
        16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S",
        23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16",
        34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0", 42: "Q2_0",
    }
)  # fmt: skip
TYPE_NUMBERS: Mapping[str, int] = MappingProxyType({name: number for number, name in TYPE_NAMES.items()})

#: Type name -> (numbers in a block, bytes of a block), for every known type of both kinds of file.
SIZES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        **BLOCK_SIZES,
        "Q1_0": (128, 18), "Q2_0": (64, 18),
        "F64": (1, 8), "I64": (1, 8), "U64": (1, 8), "I32": (1, 4), "U32": (1, 4), "I16": (1, 2),
        "U16": (1, 2), "I8": (1, 1), "U8": (1, 1), "BOOL": (1, 1), "F8_E4M3": (1, 1), "F8_E5M2": (1, 1),
        "F8_E4M3FNUZ": (1, 1), "F8_E5M2FNUZ": (1, 1), "F8_E8M0": (1, 1), "C64": (1, 8),
    }
)  # fmt: skip

#: File type (`general.file_type`) of every mix that llama.cpp has a number for.
FILE_TYPES: Mapping[str, int] = MappingProxyType(
    {
        "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10,
        "Q3_K_S": 11, "Q3_K_M": 12, "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17,
        "Q6_K": 18, "Q6_K_L": 18, "IQ2_XXS": 19, "IQ2_XS": 20, "Q2_K_S": 21, "IQ3_XS": 22, "IQ3_XXS": 23,
        "IQ1_S": 24, "IQ4_NL": 25, "IQ3_S": 26, "IQ3_M": 27, "IQ2_S": 28, "IQ2_M": 29, "IQ4_XS": 30,
        "IQ1_M": 31, "BF16": 32, "TQ1_0": 36, "TQ2_0": 37, "MXFP4_MOE": 38, "Q1_0": 40, "Q2_0": 41,
    }
)  # fmt: skip

#: Names that llama-quantize reads as the medium mix of that type.
_MEDIUM = frozenset(("Q3_K", "Q4_K", "Q5_K"))

#: The accepted names of file types, for help and messages.
TYPES_ARE = "in any case, or by its number; Q4_K is short for Q4_K_M"

#: Types that hold one number after the other, without blocks.
UNQUANTIZED = ("F32", "F16", "BF16", "F64")
_F16_LIMIT = 65520  # what rounds to infinity


def stored_type(number: int) -> str:
    """Return the name of a type's number in a GGUF file: "type 57" for one that is not known here.

    Examples
    --------
    >>> stored_type(12), stored_type(57)
    ('Q4_K', 'type 57')
    """
    return TYPE_NAMES.get(number, f"type {number}")


def file_type(name: str) -> str:
    """Return the mix that llama-quantize takes a name or number for: in any case, "Q4_K" for "Q4_K_M".

    Raises
    ------
    ValueError
        If there is none; the message lists those that exist.

    References
    ----------
    `try_parse_ftype` and `QUANT_OPTIONS` in `tools/quantize/quantize.cpp` of ggml-org/llama.cpp.

    Examples
    --------
    >>> file_type("q4_k_s"), file_type("Q4_K"), file_type("15"), file_type("18")
    ('Q4_K_S', 'Q4_K_M', 'Q4_K_M', 'Q6_K')
    """
    wanted = name.strip().upper()
    if wanted in _MEDIUM:
        return f"{wanted}_M"
    if wanted in FILE_TYPES:
        return wanted
    if re.fullmatch(r"[0-9]{1,4}", wanted):
        for mix, number in FILE_TYPES.items():
            if number == int(wanted):
                return mix
    raise ValueError(f"type {printable(name)!r} is not known; choose from {listed_types()}; {TYPES_ARE}")


def listed_types() -> str:
    """Return the names of the file types, with llama-quantize's numbers."""
    return ", ".join(f"{mix} ({number})" for mix, number in FILE_TYPES.items())


def is_readable(type_name: str) -> bool:
    """Whether `decode` can turn this type into numbers."""
    return type_name == "F64" or type_name in ggml.CODECS


def row_size(type_name: str, columns: int) -> int:
    """Return the bytes of a row.

    Raises
    ------
    ValueError
        If the row does not divide into blocks, or the size of the type is not known.

    Examples
    --------
    >>> row_size("Q4_K", 512)
    288
    """
    if type_name not in SIZES:
        raise ValueError(f"the size of {type_name} is not known")
    block, size = SIZES[type_name]
    if columns % block:
        raise ValueError(f"a row of {columns} is not a multiple of {block}, the block of {type_name}")
    return columns // block * size


def decode(data: U8, type_name: str) -> F32:
    """Return rows of bytes (rows, row_bytes) as float32 (rows, columns).

    Raises
    ------
    ValueError
        If the type holds no numbers that can be read, such as a format without a decoder.
    """
    if type_name == "F64":
        with np.errstate(over="ignore"):
            return data.view("<f8").astype(np.float32)
    if len(data) == 0 and type_name in UNQUANTIZED:
        return np.zeros((0, data.shape[1] // SIZES[type_name][1]), np.float32)
    return ggml.dequantize(data, type_name)


def encode(values: F32, type_name: str, importance: ArrayLike | None = None) -> U8:
    """Return float32 rows (rows, columns) as bytes (rows, row_bytes), as `quant_core.ggml.quantize` does.

    Raises
    ------
    ValueError
        If a value does not fit into F16, or as `quant_core.ggml.quantize`.
    """
    if type_name == "F16" and (np.abs(values) >= _F16_LIMIT).any():
        raise ValueError("weights reach beyond ±65504, which F16 cannot hold; take BF16 or F32")
    return ggml.quantize(values, type_name, importance)
