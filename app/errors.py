"""Errors as pages that a person can read: what went wrong, what is allowed, and a way back."""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.kept import Busy
from app.render import render
from app.security import HEADERS, content_security_policy

log = logging.getLogger("academy")

ADVICE = {
    404: "There is nothing at this address.",
    405: "This address can only be read.",
}


def install(app: FastAPI) -> None:
    """Answer every error with a page of the lesson's own."""
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Busy, _busy)
    app.add_exception_handler(Exception, _server_error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    detail = ADVICE.get(error.status_code, "") if error.detail == phrase else str(error.detail)
    return _page(request, error.status_code, phrase, detail, dict(error.headers or {}))


async def _busy(request: Request, error: Exception) -> Response:
    return _page(
        request,
        503,
        "Too many at once",
        "More is being computed here than this machine can do. Please try again in a moment.",
        {"Retry-After": "1", "Cache-Control": "no-store"},
    )


async def _server_error(request: Request, error: Exception) -> Response:
    log.error("%s failed", request.url.path, exc_info=error)
    # Starlette answers this outside every middleware, so the headers are set here.
    headers = HEADERS | {"Content-Security-Policy": content_security_policy("'none'")}
    return _page(
        request, 500, "The server failed", "The fault is ours, not yours. It has been logged.", headers
    )


def _page(request: Request, status: int, title: str, detail: str, headers: dict[str, str]) -> Response:
    root = request.app.state.settings.root_path
    body = render("error.jinja", root_path=root, status=status, title=title, detail=detail)
    return Response(body, status, headers, media_type="text/html; charset=utf-8")
