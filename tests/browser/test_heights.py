"""A drag leaves every figure as high as it is: nothing below it moves while somebody looks at a slider."""

from __future__ import annotations

import numpy as np
import pytest

from lessons.kit.controls import Slider, plain
from tests.browser.conftest import NewPage
from tests.browser.figures import FIGURES, expect_state, figure, open_where_it_matters

pytestmark = pytest.mark.tidy

SLIDERS = [
    (name, control)
    for name, each in FIGURES.items()
    for control, widget in each.controls.widgets().items()
    if isinstance(widget, Slider)
]
HEIGHT = "figure => figure.getBoundingClientRect().height"


MOST_STATES = 12
"""Of a slider with more, the first, the last and some between are measured."""


@pytest.mark.parametrize("device", ["desktop", "phone"])
@pytest.mark.parametrize(("name", "control"), SLIDERS)
def test_a_slider_leaves_the_figure_as_high_as_it_is(
    new_page: NewPage, name: str, control: str, device: str
) -> None:
    """By keyboard, from the first state to the last one."""
    page = new_page(device)
    needed = open_where_it_matters(page, name, control)
    slider = figure(page, name).locator(f'input[type=range][name="{control}"]')
    slider.press("Home")
    states = FIGURES[name].controls.widgets()[control].states()
    measured = {round(place) for place in np.linspace(0, len(states) - 1, min(len(states), MOST_STATES))}
    heights = {}
    for place, value in enumerate(states):
        if place in measured:
            expect_state(page, name, **needed, **{control: value})
            heights[plain(value)] = figure(page, name).evaluate(HEIGHT)
        slider.press("ArrowRight")
    least, most = min(heights, key=heights.__getitem__), max(heights, key=heights.__getitem__)
    assert heights[most] - heights[least] <= 1, f"{heights[least]} at {least}, {heights[most]} at {most}"
