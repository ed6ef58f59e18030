"""Routes of students in a class: its page and bar, their votes, and their answers at own pace.

A student is known by the secret in their cookie. Everything is read, changed and drawn in a thread of the
database; without scripts every form leads back to a page.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.addresses import PATHS, address
from app.classroom import operations
from app.classroom.models import Student
from app.classroom.operations import Receipt, Sent
from app.classroom.refusals import (
    FieldError,
    NotStudentError,
    Refusal,
    UnknownClassError,
)
from app.http.query import query_parameters
from app.routes.classroom.common import (
    elsewhere,
    fields_of,
    page_response,
)
from app.routes.classroom.student_common import (
    as_changed,
    as_student,
    bar_response,
    count_against_rates,
    redirect,
    student_page,
    with_state,
)
from app.routes.common import NOT_KEPT, READ, in_thread
from app.views.environment import render
from lessons.kit.language import gettext as _

router = APIRouter()
MOST_AT_ONCE = 50
"""Answers that one request may bring: what a browser has kept comes in several."""

Fields = dict[str, str]


@router.api_route(PATHS["class"], methods=READ)
async def in_class(request: Request, code: str) -> Response:
    """The class without scripts: the question that is asked, a form to vote, and the bar."""
    asked = dict(query_parameters(request))
    if other := elsewhere("class", code):
        return other
    try:
        return await with_state(request, code, partial(student_page, "class/student.jinja"))
    except NotStudentError:
        why = "lost" if "joined" in asked else "again"
        return redirect(f"{address('join class', code)}?{why}=1")


@router.api_route(PATHS["class bar"], methods=READ)
async def bar(request: Request, code: str) -> Response:
    """The bar with the card of what is asked: always the whole state."""
    try:
        return await with_state(request, code, bar_response)
    except UnknownClassError:
        return await _gone(request, 404, _("This class has been deleted."))
    except NotStudentError:
        return await _gone(request, 403, _("You are not in the class any more."))


@router.post(PATHS["class vote"])
async def vote(request: Request, code: str) -> Response:
    """Take a guess, or that somebody would rather not; after the closing it is kept as late."""
    fields = await fields_of(request)
    count_against_rates(request, code, "vote", "vote of one")
    receipt = await as_student(request, code, partial(_vote, fields), writes=True)
    return await as_changed(request, code, fields, receipt)


def _vote(fields: Fields, session: Session, student: Student) -> Receipt:
    item, round_ = _whole(fields, "item"), _whole(fields, "round")
    value = None if "skip" in fields else fields.get("answer")
    if "keep" in fields:
        value = operations.first_guess(session, student, item)
    elif value is None and "skip" not in fields:
        raise FieldError("answer", _("a guess"))
    sure = _whole(fields, "confidence") if fields.get("confidence") and round_ == 2 else None
    return operations.vote(session, student, item, round_, value, sure)


@router.post(PATHS["class answers"])
async def answers(request: Request, code: str) -> Response:
    """Take what a student did in the lesson: predictions, steps of tasks, sections that they reached."""
    fields = await fields_of(request)
    count_against_rates(request, code, "answers", "answers of one")
    given = await in_thread(request, partial(_listed, fields.get("answers", "")))
    return await as_student(request, code, partial(_answers, given), writes=True)


def _answers(given: list[dict[str, Any]], session: Session, student: Student) -> Response:
    refused = []
    given = sorted(given, key=lambda each: each.get("kind") != "section")  # these lock the class, so first
    for each in given:
        try:
            with session.begin_nested():
                _record(session, student, each)
        except NotStudentError:
            raise
        except Refusal as refusal:  # the others are stored
            refused.append({"uid": uid_of(each), "why": refusal.sentence})
    return JSONResponse({"refused": refused}, headers=NOT_KEPT)


def uid_of(given: dict[str, Any]) -> str:
    """The number of an answer that is refused; "" where it is none, for half a character cannot be sent."""
    uid = given.get("uid")
    return uid[:40] if isinstance(uid, str) and uid.isascii() else ""


def _listed(text: str) -> list[dict[str, Any]]:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise FieldError("answers", _("a list of answers in JSON"))
    if len(given) > MOST_AT_ONCE:
        raise FieldError("answers", _("at most %(most)s at once", most=str(MOST_AT_ONCE)))
    return given


def _record(session: Session, student: Student, given: dict[str, Any]) -> None:
    name, kind = given.get("name"), given.get("kind")
    if not isinstance(name, str):
        raise FieldError("name", _("a text"))
    if kind == "section":
        operations.progress(session, student, name, done=given.get("done") is True)
        return
    value, step, seed = given.get("value"), given.get("step", ""), given.get("seed", 0)
    uid, seconds = given.get("uid"), given.get("seconds")
    if kind not in ("question", "step"):
        raise FieldError("kind", _("one of %(options)s", options="question, step, section"))
    if not isinstance(uid, str) or not isinstance(step, str) or not isinstance(value, str | None):
        raise FieldError("uid, step, value", _("a text"))
    if type(seed) is not int or not (seconds is None or type(seconds) in (int, float)):
        raise FieldError("seed, seconds", _("a number"))
    operations.record(session, student, Sent(uid, kind, name, value, step, seed, seconds))


def _whole(fields: Fields, name: str) -> int:
    text = fields.get(name, "")
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise FieldError(name, _("a whole number"))
    return int(text)


async def _gone(request: Request, status: int, sentence: str) -> Response:
    """In place of the bar, for who is in the class no more."""
    return page_response(
        await in_thread(request, partial(render, "class/gone.jinja", sentence=sentence)), status
    )
