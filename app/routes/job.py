"""Computations that take minutes: begun by a form, followed by server-sent events, one at a time on a host.

They run in a process of their own (`lessons.kit.job`), and what is known of them lies in files, so that every
worker tells the same. These are the only routes that change something, and all they change is who computes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from app.assets import ROOT
from app.cache.queue import asking
from app.http.query import query_parameters
from app.routes.pages import problem_page
from app.settings import Settings
from app.views.render import problems_for_people, render
from lessons.catalogue import Lesson, all_slugs, course, load_lesson
from lessons.kit.controls import ControlError, FigureControls
from lessons.kit.figure import Figure
from lessons.kit.job import MOST_OF_ONE, SUPPORTED, Desk, Found, FullError, FullOfOneError, Job, State
from lessons.kit.language import speaking, spoken

STREAM_SECONDS = 20.0
"""After that a browser asks again by itself; a server that stops does not wait longer."""

LOOK_AGAIN = 0.5  # seconds
MOST_FOLLOWERS = 32  # streams of a worker
BEGINS_WITHIN, ENDS_WITHIN = 15.0, 5.0  # seconds
COME_AGAIN_SECONDS, POLL_SECONDS = 1, 5  # between two streams of a browser: usually, and where they are full
PAUSE = 2.0  # seconds, at least, between two processes of which the first one has ended
WHEN_FULL = 60  # seconds after which the line may have room again

TOKEN = "begun"
"""The parameter that tells the page which began a computation from all others: without cookies it is in the
address, and static/js/page/job.js takes it out of there."""

log = logging.getLogger("academy")
router = APIRouter()


class Office:
    """This worker's view of the desk, and the process that it began."""

    def __init__(self, settings: Settings) -> None:
        self.folder = Path(settings.jobs_folder) if settings.jobs_folder else _shared_folder()
        self.followers = 0
        self.stopping = False
        self._process: Process | None = None
        self._beginning = asyncio.Lock()
        self._begun_at = -PAUSE

    def desk(self) -> Desk | None:
        """The desk, or None where nothing can be written. A folder that was swept away is made anew."""
        if not SUPPORTED or self.folder is None:
            return None
        try:
            desk = Desk(self.folder)
            desk.at_work()
        except OSError as error:
            log.warning("the jobs folder cannot be used: %s", error)
            return None
        return desk

    def found(self, lesson: Lesson, figure: Figure[Any], controls: FigureControls) -> Found | None:
        """What is known here of the computation that a state of a figure waits for."""
        waits_for = figure.waits_for(controls)
        if waits_for is None:
            return None
        name, asked = waits_for
        job = lesson.jobs[name]
        desk = self.desk() if job.runs_here() else None
        return Found(desk.state(job.key(asked)) if desk else State(), job.runs_here())

    async def see_to(self, desk: Desk) -> None:
        """Let a process compute what is waiting, if none does: the last one may have been killed."""
        if self.stopping or not desk.tickets() or desk.at_work() is not None:
            return
        async with self._beginning:
            await self._told(desk)  # one that was begun a moment ago has not shown itself yet
            ended_at_once = time.monotonic() - self._begun_at < PAUSE
            if self._process is None or (self._process.returncode is not None and not ended_at_once):
                self._begun_at = time.monotonic()
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "lessons.kit.job", str(self.folder)),
                    cwd=ROOT,
                    stdin=asyncio.subprocess.DEVNULL,
                )
                await self._told(desk)

    async def _told(self, desk: Desk) -> None:
        """Wait until the process that was begun is seen at work, or is gone."""
        end = time.monotonic() + BEGINS_WITHIN
        while self._process is not None and self._process.returncode is None and desk.at_work() is None:
            if time.monotonic() > end:
                break
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        """Stop what this worker began."""
        if self._process is not None:
            if self._process.returncode is None:
                self._process.terminate()
            await self._process.wait()


def _shared_folder() -> Path | None:
    """The folder for all servers of this user on this machine, or None where there is no place for one."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    try:
        return Path(tempfile.gettempdir()) / f"quant-lesson-{user}"
    except FileNotFoundError:
        return None


def unusable(jobs_folder: str) -> str:
    """Why nothing can be kept in a folder that a host has named; "" where it can be, or none is named."""
    if not jobs_folder:
        return ""
    try:
        folder = Desk(Path(jobs_folder)).folder
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"{error.strerror or error}; name a folder that this user can write to"


@dataclass(frozen=True, slots=True)
class Case:
    """A job with what it is asked."""

    lesson: Lesson
    job: Job
    asked: FigureControls
    token: str = ""

    @property
    def key(self) -> str:
        return self.job.key(self.asked)

    def url(self, root_path: str, part: str = "") -> str:
        """The address of its page, or of what belongs to it."""
        query = urlencode([*self.asked.query(), *([(TOKEN, self.token)] if self.token else [])])
        return f"{root_path}{self.lesson.url}/jobs/{self.job.name}{part}" + (f"?{query}" if query else "")


@router.api_route("/lessons/{slug}/jobs/{name}", methods=["GET", "HEAD"])
async def job_page(request: Request, slug: str, name: str) -> Response:
    """What is known of a computation, and how to begin it."""
    case = _case(request, slug, name)
    if isinstance(case, Response):
        return case
    await _look(request)
    body = render("job.jinja", _root(request), course=course(), **_known(request, case))
    return Response(body, 200, NOT_KEPT, media_type="text/html; charset=utf-8")


@router.post("/lessons/{slug}/jobs/{name}")
async def begin(request: Request, slug: str, name: str) -> Response:
    """Put a computation in the line, unless it is there or done; and show it."""
    case = _case(request, slug, name)
    if isinstance(case, Response):
        return case
    desk = _office(request).desk()
    if desk is not None and case.job.runs_here() and not desk.state(case.key).finished:
        token, query = secrets.token_urlsafe(16), urlencode(case.asked.query())
        try:
            if desk.ask(case.key, slug, case.job.name, query, token, asking.get()):
                case = replace(case, token=token)
        except FullError as full:
            status, key = (429, "full_of_one") if isinstance(full, FullOfOneError) else (503, "full")
            words = case.lesson.job_texts[case.job.name].word(key, most=spoken().number(str(MOST_OF_ONE)))
            raise HTTPException(status, words, {"Retry-After": str(WHEN_FULL)}) from None
        await _look(request)
    return _show(request, case)


@router.post("/lessons/{slug}/jobs/{name}/stop")
async def stop(request: Request, slug: str, name: str) -> Response:
    """Abandon a computation, for who began it. What it found stays, and when it is begun again it goes on."""
    case = _case(request, slug, name)
    if isinstance(case, Response):
        return case
    desk = _office(request).desk()
    if desk is not None and any(ticket.key == case.key for ticket in desk.tickets()):
        if not desk.withdraw(case.key, case.token):
            raise HTTPException(403, case.lesson.job_texts[case.job.name].word("not_yours"))
        end = time.monotonic() + ENDS_WITHIN
        while desk.at_work() == case.key and time.monotonic() < end:
            await asyncio.sleep(0.05)
    return _show(request, replace(case, token=""))


@router.get("/lessons/{slug}/jobs/{name}/steps")
async def steps(request: Request, slug: str, name: str) -> Response:
    """Each new state of a computation as the HTML that shows it: `text/event-stream`.

    Where a worker has as many streams as it may, each has one state, and its browser comes again: it polls.
    """
    case = _case(request, slug, name)
    if isinstance(case, Response):
        return case
    office = _office(request)
    desk = office.desk()
    if desk is None:
        raise HTTPException(404)
    full = office.followers >= MOST_FOLLOWERS
    tag = spoken().tag

    async def events() -> AsyncIterator[bytes]:
        office.followers += 1
        try:
            end, told = time.monotonic() + STREAM_SECONDS, None
            yield f"retry: {1000 * (POLL_SECONDS if full else COME_AGAIN_SECONDS)}\n\n".encode()
            while time.monotonic() < end:
                await office.see_to(desk)
                with speaking(tag):
                    known = _known(request, case)
                    state = known["state"], known["place"], known["failure"]
                    changed = state != told
                    markup = render("kit/job_state.jinja", _root(request), **known) if changed else b""
                if changed:
                    lines = markup.decode().splitlines()
                    yield "".join([*(f"data: {line}\n" for line in lines), "\n"]).encode()
                    told = state
                if not known["awaited"]:
                    yield b"event: end\ndata:\n\n"
                    return
                if full or office.stopping:
                    return  # the browser asks again
                await asyncio.sleep(LOOK_AGAIN)
        finally:
            office.followers -= 1

    return StreamingResponse(events(), 200, STREAM_HEADERS, media_type="text/event-stream")


NOT_KEPT = {"Cache-Control": "no-store"}
STREAM_HEADERS = NOT_KEPT | {"X-Accel-Buffering": "no"}  # a proxy passes each event on as it comes


def _case(request: Request, slug: str, name: str) -> Case | Response:
    """What the address asks, or the page that says what cannot be asked."""
    jobs = load_lesson(slug).jobs if slug in all_slugs() else {}
    if name not in jobs:
        raise HTTPException(404)
    lesson, job = load_lesson(slug), jobs[name]
    parameters = query_parameters(request)
    token = dict(parameters).get(TOKEN, "")[:64]
    try:
        asked = job.controls.parse([pair for pair in parameters if pair[0] != TOKEN])
        return Case(lesson, job, asked, token)
    except ControlError as error:
        problems = problems_for_people(error, lesson.texts.get(job.figure, lesson.job_texts[name]))
        case = Case(lesson, job, job.controls.model_validate(error.nearest.model_dump()))
        return problem_page(request, lesson, problems, case.url(_root(request) + spoken().prefix))


async def _look(request: Request) -> None:
    """See to it that what waits is computed."""
    office = _office(request)
    desk = office.desk()
    if desk is not None:
        await office.see_to(desk)


def _known(request: Request, case: Case) -> dict[str, Any]:
    desk, lesson, job, key = _office(request).desk(), case.lesson, case.job, case.key
    state = desk.state(key) if desk else State()
    tickets = desk.tickets() if desk else []
    place = next((number for number, ticket in enumerate(tickets) if ticket.key == key), None)
    awaited = state.running or place is not None
    here = _root(request) + spoken().prefix
    figure = lesson.figures.get(job.figure)
    drawing = job.drawing(state.rows) if job.drawing and state.rows else None
    return {
        "lesson": lesson,
        "job": job,
        "text": lesson.job_texts[job.name],
        "asked": job.asked(case.asked),
        "state": state,
        "installed": job.runs_here(),
        "writable": desk is not None,
        "waiting": len(tickets),
        "place": place,
        "awaited": awaited,
        "mine": place is not None and tickets[place].is_of(case.token),
        "damaged": desk is not None and desk.is_damaged(key),
        "failure": desk.failure(key) if desk else "",
        "url": case.url(here),
        "url_of_steps": case.url(here, "/steps"),
        "url_of_stop": case.url(here, "/stop"),
        "url_of_figure": f"{here}{lesson.url}/figures/{job.figure}?{urlencode(job.state(case.asked))}",
        "f": figure
        and {
            "id": figure.id,
            "figure": figure,
            "text": lesson.texts[figure.name],
            "view": {"drawing": drawing},
        },
    }


def _show(request: Request, case: Case) -> Response:
    return RedirectResponse(case.url(_root(request) + spoken().prefix), 303)


def _office(request: Request) -> Office:
    office: Office = request.app.state.office
    return office


def _root(request: Request) -> str:
    root: str = request.app.state.settings.root_path
    return root
