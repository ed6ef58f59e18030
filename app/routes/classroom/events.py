"""Streams of events (server-sent): word that a class has changed, so that a page fetches what it shows.

`changed` comes with every new version of a class, and first with the present one, so that a page which had
lost its line learns what it missed. `counted` comes to desk and screen alone, when somebody has joined or
voted. The data is the number of the version or of the count, and nothing else. `gone` comes last where the
class was deleted: pages need not ask again (`hx-sse:close="gone"`). A stream ends by itself before
the server would close it, and at once when the server stops; browsers then come again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, aclosing, nullcontext
from typing import NamedTuple

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Send

from app.addresses import PATHS
from app.classroom.live import Channel, Live, counted_in
from app.classroom.models import Classroom
from app.classroom.operations import class_of, find_class, find_student, find_teacher
from app.classroom.refusals import TooManyError
from app.http.clients import current_client
from app.http.connections import CLIENT_CONNECTIONS
from app.routes.classroom.common import read_each, refuse_walking

router = APIRouter()

COMMENT_SECONDS = 15.0
"""After which a line is sent if there is nothing to say: proxies close what is silent."""
LASTS_SECONDS = (90.0, 106.0)
"""How long a stream lasts, at random, so that not all come again at once; a response may take 120 seconds."""
COUNT_SECONDS = 0.5
"""Between two counts."""
STUDENTS_A_SECOND = 80
"""Whom a worker tells of a change. Each of them then asks for their bar, which takes a tenth of a core."""
LONGEST_SPREAD = 8.0
"""Seconds within which all students are told, however many there are."""
FULL_SECONDS = 15
"""After which a client with too many streams may ask for another one."""
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""The second is for nginx, which would otherwise collect what it passes on."""


class Admitted(NamedTuple):
    """Who may listen to what: the class as it was then, and a student's id."""

    code: str
    version: int
    tally: int
    student: str = ""


@router.get(PATHS["class events"])
async def student_events(request: Request, code: str) -> StreamingResponse:
    """For a student, who is here while it lasts."""
    secret = request.cookies.get("student", "")

    def find(session: Session) -> Admitted:
        student = find_student(session, code, secret)
        return admitted(class_of(session, student), student.id)

    return await stream(request, find)


@router.get(PATHS["desk events"])
async def desk_events(request: Request, code: str) -> StreamingResponse:
    """For the teacher."""
    secret = request.cookies.get("teacher", "")
    return await stream(request, lambda session: admitted(find_teacher(session, code, secret)), counts=True)


@router.get(PATHS["screen events"])
async def screen_events(request: Request, code: str) -> StreamingResponse:
    """For the screen, which is on while it lasts."""
    refuse_walking(request)
    return await stream(
        request, lambda session: admitted(find_class(session, code)), counts=True, screen=True
    )


async def stream(
    request: Request, find: Callable[[Session], Admitted], *, counts: bool = False, screen: bool = False
) -> StreamingResponse:
    """The stream of whoever `find` lets in.

    A client may have as many as connections: behind a proxy, nothing else bounds them for each client.
    """
    live, client = request.app.state.live, current_client.get()
    if live.clients[client] >= CLIENT_CONNECTIONS:
        raise TooManyError(FULL_SECONDS)
    who = await read_each(request, find)
    return EventStream(events(live, who, counts=counts, screen=screen), counted_in(live.clients, client))


def admitted(classroom: Classroom, student: str = "") -> Admitted:
    """Who was found, as the streams need it."""
    return Admitted(classroom.code, classroom.version, classroom.tally, student)


class EventStream(StreamingResponse):
    """A response that lasts; its events are closed with it, however it ends."""

    media_type = "text/event-stream"

    def __init__(
        self, stream: AsyncGenerator[bytes], counted: AbstractContextManager[None] | None = None
    ) -> None:
        super().__init__(stream, headers=HEADERS)
        self.stream, self.counted = stream, counted or nullcontext()

    async def stream_response(self, send: Send) -> None:
        """Send what comes."""
        async with aclosing(self.stream):
            with self.counted:
                await super().stream_response(send)


async def events(
    live: Live, who: Admitted, *, counts: bool = False, screen: bool = False
) -> AsyncGenerator[bytes]:
    """The events of a class until the stream has to end; with `counts` also those of `tally`."""
    code, version, tally, student = who
    clock = asyncio.get_running_loop().time
    end = clock() + random.uniform(*LASTS_SECONDS)
    here = live.student_here(code, student) if student else nullcontext()
    on = live.screen_here(code) if screen else nullcontext()
    with live.listen(code, version, tally) as channel, here, on:
        version = channel.version
        yield event("changed", version)
        counted_at, tally = clock(), channel.tally
        if counts:
            yield event("counted", tally)
        while not channel.gone and (left := end - clock()) > 0:
            to_count = counts and tally != channel.tally
            if version != channel.version:
                if not counts:
                    await live.pause(random.random() * spread(channel))
                    if live.stopping:
                        break
                version = channel.version
                yield event("changed", version)
            elif to_count and clock() >= counted_at + COUNT_SECONDS:
                counted_at, tally = clock(), channel.tally
                yield event("counted", tally)
            elif to_count:
                await channel.changed.wait(counted_at + COUNT_SECONDS - clock())
            elif not await (channel.counted if counts else channel.changed).wait(min(COMMENT_SECONDS, left)):
                yield b":\n\n"
        if channel.gone and not live.stopping:
            yield event("changed", 0)
            yield event("gone", 0)


def event(name: str, number: int) -> bytes:
    """One event as it is sent."""
    return f"event: {name}\ndata: {number}\n\n".encode()


def spread(channel: Channel) -> float:
    """Seconds over which the students of a class are told of a change."""
    return min(LONGEST_SPREAD, channel.listeners / STUDENTS_A_SECOND)
