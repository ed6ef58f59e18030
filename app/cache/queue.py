"""A queue of work for a few threads. Clients take turns: a loop from one address does not delay others.

A client that waits alone has all threads. A class behind one address is one client.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from app.http.clients import current_client

T = TypeVar("T")


class Busy(Exception):
    """The queue is full, and this client is not the one with the most work in it."""


class Crowded(Busy):
    """The queue is full, and this client has the most work in it."""


@dataclass(frozen=True, slots=True)
class Together:
    """A function that prepares several pieces of work in one pass, and its argument for this piece."""

    prepare: Callable[[Sequence[Any]], None]
    about: Any


@dataclass(slots=True, eq=False)
class Work:
    """One piece of work: what to call, who asks for it, and its outcome."""

    key: Hashable
    call: Callable[[], Any]
    together: Together | None
    context: Context
    outcome: asyncio.Future[Any]
    clients: list[str] = field(default_factory=list)


class FairQueue:
    """Threads and the work that waits for them: clients take turns, however much each has asked for.

    Parameters
    ----------
    threads
        They share one interpreter: more would only take turns.
    most
        Pieces of work that may wait. When one more comes, the newest piece of the client with the most is
        refused.
    batch
        Pieces that are prepared in one pass: of clients that wait for one each, or half as many of the only
        client that waits. So a newcomer waits less, and nobody's piece is prepared together with those of a
        client that asks for many.
    """

    def __init__(self, name: str, threads: int, most: int, batch: int = 1) -> None:
        self.threads = threads
        self.most = most
        self.batch = batch
        self.idle = threading.Event()
        self.idle.set()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lines: OrderedDict[str, dict[Hashable, Work]] = OrderedDict()
        self._waiting: dict[Hashable, Work] = {}
        self._running: dict[Hashable, Work] = {}
        self._busy_threads = 0
        self._closed = False

    async def do(self, key: Hashable, call: Callable[[], T], together: Together | None = None) -> T:
        """What `call` returns; it is called once for all who ask for the same key meanwhile.

        Raises
        ------
        Busy
            Where too much waits already; Crowded, where most of it is this client's.
        """
        client = current_client.get()
        while True:
            work = self._running.get(key) or self._waiting.get(key)
            if work is None:
                work = self._add(client, key, call, together)
            elif key in self._waiting and client not in work.clients:
                self._stand(client, work)
            try:
                # Shielded: a client that leaves does not cancel it for others.
                return cast(T, await asyncio.shield(work.outcome))
            except _Dropped as dropped:
                if dropped.client == client:
                    raise Crowded from None

    def close(self) -> None:
        """Stop: finish what has begun, refuse what waits and what comes."""
        self._closed = True
        for work in list(self._waiting.values()):
            self._leave(work)
            work.outcome.set_exception(Busy())
        self._pool.shutdown(wait=False)

    def _add(self, client: str, key: Hashable, call: Callable[[], Any], together: Together | None) -> Work:
        self._make_room(client)
        loop = asyncio.get_running_loop()
        work = Work(key, call, together, copy_context(), loop.create_future())
        work.outcome.add_done_callback(_seen)
        self._waiting[key] = work
        self._stand(client, work)
        self.idle.clear()
        self._start(loop)
        return work

    def _stand(self, client: str, work: Work) -> None:
        """Add a piece of work to the client's line; other clients may wait for the same piece."""
        work.clients.append(client)
        self._lines.setdefault(client, {})[work.key] = work

    def _make_room(self, client: str) -> None:
        if self._closed:
            raise Busy
        if len(self._waiting) < self.most:
            return
        own = len(self._lines.get(client, ()))
        heaviest = max(self._lines, key=lambda name: len(self._lines[name]))
        line = self._lines[heaviest]
        newest = next((work for work in reversed(line.values()) if work.clients == [heaviest]), None)
        if len(line) <= own + 1 or newest is None:
            raise Crowded if own else Busy
        self._leave(newest)
        newest.outcome.set_exception(_Dropped(heaviest))

    def _leave(self, work: Work) -> None:
        """Take a piece of work out of all lines."""
        del self._waiting[work.key]
        for client in work.clients:
            del self._lines[client][work.key]
            if not self._lines[client]:
                del self._lines[client]

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._busy_threads < self.threads and self._waiting:
            batch = self._next()
            self._busy_threads += 1
            self._pool.submit(self._run, batch, loop)

    def _next(self) -> list[Work]:
        """The next piece of work, or several that can be prepared together."""
        alone = len(self._lines) == 1
        most = self.batch // 2 if alone else self.batch
        several = len(next(iter(self._lines.values()))) > 1
        batch = [self._take()]
        while batch[0].together and self._lines and len(batch) < most:
            line = next(iter(self._lines.values()))
            if not alone and (several or len(line) > 1):
                break
            if next(iter(line.values())).together is None:
                break
            batch.append(self._take())
        return batch

    def _take(self) -> Work:
        client, line = next(iter(self._lines.items()))
        work = next(iter(line.values()))
        self._leave(work)
        self._running[work.key] = work
        if client in self._lines:
            self._lines.move_to_end(client)
        return work

    def _run(self, batch: list[Work], loop: asyncio.AbstractEventLoop) -> None:
        """In a thread: prepare the batch together, then call its pieces one after the other."""
        if len(batch) > 1:
            prepare = {work.together.prepare for work in batch if work.together}
            for function in prepare:
                about = [w.together.about for w in batch if w.together and w.together.prepare is function]
                with suppress(Exception):  # the piece that failed fails again below, and its client is told
                    function(about)
        for work in batch:
            try:
                result, error = work.context.run(work.call), None
            except BaseException as raised:
                result, error = None, raised
            with suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(self._done, work, result, error, work is batch[-1])

    def _done(self, work: Work, result: object, error: BaseException | None, last: bool) -> None:
        """Give the outcome to those who wait. The last piece of a batch frees the thread."""
        del self._running[work.key]
        if last:
            self._busy_threads -= 1
            self._start(asyncio.get_running_loop())
            if not self._busy_threads:
                self.idle.set()
        if work.outcome.cancelled():
            return
        if isinstance(error, StopIteration):  # a future cannot hold it
            error = RuntimeError(f"{error!r} was raised")
        if error is None:
            work.outcome.set_result(result)
        else:
            work.outcome.set_exception(error)


class _Dropped(Exception):
    """A piece of work was dropped to make room for another client's."""

    def __init__(self, client: str) -> None:
        super().__init__(client)
        self.client = client


def _seen(outcome: asyncio.Future[Any]) -> None:
    """Mark a failure as seen: asyncio would log it when nobody waits for it any longer."""
    if not outcome.cancelled():
        outcome.exception()
