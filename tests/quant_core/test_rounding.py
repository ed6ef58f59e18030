"""Down or up: two weights by hand, enumeration against plain Python, the search against enumeration."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_core.methods.grid import Grid, fit_asymmetric, fit_symmetric
from quant_core.methods.rounding import all_roundings, best_rounding

UNIT = Grid("asymmetric", 4, np.array(1.0), zero_point=np.array(0, np.int32))
NUMBERS = st.floats(-10, 10, allow_subnormal=False)
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=8)


def test_two_weights_by_hand() -> None:
    r = all_roundings([1.4, 2.3], [1.0, 3.0], UNIT)
    # down-down, up-down, down-up, up-up
    assert r.values.tolist() == [[1, 2], [2, 2], [1, 3], [2, 3]]
    # w·x = 8.3; the four sums are 7, 8, 10, 11.
    assert r.output_error == pytest.approx([1.3, 0.3, 1.7, 2.7])
    assert r.weight_error == pytest.approx(np.hypot([0.4, 0.6, 0.4, 0.6], [0.3, 0.3, 0.7, 0.7]))
    assert (r.nearest, r.best) == (0, 1)
    assert r.up.tolist() == [[False, False], [True, False], [False, True], [True, True]]


def test_the_choice_flips_as_an_activation_grows() -> None:
    best = [all_roundings([1.4, 2.3], [1.0, x], UNIT).best for x in (0.0, 3.0)]
    assert best == [0, 1]


def test_a_weight_outside_the_grid_and_one_on_a_level() -> None:
    r = all_roundings([99.0, 7.0, -4.0], [1.0, 1.0, 1.0], UNIT)
    assert r.values[[0, -1]].tolist() == [[14, 7, 0], [15, 8, 1]]
    assert r.values[r.nearest].tolist() == [15, 7, 0]


@given(pairs=PAIRS, bits=st.integers(2, 5))
def test_enumeration_equals_plain_python(pairs: list[tuple[float, float]], bits: int) -> None:
    w, x = (np.array(column) for column in zip(*pairs, strict=True))
    grid = fit_symmetric([-10.0, 10.0], bits)
    r = all_roundings(w, x, grid)
    levels = grid.levels()
    choices = []
    for weight in w:
        below = max(0, min(int(np.sum(levels <= weight)) - 1, len(levels) - 2))
        choices.append((levels[below], levels[below + 1]))
    # `product` varies its last factor fastest; here the first weight is bit 0.
    expected = [row[::-1] for row in product(*choices[::-1])]
    assert r.values == pytest.approx(np.array(expected))
    errors = [abs(sum((wi - vi) * xi for wi, vi, xi in zip(w, row, x, strict=True))) for row in expected]
    assert r.output_error == pytest.approx(np.array(errors), abs=1e-9)
    assert r.output_error[r.best] == r.output_error.min()
    assert r.weight_error[r.nearest] == pytest.approx(r.weight_error.min(), abs=1e-12)
    assert r.values[r.nearest] == pytest.approx(grid.dequantize(grid.quantize(w)))


@given(pairs=PAIRS, bits=st.integers(2, 5))
def test_the_search_finds_what_enumeration_finds(pairs: list[tuple[float, float]], bits: int) -> None:
    w, x = (np.array(column) for column in zip(*pairs, strict=True))
    grid = fit_asymmetric([-10.0, 10.0], bits)
    every, best = all_roundings(w, x, grid), best_rounding(w, x, grid)
    assert best.output_error == pytest.approx(every.output_error.min(), abs=1e-9)
    row = int(best.up @ (1 << np.arange(len(w))))
    assert best.codes.tolist() == every.codes[row].tolist()
    assert best.weight_error == pytest.approx(every.weight_error[row])


def test_many_weights_leave_almost_no_output_error() -> None:
    rng = np.random.default_rng(0)
    w, x = rng.standard_normal((2, 32))
    grid = fit_asymmetric(w, 3)
    best = best_rounding(w, x, grid)
    nearest = abs((w - grid.dequantize(grid.quantize(w))) @ x)
    assert best.output_error < 1e-6 < nearest
    assert best.values == pytest.approx(grid.dequantize(best.codes))
    assert (np.abs(best.values - w) <= float(grid.scale) * (1 + 1e-9)).all()


@pytest.mark.parametrize("function", [all_roundings, best_rounding])
def test_errors(function: type) -> None:
    with pytest.raises(ValueError, match="two vectors of the same length"):
        function([1.0, 2.0], [1.0], UNIT)
    with pytest.raises(ValueError, match="1 to"):
        function(np.ones(33), np.ones(33), UNIT)
    with pytest.raises(ValueError, match="1 to"):
        function([], [], UNIT)
    with pytest.raises(ValueError, match="give one grid"):
        function([1.0], [1.0], fit_asymmetric(np.ones((2, 3)), 4))
    with pytest.raises(ValueError, match="NaN"):
        function([np.nan], [1.0], UNIT)


def test_enumeration_has_a_limit() -> None:
    with pytest.raises(ValueError, match="1 to 12"):
        all_roundings(np.ones(13), np.ones(13), UNIT)
    assert len(all_roundings(np.ones(12), np.ones(12), UNIT).up) == 4096
