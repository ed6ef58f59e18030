"""Hosting: workers agree, stops are graceful, wrong settings give one line."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from starlette.testclient import TestClient

from app import assets
from app.settings import Settings
from scripts import serve
from tests.app.servers import LIMIT, ROOT, fetch, free_port, serving, start, wait, workers_of


@pytest.fixture(scope="module")
def two_workers() -> Iterator[int]:
    with serving(WORKERS="2", TRUSTED_PROXIES="127.0.0.1") as (port, _):
        yield port


@pytest.mark.parametrize(
    "path", ["/lessons/quantization/figures/gptq?step=9", "/lessons/quantization?rtn.bits=5"]
)
def test_two_workers_give_the_same_bytes(two_workers: int, path: str) -> None:
    assert len({fetch(two_workers, path) for _ in range(12)}) == 1


@pytest.fixture(scope="module")
def trusting_nobody() -> Iterator[tuple[int, int]]:
    """A server as `make run` starts it: its port and its worker."""
    with serving() as (port, process):
        yield port, workers_of(process.pid)[0]


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("PORT", "http", "1 to 65535"),
        ("WORKERS", "0", "1 to 64"),
        ("CONNECTIONS", "0", "8 to 100000"),
        ("CLIENT_CONNECTIONS", "0", "8 to 100000"),
        ("KEEP_ALIVE", "0", "1 to 3600"),
        ("TRUSTED_PROXIES", "notanip", "'notanip' is neither an IP address nor a network"),
        ("TRUSTED_PROXIES", "10.0.0.1,", "'' is neither"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", "'10.0.0.1/8' is neither"),
        ("TRUSTED_PROXIES", "10.0.0.1,*", "'*' is neither"),
        ("HOST", "256.1.1.1", "Cannot serve on 256.1.1.1"),
        ("HOST", "192.0.2.1", "Cannot serve on 192.0.2.1"),  # reserved for documentation
        ("ACADEMY_CACHE_MIB", "0", "ACADEMY_CACHE_MIB='0' cannot be used"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(setting: str, value: str, words: str) -> None:
    process = start(free_port(), **{setting: value})
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    assert output.count("\n") == 1
    assert words in output


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("ACADEMY_JOBS_FOLDER", "/proc/jobs", "ACADEMY_JOBS_FOLDER='/proc/jobs' cannot be used: "),
        ("ACADEMY_JOBS_FOLDER", "/dev/null", "ACADEMY_JOBS_FOLDER='/dev/null' cannot be used: "),
        ("ACADEMY_ROOT_PATH", "academy/", "ACADEMY_ROOT_PATH='academy/' cannot be used"),
        ("ACADEMY_LOG_LEVEL", "loud", "ACADEMY_LOG_LEVEL='loud' cannot be used"),
        ("ACADEMY_CLASSES", "maybe", "ACADEMY_CLASSES='maybe' cannot be used"),
        ("ACADEMY_CLASSES", "key", "ACADEMY_CLASS_KEY cannot be used: ACADEMY_CLASSES=key needs one"),
        ("ACADEMY_HOSTS", "0", "ACADEMY_HOSTS='0' cannot be used"),
        ("ACADEMY_RETENTION_MONTHS", "0", "ACADEMY_RETENTION_MONTHS='0' cannot be used"),
        ("ACADEMY_EMBED_ANCESTORS", "*; script-src *", "ACADEMY_EMBED_ANCESTORS='*; script-src *'"),
    ],
)
def test_a_wrong_setting_of_the_application_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str, words: str
) -> None:
    monkeypatch.setenv(setting, value)
    with pytest.raises(SystemExit) as exit:
        serve.lesson()
    assert words in str(exit.value)
    assert "\n" not in str(exit.value)


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("ACADEMY_DATA_DIR", "/proc/data", "ACADEMY_DATA_DIR='/proc/data' cannot be used: "),
        ("DATABASE_URL", "mysql://me:hidden@host/name", "DATABASE_URL cannot be used: give an address"),
        ("DATABASE_URL", "hidden", "DATABASE_URL cannot be used: give an address"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str, words: str
) -> None:
    monkeypatch.setenv("ACADEMY_CLASSES", "open")
    monkeypatch.setenv(setting, value)
    with pytest.raises(SystemExit) as exit:
        serve.lesson()
    assert words in str(exit.value)
    assert "\n" not in str(exit.value)
    assert "hidden" not in str(exit.value)


def test_without_a_place_for_a_database_the_lesson_is_served_without_classes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOST", "127.0.0.1")
    app = serve.with_classes(Settings(classes="", data_dir="/proc/data"))
    assert "There are no classes: ACADEMY_DATA_DIR='/proc/data' cannot be used" in capsys.readouterr().out
    with TestClient(app) as client:
        assert client.get("/lessons/quantization").status_code == 200
        assert "This host holds no classes." in client.get("/join").text


def test_a_taken_port_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = start(taken.getsockname()[1])
        output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode != 0
    assert output.strip().count("\n") == 0
    assert "is taken" in output


def transport_security(port: int) -> str | None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/healthz", headers={"X-Forwarded-Proto": "https"}
    )
    with urllib.request.urlopen(request, timeout=LIMIT) as answer:
        return cast(str | None, answer.headers["Strict-Transport-Security"])


def test_headers_of_an_untrusted_proxy_are_ignored(trusting_nobody: tuple[int, int]) -> None:
    assert transport_security(trusting_nobody[0]) is None


def test_headers_of_a_trusted_proxy_are_used(two_workers: int) -> None:
    assert transport_security(two_workers) == "max-age=31536000"


def peak_kib(process: int) -> int:
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        pytest.skip("the memory of another process is read from /proc")
    return int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0])


def test_a_worker_takes_as_much_memory_as_is_documented(trusting_nobody: tuple[int, int]) -> None:
    assert "takes some 200 MB" in (ROOT / "docs" / "hosting.md").read_text("utf-8")
    port, worker = trusting_nobody
    fetch(port, "/lessons/quantization")
    assert peak_kib(worker) * 1024 < 250e6


@pytest.mark.parametrize(("method", "status"), [("POST", 405), ("PUT", 405), ("GET", 413)])
@pytest.mark.parametrize("length", ["Content-Length: 1073741824", "Transfer-Encoding: chunked"])
def test_gigabyte_body_is_refused_unread(
    trusting_nobody: tuple[int, int], method: str, status: int, length: str
) -> None:
    port, process = trusting_nobody
    before = peak_kib(process)
    piece = b"f0000\r\n" + b"x" * 0xF0000 + b"\r\n"
    sent = 0
    with socket.create_connection(("127.0.0.1", port), LIMIT) as client:
        client.sendall(f"{method} /lessons/quantization HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n".encode())
        assert int(client.recv(65536).split(b" ")[1]) == status
        with contextlib.suppress(ConnectionError):
            while sent < 2**30:
                client.sendall(piece)
                sent += len(piece)
    assert sent < 2**26  # what fits into the buffers before the connection is closed
    assert peak_kib(process) - before < 2**14


@pytest.mark.parametrize(
    "address",
    [
        "/static/{}/../pyproject.toml",
        "/static/{}/..%2fpyproject.toml",
        "/static/{}/%2e%2e/pyproject.toml",
        "/static/{}/%252e%252e%252fpyproject.toml",
        "/static/{}/..%5cpyproject.toml",
        "/static/{}/icon.svg%00",
        "/static/{}/%00",
        "/static/{}//etc/passwd",
        "/static/{}/%2fetc%2fpasswd",
        "/static/{}/js/../../app/main.py",
        "/static/{}/vendor/",
        "/static/{}/" + "a" * 300,
        "/lessons/..%2fpyproject.toml",
        "//elsewhere.invalid/static/{}/icon.svg",
    ],
)
def test_no_address_leaves_the_static_folder(trusting_nobody: tuple[int, int], address: str) -> None:
    address = address.format(assets.version())
    fetch(trusting_nobody[0], f"/static/{assets.version()}/icon.svg")  # files of this version are sent
    # Our own connection: clients normalise such addresses.
    with socket.create_connection(("127.0.0.1", trusting_nobody[0]), LIMIT) as client:
        client.sendall(f"GET {address} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert client.recv(65536).startswith(b"HTTP/1.1 404 ")


def test_a_link_that_leaves_the_static_folder_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "static"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("")
    (folder / "inside.txt").write_text("")
    (folder / "outside.txt").symlink_to(tmp_path / "secret.txt")
    monkeypatch.setattr(assets, "STATIC", folder)
    assert list(assets.static_files.__wrapped__()) == ["inside.txt"]


@pytest.mark.parametrize(
    "lines",
    [
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET / HTTP/1.1\r\nX: a\x00b\r\n\r\n",
        "GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT elsewhere.invalid:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00",
    ],
)
def test_non_page_requests_are_refused(trusting_nobody: tuple[int, int], lines: str) -> None:
    with socket.create_connection(("127.0.0.1", trusting_nobody[0]), LIMIT) as client:
        client.sendall(lines.encode("latin-1"))
        assert client.recv(65536).startswith(b"HTTP/1.1 4")


def test_log_has_path_and_status_and_no_traceback_and_stop_is_graceful() -> None:
    port = free_port()
    process = start(port)
    try:
        wait(port, process)
        fetch(port, "/lessons/quantization/figures/sentence.csv?sentence=a+secret")
        head = "POST /lessons/quantization/figures/rtn HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
        head += "Content-Type: application/x-www-form-urlencoded\r\n\r\nown.text=1"
        with socket.create_connection(("127.0.0.1", port), LIMIT) as client:
            client.sendall(head.encode())
            time.sleep(0.2)
        fetch(port, "/healthz")
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode in (0, -signal.SIGTERM)
    assert re.search(
        r"^\d{4}-\d\d-\d\dT[\d:.]+\+00:00 GET /lessons/quantization/figures/sentence.csv 200$", output, re.M
    )
    assert "secret" not in output
    assert "Traceback" not in output
    assert not re.search(rf"127\.0\.0\.1:(?!{port})", output)


def test_limit_of_open_files_is_raised_and_printed() -> None:
    """Of a minimal application, which `scripts/serve.py` starts likewise."""
    port = free_port()
    program = (
        "import resource, runpy; resource.setrlimit(resource.RLIMIT_NOFILE, {}); "
        "runpy.run_path({!r}, run_name='__main__')"
    )
    for limits, said in (
        ((64, 1056), "1056 files: 640 connections"),
        ((64, 9000), "5256 files: 4000 connections"),
    ):
        process = subprocess.Popen(
            [sys.executable, "-c", program.format(limits, str(ROOT / "bench" / "hello.py"))],
            env=os.environ | {"PORT": str(port), "HOST": "127.0.0.1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            wait(port, process, "/")
        finally:
            process.terminate()
            output, _ = process.communicate(timeout=LIMIT)
        assert said in output
