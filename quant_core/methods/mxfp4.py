"""MXFP4 as in checkpoints of gpt-oss: 4-bit floats, a power of two for each 32.

weight = E2M1[code] · 2^(scale_bits − 127), the scale of a block in E8M0. A power of two seldom fits: the
largest weight of a block lands anywhere between 3 and 6 (`"rceil"`), or between 4 and 8, where what is above
6 is cut off (`"floor"`). ggml's MXFP4 (`quant_core.ggml`) has the same numbers in another order of bytes.

gpt-oss stores only the matrices of its experts so. Their names end in `_blocks` and `_scales`:

==================  ===============================================  =====================================
tensor              shape, type                                      content
==================  ===============================================  =====================================
…_blocks            (…, rows, columns / 32, 16) U8                   two codes a byte, the first in the
                                                                     low nibble
…_scales            (…, rows, columns / 32) U8                       the exponents, with bias 127
==================  ===============================================  =====================================

References
----------
OCP Microscaling Formats (MX) Specification v1.0, sections 5.3.3 and 6.3.
torchao 0.18.0 `prototype/mx_formats/mx_tensor.py` (`to_mx`).
openai/gpt-oss 1983a9d7 `gpt_oss/torch/weights.py` (`_get_mxfp4_tensor`); transformers 5.18.0
`integrations/mxfp4.py` (`convert_moe_packed_tensors`), which then transposes each expert's matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant_core.arrays import F32, U8, as_floats
from quant_core.ggml.fp4 import e8m0_values
from quant_core.methods import e2m1

#: How the power of two is chosen; see `quantize`.
Scaling = Literal["floor", "ceil", "even", "rceil"]
SCALINGS: tuple[Scaling, ...] = ("floor", "ceil", "even", "rceil")

BLOCK_SIZE = 32
BITS_PER_WEIGHT = 4 + 8 / BLOCK_SIZE

_BIAS = 127
#: Exponent of the largest power of two in E2M1, 4.
_TOP_EXPONENT = 2
_FRACTION_BITS = 23


@dataclass(frozen=True, eq=False)
class MXFP4:
    """A tensor in MXFP4.

    Attributes
    ----------
    codes : ndarray of uint8, shape (…, columns)
        E2M1 codes, 0 … 15.
    scale_bits : ndarray of uint8, shape (…, columns / 32)
        The exponent of each block's scale, with bias 127; 255, no number in E8M0, does not occur.
    """

    codes: U8
    scale_bits: U8

    @property
    def scale(self) -> F32:
        """The powers of two, shape (…, columns / 32)."""
        return e8m0_values(self.scale_bits)

    @property
    def bits_per_weight(self) -> float:
        """4, and 8 / 32 for the scales."""
        return BITS_PER_WEIGHT

    def dequantize(self) -> F32:
        """Return the weights, float32, shape (…, columns)."""
        levels = e2m1.decode(self.codes).reshape(*self.scale_bits.shape, BLOCK_SIZE)
        return (levels * self.scale[..., None]).reshape(self.codes.shape)


def quantize(weights: ArrayLike, scaling: Scaling = "floor") -> MXFP4:
    """Quantize a tensor to MXFP4 as torchao does; codes and scales equal its own above 10⁻³⁷.

    Parameters
    ----------
    weights : array_like of float, shape (…, columns)
        Columns a multiple of 32.
    scaling : {"floor", "ceil", "even", "rceil"}
        How the exponent follows from the largest magnitude of a block. floor: its own, less 2 (the
        specification's). ceil: its own rounded up, less 2. even: its own after rounding to one fraction
        bit, less 2. rceil: the smallest at which it is at most 6.

    Returns
    -------
    MXFP4

    Raises
    ------
    ValueError
        If a weight is not finite, the columns do not divide into blocks, or `scaling` is not one of these.

    Examples
    --------
    >>> row = [7.0, 1.0] * 16
    >>> quantize([row]).dequantize()[0, :2].tolist(), quantize([row], "rceil").dequantize()[0, :2].tolist()
    ([6.0, 1.0], [8.0, 1.0])
    """
    w = as_floats(weights, "weights").astype(np.float32, copy=False)
    if scaling not in SCALINGS:
        raise ValueError(f"scaling is {scaling!r}; give one of {', '.join(SCALINGS)}")
    if w.ndim == 0 or not w.size or w.shape[-1] % BLOCK_SIZE:
        raise ValueError(
            f"weights have shape {w.shape}; MXFP4 takes rows of a multiple of {BLOCK_SIZE} weights"
        )
    blocks = w.reshape(*w.shape[:-1], -1, BLOCK_SIZE)
    exponent = _exponents(np.abs(blocks).max(axis=-1), scaling)
    scale_bits = (np.clip(exponent, -_BIAS, _BIAS) + _BIAS).astype(np.uint8)
    # torchao divides by a normal number, even where the scale 2⁻¹²⁷ is not one.
    divisor = np.maximum(e8m0_values(scale_bits), np.finfo(np.float32).tiny)
    return MXFP4(e2m1.encode(blocks / divisor[..., None]).reshape(w.shape), scale_bits)


def pack_gpt_oss(q: MXFP4) -> tuple[U8, U8]:
    """Return the `_blocks` and the `_scales` of a tensor in a checkpoint of gpt-oss.

    Returns
    -------
    blocks : ndarray of uint8, shape (…, columns / 32, 16)
    scales : ndarray of uint8, shape (…, columns / 32)

    Examples
    --------
    >>> blocks, scales = pack_gpt_oss(quantize(np.ones((2, 4, 64))))
    >>> blocks.shape, scales.shape
    ((2, 4, 2, 16), (2, 4, 2))
    """
    packed = e2m1.pack(q.codes)
    return packed.reshape(*q.scale_bits.shape, BLOCK_SIZE // 2), q.scale_bits.copy()


def unpack_gpt_oss(blocks: NDArray[Any], scales: NDArray[Any]) -> MXFP4:
    """Return the weights of a tensor in a checkpoint of gpt-oss, shape (…, columns).

    Parameters
    ----------
    blocks : ndarray of uint8, shape (…, columns / 32, 16)
    scales : ndarray of uint8, shape (…, columns / 32)

    Raises
    ------
    ValueError
        If the shapes or types do not fit, or a scale is 255, which is no number.

    Examples
    --------
    >>> q = quantize(np.linspace(-1, 1, 256).reshape(2, 2, 64))
    >>> bool((unpack_gpt_oss(*pack_gpt_oss(q)).dequantize() == q.dequantize()).all())
    True
    """
    for name, tensor in (("blocks", blocks), ("scales", scales)):
        if tensor.dtype != np.uint8 or not tensor.ndim or not tensor.size:
            raise ValueError(f"{name} are {tensor.dtype} of shape {tensor.shape}; give bytes, uint8")
    if blocks.shape != (*scales.shape, BLOCK_SIZE // 2):
        raise ValueError(
            f"blocks have shape {blocks.shape} and scales {scales.shape}; "
            f"each scale belongs to {BLOCK_SIZE // 2} bytes"
        )
    if scales.max() == 255:
        raise ValueError("scales hold 255, which is no number in E8M0; allowed are 0 to 254")
    codes = e2m1.unpack(blocks)
    return MXFP4(codes.reshape(*scales.shape[:-1], -1), scales.copy())


def gpt_oss_config(
    modules_to_not_convert: Sequence[str] = (
        "model.layers.*.self_attn",
        "model.layers.*.mlp.router",
        "model.embed_tokens",
        "lm_head",
    ),
) -> dict[str, Any]:
    """Return `quantization_config` of config.json in a checkpoint of gpt-oss.

    Parameters
    ----------
    modules_to_not_convert : sequence of str
        Modules that stay BF16; by default those of gpt-oss.

    References
    ----------
    `config.json` of openai/gpt-oss-20b; `Mxfp4Config` of transformers 5.18.0.

    Examples
    --------
    >>> gpt_oss_config()["quant_method"]
    'mxfp4'
    """
    return {"quant_method": "mxfp4", "modules_to_not_convert": list(modules_to_not_convert)}


def _exponents(largest: F32, scaling: Scaling) -> NDArray[np.int32]:
    """Return the exponent of each block's scale, not yet limited to that of E8M0."""
    if scaling == "rceil":
        with np.errstate(divide="ignore"):
            logarithm = np.log2(largest / np.float32(e2m1.LARGEST))
        lowest: NDArray[np.int32] = np.ceil(np.maximum(logarithm, -_BIAS)).astype(np.int32)
        return lowest
    pattern = largest.view(np.uint32)
    if scaling == "even":
        pattern = pattern + np.uint32(1 << (_FRACTION_BITS - 2))
    exponent: NDArray[np.int32] = (pattern >> _FRACTION_BITS).astype(np.int32) - _BIAS
    if scaling == "ceil":
        exponent += (pattern & np.uint32((1 << _FRACTION_BITS) - 1)) > 0
    exponent -= _TOP_EXPONENT
    return exponent
