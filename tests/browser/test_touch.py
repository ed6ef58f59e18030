"""Fingers on a phone: a swipe that scrolls leaves the sliders alone, and a list that goes on says so."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.figures import PAGE, expect_state, figure, open_alone

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


@pytest.mark.parametrize("place", [0.2, 0.5, 0.9])
def test_a_vertical_swipe_on_a_slider_scrolls_and_leaves_it(phone: Page, place: float) -> None:
    phone.goto(PAGE)
    phone.locator("html.js").wait_for()
    slider = phone.locator("#fig-02-bits")
    slider.evaluate("slider => slider.scrollIntoView({ block: 'center' })")
    phone.wait_for_timeout(300)
    box = slider.bounding_box()
    assert box
    before = phone.evaluate("scrollY")
    swipe(phone, (box["x"] + place * box["width"], box["y"] + box["height"] / 2), (6, -260))
    phone.wait_for_timeout(400)
    assert phone.evaluate("scrollY") - before > 100
    expect(slider).to_have_value("3")
    expect_state(phone, "rtn")


def test_a_horizontal_swipe_moves_the_slider(phone: Page) -> None:
    open_alone(phone, "rtn")
    slider = phone.locator("#fig-02-bits")
    box = slider.bounding_box()
    assert box
    swipe(phone, (box["x"] + 0.2 * box["width"], box["y"] + box["height"] / 2), (0.75 * box["width"], 4))
    expect(slider).not_to_have_value("3")
    assert int(slider.input_value()) >= 6


@pytest.mark.parametrize("name", ["fit", "measured"])
def test_a_list_that_goes_on_has_a_shade_at_its_edge(phone: Page, name: str) -> None:
    """It is a named region that a keyboard can scroll, too."""
    open_alone(phone, name)
    inner = figure(phone, name).locator(".ladder, .linked-rows")
    assert inner.evaluate("list => list.scrollHeight > list.clientHeight + 40")
    assert "scroll" in inner.evaluate("list => getComputedStyle(list).backgroundAttachment")
    expect(inner).to_have_attribute("tabindex", "0")
    expect(inner).to_have_attribute("role", "region")
    assert inner.get_attribute("aria-label")
