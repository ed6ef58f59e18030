"""A response as the cache keeps it: its bytes, and the headers that never change with them.

What compresses is kept compressed only: a hundred views take the memory of ten, and most browsers ask for
that form.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import zlib
from collections.abc import Iterator, Mapping

import brotli
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

COMPRESSIBLE = ("text/", "application/json", "application/x-ipynb", "application/javascript", "image/svg")
SMALLEST = 512  # bytes below which compression costs more than it saves
MOST_WHOLE = 32 * 1024  # bytes, up to which a connection may hold a copy of its own until it is taken
REFUSED = frozenset({"q=0", "q=0.0", "q=0.00", "q=0.000"})
QUICK, SMALL, BEST = 5, 10, 11  # brotli's quality: while somebody waits, at the start, where nobody waits
PIECE = 16 * 1024
GZIP = 16 + zlib.MAX_WBITS

RawHeaders = list[tuple[bytes, bytes]]


class Unpacked:
    """Gzipped bytes, decompressed piece by piece. Unlike brotli, gzip needs only the last 32 KiB to go on."""

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


class CachedResponse:
    """A response's bytes with their media type, and an ETag for each of their encodings.

    Parameters
    ----------
    raw
        The bytes, uncompressed.
    quality
        Brotli's; `prepared` is the compressed form if it was made before.
    headers
        Further headers of every response with these bytes.
    keep_raw
        Keep the uncompressed form too: requests for it then share these bytes instead of a copy each.
    """

    __slots__ = (
        "_digest",
        "_forms",
        "_headers",
        "_own_headers",
        "media_type",
        "size",
    )

    def __init__(
        self,
        raw: bytes,
        media_type: str,
        quality: int = QUICK,
        prepared: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        keep_raw: bool = False,
    ) -> None:
        self.media_type = media_type
        self._own_headers = headers or {}
        self._digest = hashlib.sha256(raw).hexdigest()[:24]
        self._forms: dict[str, bytes] = {"": raw}
        self._headers: dict[tuple[str, str], RawHeaders] = {}
        if len(raw) > SMALLEST and media_type.startswith(COMPRESSIBLE):
            compressed = prepared or bytes(brotli.compress(raw, quality=quality))
            self._forms = {"br": compressed} | ({"": raw} if keep_raw else {})
        self.size = sum(map(len, self._forms.values()))

    def stored(self) -> tuple[str, str, str, bytes]:
        """Media type, hash, encoding and encoded bytes, from which `restored` makes it again."""
        (encoding, content), *_ = self._forms.items()
        return self.media_type, self._digest, encoding, content

    @classmethod
    def restored(cls, media_type: str, digest: str, encoding: str, content: bytes) -> CachedResponse:
        """A response as it was stored; it has no headers of its own."""
        response = cls.__new__(cls)
        response.media_type, response._digest, response._own_headers = media_type, digest, {}
        response._forms, response._headers, response.size = {encoding: content}, {}, len(content)
        return response

    @property
    def raw(self) -> bytes:
        """The bytes, uncompressed."""
        return self._forms[""] if "" in self._forms else bytes(brotli.decompress(self._forms["br"]))

    def etag(self, encoding: str) -> str:
        """The ETag of these bytes in an encoding, "" for none: each encoding has its own."""
        return f'"{self._digest}-{encoding}"' if encoding else f'"{self._digest}"'

    def answer(
        self, accept_encoding: str, if_none_match: str, cache_control: str
    ) -> tuple[int, RawHeaders, Content]:
        """Status, headers and bytes for a request with these headers: 304 if the client has the bytes."""
        content, encoding = self.encoded(accept_encoding)
        headers = self._fixed_headers(encoding, cache_control)
        if matches(if_none_match, self.etag(encoding)):
            return 304, list(headers), b""
        return 200, [*headers, (b"content-length", str(len(content)).encode())], content

    def encoded(self, accept_encoding: str) -> tuple[Content, str]:
        """The bytes and the name of their encoding that suit an Accept-Encoding header; "" for none."""
        if "br" not in self._forms:
            return self._forms[""], ""
        encoding = preferred(accept_encoding)
        if encoding:
            return self._form(encoding), encoding
        if "" in self._forms:
            return self._forms[""], ""
        if len(self._forms["br"]) <= MOST_WHOLE and len(raw := self.raw) <= MOST_WHOLE:
            return raw, ""
        return Unpacked(self._form("gzip")), ""

    def _form(self, encoding: str) -> bytes:
        if encoding not in self._forms:
            self._forms[encoding] = gzip.compress(self.raw, compresslevel=6, mtime=0)
        return self._forms[encoding]

    def _fixed_headers(self, encoding: str, cache_control: str) -> RawHeaders:
        """All headers of an answer with these bytes but its length; made once."""
        key = (encoding, cache_control)
        if key not in self._headers:
            lines = {
                "content-type": self.media_type,
                "etag": self.etag(encoding),
                "vary": "Accept-Encoding",
                "cache-control": cache_control,
                **self._own_headers,
            }
            if encoding:
                lines["content-encoding"] = encoding
            self._headers[key] = [(name.lower().encode(), value.encode()) for name, value in lines.items()]
        return self._headers[key]


def matches(if_none_match: str, etag: str) -> bool:
    """Tell whether an If-None-Match header names an ETag (RFC 9110, 13.1.2: compared weakly).

    >>> matches('W/"a", "b-br"', '"a"'), matches('"a"', '"a-br"'), matches("*", '"a"')
    (True, False, True)
    """
    named = (item.strip().removeprefix("W/") for item in if_none_match.split(","))
    return any(name in (etag, "*") for name in named)


@functools.lru_cache(maxsize=64)
def preferred(accept_encoding: str) -> str:
    """The encoding to answer with: brotli before gzip; "" if the client accepts neither.

    >>> preferred("gzip, deflate, br"), preferred("gzip;q=1.0, br;q=0"), preferred("identity")
    ('br', 'gzip', '')
    """
    accepted = set()
    for item in accept_encoding.split(","):
        name, *parameters = ("".join(part.split()) for part in item.split(";"))
        if not REFUSED.intersection(parameters):
            accepted.add(name)
    return next((name for name in ("br", "gzip") if name in accepted), "")


class UnpackedResponse(Response):
    """Sends `Unpacked` content; the server waits before each piece until most of the last ones are sent."""

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
