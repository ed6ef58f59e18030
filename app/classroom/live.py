"""Word of what changed, to whoever listens: one look-out in each worker, however many streams it has.

PostgreSQL says itself which class has changed (a trigger and LISTEN); of SQLite the look-out asks ten times a
second whether the file has changed. Then one query reads `version` and `tally` of all classes that somebody
listens to, and their streams are woken. Nothing is handed from one worker to another, and nothing is lost if
word does not arrive: the numbers are read again at least every few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import psycopg
from sqlalchemy import func, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.classroom.database import POSTGRES, Database
from app.classroom.flow import Phase
from app.classroom.models import Classroom, Item, Student
from app.classroom.retention import purge_daily

log = logging.getLogger("academy")
T = TypeVar("T")

LOOK_SECONDS = 0.1
"""Between two looks at a SQLite file, and between two readings of a busy class."""
READ_SECONDS = 5.0
"""After which the numbers are read again, whether or not there was word of a change."""
PRESENCE_SECONDS = 10.0
"""Between two writings of who is here."""
AWAY_SECONDS = 31.0
"""After which somebody who has left is away: a little more than `seen_at` may be old."""
RETRY_SECONDS = (0.2, 3.0)
"""The shortest and the longest wait before the database is tried again."""
TROUBLE = (SQLAlchemyError, psycopg.Error, sqlite3.Error, OSError)
"""What a database says that is away; it will come back."""
OPEN_VOTES = (Phase.VOTING_1, Phase.VOTING_2)
CHANNEL = "classroom"
"""What the trigger of the first migration notifies."""


class Signal:
    """Wakes all who wait for it at that moment."""

    def __init__(self) -> None:
        self._sent = asyncio.Event()

    def send(self) -> None:
        self._sent.set()
        self._sent = asyncio.Event()

    async def wait(self, seconds: float) -> bool:
        """Whether it was sent in time."""
        try:
            async with asyncio.timeout(seconds):
                await self._sent.wait()
        except TimeoutError:
            return False
        return True


@dataclass(eq=False)
class Channel:
    """What the streams of one class know. `closes_at` is when the open vote closes by itself, if it does."""

    code: str
    version: int = 0
    tally: int = 0
    closes_at: datetime | None = None
    gone: bool = False
    listeners: int = 0
    changed: Signal = field(default_factory=Signal)
    """Sent with a new version, and when a stream has to end."""
    counted: Signal = field(default_factory=Signal)
    """Sent with a new version or tally, and when a stream has to end."""

    def tell(self, version: int, tally: int, closes_at: datetime | None = None) -> None:
        """Take what is so now, and wake those whom it concerns."""
        moved, counted = version != self.version, tally != self.tally
        self.version, self.tally, self.closes_at = version, tally, closes_at
        if moved:
            self.changed.send()
        if moved or counted:
            self.counted.send()

    def end(self) -> None:
        """Wake all: there is nothing more to hear."""
        self.gone = True
        self.changed.send()
        self.counted.send()


class Live:
    """The look-out of one worker.

    Parameters
    ----------
    settle
        Closes the votes whose time is up, in a `write` session.
    """

    def __init__(self, database: Database, settle: Callable[[Session], object]) -> None:
        self._database = database
        self._settle = settle
        self._channels: dict[str, Channel] = {}
        self._students: Counter[tuple[str, str]] = Counter()
        self._screens: Counter[str] = Counter()
        self.clients: Counter[str] = Counter()  # of each client, the streams that it has open
        self._presence = Presence(database)
        self._tasks: list[asyncio.Task[None]] = []
        self._needed = asyncio.Event()
        self._look = ThreadPoolExecutor(1, "look-out")  # it must not wait for those who write
        self._stop = asyncio.Event()

    def start(self) -> None:
        """Begin to look, which costs nothing while nobody listens, and to delete what is due."""
        work = (self._run(), self._note_presence(), purge_daily(self._database))
        self._tasks = [asyncio.create_task(each) for each in work]

    def stop(self) -> None:
        """End all streams, so that their browsers go to another worker or host."""
        self._stop.set()
        for channel in self._channels.values():
            channel.end()

    @property
    def stopping(self) -> bool:
        """Whether all streams have to end."""
        return self._stop.is_set()

    async def pause(self, seconds: float) -> None:
        """Wait, but no longer than until the server stops."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    async def close(self) -> None:
        """Stop, and wait until nothing is under way."""
        self.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._look.shutdown()

    @contextmanager
    def listen(self, code: str, version: int, tally: int) -> Iterator[Channel]:
        """The channel of a class, which was so when the listener was let in."""
        channel = self._channels.setdefault(code, Channel(code))
        channel.listeners += 1
        if (version, tally) > (channel.version, channel.tally):
            channel.tell(version, tally, channel.closes_at)
        if self.stopping:
            channel.end()
        self._needed.set()
        try:
            yield channel
        finally:
            channel.listeners -= 1
            if not channel.listeners and self._channels.get(code) is channel:
                del self._channels[code]
            if not self._channels:
                self._needed.clear()

    @property
    def students(self) -> dict[str, str]:
        """Who has a line: the id of a student → the code of their class."""
        return dict(self._students.keys())

    @contextmanager
    def student_here(self, code: str, student: str) -> Iterator[None]:
        """A student has a line."""
        with counted_in(self._students, (student, code)):
            yield

    @contextmanager
    def screen_here(self, code: str) -> Iterator[None]:
        """A screen has a line."""
        with counted_in(self._screens, code):
            yield

    async def _run(self) -> None:
        """Look while somebody listens; if the database is away, try again until it is back."""
        wait, away = RETRY_SECONDS[0], False
        while True:
            await self._needed.wait()
            try:
                look = self._changes_of_sqlite() if self._database.is_sqlite else self._changes_of_postgres()
                async with contextlib.aclosing(look) as changes:
                    async for _ in changes:
                        if away:
                            log.warning("The database of classes is back")
                        wait, away = RETRY_SECONDS[0], False
                        await self._read()
                        if not self._channels:
                            break
            except TROUBLE as error:
                if not away:
                    log.warning("The database of classes is away: %s", type(error).__name__)
                away = True
                await asyncio.sleep(wait)
                wait = min(2 * wait, RETRY_SECONDS[1])
            except Exception:  # without a look-out no stream of this worker would ever hear anything
                log.exception("The look-out failed")
                await asyncio.sleep(RETRY_SECONDS[1])

    async def _changes_of_sqlite(self) -> AsyncGenerator[None]:
        """Something when the file has changed, and every few seconds."""
        open_file = sqlite3.connect(str(self._database.file), check_same_thread=False)
        with closing(open_file) as connection:
            seen, read_at = None, 0.0
            while True:
                version = await self._in_thread(
                    lambda: connection.execute("PRAGMA data_version").fetchone()[0]
                )
                if version != seen or self._due(read_at):
                    seen, read_at = version, time.monotonic()
                    yield
                await asyncio.sleep(LOOK_SECONDS)

    async def _changes_of_postgres(self) -> AsyncGenerator[None]:
        """Something when a class has changed, and every few seconds."""
        async with _listening(self._database) as connection:
            yield
            read_at = time.monotonic()
            while True:
                left = max(0.0, read_at + READ_SECONDS - time.monotonic())
                heard = False
                async for _ in connection.notifies(timeout=min(left, self._until_due()), stop_after=1):
                    heard = True
                if heard or self._due(read_at):
                    if not heard:  # a line that was cut says nothing
                        async with asyncio.timeout(READ_SECONDS):
                            await connection.execute("SELECT 1")
                    read_at = time.monotonic()
                    yield
                    await asyncio.sleep(LOOK_SECONDS / 2)  # what comes meanwhile is read together

    def _due(self, read_at: float) -> bool:
        return time.monotonic() >= read_at + READ_SECONDS or self._until_due() <= 0

    def _until_due(self) -> float:
        """Seconds until the first of the open votes closes by itself."""
        ends = [channel.closes_at for channel in self._channels.values() if channel.closes_at]
        return (min(ends) - datetime.now(UTC)).total_seconds() if ends else READ_SECONDS

    async def _read(self) -> None:
        """Close what is due, and tell every channel what is so now."""
        if self._until_due() <= 0:
            await self._database.writing(self._settle)
        channels = dict(self._channels)
        found = await self._in_thread(lambda: marks(self._database, channels))
        for code, channel in channels.items():
            if code in found:
                channel.tell(*found[code])
            else:
                channel.end()

    async def _note_presence(self) -> None:
        """Write who is here, all at once every few seconds."""
        while True:
            await asyncio.sleep(PRESENCE_SECONDS)
            here, screens = self.students, set(self._screens)
            if here or screens or self._presence.waiting:
                try:
                    await self._database.run(partial(self._presence.write, here, screens))
                except TROUBLE as error:
                    log.info("Who is here could not be written: %s", type(error).__name__)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._look, work)


class Presence:
    """Who was here at the last writing, and whose class has to be told that they came or went."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._here: dict[str, str] = {}
        self._left: dict[str, tuple[str, float]] = {}

    @property
    def waiting(self) -> bool:
        """Whether somebody has left who is not away yet."""
        return bool(self._here or self._left)

    def write(self, here: dict[str, str], screens: set[str]) -> None:
        """Store that these students (id → code of their class) and screens (codes) have a line."""
        now, moment = datetime.now(UTC), time.monotonic()
        came = here.keys() - self._here.keys() - self._left.keys()
        for student in self._here.keys() - here.keys():
            self._left[student] = (self._here[student], moment)
        away = {student for student, (_, at) in self._left.items() if moment - at >= AWAY_SECONDS}
        recount = {here[student] for student in came} | {self._left[student][0] for student in away}
        self._left = {
            student: left
            for student, left in self._left.items()
            if student not in away and student not in here
        }
        self._here = dict(here)
        if here:
            with self._database.write() as session:
                # Who is locked is doing something just now, and waiting for them could block each other.
                free = (
                    select(Student.id)
                    .where(Student.id.in_(sorted(here)), Student.seen_at < now - timedelta(seconds=5))
                    .with_for_update(skip_locked=True)
                )
                session.execute(
                    update(Student).where(Student.id.in_(free)).values(seen_at=now),
                    execution_options={"synchronize_session": False},
                )
        for code in sorted(screens | recount):
            with self._database.write() as session:
                values = {"screen_seen_at": now} if code in screens else {}
                counted = {"tally": Classroom.tally + 1} if code in recount else {}
                session.execute(
                    update(Classroom).where(Classroom.code == code).values(**values, **counted),
                    execution_options={"synchronize_session": False},
                )


def marks(database: Database, codes: Iterable[str]) -> dict[str, tuple[int, int, datetime | None]]:
    """Version, tally and the next closing time of each of these classes that exists."""
    closing_time = (
        select(func.min(Item.closes_at))
        .where(Item.classroom_id == Classroom.id, Item.phase.in_(OPEN_VOTES))
        .scalar_subquery()
    )
    query = select(Classroom.code, Classroom.version, Classroom.tally, closing_time)
    with database.read() as session:
        rows = session.execute(query.where(Classroom.code.in_(list(codes))))
        return {code: (version, tally, closes_at) for code, version, tally, closes_at in rows}


@contextmanager
def counted_in(counter: Counter[T], key: T) -> Iterator[None]:
    """One more of a key meanwhile."""
    counter[key] += 1
    try:
        yield
    finally:
        counter[key] -= 1
        if not counter[key]:
            del counter[key]


@asynccontextmanager
async def _listening(database: Database) -> AsyncIterator[psycopg.AsyncConnection[tuple[object, ...]]]:
    """A connection of its own that hears of changes."""
    url = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    arguments: dict[str, Any] = {
        name: value for name, value in POSTGRES.items() if name not in database.url.query
    }
    connection = await psycopg.AsyncConnection.connect(url, autocommit=True, **arguments)
    async with connection:
        await connection.execute(f"LISTEN {CHANNEL}")
        yield connection
