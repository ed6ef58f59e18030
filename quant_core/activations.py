"""What llama.cpp's CPU kernels do to activations: they round them, so that products are of small integers.

A quantized matrix is not decoded there. Each input vector is rounded to 8 bits, in blocks as long as those of
the matrix, and the dot products are taken between integers; a matrix in F16 meets inputs in F16. The cost is
small but not nothing: `rounding_of` makes it, so that a model can be run as llama.cpp runs it.

References
----------
ggml-org/llama.cpp 0c1e57098bba, `ggml/src/ggml-cpu/ggml-cpu.c` (`type_traits_cpu`, its `vec_dot_type`),
`ggml/src/ggml-quants.c` (`quantize_row_q8_0_ref`, `quantize_row_q8_1_ref`, `quantize_row_q8_K_ref`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from quant_core import ggml
from quant_core.arrays import F32, as_matrix

_SUPER_BLOCK = 256
_LARGEST = 127


def to_f16(activations: ArrayLike) -> F32:
    """Round to half precision.

    Parameters
    ----------
    activations : array_like of float, shape (tokens, columns)

    Returns
    -------
    ndarray of float32, shape (tokens, columns)

    Raises
    ------
    ValueError
        If a number is not finite.
    """
    return as_matrix(activations, "activations").astype(np.float16).astype(np.float32)


def to_q8_0(activations: ArrayLike) -> F32:
    """Round to −127 … 127 times a half-precision scale for each 32: Q8_0, and Q8_1 but for its sums.

    Parameters
    ----------
    activations : array_like of float, shape (tokens, columns)
        Columns in multiples of 32.

    Returns
    -------
    ndarray of float32, shape (tokens, columns)

    Raises
    ------
    ValueError
        If a number is not finite or the columns are no multiple of 32.

    Examples
    --------
    >>> to_q8_0([[127.0, 1.4] + 30 * [0.0]])[0, :2].tolist()
    [127.0, 1.0]
    """
    return ggml.dequantize(ggml.quantize(activations, "Q8_0"), "Q8_0")


def to_q8_k(activations: ArrayLike) -> F32:
    """Round to integers times a float32 scale for each 256: Q8_K, the partner of the k-quants.

    The number of largest magnitude becomes −127, whatever its sign.

    Parameters
    ----------
    activations : array_like of float, shape (tokens, columns)
        Columns in multiples of 256.

    Returns
    -------
    ndarray of float32, shape (tokens, columns)

    Raises
    ------
    ValueError
        If a number is not finite or the columns are no multiple of 256.

    Examples
    --------
    >>> to_q8_k([[-254.0, 3.1] + 254 * [0.0]])[0, :2].tolist()
    [-254.0, 4.0]
    """
    x = as_matrix(activations, "activations").astype(np.float32)
    if x.shape[1] % _SUPER_BLOCK:
        raise ValueError(f"activations have {x.shape[1]} columns; give a multiple of {_SUPER_BLOCK}")
    blocks = x.reshape(len(x), -1, _SUPER_BLOCK)
    at = np.abs(blocks).argmax(axis=-1)[..., None]
    scale = np.take_along_axis(blocks, at, axis=-1) / np.float32(-_LARGEST)
    inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale != 0)
    codes = np.minimum(np.rint(blocks * inverse), np.float32(_LARGEST))
    rounded: F32 = (codes * scale).reshape(x.shape)
    return rounded


#: Type of a matrix -> what its inputs are rounded to; they stay as they are for the types not named.
ROUNDINGS: Mapping[str, Callable[[ArrayLike], F32]] = MappingProxyType(
    {"F16": to_f16}
    | dict.fromkeys(("Q8_0", "Q4_0", "Q5_0", "Q4_1", "Q5_1", "IQ4_NL", "MXFP4", "NVFP4"), to_q8_0)
    | dict.fromkeys(("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"), to_q8_k)
)


def rounding_of(types: Mapping[str, str]) -> Callable[[str, F32], F32]:
    """Return what llama.cpp does to the inputs of each matrix, for `Transformer.inputs`.

    Parameters
    ----------
    types : mapping of str to str
        Type of each matrix, by its name.

    Returns
    -------
    callable
        From a name and inputs (tokens, columns) to the inputs rounded.

    Examples
    --------
    >>> rounded = rounding_of({"blk.0.ffn_up.weight": "F16"})
    >>> rounded("blk.0.ffn_up.weight", np.array([[1.0001]], np.float32)).tolist()
    [[1.0]]
    """
    kinds = {name: ROUNDINGS[type_name] for name, type_name in types.items() if type_name in ROUNDINGS}

    def rounded(name: str, x: F32) -> F32:
        return kinds[name](x) if name in kinds else x

    return rounded
