"""What the routes of classes share: forms, the database, refusals as errors of HTTP, secrets in cookies."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from fastapi import FastAPI
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.addresses import address, in_language
from app.classroom import codes
from app.classroom.database import Database
from app.classroom.rates import Rates
from app.classroom.refusals import NotStudentError, NotTeacherError, Refusal, TooManyError, UnknownClassError
from app.http.clients import current_client
from app.http.errors import error_page
from app.http.query import Forms, read_form
from app.routes.common import NOT_KEPT
from app.views.environment import HTML
from lessons.kit.language import PSEUDO, language, languages
from lessons.kit.language import gettext as _

log = logging.getLogger("academy")
T = TypeVar("T")
Work = Callable[[Session], T]

STATUS = {"unknown": 404, "forbidden": 403, "gone": 410, "conflict": 409, "invalid": 422, "busy": 429}
"""Of the kinds of refusals."""

WORKERS = int(os.environ.get("WORKERS") or 1)
"""Processes of this host; `scripts/serve.py` has seen that it is a number."""

AWAY = (OperationalError, InterfaceError, NoConnectionError)
"""A database that restarts, is too busy, or cannot be reached."""
AWAY_SECONDS = 2
"""After which a client may try again."""

TEACHER, STUDENT = "teacher", "student"
"""The cookies that hold a secret."""

MOST_SECRET = 64
"""Characters of a secret that are looked at; a real one has 22."""


def install(app: FastAPI) -> None:
    """Answer refusals with error pages, and begin to count how often clients ask."""
    app.state.rates = Rates(workers=WORKERS * app.state.settings.hosts)
    app.add_exception_handler(Refusal, _refused)
    for error in AWAY:
        app.add_exception_handler(error, _away)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return error_page(request, STATUS[error.kind], error.sentence, headers_of(error))


async def _away(request: Request, error: Exception) -> Response:
    """The database did not do it, or did not say that it did; whoever asked may ask again."""
    log.warning("the database of classes failed: %s", type(error).__name__)
    sentence = _("The class cannot be reached just now. Nothing that was stored is lost; try again.")
    return error_page(request, 503, sentence, {"Retry-After": str(AWAY_SECONDS)})


def headers_of(refusal: Refusal) -> dict[str, str]:
    """The headers of an answer that refuses."""
    return {"Retry-After": str(refusal.seconds)} if isinstance(refusal, TooManyError) else {}


def rates_of(request: Request) -> Rates:
    rates: Rates = request.app.state.rates
    return rates


def is_htmx(request: Request) -> bool:
    """Whether a script asks, which swaps a fragment in, or a browser, which wants a page."""
    return request.headers.get("hx-request") == "true"


async def read(request: Request, work: Work[T]) -> T:
    """What `work` makes of the database, which it only reads; in a thread."""
    database: Database = request.app.state.database
    return await _counted(request, database.reading, work)


async def read_each(request: Request, work: Work[T]) -> T:
    """The same for work of a single statement: each sees the newest state."""
    database: Database = request.app.state.database
    return await _counted(request, database.reading_each, work)


async def write(request: Request, work: Work[T]) -> T:
    """What `work` makes of the database, in a thread, once it is committed."""
    database: Database = request.app.state.database
    return await _counted(request, database.writing, work)


async def _counted(request: Request, run: Callable[[Work[T]], object], work: Work[T]) -> T:
    """Run it; codes and secrets that nobody has count against who tries them, and are refused in the end.

    A page that is left open when its class is deleted asks again and again, so a code that was right for this
    client once does not count: others may have the same address.
    """
    rates, (client, code) = rates_of(request), _who(request)
    try:
        found: T = await run(work)  # type: ignore[misc]
    except (UnknownClassError, NotTeacherError, NotStudentError):
        if not rates.knows(client, code):
            rates.take("unknown code", client)
        raise
    if code:
        rates.learn(client, code)
    return found


def refuse_walking(request: Request) -> None:
    """Refuse who has tried many codes, before one is looked up that opens a page by itself.

    Raises
    ------
    TooManyError
        Unless the code was right for this client before.
    """
    if not rates_of(request).knows(*_who(request)):
        rates_of(request).check("unknown code", current_client.get())


def _who(request: Request) -> tuple[str, str]:
    """A client, and the code that it asks for: in the path, or typed into the field of the join page."""
    given = request.path_params.get("code") or request.query_params.get("code", "")
    return current_client.get(), codes.canonical(str(given)) or ""


async def fields_of(request: Request) -> dict[str, str]:
    """The fields of a form that was sent; of a repeated one the last."""
    forms: Forms = request.app.state.forms
    async with forms.read(request) as body:
        return dict(read_form(body))


def elsewhere(page: str, code: str) -> Response | None:
    """A redirect to the address with the code as it is written there; None when this is that address."""
    canonical = codes.canonical(code)
    if canonical is None:
        raise UnknownClassError
    return None if code == canonical else RedirectResponse(address(page, canonical), 308, NOT_KEPT)


def page_response(
    content: bytes, status: int = 200, headers: Mapping[str, str] = MappingProxyType({})
) -> Response:
    """A page or fragment of a class: nobody keeps it."""
    return Response(content, status, {**NOT_KEPT, **headers}, media_type=HTML)


def set_secret(request: Request, response: Response, name: str, secret: str, code: str, seconds: int) -> None:
    """Give a browser a secret that scripts cannot read, for the pages of this class in all languages."""
    for path in _paths(request, name, code):
        response.set_cookie(
            name,
            secret,
            max_age=seconds,
            path=path,
            secure=request.scope["scheme"] == "https",
            httponly=True,
            samesite="strict" if name == TEACHER else "lax",
        )


def delete_secret(request: Request, response: Response, name: str, code: str) -> None:
    """Let a browser forget it."""
    for path in _paths(request, name, code):
        response.delete_cookie(name, path=path)


def _paths(request: Request, name: str, code: str) -> list[str]:
    """Where the pages of a class begin that take a secret, in each language: no other page is sent it."""
    own = address("desk" if name == TEACHER else "class", code)
    tags = (*languages(), *(PSEUDO if request.app.state.settings.pseudo_languages else ()))
    return [in_language(own, language(tag)) for tag in tags]
