"""Weights that lie on a lattice already: recover their scale, so that quantizing them loses nothing.

Training for low bits (`quant_core.methods.qat`) ends with weights w = d · q: a scale d for each block and an
integer code q. A checkpoint may store them as BF16 all the same. A quantizer that takes the scale from the
range of a block then misses the lattice. Q4_0 (`quant_core.ggml.legacy`) divides the largest weight by −8,
which is d only in blocks that use the code −8: a block whose codes end at 7 gets a step of 7/8 d, and nearly
every weight moves.

The scale can be found, since q is known to be small. For each k = 1 … 8, suppose that the largest |q| is k.
That fixes all codes. Each weight then says in which interval d must lie for d · q to round to it; the
hypothesis holds if the intervals have numbers in common, and a half among these is the scale.

Ternary weights s · {−1, 0, 1} are the same case with a larger step: three levels lose nothing on them, and
nearly everything on others (`ternary`).

References
----------
Gemma 3 was trained for Q4_0 and published as GGUF and as unquantized weights: "Gemma 3 Technical Report",
arXiv:2503.19786, section 2.3 ("typically 5,000" steps). For Gemma 4, "Gemma 4 QAT" in Unsloth's documentation
reports that the conversion to Q4_0 is not lossless. llama.cpp pull request 24603 (closed, not merged)
estimates the lattice from the weights; for the same reason discussion 26788 asks for BF16 scales.
Levels and scale of `ternary`: `quantize_row_tq2_0_ref` in `ggml/src/ggml-quants.c` of ggml-org/llama.cpp
0c1e57098bba; the weights: Ma et al. 2024, "The Era of 1-bit LLMs", arXiv:2402.17764.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant_core import ggml
from quant_core.arrays import F32, U8, as_matrix, check_group_size
from quant_core.ggml.bits import pack_nibbles
from quant_core.ggml.formats import FORMATS, block_bytes

BLOCK = 32
#: Significant bits of the types in which such weights are stored.
SIGNIFICANT_BITS: Mapping[str, int] = MappingProxyType({"BF16": 8, "F16": 11, "F32": 24})
#: Smallest exponent of a normal number; below it the distance of neighbours stays the same.
_LEAST_EXPONENT = {"BF16": -126, "F16": -14, "F32": -126}
_LARGEST_CODE = 8


@dataclass(frozen=True, eq=False)
class Recovered:
    """A matrix as Q4_0 blocks, with the scales of its lattice.

    Attributes
    ----------
    data : ndarray of uint8, shape (rows, columns / 32 · 18)
        Q4_0 as in a GGUF file. Blocks that are on no lattice are encoded as `quant_core.ggml.quantize` does.
    found : ndarray of bool, shape (rows, columns / 32)
        Whether the block is on a lattice.
    exact : ndarray of bool, shape (rows, columns / 32)
        Whether each value of the block, rounded to the type that stored it, is the weight to the bit. A
        block may be found and not exact: no half lies in the interval of its scale.
    """

    data: U8
    found: NDArray[np.bool_]
    exact: NDArray[np.bool_]

    def dequantize(self) -> F32:
        """Return the weights, shape (rows, columns)."""
        return ggml.dequantize(self.data, "Q4_0")


def recover_q4_0(weights: ArrayLike, stored: str = "BF16") -> Recovered:
    """Encode weights as Q4_0 with the scale of their lattice wherever they are on one.

    Parameters
    ----------
    weights : array_like of float, shape (rows, columns)
        Columns a multiple of 32.
    stored : {"BF16", "F16", "F32"}
        The type to which d · q was rounded; it decides how far from the lattice a weight may be.

    Returns
    -------
    Recovered

    Raises
    ------
    ValueError
        If a weight is not finite or not a number of that type, rows do not divide into blocks, or the type
        is another.

    Examples
    --------
    The codes end at 7, so the usual step is too small; a step of 0.5 is right.

    >>> weights = 0.5 * np.arange(-7, 8).repeat([3, 3, *[2] * 13])[None].astype(np.float32)
    >>> usual = ggml.dequantize(ggml.quantize(weights, "Q4_0"), "Q4_0")
    >>> recovered = recover_q4_0(weights)
    >>> bool((usual == weights).all()), bool((recovered.dequantize() == weights).all())
    (False, True)
    """
    if stored not in SIGNIFICANT_BITS:
        raise ValueError(f"stored is {stored!r}; give one of {', '.join(SIGNIFICANT_BITS)}")
    matrix = as_matrix(weights, "weights").astype(np.float32)
    rows, columns = matrix.shape
    check_group_size(BLOCK, columns)
    if not (_rounded(matrix, stored) == matrix).all():
        raise ValueError(f"weights are not all numbers of {stored}; say with `stored` how they were stored")
    x = matrix.reshape(-1, BLOCK)
    data = ggml.quantize(x, "Q4_0").reshape(len(x), -1)
    codes, scale = np.zeros(x.shape, np.int8), np.zeros(len(x), np.float16)
    found, exact = np.zeros(len(x), bool), np.zeros(len(x), bool)
    for largest in range(1, _LARGEST_CODE + 1):
        left = np.flatnonzero(~exact)
        if not left.size:
            break
        its_codes, its_scale, fits, equal = _hypothesis(x[left], largest, stored)
        better = equal | (fits & ~found[left])
        at = left[better]
        codes[at], scale[at], found[at] = its_codes[better], its_scale[better], True
        exact[left[equal]] = True
    if found.any():
        data[found] = _blocks(codes[found], scale[found])
    shape = (rows, columns // BLOCK)
    return Recovered(data.reshape(rows, -1), found.reshape(shape), exact.reshape(shape))


def _hypothesis(
    x: F32, largest: int, stored: str
) -> tuple[NDArray[np.int8], NDArray[np.float16], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return codes, scales and whether they fit, and fit exactly, if the largest |q| is this."""
    w = x.astype(np.float64)
    size = np.abs(w)
    place = size.argmax(axis=1)[:, None]
    biggest = np.take_along_axis(w, place, axis=1)
    # 8 is no code: where the largest is −8, the scale has the other sign.
    step = biggest / (-largest if largest == _LARGEST_CODE else np.copysign(largest, biggest))
    codes = np.rint(np.divide(w, step, out=np.zeros_like(w), where=step != 0))
    allowed = (codes >= -_LARGEST_CODE).all(axis=1) & (codes < _LARGEST_CODE).all(axis=1)
    codes = np.clip(codes, -_LARGEST_CODE, _LARGEST_CODE - 1)
    slack = _half_distance(size, stored)
    count = np.abs(codes)
    used = count > 0
    low = np.divide(size - slack, count, out=np.zeros_like(w), where=used).max(axis=1)
    high = np.divide(size + slack, count, out=np.full_like(w, np.inf), where=used).min(axis=1)
    fits = allowed & (low <= high) & (used | (w == 0)).all(axis=1)
    high = np.where(np.isfinite(high), high, 0)
    sign = np.where(step[:, 0] < 0, -1.0, 1.0)
    with np.errstate(over="ignore"):
        middle = (sign * (low + high) / 2).astype(np.float16)
    fits &= np.isfinite(middle)
    middle = np.where(fits, middle, np.float16(0))
    scale, equal = middle, np.zeros(len(x), bool)
    # A scale of the stored type first: it is likely to be that of the training. The half nearest to the
    # middle is inside the interval if any is; its neighbours matter where it is on the edge, in a tie.
    with np.errstate(over="ignore"):
        own = _rounded(middle.astype(np.float32), stored).reshape(-1).astype(np.float16)
    own = np.where(np.isfinite(own), own, middle)
    below, above = (np.nextafter(middle, np.float16(end)) for end in (-65504, 65504))
    for candidate in (own, middle, below, above):
        values = candidate[:, None].astype(np.float32) * codes.astype(np.float32)
        hit = fits & ~equal & (_rounded(values, stored) == x).all(axis=1)
        scale = np.where(hit, candidate, scale)
        equal |= hit
    return codes.astype(np.int8), scale, fits, equal


def _blocks(codes: NDArray[np.int8], scale: NDArray[np.float16]) -> U8:
    layout = FORMATS["Q4_0"]
    blocks = layout.empty(len(codes))
    blocks["d"] = scale
    blocks["qs"] = pack_nibbles((codes + _LARGEST_CODE).astype(np.uint8), BLOCK)
    return block_bytes(blocks).reshape(len(codes), -1)


def _half_distance(size: NDArray[np.float64], stored: str) -> NDArray[np.float64]:
    """Return half the distance to the next larger number of a type."""
    exponent = np.maximum(np.frexp(size)[1] - 1, _LEAST_EXPONENT[stored])
    half: NDArray[np.float64] = np.ldexp(0.5, exponent - (SIGNIFICANT_BITS[stored] - 1))
    return half


def _rounded(values: F32, stored: str) -> F32:
    """Return the values rounded to a type, to even in ties."""
    with np.errstate(over="ignore"):
        return ggml.dequantize(ggml.quantize(values, stored), stored) if stored != "F32" else values


def ternary(weights: ArrayLike, group_size: int | None = 256) -> F32:
    """Round to three levels, −s, 0 and s, with s = max |w| of each group, as a half.

    Weights that are ternary already, with a scale that a half holds, come back unchanged. For others this is
    ruinous: the largest weight of a group decides the step, and most of the others become 0.
    `quant_core.methods.metrics.relative_weight_error` measures it.

    Parameters
    ----------
    weights : array_like of float, shape (rows, columns)
    group_size : int or None
        Weights that share a scale; a divisor of `columns`. None: the whole row. 256 is a block of TQ2_0.

    Returns
    -------
    ndarray of float32, shape (rows, columns)

    Raises
    ------
    ValueError
        If a weight is not finite or larger than a half can be (65504), or the groups do not divide a row.

    Examples
    --------
    >>> ternary([[0.5, -0.5, 0.0, 0.5], [0.5, -0.3, 0.1, 0.2]], group_size=4).tolist()
    [[0.5, -0.5, 0.0, 0.5], [0.5, -0.5, 0.0, 0.0]]
    """
    matrix = as_matrix(weights, "weights").astype(np.float32)
    rows, columns = matrix.shape
    groups = matrix.reshape(rows, -1, check_group_size(group_size, columns))
    largest = np.abs(groups).max(axis=-1, keepdims=True)
    with np.errstate(over="ignore"):
        scale = largest.astype(np.float16).astype(np.float32)
    if not np.isfinite(scale).all():
        raise ValueError("weights reach beyond ±65504, which no half holds; scale them down")
    inverse = np.divide(np.float32(1), largest, out=np.zeros_like(largest), where=largest != 0)
    share = groups * inverse
    levels = np.trunc(share + np.copysign(np.float32(0.5), share))  # half away from zero, as lroundf
    values: F32 = (levels * scale).reshape(rows, columns)
    return values
