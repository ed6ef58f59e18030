"""The routes of classes, on a host that holds any."""

from __future__ import annotations

import functools

from fastapi import APIRouter
from starlette.exceptions import HTTPException

from app.addresses import OF_CLASSES, PATHS
from app.routes.classroom import (
    analysis,
    desk,
    events,
    joining,
    me,
    removal,
    screen,
    student,
)
from lessons.kit.language import gettext as _

ROUTERS: tuple[APIRouter, ...] = (
    analysis.router,
    desk.router,
    events.router,
    joining.router,
    me.router,
    screen.router,
    student.router,
    removal.router,
)
"""Of all modules in this folder: each has its own."""

METHODS = ["GET", "HEAD", "POST"]


@functools.cache
def router(holds_classes: bool) -> APIRouter:
    """All routes of classes; on a host without them, one that says so.

    Made once: each time FastAPI reads the parameters of all endpoints again, which takes over 10 ms.
    """
    routes = APIRouter()
    if holds_classes:
        for own in ROUTERS:
            routes.include_router(own)
        return routes
    for path in PATHS.values():
        if path.startswith(OF_CLASSES):
            routes.add_api_route(path, no_classes, methods=METHODS)
    return routes


async def no_classes() -> None:
    """Say that there are none."""
    raise HTTPException(404, _("This host holds no classes."))
