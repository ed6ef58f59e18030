"""Read queries and forms strictly: bounded, and valid UTF-8."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

from app.cache.queue import Busy, Crowded
from app.http.clients import current_client
from lessons.kit.language import gettext as _

MAXIMUM_BYTES = 8192
MAXIMUM_FIELDS = 128

MAXIMUM_FORM_BYTES = 248 * 1024
"""Of what a form sends: a config.json of 128 KiB, with every second byte escaped."""

MOST_HELD = 64 * 2**20
"""Bytes of all forms that are waited for or answered."""

FORM = "application/x-www-form-urlencoded"

IGNORED = frozenset({"fbclid", "gclid", "msclkid", "ref"})
"""Names that link-sharing services append; a shared link must not break on them."""


def query_parameters(request: Request) -> list[tuple[str, str]]:
    """All parameters of a request in order, repeated ones kept; see `read_query`."""
    return read_query(request.scope["query_string"])


def read_query(raw: bytes) -> list[tuple[str, str]]:
    """All parameters of a query in order, repeated ones kept.

    Raises
    ------
    HTTPException
        414 when the query is too long, 400 when it has too many fields or is not UTF-8.
    """
    if len(raw) > MAXIMUM_BYTES:
        raise HTTPException(
            414,
            _(
                "The address is too long: at most %(most)s bytes may follow the question mark.",
                most=MAXIMUM_BYTES,
            ),
        )
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAXIMUM_FIELDS
        )
    except UnicodeError:
        raise HTTPException(400, _("The address is not valid UTF-8 after the question mark.")) from None
    except ValueError:
        raise HTTPException(
            400, _("The address has too many parameters: at most %(most)s.", most=MAXIMUM_FIELDS)
        ) from None
    return [(name, value) for name, value in pairs if name not in IGNORED and not name.startswith("utm_")]


class Forms:
    """The bytes of all forms that a worker holds, shared out between clients.

    A client may hold as many bytes as are still free: half of them when it is alone, a quarter when another
    one holds half. So a few clients never fill it for all others.
    """

    def __init__(self, most: int = MOST_HELD) -> None:
        self.most = most
        self.held = 0
        self.of_client: Counter[str] = Counter()

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """The bytes of a form that was sent.

        Raises
        ------
        HTTPException
            415 for a body that is no form, 413 when it is too long.
        Busy
            When too little is free; Crowded, when this client holds other forms too.
        """
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
            raise HTTPException(415, f"A form is read here: {FORM}.")
        client, taken, chunks = current_client.get(), 0, []
        try:
            async for chunk in request.stream():
                taken += len(chunk)
                self.held += len(chunk)
                self.of_client[client] += len(chunk)
                if taken > MAXIMUM_FORM_BYTES:
                    raise HTTPException(413, f"A form may hold at most {MAXIMUM_FORM_BYTES // 1024} KiB.")
                if self.of_client[client] > self.most - self.held:
                    raise Busy if self.of_client[client] == taken else Crowded
                chunks.append(chunk)
            yield b"".join(chunks)
        finally:
            self.held -= taken
            self.of_client[client] -= taken
            if not self.of_client[client]:
                del self.of_client[client]


def read_form(body: bytes) -> list[tuple[str, str]]:
    """All fields of a form, in order.

    Raises
    ------
    HTTPException
        400 when it cannot be read.
    """
    try:
        return parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAXIMUM_FIELDS
        )
    except UnicodeError:
        raise HTTPException(400, _("The form is not valid UTF-8.")) from None
    except ValueError:
        raise HTTPException(
            400, _("The address has too many parameters: at most %(most)s.", most=str(MAXIMUM_FIELDS))
        ) from None
