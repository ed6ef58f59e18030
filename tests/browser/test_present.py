"""The large form of a figure, `present=1`: for a projector, with text that the last row can read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage
from tests.browser.figures import NAMES

SMALLEST = 24
"""Pixels of the smallest text, on a projector of 1920."""

TALL = {
    "budget",
    "speed",
    "zoom",
    "fourbit",
    "gptq",
    "sentence",
    "xray",
    "mixes",
    "smooth",
    "qlora",
    "methods",
}
"""Figures whose drawing is higher than a screen: their page scrolls."""

FIGURES = "/lessons/quantization/figures"
LARGE = Path(__file__).with_name("large.js").read_text("utf-8").partition("\n")[2]


def measured(page: Page, within: str, smallest: float) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(LARGE, [within, smallest])
    assert found["counted"] > 20, "there is text"
    return found


def test_every_figure_can_be_read_from_afar(page: Page, subtests: pytest.Subtests) -> None:
    for name in NAMES:
        page.goto(f"{FIGURES}/{name}?present=1")
        for width, height in ((1920, 1080), (1280, 720)):
            page.set_viewport_size({"width": width, "height": height})
            with subtests.test(f"{name}, {width} px"):
                can_be_read_from_afar(page, name, width, height)


def can_be_read_from_afar(page: Page, name: str, width: int, height: int) -> None:
    found = measured(page, "main", SMALLEST * width / 1920)
    assert found["small"] == []
    assert found["beside"] == []
    assert found["width"] == width
    assert (found["height"] > height) == (name in TALL)


def test_head_finding_controls_and_drawing_are_there_and_nothing_else(new_page: NewPage) -> None:
    page = new_page(viewport={"width": 1920, "height": 1080})
    page.goto(f"{FIGURES}/rtn?bits=3&present=1")
    for part in ("figcaption", ".finding", ".drawing", ".controls", ".readouts"):
        expect(page.locator(f"main {part}").first).to_be_visible()
    for part in (".details", ".under", "header", "footer"):
        expect(page.locator(part).locator("visible=true")).to_have_count(0)


def test_arrow_keys_and_a_clicker_step_through_the_first_control(new_page: NewPage) -> None:
    page = new_page(viewport={"width": 1920, "height": 1080})
    page.goto(f"{FIGURES}/rtn?present=1")
    finding = page.locator(".finding")
    expect(finding).to_contain_text("At 4 bits")
    page.keyboard.press("ArrowLeft")
    expect(finding).to_contain_text("At 3 bits")
    expect(page).to_have_url(f"{page.url.partition('?')[0]}?present=1&bits=3")
    page.keyboard.press("PageDown")
    page.keyboard.press("PageDown")
    expect(finding).to_contain_text("At 5 bits")
    page.get_by_label("Stretch the largest weight").focus()
    page.keyboard.press("ArrowRight")
    expect(finding).to_contain_text("Stretched 2×")
    expect(page.get_by_role("slider", name="Bits per weight")).to_have_value("5")
    expect(page).to_have_url(re.compile(r"\?present=1&bits=5&stretch=2$"))
    page.reload()
    expect(finding).to_contain_text("Stretched 2×")


def test_without_scripts_a_form_leads_to_the_large_page(new_page: NewPage) -> None:
    page = new_page(javascript=False, viewport={"width": 1920, "height": 1080})
    page.goto(f"{FIGURES}/rtn?present=1")
    page.get_by_role("button", name="Show this state").click()
    assert "present=1" in page.url
    expect(page.locator("main.present")).to_be_visible()
