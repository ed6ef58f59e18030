"""Hosting: workers agree, a stop is graceful, and a wrong setting is one line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 60  # seconds


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(port: int, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, ROOT / "scripts" / "serve.py"],
        env=os.environ | {"PORT": str(port), "HOST": "127.0.0.1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def fetch(port: int, path: str) -> bytes:
    # A connection of its own each time, so that the kernel may hand it to any worker.
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Connection": "close"})
    with urllib.request.urlopen(request, timeout=LIMIT) as answer:
        return bytes(answer.read())


def wait(port: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end and process.poll() is None:
        try:
            fetch(port, "/readyz")
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the server did not get ready")


@pytest.fixture(scope="module")
def two_workers() -> Iterator[int]:
    port = free_port()
    process = start(port, WORKERS="2", TRUSTED_PROXIES="")
    try:
        wait(port, process)
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=LIMIT)


@pytest.mark.parametrize(
    "path", ["/lessons/quantization/figures/gptq?step=9", "/lessons/quantization?rtn.bits=5"]
)
def test_two_workers_give_the_same_bytes(two_workers: int, path: str) -> None:
    assert len({fetch(two_workers, path) for _ in range(12)}) == 1


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("PORT", "http", "1 to 65535"),
        ("WORKERS", "0", "1 to 64"),
        ("ACADEMY_FRAGMENT_CACHE", "many", "fragment_cache"),
    ],
)
def test_a_wrong_setting_is_named(setting: str, value: str, words: str) -> None:
    process = start(free_port(), **{setting: value})
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode != 0
    assert words in output


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
    """What the server promises to a request of which a proxy says that it came over https."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/healthz", headers={"X-Forwarded-Proto": "https", "Connection": "close"}
    )
    with urllib.request.urlopen(request, timeout=LIMIT) as answer:
        sent: str | None = answer.headers["Strict-Transport-Security"]
        return sent


def test_a_proxy_is_not_believed_when_it_is_not_named(two_workers: int) -> None:
    assert transport_security(two_workers) is None


def test_a_named_proxy_is_believed_and_a_stop_is_graceful_and_quiet() -> None:
    port = free_port()
    process = start(port, TRUSTED_PROXIES="127.0.0.1")
    try:
        wait(port, process)
        assert transport_security(port) == "max-age=31536000"
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in output
