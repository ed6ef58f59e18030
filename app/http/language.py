"""The language of a request: `/de/lessons/…` is `/lessons/…` in German; English has no prefix."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

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
            root_path, path = self.site.root_path, scope["path"]
            tag, _, rest = path.removeprefix(root_path)[1:].partition("/")
            set_site(self.site)
            if tag in self.tags:
                set_language(tag)
                scope = {**scope, "path": f"{root_path}/{rest}"}
            else:
                set_language(SOURCE)
        await self.app(scope, receive, send)
