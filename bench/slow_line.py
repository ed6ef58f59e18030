"""A slow, disorderly or broken line between a browser and the lesson's server: a relay on loopback.

    with SlowLine("http://127.0.0.1:8000", round_trip=0.1) as line:
        page.goto(f"{line.url}/lessons/quantization")
        line.cut()                # every connection is reset, new ones are refused
        line.heal()               # the same address works again

It runs in a thread of its own, so that code without asyncio can use it. It relays bytes and knows of HTTP no
more than that a connection carries one request at a time, as browsers use HTTP/1.1.
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
    """A line to `target` whose two times may be changed while it is in use.

    Parameters
    ----------
    target
        Address of the server, such as `http://127.0.0.1:8000`.
    round_trip
        Seconds for the way there and back: each byte takes half of it, and a new connection takes one more
        before its first byte, as TCP's handshake does.
    jitter
        Seconds by which a response may be held back: each by a time of its own, even between 0 and this.
        Responses on different connections then arrive in another order than their requests left in.
    seed
        Of these times, which are drawn in the order in which the requests pass.
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
        # Bound but never listening: it keeps the port ours while the line is cut.
        self._port = _socket()

    @property
    def url(self) -> str:
        """Address of this end of the line."""
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
        """Reset every connection, whatever is on its way, and refuse new ones."""
        self._run(self._cut())

    def heal(self) -> None:
        """Let new connections through again."""
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
        with contextlib.suppress(OSError):  # it may have gone again
            near, _ = listener.accept()
            near.setblocking(False)
            connection = self._loop.create_task(self._connect(near))
            self._open[connection] = near
            connection.add_done_callback(lambda done: self._open.pop(done).close())

    async def _connect(self, near: socket.socket) -> None:
        """Relay a connection for as long as both of its ends last."""
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
            pass  # an end has gone: so the other goes too
        finally:
            for end in ends:
                end.transport.abort()


def _socket() -> socket.socket:
    """A socket that shares its port with others like it."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.setblocking(False)
    return made


class _Exchange:
    """What is under way on one connection, and so how long its next bytes take."""

    def __init__(self, line: SlowLine) -> None:
        self.line = line
        self.handshake = line.round_trip
        self.held = 0.0
        self.asked = False

    def request_delay(self) -> float:
        """Delay of bytes that a browser sends; with the first of a request goes the draw for its answer."""
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
    """Pass on what arrives, each piece after its delay and never before the piece ahead of it."""
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
        with contextlib.suppress(OSError):  # the other end may have closed meanwhile
            writer.write_eof()

    async with asyncio.TaskGroup() as both:
        both.create_task(deliver())
        due, piece = 0.0, b"any"
        while piece:
            piece = await reader.read(CHUNK)  # nothing at its end
            if piece:
                due = max(due, clock() + delay())
            under_way.put_nowait((due, piece))
