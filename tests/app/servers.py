"""Start the lesson's server in a separate process, as `make run` does, and stop it."""

from __future__ import annotations

import contextlib
import http.client
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
LIMIT = 120  # seconds that only a failure takes


_held: list[socket.socket] = []


def free_port() -> int:
    """A port reserved for a server that is about to start.

    It stays bound without listening: servers set `SO_REUSEADDR` and can still bind it.
    """
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind(("127.0.0.1", 0))
    _held.append(probe)
    return int(probe.getsockname()[1])


def start(port: int, root: Path = ROOT, /, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, root / "scripts" / "serve.py"],
        env=os.environ | {"PORT": str(port), "HOST": "127.0.0.1", "ACADEMY_CLASSES": "off"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def fetch(port: int, path: str) -> bytes:
    # A new connection each time, so that the kernel can give it to any worker.
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Connection": "close"})
    with urllib.request.urlopen(request, timeout=LIMIT) as answer:
        return bytes(answer.read())


def wait(port: int, process: subprocess.Popen[str], path: str = "/readyz") -> None:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end and process.poll() is None:
        try:
            fetch(port, path)
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
        else:
            return
    pytest.fail("the server did not get ready")


@contextlib.contextmanager
def serving(root: Path = ROOT, /, **environment: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A ready server: its port and its process."""
    port = free_port()
    process = start(port, root, **environment)
    try:
        wait(port, process, environment.get("ACADEMY_ROOT_PATH", "") + "/readyz")
        yield port, process
    finally:
        print(stop(process))  # shown if a test fails


def stop(process: subprocess.Popen[str]) -> str:
    """Stop a server and return its output."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.communicate(timeout=LIMIT)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def workers_of(pid: int) -> list[int]:
    """The worker processes of a server."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        pytest.skip("the children of a process are read from /proc")


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def until(true: object, seconds: float = LIMIT) -> bool:
    """Whether a condition becomes true in time."""
    assert callable(true)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return bool(true())
