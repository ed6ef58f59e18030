"""The client that sends a request: an address, as the trusted proxies tell it.

Of IPv6 it is the /48 network, the largest that one site is given (RIPE-690, section 4.2).
"""

from __future__ import annotations

import functools
import ipaddress
from contextvars import ContextVar

from starlette.types import ASGIApp, Receive, Scope, Send

NETWORK_BITS = 48  # of an IPv6 address: a site may choose all others
LONGEST_CLIENT = 64  # characters of what a proxy may call a client

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
