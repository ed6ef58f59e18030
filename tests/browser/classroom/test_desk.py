"""The desk by keyboard, in two tabs, without scripts and without a line."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.browser.conftest import NewPage, until
from tests.browser.watch import Watch

pytestmark = pytest.mark.tidy

Axe = Callable[..., list[str]]
WIDTHS = (1440, 1280, 768, 390)
STALE = "Already closed in your other tab. Nothing was done twice."


class Students:
    """Students who send their forms as a browser without scripts does."""

    def __init__(self, browser: Browser, server: str, code: str, count: int) -> None:
        self.code = code
        self.contexts = [browser.new_context(base_url=server) for _ in range(count)]
        for context in self.contexts:
            form: dict[str, str | float | bool] = {"own": "", "offered": ""}
            joined = context.request.post(f"/join/{code}", form=form, max_redirects=0)
            assert joined.status == 303, joined.text()

    def vote(self, desk: Page, answers: list[str], round: int = 1) -> None:
        """Guess on the question that a desk shows."""
        item = (desk.locator("#desk").get_attribute("data-place") or "").split()[1]
        for context, answer in zip(self.contexts, answers, strict=True):
            form: dict[str, str | float | bool] = {"item": item, "round": round, "answer": answer}
            sent = context.request.post(f"/class/{self.code}/vote", form=form, max_redirects=0)
            assert sent.status == 303, sent.text()


Join = Callable[[str, int], Students]


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


def start(page: Page) -> str:
    """Start a class, open its desk, and give its code."""
    page.goto("/classes")
    page.get_by_role("button", name="Start the class").click()
    page.get_by_role("link", name="Open the desk").click()
    says(page, "Ask question 1")
    page.wait_for_load_state()  # its scripts run
    return page.url.rpartition("/")[2]


def large(page: Page) -> Locator:
    return page.locator("#large")


def says(page: Page, text: str) -> None:
    """Wait until this is what the large button does."""
    expect(large(page)).to_contain_text(text)


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id"))


def test_question_is_led_by_keyboard(page: Page, axe: Axe, students: Join) -> None:
    group = students(start(page), 6)
    count, live = page.locator(".desk-count strong"), page.locator("#live")
    expect(count).to_have_text("6")
    assert axe(page) == []
    page.keyboard.press("Enter")
    says(page, "Close the first vote")
    expect(live).to_have_text("Question 1, first vote is open.")
    group.vote(page, ["2", "4", "5", "9", "9", "14"])
    expect(count).to_have_text("6")
    assert axe(page) == []
    page.keyboard.press("t")
    expect(page.locator(".desk-clock")).to_contain_text("closes in")
    page.keyboard.press("t")
    expect(page.locator(".desk-clock")).to_contain_text("open for")
    page.keyboard.press("Enter")
    says(page, "Discuss")
    expect(live).to_have_text("First vote closed, 6 votes.")
    page.keyboard.press("u")
    says(page, "Close the first vote")
    page.keyboard.press("Enter")
    for expected in ("Discuss", "Ask again"):
        says(page, expected)
        page.keyboard.press("Enter")
    says(page, "Close the second vote")
    group.vote(page, ["9", "9", "9", "9", "9", "14"], 2)
    page.keyboard.press("Enter")
    says(page, "Reveal")
    page.keyboard.press("Enter")
    says(page, "Show the second vote")
    expect(page.locator("#reveal")).to_contain_text("in fact 9×")
    page.keyboard.press("ArrowRight")
    says(page, "Show who moved")
    page.keyboard.press("ArrowLeft")
    says(page, "Show the second vote")
    page.keyboard.press("ArrowRight")
    says(page, "Show who moved")
    page.keyboard.press("Enter")
    says(page, "Next: FIG.02")
    assert axe(page) == []
    page.keyboard.press("j")  # a line is marked, then asked or shown
    expect(page.locator("[data-line].marked")).to_contain_text("FIG.02")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("a")
    says(page, "Close the first vote")
    expect(page.locator(".desk-lines .on")).to_have_attribute("id", re.compile("line-"))


def test_enter_does_the_large_button_unless_another_was_reached_by_tab(page: Page) -> None:
    start(page)
    page.keyboard.press("Enter")
    says(page, "Close the first vote")
    blank = page.locator("#screen-blank")
    blank.click()  # the focus is on it now
    expect(blank).to_have_text("Show it again")
    page.keyboard.press("Enter")
    says(page, "Ask again")
    expect(blank).to_have_text("Show it again")
    assert focused(page) == "screen-blank"  # it stays where it was
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert focused(page) == "screen-blank"
    page.keyboard.press("Enter")
    expect(blank).to_have_text("Blank it")
    says(page, "Ask again")


def test_focus_stays_when_the_state_changes(page: Page) -> None:
    start(page)
    large(page).focus()
    for expected in ("Close the first vote", "Ask again", "Close the first vote"):
        page.keyboard.press("Enter")
        says(page, expected)
        assert focused(page) == "large"
    page.locator("#press-close-in").focus()
    page.keyboard.press("Space")
    expect(page.locator("#press-close-stop")).to_be_visible()
    assert focused(page) == "large"  # what it was on has gone


def test_one_press_is_one_press(page: Page) -> None:
    """A key that is held down, or a double click, does not skip ahead."""
    start(page)
    large(page).dblclick()
    says(page, "Close the first vote")
    for _ in range(3):
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    says(page, "Ask again")
    page.wait_for_timeout(300)
    says(page, "Ask again")


def test_skip_asks_once(page: Page) -> None:
    start(page)
    page.keyboard.press("Enter")
    says(page, "Close the first vote")
    question = page.get_by_text("Reveal without a second vote?")
    page.keyboard.press("Shift+R")
    expect(question).to_be_visible()
    page.get_by_role("button", name="Stay").click()
    expect(question).to_be_hidden()
    assert focused(page) == "press-skip"
    page.keyboard.press("Shift+R")
    page.keyboard.press("Enter")
    says(page, "Next: FIG.02")
    expect(page.locator("#reveal")).to_contain_text("Nobody guessed")


def test_peek_is_covered_again(page: Page, students: Join) -> None:
    group = students(start(page), 3)
    page.keyboard.press("Enter")
    says(page, "Close the first vote")
    page.keyboard.press("p")  # nothing to see while a vote is open
    group.vote(page, ["2", "2", "9"])
    page.keyboard.press("Enter")
    says(page, "Discuss")
    peeked = page.locator("#peeked")
    expect(peeked).to_be_hidden()
    page.keyboard.press("p")
    expect(peeked).to_contain_text("1 of 3 are near. Wrong answers crowd at 2.")
    page.keyboard.press("p")
    expect(peeked).to_be_hidden()
    assert peeked.inner_html() == ""
    page.keyboard.press("p")
    expect(peeked).to_be_visible()
    expect(peeked).to_be_hidden(timeout=9000)  # by itself
    page.keyboard.press("p")
    expect(peeked).to_be_visible()
    page.keyboard.press("Enter")
    says(page, "Ask again")
    expect(peeked).to_be_hidden()


def test_keys_rest_in_fields_and_can_be_switched_off(page: Page, axe: Axe) -> None:
    start(page)
    blank = page.locator("#screen-blank")
    page.locator("#arrange > summary").click()
    field = page.locator("#states")
    field.press_sequentially("bqf?")
    field.press("Enter")
    assert field.input_value() == "bqf?\n"
    says(page, "Ask question 1")
    page.locator("h1").click()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    assert axe(page) == []
    page.get_by_label("Keys steer this desk").uncheck()
    page.keyboard.press("Escape")
    page.locator("h1").click()
    for _ in range(2):
        for key in ("Enter", "b"):
            page.keyboard.press(key)
        page.wait_for_timeout(300)
        says(page, "Ask question 1")
        expect(blank).to_have_text("Blank it")
        page.reload()  # the switch is remembered
    large(page).press("Enter")  # a button is still a button
    says(page, "Close the first vote")


def test_two_tabs_show_one_state(page: Page) -> None:
    code = start(page)
    other = page.context.new_page()
    other.goto(f"/desk/{code}")
    page.bring_to_front()
    page.keyboard.press("Enter")
    says(page, "Close the first vote")
    other.bring_to_front()
    says(other, "Close the first vote")
    with held(other):  # the second tab does not hear of what the first does now
        page.bring_to_front()
        page.keyboard.press("Enter")
        says(page, "Ask again")
        other.bring_to_front()
        says(other, "Close the first vote")
        other.keyboard.press("Enter")
        expect(other.locator("#problem")).to_have_text(STALE)
    expect(other.locator("#live")).to_have_text(STALE)
    says(other, "Ask again")


@contextmanager
def held(page: Page) -> Iterator[None]:
    """Keep news from a page."""
    page.route("**/state", lambda route: route.fulfill(status=204))
    yield
    page.unroute("**/state")


def test_desk_says_when_it_has_no_line(page: Page, watch: Watch) -> None:
    watch.expect("ERR_INTERNET_DISCONNECTED|Failed to fetch|AbortError")
    start(page)
    lost = page.locator("#desk-lost")
    expect(lost).to_be_hidden()
    page.context.set_offline(True)
    page.keyboard.press("Enter")
    expect(lost).to_contain_text("No line since")
    says(page, "Ask question 1")
    page.context.set_offline(False)
    page.keyboard.press("Enter")
    says(page, "Close the first vote")
    expect(lost).to_be_hidden()


def late(route: Route) -> None:
    """Let a file come later than those that were asked for with it."""
    time.sleep(0.4)
    route.continue_()


def test_desk_hears_of_students_though_a_script_comes_late(page: Page, students: Join) -> None:
    streams: list[str] = []
    page.on("request", lambda request: streams.append(request.url) if "/events" in request.url else None)
    page.route("**/hx-sse.min.js", late)
    code = start(page)
    until(page, lambda: len(streams) > 0)
    students(code, 2)
    expect(page.locator(".desk-count strong")).to_have_text("2")
    assert len(streams) == 1


def test_secret_link_opens_the_desk_and_leaves_the_address(new_page: NewPage, watch: Watch) -> None:
    watch.expect(r"status of 403")  # of the page that asks for the link, and of the wrong one
    page = new_page()
    page.goto("/classes")
    page.get_by_role("button", name="Start the class").click()
    link = page.locator("#link-teacher").get_attribute("data-link") or ""
    address, _, secret = link.partition("#")
    assert len(secret) == 22
    assert secret not in page.locator("main").inner_text()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as a file").click()
    file = download.value.path()
    assert link in file.read_text()
    asked: list[str] = []
    other = new_page()
    other.on("request", lambda request: asked.append(f"{request.url} {request.headers}"))
    other.goto(link)
    says(other, "Ask question 1")
    assert other.url == address
    assert not any(secret in text for text in asked)  # neither in an address nor in a referrer
    third = new_page()
    third.goto(f"{address}#{'A' * 22}")
    expect(third.get_by_role("heading", name="This link does not steer a class.")).to_be_visible()
    third.locator("input[type=file]").set_input_files(file)
    says(third, "Ask question 1")


def test_desk_works_without_scripts(no_js: Page, students: Join) -> None:
    group = students(start(no_js), 2)
    large(no_js).click()
    says(no_js, "Close the first vote")
    group.vote(no_js, ["2", "9"])
    no_js.get_by_role("link", name="Look for news").click()
    expect(no_js.locator(".desk-count strong")).to_have_text("2")
    large(no_js).click()
    says(no_js, "Discuss")
    no_js.locator("#press-skip").click()
    no_js.get_by_role("button", name="Reveal", exact=True).click()
    says(no_js, "Show the 2 dots")
    no_js.locator("#arrange > summary").click()
    no_js.get_by_label("Question, figure or task").select_option("task:fit")
    no_js.get_by_role("button", name="Add", exact=True).click()
    expect(no_js.locator("#order li")).to_have_count(7)
    expect(no_js.locator("#order")).to_be_visible()


def test_desk_fits_every_width(page: Page, axe: Axe, students: Join) -> None:
    group = students(start(page), 5)
    page.keyboard.press("Enter")
    says(page, "Close the first vote")
    group.vote(page, ["2", "4", "9", "9", "14"])
    page.keyboard.press("Shift+R")
    page.keyboard.press("Enter")
    says(page, "Next: FIG.02")
    for address in (page.url, f"{page.url}/links", f"{page.url}/students", "/classes"):
        page.goto(address)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            until(page, lambda: bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth")))
        assert axe(page) == []
        page.emulate_media(color_scheme="dark")
        assert axe(page, only=["color-contrast"]) == []  # nothing else depends on the scheme
        page.emulate_media(color_scheme="light")
