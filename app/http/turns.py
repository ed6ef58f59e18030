"""The event loop, shared out by client: requests begin in turn, a few in each turn of the loop.

Whatever is asked for, a flood from one client then delays the others by little: they wait for a few of its
requests and not for all of them. While nobody else asks, a client has the loop to itself.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

from starlette.types import ASGIApp, Receive, Scope, Send

from app.http.client import current_client

REQUESTS_OF_A_TURN = 8


class Turns:
    """ASGI middleware: lets the clients take turns. It needs `ClientAddress` before it."""

    def __init__(self, app: ASGIApp, requests_of_a_turn: int = REQUESTS_OF_A_TURN) -> None:
        self.app = app
        self.requests_of_a_turn = requests_of_a_turn
        self._left = requests_of_a_turn  # that may still begin in this turn of the loop
        self._scheduled = False
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._turn(current_client.get())
        await self.app(scope, receive, send)

    async def _turn(self, client: str) -> None:
        loop = asyncio.get_running_loop()
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._next_turn)
        if self._left:
            self._left -= 1
            return
        turn = loop.create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        await turn

    def _next_turn(self) -> None:
        self._left = self.requests_of_a_turn
        self._scheduled = bool(self._waiting)
        if self._scheduled:
            asyncio.get_running_loop().call_soon(self._next_turn)
        while self._left and self._waiting:
            client, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[client] = turns  # behind all others
            if not turn.done():  # who gave up needs none
                self._left -= 1
                turn.set_result(None)
