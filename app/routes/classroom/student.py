"""Routes of students: joining a class, its bar and votes, and what they may do about themselves.

A student is known by the secret in their cookie. Everything is read, changed and drawn in a thread of the
database; without scripts every form leads back to a page.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from app.addresses import PATHS, address
from app.classroom import codes, names, operations
from app.classroom.mine import stored_of
from app.classroom.models import Classroom, Student
from app.classroom.operations import Receipt, Sent
from app.classroom.rates import Limited
from app.classroom.reading import find_student_state
from app.classroom.refusals import (
    EndedError,
    FieldError,
    FullError,
    NameRefusedError,
    NameTakenError,
    NotAdmittedError,
    NotStudentError,
    Refusal,
    TooManyError,
    UnknownClassError,
)
from app.classroom.states import StudentState
from app.classroom.timing import deleted_on, end_of, last_day, present, status_of
from app.http.clients import current_client
from app.http.query import query_parameters
from app.routes.classroom.common import (
    MOST_SECRET,
    STUDENT,
    Work,
    delete_secret,
    elsewhere,
    fields_of,
    headers_of,
    page_response,
    rates_of,
    read,
    read_each,
    refuse_walking,
    set_secret,
    write,
)
from app.routes.common import NOT_KEPT, READ, cached, in_thread
from app.views.classroom.student import bar as bar_of
from app.views.classroom.student import student_context
from app.views.environment import html, render
from app.views.qr import svg_path
from lessons.catalogue import load_lesson
from lessons.kit.language import current_language
from lessons.kit.language import gettext as _

router = APIRouter()
MOST_AT_ONCE = 50
"""Answers that one request may bring: what a browser has kept comes in several."""

Fields = dict[str, str]
T = TypeVar("T")


# --- joining -----------------------------------------------------------------------------------------------


@router.api_route(PATHS["join"], methods=READ)
async def which_class(request: Request) -> Response:
    """Ask for the code; with one, lead to its class or say that there is none."""
    given = dict(query_parameters(request)).get("code")
    if given is None:
        return await cached(request, address("join"), partial(html, "class/join.jinja", given="", problem=""))
    return await _of_class(request, given, lambda _, found: _redirect(address("join class", found.code)))


@router.api_route(PATHS["join class"], methods=READ)
async def before_joining(request: Request, code: str) -> Response:
    """Offer a name. Nothing is stored before Join."""
    asked = dict(query_parameters(request))
    return await _of_class(request, code, partial(_offer, code, asked))


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

        return await _of_class(request, code, wait)
    response = await _of_class(request, code, partial(_join, request, fields), ask=write)
    if response.status_code == 303:
        with suppress(TooManyError):  # others came in meanwhile
            rates.take("place", *who)
    return response


async def _of_class(
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


def _offer(code: str, asked: Fields, _session: Session, classroom: Classroom) -> Response:
    if code != classroom.code:
        return _redirect(address("join class", classroom.code))
    if asked.get("left") in ("kept", "deleted"):
        kept = asked["left"] == "kept"
        sentence = _("You have left the class.") if kept else _("Your name and your answers are deleted.")
        note = _("Your answers are kept. With your code you can come back.") if kept else ""
        return _page("class/closed.jinja", classroom, sentence=sentence, note=note, mine=False, left=True)
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
    response = _redirect(f"{address('class', classroom.code)}?joined=1")
    _set_cookie(request, response, classroom, joined.secret)
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
    told = {"own": "", "problem": "", "lost": "", "again": False, "wait": 0} | said
    return _page("class/name.jinja", classroom, status, headers, offered=offered, until=until, **told)


def _has_ended(classroom: Classroom) -> Response:
    note = _(
        "The lesson is open to everybody, all its figures too. "
        "If you took part, your answers are still yours."
    )
    sentence = EndedError(last_day(classroom)).sentence
    return _page("class/closed.jinja", classroom, 410, sentence=sentence, note=note, mine=True, left=False)


def _is_closed(classroom: Classroom, refusal: Refusal) -> Response:
    note = _("Who has joined before goes on as before, on another device with the code that Menu shows.")
    said: dict[str, Any] = {"sentence": refusal.sentence, "note": note, "resume": True}
    return _page("class/closed.jinja", classroom, 403, mine=False, left=False, **said)


# --- in the class ------------------------------------------------------------------------------------------


@router.api_route(PATHS["class"], methods=READ)
async def in_class(request: Request, code: str) -> Response:
    """The class without scripts: the question that is asked, a form to vote, and the bar."""
    asked = dict(query_parameters(request))
    if other := elsewhere("class", code):
        return other
    try:
        return await _with_state(request, code, partial(_student_page, "class/student.jinja"))
    except NotStudentError:
        why = "lost" if "joined" in asked else "again"
        return _redirect(f"{address('join class', code)}?{why}=1")


@router.api_route(PATHS["class bar"], methods=READ)
async def bar(request: Request, code: str) -> Response:
    """The bar with the card of what is asked: always the whole state."""
    try:
        return await _with_state(request, code, _bar)
    except UnknownClassError:
        return await _gone(request, 404, _("This class has been deleted."))
    except NotStudentError:
        return await _gone(request, 403, _("You are not in the class any more."))


@router.post(PATHS["class vote"])
async def vote(request: Request, code: str) -> Response:
    """Take a guess, or that somebody would rather not; after the closing it is kept as late."""
    fields = await fields_of(request)
    _take(request, code, "vote", "vote of one")
    receipt = await _as_student(request, code, partial(_vote, fields), writes=True)
    return await _as_changed(request, code, fields, receipt)


async def _as_changed(
    request: Request, code: str, fields: Fields, receipt: Receipt | None = None
) -> Response:
    """After a change, which keeps its lock no longer than it must: the bar for a script, or the way back."""
    if fields.get("as") == "bar":
        return await _with_state(request, code, partial(_bar, receipt=receipt))
    page = "class me" if fields.get("back") == "me" else "class"
    return _redirect(address(page, codes.canonical(code) or ""))


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
    _take(request, code, "answers", "answers of one")
    given = await in_thread(request, partial(_listed, fields.get("answers", "")))
    return await _as_student(request, code, partial(_answers, given), writes=True)


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


# --- oneself -----------------------------------------------------------------------------------------------


@router.api_route(PATHS["class me"], methods=READ)
async def me(request: Request, code: str) -> Response:
    """What a student may do about themselves."""
    return await _with_state(request, code, partial(_student_page, "class/me.jinja", own="", problem=""))


@router.post(PATHS["class me"])
async def change_me(request: Request, code: str) -> Response:
    """Take another name, or follow the teacher or not."""
    fields = await fields_of(request)
    if "following" in fields:
        following = fields["following"] == "1"
        await _as_student(request, code, partial(operations.follow, following=following), writes=True)
        return await _as_changed(request, code, fields)
    _take(request, code, "rename")
    name = fields.get("name", "").strip()
    try:
        await _as_student(request, code, partial(operations.rename, name=name), writes=True)
    except (NameRefusedError, NameTakenError) as refusal:
        told: dict[str, Any] = {"status": 422, "own": name[:80], "problem": refusal.sentence}
        return await _with_state(request, code, partial(_student_page, "class/me.jinja", **told))
    return await _as_changed(request, code, {"back": "me"})


@router.api_route(PATHS["class resume"], methods=READ)
async def resume(request: Request, code: str) -> Response:
    """The student's own code for another device; there, the field that takes it."""
    try:
        return await _as_student(request, code, partial(_resume_page, request))
    except NotStudentError:
        return await _of_class(request, code, lambda _, found: _resume_field(found))


def _resume_page(request: Request, session: Session, student: Student) -> Response:
    classroom, secret = operations.class_of(session, student), request.cookies[STUDENT]
    here = f"{request.url.scheme}://{request.url.netloc}{address('class resume', classroom.code)}"
    told: dict[str, Any] = {"shown_address": here, "qr": svg_path(f"{here}#{secret}")}
    return _page("class/resume.jinja", classroom, secret=secret, problem="", **told)


def _resume_field(classroom: Classroom, problem: str = "") -> Response:
    return _page("class/resume.jinja", classroom, 422 if problem else 200, secret="", problem=problem)


@router.post(PATHS["class resume"])
async def go_on_here(request: Request, code: str) -> Response:
    """Be known here by the code of another device."""
    secret = (await fields_of(request)).get("secret", "").strip().rpartition("#")[2]

    def enter(session: Session) -> Response:
        classroom = operations.class_of(session, operations.find_student(session, code, secret))
        response = _redirect(f"{address('class', classroom.code)}?joined=1")
        _set_cookie(request, response, classroom, secret)
        return response

    try:
        return await read(request, enter)
    except NotStudentError:
        problem = _("No student of this class has this code. Compare it with your other device.")
        return await _of_class(request, code, lambda _, found: _resume_field(found, problem))


@router.api_route(PATHS["class data"], methods=READ)
async def mine(request: Request, code: str) -> Response:
    """All that is stored of a student, as a file."""
    return await _as_student(request, code, _mine)


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
    told: dict[str, Any] = {"delete": delete, "secret": request.cookies.get(STUDENT, "")}
    return await _with_state(request, code, partial(_student_page, "class/leave.jinja", **told))


@router.post(PATHS["class leave"])
async def leave(request: Request, code: str) -> Response:
    """Forget the student here, and if they want so, everywhere."""
    fields = await fields_of(request)
    if fields.get("what") not in ("keep", "delete"):
        raise FieldError("what", _("one of %(options)s", options="keep, delete"))
    return await _as_student(request, code, partial(_leave, request, fields["what"] == "delete"), writes=True)


def _leave(request: Request, delete: bool, session: Session, student: Student) -> Response:
    classroom = operations.class_of(session, student)
    if delete:
        operations.delete_student(session, classroom, student.id)
    left = "deleted" if delete else "kept"
    response = _redirect(f"{address('join class', classroom.code)}?left={left}")
    delete_secret(request, response, STUDENT, classroom.code)
    return response


# --- what all of them do -----------------------------------------------------------------------------------


async def _as_student(
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


async def _with_state(request: Request, code: str, work: Callable[[StudentState], T]) -> T:
    """The same of what the student may know: most pages need no more, and it is read in one statement."""
    secret = request.cookies.get(STUDENT, "")
    return await read_each(request, lambda session: work(find_student_state(session, code, secret)))


def _take(request: Request, code: str, *limits: Limited) -> None:
    """Count against the rates of the client in this class, or of the student; before a lock is waited for."""
    secret = request.cookies.get(STUDENT, "")
    for limit in limits:
        own = limit.endswith("of one") or limit == "rename"
        who = (secret[:MOST_SECRET],) if own else (current_client.get(), codes.canonical(code) or "")
        rates_of(request).take(limit, *who)


def _whole(fields: Fields, name: str) -> int:
    text = fields.get(name, "")
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise FieldError(name, _("a whole number"))
    return int(text)


def _bar(state: StudentState, receipt: Receipt | None = None) -> Response:
    return page_response(bar_of(state, receipt))


async def _gone(request: Request, status: int, sentence: str) -> Response:
    """In place of the bar, for who is in the class no more."""
    return page_response(
        await in_thread(request, partial(render, "class/gone.jinja", sentence=sentence)), status
    )


def _student_page(template: str, state: StudentState, *, status: int = 200, **told: Any) -> Response:
    s = student_context(state)
    code = s.common.code
    told |= {"s": s, "code": code, "spaced": codes.spaced(code), "lesson": s.lesson}
    return page_response(render(template, **told), status)


def _page(
    template: str, classroom: Classroom, status: int = 200, headers: dict[str, str] | None = None, **told: Any
) -> Response:
    """A page for who is not known in the class."""
    code = classroom.code
    told = {"resume": False, "code": code, "spaced": codes.spaced(code), "title": classroom.title} | told
    response = page_response(render(template, lesson=load_lesson(classroom.lesson), **told), status)
    response.headers.update(headers or {})
    return response


def _redirect(there: str) -> Response:
    return RedirectResponse(there, 303, NOT_KEPT)


def _set_cookie(request: Request, response: Response, classroom: Classroom, secret: str) -> None:
    """Until a day after the class."""
    left = end_of(classroom.ends_on) + timedelta(days=1) - present()
    set_secret(request, response, STUDENT, secret, classroom.code, max(0, int(left.total_seconds())))
