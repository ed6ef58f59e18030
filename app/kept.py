"""Answers that were made once, kept: a view is pure, so the same state never has to be drawn twice.

Each worker keeps its own, bounded in bytes; nothing else depends on what is kept, so workers agree without
talking. An answer is made in a thread beside the event loop, once however many ask for it, and only so many
may wait: a worker that is asked for more than it can compute says so at once. What somebody looks at goes
before what a page only fetches ahead, and a busy worker leaves that out.
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
MOST_AHEAD = 4  # the same of what is fetched ahead, some hundred milliseconds each
GIVES_WAY = 0.05  # seconds, at most, that a piece of what is fetched ahead waits for what is waited for
MOST_TYPED_WAITING = 48  # answers to what readers typed, a twentieth of a second each, for one of them alone


class Busy(Exception):
    """More answers are being made than may wait for each other."""


class Crowded(Busy):
    """The same of answers to what readers typed, which wait in a line of their own."""


class Kept:
    """Bodies by key; where room is needed, the one asked for longest ago gives way.

    Parameters
    ----------
    most_waiting, most_typed_waiting
        Answers under way at a time. What was typed is nobody else's and has a thread of its own, so that the
        other figures never wait behind it.
    most_bytes
        Of all bodies together, each in the form in which it was made. One that is also asked for as gzip
        holds that form too, so the memory taken is at most about twice as much.
    """

    def __init__(
        self,
        most_bytes: int,
        most_waiting: int = MOST_WAITING,
        most_typed_waiting: int = MOST_TYPED_WAITING,
    ) -> None:
        self.most_bytes = most_bytes
        self.most_waiting = most_waiting
        self.most_typed_waiting = most_typed_waiting
        self.bytes = 0
        self._bodies: OrderedDict[Hashable, Body] = OrderedDict()
        self._lock = threading.Lock()
        self._under_way: dict[Hashable, asyncio.Future[Body]] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="answers")
        self._thread_ahead = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._typed_thread = ThreadPoolExecutor(1, thread_name_prefix="typed")
        self._ahead = 0
        self._typed = 0
        self._waited_for = 0
        self._nobody_waits = threading.Event()
        self._nobody_waits.set()

    async def get(self, key: Hashable, make: Callable[[], Body], *, typed: bool = False) -> Body:
        """The body of a key, made by `make` if it is not here.

        Raises
        ------
        Busy
            When it would have to be made and too many others are waiting already; Crowded, if it was `typed`.
        """
        body = self.find(key)
        if body is not None:
            return body
        if key not in self._under_way:
            if typed:
                return await self._get_typed(key, make)
            if self._waited_for >= self.most_waiting:
                raise Busy
            self._waited_for += 1
            self._nobody_waits.clear()
            self._make(self._threads, key, make, self._one_waits_less)
        return await asyncio.shield(self._under_way[key])  # who gives up does not stop it for the others

    async def _get_typed(self, key: Hashable, make: Callable[[], Body]) -> Body:
        if self._typed >= self.most_typed_waiting:
            raise Crowded
        self._typed += 1
        self._make(self._typed_thread, key, make, self._one_typed_less)
        return await asyncio.shield(self._under_way[key])

    async def get_ahead(self, key: Hashable, make: Callable[[], Body]) -> Body | None:
        """The body of a key that nobody looks at yet, or None: the worker has better things to do."""
        body = self.find(key)
        if body is not None:
            return body
        if key not in self._under_way:
            if self._ahead >= MOST_AHEAD:
                return None
            self._ahead += 1
            self._make(self._thread_ahead, key, make, self._one_ahead_less)
        return await asyncio.shield(self._under_way[key])

    async def fresh(self, make: Callable[[], Body], *, typed: bool = False) -> Body:
        """An answer of which nothing is kept, made like the others in a thread and in its turn.

        Raises
        ------
        Busy
            When too many others are waiting already; Crowded, if it was `typed`.
        """
        if typed:
            return await self._fresh_typed(make)
        if self._waited_for >= self.most_waiting:
            raise Busy
        self._waited_for += 1
        self._nobody_waits.clear()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, make)
        finally:
            self._one_waits_less()

    async def _fresh_typed(self, make: Callable[[], Body]) -> Body:
        if self._typed >= self.most_typed_waiting:
            raise Crowded
        self._typed += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._typed_thread, make)
        finally:
            self._one_typed_less()

    def give_way(self) -> None:
        """Between two pieces of what is made ahead: let what is waited for go first."""
        self._nobody_waits.wait(GIVES_WAY)

    def _make(
        self, threads: ThreadPoolExecutor, key: Hashable, make: Callable[[], Body], done: Callable[[], None]
    ) -> None:
        def end(_: asyncio.Future[Body]) -> None:
            self._under_way.pop(key)
            done()

        self._under_way[key] = asyncio.get_running_loop().run_in_executor(threads, self.now, key, make)
        self._under_way[key].add_done_callback(end)

    def _one_waits_less(self) -> None:
        self._waited_for -= 1
        if not self._waited_for:
            self._nobody_waits.set()

    def _one_typed_less(self) -> None:
        self._typed -= 1

    def _one_ahead_less(self) -> None:
        self._ahead -= 1

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
        for threads in (self._threads, self._thread_ahead, self._typed_thread):
            threads.shutdown(wait=False, cancel_futures=True)
