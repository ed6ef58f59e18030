"""Routes of jobs: a form starts one, and server-sent events follow it.

They run in a process of their own (`lessons.kit.job_store`), and what is known of them lies in files, so that
every worker tells the same. These are the only routes that change something: who computes.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from app.addresses import PATHS, address
from app.http.clients import current_client
from app.http.errors import CannotShow
from app.http.query import query_parameters
from app.routes.common import NOT_KEPT, READ
from app.server.job_runner import JobRunner
from app.views.environment import HTML, render
from app.views.problems import problems_for_people
from lessons.catalogue import Lesson, all_slugs, load_lesson
from lessons.kit.controls import ControlError, FigureControls
from lessons.kit.job import Job, JobState
from lessons.kit.job_store import MOST_OF_ONE, FullError, FullOfOneError
from lessons.kit.language import current_language

STREAM_SECONDS = 20.0
"""After that a browser asks again by itself; a server that stops does not wait longer."""

LOOK_AGAIN = 0.5  # seconds
MOST_FOLLOWERS = 32  # streams of a worker
ENDS_WITHIN = 5.0  # seconds
COME_AGAIN_SECONDS, POLL_SECONDS = 1, 5  # between two streams of a browser: usually, and where they are full
WHEN_FULL = 60  # seconds after which the queue may have room again

TOKEN = "begun"
"""The parameter that identifies the page that started a job. Without cookies it is in the address, and
static/js/page/job.js removes it from there."""

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Case:
    """A job with its controls."""

    lesson: Lesson
    job: Job
    controls: FigureControls
    token: str = ""

    @property
    def key(self) -> str:
        return self.job.key(self.controls)

    def address(self, page: str = "job") -> str:
        """The address of its page, or of what belongs to it."""
        token = [(TOKEN, self.token)] if self.token else []
        return address(page, self.lesson.slug, self.job.name, query=[*self.controls.query(), *token])


@router.api_route(PATHS["job"], methods=READ)
async def job_page(request: Request, slug: str, name: str) -> Response:
    """The state of a job, and how to start it."""
    case = _case(request, slug, name)
    await _look(request)
    return Response(render("job.jinja", **_known(request, case)), 200, NOT_KEPT, media_type=HTML)


@router.post(PATHS["job"])
async def begin(request: Request, slug: str, name: str) -> Response:
    """Put a job in the queue, unless it is there or done, and show it."""
    case = _case(request, slug, name)
    store = _runner(request).store()
    if store is not None and case.job.runs_here() and not store.state(case.key).finished:
        token, query = secrets.token_urlsafe(16), urlencode(case.controls.query())
        try:
            if store.ask(case.key, slug, case.job.name, query, token, current_client.get()):
                case = replace(case, token=token)
        except FullError as full:
            status, key = (429, "full_of_one") if isinstance(full, FullOfOneError) else (503, "full")
            most = current_language().number(str(MOST_OF_ONE))
            words = case.lesson.job_texts[case.job.name].word(key, most=most)
            raise HTTPException(status, words, {"Retry-After": str(WHEN_FULL)}) from None
        await _look(request)
    return RedirectResponse(case.address(), 303)


@router.post(PATHS["job stop"])
async def stop(request: Request, slug: str, name: str) -> Response:
    """Stop a job, for the page that started it. Its results stay; started again, it continues."""
    case = _case(request, slug, name)
    store = _runner(request).store()
    if store is not None and any(ticket.key == case.key for ticket in store.tickets()):
        if not store.withdraw(case.key, case.token):
            raise HTTPException(403, case.lesson.job_texts[case.job.name].word("not_yours"))
        end = time.monotonic() + ENDS_WITHIN
        while store.at_work() == case.key and time.monotonic() < end:
            await asyncio.sleep(0.05)
    return RedirectResponse(replace(case, token="").address(), 303)


@router.get(PATHS["job steps"])
async def steps(request: Request, slug: str, name: str) -> Response:
    """Each new state of a job as the HTML that shows it: `text/event-stream`.

    When a worker has too many streams, each sends one state and ends, so that its browser polls.
    """
    case = _case(request, slug, name)
    runner = _runner(request)
    store = runner.store()
    if store is None:
        raise HTTPException(404)
    full = runner.followers >= MOST_FOLLOWERS

    async def events() -> AsyncIterator[bytes]:
        runner.followers += 1
        try:
            end, told = time.monotonic() + STREAM_SECONDS, None
            yield f"retry: {1000 * (POLL_SECONDS if full else COME_AGAIN_SECONDS)}\n\n".encode()
            while time.monotonic() < end:
                await runner.see_to(store)
                known = _known(request, case)
                state = known["state"], known["place"], known["failure"]
                if state != told:
                    lines = render("kit/job_state.jinja", **known).decode().splitlines()
                    yield "".join([*(f"data: {line}\n" for line in lines), "\n"]).encode()
                    told = state
                if not known["awaited"]:
                    yield b"event: end\ndata:\n\n"
                    return
                if full or runner.stopping:
                    return  # the browser asks again
                await asyncio.sleep(LOOK_AGAIN)
        finally:
            runner.followers -= 1

    return StreamingResponse(events(), 200, STREAM_HEADERS, media_type="text/event-stream")


STREAM_HEADERS = NOT_KEPT | {"X-Accel-Buffering": "no"}  # a proxy passes each event on as it comes


def _case(request: Request, slug: str, name: str) -> Case:
    """The job and the controls that an address names."""
    jobs = load_lesson(slug).jobs if slug in all_slugs() else {}
    if name not in jobs:
        raise HTTPException(404)
    lesson, job = load_lesson(slug), jobs[name]
    parameters = query_parameters(request)
    token = dict(parameters).get(TOKEN, "")[:64]
    try:
        controls = job.controls.parse([pair for pair in parameters if pair[0] != TOKEN])
        return Case(lesson, job, controls, token)
    except ControlError as error:
        problems = problems_for_people(error, lesson.texts.get(job.figure, lesson.job_texts[name]))
        case = Case(lesson, job, job.controls.model_validate(error.nearest.model_dump()))
        raise CannotShow(lesson, problems, case.address()) from None


async def _look(request: Request) -> None:
    """Start the process that computes waiting jobs, unless it runs."""
    runner = _runner(request)
    store = runner.store()
    if store is not None:
        await runner.see_to(store)


def _known(request: Request, case: Case) -> dict[str, Any]:
    store, lesson, job, key = _runner(request).store(), case.lesson, case.job, case.key
    state = store.state(key) if store else JobState()
    tickets = store.tickets() if store else []
    place = next((number for number, ticket in enumerate(tickets) if ticket.key == key), None)
    awaited = state.running or place is not None
    figure = lesson.figures.get(job.figure)
    drawing = job.drawing(state.rows) if job.drawing and state.rows else None
    return {
        "lesson": lesson,
        "job": job,
        "text": lesson.job_texts[job.name],
        "asked": job.asked(case.controls),
        "state": state,
        "installed": job.runs_here(),
        "writable": store is not None,
        "waiting": len(tickets),
        "place": place,
        "awaited": awaited,
        "mine": place is not None and tickets[place].is_of(case.token),
        "damaged": store is not None and store.is_damaged(key),
        "failure": store.failure(key) if store else "",
        "url": case.address(),
        "url_of_steps": case.address("job steps"),
        "url_of_stop": case.address("job stop"),
        "url_of_figure": address("figure", lesson.slug, job.figure, query=job.figure_query(case.controls)),
        "f": figure
        and {
            "id": figure.id,
            "figure": figure,
            "text": lesson.texts[figure.name],
            "view": {"drawing": drawing},
        },
    }


def _runner(request: Request) -> JobRunner:
    runner: JobRunner = request.app.state.job_runner
    return runner
