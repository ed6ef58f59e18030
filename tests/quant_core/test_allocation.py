"""Types under a budget: against brute force, and what always holds."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_core.methods.allocation import Allocation, Option, Options, greedy, knapsack

KINDS = ("Q2_K", "Q4_K", "Q6_K", "Q8_0")
errors = st.integers(0, 1000).map(lambda number: number / 8)  # sums are exact


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, dict[str, Option]], int]:
    """Up to five tensors with one to four options each, and a budget that the smallest meet."""
    size = st.integers(0, 60).map(lambda number: number * draw(st.sampled_from((1, 32))))
    option = st.builds(Option, size, errors)
    options = draw(
        st.dictionaries(
            st.sampled_from("abcde"), st.dictionaries(st.sampled_from(KINDS), option, min_size=1), max_size=5
        )
    )
    least = sum(min(one.bytes for one in kinds.values()) for kinds in options.values())
    return options, least + draw(st.integers(0, 2000))


def every(options: Options, budget: int) -> float:
    """The least error of all choices, by trying them."""
    sums = [
        (sum(one.bytes for one in choice), sum(one.error for one in choice))
        for choice in itertools.product(*(kinds.values() for kinds in options.values()))
    ]
    return min(error for size, error in sums if size <= budget)


def check(options: Options, budget: int, found: Allocation) -> None:
    """The sums are those of the choice, and within the budget."""
    picked = [options[name][found.types[name]] for name in options]
    assert found.types.keys() == options.keys()
    assert found.bytes == sum(one.bytes for one in picked) <= budget
    assert found.error == sum(one.error for one in picked)


@given(cases())
def test_the_knapsack_is_the_best_of_all_choices(case: tuple[Options, int]) -> None:
    options, budget = case
    best, quick = knapsack(options, budget), greedy(options, budget)
    check(options, budget, best)
    check(options, budget, quick)
    assert best.error == best.least_error == every(options, budget) <= quick.error


@given(cases(), st.integers(1, 40))
def test_in_coarse_units_the_bound_holds(case: tuple[Options, int], units: int) -> None:
    options, budget = case
    found = knapsack(options, budget, units)
    check(options, budget, found)
    assert found.least_error <= every(options, budget) <= found.error <= greedy(options, budget).error


@given(cases(), st.integers(0, 500))
def test_more_bytes_never_cost_error(case: tuple[Options, int], more: int) -> None:
    options, budget = case
    assert knapsack(options, budget + more).error <= knapsack(options, budget).error


def test_greedy_and_the_best_can_differ() -> None:
    options = {
        "a": {"small": Option(4, 3.0), "large": Option(8, 1.0)},
        "b": {"small": Option(4, 4.0), "large": Option(10, 1.1)},
    }
    assert greedy(options, 15).error == 5.0
    assert knapsack(options, 15).error == pytest.approx(4.1)
    assert greedy(options, 15).least_error == -math.inf
    # An option that is larger and worse is never taken.
    options["a"]["worse"] = Option(9, 2.0)
    assert knapsack(options, 100).types == greedy(options, 100).types == {"a": "large", "b": "large"}


def test_as_many_tensors_as_a_large_model_has() -> None:
    """291 matrices and six types: bytes are counted in coarse units, and the bound is close."""
    bits = {"Q2_K": 2.625, "Q3_K": 3.4375, "Q4_K": 4.5, "Q5_K": 5.5, "Q6_K": 6.5625, "Q8_0": 8.5}
    options = {
        f"blk.{place}": {
            kind: Option(int(4096 * (1024 + 512 * (place % 9)) * width / 8), (1 + place % 7) * 4.0**-width)
            for kind, width in bits.items()
        }
        for place in range(291)
    }
    budget = int(4.8 / 8 * sum(4096 * (1024 + 512 * (place % 9)) for place in range(291)))
    best, quick = knapsack(options, budget), greedy(options, budget)
    assert best.bytes <= budget
    assert best.least_error <= best.error <= quick.error
    assert quick.error < 1.05 * best.least_error


def test_refused() -> None:
    options = {"a": {"Q4_K": Option(10, 1.0)}}
    assert knapsack({}, 0).types == greedy({}, 0).types == {}
    for choose in (greedy, knapsack):
        with pytest.raises(ValueError, match="the budget is 9 bytes; the smallest types need 10"):
            choose(options, 9)
        with pytest.raises(ValueError, match="tensor 'b' has 0 options"):
            choose({**options, "b": {}}, 100)
        for option in (Option(-1, 0.0), Option(1, math.nan), Option(1, math.inf)):
            with pytest.raises(ValueError, match="tensor 'b', type 'Q8_0'"):
                choose({"b": {"Q8_0": option}}, 100)
    for units in (0, 1 << 17):
        with pytest.raises(ValueError, match="most_units"):
            knapsack(options, 10, units)
