"""Routes of who joins a class, before they are known in it. Nothing is stored before Join."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from app.addresses import PATHS, address
from app.classroom import codes, names, operations
from app.classroom.models import Classroom
from app.classroom.refusals import (
    EndedError,
    FullError,
    NameRefusedError,
    NameTakenError,
    NotAdmittedError,
    Refusal,
    TooManyError,
)
from app.classroom.timing import deleted_on, last_day, present, status_of
from app.http.clients import current_client
from app.http.query import query_parameters
from app.routes.classroom.common import (
    fields_of,
    headers_of,
    rates_of,
    write,
)
from app.routes.classroom.student_common import (
    class_page,
    of_class,
    redirect,
    set_student,
)
from app.routes.common import READ, cached
from app.views.environment import html
from lessons.kit.language import current_language
from lessons.kit.language import gettext as _

router = APIRouter()

Fields = dict[str, str]


@router.api_route(PATHS["join"], methods=READ)
async def which_class(request: Request) -> Response:
    """Ask for the code; with one, lead to its class or say that there is none."""
    given = dict(query_parameters(request)).get("code")
    if given is None:
        return await cached(request, address("join"), partial(html, "class/join.jinja", given="", problem=""))
    return await of_class(request, given, lambda _, found: redirect(address("join class", found.code)))


@router.api_route(PATHS["join class"], methods=READ)
async def before_joining(request: Request, code: str) -> Response:
    """Offer a name. Nothing is stored before Join."""
    asked = dict(query_parameters(request))
    return await of_class(request, code, partial(_offer, code, asked))


@router.post(PATHS["join class"])
async def join(request: Request, code: str) -> Response:
    """Let somebody in, and set their cookie; where too many come, a page that waits and goes on by itself."""
    fields = await fields_of(request)
    rates, who = rates_of(request), (current_client.get(), codes.canonical(code) or "")
    try:
        rates.take("join", *who)
        rates.check("place", *who)
    except TooManyError as crowd:
        kept: dict[str, Any] = {"own": fields.get("own", "").strip()[:80], "wait": crowd.seconds}
        headers = headers_of(crowd)

        def wait(_: Session, classroom: Classroom) -> Response:
            return _name_page(_offered(fields), classroom, status=429, headers=headers, **kept)

        return await of_class(request, code, wait)
    response = await of_class(request, code, partial(_join, request, fields), ask=write)
    if response.status_code == 303:
        with suppress(TooManyError):  # others came in meanwhile
            rates.take("place", *who)
    return response


def _offer(code: str, asked: Fields, _session: Session, classroom: Classroom) -> Response:
    if code != classroom.code:
        return redirect(address("join class", classroom.code))
    if asked.get("left") in ("kept", "deleted"):
        kept = asked["left"] == "kept"
        sentence = _("You have left the class.") if kept else _("Your name and your answers are deleted.")
        note = _("Your answers are kept. With your code you can come back.") if kept else ""
        return _closed_page(classroom, sentence, note, 200, left=True)
    if status_of(classroom, present()) == "ended":
        return _has_ended(classroom)
    if not classroom.admits:
        return _is_closed(classroom, NotAdmittedError())
    lost = (
        _("Your browser keeps no cookie for this page, so the class cannot know you. Allow it, and join.")
        if "lost" in asked
        else ""
    )
    return _name_page(names.offer(), classroom, again="again" in asked or bool(lost), lost=lost)


def _join(request: Request, fields: Fields, session: Session, classroom: Classroom) -> Response:
    own, offered = fields.get("own", "").strip(), _offered(fields)
    try:
        joined = operations.join(session, classroom, own or offered)
    except EndedError:
        return _has_ended(classroom)
    except (NotAdmittedError, FullError) as refusal:
        return _is_closed(classroom, refusal)
    except (NameRefusedError, NameTakenError) as refusal:
        return _name_page(offered, classroom, status=422, own=own[:80], problem=refusal.sentence)
    response = redirect(f"{address('class', classroom.code)}?joined=1")
    set_student(request, response, classroom, joined.secret)
    return response


def _offered(fields: Fields) -> str:
    """The pseudonym that the page has offered."""
    offered = fields.get("offered", "")
    return offered if names.is_offered(offered) else names.offer()


def _name_page(
    offered: str,
    classroom: Classroom,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    **said: Any,
) -> Response:
    until = current_language().date(deleted_on(classroom))
    words = {"own": "", "problem": "", "lost": "", "again": False, "wait": 0} | said
    return class_page("class/name.jinja", classroom, status, headers, offered=offered, until=until, **words)


def _has_ended(classroom: Classroom) -> Response:
    note = _(
        "The lesson is open to everybody, all its figures too. "
        "If you took part, your answers are still yours."
    )
    sentence = EndedError(last_day(classroom)).sentence
    return _closed_page(classroom, sentence, note, 410, mine=True)


def _is_closed(classroom: Classroom, refusal: Refusal) -> Response:
    note = _("Who has joined before goes on as before, on another device with the code that Menu shows.")
    return _closed_page(classroom, refusal.sentence, note, 403, resume=True)


def _closed_page(
    classroom: Classroom,
    sentence: str,
    note: str,
    status: int,
    *,
    left: bool = False,
    mine: bool = False,
    resume: bool = False,
) -> Response:
    """Why a class cannot be joined, and what can be done: see what is one's own, or go on with a code."""
    words: dict[str, Any] = {"left": left, "mine": mine, "resume": resume}
    return class_page("class/closed.jinja", classroom, status, sentence=sentence, note=note, **words)
