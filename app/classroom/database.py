"""The database of classes: SQLite in one file of the data folder, or PostgreSQL.

Everything here is synchronous; routes call `Database.reading` and `Database.writing`, which run in threads.
Nothing is connected before the first use, so a `Database` may be made before a process forks.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

T = TypeVar("T")

FILE = "classes.db"
"""The file of SQLite in the data folder."""
READERS, WRITERS = 2, 2
"""Threads of one process: they share one interpreter, so more would only take turns with its event loop. Who
writes does not wait behind those who read. Of SQLite, which lets one write at a time, there is one writer."""
CONNECTIONS = READERS + WRITERS + 1
"""The most that one process opens, besides those of `read_each` and the one that listens."""
BUSY_SECONDS = 5
"""After which a write of SQLite that waits for another one fails."""
POSTGRES = {
    "connect_timeout": 5,
    # A line that was cut is noticed after some ten seconds, even while nothing is sent on it.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "options": "-c statement_timeout=15000 -c lock_timeout=5000",
}
"""What a connection to PostgreSQL is opened with; an address may say otherwise."""


class DatabaseError(Exception):
    """A database that cannot be used, in a sentence."""


def url_of(database_url: str, data_dir: str) -> URL:
    """The address of the database: `database_url` if there is one, or else the file in `data_dir`.

    Raises
    ------
    DatabaseError
        When it is no address of PostgreSQL or of a SQLite file.
    """
    if not database_url:
        return URL.create("sqlite", database=str(Path(data_dir).absolute() / FILE))
    try:
        url = make_url(database_url)
    except Exception:  # its words would hold the password
        raise DatabaseError("give an address such as postgresql://user:password@host/name") from None
    kind = url.drivername.partition("+")[0]
    if kind in ("postgres", "postgresql") and url.database:
        return url.set(drivername="postgresql+psycopg")
    if kind == "sqlite" and url.database and url.database != ":memory:":
        return url
    raise DatabaseError("give an address such as postgresql://user:password@host/name")


class Database:
    """One database, its connections and its threads.

    Parameters
    ----------
    url
        As `url_of` gives it. The folder of a SQLite file is made by `schema.migrate`.
    """

    def __init__(self, url: URL) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.migrated = False  # whether this process, or the one it is a copy of, has seen to the schema
        self.engine = _engine(url, CONNECTIONS)
        self._reads = self.engine.execution_options(
            **({} if self.is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True})
        )
        self._statements = _engine(url, READERS, one_by_one=True)
        self._writes = self.engine.execution_options(**({"begin": "IMMEDIATE"} if self.is_sqlite else {}))
        # SQLite lets one write at a time: who waits for this lock is woken sooner than who asks again.
        self._writing: Any = threading.Lock() if self.is_sqlite else nullcontext()
        self._readers = ThreadPoolExecutor(READERS, "database-read")
        self._writers = ThreadPoolExecutor(1 if self.is_sqlite else WRITERS, "database-write")

    @property
    def file(self) -> Path | None:
        """The file of SQLite."""
        return Path(str(self.url.database)) if self.is_sqlite else None

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one state of the database and changes nothing."""
        with Session(self._reads, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def read_each(self) -> Iterator[Session]:
        """A session for reading of which each statement sees the newest state.

        Where one statement reads everything, it saves PostgreSQL three of four round trips: the test of the
        connection, and the beginning and the end of a transaction.
        """
        with Session(self._statements, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that is committed at its end, and rolled back where it raises.

        On SQLite it is the only one that writes, from its beginning on; on PostgreSQL it locks rows
        with `with_for_update`.
        """
        with self._writing, Session(self._writes, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection in a transaction that may change everything: for migrations and backups.

        Foreign keys of SQLite are not looked at meanwhile: a table is altered there by making it anew, and
        dropping the old one would delete what refers to it.
        """
        with self._writing, self._writes.connect() as connection:
            if self.is_sqlite:
                _set_foreign_keys(connection, "OFF")
            try:
                with connection.begin():
                    yield connection
            finally:
                if self.is_sqlite:
                    _set_foreign_keys(connection, "ON")

    async def reading(self, work: Callable[[Session], T]) -> T:
        """What `work` makes of a `read` session, in a thread."""

        def read() -> T:
            with self.read() as session:
                return work(session)

        return await _in(self._readers, read)

    async def reading_each(self, work: Callable[[Session], T]) -> T:
        """What `work` makes of a `read_each` session, in a thread.

        No connection is tested before its use, so if one has died the work is done again on a new one.
        """

        def read() -> T:
            try:
                with self.read_each() as session:
                    return work(session)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            with self.read_each() as session:
                return work(session)

        return await _in(self._readers, read)

    async def writing(self, work: Callable[[Session], T]) -> T:
        """What `work` makes of a `write` session, in a thread, once it is committed."""

        def write() -> T:
            with self.write() as session:
                return work(session)

        return await _in(self._writers, write)

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` gives, which opens its own sessions, in a thread of those who write."""
        return await _in(self._writers, work)

    def disconnect(self) -> None:
        """Close the connections; they are opened again when they are needed."""
        for engine in (self.engine, self._statements):
            engine.dispose()

    def close(self) -> None:
        """Close everything, after what is under way."""
        for threads in (self._readers, self._writers):
            threads.shutdown(wait=True, cancel_futures=True)
        self.disconnect()


async def _in(threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    """What `work` gives, in one of these threads and in the language of the request."""
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(threads, context.run, work)


def _engine(url: URL, connections: int, *, one_by_one: bool = False) -> Engine:
    """An engine of so many connections; `one_by_one`: each statement is a transaction of its own."""
    pool = {"pool_size": connections, "max_overflow": 0, "pool_timeout": 10, "hide_parameters": True}
    if url.get_backend_name() != "sqlite":
        arguments = {name: value for name, value in POSTGRES.items() if name not in url.query}
        how: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"} if one_by_one else {"pool_pre_ping": True}
        return create_engine(url, connect_args=arguments, **how, **pool)
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}, **pool)
    event.listen(engine, "connect", _prepare_sqlite)
    if not one_by_one:
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # Python's own BEGIN comes too late and never for a read
    for setting in (
        "journal_mode = WAL",
        "synchronous = FULL",  # what is acknowledged outlives a loss of power
        "foreign_keys = ON",
        "secure_delete = ON",  # what is deleted is overwritten
    ):
        connection.execute(f"PRAGMA {setting}")


def _begin_sqlite(connection: Connection) -> None:
    how = connection.get_execution_options().get("begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {how}")


def _set_foreign_keys(connection: Connection, value: str) -> None:
    """Switch them: SQLite does so outside a transaction only."""
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute(f"PRAGMA foreign_keys = {value}")
