"""Fuzz every route in process: seeded random requests, no answer of 500 or above, memory that stays flat.

    python fuzz/routes.py [REQUESTS] [SEED]

Then it sends the most expensive requests of each route (`fuzz.expensive`) and lists the slowest.

The application is called through ASGI, without a client: 100 000 requests take minutes. Every response is
also checked for what must hold for all of them, see `faults`.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is imported

import asyncio
import gzip
import heapq
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import brotli
from fastapi import FastAPI

from app import create_app
from app.assets import version
from app.settings import Settings
from fuzz.asgi import Answer, Request, ask
from fuzz.expensive import expensive_requests, routes
from lessons.catalogue import lesson_slugs, load_lesson
from lessons.kit.controls import as_parameter

SLUG = lesson_slugs()[0]
LESSON = load_lesson(SLUG)
FIGURES = LESSON.figures
KEPT_MIB = 4  # a small cache, so that memory is soon constant
GROWTH_MIB = 64  # in the second half of the run, when every bounded cache is full
REPORTS = 20  # progress lines
MOST_EXPENSIVE = 10  # requests that are listed with their cost

HOST = "fuzzed-host.invalid"
"""The `Host` header of the requests; no response may repeat it."""

REQUIRED = ("content-security-policy", "x-content-type-options", "referrer-policy")


@dataclass
class Summary:
    """The results of a run."""

    requests: int
    seed: int
    statuses: Counter[int] = field(default_factory=Counter)
    growth_mib: int = 0
    seconds: float = 0.0
    failure: str = ""
    most_expensive: list[tuple[float, str]] = field(default_factory=list)

    def cost(self, seconds: float, request: Request) -> None:
        """Record the CPU time of a request, if it is one of the most expensive."""
        heapq.heappush(self.most_expensive, (1000 * seconds, str(request)[:200]))
        if len(self.most_expensive) > MOST_EXPENSIVE:
            heapq.heappop(self.most_expensive)

    @property
    def passed(self) -> bool:
        return not self.failure and self.growth_mib <= GROWTH_MIB

    def __str__(self) -> str:
        count = self.statuses.total()
        return (
            f"{count} requests, seed {self.seed}, {count / self.seconds:.0f}/s: "
            f"{dict(sorted(self.statuses.items()))}; peak memory {peak_mib()} MiB, "
            f"{self.growth_mib} MiB of it grown in the second half (at most {GROWTH_MIB})"
        )


def main(requests: int, seed: int) -> int:
    summary = asyncio.run(fuzz(requests, seed, progress=True, expensive=True))
    print(summary)
    print(f"The {len(summary.most_expensive)} most expensive, ms of CPU time:")
    for milliseconds, request in sorted(summary.most_expensive, reverse=True):
        print(f"{milliseconds:>7.0f}  {request}")
    if summary.failure:
        print(summary.failure)
    return int(not summary.passed)


async def fuzz(requests: int, seed: int, *, progress: bool = False, expensive: bool = False) -> Summary:
    """Send `requests` random requests and stop at the first response with a fault."""
    app = create_app(Settings(cache_mib=KEPT_MIB))
    app.state.ready = True  # set by a server's start, which also makes responses ahead
    summary = Summary(requests, seed)
    start, half = time.perf_counter(), 0
    for count, request in enumerate(any_requests(random.Random(seed), requests), 1):
        before = time.process_time()
        answer = await ask(app, request)
        summary.cost(time.process_time() - before, request)
        summary.statuses[answer.status] += 1
        summary.seconds = time.perf_counter() - start
        found = faults(request, answer)
        if found:
            summary.failure = f"request {count}: {request}\n" + "\n".join(found)
            return summary
        if count == requests // 2:
            half = peak_mib()
        if progress and count % max(1, requests // REPORTS) == 0:
            print(f"{count:>8} of {requests}, {count / summary.seconds:.0f}/s, {peak_mib()} MiB", flush=True)
    summary.growth_mib = peak_mib() - half
    if expensive:
        await _send_expensive(app, summary)
    return summary


async def _send_expensive(app: FastAPI, summary: Summary) -> None:
    """Send the most expensive requests of each route."""
    for method, path in routes(app):
        for _, request in expensive_requests(method, path, summary.seed):
            before = time.process_time()
            answer = await ask(app, request)
            summary.cost(time.process_time() - before, request)
            if answer.status >= 500:
                summary.failure = f"{request}\nthe server failed: {answer.status}"


def faults(request: Request, answer: Answer) -> list[str]:
    """The faults of a response to any request."""
    said = " ".join(answer.headers.values())
    body = decoded(answer)
    length = answer.headers.get("content-length")
    location = answer.headers.get("location", "/lessons/")
    bare = request.method == "HEAD" or answer.status == 304
    checks = {
        f"the server failed: {answer.status}": answer.status >= 500 or not answer.status,
        "a security header is missing": answer.status != 304
        and any(name not in answer.headers for name in REQUIRED),
        "the host is repeated": HOST in said or HOST.encode() in body,
        "a traceback is shown": b"Traceback (most recent" in body,
        "the length is not the length sent": not bare and length != str(len(answer.body)),
        "304 was sent with a body": answer.status == 304 and bool(answer.body),
        "led to another host": not location.startswith("/lessons/"),
        "written to": request.method not in ("GET", "HEAD") and answer.status < 400,
    }
    return [words for words, wrong in checks.items() if wrong]


def decoded(answer: Answer) -> bytes:
    """The decoded body; fails if its encoding is not the declared one."""
    encoding = answer.headers.get("content-encoding", "") if answer.body else ""
    readers: dict[str, Callable[[bytes], bytes]] = {
        "": bytes,
        "br": brotli.decompress,
        "gzip": gzip.decompress,
    }
    return readers[encoding](answer.body)


def any_requests(dice: random.Random, count: int) -> Iterator[Request]:
    for _ in range(count):
        method = dice.choices((*METHODS, "GET"), (*[1] * len(METHODS), 60))[0]
        body = b"x" * dice.choice((0, 1, 100_000)) if method not in ("GET", "HEAD") else b""
        yield Request(method, any_address(dice), tuple(any_headers(dice)), body)


METHODS = ("HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "")


def any_address(dice: random.Random) -> str:
    name = dice.choice(list(FIGURES))
    control = dice.choice(list(FIGURES[name].controls.model_fields))
    paths = {
        f"/lessons/{SLUG}": 2,  # renders every figure, so rarely
        f"/lessons/{SLUG}/figures/{name}": 14,
        f"/lessons/{SLUG}/figures/{name}.csv": 14,
        f"/fragments/{dice.choice((version(), 'older', noise(dice)))}/{SLUG}/{name}": 20,
        f"/fragments/{version()}/{SLUG}/{name}/along/{dice.choice((control, noise(dice)))}": 2,
        f"/lessons/{SLUG}/questions/{dice.choice((*LESSON.questions, noise(dice)))}": 6,
        f"/fragments/{version()}/{SLUG}/questions/{dice.choice((*LESSON.questions, noise(dice)))}": 6,
        f"/lessons/{SLUG}/tasks/{dice.choice((*LESSON.tasks, noise(dice)))}": 8,
        f"/lessons/{SLUG}/questions": 1,
        f"/lessons/{SLUG}/summary": 1,
        f"/lessons/{SLUG}/sources": 1,
        "/styleguide": 1,
        f"/lessons/{SLUG}/receipts": 1,
        "/": 1,
        "/healthz": 1,
        "/readyz": 1,
        f"/lessons/{SLUG}/code/quant_core.methods.rtn.{dice.choice(('round_to_nearest', noise(dice)))}": 2,
        f"/static/{version()}/{dice.choice(FILES)}": 6,
        f"/static/{version()}/{escape(dice)}": 6,
        f"/static/{noise(dice)}/{noise(dice)}": 4,
        f"/{noise(dice)}": 4,
        f"/lessons/{noise(dice)}": 4,
        f"/lessons/{SLUG}/figures/{noise(dice)}": 4,
        f"//{HOST}/lessons/{SLUG}": 1,
        f"/lessons/{SLUG}/{'a/' * dice.randint(0, 3000)}": 1,
    }
    path = dice.choices(list(paths), list(paths.values()))[0]
    pairs = [any_pair(dice, name) for _ in range(dice.choices((0, 1, 2, 5, 200), (30, 40, 20, 9, 1))[0])]
    return f"{path}?{'&'.join(pairs)}" if pairs else path


FILES = (
    "lesson.css",
    "js/page/boot.js",
    "js/page/figures.js",
    "icon.svg",
    "vendor/fonts.css",
    "vendor/htmx.min.js",
)


def escape(dice: random.Random) -> str:
    """A path that tries to leave its folder (path traversal)."""
    up = dice.choice(("..", "%2e%2e", "%252e%252e", "..%2f", "..%5c", ".%00.", "//", "%2f", "....//", "~"))
    target = dice.choice(("pyproject.toml", "app/main.py", "etc/passwd", "%00", "lesson.css%00.png", ""))
    return "/".join([up] * dice.randint(1, 6)) + "/" + target


def any_pair(dice: random.Random, name: str) -> str:
    control, widget = dice.choice(list(FIGURES[name].controls.widgets().items()))
    key = dice.choices(
        (
            *(control, f"{name}.{control}", "embed", "present", "in", "utm_source"),
            f"{noise(dice)}.x",
            noise(dice),
            *("answer", "skip", "seed", "stage", "scale", "guess", f"{name}.guess"),
        ),
        (60, 10, 6, 6, 2, 2, 4, 8, 2, 2, 8, 4, 2, 6, 2),
    )[0]
    values: list[Callable[[], str]] = [
        lambda: as_parameter(dice.choice(widget.states())),
        lambda: noise(dice),
        lambda: str(dice.randint(-10, 10**9)),
        lambda: dice.choice(("0", "1", "lesson", "page", "guided", "faded")),
        lambda: dice.choice(("nan", "inf", "-0", "1e400", "9" * 5000, "", "on", "%ff", "%00", "%", "½")),
    ]
    return f"{key}={dice.choices(values, (10, 2, 2, 3, 2))[0]()}".encode().decode("latin-1")


def any_headers(dice: random.Random) -> Iterator[tuple[str, str]]:
    yield "host", dice.choice((HOST, f"{HOST}:99999", f"{HOST}/..", "", HOST * 50))
    choices: dict[str, tuple[str, ...]] = {
        "accept-encoding": ("gzip", "br", "gzip, br;q=0", "*", "br;q=x", "identity;q=0", ",;,=", "é" * 20),
        "if-none-match": ("*", '""', 'W/"x"', '"a", "b"', ", ".join(['"0"'] * 500), "\x80"),
        "if-modified-since": ("Thu, 01 Jan 1970 00:00:00 GMT", "yesterday"),
        "range": ("bytes=0-0", "bytes=5-2", f"bytes={','.join(['0-'] * 1000)}", "bytes=-1", "lines=1-2"),
        "x-forwarded-host": (HOST,),
        "x-forwarded-prefix": (f"//{HOST}",),
        "forwarded": (f"host={HOST};proto=https",),
        "content-length": ("-1", "1e9", "0"),
        "content-type": ("multipart/form-data", "application/json", "x" * 1000),
        "cookie": ("a=b; " * 100,),
        "expect": ("100-continue",),
        "hx-request": ("true",),
    }
    for name in dice.sample(list(choices), dice.choice((0, 0, 1, 2, 4))):
        yield name, dice.choice(choices[name])


def noise(dice: random.Random) -> str:
    text = "".join(
        chr(dice.choice((dice.randint(0, 127), dice.randint(128, 0xD7FF))))
        for _ in range(dice.randint(0, 12))
    )
    return quote(text, safe="")


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:3]]
    sys.exit(main(*(given + [100_000, 0][len(given) :])))
