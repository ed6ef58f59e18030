"""Limits on connections: uvicorn's HTTP protocol with the timeouts and sizes that it leaves to a proxy.

uvicorn closes a connection that rests between two requests, and no other. Here a request must also come
within a time and a size, head and body together, and its answer must be taken within a time. Above the limit
of connections, of all or of one client, a resting one gives way; where none of all rests, one of the client
with most of them; otherwise the newest is refused. One client may also have only so many requests of which
the body is still missing. Proxies that are trusted may have as many as there are: they speak for others.

A refused connection costs little: nothing it sends is parsed, and it is told so only after some seconds, so
that a client that tries again at once is slow.
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from uvicorn.middleware.proxy_headers import _TrustedHosts
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from app.http.clients import client_of
from app.http.errors import RETRY_AFTER
from app.http.refusals import announces_body
from app.http.security import DATA_POLICY, HEADERS

REQUEST_BYTES = 256 * 1024
HEAD_BYTES = 64 * 1024  # of it; the application takes less, and says so
PIPELINED = 4
"""Requests that may come before an earlier one is answered. Browsers send none; each costs memory."""
REQUEST_SECONDS = 10.0
ANSWER_SECONDS = 120.0
"""The largest file, compressed, takes less than half of this on a slow mobile connection (50 kbit/s)."""
UNTAKEN_BYTES = 16 * 1024
"""Of an answer, that the transport holds before the next piece waits, and that the kernel holds unsent."""
CLIENT_CONNECTIONS = int(os.environ.get("CLIENT_CONNECTIONS") or 2000)
"""Of one address, or one network of IPv6, in a worker: a class behind one router has about so many."""
MAPPED = "::ffff:"
"""How an address of IPv4 begins on a socket for IPv6; TRUSTED_PROXIES name it without."""
INCOMPLETE_REQUESTS = 256
"""Of one client, with a head that has come and a body that has not. A body usually comes with its head."""
SPARE = 1.25
"""Up to how many times a limit connections are told that they are too many; beyond it they are dropped."""
REFUSED_SECONDS = 5.0
"""After which a connection that is too many is told so."""


@dataclass(slots=True)
class Client:
    """The connections that one client has open."""

    connections: OrderedDict[BoundedHttp, None] = field(default_factory=OrderedDict)
    resting: OrderedDict[BoundedHttp, None] = field(default_factory=OrderedDict)
    incomplete: int = 0  # requests of which the body is missing


@dataclass(slots=True)
class Clients:
    """The clients of one server, and the connections of all that wait for a next request, oldest first."""

    by_name: dict[str, Client] = field(default_factory=dict)
    resting: OrderedDict[BoundedHttp, None] = field(default_factory=OrderedDict)


class BoundedHttp(HttpToolsProtocol):
    """One connection of a client. `limit_concurrency` of uvicorn's settings is its number of connections."""

    request_bytes = REQUEST_BYTES
    head_bytes = HEAD_BYTES
    request_seconds = REQUEST_SECONDS
    answer_seconds = ANSWER_SECONDS
    client_connections = CLIENT_CONNECTIONS
    incomplete_requests = INCOMPLETE_REQUESTS
    refused_seconds = REFUSED_SECONDS
    of_servers: ClassVar[WeakKeyDictionary[ServerState, Clients]] = WeakKeyDictionary()
    """The clients of each server of this process."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.most_connections, self.limit_concurrency = self.limit_concurrency, None
        self.clients = self.of_servers.setdefault(self.server_state, Clients())
        self.counted_as: str | None = None
        self.received = 0  # bytes of the request that is coming in
        self.in_head = False
        self.incomplete = False  # whether its body is missing
        self.refusal = b""  # what is answered to anything that comes
        self.request_timer: asyncio.TimerHandle | None = None
        self.answer_timer: asyncio.TimerHandle | None = None

    # uvicorn narrows the type of asyncio's own method in the same way
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        hold_little(transport)
        if self.client and self.client[0].startswith(MAPPED):  # a socket for IPv6 that takes IPv4 too
            self.client = (self.client[0].removeprefix(MAPPED), self.client[1])
        self._await_request()
        if not self._is_proxy():
            self.counted_as = client_of(self.client[0] if self.client else "")
            client = self.clients.by_name.setdefault(self.counted_as, Client())
            client.connections[self] = None
            if len(client.connections) > self.client_connections:
                self._make_room_of_client(client)
        if self.most_connections is not None and len(self.connections) > self.most_connections:
            self._make_room(self.most_connections)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_connection()
        self._forget_request()
        self._forget_answer()
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self.refusal:
            if self.received > self.request_bytes:
                self.transport.abort()
            return
        if self.request_timer is None:
            self._await_request()
        super().data_received(data)
        most = self.head_bytes if self.in_head else self.request_bytes
        if self.received > most and not self.transport.is_closing():
            self._refuse_size()

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= PIPELINED:
            raise ValueError("too many requests before an answer")  # the parser stops: see below
        super().on_message_begin()
        self.in_head = True
        if self.request_timer is None:  # it came together with the one before
            self._await_request()

    def on_headers_complete(self) -> None:
        self.in_head = False
        if self.refusal:
            return
        self._set_incomplete(announces_body(self.headers))
        if self.incomplete and (client := self._of_client()) and client.incomplete > self.incomplete_requests:
            self._refuse(TOO_MANY_OF_CLIENT)
            return
        self._await_answer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self.refusal:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._set_incomplete(False)
        if self.refusal:
            return
        super().on_message_complete()
        self.received = 0
        self._forget_request()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None:
            self.clients.resting[self] = None
            if client := self._of_client():
                client.resting[self] = None
        if not self.transport.get_write_buffer_size():
            self._forget_answer()
        if not self.cycle.response_complete:  # a request that came before its turn
            self._await_answer()
            if self.request_timer is None and self.cycle.more_body:
                self._await_request()

    def send_400_response(self, msg: str) -> None:
        """Answer an invalid request, unless other responses are due: the client would take this for one."""
        if self.pipeline:
            self.transport.close()
        else:
            super().send_400_response(msg)

    def _unset_keepalive_if_required(self) -> None:
        super()._unset_keepalive_if_required()
        self._forget_rest()

    def _of_client(self) -> Client | None:
        """The open connections of its client; None for a proxy."""
        return None if self.counted_as is None else self.clients.by_name.get(self.counted_as)

    def _forget_rest(self) -> None:
        self.clients.resting.pop(self, None)
        if client := self._of_client():
            client.resting.pop(self, None)

    def _set_incomplete(self, incomplete: bool) -> None:
        if incomplete != self.incomplete:
            self.incomplete = incomplete
            if client := self._of_client():
                client.incomplete += 1 if incomplete else -1

    def _forget_connection(self) -> None:
        """Stop counting it: it is closed, or about to be."""
        self._forget_rest()
        self._set_incomplete(False)
        if client := self._of_client():
            client.connections.pop(self, None)
            if not client.connections:
                del self.clients.by_name[str(self.counted_as)]
        self.counted_as = None

    def _await_request(self) -> None:
        self.request_timer = self.loop.call_later(self.request_seconds, self._request_late)

    def _forget_request(self) -> None:
        if self.request_timer is not None:
            self.request_timer.cancel()
            self.request_timer = None

    def _await_answer(self) -> None:
        self._forget_answer()
        self.answer_timer = self.loop.call_later(self.answer_seconds, self._answer_late)

    def _forget_answer(self) -> None:
        if self.answer_timer is not None:
            self.answer_timer.cancel()
            self.answer_timer = None

    def _request_late(self) -> None:
        self.request_timer = None
        if self.in_head:
            self._end(408)
        elif self.answer_timer is None:
            self.transport.close()
        elif self.cycle.more_body and not self.cycle.response_started and not self.pipeline:
            self._end(408)
        else:  # an answer is on its way, and its own time runs
            self.cycle.keep_alive = False

    def _refuse_size(self) -> None:
        if self.in_head:
            self._end(431)
        elif self.answer_timer is None or self.cycle.response_complete:
            self.transport.close()  # while an answer is made, uvicorn holds back what comes in

    def _answer_late(self) -> None:
        if not self.cycle.response_complete or self.transport.get_write_buffer_size():
            self.transport.abort()

    def _end(self, status: int) -> None:
        """Send a status line without a page, which the sender of such a head would not read."""
        self.transport.write(STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()

    def _is_proxy(self) -> bool:
        """Whether this connection comes from a trusted proxy; uvicorn uses the same test."""
        if not self.config.proxy_headers or not self.client:
            return False
        return self.client[0] in trusted(str(self.config.forwarded_allow_ips))

    def _make_room_of_client(self, client: Client) -> None:
        """Its client has too many connections: close an idle one, or refuse this one."""
        if client.resting:
            next(iter(client.resting))._end_rest()
        elif len(client.connections) > SPARE * self.client_connections:
            self.transport.abort()
        else:
            self._refuse(TOO_MANY_OF_CLIENT)

    def _make_room(self, most: int) -> None:
        """There are too many connections: close an idle one, or one of the client with the most."""
        own = self._of_client()
        heaviest = max(self.clients.by_name.values(), key=lambda client: len(client.connections), default=own)
        if self.clients.resting:
            next(iter(self.clients.resting))._end_rest()
        elif heaviest and len(heaviest.connections) > 1 + (len(own.connections) if own else 0):
            dropped = next(iter(heaviest.connections))
            dropped._forget_connection()
            dropped.transport.abort()
        elif len(self.connections) > SPARE * most:
            self.transport.abort()
        else:
            self._refuse(TOO_MANY)

    def _end_rest(self) -> None:
        self._forget_rest()
        self.transport.close()

    def _refuse(self, refusal: bytes) -> None:
        """Stop parsing, and send this refusal later."""
        self.refusal = refusal
        self._forget_request()
        self.request_timer = self.loop.call_later(self.refused_seconds, self._tell_refusal)

    def _tell_refusal(self) -> None:
        if self.received and (self.answer_timer is None or self.cycle.response_complete):
            self.transport.write(self.refusal)
        self.transport.close()


def hold_little(transport: asyncio.Transport) -> None:
    """Keep the buffers of a connection small: unsent bytes wait in the cache, which all connections share."""
    transport.set_write_buffer_limits(UNTAKEN_BYTES)
    open_socket = transport.get_extra_info("socket")
    if open_socket.family != socket.AF_UNIX and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        open_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNTAKEN_BYTES)


@functools.cache
def trusted(hosts: str) -> _TrustedHosts:
    return _TrustedHosts(hosts)


def _refusal(status: int, words: str) -> bytes:
    """A complete response, made once."""
    own = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(words)),
        "Cache-Control": "no-store",
        "Retry-After": str(RETRY_AFTER),
        "Connection": "close",
        "Content-Security-Policy": DATA_POLICY,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in (HEADERS | own).items())
    return STATUS_LINE[status] + f"{lines}\r\n{words}".encode()


TOO_MANY = _refusal(503, "Many readers are here at once. Try again in a moment.\n")
TOO_MANY_OF_CLIENT = _refusal(429, "Too many connections from one address. Try again in a moment.\n")
