"""FIG.0A: the three conventions, by hand and compared with each other; the drawing matches its numbers."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from lessons.kit import numbers
from lessons.kit.view import View
from lessons.quantization.blocks import BLOCKS, block_weights
from lessons.quantization.figures.primitive import CONVENTIONS, DOT, FIGURE, NARROWEST, Controls

view = FIGURE.view


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


def token_values(shown: View, equation: int) -> dict[str, float]:
    tokens = shown.drawing["equations"][equation]["tokens"]
    return {token["symbol"]: parsed(token["number"]) for token in tokens if not token["sign"]}


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
    assert sum(shown.drawing["stored"].values()) / 32 == expected
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


@pytest.mark.parametrize(("convention", "weight"), [*itertools.product(CONVENTIONS, range(32))])
def test_the_printed_equations_hold_as_printed(convention: str, weight: int) -> None:
    """The printed numbers give the printed code, level and error."""
    shown = view(Controls(convention=convention, weight=str(weight)))
    store, restore, lose = (token_values(shown, i) for i in range(3))
    start = store.get("min", 0.0)
    steps = (store["w"] - start) / store["scale"] + store.get("zero_point", 0)
    assert steps == pytest.approx(store["q"], abs=0.502)
    level = restore["scale"] * (restore["q"] - restore.get("zero_point", 0)) + restore.get("min", 0.0)
    assert level == pytest.approx(restore["ŵ"], abs=7e-5)
    assert lose["ŵ"] - lose["w"] == pytest.approx(lose["error"], abs=1.1e-4)
    assert store["q"] == readout(shown, "q")


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


@pytest.mark.parametrize("block", ["calm", "attention"])
def test_dots_of_ordinary_blocks_do_not_touch_on_the_narrowest_screen(block: str) -> None:
    dots = view(Controls(block=block)).drawing["dots"]
    places = [(percent(dot["x"]) / 100 * NARROWEST, dot["y"]) for dot in dots]
    crowded = [
        (a, b) for a, b in itertools.combinations(places, 2) if a[1] == b[1] and abs(a[0] - b[0]) < DOT
    ]
    assert not crowded


def test_levels_count_the_weights_that_use_them() -> None:
    shown = view(Controls())
    codes = [numbers.integer(row[2]) for row in shown.table.rows]
    for level in shown.drawing["levels"]:
        assert level["taken"] == codes.count(level["code"])
    assert sum(level["taken"] for level in shown.drawing["levels"]) == 32
