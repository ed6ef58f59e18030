"""Databases of the tests of classes: each test runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.classroom.database import FILE, Database, url_of
from app.classroom.schema import migrate
from scripts import database as postgresql
from scripts.database import Cluster

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A server of PostgreSQL, one for each process of the tests."""
    if postgresql.find() is None:
        pytest.skip("NOT TESTED ON POSTGRESQL: install it (Debian: apt-get install postgresql)")
    with postgresql.running() as running:
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


@pytest.fixture(scope="session")
def migrated_template(cluster: Cluster) -> str:
    """A database of PostgreSQL with the tables of a class, which is copied."""
    _migrate(cluster.create("migrated"))
    return "migrated"


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database with tables and without a class, of SQLite and then of PostgreSQL."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / FILE)
        yield url_of_folder(tmp_path)
    else:
        server: Cluster = request.getfixturevalue("cluster")
        name = f"test_{next(_numbers)}"
        yield server.create(name, request.getfixturevalue("migrated_template"))
        server.drop(name)


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
