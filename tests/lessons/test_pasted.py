"""Pasted numbers are read unambiguously or asked back, never misread silently."""

from __future__ import annotations

import time

import pytest

from lessons.kit.pasted import read_pasted
from tests.each import each

A_THOUSAND = 1000


@each(
    "text, numbers",
    [
        ("0.1 -0.2\n3e-3", [0.1, -0.2, 0.003]),
        ("0.1,0.2,.3", [0.1, 0.2, 0.3]),
        ("0.1, 0.2,\n0.3, 0.4,", [0.1, 0.2, 0.3, 0.4]),
        ("1,2,3,-4", [1, 2, 3, -4]),
        # decimal commas
        ("0,0173; 0,0411", [0.0173, 0.0411]),
        ("0,0173 0,0411", [0.0173, 0.0411]),
        ("0,0173\n0,0411", [0.0173, 0.0411]),
        ("0,017, 0,041, 0,05", [0.017, 0.041, 0.05]),
        ("0,5 0,25 0,75", [0.5, 0.25, 0.75]),
        ("1,5; 2,25; -3,75", [1.5, 2.25, -3.75]),
        ("-0,5 1,5", [-0.5, 1.5]),
        ("1,5E-02\t2,5e+1", [0.015, 25]),
        # columns
        ("0.1\t0.2\n0.3\t0.4", [0.1, 0.2, 0.3, 0.4]),
        ("0.1;0.2\r\n0.3;0.4\r\n", [0.1, 0.2, 0.3, 0.4]),
        ("0,1\t0,2\n0,3\t0,4", [0.1, 0.2, 0.3, 0.4]),
        ("0.1\t\t0.2\n0.3\t\t0.4", [0.1, 0.2, 0.3, 0.4]),
        ("0.1;0.2\n0.3;", [0.1, 0.2, 0.3]),
        # a column that counts the rows, a row that counts the columns
        ("0\t0.5\n1\t0.7\n2\t0.9", [0.5, 0.7, 0.9]),
        ("1;0,5\n2;0,7\n3;0,9", [0.5, 0.7, 0.9]),
        ("0,0.5\n1,0.7\n2,0.1", [0.5, 0.7, 0.1]),
        ("0,5\n1,7\n2,-3", [5, 7, -3]),
        ("64 0.1\n65 0.2\n66 0.3", [0.1, 0.2, 0.3]),
        (",0\n0,0.017\n1,0.041", [0.017, 0.041]),
        ("          0         1\n0  0.017 0.041\n1  0.2 0.3", [0.017, 0.041, 0.2, 0.3]),
        ("0     0.017\n1     0.041\nName: w, Length: 2, dtype: float64", [0.017, 0.041]),
        ("[1]  0.1  0.2\n[3] 0.3 0.4", [0.1, 0.2, 0.3, 0.4]),
        ("[[0, 0.1], [1, 0.2], [2, 0.5]]", [0.1, 0.2, 0.5]),
        ("0 1\n3 4", [0, 1, 3, 4]),
        ("1\n2\n3", [1, 2, 3]),
        # names above
        ("weight\n0.1\n0.2", [0.1, 0.2]),
        ("index,weight\n0,0.1\n1,0.3", [0.1, 0.3]),
        ("weight 1;weight 2\n0,1;0,2", [0.1, 0.2]),
        ('"weight, first"\t"weight, second"\n0.1\t0.2', [0.1, 0.2]),
        # quotes of a spreadsheet
        ('"0.1","0.2"', [0.1, 0.2]),
        ('"0,0173","0,0411"', [0.0173, 0.0411]),
        ('0,"0,0173"\n1,"0,0411"\n2,"0,05"', [0.0173, 0.0411, 0.05]),
        ("['0.1', '0.2']", [0.1, 0.2]),
        # thousands
        ("1,234.5\t2,345.6", [1234.5, 2345.6]),
        ('"1,234.5","2,345.5"', [1234.5, 2345.5]),
        ("1.234,5; 0,5", [1234.5, 0.5]),
        ("1'234.5 2’000", [1234.5, 2000]),
        ("12\u202f345.5 1\u00a0000", [12345.5, 1000]),
        # signs and powers of ten
        ("\u22120.5 \u20130.25 +1", [-0.5, -0.25, 1]),
        ("8.36×10⁻⁶ 2*10^-3 1d-3 1E5", [8.36e-6, 0.002, 0.001, 1e5]),
        ("\ufeff0.1\u200b\n0.2", [0.1, 0.2]),
        # as Python prints them
        ("[ 1.0e-02 -2.5e-03\n  1. ]", [0.01, -0.0025, 1]),
        ("array([0.1, 0.2], dtype=float32)", [0.1, 0.2]),
        ("tensor([[0.1, 0.2],\n [0.3, 0.4]], device='cuda:0', grad_fn=<MulBackward0>)", [0.1, 0.2, 0.3, 0.4]),
        ("[np.float32(0.1), np.float32(0.2)]", [0.1, 0.2]),
        ('{"w": [0.1, 0.2]}', [0.1, 0.2]),
        ("[0,1,2,3]", [0, 1, 2, 3]),
        ("c(0.1, 0.2)", [0.1, 0.2]),
        # a table of Markdown
        ("| a | b |\n|---|--:|\n| 0.1 | 0.2 |\n| 0.3 | 0.4 |", [0.1, 0.2, 0.3, 0.4]),
        ("| i | w |\n|---|---|\n| 1 | 0,5 |\n| 2 | 0,7 |\n| 3 | 0,25 |", [0.5, 0.7, 0.25]),
    ],
)
def test_unambiguous_numbers_are_read(text: str, numbers: list[float]) -> None:
    assert read_pasted(text, A_THOUSAND) == pytest.approx(numbers)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0,017,0,041", "decimal commas: 0,017,0,041. Write points, 0.017 0.041, or put semicolons"),
        ("0,5,0,25,0,75", "0.5 0.25"),
        (",5 ,25", "0.5"),
        ("1,25 2,5", "“1,25” can be read as 1.25 or as 1 25"),
        ("1,0\n2,0\n3,0", "1.0 or as 1 0"),
        ("1,234\n5,678", "1.234 or as 1234 or as 1 234"),
        ("1,234.5\n9,345.6", "1234.5 or as 1 234.5"),
        ("0,5 0.7", "0 5 or as 0.5"),
        ("8.36e-6 1,5E-02", "1.5E-02"),
        ("[1,2;3,4]", "1.2 or as 1 2"),
        ("1 234,5; 2 345,6", "one number or two. Write 1234.5"),
        ("0.1; 0,2", "0.2 or as 0 2"),
        ("1,5;2.5", "1.5 or as 1 5"),
        ("0,5,1,5", "0.5 1.5"),
        ("0,12,0,4,1,3,0,25", "0.12 0.4"),
        ("1,5e-3,2,5e-3", "1.5e-3 2.5e-3"),
        ("1,0,5\n2,0,7\n3,0,9", "Write points, 0.5, or"),
        ("1 000 000", "“000” looks like a part of a number"),
    ],
)
def test_ambiguous_numbers_are_asked_back(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="decimal|number") as caught:
        read_pasted(text, A_THOUSAND)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "There are no numbers."),
        ("[]", "There are no numbers."),
        ("banana", "The 1st number: “banana” is not a number."),
        ("1 2 three", "The 3rd number: “three” is not a number."),
        ("0.5\n\n0.6\nx", "Line 4, column 1: “x” is not a number."),
        ("1 2\n3 banana", "Line 2, column 2: “banana” is not a number."),
        ("0.1;;0.2\n0.3;1;0.4", "Line 1, column 2: there is nothing between two separators."),
        ("0.1,,0.2", "The 2nd number: there is nothing between two separators."),
        ("w\n0.1;;0.2", "The 2nd number: there is nothing between two separators."),
        ("0.1 ... 0.2", "The 2nd number: the list was shortened here"),
        ("1 nan", "The 2nd number: nan is not finite."),
        ("1 -inf", "The 2nd number: -inf is not finite."),
        ("1 1e39", "The 2nd number: 1e39 is not finite in 32 bits."),
        ("1/2 3", "The 1st number: “1/2” is not a number."),
        ('{"a": [0.1], "b": [0.5]}', "“a:” is not a number"),
        ("1 " * 1001, "There are more than 1000 numbers."),
    ],
)
def test_invalid_number_is_named_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="number|nothing|shortened|finite") as caught:
        read_pasted(text, A_THOUSAND)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "1." * 60_000, " " * 120_000, "'" * 100_000, '"' * 100_001, "dtype=" * 20_000, "1," * 60_000,
        "[1] " * 30_000, "1'000" * 24_000, "1\u202f000" * 20_000, "1 ]" * 40_000, "1 234,5 " * 15_000,
        "\nName: " * 17_000, "1.234" * 24_000 + ",5", "np." * 40_000, "Length: 1, " * 10_000, ",\n" * 60_000,
    ],
)  # fmt: skip
def test_malformed_text_is_refused_quickly(text: str) -> None:
    begun = time.process_time()
    with pytest.raises(ValueError, match="."):
        read_pasted(text, A_THOUSAND)
    assert time.process_time() - begun < 2
