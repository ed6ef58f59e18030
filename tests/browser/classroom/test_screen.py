"""The screen of a class on a projector: legible, by itself up to date, and honest about a lost line."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.classroom import operations
from app.classroom.database import Database, url_of
from app.classroom.flow import Action
from app.classroom.models import Classroom, Student, Vote
from lessons.catalogue import load_lesson
from lessons.kit.controls import as_parameter

T = TypeVar("T")
Axe = Callable[..., list[str]]
LESSON = load_lesson("quantization")
LARGE = (Path(__file__).parents[1] / "large.js").read_text("utf-8").partition("\n")[2]
LINE_IS_CUT = "ERR_INTERNET_DISCONNECTED|Failed to fetch"
SIZES = ((1920, 1080), (1280, 720))
BELOW = """() => [...document.querySelectorAll("main *:not(.visually-hidden, .visually-hidden *)")]
    .filter((element) => element.getBoundingClientRect().bottom > innerHeight + 1)
    .map((element) => element.outerHTML.slice(0, 80))"""
"""What reaches below the screen."""


@dataclass
class Host:
    """A server that holds classes, and its database."""

    url: str
    database: Database


@dataclass
class Room:
    """A class of this host."""

    host: Host
    code: str

    def do(self, work: Callable[[Session, Classroom], T]) -> T:
        with self.host.database.write() as session:
            return work(session, operations.find_class(session, self.code))

    def join(self, count: int) -> None:
        self.do(lambda session, own: [operations.join(session, own) for _ in range(count)])

    def show(self, kind: str, name: str) -> None:
        """Put a line on the screen, a new one where there is none."""

        def work(session: Session, own: Classroom) -> None:
            order = operations.running_order(session, own)
            found = next((item for item in order if (item.kind, item.name) == (kind, name)), None)
            item = found or operations.add_item(session, own, own.version, kind, name)
            operations.show(session, own, own.version, item.id)

        self.do(work)

    def act(self, *actions: Action) -> None:
        for action in actions:
            self.do(lambda session, own, a=action: operations.act(session, own, a, own.version))  # type: ignore[misc]

    def vote(self, round: int, name: str, seed: int = 1) -> None:
        """Everybody guesses, the second time nearer to one another."""
        values = [as_parameter(state) for state in LESSON.questions[name].widget.states()]
        draw = random.Random(seed)

        def work(session: Session, own: Classroom) -> None:
            mine = select(Student.id).where(Student.classroom_id == own.id).order_by(Student.id)
            for student in session.scalars(mine):
                at = draw.gauss(0.3 if round == 1 else 0.55, 0.2 if round == 1 else 0.1)
                value = values[round_to(at, len(values))]
                fields = {
                    "value": value,
                    "outcome": "off",
                    "late": False,
                    "seconds": 1.0,
                    "at": datetime.now(UTC),
                }
                session.add(Vote(item_id=own.item_id, student_id=student, round=round, **fields))
            own.tally += 1

        self.do(work)

    def step(self, by: int = 1) -> None:
        self.do(lambda session, own: operations.step(session, own, own.version, by))

    def screen(self, screen: str) -> None:
        self.do(lambda session, own: operations.set_screen(session, own, own.version, screen))


def round_to(share: float, count: int) -> int:
    return min(max(int(share * count), 0), count - 1)


@pytest.fixture(scope="module")
def host(server: str, data_dir: Path) -> Iterator[Host]:
    database = Database(url_of("", str(data_dir)))
    database.migrated = True  # by the server
    yield Host(server, database)
    database.close()


@pytest.fixture
def room(host: Host) -> Room:
    later = datetime.now(UTC).date() + timedelta(7)
    with host.database.write() as session:
        made = operations.create(session, "Quantization, Monday group", later, lesson="quantization")
    return Room(host, made.classroom.code)


@contextmanager
def projected(
    browser: Browser,
    room: Room,
    width: int = 1920,
    height: int = 1080,
    expected: str = LINE_IS_CUT,
    **options: Any,
) -> Iterator[Page]:
    """The screen on a projector; nothing else than `expected` may be complained of in its console."""
    settings = {"reduced_motion": "reduce", "viewport": {"width": width, "height": height}} | options
    context = browser.new_context(**settings)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{room.host.url}/screen/{room.code}")
    yield page
    context.close()
    assert [text for text in complaints if not re.search(expected, text)] == []


def is_legible(page: Page, axe: Axe | None, face: str) -> None:
    """The screen shows this, large enough, all of it inside, and accessible."""
    page.locator(f"main.screen-{face}").wait_for()
    size = page.viewport_size
    assert size
    found = page.evaluate(LARGE, ["main", 24 * size["width"] / 1920])
    assert found["small"] == []
    assert found["beside"] == []
    assert (found["width"], found["height"]) == (size["width"], size["height"]), "nothing to scroll"
    below = page.evaluate(BELOW)
    assert below == []
    assert axe is None or axe(page) == []


WAY = (
    (Action.ASK, "first vote · open", "question"),
    (Action.CLOSE, "first vote · closed", "question"),
    (Action.DISCUSS, "discussion", "discuss"),
    (Action.ASK_AGAIN, "second vote · open", "question"),
    (Action.CLOSE, "second vote · closed", "question"),
    (Action.REVEAL, "revealed", "revealed"),
)


@pytest.mark.parametrize(("size", "scheme"), list(zip(SIZES, ("light", "dark"), strict=True)))
def test_every_state_can_be_read_from_afar(
    browser: Browser, room: Room, axe: Axe, size: tuple[int, int], scheme: str
) -> None:
    unit = size[0] / 1920
    with projected(browser, room, *size, color_scheme=scheme) as page:
        is_legible(page, axe, "code")
        box = page.locator(".screen-qr").bounding_box()
        assert box
        assert box["width"] == pytest.approx(520 * unit, abs=1)
        room.join(24)
        expect(page.locator("b.here")).to_have_text("24")
        room.show("question", "rtn")
        for action, phase, face in WAY:
            room.act(action)
            expect(page.locator(".screen-head")).to_contain_text(f"· {phase}")
            if action in (Action.ASK, Action.ASK_AGAIN):
                room.vote(1 if action is Action.ASK else 2, "rtn")
                expect(page.locator(".screen-count strong")).to_have_text("24")
                box = page.locator(".screen-qr").bounding_box()
                assert box
                assert box["width"] == pytest.approx(132 * unit, abs=1)
            is_legible(page, axe, face)
        for title in ("Second vote, 24", "Who moved"):
            room.step()
            page.get_by_text(title).first.wait_for()
            is_legible(page, axe, "revealed")
        room.show("figure", "rtn")
        is_legible(page, axe, "figure")
        room.show("task", "zeros")
        is_legible(page, axe, "task")
        room.screen("blank")
        is_legible(page, axe, "blank")
        room.do(lambda session, own: operations.end(session, own, own.version))
        room.do(lambda session, own: setattr(own, "screen", "follow"))
        page.reload()
        is_legible(page, axe, "ended")


def test_every_question_has_room(browser: Browser, room: Room, subtests: pytest.Subtests) -> None:
    """The longest question, answer and reason as well, with 350 guesses."""
    room.join(350)
    with projected(browser, room) as page:
        for name in LESSON.questions:
            with subtests.test(name):
                room.show("question", name)
                room.act(Action.ASK)
                room.vote(1, name)
                shows(page, "voting-1")
                is_legible(page, None, "question")
                room.act(Action.CLOSE, Action.DISCUSS)
                shows(page, "discuss")
                is_legible(page, None, "discuss")
                room.act(Action.ASK_AGAIN)
                room.vote(2, name)
                room.act(Action.CLOSE, Action.REVEAL)
                shows(page, "revealed 1")
                is_legible(page, None, "revealed")
                expect(page.locator(".guesses circle")).to_have_count(350)
                room.step(2)
                shows(page, "revealed 3")
                is_legible(page, None, "revealed")
                expect(page.locator(".guesses circle")).to_have_count(700)


def shows(page: Page, phase: str) -> None:
    """Wait until the screen is in a phase."""
    expect(page.locator("main")).to_have_attribute("data-place", re.compile(phase))


def test_a_count_leaves_a_figure_alone_and_a_step_replaces_it(browser: Browser, room: Room) -> None:
    with projected(browser, room) as page:
        room.show("question", "rtn")
        room.act(Action.ASK, Action.CLOSE, Action.SKIP)
        room.show("figure", "rtn")
        bits = page.get_by_role("slider", name="Bits per weight")
        expect(bits).to_have_value("4")
        bits.press("ArrowRight")
        expect(page.locator(".finding")).to_contain_text("At 5 bits")
        with page.expect_response("**/state"):
            room.join(1)
        page.wait_for_timeout(300)
        expect(bits).to_have_value("5")
        assert page.url.endswith(room.code), "its address stays that of the class"
        room.step()
        expect(bits).to_have_value("3")
        expect(page.locator(".finding")).to_contain_text("At 3 bits")
        expect(page.get_by_text("state 2 of 2")).to_be_visible()


def test_clock_of_the_discussion_goes_on(browser: Browser, room: Room) -> None:
    room.show("question", "rtn")
    room.act(Action.ASK, Action.CLOSE, Action.DISCUSS)
    with projected(browser, room) as page:
        clock = page.locator(".clock")
        expect(clock).to_have_text("0:02")
        expect(clock).to_have_text("0:03")


def test_a_lost_line_is_said_and_made_good(browser: Browser, room: Room) -> None:
    room.show("question", "rtn")
    room.act(Action.ASK)
    with projected(browser, room) as page:
        lost = page.locator("#screen-lost")
        expect(page.locator(".screen-count strong")).to_have_text("0")
        expect(lost).to_be_hidden()
        page.context.set_offline(True)
        page.evaluate("document.getElementById('screen-line')._htmx?.sse?.reader?.cancel()")
        expect(lost).to_contain_text("No line since")
        room.join(2)
        room.vote(1, "rtn")
        page.context.set_offline(False)
        expect(lost).to_be_hidden()
        expect(page.locator(".screen-count strong")).to_have_text("2")


def test_the_screen_of_a_deleted_class_says_that_there_is_none(browser: Browser, room: Room) -> None:
    with projected(browser, room, expected="404") as page:
        expect(page.locator("main")).to_contain_text("Open the camera")
        room.do(operations.delete_class)
        expect(page.locator("main")).to_contain_text("No class has this code.")


def test_who_moved_moves_no_vote(browser: Browser, room: Room) -> None:
    room.join(24)
    room.show("question", "rtn")
    room.act(Action.ASK)
    room.vote(1, "rtn")
    room.join(1)  # who comes late is named below the drawing
    room.act(Action.CLOSE, Action.DISCUSS, Action.ASK_AGAIN)
    room.vote(2, "rtn")
    room.act(Action.CLOSE, Action.REVEAL)
    with projected(browser, room) as page:
        places = []
        for beat, shown in enumerate((".screen-beside", ".vote-2", ".moved .joined")):
            if beat:
                room.step()
            expect(page.locator(shown)).to_be_visible()
            places.append(page.locator(".vote-1 .axis").first.bounding_box())
        assert places[0] == places[1] == places[2]
        inside = "e => e.getBoundingClientRect().bottom <= innerHeight"
        assert page.locator(".moved .joined").evaluate(inside)


def test_nothing_moves_where_motion_is_not_wanted(browser: Browser, room: Room) -> None:
    room.join(8)
    room.show("question", "rtn")
    room.act(Action.ASK)
    room.vote(1, "rtn")
    room.act(Action.CLOSE, Action.SKIP)
    for wish, moving in (("reduce", False), ("no-preference", True)):
        with projected(browser, room, reduced_motion=wish) as page:
            name = page.locator(".guesses").first.evaluate("e => getComputedStyle(e).animationName")
            assert (name != "none") == moving
