"""Workers are forked from one process, replaced, stopped in time, and never outlive it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.server import supervisor
from tests.app.servers import LIMIT, ROOT, fetch, free_port, gone, serving, stop, until, wait, workers_of

SMALL = """
import asyncio, pathlib, signal, socket, sys, time
sys.path.insert(0, {root!r})
import uvicorn
from app.server import supervisor
from app.server.supervisor import Server, Supervisor
from starlette.responses import PlainTextResponse

supervisor.PAUSE = 0.1
supervisor.HANGS_AFTER, supervisor.GRACE, supervisor.KILLED_AFTER = {seconds}
stopping = []

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        if pathlib.Path({fails!r}).exists():
            raise OSError("no reason")
        while True:
            message = await receive()
            await send({{"type": message["type"] + ".complete"}})
            if message["type"] == "lifespan.shutdown":
                return
            print("started\\n", end="", flush=True)  # one write, whatever PYTHONUNBUFFERED says
    if scope["path"] != "/":
        print("begun\\n", end="", flush=True)
    if scope["path"] == "/hang":
        time.sleep(60)
    if scope["path"] == "/waits":
        while not pathlib.Path({goes_on!r}).exists():
            await asyncio.sleep(0.05)
    if scope["path"] == "/interval":
        await PlainTextResponse(str(sys.getswitchinterval()))(scope, receive, send)
        return
    await PlainTextResponse("stopping" if stopping else "done")(scope, receive, send)

if {no_news!r}:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
listening = socket.create_server(("127.0.0.1", {port}))

def server(sign):
    config = uvicorn.Config(
        app, timeout_graceful_shutdown=supervisor.GRACE, log_level="error", lifespan="on"
    )
    return Server(config, sign, lambda: stopping.append(True))

sys.exit(Supervisor({workers}, server, [listening]).run())
"""

HANGS_AFTER = 5.0  # of a worker that is to be replaced; longer than any delay of a busy machine
NOWHERE = Path("/nowhere")


@contextlib.contextmanager
def small(
    workers: int = 1,
    *,
    fails: Path = NOWHERE,
    goes_on: Path = NOWHERE,
    no_news: bool = False,
    hangs_after: float = LIMIT,
    grace: tuple[float, float] = (supervisor.GRACE, supervisor.KILLED_AFTER),
) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A supervisor of a small application, which hangs or waits on request.

    It does not start while there is a file `fails`, and waits until there is a file `goes_on`. `no_news`:
    whoever started it ignores ends of processes.
    """
    port = free_port()
    seconds, files = (hangs_after, *grace), {"fails": str(fails), "goes_on": str(goes_on)}
    code = SMALL.format(root=str(ROOT), port=port, workers=workers, no_news=no_news, seconds=seconds, **files)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield port, process
        finally:
            process.kill()


def asking(port: int, path: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), LIMIT)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


def answer(client: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := client.recv(65536):
            received += data
    client.close()
    return received


def says(process: subprocess.Popen[str], words: str) -> None:
    """Wait until a server prints these words."""
    assert process.stdout
    assert any(words in line for line in process.stdout)


def all_workers(port: int, process: subprocess.Popen[str], number: int) -> list[int]:
    """Wait until all workers have started and one responds."""
    for _ in range(number):
        says(process, "started")
    wait(port, process, "/")
    return workers_of(process.pid)


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), LIMIT).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("no_news", [False, True])
def test_a_worker_that_is_killed_is_replaced(no_news: bool) -> None:
    with small(workers=2, no_news=no_news) as (port, process):
        before = all_workers(port, process, 2)
        os.kill(before[0], signal.SIGKILL)
        assert until(lambda: len(set(workers_of(process.pid)) - {before[0]}) == 2)
        assert fetch(port, "/") == b"done"
        assert before[1] in workers_of(process.pid)


def test_computing_threads_do_not_block_the_event_loop() -> None:
    with small() as (port, process):
        all_workers(port, process, 1)
        assert float(fetch(port, "/interval")) == pytest.approx(supervisor.SWITCH_SECONDS)


def test_a_worker_that_hangs_is_replaced() -> None:
    with small(hangs_after=HANGS_AFTER) as (port, process):
        (before,) = all_workers(port, process, 1)
        with asking(port, "/hang"):
            assert until(lambda: before not in workers_of(process.pid))
            wait(port, process, "/")


def test_server_ends_if_no_worker_can_start() -> None:
    with small(workers=2, fails=ROOT) as (_, process):
        output, _ = process.communicate(timeout=LIMIT)
        assert process.returncode == 1
        assert "A worker cannot start" in output


def test_other_workers_continue_if_one_cannot_be_replaced(tmp_path: Path) -> None:
    fails = tmp_path / "fails"
    with small(workers=2, fails=fails) as (port, process):
        before = all_workers(port, process, 2)
        fails.touch()
        os.kill(before[0], signal.SIGKILL)
        says(process, "status 3")
        assert fetch(port, "/") == b"done"
        fails.unlink()
        assert until(lambda: len(set(workers_of(process.pid)) - {before[0]}) == 2)
        assert fetch(port, "/") == b"done"
        assert before[1] in workers_of(process.pid)


def test_failed_fork_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    keeping = supervisor.Supervisor(1, lambda _: pytest.fail("a worker here"), [])
    monkeypatch.setattr(supervisor, "PAUSE", 0)

    def fork() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(BlockingIOError):  # at the start no other worker runs
        keeping._fill_places()
    keeping._served = True
    keeping._fill_places()
    assert keeping._empty == [0]
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(supervisor.STOPS)


def test_workers_suspended_with_their_supervisor_are_not_killed() -> None:
    with small(workers=2, hangs_after=HANGS_AFTER) as (port, process):
        workers = all_workers(port, process, 2)
        for pid in (process.pid, *workers):
            os.kill(pid, signal.SIGSTOP)
        time.sleep(HANGS_AFTER + 1)
        for pid in (process.pid, *workers):
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.3)  # the supervisor may check before they can report
        assert fetch(port, "/") == b"done"
        assert workers_of(process.pid) == workers


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_stop_with_their_supervisor(workers: int) -> None:
    with small(workers) as (port, process):
        orphans = all_workers(port, process, workers)
        process.kill()
        process.wait()
        assert until(lambda: all(gone(pid) for pid in orphans))
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), LIMIT)


def test_stop_finishes_open_requests_and_accepts_no_more(tmp_path: Path) -> None:
    with small(goes_on=tmp_path / "file", grace=(2 * LIMIT, 3 * LIMIT)) as (port, process):
        wait(port, process, "/")
        open_one = asking(port, "/waits")
        says(process, "begun")
        process.send_signal(signal.SIGTERM)
        assert until(lambda: refused(port))
        (tmp_path / "file").touch()
        assert answer(open_one).endswith(b"stopping")
        process.wait(LIMIT)
        assert process.returncode == 0


@pytest.mark.parametrize("path", ["/waits", "/hang"])
def test_stop_takes_at_most_ten_seconds(path: str) -> None:
    """Here for as little as one or two, so that the test need not wait either."""
    assert supervisor.GRACE < supervisor.KILLED_AFTER < 10
    with small(grace=(1, 2)) as (port, process):
        wait(port, process, "/")
        with asking(port, path):
            says(process, "begun")
            process.send_signal(signal.SIGTERM)
            process.wait(LIMIT / 2)  # before what hangs would end by itself


def test_ctrl_c_in_a_terminal_stops_the_server() -> None:
    with small(workers=2) as (port, process):
        workers = all_workers(port, process, 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 0
        assert all(gone(pid) for pid in workers)


# --- the lesson itself --------------------------------------------------------------------------------------

ADDRESSES = [
    "/lessons/quantization",
    "/lessons/quantization/figures/rtn?bits=5",
    "/lessons/quantization/summary",
    "/lessons/quantization/code/quant_core.methods.rtn.round_to_nearest",
    "/accessibility",
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project files that a server reads."""
    without = shutil.ignore_patterns("*.pyc.*")  # being written
    for folder in ("app", "lessons", "quant_core", "templates", "static"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=without)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "serve.py", tmp_path / "scripts")
    return tmp_path


def test_server_uses_the_files_of_its_start(copy: Path, client: TestClient) -> None:
    """As after `git pull`: without earlier requests, and with a replaced worker."""
    with serving(copy, ACADEMY_MAKE_AHEAD="0") as (port, process):
        ready = fetch(port, "/readyz")
        version = ready.decode().split('"version":"')[1][:16]
        sheets = [
            f"/static/{version}/{name}"
            for name in ("lesson.css", "workshop.css", "js/page/share.js", "icon.svg")
        ]
        plain = {"Accept-Encoding": "identity"}
        expected = {address: client.get(address, headers=plain).content for address in [*ADDRESSES, *sheets]}
        for path in copy.rglob("*"):
            if path.suffix in (".py", ".md", ".toml", ".jinja", ".css", ".js", ".svg", ".json", ".br"):
                path.write_text("!changed!")
            elif path.suffix in (".safetensors", ".npy"):
                path.write_bytes(b"changed")
        (worker,) = workers_of(process.pid)
        os.kill(worker, signal.SIGKILL)
        assert until(lambda: workers_of(process.pid) not in ([], [worker]))
        assert fetch(port, "/readyz") == ready
        for address, body in expected.items():
            assert fetch(port, address) == body, address


def test_start_is_refused_if_files_change_meanwhile(copy: Path) -> None:
    module = copy / "lessons" / "quantization" / "questions.py"  # imported with its lesson
    change = 'open(__file__.replace("questions.py", "more.py"), "w").write("")'
    module.write_text(module.read_text() + f"\n{change}\n")
    with subprocess.Popen(
        [sys.executable, copy / "scripts" / "serve.py"],
        env=os.environ | {"PORT": str(free_port())},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        output = stop_when_over(process)
    assert process.returncode == 1
    assert output == "Files of the lesson were changed while they were read: start it again.\n"


def stop_when_over(process: subprocess.Popen[str]) -> str:
    try:
        return process.communicate(timeout=LIMIT)[0]
    finally:
        stop(process)
