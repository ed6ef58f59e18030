"""NVFP4 as inference servers store it: 4-bit floats, an 8-bit float for each 16, a float32 for the tensor.

weight = E2M1[code] · scale · tensor_scale, the scale of a block in E4M3. A block's scale alone reaches from
2⁻⁹ to 448; the tensor's scale moves the weights into that range, so that the largest block gets 448.
ggml's NVFP4 (`quant_core.ggml`) has no scale of the tensor, another order in the bytes, and other roundings.

Both checkpoints store the same codes and block scales. They differ in names and in the last scale:

==================  ===========================  =======================================================
checkpoint          tensor, shape, type          content
==================  ===========================  =======================================================
compressed-tensors  weight_packed                two codes a byte, the first in the low nibble
"nvfp4-pack-        (rows, columns / 2) U8
quantized"          weight_scale                 the scales of the blocks
                    (rows, columns / 16) F8_E4M3
                    weight_global_scale (1,) F32 1 / tensor_scale: **the reciprocal**
NVIDIA ModelOpt     weight                       as weight_packed
                    (rows, columns / 2) U8
                    weight_scale                 as above
                    (rows, columns / 16) F8_E4M3
                    weight_scale_2 () F32        tensor_scale
==================  ===========================  =======================================================

numpy has no type for E4M3: `weight_scale` is an array of the bytes, uint8, and a safetensors file names its
type F8_E4M3. Only weights are rounded here (W4A16); checkpoints for 4-bit activations also have a measured
scale of the inputs, `input_global_scale` or `input_scale`.

**Quantizers.** `quantize` is torchao's. The tools of the two checkpoints write the same bytes for usual
weights; they differ where a block's scale would be below 2⁻⁶ (torchao's smallest), as in blocks of zeros, and
may where a number is halfway between two.

References
----------
NVIDIA 2025, "Pretraining Large Language Models with NVFP4" (arXiv 2509.25149).
torchao 0.18.0 `prototype/mx_formats/nvfp4_tensor.py` (`nvfp4_quantize`, `per_tensor_amax_to_scale`).
compressed-tensors 0.20.1 `compressors/nvfp4/base.py` (`NVFP4PackedCompressor`), and
`entrypoints/convert/converters/modelopt_nvfp4.py`, which turns one checkpoint into the other.
nvidia-modelopt 0.47.0 `torch/quantization/qtensor/nvfp4_tensor.py`, `torch/export/convert_hf_config.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant_core.arrays import F32, U8, as_matrix
from quant_core.methods import e2m1, fp8

Tensors: TypeAlias = dict[str, NDArray[Any]]

BLOCK_SIZE = 16

_LARGEST_SCALE = np.float32(fp8.LAYOUTS["e4m3"].largest)
#: The smallest block scale that torchao writes, the smallest normal number of E4M3.
_SMALLEST_SCALE = np.float32(2.0**-6)
#: Between these both the tensor's scale and its reciprocal, over any block scale, are normal in float32.
_TENSOR_SCALES = (2.0**-120, 2.0**117)


@dataclass(frozen=True, eq=False)
class NVFP4:
    """A matrix in NVFP4.

    Attributes
    ----------
    codes : ndarray of uint8, shape (rows, columns)
        E2M1 codes, 0 … 15.
    scale_bits : ndarray of uint8, shape (rows, columns / 16)
        The scale of each block, the bits of an E4M3 number.
    tensor_scale : float32
        The scale of all blocks.
    """

    codes: U8
    scale_bits: U8
    tensor_scale: np.float32

    @property
    def scale(self) -> F32:
        """The numbers of `scale_bits`, shape (rows, columns / 16)."""
        return fp8.decode(self.scale_bits, "e4m3")

    @property
    def bits_per_weight(self) -> float:
        """4, and 8 / 16 for the scales of the blocks. The single float32 of the tensor is not counted."""
        return 4 + 8 / BLOCK_SIZE

    def dequantize(self) -> F32:
        """Return the weights, float32, shape (rows, columns)."""
        levels = e2m1.decode(self.codes).reshape(*self.scale_bits.shape, BLOCK_SIZE)
        weights: F32 = levels * (self.scale * self.tensor_scale)[..., None]
        return weights.reshape(self.codes.shape)


def quantize(weights: ArrayLike, tensor_scale: float | None = None) -> NVFP4:
    """Quantize a matrix to NVFP4 as torchao does; codes and scales equal its own.

    Parameters
    ----------
    weights : array_like of float, shape (rows, columns)
        Columns a multiple of 16.
    tensor_scale : float, optional
        From 2⁻¹²⁰ to 2¹¹⁷. By default the largest magnitude over 448 · 6, so that the largest block scale
        is 448; 1 for a matrix of zeros. Servers multiply q, k and v, and gate and up, as one matrix: give
        these the same, that of the largest of them. 1 means scales of blocks only.

    Returns
    -------
    NVFP4

    Raises
    ------
    ValueError
        If a weight is not finite, the columns do not divide into blocks, or the tensor's scale is out of
        range.

    Examples
    --------
    >>> q = quantize([[0.5, -0.25] * 8 + [0.01, 0.0] * 8])
    >>> q.scale.tolist(), q.codes[0, [0, 1, 16]].tolist(), round(float(q.dequantize()[0, 1]), 6)
    ([[448.0, 9.0]], [7, 13, 7], -0.25)
    """
    w = as_matrix(weights, "weights").astype(np.float32, copy=False)
    rows, columns = w.shape
    if columns % BLOCK_SIZE:
        raise ValueError(f"weights have {columns} columns; NVFP4 takes a multiple of {BLOCK_SIZE}")
    total = _default_tensor_scale(w) if tensor_scale is None else _check_tensor_scale(tensor_scale)
    blocks = w.reshape(rows, -1, BLOCK_SIZE)
    largest = np.float32(e2m1.LARGEST)
    with np.errstate(over="ignore"):
        wanted = np.abs(blocks).max(axis=-1) / largest / total
    scale_bits = fp8.encode(np.clip(wanted, _SMALLEST_SCALE, _LARGEST_SCALE), "e4m3")
    # torchao multiplies by the reciprocal; a division would round a few numbers to the other side.
    factor = (np.float32(1) / total) / fp8.decode(scale_bits, "e4m3")
    with np.errstate(over="ignore"):
        scaled = np.clip(blocks * factor[..., None], -largest, largest)
    return NVFP4(e2m1.encode(scaled).reshape(w.shape), scale_bits, total)


def pack_compressed(q: NVFP4) -> Tensors:
    """Return the tensors of a linear layer in a compressed-tensors checkpoint, "nvfp4-pack-quantized".

    Returns
    -------
    dict of str to ndarray
        weight_packed (uint8), weight_scale (uint8, the bits of E4M3), weight_global_scale (float32, the
        reciprocal of the tensor's scale); see the module's table.

    Raises
    ------
    ValueError
        If the tensor's scale is out of range, or a code has more than 4 bits.

    Examples
    --------
    >>> tensors = pack_compressed(quantize(np.full((2, 32), 2688.0)))
    >>> {name: (tensor.dtype.name, tensor.shape) for name, tensor in tensors.items()}
    ... # doctest: +NORMALIZE_WHITESPACE
    {'weight_packed': ('uint8', (2, 16)), 'weight_scale': ('uint8', (2, 2)),
     'weight_global_scale': ('float32', (1,))}
    """
    reciprocal = np.float32(1) / _check_tensor_scale(q.tensor_scale)
    return {
        "weight_packed": e2m1.pack(q.codes),
        "weight_scale": q.scale_bits.copy(),
        "weight_global_scale": np.array([reciprocal], np.float32),
    }


def unpack_compressed(tensors: Mapping[str, NDArray[Any]]) -> NVFP4:
    """Return the weights of a linear layer in a compressed-tensors checkpoint, "nvfp4-pack-quantized".

    Two reciprocals may change the last bit of the tensor's scale.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        weight_packed, weight_scale (uint8, the bits of E4M3), weight_global_scale; others are ignored.

    Returns
    -------
    NVFP4

    Raises
    ------
    ValueError
        If a tensor is missing, or its shape, type or content does not fit.

    Examples
    --------
    >>> q = quantize(np.linspace(-1, 1, 64).reshape(2, 32))
    >>> bool((unpack_compressed(pack_compressed(q)).codes == q.codes).all())
    True
    """
    stored = _scalar(tensors, "weight_global_scale", float(np.finfo(np.float32).tiny))
    return _unpacked(tensors, "weight_packed", np.float32(1) / stored)


def pack_modelopt(q: NVFP4) -> Tensors:
    """Return the tensors of a linear layer in a checkpoint of NVIDIA ModelOpt.

    Returns
    -------
    dict of str to ndarray
        weight (uint8), weight_scale (uint8, the bits of E4M3), weight_scale_2 (float32, shape ()); see the
        module's table.

    Raises
    ------
    ValueError
        If the tensor's scale is out of range, or a code has more than 4 bits.

    Examples
    --------
    >>> pack_modelopt(quantize(np.full((2, 32), 2688.0)))["weight_scale_2"]
    array(1., dtype=float32)
    """
    return {
        "weight": e2m1.pack(q.codes),
        "weight_scale": q.scale_bits.copy(),
        "weight_scale_2": np.array(_check_tensor_scale(q.tensor_scale), np.float32),
    }


def unpack_modelopt(tensors: Mapping[str, NDArray[Any]]) -> NVFP4:
    """Return the weights of a linear layer in a checkpoint of NVIDIA ModelOpt.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        weight, weight_scale (uint8, the bits of E4M3), weight_scale_2; others are ignored.

    Returns
    -------
    NVFP4

    Raises
    ------
    ValueError
        If a tensor is missing, or its shape, type or content does not fit.

    Examples
    --------
    >>> q = quantize(np.linspace(-1, 1, 64).reshape(2, 32))
    >>> bool((unpack_modelopt(pack_modelopt(q)).dequantize() == q.dequantize()).all())
    True
    """
    # ModelOpt writes 0 for a matrix of zeros.
    return _unpacked(tensors, "weight", _scalar(tensors, "weight_scale_2", 0))


def compressed_config(ignore: Sequence[str] = ("lm_head",)) -> dict[str, Any]:
    """Return `quantization_config` of config.json for a checkpoint of `pack_compressed` tensors.

    Parameters
    ----------
    ignore : sequence of str
        Linear layers that are not quantized.

    Examples
    --------
    >>> compressed_config()["format"], compressed_config()["config_groups"]["group_0"]["weights"]["strategy"]
    ('nvfp4-pack-quantized', 'tensor_group')
    """
    weights = {
        "num_bits": 4,
        "type": "float",
        "symmetric": True,
        "group_size": BLOCK_SIZE,
        "strategy": "tensor_group",
        "dynamic": False,
        "scale_dtype": "torch.float8_e4m3fn",
    }
    group = {"targets": ["Linear"], "weights": weights, "format": "nvfp4-pack-quantized"}
    return {
        "quant_method": "compressed-tensors",
        "format": "nvfp4-pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": list(ignore),
    }


def modelopt_config(ignore: Sequence[str] = ("lm_head",)) -> dict[str, Any]:
    """Return `quantization_config` of config.json for a checkpoint of `pack_modelopt` tensors.

    Parameters
    ----------
    ignore : sequence of str
        Linear layers that are not quantized.

    Examples
    --------
    >>> modelopt_config()["quant_algo"]
    'W4A16_NVFP4'
    """
    weights = {"dynamic": False, "num_bits": 4, "type": "float", "group_size": BLOCK_SIZE}
    return {
        "quant_method": "modelopt",
        "quant_algo": "W4A16_NVFP4",
        "config_groups": {"group_0": {"weights": weights, "targets": ["Linear"]}},
        "ignore": list(ignore),
    }


def _default_tensor_scale(weights: F32) -> np.float32:
    largest = np.abs(weights).max()
    if largest == 0:
        return np.float32(1)
    scale = largest / (_LARGEST_SCALE * np.float32(e2m1.LARGEST))
    return np.float32(max(scale, np.float32(_TENSOR_SCALES[0])))


def _check_tensor_scale(scale: float | np.float32) -> np.float32:
    lowest, highest = _TENSOR_SCALES
    if not lowest <= scale <= highest:
        raise ValueError(f"tensor_scale is {scale}; it must be a number from {lowest:.1e} to {highest:.1e}")
    return np.float32(scale)


def _scalar(tensors: Mapping[str, NDArray[Any]], name: str, lowest: float) -> np.float32:
    tensor = _tensor(tensors, name)
    if tensor.dtype != np.float32 or tensor.size != 1:
        raise ValueError(f"{name} is {tensor.dtype} of shape {tensor.shape}; it must be one float32")
    (number,) = tensor.ravel().tolist()
    if not lowest <= number < np.inf:
        raise ValueError(f"{name} is {number}; it must be a finite number from {lowest:.2g}")
    return np.float32(number)


def _unpacked(tensors: Mapping[str, NDArray[Any]], weight: str, tensor_scale: np.float32) -> NVFP4:
    packed, scale_bits = _tensor(tensors, weight), _tensor(tensors, "weight_scale")
    for name, tensor in ((weight, packed), ("weight_scale", scale_bits)):
        if tensor.dtype != np.uint8 or tensor.ndim != 2 or not tensor.size:
            raise ValueError(
                f"{name} is {tensor.dtype} of shape {tensor.shape}; it must be a matrix of bytes, uint8"
            )
    rows, blocks = scale_bits.shape
    if packed.shape != (rows, blocks * BLOCK_SIZE // 2):
        raise ValueError(
            f"{weight} has shape {packed.shape}, but weight_scale {scale_bits.shape}; "
            f"a block of {BLOCK_SIZE} codes is {BLOCK_SIZE // 2} bytes"
        )
    if scale_bits.max() >= 0x7F:
        raise ValueError(
            f"weight_scale holds byte {scale_bits.max()}; scales are positive E4M3 numbers, 0 to 126"
        )
    return NVFP4(e2m1.unpack(packed), scale_bits.copy(), tensor_scale)


def _tensor(tensors: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if name not in tensors:
        raise ValueError(f"{name} is missing; there are {', '.join(sorted(tensors)) or 'no tensors'}")
    return np.asarray(tensors[name])
