"""Limits of connections, tested on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.cache.response import PIECE, Unpacked, response_with
from app.http.connections import PIPELINED, SPARE, UNTAKEN_BYTES, BoundedHttp
from tests.app.servers import until

CONNECTIONS = 4
LARGE = 16 * 1024 * 1024  # more than the buffers of both ends
WAIT = 20  # seconds until a test gives up
Connect = Callable[..., socket.socket]


class Quick(BoundedHttp):
    """Limits small enough to be reached in a test."""

    request_bytes = head_bytes = 4096
    request_seconds = 0.4
    answer_seconds = 0.8
    refused_seconds = 0.1


class Patient(Quick):
    request_seconds = answer_seconds = WAIT


working, gone, release = threading.Event(), threading.Event(), threading.Event()


async def answers(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/slow":
        working.set()
        await asyncio.sleep(0.5)
    if scope["path"] == "/held":
        while not release.is_set():
            await asyncio.sleep(0.01)
    if scope["path"] == "/form":
        try:
            await Request(scope, receive).body()
        except ClientDisconnect:
            gone.set()
            return
    await PlainTextResponse("x" * LARGE if scope["path"] == "/large" else "done")(scope, receive, send)


@contextlib.contextmanager
def serving(
    http: type[BoundedHttp] = Quick,
    listening: socket.socket | None = None,
    app: ASGIApp = answers,
    **settings: Any,
) -> Iterator[tuple[uvicorn.Server, int]]:
    settings = {"limit_concurrency": CONNECTIONS, "log_config": None} | settings
    config = uvicorn.Config(app, port=0, http=http, ws="none", lifespan="off", **settings)
    listening = listening or socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield server, listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(WAIT)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving() as (_, port):
        yield port


@contextlib.contextmanager
def connecting(port: int) -> Iterator[Connect]:
    """Return a function that opens a connection and sends the start of a request."""
    with contextlib.ExitStack() as open_ones:

        def opened(start: bytes = b"") -> socket.socket:
            client = open_ones.enter_context(socket.create_connection(("127.0.0.1", port), WAIT))
            with contextlib.suppress(ConnectionError):  # an excess connection may be dropped already
                client.sendall(start)
            return client

        yield opened


@pytest.fixture
def connect(port: int) -> Iterator[Connect]:
    with connecting(port) as opened:
        yield opened


@pytest.fixture
def connect_slowly() -> Iterator[Connect]:
    """As `connect`, to a server with limits that a busy machine does not reach."""
    with serving(Patient) as (_, port), connecting(port) as opened:
        yield opened


def get(path: str = "/") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def status(client: socket.socket) -> int:
    return int(client.recv(65536).split(b" ")[1])


def until_closed(client: socket.socket) -> bytes:
    """Everything that the server sends before it closes the connection; a timeout fails the test."""
    received = []
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(1 << 20):
            received.append(data)
    return b"".join(received)


def keep_sending(client: socket.socket, piece: bytes, most: int, pause: float = 0) -> int:
    """Send until the server closes the connection; return the number of bytes sent."""
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < most:
            client.sendall(piece)
            sent += len(piece)
            time.sleep(pause)
    return sent


def test_a_silent_connection_is_closed(connect: Connect) -> None:
    assert until_closed(connect()) == b""


def test_slowly_sent_head_is_refused(connect: Connect) -> None:
    client = connect(b"GET / HTTP/1.1\r\nX: ")
    assert keep_sending(client, b"a", most=100, pause=0.05) < 100
    assert until_closed(client).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("before", [b"", get()])
def test_empty_lines_are_not_a_request(connect: Connect, before: bytes) -> None:
    client = connect(before)
    if before:
        assert status(client) == 200
    assert keep_sending(client, b"\r\n", most=100, pause=0.05) < 100
    flooding = connect(before)
    assert keep_sending(flooding, b"\r\n" * 1000, most=LARGE) < LARGE


def test_upgrade_to_another_protocol_is_ignored(connect: Connect) -> None:
    client = connect(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    assert status(client) == 200
    client.sendall(get())
    assert status(client) == 200


def test_endless_head_is_refused(connect: Connect) -> None:
    client = connect(b"GET / HTTP/1.1\r\nX: ")
    keep_sending(client, b"a" * 1000, most=8000)
    assert until_closed(client).startswith(b"HTTP/1.1 431 ")


def test_endless_body_gets_a_response_and_is_closed(connect: Connect) -> None:
    client = connect(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert status(client) == 200
    assert keep_sending(client, b"3e8\r\n" + b"a" * 1000 + b"\r\n", most=LARGE) < LARGE


def test_missing_body_gets_a_response(connect: Connect) -> None:
    client = connect(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\na")
    assert until_closed(client).endswith(b"done")


POST = b"POST /form HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"


@pytest.mark.parametrize(
    "start", [POST, POST + b"12345", POST.replace(b"Host", b"Expect: 100-continue\r\nHost")]
)
def test_body_has_the_same_time_limit_as_a_head(connect: Connect, start: bytes) -> None:
    gone.clear()
    begun = time.monotonic()
    ended = until_closed(connect(start)).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert ended.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in ended
    assert time.monotonic() - begun < 10 * Quick.request_seconds  # on a busy machine
    assert gone.wait(WAIT)


def test_slowly_sent_body_is_refused(connect: Connect) -> None:
    client = connect(POST.replace(b"10", b"1000"))
    assert keep_sending(client, b"a", most=100, pause=0.05) < 100
    assert until_closed(client).startswith(b"HTTP/1.1 408 ")


def test_body_sent_in_time_is_read(connect_slowly: Connect) -> None:
    client = connect_slowly(POST)
    time.sleep(Quick.request_seconds)
    client.sendall(b"0123456789")
    assert status(client) == 200
    client.sendall(POST + b"0123456789")
    assert status(client) == 200


def test_pipelined_request_has_the_same_time_for_its_body(connect: Connect) -> None:
    client = connect(get("/slow") + POST)
    received = until_closed(client)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in received


def test_response_that_is_not_read_is_aborted(connect: Connect) -> None:
    client = connect(get("/large"))
    time.sleep(3 * Quick.answer_seconds)
    assert len(until_closed(client)) < LARGE


UNPACKED = bytes(4 * LARGE)
PACKED = gzip.compress(UNPACKED)


def test_decompressed_response_is_sent_in_pieces_as_the_client_reads() -> None:
    async def answers(scope: Scope, receive: Receive, send: Send) -> None:
        length = str(len(UNPACKED)).encode()
        await response_with(Unpacked(PACKED), 200, [(b"content-length", length)])(scope, receive, send)

    with serving(Patient, app=answers) as (server, port), connecting(port) as connect:
        client = connect(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        assert client.recv(1)

        def held() -> list[int]:
            return [each.transport.get_write_buffer_size() for each in server.server_state.connections]

        assert until(lambda: max(held()) > 0)  # the buffers of both ends are full
        assert max(held()) <= UNTAKEN_BYTES + PIECE
        assert until_closed(client).endswith(UNPACKED)


def test_response_that_is_not_read_does_not_fill_kernel_buffers() -> None:
    async def answers(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(bytes(LARGE))(scope, receive, send)

    with serving(Patient, app=answers) as (server, port), connecting(port) as connect:
        client = connect(get())
        head = client.recv(1)
        (connection,) = server.server_state.connections
        # The rest is in transit, bounded by the receive window.
        assert until(lambda: connection.transport.get_write_buffer_size() > LARGE / 2)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            own = connection.transport.get_extra_info("socket")
            assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == UNTAKEN_BYTES
        while head.count(b"\0") < LARGE:
            head += client.recv(1 << 20)


def test_computing_and_idle_time_do_not_count_as_a_slow_request(connect: Connect) -> None:
    client = connect(get("/slow"))
    assert status(client) == 200  # later than the limit of a request
    time.sleep(Quick.request_seconds + 0.1)
    client.sendall(get())
    assert status(client) == 200


def test_idle_connection_is_closed_after_the_limit() -> None:
    with (
        serving(timeout_keep_alive=1) as (_, port),
        socket.create_connection(("127.0.0.1", port), WAIT) as client,
    ):
        client.sendall(get())
        assert until_closed(client).endswith(b"done")  # and before the timeout of this end


def test_idle_connection_is_closed_for_a_new_one(connect: Connect) -> None:
    resting = [connect(get()) for _ in range(CONNECTIONS)]
    assert [status(client) for client in resting] == [200] * CONNECTIONS
    assert status(connect(get())) == 200


def test_excess_connection_gets_retry_after(connect_slowly: Connect) -> None:
    release.clear()
    busy = [connect_slowly(get("/held")) for _ in range(CONNECTIONS)]
    told = until_closed(connect_slowly(get()))
    release.set()
    assert told.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: " in told.lower()
    assert [status(client) for client in busy] == [200] * CONNECTIONS


def test_without_idle_connections_the_client_with_most_loses_one() -> None:
    with serving(Patient, proxy_headers=False) as (_, port), contextlib.ExitStack() as opened:

        def connect(source: str) -> socket.socket:
            client = socket.create_connection(("127.0.0.1", port), WAIT, source_address=(source, 0))
            opened.enter_context(client)
            client.sendall(get("/held"))
            return client

        release.clear()
        heavy = [connect("127.0.0.1") for _ in range(CONNECTIONS - 1)]
        others = [connect("127.0.1.1"), connect("127.0.2.1")]  # the second one is one too many
        time.sleep(0.3)
        release.set()
        assert [status(client) for client in others] == [200, 200]
        assert sum(closed(client) for client in heavy) == 1


class FewIncomplete(Patient):
    """Few requests of a client with a missing body."""

    incomplete_requests = 3


def incomplete(server: uvicorn.Server) -> int:
    """The number of requests with an incomplete body."""
    clients = BoundedHttp.of_servers.get(server.server_state)
    return sum(client.incomplete for client in clients.by_name.values()) if clients else 0


def hold(server: uvicorn.Server, connect: Connect, count: int) -> list[socket.socket]:
    """Open requests without a body and wait until the server has seen them."""
    held = [connect(POST) for _ in range(count)]
    assert until(lambda: incomplete(server) == count)
    return held


def test_incomplete_requests_of_a_client_are_limited() -> None:
    with (
        serving(FewIncomplete, limit_concurrency=100, proxy_headers=False) as (server, port),
        connecting(port) as connect,
        socket.create_connection(("127.0.0.1", port), WAIT, source_address=("127.0.1.1", 0)) as other,
    ):
        held = hold(server, connect, FewIncomplete.incomplete_requests)
        told = until_closed(connect(POST + b"0123456789" + get()))
        assert told.startswith(b"HTTP/1.1 429 ")
        assert told.count(b"HTTP/1.1") == 1
        assert b"retry-after: " in told.lower()
        assert status(connect(get())) == 200  # it has no body to wait for
        other.sendall(POST + b"0123456789")
        assert status(other) == 200
        held[0].sendall(b"0123456789")
        assert status(held[0]) == 200
        assert status(connect(POST + b"0123456789")) == 200  # there is room again
        held[1].close()
        assert until(lambda: incomplete(server) == 1)


def test_incomplete_requests_of_a_trusted_proxy_are_not_limited() -> None:
    with (
        serving(
            FewIncomplete, limit_concurrency=100, proxy_headers=True, forwarded_allow_ips="127.0.0.1"
        ) as (_, port),
        connecting(port) as connect,
    ):
        held = [connect(POST) for _ in range(2 * FewIncomplete.incomplete_requests)]
        for client in held:
            client.sendall(b"0123456789")
        assert [status(client) for client in held] == [200] * len(held)


def test_input_of_a_refused_connection_is_dropped() -> None:
    with (
        serving(FewIncomplete, limit_concurrency=100, proxy_headers=False) as (server, port),
        connecting(port) as connect,
    ):
        hold(server, connect, FewIncomplete.incomplete_requests)
        refused = connect(POST.replace(b"10", b"99999999"))
        assert keep_sending(refused, b"a" * 1000, most=LARGE) < LARGE


def closed(client: socket.socket) -> bool:
    """Whether a connection was closed without a response."""
    try:
        return client.recv(65536) == b""
    except ConnectionResetError:
        return True


def test_connections_far_beyond_the_limit_are_dropped(connect_slowly: Connect) -> None:
    silent = [connect_slowly() for _ in range(int(SPARE * CONNECTIONS))]
    assert until_closed(connect_slowly(get())) == b""
    silent[0].sendall(get())
    assert status(silent[0]) == 200  # earlier connections get a response


def test_stop_finishes_the_current_response_and_does_not_wait_for_requests() -> None:
    with serving() as (server, port):
        silent, asking = (socket.create_connection(("127.0.0.1", port), WAIT) for _ in range(2))
        with silent, asking:
            working.clear()
            asking.sendall(get("/slow"))
            assert working.wait(WAIT)
            server.should_exit = True
            assert until_closed(asking).endswith(b"done")
            assert until_closed(silent) == b""


def test_pipelined_requests_are_limited(connect: Connect) -> None:
    client = connect(get("/slow") + get() * PIPELINED)
    received = client.recv(65536)
    while received.count(b"done") < 1 + PIPELINED:
        received += client.recv(65536)
    assert received.count(b"HTTP/1.1 200 ") == 1 + PIPELINED
    assert until_closed(connect(get("/slow") + get() * 1000)).count(b"HTTP/1.1") <= 1


def test_head_limit_is_below_request_limit() -> None:
    class ShortHeads(Patient):
        request_bytes, head_bytes = LARGE, 1000

    with serving(ShortHeads) as (_, port), connecting(port) as connect:
        assert until_closed(connect(b"GET / HTTP/1.1\r\nX: " + b"a" * 1000)).startswith(b"HTTP/1.1 431 ")
        form = POST.replace(b"10", b"2000") + b"a" * 2000
        assert status(connect(form)) == 200


def test_dual_stack_socket_reports_ipv4_addresses_as_ipv4() -> None:
    seen: list[BoundedHttp] = []

    class Seen(Patient):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            seen.append(self)

    try:
        listening = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    except (OSError, ValueError):
        pytest.skip("no IPv6 here")
    with (
        serving(Seen, listening=listening) as (_, port),
        socket.create_connection(("127.0.0.1", port), WAIT) as client,
    ):
        client.sendall(get())
        assert status(client) == 200
    assert [connection.client[0] for connection in seen if connection.client] == ["127.0.0.1"]


class FewOfOne(Patient):
    """Few connections of a client, many of all."""

    client_connections = 4


@pytest.mark.parametrize(
    ("settings", "status_of_next"),
    [
        ({}, 429),
        ({"proxy_headers": True, "forwarded_allow_ips": "192.0.2.1"}, 429),
        ({"proxy_headers": True, "forwarded_allow_ips": "127.0.0.0/24"}, 200),
        ({"proxy_headers": True, "forwarded_allow_ips": "*"}, 200),
    ],
)
def test_connections_are_limited_by_client_but_not_for_a_trusted_proxy(
    settings: dict[str, Any], status_of_next: int
) -> None:
    with (
        serving(FewOfOne, **{"proxy_headers": False, "limit_concurrency": 100} | settings) as (_, port),
        contextlib.ExitStack() as opened,
    ):

        def connect(start: bytes, source: str = "127.0.0.1") -> socket.socket:
            client = socket.create_connection(("127.0.0.1", port), WAIT, source_address=(source, 0))
            opened.enter_context(client)
            client.sendall(start)
            return client

        release.clear()
        busy = [connect(get("/held")) for _ in range(FewOfOne.client_connections)]
        assert status(connect(get())) == status_of_next
        assert status(connect(get(), source="127.0.1.1")) == 200  # another client
        release.set()
        assert [status(client) for client in busy] == [200] * len(busy)
        if status_of_next == 429:
            assert status(connect(get())) == 200  # an idle one was closed
