"""Routes of the tasks of a lesson, and of the codes that they give."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.addresses import PATHS, address
from app.cache.response import CachedResponse
from app.http.errors import CannotShow
from app.http.query import query_parameters
from app.routes.common import (
    IMMUTABLE,
    OF_THIS_VERSION,
    READ,
    REVALIDATE,
    cache_of,
    cached,
    find_lesson,
    in_thread,
    respond,
    without_route,
)
from app.views.environment import html
from app.views.problems import problems_for_people
from app.views.task import TaskContext, read_codes, task_context
from lessons.catalogue import Lesson
from lessons.kit.arrangement import Pairs
from lessons.kit.language import gettext as _
from lessons.kit.task import AttemptError, read_attempt

router = APIRouter()


@router.api_route(PATHS["task"], methods=READ)
async def task(request: Request, slug: str, name: str) -> Response:
    """A task: `seed` chooses its numbers, `stage` what is filled in, the rest are answers."""
    return await _task(request, slug, name, "task", "task.jinja", REVALIDATE)


@router.api_route(PATHS["task fragment"], methods=READ, dependencies=OF_THIS_VERSION)
async def task_fragment(request: Request, slug: str, name: str) -> Response:
    """The exercise alone, for the end of a section."""
    return await _task(request, slug, name, "task fragment", "ask/task_fragment.jinja", IMMUTABLE)


@router.api_route(PATHS["codes"], methods=READ)
async def codes(request: Request, slug: str) -> Response:
    """Whether the codes that students give are valid: `codes` holds them, between spaces or lines."""
    lesson = find_lesson(slug)
    given = " ".join(value for name, value in query_parameters(request) if name == "codes")
    found = read_codes(lesson, given)
    make = partial(html, "codes.jinja", lesson=lesson, given=given, found=found)
    return respond(request, await cache_of(request).run(make, queue="views"), "no-store", 200)


async def _task(
    request: Request, slug: str, name: str, page: str, template: str, cache_control: str
) -> Response:
    lesson = find_lesson(slug)
    if name not in lesson.tasks:
        known = ", ".join(lesson.tasks) or _("none")
        raise HTTPException(
            404, _("This lesson has no task “%(name)s”. It has: %(known)s.", name=name[:40], known=known)
        )
    parameters = without_route(query_parameters(request))
    t = await in_thread(request, partial(_parse, lesson, name, parameters))

    def make() -> CachedResponse:
        return html(template, lesson=lesson, t=t)

    if t.unread:
        return respond(request, await cache_of(request).run(make, queue="views"), "no-store", 422)
    key = address(page, slug, name, query=t.attempt.query())
    return await cached(request, key, make, cache_control=cache_control)


def _parse(lesson: Lesson, name: str, parameters: Pairs) -> TaskContext:
    """The task with what was given for it, checked."""
    try:
        return task_context(lesson, name, *read_attempt(lesson.tasks[name], parameters))
    except AttemptError as error:
        problems = problems_for_people(error, lesson.task_texts[name])
        back = address("task", lesson.slug, name, query=error.nearest.query())
        raise CannotShow(lesson, problems, back) from None
