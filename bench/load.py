"""Generate load: keep-alive connections on uvloop, one request at a time on each."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop

CONNECTIONS = 16


@dataclass
class Load:
    """The results: milliseconds of each response, failures, and the CPU time of the generator."""

    seconds: float = 0.0
    asker_seconds: float = 0.0  # CPU seconds of the generator
    times: list[float] = field(default_factory=list)
    failures: int = 0

    @property
    def rate(self) -> float:
        """Responses per second."""
        return len(self.times) / self.seconds if self.seconds else float("nan")


class Connection(asyncio.Protocol):
    """A browser's connection: sends a request and reports status and size of the complete response."""

    def __init__(self, answered: Callable[[int, int], None], lost: Callable[[], None]) -> None:
        self.answered = answered
        self.lost = lost
        self.parser = httptools.HttpResponseParser(self)
        self.transport: asyncio.Transport | None = None
        self.size = 0

    async def connect(self, url: str, client: str = "") -> None:
        """Connect, from the given address if any."""
        server = urlsplit(url)
        loop = asyncio.get_running_loop()
        own = (client, 0) if client else None
        await loop.create_connection(
            lambda: self, server.hostname or "127.0.0.1", server.port or 80, local_addr=own
        )

    @property
    def open(self) -> bool:
        return self.transport is not None

    def ask(self, request: bytes) -> None:
        assert self.transport is not None
        self.transport.write(request)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self.lost()

    def on_message_begin(self) -> None:
        self.size = 0

    def on_body(self, body: bytes) -> None:
        self.size += len(body)

    def on_message_complete(self) -> None:
        self.answered(self.parser.get_status_code(), self.size)


async def ask(url: str, path: str, client: str, patience: float) -> int:
    """The status of a response on a new connection, 0 for none."""
    loop = asyncio.get_running_loop()
    answered = loop.create_future()

    def tell(status: int, _size: int = 0) -> None:
        if not answered.done():
            answered.set_result(status)

    connection = Connection(tell, lambda: tell(0))
    try:
        await connection.connect(url, client)
        connection.ask(request(path))
        return int(await asyncio.wait_for(answered, patience))
    except (OSError, TimeoutError):
        return 0
    finally:
        connection.close()


def request(path: str, **headers: str) -> bytes:
    """A GET as a browser sends it; `If_None_Match=…` adds that header."""
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Accept-Encoding: gzip, deflate, br, zstd"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def hammer(
    url: str,
    requests: Sequence[bytes],
    seconds: float,
    *,
    repeat: bool = True,
    connections: int = CONNECTIONS,
    status: int = 200,
) -> Load:
    """Send the requests, repeatedly or once each, until time is up and the last responses have arrived."""
    return uvloop.run(_hammer(url, _pending(requests, seconds, repeat), connections, status))


async def _hammer(url: str, pending: Iterator[bytes], connections: int, status: int) -> Load:
    load = Load()
    asked = [_Asker(pending, status, load) for _ in range(connections)]
    for asker in asked:
        await asker.connection.connect(url)
    start, own = time.perf_counter(), time.process_time()
    for asker in asked:
        asker.next()
    await asyncio.gather(*(asker.done for asker in asked))
    load.seconds, load.asker_seconds = time.perf_counter() - start, time.process_time() - own
    for asker in asked:
        asker.connection.close()
    return load


def _pending(requests: Sequence[bytes], seconds: float, repeat: bool) -> Iterator[bytes]:
    end = time.perf_counter() + seconds
    for one in itertools.cycle(requests) if repeat else requests:
        if time.perf_counter() >= end:
            return
        yield one


class _Asker:
    """Sends the next request after each response."""

    def __init__(self, pending: Iterator[bytes], status: int, load: Load) -> None:
        self.pending = pending
        self.status = status
        self.load = load
        self.done = asyncio.get_running_loop().create_future()
        self.connection = Connection(self._answered, self._lost)
        self.since = 0.0

    def next(self) -> None:
        following = next(self.pending, None)
        if following is None:
            self.done.set_result(None)
        else:
            self.since = time.perf_counter()
            self.connection.ask(following)

    def _answered(self, status: int, size: int) -> None:
        self.load.times.append(1000 * (time.perf_counter() - self.since))
        self.load.failures += status != self.status
        self.next()

    def _lost(self) -> None:
        if not self.done.done():
            self.load.failures += 1
            self.done.set_result(None)
