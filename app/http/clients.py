"""The client that sends a request, and turns in the event loop.

A client is an address, as the trusted proxies tell it; of IPv6 it is the /48 network, the largest that one
site is given (RIPE-690, section 4.2).
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
from collections import OrderedDict, deque
from contextvars import ContextVar

from starlette.types import ASGIApp, Receive, Scope, Send

NETWORK_BITS = 48  # of an IPv6 address: a site may choose all others
LONGEST_CLIENT = 64  # characters of what a proxy may call a client
REQUESTS_OF_A_TURN = 8  # that begin in one turn of the event loop

current_client: ContextVar[str] = ContextVar("client", default="")
"""The client whose request is being answered."""


class ClientAddress:
    """ASGI middleware: sets the current client."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("client"):
            current_client.set(client_of(str(scope["client"][0])[:LONGEST_CLIENT]))
        await self.app(scope, receive, send)


@functools.lru_cache(maxsize=4096)
def client_of(address: str) -> str:
    """The client that an address belongs to.

    >>> client_of("192.0.2.7"), client_of("2001:db8:1:2:3:4:5:6"), client_of("::ffff:192.0.2.7")
    ('192.0.2.7', '2001:db8:1::', '192.0.2.7')
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:LONGEST_CLIENT]
    if ip.version == 4:
        return str(ip)
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, NETWORK_BITS), strict=False).network_address)


class Turns:
    """ASGI middleware: requests begin in turn for each client, a few in each turn of the event loop.

    A flood from one client then delays the others by a few of its requests and not by all of them. While
    nobody else asks, a client has the loop to itself. It needs `ClientAddress` before it.
    """

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
