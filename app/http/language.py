"""The language of a request: `/de/lessons/…` is `/lessons/…`, spoken in German; English has no prefix."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from lessons.kit.language import PSEUDO, SOURCE, languages, speaking


class Speaking:
    """ASGI middleware: takes the language from the path and makes it the present one."""

    def __init__(self, app: ASGIApp, root_path: str, pseudo: bool) -> None:
        self.app = app
        self.root_path = root_path
        self.tags = set(languages()) - {SOURCE} | set(PSEUDO if pseudo else ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tag, path = self.read(scope["path"]) if scope["type"] == "http" else (SOURCE, "")
        if tag == SOURCE:
            await self.app(scope, receive, send)
        else:
            with speaking(tag):
                await self.app({**scope, "path": path}, receive, send)

    def read(self, path: str) -> tuple[str, str]:
        """The language that a path names, and the path without it."""
        tag, _, rest = path.removeprefix(self.root_path)[1:].partition("/")
        return (tag, f"{self.root_path}/{rest}") if tag in self.tags else (SOURCE, path)
