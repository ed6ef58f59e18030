"""Typed numbers are read by the unit of their field; other input is refused with a message."""

from __future__ import annotations

import pytest

from lessons.kit.typed import ascii_numbers, read_typed
from tests.each import each


@each(
    "text, unit, value",
    [
        ("5.4 GB", "GB", 5.4),
        ("5,4 GB", "GB", 5.4),
        ("5.4gb", "GB", 5.4),
        ("5400 MB", "GB", 5.4),
        ("5.4 GiB", "GB", 5.4 * 2**30 / 1e9),
        ("5.4 GB", "GiB", 5.4e9 / 2**30),
        ("5.4", "GiB", 5.4),
        ("3x", "×", 3),
        ("3 ×", "×", 3),
        ("×3", "×", 3),
        ("300 %", "×", 3),
        ("1e-3", "", 0.001),
        ("1,5E+2", "", 150),
        ("8.36×10⁻⁶", "", 8.36e-6),
        ("1/2", "", 0.5),
        ("16 / 4,5", "", 16 / 4.5),
        ("-1/4 GB", "GB", -0.25),
        ("0,5", "", 0.5),
        (".5", "", 0.5),
        ("50 %", "", 0.5),
        ("50\u202f%", "", 0.5),
        ("\u22120.5", "", -0.5),
        ("–0,5", "", -0.5),
        ("12\u2009345", "", 12345),
        ("12 345,5", "", 12345.5),
        ("1,234.5", "", 1234.5),
        ("1.234,5", "", 1234.5),
        ("≈ 0.5", "", 0.5),
        ("4.5 bits", "", 4.5),
    ],
)
def test_a_number_is_read_by_the_unit_of_its_field(text: str, unit: str, value: float) -> None:
    assert read_typed(text, unit) == pytest.approx(value, rel=1e-12)


def test_a_comma_before_three_digits_separates_thousands_of_whole_numbers_alone() -> None:
    assert read_typed("1,024", whole=True) == 1024
    assert read_typed("1,024") == 1.024
    assert read_typed("0,017", whole=True) == 0.017


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("abc", ""), ("", ""), (" ", ""), ("nan", ""), ("inf", ""), ("1e999", ""), ("0x10", ""),
        ("1_000", ""), ("1 2", ""), ("--1", ""), (".", ""), ("1" * 25, ""), ("0.5;", ""), ("<b>", ""),
        ("1/0", ""), ("1/2/3", ""), ("1.2.3", ""), ("5 Gb", "GB"), ("5 kg", "GB"), ("50 %", "GB"),
        ("5 GB", ""), ("3x", "GB"), ("½", ""),
    ],
)  # fmt: skip
def test_other_input_is_refused(text: str, unit: str) -> None:
    with pytest.raises(ValueError, match="cannot be read. Write a number"):
        read_typed(text, unit)


def test_signs_powers_and_thousands_become_plain() -> None:
    assert ascii_numbers("\u22121\u202f234×10^3 0.5\u00a00.6") == "-1234e3 0.5\u00a00.6"
