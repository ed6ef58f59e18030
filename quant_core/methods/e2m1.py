"""E2M1: 4-bit floats, the elements of MXFP4 and NVFP4, two in a byte.

The codes are ±{0, ½, 1, 1½, 2, 3, 4, 6}, the sign in the highest bit. A sign bit that is always there makes
code 8 a second zero, −0: 15 different levels in 16 codes. `quant_core.ggml.fp4` has ggml's conventions for
the same codes (ties to the smaller magnitude, no −0, another order in the bytes).

References
----------
OCP Microscaling Formats (MX) Specification v1.0, section 5.3.3.
torchao 0.18.0 `prototype/mx_formats/kernels.py` (`f32_to_f4_unpacked`, `pack_uint4`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from quant_core.arrays import F32, U8, as_floats
from quant_core.ggml.fp4 import E2M1

#: The largest level.
LARGEST = float(E2M1[7])

_VALUES: F32 = np.concatenate([E2M1[:8], -E2M1[:8]])
_MIDDLES = (E2M1[1:8] + E2M1[:7]) / 2


def encode(values: ArrayLike) -> U8:
    """Round finite numbers to E2M1, to nearest, ties to the even code; larger ones saturate, signs are kept.

    Returns
    -------
    ndarray of uint8
        The code of each number, 0 … 15, in the shape of `values`.

    Raises
    ------
    ValueError
        If a number is not finite.

    Examples
    --------
    >>> encode([0.75, 1.25, -2.6, 100.0, -0.1]).tolist()
    [2, 2, 13, 7, 8]
    """
    floats = as_floats(values, "values")
    magnitude = np.abs(floats)
    codes = np.zeros(floats.shape, np.uint8)
    for code, middle in enumerate(_MIDDLES):
        codes += magnitude > middle if code % 2 == 0 else magnitude >= middle
    codes |= np.signbit(floats).astype(np.uint8) << 3
    return codes


def decode(codes: ArrayLike) -> F32:
    """Return the numbers that codes 0 … 15 stand for, as float32, in their shape; code 8 is −0.

    Raises
    ------
    ValueError
        If the codes are not bytes, or one is above 15.

    Examples
    --------
    >>> decode(np.array([1, 7, 15], np.uint8)).tolist()
    [0.5, 6.0, -6.0]
    """
    return _VALUES[_codes(codes)]


def pack(codes: ArrayLike) -> U8:
    """Pack codes two in a byte, **the first in the low nibble**; shape (…, n) to (…, n / 2).

    Raises
    ------
    ValueError
        If the codes are not bytes, one is above 15, or their number along the last axis is odd.

    Examples
    --------
    >>> pack(np.array([1, 2, 3, 4], np.uint8)).tolist()
    [33, 67]
    """
    bits = _codes(codes)
    if bits.ndim == 0 or bits.shape[-1] % 2:
        raise ValueError(f"codes have shape {bits.shape}; the last size must be even")
    packed: U8 = bits[..., 0::2] | bits[..., 1::2] << np.uint8(4)
    return packed


def unpack(packed: ArrayLike) -> U8:
    """Undo `pack`; shape (…, n / 2) to (…, n).

    Raises
    ------
    ValueError
        If the codes are not bytes.

    Examples
    --------
    >>> unpack(np.array([33, 67], np.uint8)).tolist()
    [1, 2, 3, 4]
    """
    bits = _bytes(packed)
    return np.stack([bits & np.uint8(15), bits >> 4], axis=-1).reshape(*bits.shape[:-1], -1)


def _codes(codes: ArrayLike) -> U8:
    bits = _bytes(codes)
    if bits.size and bits.max() > 15:
        raise ValueError(f"codes reach {bits.max()}; a code of 4 bits is 0 to 15")
    return bits


def _bytes(codes: ArrayLike) -> U8:
    bits = np.asarray(codes)
    if bits.dtype != np.uint8:
        raise ValueError(f"codes have dtype {bits.dtype}; give uint8, as `encode` returns them")
    return bits
