"""Measure throughput: requests per second for each kind of response, relative to the bare framework."""

from __future__ import annotations

import random
import urllib.request
from dataclasses import dataclass

from app.assets import version
from bench.load import CONNECTIONS, Load, hammer, request
from bench.serving import Server, hello_server, lesson_server
from bench.states import FIGURES, PAGE, figure_path, fragment_path, random_states, table_path
from bench.table import Table, median, number, quantile, yes

ROUNDS = 5
SECONDS = 0.3  # of each round
WARM_SECONDS = 10.0  # at most, until every worker has cached the responses
NEW_STATES = 32  # of each figure, not requested before
NEW_SECONDS = 1.5  # at most, for each figure
NEW_CONNECTIONS = 4
AIMED, CACHED_AIM = "fragment, cached", 0.7


@dataclass(frozen=True, slots=True)
class Route:
    """A kind of response and its requests."""

    name: str
    requests: tuple[bytes, ...]
    status: int = 200


@dataclass(frozen=True, slots=True)
class Measured:
    """A load, and the CPU seconds of the server for it."""

    load: Load
    cpu: float


HELLO = Route("hello", (request("/"),))


def main() -> None:
    for workers in (1, 2):
        with hello_server(workers) as hello, lesson_server(workers, make_ahead=False) as lesson:
            _measure(workers, hello, lesson)


def _measure(workers: int, hello: Server, lesson: Server) -> None:
    table = Table(
        f"The server, {('one worker', 'two workers')[workers - 1]}, {CONNECTIONS} connections "
        f"({NEW_CONNECTIONS} for what is new). Hello is asked in turn with each row and is its unit.",
        *("answer", "requests/s", "of hello", "p50 ms", "p99 ms", "CPU ms", "of hello", "failed"),
        *("aim", "reached"),
    )
    greetings = [_load(hello, HELLO) for _ in range(ROUNDS)]
    table.add(*_cells("hello", greetings, greetings))
    for route in _cached(lesson):
        turns = [(_load(hello, HELLO), _load(lesson, route)) for _ in range(ROUNDS)]
        units, rounds = [unit for unit, _ in turns], [theirs for _, theirs in turns]
        greetings += units
        table.add(*_cells(route.name, rounds, units), *_verdict(route, rounds, units))
    for name in FIGURES:
        table.add(*_cells(f"fragment, new: {name}", [_load(lesson, _uncached(name), new=True)], greetings))
    table.print()
    ceiling = median([len(round.load.times) / round.load.asker_seconds for round in greetings])
    print(
        f"With a core to itself the asker could send {ceiling:,.0f} requests for hello a second.\n",
        flush=True,
    )


def _cells(name: str, rounds: list[Measured], units: list[Measured]) -> list[str]:
    times = [time for round in rounds for time in round.load.times]
    return [
        name,
        number(_rate(rounds), 0),
        number(_rate(rounds) / _rate(units), 2),
        number(median(times)),
        number(quantile(times, 0.99)),
        number(_cost(rounds), 2),
        number(_cost(units) / _cost(rounds), 2),
        str(sum(round.load.failures for round in rounds)),
    ]


def _verdict(route: Route, rounds: list[Measured], units: list[Measured]) -> list[str]:
    """Judge by CPU time, which other work on the machine does not change; without it by the rates."""
    if route.name != AIMED:
        return []
    by_cost, by_rate = _cost(units) / _cost(rounds), _rate(rounds) / _rate(units)
    return [f"≥ {CACHED_AIM}", yes((by_rate if by_cost != by_cost else by_cost) >= CACHED_AIM)]


def _rate(rounds: list[Measured]) -> float:
    return median([round.load.rate for round in rounds])


def _cost(rounds: list[Measured]) -> float:
    """CPU milliseconds of the server per response."""
    return 1000 * sum(round.cpu for round in rounds) / max(1, sum(len(round.load.times) for round in rounds))


def _cached(lesson: Server) -> list[Route]:
    """Routes with cached responses: each is requested until every worker has cached it."""
    states = {name: FIGURES[name].controls() for name in FIGURES}
    rtn = states["rtn"]
    page = PAGE
    routes = [
        Route(AIMED, tuple(request(fragment_path(name, s)) for name, s in states.items())),
        Route("state table, cached", (request(table_path("rtn", "bits", rtn)),)),
        Route(
            "fragment, 304",
            (request(fragment_path("rtn", rtn), If_None_Match=_etag(lesson, fragment_path("rtn", rtn))),),
            304,
        ),
        Route("lesson page", (request(page),)),
        Route("lesson page, 304", (request(page, If_None_Match=_etag(lesson, page)),), 304),
        Route("figure page", (request(figure_path("rtn", rtn)),)),
        Route("static file, style sheet", (request(f"/static/{version()}/lesson.css"),)),
        Route("static file, Plotly", (request(f"/static/{version()}/vendor/plotly-basic.min.js"),)),
    ]
    for route in routes:
        hammer(lesson.url, route.requests * 8, WARM_SECONDS, repeat=False, status=route.status)
    return routes


def _uncached(name: str) -> Route:
    states = random_states(name, NEW_STATES, random.Random(name))
    return Route(name, tuple(request(fragment_path(name, state)) for state in states))


def _load(server: Server, route: Route, new: bool = False) -> Measured:
    before = server.cpu_seconds()
    if new:
        load = hammer(server.url, route.requests, NEW_SECONDS, repeat=False, connections=NEW_CONNECTIONS)
    else:
        load = hammer(server.url, route.requests, SECONDS, status=route.status)
    return Measured(load, server.cpu_seconds() - before)


def _etag(server: Server, path: str) -> str:
    asked = urllib.request.Request(
        server.url + path, headers={"Accept-Encoding": "br"}
    )  # as `request` gets it
    with urllib.request.urlopen(asked) as answer:
        return str(answer.headers["ETag"])
