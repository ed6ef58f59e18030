"""`python -m app`: backups that hold everything, restored all or nothing, and what is deleted in the end."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from app.__main__ import main
from app.classroom import operations, retention, schema
from app.classroom.backup import BackupError, back_up, restore
from app.classroom.database import Database, url_of
from app.classroom.models import Answer, Base, Classroom, Item, Progress, Student, Vote
from tests.app.servers import ROOT

Command = Callable[..., str]


@pytest.fixture
def command(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run a command on the test's database; gives its last line."""
    monkeypatch.setenv("DATABASE_URL", database.url.render_as_string(hide_password=False))

    def run(*arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 0
        return capsys.readouterr().err.strip()

    return run


def fill(database: Database) -> None:
    """A class with a row in every table."""
    now = datetime(2026, 11, 30, 9, 30, 15, 250_000, UTC)
    with database.write() as session:
        created = operations.create(
            session, "Größe 4 — 日本", date(2026, 12, 18), lesson="quantization", now=now
        )
        student = operations.join(session, created.classroom, now=now).student
        items = select(Item).where(Item.classroom_id == created.classroom.id)
        item = session.scalars(items).first()
        assert item
        vote = {"item_id": item.id, "student_id": student.id, "at": now}
        session.add(Vote(**vote, round=1, value="11", outcome="off", seconds=2.5))
        session.add(Vote(**vote, round=2, value=None, outcome="skipped", seconds=1))
        answer = {"student_id": student.id, "kind": "question", "name": "rtn", "at": now}
        session.add(Answer(**answer, uid="a", value="=1+1", outcome="right"))
        session.add(Progress(student_id=student.id, section="rounding", done=True))


def everything(database: Database) -> dict[str, list[dict[str, Any]]]:
    with database.read() as session:
        return {
            table.name: [dict(row) for row in session.execute(select(table)).mappings()]
            for table in Base.metadata.sorted_tables
        }


def test_a_backup_restores_everything(database: Database, command: Command, tmp_path: Path) -> None:
    fill(database)
    before = everything(database)
    assert all(before.values()), "a table is not filled"
    file = tmp_path / "all.backup"
    assert command("backup", file) == f"Written to {file}: 1 class"
    assert file.stat().st_mode & 0o077 == 0
    with database.write() as session:
        operations.delete_class(session, session.scalars(select(Classroom)).one())
    assert command("restore", file) == f"Restored from {file}: 1 class"
    assert everything(database) == before
    with database.write() as session:  # new rows find free numbers
        operations.create(session, "Next", datetime.now(UTC).date(), lesson="quantization")


@pytest.mark.parametrize("backwards", [False, True])
def test_a_backup_moves_between_the_two_kinds_of_database(
    sqlite_url: str, postgresql_url: str, backwards: bool
) -> None:
    urls = [sqlite_url, postgresql_url]
    source, target = (Database(url_of(url, "")) for url in (reversed(urls) if backwards else urls))
    schema.migrate(source)
    fill(source)
    file = BytesIO()
    back_up(source, file)
    file.seek(0)
    assert restore(target, file) == 1
    assert everything(target) == everything(source)
    assert not schema.migrate(target)
    for database in (source, target):
        database.close()


def test_a_backup_overwrites_no_file(database: Database, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "all.backup"
    file.write_text("mine")
    with pytest.raises(SystemExit, match="exists already: nothing was written"):
        command("backup", file)
    assert file.read_text() == "mine"


def test_a_backup_that_fails_leaves_no_file(
    database: Database, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_database: Database, file: Any) -> int:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.__main__.back_up", fail)
    with pytest.raises(SystemExit, match="No space left on device"):
        command("backup", tmp_path / "half.backup")
    assert not (tmp_path / "half.backup").exists()


def test_restoring_over_classes_must_be_asked_for(
    database: Database, command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "empty.backup"
    command("backup", file)
    fill(database)
    before = everything(database)
    with pytest.raises(SystemExit, match="has classes already .1.: nothing was changed"):
        command("restore", file)
    assert everything(database) == before
    assert command("restore", file, "--replace") == f"Restored from {file}: 0 classes"
    assert not any(everything(database).values())


def test_versions_never_go_back_under_open_pages(
    database: Database, command: Command, tmp_path: Path
) -> None:
    def version(press: bool = False) -> int:
        with database.write() as session:
            classroom = session.scalars(select(Classroom)).one()
            if press:
                classroom.version += 1
            return classroom.version

    file = tmp_path / "all.backup"
    fill(database)
    command("backup", file)
    seen = [version(press=True) for _ in range(5)][-1]
    command("restore", file, "--replace")
    assert version() > seen


SPOILT = (
    "cut",
    "not compressed",
    "a row is missing",
    "a class is missing",
    "no end",
    "another table",
    "another column",
    "a wrong value",
    "a number",
)


def spoiled(content: bytes, how: str) -> bytes:
    lines = gzip.decompress(content).splitlines(keepends=True)
    if how == "cut":
        return content[: len(content) // 2]
    if how == "not compressed":
        return b"".join(lines)
    if how == "a row is missing":
        del lines[2]
    elif how == "a class is missing":
        count = json.loads(lines[-1])["rows"]
        lines[-1] = json.dumps({"rows": count - 1}).encode() + b"\n"
        del lines[1]
    elif how == "no end":
        del lines[-1]
    elif how == "another table":
        lines[1] = b'["alembic_version",{"version_num":"0000"}]\n'
    elif how == "another column":
        lines[1] = b'["classroom",{"no_such":"0000"}]\n'
    elif how == "a wrong value":
        lines[1] = lines[1].replace(b'"2026-12-18"', b'"soon"')
    elif how == "a number":
        lines[1] = b"7\n"
    return gzip.compress(b"".join(lines))


@pytest.mark.parametrize("how", SPOILT)
def test_a_spoiled_backup_changes_nothing(
    database: Database, command: Command, tmp_path: Path, how: str
) -> None:
    fill(database)
    before = everything(database)
    good, bad = tmp_path / "good.backup", tmp_path / "bad.backup"
    command("backup", good)
    bad.write_bytes(spoiled(good.read_bytes(), how))
    with pytest.raises(SystemExit, match="This is no whole backup of classes: nothing was changed"):
        command("restore", bad, "--replace")
    assert everything(database) == before


def test_a_backup_of_a_newer_version_is_refused(database: Database) -> None:
    lines = gzip.compress(b'{"classes":1,"schema":"0999","at":""}\n{"rows":0}\n')
    with pytest.raises(BackupError, match="has schema 0999, which is newer than this version's"):
        restore(database, BytesIO(lines))


def test_classes_are_deleted_when_their_time_is_over(database: Database, command: Command) -> None:
    fill(database)
    assert command("purge") == "Deleted: 0 classes"
    with database.write() as session:
        session.scalars(select(Classroom)).one().ends_on = date(2025, 1, 31)
    fill(database)
    assert command("purge") == "Deleted: 1 class"
    left = everything(database)
    assert [row["ends_on"] for row in left["classroom"]] == [date(2026, 12, 18)]
    assert (len(left["student"]), len(left["vote"]), len(left["answer"])) == (1, 2, 1)


def test_one_process_deletes_and_another_one_does_not_wait(postgresql_url: str) -> None:
    database = Database(url_of(postgresql_url, ""))
    schema.migrate(database)
    fill(database)
    with database.write() as session:
        session.scalars(select(Classroom)).one().ends_on = date(2025, 1, 31)
    with database.write() as session:
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": retention.LOCK})
        assert retention.purge(database) == 0
    assert retention.purge(database) == 1
    database.close()


def test_deleted_names_are_not_left_in_the_file(tmp_path: Path) -> None:
    database = Database(url_of("", str(tmp_path)))
    schema.migrate(database)
    fill(database)
    with database.write() as session:
        session.scalars(select(Student)).one().name = "Unforgettable"
        session.scalars(select(Classroom)).one().ends_on = date(2025, 1, 31)
    assert retention.purge(database) == 1
    files = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    database.close()
    assert b"Unforgettable" not in files


def test_a_file_is_copied_before_its_schema_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(url_of("", str(tmp_path)))
    schema.migrate(database)
    fill(database)
    before = everything(database)
    migrations = tmp_path / "migrations"
    add_migration(migrations, monkeypatch)
    assert schema.migrate(database)
    (copy,) = tmp_path.glob("classes-before-0003-*.db")
    assert copy.stat().st_mode & 0o077 == 0
    with database.read() as session:
        assert session.connection().exec_driver_sql("SELECT motto FROM classroom").scalar() == "none"
        assert len(session.scalars(select(Vote)).all()) == 2  # altering a table deletes nothing
    database.close()
    copied = Database(url_of(f"sqlite:///{copy}", ""))
    assert everything(copied) == before
    copied.close()

    old = time.time() - (retention.COPIES_DAYS + 1) * retention.DAY
    os.utime(copy, (old, old))
    retention.purge(database)
    assert not copy.exists()
    database.close()


def test_an_older_backup_is_brought_up_to_date(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fill(database)
    before = everything(database)
    file = BytesIO()
    back_up(database, file)
    add_migration(tmp_path / "migrations", monkeypatch)
    schema.migrate(database)
    file.seek(0)
    assert restore(database, file, replace=True) == 1
    with database.read() as session:
        assert session.connection().exec_driver_sql("SELECT motto FROM classroom").scalar() == "none"
        assert len(session.scalars(select(Vote)).all()) == 2
    before["classroom"][0]["version"] += 1  # above that of the class which was replaced
    assert everything(database) == before
    assert not schema.migrate(database)


def add_migration(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version of the lesson with one more migration."""
    shutil.copytree(schema.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "0003_motto.py").write_text(
        """
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade():
    sqlite = op.get_bind().dialect.name == "sqlite"
    with op.batch_alter_table("classroom", recreate="always" if sqlite else "never") as table:
        table.add_column(sa.Column("motto", sa.String(10), nullable=False, server_default="none"))
"""
    )
    monkeypatch.setattr(schema, "MIGRATIONS", folder)


def test_classes_are_exported_to_new_files(database: Database, command: Command, tmp_path: Path) -> None:
    fill(database)
    fill(database)
    with database.read() as session:
        first, second = session.scalars(select(Classroom.code).order_by(Classroom.code))
    one, every = tmp_path / "one", tmp_path / "all"
    assert command("export", one, f" {first[:3]}-{first[3:].lower()}") == f"Written to {one}: 1 class"
    names = {f"class-{first}-{name}" for name in ("votes.csv", "students.csv", "class.json")}
    assert {path.name for path in one.iterdir()} == names
    assert command("export", every) == f"Written to {every}: 2 classes"
    assert len(list(every.iterdir())) == 6
    written = json.loads((every / f"class-{second}-class.json").read_text("utf-8"))
    assert (written["class"]["title"], len(written["students"])) == ("Größe 4 — 日本", 1)
    with pytest.raises(SystemExit, match="exists already: nothing was written"):
        command("export", every, first)
    with pytest.raises(SystemExit, match="No class has this code"):
        command("export", tmp_path / "none", "BBBBBB")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("arguments", [["backup", "x"], ["purge"], ["export", "x"]])
def test_commands_need_a_database(tmp_path: Path, arguments: list[str]) -> None:
    """As a program, in a folder that has none: it says so in a line, and makes nothing."""
    ran = subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        cwd=ROOT,
        env={"ACADEMY_DATA_DIR": str(tmp_path / "none"), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stderr == f"The database cannot be used: there is none in {tmp_path / 'none'}.\n"
    assert not (tmp_path / "none").exists()


def test_migrate_makes_a_database_and_says_its_schema(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    newest = schema.newest()
    for words in (f"The database has schema {newest} now", f"The database has schema {newest}, as before"):
        assert main(["migrate"]) == 0
        assert capsys.readouterr().err.strip() == words
