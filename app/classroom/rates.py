"""How often one client may do what costs something, counted by each worker for itself.

A whole class may sit behind one address, so the limits of joining and voting are those of a large class; a
single student has limits of their own. A bucket holds `burst` tokens and gains `per_minute` of them.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from app.classroom.refusals import TooManyError

MOST_BUCKETS = 20_000
"""Buckets that a worker keeps of each rate, and codes that clients know: those that were used last."""

Limited = Literal[
    "join", "place", "vote", "vote of one", "answers", "answers of one", "rename", "unknown code", "create"
]
"""What is limited: the names of the rates."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What a bucket gains in a minute, and what it holds."""

    per_minute: float
    burst: int


RATES: dict[Limited, Rate] = {
    # 350 in a minute are 6 a second. All at once, 120 come in, and the last waits 29 s at most.
    "join": Rate(per_minute=480, burst=120),
    # Half of a class, for the workers of all hosts together: a lecture of 1,000 behind one address comes in
    # at once, while no client alone can fill a class before its teacher has seen it and lets nobody new in.
    "place": Rate(per_minute=10, burst=1_000),
    # 1,000 students vote in a minute, most in its last seconds, and some move their guess.
    "vote": Rate(per_minute=6_000, burst=2_000),
    # A hand that moves a slider and sends each time; a script that sends more is no hand.
    "vote of one": Rate(per_minute=30, burst=15),
    # After a lost line 1,000 browsers send what they have kept, in one request each.
    "answers": Rate(per_minute=6_000, burst=2_000),
    "answers of one": Rate(per_minute=60, burst=60),
    "rename": Rate(per_minute=6, burst=6),
    # Of 191 million codes a walker sees 86,400 a day and worker: with 100 classes open, one in 22 days.
    "unknown code": Rate(per_minute=60, burst=60),
    "create": Rate(per_minute=1, burst=20),
}


class Rates:
    """The buckets of one worker, of so many on all hosts. Threads may share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, workers: int = 1) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # Of each rate, so that many made-up students do not make a client's tries of codes forgotten.
        self._buckets: dict[Limited, OrderedDict[tuple[str, ...], tuple[float, float]]] = {
            what: OrderedDict() for what in RATES
        }
        self._rates = dict(RATES)
        place = RATES["place"]  # the only one that they share
        self._rates["place"] = Rate(place.per_minute / workers, max(1, place.burst // workers))
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def take(self, what: Limited, *who: str) -> None:
        """Take one token of the bucket of `who`: a client and a class, or a student's id.

        Raises
        ------
        TooManyError
            When there is none; tells in how many seconds there will be.
        """
        self._take(what, who, 1)

    def check(self, what: Limited, *who: str) -> None:
        """The same without taking one. Before a code is looked up: else who is refused learns which exist."""
        self._take(what, who, 0)

    def knows(self, client: str, code: str) -> bool:
        """Whether a client has found the class with this code before: then it learns nothing from it.

        So one who tries codes does not lock a class out that sits behind the same address.
        """
        return (client, code) in self._known

    def learn(self, client: str, code: str) -> None:
        """Note that a client has found the class with this code."""
        with self._lock:
            self._known[client, code] = None
            self._known.move_to_end((client, code))
            while len(self._known) > MOST_BUCKETS:
                self._known.popitem(last=False)

    def _take(self, what: Limited, who: tuple[str, ...], wanted: int) -> None:
        rate, now, buckets = self._rates[what], self._clock(), self._buckets[what]
        with self._lock:
            tokens, at = buckets.pop(who, (float(rate.burst), now))
            tokens = min(rate.burst, tokens + (now - at) * rate.per_minute / 60)
            buckets[who] = (tokens - wanted if tokens >= 1 else tokens, now)
            while len(buckets) > MOST_BUCKETS:
                buckets.popitem(last=False)
        if tokens < 1:
            raise TooManyError(math.ceil((1 - tokens) * 60 / rate.per_minute))
