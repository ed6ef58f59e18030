"""Magnified two and four times, and with wider spacing: no text is cut off, every control can be reached.

A browser that zooms lays the page out in fewer CSS pixels: 1440 × 900 at 200 % is 720 × 450, and 1280 × 900
at 400 % is 320 × 225 (WCAG 2.2, 1.4.4 and 1.4.10). Painting each of
them as several pixels would change no measurement. The spacing is that of 1.4.12.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, ViewportSize

from tests.browser.conftest import NewPage
from tests.browser.figures import KINDS, PAGE, open_alone, uncover
from tests.browser.test_contrast import TALL, open_in_full

pytestmark = pytest.mark.tidy

LOST = Path(__file__).with_name("lost.js").read_text()
PATIENCE = 30  # tenths of a second
ZOOMED: dict[str, ViewportSize] = {
    "200 %": {"width": 720, "height": 450},
    "400 %": {"width": 320, "height": 225},
}
SPACING = """() => {
    const sheet = new CSSStyleSheet();  // the page's policy forbids a style element
    sheet.replaceSync(`* { line-height: 1.5 !important; letter-spacing: .12em !important;
        word-spacing: .16em !important } p { margin-bottom: 2em !important }`);
    document.adoptedStyleSheets = [sheet];
}"""


def unfold(page: Page) -> None:
    uncover(page)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")


@pytest.mark.parametrize("name", KINDS)
def test_wider_spacing_cuts_no_text_off(new_page: NewPage, name: str) -> None:
    page = new_page(viewport={"width": 390, "height": TALL})
    shown = open_in_full(page, name)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    page.evaluate(SPACING)
    assert shown.evaluate(LOST) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def lost(page: Page) -> list[str]:
    """What is still cut off when Plotly has had time to follow the new width."""
    found: list[str] = []
    for _ in range(PATIENCE):
        found = page.locator("main").evaluate(LOST)
        if not found:
            break
        page.wait_for_timeout(100)
    return found


def test_nothing_is_cut_off_in_the_lesson(new_page: NewPage, subtests: pytest.Subtests) -> None:
    """With every drawing and everything open; what sticks to the top leaves the page to the reader.

    A list of sections that stays must not hide what has the focus, however low the window.
    """
    page = new_page()
    page.goto(PAGE)
    for zoom, window in ZOOMED.items():
        with subtests.test(f"list of sections, {zoom}"):
            page.set_viewport_size(window)
            box = page.locator("[data-contents]").bounding_box()
            assert box
            assert box["height"] <= window["height"] / 4
    unfold(page)
    for zoom, window in ZOOMED.items():
        with subtests.test(zoom):
            page.set_viewport_size(window)
            assert lost(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= window["width"]
    page.evaluate(SPACING)
    for width in (1440, 390):
        with subtests.test(f"wider spacing, {width} px"):
            page.set_viewport_size({"width": width, "height": 900})
            assert lost(page) == []


def test_a_cut_text_is_found(page: Page) -> None:
    """Protects the tests above."""
    open_alone(page, "rtn")
    page.evaluate("""document.body.innerHTML = '<div id="probe"><p>long long long long</p></div>'""")
    page.evaluate("""() => { const style = document.getElementById("probe").style;
        style.width = "40px"; style.overflow = "hidden"; style.whiteSpace = "nowrap" }""")
    assert len(page.locator("#probe").evaluate(LOST)) == 1
