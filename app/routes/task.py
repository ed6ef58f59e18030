"""The route of the tasks of a lesson."""

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
from app.routes.common import READ, cache_of, cached, find_lesson, in_thread, respond, without_route
from app.views.environment import html
from app.views.problems import problems_for_people
from app.views.task import TaskContext, task_context
from lessons.catalogue import Lesson
from lessons.kit.arrangement import Pairs
from lessons.kit.language import gettext as _
from lessons.kit.task import AttemptError, read_attempt

router = APIRouter()


@router.api_route(PATHS["task"], methods=READ)
async def task(request: Request, slug: str, section: str) -> Response:
    """The task of a section: `seed` chooses its numbers, `stage` what is filled in, the rest are answers."""
    lesson = find_lesson(slug)
    if section not in lesson.tasks:
        known = ", ".join(lesson.tasks) or _("none")
        raise HTTPException(
            404, _("This lesson has no task “%(name)s”. It has: %(known)s.", name=section[:40], known=known)
        )
    t = await in_thread(request, partial(_parse, lesson, section, without_route(query_parameters(request))))

    def make() -> CachedResponse:
        return html("task.jinja", lesson=lesson, t=t)

    if t.unread:
        return respond(request, await cache_of(request).run(make, queue="views"), "no-store", 422)
    return await cached(request, address("task", slug, section, query=t.attempt.query()), make)


def _parse(lesson: Lesson, section: str, parameters: Pairs) -> TaskContext:
    """The task with what was given for it, checked."""
    try:
        return task_context(lesson, section, *read_attempt(lesson.tasks[section], parameters))
    except AttemptError as error:
        problems = problems_for_people(error, lesson.task_texts[section])
        back = address("task", lesson.slug, section, query=error.nearest.query())
        raise CannotShow(lesson, problems, back) from None
