"""A slow, disorderly or broken line between a browser and the lesson's server: a relay on loopback.

    with SlowLine("http://127.0.0.1:8000", round_trip=0.1) as line:
        page.goto(f"{line.url}/lessons/quantization")
        line.cut()                # every connection is reset, new ones are refused
        line.heal()               # the same URL works again

It runs in its own thread, so that code without asyncio can use it. It relays bytes and assumes only that a
connection carries one request at a time, as browsers use HTTP/1.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

HOST = "127.0.0.1"
CHUNK = 65536
BACKLOG = 1024
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: a socket that is closed tells its other end at once and drops what it has not sent."""


class SlowLine:
    """A line to `target` whose delays may be changed while it is in use.

    Parameters
    ----------
    target
        Address of the server, such as `http://127.0.0.1:8000`.
    round_trip
        Seconds of a round trip: each byte is delayed by half of it, and a new connection by one more before
        its first byte, like TCP's handshake.
    jitter
        Longest extra delay of a response in seconds: each gets a random one, uniform between 0 and this.
        Responses on different connections can then arrive in another order than their requests.
    seed
        Seed of the jitter, which is drawn in the order of the requests.
    """

    def __init__(self, target: str, *, round_trip: float = 0.0, jitter: float = 0.0, seed: int = 0) -> None:
        server = urlsplit(target)
        self.server = server.hostname or HOST, server.port or 80
        self.round_trip = round_trip
        self.jitter = jitter
        self.passed = 0  # requests so far
        self.holds = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="slow-line", daemon=True)
        self._open: dict[asyncio.Task[None], socket.socket] = {}
        self._listener: socket.socket | None = None
        # Bound but never listening: this reserves the port while the line is cut.
        self._port = _socket()

    @property
    def url(self) -> str:
        """URL of this end of the line."""
        return f"http://{HOST}:{self._port.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._port.bind((HOST, 0))
        self._thread.start()
        self.heal()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._port.close()

    def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        self._run(self._cut())

    def heal(self) -> None:
        """Accept new connections again."""
        self._run(self._heal())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _heal(self) -> None:
        if self._listener is None:
            self._listener = _socket()
            self._listener.bind(self._port.getsockname())
            self._listener.listen(BACKLOG)
            self._loop.add_reader(self._listener, self._accept, self._listener)

    async def _cut(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        broken = list(self._open)
        for connection in broken:
            self._open[connection].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            connection.cancel()
        await asyncio.gather(*broken, return_exceptions=True)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it may be closed already
            near, _ = listener.accept()
            near.setblocking(False)
            connection = self._loop.create_task(self._connect(near))
            self._open[connection] = near
            connection.add_done_callback(lambda done: self._open.pop(done).close())

    async def _connect(self, near: socket.socket) -> None:
        """Relay a connection until one of its ends closes."""
        ends: list[asyncio.StreamWriter] = []
        try:
            reader, writer = await asyncio.open_connection(sock=near)
            ends.append(writer)
            far_reader, far_writer = await asyncio.open_connection(*self.server)
            ends.append(far_writer)
            exchange = _Exchange(self)
            async with asyncio.TaskGroup() as ways:
                ways.create_task(_relay(reader, far_writer, exchange.request_delay))
                ways.create_task(_relay(far_reader, writer, exchange.response_delay))
        except* OSError:
            pass  # one end is closed: close the other too
        finally:
            for end in ends:
                end.transport.abort()


def _socket() -> socket.socket:
    """A socket with a shared port (SO_REUSEPORT)."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.setblocking(False)
    return made


class _Exchange:
    """The current exchange on one connection, and the delay of its next bytes."""

    def __init__(self, line: SlowLine) -> None:
        self.line = line
        self.handshake = line.round_trip
        self.held = 0.0
        self.asked = False

    def request_delay(self) -> float:
        """Delay of bytes that a browser sends; the first also draws the jitter of the response."""
        if not self.asked:
            self.asked = True
            self.line.passed += 1
            self.held = self.line.holds.uniform(0, self.line.jitter)
        delay, self.handshake = self.handshake + self.line.round_trip / 2, 0.0
        return delay

    def response_delay(self) -> float:
        """Delay of bytes that the server sends."""
        self.asked = False
        return self.held + self.line.round_trip / 2


async def _relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: Callable[[], float]
) -> None:
    """Relay each piece after its delay, in order."""
    clock = asyncio.get_running_loop().time
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        piece = b"any"
        while piece:
            due, piece = await under_way.get()
            await asyncio.sleep(due - clock())
            if piece:
                writer.write(piece)
                await writer.drain()
        with contextlib.suppress(OSError):  # the other end may be closed already
            writer.write_eof()

    async with asyncio.TaskGroup() as both:
        both.create_task(deliver())
        due, piece = 0.0, b"any"
        while piece:
            piece = await reader.read(CHUNK)  # end of the stream
            if piece:
                due = max(due, clock() + delay())
            under_way.put_nowait((due, piece))
