"""A class at work: a thousand students, each of whom changes a control every two seconds."""

from __future__ import annotations

import asyncio
import random
import resource
import time
from dataclasses import dataclass, field

import uvloop

from bench.load import Connection, request
from bench.serving import hello_server, lesson_server
from bench.states import FIGURES, fragment_path, table_path
from bench.table import Table, median, number, quantile, yes
from lessons.kit.controls import FigureControls

STUDENTS = 1000
EVERY = 2.0  # seconds between two changes of a student
SECONDS = 30.0
SHORT = 10.0  # seconds of the two classes beside it
PATIENCE = 10.0  # seconds after the end for answers still on their way
STAYS = 4  # changes, on average, before a student takes another control; and controls before another figure
P99_AIM = 100.0
ASKED = ("state table", "fragment")
EMPTY = 64  # bytes up to which a table holds nothing: it was too large, or the server had no time for it


def main() -> None:
    _allow_connections()
    with lesson_server(workers=2) as server:
        before = server.cpu_seconds()
        lesson = uvloop.run(_class(server.url, SECONDS, Student))
        busy = (server.cpu_seconds() - before) / lesson.seconds
        later = uvloop.run(_class(server.url, SECONDS, Student))
    with lesson_server(workers=2) as server:
        hasty = uvloop.run(_class(server.url, SECONDS, Hasty))
    with lesson_server(workers=2) as server:
        untabled = uvloop.run(_class(server.url, SHORT, WithoutTables))
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
        ("a class that waits for no table", hasty),
        ("a class without tables", untabled),
    ):
        times = answers.times["state table"] + answers.times["fragment"]
        good = answers.errors == 0 and quantile(times, 0.99) <= P99_AIM
        aim = f"no error, p99 ≤ {P99_AIM:.0f}"
        table.add(name, *_cells(times, answers.seconds), str(answers.errors), aim, yes(good))
        for kind in ASKED:
            if answers.times[kind] and answers is not untabled:
                table.add(f"  {kind}", *_cells(answers.times[kind], answers.seconds))
    table.add("a class that says hello", *_cells(hello.times["hello"], hello.seconds), str(hello.errors))
    table.print()
    print(
        f"{lesson.acted:,} changes, {lesson.here:,} answered from a table in the page, {later.here:,} "
        f"in the second half minute. The workers held {busy:.2f} cores, the class {lesson.own:.2f}.\n"
    )


@dataclass
class Answers:
    """What a class got."""

    times: dict[str, list[float]] = field(
        default_factory=lambda: {"state table": [], "fragment": [], "hello": []}
    )
    errors: int = 0
    acted: int = 0
    here: int = 0  # changes whose state was in a table that the page holds
    seconds: float = 0.0
    own: float = 0.0  # cores that the class itself held


async def _class(url: str, seconds: float, kind: type[Student]) -> Answers:
    """Let everybody in over one interval, work, and wait for the last answers."""
    loop, answers, source = asyncio.get_running_loop(), Answers(), random.Random(0)
    students = [kind(url, random.Random(source.random()), answers, loop) for _ in range(STUDENTS)]
    for student in students:
        await student.connection.connect(url)
    start, own = time.perf_counter(), time.process_time()
    for student in students:
        loop.call_later(EVERY * source.random(), student.act)
    await asyncio.sleep(seconds)
    answers.seconds, answers.own = seconds, (time.process_time() - own) / seconds
    for student in students:
        student.leaves = True
    end = start + seconds + PATIENCE
    while time.perf_counter() < end and any(student.waits for student in students):
        await asyncio.sleep(0.05)
    for student in students:
        answers.errors += student.waits
        student.waits = False
        student.connection.close()
    await asyncio.sleep(0.1)
    return answers


class Student:
    """Changes one control a few times, then another one, then another figure's.

    The first touch of a control asks for its state table; a change asks for its fragment where the table has
    not come, or holds nothing, as a page does. A change while an answer is awaited waits for it, and its time
    counts from the change on.
    """

    asks_tables = True
    waits_for_tables = True

    def __init__(
        self, url: str, source: random.Random, answers: Answers, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.url = url
        self.source = source
        self.answers = answers
        self.loop = loop
        self.connection = Connection(self._answered, self._lost)
        self.leaves = False
        self.waits = False
        self.queued: float | None = None
        self.since = 0.0
        self.kind = ""
        self.asked = b""
        self.reused = False  # whether the connection has rested before what is asked on it
        self.figure, self.state, self.control = self._new_figure()
        self.tabled: str | None = None  # the control whose table has been asked for and still holds
        self.holds = False  # that table

    def act(self) -> None:
        """Change something; and again after the interval."""
        if self.leaves:
            return
        self.loop.call_later(EVERY, self.act)
        self.answers.acted += 1
        if self.waits:
            self.queued = self.queued or time.perf_counter()
        else:
            self._ask(time.perf_counter())

    def next_request(self) -> tuple[str, str] | None:
        """What is asked for, and its address; None where the page has it."""
        if self.source.random() < 1 / STAYS:
            if self.source.random() < 1 / STAYS:
                self.figure, self.state, self.control = self._new_figure()
            else:
                self.control = self.source.choice(list(self.state.widgets()))
            self.tabled, self.holds = None, False
        before, widget = self.state, self.state.widgets()[self.control]
        self.state = before.model_copy(update={self.control: self.source.choice(widget.states())})
        if self.asks_tables and self.tabled is None and self.control in before.tabled():
            self.tabled = self.control
            return "state table", table_path(self.figure, self.control, before)
        if self.holds and self.waits_for_tables:
            return None
        return "fragment", fragment_path(self.figure, self.state)

    def _new_figure(self) -> tuple[str, FigureControls, str]:
        name = self.source.choice(list(FIGURES))
        state: FigureControls = FIGURES[name].controls()
        return name, state, self.source.choice(list(state.widgets()))

    def _ask(self, since: float) -> None:
        asked = self.next_request()
        if asked is None:
            self.answers.here += 1
            return
        self.since, self.waits = since, True
        self.kind, path = asked
        self.asked, self.reused = request(path), True
        if self.connection.open:
            self.connection.ask(self.asked)
        else:  # it rested too long, and the server has closed it
            self.reconnecting = self.loop.create_task(self._ask_anew(self.asked))

    async def _ask_anew(self, asked: bytes) -> None:
        self.connection = Connection(self._answered, self._lost)
        self.reused = False
        try:
            await self.connection.connect(self.url)
        except OSError:
            self._lost()
        else:
            self.connection.ask(asked)

    def _answered(self, status: int, size: int) -> None:
        self.answers.times[self.kind].append(1000 * (time.perf_counter() - self.since))
        self.answers.errors += status != 200
        self.waits = False
        if self.kind == "state table":
            self.holds = size > EMPTY
        if self.queued is not None:
            since, self.queued = self.queued, None
            self._ask(since)

    def _lost(self) -> None:
        """The connection has closed. One that had rested may do so just as it is used: browsers ask anew."""
        if not self.waits:
            return
        if self.reused:
            self.reconnecting = self.loop.create_task(self._ask_anew(self.asked))
        else:
            self.answers.errors += 1
            self.waits = False


class Hasty(Student):
    """Asks for a fragment at each change, as if its tables never came in time: more than a page would."""

    waits_for_tables = False


class WithoutTables(Student):
    """Asks for a fragment at each change and for no table."""

    asks_tables = False


class Greeter(Student):
    """Asks for hello each time: what this machine and this class can do at best."""

    def next_request(self) -> tuple[str, str]:
        """Always the same."""
        return "hello", "/"


def _cells(times: list[float], seconds: float) -> list[str]:
    figures = median(times), quantile(times, 0.95), quantile(times, 0.99), max(times, default=float("nan"))
    return [f"{len(times):,}", number(len(times) / seconds, 0), *map(number, figures)]


def _allow_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * STUDENTS + 200)), hard))
