"""Call the application through ASGI, without an HTTP client."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

Message = MutableMapping[str, Any]


@dataclass(frozen=True)
class Request:
    method: str
    address: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def __str__(self) -> str:
        return f"{self.method} {self.address} {dict(self.headers)} ({len(self.body)} bytes of body)"


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


async def ask(
    app: Callable[..., Awaitable[None]],
    request: Request,
    client: str = "127.0.0.1",
    before_disconnect: Callable[[], Awaitable[None]] | None = None,
) -> Answer:
    """Call the application as a server does: the path decoded once, the query unchanged."""
    path, _, query = request.address.partition("?")
    answer = Answer()
    waiting = [{"type": "http.request", "body": request.body, "more_body": False}]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in request.headers],
        "client": (client, 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }

    async def receive() -> Message:
        if waiting:
            return waiting.pop()
        if before_disconnect is not None:
            await before_disconnect()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {
                name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]
            }
        else:
            answer.body += message.get("body", b"")

    try:
        await app(scope, receive, send)
    except Exception as error:  # Starlette has sent a 500 and raises the error for the server's log
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    return answer
