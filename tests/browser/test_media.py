"""On paper, and in the reader's own few colours: nothing that carries meaning gets lost."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import KeptPage, NewPage
from tests.browser.figures import (
    FIGURES,
    KINDS,
    NAMES,
    PAGE,
    bring_late_drawings,
    computed,
    figure,
    open_alone,
    rendered,
)
from tests.browser.test_contrast import kept_in_full, texts

pytestmark = pytest.mark.tidy

SEGMENTED = [
    name
    for name in NAMES
    if any(getattr(widget, "style", "") == "segments" for widget in FIGURES[name].controls.widgets().values())
]
"""Figures with a choice that is drawn as a row of segments."""

A4_WITHOUT_MARGINS = {"width": 680, "height": 994}  # CSS pixels: 180 × 263 mm
HANDLES = ("button", "summary", ".under a")
"""What every figure has on the screen."""

LOOKS = """element => { const style = getComputedStyle(element);
    return [style.backgroundColor, style.color, style.borderTop, style.borderLeft].join() }"""
UNPAINTED = """keys => keys.filter(key => {
    const style = getComputedStyle(key);
    const ground = ["rgba(0, 0, 0, 0)", getComputedStyle(document.body).backgroundColor];
    const border = parseFloat(style.borderTopWidth) + parseFloat(style.borderLeftWidth);
    return ground.includes(style.backgroundColor) && border === 0;
}).map(key => key.className)"""


@pytest.mark.parametrize("name", NAMES)
def test_paper_shows_the_figure_in_its_state_and_no_control(new_page: NewPage, name: str) -> None:
    page = new_page(viewport=A4_WITHOUT_MARGINS)
    open_alone(page, name)
    shown = figure(page, name)
    for handle in HANDLES:
        expect(shown.locator(handle).filter(visible=True)).not_to_have_count(0)
    page.emulate_media(media="print")
    expect(shown.locator(".drawing")).to_be_visible()
    expect(shown.locator(".formula").first).to_be_visible()
    assert rendered(page, name) == computed(name, FIGURES[name].controls())
    handles = shown.locator(", ".join((".controls input", *HANDLES)))
    assert handles.evaluate_all("all => all.filter(e => e.checkVisibility()).map(e => e.outerHTML)") == []
    assert page.evaluate("document.documentElement.scrollWidth") <= A4_WITHOUT_MARGINS["width"]


def test_paper_says_what_the_controls_are_set_to(page: Page) -> None:
    open_alone(page, "rtn", "bits=5&scheme=symmetric")
    page.emulate_media(media="print")
    settings = figure(page, "rtn").locator(".controls")
    assert "Bits per weight\n5" in re.sub(r"\n+", "\n", settings.inner_text())
    assert "symmetric" in settings.inner_text().splitlines()
    assert "asymmetric" not in settings.inner_text().splitlines()


def test_paper_is_white_also_in_the_dark(dark: Page) -> None:
    dark.goto(PAGE)
    dark.emulate_media(media="print")
    assert dark.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_the_lesson_is_a_pdf_of_a_handouts_length(page: Page) -> None:
    page.goto(PAGE)
    assert len(NAMES) <= pages_of(page.pdf(prefer_css_page_size=True)) <= 2.5 * len(NAMES)


def test_every_figure_is_whole_on_one_sheet(new_page: NewPage) -> None:
    """A figure is never broken where it fits, so it must fit."""
    page = new_page(viewport=A4_WITHOUT_MARGINS)
    page.goto(PAGE)
    bring_late_drawings(page)
    page.emulate_media(media="print")
    heights = page.locator(".fig").evaluate_all(
        "all => all.map(each => [each.dataset.figure, each.getBoundingClientRect().height])"
    )
    assert len(heights) == len(NAMES)
    assert {name: height for name, height in heights if height > A4_WITHOUT_MARGINS["height"]} == {}


@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_the_summary_is_one_sheet(kept_page: KeptPage, paper: str) -> None:
    assert pages_of(kept_page(f"{PAGE}/summary").pdf(format=paper)) == 1


def pages_of(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


@pytest.mark.parametrize(
    ("name", "scheme"), [*((name, "light") for name in NAMES), *((name, "dark") for name in KINDS)]
)
def test_forced_colours_keep_texts_and_keys(kept_page: KeptPage, name: str, scheme: str) -> None:
    shown = kept_in_full(kept_page, name, forced_colors="active", color_scheme=scheme)
    read = texts(shown)
    assert read
    assert [str(text) for text in read if text.contrast < text.least_contrast] == []
    assert shown.locator(".key").evaluate_all(UNPAINTED) == [], "these keys cannot be told from the ground"


@pytest.mark.parametrize("name", SEGMENTED)
def test_forced_colours_keep_what_is_chosen(kept_page: KeptPage, name: str) -> None:
    shown = kept_in_full(kept_page, name, forced_colors="active", color_scheme="light")
    chosen = shown.locator(".segments-row input:checked + span")
    others = shown.locator(".segments-row input:not(:checked) + span")
    assert chosen.count()
    for one in chosen.all():
        assert one.evaluate(LOOKS) != others.first.evaluate(LOOKS)


@pytest.mark.parametrize(
    ("name", "chosen", "other"),
    [
        ("fit", ".ladder label.marked", ".ladder label:not(.marked)"),
        ("quality", ".linked-rows tr.marked > .name", ".linked-rows tr:not(.marked) > .name"),
        ("mixes", ".tiles input:checked + .tile", ".tiles input:not(:checked) + .tile"),
        ("primitive", ".code-cell.chosen", ".code-cell:not(.chosen)"),
    ],
)
def test_forced_colours_keep_what_is_chosen_in_a_drawing(
    new_page: NewPage, name: str, chosen: str, other: str
) -> None:
    page = new_page(forced_colors="active")
    open_alone(page, name)
    shown = figure(page, name)
    assert shown.locator(chosen).first.evaluate(LOOKS) != shown.locator(other).first.evaluate(LOOKS)
