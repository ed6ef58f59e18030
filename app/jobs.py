"""Computations that take minutes: begun by a form, followed by server-sent events, one at a time on a host.

They run in a process of their own (`lessons.kit.job`), and what is known of them lies in files, so that every
worker tells the same. These are the only routes that change something, and all they change is who computes.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from app.assets import ROOT, version
from app.errors import RETRY_AFTER
from app.parameters import query_parameters
from app.render import render
from app.settings import Settings
from lessons.catalogue import Lesson, all_slugs, course, load_lesson
from lessons.kit.job import SUPPORTED, Desk, Job, State
from lessons.kit.language import gettext as _
from lessons.kit.language import speaking, spoken

STREAM_SECONDS = 20.0
"""After that a browser asks again by itself; a server that stops does not wait longer."""

LOOK_AGAIN = 0.5  # seconds
MOST_FOLLOWERS = 32  # streams of a worker
BEGINS_WITHIN = 5.0  # seconds

router = APIRouter()


class Office:
    """This worker's view of the desk, and the process that it began."""

    def __init__(self, settings: Settings) -> None:
        user = os.getuid() if hasattr(os, "getuid") else 0
        shared = Path(tempfile.gettempdir()) / f"quant-lesson-{user}"
        self.folder = Path(settings.jobs_folder or shared) / version()
        self.followers = 0
        self._process: Process | None = None

    def desk(self) -> Desk | None:
        """The desk, or None where nothing can be written."""
        try:
            return Desk(self.folder) if SUPPORTED else None
        except OSError:
            return None

    async def begin(self, desk: Desk, slug: str, job: Job) -> None:
        """Let a process compute; where another one does, nothing happens."""
        if self._process is not None and self._process.returncode is None:
            return
        began = time.monotonic()
        arguments = ("-m", "lessons.kit.job", str(self.folder), slug, job.name, job.name)
        self._process = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT)
        while self._process.returncode is None and desk.at_work() is None:
            if time.monotonic() - began > BEGINS_WITHIN:
                break
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        """Stop what this worker began."""
        if self._process is not None:
            if self._process.returncode is None:
                self._process.terminate()
            await self._process.wait()


@router.api_route("/lessons/{slug}/jobs/{name}", methods=["GET", "HEAD"])
async def job_page(request: Request, slug: str, name: str) -> Response:
    """What is known of a computation, and how to begin it."""
    lesson, job = _job(slug, name)
    query_parameters(request)
    body = render("job.jinja", _root(request), course=course(), **_known(request, lesson, job))
    return Response(body, 200, NOT_KEPT, media_type="text/html; charset=utf-8")


@router.post("/lessons/{slug}/jobs/{name}")
async def begin(request: Request, slug: str, name: str) -> Response:
    """Begin a computation, unless one is under way or done; and show it."""
    lesson, job = _job(slug, name)
    desk = _asked_here(request)
    if desk is not None and job.runs_here() and desk.at_work() is None and not desk.state(name).finished:
        await _office(request).begin(desk, slug, job)
    return _show(request, lesson, job)


@router.post("/lessons/{slug}/jobs/{name}/stop")
async def stop(request: Request, slug: str, name: str) -> Response:
    """Abandon a computation. What it found stays until it is begun anew."""
    lesson, job = _job(slug, name)
    desk = _asked_here(request)
    if desk is not None and desk.at_work() == name:
        desk.stop()
        end = time.monotonic() + BEGINS_WITHIN
        while desk.at_work() == name and time.monotonic() < end:
            await asyncio.sleep(0.05)
    return _show(request, lesson, job)


@router.get("/lessons/{slug}/jobs/{name}/steps")
async def steps(request: Request, slug: str, name: str) -> Response:
    """Each new state of a computation as the HTML that shows it: `text/event-stream`."""
    lesson, job = _job(slug, name)
    office = _office(request)
    desk = office.desk()
    if desk is None:
        raise HTTPException(404)
    if office.followers >= MOST_FOLLOWERS:
        raise HTTPException(429, headers={"Retry-After": str(RETRY_AFTER)})
    tag = spoken().tag

    async def events() -> AsyncIterator[bytes]:
        office.followers += 1
        try:
            end, told = time.monotonic() + STREAM_SECONDS, None
            while time.monotonic() < end:
                state = desk.state(name)
                if state != told:
                    with speaking(tag):
                        markup = render("kit/job_state.jinja", _root(request), **_known(request, lesson, job))
                    lines = markup.decode().splitlines()
                    yield "".join([*(f"data: {line}\n" for line in lines), "\n"]).encode()
                    told = state
                if not state.running:
                    yield b"event: end\ndata:\n\n"
                    return
                await asyncio.sleep(LOOK_AGAIN)
        finally:
            office.followers -= 1

    return StreamingResponse(events(), 200, NOT_KEPT, media_type="text/event-stream")


NOT_KEPT = {"Cache-Control": "no-store"}


def _job(slug: str, name: str) -> tuple[Lesson, Job]:
    jobs = load_lesson(slug).jobs if slug in all_slugs() else {}
    if name not in jobs:
        raise HTTPException(404)
    return load_lesson(slug), jobs[name]


def _asked_here(request: Request) -> Desk | None:
    """The desk, for a form of our own pages: another site may not make this machine work."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HTTPException(403, _("This can only be asked for on its own page."))
    return _office(request).desk()


def _known(request: Request, lesson: Lesson, job: Job) -> dict[str, object]:
    desk = _office(request).desk()
    return {
        "lesson": lesson,
        "job": job,
        "text": lesson.job_texts[job.name],
        "state": desk.state(job.name) if desk else State(),
        "installed": job.runs_here(),
        "writable": desk is not None,
        "busy": desk is not None and desk.at_work() not in (None, job.name),
    }


def _show(request: Request, lesson: Lesson, job: Job) -> Response:
    return RedirectResponse(f"{_root(request)}{spoken().prefix}{lesson.url}/jobs/{job.name}", 303)


def _office(request: Request) -> Office:
    office: Office = request.app.state.office
    return office


def _root(request: Request) -> str:
    root: str = request.app.state.settings.root_path
    return root
