"""FP8: 8-bit floats, E4M3 and E5M2, with a scale for the tensor or for each row.

E4M3 has 4 exponent and 3 fraction bits: at most 448, no infinity, for weights and activations. E5M2 is the
upper half of a half-precision number: more range, one fraction bit less, for gradients. `encode` rounds
numbers as they are; `quantize` scales them first, so that the largest becomes the largest that the format
holds.

References
----------
Micikevicius et al. 2022, "FP8 Formats for Deep Learning", table 1.
OCP 8-bit Floating Point Specification (OFP8) v1.0; E4M3 is the type that PyTorch calls `float8_e4m3fn`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from quant_core.arrays import F32, U8, as_floats, as_matrix

Kind = Literal["e4m3", "e5m2"]


@dataclass(frozen=True)
class Layout:
    """An 8-bit float: one sign bit, then the exponent, then the fraction.

    Attributes
    ----------
    exponent_bits, fraction_bits : int
        Their widths, 7 together.
    largest : float
        The largest finite number.
    """

    exponent_bits: int
    fraction_bits: int
    largest: float

    @property
    def bias(self) -> int:
        """The number added to the exponent before it is stored."""
        return (1 << (self.exponent_bits - 1)) - 1


LAYOUTS: dict[Kind, Layout] = {"e4m3": Layout(4, 3, 448.0), "e5m2": Layout(5, 2, 57344.0)}


@dataclass(frozen=True, eq=False)
class Fp8:
    """A matrix in FP8.

    Attributes
    ----------
    codes : ndarray of uint8, shape (rows, columns)
        The 8 bits of each number.
    scale : ndarray of float32, shape (rows, 1) or (1, 1)
        What the numbers are multiplied by.
    kind : {"e4m3", "e5m2"}
        The format.
    """

    codes: U8
    scale: F32
    kind: Kind

    @property
    def bits_per_weight(self) -> float:
        """8, and the 32 bits of each float32 scale."""
        return 8 + 32 * self.scale.size / self.codes.size

    def dequantize(self) -> F32:
        """Return the numbers, shape (rows, columns)."""
        return decode(self.codes, self.kind) * self.scale


def quantize(weights: ArrayLike, kind: Kind = "e4m3", per: Literal["tensor", "row"] = "row") -> Fp8:
    """Scale a matrix so that its largest magnitudes become the largest number of the format, and round.

    Parameters
    ----------
    weights : array_like of float, shape (rows, columns)
        Finite numbers.
    kind : {"e4m3", "e5m2"}
        The format.
    per : {"tensor", "row"}
        Which weights share a scale: all, or those of an output channel.

    Returns
    -------
    Fp8

    Raises
    ------
    ValueError
        If a number is not finite, or an argument is not one of the given.

    Examples
    --------
    >>> q = quantize([[1.0, -2.0, 3.5], [0.0, 0.0, 0.0]], per="row")
    >>> q.scale.ravel().tolist(), q.dequantize()[0].tolist()
    ([0.0078125, 1.0], [1.0, -2.0, 3.5])
    """
    matrix = as_matrix(weights, "weights").astype(np.float32, copy=False)
    if per not in ("tensor", "row"):
        raise ValueError(f"per is {per!r}; give 'tensor' or 'row'")
    largest = np.float32(_layout(kind).largest)
    amax = np.abs(matrix).max(axis=1 if per == "row" else None, keepdims=True)
    scale = np.where(amax > 0, np.maximum(amax / largest, np.finfo(np.float32).tiny), np.float32(1))
    return Fp8(encode(matrix / scale, kind), scale, kind)


def encode(values: ArrayLike, kind: Kind) -> U8:
    """Round finite numbers to FP8, to nearest, ties to even; larger ones saturate.

    Returns
    -------
    ndarray of uint8
        The 8 bits of each number, in the shape of `values`.

    Raises
    ------
    ValueError
        If a number is not finite, or `kind` is not one of the two.

    Examples
    --------
    >>> [hex(code) for code in encode([1.0, -1.0625, 1.1875, 1000.0], "e4m3").tolist()]
    ['0x38', '0xb8', '0x3a', '0x7e']
    """
    layout = _layout(kind)
    floats = as_floats(values, "values")
    # In place where possible: on large matrices allocation costs more than the arithmetic.
    magnitude = np.abs(floats, out=np.empty_like(floats))
    np.minimum(magnitude, layout.largest, out=magnitude)
    # Below the smallest normal number the exponent stays its own. It is read from the bits of the float, and
    # so is the power of two; frexp and ldexp give the same, more slowly.
    wide, integer = np.finfo(floats.dtype), np.dtype(f"i{floats.dtype.itemsize}")
    exponent = np.maximum(magnitude, 2.0 ** (1 - layout.bias)).view(integer)
    exponent >>= wide.nmant
    magnitude /= (exponent << wide.nmant).view(floats.dtype)
    magnitude *= 2**layout.fraction_bits
    steps = np.rint(magnitude, out=magnitude).astype(np.uint8)
    # The leading 1 is not stored: it adds one to the exponent field, as a carry of the rounding does.
    exponent += layout.bias - wide.maxexp
    codes: U8 = exponent.astype(np.uint8)
    codes <<= layout.fraction_bits
    codes += steps
    codes |= np.signbit(floats).view(np.uint8) << 7
    return codes


def decode(codes: ArrayLike, kind: Kind) -> F32:
    """Return the numbers that 8-bit patterns stand for, as float32; NaN and, in E5M2, infinity too.

    Raises
    ------
    ValueError
        If the codes are not bytes, or `kind` is not one of the two.

    Examples
    --------
    >>> decode(np.array([0x38, 0x01, 0x7E, 0x7F], np.uint8), "e4m3").tolist()
    [1.0, 0.001953125, 448.0, nan]
    """
    _layout(kind)
    return _VALUES[kind][_bytes(codes)]


def _bytes(codes: ArrayLike) -> U8:
    bits = np.asarray(codes)
    if bits.dtype != np.uint8:
        raise ValueError(f"codes have dtype {bits.dtype}; give uint8, as `encode` returns them")
    return bits


def _layout(kind: Kind) -> Layout:
    if kind not in LAYOUTS:
        raise ValueError(f"kind is {kind!r}; give one of {', '.join(LAYOUTS)}")
    return LAYOUTS[kind]


def _values(kind: Kind) -> F32:
    """Return the number of each of the 256 patterns."""
    layout = LAYOUTS[kind]
    pattern = np.arange(128)
    exponent, fraction = divmod(pattern, 2**layout.fraction_bits)
    leading = np.where(exponent > 0, 2**layout.fraction_bits, 0)
    scale = np.maximum(exponent, 1) - layout.bias - layout.fraction_bits
    positive = np.ldexp((leading + fraction).astype(np.float32), scale)
    if kind == "e4m3":
        positive[0x7F] = np.nan
    else:
        positive[exponent == 31] = np.nan
        positive[0x7C] = np.inf
    return np.concatenate([positive, -positive])


_VALUES: dict[Kind, F32] = {kind: _values(kind) for kind in LAYOUTS}
