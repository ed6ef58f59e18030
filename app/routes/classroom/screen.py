"""Routes of a class's screen: what is projected. Its link knows the code alone; it reads and cannot steer."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.addresses import PATHS
from app.classroom.operations import find_class
from app.classroom.reading import screen_state
from app.routes.classroom.common import elsewhere, page_response, read, refuse_walking
from app.routes.common import READ, cache_of
from app.views.classroom.screen import screen_page

router = APIRouter()


@router.api_route(PATHS["screen"], methods=READ)
async def screen(request: Request, code: str) -> Response:
    """The page for the projector."""
    return elsewhere("screen", code) or await _screen(request, code, whole=True)


@router.api_route(PATHS["screen state"], methods=READ)
async def state(request: Request, code: str) -> Response:
    """What it shows now: fetched whenever the class has changed."""
    return await _screen(request, code, whole=False)


async def _screen(request: Request, code: str, *, whole: bool) -> Response:
    refuse_walking(request)
    found = await read(request, lambda session: screen_state(session, find_class(session, code)))
    root = str(request.scope.get("root_path", ""))
    origin = str(request.base_url).rstrip("/").removesuffix(root)
    make = partial(screen_page, found, origin, whole=whole)
    return page_response(await cache_of(request).run(make, queue="views"))
