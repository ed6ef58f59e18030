"""The schema of the database of classes: brought up to date at the start, under a lock.

Migrations go forward only: who wants to go back restores a backup.
"""

from __future__ import annotations

import fcntl
import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from app.classroom.database import Database, DatabaseError

log = logging.getLogger("academy")

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 4_210_140
"""The advisory lock of PostgreSQL that one process at a time holds while it changes the schema."""
DATABASE_STARTS_WITHIN = 30.0
"""Seconds that a server waits for PostgreSQL, which may be started together with it."""


def migrate(database: Database) -> bool:
    """Make the database or bring it up to date, one process after the other; tell whether it was changed.

    A SQLite file is copied before. Afterwards nothing is connected, so that the process may fork.

    Raises
    ------
    DatabaseError
        When it cannot be opened, or is of a newer version.
    """
    try:
        with locked(database):
            _reach(database)
            changed = _upgrade(database)
    except (SQLAlchemyError, OSError) as error:
        raise DatabaseError(words(error)) from error
    finally:
        database.disconnect()
    database.migrated = True
    return changed


@contextmanager
def locked(database: Database) -> Iterator[None]:
    """Let one process at a time change the schema of a SQLite file."""
    if database.file is None:
        yield
        return
    database.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with database.file.with_suffix(".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def lock(connection: Connection) -> None:
    """The same of PostgreSQL, until the end of the transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})


def upgrade(connection: Connection, to: str = "head") -> None:
    """Run the migrations on a connection, within its transaction."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def newest() -> str:
    """The revision of the schema that this version of the lesson has."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def known(revision: str) -> bool:
    """Whether this version of the lesson knows a revision of the schema."""
    return revision in {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def revision_of(connection: Connection) -> str | None:
    """The revision of a database's schema; None if it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


def check(connection: Connection) -> None:
    """Raise a `DatabaseError` if a database does not have this version's schema."""
    revision = revision_of(connection)
    if revision != newest():
        _refuse_newer(revision)
        raise DatabaseError(f"it has schema {revision}, not {newest()}: run python -m app migrate first")


def _refuse_newer(revision: str | None) -> None:
    if revision is not None and not known(revision):
        raise DatabaseError(
            f"it has schema {revision}, which is newer than this version's {newest()}: "
            "start the newer version of the lesson, or restore a backup of this one"
        )


def _upgrade(database: Database) -> bool:
    with database.connection() as connection:
        lock(connection)
        revision = revision_of(connection)
        if revision == newest():
            return False
        _refuse_newer(revision)
        if revision is not None and database.file is not None:
            copy = copy_before(database.file, newest())
            log.info("The database was copied to %s before its schema is changed", copy)
        upgrade(connection)
    log.info("The database has schema %s", newest())
    return True


def copy_before(file: Path, revision: str) -> Path:
    """Copy a SQLite file, beside it and under a name of its own, before its schema becomes `revision`."""
    when = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    copy = file.with_name("-".join([file.stem, "before", revision, when]) + file.suffix)
    copy.touch(mode=0o600, exist_ok=False)
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def _reach(database: Database) -> None:
    """Connect for the first time; a PostgreSQL that is just starting is waited for."""
    end = time.monotonic() + (0.0 if database.is_sqlite else DATABASE_STARTS_WITHIN)
    if database.file is not None and not database.file.exists():
        database.file.touch(mode=0o600)
    while True:
        try:
            with database.engine.connect():
                return
        except OperationalError:
            if time.monotonic() >= end:
                raise
            time.sleep(0.5)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def words(error: Exception) -> str:
    """The first line of what a driver says; SQLAlchemy adds the statement to it."""
    cause = error.orig if isinstance(error, OperationalError) and error.orig else error
    return str(cause).strip().partition("\n")[0] or type(error).__name__
