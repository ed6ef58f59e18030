"""The byte formats of ggml as a table: block size, bytes, and where each field lies.

A tensor row is cut into blocks of `block_size` weights, each stored in `block_bytes` bytes. The table holds
every type that weights are stored in. The encoders and decoders in the modules beside this one read and write
the fields by name (`Format.view`, `Format.empty`).

References
----------
`ggml/src/ggml-common.h` of ggml-org/llama.cpp 0c1e57098bba (the `block_*` structures).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from quant_core.arrays import U8

#: An array of blocks with named fields.
Blocks: TypeAlias = NDArray[np.void]


@dataclass(frozen=True)
class Field:
    """A run of bytes in a block.

    Attributes
    ----------
    name : str
        The name in ggml's structure.
    offset, size : int
        First byte, and number of bytes.
    holds : str
        What is stored there, in words.
    dtype : str
        The numpy type of its elements.
    """

    name: str
    offset: int
    size: int
    holds: str
    dtype: str = "u1"


@dataclass(frozen=True)
class Format:
    """A block format.

    Attributes
    ----------
    name : str
        ggml's type name, such as "Q4_K".
    block_size : int
        Weights in a block.
    block_bytes : int
        Bytes of a block.
    fields : tuple of Field
        The block from its first byte to its last, without gaps.
    fallback : str or None
        The type that llama.cpp takes where a row does not divide into these blocks.
    """

    name: str
    block_size: int
    block_bytes: int
    fields: tuple[Field, ...]
    fallback: str | None

    @property
    def bits_per_weight(self) -> float:
        """Stored bits for one weight, scales and offsets included."""
        return 8 * self.block_bytes / self.block_size

    @cached_property
    def dtype(self) -> np.dtype[np.void]:
        """The numpy structured type of a block."""
        counts = [field.size // np.dtype(field.dtype).itemsize for field in self.fields]
        return np.dtype(
            [
                (field.name, field.dtype) if count == 1 else (field.name, field.dtype, (count,))
                for field, count in zip(self.fields, counts, strict=True)
            ]
        )

    def empty(self, count: int) -> Blocks:
        """Return `count` blocks to write by field name, not initialized."""
        return np.empty(count, self.dtype)

    def view(self, data: U8) -> Blocks:
        """Return bytes of shape (b, block_bytes) as b blocks to read by field name, without a copy.

        Examples
        --------
        >>> FORMATS["Q8_0"].view(np.zeros((3, 34), np.uint8))["qs"].shape
        (3, 32)
        """
        return np.ascontiguousarray(data).view(self.dtype)[:, 0]

    def __post_init__(self) -> None:
        end = 0
        for field in self.fields:
            if field.offset != end:
                raise ValueError(f"{self.name}: field {field.name} is at {field.offset} and not at {end}")
            end += field.size
        if end != self.block_bytes:
            raise ValueError(f"{self.name}: the fields fill {end} of {self.block_bytes} bytes")


def block_bytes(blocks: Blocks) -> U8:
    """Return blocks as bytes, shape (b, block_bytes), without a copy.

    Examples
    --------
    >>> block_bytes(FORMATS["Q8_0"].empty(3)).shape
    (3, 34)
    """
    return blocks.view(np.uint8).reshape(len(blocks), -1)


def _format(name: str, block_size: int, fallback: str | None, *rows: tuple[str, str, str]) -> Format:
    """Return the format of these fields, each a name, a numpy type and what it holds."""
    fields, end = [], 0
    for field_name, dtype, holds in rows:
        layout = np.dtype(dtype)
        fields.append(Field(field_name, end, layout.itemsize, holds, layout.base.str.lstrip("|")))
        end += layout.itemsize
    return Format(name, block_size, end, tuple(fields), fallback)


# fmt: off
_ROWS = (
    _format("F32", 1, None,
            ("value", "<f4", "IEEE single precision")),
    _format("F16", 1, None,
            ("value", "<f2", "IEEE half precision")),
    _format("BF16", 1, None,
            ("value", "<u2", "upper half of a single-precision number")),
    _format("Q4_0", 32, None,
            ("d", "<f2", "half scale"),
            ("qs", "(16,)u1", "32 4-bit codes: byte j holds weights j (low) and j+16 (high)")),
    _format("Q4_1", 32, None,
            ("d", "<f2", "half scale"),
            ("m", "<f2", "half minimum"),
            ("qs", "(16,)u1", "32 4-bit codes, as in Q4_0")),
    _format("Q5_0", 32, None,
            ("d", "<f2", "half scale"),
            ("qh", "(4,)u1", "fifth bits: bit j of a little-endian 32-bit integer"),
            ("qs", "(16,)u1", "low 4 bits of the 32 codes, as in Q4_0")),
    _format("Q5_1", 32, None,
            ("d", "<f2", "half scale"),
            ("m", "<f2", "half minimum"),
            ("qh", "(4,)u1", "fifth bits, as in Q5_0"),
            ("qs", "(16,)u1", "low 4 bits of the 32 codes, as in Q4_0")),
    _format("Q8_0", 32, None,
            ("d", "<f2", "half scale"),
            ("qs", "(32,)i1", "32 signed bytes")),
    _format("Q2_K", 256, "Q4_0",
            ("scales", "(16,)u1", "per 16 weights: scale (low nibble), minimum (high nibble)"),
            ("qs", "(64,)u1", "256 2-bit codes"),
            ("d", "<f2", "half scale of the scales"),
            ("dmin", "<f2", "half scale of the minimums")),
    _format("Q3_K", 256, "Q4_0",
            ("hmask", "(32,)u1", "third bits"),
            ("qs", "(64,)u1", "low 2 bits of the 256 codes"),
            ("scales", "(12,)u1", "sixteen 6-bit scales"),
            ("d", "<f2", "half scale of the scales")),
    _format("Q4_K", 256, "Q5_0",
            ("d", "<f2", "half scale of the scales"),
            ("dmin", "<f2", "half scale of the minimums"),
            ("scales", "(12,)u1", "eight 6-bit scales and eight 6-bit minimums"),
            ("qs", "(128,)u1", "256 4-bit codes: per 64 weights, byte l holds l (low) and l+32 (high)")),
    _format("Q5_K", 256, "Q5_1",
            ("d", "<f2", "half scale of the scales"),
            ("dmin", "<f2", "half scale of the minimums"),
            ("scales", "(12,)u1", "eight 6-bit scales and eight 6-bit minimums, as in Q4_K"),
            ("qh", "(32,)u1", "fifth bits: byte t mod 32, bit t div 32"),
            ("qs", "(128,)u1", "low 4 bits of the 256 codes, as in Q4_K")),
    _format("Q6_K", 256, "Q8_0",
            ("ql", "(128,)u1", "low 4 bits of the 256 codes"),
            ("qh", "(64,)u1", "high 2 bits of the 256 codes"),
            ("scales", "(16,)i1", "sixteen signed 8-bit scales"),
            ("d", "<f2", "half scale of the scales")),
    _format("IQ4_NL", 32, None,
            ("d", "<f2", "half scale"),
            ("qs", "(16,)u1", "32 4-bit indices into a table, as in Q4_0")),
    _format("IQ4_XS", 256, "IQ4_NL",
            ("d", "<f2", "half scale of the scales"),
            ("scales_h", "(2,)u1", "high 2 bits of the eight scales"),
            ("scales_l", "(4,)u1", "low 4 bits of the eight scales"),
            ("qs", "(128,)u1", "256 4-bit indices into a table, as in IQ4_NL")),
    _format("MXFP4", 32, None,
            ("e", "u1", "power-of-two scale (E8M0)"),
            ("qs", "(16,)u1", "32 4-bit floats (E2M1), as in Q4_0")),
    _format("NVFP4", 64, None,
            ("d", "(4,)u1", "four 8-bit float scales (UE4M3)"),
            ("qs", "(32,)u1", "64 4-bit floats (E2M1): per 16, byte j holds j (low) and j+8 (high)")),
    _format("IQ3_S", 256, "IQ4_NL",
            ("d", "<f2", "half scale of the scales"),
            ("qs", "(64,)u1", "low 8 bits of the index of each 4 weights"),
            ("qh", "(8,)u1", "ninth bits of the indices"),
            ("signs", "(32,)u1", "a sign bit for each weight"),
            ("scales", "(4,)u1", "4-bit scale of each 32 weights")),
    _format("IQ3_XXS", 256, "IQ4_NL",
            ("d", "<f2", "half scale of the scales"),
            ("qs", "(64,)u1", "8-bit index of each 4 weights"),
            ("scales_and_signs", "(8,)<u4", "per 32 weights: four patterns of 7 signs, 4-bit scale")),
    _format("IQ2_S", 256, "IQ4_NL",
            ("d", "<f2", "half scale of the scales"),
            ("qs", "(32,)u1", "low 8 bits of the index of each 8 weights"),
            ("signs", "(32,)u1", "a sign bit for each weight"),
            ("qh", "(8,)u1", "high 2 bits of the indices"),
            ("scales", "(8,)u1", "4-bit scale of each 16 weights")),
    _format("IQ2_XS", 256, "IQ4_NL",
            ("d", "<f2", "half scale of the scales"),
            ("qs", "(32,)<u2", "per 8 weights: 9-bit index, pattern of 7 signs on top"),
            ("scales", "(8,)u1", "4-bit scale of each 16 weights")),
    _format("IQ2_XXS", 256, "IQ4_NL",
            ("d", "<f2", "half scale of the scales"),
            ("qs", "(16,)<u4", "per 32 weights: four 8-bit indices, four patterns of 7 signs, 4-bit scale")),
    _format("IQ1_M", 256, "IQ4_NL",
            ("qs", "(32,)u1", "low 8 bits of the index of each 8 weights"),
            ("qh", "(16,)u1", "per 8 weights: high 3 bits of the index, sign of the shift"),
            ("scales", "(4,)<u2", "per 16-bit word: four 3-bit scales, a nibble of the half scale")),
    _format("IQ1_S", 256, "IQ4_NL",
            ("d", "<f2", "half scale of the scales"),
            ("qs", "(32,)u1", "low 8 bits of the index of each 8 weights"),
            ("qh", "(8,)<u2", "per 32 weights: high 3 bits of indices, 3-bit scale, sign of the shift")),
    _format("TQ2_0", 256, "Q4_0",
            ("qs", "(64,)u1", "256 2-bit codes of −1, 0 and 1"),
            ("d", "<f2", "half scale")),
    _format("TQ1_0", 256, "Q4_0",
            ("qs", "(48,)u1", "240 digits of −1, 0 and 1, five in a byte"),
            ("qh", "(4,)u1", "16 digits, four in a byte"),
            ("d", "<f2", "half scale")),
    _format("Q1_0", 128, None,
            ("d", "<f2", "half mean magnitude"),
            ("qs", "(16,)u1", "a sign bit for each weight")),
    _format("Q2_0", 64, "Q4_0",
            ("d", "<f2", "half scale"),
            ("qs", "(16,)u1", "64 2-bit codes of −1, 0, 1 and 2")),
)
# fmt: on

#: Every type that weights are stored in, by ggml's name of it.
FORMATS: Mapping[str, Format] = MappingProxyType({row.name: row for row in _ROWS})
