"""Routes after a class, for its teacher: the analysis, what to take along, and what to delete."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.addresses import PATHS, address
from app.classroom import operations
from app.classroom.codes import canonical, spaced
from app.classroom.exports import FILES, file_name
from app.classroom.record import read_record
from app.classroom.refusals import UnknownStudentError
from app.http.query import query_parameters
from app.routes.classroom.common import (
    TEACHER,
    delete_secret,
    elsewhere,
    fields_of,
    page_response,
    read,
    write,
)
from app.routes.classroom.desk import secret_of
from app.routes.common import NOT_KEPT, READ
from app.views.classroom.analysis import analysis_context
from app.views.environment import render
from app.views.teach import ANSWERS, teaching_page
from lessons.catalogue import teaching_pages
from lessons.kit.language import gettext as _

router = APIRouter()


@router.api_route(PATHS["desk analysis"], methods=READ)
async def analysis(request: Request, code: str) -> Response:
    """How the questions went; `student` is the one whose row is shown."""
    if moved := elsewhere("desk analysis", code):
        return moved
    student = dict(query_parameters(request)).get("student", "")
    return page_response(await read(request, partial(_page, code, secret_of(request), student)))


def _page(code: str, secret: str, student: str, session: Session, problem: str = "") -> bytes:
    classroom = operations.find_teacher(session, code, secret)
    record = read_record(session, classroom)
    if student and student not in {row.id for row in record.students}:
        raise UnknownStudentError
    return render("class/analysis.jinja", problem=problem, **analysis_context(classroom, record, student))


@router.api_route(PATHS["desk export"], methods=READ)
async def export(request: Request, code: str, file: str) -> Response:
    """One of the files, to be saved."""
    if file not in FILES:
        known = ", ".join(FILES)
        sentence = _("There is no file “%(name)s”. There is: %(known)s.", name=file[:40], known=known)
        raise HTTPException(404, sentence)
    write_file = FILES[file]
    media_type = "application/json" if file.endswith(".json") else "text/csv; charset=utf-8"
    secret = secret_of(request)

    def make(session: Session) -> bytes:
        return write_file(read_record(session, operations.find_teacher(session, code, secret))).encode()

    content = await read(request, make)
    headers = {
        **NOT_KEPT,
        "Content-Disposition": f'attachment; filename="{file_name(canonical(code) or "", file)}"',
    }
    return Response(content, headers=headers, media_type=media_type)


@router.api_route(PATHS["desk student"], methods=READ)
async def student(request: Request, code: str, student: str) -> Response:
    """A student's row, on the page of the analysis."""
    query = [("student", student)]
    return RedirectResponse(address("desk analysis", code, query=query, anchor="student"), 303, NOT_KEPT)


@router.post(PATHS["desk student"])
async def delete_student(request: Request, code: str, student: str) -> Response:
    """Delete a student with all answers, at once."""
    secret = secret_of(request)

    def delete(session: Session) -> None:
        operations.delete_student(session, operations.find_teacher(session, code, secret), student)

    await write(request, delete)
    return RedirectResponse(address("desk analysis", code, anchor="student"), 303, NOT_KEPT)


@router.post(PATHS["desk delete"])
async def delete_class(request: Request, code: str) -> Response:
    """Delete a class with everything in it, if its code was typed."""
    secret, typed = secret_of(request), (await fields_of(request)).get("code", "")
    if canonical(typed) != canonical(code):
        problem = _("To delete the class type its code, %(code)s.", code=spaced(canonical(code) or ""))
        content = await read(request, partial(_page, code, secret, "", problem=problem))
        return page_response(content, 422)

    def delete(session: Session) -> None:
        operations.delete_class(session, operations.find_teacher(session, code, secret))

    await write(request, delete)
    response = page_response(render("class/deleted.jinja", code=spaced(canonical(code) or "")))
    delete_secret(request, response, TEACHER, canonical(code) or "")
    return response


@router.api_route(PATHS["desk answers"], methods=READ)
async def answers(request: Request, code: str) -> Response:
    """The answers to the tasks of the plans, for who steers a class."""
    if moved := elsewhere("desk answers", code):
        return moved
    secret = secret_of(request)
    await read(request, lambda session: operations.find_teacher(session, code, secret))
    page = teaching_page(teaching_pages()[ANSWERS], answers_at=address("desk answers", code))
    return page_response(page.raw)
