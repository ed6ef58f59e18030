"""Routes of a class's teacher for removing many students at once: those whom somebody has made up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.addresses import PATHS, address
from app.classroom import operations
from app.classroom.codes import canonical, spaced
from app.classroom.refusals import FieldError
from app.classroom.timing import present
from app.http.query import query_parameters
from app.routes.classroom.common import elsewhere, fields_of, page_response, read, write
from app.routes.classroom.desk import secret_of
from app.routes.common import NOT_KEPT, READ
from app.views.environment import render
from lessons.kit.language import gettext as _

router = APIRouter()

MOST_MINUTES = 366 * 24 * 60
"""The longest ago that somebody can have joined: a class lasts no longer than a year."""
USUAL_MINUTES = "10"
MOST_LISTED = 200
"""Names that are listed of those who would be removed."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the form holds: minutes ago, and whether only those who never answered are meant."""

    since: str = USUAL_MINUTES
    until: str = "0"
    silent: bool = True

    def chosen(self, at: datetime) -> operations.Chosen:
        """The students who are meant, as seen at a moment; `FieldError` where the form says none."""
        since, until = _minutes("since", self.since), _minutes("until", self.until)
        if until > since:
            raise FieldError("until", _("%(low)s to %(high)s", low=0, high=since))
        return operations.Chosen(at - timedelta(minutes=since), at - timedelta(minutes=until), self.silent)


@router.api_route(PATHS["desk students"], methods=READ)
async def students(request: Request, code: str) -> Response:
    """The form, and who would be removed."""
    if moved := elsewhere("desk students", code):
        return moved
    asked = dict(query_parameters(request))
    return await _answer(request, code, _given(asked), removed=asked.get("removed", ""))


@router.post(PATHS["desk students"])
async def remove(request: Request, code: str) -> Response:
    """Remove those whom the page has named; who has answered since then stays."""
    fields, secret = await fields_of(request), secret_of(request)
    given = _given(fields)
    try:
        chosen = given.chosen(_moment(fields.get("at", "")))
    except FieldError as error:
        return await _answer(request, code, given, error.sentence)

    def delete(session: Session) -> int:
        return operations.delete_students(session, operations.find_teacher(session, code, secret), chosen)

    removed = await write(request, delete)
    place = address("desk students", canonical(code) or "", query=[("removed", str(removed))])
    return RedirectResponse(place, 303, NOT_KEPT)


async def _answer(
    request: Request, code: str, given: Given, problem: str = "", removed: str = ""
) -> Response:
    at = present()
    try:
        chosen = given.chosen(at)
    except FieldError as error:
        chosen, problem = None, problem or error.sentence
    page = partial(_page, code, secret_of(request), given, chosen, at)
    content = await read(request, partial(page, problem=problem, removed=removed))
    return page_response(content, 422 if problem else 200)


def _page(
    code: str,
    secret: str,
    given: Given,
    chosen: operations.Chosen | None,
    at: datetime,
    session: Session,
    *,
    problem: str,
    removed: str,
) -> bytes:
    classroom = operations.find_teacher(session, code, secret)
    found = operations.choose_students(session, classroom, chosen) if chosen else []
    return render(
        "class/removal.jinja",
        classroom=classroom,
        code=spaced(classroom.code),
        given=given,
        at=at.isoformat(),
        found=len(found),
        names=[student.name for student in found[:MOST_LISTED]],
        most_minutes=MOST_MINUTES,
        problem=problem,
        removed=int(removed) if removed.isascii() and removed.isdecimal() and len(removed) < 6 else None,
    )


def _given(fields: Mapping[str, str]) -> Given:
    if "since" not in fields:
        return Given()
    return Given(fields["since"][:12], fields.get("until", "0")[:12], fields.get("silent") == "1")


def _minutes(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 8 and int(text) <= MOST_MINUTES):
        raise FieldError(name, _("%(low)s to %(high)s", low=0, high=MOST_MINUTES))
    return int(text)


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None or at > present():
        raise FieldError("at", _("a moment that is past"))
    return at
