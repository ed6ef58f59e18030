"""Protects the other browser tests: what `watch` must catch is caught, on a page with the real headers."""

from playwright.sync_api import Page

from tests.browser.conftest import until
from tests.browser.watch import Watch


def visit_home(page: Page) -> None:
    answer = page.goto("/")
    assert answer is not None
    assert answer.status == 200


def wait_for(page: Page, watch: Watch, problem: str) -> None:
    until(page, lambda: any(problem in text for text in watch.seen))


def test_a_quiet_page_has_no_problems(page: Page, watch: Watch) -> None:
    visit_home(page)
    assert watch.seen == []


def test_an_image_from_another_host_is_caught(page: Page, watch: Watch) -> None:
    watch.expect("CSP|Content Security Policy|elsewhere.invalid")
    visit_home(page)
    page.evaluate("new Image().src = 'http://elsewhere.invalid/x.png'")
    wait_for(page, watch, "CSP: img-src forbids http://elsewhere.invalid")


def test_leaving_for_another_host_is_caught(page: Page, watch: Watch) -> None:
    watch.expect("elsewhere.invalid")
    visit_home(page)
    page.evaluate("location.href = 'http://elsewhere.invalid/'")
    wait_for(page, watch, "request to another host: http://elsewhere.invalid/")


def test_an_inline_style_sheet_is_caught(page: Page, watch: Watch) -> None:
    watch.expect("CSP|Content Security Policy")
    visit_home(page)
    page.evaluate(
        "document.head.append(Object.assign(document.createElement('style'), {textContent: 'a{}'}))"
    )
    wait_for(page, watch, "CSP: style-src-elem forbids inline")


def test_an_exception_is_caught(page: Page, watch: Watch) -> None:
    watch.expect("deliberate")
    visit_home(page)
    page.evaluate("setTimeout(() => { throw new Error('deliberate') })")
    wait_for(page, watch, "deliberate")
