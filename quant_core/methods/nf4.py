"""NF4: 4-bit codes into a table of normal quantiles, for the frozen weights of QLoRA.

Each block of 64 weights is divided by its largest magnitude and looked up in a table whose 16 levels are the
quantiles of a normal distribution, so that each code is used about equally often. Double quantization stores
the block maxima themselves in 8 bits. Adapters are trained on top: see `lora_forward`.

References
----------
Dettmers et al. 2023, "QLoRA: Efficient Finetuning of Quantized LLMs", section 3 and appendix E.
bitsandbytes 0.50.2, `functional.py` (`create_normal_map`, `create_dynamic_map`, `quantize_4bit`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from quant_core.arrays import F32, U8, as_floats, as_matrix

#: The 16 levels: zero, which keeps padding exact, 8 above it and 7 below.
TABLE: F32 = np.array(
    [
        -1.0, -0.6961928, -0.52507305, -0.39491749, -0.28444138, -0.18477343, -0.091050036, 0.0,
        0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0,
    ],
    dtype=np.float32,
)  # fmt: skip

BLOCK_SIZE = 64
SECOND_BLOCK_SIZE = 256
_SMALLEST = np.float32(1e-38)


@dataclass(frozen=True, eq=False)
class DoubleQuantized:
    """Block maxima in 8 bits: absmax = map[code] · absmax2 + offset.

    Attributes
    ----------
    codes : ndarray of uint8, shape (blocks,)
    absmax2 : ndarray of float32, shape (ceil(blocks / 256),)
        Largest magnitude of each 256 maxima, the offset subtracted.
    offset : float
        Mean of the maxima.
    """

    codes: U8
    absmax2: F32
    offset: np.float32

    def dequantize(self) -> F32:
        """Return the block maxima, shape (blocks,)."""
        scale = np.repeat(self.absmax2, SECOND_BLOCK_SIZE)[: len(self.codes)]
        maxima: F32 = dynamic_map()[self.codes] * scale + self.offset
        return maxima


@dataclass(frozen=True, eq=False)
class NF4:
    """A tensor in NF4.

    Attributes
    ----------
    packed : ndarray of uint8, shape (weights / 2,)
        Two codes a byte, the **first in the high nibble** (ggml does the opposite).
    absmax : ndarray of float32, shape (blocks,), or DoubleQuantized
        Largest magnitude of each block.
    shape : tuple of int
        Shape of the tensor.
    block_size : int
        Weights that share a maximum.
    """

    packed: U8
    absmax: F32 | DoubleQuantized
    shape: tuple[int, ...]
    block_size: int

    @property
    def codes(self) -> U8:
        """The 4-bit codes, in the tensor's shape."""
        return np.stack([self.packed >> 4, self.packed & 15], axis=1).reshape(self.shape)

    @property
    def bits_per_weight(self) -> float:
        """4 and 32 / block_size for the maxima; with double quantization 8 and 32 / 256 in place of 32.

        The single float32 offset of the tensor is not counted.
        """
        stored = 8 + 32 / SECOND_BLOCK_SIZE if isinstance(self.absmax, DoubleQuantized) else 32
        return 4 + stored / self.block_size

    def dequantize(self) -> F32:
        """Return the weights, float32, in the tensor's shape."""
        absmax = self.absmax.dequantize() if isinstance(self.absmax, DoubleQuantized) else self.absmax
        levels = TABLE[self.codes].reshape(-1, self.block_size)
        return (levels * absmax[:, None]).reshape(self.shape)


def quantize(weights: ArrayLike, block_size: int = BLOCK_SIZE, double_quantization: bool = False) -> NF4:
    """Quantize a tensor to NF4; blocks run over the flattened tensor.

    Parameters
    ----------
    weights : array_like of float
        Any shape; the number of weights must be a multiple of `block_size`.
    block_size : int
        Weights that share a maximum; even.
    double_quantization : bool
        Store the maxima in 8 bits.

    Returns
    -------
    NF4

    Raises
    ------
    ValueError
        If a weight is not finite, or the tensor does not divide into blocks.

    Examples
    --------
    >>> q = quantize(np.linspace(-2, 2, 64))
    >>> q.codes[[0, 63]].tolist(), q.dequantize()[[0, 63]].tolist(), q.bits_per_weight
    ([0, 15], [-2.0, 2.0], 4.5)
    """
    w = as_floats(weights, "weights").astype(np.float32)
    if block_size < 2 or block_size % 2 or w.size == 0 or w.size % block_size:
        raise ValueError(
            f"{w.size} weights do not divide into blocks of {block_size}; give an even divisor of {w.size}"
        )
    blocks = w.reshape(-1, block_size)
    absmax = np.abs(blocks).max(axis=1)
    unit = np.clip(blocks * (np.float32(1) / np.maximum(absmax, _SMALLEST))[:, None], -1, 1)
    codes = _nearest(unit.ravel(), TABLE)
    packed = (codes[0::2] << 4 | codes[1::2]).astype(np.uint8)
    return NF4(packed, _double_quantize(absmax) if double_quantization else absmax, w.shape, block_size)


def lora_forward(activations: ArrayLike, base: NF4, a: ArrayLike, b: ArrayLike, alpha: float) -> F32:
    """Return X Ŵᵀ + (α/r) X Aᵀ Bᵀ: a frozen NF4 layer with a low-rank adapter.

    Parameters
    ----------
    activations : array_like of float, shape (tokens, columns)
    base : NF4
        The frozen weights, of shape (rows, columns).
    a : array_like of float, shape (r, columns)
    b : array_like of float, shape (rows, r)
        The adapter; b starts at 0 in training, so the layer starts unchanged.
    alpha : float
        LoRA's scaling constant.

    Returns
    -------
    ndarray of float32, shape (tokens, rows)

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    References
    ----------
    QLoRA paper, equation 5.

    Examples
    --------
    >>> base = quantize(np.eye(8))
    >>> lora_forward(np.ones((1, 8)), base, np.ones((2, 8)), np.zeros((8, 2)), alpha=16).tolist()
    [[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]]
    """
    x = as_matrix(activations, "activations").astype(np.float32)
    down, up = (as_matrix(part, name).astype(np.float32) for part, name in ((a, "a"), (b, "b")))
    if base.shape != (len(up), down.shape[1]) or up.shape[1] != len(down) or x.shape[1] != down.shape[1]:
        raise ValueError(
            f"shapes do not fit: activations {x.shape}, base {base.shape}, a {down.shape}, b {up.shape}; "
            "give (tokens, columns), (rows, columns), (r, columns), (rows, r)"
        )
    scaling = np.float32(alpha / len(down))
    frozen, adapted = x @ base.dequantize().T, x @ down.T @ up.T
    return (frozen + scaling * adapted).astype(np.float32, copy=False)


@dataclass(frozen=True)
class LoraMemory:
    """Bytes held while training an adapter on one layer.

    Attributes
    ----------
    base : float
        The frozen weights.
    adapter : float
        A and B in 16 bits.
    gradients : float
        Their gradients in 16 bits.
    optimizer : float
        Adam's two moments in float32, for the adapter only.
    """

    base: float
    adapter: float
    gradients: float
    optimizer: float

    @property
    def total(self) -> float:
        """Sum of the four, without activations."""
        return self.base + self.adapter + self.gradients + self.optimizer


def lora_memory(rows: int, columns: int, rank: int, base_bits_per_weight: float) -> LoraMemory:
    """Return the bytes of training a rank-r adapter on a frozen (rows, columns) layer.

    Examples
    --------
    >>> memory = lora_memory(4096, 4096, rank=16, base_bits_per_weight=4.5)
    >>> round(memory.base / 2**20, 2), round(memory.total / 2**20, 2)
    (9.0, 10.5)
    """
    parameters = rank * (rows + columns)
    base = rows * columns * base_bits_per_weight / 8
    return LoraMemory(base, 2.0 * parameters, 2.0 * parameters, 8.0 * parameters)


@cache
def dynamic_map() -> F32:
    """Return the signed 8-bit dynamic map: 256 levels, denser near 0.

    Decade i of 7 has 2ⁱ levels of either sign, the midpoints of an even division of [0.1, 1]; 0 and 1
    complete the table.
    """
    levels: list[float] = [0.0, 1.0]
    for decade in range(7):
        edges = _linspace(0.1, 1.0, 2**decade)
        middles = np.float32(10.0 ** (decade - 6)) * ((edges[:-1] + edges[1:]) / np.float32(2))
        levels += [sign * float(level) for level in middles for sign in (-1, 1)]
    return np.sort(np.array(levels, np.float32))


def _linspace(start: float, stop: float, intervals: int) -> F32:
    """Divide [start, stop] evenly, shape (intervals + 1,), with the last bit that `torch.linspace` gives.

    torch counts from the nearer end, with a float32 step and one rounding for each point (a fused
    multiply-add); the products below are exact in float64, so theirs is the only rounding too.
    """
    low, high = np.float32(start), np.float32(stop)
    step = np.float64((high - low) / np.float32(intervals))
    index = np.arange(intervals + 1)
    from_low, from_high = np.float64(low) + step * index, np.float64(high) - step * (intervals - index)
    return np.where(index < (intervals + 1) // 2, from_low, from_high).astype(np.float32)


def _double_quantize(absmax: F32) -> DoubleQuantized:
    offset = absmax.mean(dtype=np.float32)
    centred = absmax - offset
    padded = np.zeros(-(-len(centred) // SECOND_BLOCK_SIZE) * SECOND_BLOCK_SIZE, np.float32)
    padded[: len(centred)] = centred
    blocks = padded.reshape(-1, SECOND_BLOCK_SIZE)
    absmax2 = np.abs(blocks).max(axis=1)
    unit = np.clip(blocks * (np.float32(1) / np.maximum(absmax2, _SMALLEST))[:, None], -1, 1)
    return DoubleQuantized(_nearest(unit.ravel()[: len(centred)], dynamic_map()), absmax2, np.float32(offset))


def _nearest(values: F32, table: F32) -> U8:
    """Return the index of the nearest entry of a sorted table; a tie goes to the lower one."""
    middles = (table[:-1] + table[1:]) / np.float32(2)
    return np.searchsorted(middles, values, side="left").astype(np.uint8)
