"""Every route. Pages and fragments have addresses of their own; the address is the whole state."""

from __future__ import annotations

import contextlib
import csv
import io
from collections import defaultdict
from typing import Any

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from app.answers import HTML, Answers
from app.assets import Body, static_file, version
from app.parameters import query_parameters
from app.render import Shown, problems_for_people, render, show, state_query
from app.security import content_security_policy
from app.settings import Settings
from lessons.catalogue import Lesson, course, lesson_slugs, load_lesson, plain_pages
from lessons.kit.controls import ControlError, FigureControls
from lessons.kit.figure import Figure

READ = ["GET", "HEAD"]
IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"

router = APIRouter()


@router.api_route("/healthz", methods=READ)
def healthy() -> Response:
    """The process answers."""
    return JSONResponse({"status": "ok"})


@router.api_route("/readyz", methods=READ)
def ready(request: Request) -> Response:
    """The lessons are read and can be served."""
    if not request.app.state.ready:
        return JSONResponse({"status": "starting"}, 503)
    return JSONResponse({"status": "ready", "version": version(), "lessons": list(lesson_slugs())})


@router.api_route("/", methods=READ)
def course_page(request: Request) -> Response:
    """The course path, and the way into the lesson."""
    query_parameters(request)
    return _html(
        request, render("course.jinja", course=course(), lessons=_lessons(), root_path=_root(request))
    )


@router.api_route("/lessons/{slug}", methods=READ)
def lesson_page(request: Request, slug: str) -> Response:
    """The whole lesson. `rtn.bits=3` sets a control of a figure; other parameters are not ours to judge."""
    lesson = _lesson(slug)
    given: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, value in query_parameters(request):
        owner, dot, control = name.partition(".")
        if dot and owner not in lesson.figures:
            raise HTTPException(422, _no_figure(lesson, owner))
        if dot:
            given[owner].append((control, value))
    states: dict[str, FigureControls] = {}
    problems: list[dict[str, Any]] = []
    for name, figure in lesson.figures.items():
        try:
            states[name] = figure.controls.parse(given[name])
        except ControlError as error:
            states[name] = error.nearest
            problems += [
                problem | {"control": f"{name}.{problem['control']}", "figure": figure.label}
                for problem in problems_for_people(error, lesson.texts[name])
            ]
    if problems:
        query = state_query(states.items())
        back = f"{_root(request)}{lesson.url}" + (f"?{query}" if query else "")
        return _problem_page(request, lesson, problems, back)
    return _respond(request, _answers(request).lesson(slug, states), {"Cache-Control": REVALIDATE})


@router.api_route("/lessons/{slug}/figures/{name}.csv", methods=READ)
def figure_table(request: Request, slug: str, name: str) -> Response:
    """The figure's data table as CSV, raw values."""
    lesson, figure = _figure(slug, name)
    try:
        shown = _shown(lesson, figure, figure.controls.parse(query_parameters(request)), request)
    except ControlError as error:
        return _figure_problem(request, lesson, figure, error)
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow([column.name for column in shown.view.table.columns])
    writer.writerows(shown.view.table.rows)
    headers = {"Content-Disposition": f'attachment; filename="{figure.id}.csv"'}
    return _respond(request, Body(buffer.getvalue().encode(), "text/csv; charset=utf-8"), headers)


@router.api_route("/lessons/{slug}/figures/{name}", methods=READ)
def figure_page(request: Request, slug: str, name: str) -> Response:
    """A figure alone: to share, to print, to embed with `embed=1`.

    Without JavaScript a form of the lesson page adds `in=lesson`: back to the lesson, in the new state.
    """
    lesson, figure = _figure(slug, name)
    parameters = query_parameters(request)
    shell = {key: value for key, value in parameters if key in ("embed", "in")}
    others = [(key, value) for key, value in parameters if "." in key]
    own = [(key, value) for key, value in parameters if key not in shell and "." not in key]
    embed = _embed(shell)
    try:
        controls = figure.controls.parse(own)
    except ControlError as error:
        return _figure_problem(request, lesson, figure, error)
    if shell.get("in") == "lesson":
        query = state_query([(name, controls), *_known(lesson, others, but=name)])
        return RedirectResponse(f"{_root(request)}{lesson.url}?{query}#{figure.id}", 303)
    shown = _shown(lesson, figure, controls, request)
    template = "embed.jinja" if embed else "figure.jinja"
    body = render(template, lesson=lesson, course=course(), f=shown, root_path=_root(request))
    response = _html(request, body)
    if embed:
        settings: Settings = request.app.state.settings
        response.headers["Content-Security-Policy"] = content_security_policy(settings.embed_ancestors)
    return response


@router.api_route("/fragments/{asked}/{slug}/{name}", methods=READ)
def fragment(request: Request, asked: str, slug: str, name: str) -> Response:
    """What htmx swaps in. The address holds the content's version, so the answer never changes."""
    lesson, figure = _figure(slug, name)
    try:
        controls = figure.controls.parse(query_parameters(request))
    except ControlError as error:
        return _figure_problem(request, lesson, figure, error, whole_page=False)
    body = _answers(request).fragment(slug, name, controls)
    return _respond(request, body, {"Cache-Control": IMMUTABLE if asked == version() else REVALIDATE})


@router.api_route("/fragments/{asked}/{slug}/{name}/along/{control}", methods=READ)
def states(request: Request, asked: str, slug: str, name: str, control: str) -> Response:
    """All states of one control of a figure, fetched on first touch so that a drag needs no network."""
    _, figure = _figure(slug, name)
    if control not in figure.controls.tabled():
        raise HTTPException(404)
    try:
        at = figure.controls.parse(query_parameters(request))
    except ControlError as error:
        return _figure_problem(request, *_figure(slug, name), error, whole_page=False)
    body = _answers(request).table(slug, name, control, at)
    return _respond(request, body, {"Cache-Control": IMMUTABLE if asked == version() else REVALIDATE})


@router.api_route("/lessons/{slug}/receipts", methods=READ)
def receipts_page(request: Request, slug: str) -> Response:
    """Predicted beside logged, for every published case of the memory formulas."""
    lesson = _lesson(slug)
    query_parameters(request)
    if lesson.receipts is None:
        raise HTTPException(404, "This lesson has no receipts.")
    body = render(
        "receipts.jinja",
        lesson=lesson,
        course=course(),
        root_path=_root(request),
        receipts=lesson.receipts.receipts(),
        not_covered=lesson.receipts.not_covered(),
    )
    return _html(request, body)


@router.api_route("/lessons/{slug}/sources", methods=READ)
def sources_page(request: Request, slug: str) -> Response:
    """Every number of the prose with its kind and its source."""
    lesson = _lesson(slug)
    query_parameters(request)
    return _html(request, render("sources.jinja", lesson=lesson, course=course(), root_path=_root(request)))


@router.api_route("/static/{asked}/{path:path}", methods=READ)
def static(request: Request, asked: str, path: str) -> Response:
    """A static file; immutable under the current version."""
    body = static_file(path)
    if body is None:
        raise HTTPException(404)
    return _respond(request, body, {"Cache-Control": IMMUTABLE if asked == version() else REVALIDATE})


@router.api_route("/{slug}", methods=READ)
def plain_page(request: Request, slug: str) -> Response:
    """A page that belongs to no lesson, such as the accessibility statement."""
    query_parameters(request)
    if slug not in plain_pages():
        raise HTTPException(404)
    body = render("plain.jinja", page=plain_pages()[slug], course=course(), root_path=_root(request))
    return _html(request, body)


def _lessons() -> dict[str, Lesson]:
    return {slug: load_lesson(slug) for slug in lesson_slugs()}


def _lesson(slug: str) -> Lesson:
    if slug not in lesson_slugs():
        raise HTTPException(404, f"There is no lesson {slug[:40]!r}. There is: {', '.join(lesson_slugs())}.")
    return load_lesson(slug)


def _figure(slug: str, name: str) -> tuple[Lesson, Figure[Any]]:
    lesson = _lesson(slug)
    if name not in lesson.figures:
        raise HTTPException(
            404, f"This lesson has no figure {name[:40]!r}. It has: {', '.join(lesson.figures)}."
        )
    return lesson, lesson.figures[name]


def _no_figure(lesson: Lesson, name: str) -> str:
    return f"This lesson has no figure {name[:40]!r}. It has: {', '.join(lesson.figures)}."


def _root(request: Request) -> str:
    root: str = request.app.state.settings.root_path
    return root


def _shown(lesson: Lesson, figure: Figure[Any], controls: FigureControls, request: Request) -> Shown:
    return show(lesson, figure, controls, _root(request))


def _answers(request: Request) -> Answers:
    answers: Answers = request.app.state.answers
    return answers


def _embed(shell: dict[str, str]) -> bool:
    if shell.get("embed", "0") not in ("0", "1"):
        raise HTTPException(422, "embed must be 0 or 1.")
    if shell.get("in", "page") not in ("page", "lesson"):
        raise HTTPException(422, "in must be page or lesson.")
    return shell.get("embed") == "1"


def _known(lesson: Lesson, others: list[tuple[str, str]], but: str) -> list[tuple[str, FigureControls]]:
    """The states of the lesson's other figures that came along, those that are well formed."""
    kept: list[tuple[str, FigureControls]] = []
    for name, figure in lesson.figures.items():
        own = [(key.partition(".")[2], value) for key, value in others if key.partition(".")[0] == name]
        if own and name != but:
            with contextlib.suppress(ControlError):
                kept.append((name, figure.controls.parse(own)))
    return kept


def _figure_problem(
    request: Request, lesson: Lesson, figure: Figure[Any], error: ControlError, *, whole_page: bool = True
) -> Response:
    problems = problems_for_people(error, lesson.texts[figure.name])
    query = "&".join(f"{key}={value}" for key, value in error.nearest.query())
    back = f"{_root(request)}{lesson.url}/figures/{figure.name}" + (f"?{query}" if query else "")
    if whole_page:
        return _problem_page(request, lesson, [p | {"figure": figure.label} for p in problems], back)
    body = render("problem_fragment.jinja", id=figure.id, problems=problems, back=back)
    return Response(body, 422, {"Cache-Control": "no-store"}, media_type=HTML)


def _problem_page(request: Request, lesson: Lesson, problems: list[dict[str, Any]], back: str) -> Response:
    body = render(
        "problem.jinja",
        lesson=lesson,
        course=course(),
        problems=problems,
        back=back,
        root_path=_root(request),
    )
    return Response(body, 422, {"Cache-Control": "no-store"}, media_type=HTML)


def _html(request: Request, body: bytes) -> Response:
    return _respond(request, Body(body, HTML), {"Cache-Control": REVALIDATE})


def _respond(request: Request, body: Body, headers: dict[str, str]) -> Response:
    """Send a body with its ETag, compressed as the browser likes; 304 when it has it already."""
    headers = {"ETag": body.etag, "Vary": "Accept-Encoding", **headers}
    if body.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    content, encoding = body.encoded(request.headers.get("accept-encoding", ""))
    if encoding:
        headers["Content-Encoding"] = encoding
    if request.method == "HEAD":
        headers["Content-Length"] = str(len(content))
        content = b""
    return Response(content, headers=headers, media_type=body.media_type)
