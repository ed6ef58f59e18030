"""Responses made ahead survive a restart; invalid files are not loaded."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.assets import version
from app.cache import ahead, disk
from app.cache.response import CachedResponse
from app.main import create_app
from app.settings import Settings
from lessons.catalogue import load_lesson
from lessons.kit.controls import Choice
from tests.app.servers import ROOT, fetch, serving

FIGURES = load_lesson("quantization").figures
FEW = min(FIGURES, key=lambda name: FIGURES[name].controls.combinations())
ADDRESS = f"/fragments/{version()}/quantization/{FEW}"
TABLE = f"/fragments/{version()}/quantization/rtn/along/bits"
STUB = CachedResponse(b'{"made": "ahead"}', "application/json")


def application(folder: Path, **settings: str) -> FastAPI:
    return create_app(Settings(answers_folder=str(folder), **settings))  # type: ignore[arg-type]


@pytest.fixture(scope="module", autouse=True)
def _of_one_figure_all_states() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ahead, "FEW_STATES", FIGURES[FEW].controls.combinations())
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stored file of a server: the page, a stub for each table, and all states of one figure."""
    folder = tmp_path_factory.mktemp("answers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ahead, "state_table", lambda *_: STUB)
        ahead.make(application(folder), pause=0.0)
    return folder


@pytest.fixture
def file(folder: Path, tmp_path: Path) -> Path:
    """A copy of that file for tests to damage."""
    (written,) = folder.iterdir()
    copy = tmp_path / written.name
    copy.write_bytes(written.read_bytes())
    return copy


def taken(folder: Path, **settings: str) -> FastAPI:
    app = application(folder, **settings)
    ahead.take(app)
    return app


def test_next_server_loads_stored_responses(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states = [f"{ADDRESS}?{urlencode(state.query())}" for state in FIGURES[FEW].controls.every()]
    with TestClient(application(folder)) as client:
        expected = {address: client.get(address) for address in states}
    app = taken(folder)
    assert app.state.made_ahead

    def never(*_: object, **__: object) -> CachedResponse:
        raise AssertionError("made again")

    monkeypatch.setattr("app.cache.store.ResponseCache.now", never)
    with TestClient(app) as client:
        for address, answer in expected.items():
            again = client.get(address)
            assert (again.status_code, again.content) == (200, answer.content), address
            assert again.headers["etag"] == answer.headers["etag"]
            assert again.headers["content-type"] == answer.headers["content-type"]


@pytest.mark.parametrize("settings", [{"root_path": "/academy"}, {"embed_ancestors": "'none'"}])
def test_responses_of_other_settings_are_not_loaded(folder: Path, settings: dict[str, str]) -> None:
    app = taken(folder, **settings)
    assert not app.state.made_ahead
    assert app.state.cache.bytes == 0


def test_responses_of_a_host_without_a_package_are_not_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page depends on the installed packages."""
    missing = Choice.missing
    monkeypatch.setattr(Choice, "missing", lambda self: () if missing(self) else tuple(self.needs or ()))
    assert not taken(folder).state.made_ahead


def resealed(rest: bytes) -> bytes:
    return hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


def listing(*entries: object) -> bytes:
    return resealed(json.dumps(entries).encode() + b"\nabc")


DAMAGED = {
    "empty": b"",
    "cut off": b"half",
    "other bytes": b"other",
    "no json": resealed(b"{]\nabc"),
    "not a list": resealed(b"3\nabc"),
    "short entries": listing(["fragment"]),
    "an encoding that is none": listing([ADDRESS, "text/html", "a", "x\r\ny", 3]),
    "a size that is none": listing([ADDRESS, "text/html", "a", "br", "3"]),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_file_is_not_loaded(file: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    whole = file.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    file.write_bytes(
        {"cut off": whole[: len(whole) // 2], "other bytes": bytes(changed)}.get(damage, DAMAGED[damage])
    )
    app = taken(file.parent)
    assert app.state.cache.bytes == 0
    assert not app.state.made_ahead
    assert "is left alone" in caplog.text


@pytest.mark.parametrize("mode", [0o646, 0o664])
def test_file_writable_by_others_is_not_loaded(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(disk.UnusableError, match="others than this user"):
        disk.load(file)


def test_file_of_another_user_is_not_loaded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(file, 12345, -1)
    else:
        monkeypatch.setattr("os.geteuid", lambda: 12345)
    with pytest.raises(disk.UnusableError, match="others than this user"):
        disk.load(file)


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_non_regular_file_is_not_loaded(file: Path, kind: str) -> None:
    place = file.with_name("answers-0123456789abcdef")
    if kind == "folder":
        place.mkdir()
    elif kind == "link":
        place.symlink_to(file)
    else:
        os.mkfifo(place)
    with pytest.raises(disk.UnusableError):
        disk.load(place)


def test_responses_with_unknown_addresses_are_skipped(file: Path) -> None:
    entries = [
        f"/fragments/{version()}/none/rtn",
        f"/fragments/{version()}/quantization/rtn?bits=99",
        "other",
        [],
    ]
    file.write_bytes(listing(*([name, "text/html", "a", "", 0] for name in entries)))
    app = taken(file.parent)
    assert app.state.cache.bytes == 0
    assert not app.state.made_ahead


def test_unwritable_folder_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    app = application(tmp_path / "file" / "folder")
    monkeypatch.setattr(ahead, "likely_pages", lambda _cache: iter(()))
    ahead.take(app)
    assert ahead.make(app)
    assert app.state.made_ahead


def test_only_the_oldest_files_are_removed(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for number in range(6):
        file = tmp_path / f"answers-{number:016x}"
        disk.save(file, [])
        os.utime(file, (number, number))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [*(f"answers-{number:016x}" for number in range(2, 6)), "notes.txt"]


def test_next_start_removes_temporary_files_of_a_killed_server(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal, sys\nfrom app.cache import disk\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "disk.save(pathlib.Path(sys.argv[1]) / 'answers-0123456789abcdef', [])"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".new-")
    with tempfile.NamedTemporaryFile(dir=tmp_path, prefix=".new-") as another_servers:
        fcntl.flock(another_servers, fcntl.LOCK_EX)
        (tmp_path / ".new-folder").mkdir()
        taken(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {Path(another_servers.name).name, ".new-folder"}


def test_started_server_loads_the_file(folder: Path) -> None:
    with serving(ACADEMY_ANSWERS_FOLDER=str(folder), ACADEMY_MAKE_AHEAD="1", WORKERS="2") as (port, _):
        assert {fetch(port, TABLE) for _ in range(6)} == {STUB.raw}


def test_image_build_stores_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "FOLDER", tmp_path / "build" / "answers")
    page = "/lessons/quantization"
    monkeypatch.setattr(ahead, "likely_pages", lambda _cache: iter([(page, lambda: STUB)]))
    ahead.make_now()
    (file,) = (tmp_path / "build" / "answers").iterdir()
    assert file.stat().st_mode & 0o777 == 0o644  # root writes it, but the server is another user
    assert [address for address, _ in disk.load(file)] == [page]
    assert "make_now()" in (ROOT / "Dockerfile").read_text("utf-8")
