"""The search primitives: the arithmetic that byte equality depends on, and what the searches minimise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_core.ggml import primitives, q4_k
from quant_core.ggml.primitives import Search, nint, signed_abs_max, sum_in_order


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 300), columns=st.integers(1, 4))
def test_sums_add_in_index_order(seed: int, n: int, columns: int) -> None:
    terms = (np.random.default_rng(seed).standard_normal((n, columns)) * 1e3).astype(np.float32)
    expected = np.zeros(columns, np.float32)
    for row in terms:
        expected = expected + row
    assert np.array_equal(sum_in_order(terms), expected)
    assert np.array_equal(sum_in_order(np.asfortranarray(terms)), expected)


def test_pairwise_sums_differ() -> None:
    """numpy's own sum of one column gives another number."""
    rng = np.random.default_rng(0)
    columns = [rng.standard_normal((256, 1)).astype(np.float32) for _ in range(50)]
    assert any(sum_in_order(column)[0] != column.sum(axis=0)[0] for column in columns)


@given(st.lists(st.floats(1 - 2.0**22, 2.0**22 - 1, width=32), min_size=1, max_size=20))
def test_nint_is_half_to_even(values: list[float]) -> None:
    array = np.array(values, np.float32)
    assert np.array_equal(nint(array), np.rint(array))


def test_nint_of_non_finite_values() -> None:
    """What the bit trick of the C code returns there: bytes of extreme blocks depend on it."""
    with np.errstate(all="ignore"):
        got = nint(np.array([np.nan, np.inf, -np.inf, 0.5, -0.5, 1.5], np.float32))
    assert got.tolist() == [0, -4194304, -4194304, 0, 0, 2]


def test_signed_abs_max() -> None:
    x = np.array([[1, -2, 0.0], [-3, 2, -0.0], [3, 1, -0.0]], np.float32)
    got = signed_abs_max(x)
    assert got.tolist() == [-3, -2, 0]  # the first of equal magnitudes, with its sign
    assert not np.signbit(got[2])


def sample(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 3)).astype(np.float32)
    return x, rng.gamma(1.0, size=(n, 3)).astype(np.float32) + np.float32(0.01)


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_symmetric_fit_beats_scaling_to_the_largest(seed: int) -> None:
    x, w = sample(seed, 16)
    scale, codes = primitives.fit_symmetric(x, 32, w)
    plain = signed_abs_max(x) / np.float32(-32)
    error = np.sum(w * (scale * (codes - 32) - x) ** 2, axis=0)
    plain_error = np.sum(w * (plain * np.clip(np.rint(x / plain), -32, 31) - x) ** 2, axis=0)
    rounding = 1e-6 * np.sum(w * x * x, axis=0)  # the fit compares sums of this size, in float32
    assert (error <= plain_error * (1 + 1e-4) + rounding).all()
    assert codes.min() >= 0
    assert codes.max() <= 63


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32 - 1))
def test_coordinate_descent_beats_scaling_to_the_largest(seed: int) -> None:
    """It starts from the codes of the plain scale and accepts only what lowers the error, weighted by x²."""
    x, _ = sample(seed, 16)
    scale, codes = primitives.fit_symmetric_by_descent(x, 4)
    plain = signed_abs_max(x) / np.float32(-4)
    error = np.sum(x**2 * (scale * (codes - 4) - x) ** 2, axis=0)
    plain_error = np.sum(x**2 * (plain * np.clip(np.rint(x / plain), -4, 3) - x) ** 2, axis=0)
    assert (error <= plain_error * (1 + 1e-4)).all()
    assert codes.min() >= 0
    assert codes.max() <= 7


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_asymmetric_fit_beats_the_range(seed: int) -> None:
    x, w = sample(seed, 32)
    with np.errstate(all="ignore"):
        scale, minimum, codes = primitives.fit_asymmetric(x, 15, w, Search(-0.9, 0.05, 36))
    low, high = np.minimum(x.min(axis=0), 0), x.max(axis=0)
    step = (high - low) / 15
    plain_error = np.sum(w * (step * np.rint((x - low) / step) + low - x) ** 2, axis=0)
    error = np.sum(w * (scale * codes - minimum - x) ** 2, axis=0)
    assert (error <= plain_error * (1 + 1e-4)).all()
    assert (minimum >= 0).all()


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_positive_fit_is_a_least_squares_scale(seed: int) -> None:
    x, w = sample(seed, 8)
    x = np.abs(x)
    scale, codes = primitives.fit_positive(x, 63, w)
    best = np.sum(w * x * codes, axis=0) / np.sum(w * codes**2, axis=0)
    assert scale == pytest.approx(best, rel=1e-5)
    plain = x.max(axis=0) / np.float32(63)
    error = np.sum(w * (scale * codes - x) ** 2, axis=0)
    assert (error <= np.sum(w * (plain * np.rint(x / plain) - x) ** 2, axis=0) * (1 + 1e-4)).all()


def test_a_negative_scale_wraps_to_the_largest_code() -> None:
    """C converts to an unsigned byte before it limits: -1 is 255 and then 63."""
    parts = np.array([[63.0], [-1.0], [0.4], [0.6], [0], [0], [0], [0]], np.float32)
    step, codes = q4_k._round_to_six_bits(parts)
    assert step.tolist() == [1]
    assert codes[:, 0].tolist() == [63, 63, 0, 1, 0, 0, 0, 0]


def plainly(x: np.ndarray, top: int, w: np.ndarray, search: Search) -> tuple[float, float, list[float]]:
    """Fit one block code by code: the asymmetric search written plainly, without regard to speed."""
    f32 = np.float32

    def total(terms: np.ndarray) -> np.float32:
        running = f32(0)
        for term in terms:
            running = running + term
        return running

    def codes_of(inverse: np.float32, origin: np.float32) -> np.ndarray:
        return np.clip(nint(inverse * (x - origin)), 0, f32(top))

    def error_of(codes: np.ndarray, scale: np.float32, minimum: np.float32) -> np.float32:
        difference = scale * codes + minimum - x
        return total(w * (np.abs(difference) if search.absolute else difference * difference))

    low, high = min(x.min(), f32(0)), x.max()
    if high <= low:
        return 0.0, float(-low), [0.0] * len(x)
    inverse = f32(top) / (high - low)
    scale, minimum = f32(1) / inverse, low
    codes = codes_of(inverse, low)
    error = error_of(codes, scale, minimum)
    for k in range(search.last + 1):
        trial = codes_of(
            (f32(search.first) + f32(search.step) * f32(k) + f32(top)) / (high - minimum), minimum
        )
        sum_l, sum_l2, sum_lx = total(w * trial), total(w * trial * trial), total(w * trial * x)
        determinant = total(w) * sum_l2 - sum_l * sum_l
        if not determinant > 0:
            continue
        new_scale = (total(w) * sum_lx - total(w * x) * sum_l) / determinant
        new_minimum = (sum_l2 * total(w * x) - sum_l * sum_lx) / determinant
        if new_minimum > 0:
            new_scale, new_minimum = sum_lx / sum_l2, f32(0)
        new_error = error_of(trial, new_scale, new_minimum)
        if new_error < error:
            codes, error, scale, minimum = trial, new_error, new_scale, new_minimum
    return float(scale), float(-minimum), codes.tolist()


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), absolute=st.booleans())
def test_the_asymmetric_fit_is_the_plain_search(seed: int, absolute: bool) -> None:
    """To the last bit; for subnormal weights too, where the rounding overflows."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((16, 5)).astype(np.float32)
    x[:, 1] = np.float32(-1) - np.abs(x[:, 1]) * np.float32(1e-6)
    x[:, 2] = -np.abs(x[:, 2])
    x[:, 3] = np.abs(x[:, 3])
    x[:, 4] *= np.float32(10.0 ** rng.integers(-45, 0))
    w = rng.gamma(0.5, size=x.shape).astype(np.float32)
    search = Search(-0.9, 0.05, 36, absolute)
    with np.errstate(all="ignore"):
        scale, minimum, codes = primitives.fit_asymmetric(x, 15, w, search)
        for block in range(x.shape[1]):
            expected = plainly(x[:, block], 15, w[:, block], search)
            got = float(scale[block]), float(minimum[block]), codes[:, block].tolist()
            assert got == expected


def descend_plainly(x: np.ndarray, half: int) -> tuple[float, list[float], int]:
    """Improve the codes of one block in turn; return scale, codes and the sweep of the last move."""
    f32 = np.float32
    w = x * x
    codes = np.clip(nint(x * (f32(-half) / signed_abs_max(x[:, None])[0])), -half, half - 1).astype(f32)
    sum_lx, sum_l2 = f32(0), f32(0)
    for j in range(len(x)):
        sum_lx, sum_l2 = sum_lx + w[j] * x[j] * codes[j], sum_l2 + w[j] * codes[j] * codes[j]
    last = 0
    for sweep in range(1, 6):
        for j in range(len(x)):
            lx, l2 = sum_lx - w[j] * x[j] * codes[j], sum_l2 - w[j] * codes[j] * codes[j]
            if not lx > 0:
                continue
            level = np.clip(nint(np.array([x[j] * l2 / lx]))[0], f32(-half), f32(half - 1))
            if level == codes[j]:
                continue
            lx, l2 = lx + w[j] * x[j] * level, l2 + w[j] * level * level
            if l2 > 0 and lx * lx * sum_l2 > sum_lx * sum_lx * l2:
                codes[j], sum_lx, sum_l2 = level, lx, l2
                last = sweep
    return float(sum_lx / sum_l2), (codes + f32(half)).tolist(), last


@pytest.mark.parametrize("half", [4, 32])
def test_coordinate_descent_moves_one_code_after_the_other(half: int) -> None:
    """To the last bit, in blocks that take several sweeps too."""
    rng = np.random.default_rng(half)
    x = rng.standard_normal((16, 1000)).astype(np.float32)
    sweeps = 0
    with np.errstate(all="ignore"):
        scale, codes = primitives.fit_symmetric_by_descent(x, half)
        for block in range(x.shape[1]):
            *expected, last = descend_plainly(x[:, block], half)
            assert [float(scale[block]), codes[:, block].tolist()] == expected
            sweeps = max(sweeps, last)
    assert sweeps >= 3


def test_degenerate_columns() -> None:
    """Zeros, constants and one sign stand beside an ordinary column and do not disturb it."""
    rng = np.random.default_rng(0)
    ordinary = rng.standard_normal(32)
    x = np.stack([np.zeros(32), np.full(32, 2.0), np.full(32, -2.0), ordinary], axis=1).astype(np.float32)
    w = np.ones_like(x)
    with np.errstate(all="ignore"):
        scale, minimum, codes = primitives.fit_asymmetric(x, 15, w, Search(-1.0, 0.1, 20))
        symmetric, symmetric_codes = primitives.fit_symmetric(x, 8, w)
        descended, descended_codes = primitives.fit_symmetric_by_descent(x, 4)
        positive, positive_codes = primitives.fit_positive(np.abs(x), 63, w)
    assert (scale[0], minimum[0], codes[:, 0].max()) == (0, 0, 0)
    assert scale[1] * codes[0, 1] - minimum[1] == pytest.approx(2)
    assert (scale[2], minimum[2], codes[:, 2].max()) == (0, 2, 0)  # all equal and negative: minimum alone
    assert (symmetric[0], symmetric_codes[:, 0].max()) == (0, 0)
    assert (descended[0], descended_codes[:, 0].max()) == (0, 0)
    assert (positive[0], positive_codes[:, 0].max()) == (0, 0)
    alone = primitives.fit_symmetric(x[:, 3:], 8, w[:, 3:])
    assert alone[0][0] == symmetric[3]
    assert np.array_equal(alone[1][:, 0], symmetric_codes[:, 3])
