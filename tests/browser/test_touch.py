"""Fingers on a phone: a swipe that scrolls leaves the sliders alone, and a list that goes on says so."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage, until
from tests.browser.figures import PAGE, expect_state, figure, open_alone, put

pytestmark = pytest.mark.tidy


def swipe(page: Page, start: tuple[float, float], by: tuple[float, float]) -> None:
    """One finger, as the browser gets it from a screen."""
    session = page.context.new_cdp_session(page)
    (x, y), (dx, dy) = start, by

    def touch(kind: str, points: list[dict[str, float]]) -> None:
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", [{"x": x, "y": y}])
    for step in range(1, 11):
        touch("touchMove", [{"x": x + dx * step / 10, "y": y + dy * step / 10}])
        page.wait_for_timeout(16)
    touch("touchEnd", [])
    session.detach()


def test_a_vertical_swipe_on_a_slider_scrolls_and_leaves_it(phone: Page) -> None:
    phone.goto(PAGE)
    phone.locator("html.js").wait_for()
    slider = phone.locator("#fig-02-bits")
    for place in (0.2, 0.5, 0.9):
        slider.evaluate("slider => slider.scrollIntoView({ block: 'center', behavior: 'instant' })")
        phone.wait_for_timeout(300)
        box = slider.bounding_box()
        assert box
        before = phone.evaluate("scrollY")
        swipe(phone, (box["x"] + place * box["width"], box["y"] + box["height"] / 2), (6, -260))
        until(phone, lambda before=before: phone.evaluate("scrollY") - before > 100)  # type: ignore[misc]
        expect(slider).to_have_value("4")
        expect_state(phone, "rtn")


def test_a_horizontal_swipe_moves_the_slider(phone: Page) -> None:
    open_alone(phone, "rtn")
    slider = phone.locator("#fig-02-bits")
    box = slider.bounding_box()
    assert box
    swipe(phone, (box["x"] + 0.2 * box["width"], box["y"] + box["height"] / 2), (0.75 * box["width"], 4))
    expect(slider).not_to_have_value("4")
    assert int(slider.input_value()) >= 6


def test_a_list_that_goes_on_has_a_shade_at_its_edge(phone: Page) -> None:
    """It is a named region that a keyboard can scroll, too."""
    open_alone(phone, "fit")
    phone.get_by_role("button", name="All 59 machines").tap()
    inner = figure(phone, "fit").locator(".ladder")
    assert inner.evaluate("list => list.scrollHeight > list.clientHeight + 40")
    assert "scroll" in inner.evaluate("list => getComputedStyle(list).backgroundAttachment")
    expect(inner).to_have_attribute("tabindex", "0")
    expect(inner).to_have_attribute("role", "region")
    assert inner.get_attribute("aria-label")


@pytest.mark.parametrize("width", [390, 768])
def test_gptq_prints_every_weight_and_scrolls_to_the_column_of_its_step(
    new_page: NewPage, width: int
) -> None:
    page = new_page(viewport={"width": width, "height": 900})
    open_alone(page, "gptq")
    shown = figure(page, "gptq")
    pane, outline = shown.locator(".plot-scroll"), shown.locator(".outline")
    assert pane.evaluate("pane => pane.scrollWidth > pane.clientWidth + 40")
    for step in (7, 16, 1):
        put(page, "gptq", "step", step)
        expect_state(page, "gptq", step=step)
        at, window = outline.bounding_box(), pane.bounding_box()
        assert at
        assert window
        assert window["x"] <= at["x"]
        assert at["x"] + at["width"] <= window["x"] + window["width"]
        texts = shown.locator(".column text:not(.code)")
        printed = texts.evaluate_all(
            "all => all.map(each => [each.textContent, each.getComputedTextLength()])"
        )
        assert len(printed) == 8 * (16 - step)
        assert all(re.fullmatch(r"[+−]?\.\d{3}", text) and length > 25 for text, length in printed)
