"""Databases of the tests of classes: each test runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from app.classroom.database import FILE, Database, url_of
from app.classroom.models import Base
from app.classroom.schema import migrate, revision_of
from scripts import database as postgresql
from scripts.database import Cluster

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A server of PostgreSQL, one for each process of the tests."""
    if postgresql.find() is None:
        pytest.skip("NOT TESTED ON POSTGRESQL: install it (Debian: apt-get install postgresql)")
    with postgresql.running(syncs=False) as running:
        yield running


@pytest.fixture
def postgresql_url(cluster: Cluster) -> Iterator[str]:
    """The address of an empty database of PostgreSQL."""
    name = f"test_{next(_numbers)}"
    yield cluster.create(name)
    cluster.drop(name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The address of a file of SQLite that does not exist yet."""
    return url_of_folder(tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The address of an empty database, of SQLite and then of PostgreSQL."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of SQLite with the tables of a class, which is copied."""
    folder = tmp_path_factory.mktemp("migrated")
    _migrate(url_of_folder(folder))
    return folder / FILE


SCHEMA = """
SELECT string_agg(format('%s %s %s', attrelid::regclass, attname, atttypid), ';' ORDER BY attrelid, attnum)
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = 'public'::regnamespace AND attnum > 0
"""
DISCONNECT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
EMPTY = f"TRUNCATE {', '.join(Base.metadata.tables)} RESTART IDENTITY"


class Tables:
    """A database of PostgreSQL with the tables of a class: to empty it is quicker than to make one each time.

    A test may change its schema: the next one then gets a new database.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.url = ""
        self.schema: list[object] = []

    def empty(self) -> str:
        """Its address, without a row and without a connection."""
        if not self.url or not self._emptied():
            self.url = self.cluster.create(f"test_{next(_numbers)}")
            _migrate(self.url)
            with self._connection() as connection:
                self.schema = self._schema(connection)
        return self.url

    def _emptied(self) -> bool:
        with self._connection() as connection:
            connection.execute(text(DISCONNECT))
            if self._schema(connection) != self.schema:
                return False
            connection.execute(text(EMPTY))
            return True

    def _connection(self) -> AbstractContextManager[Connection]:
        return create_engine(self.url, poolclass=NullPool).begin()

    def _schema(self, connection: Connection) -> list[object]:
        return [connection.scalar(text(SCHEMA)), revision_of(connection)]


@pytest.fixture(scope="session")
def tables(cluster: Cluster) -> Tables:
    return Tables(cluster)


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database with tables and without a class, of SQLite and then of PostgreSQL."""
    if request.param == "postgresql":
        tables: Tables = request.getfixturevalue("tables")
        return tables.empty()
    shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / FILE)
    return url_of_folder(tmp_path)


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    """The same, opened."""
    opened = Database(url_of(migrated_url, ""))
    opened.migrated = True
    yield opened
    opened.close()


def url_of_folder(folder: Path) -> str:
    return f"sqlite:///{folder / FILE}"


def _migrate(url: str) -> None:
    opened = Database(url_of(url, ""))
    migrate(opened)
    opened.close()
