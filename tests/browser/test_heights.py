"""A drag leaves every figure and its finding as high as they are: nothing moves while somebody looks."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from lessons.kit.controls import as_parameter
from tests.browser.figures import (
    FIGURES,
    NAMES,
    expect_state,
    figure,
    open_where_it_matters,
    sliders,
    without_tables,
)

pytestmark = pytest.mark.tidy

HEIGHTS = (
    "figure => [figure, figure.querySelector('.finding')].map((each) => each.getBoundingClientRect().height)"
)
WALK = """async (slider, values) => {
    const heights = [];
    for (const value of values) {
        const changed = new Promise((done, fail) => {
            document.addEventListener("figure:changed", done, { once: true });
            setTimeout(() => fail(new Error(`no view of ${value} came within 20 s`)), 20_000);
        });
        slider.value = value;
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        await changed;
        const figure = slider.closest("figure");
        const both = [figure, figure.querySelector(".finding")];
        heights.push(both.map((each) => each.getBoundingClientRect().height));
    }
    return heights;
}"""
MOST_STATES = 7
"""Of a slider with more, the first, the last and some between are measured."""


WIDTHS = (1440, 390)


@pytest.mark.parametrize("name", [name for name in NAMES if sliders(name)])
def test_a_slider_leaves_the_figure_as_high_as_it_is(
    page: Page, name: str, subtests: pytest.Subtests
) -> None:
    """From the first state to the last one; both ends are reached with the keyboard."""
    for control in sliders(name):
        needed = open_where_it_matters(page, name, control)
        without_tables(page, name)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            with subtests.test(f"{control}, {width} px"):
                stays_as_high(heights_along(page, name, control, needed))


def stays_as_high(heights: dict[str, list[float]]) -> None:
    for part, of_part in enumerate(("figure", "finding")):
        found = {state: both[part] for state, both in heights.items()}
        least, most = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
        assert found[most] - found[least] <= 1, (
            f"{of_part}: {found[least]} at {least}, {found[most]} at {most}"
        )


def heights_along(page: Page, name: str, control: str, needed: dict[str, str]) -> dict[str, list[float]]:
    """The heights of the figure and of its finding in states of a slider."""
    slider = figure(page, name).locator(f'input[type=range][name="{control}"]')
    states = [as_parameter(state) for state in FIGURES[name].controls.widgets()[control].states()]
    places = np.linspace(0, len(states) - 1, min(len(states), MOST_STATES))
    first, *between, last = (states[round(place)] for place in places)
    heights = {}
    slider.press("Home")
    expect_state(page, name, **needed, **{control: first})
    heights[first] = figure(page, name).evaluate(HEIGHTS)
    heights |= dict(zip(between, slider.evaluate(WALK, between), strict=True))
    slider.press("End")
    expect_state(page, name, **needed, **{control: last})
    heights[last] = figure(page, name).evaluate(HEIGHTS)
    expect(slider).to_be_focused()
    return heights
