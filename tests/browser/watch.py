"""What goes wrong in a page while a test drives it: the console, exceptions, the policy, foreign requests."""

import re
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Request, WebError

REPORT_CSP = """
addEventListener("securitypolicyviolation", event => console.error(
  `CSP: ${event.effectiveDirective} forbids ${event.blockedURI} (${event.sourceFile}:${event.lineNumber})`))
"""


class Watch:
    """What went wrong in the pages of one test."""

    def __init__(self, server: str) -> None:
        self.host = urlsplit(server).netloc
        self.seen: list[str] = []
        self.expected: list[re.Pattern[str]] = []

    def expect(self, pattern: str) -> None:
        """Let the problems that match `pattern` pass: this test provokes them."""
        self.expected.append(re.compile(pattern))

    def problems(self) -> list[str]:
        return [text for text in self.seen if not any(pattern.search(text) for pattern in self.expected)]

    def follow(self, context: BrowserContext) -> None:
        """Listen to the pages of a context, in which `REPORT_CSP` is to run."""
        context.on("console", self._console)
        context.on("weberror", self._error)
        context.on("request", self._request)

    def leave(self, context: BrowserContext) -> None:
        context.remove_listener("console", self._console)
        context.remove_listener("weberror", self._error)
        context.remove_listener("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.seen.append(f"console: {message.text} ({message.location.get('url', '')})")

    def _error(self, error: WebError) -> None:
        self.seen.append(f"uncaught: {error.error}")

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != self.host:
            self.seen.append(f"request to another host: {request.url}")
