"""After a class: the analysis at every width, a student's row, and deleting, with no script of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.classroom.test_desk import Join, Students, large, start

pytestmark = pytest.mark.tidy

Axe = Callable[..., list[str]]
WIDTHS = (1440, 768, 390)


@pytest.fixture
def students(browser: Browser, server: str) -> Iterator[Join]:
    """Give a function that lets students join a class."""
    made: list[Students] = []

    def join(code: str, count: int) -> Students:
        made.append(Students(browser, server, code, count))
        return made[-1]

    yield join
    for group in made:
        for context in group.contexts:
            context.close()


def test_the_analysis_of_a_class(page: Page, students: Join, axe: Axe) -> None:
    code = start(page)
    group = students(code, 3)
    large(page).click()
    expect(large(page)).to_contain_text("Close the first vote")
    group.vote(page, ["8", "2", "9"])
    for label in ("Discuss", "Ask again", "Close the second vote"):
        large(page).click()
        expect(large(page)).to_contain_text(label)
    group.vote(page, ["9", "2", "9"], round=2)
    page.goto(f"/desk/{code}/analysis")
    expect(page.locator("main")).to_contain_text("not revealed yet")
    assert page.locator(".after-items").count() == 0
    page.goto(f"/desk/{code}")
    large(page).click()
    expect(large(page)).to_contain_text("Reveal")
    large(page).click()
    expect(large(page)).to_contain_text("Show the")
    page.goto(f"/desk/{code}/analysis")
    expect(page.locator(".after-items")).to_contain_text("of 3 right or near")
    page.locator(".after-dots > summary").click()
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        table = page.locator(".table-scroll:has(.after-items)")
        assert table.evaluate("e => e.scrollWidth <= e.clientWidth"), width
        assert axe(page) == [], width
        page.emulate_media(color_scheme="dark")
        assert axe(page, only=["color-contrast"]) == [], (width, "dark")  # nothing else depends on the scheme
        page.emulate_media(color_scheme="light")
    names = page.locator("#choose option").all_inner_texts()
    page.locator("#choose").select_option(label=names[1])
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".after-name")).to_have_text(names[1])
    page.locator(".after-sure summary").click()
    page.get_by_role("button", name="Delete this student").click()
    expect(page.locator("#choose option")).to_have_count(2)
    assert names[1] not in page.locator("main").inner_text()
    page.get_by_label("The code of the class").fill(code.lower())
    page.get_by_role("button", name="Delete the class").click()
    expect(page.locator("h1")).to_contain_text("is deleted")
