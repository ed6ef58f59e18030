"""Security headers as data. The policy allows what the lesson serves itself, and nothing else."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

RawHeader = tuple[bytes, bytes]

POLICY = {
    "default-src": "'none'",  # so there are no objects, workers, manifests, media or inner frames either
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'self'",
}
"""For pages. Trusted Types are not required: docs/hosting.md says why."""

DATA_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""For everything else: a table or a health check has nothing to load, even when opened as a page."""

POWERS_OFF = (
    "accelerometer",
    "autoplay",
    "browsing-topics",
    "camera",
    "clipboard-read",
    "display-capture",
    "encrypted-media",
    "fullscreen",
    "gamepad",
    "geolocation",
    "gyroscope",
    "hid",
    "idle-detection",
    "local-fonts",
    "magnetometer",
    "microphone",
    "midi",
    "payment",
    "publickey-credentials-get",
    "screen-wake-lock",
    "serial",
    "storage-access",
    "usb",
    "window-management",
    "xr-spatial-tracking",
)
"""Features that a page could ask for or learn about the machine from; none has a use here. The list is short:
the header is sent with every page, uncompressed."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""For every response."""

PAGE_HEADERS = {
    "Permissions-Policy": ", ".join(f"{power}=()" for power in POWERS_OFF),
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""For pages as well: nothing else is ever a window."""

FRAMED = {"Cross-Origin-Resource-Policy": "cross-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
"""For a page that other sites may frame: a cross-origin isolated site requires both of its frames."""

SHARED = {"Cross-Origin-Resource-Policy": "cross-origin", "Access-Control-Allow-Origin": "*"}
"""For static files: in a frame with `sandbox`, a figure's style sheet and fonts come from another origin."""

TRANSPORT = "max-age=31536000"
"""Sent over HTTPS only: a host without it must stay reachable."""

FRAME_OPTIONS = {"'none'": "DENY", "'self'": "SAMEORIGIN"}
"""For browsers older than `frame-ancestors`, which cannot be given a list of hosts."""


def content_security_policy(frame_ancestors: str) -> str:
    """The policy header of a page; `frame_ancestors` says who may put it in a frame."""
    return "; ".join(
        f"{name} {value}" for name, value in (POLICY | {"frame-ancestors": frame_ancestors}).items()
    )


def page_headers(frame_ancestors: str = "'none'") -> dict[str, str]:
    """The headers that say who may put a page in a frame."""
    policy = {"Content-Security-Policy": content_security_policy(frame_ancestors)}
    if frame_ancestors in FRAME_OPTIONS:
        return policy | {"X-Frame-Options": FRAME_OPTIONS[frame_ancestors]}
    return policy | FRAMED


def is_embed(scope: Scope) -> bool:
    """Tell whether a request is for a page in a frame of another site."""
    return b"embed=1" in scope.get("query_string", b"").split(b"&")


class SecurityHeaders:
    """ASGI middleware: adds the headers that a response does not already set for itself.

    A refused embed may be framed by the same sites as the embed, `embed_ancestors`.
    """

    def __init__(self, app: ASGIApp, embed_ancestors: str = "'none'") -> None:
        self.app = app
        self.embed_ancestors = embed_ancestors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] != 304:
                # On a 304 the browser keeps the headers of the page; any here would replace them.
                framed = message["status"] >= 400 and is_embed(scope)
                ancestors = self.embed_ancestors if framed else "'none'"
                said = message["headers"]
                message["headers"] = [*said, *missing(said, scope["scheme"], ancestors)]
            await send(message)

        await self.app(scope, receive, send_with_headers)


def missing(said: Iterable[RawHeader], scheme: str, ancestors: str = "'none'") -> list[RawHeader]:
    """The default headers that a response lacks; `ancestors` may frame it if it is a page."""
    known = dict(said)
    html = known.get(b"content-type", b"").startswith(b"text/html")
    # A response with a policy of its own has decided who may frame it, too.
    decided = b"content-security-policy" in known
    return [line for line in _defaults(html, decided, scheme, ancestors) if line[0] not in known]


@functools.cache
def _defaults(html: bool, decided: bool, scheme: str, ancestors: str) -> list[RawHeader]:
    lines = dict(HEADERS)
    if html:
        lines |= PAGE_HEADERS
    if not decided:
        lines |= (
            page_headers(ancestors) if html else page_headers() | {"Content-Security-Policy": DATA_POLICY}
        )
    if scheme == "https":
        lines["Strict-Transport-Security"] = TRANSPORT
    return [(name.lower().encode(), value.encode()) for name, value in lines.items()]
