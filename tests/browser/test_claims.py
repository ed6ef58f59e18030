"""A number of the prose shows where it comes from: on hover, on focus, and at the first tap."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.figures import PAGE, awake

pytestmark = pytest.mark.tidy

SIZE = "#opening .lead a[href$='#size-70b-f16']"


def within(page: Page) -> bool:
    box = page.locator("#claim-card").bounding_box()
    assert box
    return box["x"] >= 0 and box["x"] + box["width"] <= page.evaluate("innerWidth")


def test_a_source_is_shown_on_hover_and_on_focus(page: Page) -> None:
    page.goto(PAGE)
    page.locator("html.js").wait_for()
    link, card = page.locator(SIZE), page.locator("#claim-card")
    link.hover()
    expect(card).to_be_visible()
    expect(card).to_contain_text("Derived")
    expect(card).to_contain_text("70553706496 * 2 / 1e9")
    assert within(page)
    card.hover()
    page.wait_for_timeout(400)
    expect(card).to_be_visible()  # it can be read, and its links followed
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()

    link.focus()
    page.keyboard.press("Tab")
    expect(card).to_be_visible()
    expect(card).to_contain_text("llama-quant.cpp")
    expect(page.locator(":focus")).to_have_attribute("aria-describedby", "claim-card")
    page.keyboard.press("Enter")
    page.wait_for_url("**/sources#bpw-70b-q4km")


def test_the_first_tap_shows_and_the_second_follows(phone: Page) -> None:
    phone.goto(PAGE)
    phone.locator("html.js").wait_for()
    link, card = phone.locator(SIZE), phone.locator("#claim-card")
    awake(phone)
    link.tap()
    expect(card).to_be_visible()
    assert within(phone)
    phone.locator("#opening h1").tap()
    expect(card).to_be_hidden()
    link.tap()
    expect(card).to_be_visible()
    link.tap()
    phone.wait_for_url("**/sources#size-70b-f16")
