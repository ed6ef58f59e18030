"""Routes of one figure: its page, its files, its view, and what is fetched when a fold is opened."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.addresses import PATHS, address, place_of
from app.cache.queue import Busy
from app.cache.response import CachedResponse
from app.export.files import csv_file, python_file, svg_file
from app.export.sheets import Scheme
from app.http.query import query_parameters
from app.http.security import page_headers
from app.routes.common import (
    IMMUTABLE,
    OF_THIS_VERSION,
    READ,
    REVALIDATE,
    cache_of,
    cached,
    find_figure,
    find_function,
    in_thread,
    must_be,
    parse_figure,
    read_figure,
    respond,
    without_route,
)
from app.site import current_site
from app.views.environment import html
from app.views.figure import FigureContext, figure_context, figure_view
from app.views.state_table import NO_TABLE, state_table, table_address, table_query
from lessons.catalogue import Lesson
from lessons.kit.arrangement import FigureQuery, Pairs, read_figure_query
from lessons.kit.controls import ControlError
from lessons.kit.figure import Figure
from lessons.kit.language import gettext as _
from lessons.kit.source import source_named

router = APIRouter()


@router.api_route(PATHS["csv"], methods=READ)
async def csv(request: Request, slug: str, name: str) -> Response:
    """The figure's data table as CSV, raw values."""
    lesson, query = await read_figure(request, slug, name, arranged=False)
    return await _cached(request, "csv", lesson, name, query, csv_file)


@router.api_route(PATHS["svg"], methods=READ)
async def svg(request: Request, slug: str, name: str) -> Response:
    """The figure's drawing as a stand-alone SVG file; `ground=dark` for a dark page."""
    lesson, figure = find_figure(slug, name)
    check_drawing(figure)
    parameters = query_parameters(request)
    scheme = read_ground(parameters)
    controls = [pair for pair in parameters if pair[0] != "ground"]
    query = await in_thread(request, partial(parse_figure, lesson, name, controls, arranged=False))
    make = partial(svg_file, scheme=scheme)
    return await _cached(request, "svg", lesson, name, query, make, more=[("ground", scheme)])


@router.api_route(PATHS["py"], methods=READ)
async def python(request: Request, slug: str, name: str) -> Response:
    """Python that reproduces the figure's read-outs with these controls."""
    lesson, query = await read_figure(request, slug, name, arranged=False)
    key = address("py", slug, name, query=query.pairs())
    make = partial(python_file, lesson, name, query)
    return await cached(request, key, make, figures=[(lesson.figures[name], query.controls)])


@router.api_route(PATHS["figure"], methods=READ)
async def figure_page(request: Request, slug: str, name: str) -> Response:
    """A figure alone: to share, to print, to embed with `embed=1`, to project with `present=1`.

    Without JavaScript a form of the lesson page adds `in=lesson`: back to the lesson, with the new controls.
    """
    lesson = find_figure(slug, name)[0]
    parameters = without_route(query_parameters(request))
    shell = {key: value for key, value in parameters if key in ("embed", "present", "in")}
    own = [(key, value) for key, value in parameters if key not in shell and "." not in key]
    frame = _read_frame(shell)
    query = await in_thread(request, partial(parse_figure, lesson, name, own, given=parameters))
    if shell.get("in") == "lesson":
        others = await in_thread(request, partial(_parse_others, lesson, name, parameters))
        return RedirectResponse(place_of(lesson, name, query.pairs(), others=others), 303)
    headers = page_headers(current_site().embed_ancestors) if frame == "embed" else None
    make = partial(_page, f"{frame or 'figure'}.jinja", headers)
    more = [(frame, "1")] if frame else []
    return await _cached(request, "figure", lesson, name, query, make, more=more)


@router.api_route(PATHS["fragment"], methods=READ, dependencies=OF_THIS_VERSION)
async def fragment(request: Request, slug: str, name: str) -> Response:
    """The view alone, which htmx swaps in. The address holds the version, so the response never changes."""
    lesson, query = await read_figure(request, slug, name, whole_page=False)
    query = query.of_view(lesson.questions.get(name))
    return await _cached(request, "fragment", lesson, name, query, figure_view, cache_control=IMMUTABLE)


@router.api_route(PATHS["along"], methods=READ, dependencies=OF_THIS_VERSION)
async def along(request: Request, slug: str, name: str, control: str) -> Response:
    """The views of all states of one control, fetched on first touch so that a drag needs no network."""
    figure = find_figure(slug, name)[1]
    if control not in figure.controls.tabled():
        raise HTTPException(404)
    lesson, query = await read_figure(request, slug, name, whole_page=False)
    if figure.waits_for(query.controls) is None:
        if query.controls.typed():
            return respond(request, NO_TABLE, IMMUTABLE)
        query, cache = table_query(lesson, name, control, query), cache_of(request)
        make = partial(state_table, cache, lesson, name, control, query)
        with suppress(Busy):
            table = await cache.get(table_address(lesson, name, control, query), make, queue="ahead")
            return respond(request, table, IMMUTABLE)
    return respond(request, NO_TABLE, "no-store")  # each state by itself then, and the table another time


@router.api_route(PATHS["listing"], methods=READ, dependencies=OF_THIS_VERSION)
async def listing(request: Request, slug: str, name: str, function: str) -> Response:
    """The source of a function that a figure ran, fetched when it is unfolded."""
    id = f"{find_figure(slug, name)[1].id}-{find_function(function)}"

    def make() -> CachedResponse:
        return html("listing.jinja", code=source_named(function), id=id)

    return await cached(request, address("listing", slug, name, function), make, cache_control=IMMUTABLE)


@router.api_route(PATHS["share"], methods=READ, dependencies=OF_THIS_VERSION)
async def share(request: Request, slug: str, name: str) -> Response:
    """The *Share* panel of a figure, fetched when it is unfolded."""
    lesson, query = await read_figure(request, slug, name, whole_page=False)
    make = partial(_page, "kit/share.jinja", None)
    query = FigureQuery(query.controls)
    return await _cached(request, "share", lesson, name, query, make, cache_control=IMMUTABLE)


@router.api_route(PATHS["own"], methods=READ, dependencies=OF_THIS_VERSION)
async def own_panel(request: Request, slug: str, name: str) -> Response:
    """The panel for a reader's own weights or model, fetched when it is unfolded."""
    figure = find_figure(slug, name)[1]
    check_takes_own(figure)
    lesson, query = await read_figure(request, slug, name, whole_page=False)
    make = partial(_page, "kit/own.jinja" if figure.on_own else "kit/config.jinja", None)
    query = FigureQuery(query.controls)
    return await _cached(request, "own", lesson, name, query, make, cache_control=IMMUTABLE)


async def _cached(
    request: Request,
    page: str,
    lesson: Lesson,
    name: str,
    query: FigureQuery,
    make: Callable[[FigureContext], CachedResponse],
    *,
    more: Pairs | None = None,
    cache_control: str = REVALIDATE,
) -> Response:
    """The cached response that `make` makes from a figure's context."""
    return await cached(
        request,
        address(page, lesson.slug, name, query=[*query.pairs(), *(more or [])]),
        lambda: make(figure_context(lesson, name, query)),
        figures=[(lesson.figures[name], query.controls)],
        cache_control=cache_control,
    )


def _page(template: str, headers: dict[str, str] | None, f: FigureContext) -> CachedResponse:
    return html(template, headers=headers, lesson=f.lesson, f=f)


def check_takes_own(figure: Figure[Any]) -> None:
    """Refuse a figure that takes no weights or model of a reader."""
    if not figure.takes_own:
        told = _("%(figure)s is drawn on the lesson's own data only.", figure=figure.label)
        raise HTTPException(405, told, {"Allow": "GET"})


def check_drawing(figure: Figure[Any]) -> None:
    """Refuse a figure of which no SVG file can be made."""
    if figure.is_html:
        raise HTTPException(
            404, _("%(figure)s is made of HTML: there is no SVG file of it.", figure=figure.label)
        )


def read_ground(parameters: Pairs) -> Scheme:
    """The background that a picture is drawn for: light or dark."""
    grounds = [value for key, value in parameters if key == "ground"] or ["light"]
    if grounds not in (["light"], ["dark"]):
        raise must_be("ground", _("light or dark"))
    return "dark" if grounds == ["dark"] else "light"


def _read_frame(shell: dict[str, str]) -> str:
    """What the page is for: "embed", "present", or "" for the page of the site."""
    for name in ("embed", "present"):
        if shell.get(name, "0") not in ("0", "1"):
            raise must_be(name, _("0 or 1"))
    if shell.get("in", "page") not in ("page", "lesson"):
        raise must_be("in", _("page or lesson"))
    asked = [name for name in ("embed", "present") if shell.get(name) == "1"]
    if len(asked) > 1:
        raise must_be("present", _("0 in an embed"))
    return asked[0] if asked else ""


def _parse_others(lesson: Lesson, name: str, parameters: Pairs) -> list[tuple[str, Pairs]]:
    """The parameters of the lesson's other figures, as far as they are valid."""
    found: list[tuple[str, Pairs]] = []
    for other, figure in lesson.figures.items():
        own = [(key.partition(".")[2], value) for key, value in parameters if key.startswith(f"{other}.")]
        if own and other != name:
            with suppress(ControlError):
                query = read_figure_query(figure.controls, own, lesson.questions.get(other))
                found.append((other, query.pairs()))
    return found
