"""What a block of weights becomes on a grid or in a real format: its codes, and all levels that there are.

The levels of a format are not typed in: they are what its own decoder makes of every code, with the scales
that the block was given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_core import ggml
from quant_core.methods import nf4, rtn
from quant_core.methods.grid import Scheme

Array = NDArray[np.floating]

SIZES = {
    "Q8_0": 32, "Q4_0": 32, "Q4_K": 32, "IQ4_NL": 32, "MXFP4": 32, "NVFP4": 16, "NF4": nf4.BLOCK_SIZE,
    "Q2_0": 64, "TQ2_0": 32, "Q1_0": 128,
}  # fmt: skip
"""Weights that share one set of levels, and are drawn; of TQ2_0's 256 the 32 around the largest."""

QUANTIZED_TOGETHER = SIZES | {"Q4_K": 256, "NVFP4": 64, "TQ2_0": 256}
"""Weights of a block, which are quantized together."""

CODES = {"Q8_0": range(-128, 128), "Q2_0": range(3), "TQ2_0": range(3), "Q1_0": range(2)}
"""Codes that an encoder writes, where they are not 0 to 15. Q2_0 and TQ2_0 have a fourth that none writes."""

UNEVEN = 1e-3
"""Gaps that differ by less, relative to the widest, differ by the rounding of float32 only."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapped:
    """Weights on their levels.

    Attributes
    ----------
    codes, values : ndarray, shape (n,)
        The code of every weight and the level that it stands for.
    levels : ndarray, shape (k,)
        All levels, from the lowest to the highest; `level_codes` holds the code of each.
    stored
        What is stored: a plain grid's `rtn.Quantized`, the fields of the format's blocks, or `nf4.NF4`.
    """

    codes: NDArray[Any]
    values: Array
    levels: Array
    level_codes: NDArray[Any]
    bits_per_weight: float
    stored: Any

    @property
    def spacing(self) -> tuple[float, float]:
        """The narrowest and the widest gap between neighbouring levels; one number twice on an even grid."""
        levels = self.levels.astype(np.float64)
        gaps = np.diff(levels)
        if np.ptp(gaps) < UNEVEN * gaps.max():
            gaps = np.atleast_1d((levels[-1] - levels[0]) / (len(levels) - 1))
        return float(gaps.min()), float(gaps.max())


def snap_to_grid(weights: Array, bits: int, scheme: Scheme) -> Snapped:
    """Round a block to a plain grid of its own."""
    quantized = rtn.round_to_nearest(weights[None, :], bits, len(weights), scheme)
    levels = quantized.grid.levels().reshape(-1)
    codes = quantized.grid.code_range[0] + np.arange(levels.size)
    values = quantized.dequantize()[0]
    return Snapped(quantized.codes[0], values, levels, codes, quantized.bits_per_weight, quantized)


def drawn_from(weights: Array, type_name: str, offset: int) -> int:
    """Where the drawn weights begin: at `offset`, but of TQ2_0's block those with the largest."""
    if type_name != "TQ2_0":
        return offset
    return int(np.argmax(np.abs(weights))) // SIZES[type_name] * SIZES[type_name]


def snap(weights: Array, type_name: str, offset: int) -> Snapped:
    """Quantize `QUANTIZED_TOGETHER[type_name]` weights; return the `SIZES[type_name]` from `offset` on."""
    if type_name == "NF4":
        return snap_to_nf4(weights)
    drawn = slice(offset, offset + SIZES[type_name])
    data = ggml.quantize(weights, type_name)
    fields = ggml.fields(data, type_name)
    codes = fields["codes"].reshape(-1)[drawn]
    values = ggml.dequantize(data, type_name)[0, drawn]
    every_code = np.array(CODES.get(type_name, range(16)))
    levels, level_codes = distinct(decoded(fields, type_name, every_code, drawn), every_code)
    return Snapped(codes, values, levels, level_codes, ggml.FORMATS[type_name].bits_per_weight, fields)


def decoded(fields: dict[str, NDArray[Any]], type_name: str, codes: NDArray[Any], drawn: slice) -> Array:
    """The value of each code where the block is drawn: as many copies of the block as hold them all."""
    size = SIZES[type_name]
    copies = -(-len(codes) // size)
    many = {name: np.repeat(array, copies, axis=0) for name, array in fields.items()}
    many["codes"][:, drawn] = np.resize(codes, (copies, size))
    values: Array = ggml.CODECS[type_name].values(many)[:, drawn].reshape(-1)[: len(codes)]
    return values


def snap_to_nf4(weights: Array) -> Snapped:
    """Round a block to the table of NF4, scaled by its largest magnitude."""
    quantized = nf4.quantize(weights)
    assert isinstance(quantized.absmax, np.ndarray)  # not quantized a second time
    levels, codes = distinct(nf4.TABLE * quantized.absmax, np.arange(len(nf4.TABLE)))
    values = quantized.dequantize()
    return Snapped(quantized.codes, values, levels, codes, quantized.bits_per_weight, quantized)


def distinct(levels: Array, codes: NDArray[Any]) -> tuple[Array, NDArray[Any]]:
    """Levels in rising order, each once, with the first code that gives it."""
    values, first = np.unique(levels, return_index=True)
    return values, codes[first]
