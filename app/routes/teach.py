"""Routes for teachers: guide, plans and answers, the page that makes links, and QR codes of links."""

from __future__ import annotations

import re
from functools import partial

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.addresses import PATHS, address, prefix
from app.http.query import query_parameters
from app.routes.common import (
    READ,
    REVALIDATE,
    cached,
    find_lesson,
    in_thread,
    must_be,
    no_figure,
    parse_figure,
)
from app.views.environment import html
from app.views.teach import (
    ANSWERS,
    GUIDE,
    MOST_IN_QR,
    MOST_SEEDS,
    TaskLinks,
    arrangement_of,
    places,
    qr_image,
    tasks_of,
    teach_page,
    teaching_address,
    teaching_page,
)
from lessons.catalogue import Lesson, teaching_pages
from lessons.kit.language import gettext as _
from lessons.kit.task import EXAMPLE_SEED, LAST_SEED, STAGES

router = APIRouter()

PRINTABLE = re.compile("/(?!/)[!-~]*")
"""An address with printable ASCII only, as a browser sends it."""


@router.api_route(PATHS["teaching"], methods=READ)
async def guide(request: Request) -> Response:
    """How to teach with the lesson."""
    return await _teaching(request, GUIDE)


@router.api_route(PATHS["teaching page"], methods=READ)
async def teaching(request: Request, page: str) -> Response:
    """Plans, tasks and answers; the latter here only on a host that shows them to everybody."""
    if page not in teaching_pages() or page == GUIDE:
        raise HTTPException(404)
    return await _teaching(request, page)


async def _teaching(request: Request, slug: str) -> Response:
    query_parameters(request)
    shown = slug != ANSWERS or request.app.state.settings.answers == "public"
    make = partial(teaching_page, teaching_pages()[slug], shown=shown)
    return await cached(request, teaching_address(slug), make)


@router.api_route(PATHS["teach"], methods=READ)
async def teach(request: Request, slug: str) -> Response:
    """The page that makes links: `figure=rtn&set.bits=5&show.block=lock&open=details&place=embed`."""
    lesson = find_lesson(slug)
    parameters = query_parameters(request)
    given = dict(parameters)
    name, place = given.get("figure"), given.get("place", "page")
    if name is None:
        return await cached(
            request, address("teach", slug), partial(html, "teach.jinja", lesson=lesson, f=None)
        )
    if name not in lesson.figures:
        raise HTTPException(422, no_figure(lesson, name))
    query = await in_thread(
        request, lambda: parse_figure(lesson, name, arrangement_of(parameters), guess=False)
    )
    if place not in places(lesson, name):
        raise must_be("place", ", ".join(places(lesson, name)))
    task = read_task(lesson, name, given) if "task" in places(lesson, name) else None
    beside = [("place", place), *(task.pairs() if task else [])]
    key = address("teach", slug, query=[("figure", name), *query.pairs(), *beside])
    return await cached(
        request,
        key,
        partial(teach_page, lesson, name, query, place, task),
        figures=[(lesson.figures[name], query.controls)],
    )


def read_task(lesson: Lesson, figure: str, given: dict[str, str]) -> TaskLinks:
    """The task and its exercises that the form names: `task=zeros&seed=1&to=30&stage=faded`.

    Raises
    ------
    HTTPException
        422 with the field and what it may be.
    """
    names = [task.name for task in tasks_of(lesson, figure)]
    task, stage = given.get("task", names[0]), given.get("stage", STAGES[-1])
    if task not in names:
        raise must_be("task", ", ".join(names))
    if stage not in STAGES:
        raise must_be("stage", ", ".join(STAGES))
    first = _seed("seed", given.get("seed", ""), EXAMPLE_SEED + 1, LAST_SEED)
    if first is None:
        return TaskLinks(task, None, stage)
    last = _seed("to", given.get("to", ""), first, min(first + MOST_SEEDS - 1, LAST_SEED))
    return TaskLinks(task, range(first, (last or first) + 1), stage)


def _seed(name: str, text: str, low: int, high: int) -> int | None:
    if not text.strip():
        return None
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else 0
    if not low <= number <= high:
        raise must_be(name, _("a whole number from %(low)s to %(high)s", low=low, high=high))
    return number


@router.api_route(PATHS["qr"], methods=READ)
async def qr(request: Request) -> Response:
    """The QR code of a page of this site, `to=/lessons/quantization`, with the site's address in front."""
    to = dict(query_parameters(request)).get("to", "")
    if not to.startswith(f"{prefix()}/") or not PRINTABLE.fullmatch(to) or len(to) > MOST_IN_QR:
        raise must_be("to", _("an address of this site, at most %(most)s characters", most=MOST_IN_QR))
    link = f"{origin(request)}{to}"
    picture = await in_thread(request, partial(qr_image, link))
    return Response(picture, media_type="image/svg+xml", headers={"Cache-Control": REVALIDATE})


def origin(request: Request) -> str:
    """Scheme and host of this site, as the reader's browser named them."""
    return f"{request.url.scheme}://{request.url.netloc}"
