"""Who gets into a class, and who is removed; what a student's secret and name reach."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, select
from starlette.testclient import TestClient

from app import create_app
from app.addresses import path
from app.classroom import operations
from app.classroom.models import Classroom, Student
from app.classroom.rates import RATES, Rates
from app.classroom.refusals import TooManyError
from app.settings import Settings
from lessons.catalogue import load_lesson
from scripts.serve import with_classes
from tests.app.classroom.test_after import Room, start
from tests.app.classroom.test_student import Class, text_of
from tests.app.conftest import application
from tests.each import each

PAST = "2026-01-01T00:00:00+00:00"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    data = str(tmp_path_factory.mktemp("data"))
    settings = Settings(classes="open", data_dir=data, make_ahead=False, pseudo_languages=True)
    with TestClient(create_app(settings), follow_redirects=False) as running:
        yield running


@pytest.fixture
def room(client: TestClient) -> Room:
    return start(client)


@pytest.fixture
def class_(room: Room) -> Class:
    """The same as its students have it."""
    return Class(room.client, room.code)


def first_item(room: Room) -> int:
    return int(room.do(lambda session, found: operations.running_order(session, found)[0].id))


def version(room: Room) -> int:
    return int(room.do(lambda _, found: found.version))


def press(room: Room, what: str) -> None:
    """Press a button of the desk; "ask" asks the first question."""
    what = f"ask:{first_item(room)}" if what == "ask" else what
    assert room.post("act", press=what, version=str(version(room))).status_code == 303


# --- the door ----------------------------------------------------------------------------------------------


def test_a_teacher_lets_nobody_new_in_and_who_is_in_goes_on(room: Room, class_: Class) -> None:
    before = class_.student()
    press(room, "admit:none")
    for answer in (room.client.get(path("join class", room.code)), class_.student().joined):
        assert answer.status_code == 403
        assert "This class lets nobody new in just now. Ask your teacher." in answer.text
        assert path("class resume", room.code) in answer.text
    assert "Nobody new can join." in room.get("state").text
    assert "Just now nobody new can join." in room.client.get(path("screen", room.code)).text
    assert before.get("class bar").status_code == 200
    resumed = TestClient(application(room.client), follow_redirects=False)
    answer = resumed.post(path("class resume", room.code), data={"secret": before.secret})
    assert answer.status_code == 303
    press(room, "admit:new")
    assert class_.student().joined.status_code == 303


def test_a_full_class_says_so(room: Room, class_: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.classroom.operations.students.MOST_STUDENTS", 3)
    answer = class_.student().joined
    assert answer.status_code == 403
    assert "This class is full: it has 3 students." in answer.text


# --- made-up students --------------------------------------------------------------------------------------


def joined(room: Room, minutes: float) -> None:
    """All who are in the class joined this long ago."""

    def set_back(session: object, classroom: Classroom) -> None:
        for student in session.scalars(select(Student).where(Student.classroom_id == classroom.id)):  # type: ignore[attr-defined]
            student.joined_at = datetime.now(UTC) - timedelta(minutes=minutes)

    room.do(set_back)


def names(room: Room) -> set[str]:
    found = select(Student.name).join(Classroom, Classroom.id == Student.classroom_id)
    return set(room.do(lambda session, own: session.scalars(found.where(Classroom.id == own.id)).all()))


def hidden(page: str) -> dict[str, str]:
    """The fields of the form that removes."""
    form = page.partition('method="post" action="/desk/')[2]
    return {
        name: html.unescape(value)
        for name, value in re.findall(r'hidden" name="(\w+)" value="([^"]*)"', form)
    }


def test_who_joined_in_a_time_and_never_answered_is_removed(room: Room, class_: Class) -> None:
    joined(room, 30)
    early = names(room)
    voter, silent = class_.student("Voter"), class_.student("Silent")
    press(room, "ask")
    assert voter.vote(answer="11").status_code == 303
    page = room.get("students", since="10", until="0", silent="1").text
    assert "1 student." in page
    assert "<bdi>Silent</bdi>" in page
    late = class_.student("Late")
    known, fields = version(room), hidden(page)
    answer = room.client.post(f"/desk/{room.code}/students", data=fields)
    assert answer.headers["location"].endswith("?removed=1")
    assert "1 student is removed." in text_of(room.client.get(answer.headers["location"]))
    assert names(room) == early | {"Voter", "Late"}
    assert version(room) == known, "no press of the teacher becomes an old one"
    assert silent.get("class bar").status_code == 403
    assert (voter.get("class bar").status_code, late.get("class bar").status_code) == (200, 200)
    fields = hidden(room.get("students", since="40", until="20").text)
    assert room.client.post(f"/desk/{room.code}/students", data=fields).headers["location"].endswith("=3")
    assert names(room) == {"Voter", "Late"}


def test_who_answers_after_they_were_chosen_stays(room: Room, class_: Class) -> None:
    person = class_.student("Slow")
    fields = hidden(room.get("students", since="10", until="0", silent="1").text)
    press(room, "ask")
    person.vote(answer="11")
    room.client.post(f"/desk/{room.code}/students", data=fields)
    assert names(room) == {"Slow"}


@each(
    "fields, said",
    [
        ({"since": "x", "at": PAST}, "since: allowed is 0 to 527040."),
        ({"since": "5", "until": "6", "at": PAST}, "until: allowed is 0 to 5."),
        ({"since": "5", "at": "yesterday"}, "at: allowed is a moment that is past."),
        ({"since": "5", "at": "2999-01-01T00:00:00+00:00"}, "at: allowed is a moment that is past."),
    ],
)
def test_bad_fields_remove_nobody(room: Room, fields: dict[str, str], said: str) -> None:
    answer = room.client.post(f"/desk/{room.code}/students", data=fields)
    assert answer.status_code == 422
    assert said in answer.text
    assert len(names(room)) == 3


def test_only_the_teacher_removes(room: Room) -> None:
    fields = hidden(room.get("students").text)
    room.client.cookies.clear()
    assert room.get("students").status_code == 403
    assert room.client.post(f"/desk/{room.code}/students", data=fields).status_code == 403
    assert len(names(room)) == 3


# --- one client --------------------------------------------------------------------------------------------


def test_one_client_takes_no_whole_class_and_a_campus_comes_in() -> None:
    most = operations.MOST_STUDENTS
    workers = [Rates(lambda: 0.0, workers=2) for _ in range(2)]
    taken = 0
    for worker in workers:
        with suppress(TooManyError):
            while True:
                worker.take("place", "198.51.100.7", "BCDFGH")
                taken += 1
    assert taken == RATES["place"].burst == most / 2
    workers[0].take("place", "198.51.100.8", "BCDFGH")


def test_hosts_share_the_places_of_a_client() -> None:
    rates: Rates = create_app(Settings(hosts=2, make_ahead=False)).state.rates
    for _ in range(RATES["place"].burst // 2):
        rates.take("place", "198.51.100.7", "BCDFGH")
    with pytest.raises(TooManyError):
        rates.take("place", "198.51.100.7", "BCDFGH")


def test_beyond_its_places_a_client_waits(class_: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = Rates(lambda: 0.0, workers=RATES["place"].burst)
    monkeypatch.setitem(application(class_.client).state._state, "rates", rates)
    assert class_.student().joined.status_code == 303
    waits = class_.student().joined
    assert waits.status_code == 429
    assert "data-wait=" in waits.text
    rates.check("place", "198.51.100.8", class_.code)


# --- what is a student's own -------------------------------------------------------------------------------


def test_who_deletes_what_is_theirs_does_not_make_a_press_old(room: Room, class_: Class) -> None:
    person = class_.student()
    known, tally = version(room), room.do(lambda _, found: found.tally)
    assert person.post("class leave", what="delete").status_code == 303
    assert (version(room), room.do(lambda _, found: found.tally)) == (known, tally + 1)
    assert room.post("act", press=f"ask:{first_item(room)}", version=str(known)).status_code == 303


def test_after_the_reveal_the_dot_of_who_is_deleted_goes(room: Room, class_: Class) -> None:
    people = [class_.student() for _ in range(6)]
    press(room, "ask")
    for person in people:
        person.vote(answer="11")
    press(room, "skip")
    before = people[0].get("class bar").text
    assert "First vote, 6" in before
    people[1].post("class leave", what="delete")
    assert "First vote, 5" in people[0].get("class bar").text
    assert "First vote, 5" in room.client.get(path("screen", room.code)).text


def test_an_ended_class_takes_no_answers_at_own_pace(class_: Class) -> None:
    person = class_.student()
    first = {"uid": "a-0", "kind": "question", "name": "rtn", "value": "11"}
    assert person.send(first).json() == {"refused": []}
    class_.end()
    refused = person.send(
        first, {**first, "uid": "a-1"}, {"uid": "a-2", "kind": "section", "name": "awq"}
    ).json()
    assert [each["uid"] for each in refused["refused"]] == ["a-2", "a-1"], "the first one is stored already"
    assert all(each["why"].startswith("This class ended on") for each in refused["refused"])


@pytest.mark.parametrize("joined_in", ["", "/en-XA"])
def test_one_secret_serves_all_languages_and_no_other_page(class_: Class, joined_in: str) -> None:
    browser = TestClient(application(class_.client), follow_redirects=False)
    own = path("class", class_.code)
    answer = browser.post(f"{joined_in}/join/{class_.code}", data={"own": ""})
    assert answer.status_code == 303
    for prefix in ("", "/en-XA", "/ar-XB"):
        assert browser.get(f"{prefix}{own}/bar").status_code == 200
    assert {cookie.path for cookie in browser.cookies.jar} == {f"{p}{own}" for p in ("", "/en-XA", "/ar-XB")}
    assert len({cookie.value for cookie in browser.cookies.jar}) == 1
    browser.post(f"/en-XA{own}/leave", data={"what": "keep"})
    assert not list(browser.cookies.jar)


def test_the_teachers_secret_serves_all_languages(client: TestClient) -> None:
    browser = TestClient(application(client), follow_redirects=False)
    answer = browser.post(
        "/classes", data={"title": "Monday", "ends_on": datetime.now(UTC).date().isoformat()}
    )
    code = answer.headers["location"].split("/")[2]
    assert browser.get(f"/en-XA/desk/{code}/state").status_code == 200
    assert {cookie.path for cookie in browser.cookies.jar} == {
        f"{p}/desk/{code}" for p in ("", "/en-XA", "/ar-XB")
    }


# --- names of other hosts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1", 200),
        ("[::1]:8000", 200),
        ("my.localhost", 200),
        ("rebound.example", 421),
        ("127.0.0.1.rebound.example:8000", 421),
        ("[::1", 421),
        ("192.0.2.7", 421),
    ],
)
def test_classes_of_this_machine_alone_refuse_other_hosts_names(
    host: str, status: int, tmp_path: Path
) -> None:
    settings = Settings(classes="open", data_dir=str(tmp_path), make_ahead=False)
    with TestClient(create_app(settings, only_this_machine=True)) as browser:
        for place in ("/classes", "/join"):
            answer = browser.get(place, headers={"Host": host})
            assert answer.status_code == status
            assert "set-cookie" not in answer.headers
        assert ("localhost or 127.0.0.1" in answer.text) == (status == 421)
        assert browser.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("host", "classes", "proxies", "only"),
    [
        ("127.0.0.1", "", "", True),
        ("::1", "open", "", True),
        ("127.0.0.1", "open", "127.0.0.1", False),
        ("127.0.0.1", "key", "", False),
        ("0.0.0.0", "open", "", False),
    ],
)
def test_a_loopback_host_without_a_proxy_is_for_this_machine(
    host: str, classes: str, proxies: str, only: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOST", host)
    monkeypatch.setenv("TRUSTED_PROXIES", proxies)
    settings = Settings(classes=classes, class_key="open sesame", data_dir=str(tmp_path), make_ahead=False)
    app = with_classes(settings)
    assert app.state.site.only_this_machine is only
    app.state.database.close()


# --- the running order, names from right to left, and the cost of a bar ------------------------------------


def test_a_class_begins_with_the_order_of_its_lesson() -> None:
    assert operations.default_order(load_lesson("quantization")) == [
        ("question", "rtn"),
        ("figure", "rtn"),
        ("figure", "rounding"),
        ("question", "awq"),
        ("question", "fit"),
        ("task", "fit"),
    ]
    assert operations.default_order(load_lesson("specimen")) == [
        (kind, name)
        for section in load_lesson("specimen").sections
        for name in section.questions
        for kind in ("question", "figure")
    ]


def test_names_and_titles_are_isolated(room: Room, class_: Class) -> None:
    person = class_.student("שלום")
    room.do(lambda _, found: setattr(found, "title", "מודלים"))
    press(room, "ask")
    title = room.client.get(path("screen", room.code)).text
    assert "<bdi>מודלים</bdi>" in title
    assert "<title>\u2068מודלים\u2069 ·" in title
    for page in (person.get().text, person.get("class me").text, room.get("state").text):
        assert "<bdi>שלום</bdi>" in page
    taken = class_.student("שלום").joined
    assert "\u2068שלום\u2069" in taken.text


def test_a_bar_takes_one_statement(room: Room, class_: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a press a whole class asks for it at once."""
    first, second = class_.student(), class_.student()
    press(room, "ask")
    now = datetime.now(UTC)
    monkeypatch.setattr("app.classroom.reading.present", lambda _now=None: now)  # the counts last a second
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    assert first.get("class bar").status_code == 200
    event.listen(Engine, "before_cursor_execute", note)
    try:
        assert 'data-open="1"' in second.get("class bar").text
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert len(statements) == 1, statements
