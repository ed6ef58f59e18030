"""Routes of what students may do about themselves: their name, another device, their data, leaving."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from app.addresses import PATHS, address
from app.classroom import operations
from app.classroom.mine import stored_of
from app.classroom.models import Classroom, Student
from app.classroom.refusals import (
    FieldError,
    NameRefusedError,
    NameTakenError,
    NotStudentError,
)
from app.http.query import query_parameters
from app.routes.classroom.common import (
    STUDENT,
    delete_secret,
    fields_of,
    read,
)
from app.routes.classroom.student_common import (
    as_changed,
    as_student,
    class_page,
    count_against_rates,
    of_class,
    redirect,
    set_student,
    student_page,
    with_state,
)
from app.routes.common import NOT_KEPT, READ
from app.views.qr import svg_path
from lessons.kit.language import gettext as _

router = APIRouter()


@router.api_route(PATHS["class me"], methods=READ)
async def me(request: Request, code: str) -> Response:
    """What a student may do about themselves."""
    return await with_state(request, code, partial(student_page, "class/me.jinja", own="", problem=""))


@router.post(PATHS["class me"])
async def change_me(request: Request, code: str) -> Response:
    """Take another name, or follow the teacher or not."""
    fields = await fields_of(request)
    if "following" in fields:
        following = fields["following"] == "1"
        await as_student(request, code, partial(operations.follow, following=following), writes=True)
        return await as_changed(request, code, fields)
    count_against_rates(request, code, "rename")
    name = fields.get("name", "").strip()
    try:
        await as_student(request, code, partial(operations.rename, name=name), writes=True)
    except (NameRefusedError, NameTakenError) as refusal:
        words: dict[str, Any] = {"status": 422, "own": name[:80], "problem": refusal.sentence}
        return await with_state(request, code, partial(student_page, "class/me.jinja", **words))
    return await as_changed(request, code, {"back": "me"})


@router.api_route(PATHS["class resume"], methods=READ)
async def resume(request: Request, code: str) -> Response:
    """The student's own code for another device; there, the field that takes it."""
    try:
        return await as_student(request, code, partial(_resume_page, request))
    except NotStudentError:
        return await of_class(request, code, lambda _, found: _resume_field(found))


def _resume_page(request: Request, session: Session, student: Student) -> Response:
    classroom, secret = operations.class_of(session, student), request.cookies[STUDENT]
    here = f"{request.url.scheme}://{request.url.netloc}{address('class resume', classroom.code)}"
    words: dict[str, Any] = {"shown_address": here, "qr": svg_path(f"{here}#{secret}")}
    return class_page("class/resume.jinja", classroom, secret=secret, problem="", **words)


def _resume_field(classroom: Classroom, problem: str = "") -> Response:
    return class_page("class/resume.jinja", classroom, 422 if problem else 200, secret="", problem=problem)


@router.post(PATHS["class resume"])
async def go_on_here(request: Request, code: str) -> Response:
    """Be known here by the code of another device."""
    secret = (await fields_of(request)).get("secret", "").strip().rpartition("#")[2]

    def enter(session: Session) -> Response:
        classroom = operations.class_of(session, operations.find_student(session, code, secret))
        response = redirect(f"{address('class', classroom.code)}?joined=1")
        set_student(request, response, classroom, secret)
        return response

    try:
        return await read(request, enter)
    except NotStudentError:
        problem = _("No student of this class has this code. Compare it with your other device.")
        return await of_class(request, code, lambda _, found: _resume_field(found, problem))


@router.api_route(PATHS["class data"], methods=READ)
async def mine(request: Request, code: str) -> Response:
    """All that is stored of a student, as a file."""
    return await as_student(request, code, _mine)


def _mine(session: Session, student: Student) -> Response:
    classroom = operations.class_of(session, student)
    found = stored_of(session, student, classroom.code, classroom.title)
    headers = NOT_KEPT | {"Content-Disposition": f'attachment; filename="class-{classroom.code}.json"'}
    text = json.dumps(found, indent=1, ensure_ascii=False)
    return Response(text, headers=headers, media_type="application/json")


@router.api_route(PATHS["class leave"], methods=READ)
async def before_leaving(request: Request, code: str) -> Response:
    """Ask once whether to leave, and say what becomes of the answers."""
    delete = "delete" in dict(query_parameters(request))
    words: dict[str, Any] = {"delete": delete, "secret": request.cookies.get(STUDENT, "")}
    return await with_state(request, code, partial(student_page, "class/leave.jinja", **words))


@router.post(PATHS["class leave"])
async def leave(request: Request, code: str) -> Response:
    """Forget the student here, and if they want so, everywhere."""
    fields = await fields_of(request)
    if fields.get("what") not in ("keep", "delete"):
        raise FieldError("what", _("one of %(options)s", options="keep, delete"))
    return await as_student(request, code, partial(_leave, request, fields["what"] == "delete"), writes=True)


def _leave(request: Request, delete: bool, session: Session, student: Student) -> Response:
    classroom = operations.class_of(session, student)
    if delete:
        operations.delete_student(session, classroom, student.id)
    left = "deleted" if delete else "kept"
    response = redirect(f"{address('join class', classroom.code)}?left={left}")
    delete_secret(request, response, STUDENT, classroom.code)
    return response
