"""A class while something fails: a killed worker, a restarted database, a cut line. No vote is lost."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import select as sockets_select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from sqlalchemy import select

from app.addresses import path
from app.classroom import operations
from app.classroom.database import Database, url_of
from app.classroom.flow import Action
from app.classroom.models import Item, Vote
from lessons.kit.question import ANSWER
from scripts import database as postgresql
from scripts.database import Cluster
from tests.app.servers import LIMIT, fetch, serving, until, workers_of

STUDENTS = 16
VOTERS = 2  # threads that vote, each for its share of the students
BEFORE = 20  # acknowledged votes before something fails
QUESTION = "rtn"
ACKNOWLEDGED = (200, 204, 303)


@dataclass
class Held:
    """A class whose first vote is open, on a running server."""

    port: int
    pid: int
    database: Database
    code: str = ""
    item: int = 0
    secrets: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """Let the students in, and ask the question."""
        with self.database.write() as session:
            room = operations.create(session, "Monday", datetime.now(UTC).date(), lesson="quantization")
            self.code = room.classroom.code
        for _ in range(STUDENTS):
            with self.database.write() as session:
                room_now = operations.find_class(session, self.code)
                self.secrets.append(operations.join(session, room_now).secret)
        self.item = self.act(Action.ASK)

    def act(self, action: Action) -> int:
        """What a teacher does; the id of the question."""
        with self.database.write() as session:
            room = operations.find_class(session, self.code)
            order = operations.running_order(session, room)
            item = next(each.id for each in order if (each.kind, each.name) == ("question", QUESTION))
            operations.act(session, room, action, room.version, item)
            return item

    def version(self) -> int:
        with self.database.read() as session:
            return operations.find_class(session, self.code).version

    def stored(self) -> dict[str, list[str | None]]:
        """The values of each student's stored votes, by secret."""
        found: dict[str, list[str | None]] = {}
        with self.database.read() as session:
            ids = {operations.find_student(session, self.code, secret).id: secret for secret in self.secrets}
            for student, value in session.execute(
                select(Vote.student_id, Vote.value).join(Item).where(Item.id == self.item)
            ):
                found.setdefault(ids[student], []).append(value)
        return found

    def is_served(self) -> bool:
        try:
            return b"<!doctype html>" in fetch(self.port, "/lessons/quantization")[:20]
        except (OSError, http.client.HTTPException):
            return False


def ask(port: int, place: str, secret: str, form: dict[str, str] | None = None) -> int:
    """The status of a response, 0 for none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"Cookie": f"student={secret}", "Sec-Fetch-Site": "same-origin"}
    body = None
    if form is not None:
        headers["Content-Type"], body = "application/x-www-form-urlencoded", urlencode(form)
    try:
        connection.request("GET" if form is None else "POST", place, body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


class Voters:
    """Students who vote and move their guess until the end of a `with`; each votes once more after it.

    What is not acknowledged is sent again, as browsers do.
    """

    def __init__(self, held: Held, port: int) -> None:
        self.held, self.port = held, port
        self.acknowledged: dict[str, str] = {}
        self.count = 0
        self.failures: list[int] = []
        self.over = threading.Event()
        self.done = 0
        self.given_up = False
        self.threads = [threading.Thread(target=self._vote, args=(number,)) for number in range(VOTERS)]

    def __enter__(self) -> Voters:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.given_up = kind is not None
        self.over.set()
        for thread in self.threads:
            thread.join(LIMIT)

    def _vote(self, number: int) -> None:
        own = self.held.secrets[number::VOTERS]
        for vote in itertools.count():
            last = self.over.is_set()
            for place, secret in enumerate(own):
                value = str(1 + (vote + place) % 20)
                form = {"item": str(self.held.item), "round": "1", ANSWER: value}
                end, wait = time.monotonic() + LIMIT, 0.1
                while (status := self._send(secret, form)) not in ACKNOWLEDGED:
                    if self.given_up or time.monotonic() > end:
                        return
                    self.failures.append(status)
                    time.sleep(wait)
                    wait = min(2 * wait, 2.0)
                self.acknowledged[secret] = value
                self.count += 1
            if last:
                self.done += 1
                return

    def _send(self, secret: str, form: dict[str, str]) -> int:
        return ask(self.port, path("class vote", self.held.code), secret, form)


class Follower:
    """A student's event stream, opened again whenever it ends."""

    def __init__(self, held: Held, port: int) -> None:
        self.held, self.port = held, port
        self.version = 0
        self.opened = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Follower:
        self.thread.start()
        assert until(lambda: self.version)
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()

    def _follow(self) -> None:
        while not self.over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=40)
            with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
                cookie = {"Cookie": f"student={self.held.secrets[0]}"}
                connection.request("GET", path("class events", self.held.code), headers=cookie)
                answer = connection.getresponse()
                self.opened += answer.status == 200
                while line := answer.readline():
                    if line.startswith(b"data: "):
                        self.version = int(line[6:])
            time.sleep(0.2)


class Line:
    """A line between browsers and a server that can be cut, and can lose responses."""

    def __init__(self, port: int) -> None:
        self.server = port
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listening.getsockname()[1])
        self.open: set[socket.socket] = set()
        self.loses = False
        self.lost = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.listening.close()
        self.cut()

    def cut(self) -> None:
        """Break every connection off."""
        for one in list(self.open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listening.accept()
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        with (
            near,
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.server)) as far,
        ):
            self.open |= {near, far}
            while True:
                ready, _, _ = sockets_select.select([near, far], [], [])
                for one in ready:
                    data = one.recv(65536)
                    if not data:
                        return
                    if one is far and self.loses:
                        self.lost += 1
                        return
                    (far if one is near else near).sendall(data)


@dataclass
class Served:
    """A running server, and the cluster of its database if that is PostgreSQL."""

    port: int
    pid: int
    url: str
    cluster: Cluster | None = None

    @contextlib.contextmanager
    def class_(self) -> Iterator[Held]:
        """A new class on it."""
        with contextlib.closing(Database(url_of(self.url, ""))) as database:
            held = Held(self.port, self.pid, database)
            held.begin()
            yield held


@contextlib.contextmanager
def served(url: str, cluster: Cluster | None = None) -> Iterator[Served]:
    settings = {"WORKERS": "2", "ACADEMY_CLASSES": "open", "ACADEMY_MAKE_AHEAD": "0", "DATABASE_URL": url}
    with serving(**settings) as (port, process):
        yield Served(port, process.pid, url, cluster)


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(f"sqlite:///{tmp_path_factory.mktemp('served') / 'classes.db'}") as server:
        yield server


@pytest.fixture(scope="module")
def on_postgresql() -> Iterator[Served]:
    if postgresql.find() is None:
        pytest.skip("NOT TESTED ON POSTGRESQL: install it (Debian: apt-get install postgresql)")
    with postgresql.running() as cluster, served(cluster.create("classes"), cluster) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Served:
    found: Served = request.getfixturevalue(f"on_{request.param}")
    return found


def assert_stored(held: Held, voters: Voters) -> None:
    """Every acknowledged vote is stored, once."""
    assert voters.done == VOTERS
    assert len(voters.acknowledged) == STUDENTS
    assert held.stored() == {secret: [value] for secret, value in voters.acknowledged.items()}


def assert_follows(held: Held, follower: Follower) -> None:
    """The stream tells what happens next."""
    held.act(Action.CLOSE)
    assert until(lambda: follower.version == held.version())


def test_killed_worker_loses_no_vote(server: Served) -> None:
    with server.class_() as held, contextlib.ExitStack() as streams:
        # Enough for both workers to have some.
        followers = [streams.enter_context(Follower(held, held.port)) for _ in range(8)]
        before = workers_of(held.pid)
        with Voters(held, held.port) as voters:
            assert until(lambda: voters.count >= BEFORE)
            os.kill(before[0], signal.SIGKILL)
        assert until(lambda: len(workers_of(held.pid)) == 2 and before[0] not in workers_of(held.pid))
        assert_stored(held, voters)
        held.act(Action.CLOSE)
        for follower in followers:
            assert until(lambda follower=follower: follower.version == held.version())
        assert held.is_served()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restart", "crash"])
def test_restarted_database_loses_no_vote(on_postgresql: Served, how: signal.Signals) -> None:
    cluster = on_postgresql.cluster
    assert cluster
    assert cluster.syncs
    with on_postgresql.class_() as held, Follower(held, held.port) as follower:
        with Voters(held, held.port) as voters:
            assert until(lambda: voters.count >= BEFORE)
            cluster.stop(how)
            try:
                assert until(lambda: len(voters.failures) > 1)
                assert held.is_served()  # the lesson needs no database
                assert ask(held.port, path("class", held.code), held.secrets[0]) == 503
            finally:
                cluster.start()
        assert {*voters.failures} <= {0, 503}
        assert_stored(held, voters)
        assert_follows(held, follower)


def test_cut_line_loses_no_vote_and_stores_none_twice(server: Served) -> None:
    with (
        server.class_() as held,
        Line(held.port) as line,
        Follower(held, line.port) as follower,
    ):
        with Voters(held, line.port) as voters:
            assert until(lambda: voters.count >= BEFORE)
            line.loses = True  # what is sent arrives, and no acknowledgement comes back
            assert until(lambda: line.lost > 3)
            line.cut()
            line.loses = False
        assert voters.failures
        assert_stored(held, voters)
        assert_follows(held, follower)
        assert follower.opened > 1
