"""Numbers formatted for readers; values by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.kit import numbers
from lessons.kit.scales import Scale, linear_ticks, log_ticks


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0383021, "0.0383"),
        (1234.5, "1234"),
        (0, "0"),
        (-0.00999, "−0.00999"),
        (3.79e-5, "3.79×10⁻⁵"),
        (99.95, "100"),
        (2.5e7, "2.50×10⁷"),
        (26_993, "26\u202f993"),
    ],
)
def test_significant(value: float, text: str) -> None:
    assert numbers.significant(value) == text


@pytest.mark.parametrize(
    ("size", "gb", "gib"),
    [
        (141_107_412_992, "141\u202fGB", "131\u202fGiB"),
        (42_520_395_776, "42.5\u202fGB", "39.6\u202fGiB"),
        (4_912_898_048, "4.91\u202fGB", "4.58\u202fGiB"),
    ],
)
def test_sizes_in_both_units(size: int, gb: str, gib: str) -> None:
    assert (numbers.gigabytes(size), numbers.gibibytes(size)) == (gb, gib)


def test_minus_sign_is_not_a_hyphen_and_not_before_zero() -> None:
    assert numbers.fixed(-1.25, 1) == "−1.2"
    assert numbers.fixed(-0.001, 2) == "0.00"
    assert numbers.signed(-0.001, 2) == "0.00"
    assert numbers.signed(2, 1) == "+2.0"


def test_large_integers_are_grouped_by_thin_spaces() -> None:
    assert numbers.integer(70_553_706_496) == "70\u202f553\u202f706\u202f496"
    assert numbers.integer(8192) == "8192"


@given(st.floats(-1e30, 1e30))
def test_numbers_are_formatted_for_readers(value: float) -> None:
    printed = [
        numbers.significant(value),
        numbers.fixed(value, 2),
        numbers.integer(value),
        numbers.percent(value),
    ]
    assert not any(sign in text for text in printed for sign in ("e", "-", "nan", "inf"))


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_round_and_inside(low: float, span: float) -> None:
    ticks = linear_ticks(low, low + span)
    assert 1 <= len(ticks) <= 11
    assert all(low - 1e-6 * span <= tick <= low + span * (1 + 1e-6) for tick in ticks)


def test_log_ticks_by_hand() -> None:
    assert log_ticks(6, 120) == (10.0, 20.0, 50.0, 100.0)


@given(st.floats(0, 1))
def test_scale_is_linear_between_its_ends(share: float) -> None:
    assert Scale((10, 30), (400, 0))(10 + 20 * share) == pytest.approx(400 - 400 * share, abs=1e-2)


def test_log_scale_puts_the_geometric_mean_in_the_middle() -> None:
    assert Scale((1, 100), log=True)(10) == 50


@pytest.mark.parametrize(
    ("written", "held"),
    [
        ("62 GB RAM box", "62\u202fGB RAM box"),
        ("a loss of {loss} %.", "a loss of {loss}\u202f%."),
        ("51.2 GB/s, 300 MiB, 6 dB", "51.2\u202fGB/s, 300\u202fMiB, 6\u202fdB"),
        ("Q4_K GB, 3 GBs, size in GB", "Q4_K GB, 3 GBs, size in GB"),
    ],
)
def test_only_units_are_joined_to_their_numbers(written: str, held: str) -> None:
    assert numbers.hold_units(written) == held
