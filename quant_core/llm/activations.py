"""Round activations as kernels do that multiply small integers or small floats.

llama.cpp's CPU kernels do not decode a quantized matrix. They round each input vector to 8 bits, in blocks as
long as those of the matrix, and take dot products of integers; a matrix in F16 is multiplied with inputs in
F16. W8A8 kernels round each token to int8 or to an 8-bit float with its own scale. The error is small but not
zero: `rounding_of` reproduces it in a model of `quant_core.llm.model`.

References
----------
ggml-org/llama.cpp 0c1e57098bba, `ggml/src/ggml-cpu/ggml-cpu.c` (`type_traits_cpu`, its `vec_dot_type`),
`ggml/src/ggml-quants.c` (`quantize_row_q8_0_ref`, `quantize_row_q8_1_ref`, `quantize_row_q8_K_ref`). Those of
`quant_core.methods.smoothquant`, `quant_core.methods.int8` and `quant_core.methods.fp8`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from quant_core import ggml
from quant_core.arrays import F32, as_matrix
from quant_core.methods import fp8, int8, smoothquant

_SUPER_BLOCK = 256
_LARGEST = 127


def rounded(activations: ArrayLike, kind: str) -> F32:
    """Round activations as a kind of kernel does, and return the rounded values.

    Parameters
    ----------
    activations : array_like of float, shape (tokens, columns)
    kind : str
        One of `KINDS`:

        ==========  ==============================================================================
        f16         half precision
        q8_0        −127 … 127 times a half-precision scale for each 32 columns; Q8_1 but for its sums
        q8_K        integers times a float32 scale for each 256 columns, the partner of the k-quants; the
                    number of largest magnitude becomes −127, whatever its sign
        int8        −127 … 127 times a float32 scale for each token: W8A8
        LLM.int8()  the same, except channels in which some token reaches 6: half precision
        e4m3        8-bit floats times a float32 scale for each token
        ==========  ==============================================================================

    Returns
    -------
    ndarray of float32, shape (tokens, columns)

    Raises
    ------
    ValueError
        If a number is not finite, the kind is unknown, or the columns do not divide into its blocks.

    Examples
    --------
    >>> rounded([[127.0, 1.4] + 30 * [0.0]], "q8_0")[0, :2].tolist()
    [127.0, 1.0]
    >>> rounded([[-254.0, 3.1] + 254 * [0.0]], "q8_K")[0, :2].tolist()
    [-254.0, 4.0]
    >>> rounded([[-254.0, 3.1]], "int8").tolist(), rounded([[-448.0, 3.1]], "e4m3").tolist()
    ([[-254.0, 4.0]], [[-448.0, 3.0]])
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; give one of {', '.join(KINDS)}")
    return KINDS[kind](as_matrix(activations, "activations").astype(np.float32, copy=False))


def _to_q8_k(x: F32) -> F32:
    if x.shape[1] % _SUPER_BLOCK:
        raise ValueError(f"activations have {x.shape[1]} columns; give a multiple of {_SUPER_BLOCK}")
    blocks = x.reshape(len(x), -1, _SUPER_BLOCK)
    at = np.abs(blocks).argmax(axis=-1)[..., None]
    scale = np.take_along_axis(blocks, at, axis=-1) / np.float32(-_LARGEST)
    inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale != 0)
    codes = np.minimum(np.rint(blocks * inverse), np.float32(_LARGEST))
    levels: F32 = (codes * scale).reshape(x.shape)
    return levels


#: The rounding of each kind.
KINDS: Mapping[str, Callable[[F32], F32]] = MappingProxyType(
    {
        "f16": lambda x: x.astype(np.float16).astype(np.float32),
        "q8_0": lambda x: ggml.dequantize(ggml.quantize(x, "Q8_0"), "Q8_0"),
        "q8_K": _to_q8_k,
        "int8": smoothquant.round_rows,
        "LLM.int8()": int8.round_activations,
        "e4m3": lambda x: fp8.quantize(x).dequantize(),
    }
)

#: Type of a matrix in a GGUF file -> kind to which llama.cpp rounds its inputs; other inputs are not rounded.
OF_TYPES: Mapping[str, str] = MappingProxyType(
    {"F16": "f16"}
    | {
        name: "q8_K" if layout.block_size == 256 else "q8_0"
        for name, layout in ggml.FORMATS.items()
        if layout.block_size > 1
    }
)


def rounding_of(kinds: Mapping[str, str]) -> Callable[[str, F32], F32]:
    """Return the function that rounds the inputs of each matrix, for `Transformer.inputs`.

    Parameters
    ----------
    kinds : mapping of str to str
        By the name of a matrix its type in a GGUF file, for what llama.cpp does, or one of `KINDS`.

    Returns
    -------
    callable
        From a name and inputs (tokens, columns) to the inputs rounded. Those of a matrix without a kind, or
        of a type whose inputs llama.cpp leaves alone, come back as they are.

    Examples
    --------
    >>> by_name = rounding_of({"blk.0.ffn_up.weight": "F16"})
    >>> by_name("blk.0.ffn_up.weight", np.array([[1.0001]], np.float32)).tolist()
    [[1.0]]
    """
    chosen = {name: OF_TYPES.get(kind, kind) for name, kind in kinds.items()}

    def by_name(name: str, x: F32) -> F32:
        kind = chosen.get(name, "")
        return KINDS[kind](x) if kind in KINDS else x

    return by_name
