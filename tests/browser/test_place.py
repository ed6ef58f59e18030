"""Back, forward and reload lead to where the reader was, although figures were uncovered meanwhile."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import NewPage
from tests.browser.figures import PAGE, page_of

NEAR = 20  # CSS pixels
STILL = 20  # tenths of a second
PLACES = "main h2, .prose > *, figure > figcaption, figure .readouts"
MIDDLE = """places => {
    const seen = [...document.querySelectorAll(places)];
    const middle = innerHeight / 3;
    const index = seen.findIndex((each) => each.getBoundingClientRect().bottom > middle);
    return [index, seen[index].getBoundingClientRect().top];
}"""
TOP = "([places, index]) => document.querySelectorAll(places)[index].getBoundingClientRect().top"
Place = tuple[int, float]


@pytest.fixture(params=["desktop", "phone"])
def reader(request: pytest.FixtureRequest, new_page: NewPage) -> Page:
    page = new_page(request.param, covers=True)
    page.goto(PAGE)
    return page


def test_back_and_forward_lead_to_where_the_reader_was(reader: Page) -> None:
    """Over charts that were drawn on the way, and those that were jumped over."""
    page = reader
    places = [read_on(page, 2500)]
    for section in ("family", "awq", "gguf"):
        page.locator(f'[data-section-link="{section}"]').dispatch_event(
            "click"
        )  # which scrolls nothing itself
        expect_landed(page, section)
        places.append(read_on(page, 1700))
    for there in places[-2::-1]:
        page.go_back()
        expect_at(page, there)
    for there in places[1:]:
        page.go_forward()
        expect_at(page, there)


def test_reload_and_return_lead_to_where_the_reader_was(reader: Page) -> None:
    """Beneath figures that were uncovered, from another page too."""
    page = reader
    for name in ("rtn", "awq"):
        ask = page.locator(f"#ask-{name}")
        ask.get_by_role("button").last.click()
        ask.locator(".reveal").wait_for()
    page.locator("[data-figure=awq] .view > .readouts").scroll_into_view_if_needed()
    there = read_on(page, 150)
    page.reload()
    expect_at(page, there)
    page.goto(f"{PAGE}/sources")
    page.go_back()
    expect_at(page, there)


def test_reload_keeps_the_place_on_a_page_of_the_workshop(reader: Page) -> None:
    page = reader
    page.goto(page_of("gptq"))
    ask = page.locator("#ask-gptq")
    ask.get_by_role("button").last.click()
    ask.locator(".reveal").wait_for()
    page.locator("[data-figure=gptq] .under").scroll_into_view_if_needed()
    there = read_on(page, 150)
    page.reload()
    expect_at(page, there)


def test_a_link_lands_where_it_leads_and_back_returns_where_motion_is_welcome(new_page: NewPage) -> None:
    page = new_page(reduced_motion="no-preference")
    page.goto(PAGE)
    there = read_on(page, 2500)
    page.locator('[data-section-link="family"]').dispatch_event("click")
    expect_landed(page, "family")
    page.go_back()
    expect_at(page, there)


def read_on(page: Page, distance: int) -> Place:
    """Scroll as a reader does, and give what then stands in the upper third of the window."""
    for _ in range(5):
        page.evaluate("top => scrollBy({ top, behavior: 'instant' })", distance / 5)
        page.wait_for_timeout(60)
    rest(page)
    index, top = page.evaluate(MIDDLE, PLACES)
    page.wait_for_timeout(300)  # somebody reads
    return index, top


def rest(page: Page) -> None:
    """Wait until nothing on the page has moved for half a second."""
    before, still = None, 0
    for _ in range(10 * STILL):
        now = page.evaluate("[scrollY, document.documentElement.scrollHeight]")
        still = still + 1 if now == before else 0
        if still == 5:
            return
        before = now
        page.wait_for_timeout(100)


def expect_landed(page: Page, section: str) -> None:
    """Wait until the title of a section is at the top, and see that it stays there."""
    place = [f"#{section}-title", 0]
    page.wait_for_function(f"place => 0 < ({TOP})(place) && ({TOP})(place) < 250", arg=place)
    rest(page)
    top = page.evaluate(TOP, place)
    assert 0 < top < 250, f"{section} landed at {top}"


def expect_at(page: Page, place: Place) -> None:
    """Wait until what the reader had before them is there again, and see that it stays there."""
    index, top = place
    page.wait_for_function(
        f"([place, top]) => Math.abs(({TOP})(place) - top) <= {NEAR}", arg=[[PLACES, index], top]
    )
    rest(page)
    now = page.evaluate(TOP, [PLACES, index])
    assert abs(now - top) <= NEAR, f"{now - top:+.0f} px off"
