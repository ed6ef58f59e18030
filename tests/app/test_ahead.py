"""Responses that an idle worker makes ahead."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from app import create_app
from app.cache import ahead, store
from app.cache.response import CachedResponse
from app.settings import Settings
from app.views.state_table import fragment_address, table_address, table_query
from lessons.catalogue import load_lesson
from lessons.kit.arrangement import FigureQuery

FEW, MANY = "calibration", "rtn"
LESSON = load_lesson("quantization")
FIGURES = LESSON.figures
NOTHING = CachedResponse(b"", "text/html")


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    """Without slow parts: the page, the views of tables, and all figures but one with few states."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ahead, "FEW_STATES", FIGURES[FEW].controls.combinations())
        patch.setattr(ahead, "lesson_page", lambda *_, **__: NOTHING)
        patch.setattr(ahead, "state_table", lambda *_: NOTHING)
        yield patch


@pytest.fixture(scope="module")
def ready(patch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    app = create_app(Settings(answers_folder=str(tmp_path_factory.mktemp("responses"))))
    assert ahead.make(app, pause=0.0)
    return app


def test_first_state_tables_of_every_figure_are_made(ready: FastAPI) -> None:
    for name, figure in FIGURES.items():
        start = FigureQuery(figure.controls())
        for control in start.controls.tabled():
            query = table_query(LESSON, name, control, start)
            assert ready.state.cache.find(table_address(LESSON, name, control, query))


def test_all_states_of_a_figure_with_few_are_made(ready: FastAPI) -> None:
    for controls in FIGURES[FEW].controls.every():
        assert ready.state.cache.find(fragment_address(LESSON, FEW, FigureQuery(controls)))


def test_only_state_tables_of_a_figure_with_many_states_are_made(ready: FastAPI) -> None:
    query = FigureQuery(FIGURES[MANY].controls())
    assert not ready.state.cache.find(fragment_address(LESSON, MANY, query))


def test_stopping_worker_makes_no_more_responses(patch: pytest.MonkeyPatch) -> None:
    stopping = create_app(Settings())
    stopping.state.stop()
    assert not ahead.make(stopping)
    assert stopping.state.cache.items() == []


def test_lesson_page_comes_before_its_workshop() -> None:
    """A class on a server that has just started works on the lesson's page."""
    keys = [key for key, _make in ahead.likely_pages(create_app(Settings()).state.cache)]
    tables = [key.split("/along/")[0].rpartition("/")[2] for key in keys if "/along/" in key]
    in_workshop = [LESSON.in_workshop(name) for name in tables]
    assert in_workshop == sorted(in_workshop)
    assert [("/along/" in key) for key in keys] == [True] * len(tables) + [False] * (len(keys) - len(tables))


def test_nothing_is_made_ahead_while_readers_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = create_app(Settings()).state.cache
    waited: list[float] = []

    class Stopping(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout or 0.0)
            return len(waited) == 2

    cache.wait_for_rest(Stopping())
    assert waited == []
    asyncio.run(cache.get("/asked", lambda: NOTHING))
    cache.wait_for_rest(Stopping())
    assert 0.0 < waited[0] <= store.RESTS_AFTER
    monkeypatch.setattr(store, "RESTS_AFTER", math.inf)
    waited.clear()
    cache.wait_for_rest(Stopping())
    assert store.WAITS_FOR_REST - 0.1 < waited[0] <= store.WAITS_FOR_REST
