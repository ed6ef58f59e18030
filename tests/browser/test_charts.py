"""Plotly takes a chart over from the server's drawing without moving anything in it, and follows it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page

from lessons.kit.controls import as_parameter
from tests.browser.charts import CHARTS
from tests.browser.conftest import NewPage
from tests.browser.figures import expect_state, figure, held, open_alone, put, sliders
from tests.browser.test_contrast import wait_for_chart

pytestmark = pytest.mark.tidy

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
    faults = [f"there are no {kind}" for kind in places if kind != "labels" and not places[kind][0]]
    for kind, (before, after) in places.items():
        slack = PIXEL if kind == "marks" else TEXT
        if len(before) != len(after):
            faults.append(f"{len(before)} {kind} become {len(after)}")
        for text, x, y in before:
            ways = [(max(abs(x - u), abs(y - v)), u - x, v - y) for other, u, v in after if other == text]
            if not ways or min(ways)[0] > slack:
                faults.append(f"{kind}: {text!r} moves by {min(ways, default='–')}")
    return faults


READ = Path(__file__).with_name("chart.js").read_text()
ENABLED = 'select[name="{0}"] option:enabled, input[type=radio][name="{0}"]:enabled'
STOPS = 3
STEPS = 3
"""A walk: how often the chart is compared with a fresh one, and how many changes come before each time."""


@pytest.mark.parametrize("name", CHARTS)
def test_after_any_walk_the_chart_is_the_one_drawn_fresh(new_page: NewPage, name: str) -> None:
    """Name, order, colour, dash, symbol and size of every series; they are those of the server's drawing."""
    page, other = new_page(), new_page(locale="en-US")
    chance = random.Random(name)
    open_alone(page, name)
    shown(page, name)
    for _ in range(STOPS):
        state = dict(walk(page, name, chance))
        walked = shown(page, name)
        open_alone(other, name, urlencode(state))
        fresh = shown(other, name)
        assert walked["live"]
        assert differences(walked, fresh) == [], state
        assert looks(walked["live"]) == looks(walked["still"]), state


@pytest.mark.parametrize(
    "question", [["kept", "amount", "domain", "channels"], ["domain", "channels", "kept"]]
)
def test_each_question_on_calibration_has_its_own_series(page: Page, question: list[str]) -> None:
    """Two questions have as many series, with other looks."""
    open_alone(page, "calibration")
    shown(page, "calibration")
    for each in question:
        put(page, "calibration", "question", each)
        expect_state(page, "calibration", question=each)
        chart = shown(page, "calibration")
        assert chart["live"]
        assert looks(chart["live"]) == looks(chart["still"])


def walk(page: Page, name: str, chance: random.Random) -> list[tuple[str, str]]:
    """Change some controls, any of them, to what can be chosen at the time; the state in the end."""
    for _ in range(STEPS):
        field = figure(page, name).locator(
            "form :is(select, input:is([type=radio], [type=range])):not(:disabled)"
        )
        names = sorted(set(field.evaluate_all("all => all.map(each => each.name)")))
        control = chance.choice(names)
        slider = sliders(name).get(control)
        options = (
            [as_parameter(value) for value in slider.states()]
            if slider
            else figure(page, name)
            .locator(ENABLED.format(control))
            .evaluate_all("all => all.map(each => each.value)")
        )
        put(page, name, control, chance.choice(options))
        expect_state(page, name, **held(page, name))
    return list(held(page, name).items())


def shown(page: Page, name: str) -> dict[str, Any]:
    """The chart when Plotly has drawn its present state: it waits until the figure rests."""
    chart = figure(page, name).locator("[data-chart]")
    wait_for_chart(figure(page, name))
    before: dict[str, Any] = chart.evaluate(READ)
    for _ in range(PATIENCE):
        page.wait_for_timeout(100)
        now: dict[str, Any] = chart.evaluate(READ)
        if now == before and "live" in (chart.get_attribute("class") or ""):
            break
        before = now
    return before


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two charts differ, as paths to what is in both."""
    if isinstance(one, dict):
        return [fault for key in one for fault in differences(one[key], other[key], f"{path}.{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [fault for i, (a, b) in pairs for fault in differences(a, b, f"{path}[{i}]")]
    return [] if one == other else [f"{path}: {one!r} is {other!r} when drawn fresh"]


def looks(series: list[dict[str, Any]]) -> list[tuple[Any, Any]]:
    """Colour, dash and width of each line, and colours of each mark."""
    return [(each["line"], each["points"]) for each in series]
