"""Connections that cannot be held for ever: uvicorn's protocol, with the limits that it leaves to a proxy.

uvicorn closes a connection that rests between two requests, and no other. Here a request must also come
within a time and a size, head and body together, and its answer must be taken within
a time. Above the limit of connections a resting one gives way; when none rests, the newest is told to come
again.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.errors import RETRY_AFTER
from app.security import DATA_POLICY, HEADERS

REQUEST_BYTES = 128 * 1024
REQUEST_SECONDS = 10.0
ANSWER_SECONDS = 120.0
"""The largest file, compressed, takes less than half of this on a slow mobile connection (50 kbit/s)."""


class BoundedHttp(HttpToolsProtocol):
    """One connection of a client. `limit_concurrency` of uvicorn's settings is its number of connections."""

    request_bytes = REQUEST_BYTES
    request_seconds = REQUEST_SECONDS
    answer_seconds = ANSWER_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.most_connections, self.limit_concurrency = self.limit_concurrency, None
        self.received = 0  # bytes of the request that is coming in
        self.in_head = False
        self.request_timer: asyncio.TimerHandle | None = None
        self.answer_timer: asyncio.TimerHandle | None = None

    # uvicorn narrows the type of asyncio's own method in the same way
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_request()
        if self.most_connections is not None and len(self.connections) > self.most_connections:
            self._make_room(self.most_connections)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_request()
        self._forget_answer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self.request_timer is None:
            self._await_request()
        super().data_received(data)
        if self.received > self.request_bytes and not self.transport.is_closing():
            self._refuse_size()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.in_head = True
        if self.request_timer is None:  # it came together with the one before
            self._await_request()

    def on_headers_complete(self) -> None:
        self.in_head = False
        self._forget_answer()
        self.answer_timer = self.loop.call_later(self.answer_seconds, self._answer_late)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.received = 0
        self._forget_request()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.get_write_buffer_size():
            self._forget_answer()

    def _await_request(self) -> None:
        self.request_timer = self.loop.call_later(self.request_seconds, self._request_late)

    def _forget_request(self) -> None:
        if self.request_timer is not None:
            self.request_timer.cancel()
            self.request_timer = None

    def _forget_answer(self) -> None:
        if self.answer_timer is not None:
            self.answer_timer.cancel()
            self.answer_timer = None

    def _request_late(self) -> None:
        if self.in_head:
            self._end(408)
        elif self.answer_timer is None:
            self.transport.close()
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

    def _make_room(self, most: int) -> None:
        resting = next((other for other in self.connections if rests(other)), None)
        if resting is not None:
            resting.transport.close()
        elif len(self.connections) > 2 * most:
            self.transport.abort()
        else:
            self.app = crowded


def rests(connection: object) -> bool:
    """Tell whether a connection waits for its next request."""
    return (
        isinstance(connection, HttpToolsProtocol)
        and connection.timeout_keep_alive_task is not None
        and not connection.transport.is_closing()
    )


async def crowded(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer to a connection too many."""
    own = {"Retry-After": str(RETRY_AFTER), "Connection": "close", "Content-Security-Policy": DATA_POLICY}
    answer = PlainTextResponse("Many readers are here at once. Try again in a moment.\n", 503, HEADERS | own)
    await answer(scope, receive, send)
