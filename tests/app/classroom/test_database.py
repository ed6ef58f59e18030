"""The database of classes: made, brought up to date, read and written."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, select

from app.classroom.database import Database, DatabaseError, url_of
from app.classroom.models import Base, Classroom
from app.classroom.schema import migrate


def a_class(code: str = "BCDFGH") -> Classroom:
    return Classroom(
        code=code,
        title="Monday",
        lesson="quantization",
        teacher_hash=bytes(32),
        created_at=datetime.now(UTC),
        ends_on=date(2026, 12, 18),
    )


def test_what_is_written_is_read(database: Database) -> None:
    with database.write() as session:
        session.add(a_class())
    with database.read() as session:
        found = session.scalars(select(Classroom)).one()
    assert (found.title, found.version, found.created_at.tzinfo) == ("Monday", 1, UTC)


def test_a_failed_write_leaves_nothing(database: Database) -> None:
    def fail() -> None:
        with database.write() as session:
            session.add(a_class())
            session.flush()
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        fail()
    with database.read() as session:
        assert not session.scalars(select(Classroom)).all()


def test_migrating_again_changes_nothing(database: Database) -> None:
    assert not migrate(database)


def test_a_schema_of_a_newer_version_is_refused_in_a_sentence(database: Database) -> None:
    with database.connection() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseError, match="it has schema 9999, which is newer than this version's 0002"):
        migrate(database)


def test_the_migrations_make_the_tables_of_the_models(database: Database) -> None:
    with database.connection() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_processes_that_start_together_migrate_one_after_the_other(database_url: str) -> None:
    together = [Database(url_of(database_url, "")) for _ in range(4)]
    try:
        with ThreadPoolExecutor(4) as threads:
            assert sorted(threads.map(migrate, together)) == [False, False, False, True]
    finally:
        for each in together:
            each.close()


def test_after_migrating_a_process_may_fork(database_url: str) -> None:
    fresh = Database(url_of(database_url, ""))
    before = threading.active_count()
    migrate(fresh)
    assert threading.active_count() == before
    assert "Connections in pool: 0 " in fresh.engine.pool.status()
    fresh.close()


def test_writes_of_two_processes_come_one_after_the_other(database: Database) -> None:
    with database.write() as session:
        session.add(a_class())
    others = [Database(database.url) for _ in range(2)]

    def add(of: Database) -> None:
        for _ in range(25):
            with of.write() as session:
                found = session.scalars(select(Classroom).with_for_update()).one()
                found.tally += 1

    try:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(add, others * 2))
    finally:
        for each in others:
            each.close()
    with database.read() as session:
        assert session.scalars(select(Classroom)).one().tally == 100


def test_a_reader_sees_one_state_and_changes_nothing(database: Database) -> None:
    with database.write() as session:
        session.add(a_class())
    with database.read() as reading:
        before = reading.scalar(select(Classroom.title))
        with database.write() as session:
            session.scalars(select(Classroom)).one().title = "Tuesday"
        assert reading.scalar(select(Classroom.title)) == before == "Monday"
        reading.add(a_class("HJKMNP"))
    with database.read() as session:
        assert session.scalars(select(Classroom.code)).all() == ["BCDFGH"]


def test_a_connection_that_died_is_replaced(database: Database) -> None:
    """After a restart of the database."""
    if database.is_sqlite:
        pytest.skip("SQLite has no connections that die")
    count = select(func.count()).select_from(Classroom)

    async def ask_and_kill() -> list[int]:
        found = []
        for code in ("BCDFGH", "HJKMNP"):
            await database.writing(lambda session, code=code: session.add(a_class(code)))  # type: ignore[misc]
            for ask in (database.reading, database.reading_each):
                found.append(await ask(lambda session: session.scalar(count) or 0))
            address = database.url.set(drivername="postgresql").render_as_string(False)
            with psycopg.connect(address) as other:
                all_others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                other.execute(f"SELECT pg_terminate_backend(pid) {all_others}")
        return found

    assert asyncio.run(ask_and_kill()) == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("postgres://a:b@host/name", "postgresql+psycopg"),
        ("postgresql://host/name?sslmode=require", "postgresql+psycopg"),
        ("sqlite:////srv/classes.db", "sqlite"),
    ],
)
def test_addresses_of_databases(given: str, driver: str) -> None:
    assert url_of(given, "").drivername == driver


@pytest.mark.parametrize(
    "given", ["mysql://a/b", "postgresql://host", "sqlite://", "sqlite:///:memory:", "x"]
)
def test_other_addresses_are_refused(given: str) -> None:
    with pytest.raises(DatabaseError, match="give an address such as postgresql://"):
        url_of(given, "")
