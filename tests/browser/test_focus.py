"""Where the focus is can be seen in the whole lesson: a ring that stands out, under nothing that sticks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage
from tests.browser.figures import PAGE, awake

pytestmark = pytest.mark.tidy

LOSE_FOCUS = Path(__file__).with_name("focus.js").read_text()
SCREENS: dict[str, dict[str, Any]] = {
    "desktop": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}},
}


def with_keyboard(page: Page) -> None:
    """Open the lesson and press a key: from then on the browser shows the focus."""
    page.goto(PAGE)
    awake(page)
    page.keyboard.press("Tab")


def guess_everything(page: Page) -> None:
    """Touch the control of every question: its button can have the focus only then."""
    for question in page.locator("[data-ask]").all():
        question.locator(".guess input").first.press("ArrowRight")
        expect(question.locator("button").first).to_be_enabled()


@pytest.mark.parametrize("screen", SCREENS)
def test_the_focus_is_seen_wherever_it_goes(new_page: NewPage, screen: str) -> None:
    page = new_page(**SCREENS[screen])
    with_keyboard(page)
    guess_everything(page)
    assert page.evaluate(LOSE_FOCUS, False) == []
    if screen != "dark":  # where things are does not depend on the scheme
        assert page.evaluate(LOSE_FOCUS, True) == [], "on the way back"


def test_a_focus_that_is_not_seen_is_found(page: Page) -> None:
    """Protects the test above: without a ring, with a faint one, and under the list of sections."""
    with_keyboard(page)
    page.evaluate("""() => {
        const sheet = new CSSStyleSheet();
        sheet.replaceSync(`.skip { outline: none !important } .brand { outline-color: #eee !important }
            html { scroll-padding: 0 !important }`);
        document.adoptedStyleSheets = [sheet];
    }""")
    lost = page.evaluate(LOSE_FOCUS, True)
    assert {each.partition(":")[0] for each in lost} >= {"no ring", "faint ring", "under .contents"}
