"""Simulate a class that votes: a thousand students with an event stream each, on SQLite and on PostgreSQL.

python bench/live.py            the whole class, on both
python bench/live.py --quick    a small one, to look whether everything works
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the server does, before numpy is imported

import asyncio
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import uvloop
from sqlalchemy import select

from app.addresses import path
from app.classroom import operations
from app.classroom.database import Database, url_of
from app.classroom.flow import Action
from app.classroom.models import Item, Vote
from bench import classroom
from bench.classroom import Answers
from bench.load import Connection
from bench.serving import Server, lesson_server
from bench.table import Table, median, number, quantile, yes
from lessons.catalogue import load_lesson
from lessons.kit.question import ANSWER
from scripts import database as postgresql

LESSON = "quantization"
VOTE_AIM, READER_AIM, SCREEN_AIM = 250.0, 100.0, 1000.0  # milliseconds
PATIENCE = 10.0  # seconds
ALONE = 15.0  # seconds for which the others read before the class begins
REPEATED = 0.05  # share of the votes that are sent a second time, as after a lost line
LOOK_AGAIN = 15.0  # seconds between two looks at the count while a vote is open: static/js/class/bar.js
SETTLE = 5.0  # seconds between two presses of the teacher, and before students answer


@dataclass(frozen=True, slots=True)
class Size:
    """How many students there are, and how long things take in seconds."""

    joining: int = 350
    join_seconds: float = 60.0
    students: int = 1000
    vote_seconds: float = 60.0
    readers: int = 100


FULL = Size()
QUICK = Size(joining=40, join_seconds=8.0, students=150, vote_seconds=10.0, readers=20)


def main(size: Size = FULL) -> None:
    classroom.allow_connections()
    table = Table(
        f"A class that votes twice, 2 workers: {size.joining} students join in {size.join_seconds:.0f} s; "
        f"{size.students} with an event stream each vote within {size.vote_seconds:.0f} s; {size.readers} "
        "others read.",
        *("database", "what", "answers", "p50 ms", "p95 ms", "p99 ms", "max ms", "errors", "aim", "reached"),
    )
    notes = []
    for name, chosen in (("SQLite", sqlite), ("PostgreSQL", postgres)):
        with chosen() as settings:
            if settings is None:
                notes.append(f"{name}: NOT MEASURED, it is missing.")
                continue
            more = {"ACADEMY_CLASSES": "open", **settings}
            with lesson_server(2, make_ahead=size is FULL, more=more) as server:
                if size is FULL:
                    server.wait_until_idle()
                before, start = server.cpu_seconds(), time.perf_counter()
                held = uvloop.run(Held(server, settings, size).run())
                busy = (server.cpu_seconds() - before) / (time.perf_counter() - start)
        for row in held.rows():
            table.add(name, *row)
        notes.append(f"{name}: {held.said()} The workers held {busy:.2f} cores, the class {held.own:.2f}.")
    table.print()
    print("\n".join(notes), "\n")


@contextmanager
def sqlite() -> Iterator[dict[str, str] | None]:
    """Settings of a server whose classes are in a new file."""
    with tempfile.TemporaryDirectory() as folder:
        yield {"ACADEMY_DATA_DIR": folder, "DATABASE_URL": ""}


@contextmanager
def postgres() -> Iterator[dict[str, str] | None]:
    """Settings of a server whose classes are in a new database of PostgreSQL, if there is one."""
    if postgresql.find() is None:
        yield None
        return
    with postgresql.running() as cluster:
        yield {"DATABASE_URL": cluster.create("classes")}


@dataclass
class Reply:
    """A response: its status (0 for none), body and cookie, and the milliseconds that it took."""

    status: int = 0
    body: bytes = b""
    cookie: str = ""
    place: str = ""
    ms: float = 0.0


class Wire(Connection):
    """A connection that hands on what a response consists of."""

    def __init__(self, ended: Callable[[int], None], piece: Callable[[bytes], None]) -> None:
        super().__init__(lambda status, _size: ended(status), lambda: ended(0))
        self.piece = piece
        self.headers: dict[str, str] = {}

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.piece(body)


class Browser:
    """A browser's connection: one request at a time, repeated on a new connection if the line was lost."""

    def __init__(self, url: str, cookie: str = "") -> None:
        self.url = url
        self.cookie = cookie
        self.turn = asyncio.Lock()
        self.wire: Wire | None = None
        self.waiting: asyncio.Future[int] | None = None
        self.body = b""

    async def ask(self, place: str, form: dict[str, str] | None = None, patience: float = PATIENCE) -> Reply:
        """The response to a GET, or to a POST of a form; the time counts from the call on."""
        began = time.perf_counter()
        reply = Reply()
        async with self.turn:
            while reply.status == 0 and time.perf_counter() - began < patience:
                try:
                    reply = await self._ask_once(plain_request(place, self.cookie, form), patience)
                except (OSError, TimeoutError):
                    await asyncio.sleep(0.2)
        reply.ms = 1000 * (time.perf_counter() - began)
        if reply.cookie:
            self.cookie = reply.cookie
        return reply

    def close(self) -> None:
        if self.wire:
            self.wire.close()

    async def _ask_once(self, request: bytes, patience: float) -> Reply:
        if self.wire is None or not self.wire.open:
            self.wire = Wire(self._ended, self._piece)
            await self.wire.connect(self.url)
        self.body = b""
        self.waiting = asyncio.get_running_loop().create_future()
        self.wire.ask(request)
        status = await asyncio.wait_for(self.waiting, patience)
        headers = self.wire.headers
        return Reply(
            status, self.body, headers.get("set-cookie", "").partition(";")[0], headers.get("location", "")
        )

    def _ended(self, status: int) -> None:
        if self.waiting and not self.waiting.done():
            self.waiting.set_result(status)

    def _piece(self, body: bytes) -> None:
        self.body += body


class Stream:
    """An event stream, begun again when it ends, as a browser does."""

    def __init__(self, url: str, place: str, cookie: str, heard: Callable[[str, str], None]) -> None:
        self.url, self.place, self.cookie, self.heard = url, place, cookie, heard
        self.errors = self.begun = self.events = 0
        self.first = asyncio.Event()
        self.rest = b""
        self.wire: Wire | None = None
        self.task = asyncio.create_task(self._follow())

    def close(self) -> None:
        self.task.cancel()
        if self.wire:
            self.wire.close()

    async def _follow(self) -> None:
        while True:
            over: asyncio.Future[int] = asyncio.get_running_loop().create_future()

            def ended(status: int, over: asyncio.Future[int] = over) -> None:
                if not over.done():
                    over.set_result(status)

            self.rest = b""
            self.wire = Wire(ended, self._piece)
            try:
                await self.wire.connect(self.url)
                self.wire.ask(plain_request(self.place, self.cookie, accept="text/event-stream"))
                self.begun += 1
                self.errors += await over != 200
            except OSError:
                self.errors += 1
            self.wire.close()
            await asyncio.sleep(0.35 + 0.3 * random.random())  # hx-sse: 500 ms, give or take 30 %

    def _piece(self, body: bytes) -> None:
        *whole, self.rest = (self.rest + body).split(b"\n\n")
        for event in whole:
            fields = dict(line.split(": ", 1) for line in event.decode().splitlines() if ": " in line[1:])
            if "event" in fields:
                self.events += 1
                self.first.set()
                self.heard(fields["event"], fields.get("data", ""))


def plain_request(
    place: str, cookie: str = "", form: dict[str, str] | None = None, accept: str = "*/*"
) -> bytes:
    """A request as a page's script sends it."""
    body = urlencode(form or {}).encode()
    lines = [f"{'GET' if form is None else 'POST'} {place} HTTP/1.1", "Host: 127.0.0.1", f"Accept: {accept}"]
    lines += ["Sec-Fetch-Site: same-origin", "HX-Request: true"]
    lines += [f"Cookie: {cookie}"] if cookie else []
    if form is not None:
        lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Student:
    """Follows the class in a browser, and votes at moments of their own."""

    def __init__(self, held: Held, cookie: str) -> None:
        self.held = held
        self.browser = Browser(held.server.url, cookie)
        self.secret = cookie.partition("=")[2]
        self.stream: Stream | None = None
        self.version = 0
        self.stale = False
        self.seen: asyncio.Task[None] | None = None
        self.acknowledged: dict[int, str] = {}

    def follow(self) -> Stream:
        """Open the stream."""
        place = path("class events", self.held.code)
        self.stream = Stream(self.held.server.url, place, self.browser.cookie, self._heard)
        return self.stream

    async def vote(self, item: int, vote: int, delay: float) -> None:
        """Vote once, and some of them once more: the line was lost before the acknowledgement came."""
        await asyncio.sleep(delay)
        value = random.choice(self.held.values)
        form = {"item": str(item), "round": str(vote), ANSWER: value, "as": "bar"}
        if vote == 2:
            form["confidence"] = random.choice("123")
        for _ in range(2 if random.random() < REPEATED else 1):
            reply = await self.browser.ask(path("class vote", self.held.code), form)
            self.held.note(f"vote {vote}", reply, reply.status == 200)
            if reply.status == 200:
                self._shows(reply)
                self.acknowledged[vote] = value
                self.held.last_vote = time.perf_counter()

    async def follow_the_count(self) -> None:
        """Ask for the bar again and again, until cancelled."""
        await asyncio.sleep(LOOK_AGAIN * random.random())
        while True:
            self.look()
            await asyncio.sleep(LOOK_AGAIN)

    def look(self) -> None:
        """Ask for the bar, once more if one is on its way."""
        self.stale = True
        if self.seen is None or self.seen.done():
            self.seen = asyncio.create_task(self._look())

    def _heard(self, event: str, data: str) -> None:
        if event == "changed" and int(data) != self.version:
            self.look()

    async def _look(self) -> None:
        while self.stale:
            self.stale = False
            reply = await self.browser.ask(path("class bar", self.held.code))
            self.held.note("bar", reply, reply.status == 200)
            self._shows(reply)

    def _shows(self, reply: Reply) -> None:
        """Take over the bar of a response."""
        if found := re.search(rb'data-version="(\d+)"', reply.body):
            self.version = int(found[1])


class Screen:
    """The projector: asks for its fragment at every event, and notes when it shows how many have voted."""

    def __init__(self, held: Held) -> None:
        self.held = held
        self.browser = Browser(held.server.url)
        self.stream = Stream(held.server.url, path("screen events", held.code), "", self._heard)
        self.stale = False
        self.task: asyncio.Task[None] | None = None
        self.voted: int | None = None
        self.at: dict[int, float] = {}

    def _heard(self, _event: str, _data: str) -> None:
        self.stale = True
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while self.stale:
            self.stale = False
            reply = await self.browser.ask(path("screen state", self.held.code))
            self.held.note("screen", reply, reply.status == 200)
            self.voted = voted_on(reply.body.decode())
            if self.voted is not None:
                self.at.setdefault(self.voted, time.perf_counter())


def voted_on(page: str) -> int | None:
    """How many have voted, as the screen's fragment says; None where it says nothing."""
    found = re.search(r'class="screen-count"><strong>(\d+)</strong>', page)
    return int(found[1]) if found else None


@dataclass
class Held:
    """One class on one server."""

    server: Server
    settings: dict[str, str]
    size: Size
    times: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    to_screen: list[float] = field(default_factory=list)
    last_vote: float = 0.0
    own: float = 0.0
    students: list[Student] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    code: str = ""

    def __post_init__(self) -> None:
        self.database = Database(
            url_of(self.settings["DATABASE_URL"], self.settings.get("ACADEMY_DATA_DIR", ""))
        )
        lesson = load_lesson(LESSON)
        self.question = next(name for section in lesson.sections for name in section.questions)
        self.values = [str(value) for value in lesson.questions[self.question].widget.states()]
        self.readers = Answers()

    async def run(self) -> Held:
        """Hold the class."""
        start, own = time.perf_counter(), time.process_time()
        with self.database.write() as session:
            self.code = operations.create(
                session, "Bench", datetime.now(UTC).date(), lesson=LESSON
            ).classroom.code
        readers = self._readers()
        await asyncio.sleep(ALONE)
        self.alone, self.readers.times["fragment"] = self.readers.times["fragment"], []
        await asyncio.gather(*(self._join(number) for number in range(self.size.joining)))
        await asyncio.to_thread(self._join_the_rest)
        for student in self.students:
            student.follow()
            await asyncio.sleep(5.0 / self.size.students)
        screen = Screen(self)
        await self._all_have_heard()
        for vote, actions in ((1, [Action.ASK]), (2, [Action.CLOSE, Action.DISCUSS, Action.ASK_AGAIN])):
            for action in actions:
                self._steer(action)
                await asyncio.sleep(SETTLE)
            await self._vote(vote, screen)
        self._steer(Action.CLOSE)
        self._steer(Action.REVEAL)
        await asyncio.sleep(SETTLE)
        for reader in readers:
            reader.leaves = True
        self._check()
        self.own = (time.process_time() - own) / (time.perf_counter() - start)
        for student in self.students:
            if student.stream:
                self.errors["event streams"] = self.errors.get("event streams", 0) + student.stream.errors
                student.stream.close()
            student.browser.close()
        screen.stream.close()
        self.database.close()
        return self

    def note(self, what: str, reply: Reply, good: bool) -> None:
        self.times.setdefault(what, []).append(reply.ms)
        self.errors[what] = self.errors.get(what, 0) + (not good)
        if not good and len(self.wrong) < 5:
            self.wrong.append(f"{what}: {reply.status} {reply.body[:200]!r}")

    async def _join(self, place: int) -> None:
        """Join as a browser does, spread over the time."""
        await asyncio.sleep(self.size.join_seconds * place / self.size.joining)
        browser = Browser(self.server.url)
        shown = await browser.ask(path("join class", self.code))
        self.note("page of joining", shown, shown.status == 200)
        reply = await browser.ask(path("join class", self.code), {})
        self.note("join", reply, reply.status == 303 and "student=" in reply.cookie)
        if reply.status == 303:
            opened = await browser.ask(reply.place)
            self.note("page of the class", opened, opened.status == 200)
            self.students.append(Student(self, browser.cookie))
        browser.close()

    def _join_the_rest(self) -> None:
        """Put the others in the database: that they join is measured above.

        In a thread: if the loop stood still meanwhile, all readers would act at one moment from then on.
        """
        for _ in range(self.size.students - len(self.students)):
            with self.database.write() as session:
                joined = operations.join(session, operations.find_class(session, self.code))
            self.students.append(Student(self, f"student={joined.secret}"))

    def _readers(self) -> list[classroom.Student]:
        loop, source = asyncio.get_running_loop(), random.Random(1)
        readers = [
            classroom.Student(self.server.url, random.Random(source.random()), self.readers, loop)
            for _ in range(self.size.readers)
        ]
        for reader in readers:
            loop.create_task(reader.connect())
            loop.call_later(1 + classroom.EVERY * source.random(), reader.act)
        return readers

    def _steer(self, action: Action) -> None:
        with self.database.write() as session:
            room = operations.find_class(session, self.code)
            order = operations.running_order(session, room)
            item = next(each.id for each in order if each.name == self.question and each.kind == "question")
            operations.act(session, room, action, room.version, item if action is Action.ASK else None)

    async def _all_have_heard(self) -> None:
        streams = [student.stream for student in self.students if student.stream]
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(stream.first.wait() for stream in streams))
        except TimeoutError:
            silent = sum(not stream.first.is_set() for stream in streams)
            self.wrong.append(f"{silent} streams said nothing within {PATIENCE:.0f} s")
            self.errors["event streams"] = silent

    async def _vote(self, vote: int, screen: Screen) -> None:
        with self.database.read() as session:
            item = operations.find_class(session, self.code).item_id
        assert item
        screen.at.clear()
        self.last_vote = time.perf_counter()
        spread = self.size.vote_seconds
        counts = [asyncio.create_task(student.follow_the_count()) for student in self.students]
        await asyncio.gather(
            *(student.vote(item, vote, spread * random.random()) for student in self.students)
        )
        for count in counts:
            count.cancel()
        end = self.last_vote + PATIENCE
        while len(self.students) not in screen.at and time.perf_counter() < end:
            await asyncio.sleep(0.02)
        shown = screen.at.get(len(self.students), float("inf"))
        self.to_screen.append(1000 * max(shown - self.last_vote, 0.0))

    def _check(self) -> None:
        """Compare the stored votes with the acknowledged ones."""
        given = {
            (operations_id(self.database, self.code, student.secret), vote): value
            for student in self.students
            for vote, value in student.acknowledged.items()
        }
        with self.database.read() as session:
            room = operations.find_class(session, self.code)
            rows = session.execute(
                select(Vote.student_id, Vote.round, Vote.value, Vote.late)
                .join(Item)
                .where(Item.classroom_id == room.id)
            ).all()
        stored = {(student, vote): value for student, vote, value, late in rows if not late}
        self.lost = sum(stored.get(key) is None for key in given)
        self.differing = sum(key in stored and not same(stored[key], value) for key, value in given.items())
        self.double = len(rows) - len({(row[0], row[1]) for row in rows})
        self.given = len(given)

    def rows(self) -> Iterator[list[str]]:
        """The rows of the table."""
        aims = {"vote 1": VOTE_AIM, "vote 2": VOTE_AIM}
        for what, times in self.times.items():
            yield self._row(what, times, self.errors.get(what, 0), aims.get(what))
        yield self._row("lesson before it", self.alone, 0, None)
        yield self._row("lesson beside it", self.readers.times["fragment"], self.readers.errors, READER_AIM)
        errors = self.errors.get("event streams", 0)
        yield ["event streams", str(len(self.students)), *["–"] * 4, str(errors), "no error", yes(not errors)]
        slowest = max(self.to_screen)
        yield [
            "last vote to screen",
            str(len(self.to_screen)),
            *["–"] * 3,
            number(slowest),
            "",
            f"max ≤ {SCREEN_AIM:.0f}",
            yes(slowest <= SCREEN_AIM),
        ]

    def _row(self, what: str, times: list[float], errors: int, aim: float | None) -> list[str]:
        good = not errors and (aim is None or quantile(times, 0.99) <= aim)
        figures = (
            median(times),
            quantile(times, 0.95),
            quantile(times, 0.99),
            max(times, default=float("nan")),
        )
        said = f"no error, p99 ≤ {aim:.0f}" if aim else "no error"
        return [what, f"{len(times):,}", *map(number, figures), str(errors), said, yes(good)]

    def said(self) -> str:
        """What was stored, in a sentence."""
        begun = sum(student.stream.begun for student in self.students if student.stream)
        told = (
            f"Of {self.given:,} acknowledged votes {self.lost} are missing, {self.differing} differ and "
            f"{self.double} are stored twice. {begun:,} streams were begun."
        )
        return " ".join([told, *self.wrong])


def operations_id(database: Database, code: str, secret: str) -> str:
    """The id of the student who has this secret."""
    with database.read() as session:
        return operations.find_student(session, code, secret).id


def same(stored: str | None, sent: str) -> bool:
    """Whether two spellings are the same number."""
    return stored is not None and float(stored) == float(sent)


if __name__ == "__main__":
    main(QUICK if "--quick" in sys.argv[1:] else FULL)
