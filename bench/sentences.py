"""Measure the cost of a typed sentence in FIG.05E, and whether it delays other readers."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from time import perf_counter, sleep, thread_time

import numpy as np
import uvloop

from bench.load import ask, hammer, request
from bench.serving import lesson_server
from bench.states import FIGURES, fragment_path, random_states
from bench.table import Table, median, number, quantile, yes
from lessons.quantization import measuring, small_model
from lessons.quantization.figures.sentence import EXAMPLES, FIGURE, Controls

RUNS = 60
TYPISTS = 16
SECONDS = 8.0
WARM_SECONDS = 10.0  # in which a new worker makes the first state tables
OTHERS = ("rtn", "fit", "quality", "rounding")
CLASS, WITHIN, SERVED_AIM = 1000, 25.0, 60.0  # students, seconds
STATES = 24  # of each of them, not requested before
FORWARD_AIM, SWEEP_AIM, ANSWER_AIM, OTHERS_AIM = 3.0, 50.0, 150.0, 250.0  # milliseconds
WORDS = "the king of men said unto him go forth and see a great city by the sea in peace"


def main() -> None:
    table = Table(
        "FIG.05E: the example sentences, CPU ms of one thread; the answers are of sentences not read before.",
        *("what", "p50", "p95", "aim", "reached"),
    )
    for name, times, aim in (
        ("forward pass, 16 bits", _forward((16,)), FORWARD_AIM),
        ("seven widths", _forward(small_model.WIDTHS), SWEEP_AIM),
        ("the whole view, continuations too", _views(), ANSWER_AIM),
    ):
        table.add(
            name,
            number(median(times), 2),
            number(quantile(times, 0.95), 2),
            f"≤ {aim:.0f}",
            yes(median(times) <= aim),
        )
    table.print()
    _together()
    _class()


def _forward(widths: tuple[int, ...]) -> list[float]:
    """Milliseconds of a forward pass over an example at some widths."""
    texts = [np.array([0, *measuring.tokenizer().encode(text)]) for text in EXAMPLES.values()]
    models = [small_model.at_width(bits) for bits in widths]
    times = []
    for _, ids in zip(range(RUNS), itertools.cycle(texts), strict=False):
        start = thread_time()
        for model in models:
            model.logits(ids)
        times.append(1000 * (thread_time() - start))
    return times


def _views() -> list[float]:
    times = []
    for state in itertools.islice(_typed(), RUNS):
        start = thread_time()
        FIGURE.view(state)
        times.append(1000 * (thread_time() - start))
    return times


def _typed() -> itertools.chain[Controls]:
    source = random.Random(0)
    return itertools.chain.from_iterable(
        [Controls(sentence=" ".join(source.choices(WORDS.split(), k=10)))] for _ in itertools.count()
    )


def _together() -> None:
    """Request new states of other figures, alone and while sixteen readers type without a pause."""
    table = Table(
        f"New states of {', '.join(OTHERS)}, one worker: wall ms, alone and beside {TYPISTS} who type.",
        *("beside", "answers", "p50", "p99", "typed: answered", "sent away (429)", "aim p99", "reached"),
    )
    source = random.Random(1)
    for typists in (0, TYPISTS):
        requests = [
            request(fragment_path(name, state))
            for name in OTHERS
            for state in random_states(name, STATES, source)
            if name in FIGURES
        ]
        source.shuffle(requests)
        with lesson_server(make_ahead=False) as server:
            urllib.request.urlopen(server.url + fragment_path("sentence", Controls(sentence="a king"))).read()
            sleep(WARM_SECONDS)
            sent = _Typists(server.url, typists)
            with sent:
                load = hammer(server.url, requests, SECONDS, repeat=False, connections=1)
        p99 = quantile(load.times, 0.99)
        table.add(
            str(typists),
            str(len(load.times)),
            number(median(load.times)),
            number(p99),
            str(sent.answered),
            str(sent.refused),
            f"≤ {OTHERS_AIM:.0f}",
            yes(p99 <= OTHERS_AIM and not load.failures),
        )
    table.print()


def _class() -> None:
    """A class in which each student types a different sentence within half a minute."""
    table = Table(
        f"A class: {CLASS} students on 2 workers, each of whom types a new sentence within {WITHIN:.0f} s.",
        *("students", "answers", "p50 ms", "p99 ms", "all served after, s", "errors", "aim", "reached"),
    )
    for name, address in (
        ("behind one address", lambda _: "127.0.0.1"),
        ("each with an address", lambda number: f"127.1.{number // 250}.{1 + number % 250}"),
    ):
        with lesson_server(workers=2, make_ahead=False) as server:
            for _ in range(8):  # enough for each worker to prepare the seven widths
                urllib.request.urlopen(server.url + fragment_path("sentence", Controls(seed="2"))).read()
            times, errors, seconds = uvloop.run(_all_type(server.url, address))
        table.add(
            name,
            str(len(times)),
            number(median(times)),
            number(quantile(times, 0.99)),
            number(seconds),
            str(errors),
            f"no error, ≤ {SERVED_AIM:.0f} s",
            yes(not errors and seconds <= SERVED_AIM),
        )
    table.print()


async def _all_type(url: str, address: Callable[[int], str]) -> tuple[list[float], int, float]:
    """Milliseconds of the responses, the number of failures, and the seconds until the last response."""
    source, times, errors = random.Random(3), list[float](), 0
    begun = perf_counter()

    async def type_one(number: int) -> None:
        nonlocal errors
        state = Controls(sentence=" ".join(source.choices(WORDS.split(), k=10)) + f" {number}")
        await asyncio.sleep(WITHIN * source.random())
        since = perf_counter()
        errors += await ask(url, fragment_path("sentence", state), address(number), 2 * SERVED_AIM) != 200
        times.append(1000 * (perf_counter() - since))

    await asyncio.gather(*(type_one(number) for number in range(CLASS)))
    return times, errors, perf_counter() - begun


class _Typists:
    """Threads that each request one new sentence after another until they are stopped."""

    def __init__(self, url: str, count: int) -> None:
        self.answered = self.refused = 0
        self._url = url
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._type, args=(number,)) for number in range(count)]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _type(self, number: int) -> None:
        source = random.Random(100 + number)
        begun = perf_counter()
        while not self._end.is_set() and perf_counter() - begun < 4 * SECONDS:
            state = Controls(sentence=" ".join(source.choices(WORDS.split(), k=10)))
            try:
                urllib.request.urlopen(self._url + fragment_path("sentence", state)).read()
                self.answered += 1
            except urllib.error.HTTPError as error:
                self.refused += error.code == 429
