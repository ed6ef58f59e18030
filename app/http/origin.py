"""Requests that change or send something come from our own pages: a POST of another site's page is refused.

Browsers say where a request comes from, and no script can make them lie. What is no browser says nothing, and
is let through: it carries nobody's rights.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.http.errors import error_page
from lessons.kit.language import gettext as _

READ = ("GET", "HEAD", "OPTIONS")


class SameOrigin:
    """ASGI middleware: answers what another site's page sends with 403."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in READ or is_own(scope):
            await self.app(scope, receive, send)
        else:
            refusal = error_page(Request(scope), 403, _("This can only be asked for on its own page."))
            await refusal(scope, receive, send)


def is_own(scope: Scope) -> bool:
    """Tell whether a request comes from a page of this server, or from no page at all.

    `Sec-Fetch-Site` is what the browser itself has compared, so it holds behind a proxy that changes the
    Host header too. Older browsers send `Origin` alone; a page in a frame with `sandbox` sends `null`.
    """
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get(b"origin")
    if origin is None:
        return True
    _scheme, mark, host = origin.lower().partition("://")
    return mark != "" and _bare(host) == _bare(headers.get(b"host", "").lower())


def _bare(host: str) -> str:
    """A host without a default port. The scheme is not compared: a proxy may have taken HTTPS off."""
    return host.removesuffix(":80").removesuffix(":443")
