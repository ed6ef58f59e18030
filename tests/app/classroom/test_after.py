"""The pages after a class: what they show, to whom, and what they delete."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from starlette.testclient import TestClient

from app import create_app
from app.classroom import operations
from app.classroom.codes import spaced
from app.classroom.flow import Action
from app.classroom.models import Classroom, Item, Student, Vote
from app.settings import Settings
from app.views.classroom.analysis import Shift, duration
from tests.app.conftest import application
from tests.app.html import Element, parse

PAGES = ("analysis", "export/votes.csv", "export/students.csv", "export/class.json", "answers")
SECRET_OF_ANSWERS = "the largest weight determines the whole grid"


@dataclass
class Room:
    client: TestClient
    code: str
    secret: str
    students: list[str] = field(default_factory=list)

    def do(self, work: Any) -> Any:
        with application(self.client).state.database.write() as session:
            return work(session, operations.find_class(session, self.code))

    def get(self, page: str, **query: str) -> Any:
        return self.client.get(f"/desk/{self.code}/{page}", params=query)

    def post(self, page: str, **fields: str) -> Any:
        return self.client.post(f"/desk/{self.code}/{page}", data=fields)

    def page(self, **query: str) -> Element:
        answer = self.get("analysis", **query)
        assert answer.status_code == 200
        return parse(answer.text).one("main")

    def count(self, table: type[Any]) -> int:
        return int(self.do(lambda session, _: session.scalar(select(func.count()).select_from(table))))


def start(client: TestClient, people: int = 3) -> Room:
    """A class whose teacher is the client."""

    def make(session: Any) -> tuple[str, str]:
        ends = datetime.now(UTC).date() + timedelta(days=9)
        created = operations.create(session, "Monday <b>", ends, lesson="quantization")
        return created.classroom.code, created.secret

    with application(client).state.database.write() as session:
        code, secret = make(session)
    room = Room(client, code, secret)
    client.cookies.clear()
    client.cookies.set("teacher", secret, path=f"/desk/{code}")
    room.students = room.do(lambda s, c: [operations.join(s, c).student.id for _ in range(people)])
    return room


def ask(room: Room, values: list[tuple[str, str]], name: str = "rtn", *, reveal: bool = True) -> None:
    """Ask a question; students give these first and second guesses, certain of the second."""

    def work(session: Any, classroom: Classroom) -> None:
        item = session.scalar(
            select(Item).where(Item.classroom_id == classroom.id, Item.name == name, Item.kind == "question")
        )
        operations.act(session, classroom, Action.ASK, classroom.version, item.id)
        for round in (1, 2):
            for student, pair in zip(room.students, values, strict=True):
                who = session.get_one(Student, student)
                operations.vote(session, who, item.id, round, pair[round - 1], 3 if round == 2 else None)
            steps = [Action.CLOSE] + ([Action.DISCUSS, Action.ASK_AGAIN] if round == 1 else [])
            for action in [*steps, *([Action.REVEAL] if round == 2 and reveal else [])]:
                operations.act(session, classroom, action, classroom.version)

    room.do(work)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(classes="open", data_dir=str(tmp_path_factory.mktemp("data")))
    with TestClient(create_app(settings), follow_redirects=False) as running:
        yield running


@pytest.fixture
def room(client: TestClient) -> Room:
    return start(client)


# --- who may see it ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_only_the_teacher_sees_it(client: TestClient, page: str) -> None:
    other, room = start(client), start(client)
    assert room.get(page).status_code == 200
    assert room.get(page).headers["cache-control"] == "no-store"
    client.cookies.clear()
    assert room.get(page).status_code == 403
    client.cookies.set("teacher", other.secret)
    assert room.get(page).status_code == 403, "of another class"


def test_nobody_else_deletes(room: Room) -> None:
    room.client.cookies.clear()
    assert room.post(f"students/{room.students[0]}").status_code == 403
    assert room.post("delete", code=room.code).status_code == 403
    assert room.get("analysis").status_code == 403
    assert room.do(lambda session, _: session.get(Student, room.students[0])) is not None


def test_answers_of_the_plans_are_on_the_desk(room: Room) -> None:
    page = room.get("answers").text
    assert SECRET_OF_ANSWERS in page
    assert f'href="/desk/{room.code}/answers"' in page
    assert SECRET_OF_ANSWERS not in room.client.get("/teach/answers").text


# --- the table ---------------------------------------------------------------------------------------------


def test_a_class_without_answers_says_so(client: TestClient) -> None:
    page = start(client, people=0).page()
    assert "Nobody has answered anything yet" in page.text
    assert "Nobody has joined." in page.text
    assert page.all("table") == []


def test_few_answers_are_counted(room: Room) -> None:
    ask(room, [("8", "9"), ("2", "2"), ("9", "9")])
    page = room.page()
    row = page.one("table", class_="after-items").all("tr")[1].text
    assert "2 of 3 right or near; then 2 of 3" in row
    assert "shown from 20 answers" in row
    assert "Half the bits, twice the step" in row
    assert "Counted 2ᵇ levels, not the gaps between them (near)" in " ".join(row.split())
    assert page.one("table", class_="after-items").all("svg") == []
    assert "Monday <b>" in page.text, "a title is text"


def test_from_twenty_answers_on_there_are_percentages_and_r(client: TestClient) -> None:
    room = start(client, people=24)
    ask(room, [("9" if i < 12 else "2", "9") for i in range(24)])
    ask(room, [("0.15" if i < 16 else "1", "0.15") for i in range(24)], "awq")
    rows = room.page().one("table", class_="after-items").all("tr")
    (shift,) = rows[1].all("svg")
    assert shift.attributes["aria-label"] == "50 percent, then 100 percent"
    # Half right, of whom all were right in the rest; of the other half a third: r = √½.
    assert "0.71" in rows[1].text
    assert "66" not in rows[2].all("svg")[0].attributes["aria-label"]
    assert "67 percent" in rows[2].all("svg")[0].attributes["aria-label"]


def test_a_question_before_its_reveal_is_left_out_everywhere(room: Room) -> None:
    ask(room, [("2", "2")] * 3, reveal=False)
    page = room.page()
    assert page.all("table", class_="after-items") == []
    assert "not revealed yet" in page.text
    assert "Nobody, so far." in page.text
    assert "Half the bits" not in page.text
    assert "vote" not in room.get("export/votes.csv").text.partition("\n")[2]
    room.do(lambda session, classroom: operations.end(session, classroom, classroom.version))
    assert "Half the bits" in room.page().text


def test_answers_of_a_task_have_a_line(room: Room) -> None:
    def work(session: Any, _: Classroom) -> None:
        student = session.get_one(Student, room.students[0])
        for i, value in enumerate(("1", "2")):
            sent = operations.Sent(f"u{i}", "step", "fit", value, step="gb", seed=3, seconds=200.0)
            operations.record(session, student, sent)

    room.do(work)
    row = room.page().one("table", class_="after-items").all("tr")[1].text
    assert "task, own pace" in row
    assert "Does it fit? · Weights" in row
    assert "0 of 1 right at first" in row
    assert "attempts: 2 in the median, 2 at most; 0 right in the end" in row
    assert "3 min 20" in row.replace("\N{NARROW NO-BREAK SPACE}", " ")


def test_who_may_need_a_word_is_named_with_a_link_to_the_row(room: Room) -> None:
    ask(room, [("2", "2"), ("9", "9"), ("9", "9")])
    page = room.page()
    name = room.do(lambda session, _: session.get_one(Student, room.students[0]).name)
    (link,) = page.one("dl", class_="after-help").all("a")
    assert link.text == name
    assert room.students[0] in link.attributes["href"]
    assert page.one("b", class_="after-name").text == name, "this row is shown first"


def test_a_students_row_shows_both_votes(room: Room) -> None:
    ask(room, [("2", "2"), ("8", "9"), ("9", "9")])
    row = room.page(student=room.students[1]).one("div", class_="after-row").text
    assert "8× → 9×" in row
    assert "then right, certain" in row
    assert room.get("analysis", student="nobody").status_code == 404
    moved = room.get(f"students/{room.students[1]}").headers["location"]
    assert moved == f"/desk/{room.code}/analysis?student={room.students[1]}#student"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (31.5, "32 s"), (179.4, "179 s"), (179.5, "3 min 00"), (185, "3 min 05")],
)
def test_times_are_whole(seconds: float, text: str) -> None:
    assert duration(seconds).replace("\N{NARROW NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize(("first", "second"), [(41, 86), (50, 55), (50, 50), (0, 3), (98, 100), (60, 20)])
def test_numbers_of_a_shift_do_not_meet(first: int, second: int) -> None:
    (x1, a), (x2, b) = Shift(first, second).numbers
    assert (a, b) == (first, second)
    assert abs(x1 - x2) >= 31.9
    assert (x1 < x2) == (first <= second)


# --- deleting ----------------------------------------------------------------------------------------------


def test_a_student_is_deleted_with_all_answers(room: Room) -> None:
    ask(room, [("2", "2"), ("8", "9"), ("9", "9")])
    gone = room.students[1]
    before = room.count(Vote)
    assert "Counted 2ᵇ" in room.page().text
    assert room.post(f"students/{gone}").status_code == 303
    assert room.count(Vote) == before - 2
    assert "Counted 2ᵇ" not in room.page().text
    assert room.post(f"students/{gone}").status_code == 404
    assert len(room.page().one("select", id="choose").all("option")) == 2


def test_a_student_of_another_class_is_not_deleted(client: TestClient) -> None:
    other, room = start(client), start(client)
    assert room.post(f"students/{other.students[0]}").status_code == 404
    assert other.do(lambda session, _: session.get(Student, other.students[0])) is not None


def test_a_class_is_deleted_when_its_code_is_typed(room: Room) -> None:
    ask(room, [("2", "2"), ("8", "9"), ("9", "9")])
    for typed in ("", "K7M4XP", room.code[:5]):
        refused = room.post("delete", code=typed)
        assert refused.status_code == 422
        assert spaced(room.code) in parse(refused.text).one("p", role="alert").text
    deleted = room.post("delete", code=f" {spaced(room.code).lower()} ")
    assert deleted.status_code == 200
    assert "Max-Age=0" in deleted.headers["set-cookie"]
    room.client.cookies.set("teacher", room.secret)
    assert room.get("analysis").status_code == 404
    with application(room.client).state.database.read() as session:
        mine = select(func.count()).select_from(Student).where(Student.id.in_(room.students))
        assert session.scalar(mine) == 0


def test_an_ended_class_opens_again(room: Room) -> None:
    assert room.page().all("form", class_="after-open") == []
    room.do(lambda session, classroom: operations.end(session, classroom, classroom.version))
    form = room.page().one("form", class_="after-open")
    fields = {form.one("input").attributes["name"]: form.one("input").attributes["value"], "press": "open"}
    assert room.client.post(form.attributes["action"], data=fields).status_code == 303
    assert room.page().all("form", class_="after-open") == []


# --- files -------------------------------------------------------------------------------------------------


def test_files_are_saved_by_name(room: Room) -> None:
    for link in room.page().all("a"):
        if "/export/" in link.attributes["href"]:
            answer = room.client.get(link.attributes["href"])
            name = link.attributes["href"].rpartition("/")[2]
            assert f'filename="class-{room.code}-{name}"' in answer.headers["content-disposition"]
    assert room.get("export/students.csv").content.startswith(b"\xef\xbb\xbf")
    assert room.get("export/other.csv").status_code == 404


def test_another_spelling_of_the_code_leads_to_the_page(room: Room) -> None:
    moved = room.client.get(f"/desk/{room.code.lower()}/analysis")
    assert (moved.status_code, moved.headers["location"]) == (308, f"/desk/{room.code}/analysis")
