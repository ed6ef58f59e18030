"""Commands for the database of classes, with the settings of the server: `python -m app backup FILE`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from app.classroom import operations, schema
from app.classroom.backup import BackupError, back_up, restore
from app.classroom.database import Database, DatabaseError, url_of
from app.classroom.exports import FILES, file_name
from app.classroom.models import Classroom
from app.classroom.record import read_record
from app.classroom.refusals import UnknownClassError
from app.classroom.retention import purge
from app.settings import Settings, explained


def main(arguments: list[str] | None = None) -> int:
    """Run one command; a reason in one line, and status 1, where it cannot be done."""
    options = _parser().parse_args(arguments)
    try:
        settings = Settings()
        with _database(settings) as database:
            print(COMMANDS[options.command](database, options), file=sys.stderr)
    except ValidationError as error:
        sys.exit(explained(error))
    except SQLAlchemyError as error:
        sys.exit(f"The database cannot be used: {schema.words(error)}.")
    except DatabaseError as error:
        sys.exit(f"The database cannot be used: {error}.")
    except BackupError as error:
        sys.exit(f"{error}.")
    except UnknownClassError:
        sys.exit("No class has this code: nothing was written.")
    except OSError as error:
        sys.exit(f"{error.filename or options.command}: {error.strerror or error}.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m app",
        description="The database of classes: SQLite in ACADEMY_DATA_DIR, or DATABASE_URL.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("migrate", help="make the database, or bring its schema up to date")
    commands.add_parser("purge", help="delete the classes whose time is over; the server does so every day")
    backup = commands.add_parser("backup", help="write all classes to a new file")
    backup.add_argument("file", help="it must not exist; - is standard output")
    from_backup = commands.add_parser("restore", help="read all classes from a backup")
    from_backup.add_argument("file", help="- is standard input")
    from_backup.add_argument("--replace", action="store_true", help="delete the classes that are there first")
    export = commands.add_parser("export", help="write CSV and JSON of classes, as their teachers get them")
    export.add_argument("folder", help="of the new files; it is made if there is none")
    export.add_argument("code", nargs="*", help="of a class; without any, all classes")
    return parser


@contextmanager
def _database(settings: Settings) -> Iterator[Database]:
    database = Database(url_of(settings.database_url, settings.data_folder))
    try:
        yield database
    finally:
        database.close()


def _migrate(database: Database, options: argparse.Namespace) -> str:
    changed = schema.migrate(database)
    return f"The database has schema {schema.newest()}" + (" now" if changed else ", as before")


def _purge(database: Database, options: argparse.Namespace) -> str:
    _must_exist(database)
    return f"Deleted: {_classes(purge(database))}"


def _backup(database: Database, options: argparse.Namespace) -> str:
    _must_exist(database)
    if options.file == "-":
        return f"Written: {_classes(back_up(database, sys.stdout.buffer))}"
    try:
        opened = os.open(options.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise BackupError(
            f"{options.file} exists already: nothing was written. Choose another name"
        ) from None
    with open(opened, "wb") as file:
        try:
            classes = back_up(database, file)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            Path(options.file).unlink()
            raise
    return f"Written to {options.file}: {_classes(classes)}"


def _restore(database: Database, options: argparse.Namespace) -> str:
    if options.file == "-":
        return f"Restored: {_classes(restore(database, sys.stdin.buffer, replace=options.replace))}"
    with open(options.file, "rb") as file:
        return f"Restored from {options.file}: {_classes(restore(database, file, replace=options.replace))}"


def _export(database: Database, options: argparse.Namespace) -> str:
    _must_exist(database)
    files: dict[Path, str] = {}
    with database.read() as session:
        codes = options.code or session.scalars(select(Classroom.code).order_by(Classroom.code)).all()
        for code in codes:
            classroom = operations.find_class(session, code)
            record = read_record(session, classroom)
            for file, make in FILES.items():
                files[Path(options.folder, file_name(classroom.code, file))] = make(record)
    if there := [str(path) for path in files if path.exists()]:
        raise BackupError(f"{there[0]} exists already: nothing was written. Choose another folder")
    Path(options.folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, content in files.items():
        with path.open("x", encoding="utf-8", newline="") as opened:
            opened.write(content)
    return f"Written to {options.folder}: {_classes(len(codes))}"


def _must_exist(database: Database) -> None:
    """Refuse a database that was never made, or is of another version: only `migrate` changes its schema."""
    if database.file and not database.file.exists():
        raise DatabaseError(f"there is none in {database.file.parent}")
    with database.engine.connect() as connection:
        schema.check(connection)


def _classes(number: int) -> str:
    return "1 class" if number == 1 else f"{number} classes"


COMMANDS = {
    "migrate": _migrate,
    "purge": _purge,
    "backup": _backup,
    "restore": _restore,
    "export": _export,
}


if __name__ == "__main__":
    sys.exit(main())
