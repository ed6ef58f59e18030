"""Connections that cannot be held for ever: uvicorn's protocol, with the limits that it leaves to a proxy.

uvicorn closes a connection that rests between two requests, and no other. Here a request must also come
within a time and a size, head and body together, and its answer must be taken within a time. Above the limit
of connections, of all or of one client, a resting one gives way; where none of all rests, one of the client
with most of them; otherwise the newest is told to come again. Proxies that are trusted may have as many as
there are: they speak for others.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections import Counter
from typing import Any, ClassVar, TypeGuard
from weakref import WeakKeyDictionary

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.middleware.proxy_headers import _TrustedHosts
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from app.errors import RETRY_AFTER
from app.queue import client_of
from app.security import DATA_POLICY, HEADERS

REQUEST_BYTES = 256 * 1024
HEAD_BYTES = 64 * 1024  # of it; the application takes less, and says so
PIPELINED = 4
"""Requests that may come before an earlier one is answered. Browsers send none; each costs memory."""
REQUEST_SECONDS = 10.0
ANSWER_SECONDS = 120.0
"""The largest file, compressed, takes less than half of this on a slow mobile connection (50 kbit/s)."""
CLIENT_CONNECTIONS = int(os.environ.get("CLIENT_CONNECTIONS") or 2000)
"""Of one address, or one network of IPv6, in a worker: a class behind one router has about so many."""
MAPPED = "::ffff:"
"""How an address of IPv4 begins on a socket for IPv6; TRUSTED_PROXIES name it without."""
SPARE = 1.25
"""Up to how many times a limit connections are told that they are too many; beyond it they are dropped."""


class BoundedHttp(HttpToolsProtocol):
    """One connection of a client. `limit_concurrency` of uvicorn's settings is its number of connections."""

    request_bytes = REQUEST_BYTES
    head_bytes = HEAD_BYTES
    request_seconds = REQUEST_SECONDS
    answer_seconds = ANSWER_SECONDS
    client_connections = CLIENT_CONNECTIONS
    counts: ClassVar[WeakKeyDictionary[ServerState, Counter[str]]] = WeakKeyDictionary()
    """Connections of each client, for each server of this process."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.most_connections, self.limit_concurrency = self.limit_concurrency, None
        self.of_client = self.counts.setdefault(self.server_state, Counter())
        self.counted_as: str | None = None
        self.received = 0  # bytes of the request that is coming in
        self.in_head = False
        self.request_timer: asyncio.TimerHandle | None = None
        self.answer_timer: asyncio.TimerHandle | None = None

    # uvicorn narrows the type of asyncio's own method in the same way
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.client and self.client[0].startswith(MAPPED):  # a socket for IPv6 that takes IPv4 too
            self.client = (self.client[0].removeprefix(MAPPED), self.client[1])
        self._await_request()
        client = None if self._is_proxy() else client_of(self.client[0] if self.client else "")
        if client is not None:
            self.counted_as = client
            self.of_client[client] += 1
            if self.of_client[client] > self.client_connections:
                self._make_room(self.of_client[client], self.client_connections, client)
        if self.most_connections is not None and len(self.connections) > self.most_connections:
            self._make_room(len(self.connections), self.most_connections)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.counted_as is not None:
            self.of_client[self.counted_as] -= 1
            if not self.of_client[self.counted_as]:
                del self.of_client[self.counted_as]
            self.counted_as = None
        self._forget_request()
        self._forget_answer()
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
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
        self._await_answer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.received = 0
        self._forget_request()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.get_write_buffer_size():
            self._forget_answer()
        if not self.cycle.response_complete:  # a request that came before its turn
            self._await_answer()
            if self.request_timer is None and self.cycle.more_body:
                self._await_request()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, unless other answers are due first: it would be taken for one."""
        if self.pipeline:
            self.transport.close()
        else:
            super().send_400_response(msg)

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
        """Say why in a status line alone: whoever sends such a head does not read pages."""
        self.transport.write(STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()

    def _is_proxy(self) -> bool:
        """Whether this connection comes from a proxy that is believed; uvicorn decides by the same test."""
        if not self.config.proxy_headers or not self.client:
            return False
        return self.client[0] in trusted(str(self.config.forwarded_allow_ips))

    def _make_room(self, count: int, most: int, client: str | None = None) -> None:
        """There are more than may be, of all or of one client: close one that rests, or refuse this one."""
        resting = next((other for other in self.connections if rests(other, client)), None)
        if resting is not None:
            resting.transport.close()
        elif client is None and (one := self._of_heaviest()):
            one.transport.abort()
        elif count > SPARE * most:
            self.transport.abort()
        else:
            self.app = crowded if client is None else crowded_by_one

    def _of_heaviest(self) -> BoundedHttp | None:
        """A connection of the client with most of them, if it has more than this connection's."""
        heaviest = max(self.of_client, key=self.of_client.__getitem__, default="")
        if self.of_client[heaviest] <= self.of_client[self.counted_as or ""] + 1:
            return None
        return next((other for other in self.connections if is_of(other, heaviest)), None)


@functools.cache
def trusted(hosts: str) -> _TrustedHosts:
    return _TrustedHosts(hosts)


def rests(connection: object, client: str | None = None) -> bool:
    """Tell whether a connection, of this client where one is named, waits for its next request."""
    return (
        isinstance(connection, BoundedHttp)
        and (client is None or is_of(connection, client))
        and connection.timeout_keep_alive_task is not None
        and not connection.transport.is_closing()
    )


def is_of(connection: object, client: str) -> TypeGuard[BoundedHttp]:
    """Tell whether an open connection is one of this client."""
    return (
        isinstance(connection, BoundedHttp)
        and connection.counted_as == client
        and not connection.transport.is_closing()
    )


async def crowded(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer to a connection too many."""
    await _refusal(503, "Many readers are here at once. Try again in a moment.\n")(scope, receive, send)


async def crowded_by_one(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer to a connection too many of one client."""
    await _refusal(429, "Too many connections from one address. Try again in a moment.\n")(
        scope, receive, send
    )


def _refusal(status: int, words: str) -> PlainTextResponse:
    own = {"Retry-After": str(RETRY_AFTER), "Connection": "close", "Content-Security-Policy": DATA_POLICY}
    return PlainTextResponse(words, status, HEADERS | own)
