"""What a block of weights becomes in a real format: its codes, and all levels that the format had to offer.

The levels are not typed in: they are what the format's own decoder makes of every code with the scales that
the block was given. Plain grids are `quant_core.methods.rtn`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.mathml import tex
from quant_core import ggml
from quant_core.methods import nf4

Array = NDArray[np.floating]

SIZES = {"Q8_0": 32, "Q4_0": 32, "Q4_K": 32, "IQ4_NL": 32, "MXFP4": 32, "NF4": nf4.BLOCK_SIZE}
"""Weights that share one set of levels."""

QUANTIZED_TOGETHER = SIZES | {"Q4_K": 256}
"""Weights that share a scale of any kind."""


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
    formulas : tuple of str
        LaTeX with the numbers of this block.
    ran : tuple of callable
        What computed it.
    """

    codes: NDArray[Any]
    values: Array
    levels: Array
    level_codes: NDArray[Any]
    bits_per_weight: float
    formulas: tuple[str, ...]
    ran: tuple[Callable[..., Any], ...]

    @property
    def spacing(self) -> tuple[float, float]:
        """The narrowest and the widest gap between neighbouring levels; one number twice on an even grid."""
        levels = self.levels.astype(np.float64)
        gaps = np.diff(levels)
        if np.ptp(gaps) < UNEVEN * gaps.max():
            gaps = np.atleast_1d((levels[-1] - levels[0]) / (len(levels) - 1))
        return float(gaps.min()), float(gaps.max())


def snap(weights: Array, type_name: str, offset: int) -> Snapped:
    """Quantize `QUANTIZED_TOGETHER[type_name]` weights and return the `SIZES[type_name]` from `offset` on."""
    drawn = slice(offset, offset + SIZES[type_name])
    return _nf4(weights) if type_name == "NF4" else _ggml(weights, type_name, drawn)


def _ggml(weights: Array, type_name: str, drawn: slice) -> Snapped:
    data = ggml.quantize(weights, type_name)
    fields, layout = ggml.fields(data, type_name), ggml.FORMATS[type_name]
    codes = fields["codes"].reshape(-1)[drawn]
    every_code = np.arange(-128, 128) if codes.dtype == np.int8 else np.arange(16)
    levels, level_codes = _distinct(_decoded(fields, type_name, every_code, drawn), every_code)
    return Snapped(
        codes,
        ggml.dequantize(data, type_name)[0, drawn],
        levels,
        level_codes,
        layout.bits_per_weight,
        (
            _level(type_name, fields, drawn.start // SIZES[type_name]),
            rf"\frac{{8 \cdot {layout.block_bytes}}}{{{layout.block_size}}}"
            rf" = {layout.bits_per_weight:g} \;\mathrm{{bits\ per\ weight}}",
        ),
        (ggml.quantize, ggml.fields, ggml.dequantize),
    )


def _decoded(fields: dict[str, NDArray[Any]], type_name: str, codes: NDArray[Any], drawn: slice) -> Array:
    """The value of each code where the block is drawn: as many copies of the block as hold them all."""
    size = SIZES[type_name]
    copies = -(-len(codes) // size)
    many = {name: np.repeat(array, copies, axis=0) for name, array in fields.items()}
    many["codes"][:, drawn] = np.resize(codes, (copies, size))
    values: Array = ggml.CODECS[type_name].values(many)[:, drawn].reshape(-1)[: len(codes)]
    return values


def _distinct(levels: Array, codes: NDArray[Any]) -> tuple[Array, NDArray[Any]]:
    """Levels in rising order, each once, with the first code that gives it."""
    values, first = np.unique(levels, return_index=True)
    return values, codes[first]


def _nf4(weights: Array) -> Snapped:
    quantized = nf4.quantize(weights)
    assert isinstance(quantized.absmax, np.ndarray)  # not quantized a second time
    largest = float(quantized.absmax[0])
    levels, codes = _distinct(nf4.TABLE * quantized.absmax, np.arange(len(nf4.TABLE)))
    return Snapped(
        quantized.codes,
        quantized.dequantize(),
        levels,
        codes,
        quantized.bits_per_weight,
        (
            rf"\hat w = \max |w| \cdot T[q] = {_number(largest)} \cdot T[q]",
            rf"4 + \frac{{32}}{{{quantized.block_size}}} = {quantized.bits_per_weight:g}"
            r" \;\mathrm{bits\ per\ weight}",
        ),
        (nf4.quantize, nf4.NF4.dequantize),
    )


def _level(type_name: str, fields: dict[str, NDArray[Any]], part: int) -> str:
    """The formula of a level, with the numbers of this block."""
    if type_name == "MXFP4":
        power, exponent = _number(float(fields["e"][0])), int(fields["e_bits"][0])
        return rf"\hat w = 2^{{{exponent} - 127}} \cdot \mathrm{{E2M1}}[q] = {power} \cdot \mathrm{{E2M1}}[q]"
    d = _number(float(fields["d"][0]))
    if type_name == "Q4_K":
        scale, minimum = int(fields["scales"][0, part]), int(fields["mins"][0, part])
        dmin = _number(float(fields["dmin"][0]))
        return (
            rf"\hat w = d \cdot sc \cdot q - d_\mathrm{{min}} \cdot m"
            rf" = {d} \cdot {scale} \cdot q - {dmin} \cdot {minimum}"
        )
    code = {"Q8_0": "q", "Q4_0": "(q - 8)", "IQ4_NL": "T[q]"}[type_name]
    return rf"\hat w = d \cdot {code} = {d} \cdot {code}"


def _number(value: float) -> str:
    return tex(numbers.significant(value))
