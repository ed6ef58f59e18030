"""Plotly takes a chart over from the server's drawing without moving anything in it."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import NewPage
from tests.browser.figures import FIGURES, figure, open_alone
from tests.browser.test_contrast import wait_for_chart

pytestmark = pytest.mark.tidy

CHARTS = [name for name, each in FIGURES.items() if each.view(each.controls()).chart]
WIDTHS = [1440, 768, 390]
STATES = {"quality": ["", "data=base"]}
PIXEL = 1.0
PATIENCE = 30  # tenths of a second
TEXT = 3  # pixels: the two ask the browser in different ways for the middle of a line

PLACES = """chart => {
    const boxes = (selector) => [...chart.querySelectorAll(selector)].map(e => {
        const b = e.getBoundingClientRect();
        return [e.textContent.trim(), (b.left + b.right) / 2, (b.top + b.bottom) / 2, b.width];
    }).filter(([, , , width]) => width > 0).map(([text, x, y]) => [text, x, y]);
    return {
        marks: [boxes(".chart-static .mark"), boxes(".chart-live .scatterlayer .point")],
        "ticks of x": [boxes(".chart-static .axis-x .tick"), boxes(".chart-live .xtick text")],
        "ticks of y": [boxes(".chart-static .axis-y .tick"), boxes(".chart-live .ytick text")],
        "titles and rules": [boxes(".chart-static :is(.axis-title, .rule-label)"),
                             boxes(".chart-live :is(.xtitle, .annotation-text)")],
        labels: [boxes(".chart-static .mark-label"), boxes(".chart-live .textpoint")],
    };
}"""


@pytest.mark.parametrize("name", CHARTS)
def test_plotly_puts_everything_where_the_server_drew_it(new_page: NewPage, name: str) -> None:
    page = new_page(viewport={"width": WIDTHS[0], "height": 1600})
    moved = []
    for state in STATES.get(name, [""]):
        open_alone(page, name, state)
        wait_for_chart(figure(page, name))
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 1600})
            moved += [f"{state or 'default'}, {width} px: {fault}" for fault in settled(page, name)]
    assert not moved, "\n".join(moved)


def settled(page: Page, name: str) -> list[str]:
    """What is still displaced when Plotly has had time to follow the new width."""
    for _ in range(PATIENCE):
        faults = displaced(page, name)
        if not faults:
            break
        page.wait_for_timeout(100)
    return faults


def displaced(page: Page, name: str) -> list[str]:
    """What does not stand within a hair's breadth of its other self."""
    places: dict[str, Any] = figure(page, name).locator("[data-chart]").evaluate(PLACES)
    faults = []
    for kind, (before, after) in places.items():
        slack = PIXEL if kind == "marks" else TEXT
        if len(before) != len(after):
            faults.append(f"{len(before)} {kind} become {len(after)}")
        for text, x, y in before:
            ways = [(max(abs(x - u), abs(y - v)), u - x, v - y) for other, u, v in after if other == text]
            if not ways or min(ways)[0] > slack:
                faults.append(f"{kind}: {text!r} moves by {min(ways, default='–')}")
    return faults
