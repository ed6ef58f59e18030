"""The slow line that bench and browser tests share. A time is a lower bound: no busy machine can break it."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from bench.slow_line import SlowLine

LARGE = 3_000_000  # bytes: more than the buffers on the way hold


class Echo(BaseHTTPRequestHandler):
    """Answers with its own path, or with many bytes."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = bytes(range(250)) * (LARGE // 250) if self.path == "/large" else self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that was cut is what these tests want."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with Server(("127.0.0.1", 0), Echo) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def connect(line: SlowLine) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(urlsplit(line.url).netloc, timeout=20)
    connection.connect()
    return connection


def get(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    return connection.getresponse().read()


def test_bytes_pass_unchanged_and_a_connection_is_kept(server: str) -> None:
    with SlowLine(server) as line:
        connection = connect(line)
        assert get(connection, "/first") == b"/first"
        assert get(connection, "/large") == bytes(range(250)) * (LARGE // 250)
        connection.close()


def test_a_round_trip_takes_its_time_and_a_new_connection_two(server: str) -> None:
    with SlowLine(server, round_trip=0.06) as line:
        start = time.monotonic()
        connection = connect(line)
        get(connection, "/first")
        first = time.monotonic()
        get(connection, "/second")
        assert first - start >= 0.12
        assert time.monotonic() - first >= 0.06
        connection.close()


def test_the_times_can_be_changed_in_use(server: str) -> None:
    with SlowLine(server) as line:
        connection = connect(line)
        get(connection, "/quick")
        line.round_trip = 0.05
        start = time.monotonic()
        get(connection, "/slow")
        assert time.monotonic() - start >= 0.05
        connection.close()


@pytest.mark.parametrize(("seed", "order"), [(15, ["second", "first"]), (55, ["first", "second"])])
def test_the_seed_decides_in_which_order_responses_arrive(server: str, seed: int, order: list[str]) -> None:
    """The two draws of these seeds lie far apart."""
    came: list[str] = []
    with SlowLine(server, jitter=0.3, seed=seed) as line:
        connections = {name: connect(line) for name in ("first", "second")}
        for count, (name, connection) in enumerate(connections.items(), start=1):
            connection.request("GET", f"/{name}")
            while line.passed < count:
                time.sleep(0.001)
        threads = [threading.Thread(target=note, args=(c, came)) for c in connections.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert came == order


def note(connection: http.client.HTTPConnection, came: list[str]) -> None:
    """Write down which answer it was when it has come."""
    came.append(connection.getresponse().read().decode().removeprefix("/"))
    connection.close()


def test_a_cut_line_resets_what_is_under_way_and_refuses_what_is_new(server: str) -> None:
    with SlowLine(server, round_trip=30) as line:
        waiting = connect(line)
        waiting.request("GET", "/never-answered")
        line.cut()
        with pytest.raises(ConnectionResetError):
            waiting.getresponse()
        waiting.close()
        with pytest.raises(ConnectionRefusedError):
            connect(line)


def test_a_healed_line_has_the_same_address(server: str) -> None:
    with SlowLine(server) as line:
        before = line.url
        line.cut()
        line.cut()
        line.heal()
        line.heal()
        connection = connect(line)
        assert get(connection, "/again") == b"/again"
        assert line.url == before
        connection.close()


def test_a_server_that_is_away_looks_like_a_broken_connection() -> None:
    with SlowLine("http://127.0.0.1:1") as line:
        connection = connect(line)
        with pytest.raises((ConnectionError, http.client.BadStatusLine)):
            get(connection, "/")
        connection.close()


def test_nothing_listens_after_the_end(server: str) -> None:
    with SlowLine(server) as line:
        address = urlsplit(line.url)
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection(address.netloc).connect()
