"""What all routes do: find what the address names, read its query, and answer from the cache."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from fastapi import Depends
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.addresses import address
from app.assets import version
from app.cache.queue import Together
from app.cache.response import CachedResponse, response_with
from app.cache.store import QueueName, ResponseCache
from app.http.errors import CannotShow
from app.http.query import query_parameters, read_query
from app.views.problems import problems_for_people, without
from lessons.catalogue import Lesson, all_slugs, lesson_slugs, load_lesson
from lessons.kit.arrangement import NAMES, FigureQuery, Pairs, read_figure_query
from lessons.kit.controls import ControlError, FigureControls, Text
from lessons.kit.figure import Figure
from lessons.kit.language import gettext as _
from lessons.kit.source import shown_functions

T = TypeVar("T")
READ = ["GET", "HEAD"]
IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"
NOT_KEPT = {"Cache-Control": "no-store"}
SHORT_QUERY = 256  # bytes up to which a query is read in the event loop, and remembered


async def check_version(request: Request) -> None:
    """Refuse an address of another version: its content is not here."""
    if request.path_params["version"] != version():
        raise HTTPException(404, _("This belongs to another version of the lesson. Load the page again."))


OF_THIS_VERSION = [Depends(check_version)]


async def cached(
    request: Request,
    key: str,
    make: Callable[[], CachedResponse],
    *,
    figures: Iterable[tuple[Figure[Any], FigureControls]] = (),
    cache_control: str = REVALIDATE,
) -> Response:
    """The response of a canonical address, made by `make` in a thread if it is not in the cache.

    `figures` are those that it shows. What a reader typed has a queue of its own, and a view that shows a
    job's results is not cached.
    """
    cache = cache_of(request)
    shown = list(figures)
    typed = [(figure, controls) for figure, controls in shown if controls.typed()]
    queue: QueueName = "typed" if typed else "views"
    prepare = typed[0][0].prepare if len(shown) == 1 and typed else None
    together = Together(prepare, typed[0][1]) if prepare else None
    if any(figure.waits_for(controls) for figure, controls in shown):
        return respond(request, await cache.run(make, queue=queue, together=together))
    return respond(request, await cache.get(key, make, queue=queue, together=together), cache_control)


def respond(
    request: Request, response: CachedResponse, cache_control: str = REVALIDATE, status: int = 200
) -> Response:
    """Send a cached response, compressed as the browser likes; 304 when it has it already."""
    code, headers, content = response.answer(
        request.headers.get("accept-encoding", ""), request.headers.get("if-none-match", ""), cache_control
    )
    content = b"" if request.method == "HEAD" else content
    return response_with(content, status if code == 200 else code, headers)


def cache_of(request: Request) -> ResponseCache:
    cache: ResponseCache = request.app.state.cache
    return cache


async def in_thread(request: Request, work: Callable[[], T]) -> T:
    """Run `work` on a reader's input in a thread, outside of the event loop."""
    return await cache_of(request).run(work)


def find_lesson(slug: str) -> Lesson:
    if slug not in all_slugs():
        known = ", ".join(lesson_slugs())
        raise HTTPException(
            404, _("There is no lesson “%(name)s”. There is: %(known)s.", name=slug[:40], known=known)
        )
    return load_lesson(slug)


def find_figure(slug: str, name: str) -> tuple[Lesson, Figure[Any]]:
    lesson = find_lesson(slug)
    if name not in lesson.figures:
        raise HTTPException(404, no_figure(lesson, name))
    return lesson, lesson.figures[name]


def no_figure(lesson: Lesson, name: str) -> str:
    known = ", ".join(lesson.figures)
    return _("This lesson has no figure “%(name)s”. It has: %(known)s.", name=name[:40], known=known)


def find_function(name: str) -> str:
    if name not in shown_functions():
        raise HTTPException(404, _("The library has no function “%(name)s”.", name=name[:80]))
    return name


def must_be(name: str, allowed: str) -> HTTPException:
    """The refusal of a parameter that is no control."""
    return HTTPException(422, _("%(name)s must be %(allowed)s.", name=name, allowed=allowed))


def without_route(parameters: Pairs) -> Pairs:
    """The parameters without the `route` of links from the time when a lesson had several."""
    return [pair for pair in parameters if pair[0] != "route"]


async def read_figure(
    request: Request, slug: str, name: str, *, arranged: bool = True, whole_page: bool = True
) -> tuple[Lesson, FigureQuery]:
    """The lesson that an address names, and what its query says about the figure; see `parse_figure`."""
    lesson, figure = find_figure(slug, name)
    controls: type[FigureControls] = figure.controls
    query: bytes = request.scope["query_string"]
    if len(query) <= SHORT_QUERY and not _needs_thread(controls, query):
        with suppress(ControlError):
            return lesson, FigureQuery(_parsed(controls, query))
    parameters = query_parameters(request)
    parse = partial(parse_figure, lesson, name, parameters, arranged=arranged, whole_page=whole_page)
    return lesson, await in_thread(request, parse)


def parse_figure(
    lesson: Lesson,
    name: str,
    parameters: Pairs,
    *,
    arranged: bool = True,
    guess: bool = True,
    given: Pairs | None = None,
    whole_page: bool = True,
) -> FigureQuery:
    """What parameters say about a figure: its controls, and if `arranged` what may stand beside them.

    Raises
    ------
    CannotShow
        With the address of the figure's page that keeps the rest of what was `given`.
    """
    figure = lesson.figures[name]
    question = lesson.questions.get(name) if guess else None
    try:
        if not arranged:
            return FigureQuery(figure.controls.parse(parameters))
        return read_figure_query(figure.controls, parameters, question)
    except ControlError as error:
        problems = problems_for_people(error, lesson.texts[name], figure.label if whole_page else "")
        rest = without(problems, parameters if given is None else given)
        back = address("figure", lesson.slug, name, query=rest)
        raise CannotShow(lesson, problems, back, "" if whole_page else figure.id) from None


@functools.lru_cache(maxsize=1024)
def _parsed(controls: type[FigureControls], query: bytes) -> FigureControls:
    return controls.parse(read_query(query))


def _needs_thread(controls: type[FigureControls], query: bytes) -> bool:
    """Whether a query may hold free text, more than controls, or names written as escapes."""
    texts = [name for name, widget in controls.widgets().items() if isinstance(widget, Text)]
    return (b"%" in query and bool(texts)) or any(name.encode() in query for name in (*texts, *NAMES))
