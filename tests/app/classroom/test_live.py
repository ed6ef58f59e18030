"""Streams of events: who may listen, what is told and when, and how a stream ends."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from app import create_app
from app.addresses import path
from app.classroom import codes, operations, schema
from app.classroom import live as live_module
from app.classroom.database import Database, url_of
from app.classroom.flow import Action
from app.classroom.live import Live, Presence, counted_in
from app.classroom.models import Classroom, Item, Student
from app.classroom.rates import Rates
from app.routes.classroom.events import Admitted, EventStream, admitted, events
from app.settings import Settings
from scripts import database as postgresql
from tests.app.conftest import application
from tests.app.servers import serving, stop

SOON = 2.0
"""Seconds within which word must have come on a busy machine."""


class Held(NamedTuple):
    """A class with one student, and its secrets."""

    code: str
    teacher: str
    student: str
    student_id: str


def hold(database: Database) -> Held:
    """Start a class in a database, and let a student in."""
    with database.write() as session:
        created = operations.create(
            session, "Monday", datetime.now(UTC).date() + timedelta(days=3), lesson="quantization"
        )
        joined = operations.join(session, created.classroom)
        return Held(created.classroom.code, created.secret, joined.secret, joined.student.id)


@pytest.fixture
def held(database: Database) -> Held:
    return hold(database)


def act(database: Database, held: Held, action: Action = Action.ASK) -> int:
    """What the teacher does with the first question; gives the new version."""
    with database.write() as session:
        classroom = operations.find_class(session, held.code)
        item = operations.running_order(session, classroom)[0] if action is Action.ASK else None
        operations.act(session, classroom, action, classroom.version, item_id=item.id if item else None)
        return classroom.version


def count(database: Database, held: Held) -> int:
    """Let another student in; gives the new count."""
    with database.write() as session:
        classroom = operations.find_class(session, held.code)
        operations.join(session, classroom)
        return classroom.tally


def listening(database: Database, test: Callable[[Live], Coroutine[Any, Any, None]]) -> None:
    """Run a test with a look-out."""

    async def run() -> None:
        live = Live(database, operations.settle_due)
        live.start()
        try:
            await test(live)
        finally:
            await live.close()

    asyncio.run(run())


async def who(database: Database, held: Held, student: str = "") -> Admitted:
    return await database.reading(
        lambda session: admitted(operations.find_class(session, held.code), student)
    )


async def following(stream: Any, seconds: float = SOON) -> str:
    """The next event of a stream, as `name number`."""
    async with asyncio.timeout(seconds):
        name, number = (await anext(stream)).decode().strip().split("\n")
    return f"{name.removeprefix('event: ')} {number.removeprefix('data: ')}"


def test_every_stream_begins_with_the_present_version(database: Database, held: Held) -> None:
    async def test(live: Live) -> None:
        now = await who(database, held)
        student = events(live, now)
        assert await following(student) == f"changed {now.version}"
        desk = events(live, now, counts=True)
        assert await following(desk) == f"changed {now.version}"
        assert await following(desk) == f"counted {now.tally}"
        await student.aclose()
        await desk.aclose()

    listening(database, test)


def test_a_change_by_another_process_reaches_all(database: Database, held: Held) -> None:
    other = Database(database.url)  # connections of its own, as another process has

    async def test(live: Live) -> None:
        now = await who(database, held)
        streams = [events(live, now), events(live, now, counts=True), events(live, now, screen=True)]
        for stream in streams:
            await following(stream)
        await following(streams[1])
        waiting = [asyncio.create_task(following(stream)) for stream in streams]
        await asyncio.sleep(0.3)
        version = await asyncio.to_thread(act, other, held)
        assert set(await asyncio.gather(*waiting)) == {f"changed {version}"}
        for stream in streams:
            await stream.aclose()

    try:
        listening(database, test)
    finally:
        other.close()


def test_students_are_not_told_of_every_vote_and_the_desk_at_most_twice_a_second(
    database: Database, held: Held
) -> None:
    async def test(live: Live) -> None:
        now = await who(database, held)
        student, desk = events(live, now), events(live, now, counts=True)
        for stream in (student, desk, desk):
            await following(stream)
        silent = asyncio.create_task(following(student, 60))
        told: list[float] = []

        async def listen() -> None:
            while True:
                name = await following(desk, 60)
                told.append(time.monotonic())
                assert name.startswith("counted ")

        listener = asyncio.create_task(listen())
        end = time.monotonic() + 1.6
        while time.monotonic() < end:
            await asyncio.to_thread(count, database, held)
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.7)
        listener.cancel()
        assert 2 <= len(told) <= 6
        assert all(after - before > 0.4 for before, after in itertools.pairwise(told))
        assert not silent.done()
        silent.cancel()
        await asyncio.gather(listener, silent, return_exceptions=True)

    listening(database, test)


def test_a_vote_that_closes_by_itself_is_visible(database: Database, held: Held) -> None:
    async def test(live: Live) -> None:
        version = await asyncio.to_thread(act, database, held)
        stream = events(live, await who(database, held))
        assert await following(stream) == f"changed {version}"

        def close_soon() -> int:
            with database.write() as session:
                classroom = operations.find_class(session, held.code)
                item = session.get(Item, classroom.item_id)
                assert item
                item.closes_at = datetime.now(UTC) + timedelta(seconds=0.8)
                classroom.version += 1
                return classroom.version

        version = await asyncio.to_thread(close_soon)
        assert await following(stream) == f"changed {version}"
        assert await following(stream, 4) == f"changed {version + 1}"
        await stream.aclose()

    listening(database, test)
    with database.read() as session:
        classroom = operations.find_class(session, held.code)
        item = session.get(Item, classroom.item_id)
        assert item is not None
        assert (item.phase, item.closes_at) == ("closed-1", None)


@pytest.mark.parametrize("how", ["stop", "delete"])
def test_a_stream_ends_when_the_server_stops_or_the_class_is_gone(
    database: Database, held: Held, how: str
) -> None:
    def delete() -> None:
        with database.write() as session:
            operations.delete_class(session, operations.find_class(session, held.code))

    async def test(live: Live) -> None:
        stream = events(live, await who(database, held))
        await following(stream)

        async def rest() -> list[bytes]:
            return [part async for part in stream]

        last = asyncio.create_task(rest())
        await asyncio.sleep(0.2)
        if how == "stop":
            live.stop()
        else:
            await asyncio.to_thread(delete)
        async with asyncio.timeout(SOON):
            told = b"".join(await last)
        assert told == (b"" if how == "stop" else b"event: changed\ndata: 0\n\nevent: gone\ndata: 0\n\n")

    listening(database, test)


def test_a_student_who_is_yet_to_be_told_holds_up_no_stop(
    database: Database, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.routes.classroom import events as module

    monkeypatch.setattr(module, "spread", lambda channel: 60.0)
    monkeypatch.setattr("random.random", lambda: 1.0)

    async def test(live: Live) -> None:
        stream = events(live, await who(database, held))
        await following(stream)
        last = asyncio.create_task(anext(stream, b"the end"))
        await asyncio.to_thread(act, database, held)
        await asyncio.sleep(0.5)
        assert not last.done()
        live.stop()
        async with asyncio.timeout(SOON):
            assert await last == b"the end"

    listening(database, test)


def test_a_stream_lasts_less_than_a_response_may(
    database: Database, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.http.connections import ANSWER_SECONDS
    from app.routes.classroom import events as module

    assert max(module.LASTS_SECONDS) + module.LONGEST_SPREAD < ANSWER_SECONDS - 5
    monkeypatch.setattr(module, "LASTS_SECONDS", (0.5, 0.5))
    monkeypatch.setattr(module, "COMMENT_SECONDS", 0.2)

    async def test(live: Live) -> None:
        async with asyncio.timeout(SOON):
            parts = [part async for part in events(live, await who(database, held))]
        assert parts[0].startswith(b"event: changed\n")
        assert parts[1:] == [b":\n\n"] * 3

    listening(database, test)


def test_who_has_a_line_is_here_and_the_desk_is_visible_when_they_come_and_go(
    database: Database, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    with database.write() as session:
        session.get_one(Student, held.student_id).seen_at = long_ago
    presence = Presence(database)

    def state() -> tuple[int, bool, bool]:
        with database.read() as session:
            classroom = session.scalars(select(Classroom)).one()
            seen = session.get_one(Student, held.student_id).seen_at
            return classroom.tally, seen > long_ago, classroom.screen_seen_at is not None

    tally = state()[0]
    presence.write({held.student_id: held.code}, set())
    assert state() == (tally + 1, True, False)
    presence.write({held.student_id: held.code}, {held.code})
    assert state() == (tally + 1, True, True)
    presence.write({}, set())
    assert state()[0] == tally + 1  # they may be back in a moment
    monkeypatch.setattr(live_module, "AWAY_SECONDS", 0.0)
    presence.write({}, set())
    assert state()[0] == tally + 2
    presence.write({}, set())
    assert state()[0] == tally + 2
    assert not presence.waiting


def test_a_line_that_breaks_leaves_nobody_here(database: Database, held: Held) -> None:
    async def test(live: Live) -> None:
        response = EventStream(events(live, await who(database, held, held.student_id)))
        sent: list[Any] = []
        gone = asyncio.Event()

        async def receive() -> dict[str, str]:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        answer = asyncio.create_task(
            response({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)
        )
        await asyncio.sleep(0.3)
        assert live.students == {held.student_id: held.code}
        gone.set()
        async with asyncio.timeout(SOON):
            await answer
        assert live.students == {}
        assert sent[0]["status"] == 200
        headers = dict(sent[0]["headers"])
        assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
        assert headers[b"cache-control"] == b"no-store"

    listening(database, test)


def test_streams_outlive_a_restart_of_the_database() -> None:
    if postgresql.find() is None:
        pytest.skip("NOT TESTED ON POSTGRESQL: install it (Debian: apt-get install postgresql)")
    with postgresql.running() as own:
        database = Database(url_of(own.create("restarted"), ""))
        schema.migrate(database)
        held = hold(database)

        async def test(live: Live) -> None:
            stream = events(live, await who(database, held))
            await following(stream)
            next_event = asyncio.create_task(following(stream, 30))
            await asyncio.sleep(0.3)
            await asyncio.to_thread(own.stop, signal.SIGQUIT)
            await asyncio.sleep(1.0)
            assert not next_event.done()
            await asyncio.to_thread(own.start)
            version = await asyncio.to_thread(act, database, held)
            began = time.monotonic()
            assert await next_event == f"changed {version}"
            assert time.monotonic() - began < 5.0
            version = await asyncio.to_thread(act, database, held, Action.CLOSE)
            assert await following(stream) == f"changed {version}"  # and word comes at once again
            await stream.aclose()

        listening(database, test)
        database.close()


@pytest.fixture
def client(database: Database) -> Iterator[TestClient]:
    url = database.url.render_as_string(hide_password=False)
    with TestClient(create_app(Settings(classes="open", database_url=url))) as running:
        yield running


def test_only_who_belongs_to_a_class_hears_of_it(client: TestClient, database: Database, held: Held) -> None:
    other = hold(database)
    events_of = {name: path(f"{name} events", held.code) for name in ("class", "desk", "screen")}

    def status(address: str, **cookies: str) -> int:
        header = "; ".join(f"{name}={value}" for name, value in cookies.items())
        return client.get(address, headers={"Cookie": header} if header else {}).status_code

    assert status(events_of["class"]) == 403
    assert status(events_of["class"], student=other.student) == 403
    assert status(events_of["class"], student=held.teacher) == 403
    assert status(events_of["class"], student="x" * 5000) == 403
    assert status(events_of["desk"]) == 403
    assert status(events_of["desk"], teacher=other.teacher) == 403
    assert status(events_of["desk"], teacher=held.student, student=held.student) == 403
    assert status(path("screen events", "BBBBBB")) == 404
    assert status(path("class events", "BBBBBB"), student=held.student) == 404


def test_one_client_cannot_take_all_streams(
    client: TestClient, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.routes.classroom.events.CLIENT_CONNECTIONS", 2)
    monkeypatch.setattr("app.routes.classroom.events.LASTS_SECONDS", (0.0, 0.0))
    address = path("screen events", held.code)
    clients = application(client).state.live.clients
    assert client.get(address).status_code == 200
    assert not clients, "a stream that has ended is still counted"
    with contextlib.ExitStack() as open_streams:
        for _ in range(2):
            open_streams.enter_context(counted_in(clients, "testclient"))
        refused = client.get(address)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "15")
    assert client.get(address).status_code == 200


def test_an_open_stream_counts_for_its_client() -> None:
    clients: Counter[str] = Counter()

    async def stream() -> AsyncGenerator[bytes]:
        assert clients == {"one": 1}
        yield b"x"

    async def send(_message: Any) -> None:
        pass

    asyncio.run(EventStream(stream(), counted_in(clients, "one")).stream_response(send))
    assert not clients


def test_pages_of_a_deleted_class_block_nobody_behind_the_same_address(
    client: TestClient, database: Database, held: Held
) -> None:
    other = hold(database)
    cookie = {"Cookie": f"student={held.student}"}
    assert client.get(path("class bar", held.code), headers=cookie).status_code == 200
    with database.write() as session:
        operations.delete_class(session, operations.find_class(session, held.code))
    tried = [client.get(path("class events", held.code), headers=cookie).status_code for _ in range(100)]
    assert set(tried) == {404}
    assert client.get(path("screen state", other.code)).status_code == 200


def test_who_tries_many_codes_learns_nothing_in_the_end(
    client: TestClient, database: Database, held: Held
) -> None:
    other = hold(database)
    application(client).state.rates = Rates(lambda: 0.0)  # whatever the machine
    assert client.get(path("screen state", held.code)).status_code == 200
    tried = [
        client.get(path("screen events", f"BBBB{a}{b}")).status_code for a in "2346" for b in codes.ALPHABET
    ]
    assert set(tried[:60]) == {404}
    assert set(tried[-20:]) == {429}
    wrong = {"Cookie": f"student={held.teacher}; teacher={held.student}"}
    for page in ("join class", "screen", "screen state", "screen events"):
        assert client.get(path(page, other.code), headers=wrong).status_code == 429, page
    for page in ("class bar", "class events", "desk state", "desk events"):
        assert client.get(path(page, other.code), headers=wrong).status_code == 429, page
        assert client.get(path(page, "BBBB22"), headers=wrong).status_code == 429, page
    # Who belongs to a class is let in all the same, and so is who was there before.
    own = {"Cookie": f"student={other.student}; teacher={other.teacher}"}
    assert client.get(path("desk state", other.code), headers=own).status_code == 200
    assert client.get(path("class bar", other.code), headers=own).status_code == 200
    assert client.get(path("screen state", held.code)).status_code == 200


class Line:
    """An open stream of a server."""

    def __init__(self, port: int, address: str, cookie: str = "") -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self.connection.request("GET", address, headers={"Cookie": cookie})
        self.response = self.connection.getresponse()
        assert self.response.status == 200, self.response.read()

    def event(self) -> str:
        """The next event, as `name number`; "" at the end."""
        lines = []
        while line := self.response.readline().decode().strip():
            if not line.startswith(":"):
                lines.append(line.partition(": ")[2])
        return " ".join(lines)

    def close(self) -> None:
        self.response.close()
        self.connection.close()


@contextlib.contextmanager
def served(database: Database) -> Iterator[tuple[int, Any]]:
    url = database.url.render_as_string(hide_password=False)
    with serving(WORKERS="2", ACADEMY_CLASSES="open", DATABASE_URL=url, ACADEMY_MAKE_AHEAD="0") as (
        port,
        process,
    ):
        yield port, process


def test_two_workers_tell_and_stop_at_once(database: Database, held: Held) -> None:
    with served(database) as (port, process):
        lines = [Line(port, path("class events", held.code), f"student={held.student}") for _ in range(6)] + [
            Line(port, path("screen events", held.code.lower())) for _ in range(2)
        ]
        for line in lines:
            assert line.event().startswith("changed ")
        version = act(database, held)
        for line in lines:
            while (heard := line.event()) != f"changed {version}":
                assert heard.startswith("counted ")
        began = time.monotonic()
        process.terminate()
        for line in lines:
            while line.event():
                pass
            line.close()
        assert time.monotonic() - began < SOON
        stop(process)
        assert time.monotonic() - began < 5
