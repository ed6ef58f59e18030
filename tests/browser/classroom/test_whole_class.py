"""A whole class, as a teacher holds it: desk, screen, and twenty students in contexts of their own."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from app.addresses import path
from tests.browser.classroom.test_desk import Students, large, says, start
from tests.browser.conftest import ROOT, NewPage
from tests.browser.watch import Watch

Axe = Callable[..., list[str]]
SLIDER = "#vote-rtn-answer"
CARD = "#class-sheet"
NEAR = range(8, 12)  # of a step that becomes 9 times as wide
TASK = "zeros"
BY_FORMS = ["2", "2", "2", "3", "4", "5", "6", "8", "8", "9", "12", "14", "20", "2"]
BY_FORMS_THEN = ["8", "9", "2", "9", "8", "9", "9", "9", "8", "9", "9", "10", "20", "6"]
CROSSED = """svg => {
  const box = (element) => element.getBoundingClientRect();
  const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const marks = [...svg.querySelectorAll("line.truth, rect.near")];
  return [...svg.querySelectorAll("text")].filter((text) => marks.some((mark) => meet(box(text), box(mark))))
    .map((text) => text.textContent);
}"""
"""Texts of a reveal that stand on the answer's line or band."""


@dataclass
class Votes:
    """What was voted, to compare with what is shown: who → first and second guess."""

    given: dict[str, dict[int, str]] = field(default_factory=dict)

    def note(self, who: str, vote: int, answer: str) -> None:
        self.given.setdefault(who, {})[vote] = answer

    def of(self, vote: int) -> list[str]:
        return [guesses[vote] for guesses in self.given.values() if vote in guesses]

    def near(self, vote: int) -> int:
        return sum(int(answer) in NEAR for answer in self.of(vote))

    @property
    def came(self) -> int:
        """How many came near, of those who voted twice."""
        both = [guesses for guesses in self.given.values() if len(guesses) == 2]
        return sum(int(guesses[1]) not in NEAR and int(guesses[2]) in NEAR for guesses in both)


@dataclass
class Room:
    """The pages of a class, and what was voted in it."""

    code: str
    desk: Page
    screen: Page
    crowd: Students
    phones: tuple[Page, Page]
    keyboard: Page
    no_js: Page
    far: Page  # whose line breaks
    votes: Votes = field(default_factory=Votes)

    def press(self, then: str) -> None:
        """Do what the large button of the desk says, and wait for what it says next."""
        large(self.desk).click()
        says(self.desk, then)

    def card(self, page: Page) -> Locator:
        return page.locator(CARD)

    def look(self) -> Page:
        """The page without scripts, as it is now."""
        self.no_js.goto(path("class", self.code))
        return self.no_js


def join(page: Page, code: str) -> None:
    """Join through the pages."""
    page.goto(path("join class", code))
    page.get_by_role("button", name="Join", exact=True).click()


def enter(page: Page, code: str) -> None:
    """Join as the form of the page does, and go on the class's own page: the lesson takes longer to load."""
    form: dict[str, str | float | bool] = {"own": "", "offered": ""}
    assert page.request.post(path("join class", code), form=form).ok
    page.goto(path("class", code))


@pytest.fixture
def crowds(browser: Browser, server: str) -> Iterator[Callable[[str, int], Students]]:
    made: list[Students] = []

    def gather(code: str, count: int) -> Students:
        made.append(Students(browser, server, code, count))
        return made[-1]

    yield gather
    for crowd in made:
        for context in crowd.contexts:
            context.close()


@pytest.fixture
def room(new_page: NewPage, crowds: Callable[[str, int], Students], no_js: Page) -> Room:
    """A class with its screen on and nineteen students in it."""
    desk = new_page()
    code = start(desk)
    screen = new_page(viewport={"width": 1920, "height": 1080})
    screen.goto(path("screen", code))
    phones, keyboard, far = (new_page("phone"), new_page("phone")), new_page(), new_page()
    join(phones[0], code)
    phones[0].wait_for_url("**/lessons/quantization**")
    for page in (phones[1], keyboard, far):
        enter(page, code)
    join(no_js, code)
    crowd = crowds(code, len(BY_FORMS))  # last: without a line they count as here for half a minute
    return Room(code, desk, screen, crowd, phones, keyboard, no_js, far)


def is_accessible(axe: Axe, page: Page, within: str = "html") -> None:
    """In both schemes: of the second one only the colours are different."""
    page.emulate_media(color_scheme="dark")
    assert axe(page, within, only=["color-contrast"]) == [], (page.url, "dark")
    page.emulate_media(color_scheme="light")
    assert axe(page, within) == [], (page.url, "light")


def by_keys(page: Page, answer: str) -> None:
    """Move the thumb with the keyboard from one end, and send."""
    page.locator(SLIDER).focus()
    page.keyboard.press("Home")
    for _ in range(int(answer) - 1):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")


def by_thumb(page: Page, answer: str) -> None:
    page.locator(SLIDER).evaluate(
        "(slider, value) => { slider.value = value;"
        " slider.dispatchEvent(new Event('input', { bubbles: true })) }",
        answer,
    )
    page.locator("[data-class-send]").tap()


def picture(page: Page, name: str) -> None:
    """Keep a picture for the guide for teachers, where pictures are made anew."""
    if os.environ.get("SCREENSHOTS") != "new":
        return
    page.mouse.move(0, 0)
    shown = Image.open(io.BytesIO(page.screenshot(animations="disabled", scale="css"))).convert("RGB")
    small = shown.resize((960, shown.height * 960 // shown.width), Image.Resampling.LANCZOS)
    small.quantize(64, Image.Quantize.FASTOCTREE).save(
        ROOT / "static" / "pictures" / f"{name}.png", optimize=True
    )


def everybody_votes(room: Room, vote: int, special: dict[str, str], crowd: list[str]) -> None:
    """Each in their own way; one has no line while it is sent."""
    room.crowd.vote(room.desk, crowd, round=vote)
    for i, answer in enumerate(crowd):
        room.votes.note(f"form {i}", vote, answer)
    for name, phone in zip(("phone", "other phone"), room.phones, strict=True):
        by_thumb(phone, special[name])
        expect(room.card(phone)).to_contain_text(f"Your guess, {special[name]}×, is in.")
    by_keys(room.keyboard, special["keyboard"])
    expect(room.card(room.keyboard)).to_contain_text(f"Your guess, {special['keyboard']}×, is in.")
    expect(room.keyboard.locator(SLIDER)).to_be_focused()
    page = room.look()
    page.locator(SLIDER).fill(special["no script"])
    page.locator("[data-class-send]").click()
    expect(room.card(page)).to_contain_text(f"Your guess, {special['no script']}×, is in.")
    by_keys(room.far, special["far"])
    for name, answer in special.items():
        room.votes.note(name, vote, answer)


def first_vote(room: Room, axe: Axe) -> None:
    room.press("Close the first vote")
    for page in (*room.phones, room.keyboard, room.far):
        expect(room.card(page)).to_contain_text("first vote · open")
    expect(room.card(room.keyboard)).to_match_aria_snapshot("""
      - paragraph: Question 1 of 3 · first vote · open
      - heading /Halve the bits, from six to three. How many times wider/ [level=2]
      - text: Step at three bits, in steps at six
      - slider "Step at three bits, in steps at six"
      - paragraph:
        - button "Send my guess" [disabled]
        - button "I would rather not"
    """)
    room.far.context.set_offline(True)
    special = {"phone": "6", "other phone": "4", "keyboard": "2", "no script": "9", "far": "19"}
    everybody_votes(room, 1, special, BY_FORMS)
    expect(room.card(room.far)).to_contain_text("Your answer is kept here.")
    expect(room.far.locator(".class-bar")).to_contain_text("No line. 1 answer kept, will be sent.")
    expect(room.desk.locator(".desk-count")).to_contain_text("18")
    room.far.context.set_offline(False)
    expect(room.card(room.far)).to_contain_text("Your guess, 19×, is in.")
    expect(room.screen.locator(".screen-count strong")).to_have_text("19")
    expect(room.screen.locator("main")).to_contain_text("guesses stay covered until the reveal")
    picture(room.desk, "class-desk")
    is_accessible(axe, room.phones[0], "#class")
    is_accessible(axe, room.keyboard)
    room.press("Discuss")


def discussion(room: Room, new_page: NewPage) -> Page:
    """They talk, and somebody comes late, into the state that all are in."""
    room.press("Ask again")
    expect(room.screen.locator("main")).to_contain_text("Find somebody who said something else.")
    expect(room.desk.locator(".desk-mini")).to_contain_text("of talk")
    for page in (room.look(), room.phones[0]):
        expect(room.card(page)).to_contain_text("Who convinces whom?")
        assert "near" not in room.card(page).inner_text()
    late = new_page()
    enter(late, room.code)
    expect(room.card(late)).to_contain_text("You have not voted.")
    return late


def second_vote(room: Room, late: Page) -> None:
    room.press("Close the second vote")
    for page in (*room.phones, room.keyboard, room.far, late):
        expect(room.card(page)).to_contain_text("second vote · open")
    expect(room.card(room.keyboard)).to_match_aria_snapshot("""
      - slider "Step at three bits, in steps at six"
      - group "How sure are you? (may be left out)":
        - radio "a guess"
        - radio "fairly sure"
        - radio "certain"
      - paragraph:
        - button "Send my second guess" [disabled]
        - button "Keep 2×"
        - button "I would rather not"
    """)
    special = {"phone": "9", "other phone": "4", "keyboard": "10", "no script": "9", "far": "9"}
    everybody_votes(room, 2, special, BY_FORMS_THEN)
    expect(room.card(room.far)).to_contain_text("Your guess, 9×, is in.")
    by_keys(late, "3")
    expect(room.card(late)).to_contain_text("Your guess, 3×, is in.")
    room.votes.note("late", 2, "3")
    expect(room.desk.locator(".desk-count")).to_contain_text("20")
    room.press("Reveal")
    for page in (room.screen, room.desk, late, *room.phones):
        assert page.locator(".guesses, .reveal .found, .dots").count() == 0


def reveal(room: Room, axe: Axe) -> None:
    """In three beats; what is drawn after them is what a page that comes new draws."""
    votes, screen = room.votes, room.screen
    dots = screen.locator(".guesses circle")
    room.press("Show the second vote")
    expect(screen.locator("h1")).to_contain_text("9×")
    expect(dots).to_have_count(19)
    expect(screen.locator(".vote-title")).to_have_text([f"First vote, 19{votes.near(1)} of 19 near"])
    room.press("Show who moved")
    expect(dots).to_have_count(39)
    second = f"Second vote, 20{votes.near(2)} near, {votes.near(2) * 5} %"
    expect(screen.locator(".vote-title").last).to_have_text(re.compile(second.replace(" %", r"\s%")))
    room.press("Next: FIG.02")
    expect(screen.locator(".moved")).to_contain_text(f"{votes.came} came near")
    for page in (screen, room.desk, room.phones[0]):
        page.locator("svg.dots").first.wait_for()
        assert page.locator("svg.dots").first.evaluate(CROSSED) == []
        truth = page.locator("svg.dots circle.truth").first
        expect(truth).to_have_css(
            "fill",
            str(truth.evaluate("e => getComputedStyle(e.parentNode.querySelector('line.truth')).stroke")),
        )
    picture(screen, "class-screen")
    expect(room.card(room.phones[0])).to_contain_text("You went from 6× to 9×, nearer by 3.")
    expect(room.card(room.phones[1])).to_contain_text("You stayed at 4×.")
    expect(room.card(room.keyboard)).to_contain_text("You went from 2× to 10×, nearer by 6.")
    expect(room.card(room.look())).to_contain_text("You stayed at 9×.")
    is_accessible(axe, screen)
    is_accessible(axe, room.desk)
    is_accessible(axe, room.keyboard)
    for page, part in ((screen, "main"), (room.desk, "#reveal"), (room.phones[1], CARD)):
        walked = page.locator(part).inner_text()
        page.reload()
        expect(page.locator(part)).to_contain_text("9×")
        assert page.locator(part).inner_text() == walked


def figure_with_states(room: Room) -> None:
    """A figure is prepared in two states, and walked through with the arrow keys."""
    desk, screen = room.desk, room.screen
    desk.locator("#arrange > summary").click()
    desk.locator("#add").select_option("figure:rtn")
    desk.locator("#states").fill("bits=4&group_size=32\nbits=3&group_size=32")
    desk.locator("#add-item").click()
    lines = desk.locator(".desk-order > .desk-lines [data-line]", has_text="FIG.02")
    expect(lines).to_have_count(2)  # a press before the answer to the last one counts for nothing
    lines.last.get_by_role("button", name="Show").click()
    screen.get_by_text("state 1 of 2").wait_for()
    bits = screen.get_by_role("slider", name="Bits per weight")
    expect(bits).to_have_value("4")
    desk.locator("h1").click()
    desk.keyboard.press("ArrowRight")
    screen.get_by_text("state 2 of 2").wait_for()
    expect(bits).to_have_value("3")
    expect(screen.locator(".finding")).to_contain_text("At 3 bits")


def task_at_own_pace(room: Room) -> None:
    """The screen names it; a student solves a step of it on a phone."""
    desk, phone = room.desk, room.phones[0]
    desk.locator("#add").select_option(f"task:{TASK}")
    desk.locator("#add-item").click()
    lines = desk.locator(".desk-order > .desk-lines [data-line]", has_text="at their own pace")
    expect(lines).to_have_count(2)
    lines.last.get_by_role("button", name="Show").click()
    expect(room.screen.locator("main")).to_contain_text("On your own device, at your own pace")
    expect(phone.locator(".class-bar")).to_contain_text("On the screen:")
    phone.goto(f"/lessons/quantization/tasks/{TASK}?stage=fresh&seed=7")
    phone.locator(".class-bar").wait_for()
    phone.locator("label:has([name=cheaper])").first.tap()
    with phone.expect_response("**/answers") as stored:
        phone.get_by_role("button", name="Check").click()
    assert stored.value.ok


def leave(room: Room, late: Page, axe: Axe) -> None:
    """Who came late goes, and takes along what is theirs."""
    late.goto(path("class me", room.code))
    is_accessible(axe, late)
    name = late.locator(".class-menu bdi").inner_text()
    expect(room.desk.locator("#people")).to_contain_text(name)
    late.get_by_role("link", name="Leave and delete what is mine").click()
    late.get_by_role("button", name="Delete").click()
    expect(late.get_by_role("heading", level=1)).to_have_text("Your name and your answers are deleted.")
    expect(room.desk.locator("#people")).not_to_contain_text(name)
    del room.votes.given["late"]


def analysis(room: Room, axe: Axe) -> None:
    """Its numbers are those that were voted."""
    desk, votes = room.desk, room.votes
    desk.locator("#end").click()
    desk.locator("#end-sure").click()
    expect(room.screen.locator("main")).to_contain_text("The class has ended.")
    expect(room.keyboard.locator(".class-bar")).to_contain_text("The class has ended.")
    desk.goto(path("desk analysis", room.code))
    row = desk.locator(".after-items tbody tr").first
    expect(row).to_contain_text("19, 19")
    expect(row).to_contain_text(f"{votes.near(1)} of 19 right or near")
    expect(row).to_contain_text(f"{votes.near(2)} of 19")
    expect(row).to_contain_text("shown from 20 answers")
    desk.locator(".after-dots > summary").click()
    expect(desk.locator(".after-dots .guesses circle")).to_have_count(38)
    is_accessible(axe, desk)
    table = desk.request.get(path("desk export", room.code, "votes.csv")).text()
    lines = [
        line for line in csv.DictReader(io.StringIO(table.removeprefix("\ufeff"))) if line["kind"] == "vote"
    ]
    for vote in (1, 2):
        told = Counter(line["value"] for line in lines if line["vote"] == str(vote))
        assert told == Counter(votes.of(vote))


def test_a_whole_class(room: Room, new_page: NewPage, axe: Axe, watch: Watch) -> None:
    watch.expect("ERR_INTERNET_DISCONNECTED")
    expect(room.screen.locator("b.here")).to_have_text("19")
    expect(room.desk.locator(".desk-count")).to_contain_text("19")
    first_vote(room, axe)
    late = discussion(room, new_page)
    second_vote(room, late)
    reveal(room, axe)
    figure_with_states(room)
    task_at_own_pace(room)
    leave(room, late, axe)
    analysis(room, axe)
