"""The language of a request: `/de/lessons/…` is `/lessons/…` in German; English has no prefix."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from app.addresses import read_prefix
from app.site import Site, set_site
from lessons.kit.language import PSEUDO, SOURCE, languages, set_language


class LanguagePrefix:
    """ASGI middleware: makes this site and the language of the path the current ones."""

    def __init__(self, app: ASGIApp, site: Site, pseudo: bool) -> None:
        self.app = app
        self.site = site
        self.tags = set(languages()) - {SOURCE} | set(PSEUDO if pseudo else ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            tag, path = read_prefix(scope["path"], self.site.root_path, self.tags, SOURCE)
            set_site(self.site)
            set_language(tag)
            scope = {**scope, "path": path}
        await self.app(scope, receive, send)
