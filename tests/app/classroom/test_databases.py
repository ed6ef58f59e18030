"""The databases that the tests of classes use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, select, text
from sqlalchemy.orm import Session

from app.classroom.database import Database
from app.classroom.models import Base, Classroom
from scripts import database as postgresql
from tests.app.servers import ROOT, gone, until


@pytest.mark.parametrize("again", [False, True])
def test_every_test_has_an_empty_database(database_url: str, again: bool) -> None:
    engine = create_engine(database_url)
    try:
        assert inspect(engine).get_table_names() == []
        Base.metadata.create_all(engine)
        assert "vote" in inspect(engine).get_table_names()
    finally:
        engine.dispose()


@pytest.mark.parametrize("again", [False, True])
def test_every_test_has_tables_without_a_class(database: Database, again: bool) -> None:
    with database.read() as session:
        assert session.scalars(select(Classroom)).all() == []
    with database.write() as session:
        session.add(
            Classroom(
                code="BCDFGH",
                title="Monday",
                lesson="quantization",
                teacher_hash=bytes(32),
                created_at=datetime.now(UTC),
                ends_on=date(2026, 12, 18),
            )
        )


def test_postgresql_really_answers(postgresql_url: str) -> None:
    engine = create_engine(postgresql_url)
    with Session(engine) as session:
        assert "PostgreSQL" in session.scalar(text("SELECT version()"))
    engine.dispose()


def test_cluster_ends_with_the_process_that_started_it() -> None:
    if postgresql.find() is None or not Path("/proc/self").exists():
        pytest.skip("NOT TESTED ON POSTGRESQL: install it (Debian: apt-get install postgresql)")
    script = (
        "import sys\n"
        "from scripts import database\n"
        "with database.running() as cluster:\n"
        "    print(cluster.process.pid, cluster.folder, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    pid, folder = parent.stdout.readline().split()
    assert not gone(int(pid))
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    assert until(lambda: gone(int(pid)))
    subprocess.run(["rm", "-r", folder], check=True)


def test_missing_postgresql_is_installed_as_root_on_debian_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called: list[list[str]] = []
    without_cluster = tmp_path / "createcluster.d" / "tests.conf"
    present: list[bool] = []

    def run(command: list[str], **_: object) -> None:
        called.append(command)
        present.append(without_cluster.exists())

    monkeypatch.setattr(postgresql, "find", lambda: None)
    monkeypatch.setattr(postgresql, "WITHOUT_CLUSTER", without_cluster)
    monkeypatch.setattr("subprocess.run", run)
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/apt-get")
    monkeypatch.setattr("sys.argv", ["database.py", "--install"])
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    postgresql.main()
    assert called == []
    assert "the tests skip what needs it" in capsys.readouterr().out
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(Path, "exists", lambda self: self != without_cluster or os.path.exists(self))
    postgresql.main()
    assert called[-1][:2] == ["apt-get", "install"]
    assert called[-1][-1] == "postgresql"
    assert all(present)  # no service is set up
    assert not os.path.exists(without_cluster)
