"""The database of classes: made, brought up to date, read and written."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from sqlalchemy import select

from app.classroom.database import Database, DatabaseError
from app.classroom.models import Classroom
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
    with pytest.raises(DatabaseError, match="it has schema 9999, which is newer than this version's 0001"):
        migrate(database)
