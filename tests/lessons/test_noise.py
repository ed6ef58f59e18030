"""FIG.01: the sums against plain matrix products, √n against n, and a share that stays."""

from __future__ import annotations

import numpy as np
import pytest

from lessons.quantization import sources
from lessons.quantization.figures.noise import LAYER, LENGTHS, Controls, compute
from quant_core.methods import rtn

WHOLE = len(LENGTHS) - 1


@pytest.mark.parametrize("length", [0, 4, WHOLE])
@pytest.mark.parametrize("bits", ["2", "4"])
def test_the_errors_are_those_of_the_sums(length: int, bits: str) -> None:
    """Rounded and exact outputs of the first n columns, by one matrix product each."""
    n, layer = LENGTHS[length], sources.load_layer(LAYER)
    assert layer.activations_test is not None
    weights, inputs = layer.weights.astype(float)[:, :n], layer.activations_test.astype(float)[:, :n]
    rounded = rtn.round_to_nearest(layer.weights, int(bits), 32).dequantize()[:, :n]
    exact, off = inputs @ weights.T, inputs @ (rounded - weights).T
    result = compute(Controls(length=length, bits=bits))
    assert result.error == pytest.approx(np.sqrt(np.mean(off**2)), rel=1e-6)
    assert result.share == pytest.approx(np.linalg.norm(off) / np.linalg.norm(exact), rel=1e-6)
    one_sign = np.abs(inputs) @ np.abs(rounded - weights).T
    assert result.agreed == pytest.approx(np.sqrt(np.mean(one_sign**2)), rel=1e-6)


def test_the_numbers_of_the_lesson() -> None:
    """Measured independently: 0.0024, 0.0076, 0.029 and 0.056; with one sign 10.3 times as much."""
    results = [compute(Controls(length=LENGTHS.index(n))) for n in (1, 16, 128, 384)]
    assert [result.error for result in results] == pytest.approx([0.0024, 0.0076, 0.029, 0.056], rel=0.02)
    assert results[-1].ratio == pytest.approx(10.3, abs=0.05)
    assert all(0.07 <= result.share <= 0.09 for result in results)


def test_single_product_does_not_cancel() -> None:
    assert compute(Controls(length=0)).ratio == pytest.approx(1)


def test_the_single_sums_end_where_the_row_says() -> None:
    growth = compute(Controls()).growth
    assert np.all(np.abs(growth.walks) <= growth.climbs + 1e-12)
    assert np.all(np.diff(growth.climbs) >= 0)
