"""Grids: by hand, and the properties that every grid must have."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quant_core.methods.grid import (
    FITS,
    Grid,
    as_float_offset,
    fit_asymmetric,
    fit_float_offset,
    fit_symmetric,
)

BITS = st.integers(2, 8)
GROUPS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(1, 40)),
    elements=st.floats(-1e3, 1e3, allow_subnormal=False),
)
EVERY_SCHEME = pytest.mark.parametrize("scheme", list(FITS))


def test_asymmetric_by_hand() -> None:
    # Range -0.5 … 1.0, 3 steps of 0.5: zero is code 1.
    grid = fit_asymmetric([-0.5, 0.2, 0.3, 1.0], bits=2)
    assert float(grid.scale) == 0.5
    assert grid.zero_point is not None
    assert int(grid.zero_point) == 1
    codes = grid.quantize([-0.5, 0.2, 0.3, 1.0])
    assert codes.tolist() == [0, 1, 2, 3]
    assert grid.dequantize(codes).tolist() == [-0.5, 0.0, 0.5, 1.0]
    assert grid.levels().tolist() == [-0.5, 0.0, 0.5, 1.0]


def test_symmetric_by_hand() -> None:
    # 4 bits, restricted range: 7 steps on either side of zero.
    grid = fit_symmetric([-3.5, 1.2], bits=4)
    assert float(grid.scale) == 0.5
    assert grid.code_range == (-7, 7)
    assert grid.quantize([-3.5, 1.2, 3.5]).tolist() == [-7, 2, 7]
    assert len(grid.levels()) == 15


def test_float_offset_by_hand() -> None:
    grid = fit_float_offset([10.0, 11.0, 13.0], bits=2)
    assert float(grid.scale) == 1.0
    assert grid.minimum is not None
    assert float(grid.minimum) == 10.0
    assert grid.quantize([10.4, 12.6, 99.0]).tolist() == [0, 3, 3]


@pytest.mark.parametrize("bits", range(2, 9))
def test_the_number_of_levels(bits: int) -> None:
    values = np.linspace(-1, 1, 50)
    assert fit_asymmetric(values, bits).levels().shape == (2**bits,)
    assert fit_float_offset(values, bits).levels().shape == (2**bits,)
    assert fit_symmetric(values, bits).levels().shape == (2**bits - 1,)


def test_one_bit_less_doubles_the_spacing() -> None:
    values = np.linspace(-1, 1, 64)
    spacing = {bits: float(fit_float_offset(values, bits).scale) for bits in range(2, 9)}
    assert spacing[4] / spacing[8] == pytest.approx(17)
    assert spacing[2] / spacing[4] == pytest.approx(5)


@EVERY_SCHEME
@given(values=GROUPS, bits=BITS)
def test_no_value_is_further_than_half_a_step(scheme: str, values: np.ndarray, bits: int) -> None:
    grid = FITS[scheme](values, bits)
    error = np.abs(grid.dequantize(grid.quantize(values)) - values)
    # The slack is for the rounding of values/scale in floating point.
    assert (error <= 0.5 * grid.scale[:, None] + 1e-9 * np.abs(values).max() + 1e-12).all()


@EVERY_SCHEME
@given(values=GROUPS, bits=BITS)
def test_levels_are_quantized_to_themselves(scheme: str, values: np.ndarray, bits: int) -> None:
    grid = FITS[scheme](values, bits)
    once = grid.dequantize(grid.quantize(values))
    assert np.array_equal(grid.dequantize(grid.quantize(once)), once)


@EVERY_SCHEME
@given(values=GROUPS, bits=BITS)
def test_rounding_keeps_the_order(scheme: str, values: np.ndarray, bits: int) -> None:
    grid = FITS[scheme](values, bits)
    ordered = np.sort(values, axis=-1)
    assert (np.diff(grid.quantize(ordered), axis=-1) >= 0).all()


@EVERY_SCHEME
@given(values=GROUPS, bits=BITS)
def test_codes_stay_in_their_range(scheme: str, values: np.ndarray, bits: int) -> None:
    grid = FITS[scheme](values, bits)
    low, high = grid.code_range
    codes = grid.quantize(3 * values)
    assert low <= codes.min()
    assert codes.max() <= high


@given(values=GROUPS, bits=BITS)
def test_zero_is_a_level_of_the_integer_grids(values: np.ndarray, bits: int) -> None:
    zeros = np.zeros((len(values), 1))
    for fit in (fit_asymmetric, fit_symmetric):
        grid = fit(values, bits)
        assert (grid.dequantize(grid.quantize(zeros)) == 0).all()


@given(values=GROUPS, bits=BITS)
def test_the_two_offsets_differ_by_the_rounding_of_the_zero_point(values: np.ndarray, bits: int) -> None:
    values = np.concatenate([values, -values[:, :1]], axis=1)  # both signs: nothing is widened
    values[:, 0] += 1e-2  # and no group is constant
    values[:, -1] -= 1e-2
    integer, real = fit_asymmetric(values, bits), fit_float_offset(values, bits)
    moved = as_float_offset(integer)
    assert np.allclose(moved.levels(), integer.levels(), rtol=0, atol=1e-12 * np.abs(values).max())
    assert real.minimum is not None
    assert moved.minimum is not None
    straddles = (values.min(axis=1) <= 0) & (values.max(axis=1) >= 0)
    difference = np.abs(moved.minimum - real.minimum)
    assert (difference <= 0.5 * real.scale * (1 + 1e-9))[straddles].all()


@given(values=GROUPS, bits=BITS)
def test_a_group_alone_gets_the_same_grid_as_among_others(values: np.ndarray, bits: int) -> None:
    for fit in FITS.values():
        together = fit(values, bits)
        for index, group in enumerate(values):
            alone = fit(group, bits)
            assert alone.scale == together.scale[index]
            assert np.array_equal(alone.quantize(group), together.quantize(values)[index])


def test_a_group_of_one_sign_is_widened_to_zero() -> None:
    grid = fit_asymmetric([3.0, 4.0, 6.0], bits=2)
    assert grid.levels().tolist() == [0.0, 2.0, 4.0, 6.0]


def test_constant_groups() -> None:
    zeros = np.zeros(8)
    for fit in FITS.values():
        grid = fit(zeros, 4)
        assert grid.dequantize(grid.quantize(zeros)).tolist() == zeros.tolist()
    constant = fit_float_offset(np.full(8, 0.3), 4)
    assert float(constant.scale) == 0
    assert constant.dequantize(constant.quantize(np.full(8, 0.3))).tolist() == [0.3] * 8


def test_precision_follows_the_input() -> None:
    assert fit_asymmetric(np.ones(4, np.float32), 4).scale.dtype == np.float32
    assert fit_asymmetric(np.ones(4, np.float64), 4).scale.dtype == np.float64
    assert fit_asymmetric(np.ones(4, np.float16), 4).scale.dtype == np.float32
    assert fit_asymmetric([1, 2], 4).scale.dtype == np.float32


@pytest.mark.parametrize("bits", [1, 9, 0, -4, 2.5, True])
def test_bits_out_of_range(bits: int) -> None:
    for fit in FITS.values():
        with pytest.raises(ValueError, match="give an integer from 2 to 8"):
            fit([1.0, 2.0], bits)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, np.nan], "1 NaN or infinite"),
        ([np.inf, -np.inf], "2 NaN or infinite"),
        ([], r"shape \(0,\)"),
        (1.0, r"shape \(\)"),
        (["a"], "dtype"),
    ],
)
def test_values_that_no_grid_fits(values: object, message: str) -> None:
    for fit in FITS.values():
        with pytest.raises(ValueError, match=message):
            fit(values, 4)  # type: ignore[arg-type]


def test_only_asymmetric_grids_have_a_float_offset_form() -> None:
    with pytest.raises(ValueError, match="takes an asymmetric grid, not a symmetric one"):
        as_float_offset(fit_symmetric([1.0], 4))


def test_a_grid_can_be_made_by_hand() -> None:
    grid = Grid("asymmetric", 3, np.array(0.25), zero_point=np.array(4, np.int32))
    assert grid.levels().tolist() == [-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75]
