"""Backups of all classes, in one form for both kinds of database: a host can move from one to the other.

A backup is a compressed text of JSON, one line for each row, all of one moment. Its first line names the
schema, its last one counts the rows. An older one is restored into its own schema, which is then brought up
to date.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any, BinaryIO

from sqlalchemy import (
    Column,
    Connection,
    Date,
    DateTime,
    LargeBinary,
    MetaData,
    Table,
    func,
    select,
    text,
    update,
)
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from app.classroom import schema
from app.classroom.database import Database, DatabaseError
from app.classroom.models import Base, Classroom

FORMAT = 1
VERSIONS = "alembic_version"
"""The table in which Alembic notes the schema."""
ROWS_AT_ONCE = 500
LONGEST_LINE = 1 << 20
"""Bytes of one row, which a backup of ours never has."""

NOT_WHOLE = "This is no whole backup of classes: nothing was changed"


class BackupError(Exception):
    """A backup that cannot be made or restored, in a sentence."""


def back_up(database: Database, file: BinaryIO) -> int:
    """Write a backup; return the number of its classes.

    Raises
    ------
    DatabaseError
        When the database is not of this version's schema.
    """
    with database.read() as session, gzip.open(file, "wb") as lines:
        schema.check(session.connection())
        head = {"classes": FORMAT, "schema": schema.newest(), "at": datetime.now(UTC).isoformat()}
        lines.write(_line(head))
        rows = 0
        for table in Base.metadata.sorted_tables:
            for row in session.execute(select(table).order_by(*table.primary_key)).mappings():
                lines.write(_line([table.name, {name: _written(value) for name, value in row.items()}]))
                rows += 1
        lines.write(_line({"rows": rows}))
        return session.scalar(select(func.count()).select_from(Classroom)) or 0


def restore(database: Database, file: BinaryIO, *, replace: bool = False) -> int:
    """Fill a database from a backup, all or nothing; return the number of its classes.

    Raises
    ------
    BackupError
        When the database has classes and `replace` is not given, or the file is no whole backup that this
        version can read.
    """
    try:
        with schema.locked(database), gzip.open(file, "rb") as lines:
            read = _read(lines)
            revision = next(read)
            with database.connection() as connection:
                schema.lock(connection)
                highest = _refuse_overwriting(connection, replace)
                _drop(connection)
                schema.upgrade(connection, revision)
                _insert(connection, read)
                if database.is_sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                    raise BackupError(NOT_WHOLE)
                schema.upgrade(connection)
                if highest:  # open pages and the caches of workers take a lower version for an older one
                    connection.execute(update(Classroom).values(version=Classroom.version + highest))
                return connection.scalar(select(func.count()).select_from(Classroom)) or 0
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError, KeyError, TypeError) as error:
        raise BackupError(NOT_WHOLE) from error
    except (IntegrityError, DataError) as error:
        raise BackupError(NOT_WHOLE) from error
    except SQLAlchemyError as error:
        raise DatabaseError(schema.words(error)) from error
    finally:
        database.disconnect()


def _read(lines: gzip.GzipFile) -> Iterator[Any]:
    """The revision of a backup, and then each row as the name of its table and its values."""
    head = json.loads(lines.readline(LONGEST_LINE))
    if head["classes"] != FORMAT or not schema.known(head["schema"]):
        raise BackupError(
            f"This backup has schema {head['schema']}, which is newer than this version's {schema.newest()}: "
            "restore it with the newer version of the lesson"
        )
    yield head["schema"]
    rows = 0
    while isinstance(row := json.loads(lines.readline(LONGEST_LINE)), list):
        rows += 1
        yield row
    if row["rows"] != rows:
        raise BackupError(NOT_WHOLE)


def _refuse_overwriting(connection: Connection, replace: bool) -> int:
    """The highest version of the classes that are to be replaced; 0 where there are none."""
    if not connection.dialect.has_table(connection, Classroom.__tablename__):
        return 0
    classes, highest = connection.execute(select(func.count(), func.max(Classroom.version))).one()
    if classes and not replace:
        raise BackupError(
            f"The database has classes already ({classes}): nothing was changed. With --replace they are "
            "deleted first"
        )
    return highest or 0


def _drop(connection: Connection) -> None:
    names = {*Base.metadata.tables, VERSIONS}
    found = MetaData()
    found.reflect(connection, only=lambda name, _: name in names)
    found.drop_all(connection)


def _insert(connection: Connection, rows: Iterator[tuple[str, dict[str, Any]]]) -> None:
    """Insert the rows into the tables as they are in the database, which may be older than the models."""
    tables = MetaData()
    tables.reflect(connection, only=lambda name, _: name != VERSIONS)
    while batch := list(islice(rows, ROWS_AT_ONCE)):
        of_tables: dict[str, list[dict[str, Any]]] = {}
        for name, row in batch:
            columns = tables.tables[name].columns
            values = {key: _value(columns[key], value) for key, value in row.items()}
            of_tables.setdefault(name, []).append(values)
        for name, values_of_rows in of_tables.items():
            connection.execute(tables.tables[name].insert(), values_of_rows)
    if connection.dialect.name == "postgresql":
        for table in tables.tables.values():
            _count_on(connection, table)


def _count_on(connection: Connection, table: Table) -> None:
    """Let PostgreSQL give the next row a number that none has."""
    for column in table.primary_key:
        sequence = connection.scalar(
            text("SELECT pg_get_serial_sequence(:table, :column)"),
            {"table": table.name, "column": column.name},
        )
        if sequence:
            highest = connection.scalar(select(func.max(column)))
            connection.execute(select(func.setval(sequence, highest or 1, highest is not None)))


def _line(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _written(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, date):  # a datetime is one, too
        return value.isoformat()
    return value


def _value(column: Column[Any], value: Any) -> Any:
    """A value as its column takes it. SQLite stores moments without their zone, which is UTC."""
    if value is None:
        return None
    if isinstance(column.type, LargeBinary):
        return base64.b64decode(value)
    if isinstance(column.type, DateTime):
        return datetime.fromisoformat(value).astimezone(UTC)
    if isinstance(column.type, Date):
        return date.fromisoformat(value)
    return value
