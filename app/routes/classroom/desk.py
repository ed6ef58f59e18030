"""Routes of a class's teacher: start a class, open its desk, press its buttons."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.addresses import PATHS, address
from app.classroom import operations
from app.classroom.codes import canonical, spaced
from app.classroom.flow import Action
from app.classroom.models import TITLE_LENGTH, Classroom, Item
from app.classroom.operations import find_teacher
from app.classroom.reading import desk_state, peek
from app.classroom.refusals import FieldError, NotNowError, NotTeacherError, Refusal, UnknownClassError
from app.classroom.states import DeskState
from app.http.clients import current_client
from app.http.query import query_parameters
from app.routes.classroom.common import (
    MOST_SECRET,
    STATUS,
    TEACHER,
    elsewhere,
    fields_of,
    is_htmx,
    page_response,
    rates_of,
    read,
    set_secret,
    write,
)
from app.routes.common import NOT_KEPT, READ
from app.settings import Settings
from app.views.classroom.desk_page import desk_context, peek_context
from app.views.environment import render
from app.views.qr import svg_path
from lessons.catalogue import lesson_slugs, load_lesson
from lessons.kit.language import current_language
from lessons.kit.language import gettext as _

router = APIRouter()

COOKIE_SECONDS = 400 * 24 * 3600
"""The longest that browsers allow. What a class allows after its end is the class's to say."""

USUAL_DAYS = 28
"""Between the start of a class and the end date that the form begins with."""

FILE_WORDS = "Whoever has this link steers the class. It cannot be sent again."
NUMBER_LENGTH = 9

ARRANGE = "arrange"
"""Of the desk's address: the running order is open to be changed."""

Operation = Callable[[Session, Classroom, int], object]
"""What a press does to a class; the number is the version that the page knew."""


# --- the start ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Given:
    """What the form of a new class holds."""

    title: str
    ends_on: str
    retention_months: str
    asks_confidence: bool = True


@router.api_route(PATHS["classes"], methods=READ)
async def start(request: Request) -> Response:
    """The form that starts a class."""
    settings: Settings = request.app.state.settings
    last = datetime.now(UTC).date() + timedelta(USUAL_DAYS)
    title = load_lesson(lesson_slugs()[0]).about.title
    return _start_page(request, Given(title, last.isoformat(), str(settings.retention_months)))


@router.post(PATHS["classes"])
async def create(request: Request) -> Response:
    """Start a class. The answer leads to its links and gives the browser the teacher's secret."""
    settings: Settings = request.app.state.settings
    fields = await fields_of(request)
    given = Given(
        fields.get("title", "")[: 4 * TITLE_LENGTH],
        fields.get("ends_on", "")[:20],
        fields.get("retention_months", str(settings.retention_months))[:20],
        fields.get("asks_confidence") == "1" or "title" not in fields,
    )
    rates, client = rates_of(request), current_client.get()
    rates.check("create", client)
    try:
        rates.check("unknown code", client)
        if settings.classes == "key" and not _same(fields.get("key", ""), settings.class_key):
            rates.take("unknown code", client)
            raise FieldError("key", _("the key of this host"))
        created = await write(request, partial(_create, given, settings.retention_months))
    except FieldError as error:
        return _start_page(request, given, {error.field: error.allowed}, 422)
    rates.take("create", client)
    code = created.classroom.code
    response = RedirectResponse(address("desk links", code), 303, NOT_KEPT)
    set_secret(request, response, TEACHER, created.secret, code, COOKIE_SECONDS)
    return response


def _create(given: Given, most_months: int, session: Session) -> operations.Created:
    try:
        ends_on = date.fromisoformat(given.ends_on)
    except ValueError:
        raise FieldError("ends_on", _("a day, such as 2026-12-18")) from None
    months = int(given.retention_months) if given.retention_months.isdecimal() else 0
    if not 1 <= months <= most_months:
        raise FieldError("retention_months", _("%(low)s to %(high)s", low=1, high=most_months))
    lesson = lesson_slugs()[0]
    created = operations.create(session, given.title, ends_on, lesson=lesson, months=months)
    created.classroom.asks_confidence = given.asks_confidence
    return created


def _start_page(
    request: Request, given: Given, problems: dict[str, str] | None = None, status: int = 200
) -> Response:
    settings: Settings = request.app.state.settings
    today = datetime.now(UTC).date()
    words = {
        name: _("Allowed is %(allowed)s.", allowed=allowed) for name, allowed in (problems or {}).items()
    }
    known = ("title", "ends_on", "retention_months", "key")
    content = render(
        "class/start.jinja",
        given=given,
        problems=words,
        problem=next((text for name, text in words.items() if name not in known), ""),
        keyed=settings.classes == "key",
        title_length=TITLE_LENGTH,
        earliest=today.isoformat(),
        latest=(today + operations.LONGEST_CLASS).isoformat(),
        most_months=settings.retention_months,
    )
    return page_response(content, status)


def _same(given: str, key: str) -> bool:
    """Compare two texts in a time that does not tell where they differ."""
    return hmac.compare_digest(*(hashlib.sha256(text.encode()).digest() for text in (given, key)))


# --- the desk ----------------------------------------------------------------------------------------------


@router.api_route(PATHS["desk"], methods=READ)
async def desk(request: Request, code: str) -> Response:
    """The desk, for who has its cookie; the way in for everybody else."""
    if moved := elsewhere("desk", code):
        return moved
    try:
        return await _desk(
            request, code, whole_page=True, arranging=(ARRANGE, "1") in query_parameters(request)
        )
    except NotTeacherError:
        return _enter_page(code)


@router.api_route(PATHS["desk enter"], methods=READ)
@router.api_route(PATHS["desk act"], methods=READ)
@router.api_route(PATHS["desk order"], methods=READ)
async def back_to_desk(code: str) -> Response:
    """Who loads the answer to a form again is led to the desk."""
    return RedirectResponse(address("desk", canonical(code) or code), 303, NOT_KEPT)


@router.post(PATHS["desk enter"])
async def enter(request: Request, code: str) -> Response:
    """Take a teacher's link, or its secret alone, and give the browser the cookie."""
    code = canonical(code) or ""
    fields = await fields_of(request)
    secret = fields.get("secret", "").strip().rpartition("#")[2][:MOST_SECRET]
    try:
        await read(request, lambda session: find_teacher(session, code, secret))
    except NotTeacherError:
        return _enter_page(code, wrong=True)
    response = RedirectResponse(address("desk", code), 303, NOT_KEPT)
    set_secret(request, response, TEACHER, secret, code, COOKIE_SECONDS)
    return response


def _enter_page(code: str, *, wrong: bool = False) -> Response:
    content = render("class/enter.jinja", code=code, spaced=spaced(code), wrong=wrong)
    return page_response(content, 403)


@router.api_route(PATHS["desk links"], methods=READ)
async def links(request: Request, code: str) -> Response:
    """Code, QR code and the three links of a class."""
    if moved := elsewhere("desk links", code):
        return moved
    secret = secret_of(request)
    state = await read(request, lambda session: _state(session, code, secret))
    origin = str(request.base_url).rstrip("/").removesuffix(str(request.scope.get("root_path", "")))
    code = state.common.code
    students = origin + address("join class", code)
    content = render(
        "class/links.jinja",
        state=state,
        code=spaced(code),
        ends_on=current_language().date(date.fromisoformat(state.ends_on)),
        join=origin + address("join"),
        students=students,
        screen=origin + address("screen", code),
        teacher=origin + address("desk", code, anchor=secret),
        qr=svg_path(students),
        bare=_without_scheme,
        file_name=f"class-{code}.txt",
        file_text=f"{state.common.title}\n{FILE_WORDS}\n",
    )
    return page_response(content, headers={"Referrer-Policy": "no-referrer"})


def _without_scheme(link: str) -> str:
    return link.partition("://")[2]


@router.api_route(PATHS["desk state"], methods=READ)
async def state(request: Request, code: str) -> Response:
    """What changes of the desk, as HTML."""
    return await _desk(request, code, whole_page=False)


@router.api_route(PATHS["desk peek"], methods=READ)
async def look(request: Request, code: str) -> Response:
    """How the closed vote went; shown for five seconds."""
    secret = secret_of(request)

    def make(session: Session) -> bytes:
        classroom = find_teacher(session, code, secret)
        seen = peek(session, classroom)
        item = session.get_one(Item, classroom.item_id)
        return render("class/peek.jinja", **peek_context(classroom, seen, item.name))

    return page_response(await read(request, make))


@router.post(PATHS["desk act"])
async def act(request: Request, code: str) -> Response:
    """Do what a button of the desk says, once."""
    fields = await fields_of(request)
    return await _do(request, code, fields, _operation(fields.get("press", "")))


@router.post(PATHS["desk order"])
async def order(request: Request, code: str) -> Response:
    """Change the running order."""
    fields = await fields_of(request)
    return await _do(request, code, fields, _arrangement(fields), arranging=True)


async def _do(
    request: Request, code: str, fields: dict[str, str], operation: Operation, *, arranging: bool = False
) -> Response:
    """Do something with a class, and show the desk: with what was in the way, if anything was."""
    secret, version, refusal = secret_of(request), _number(fields.get("version", "")), None
    try:
        await write(request, lambda session: operation(session, find_teacher(session, code, secret), version))
    except (UnknownClassError, NotTeacherError):
        raise
    except Refusal as error:
        refusal = error
    if refusal is None and not is_htmx(request):
        query, anchor = ([(ARRANGE, "1")], ARRANGE) if arranging else ([], "")
        own = address("desk", canonical(code) or "", query=query, anchor=anchor)
        return RedirectResponse(own, 303, NOT_KEPT)
    return await _desk(request, code, whole_page=not is_htmx(request), refusal=refusal, arranging=arranging)


async def _desk(
    request: Request,
    code: str,
    *,
    whole_page: bool,
    refusal: Refusal | None = None,
    arranging: bool = False,
) -> Response:
    """The desk as it is now. A refusal is told in it; scripts swap it in like any other answer."""
    secret, template = secret_of(request), "class/desk.jinja" if whole_page else "class/desk_state.jinja"

    def make(session: Session) -> bytes:
        context: dict[str, Any] = desk_context(
            _state(session, code, secret), refusal.sentence if refusal else ""
        )
        return render(template, arranging=arranging, **context)

    content = await read(request, make)
    return page_response(content, STATUS[refusal.kind] if refusal and whole_page else 200)


def _state(session: Session, code: str, secret: str) -> DeskState:
    return desk_state(session, find_teacher(session, code, secret))


def secret_of(request: Request) -> str:
    """The teacher's secret that came along."""
    return request.cookies.get(TEACHER, "")[:MOST_SECRET]


# --- presses -----------------------------------------------------------------------------------------------


def _operation(press: str) -> Operation:
    """What a button's value means: a word, and for some what it is about after a colon."""
    name, _mark, about = press[:80].partition(":")
    if name in set(Action):
        item = _number(about) if about else None
        return lambda session, classroom, version: operations.act(
            session, classroom, Action(name), version, item
        )
    known: dict[str, Operation] = {
        "close-in": operations.close_soon,
        "close-stop": operations.stay_open,
        "end": operations.end,
        "open": operations.reopen_class,
        "show": lambda s, c, version: operations.show(s, c, version, _number(about) if about else None),
        "step": lambda s, c, version: operations.step(s, c, version, -1 if about == "back" else 1),
        "screen": lambda s, c, version: operations.set_screen(s, c, version, about),
        "admit": lambda s, c, version: operations.set_admits(s, c, version, about == "new"),
        "call": lambda s, c, version: operations.call_all(s, c, version, about or None),
    }
    return known.get(name, _unknown)


def _unknown(_session: Session, _classroom: Classroom, _version: int) -> None:
    raise NotNowError


def _arrangement(fields: dict[str, str]) -> Operation:
    """A change of the running order: "add", or "up", "down", "remove", "once" or "twice" with a line."""
    do, _mark, about = fields.get("do", "")[:80].partition(":")
    item = _number(about)
    if do == "add":
        return partial(_add, fields)
    if do == "remove":
        return lambda s, c, version: operations.remove_item(s, c, version, item)
    if do in ("once", "twice"):
        return lambda s, c, version: operations.set_twice(s, c, version, item, do == "twice")
    if do in ("up", "down"):
        return lambda s, c, version: _move(s, c, version, item, -1 if do == "up" else 1)
    return _unknown


def _add(fields: dict[str, str], session: Session, classroom: Classroom, version: int) -> None:
    kind, _mark, name = fields.get("add", "")[:80].partition(":")
    lines = [line.strip().rpartition("?")[2] for line in fields.get("states", "")[:4000].splitlines()]
    states = tuple(line for line in lines if line) if kind == "figure" else ()
    operations.add_item(
        session, classroom, version, kind, name, states=states, twice=fields.get("twice") == "1"
    )


def _move(session: Session, classroom: Classroom, version: int, item: int, by: int) -> None:
    ids = [line.id for line in operations.running_order(session, classroom)]
    place = ids.index(item) + 1 + by if item in ids else 1
    operations.move_item(session, classroom, version, item, max(place, 1))


def _number(text: str) -> int:
    """A version or an id as a form sends it; -1, which there never is, for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= NUMBER_LENGTH else -1
