"""HQQ: exactly the reference's codes, by hand, and by its properties."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quant_core.methods import hqq
from quant_core.methods.rtn import round_to_nearest

Vectors = Mapping[str, NDArray[Any]]
#: (bits, group size, axis)
CASES = [(4, 64, 1), (3, 64, 1), (2, 16, 1), (4, 64, 0)]
EVERY_CASE = pytest.mark.parametrize(("bits", "size", "axis"), CASES)


def compare(weights: NDArray[Any], expected: Vectors, bits: int, size: int, axis: int) -> None:
    case = f"w{bits}_g{size}_ax{axis}"
    # The reference stores a group as a row (axis 1) or as a column (axis 0).
    groups = weights.reshape(-1, size) if axis else weights.reshape(size, -1).T
    codes = expected[f"hqq_codes__{case}"] if axis else expected[f"hqq_codes__{case}"].T
    fitted = hqq.fit(groups, bits)
    assert np.array_equal(fitted.codes, codes)
    assert np.array_equal(fitted.scale, expected[f"hqq_scale__{case}"].ravel())
    # Only the order in which the mean of a group is added up differs.
    zero_points = expected[f"hqq_zero__{case}"].ravel()
    assert fitted.zero_point == pytest.approx(zero_points, abs=4e-6)


@EVERY_CASE
def test_equal_to_the_reference(method_vectors: Vectors, bits: int, size: int, axis: int) -> None:
    compare(method_vectors["W"], method_vectors, bits, size, axis)


def test_a_matrix_is_its_groups(four_rows: Vectors) -> None:
    w = four_rows["W"]
    q = hqq.hqq(w, 3, 64)
    fitted = hqq.fit(w.reshape(4, 6, 64), 3)
    assert np.array_equal(q.codes, fitted.codes.reshape(4, 384))
    assert np.allclose(q.dequantize(), fitted.dequantize().reshape(4, 384), rtol=0, atol=1e-7)
    assert q.bits_per_weight == 3 + 32 / 64
    assert hqq.hqq(w, 3, None).scale.shape == (4, 1)


def test_one_iteration_by_hand() -> None:
    # Scale 1, z = 0: codes 0 1 3 4 6 7 15, errors 0 0 −0.4 0 0.3 0 0. With p = 1 and β = 5 an error shrinks
    # by 0.2, to −0.2 and 0.1. The zero-point moves to the mean of shrunk − error: (0.2 − 0.2) / 7.
    w = np.array([0, 1, 2.6, 4, 6.3, 7, 15], np.float32)
    fitted = hqq.fit(w, 4, iterations=1, beta=5.0, norm=1.0)
    assert fitted.errors == pytest.approx([0.1])
    assert fitted.zero_point == pytest.approx(0.0, abs=1e-6)
    # Errors 0.4 and 0.3: (−0.2 − 0.2) / 7.
    w[2] = 3.4
    assert hqq.fit(w, 4, iterations=1, beta=5.0, norm=1.0).zero_point == pytest.approx(-0.4 / 7, abs=1e-6)


def test_no_iterations_are_round_to_nearest(four_rows: Vectors) -> None:
    w = four_rows["W"]
    rounded = round_to_nearest(w, 4, 64, "float_offset")
    q = hqq.hqq(w, 4, 64, iterations=0)
    assert np.array_equal(q.codes, rounded.codes)
    assert np.allclose(q.dequantize(), rounded.dequantize(), atol=1e-6)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_mean_error_falls_on_real_weights(four_rows: Vectors, bits: int) -> None:
    fitted = hqq.fit(four_rows["W"].reshape(-1, 64), bits)
    assert len(fitted.errors) > 2
    assert list(fitted.errors[:-1]) == sorted(fitted.errors[:-1], reverse=True)
    error = np.abs(fitted.dequantize() - four_rows["W"].reshape(-1, 64)).mean()
    assert error < fitted.errors[0]
    assert error == pytest.approx(fitted.errors[-1], rel=1e-3)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), bits=st.integers(2, 8), iterations=st.integers(0, 25))
def test_codes_are_the_nearest_levels(seed: int, bits: int, iterations: int) -> None:
    w = np.random.default_rng(seed).standard_t(3, (5, 32)).astype(np.float32)
    fitted = hqq.fit(w, bits, iterations)
    assert fitted.codes.min() >= 0
    assert fitted.codes.max() < 2**bits
    assert len(fitted.errors) <= iterations
    levels = fitted.scale[:, None] * (np.arange(2**bits) - fitted.zero_point[:, None])
    nearest = np.abs(w[..., None] - levels[:, None, :]).min(axis=-1)
    assert np.abs(fitted.dequantize() - w) == pytest.approx(nearest, abs=1e-4)


def test_scales_of_narrow_groups_are_bounded() -> None:
    fitted = hqq.fit([[0.3] * 8, [0.3] * 4 + [0.30005] * 4, [0.0] * 4 + [0.0002] * 4], 4)
    assert fitted.scale.tolist() == pytest.approx([1, 1, 1 / 2e4])
    assert np.isfinite(fitted.dequantize()).all()
    assert fitted.dequantize()[:2] == pytest.approx(0.3, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0, np.inf]], 4), "1 NaN or infinite"),
        ((np.zeros((2, 0)), 4), r"groups have shape \(2, 0\); give groups of at least one weight"),
        ((1.0, 4), r"groups have shape \(\)"),
        (([1.0, 2.0], 9), "bits is 9"),
        (([1.0, 2.0], 4, -1), "iterations is -1"),
        (([1.0, 2.0], 4, 1, 0.0), "beta 0.0"),
        (([1.0, 2.0], 4, 1, 1.0, 1.5), "norm 1.5"),
    ],
)
def test_errors(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hqq.fit(*arguments)


def test_errors_of_a_matrix() -> None:
    with pytest.raises(ValueError, match="weights has shape"):
        hqq.hqq([1.0, 2.0], 4)
    with pytest.raises(ValueError, match="group_size 3 does not divide"):
        hqq.hqq(np.ones((2, 4)), 4, 3)
