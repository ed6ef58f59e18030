"""The lesson as a page: accessible, fluid, remembered, and quiet about it."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.charts import CHARTS
from tests.browser.conftest import until
from tests.browser.figures import FIGURES, LESSON, PAGE, awake, figure, uncover
from tests.browser.watch import Watch

pytestmark = pytest.mark.tidy

Axe = Callable[..., list[str]]
READ_PAGES = [
    "/",
    "/accessibility",
    PAGE,
    *(f"{PAGE}/{page}" for page in ("summary", "faq", "sources", "receipts", "workshop")),
    *(f"{PAGE}/workshop/{page.slug}" for page in LESSON.workshop),
]
ALL_PAGES = [*READ_PAGES, "/styleguide", "/nowhere", f"{PAGE}/figures/rtn?bits=9"]


def visit(page: Page, watch: Watch, address: str) -> None:
    """Open an address; its own status as an error page is no complaint."""
    watch.expect("Failed to load resource: the server responded with a status of 4")
    page.goto(address)


@pytest.mark.parametrize("address", ALL_PAGES)
def test_a_page_is_accessible_and_fluid(
    page: Page, watch: Watch, axe: Axe, address: str, subtests: pytest.Subtests
) -> None:
    visit(page, watch, address)
    of_workshop = "/workshop/" in address
    if of_workshop:
        awake(page)
    elif page.locator("figure[data-figure]").count():
        page.wait_for_load_state("networkidle")  # the style sheet of charts comes with them
    with subtests.test("axe"):
        # Figures of the workshop are asked on their own pages, see test_every_state and test_contrast.
        assert axe(page, outside=["figure"] if of_workshop else []) == []
    if not of_workshop:  # their colours are those of the lesson
        with subtests.test("axe, dark"):
            page.emulate_media(color_scheme="dark")
            assert axe(page, only=["color-contrast"]) == []  # nothing else depends on the scheme
    with subtests.test("headings"):
        levels = page.locator("h1, h2, h3, h4").evaluate_all("all => all.map(h => +h.tagName[1])")
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    for width in (320, 390, 768, 1440, 2560) if address in READ_PAGES else ():
        page.set_viewport_size({"width": width, "height": 900})
        with subtests.test(f"{width} px"):
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_style_guide_scrolls_not_sideways_when_everything_is_open(new_page: Any) -> None:
    page = new_page(viewport={"width": 320, "height": 900})
    page.goto("/styleguide")
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_skip_link_is_the_first_stop_and_leads_to_the_content(page: Page) -> None:
    page.goto(PAGE)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("#content$"))


def test_section_list_marks_where_the_reader_is(page: Page) -> None:
    page.goto(PAGE)
    link = page.locator('[data-section-link="awq"]')
    link.click()
    expect(link).to_have_attribute("aria-current", "true")
    expect(page.locator("[data-section-link][aria-current]")).to_have_count(1)


def test_sections_read_are_remembered_in_this_browser_only(page: Page) -> None:
    page.goto(PAGE)
    page.locator('[data-section-link="awq"]').click()
    expect(page.locator('[data-section-link="awq"]')).to_have_attribute("data-read", "")
    page.goto(PAGE)
    expect(page.locator('[data-section-link="awq"]')).to_have_attribute("data-read", "")
    assert page.context.cookies() == []


@pytest.mark.parametrize("address", [PAGE, f"{PAGE}/summary"])
def test_colour_scheme_can_be_chosen_and_is_kept(page: Page, address: str) -> None:
    page.goto(address)
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    button = page.locator("[data-theme-button]")
    button.click()
    button.click()
    expect(button).to_have_attribute("aria-label", "Colour scheme: dark")
    dark = page.evaluate(paper)
    assert dark != light
    page.reload()
    assert page.evaluate(paper) == dark


def test_a_slider_keeps_its_focus_and_details_stay_open_through_a_change(page: Page) -> None:
    page.goto(f"{PAGE}/figures/rtn")
    page.locator("html.js").wait_for()
    fig = figure(page, "rtn")
    fig.locator("details.data > summary").click()
    slider = page.locator("#fig-02-bits")
    slider.focus()
    page.keyboard.press("End")
    expect(fig.locator('output[name="levels"]')).to_have_text("256")
    expect(slider).to_be_focused()
    assert fig.locator("details.data").get_attribute("open") is not None


def test_the_same_marks_move_they_are_not_replaced(page: Page) -> None:
    page.goto(f"{PAGE}/figures/rtn")
    page.locator("html.js").wait_for()
    page.evaluate("window.mark = document.getElementById('fig-02-s0')")
    page.locator("#fig-02-bits").focus()
    page.keyboard.press("End")
    expect(figure(page, "rtn").locator('output[name="levels"]')).to_have_text("256")
    assert page.evaluate("window.mark === document.getElementById('fig-02-s0')")


def test_snapped_marks_lie_on_the_level_lines(page: Page) -> None:
    """Read from the screen: every snapped weight's centre is the height of a drawn level."""
    page.goto(f"{PAGE}/figures/rtn")
    heights = """selector => [...document.querySelectorAll(selector)].map(e => {
        const box = e.getBoundingClientRect(); return (box.top + box.bottom) / 2 })"""
    levels = page.evaluate(heights, "#fig-02 .level")
    marks = page.evaluate(heights, "#fig-02 .snap-mark")
    assert len(levels) == 16
    assert len(marks) == 32
    assert all(min(abs(mark - level) for level in levels) < 0.6 for mark in marks)


def test_a_refused_request_says_what_is_allowed_and_the_figure_recovers(page: Page, watch: Watch) -> None:
    watch.expect("status of 422")
    page.goto(f"{PAGE}/figures/rtn")
    page.locator("html.js").wait_for()
    page.evaluate("document.getElementById('fig-02-bits').max = 9")
    slider = page.locator("#fig-02-bits")
    slider.focus()
    page.keyboard.press("End")
    expect(figure(page, "rtn").locator(".problem")).to_contain_text("2 to 8")
    page.keyboard.press("Home")
    expect(figure(page, "rtn").locator('output[name="levels"]')).to_have_text("4")


@pytest.mark.parametrize("name", CHARTS)
def test_data_chart_becomes_plotly_near_the_viewport_with_every_point(page: Page, name: str) -> None:
    page.goto(f"{PAGE}/figures/{name}")
    figure(page, name).locator(".chart.live").wait_for()
    shown = FIGURES[name].view(FIGURES[name].controls()).chart
    assert shown
    points = sum(len(series.points) for series in shown.series if series.kind != "line")
    expect(figure(page, name).locator(".chart-live .point")).to_have_count(points)
    titles = page.locator(".modebar-btn").evaluate_all("all => all.map(b => b.dataset.title || '')")
    assert titles
    assert not [title for title in titles if "loud" in title or "hare" in title or "Plotly" in title], (
        "uploads"
    )


@pytest.mark.parametrize("name", CHARTS)
def test_without_scripts_the_chart_is_a_drawing(no_js: Page, name: str) -> None:
    no_js.goto(f"{PAGE}/figures/{name}")
    figure(no_js, name).locator(".chart-static .mark").first.wait_for()


def test_plotly_is_not_asked_for_before_a_chart_is_near(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(PAGE)
    page.wait_for_load_state("networkidle")
    assert not [url for url in asked if "plotly-basic" in url]
    uncover(page)
    until(page, lambda: any("plotly-basic" in url for url in asked))
