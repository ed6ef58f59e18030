"""How large a request may be. How many answers are computed side by side is bounded in `app.cache.store`."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.http.errors import error_page
from lessons.kit.language import gettext as _

PATH_BYTES = 1024
HEADER_BYTES = 32 * 1024
"""Much more than a browser sends, even with the cookies of other applications on the same host."""


class Bounds:
    """ASGI middleware: refuses a request that is larger than any that the lesson can use.

    Queries have their own limits, in `app.http.query`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = refused(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self.app(scope, receive, send)
        else:
            status, detail = refusal
            await error_page(Request(scope), status, detail)(scope, receive, send)


def refused(scope: Scope) -> tuple[int, str] | None:
    """Status and words for a request that is too large, None for one that is not."""
    if len(scope.get("raw_path") or scope["path"].encode()) > PATH_BYTES:
        return 414, _(
            "The address is too long: at most %(most)s bytes may come before the question mark.",
            most=PATH_BYTES,
        )
    if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADER_BYTES:
        return 431, _("The headers of a request may hold at most %(most)s KiB.", most=HEADER_BYTES // 1024)
    if scope["method"] in ("GET", "HEAD") and announces_body(scope["headers"]):
        return 413, _("Nothing here takes a request with a body.")
    return None


def announces_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Tell whether a request with these headers has a body."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b" 0"))
        for name, value in headers
    )
