"""No valid request takes more than a fifth of a second of a processor, whatever it asks of any route."""

from __future__ import annotations

import asyncio
import math
import time
from itertools import islice, product

import pytest
from fastapi import FastAPI

from app import create_app
from app.settings import Settings
from fuzz.asking import Request, ask
from fuzz.dearest import dear_requests, routes
from lessons.catalogue import all_slugs, load_lesson
from lessons.kit.controls import Choice

LIMIT = 0.2  # seconds of a processor
FACTOR = 2.0  # by which a busy or an old machine may be slower
TURNS = 3  # other states each, of which the cheapest counts: what is read once by a process is no request's

NOT_ASKED = {
    ("POST", "/lessons/{slug}/jobs/{name}"): "begins a process of minutes, on purpose",
    ("POST", "/lessons/{slug}/jobs/{name}/stop"): "waits for that process",
}


MOST_WARMED = 30  # states of a figure that are computed before


@pytest.fixture(scope="module")
def app() -> FastAPI:
    """The application, with what a worker computes once and keeps: each figure in all of its choices."""
    for slug in all_slugs():
        for figure in load_lesson(slug).figures.values():
            choices = {
                name: widget.states()
                for name, widget in figure.controls.widgets().items()
                if isinstance(widget, Choice) and len(widget.states()) < 10
            }
            for values in islice(product(*choices.values()), MOST_WARMED):
                figure.view(figure.controls(**dict(zip(choices, values, strict=True))))
    app = create_app(Settings(make_ahead=False))
    app.state.ready = True
    return app


def cost(app: FastAPI, request: Request) -> tuple[float, int]:
    """Seconds of this process's processors, all threads together, and the status."""

    async def asked() -> int:
        return (await ask(app, request)).status

    begun = time.process_time()
    status = asyncio.run(asked())
    return time.process_time() - begun, status


def test_the_dearest_valid_request_of_every_route(app: FastAPI) -> None:
    dear: dict[str, int] = {}
    for method, path in set(routes(app)) - set(NOT_ASKED):
        asked = [dict(dear_requests(method, path, turn)) for turn in range(TURNS)]
        assert asked[0], f"nothing is asked of {method} {path}: see fuzz/dearest.py"
        statuses = []
        for of_what in asked[0]:
            best = math.inf
            for turn in range(TURNS):
                seconds, status = cost(app, asked[turn][of_what])
                statuses.append(status)
                best = min(best, seconds)
                if best <= LIMIT:
                    break
            if best > LIMIT * FACTOR:
                dear[f"{method} {path} {of_what}"] = round(1000 * best)
        assert min(statuses) < 400, (path, statuses)
        assert max(statuses) < 500, (path, statuses)
    assert not dear, f"ms of a processor: {dear}"
