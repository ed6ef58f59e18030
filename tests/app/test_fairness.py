"""One client cannot block a class: other clients get their turns, and the event loop continues.

The tests compare orders and counts, not times, so that they do not depend on the machine's load. `make bench-
web PARTS=hostile` measures the times.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from app import create_app
from app.assets import version
from app.cache import store
from app.cache.queue import Crowded
from app.cache.store import BATCH
from app.http import errors
from app.http.clients import REQUESTS_OF_A_TURN, ClientAddress, Turns
from app.routes import common, lesson, own, task
from app.settings import Settings
from fuzz.asgi import Answer, Request, ask
from fuzz.expensive import FORM_HEADERS, expensive_configs, expensive_numbers, form
from lessons.catalogue import load_lesson
from lessons.kit.controls import Text
from lessons.kit.figure import Figure

LIMIT = 120  # seconds until a test gives up
ATTACKER, STUDENT = "192.0.2.1", "192.0.2.2"
LESSON = "/lessons/quantization"
numbers = itertools.count()


@pytest.fixture
def few_waiting(monkeypatch: pytest.MonkeyPatch) -> int:
    """How many of the same to readers' own weights wait here: fewer are soon over."""
    monkeypatch.setattr(store, "MOST_GIVEN", 32)
    return 32


@pytest.fixture
def app() -> Iterator[FastAPI]:
    load_lesson("quantization")
    app = create_app(Settings(make_ahead=False))
    app.state.ready = True
    yield app
    app.state.cache.close()


def fragment(name: str, **controls: str) -> Request:
    return Request("GET", f"/fragments/{version()}/quantization/{name}?{urlencode(controls)}")


def sentence() -> Request:
    return fragment("sentence", sentence=f"the king sent {next(numbers)} men")


def post(name: str, fields: dict[str, str]) -> Request:
    address = f"/fragments/{version()}/quantization/{name}"
    return Request("POST", address, FORM_HEADERS, form(fields.items()))


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test(), LIMIT)

    asyncio.run(bounded())


ASKED: dict[str, Callable[[], Request]] = {
    "sentence": sentence,
    "fragment": lambda: fragment("rtn", bits="5"),
    "lesson": lambda: Request("GET", LESSON),
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_a_flood_of_sentences_of_one_client_leaves_another_its_turn(
    app: FastAPI, asked: Callable[[], Request]
) -> None:
    async def test() -> None:
        await ask(app, Request("GET", LESSON), STUDENT)  # as after every start: it takes a while
        flood = [asyncio.create_task(ask(app, sentence(), ATTACKER)) for _ in range(40)]
        await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
        before = sum(task.done() for task in flood)
        answer = await ask(app, asked(), STUDENT)
        assert answer.status == 200
        assert sum(task.done() for task in flood) - before <= 3 * BATCH
        assert {(await task).status for task in flood} == {200}

    run(test)


def test_a_flood_of_posts_of_one_client_gives_nobody_else_a_refusal(few_waiting: int, app: FastAPI) -> None:
    async def test() -> None:
        own = post("rtn", expensive_numbers(0)["numbers"])
        flood = [asyncio.create_task(ask(app, own, ATTACKER)) for _ in range(few_waiting + 100)]
        students = []
        for number in range(5):
            await asyncio.sleep(0.05)
            students.append(await ask(app, own, f"198.51.100.{number}"))
            students.append(await ask(app, fragment("primitive", bits="3", weight=str(number)), STUDENT))
        assert [answer.status for answer in students] == [200] * 10
        given = [await task for task in flood]
        refused = [answer for answer in given if answer.status != 200]
        assert {answer.status for answer in refused} == {429}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert len(refused) <= 100

    run(test)


CHEAP: dict[str, Request] = {
    "a page that is kept": Request("GET", "/healthz"),
    "nothing": Request("GET", "/nothing"),
    "not possible": fragment("rtn", bits="99"),
    "too long": Request("GET", "/" + 2000 * "a"),
    "not allowed": Request("POST", "/"),
}


@pytest.mark.parametrize("request_", CHEAP.values(), ids=CHEAP)
def test_flood_delays_others_by_a_few_requests(app: FastAPI, request_: Request) -> None:
    async def test() -> None:
        await ask(app, request_, STUDENT)
        flood = [asyncio.create_task(ask(app, request_, ATTACKER)) for _ in range(500)]
        student = asyncio.create_task(ask(app, Request("GET", "/healthz"), STUDENT))  # the very last one
        assert (await student).status == 200
        assert sum(task.done() for task in flood) <= 4 * REQUESTS_OF_A_TURN
        assert len({(await task).status for task in flood}) == 1

    run(test)


def test_clients_take_turns_in_the_event_loop() -> None:
    begun: list[str] = []

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        begun.append(scope["client"][0])

    async def test() -> None:
        app = ClientAddress(Turns(note, requests_of_a_turn=2))
        async with asyncio.TaskGroup() as group:
            for client in "aaaaaaabbc":
                scope = {"type": "http", "client": (client, 1)}
                group.create_task(app(scope, None, None))  # type: ignore[arg-type]
        assert "".join(begun) == "aaabcabaaa"

    run(test)


@pytest.mark.parametrize("leaves", [True, False])
def test_refusal_is_delayed(app: FastAPI, monkeypatch: pytest.MonkeyPatch, leaves: bool) -> None:
    """Meanwhile its form is not held; if the client disconnects, the delay ends."""
    monkeypatch.setattr(errors, "REFUSED_SECONDS", LIMIT if leaves else 0.1)
    own = post("rtn", expensive_numbers(0)["numbers"])
    pauses = 0

    async def crowded(*_: object, **__: object) -> None:
        references = sys.getrefcount(own.body)
        assert references > held
        raise Crowded

    async def pause() -> None:
        nonlocal pauses
        pauses += 1
        references = sys.getrefcount(own.body)
        assert references <= held
        if not leaves:
            await asyncio.sleep(LIMIT)

    async def test() -> None:
        assert (await ask(app, own, STUDENT, pause)).status == 429
        assert pauses == 1

    monkeypatch.setattr(app.state.cache, "run", crowded)
    held = sys.getrefcount(own.body)
    run(test)


def test_class_behind_one_address_is_fully_served(app: FastAPI) -> None:
    """As many different answers at once as a class has students; nobody else is there to take turns with."""

    async def test() -> None:
        states = load_lesson("quantization").figures["fold"].controls.every()
        asked = [Request("GET", f"{LESSON}/figures/fold.csv?{urlencode(state.query())}") for state in states]
        given = await asyncio.gather(*(ask(app, request, STUDENT) for request in asked[:400]))
        assert {answer.status for answer in given} == {200}

    run(test)


EXPENSIVE = {
    "a long list": post("fit", expensive_configs(0)["zeros"]),
    "many fields": post("fit", expensive_configs(0)["fields"]),
    "a deep nest": post("fit", expensive_configs(0)["deep"]),
    "own weights": post("rtn", expensive_numbers(0)["numbers"]),
    "a sentence": sentence(),
    "a line": fragment("fit", source="config", config="num_hidden_layers=512 hidden_size=99999999"),
    "an escaped line": Request("GET", f"{LESSON}/figures/fit?c%6Fnfig=num_hidden_layers=512"),
    "a lesson page": Request("GET", f"{LESSON}?fit.config=num_hidden_layers%3D512"),
    "a task": Request("GET", f"{LESSON}/tasks/rounding?seed=77"),
    "a teacher's link": Request("GET", f"{LESSON}/teach?figure=fit&set.config=num_hidden_layers%3D512"),
}


@pytest.mark.parametrize("request_", EXPENSIVE.values(), ids=EXPENSIVE)
def test_reader_input_is_never_parsed_in_the_event_loop(
    app: FastAPI, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Controls, files and views are validated in other threads than the loop's."""
    threads: list[str] = []

    def noting(function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **named: Any) -> Any:
            threads.append(threading.current_thread().name)
            return function(*arguments, **named)

        return noted

    for owner, name in (
        (common, "read_figure_query"),
        (lesson, "read_figure_query"),
        (own, "read_form"),
        (own, "figure_on_own"),
        (task, "read_attempt"),
        (errors, "problem_page"),
        (Figure, "view_with"),
        (Text, "accepts"),
    ):
        monkeypatch.setattr(owner, name, noting(getattr(owner, name)))

    async def test() -> None:
        answer: Answer = await ask(app, request_, STUDENT)
        assert answer.status < 500

    run(test)
    assert threads
    assert not any(name.startswith("Main") for name in threads)
