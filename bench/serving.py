"""Start the measured server: the lesson as `make run` starts it, or hello, the reference of ratios."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).resolve().parents[1]
START_LIMIT = 60  # seconds
STOP_LIMIT = 5
IDLE_FOR, IDLE_SHARE, IDLE_LIMIT = 3.0, 0.05, 600.0
LESSON = ROOT / "scripts" / "serve.py"
HELLO = ROOT / "bench" / "hello.py"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its URL and its main process."""

    url: str
    pid: int

    def cpu_seconds(self) -> float:
        """CPU seconds so far, including its workers; NaN without /proc."""
        try:
            return sum(_cpu_seconds(pid) for pid in _family(self.pid))
        except OSError:
            return float("nan")

    def wait_until_idle(self) -> None:
        """Wait until it has made its responses ahead."""
        end = time.monotonic() + IDLE_LIMIT
        while time.monotonic() < end:
            before = self.cpu_seconds()
            time.sleep(IDLE_FOR)
            if not self.cpu_seconds() - before > IDLE_SHARE * IDLE_FOR:
                return


@contextmanager
def lesson_server(
    workers: int = 1,
    *,
    make_ahead: bool = True,
    visited: bool = True,
    answers_folder: str = "",
    more: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Server]:
    """The lesson on a free port with its page rendered; with or without making responses ahead.

    Without classes, unless `more` settings say otherwise.
    """
    settings = {"ACADEMY_MAKE_AHEAD": str(make_ahead), "ACADEMY_ANSWERS_FOLDER": answers_folder}
    settings |= {"ACADEMY_CLASSES": "off", **more}
    with _serving(LESSON, workers, "/readyz", **settings) as server:
        for _ in range(4 * workers if visited else 0):  # enough for each worker to render the page once
            _get(f"{server.url}/lessons/quantization")
        yield server


@contextmanager
def hello_server(workers: int = 1) -> Iterator[Server]:
    """One route that returns five bytes: the cost of the framework alone."""
    with _serving(HELLO, workers, "/") as server:
        yield server


@contextmanager
def _serving(script: Path, workers: int, ready: str, **more: str) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"HOST": "127.0.0.1", "PORT": str(port), "WORKERS": str(workers), **more}
    process = subprocess.Popen(
        [sys.executable, script],
        env=os.environ | settings,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(f"{url}{ready}", process)
        yield Server(url, process.pid)
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end; kill it if its remaining work takes too long."""
    try:
        members = _family(process.pid)
    except OSError:
        members = [process.pid]
    process.terminate()
    try:
        process.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def _family(pid: int) -> list[int]:
    """A process and its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(member for child in children for member in _family(int(child)))]


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / os.sysconf("SC_CLK_TCK")


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end and process.poll() is None:
        try:
            _get(url)
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"{url} did not answer within {START_LIMIT} s")


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=START_LIMIT) as answer:
        return bytes(answer.read())
