"""The screen of a class: each state in its own picture, and nothing before its time."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app import create_app
from app.classroom import operations
from app.classroom.database import FILE, Database
from app.classroom.flow import Action
from app.classroom.models import Classroom, Student
from app.settings import Settings
from lessons.catalogue import load_lesson
from lessons.kit.controls import as_parameter
from tests.app.conftest import application

T = TypeVar("T")
LESSON = load_lesson("quantization")
BEFORE = ("voting-1", "closed-1", "discuss", "voting-2", "closed-2")
WAY = (Action.ASK, Action.CLOSE, Action.DISCUSS, Action.ASK_AGAIN, Action.CLOSE, Action.REVEAL)


@dataclass
class Room:
    """A class with the question `rtn`, and its screen."""

    client: TestClient
    code: str

    def run(self, work: Callable[[Session, Classroom], T]) -> T:
        database: Database = application(self.client).state.database
        with database.write() as session:
            return work(session, operations.find_class(session, self.code))

    def screen(self, rest: str = "/state") -> str:
        response = self.client.get(f"/screen/{self.code}{rest}")
        assert response.status_code == 200, response.text
        assert response.headers["cache-control"] == "no-store"
        assert "set-cookie" not in response.headers
        return unescape(response.text)

    def join(self, count: int) -> None:
        self.run(lambda session, own: [operations.join(session, own) for _ in range(count)])

    def act(self, *actions: Action, name: str = "rtn") -> None:
        for action in actions:
            id = self.item("question", name) if action is Action.ASK else None
            self.run(lambda s, own, a=action, id=id: operations.act(s, own, a, own.version, id))  # type: ignore[misc]

    def item(self, kind: str, name: str) -> int:
        order = self.run(operations.running_order)
        return next(item.id for item in order if (item.kind, item.name) == (kind, name))

    def show(self, kind: str, name: str) -> None:
        id = self.item(kind, name)
        self.run(lambda session, own: operations.show(session, own, own.version, id))

    def step(self, by: int = 1) -> None:
        self.run(lambda session, own: operations.step(session, own, own.version, by))

    def vote(self, round: int, values: list[str]) -> None:
        """The first students guess these."""

        def work(session: Session, own: Classroom) -> None:
            students = list(session.scalars(select(Student).order_by(Student.id)))
            for student, value in zip(students, values, strict=False):
                assert own.item_id is not None
                operations.vote(session, student, own.item_id, round, value)

        self.run(work)

    def reveal(self, first: list[str], second: list[str]) -> None:
        self.join(max(len(first), len(second)))
        self.act(Action.ASK)
        self.vote(1, first)
        self.act(Action.CLOSE, Action.DISCUSS, Action.ASK_AGAIN)
        self.vote(2, second)
        self.act(Action.CLOSE, Action.REVEAL)


@pytest.fixture
def room(migrated_file: Path, tmp_path: Path) -> Iterator[Room]:
    shutil.copy(migrated_file, tmp_path / FILE)
    settings = Settings(classes="open", data_dir=str(tmp_path))
    with TestClient(create_app(settings), follow_redirects=False) as client:
        database: Database = application(client).state.database
        later = datetime.now(UTC).date() + timedelta(7)
        with database.write() as session:
            made = operations.create(session, "Monday group", later, lesson="quantization")
        yield Room(client, made.classroom.code)


def dots(text: str) -> list[int]:
    """How many dots each vote has."""
    groups = re.findall(r'<g class="guesses".*?</g>', text, re.DOTALL)
    return [group.count("<circle") for group in groups]


def secrets(name: str) -> list[str]:
    """What is said of a question only after its reveal."""
    reveal = LESSON.questions[name].reveal(None)
    return [LESSON.question_texts[name].sentence(sentence) for sentence in reveal.sentences]


# --- one state, one picture ---


def test_the_lobby_shows_the_way_in(room: Room) -> None:
    page = room.screen("")
    spaced = f"{room.code[:3]} {room.code[3:]}"
    assert f"<h1>{spaced}</h1>" in page
    assert "testserver/join" in page
    assert page.count('class="screen-qr"') == 1
    assert '<b class="here">0</b>' in page
    room.join(3)
    assert '<b class="here">3</b>' in room.screen()


def test_a_vote_shows_the_question_the_count_and_the_code(room: Room) -> None:
    room.join(4)
    room.act(Action.ASK)
    room.vote(1, ["8", "9", "4"])
    text = room.screen()
    assert "How many times wider" in text
    assert "<strong>3</strong><span>of 4<br>have voted" in text
    assert "question 1 of" in text
    assert "first vote" in text
    assert 'class="screen-qr"' in text
    assert "guesses stay covered until the reveal" in text
    assert "Guess alone. Talking comes after." in text


def test_each_phase_says_what_it_is(room: Room) -> None:
    room.join(2)
    said = (
        *("first vote · open", "first vote · closed", "discussion"),
        *("second vote · open", "second vote · closed", "revealed"),
    )
    for action, phase in zip(WAY, said, strict=True):
        room.act(action)
        assert f"· {phase}</span>" in room.screen()


def test_discussion_counts_up(room: Room) -> None:
    room.act(Action.ASK, Action.CLOSE, Action.DISCUSS)
    text = room.screen()
    assert "Find somebody who said something else.<br>Who convinces whom?" in text
    assert re.search(r'data-count="up" data-seconds="\d">0:0\d<', text)


def test_closing_soon_counts_down(room: Room) -> None:
    room.act(Action.ASK)
    room.run(lambda session, own: operations.close_soon(session, own, own.version))
    assert re.search(r'closes in <b data-count="down" data-seconds="(9|10)">', room.screen())


def test_blank_shows_nothing(room: Room) -> None:
    room.reveal(["8"] * 6, ["9"] * 6)
    room.run(lambda session, own: operations.set_screen(session, own, own.version, "blank"))
    text = re.sub(r"<[^>]*>", "", room.screen()).strip()
    assert text == "The screen is blank."


def test_the_code_takes_the_place_of_the_question(room: Room) -> None:
    room.act(Action.ASK)
    room.run(lambda session, own: operations.set_screen(session, own, own.version, "code"))
    text = room.screen()
    assert "Open the camera, or type" in text
    assert "How many times wider" not in text


def test_a_withdrawn_question_is_gone(room: Room) -> None:
    room.join(2)
    room.act(Action.ASK)
    room.vote(1, ["8", "9"])
    room.act(Action.CLOSE, Action.WITHDRAW)
    text = room.screen()
    assert "This question was withdrawn. Its votes are not shown." in text
    assert dots(text) == []


def test_an_ended_class_says_so(room: Room) -> None:
    room.act(Action.ASK)
    room.run(lambda session, own: operations.end(session, own, own.version))
    assert "The class has ended. The lesson stays open." in room.screen()


def test_every_question_and_figure_and_task_can_be_shown(room: Room) -> None:
    kinds = {"question": [*LESSON.questions], "figure": [*LESSON.figures], "task": [*LESSON.tasks]}
    for kind, names in kinds.items():
        for name in names:
            room.run(lambda s, own, k=kind, n=name: operations.add_item(s, own, own.version, k, n))  # type: ignore[misc]
            room.show(kind, name)
            text = room.screen()
            assert f'class="screen screen-{kind}"' in text
            assert 'style="' not in text, "our policy forbids it"


# --- nothing before its time ---


@pytest.mark.parametrize("name", LESSON.questions)
def test_before_the_reveal_no_guess_changes_the_screen(room: Room, name: str) -> None:
    """Only the count does: with other guesses it is the same to the letter, without the answer."""
    if ("question", name) not in {(item.kind, item.name) for item in room.run(operations.running_order)}:
        room.run(lambda s, own: operations.add_item(s, own, own.version, "question", name))
    low, *_, high = (as_parameter(state) for state in LESSON.questions[name].widget.states())
    room.join(6)
    for action, phase in zip(WAY, BEFORE, strict=False):
        room.act(action, name=name)
        round = {"voting-1": 1, "voting-2": 2}.get(phase, 0)
        if round:
            room.vote(round, [low] * 6)
        text = room.screen()
        if round:
            room.vote(round, [high] * 6)
            assert room.screen() == text
        assert dots(text) == []
        assert "in fact" not in text
        assert not any(secret in text for secret in secrets(name))
        assert 'class="near"' not in text


def test_no_name_is_ever_on_the_screen(room: Room) -> None:
    def join(session: Session, own: Classroom) -> None:
        for name in ("Ada Lovelace", "Grace Hopper"):
            operations.join(session, own, name)

    room.run(join)
    room.act(Action.ASK)
    room.vote(1, ["8", "9"])
    for action in WAY[1:]:
        assert not re.search("Lovelace|Hopper", room.screen())
        room.act(action)
    assert not re.search("Lovelace|Hopper", room.screen())


def test_the_link_reads_and_cannot_steer(room: Room) -> None:
    for path in ("", "/state"):
        assert room.client.post(f"/screen/{room.code}{path}").status_code == 405
    page = room.screen("")
    assert "/desk" not in page
    assert "<form" not in page


def test_codes_are_read_as_people_write_them(room: Room) -> None:
    response = room.client.get(f"/screen/{room.code[:3].lower()}-{room.code[3:].lower()}")
    assert response.headers["location"] == f"/screen/{room.code}"
    assert room.client.get("/screen/BBBBBB").status_code == 404
    assert room.client.get("/screen/nothing/state").status_code == 404


# --- the reveal ---


def test_three_beats(room: Room) -> None:
    room.reveal(["3"] * 20 + ["8"] * 5, ["9"] * 24 + ["3"])
    first = room.screen()
    assert dots(first) == [25]
    assert "5 of 25 were near." in first
    assert "First vote, 25" in first
    assert "5 near, 20\u202f%" in first
    assert "Second vote" not in first
    assert "Who moved" not in first
    room.step()
    second = room.screen()
    assert dots(second) == [25, 25]
    assert "5 of 25 were near; after talking, 24 of 25." in second
    assert "Who moved" not in second
    room.step()
    third = room.screen()
    assert "20 came near" in third
    assert "1 moved away" in third
    assert 'class="flow"' in third
    room.step(-2)
    assert room.screen().replace(version(room.screen()), "") == first.replace(version(first), "")


def version(text: str) -> str:
    found = re.search(r'data-version="\d+"', text)
    assert found
    return found[0]


def test_the_table_says_the_same_as_the_dots(room: Room) -> None:
    room.reveal(["3"] * 4 + ["8"] * 2, ["9"] * 6)
    assert re.findall(r'<td class="numeric">(\d+)</td>', room.screen()) == ["4", "2"]
    room.step()
    assert re.findall(r'<td class="numeric">(\d+)</td>', room.screen()) == ["4", "0", "2", "0", "0", "6"]


def test_fewer_than_five_are_shown_only_when_asked_for(room: Room) -> None:
    """So few dots have names."""
    room.reveal(["3", "4", "8"], ["8", "9", "9"])
    text = room.screen()
    assert "in fact" in text
    assert "3 guesses." in text
    assert dots(text) == []
    assert "<td" not in text
    assert "of 3 near" not in text
    room.step()
    assert dots(room.screen()) == [3, 3]


def test_under_twenty_there_are_counts_and_sentences(room: Room) -> None:
    room.reveal(["3"] * 9 + ["8"] * 3, ["9"] * 8 + ["3"] * 4)
    room.step(2)
    text = room.screen()
    assert "3 of 12 near" in text
    assert "%" not in re.sub(r"<[^>]*>", "", text)
    assert "8 came near" in text
    assert "3 moved away, 1 stayed" in text
    assert 'class="flow"' not in text


def test_nobody_guessed(room: Room) -> None:
    room.reveal([], [])
    text = room.screen()
    assert "Nobody guessed." in text
    assert "in fact" in text
    assert dots(text) == [0]


def test_a_reveal_without_a_second_vote_has_one_row(room: Room) -> None:
    room.join(6)
    room.act(Action.ASK)
    room.vote(1, ["3"] * 6)
    room.act(Action.CLOSE, Action.SKIP)
    room.step(2)
    text = room.screen()
    assert dots(text) == [6]
    assert "Second vote" not in text
    assert "Who moved" not in text


# --- figures ---


def test_a_figure_shows_the_answer_only_after_its_reveal(room: Room) -> None:
    room.show("figure", "rtn")
    room.step()
    before = room.screen()
    assert "state 1 of" not in before
    assert "in fact" not in before
    room.reveal(["3"] * 5, ["9"] * 5)
    room.show("figure", "rtn")
    assert "state 1 of 2" in room.screen()
    room.step()
    after = room.screen()
    assert "state 2 of 2" in after
    assert "At 3 bits" in after
    assert "in fact" in after
    room.step()
    assert room.screen() == after, "the last one stays"


def test_a_figure_walks_through_the_states_of_its_teacher(room: Room) -> None:
    states = ("bits=2", "bits=8&block=llm")
    room.run(lambda s, own: operations.add_item(s, own, own.version, "figure", "rtn", states=states))
    last = room.run(operations.running_order)[-1].id
    room.run(lambda session, own: operations.show(session, own, own.version, last))
    assert "At 2 bits" in room.screen()
    room.step()
    text = room.screen()
    assert "At 8 bits" in text
    assert 'value="8"' in text
