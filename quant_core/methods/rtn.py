"""Round to nearest (RTN): each group of weights gets its own grid, each weight its nearest level.

The baseline of every method in the library, without activations. `quant_core.methods.gptq` and
`quant_core.methods.awq` use activations; `quant_core.ggml` has the byte formats of llama.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant_core.arrays import FloatArray, as_matrix, check_bits, check_group_size
from quant_core.methods.grid import FITS, Grid, Scheme

#: Bits that a checkpoint stores for each group besides the codes: an fp16 scale, and with it nothing, an
#: integer zero-point as wide as a code (`bits`), or an fp16 offset.
SCALE_BITS = 16
OFFSET_BITS = 16


@dataclass(frozen=True, eq=False)
class Quantized:
    """A matrix as codes on one grid per group.

    Attributes
    ----------
    codes : ndarray of int32, shape (rows, columns)
        Integer codes.
    grid : Grid
        The grids; its arrays have shape (rows, groups).
    group_size : int
        Weights that share a scale.
    """

    codes: NDArray[np.int32]
    grid: Grid
    group_size: int

    @property
    def scale(self) -> FloatArray:
        """Distance between levels, shape (rows, groups)."""
        return self.grid.scale

    @property
    def zero_point(self) -> NDArray[np.int32] | None:
        """Code of the level 0, shape (rows, groups); None with a float offset."""
        return self.grid.zero_point

    @property
    def minimum(self) -> FloatArray | None:
        """Level of code 0, shape (rows, groups); None with an integer zero-point."""
        return self.grid.minimum

    @property
    def bits_per_weight(self) -> float:
        """Stored bits for one weight, the metadata of its group included.

        code bits + (16 for the fp16 scale + the offset) / group_size, where the offset costs nothing
        (symmetric), `bits` (asymmetric: an integer zero-point) or 16 (float offset: fp16).
        """
        return bits_per_weight(self.grid.bits, self.group_size, self.grid.scheme)

    def dequantize(self) -> FloatArray:
        """Return the matrix of levels, shape (rows, columns)."""
        rows, columns = self.codes.shape
        return self.grid.dequantize(self.codes.reshape(rows, -1, self.group_size)).reshape(rows, columns)


def round_to_nearest(
    weights: ArrayLike, bits: int, group_size: int | None = 128, scheme: Scheme = "asymmetric"
) -> Quantized:
    """Round each weight to the nearest level of its group's grid.

    Parameters
    ----------
    weights : array_like of float, shape (rows, columns)
        One row per output channel. Groups run along a row.
    bits : int
        Code width, 2 to 8.
    group_size : int or None
        Weights that share a scale; a divisor of `columns`. None: the whole row.
    scheme : {"asymmetric", "symmetric", "float_offset"}
        Convention of the grid; see `quant_core.methods.grid`.

    Returns
    -------
    Quantized
        Codes (rows, columns) and grids (rows, groups). Scales are kept in the precision of the input, as
        the reference implementations do while they search; `bits_per_weight` counts them as fp16.

    Raises
    ------
    ValueError
        If a weight is not finite, or an argument is out of range.

    Examples
    --------
    >>> q = round_to_nearest([[0.0, 1.0, 2.0, 3.0]], bits=2, group_size=4)
    >>> q.codes.tolist(), q.dequantize().tolist(), q.bits_per_weight
    ([[0, 1, 2, 3]], [[0.0, 1.0, 2.0, 3.0]], 6.5)
    """
    matrix = as_matrix(weights, "weights")
    if scheme not in FITS:
        raise ValueError(f"scheme is {scheme!r}; give one of {', '.join(FITS)}")
    rows, columns = matrix.shape
    size = check_group_size(group_size, columns)
    groups = matrix.reshape(rows, columns // size, size)
    grid = FITS[scheme](groups, bits)
    return Quantized(grid.quantize(groups).reshape(rows, columns), grid, size)


def bits_per_weight(bits: int, group_size: int, scheme: Scheme = "asymmetric") -> float:
    """Return the stored bits for one weight; see `Quantized.bits_per_weight`.

    Examples
    --------
    >>> bits_per_weight(4, 128, "asymmetric"), bits_per_weight(4, 32, "float_offset")
    (4.15625, 5.0)
    """
    offset = {"asymmetric": check_bits(bits), "symmetric": 0, "float_offset": OFFSET_BITS}[scheme]
    return bits + (SCALE_BITS + offset) / group_size
