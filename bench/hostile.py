"""One client against a class: how long ordinary students wait with and without each attack.

The students are twenty clients (127.0.0.2 and so on), the attacker is 127.0.0.1 in a separate process.
Students, attacker and server share the machine, so part of the waiting time is due to the benchmark itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import random
import resource
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from urllib.parse import urlencode, urlsplit

import uvloop

from app.assets import version
from bench.load import ask, request
from bench.sentences import WORDS
from bench.serving import lesson_server
from bench.states import FIGURES, LESSON, fragment_path, random_state
from bench.table import Table, median, number, quantile, yes
from fuzz.expensive import expensive_configs, expensive_numbers, form
from lessons.quantization.figures.sentence import Controls

STUDENTS = 20
EVERY = 0.5  # seconds between two changes of a student
SECONDS = 12.0
PAUSE = 3.0  # after each attack, so that the server is idle before the next
SENTENCE_EVERY = 10  # changes
AIM = 300.0  # milliseconds
GIVE_UP = 10.0  # seconds


@dataclass
class Waited:
    """The results of the students: milliseconds by kind of request, and failed requests."""

    times: dict[str, list[float]] = field(
        default_factory=lambda: {"fragment": [], "sentence": [], "health": []}
    )
    errors: int = 0


Attack = Callable[["Attacker"], Awaitable[None]]


def main() -> None:
    _allow_files()
    table = Table(
        f"{STUDENTS} students on 2 workers, each with a change every {EVERY} s, every {SENTENCE_EVERY}th a "
        f"new sentence, for {SECONDS:.0f} s beside one client that attacks. ms.",
        *("attack", "attacker's answers", "fragments", "p50", "p99", "sentences", "p99", "health p99"),
        *("errors", "aim", "reached"),
    )
    with lesson_server(workers=2) as server:
        server.wait_until_idle()
        for name in ("none", *ATTACKS):
            statuses, waited = _beside(server.url, name if name in ATTACKS else None)
            table.add(*_row(name, statuses, waited))
            time.sleep(PAUSE)
    table.print()


def _row(name: str, statuses: Counter[str], waited: Waited) -> list[str]:
    fragments, sentences = waited.times["fragment"], waited.times["sentence"]
    return [
        name,
        ", ".join(f"{count:,} × {what}" for what, count in sorted(statuses.items())) or "–",
        str(len(fragments)),
        number(median(fragments)),
        number(quantile(fragments, 0.99)),
        str(len(sentences)),
        number(quantile(sentences, 0.99)),
        number(quantile(waited.times["health"], 0.99)),
        str(waited.errors),
        f"no error, p99 ≤ {AIM:.0f}",
        yes(quantile(fragments, 0.99) <= AIM and not waited.errors),
    ]


def _beside(url: str, attack: str | None) -> tuple[Counter[str], Waited]:
    """Run the class during an attack."""
    waited, spawn = Waited(), multiprocessing.get_context("spawn")
    end, results = spawn.Event(), spawn.SimpleQueue()
    process = spawn.Process(target=_attack, args=(url, attack, end, results)) if attack else None
    if process:
        process.start()
        time.sleep(3.0)  # the attack has begun by then
    try:
        uvloop.run(_class(url, SECONDS, waited, attack or ""))
        end.set()
        return (results.get() if process else Counter()), waited
    finally:
        if process:
            process.join(GIVE_UP)
            process.kill()


# --- the class --------------------------------------------------------------------------------------------


async def _class(url: str, seconds: float, waited: Waited, seed: str) -> None:
    end = time.monotonic() + seconds
    students = [_student(url, number, end, waited, seed) for number in range(STUDENTS)]
    await asyncio.gather(*students, _probe(url, end, waited))


async def _student(url: str, number: int, end: float, waited: Waited, seed: str) -> None:
    source = random.Random(f"{seed} {number}")
    await asyncio.sleep(EVERY * source.random())
    changes = 0
    while time.monotonic() < end:
        changes += 1
        kind, path = "fragment", _fragment(source)
        if (changes + number) % SENTENCE_EVERY == 0:
            kind, path = "sentence", fragment_path("sentence", _sentence(source))
        begun = time.perf_counter()
        if await ask(url, path, f"127.0.0.{2 + number}", GIVE_UP) != 200:
            waited.errors += 1
        spent = time.perf_counter() - begun
        waited.times[kind].append(1000 * spent)
        await asyncio.sleep(max(0.0, EVERY - spent))


async def _probe(url: str, end: float, waited: Waited) -> None:
    while time.monotonic() < end:
        begun = time.perf_counter()
        waited.errors += await ask(url, "/healthz", "127.0.0.254", GIVE_UP) != 200
        waited.times["health"].append(1000 * (time.perf_counter() - begun))
        await asyncio.sleep(0.1)


def _fragment(source: random.Random) -> str:
    name = source.choice([name for name in FIGURES if name != "sentence"])
    return fragment_path(name, random_state(name, source))


def _sentence(source: random.Random) -> Controls:
    return Controls(sentence=" ".join(source.choices(WORDS.split(), k=12)))


# --- the attacks ------------------------------------------------------------------------------------------


class Attacker:
    """One client: its attacks and the responses to them."""

    def __init__(self, url: str, end: Event) -> None:
        server = urlsplit(url)
        self.host, self.port = server.hostname or "", server.port or 80
        self.end = end
        self.statuses: Counter[str] = Counter()

    async def loop(self, count: int, next_request: Callable[[random.Random], bytes]) -> None:
        """Send requests in a loop on this many connections."""
        await asyncio.gather(*(self._loop(number, next_request) for number in range(count)))

    async def _loop(self, number: int, next_request: Callable[[random.Random], bytes]) -> None:
        source = random.Random(number)
        while not self.end.is_set():
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection(self.host, self.port)
                try:
                    while not self.end.is_set():
                        writer.write(next_request(source))
                        head = await reader.readuntil(b"\r\n\r\n")
                        length = next(
                            int(line.split(b":")[1])
                            for line in head.lower().split(b"\r\n")
                            if line.startswith(b"content-length")
                        )
                        await reader.readexactly(length)
                        self.statuses[head.split(b" ")[1].decode()] += 1
                finally:
                    writer.close()
            self.statuses["closed"] += 1
            await asyncio.sleep(0.05)

    async def hold(self, count: int, start: bytes, keep: float = 1e9) -> None:
        """Hold this many connections that send only this; reopen closed ones."""
        await asyncio.gather(*(self._hold(number, start, keep) for number in range(count)))

    async def _hold(self, number: int, start: bytes, keep: float) -> None:
        await asyncio.sleep(number / 1000)
        while not self.end.is_set():
            with contextlib.suppress(OSError):
                transport, held = await asyncio.get_running_loop().create_connection(
                    Held, self.host, self.port
                )
                if keep > 1e6 and start.startswith(b"GET"):
                    transport.pause_reading()
                transport.write(start)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(held.closed), min(keep, 2 * SECONDS))
                self.statuses[held.status or "closed"] += 1
                transport.abort()
            await asyncio.sleep(0.05)


class Held(asyncio.Protocol):
    """A passive connection: records the response and the time of closing."""

    def __init__(self) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.status = ""

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 "):
            self.status = data[9:12].decode()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)


def _attack(url: str, name: str, end: Event, results: multiprocessing.SimpleQueue[Counter[str]]) -> None:
    _allow_files()
    attacker = Attacker(url, end)

    async def until_the_end() -> None:
        attacking = asyncio.ensure_future(ATTACKS[name](attacker))
        while not end.is_set():
            await asyncio.sleep(0.1)
        attacking.cancel()

    asyncio.run(until_the_end())
    results.put(attacker.statuses)


def _form(path: str, fields: dict[str, str]) -> bytes:
    body = form(fields.items())
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


FIT = f"/fragments/{version()}/{LESSON.slug}/fit"
CONFIG = "model_type=qwen3 hidden_size=2560 num_attention_heads=32 head_dim=128 intermediate_size=9728"
OWN = _form(f"/fragments/{version()}/{LESSON.slug}/rtn", expensive_numbers(0)["numbers"])
HEAD = OWN[: OWN.index(b"\r\n\r\n") + 4]
PLOTLY = request(f"/static/{version()}/vendor/plotly-basic.min.js")
UNPACKED = b"GET /lessons/quantization HTTP/1.1\r\nHost: x\r\nAccept-Encoding: identity\r\n\r\n"
KEPT = request(f"/fragments/{version()}/{LESSON.slug}/rtn")
NOTHING = request("/nothing")
ZEROS = _form(FIT, expensive_configs(0)["zeros"])


def _config(source: random.Random, layers: int, most: int) -> bytes:
    line = f"{CONFIG} num_hidden_layers={layers} vocab_size={source.randint(most // 10, most)}"
    return request(f"{FIT}?{urlencode({'source': 'config', 'config': line})}")


ATTACKS: dict[str, Attack] = {
    "a config.json of 31,000 layers": lambda one: one.loop(16, lambda _: ZEROS),
    "models of 512 layers": lambda one: one.loop(16, lambda source: _config(source, 512, 10**6)),
    "models that are too large": lambda one: one.loop(16, lambda source: _config(source, 512, 10**12)),
    "110 sentences": lambda one: one.loop(
        110, lambda source: request(fragment_path("sentence", _sentence(source)))
    ),
    "1,100 posts of own weights": lambda one: one.loop(1100, lambda _: OWN),
    "4,500 posts without a body": lambda one: one.hold(min(4500, _files() - 200), HEAD),
    "aborted uploads": lambda one: one.hold(200, OWN[:60_000], keep=0.2),
    "files that nobody reads": lambda one: one.hold(300, PLOTLY * 8),
    "pages unpacked that nobody reads": lambda one: one.hold(1500, UNPACKED),
    "1,100 of a fragment that is kept": lambda one: one.loop(1100, lambda _: KEPT),
    "1,100 of an address that is not there": lambda one: one.loop(1100, lambda _: NOTHING),
}


def _files() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _allow_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 6000 if hard == resource.RLIM_INFINITY else min(6000, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
