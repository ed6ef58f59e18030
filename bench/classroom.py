"""Simulate a class: a thousand students, each of whom changes a control every two seconds."""

from __future__ import annotations

import asyncio
import random
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import uvloop

from bench.load import Connection, request
from bench.serving import hello_server, lesson_server
from bench.states import FIGURES, PAGE, fragment_path, table_path
from bench.table import Table, median, number, quantile, yes
from lessons.kit.controls import FigureControls

STUDENTS = 1000
EVERY = 2.0  # seconds between two changes of a student
SECONDS = 30.0
SHORT = 10.0  # seconds of the class that requests hello
PATIENCE = 10.0  # seconds after the end for pending responses
STAYS = 4  # mean number of changes before another control, and of controls before another figure
P99_AIM = 100.0
ARRIVING, FIRST_SECONDS, PAGE_AIM = 300, 10.0, 300.0
EMPTY = 64  # bytes up to which a table is empty: too large, or the server had no time for it


def main() -> None:
    allow_connections()
    with lesson_server(workers=2) as server:
        cold = uvloop.run(_class(server.url, SECONDS, Student))
    with lesson_server(workers=2) as server:
        server.wait_until_idle()
        before = server.cpu_seconds()
        lesson = uvloop.run(_class(server.url, SECONDS, Student))
        busy = (server.cpu_seconds() - before) / lesson.seconds
        later = uvloop.run(_class(server.url, SECONDS, Student))
    with lesson_server(workers=2) as server:
        server.wait_until_idle()
        untabled = uvloop.run(_class(server.url, SECONDS, WithoutTables))
    with hello_server(workers=2) as server:
        hello = uvloop.run(_class(server.url, SHORT, Greeter))
    table = Table(
        f"A class: {STUDENTS} students on 2 workers, each changing a control every {EVERY:.0f} s for "
        f"{SECONDS:.0f} s.",
        *("asked for", "answers", "answers/s", "p50 ms", "p95 ms", "p99 ms", "max ms", "errors"),
        *("aim", "reached"),
    )
    for name, answers in (
        ("a class, as its pages ask", lesson),
        ("the same, half a minute later", later),
        ("a class without tables", untabled),
        ("a class, the server just started", cold),
    ):
        times = answers.times["fragment"]
        good = answers.errors == 0 and quantile(times, 0.99) <= P99_AIM
        aim = f"no error, p99 ≤ {P99_AIM:.0f}"
        table.add(name, *_cells(times, answers.seconds), str(answers.errors), aim, yes(good))
        if answers.times["state table"]:
            table.add("  its tables, sent ahead", *_cells(answers.times["state table"], answers.seconds))
    table.add("a class that says hello", *_cells(hello.times["hello"], hello.seconds), str(hello.errors))
    table.print()
    print(
        f"{lesson.acted:,} changes, {lesson.here:,} answered from a table in the page, {later.here:,} "
        f"in the second half minute. The workers held {busy:.2f} cores, the class {lesson.own:.2f}.\n"
    )


@dataclass
class Answers:
    """The results of a class."""

    times: dict[str, list[float]] = field(
        default_factory=lambda: {"state table": [], "fragment": [], "hello": [], "page": []}
    )
    errors: int = 0
    acted: int = 0
    here: int = 0  # changes whose state was in a loaded table
    seconds: float = 0.0
    own: float = 0.0  # cores used by the class itself


async def _class(url: str, seconds: float, kind: type[Student], count: int = STUDENTS) -> Answers:
    """Start all students over one interval, let them work, and wait for the last responses."""
    loop, answers, source = asyncio.get_running_loop(), Answers(), random.Random(0)
    students = [kind(url, random.Random(source.random()), answers, loop) for _ in range(count)]
    for student in students:
        await student.connect()
    start, own = time.perf_counter(), time.process_time()
    for student in students:
        loop.call_later(EVERY * source.random(), student.act)
    await asyncio.sleep(seconds)
    answers.seconds, answers.own = seconds, (time.process_time() - own) / seconds
    for student in students:
        student.leaves = True
    end = start + seconds + PATIENCE
    while time.perf_counter() < end and any(line.waits for student in students for line in student.lines):
        await asyncio.sleep(0.05)
    for student in students:
        answers.errors += sum(line.waits for line in student.lines)
        for line in student.lines:
            line.close()
    await asyncio.sleep(0.1)
    return answers


class Line:
    """One of a browser's connections: one request at a time, repeated if the idle connection was closed."""

    def __init__(
        self, url: str, loop: asyncio.AbstractEventLoop, answered: Callable[[int, int], None]
    ) -> None:
        self.url = url
        self.loop = loop
        self.answered = answered  # called with the status (0 for a lost connection) and the size
        self.connection = Connection(self._answered, self._lost)
        self.waits = False
        self.asked = b""
        self.reused = False  # whether the connection was idle before the request

    async def connect(self) -> None:
        await self.connection.connect(self.url)

    def ask(self, path: str) -> None:
        self.waits, self.asked, self.reused = True, request(path), True
        if self.connection.open:
            self.connection.ask(self.asked)
        else:  # closed by the server
            self.reconnecting = self.loop.create_task(self._ask_anew())

    def close(self) -> None:
        self.waits = False
        self.connection.close()

    async def _ask_anew(self) -> None:
        self.connection = Connection(self._answered, self._lost)
        self.reused = False
        try:
            await self.connection.connect(self.url)
        except OSError:
            self._lost()
        else:
            self.connection.ask(self.asked)

    def _answered(self, status: int, size: int) -> None:
        self.waits = False
        self.answered(status, size)

    def _lost(self) -> None:
        """The connection was closed. If it was idle before, repeat the request, as browsers do."""
        if self.waits and self.reused:
            self.reconnecting = self.loop.create_task(self._ask_anew())
        elif self.waits:
            self.waits = False
            self.answered(0, 0)


class Student:
    """Change one control a few times, then another one, then one of another figure.

    Like a page: the first touch of a control requests its state table, and a change whose state is in no
    loaded table requests its fragment, the first change together with the table. Only fragments are waited
    for. A change made while one is pending waits for it; its time counts from the change.
    """

    asks_tables = True

    def __init__(
        self, url: str, source: random.Random, answers: Answers, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.source = source
        self.answers = answers
        self.loop = loop
        self.looked_at = Line(url, loop, self._shown)
        self.ahead = Line(url, loop, self._tabled)
        self.lines = (self.looked_at, self.ahead)
        self.leaves = False
        self.queued: float | None = None
        self.since = 0.0
        self.asked_ahead = 0.0
        self.figure, self.state, self.control = self._new_figure()
        self.table: str | None = None  # the control whose table was requested and is still valid
        self.table_on_its_way: str | None = None
        self.holds = False  # whether it has arrived and is not empty

    async def connect(self) -> None:
        for line in self.lines:
            await line.connect()

    def act(self) -> None:
        """Change a control, and again after the interval."""
        if self.leaves:
            return
        self.loop.call_later(EVERY, self.act)
        self.answers.acted += 1
        self._change()
        if self.asks_tables and self.table is None and not self.ahead.waits:
            self._ask_ahead()
        if self.holds:
            self.answers.here += 1
            self.queued = None
        elif self.looked_at.waits:
            self.queued = self.queued or time.perf_counter()
        else:
            self._ask(time.perf_counter())

    def path(self) -> tuple[str, str]:
        """The awaited request: kind and path."""
        return "fragment", fragment_path(self.figure, self.state)

    def _change(self) -> None:
        if self.source.random() < 1 / STAYS:
            if self.source.random() < 1 / STAYS:
                self.figure, self.state, self.control = self._new_figure()
            else:
                self.control = self.source.choice(list(self.state.widgets()))
            self.table, self.holds = None, False
        self.before = self.state
        value = self.source.choice(self.state.widgets()[self.control].states())
        self.state = self.state.model_copy(update={self.control: value})

    def _new_figure(self) -> tuple[str, FigureControls, str]:
        name = self.source.choice(list(FIGURES))
        state: FigureControls = FIGURES[name].controls()
        return name, state, self.source.choice(list(state.widgets()))

    def _ask_ahead(self) -> None:
        if self.control not in self.state.tabled():
            return
        self.table = self.table_on_its_way = self.control
        self.asked_ahead = time.perf_counter()
        self.ahead.ask(table_path(self.figure, self.control, self.before))

    def _ask(self, since: float) -> None:
        self.since = since
        self.kind, path = self.path()
        self.looked_at.ask(path)

    def _shown(self, status: int, _size: int) -> None:
        self.answers.times[self.kind].append(1000 * (time.perf_counter() - self.since))
        self.answers.errors += status != 200
        if self.queued is not None:
            since, self.queued = self.queued, None
            self._ask(since)

    def _tabled(self, status: int, size: int) -> None:
        self.answers.times["state table"].append(1000 * (time.perf_counter() - self.asked_ahead))
        self.answers.errors += status != 200
        if self.table == self.table_on_its_way:
            self.holds = size > EMPTY


class WithoutTables(Student):
    """Request a fragment at each change and no tables: more requests than a page makes."""

    asks_tables = False


class Greeter(WithoutTables):
    """Request hello each time: the best that this machine and this class can do."""

    def path(self) -> tuple[str, str]:
        """Always the same."""
        return "hello", "/"


class Arriving(Student):
    """Open the page, then use it."""

    arrived = False

    def path(self) -> tuple[str, str]:
        """The page first."""
        if self.arrived:
            return super().path()
        self.arrived = True
        return "page", PAGE

    def _ask_ahead(self) -> None:
        if self.arrived:
            super()._ask_ahead()


def start() -> None:
    """A class that arrives while a server starts: at its first start, and at the next one."""
    allow_connections()
    table = Table(
        f"{ARRIVING} students open the page within {EVERY:.0f} s of a start of 2 workers, and work on it.",
        *("server", "asked for", "answers", "answers/s", "p50 ms", "p95 ms", "p99 ms", "max ms", "errors"),
        *("aim", "reached"),
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in ("nothing made yet", "made by an earlier one"):
            with lesson_server(2, visited=False, answers_folder=folder) as server:
                answers = uvloop.run(_class(server.url, FIRST_SECONDS, Arriving, ARRIVING))
                server.wait_until_idle()
            for asked in ("page", "fragment", "state table"):
                times = answers.times[asked]
                reached = f"p95 ≤ {PAGE_AIM:.0f}", yes(quantile(times, 0.95) <= PAGE_AIM)
                aim = reached if asked == "page" else ()
                table.add(name, asked, *_cells(times, answers.seconds), str(answers.errors), *aim)
    table.print()


def _cells(times: list[float], seconds: float) -> list[str]:
    figures = median(times), quantile(times, 0.95), quantile(times, 0.99), max(times, default=float("nan"))
    return [f"{len(times):,}", number(len(times) / seconds, 0), *map(number, figures)]


def allow_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * STUDENTS + 200)), hard))
