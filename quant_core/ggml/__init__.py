"""The block formats of llama.cpp (ggml): quantize to their exact bytes, and back.

`quantize` writes what `ggml_quantize_chunk` writes, byte for byte, with and without an importance vector.
Only blocks are handled here, not files.

References
----------
ggml-org/llama.cpp 0c1e57098bba, `ggml/src/ggml-quants.c`, built without fused multiply-add.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant_core.arrays import F32, U8, as_floats
from quant_core.ggml.formats import FORMATS, Field, Format
from quant_core.ggml.registry import CODECS, QUANTIZABLE, codec_of
from quant_core.ggml.xray import ByteRole, byte_roles, weight_bytes

__all__ = [
    "CODECS",
    "FORMATS",
    "QUANTIZABLE",
    "ByteRole",
    "Field",
    "Format",
    "byte_roles",
    "dequantize",
    "fields",
    "quantize",
    "weight_bytes",
]

#: Weights encoded or decoded at a time: few enough that the temporaries stay in the caches, and enough that
#: the calls of numpy take no time of their own.
_CHUNK = 1 << 17


def quantize(weights: ArrayLike, type_name: str, importance: ArrayLike | None = None) -> U8:
    """Encode rows of weights.

    Parameters
    ----------
    weights : array_like of float, shape (rows, columns) or (columns,)
        Converted to float32. `columns` must be a multiple of the type's block size.
    type_name : str
        One of `QUANTIZABLE`.
    importance : array_like of float, shape (columns,), optional
        How much the squared error of each input channel counts, not negative: the mean square of its
        activations over a calibration text (llama.cpp's imatrix). IQ2_XXS, IQ2_XS and IQ1_S need it. The
        types without a search ignore it: F32, F16, BF16, Q8_0, MXFP4, NVFP4, TQ1_0, TQ2_0, Q1_0 and Q2_0.

    Returns
    -------
    ndarray of uint8, shape (rows, row_bytes)

    Raises
    ------
    ValueError
        If the type is unknown, a shape does not fit, a number is not finite, or the type needs an importance
        and there is none.

    Examples
    --------
    >>> quantize(np.zeros((3, 512)), "Q4_K").shape
    (3, 288)
    """
    codec, layout = codec_of(type_name), FORMATS[type_name]
    if codec.needs_importance and importance is None:
        raise ValueError(
            f"{type_name} needs an importance: llama.cpp refuses this type without an importance matrix"
        )
    rows = _rows(weights, layout)
    column_importance = None if importance is None else _importance(importance, rows.shape[1])
    rows_at_once = max(1, _CHUNK // rows.shape[1])
    chunks = [rows[start : start + rows_at_once] for start in range(0, len(rows), rows_at_once)]
    # The searches divide by zero on purpose and discard those candidates, as the C code does.
    with np.errstate(all="ignore"):
        encoded = [codec.encode(chunk, column_importance) for chunk in chunks]
    return np.concatenate(encoded).reshape(len(rows), -1)


def dequantize(data: ArrayLike, type_name: str) -> F32:
    """Decode rows of blocks.

    Parameters
    ----------
    data : array_like of uint8, shape (rows, row_bytes) or (row_bytes,)
        As `quantize` returns it.
    type_name : str
        A key of `CODECS`.

    Returns
    -------
    ndarray of float32, shape (rows, columns)

    Raises
    ------
    ValueError
        If the type is unknown, or the data is not rows of whole blocks.

    Examples
    --------
    >>> dequantize(quantize(np.full(32, 127.0), "Q8_0"), "Q8_0")[0, :2].tolist()
    [127.0, 127.0]
    """
    codec, layout = codec_of(type_name), FORMATS[type_name]
    rows, blocks = _blocks(data, layout)
    # A damaged block may hold an infinite scale; its weights are then infinite or NaN, as in the C code.
    with np.errstate(all="ignore"):
        if layout.block_size == 1:  # no temporaries to keep small
            return codec.decode(blocks).reshape(rows, -1)
        weights = np.empty((len(blocks), layout.block_size), np.float32)
        at_once = _CHUNK // layout.block_size
        for start in range(0, len(blocks), at_once):
            chunk = slice(start, start + at_once)
            weights[chunk] = codec.decode(blocks[chunk])
    return weights.reshape(rows, -1)


def fields(data: ArrayLike, type_name: str) -> dict[str, NDArray[Any]]:
    """Take blocks apart into named arrays, with all blocks of all rows along the first axis.

    Parameters
    ----------
    data : array_like of uint8, shape (rows, row_bytes) or (row_bytes,)
        As `quantize` returns it.
    type_name : str
        A key of `CODECS`.

    Returns
    -------
    dict of str to ndarray
        Half-precision numbers as float32 with their 16 bits beside them. For Q4_K with b super-blocks: `d`,
        `dmin` (b,) float32; `d_bits`, `dmin_bits` (b,) uint16; `scales`, `mins` (b, 8); `codes` (b, 256).

    Raises
    ------
    ValueError
        If the type is unknown, or the data is not rows of whole blocks.

    Examples
    --------
    >>> block = fields(quantize(np.linspace(-1, 1, 256), "Q4_K"), "Q4_K")
    >>> {name: array.shape for name, array in block.items()}
    {'d': (1,), 'd_bits': (1,), 'dmin': (1,), 'dmin_bits': (1,), 'scales': (1, 8), 'mins': (1, 8), \
'codes': (1, 256)}
    """
    return codec_of(type_name).fields(_blocks(data, FORMATS[type_name])[1])


def _rows(weights: ArrayLike, layout: Format) -> F32:
    rows = _as_float32(weights, "weights")
    if rows.ndim not in (1, 2) or rows.size == 0:
        raise ValueError(f"weights have shape {rows.shape}; give (rows, columns) or (columns,), not empty")
    rows = np.ascontiguousarray(np.atleast_2d(rows))
    if rows.shape[1] % layout.block_size:
        instead = f"; llama.cpp stores such a tensor as {layout.fallback}" if layout.fallback else ""
        raise ValueError(
            f"a row of {rows.shape[1]} weights is not a multiple of {layout.block_size}, "
            f"the block of {layout.name}{instead}"
        )
    return rows


def _importance(importance: ArrayLike, columns: int) -> F32:
    vector = _as_float32(importance, "importance")
    if vector.shape != (columns,):
        raise ValueError(f"importance has shape {vector.shape}; give one number per column, ({columns},)")
    if (vector < 0).any():
        raise ValueError("importance holds a negative number; give mean squares of activations, 0 or more")
    return vector


def _as_float32(values: ArrayLike, name: str) -> F32:
    floats = as_floats(values, name)
    if floats.dtype == np.float32:
        return floats
    with np.errstate(over="ignore"):
        return as_floats(floats.astype(np.float32), f"{name} as float32")


def _blocks(data: ArrayLike, layout: Format) -> tuple[int, U8]:
    """Return the number of rows, and all blocks as (b, block_bytes)."""
    array = np.asarray(data)
    if array.dtype != np.uint8 or array.ndim not in (1, 2) or array.size == 0:
        raise ValueError(
            f"data has dtype {array.dtype} and shape {array.shape}; give uint8 bytes, (rows, row_bytes)"
        )
    rows = np.ascontiguousarray(np.atleast_2d(array))
    if rows.shape[1] % layout.block_bytes:
        raise ValueError(
            f"a row of {rows.shape[1]} bytes is not a multiple of {layout.block_bytes}, "
            f"the block of {layout.name}"
        )
    return len(rows), rows.reshape(-1, layout.block_bytes)
