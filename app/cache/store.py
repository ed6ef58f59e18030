"""The cache of responses: each is made once, in a thread beside the event loop, and kept within a bound.

Each worker has its own cache, and nothing depends on what is in it. However many readers ask for a response,
it is made once. A worker with too many responses waiting refuses more at once.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal, TypeVar

from app.cache.queue import FairQueue, Together
from app.cache.response import CachedResponse

T = TypeVar("T")
QueueName = Literal["views", "typed", "given", "ahead"]

THREADS = 2  # they share one interpreter: more would only take turns
MOST_WAITING = 1024  # responses that wait, some ten milliseconds each; past it a worker is busy
MOST_GIVEN = MOST_WAITING  # of what readers gave
MOST_AHEAD = 4  # state tables that wait, some hundred milliseconds each
GIVES_WAY = 0.05  # seconds, at most, that a piece of what is made ahead waits for what a reader waits for
RESTS_AFTER = 0.5  # seconds in which no reader asked for what had to be made
WAITS_FOR_REST = 2.0  # seconds, at most, that a response nobody has asked for waits until readers rest
ENTRY_BYTES = 4096  # that an entry takes besides its bytes: address and headers
BATCH = 4  # responses to what readers typed that are prepared in one pass


class ResponseCache:
    """Responses by their canonical address; when room is needed, the least recently used one is dropped.

    Parameters
    ----------
    most_bytes
        Of all responses together, each in the form in which it was made, with what an entry takes besides.
        One that is also asked for as gzip holds that form too: the memory is at most about twice as much.
    most_waiting
        Responses that may wait in each queue.

    Notes
    -----
    There is one queue for each kind of work that must not hold up the others:

    - `views`: pages and views;
    - `typed`: views of a text that a reader typed, which take long;
    - `given`: parsing long or typed input, and figures on a reader's own weights;
    - `ahead`: state tables.
    """

    def __init__(self, most_bytes: int, most_waiting: int = MOST_WAITING) -> None:
        self.most_bytes = most_bytes
        self.bytes = 0
        self._entries: OrderedDict[str, CachedResponse] = OrderedDict()
        self._lock = threading.Lock()
        self._asked = 0.0  # when a reader last asked for what had to be made
        self._queues: dict[QueueName, FairQueue] = {
            "views": FairQueue("views", THREADS, most_waiting),
            "typed": FairQueue("typed", 1, most_waiting, batch=BATCH),
            "given": FairQueue("given", 1, min(MOST_GIVEN, most_waiting)),
            "ahead": FairQueue("ahead", 1, MOST_AHEAD),
        }

    async def get(
        self,
        address: str,
        make: Callable[[], CachedResponse],
        *,
        queue: QueueName = "views",
        together: Together | None = None,
    ) -> CachedResponse:
        """The response of an address, made by `make` if it is not here.

        Raises
        ------
        Busy
            When it would have to be made and too many others are waiting already.
        """
        found = self.find(address)
        if found is not None:
            return found
        self._asked = time.monotonic()
        return await self._queues[queue].do(address, lambda: self.now(address, make), together)

    async def run(
        self, work: Callable[[], T], *, queue: QueueName = "given", together: Together | None = None
    ) -> T:
        """Do work in a thread, in its turn, and cache nothing of it.

        Raises
        ------
        Busy
            When too many others are waiting already.
        """
        self._asked = time.monotonic()
        return await self._queues[queue].do(object(), work, together)

    def give_way(self) -> None:
        """Wait between two responses made ahead while readers wait for responses."""
        self._queues["views"].idle.wait(GIVES_WAY)

    def wait_for_rest(self, stopping: threading.Event) -> None:
        """Wait until readers rest, but not for long, before a response that nobody has asked for."""
        end = time.monotonic() + WAITS_FOR_REST
        while (left := min(end, self._asked + RESTS_AFTER) - time.monotonic()) > 0:
            if stopping.wait(left):
                return

    def now(self, address: str, make: Callable[[], CachedResponse]) -> CachedResponse:
        """The response of an address, made in this thread if it is not here."""
        response = self.find(address)
        if response is None:
            response = make()
            self.put(address, response)
        return response

    def find(self, address: str) -> CachedResponse | None:
        """The response of an address if it is here."""
        with self._lock:
            response = self._entries.get(address)
            if response is not None:
                self._entries.move_to_end(address)
            return response

    def put(self, address: str, response: CachedResponse) -> None:
        """Keep a response, in place of another one of this address."""
        with self._lock:
            replaced = self._entries.pop(address, None)
            self.bytes += _weight(response) - (_weight(replaced) if replaced else 0)
            self._entries[address] = response
            while self.bytes > self.most_bytes:
                _, oldest = self._entries.popitem(last=False)
                self.bytes -= _weight(oldest)

    def items(self) -> list[tuple[str, CachedResponse]]:
        """All addresses with their responses."""
        with self._lock:
            return list(self._entries.items())

    def close(self) -> None:
        """Stop: finish what has begun, refuse what waits and what comes."""
        for queue in self._queues.values():
            queue.close()


def _weight(response: CachedResponse) -> int:
    return response.size + ENTRY_BYTES
