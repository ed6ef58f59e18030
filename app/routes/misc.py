"""Routes that belong to no lesson: the course, plain pages, static files, and health checks."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.addresses import PATHS, address
from app.assets import static_file, version
from app.http.query import query_parameters
from app.routes.common import IMMUTABLE, NOT_KEPT, OF_THIS_VERSION, READ, cached, respond
from app.server import memory
from app.views.environment import html
from app.views.lesson import course_page
from app.views.styleguide import styleguide_page
from lessons.catalogue import lesson_slugs, plain_pages

router = APIRouter()
plain = APIRouter()
"""It matches every path of one part, so it is added after all others."""
probes = APIRouter()
"""Health checks; they are at the root of the server, too."""


@probes.api_route(PATHS["healthz"], methods=READ)
async def healthy() -> Response:
    """The process answers."""
    return JSONResponse({"status": "ok"}, headers=NOT_KEPT)


@probes.api_route(PATHS["readyz"], methods=READ)
def ready(request: Request) -> Response:
    """The lessons are read and can be served, and there is memory to do so."""
    least, left = request.app.state.settings.least_free_mib, memory.available_mib()
    if not request.app.state.ready:
        return JSONResponse({"status": "starting"}, 503, NOT_KEPT)
    if left is not None and left < least:
        low = {"status": "low on memory", "free_mib": left, "least_free_mib": least}
        return JSONResponse(low, 503, NOT_KEPT)
    status = {"status": "ready", "version": version(), "lessons": list(lesson_slugs())}
    return JSONResponse(status, headers=NOT_KEPT)


@router.api_route(PATHS["course"], methods=READ)
async def course(request: Request) -> Response:
    """The course path, and the way into the lesson."""
    query_parameters(request)
    return await cached(request, address("course"), course_page)


@router.api_route(PATHS["styleguide"], methods=READ)
async def styleguide(request: Request) -> Response:
    """Every component in every state, for those who work on the lesson; nothing links here."""
    query_parameters(request)
    return await cached(request, address("styleguide"), styleguide_page)


@router.api_route(PATHS["static"], methods=READ, dependencies=OF_THIS_VERSION)
async def static(request: Request, path: str) -> Response:
    """A static file; immutable under the current version."""
    response = static_file(path)
    if response is None:
        raise HTTPException(404)
    return respond(request, response, IMMUTABLE)


@plain.api_route(PATHS["plain"], methods=READ)
async def plain_page(request: Request, slug: str) -> Response:
    """A page that belongs to no lesson, such as the accessibility statement."""
    query_parameters(request)
    if slug not in plain_pages():
        raise HTTPException(404)
    make = partial(html, "plain.jinja", page=plain_pages()[slug])
    return await cached(request, address("plain", slug), make)
