"""Round to nearest: by hand, against llm-awq's function, and by its properties."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_core.methods.grid import FITS, Scheme
from quant_core.methods.metrics import mean_absolute_error, sqnr_db
from quant_core.methods.rtn import bits_per_weight, round_to_nearest


def test_by_hand() -> None:
    # Two groups of two: -1 … 2 in steps of 1, and 0 … 0.3 in steps of 0.1.
    q = round_to_nearest([[-1.0, 2.0, 0.0, 0.3]], bits=2, group_size=2)
    assert q.codes.tolist() == [[0, 3, 0, 3]]
    assert q.scale.tolist() == pytest.approx(np.array([[1.0, 0.1]]))
    assert q.zero_point is not None
    assert q.zero_point.tolist() == [[1, 0]]
    assert q.minimum is None
    assert q.dequantize() == pytest.approx(np.array([[-1.0, 2.0, 0.0, 0.3]]))


@pytest.mark.parametrize(
    ("bits", "group_size", "scheme", "expected"),
    [
        (4, 128, "symmetric", 4 + 16 / 128),
        (4, 128, "asymmetric", 4 + 20 / 128),  # AWQ's w4 g128
        (4, 32, "float_offset", 5.0),  # as Q4_1
        (3, 64, "asymmetric", 3 + 19 / 64),
        (8, 16, "symmetric", 9.0),
    ],
)
def test_bits_per_weight_counts_the_metadata(
    bits: int, group_size: int, scheme: Scheme, expected: float
) -> None:
    assert bits_per_weight(bits, group_size, scheme) == expected
    q = round_to_nearest(np.ones((1, 256)), bits, group_size, scheme)
    assert q.bits_per_weight == expected


def test_a_whole_row_is_one_group() -> None:
    q = round_to_nearest(np.linspace(-1, 1, 96).reshape(2, 48), 4, group_size=None)
    assert q.scale.shape == (2, 1)
    assert q.group_size == 48


@pytest.mark.parametrize("case", ["w4_g128", "w3_g128", "w4_g-1"])
def test_equal_to_llm_awq(method_vectors: dict[str, np.ndarray], case: str) -> None:
    bits, group_size = int(case[1]), None if case.endswith("-1") else 128
    q = round_to_nearest(method_vectors["W"], bits, group_size)
    assert np.array_equal(q.dequantize(), method_vectors[f"rtn_awq_q__{case}"])
    assert np.array_equal(q.scale, method_vectors[f"rtn_awq_scale__{case}"])
    assert q.zero_point is not None
    assert np.array_equal(q.zero_point, method_vectors[f"rtn_awq_zero__{case}"])


@pytest.mark.parametrize("scheme", list(FITS))
def test_one_bit_is_worth_six_decibels(scheme: Scheme) -> None:
    weights = np.random.default_rng(0).standard_normal((64, 1024))
    ratios = [
        sqnr_db(weights, round_to_nearest(weights, bits, 128, scheme).dequantize()) for bits in range(4, 9)
    ]
    # 6.02 dB a bit, and a little more for a few steps: the error goes with 1 / number of steps.
    steps = 2.0 ** np.arange(4, 9) - (2 if scheme == "symmetric" else 1)
    assert np.diff(ratios) == pytest.approx(np.diff(20 * np.log10(steps)), abs=0.15)


@given(seed=st.integers(0, 2**32 - 1), bits=st.integers(2, 7))
def test_smaller_groups_have_no_wider_spacing(seed: int, bits: int) -> None:
    weights = np.random.default_rng(seed).standard_t(3, (2, 128))
    spacings = [
        np.repeat(round_to_nearest(weights, bits, size).scale, size, axis=1) for size in (128, 64, 32, 16)
    ]
    for wide, narrow in pairwise(spacings):
        assert (narrow <= wide).all()


def test_one_outlier_affects_only_its_group() -> None:
    weights = np.random.default_rng(1).standard_normal((1, 256)).astype(np.float32)
    spoiled = weights.copy()
    spoiled[0, 0] = 1000
    before = round_to_nearest(weights, 4, 128).dequantize()
    after = round_to_nearest(spoiled, 4, 128).dequantize()
    assert (after[0, 1:128] == 0).all()
    assert np.array_equal(after[0, 128:], before[0, 128:])
    assert mean_absolute_error(weights[:, 1:128], after[:, 1:128]) > 5 * mean_absolute_error(
        weights[:, 1:128], before[:, 1:128]
    )


@pytest.mark.parametrize(
    ("weights", "arguments", "message"),
    [
        (np.ones(8), {}, r"shape \(8,\)"),
        (np.ones((0, 8)), {}, r"shape \(0, 8\)"),
        (np.full((1, 8), np.nan), {}, "8 NaN or infinite"),
        (np.ones((1, 8)), {"group_size": 3}, "group_size 3 does not divide a row of 8 weights"),
        (np.ones((1, 8)), {"group_size": 0}, "group_size 0 does not divide"),
        (np.ones((1, 8)), {"group_size": None, "scheme": "odd"}, "scheme is 'odd'; give one of asymmetric"),
        (np.ones((1, 8), complex), {}, "dtype complex128"),
    ],
)
def test_errors_name_the_allowed_values(
    weights: np.ndarray, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        round_to_nearest(weights, 4, **arguments)  # type: ignore[arg-type]
