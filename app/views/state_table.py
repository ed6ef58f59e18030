"""The views of all states of one control, so that a drag needs no network.

A page that holds them answers a drag in the same frame, however far away the server is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import orjson

from app.addresses import address
from app.cache.queue import Busy
from app.cache.response import CachedResponse
from app.cache.store import ResponseCache
from app.views.figure import figure_context, figure_view
from lessons.catalogue import Lesson
from lessons.kit.arrangement import FigureQuery
from lessons.kit.controls import as_parameter

TABLE_SECONDS = 0.18  # of a processor, that one request may spend
LARGEST_TABLE = 64 * 1024  # bytes, compressed: beyond it the next state alone is the better answer
NO_TABLE = CachedResponse(b"{}", "application/json")


def fragment_address(lesson: Lesson, name: str, query: FigureQuery) -> str:
    """The canonical address of a figure's view."""
    of_view = query.of_view(lesson.questions.get(name))
    return address("fragment", lesson.slug, name, query=of_view.pairs())


def table_query(lesson: Lesson, name: str, control: str, query: FigureQuery) -> FigureQuery:
    """What the table of one control depends on: the control itself is the first of its part."""
    first = query.controls.part(control).states[0]
    query = query._replace(controls=query.controls.model_copy(update={control: first}))
    question = lesson.questions.get(name)
    views = [state.of_view(question) for state in _along(query, control).values()]
    # A table in which no guess is drawn is that of all who made none.
    return max(views, key=lambda view: view.guess)._replace(controls=query.controls)


def table_address(lesson: Lesson, name: str, control: str, query: FigureQuery) -> str:
    """The canonical address of a table; `query` is that of `table_query`."""
    return address("along", lesson.slug, name, control, query=query.pairs())


def state_table(
    cache: ResponseCache,
    lesson: Lesson,
    name: str,
    control: str,
    query: FigureQuery,
    seconds: float | None = None,
) -> CachedResponse:
    """The table of a control: all its states, or the part that the current one is in.

    JSON of `lines`, of `states` (value → the lines of its view, as bounds of ranges) and of `beside`, a value
    of each part next to it. It is empty where the views together are too large to send ahead.

    Raises
    ------
    Busy
        Where it takes longer than `seconds` of a processor (`TABLE_SECONDS` if it is not given). The views
        made until then are kept, so the next request goes on from there.
    """
    end, late = time.thread_time() + (TABLE_SECONDS if seconds is None else seconds), False
    lines: dict[str, int] = {}
    states: dict[str, list[int]] = {}
    for value, state in _along(query, control).items():
        cache.give_way()
        own = state.of_view(lesson.questions.get(name))
        key = fragment_address(lesson, name, state)
        view = cache.find(key)
        if view is None:
            if late:
                raise Busy
            view = figure_view(figure_context(lesson, name, own))
            cache.put(key, view)
            late = time.thread_time() > end
        states[value] = _ranges(view.raw.decode().split("\n"), lines)
    beside = [as_parameter(value) for value in query.controls.part(control).beside]
    table = orjson.dumps({"lines": list(lines), "states": states, "beside": beside})
    response = CachedResponse(table, "application/json")
    return response if response.size <= LARGEST_TABLE else NO_TABLE


def _along(query: FigureQuery, control: str) -> dict[str, FigureQuery]:
    """The states of a part of one control, the others as they are, by its value as addresses write it."""
    return {
        as_parameter(value): query._replace(controls=query.controls.model_copy(update={control: value}))
        for value in query.controls.part(control).states
    }


def _ranges(view: Sequence[str], lines: dict[str, int]) -> list[int]:
    """The lines of a view as bounds of ranges in `lines`, which is given those that are new."""
    bounds: list[int] = []
    for line in view:
        number = lines.setdefault(line, len(lines))
        if bounds and bounds[-1] == number:
            bounds[-1] = number + 1
        else:
            bounds += [number, number + 1]
    return bounds
