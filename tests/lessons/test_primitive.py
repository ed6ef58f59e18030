"""FIG.0A: the three conventions, by hand and compared with each other; the drawing matches its numbers."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from lessons.catalogue import load_lesson
from lessons.kit import numbers
from lessons.kit.view import View
from lessons.quantization.blocks import BLOCKS, block_weights
from lessons.quantization.figures.primitive import CONVENTIONS, FIGURE, Controls
from tests.each import each

view = FIGURE.view
TEXT = load_lesson("quantization").texts["primitive"]


def readout(shown: View, name: str) -> float:
    return float(next(r.value for r in shown.readouts if r.name == name))


def names(shown: View) -> list[str]:
    return [r.name for r in shown.readouts]


def percent(position: str) -> float:
    return float(position.removesuffix("%"))


def parsed(printed: str) -> float:
    """A printed number, parsed as if a student typed it."""
    text = printed.strip("()").replace(numbers.MINUS, "-").replace("+", "")
    superscript = re.fullmatch(r"(.+)×10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", text)
    if superscript:
        power = superscript[2].translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
        return float(f"{superscript[1]}e{power}")
    return float(text)


def terms(shown: View) -> dict[str, float]:
    """The printed numbers of the formula under the drawing, by name, with their signs."""
    return {
        term["name"]: (-1 if term["name"] == "min" and term["before"] == "−" else 1) * parsed(term["number"])
        for term in shown.drawing["terms"]
    }


def finding(shown: View) -> str:
    return TEXT.sentence(shown.description[0])


def test_the_default_weight_by_hand() -> None:
    """The block spans −0.12323 … 0.14490, so the step is 0.017875 and level 7 is 0."""
    shown = view(Controls())
    assert readout(shown, "scale") == pytest.approx((0.14489746 + 0.12322998) / 15, abs=1e-7)
    assert readout(shown, "zero_point") == round(0.12322998 / 0.01787516) == 7
    assert readout(shown, "w") == pytest.approx(0.043762, abs=1e-6)
    assert readout(shown, "q") == round(0.043762 / 0.01787516) + 7 == 9
    assert readout(shown, "restored") == pytest.approx(2 * 0.01787516, abs=1e-6)
    assert readout(shown, "error") == pytest.approx(2 * 0.01787516 - 0.043762, abs=1e-6)


@pytest.mark.parametrize(("block", "bits"), [*itertools.product(BLOCKS, ("2", "3", "4"))])
def test_zero_point_and_float_offset_are_the_same_grid(block: str, bits: str) -> None:
    """min = −scale · zero_point; not a code, not a level, not a mark of the drawing differs."""
    integer = view(Controls(block=block, bits=bits, convention="zero_point"))
    offset = view(Controls(block=block, bits=bits, convention="float_offset"))
    assert readout(offset, "min") == pytest.approx(
        -readout(integer, "scale") * readout(integer, "zero_point")
    )
    assert [row[2] for row in integer.table.rows] == [row[2] for row in offset.table.rows]
    assert np.array([row[3] for row in integer.table.rows]) == pytest.approx(
        np.array([row[3] for row in offset.table.rows]), abs=1e-6
    )
    for a, b in zip(integer.drawing["levels"], offset.drawing["levels"], strict=True):
        assert percent(a["x"]) == pytest.approx(percent(b["x"]), abs=2e-3)
        assert (a["code"], a["taken"]) == (b["code"], b["taken"])


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_symmetric_grid_has_zero_in_the_middle_and_omits_a_code(bits: int) -> None:
    shown = view(Controls(bits=str(bits), convention="symmetric"))
    levels = shown.drawing["levels"]
    assert readout(shown, "zero_point") == 0
    assert len(levels) == 2**bits - 1
    assert levels[len(levels) // 2]["code"] == "0"
    largest = np.abs(block_weights("calm", 32)).max()
    assert readout(shown, "scale") * (2 ** (bits - 1) - 1) == pytest.approx(largest)


@pytest.mark.parametrize(
    ("convention", "expected"),
    [("zero_point", 4 + 20 / 32), ("float_offset", 4 + 32 / 32), ("symmetric", 4 + 16 / 32)],
)
def test_stored_parts_add_up_to_bits_per_weight(convention: str, expected: float) -> None:
    shown = view(Controls(convention=convention))
    assert readout(shown, "bits_per_weight") == expected
    said = TEXT.sentence(shown.description[-1])
    codes, each, *rest = (int(n) for n in re.findall(r"\d+", said.partition(": ")[2].rpartition(":")[0]))
    assert (codes * each + sum(rest)) / 32 == expected, said
    assert ("min" in names(shown)) == (convention == "float_offset")


@pytest.mark.parametrize(("block", "convention"), [*itertools.product(BLOCKS, CONVENTIONS)])
def test_weights_are_joined_to_their_nearest_level(block: str, convention: str) -> None:
    for bits in ("2", "3", "4"):
        shown = view(Controls(block=block, convention=convention, bits=bits))
        levels = np.array([percent(level["x"]) for level in shown.drawing["levels"]])
        codes = [level["code"] for level in shown.drawing["levels"]]
        for dot in shown.drawing["dots"]:
            distance = np.abs(levels - percent(dot["x"]))
            assert distance[codes.index(dot["q"])] <= distance.min() + 0.01


@each("convention, weight", [*itertools.product(CONVENTIONS, range(32))])
def test_the_printed_formula_holds_as_printed(convention: str, weight: int) -> None:
    """The printed numbers give the printed code, level and error."""
    shown = view(Controls(convention=convention, weight=weight))
    said = terms(shown)
    low, zero_point = said.get("min", 0.0), said.get("zero_point", 0)
    steps = (parsed(shown.drawing["chosen"]["w"]) - low) / said["scale"] + zero_point
    assert steps == pytest.approx(said["q"], abs=0.502)
    level = said["scale"] * (said["q"] - zero_point) + low
    assert level == pytest.approx(said["restored"], abs=7e-5)
    error = parsed(shown.drawing["error"])
    assert said["restored"] - parsed(shown.drawing["chosen"]["w"]) == pytest.approx(error, abs=1.1e-4)
    assert said["q"] == readout(shown, "q")
    assert shown.drawing["spoken"].count("(") == shown.drawing["spoken"].count(")")


def test_what_the_default_state_says() -> None:
    assert finding(view(Controls())) == (
        "0.04376 ≈ 0.017875 · (9 − 7): one small integer for each weight, one scale and one zero-point"
        " for all 32."
    )


def test_three_controls_and_three_numbers_stand_in_front() -> None:
    assert list(Controls.widgets())[:3] == ["weight", "convention", "bits"]
    assert names(view(Controls()))[:3] == ["q", "restored", "bits_per_weight"]


@pytest.mark.parametrize(("block", "convention"), [*itertools.product(BLOCKS, CONVENTIONS)])
def test_the_finding_is_true_in_every_state(block: str, convention: str) -> None:
    """As printed, its right side is within half a step of its left."""
    for bits, weight in itertools.product(("2", "3", "4"), range(32)):
        shown = view(Controls(block=block, convention=convention, bits=bits, weight=weight))
        said = finding(shown)
        assert len(said) <= 150, said
        if "comes back as zero" in said:
            assert readout(shown, "restored") == 0 != readout(shown, "w")
            assert abs(readout(shown, "w")) <= readout(shown, "scale") / 2
            continue
        assert readout(shown, "restored") != 0 or readout(shown, "w") == 0
        left, right = said.partition(":")[0].split(" ≈ ")
        scale, rest = right.split(" · ")
        if convention == "zero_point":
            q, zero_point = rest.strip("()").split(" − ")
            value = parsed(scale) * (parsed(q) - parsed(zero_point))
        elif convention == "float_offset":
            q, low = rest.split(" − ")
            value = parsed(scale) * parsed(q) - parsed(low)
        else:
            value = parsed(scale) * parsed(rest)
        assert abs(value - parsed(left)) <= 0.505 * parsed(scale), said


@pytest.mark.parametrize("block", BLOCKS)
def test_convention_does_not_move_the_weights(block: str) -> None:
    places = [
        [dot["x"] for dot in view(Controls(block=block, convention=c)).drawing["dots"]] for c in CONVENTIONS
    ]
    assert places[0] == places[1] == places[2]


@pytest.mark.parametrize(("block", "convention"), [*itertools.product(BLOCKS, CONVENTIONS)])
def test_each_line_runs_from_its_weight_to_its_level(block: str, convention: str) -> None:
    shown = view(Controls(block=block, convention=convention))
    x = {level["code"]: percent(level["x"]) for level in shown.drawing["levels"]}
    for dot in shown.drawing["dots"]:
        numbers_of_path = [float(n) for n in re.findall(r"-?[\d.]+", dot["path"])]
        assert numbers_of_path[0] / 10 == pytest.approx(percent(dot["x"]), abs=0.01)
        assert numbers_of_path[-2] / 10 == pytest.approx(x[dot["q"]], abs=0.01)
        assert numbers_of_path[-1] == 1000
        assert 0 <= percent(dot["x"]) <= 100


def test_levels_count_the_weights_that_use_them() -> None:
    shown = view(Controls())
    codes = [numbers.integer(row[2]) for row in shown.table.rows]
    for level in shown.drawing["levels"]:
        assert level["taken"] == codes.count(level["code"])
    assert sum(level["taken"] for level in shown.drawing["levels"]) == 32
