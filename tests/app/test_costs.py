"""No valid request, to any route, costs more than a few sentences that the small model reads.

A sentence is the unit: it is the most expensive work that every reader may ask for, about 45 ms of a quiet
processor. A ratio of two measurements in one run holds on a busy or an old machine; milliseconds would not.
`make fuzz-routes` prints those.
"""

from __future__ import annotations

import asyncio
import time
from itertools import islice, product

import pytest
from fastapi import FastAPI

from app import create_app
from app.settings import Settings
from fuzz.asgi import Request, ask
from fuzz.expensive import expensive_requests, routes
from lessons.catalogue import all_slugs, load_lesson
from lessons.kit.controls import Choice
from lessons.quantization import small_model

MOST = 7.0  # sentences
CHEAP = 0.1  # CPU seconds below which nothing is compared
TURNS = 3  # different states of each request; the cheapest counts, because files are read once
SENTENCE = "The train to London leaves from platform nine at half past seven."

NOT_ASKED = {
    ("POST", "/lessons/{slug}/jobs/{name}"): "begins a process of minutes, on purpose",
    ("POST", "/lessons/{slug}/jobs/{name}/stop"): "waits for that process",
}


OF_CLASSES = ("/class", "/desk", "/join", "/screen")
"""Beginnings of the addresses of classes, which this application has off: `bench/live.py` measures them."""

MOST_WARMED = 30  # states of a figure that are computed before


@pytest.fixture(scope="module")
def app() -> FastAPI:
    """The application with the caches of a worker filled: each figure with all options."""
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
    """CPU seconds of this process, all threads together, and the status."""

    async def asked() -> int:
        return (await ask(app, request)).status

    begun = time.process_time()
    status = asyncio.run(asked())
    return time.process_time() - begun, status


def sentence_cost(seed: int) -> float:
    """CPU seconds of one new sentence, read and continued."""
    small_model.forget()
    begun = time.process_time()
    small_model.read(SENTENCE, seed)
    return time.process_time() - begun


def test_cost_of_the_most_expensive_request_of_every_route(app: FastAPI) -> None:
    expensive: dict[str, float] = {}
    for method, path in set(routes(app)) - set(NOT_ASKED):
        if path.startswith(OF_CLASSES):
            continue
        asked = [dict(expensive_requests(method, path, turn)) for turn in range(TURNS)]
        assert asked[0], f"nothing is asked of {method} {path}: see fuzz/expensive.py"
        statuses = []
        for of_what in asked[0]:
            ratios = []
            for turn in range(TURNS):
                seconds, status = cost(app, asked[turn][of_what])
                statuses.append(status)
                ratios.append(0.0 if seconds < CHEAP else seconds / sentence_cost(turn))
                if ratios[-1] <= MOST:
                    break
            if min(ratios) > MOST:
                expensive[f"{method} {path} {of_what}"] = round(min(ratios), 1)
        assert min(statuses) < 400, (path, statuses)
        assert max(statuses) < 500, (path, statuses)
    assert not expensive, f"times the cost of a sentence: {expensive}"
