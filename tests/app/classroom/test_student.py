"""Students: joining, voting without scripts, and what no answer to them may hold."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from httpx2 import Response
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app import create_app
from app.addresses import path
from app.classroom import operations
from app.classroom.flow import Action
from app.classroom.models import Answer, Classroom, Item, Progress, Student, Vote
from app.classroom.rates import Rates
from app.classroom.refusals import TooManyError
from app.settings import Settings
from tests.app.conftest import application
from tests.each import each


@dataclass
class Class:
    """A class on a host of its own, and what its teacher and students do."""

    client: TestClient
    code: str

    def _session(self, work: Callable[[Session, Classroom], Any]) -> Any:
        with application(self.client).state.database.write() as session:
            return work(session, operations.find_class(session, self.code))

    def act(self, action: Action, name: str | None = None) -> None:
        """Press a button of the desk; `name` is of the question to ask."""

        def press(session: Session, classroom: Classroom) -> None:
            asked = select(Item.id).where(Item.classroom_id == classroom.id, Item.name == name)
            item = session.scalar(asked.where(Item.kind == "question")) if name else None
            operations.act(session, classroom, action, classroom.version, item)

        self._session(press)

    def end(self) -> None:
        self._session(lambda session, found: operations.end(session, found, found.version))

    def student(self, own: str = "") -> Person:
        """Somebody who joins."""
        with_cookies = TestClient(application(self.client), follow_redirects=False)
        person = Person(self, with_cookies)
        person.joined = person.post("join class", offered="", own=own)
        return person

    def count(self, table: type[Any]) -> int:
        return int(self._session(lambda session, _: session.scalar(select(func.count()).select_from(table))))

    @property
    def item(self) -> int:
        return int(self._session(lambda _, found: found.item_id))


@dataclass
class Person:
    """A student's browser."""

    of: Class
    client: TestClient
    joined: Response = None  # type: ignore[assignment]

    def get(self, page: str = "class", query: str = "") -> Response:
        return self.client.get(path(page, self.of.code) + query)

    def post(self, page: str, **fields: str) -> Response:
        return self.client.post(path(page, self.of.code), data=fields)

    def vote(self, round: int = 1, **fields: str) -> Response:
        return self.post("class vote", item=str(self.of.item), round=str(round), **fields)

    def send(self, *answers: dict[str, Any]) -> Response:
        return self.post("class answers", answers=json.dumps(answers))

    @property
    def page(self) -> str:
        answer = self.get()
        assert answer.status_code == 200
        return text_of(answer)

    @property
    def secret(self) -> str:
        found = re.search("student=([^;]+)", self.joined.headers["set-cookie"])
        assert found
        return found[1]


def text_of(answer: Response) -> str:
    """What a page says, in one line."""
    return " ".join(re.sub("<[^>]*>", " ", answer.text.partition("<body")[2] or answer.text).split())


@pytest.fixture
def client(migrated_url: str) -> Iterator[TestClient]:
    settings = Settings(classes="open", database_url=migrated_url, make_ahead=False)
    with TestClient(create_app(settings), follow_redirects=False) as running:
        yield running


def start(client: TestClient, title: str = "Monday group") -> Class:
    with application(client).state.database.write() as session:
        ends_on = datetime.now(UTC).date() + timedelta(days=30)
        return Class(client, operations.create(session, title, ends_on, lesson="quantization").classroom.code)


@pytest.fixture
def class_(client: TestClient) -> Class:
    return start(client)


@pytest.fixture
def asked(class_: Class) -> Person:
    """A student who is asked the question of FIG.02."""
    person = class_.student()
    class_.act(Action.ASK, "rtn")
    return person


# --- joining -----------------------------------------------------------------------------------------------


def test_a_code_leads_to_its_class_however_it_is_written(class_: Class) -> None:
    spaced = f"{class_.code[:3].lower()} {class_.code[3:]}"
    answer = class_.client.get(path("join"), params={"code": spaced})
    assert (answer.status_code, answer.headers["location"]) == (303, path("join class", class_.code))
    for page in ("join class", "class"):
        answer = class_.client.get(path(page, class_.code.lower()))
        assert answer.headers["location"] == path(page, class_.code)


@each("code", ["BBBBBB", "K7M4X0", "", "x" * 200, "<script>"])
def test_an_unknown_code_comes_back_with_what_is_wrong(class_: Class, code: str) -> None:
    answer = class_.client.get(path("join"), params={"code": code})
    assert answer.status_code == 404
    assert "No class has this code. Compare it with the screen" in answer.text
    assert "<script>" not in answer.text
    assert "set-cookie" not in answer.headers


def test_codes_cannot_be_walked_through(class_: Class) -> None:
    application(class_.client).state.rates = Rates(lambda: 0.0)  # whatever the machine
    tries = [class_.client.get(path("join"), params={"code": "BBBBBB"}).status_code for _ in range(70)]
    assert tries[0] == 404
    assert tries[-1] == 429
    assert class_.client.get(path("join"), params={"code": class_.code}).status_code == 429
    assert class_.client.get(path("class", "BBBBBB")).status_code == 429
    assert class_.client.get(path("class", class_.code)).status_code == 429


def test_who_tries_codes_does_not_keep_others_out_of_a_class(class_: Class) -> None:
    """They may sit behind the same address."""
    application(class_.client).state.rates = Rates(lambda: 0.0)
    assert class_.client.get(path("join class", class_.code)).status_code == 200
    for _ in range(70):
        class_.client.get(path("join"), params={"code": "BBBBBB"})
    assert class_.client.get(path("join"), params={"code": class_.code}).status_code == 303
    assert class_.student().joined.status_code == 303
    assert class_.client.get(path("join class", start(class_.client).code)).status_code == 429


def test_nothing_is_stored_before_join(class_: Class) -> None:
    answer = class_.client.get(path("join class", class_.code))
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    assert class_.count(Student) == 0
    offered = re.search('name="offered" value="([^"]+)"', answer.text)
    assert offered
    person = Person(class_, TestClient(application(class_.client), follow_redirects=False))
    person.post("join class", offered=offered[1], own="")
    assert f"You are in, {offered[1]}" in person.page


def test_the_cookie_is_of_this_class_alone_and_no_script_reads_it(class_: Class) -> None:
    joined = class_.student().joined
    assert joined.status_code == 303
    assert joined.headers["location"].startswith(path("class", class_.code))
    cookie = joined.headers["set-cookie"].lower()
    assert f"path={path('class', class_.code)}".lower() in cookie
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" not in cookie
    lasts = re.search(r"max-age=(\d+)", cookie)
    assert lasts
    assert 30 <= int(lasts[1]) / 86_400 <= 33
    secure = TestClient(application(class_.client), base_url="https://testserver", follow_redirects=False)
    assert (
        "secure"
        in secure.post(path("join class", class_.code), data={"own": ""}).headers["set-cookie"].lower()
    )


def test_only_the_hash_of_the_secret_is_stored(class_: Class) -> None:
    person = class_.student()
    stored = class_._session(lambda session, _: session.scalar(select(Student)))
    assert person.secret not in repr(vars(stored))
    assert len(stored.secret_hash) == 32
    assert person.secret not in person.get().text


def test_a_name_of_ones_own(class_: Class) -> None:
    assert "You are in, Zoë" in class_.student("Zoë").page
    taken = class_.student("zoë").joined
    assert taken.status_code == 422
    assert "Somebody here is called" in taken.text
    short = class_.student("<").joined
    assert short.status_code == 422
    assert 'value="&lt;"' in short.text
    assert class_.count(Student) == 1


def test_who_is_not_in_the_class_is_asked_to_join(class_: Class) -> None:
    answer = class_.client.get(path("class", class_.code))
    assert answer.headers["location"].startswith(path("join class", class_.code))
    lost = class_.client.get(path("class", class_.code) + "?joined=1")
    assert "keeps no cookie" in class_.client.get(lost.headers["location"]).text


def test_a_class_that_has_ended_says_so(class_: Class) -> None:
    person = class_.student()
    class_.end()
    answer = class_.client.get(path("join class", class_.code))
    assert answer.status_code == 410
    assert "This class ended on" in answer.text
    assert class_.student().joined.status_code == 410
    assert "The class has ended. The lesson stays open." in person.page
    assert 'data-status="ended"' in person.get("class bar").text
    assert person.get("class me").status_code == 200


def test_when_many_come_the_page_waits_and_goes_on(class_: Class) -> None:
    rates = application(class_.client).state.rates = Rates(clock=lambda: 0.0)
    with suppress(TooManyError):
        while True:
            rates.take("join", "testclient", class_.code)
    last = class_.student().joined
    assert last.status_code == 429
    assert int(last.headers["retry-after"]) >= 1
    assert "Many are coming in. You are next in about" in last.text
    assert "data-wait=" in last.text
    assert last.text.count('name="offered"') == 1


# --- the flow without scripts ------------------------------------------------------------------------------


def test_two_votes_and_a_reveal_without_scripts(class_: Class) -> None:
    person, other = class_.student(), class_.student()
    assert "<form" in person.get().text
    assert "class-vote" not in person.get().text
    class_.act(Action.ASK, "rtn")
    assert "first vote · open" in person.page
    assert "0 of 2 have answered." in person.page
    answer = person.vote(answer="3")
    assert (answer.status_code, answer.headers["location"]) == (303, path("class", class_.code))
    assert "Your guess, 3×, is in. Move it until the vote closes." in person.page
    person.vote(answer="4")
    assert "Your guess, 4×, is in." in person.page
    class_.act(Action.CLOSE)
    assert "You said 4×." in person.page
    assert "class-vote" not in person.get().text
    assert "You have not voted." in other.page
    class_.act(Action.DISCUSS)
    assert "Find somebody who said something else. Who convinces whom?" in person.page
    class_.act(Action.ASK_AGAIN)
    page = person.page
    assert "second vote · open" in page
    assert "first 4×" in page
    assert "Keep 4×" in page
    person.vote(2, answer="8", confidence="2")
    class_.act(Action.CLOSE)
    assert "You said 4×, then 8×." in person.page
    class_.act(Action.REVEAL)
    assert "You went from 4× to 8×, nearer by 4." in person.page
    assert 'class="dots' in person.get().text
    assert "you, then" in person.page
    sure = class_._session(lambda s, _: s.scalars(select(Vote.confidence).order_by(Vote.round)).all())
    assert list(sure) == [None, 2]


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("8", "10", "You went from 8× to 10×, as far from it as before."),  # the answer is 8.99…
        ("8", "9", "You went from 8× to 9×, nearer by 1."),
        ("9", "12", "You went from 9× to 12×, further by 3."),
        ("9", "9", "You stayed at 9×."),
    ],
)
def test_distances_are_told_in_steps_of_the_scale(class_: Class, first: str, second: str, said: str) -> None:
    person = class_.student()
    class_.act(Action.ASK, "rtn")
    person.vote(answer=first)
    for action in (Action.CLOSE, Action.DISCUSS, Action.ASK_AGAIN):
        class_.act(action)
    person.vote(2, answer=second)
    class_.act(Action.CLOSE)
    class_.act(Action.REVEAL)
    assert said in person.page


def test_to_keep_the_first_guess_and_to_rather_not(class_: Class) -> None:
    person, other = class_.student(), class_.student()
    class_.act(Action.ASK, "rtn")
    person.vote(answer="4")
    other.vote(skip="1")
    assert "You would rather not." in other.page
    class_.act(Action.CLOSE)
    class_.act(Action.DISCUSS)
    class_.act(Action.ASK_AGAIN)
    person.vote(2, keep="1", answer="9")
    other.vote(2, answer="9")
    class_.act(Action.CLOSE)
    assert "You said 4×, then 4×." in person.page
    class_.act(Action.REVEAL)
    assert "You stayed at 4×." in person.page
    assert "You said 9×." in other.page


def test_a_kept_guess_is_that_of_the_question_it_was_sent_for(class_: Class) -> None:
    person = class_.student()
    class_.act(Action.ASK, "rtn")
    rtn = class_.item
    person.vote(answer="4")
    for action in (Action.CLOSE, Action.DISCUSS, Action.ASK_AGAIN):
        class_.act(action)
    class_.act(Action.ASK, "fit")  # just before they pressed "keep"
    person.vote(skip="1")
    person.post("class vote", item=str(rtn), round="2", keep="1")
    votes = person.get("class data").json()["votes"]
    kept = [(vote["value"], vote["late"]) for vote in votes if vote["question"] == "rtn"]
    assert kept == [("4", False), ("4", True)]


def test_a_late_vote_is_visible_to_its_owner(class_: Class) -> None:
    person, other = class_.student(), class_.student()
    class_.act(Action.ASK, "rtn")
    other.vote(answer="5")
    class_.act(Action.CLOSE)
    person.vote(answer="4")
    assert "The vote closed before your guess, 4×, came in." in person.page
    assert "The second vote is open to you." in person.page
    late = other.vote(1, **{"answer": "7", "as": "bar"})
    assert "The vote closed before your guess, 7×, came in." in text_of(late)
    assert "Your guess before, 5×, counts." in text_of(late)


@each(
    "fields",
    [
        {"answer": "99"},
        {"answer": "x"},
        {},
        {"answer": "4", "round": "3"},
        {"answer": "4", "round": "x"},
        {"answer": "4", "item": "-1"},
        {"answer": "4", "item": "999"},
        {"answer": "4", "round": "2"},
    ],
)
def test_a_vote_that_cannot_be_is_refused_in_a_sentence(asked: Person, fields: dict[str, str]) -> None:
    answer = asked.post("class vote", **({"item": str(asked.of.item), "round": "1"} | fields))
    assert answer.status_code in (404, 409, 422)
    assert "Traceback" not in answer.text
    assert asked.of.count(Vote) == 0


# --- what no student may see -------------------------------------------------------------------------------


def test_no_answer_and_no_guess_of_others_before_the_reveal(class_: Class) -> None:
    """Whoever is asked for: the truth is 9×, and nobody else's guess of 7× is in it."""
    person, other = class_.student(), class_.student()
    class_.act(Action.ASK, "rtn")
    other.vote(answer="7")
    for action in (None, Action.CLOSE, Action.DISCUSS, Action.ASK_AGAIN, Action.CLOSE):
        if action:
            class_.act(action)
        if action is Action.ASK_AGAIN:
            other.vote(2, answer="7")
        for page in ("class", "class bar", "class me", "class data"):
            said = text_of(person.get(page))
            assert "the step grows from" not in said
            assert "7×" not in said
            assert "near" not in said
            assert "guesses" not in person.get(page).text.replace("Guesses stay covered", "")
    class_.act(Action.REVEAL)
    assert "the step grows from" in person.page


def test_no_student_reads_another_or_another_class(class_: Class) -> None:
    person, other = class_.student("First name"), class_.student("Second name")
    elsewhere = start(class_.client, "Another group")
    class_.act(Action.ASK, "rtn")
    person.vote(answer="4")
    for page in ("class", "class bar", "class me", "class data"):
        assert "First name" not in other.get(page).text
        assert "Second name" not in person.get(page).text
    pages = ("class bar", "class me", "class data", "class leave")
    stolen = {"cookie": f"student={person.secret}"}
    for page in pages:
        assert other.client.get(path(page, elsewhere.code), headers=stolen).status_code == 403
        assert class_.client.get(path(page, class_.code)).status_code == 403
    for secret in ("x" * 22, "", other.secret[:-1], "' OR 1=1 --"):
        nobody = class_.client.get(path("class bar", class_.code), headers={"cookie": f"student={secret}"})
        assert nobody.status_code == 403
        assert "data-gone" in nobody.text
    vote = path("class vote", elsewhere.code)
    fields = {"item": str(class_.item), "round": "1", "answer": "4"}
    assert other.client.post(vote, data=fields, headers=stolen).status_code == 403
    mate = elsewhere.student()
    assert mate.post("class vote", **fields).status_code == 404  # an item of another class
    assert class_.count(Vote) == 1


def test_only_the_own_pages_may_change_anything(class_: Class) -> None:
    person = class_.student()
    class_.act(Action.ASK, "rtn")
    fields = {"item": str(class_.item), "round": "1", "answer": "4", "what": "delete"}
    for page in ("class vote", "class answers", "class me", "class resume", "class leave", "join class"):
        far = {"sec-fetch-site": "cross-site"}
        assert person.client.post(path(page, class_.code), data=fields, headers=far).status_code == 403
    assert (class_.count(Vote), class_.count(Student)) == (0, 1)


# --- oneself -----------------------------------------------------------------------------------------------


def test_following_is_a_switch_that_stays(class_: Class) -> None:
    person = class_.student()
    assert "data-following" in person.get("class bar").text
    assert person.post("class me", following="0").status_code == 303
    assert "data-following" not in person.get("class bar").text
    assert "On my own" in person.page
    assert "data-following" in person.post("class me", following="1", **{"as": "bar"}).text


def test_another_name(class_: Class) -> None:
    person, other = class_.student("Ada"), class_.student("Bob")
    assert person.post("class me", name="Grace").status_code == 303
    assert "Grace" in person.page
    refused = person.post("class me", name="bob")
    assert refused.status_code == 422
    assert "Somebody here is called" in refused.text
    assert "Bob" in other.page


def test_another_device_goes_on_with_the_code(class_: Class) -> None:
    person = class_.student("Ada")
    shown = person.get("class resume").text
    assert person.secret in shown
    assert 'class="class-qr"' in shown
    device = Person(class_, TestClient(application(class_.client), follow_redirects=False))
    assert 'name="secret"' in device.get("class resume").text
    wrong = device.post("class resume", secret="x" * 22)
    assert wrong.status_code == 422
    assert "No student of this class has this code." in wrong.text
    entered = device.post("class resume", secret=f"http://testserver/#{person.secret}")
    assert entered.status_code == 303
    assert "httponly" in entered.headers["set-cookie"].lower()
    assert "Ada" in device.page
    assert class_.count(Student) == 1


def test_download_what_is_mine(class_: Class) -> None:
    person = class_.student("Ada")
    class_.act(Action.ASK, "rtn")
    person.vote(answer="4")
    person.send({"uid": "a", "kind": "question", "name": "xray", "value": None, "seconds": 3})
    answer = person.get("class data")
    assert answer.headers["content-disposition"].startswith("attachment")
    mine = answer.json()
    assert mine["name"] == "Ada"
    assert [vote["value"] for vote in mine["votes"]] == ["4"]
    assert [each["name"] for each in mine["answers"]] == ["xray"]
    assert person.secret not in answer.text
    assert "outcome" not in json.dumps(mine["votes"])
    class_.act(Action.SKIP)
    assert [vote["outcome"] for vote in person.get("class data").json()["votes"]] == ["off"]


def test_leave_and_keep_or_delete(class_: Class) -> None:
    person, other = class_.student("Ada"), class_.student("Bob")
    class_.act(Action.ASK, "rtn")
    for voter in (person, other):
        voter.vote(answer="4")
    assert person.secret in person.get("class leave").text
    assert "Deletes your name and 1 answer now." in text_of(other.get("class leave", "?delete=1"))
    kept = person.post("class leave", what="keep")
    assert "Max-Age=0" in kept.headers["set-cookie"] or "expires" in kept.headers["set-cookie"].lower()
    assert f"path={path('class', class_.code)}" in kept.headers["set-cookie"].lower().replace(
        class_.code.lower(), class_.code
    )
    assert class_.count(Student) == 2
    gone = other.post("class leave", what="delete")
    assert class_.count(Student) == 1
    assert class_.count(Vote) == 1
    there = class_.client.get(gone.headers["location"])
    assert "Your name and your answers are deleted." in there.text
    assert "data-left" in there.text
    back = {"cookie": f"student={other.secret}"}
    assert class_.client.get(path("class bar", class_.code), headers=back).status_code == 403


def test_a_class_that_was_deleted_says_so_in_the_bar(class_: Class) -> None:
    person = class_.student()
    class_._session(operations.delete_class)
    answer = person.get("class bar")
    assert answer.status_code == 404
    assert "This class has been deleted." in answer.text


# --- answers at one's own pace -----------------------------------------------------------------------------


def test_answers_are_stored_once_and_judged_here(class_: Class) -> None:
    person = class_.student()
    sent: list[dict[str, Any]] = [
        {"uid": "1", "kind": "question", "name": "rtn", "value": "9", "outcome": "right", "seconds": 12},
        {"uid": "2", "kind": "question", "name": "xray", "value": None},
        {"kind": "section", "name": "rounding", "done": True},
        {"kind": "section", "name": "output-error"},
    ]
    for _ in range(2):
        answer = person.send(*sent)
        assert answer.status_code == 200
        assert answer.json() == {"refused": []}
    assert class_.count(Answer) == 2
    done = class_._session(lambda s, _: dict(s.execute(select(Progress.section, Progress.done)).all()))
    assert done == {"rounding": True, "output-error": False}


@each(
    "bad",
    [
        {"uid": "2", "kind": "question", "name": "rtn", "value": "99"},
        {"uid": "2", "kind": "question", "name": "nothing", "value": "1"},
        {"uid": "2", "kind": "step", "name": "awq", "step": "none", "value": "1", "seed": 1},
        {"uid": "2", "kind": "other", "name": "rtn"},
        {"uid": 2, "kind": "question", "name": "rtn", "value": "3"},
        {"uid": "2" * 80, "kind": "question", "name": "rtn", "value": "3"},
        {"uid": "2", "kind": "step", "name": "awq", "seed": True, "value": "3"},
        {"uid": "2", "kind": "question", "name": "rtn", "value": "3", "seconds": -1},
        {"kind": "section", "name": "nowhere"},
        {"kind": "section"},
        {},
    ],
)
def test_what_cannot_be_is_refused_and_the_rest_is_stored(class_: Class, bad: dict[str, Any]) -> None:
    person, before = class_.student(), class_.count(Answer)
    answer = person.send({"uid": "1", "kind": "question", "name": "rtn", "value": "3"}, bad)
    assert answer.status_code == 200
    assert len(answer.json()["refused"]) == 1
    assert class_.count(Answer) == before + 1


@each("uid", ["\ud83d", ["x"], "é"])
def test_an_answer_whose_number_cannot_be_sent_back_loses_no_other(class_: Class, uid: Any) -> None:
    person, before = class_.student(), class_.count(Answer)
    kind = {"kind": "question", "name": "rtn", "value": "3"}
    answer = person.send({"uid": "1", **kind}, {"uid": uid, **kind})
    assert answer.status_code == 200
    assert [each["uid"] for each in answer.json()["refused"]] == [""]
    assert class_.count(Answer) == before + 1


@each("text", ["", "{}", "[1]", "[" * 5000, json.dumps([{}] * 51), "\ud83d"])
def test_what_is_no_list_of_answers_is_refused(class_: Class, text: str) -> None:
    person = class_.student()
    data = {"answers": text.encode("utf-8", "replace").decode()}
    answer = person.client.post(path("class answers", class_.code), data=data)
    assert answer.status_code == 422
    assert "Traceback" not in answer.text
