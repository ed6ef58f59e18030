"""Keys and values as a cache of fewer bits returns them, with and without rotation.

A model keeps the keys and values of all tokens it has read. llama.cpp can quantize both, each to its own type
(`--cache-type-k`, `--cache-type-v`). Every head's vector is quantized when it is written, after RoPE, and
attention reads the quantized numbers, those of the current token too.

If a type is quantized and head_dim is a multiple of 64, llama.cpp rotates. It multiplies queries and keys by
a Walsh-Hadamard matrix H (`quant_core.methods.hadamard`), values by one of 64, and the output of attention
by that one again. H is symmetric and H H = 1, so only the rounding changes: (H q) · round(H k) is
q · H round(H k). Here keys and values are rotated back, H round(H k), and queries stay as they are.

References
----------
ggml-org/llama.cpp 0c1e57098bba: `kv_cache_types` in `common/arg.cpp`; the conditions of `attn_rot_k` and
`attn_rot_v`, `build_input_k_rot` and `build_input_v_rot` in `src/llama-kv-cache.cpp` (pull request 21038);
`build_attn` in `src/llama-graph.cpp`; the sizes of heads in `src/llama-context.cpp`;
`quantize_row_iq4_nl_ref` in `ggml/src/ggml-quants.c`; `ggml_compute_forward_flash_attn_ext_f16_one_chunk` in
`ggml/src/ggml-cpu/ops.cpp`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quant_core import ggml
from quant_core.arrays import F32
from quant_core.ggml import iq4, primitives
from quant_core.ggml.codec import from_columns, to_columns
from quant_core.memory import CACHE_TYPES
from quant_core.methods.hadamard import transform

#: llama.cpp rotates heads of a multiple of this, and values in blocks of it.
ROTATED_BLOCK = 64


@dataclass(frozen=True)
class CacheRounding:
    """What a key/value cache does to keys and values, for `Transformer.cached`.

    Attributes
    ----------
    cache_type_k, cache_type_v : str
        One of `quant_core.memory.CACHE_TYPES`.
    rotate : bool
        Whether keys and values are rotated where llama.cpp does so; there `LLAMA_ATTN_ROT_DISABLE=1` turns it
        off.
    round_queries : bool
        Whether queries are rounded too, as llama.cpp's CPU kernels do: to q8_0 for a quantized type of keys,
        else to that type.

    Raises
    ------
    ValueError
        If a type is unknown.
    """

    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    rotate: bool = True
    round_queries: bool = False

    def __post_init__(self) -> None:
        for name in ("cache_type_k", "cache_type_v"):
            if getattr(self, name) not in CACHE_TYPES:
                raise ValueError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(CACHE_TYPES)}")

    def __call__(self, query: F32, key: F32, value: F32) -> tuple[F32, F32, F32]:
        """Return queries, keys and values as attention computes with them.

        Parameters
        ----------
        query, key, value : ndarray of float32, shape (batch, tokens, heads, head_dim)

        Returns
        -------
        tuple of three ndarray of float32 of the same shapes

        Raises
        ------
        ValueError
            If a head's numbers do not divide into blocks of the type.
        """
        block = self.key_rotation(key.shape[-1])
        if self.round_queries:
            query = _through(query, _partner(self.cache_type_k), block)
        key = _through(key, self.cache_type_k, block)
        return query, key, _through(value, self.cache_type_v, self.value_rotation(value.shape[-1]))

    def key_rotation(self, head_dim: int) -> int:
        """Return the size of the matrix that rotates keys: the largest power of two; 0 without rotation.

        Examples
        --------
        >>> CacheRounding("q4_0").key_rotation(128), CacheRounding("q4_0").key_rotation(192)
        (128, 64)
        >>> CacheRounding("q4_0").key_rotation(80), CacheRounding("f16").key_rotation(128)
        (0, 0)
        """
        return head_dim & -head_dim if self._rotates(self.cache_type_k, head_dim) else 0

    def value_rotation(self, head_dim: int) -> int:
        """Return the size of the matrix that rotates values, 64; 0 without rotation."""
        return ROTATED_BLOCK if self._rotates(self.cache_type_v, head_dim) else 0

    def _rotates(self, cache_type: str, head_dim: int) -> bool:
        return self.rotate and _block_size(cache_type) > 1 and head_dim % ROTATED_BLOCK == 0


def stored(vectors: F32, cache_type: str) -> F32:
    """Return vectors as a cache of a type gives them back.

    The encoder is that of the file type of the same name, except for iq4_nl: a cache does not search for the
    scale.

    Parameters
    ----------
    vectors : ndarray of float32, shape (…, head_dim)
    cache_type : str
        One of `quant_core.memory.CACHE_TYPES`.

    Raises
    ------
    ValueError
        If the vectors do not divide into blocks of the type.
    """
    size, head_dim = _block_size(cache_type), vectors.shape[-1]
    if head_dim % size:
        raise ValueError(
            f"{cache_type} has blocks of {size}, which do not divide heads of {head_dim}; take f16"
        )
    rows = vectors.reshape(-1, head_dim)
    if cache_type == "iq4_nl":
        rows = _iq4_nl(rows)
    elif cache_type != "f32":
        rows = ggml.dequantize(ggml.quantize(rows, cache_type.upper()), cache_type.upper())
    return rows.reshape(vectors.shape)


def _through(vectors: F32, cache_type: str, rotated: int) -> F32:
    """Return vectors after they were rotated in blocks of a size (0: not), stored, and rotated back."""
    if not rotated:
        return stored(vectors, cache_type)
    back: F32 = transform(stored(transform(vectors, rotated).astype(np.float32), cache_type), rotated)
    return back


def _iq4_nl(rows: F32) -> F32:
    """Round to IQ4_NL as `quantize_row_iq4_nl_ref`: one scale is tried, then fitted to its codes."""
    x = to_columns(rows, iq4.BLOCK)
    largest = primitives.signed_abs_max(x)
    empty = np.abs(largest) < primitives.ALL_ZERO
    first = np.where(empty, np.float32(1), largest) / iq4.TABLE[0]
    levels = iq4.TABLE[iq4.nearest(np.float32(1) / first * x)]
    weighted = x * x * levels
    sum_lx, sum_l2 = primitives.sum_in_order(weighted * x), primitives.sum_in_order(weighted * levels)
    scale = np.divide(sum_lx, sum_l2, out=np.zeros_like(sum_lx), where=~empty & (sum_l2 > 0))
    return from_columns(primitives.to_half(scale).astype(np.float32) * levels, iq4.BLOCK).reshape(rows.shape)


def _partner(cache_type: str) -> str:
    """Return the type to which a CPU kernel rounds what it multiplies with a type."""
    return "q8_0" if _block_size(cache_type) > 1 else cache_type


def _block_size(cache_type: str) -> int:
    return ggml.FORMATS[cache_type.upper()].block_size
