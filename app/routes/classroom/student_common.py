"""What the routes of students share: who asks, what they may know, and the pages of a class."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.addresses import address
from app.classroom import codes, operations
from app.classroom.models import Classroom, Student
from app.classroom.operations import Receipt
from app.classroom.rates import Limited
from app.classroom.reading import find_student_state
from app.classroom.refusals import (
    UnknownClassError,
)
from app.classroom.states import StudentState
from app.classroom.timing import end_of, present
from app.http.clients import current_client
from app.routes.classroom.common import (
    MOST_SECRET,
    STUDENT,
    Work,
    page_response,
    rates_of,
    read,
    read_each,
    refuse_walking,
    set_secret,
    write,
)
from app.routes.common import NOT_KEPT, in_thread
from app.views.classroom.student import bar as bar_of
from app.views.classroom.student import student_context
from app.views.environment import render
from lessons.catalogue import load_lesson

T = TypeVar("T")


async def as_student(
    request: Request, code: str, work: Callable[[Session, Student], T], *, writes: bool = False
) -> T:
    """What `work` makes of the student whose cookie came along, in a thread of the database.

    Raises
    ------
    UnknownClassError, NotStudentError
        When there is no such class or student; a client that tries many gets `TooManyError` for both.
    """
    secret = request.cookies.get(STUDENT, "")

    def act(session: Session) -> T:
        return work(session, operations.find_student(session, code, secret))

    return await write(request, act) if writes else await read(request, act)


async def with_state(request: Request, code: str, work: Callable[[StudentState], T]) -> T:
    """The same of what the student may know: most pages need no more, and it is read in one statement."""
    secret = request.cookies.get(STUDENT, "")
    return await read_each(request, lambda session: work(find_student_state(session, code, secret)))


def count_against_rates(request: Request, code: str, *limits: Limited) -> None:
    """Count against the rates of the client in this class, or of the student; before a lock is waited for."""
    secret = request.cookies.get(STUDENT, "")
    for limit in limits:
        own = limit.endswith("of one") or limit == "rename"
        who = (secret[:MOST_SECRET],) if own else (current_client.get(), codes.canonical(code) or "")
        rates_of(request).take(limit, *who)


def bar_response(state: StudentState, receipt: Receipt | None = None) -> Response:
    return page_response(bar_of(state, receipt))


def student_page(template: str, state: StudentState, *, status: int = 200, **words: Any) -> Response:
    s = student_context(state)
    code = s.common.code
    words |= {"s": s, "code": code, "spaced": codes.spaced(code), "lesson": s.lesson}
    return page_response(render(template, **words), status)


def class_page(
    template: str,
    classroom: Classroom,
    status: int = 200,
    headers: dict[str, str] | None = None,
    **words: Any,
) -> Response:
    """A page for who is not known in the class."""
    code = classroom.code
    words |= {"code": code, "spaced": codes.spaced(code), "title": classroom.title}
    response = page_response(render(template, lesson=load_lesson(classroom.lesson), **words), status)
    response.headers.update(headers or {})
    return response


def redirect(there: str) -> Response:
    return RedirectResponse(there, 303, NOT_KEPT)


def set_student(request: Request, response: Response, classroom: Classroom, secret: str) -> None:
    """Until a day after the class."""
    left = end_of(classroom.ends_on) + timedelta(days=1) - present()
    set_secret(request, response, STUDENT, secret, classroom.code, max(0, int(left.total_seconds())))


async def of_class(
    request: Request,
    code: str,
    work: Callable[[Session, Classroom], Response],
    *,
    ask: Callable[[Request, Work[Response]], Awaitable[Response]] = read,
) -> Response:
    """What `work` makes of a class; the field for the code again, where no class has it."""
    refuse_walking(request)
    try:
        return await ask(request, lambda session: work(session, operations.find_class(session, code)))
    except UnknownClassError as unknown:
        make = partial(render, "class/join.jinja", given=code[:12], problem=unknown.sentence)
        return page_response(await in_thread(request, make), 404)


async def as_changed(
    request: Request, code: str, fields: dict[str, str], receipt: Receipt | None = None
) -> Response:
    """After a change, which keeps its lock no longer than it must: the bar for a script, or the way back."""
    if fields.get("as") == "bar":
        return await with_state(request, code, partial(bar_response, receipt=receipt))
    page = "class me" if fields.get("back") == "me" else "class"
    return redirect(address(page, codes.canonical(code) or ""))
