"""Answers that were made once, kept: a view is pure, so the same state never has to be drawn twice.

Each worker keeps its own, bounded in bytes; nothing else depends on what is kept, so workers agree without
talking. An answer is made in a thread beside the event loop, once however many ask for it, and only so many
may wait: a worker that is asked for more than it can compute says so at once. What somebody looks at goes
before what a page only fetches ahead, and a busy worker leaves that out.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from app.cache.queue import Busy, FairQueue, Together
from app.cache.response import Body

T = TypeVar("T")

THREADS = 2  # they share one interpreter: more would only take turns
MOST_WAITING = 1024  # different answers that wait, some ten milliseconds each; past it a worker is busy
MOST_OWN_WAITING = 256  # the same of those to readers' own weights, whose bytes wait with them
MOST_AHEAD = 4  # the same of what is fetched ahead, some hundred milliseconds each
GIVES_WAY = 0.05  # seconds, at most, that a piece of what is fetched ahead waits for what is waited for
ENTRY_BYTES = 4096  # that a body takes besides its own: its key with the state, its headers
BATCH = 4  # answers to what readers typed that are prepared in one pass


class Kept:
    """Bodies by key; where room is needed, the one asked for longest ago gives way.

    Parameters
    ----------
    most_bytes
        Of all bodies together, each in the form in which it was made, with what it takes besides. One that is
        also asked for as gzip holds that form too, so the memory taken is at most about twice as much.
    most_waiting
        Answers that wait in each line. What was typed is nobody else's and has a thread of its own, so that
        the other figures never wait behind it.
    """

    def __init__(self, most_bytes: int, most_waiting: int = MOST_WAITING) -> None:
        self.most_bytes = most_bytes
        self.bytes = 0
        self._bodies: OrderedDict[Hashable, Body] = OrderedDict()
        self._lock = threading.Lock()
        self._looked_at = FairQueue("answers", THREADS, most_waiting)
        self._typed = FairQueue("typed", 1, most_waiting, batch=BATCH)
        self._own = FairQueue("own", 1, min(MOST_OWN_WAITING, most_waiting))
        self._read = FairQueue("read", 1, most_waiting)
        self._ahead = FairQueue("ahead", 1, MOST_AHEAD)

    async def get(
        self,
        key: Hashable,
        make: Callable[[], Body],
        *,
        typed: bool = False,
        together: Together | None = None,
    ) -> Body:
        """The body of a key, made by `make` if it is not here.

        Raises
        ------
        Busy
            When it would have to be made and too many others are waiting already.
        """
        body = self.find(key)
        if body is not None:
            return body
        queue = self._typed if typed else self._looked_at
        return await queue.do(key, lambda: self.now(key, make), together)

    async def get_ahead(self, key: Hashable, make: Callable[[], Body]) -> Body | None:
        """The body of a key that nobody looks at yet, or None: the worker has better things to do."""
        body = self.find(key)
        if body is not None:
            return body
        try:
            return await self._ahead.do(key, lambda: self.now(key, make))
        except Busy:
            return None

    async def fresh(
        self,
        make: Callable[[], Body],
        *,
        typed: bool = False,
        own: bool = False,
        together: Together | None = None,
    ) -> Body:
        """An answer of which nothing is kept, made like the others in a thread and in its turn.

        Raises
        ------
        Busy
            When too many others are waiting already.
        """
        queue = self._own if own else self._typed if typed else self._looked_at
        return await queue.do(object(), make, together)

    async def read(self, what: Callable[[], T]) -> T:
        """What a reader's input says, read beside the event loop and in its turn.

        Raises
        ------
        Busy
            When too many others are waiting already.
        """
        return await self._read.do(object(), what)

    def give_way(self) -> None:
        """Between two pieces of what is made ahead: let what is waited for go first."""
        self._looked_at.idle.wait(GIVES_WAY)

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
            self.bytes += _weight(body) - (_weight(replaced) if replaced else 0)
            self._bodies[key] = body
            while self.bytes > self.most_bytes:
                _, oldest = self._bodies.popitem(last=False)
                self.bytes -= _weight(oldest)

    def items(self) -> list[tuple[Any, Body]]:
        """All keys with their bodies."""
        with self._lock:
            return list(self._bodies.items())

    def close(self) -> None:
        """Let the threads go: what is begun is finished, what waits and what comes is refused."""
        for queue in (self._looked_at, self._typed, self._own, self._read, self._ahead):
            queue.close()


def _weight(body: Body) -> int:
    return body.size + ENTRY_BYTES
