"""Routes of the questions that a lesson asks before its figures."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.addresses import PATHS, address
from app.http.errors import CannotShow
from app.http.query import query_parameters
from app.routes.common import (
    IMMUTABLE,
    OF_THIS_VERSION,
    READ,
    REVALIDATE,
    cached,
    find_lesson,
    in_thread,
    without_route,
)
from app.views.lesson import question_page, questions_page
from app.views.problems import problems_for_people, without
from lessons.catalogue import Lesson
from lessons.kit.arrangement import Pairs
from lessons.kit.controls import ControlError, as_parameter
from lessons.kit.language import gettext as _
from lessons.kit.question import ANSWER, SKIP, Guess

router = APIRouter()


@router.api_route(PATHS["questions"], methods=READ)
async def questions(request: Request, slug: str) -> Response:
    """All questions, to look back at; the browser adds the guesses."""
    return await _questions(request, slug, REVALIDATE, whole_page=True)


@router.api_route(PATHS["questions fragment"], methods=READ, dependencies=OF_THIS_VERSION)
async def questions_fragment(request: Request, slug: str) -> Response:
    """All questions for the end of the lesson, fetched when the reader is near it."""
    return await _questions(request, slug, IMMUTABLE, whole_page=False)


@router.api_route(PATHS["question"], methods=READ)
async def question(request: Request, slug: str, name: str) -> Response:
    """A question with its figure: `answer=` commits to a guess, `skip=1` to none."""
    return await _question(request, slug, name, REVALIDATE, whole_page=True)


@router.api_route(PATHS["question fragment"], methods=READ, dependencies=OF_THIS_VERSION)
async def question_fragment(request: Request, slug: str, name: str) -> Response:
    """The question alone, before the guess or after it."""
    return await _question(request, slug, name, IMMUTABLE, whole_page=False)


async def _questions(request: Request, slug: str, cache_control: str, *, whole_page: bool) -> Response:
    lesson = find_lesson(slug)
    query_parameters(request)
    if not lesson.questions:
        raise HTTPException(404, _("This lesson asks no questions."))
    key = address("questions" if whole_page else "questions fragment", slug)
    make = partial(questions_page, lesson, whole_page=whole_page)
    return await cached(request, key, make, cache_control=cache_control)


async def _question(
    request: Request, slug: str, name: str, cache_control: str, *, whole_page: bool
) -> Response:
    lesson = find_lesson(slug)
    if name not in lesson.questions:
        known = ", ".join(lesson.questions) or _("none")
        raise HTTPException(
            404, _("This lesson has no question “%(name)s”. It has: %(known)s.", name=name[:40], known=known)
        )
    parameters = without_route(query_parameters(request))
    parse = partial(_parse, lesson, name, parameters, whole_page=whole_page)
    committed, guess = await in_thread(request, parse)
    commit = [] if not committed else [(SKIP, "1")] if guess is None else [(ANSWER, as_parameter(guess))]
    key = address("question" if whole_page else "question fragment", slug, name, query=commit)
    make = partial(question_page, lesson, name, committed, guess, whole_page=whole_page)
    return await cached(request, key, make, cache_control=cache_control)


def _parse(lesson: Lesson, name: str, parameters: Pairs, *, whole_page: bool) -> tuple[bool, Guess | None]:
    """Whether there was a commit, and the guess; None for who skipped."""
    try:
        return lesson.questions[name].read(parameters)
    except ControlError as error:
        label = lesson.figures[name].label if whole_page else ""
        problems = problems_for_people(error, lesson.question_texts[name], label)
        back = address("question", lesson.slug, name, query=without(problems, parameters))
        raise CannotShow(lesson, problems, back, "" if whole_page else f"ask-{name}") from None
