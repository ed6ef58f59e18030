"""Where things are on the screen: their lengths and places are the numbers of quant_core."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from lessons.quantization import sources
from lessons.quantization.blocks import block_weights
from quant_core import memory
from quant_core.memory import GIB
from quant_core.methods import grid
from tests.browser.covering import change, covering
from tests.browser.figures import FIGURES, open_alone

pytestmark = pytest.mark.tidy

BOXES = """selector => [...document.querySelectorAll(selector)].map(e => {
    const {left, right, top, bottom, width, height} = e.getBoundingClientRect();
    return {x: (left + right) / 2, y: (top + bottom) / 2, left, width, height};
})"""
DEVICES = ["desktop", "phone"]


def boxes(page: Page, selector: str) -> list[dict[str, float]]:
    found: list[dict[str, float]] = page.evaluate(BOXES, selector)
    assert found, selector
    return found


@pytest.fixture(params=DEVICES)
def screen(request: pytest.FixtureRequest, new_page: Any) -> Page:
    page: Page = new_page(request.param)
    return page


def test_rtn_places_every_weight_at_its_value(screen: Page) -> None:
    """Vertical distances on the screen are in proportion to distances between the real weights."""
    open_alone(screen, "rtn")
    heights = np.array([mark["y"] for mark in boxes(screen, "#fig-02 .true-mark")])
    weights = block_weights("calm", 32).astype(float)
    assert np.corrcoef(heights, weights)[0, 1] == pytest.approx(-1, abs=1e-5)


def test_rtn_places_every_snapped_mark_at_its_level(screen: Page) -> None:
    open_alone(screen, "rtn", "bits=2")
    weights = block_weights("calm", 32)
    fitted = grid.fit_asymmetric(weights, 2)
    snapped = fitted.dequantize(fitted.quantize(weights)).astype(float)
    heights = np.array([mark["y"] for mark in boxes(screen, "#fig-02 .snap-mark")])
    assert np.corrcoef(heights, snapped)[0, 1] == pytest.approx(-1, abs=1e-5)
    assert len(set(np.round(heights, 1))) == len(set(np.round(snapped, 6)))


def test_fold_sets_the_dot_on_the_level_of_its_code(screen: Page) -> None:
    weights = block_weights("calm", 32)
    codes = grid.fit_asymmetric(weights, 4).quantize(weights)
    for weight in (0, 11, 24):
        open_alone(screen, "fold", f"weight={weight}")
        rungs = [rung["x"] for rung in boxes(screen, "#fig-00 .rung")]
        (dot,) = boxes(screen, "#fig-00 .snap-mark")
        assert len(rungs) == 16
        assert dot["x"] == pytest.approx(rungs[codes[weight]], abs=0.6)


def test_fold_stands_the_kept_cells_over_the_level_that_they_name(screen: Page) -> None:
    open_alone(screen, "fold")
    cells = boxes(screen, "#fig-00 .kept .cell:not(.folded) .face")
    (stem,) = boxes(screen, "#fig-00-stem")
    assert len(cells) == 4
    middle = (min(cell["left"] for cell in cells) + max(cell["left"] + cell["width"] for cell in cells)) / 2
    assert middle == pytest.approx(stem["x"], abs=4)


def test_fit_bar_and_edge_are_on_one_scale(screen: Page) -> None:
    """The bar of the weights is to the machine's edge as their bytes are to its memory."""
    open_alone(screen, "fit")
    weights = memory.weight_bytes(sources.model("llama-3.1-70b").shape, "Q4_K_M")
    (bar,), (edge,) = boxes(screen, "#fig-06-weights"), boxes(screen, "#fig-06-edge")
    usable = sources.device("mac-m1-max-64").usable_bytes
    assert bar["width"] / (edge["x"] - bar["left"]) == pytest.approx(weights / usable, rel=0.01)
    assert usable == 48 * GIB


def test_awq_s_columns_are_as_high_as_the_shares(screen: Page) -> None:
    view = FIGURES["awq"].view(FIGURES["awq"].controls())
    open_alone(screen, "awq")
    now = boxes(screen, "#fig-04 .part.now")
    ends = boxes(screen, "#fig-04 .part:not(.now)")
    shares = [view.table.rows[i][column] for i in (9, 0, 20) for column in (2, 1)]  # neighbours, loud
    heights = [box["height"] for box in (*now, *ends)]
    unit = max(heights) / max(shares)
    assert heights == pytest.approx([unit * share for share in shares], abs=0.6)


def test_rounding_bars_are_as_long_as_the_errors(screen: Page) -> None:
    open_alone(screen, "rounding")
    widths = [box["width"] for box in boxes(screen, "#fig-03 rect[id^='fig-03-left-']")]
    view = FIGURES["rounding"].view(FIGURES["rounding"].controls())
    column = [column.name for column in view.table.columns].index("output_error")
    errors = sorted(float(row[column]) for row in view.table.rows)
    assert sorted(w / max(widths) for w in widths) == pytest.approx(
        [e / errors[-1] for e in errors], abs=0.01
    )


def test_the_histogram_takes_as_much_room_as_the_four_ways(screen: Page) -> None:
    places = []
    for n in ("2", "3", "12"):
        open_alone(screen, "rounding", f"n={n}")
        (axis,) = boxes(screen, "#fig-03 .axis")
        places.append(axis["y"])
    assert places == pytest.approx([places[0]] * 3, abs=0.5)


def test_xray_lights_the_bytes_that_a_weight_depends_on(screen: Page) -> None:
    """Weight 37 is the high nibble of byte 16 + 5; its sub-block 1 has scale byte 5 and minimum byte 9."""
    open_alone(screen, "xray", "pick=weight-37")
    lit = screen.locator("#fig-05b label.related input[value^='byte-']").evaluate_all(
        "all => all.map(input => input.value)"
    )
    assert lit == [f"byte-{index}" for index in (0, 1, 2, 3, 5, 9, 21)]


STRUCK = """figure => {
    const ink = (text) => {
        const range = document.createRange();
        range.selectNodeContents(text);
        const box = range.getBoundingClientRect();
        const middle = (box.top + box.bottom) / 2, half = 0.36 * parseFloat(getComputedStyle(text).fontSize);
        return { left: box.left, right: box.right, top: middle - half, bottom: middle + half };
    };
    const cells = [...figure.querySelectorAll(".weights label:not(:has(:checked))")].map((label) => {
        const looks = getComputedStyle(label), edge = parseFloat(looks.borderBottomWidth);
        const bottom = label.getBoundingClientRect().bottom - edge - (label.matches(".down") ? 4 : 0);
        return bottom - parseFloat(looks.backgroundSize.split(" ")[1]) - ink(label).bottom;
    });
    const bars = [...figure.querySelectorAll(".trade text")].map((text) => {
        const end = text.previousElementSibling.getBoundingClientRect().right;
        return Math.max(ink(text).left - end, end - ink(text).right);
    });
    return [...cells, ...bars];
}"""


def test_xray_bars_leave_the_digits_alone(screen: Page) -> None:
    """No bar reaches into the digits that stand over it or on it."""
    open_alone(screen, "xray")
    for state in covering("xray"):
        change(screen, "xray", state)
        assert min(screen.locator("#fig-05b").evaluate(STRUCK)) > 0, state
