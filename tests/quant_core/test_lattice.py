"""Scales of weights that lie on a lattice: the usual quantizer misses them, the recovered scale does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from quant_core import ggml
from quant_core.arrays import F32
from quant_core.methods.lattice import recover_q4_0, ternary
from quant_core.methods.metrics import relative_weight_error

Codes = NDArray[np.integer]


def as_stored(values: F32, stored: str) -> F32:
    return ggml.dequantize(ggml.quantize(values, stored), stored)


def on_lattice(codes: Codes, scales: F32, stored: str = "BF16") -> F32:
    """d · q in the type that stores it, blocks of 32 along a row; d itself in that type."""
    d = as_stored(np.atleast_2d(scales), stored)
    return as_stored(
        (codes.reshape(*d.shape, 32) * d[..., None]).reshape(len(d), -1).astype(np.float32), stored
    )


def usual(weights: F32) -> F32:
    return ggml.dequantize(ggml.quantize(weights, "Q4_0"), "Q4_0")


def some(low: int, seed: int = 0) -> tuple[Codes, F32]:
    """Codes of 64 rows of 4 blocks, from low to 7 with both ends used, and scales of usual size."""
    random = np.random.default_rng(seed)
    codes = random.integers(low, 8, size=(64, 4, 32))
    codes[..., 0], codes[..., 1] = low, 7
    return codes, (0.002 * 2 ** random.uniform(0, 4, size=(64, 4))).astype(np.float32)


def test_the_usual_quantizer_misses_blocks_without_the_lowest_code() -> None:
    weights = on_lattice(*some(-7))
    recovered = recover_q4_0(weights)
    assert recovered.found.all()
    assert recovered.exact.all()
    assert recovered.found.shape == (64, 4)
    # To the bit in the type of the checkpoint; before that, within its rounding.
    np.testing.assert_array_equal(as_stored(recovered.dequantize(), "BF16"), weights)
    assert relative_weight_error(weights, recovered.dequantize()) < 1e-5
    assert relative_weight_error(weights, usual(weights)) > 0.003
    assert (usual(weights) != weights).mean() > 0.5
    codes, _ = some(-7)
    fields = ggml.fields(recovered.data, "Q4_0")
    np.testing.assert_array_equal(fields["codes"].reshape(codes.shape).astype(int) - 8, codes)


def test_where_the_lowest_code_is_used_the_usual_quantizer_hits_too() -> None:
    codes, scales = some(-8)
    weights = on_lattice(codes, scales)
    np.testing.assert_array_equal(recover_q4_0(weights).dequantize(), usual(weights))
    assert recover_q4_0(weights).exact.all()


def test_weights_on_no_lattice_are_encoded_as_usual() -> None:
    codes, scales = some(-7)
    random = np.random.default_rng(1)
    weights = on_lattice(codes, scales)
    weights[::2, :32] = as_stored(random.normal(size=(32, 32)).astype(np.float32), "BF16")
    recovered = recover_q4_0(weights)
    assert not recovered.found[::2, 0].any()
    assert not recovered.exact[::2, 0].any()
    assert recovered.found.sum() == recovered.exact.sum() == 64 * 4 - 32
    np.testing.assert_array_equal(recovered.data[::2, :18], ggml.quantize(weights, "Q4_0")[::2, :18])


def test_a_scale_that_no_half_holds_is_found_but_not_exact() -> None:
    """Below 2⁻²⁴ · 1024 halves lose digits: 8 significant bits are left at 2⁻¹⁷, one at 2⁻²⁴."""
    codes = np.arange(-7, 8).repeat([3, 3, *[2] * 13])
    weights = on_lattice(codes, np.array([[1.3e-7]], np.float32))
    recovered = recover_q4_0(weights)
    assert recovered.found.all()
    assert not recovered.exact.any()
    assert np.abs(recovered.dequantize() - weights).max() <= 7.01 * 2.0**-25


scales_of = {
    "BF16": st.floats(2.0**-13, 100, width=32),
    "F16": st.floats(2.0**-10, 100, width=32),
    "F32": st.floats(2.0**-13, 100, width=16),
}


@given(st.data(), st.sampled_from(("BF16", "F16", "F32")), st.booleans())
def test_every_lattice_is_recovered(data: st.DataObject, stored: str, negative: bool) -> None:
    codes = np.array(data.draw(st.lists(st.integers(-8, 7), min_size=32, max_size=32)))
    scale = np.float32(data.draw(scales_of[stored])) * (-1 if negative else 1)
    weights = on_lattice(codes, np.array([[scale]], np.float32), stored)
    recovered = recover_q4_0(weights, stored)
    assert recovered.exact.all()
    np.testing.assert_array_equal(as_stored(recovered.dequantize(), stored), weights)


@given(st.lists(st.floats(-(2.0**40), 2.0**40, width=32), min_size=32, max_size=32))
def test_exact_means_exact_and_the_rest_is_as_usual(values: list[float]) -> None:
    weights = as_stored(np.array([values], np.float32), "BF16")
    with np.errstate(over="ignore"):
        expected = ggml.quantize(weights, "Q4_0")
        recovered = recover_q4_0(weights)
    assert recovered.data.shape == expected.shape
    if recovered.exact[0, 0]:
        np.testing.assert_array_equal(as_stored(recovered.dequantize(), "BF16"), weights)
    elif not recovered.found[0, 0]:
        np.testing.assert_array_equal(recovered.data, expected)


def test_zero_one_weight_and_the_largest_scale() -> None:
    weights = np.zeros((4, 32), np.float32)
    weights[1, 5], weights[2, 5], weights[3, 5:8] = 0.75, -0.75, (65280, 65280 * 2, -65280 * 8)
    np.testing.assert_array_equal(recover_q4_0(weights).dequantize(), weights)


def test_refused() -> None:
    good = np.zeros((1, 32), np.float32)
    with pytest.raises(ValueError, match="stored is 'F64'; give one of BF16, F16, F32"):
        recover_q4_0(good, "F64")
    with pytest.raises(ValueError, match="does not divide a row of 33"):
        recover_q4_0(np.zeros((1, 33), np.float32))
    with pytest.raises(ValueError, match="NaN"):
        recover_q4_0(good * np.nan)
    with pytest.raises(ValueError, match="not all numbers of BF16"):
        recover_q4_0(good + np.float32(1.001))


@given(st.lists(st.integers(-1, 1), min_size=64, max_size=64), st.floats(2.0**-13, 100, width=16))
def test_three_levels_lose_nothing_on_ternary_weights(levels: list[int], scale: float) -> None:
    weights = np.float32(scale) * np.array([levels], np.float32)
    np.testing.assert_array_equal(ternary(weights, 32), weights)


def test_three_levels_ruin_other_weights() -> None:
    random = np.random.default_rng(0)
    weights = random.normal(size=(16, 256)).astype(np.float32)
    rounded = ternary(weights)
    assert relative_weight_error(weights, rounded) > 0.5
    assert (rounded == 0).mean() > 0.7
    assert relative_weight_error(weights, usual(weights)) < 0.01
    assert set(np.unique(np.sign(rounded))) == {-1, 0, 1}
    # Ties away from zero, as lroundf.
    assert ternary([[1.0, 0.5, -0.5, 0.25]], 4).tolist() == [[1.0, 1.0, -1.0, 0.0]]
    with pytest.raises(ValueError, match="65504"):
        ternary([[1e6, 0.0]], 2)
