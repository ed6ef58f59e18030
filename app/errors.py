"""Errors as pages that a person can read: what went wrong, what is allowed, and a way back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.kept import Busy
from app.render import render
from app.security import HEADERS, PAGE_HEADERS, page_headers

log = logging.getLogger("academy")

RETRY_AFTER = 2  # seconds after which a busy worker may be asked again

ADVICE = {
    404: "There is nothing at this address.",
    405: "This address can only be read.",
}


def install(app: FastAPI) -> None:
    """Answer every error with a page of the lesson's own."""
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Busy, _busy)
    app.add_exception_handler(Exception, _server_error)


def error_page(
    request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The page that says what went wrong, titled by the status."""
    return _page(request, status, HTTPStatus(status).phrase, detail, dict(headers or {}))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code
    silent = error.detail == HTTPStatus(status).phrase
    return error_page(request, status, ADVICE.get(status, "") if silent else str(error.detail), error.headers)


async def _busy(request: Request, error: Exception) -> Response:
    return _page(
        request,
        503,
        "Too many at once",
        "More is being computed here than this machine can do. Please try again in a moment.",
        {"Retry-After": str(RETRY_AFTER), "Cache-Control": "no-store"},
    )


async def _server_error(request: Request, error: Exception) -> Response:
    log.error("%r failed", request.scope["path"], exc_info=error)  # %r: an address may hold a line break
    # Starlette answers this outside every middleware, so the headers are set here.
    detail = "The fault is ours, not yours. It has been logged."
    return _page(request, 500, "The server failed", detail, HEADERS | PAGE_HEADERS | page_headers())


def _page(request: Request, status: int, title: str, detail: str, headers: dict[str, str]) -> Response:
    root = request.app.state.settings.root_path
    body = render("error.jinja", root_path=root, status=status, title=title, detail=detail)
    return Response(body, status, headers, media_type="text/html; charset=utf-8")
