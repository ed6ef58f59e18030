"""Routes of a lesson as a whole: its page, its notebook, and its other pages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.addresses import PATHS, address, place_of
from app.cache.response import CachedResponse
from app.export.files import notebook_file
from app.http.errors import CannotShow
from app.http.query import query_parameters
from app.routes.common import (
    READ,
    cached,
    find_function,
    find_lesson,
    in_thread,
    must_be,
    no_figure,
)
from app.views.environment import html
from app.views.lesson import (
    FigureQueries,
    lesson_address,
    lesson_page,
    prose_page,
    receipts_page,
    summary_page,
    workshop_index,
    workshop_page,
)
from app.views.problems import Problem, problems_for_people, without
from lessons.catalogue import Lesson
from lessons.kit.arrangement import Pairs, read_figure_query
from lessons.kit.controls import ControlError, FigureControls
from lessons.kit.figure import Figure
from lessons.kit.language import gettext as _
from lessons.kit.prose import Section
from lessons.kit.source import source_named

router = APIRouter()


@router.api_route(PATHS["lesson"], methods=READ)
async def lesson(request: Request, slug: str) -> Response:
    """The whole lesson. `rtn.bits=3` sets a control of a figure; other parameters are ignored.

    An address that speaks only of figures of one workshop page leads there.
    """
    lesson, queries = await _read_figures(request, slug)
    named = [name for name, query in queries.items() if _speaks_of(request, name)]
    if named and lesson.in_workshop(named[0]) and len({lesson.page_of(name).slug for name in named}) == 1:
        states = [(name, query.pairs()) for name, query in queries.items()]
        return RedirectResponse(place_of(lesson, named[0], dict(states)[named[0]], others=states), 303)
    key = lesson_address(lesson, queries)
    make = partial(lesson_page, lesson, queries)
    return await cached(request, key, make, figures=_shown(lesson, queries, *lesson.sections))


@router.api_route(PATHS["workshop"], methods=READ)
async def workshop(request: Request, slug: str) -> Response:
    """The pages of the workshop, each with what one can do there."""
    lesson = find_lesson(slug)
    query_parameters(request)
    _check_workshop(lesson)
    return await cached(request, address("workshop", slug), partial(workshop_index, lesson))


@router.api_route(PATHS["workshop page"], methods=READ)
async def workshop_page_route(request: Request, slug: str, page: str) -> Response:
    """A page of the workshop. Controls of figures that stand elsewhere travel in its way back."""
    lesson = find_lesson(slug)
    _check_workshop(lesson)
    slugs = [each.slug for each in lesson.workshop]
    if page not in slugs:
        known = ", ".join(slugs)
        raise HTTPException(
            404, _("The workshop has no page “%(name)s”. It has: %(known)s.", name=page[:40], known=known)
        )
    lesson, queries = await _read_figures(request, slug, page)
    key = lesson_address(lesson, queries, page=("workshop page", slug, page))
    make = partial(workshop_page, lesson, lesson.workshop_page(page), queries)
    return await cached(request, key, make, figures=_shown(lesson, queries, lesson.workshop_page(page)))


@router.api_route(PATHS["notebook"], methods=READ)
async def notebook(request: Request, slug: str) -> Response:
    """The lesson's computations as a Jupyter notebook, its figures with the controls that the query names."""
    lesson, queries = await _read_figures(request, slug)
    key = lesson_address(lesson, queries, page=("notebook", slug))
    shown = _shown(lesson, queries, *lesson.pages)
    return await cached(request, key, partial(notebook_file, lesson, queries), figures=shown)


@router.api_route(PATHS["receipts"], methods=READ)
async def receipts(request: Request, slug: str) -> Response:
    """Predicted and logged memory, for every published case of the memory formulas."""
    return await _cached_page(request, slug, "receipts", receipts_page, _("This lesson has no receipts."))


@router.api_route(PATHS["summary"], methods=READ)
async def summary(request: Request, slug: str) -> Response:
    """The lesson on one page, to print."""
    return await _cached_page(request, slug, "summary", summary_page, _("This lesson has no summary."))


@router.api_route(PATHS["faq"], methods=READ)
async def faq(request: Request, slug: str) -> Response:
    """Questions that people ask, with short answers."""
    missing = _("This lesson has no answers to common questions.")
    return await _cached_page(request, slug, "faq", partial(prose_page, "faq"), missing)


@router.api_route(PATHS["courses"], methods=READ)
async def courses(request: Request, slug: str) -> Response:
    """Units of other courses, and the figures that show them."""
    missing = _("This lesson is not compared with other courses.")
    return await _cached_page(request, slug, "courses", partial(prose_page, "courses"), missing)


@router.api_route(PATHS["sources"], methods=READ)
async def sources(request: Request, slug: str) -> Response:
    """The numbers of the prose with their kinds and sources; of one section or page with `section`."""
    lesson, given = find_lesson(slug), dict(query_parameters(request)).get("section")
    pages = {page.slug: page for page in (*lesson.sections, *lesson.workshop) if page.claims}
    if given is not None and given not in pages:
        raise must_be("section", ", ".join(pages))
    key = address("sources", slug, query=[("section", given)] if given else [])
    page = pages[given] if given else None
    return await cached(request, key, lambda: html("sources.jinja", lesson=lesson, page=page))


@router.api_route(PATHS["code"], methods=READ)
async def code(request: Request, slug: str, function: str) -> Response:
    """The source of a function of the library, on a page of its own."""
    lesson = find_lesson(slug)
    query_parameters(request)
    key = address("code", slug, find_function(function))
    return await cached(request, key, lambda: html("code.jinja", lesson=lesson, code=source_named(function)))


async def _cached_page(
    request: Request, slug: str, page: str, make: Callable[[Lesson], CachedResponse], missing: str = ""
) -> Response:
    """A page that depends on the lesson alone; 404 in a lesson without it."""
    lesson = find_lesson(slug)
    query_parameters(request)
    if missing and getattr(lesson, page) is None:
        raise HTTPException(404, missing)
    return await cached(request, address(page, slug), partial(make, lesson))


def _shown(
    lesson: Lesson, queries: FigureQueries, *pages: Section
) -> list[tuple[Figure[Any], FigureControls]]:
    """The figures of some pages, with their controls."""
    return [(lesson.figures[name], queries[name].controls) for page in pages for name in page.figures]


def _speaks_of(request: Request, figure: str) -> bool:
    """Whether a query has a parameter of a figure."""
    return any(key.startswith(f"{figure}.") for key, _value in query_parameters(request))


def _check_workshop(lesson: Lesson) -> None:
    if not lesson.workshop:
        raise HTTPException(404, _("This lesson has no workshop."))


async def _read_figures(request: Request, slug: str, page: str = "") -> tuple[Lesson, FigureQueries]:
    """A lesson, and what the address says about each of its figures. `page` is one of the workshop."""
    lesson, parameters = find_lesson(slug), query_parameters(request)
    return lesson, await in_thread(request, partial(_parse_figures, lesson, parameters, page))


def _parse_figures(lesson: Lesson, parameters: Pairs, page: str) -> FigureQueries:
    """Read parameters such as `rtn.bits=3`; `CannotShow` has the problems of all figures."""
    given: defaultdict[str, Pairs] = defaultdict(list)
    for key, value in parameters:
        name, dot, control = key.partition(".")
        if dot and name not in lesson.figures:
            raise HTTPException(422, no_figure(lesson, name))
        if dot:
            given[name].append((control, value))
    queries, problems = {}, list[Problem]()
    for name, figure in lesson.figures.items():
        try:
            queries[name] = read_figure_query(figure.controls, given[name], lesson.questions.get(name))
        except ControlError as error:
            problems += [
                problem | {"control": f"{name}.{problem['control']}"}
                for problem in problems_for_people(error, lesson.texts[name], figure.label)
            ]
    if problems:
        ours = [pair for pair in parameters if "." in pair[0]]
        names = ("workshop page", lesson.slug, page) if page else ("lesson", lesson.slug)
        raise CannotShow(lesson, problems, address(*names, query=without(problems, ours)))
    return queries
