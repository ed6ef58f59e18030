"""The teacher's desk: what may be pressed, by whom, once; and what it never shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from httpx2 import Response
from sqlalchemy import select
from starlette.testclient import TestClient

from app import create_app
from app.classroom import operations
from app.classroom.database import Database
from app.classroom.flow import Phase
from app.classroom.models import Item, Student
from app.classroom.operations import MOST_ITEMS
from app.classroom.rates import Rates
from app.classroom.refusals import StaleError
from app.settings import Settings
from tests.app.conftest import application
from tests.each import each

KEY = "open sesame"
NOBODYS = "A" * 22
"""A secret of the right form that no class has."""


@dataclass
class Room:
    """A class, with its teacher's client."""

    client: TestClient
    code: str
    secret: str

    @property
    def database(self) -> Database:
        database: Database = application(self.client).state.database
        return database

    def page(self, rest: str = "") -> str:
        response = self.client.get(f"/desk/{self.code}{rest}")
        assert response.status_code == 200, response.text
        return response.text

    @property
    def version(self) -> str:
        return found(r'data-version="(\d+)"', self.page("/state"))

    @property
    def large(self) -> str:
        return found(r'id="large".*?<span>(.*?)</span>', self.page("/state"))

    def press(self, press: str, version: str = "", headers: dict[str, str] | None = None) -> Response:
        fields = {"press": press, "version": version or self.version}
        return self.client.post(f"/desk/{self.code}/act", data=fields, headers=headers)

    def press_large(self) -> None:
        value = found(r'value="([^"]*)" id="large"', self.page("/state"))
        assert self.press(value).status_code == 303

    def arrange(self, do: str, **fields: str) -> Response:
        fields = {"do": do, "version": self.version, **fields}
        return self.client.post(f"/desk/{self.code}/order", data=fields)

    def join(self, count: int) -> None:
        with self.database.write() as session:
            classroom = operations.find_class(session, self.code)
            for _ in range(count):
                operations.join(session, classroom)

    def vote(self, value: str, round: int = 1) -> None:
        """All who have joined guess the same."""
        with self.database.write() as session:
            classroom = operations.find_class(session, self.code)
            assert classroom.item_id is not None
            for student in list(session.scalars(select(Student))):
                operations.vote(session, student, classroom.item_id, round, value)

    def items(self) -> list[Item]:
        with self.database.read() as session:
            return operations.running_order(session, operations.find_class(session, self.code))


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.DOTALL)
    assert match, pattern
    return match[1]


def form(**changed: str) -> dict[str, str]:
    later = (datetime.now(UTC).date() + timedelta(7)).isoformat()
    return {"title": "Monday", "ends_on": later, "retention_months": "12", "asks_confidence": "1"} | changed


@pytest.fixture
def client(migrated_url: str) -> Iterator[TestClient]:
    settings = Settings(classes="open", database_url=migrated_url)
    with TestClient(create_app(settings), follow_redirects=False) as running:
        yield running


@pytest.fixture
def room(client: TestClient) -> Room:
    return start(client)


def start(client: TestClient) -> Room:
    response = client.post("/classes", data=form())
    assert response.status_code == 303
    code = found(r"^/desk/(\w{6})/links$", response.headers["location"])
    return Room(client, code, found(r"teacher=([\w-]{22});", response.headers["set-cookie"]))


# --- the start ---


def test_start_gives_a_cookie_for_the_desk_alone(client: TestClient) -> None:
    response = client.post("/classes", data=form())
    cookie = response.headers["set-cookie"]
    code = found(r"/desk/(\w+)/", response.headers["location"])
    assert f"Path=/desk/{code};" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    over_tls = TestClient(application(client), base_url="https://testserver", follow_redirects=False)
    assert "; Secure" in over_tls.post("/classes", data=form()).headers["set-cookie"]


def test_links_hold_the_secret_only_behind_the_hash(room: Room) -> None:
    response = room.client.get(f"/desk/{room.code}/links")
    links = re.findall(r'data-link="([^"]*)"', response.text)
    assert links == [
        f"http://testserver/join/{room.code}",
        f"http://testserver/screen/{room.code}",
        f"http://testserver/desk/{room.code}#{room.secret}",
    ]
    before = re.sub(r"<noscript>.*?</noscript>", "", response.text, flags=re.DOTALL)
    assert before.count(room.secret) == 1  # in the data of the button, not in what is read
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert room.secret not in room.page()
    assert '<svg class="class-qr"' in response.text


@each(
    "field, value",
    [
        ("title", " "),
        ("title", "x" * 81),
        ("title", "two\u0000"),
        ("ends_on", "soon"),
        ("ends_on", "2020-01-01"),
        ("ends_on", "2999-01-01"),
        ("retention_months", "0"),
        ("retention_months", "13"),
        ("retention_months", "²"),
    ],
)
def test_start_names_the_field_and_what_is_allowed(client: TestClient, field: str, value: str) -> None:
    response = client.post("/classes", data=form(**{field: value}))
    assert response.status_code == 422
    assert f'aria-describedby="error-{field}"' in response.text
    assert "Allowed is" in found(f'id="error-{field}">(.*?)</p>', response.text)
    assert 'value="Monday"' in response.text or field == "title"  # nothing that was given is lost


def test_start_needs_the_key_of_the_host(migrated_url: str) -> None:
    settings = Settings(classes="key", class_key=KEY, database_url=migrated_url)
    with TestClient(create_app(settings), follow_redirects=False) as client:
        assert 'name="key"' in client.get("/classes").text
        for given in ({}, {"key": ""}, {"key": "open sesam"}):
            response = client.post("/classes", data=form(**given))
            assert response.status_code == 422
            assert "the key of this host" in response.text
            assert KEY not in response.text
        assert client.post("/classes", data=form(key=KEY)).status_code == 303


def test_start_asks_no_confidence_where_the_box_is_empty(client: TestClient) -> None:
    fields = form()
    del fields["asks_confidence"]
    code = found(r"/desk/(\w+)/", client.post("/classes", data=fields).headers["location"])
    with application(client).state.database.read() as session:
        assert operations.find_class(session, code).asks_confidence is False


def test_pages_lead_to_classes_only_where_they_are_held(client: TestClient) -> None:
    link = 'href="/classes"'
    assert link in client.get("/lessons/quantization/sources").text
    with TestClient(create_app(Settings(classes="off"))) as other:
        assert link not in other.get("/lessons/quantization/sources").text
        assert other.get("/classes").status_code == 404
        assert other.get("/desk/K7M4XP").status_code == 404


# --- who may steer ---


def test_secret_or_whole_link_opens_the_desk(room: Room) -> None:
    other = TestClient(application(room.client), follow_redirects=False)
    for given in (room.secret, f" http://testserver/desk/{room.code}#{room.secret}\n"):
        other.cookies.clear()
        page = other.get(f"/desk/{room.code}")
        assert page.status_code == 403
        assert 'id="desk"' not in page.text
        response = other.post(f"/desk/{room.code}/enter", data={"secret": given})
        assert (response.status_code, response.headers["location"]) == (303, f"/desk/{room.code}")
        assert 'id="desk"' in other.get(f"/desk/{room.code}").text


@each("secret", ["", "abc", NOBODYS, "é" * 22, "x" * 5000])
def test_wrong_secret_does_not_steer(room: Room, secret: str) -> None:
    other = TestClient(application(room.client), follow_redirects=False)
    response = other.post(f"/desk/{room.code}/enter", data={"secret": secret})
    assert response.status_code == 403
    assert "This link does not steer a class." in response.text
    assert "set-cookie" not in response.headers


def test_forged_cookies_and_those_of_another_class_are_refused(room: Room) -> None:
    another = start(TestClient(application(room.client), follow_redirects=False))
    version = room.version
    for secret in (NOBODYS, another.secret, room.secret[:-1], ""):
        forged = TestClient(application(room.client), follow_redirects=False, cookies={"teacher": secret})
        for path in ("", "/links", "/state", "/peek"):
            assert forged.get(f"/desk/{room.code}{path}").status_code == 403
        for path, fields in (("act", {"press": "end"}), ("order", {"do": "add", "add": "task:fit"})):
            response = forged.post(f"/desk/{room.code}/{path}", data=fields | {"version": version})
            assert response.status_code == 403
    assert room.version == version


def test_deleted_class_is_gone_for_its_teacher(room: Room) -> None:
    with room.database.write() as session:
        operations.delete_class(session, operations.find_class(session, room.code))
    for path in ("", "/state"):
        response = room.client.get(f"/desk/{room.code}{path}")
        assert response.status_code == 404
        assert "No class has this code." in response.text


def test_presses_of_other_sites_are_refused(room: Room) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://elsewhere.example"}):
        for path in ("act", "order", "enter"):
            fields = {"press": "end", "version": room.version, "secret": room.secret}
            response = room.client.post(f"/desk/{room.code}/{path}", data=fields, headers=headers)
            assert response.status_code == 403
        assert room.client.post("/classes", data=form(), headers=headers).status_code == 403
    assert room.large == "Ask question 1"


def test_codes_are_read_however_they_are_written(room: Room) -> None:
    response = room.client.get(f"/desk/{room.code[:3].lower()}-{room.code[3:]}")
    assert (response.status_code, response.headers["location"]) == (308, f"/desk/{room.code}")
    assert room.client.get("/desk/AAAAAA").status_code == 404


def test_codes_cannot_be_walked_through(room: Room) -> None:
    with room.database.write() as session:
        today = datetime.now(UTC).date()
        other = operations.create(session, "Other", today, lesson="quantization")
    assert room.client.get(f"/desk/{room.code}/state").status_code == 200
    application(room.client).state.rates = Rates(lambda: 0.0)  # whatever the machine
    statuses = [room.client.get(f"/desk/BCD{i:03}/state").status_code for i in range(222, 300)]
    assert statuses[0] == 404
    assert statuses[-1] == 429
    unknown = room.client.get(f"/desk/{other.classroom.code}/state")
    assert unknown.status_code == 429  # not even where there is one
    assert (
        room.client.get(f"/desk/{room.code}/state").status_code == 200
    )  # who is in a class is not locked out


# --- presses ---


def test_large_button_walks_through_a_question(room: Room) -> None:
    room.join(6)
    said = []
    for act in ("", "", "", "second", "", "", "", ""):
        said.append(room.large)
        if said[-1] == "Close the first vote":
            room.vote("5")
        if act == "second":
            room.press_large()
            said.append(room.large)
            room.vote("9", 2)
        room.press_large()
    assert said == [
        "Ask question 1",
        "Close the first vote",
        "Discuss",
        "Ask again",
        "Close the second vote",
        "Reveal",
        "Show the second vote",
        "Show who moved",
        "Next: FIG.02 Round to nearest",
    ]


def test_question_without_votes_is_asked_again_first(room: Room) -> None:
    room.press_large()
    room.press("close")
    assert room.large == "Ask again"
    room.press_large()
    assert room.large == "Close the first vote"


def test_few_guesses_come_as_dots_only_when_the_teacher_shows_them(room: Room) -> None:
    room.join(3)
    room.press_large()
    room.vote("5")
    assert room.press("skip").status_code == 303
    assert room.large == "Show the 3 dots"
    assert 'class="guesses"' not in room.page("/state")
    room.press_large()
    assert 'class="guesses"' in room.page("/state")


def test_whole_class_can_be_ended_and_opened_again(room: Room) -> None:
    assert room.press("end").status_code == 303
    page = room.page()
    assert "The class has ended." in page
    assert room.press("ask:1").status_code == 410
    assert room.press("open").status_code == 303
    assert room.large == "Ask question 1"


def test_old_press_does_nothing_and_says_so(room: Room) -> None:
    room.press_large()
    version = room.version
    first, second = room.press("close", version), room.press("close", version)
    assert first.status_code == 303
    assert second.status_code == 409
    assert StaleError(Phase.CLOSED_1).sentence in second.text
    assert "Already closed in your other tab. Nothing was done twice." in second.text
    assert room.version == str(int(version) + 1)
    swapped = room.press("close", version, headers={"HX-Request": "true"})
    assert swapped.status_code == 200  # scripts swap it in, as any other state
    assert swapped.text.lstrip().startswith('<div class="desk"')
    assert "Nothing was done twice." in swapped.text


@each(
    "press",
    ["", "reveal", "discuss", "fly", "show:999", "show:x", "step:on", "screen:pink", "call:nowhere", "ask:²"],
)
def test_press_that_cannot_be_changes_nothing(room: Room, press: str) -> None:
    before = room.version
    response = room.press(press)
    assert response.status_code in (404, 409, 422)
    assert 'id="problem"' in response.text
    assert room.version == before


@each("version", ["", "-1", "0", "99999", "x", "9" * 400])
def test_press_without_the_present_version_is_old(room: Room, version: str) -> None:
    fields = {"press": "end", "version": version}
    assert room.client.post(f"/desk/{room.code}/act", data=fields).status_code == 409
    assert room.large == "Ask question 1"


def test_bodies_that_are_no_form_are_refused(room: Room) -> None:
    response = room.client.post(f"/desk/{room.code}/act", json={"press": "end"})
    assert response.status_code == 415
    assert room.client.post(f"/desk/{room.code}/act", data={"press": "x" * 300_000}).status_code == 413


def test_close_in_ten_seconds_and_stop(room: Room) -> None:
    room.press_large()
    assert room.press("close-in").status_code == 303
    state = room.page("/state")
    assert 'data-count="down"' in state
    assert 'value="close-stop"' in state
    assert room.press("close-stop").status_code == 303
    assert 'value="close-in"' in room.page("/state")


def test_screen_is_blanked_and_shows_the_code(room: Room) -> None:
    room.press_large()
    for press, says in (
        ("screen:blank", "nothing: it is blank"),
        ("screen:code", "the join code"),
        ("screen:follow", "question 1, the count, the join code"),
    ):
        assert room.press(press).status_code == 303
        assert f"</b> {says}." in room.page("/state")


def test_all_are_called_and_the_call_is_taken_back(room: Room) -> None:
    assert room.press("call:rounding").status_code == 303
    assert "All are called to 02 Rounding." in room.page("/state")
    assert room.press("call:").status_code == 303
    assert "All are called" not in room.page("/state")


def test_desk_covers_the_guesses_until_the_reveal(room: Room) -> None:
    """It may be projected: nothing of the answer or of the guesses but the count."""
    room.join(5)
    room.press_large()
    empty = room.page("/state")
    room.vote("17")
    for press in ("close", "discuss", "ask-again"):
        for page in (room.page("/state"), room.page()):
            assert "in fact" not in page
            assert 'class="found"' not in page
            assert not re.search(r"\b17\b", without_times(page))
        room.press(press)
    room.vote("17", 2)
    assert without_times(room.page("/state")).count("9×") == without_times(empty).count("9×") == 0
    room.press("close")
    room.press("reveal")
    assert "in fact 9×" in room.page("/state")


def without_times(page: str) -> str:
    """The page without clocks and ids, which hold any number."""
    return re.sub(r'\d\d:\d\d:\d\d[^<"]*|data-\w+="[^"]*"|\d+:\d\d|style\w+', "", page)


def test_peek_is_open_only_between_votes(room: Room) -> None:
    room.join(4)
    assert room.client.get(f"/desk/{room.code}/peek").status_code == 409
    room.press_large()
    room.vote("2")
    assert room.client.get(f"/desk/{room.code}/peek").status_code == 409
    assert 'data-peek="' not in room.page("/state")
    room.press("close")
    assert 'data-peek="' in room.page("/state")
    peek = room.page("/peek")
    assert "0 of 4 are near." in peek
    assert "Wrong answers crowd at 2." in peek
    assert "explain first" in peek
    room.press("skip")
    assert room.client.get(f"/desk/{room.code}/peek").status_code == 409


def test_names_are_escaped(room: Room) -> None:
    with room.database.write() as session:
        operations.join(session, operations.find_class(session, room.code), "a<b>&c")
    page = room.page("/state")
    assert "a&lt;b&gt;&amp;c" in page
    assert "a<b>" not in page


def test_titles_are_escaped(client: TestClient) -> None:
    response = client.post("/classes", data=form(title='"><script>alert(1)</script>'))
    page = client.get(response.headers["location"]).text
    assert "<script>alert" not in page


# --- the running order ---


def test_running_order_is_changed(room: Room) -> None:
    before = [item.name for item in room.items()]
    assert room.arrange("add", add="question:gptq", twice="1").status_code == 303
    assert room.arrange("add", add="task:fit").status_code == 303
    assert [(item.name, item.twice) for item in room.items()[-2:]] == [("gptq", True), ("fit", False)]
    last = room.items()[-1].id
    assert room.arrange(f"up:{last}").status_code == 303
    assert [item.name for item in room.items()] == [*before, "fit", "gptq"]
    assert room.arrange(f"down:{last}").status_code == 303
    assert room.arrange(f"remove:{last}").status_code == 303
    question = room.items()[-1].id
    assert room.arrange(f"once:{question}").status_code == 303
    assert not room.items()[-1].twice
    assert [item.name for item in room.items()] == [*before, "gptq"]


def test_states_of_a_figure_are_read_from_addresses_and_queries(room: Room) -> None:
    states = "bits=4\r\n\r\n http://testserver/lessons/quantization/figures/rtn?bits=3 \r\n"
    assert room.arrange("add", add="figure:rtn", states=states).status_code == 303
    assert room.items()[-1].states == ["bits=4", "bits=3"]


@each(
    "fields, says",
    [
        ({"add": "figure:rtn", "states": "bits=99"}, "bits: allowed is"),
        ({"add": "figure:nothing"}, "name: allowed is one of"),
        ({"add": "poem:rtn"}, "kind: allowed is one of"),
        ({}, "kind: allowed is one of"),
    ],
)
def test_what_cannot_be_added_is_explained(room: Room, fields: dict[str, str], says: str) -> None:
    before = room.version
    response = room.arrange("add", **fields)
    assert response.status_code == 422
    assert says in response.text
    assert '<details class="desk-arrange" id="arrange" open>' in response.text
    assert room.version == before


def test_asked_question_stays_in_the_running_order(room: Room) -> None:
    room.press_large()
    asked = room.items()[0].id
    response = room.arrange(f"remove:{asked}")
    assert response.status_code == 409
    assert f'value="remove:{asked}"' not in room.page("/state")
    assert room.items()[0].id == asked


def test_running_order_is_bounded(room: Room) -> None:
    with room.database.write() as session:
        classroom = operations.find_class(session, room.code)
        for _ in range(MOST_ITEMS - len(room.items()) - 1):
            operations.add_item(session, classroom, classroom.version, "task", "fit")
    assert room.arrange("add", add="task:fit").status_code == 303
    assert room.arrange("add", add="task:fit").status_code == 422
    assert len(room.items()) == MOST_ITEMS


def test_forms_that_are_loaded_again_lead_to_the_desk(room: Room) -> None:
    for path in ("act", "order", "enter"):
        response = room.client.get(f"/desk/{room.code}/{path}")
        assert (response.status_code, response.headers["location"]) == (303, f"/desk/{room.code}")


def test_nothing_of_a_desk_is_kept(room: Room) -> None:
    pages: list[Callable[[], Response]] = [
        lambda: room.client.get(f"/desk/{room.code}"),
        lambda: room.client.get(f"/desk/{room.code}/state"),
        lambda: room.client.get("/classes"),
        lambda: room.press("close", "1"),
    ]
    for ask in pages:
        assert ask().headers["cache-control"] == "no-store"


def test_small_picture_shows_what_the_screen_shows(room: Room) -> None:
    def small() -> str:
        picture = found(r'<p class="desk-mini[^>]*>(.*?)</p>', room.page("/state"))
        return re.sub(r"<[^>]*>", "", picture)

    room.join(2)
    assert small() == f"{room.code[:3]} {room.code[3:]} join code"
    room.press_large()
    room.vote("8")
    assert small() == "2 of 2 question, count, code"
    room.press_large()
    assert small() == "2 of 2 closed"
    room.press_large()
    assert re.fullmatch(r"0:\d\d of talk", small())
    room.press_large()
    room.press_large()
    assert small() == "0 of 2 closed"
    room.press_large()
    assert small() == "9× first votes"
    room.press("screen:blank")
    assert small() == ""


def test_the_whole_page_has_the_buttons_of_its_fragment(room: Room) -> None:
    room.join(2)
    room.press_large()
    room.vote("2")
    room.press_large()
    own = [
        re.findall(r'form="press" name="press" value="([^"]*)"', room.page(rest)) for rest in ("", "/state")
    ]
    assert own[0] == own[1]
    assert {"discuss", "reopen", "skip", "withdraw"} <= set(own[0])
