"""Refuse requests before they are routed: too large ones, and POSTs from other sites' pages.

Browsers say where a request comes from, and no script can change that. Other programs say nothing and are let
through: they carry nobody's cookies. Queries have limits of their own, in `app.http.query`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.addresses import OF_CLASSES
from app.http.errors import error_page
from app.site import current_site
from lessons.kit.language import gettext as _

PATH_BYTES = 1024
HEADER_BYTES = 32 * 1024
"""Much more than a browser sends, even with the cookies of other applications on the same host."""

READ = ("GET", "HEAD", "OPTIONS")


class Refusals:
    """ASGI middleware: answers a refused request with an error page."""

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
    """Status and message for a request that is refused, None for any other."""
    if len(scope.get("raw_path") or scope["path"].encode()) > PATH_BYTES:
        return 414, _(
            "The address is too long: at most %(most)s bytes may come before the question mark.",
            most=PATH_BYTES,
        )
    if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADER_BYTES:
        return 431, _("The headers of a request may hold at most %(most)s KiB.", most=HEADER_BYTES // 1024)
    if scope["method"] in ("GET", "HEAD") and announces_body(scope["headers"]):
        return 413, _("Nothing here takes a request with a body.")
    if scope["method"] not in READ and not is_own(scope):
        return 403, _("This can only be asked for on its own page.")
    if current_site().only_this_machine and _is_of_classes(scope["path"]) and not _names_this_machine(scope):
        return 421, _(
            "The classes of this server are for this machine: ask for them at localhost or 127.0.0.1. "
            "Behind a proxy, name it in TRUSTED_PROXIES."
        )
    return None


def _is_of_classes(path: str) -> bool:
    return path.removeprefix(current_site().root_path).startswith(OF_CLASSES)


def _names_this_machine(scope: Scope) -> bool:
    """Whether the Host is a loopback address or name.

    Another site's name that leads to this machine (DNS rebinding) would make its pages own ones.
    """
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "localhost")
    name = host.lower().rpartition("]")[0].removeprefix("[") or host.lower().partition(":")[0]
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def announces_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Tell whether a request with these headers has a body."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b" 0"))
        for name, value in headers
    )


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
    """A host without a default port. The scheme is not compared: a proxy may have terminated HTTPS."""
    return host.removesuffix(":80").removesuffix(":443")
