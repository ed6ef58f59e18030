"""How much each squared error counts when a block is fitted with an importance vector.

Nearly every format of ggml weights the error of a value x by importance · √(S + x²): the larger values of a
channel count more. S is a mean square, over what and times what differs between the formats.

References
----------
The `sigma2` of `quantize_row_q4_0_impl`, `quantize_row_q4_K_impl` and others in `ggml/src/ggml-quants.c` of
ggml-org/llama.cpp 0c1e57098bba.
"""

from __future__ import annotations

import numpy as np

from quant_core.arrays import F32
from quant_core.ggml.codec import to_columns
from quant_core.ggml.primitives import sum_in_order


def importance_columns(rows: F32, importance: F32, size: int) -> F32:
    """Return the importance of every weight, as sub-blocks in columns, shape (size, sub-blocks)."""
    one_row = np.ascontiguousarray(importance.reshape(-1, size).T)
    return np.tile(one_row, len(rows))


def spread_weights(rows: F32, importance: F32, size: int, mean_square: F32) -> F32:
    """Return importance · √(mean_square + x²) for each weight, sub-blocks in columns.

    Parameters
    ----------
    rows : ndarray of float32, shape (r, columns)
    importance : ndarray of float32, shape (columns,)
    size : int
        Weights in a sub-block.
    mean_square : ndarray of float32, shape (groups,)
        One statistic for each run of `rows.size / groups` weights.

    Returns
    -------
    ndarray of float32, shape (size, sub-blocks)
    """
    x = to_columns(rows, size)
    spread: F32 = np.sqrt(np.repeat(mean_square, x.shape[1] // len(mean_square)) + x * x)
    return importance_columns(rows, importance, size) * spread


def sum_of_squares(rows: F32, size: int) -> F32:
    """Return Σx² of each run of `size` weights, added in index order, shape (rows.size / size,)."""
    return sum_in_order(to_columns(rows * rows, size))
