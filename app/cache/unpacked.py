"""Responses to those who take no encoding: unpacked piece by piece, as their reader takes them.

A page is a few hundred kilobytes unpacked. Whoever asks for many and reads none of them would otherwise make
the server hold each of them whole.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

RawHeaders = list[tuple[bytes, bytes]]
PIECE = 16 * 1024
GZIP = 16 + zlib.MAX_WBITS


class Unpacked:
    """What gzip has packed, unpacked piece by piece. Unlike brotli it needs the last 32 KiB only to go on."""

    def __init__(self, packed: bytes) -> None:
        self.packed = packed

    def __len__(self) -> int:
        return int.from_bytes(self.packed[-4:], "little")  # RFC 1952, ISIZE

    def __iter__(self) -> Iterator[bytes]:
        unpacker = zlib.decompressobj(GZIP)
        for start in range(0, len(self.packed), PIECE):
            rest = self.packed[start : start + PIECE]
            while piece := unpacker.decompress(rest, PIECE):
                rest = unpacker.unconsumed_tail
                yield piece


Content = bytes | Unpacked


class UnpackedResponse(Response):
    """Sends such content; the server waits before each piece until most of the last ones are taken."""

    def __init__(self, content: Unpacked, status: int) -> None:
        super().__init__(None, status)
        self.unpacked = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for piece in self.unpacked:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def response_with(content: Content, status: int, headers: RawHeaders) -> Response:
    """A response of this content with these headers alone."""
    response = (
        UnpackedResponse(content, status) if isinstance(content, Unpacked) else Response(content, status)
    )
    response.raw_headers = headers
    return response
