"""Array types of the library, and the checks that every public function makes on its input.

A wrong argument is refused in one wording everywhere: what was given, what is allowed, what to do.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

F32: TypeAlias = NDArray[np.float32]
FloatArray: TypeAlias = NDArray[np.floating[Any]]
U8: TypeAlias = NDArray[np.uint8]
U16: TypeAlias = NDArray[np.uint16]

MIN_BITS, MAX_BITS = 2, 8


def as_floats(values: ArrayLike, name: str) -> FloatArray:
    """Return `values` as a finite float32 or float64 array; a float64 input stays float64.

    Half precision and integers become float32: arithmetic in float16 would add a rounding of its own.

    Raises
    ------
    ValueError
        If the values are not real numbers, or if one of them is NaN or infinite.

    Examples
    --------
    >>> as_floats([1, 2], "weights").dtype
    dtype('float32')
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} has dtype {array.dtype}; give an array of real numbers")
    floats: FloatArray = array.astype(np.float64 if array.dtype == np.float64 else np.float32, copy=False)
    if not np.isfinite(floats).all():
        bad = int(np.count_nonzero(~np.isfinite(floats)))
        raise ValueError(f"{name} holds {bad} NaN or infinite value(s); quantization needs finite numbers")
    return floats


def as_matrix(values: ArrayLike, name: str) -> FloatArray:
    """Return `values` as a finite two-dimensional float array that is not empty.

    Raises
    ------
    ValueError
        As `as_floats`, or if the array is not two-dimensional, or if it is empty.
    """
    matrix = as_floats(values, name)
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"{name} has shape {matrix.shape}; give a matrix of shape (rows, columns)")
    return matrix


def check_bits(bits: int) -> int:
    """Return `bits` if it is a valid code width, 2 to 8.

    Raises
    ------
    ValueError
        If it is not an integer from 2 to 8.
    """
    if bits not in range(MIN_BITS, MAX_BITS + 1):
        raise ValueError(f"bits is {bits!r}; give an integer from {MIN_BITS} to {MAX_BITS}")
    return int(bits)


def check_group_size(group_size: int | None, columns: int) -> int:
    """Return the number of weights that share a scale; None means the whole row.

    Raises
    ------
    ValueError
        If the columns do not divide into groups of that size.
    """
    if group_size is None:
        return columns
    if group_size < 1 or columns % group_size:
        raise ValueError(
            f"group_size {group_size} does not divide a row of {columns} weights; "
            f"give a divisor of {columns}, or None for one group per row"
        )
    return int(group_size)
