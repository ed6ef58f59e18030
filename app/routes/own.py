"""Routes for what a reader sends to a figure: own weights, or a file that sets the controls.

Nothing of it is stored, and no address leads to it. A file that sets controls is answered with their address.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from app.addresses import PATHS, address
from app.cache.response import CachedResponse
from app.export.files import csv_file, svg_file
from app.export.sheets import Scheme
from app.http.query import Forms, read_form
from app.routes.common import NOT_KEPT, OF_THIS_VERSION, find_figure, in_thread, parse_figure, respond
from app.routes.figure import check_drawing, check_takes_own, read_ground
from app.views.environment import HTML, html, render
from app.views.figure import figure_on_own, figure_view
from lessons.catalogue import Lesson
from lessons.kit.arrangement import FigureQuery, Pairs
from lessons.kit.figure import Figure
from lessons.kit.own import FIELDS, OwnError

router = APIRouter()
Wanted = Literal["figure", "fragment", "csv", "svg"]
"""What can be made of a reader's own weights."""


@router.post(PATHS["csv"])
async def csv_on_own(request: Request, slug: str, name: str) -> Response:
    """The figure's data table on weights that were sent along."""
    return await _on_own(request, slug, name, "csv")


@router.post(PATHS["svg"])
async def svg_on_own(request: Request, slug: str, name: str) -> Response:
    """The figure's drawing on weights that were sent along, as a file."""
    return await _on_own(request, slug, name, "svg")


@router.post(PATHS["figure"])
async def figure_page_on_own(request: Request, slug: str, name: str) -> Response:
    """The figure's page on weights that a form has sent, or a redirect to the controls that a file sets."""
    return await _on_own(request, slug, name, "figure")


@router.post(PATHS["fragment"], dependencies=OF_THIS_VERSION)
async def fragment_on_own(request: Request, slug: str, name: str) -> Response:
    """The figure's view on weights that the page has sent along, or the controls that a file sets."""
    return await _on_own(request, slug, name, "fragment")


async def _on_own(request: Request, slug: str, name: str, wanted: Wanted) -> Response:
    forms: Forms = request.app.state.forms
    lesson, figure = find_figure(slug, name)
    check_takes_own(figure)
    if wanted in ("csv", "svg") and figure.from_file is not None:
        raise HTTPException(405, None, {"Allow": "GET"})  # its state is in the address
    if wanted == "svg":
        check_drawing(figure)
    async with forms.read(request) as form:
        try:
            made = await in_thread(request, partial(_make, lesson, figure, form, wanted))
        except OwnError as error:
            if wanted != "fragment":
                raise HTTPException(422, str(error)) from None
            tell = partial(render, "own_problem.jinja", id=figure.id, problem=str(error))
            return Response(await in_thread(request, tell), 422, NOT_KEPT, media_type=HTML)
    return made if isinstance(made, Response) else respond(request, made, "no-store")


def _make(lesson: Lesson, figure: Figure[Any], form: bytes, wanted: Wanted) -> CachedResponse | Response:
    """The response to the fields of a form."""
    sent, whole_page = read_form(form), wanted == "figure"
    own = {key: value for key, value in sent if key in FIELDS}
    scheme: Scheme = read_ground(sent) if wanted == "svg" else "light"
    apart = {*FIELDS, "in", "embed", "present", *(["ground"] if wanted == "svg" else [])}
    rest = [pair for pair in sent if pair[0] not in apart]
    if figure.from_file is not None:
        return _from_file(lesson, figure, rest, figure.from_file(own), whole_page=whole_page)
    query = parse_figure(lesson, figure.name, rest, whole_page=wanted != "fragment")
    return _drawn(lesson, figure.name, query, own, wanted, scheme)


def _from_file(
    lesson: Lesson, figure: Figure[Any], rest: Pairs, found: dict[str, str], *, whole_page: bool
) -> Response:
    """Where the figure is with the controls that a reader's file sets; for a script, the controls alone."""
    if not whole_page:
        return JSONResponse(found, headers=NOT_KEPT)
    others = [pair for pair in rest if pair[0] not in found]
    query = parse_figure(lesson, figure.name, [*others, *found.items()])
    there = address("figure", lesson.slug, figure.name, query=query.pairs(), anchor=figure.id)
    return RedirectResponse(there, 303, NOT_KEPT)


def _drawn(
    lesson: Lesson, name: str, query: FigureQuery, own: Mapping[str, str], wanted: Wanted, scheme: Scheme
) -> CachedResponse:
    f = figure_on_own(lesson, name, query, own)
    if wanted == "csv":
        return csv_file(f, f"{f.id}-own")
    if wanted == "svg":
        return svg_file(f, scheme, f"{f.id}-own")
    if wanted == "fragment":
        return figure_view(f)
    return html("figure.jinja", lesson=lesson, f=f)
