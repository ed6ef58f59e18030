"""The bits of a 16-bit float: sign, exponent and fraction of FP16 and BF16 values.

The formats of weights before quantization. FP16 has 5 exponent and 10 fraction bits; BF16, the upper half of
a float32, has 8 and 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from quant_core.arrays import F32, U16

FloatKind = Literal["fp16", "bf16"]

#: Exponent and fraction bits; the sign takes one more.
LAYOUT: dict[FloatKind, tuple[int, int]] = {"fp16": (5, 10), "bf16": (8, 7)}


@dataclass(frozen=True, eq=False)
class FloatBits:
    """16-bit floats taken apart. All arrays have the shape of the input.

    Attributes
    ----------
    kind : {"fp16", "bf16"}
        The format.
    bits : ndarray of uint16
        The stored pattern.
    sign, exponent, fraction : ndarray of uint16
        Its three fields, as unsigned integers; the exponent still has its bias (15 or 127).
    value : ndarray of float32
        The number that the pattern stands for.
    """

    kind: FloatKind
    bits: U16
    sign: U16
    exponent: U16
    fraction: U16
    value: F32

    def strings(self) -> list[tuple[str, str, str]]:
        """Return (sign, exponent, fraction) of each value in C order, as strings of 0 and 1.

        Examples
        --------
        >>> float_bits([-1.5], "fp16").strings()
        [('1', '01111', '1000000000')]
        """
        width = LAYOUT[self.kind][0]
        texts = [f"{int(pattern):016b}" for pattern in self.bits.ravel()]
        return [(text[0], text[1 : 1 + width], text[1 + width :]) for text in texts]


def float_bits(values: ArrayLike, kind: FloatKind) -> FloatBits:
    """Round `values` to FP16 or BF16 (to nearest, ties to even) and take the result apart.

    Parameters
    ----------
    values : array_like of float
        Any shape. Values too large for FP16 become infinite, as in IEEE 754.
    kind : {"fp16", "bf16"}
        The format.

    Raises
    ------
    ValueError
        If `kind` is not one of the two.

    Examples
    --------
    >>> parts = float_bits(0.15625, "bf16")
    >>> int(parts.exponent) - 127, int(parts.fraction), float(parts.value)
    (-3, 32, 0.15625)
    """
    if kind not in LAYOUT:
        raise ValueError(f"kind is {kind!r}; give one of {', '.join(LAYOUT)}")
    floats = np.asarray(values, dtype=np.float32)
    if kind == "fp16":
        with np.errstate(over="ignore"):
            half = floats.astype(np.float16)
        bits, value = half.view(np.uint16), half.astype(np.float32)
    else:
        bits = bf16_bits(floats)
        value = (bits.astype(np.uint32) << 16).view(np.float32)
    exponent_bits, fraction_bits = LAYOUT[kind]
    return FloatBits(
        kind=kind,
        bits=bits,
        sign=bits >> np.uint16(15),
        exponent=(bits >> np.uint16(fraction_bits)) & _ones(exponent_bits),
        fraction=bits & _ones(fraction_bits),
        value=value,
    )


def bf16_bits(values: ArrayLike) -> U16:
    """Return the BF16 patterns of float32 values, rounded to nearest, ties to even.

    BF16 is the upper half of float32: adding 0x7FFF and the last kept bit carries exactly when the dropped
    half rounds up. A NaN keeps its sign and becomes quiet; the addition could turn it into infinity.

    Examples
    --------
    >>> [hex(bits) for bits in bf16_bits([1.0, 1.00390625, 1.01171875]).tolist()]
    ['0x3f80', '0x3f80', '0x3f82']
    """
    pattern = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).reshape(np.shape(values))
    rounded = (pattern + (np.uint32(0x7FFF) + ((pattern >> 16) & 1))) >> 16
    quiet_nan = (pattern >> 16) | 0x40
    return np.where(np.isnan(np.asarray(values, np.float32)), quiet_nan, rounded).astype(np.uint16)


def _ones(count: int) -> np.uint16:
    """Return a mask of the lowest `count` bits."""
    return np.uint16((1 << count) - 1)
