"""Errors as pages that a person can read: what went wrong, what is allowed, and a way back."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.cache.queue import Busy, Crowded
from app.http.security import HEADERS, PAGE_HEADERS, is_embed, page_headers
from app.site import current_site
from app.views.environment import HTML, render
from app.views.problems import Problem
from lessons.catalogue import Lesson
from lessons.kit.language import N_, current_language
from lessons.kit.language import gettext as _

log = logging.getLogger("academy")

RETRY_AFTER = 2  # seconds after which a busy worker may be asked again
REFUSED_SECONDS = 2.0  # after which a client is told that it asks for too much

ADVICE = {
    404: N_("There is nothing at this address."),
    405: N_("This address can only be read."),
}
TITLES = {
    400: N_("Bad Request"),
    403: N_("Not From Here"),
    404: N_("Not Found"),
    405: N_("Method Not Allowed"),
    413: N_("Content Too Large"),
    414: N_("Address Too Long"),
    422: N_("Not Possible"),
    431: N_("Headers Too Large"),
}
"""Of the statuses that are answered on purpose; any other one has its English phrase."""


class CannotShow(Exception):
    """An address asks for something that cannot be shown: its problems, and an address that works.

    Parameters
    ----------
    fragment
        The id of the figure or question whose view was asked for; "" where a page was.
    """

    def __init__(self, lesson: Lesson, problems: list[Problem], back: str, fragment: str = "") -> None:
        super().__init__(back)
        self.lesson = lesson
        self.problems = problems
        self.back = back
        self.fragment = fragment


def install(app: FastAPI) -> None:
    """Answer every error with a page of the lesson's own."""
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(CannotShow, _cannot_show)
    app.add_exception_handler(Busy, _busy)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _server_error)


def error_page(
    request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The page that says what went wrong, titled by the status."""
    title = _(TITLES[status]) if status in TITLES else HTTPStatus(status).phrase
    return _page(request, status, title, detail, dict(headers or {}))


async def _cannot_show(request: Request, error: Exception) -> Response:
    assert isinstance(error, CannotShow)
    make = partial(problem_page, error, embedded=is_embed(request.scope))
    try:
        body: bytes = await request.app.state.cache.run(make)
    except Busy as busy:
        return await _busy(request, busy)
    return Response(body, 422, {"Cache-Control": "no-store"}, media_type=HTML)


def problem_page(error: CannotShow, *, embedded: bool) -> bytes:
    """The problems of an address, what is allowed, and a way back."""
    told = {"problems": error.problems, "back": error.back}
    if error.fragment:
        return render("problem_fragment.jinja", id=error.fragment, **told)
    return render("problem.jinja", lesson=error.lesson, embedded=embedded, **told)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code
    silent = error.detail == HTTPStatus(status).phrase
    return error_page(
        request, status, _(ADVICE.get(status, "")) if silent else str(error.detail), error.headers
    )


async def _busy(request: Request, error: Exception) -> Response:
    if isinstance(error, Crowded):
        error.__traceback__ = error.__context__ = None  # they hold the form that was sent
        await _slow_down(request)
    return _page(
        request,
        429 if isinstance(error, Crowded) else 503,
        _("Too many at once"),
        _("More is being computed here than this machine can do. Please try again in a moment."),
        {"Retry-After": str(RETRY_AFTER)},
    )


async def _slow_down(request: Request) -> None:
    """Delay the refusal of a client that asks for too much: it would try again at once."""
    with suppress(TimeoutError):
        async with asyncio.timeout(REFUSED_SECONDS):
            while (await request.receive())["type"] != "http.disconnect":
                pass


async def _gone(request: Request, error: Exception) -> Response:
    """The client left before its form had arrived: nobody reads this response, and nothing failed."""
    return Response(status_code=400)


async def _server_error(request: Request, error: Exception) -> Response:
    log.error("%r failed", request.scope["path"], exc_info=error)  # %r: an address may hold a line break
    # Starlette answers this outside every middleware, so the headers are set here.
    ancestors = current_site().embed_ancestors if is_embed(request.scope) else "'none'"
    headers = HEADERS | PAGE_HEADERS | page_headers(ancestors)
    detail = _("The fault is ours, not yours. It has been logged.")
    return _page(request, 500, _("The server failed"), detail, headers)


def _page(request: Request, status: int, title: str, detail: str, headers: dict[str, str]) -> Response:
    embedded = is_embed(request.scope)
    make = _body_of if status in (429, 503) else _body_of.__wrapped__
    body = make(current_language().tag, current_site().root_path, status, title, detail, embedded)
    headers = {"Cache-Control": "no-store", **headers}  # another replica, or the next moment, may know better
    return Response(body, status, headers, media_type=HTML)


@functools.lru_cache(maxsize=64)
def _body_of(_language: str, _root: str, status: int, title: str, detail: str, embedded: bool) -> bytes:
    """The bytes of an error page; those of a busy worker are made once."""
    return render("error.jinja", status=status, title=title, detail=detail, embedded=embedded)
