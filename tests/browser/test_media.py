"""On paper nothing that carries meaning gets lost. (Forced colours are in `test_contrast.py`.)"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import KeptPage, NewPage
from tests.browser.figures import (
    FIGURES,
    NAMES,
    PAGE,
    SPINE,
    computed,
    figure,
    open_alone,
    rendered,
)

pytestmark = pytest.mark.tidy

A4_WITHOUT_MARGINS = {"width": 680, "height": 994}  # CSS pixels: 180 × 263 mm
HANDLES = ("button", "summary", ".under a")
"""What every figure has on the screen."""
SEEN = "all => all.filter(each => each.checkVisibility()).map(each => each.outerHTML)"


def test_paper_shows_each_figure_whole_in_its_state_and_no_control(
    new_page: NewPage, subtests: pytest.Subtests
) -> None:
    """A figure is never broken where it fits on one sheet, so it must fit."""
    page = new_page(viewport=A4_WITHOUT_MARGINS)
    for name in NAMES:
        with subtests.test(name):
            page.emulate_media(media="screen")
            open_alone(page, name)
            shown = figure(page, name)
            assert shown.locator(", ".join(HANDLES)).evaluate_all(SEEN)
            page.emulate_media(media="print")
            shown.locator(".drawing").wait_for()
            assert rendered(page, name) == computed(name, FIGURES[name].controls())
            handles = shown.locator(", ".join((".control input", *HANDLES)))
            assert handles.evaluate_all(SEEN) == []
            assert (
                shown.evaluate("shown => shown.getBoundingClientRect().height")
                <= A4_WITHOUT_MARGINS["height"]
            )
    page.goto(PAGE)
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= A4_WITHOUT_MARGINS["width"]


def test_paper_says_what_the_controls_are_set_to(page: Page) -> None:
    open_alone(page, "rtn", "bits=5&scheme=symmetric")
    page.emulate_media(media="print")
    figure(page, "rtn").locator(".formula").first.wait_for()
    front, folded = (figure(page, "rtn").locator(row) for row in (".controls", ".more-controls"))
    assert "Bits per weight\n5" in re.sub(r"\n+", "\n", front.inner_text())
    assert "symmetric" in folded.inner_text().splitlines()
    assert "asymmetric" not in folded.inner_text().splitlines()


def test_paper_is_white_also_in_the_dark(dark: Page) -> None:
    dark.goto(PAGE)
    dark.emulate_media(media="print")
    assert dark.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_the_lesson_is_a_pdf_of_a_handouts_length(page: Page) -> None:
    page.goto(PAGE)
    assert len(SPINE) <= pages_of(page.pdf(prefer_css_page_size=True)) <= 2.5 * len(NAMES)


@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_the_summary_is_one_sheet(kept_page: KeptPage, paper: str) -> None:
    assert pages_of(kept_page(f"{PAGE}/summary").pdf(format=paper)) == 1


def pages_of(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", pdf))
