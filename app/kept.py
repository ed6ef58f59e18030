"""Answers that were made once, kept: a view is pure, so the same state never has to be drawn twice.

Each worker keeps its own, bounded in bytes; nothing else depends on what is kept, so workers agree without
talking. An answer is made in a thread beside the event loop, once however many ask for it, and only so many
may wait: a worker that is asked for more than it can compute says so at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor

from app.body import Body

THREADS = 2  # they share one interpreter: more would only take turns
MOST_WAITING = 512  # different answers under way, some ten milliseconds each; past it a worker is busy


class Busy(Exception):
    """More answers are being made than may wait for each other."""


class Kept:
    """Bodies by key; where room is needed, the one asked for longest ago gives way.

    Parameters
    ----------
    most_bytes
        Of all bodies together, each in the form in which it was made. One that is also asked for as gzip
        holds that form too, so the memory taken is at most about twice as much.
    """

    def __init__(self, most_bytes: int, most_waiting: int = MOST_WAITING) -> None:
        self.most_bytes = most_bytes
        self.most_waiting = most_waiting
        self.bytes = 0
        self._bodies: OrderedDict[Hashable, Body] = OrderedDict()
        self._lock = threading.Lock()
        self._under_way: dict[Hashable, asyncio.Future[Body]] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="answers")

    async def get(self, key: Hashable, make: Callable[[], Body]) -> Body:
        """The body of a key, made by `make` if it is not here.

        Raises
        ------
        Busy
            When it would have to be made and too many others are waiting already.
        """
        body = self.find(key)
        if body is not None:
            return body
        if key not in self._under_way:
            if len(self._under_way) >= self.most_waiting:
                raise Busy
            making = asyncio.get_running_loop().run_in_executor(self._threads, self.now, key, make)
            self._under_way[key] = making
            making.add_done_callback(lambda _: self._under_way.pop(key))
        return await asyncio.shield(self._under_way[key])  # who gives up does not stop it for the others

    def now(self, key: Hashable, make: Callable[[], Body]) -> Body:
        """The body of a key, made in this thread if it is not here."""
        body = self.find(key)
        if body is None:
            body = make()
            self.put(key, body)
        return body

    def find(self, key: Hashable) -> Body | None:
        """The body of a key, or None."""
        with self._lock:
            body = self._bodies.get(key)
            if body is not None:
                self._bodies.move_to_end(key)
            return body

    def put(self, key: Hashable, body: Body) -> None:
        """Keep a body, in place of another one of this key."""
        with self._lock:
            replaced = self._bodies.pop(key, None)
            self.bytes += body.size - (replaced.size if replaced else 0)
            self._bodies[key] = body
            while self.bytes > self.most_bytes:
                _, oldest = self._bodies.popitem(last=False)
                self.bytes -= oldest.size

    def close(self) -> None:
        """Let the threads go; what is under way is finished."""
        self._threads.shutdown(wait=False, cancel_futures=True)
