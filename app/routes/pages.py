"""Every route. Pages and fragments have addresses of their own; the address is the whole state."""

from __future__ import annotations

import contextlib
import functools
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode

from fastapi import APIRouter, Depends
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from app.assets import static_file, version
from app.cache.lane import Lane
from app.cache.response import Body
from app.cache.unpacked import response_with
from app.export.sheets import Scheme
from app.http.query import Forms, query_parameters, read_form, read_query
from app.http.security import is_embed, page_headers
from app.server import memory
from app.settings import Settings
from app.views.answers import HTML, NO_TABLE, Answers, OnOwn, States
from app.views.render import problems_for_people, render, state_query
from lessons.catalogue import Lesson, all_slugs, course, lesson_slugs, load_lesson, plain_pages
from lessons.kit.controls import ECHO_LIMIT, ControlError, FigureControls, Text
from lessons.kit.figure import Figure
from lessons.kit.language import gettext as _
from lessons.kit.language import spoken
from lessons.kit.own import FIELDS as OWN_FIELDS
from lessons.kit.own import OwnError
from lessons.kit.source import shown_functions
from lessons.kit.task import ROUTES, AttemptError, check, read_attempt
from lessons.kit.teaching import NAMES as TAUGHT
from lessons.kit.teaching import OPEN, Teaching, read_taught

T = TypeVar("T")
READ = ["GET", "HEAD"]
IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"
NOT_KEPT = {"Cache-Control": "no-store"}
SHORT_QUERY = 256  # bytes up to which a query is remembered with its state

router = APIRouter()
probes = APIRouter()
"""For whoever watches over the process: at the root of the server too, where a health check looks."""


async def _this_version(asked: str) -> str:
    """Refuse an address that names another version: what it would hold is not here."""
    if asked != version():
        raise HTTPException(404, _("This belongs to another version of the lesson. Load the page again."))
    return asked


Asked = Annotated[str, Depends(_this_version)]


@probes.api_route("/healthz", methods=READ)
async def healthy() -> Response:
    """The process answers."""
    return JSONResponse({"status": "ok"}, headers=NOT_KEPT)


@probes.api_route("/readyz", methods=READ)
def ready(request: Request) -> Response:
    """The lessons are read and can be served, and there is memory to do so."""
    least, left = request.app.state.settings.least_free_mib, memory.available_mib()
    if not request.app.state.ready:
        return JSONResponse({"status": "starting"}, 503, NOT_KEPT)
    if left is not None and left < least:
        low = {"status": "low on memory", "free_mib": left, "least_free_mib": least}
        return JSONResponse(low, 503, NOT_KEPT)
    told = {"status": "ready", "version": version(), "lessons": list(lesson_slugs())}
    return JSONResponse(told, headers=NOT_KEPT)


@router.api_route("/", methods=READ)
async def course_page(request: Request) -> Response:
    """The course path, and the way into the lesson."""
    query_parameters(request)
    return _kept(request, await _answers(request).course())


@router.api_route("/lessons/{slug}", methods=READ)
async def lesson_page(request: Request, slug: str) -> Response:
    """The whole lesson. `rtn.bits=3` sets a control of a figure; other parameters are not ours to judge."""
    route = _route(query_parameters(request))
    states, refusal = await _beside(request, partial(_lesson_states, request, slug, route))
    if refusal:
        return refusal
    return _kept(request, await _answers(request).lesson(slug, states, route))


@router.api_route("/lessons/{slug}/notebook.ipynb", methods=READ)
async def notebook(request: Request, slug: str) -> Response:
    """The lesson's computations as a Jupyter notebook, its figures in the states that the query names."""
    if slug not in lesson_slugs():
        raise HTTPException(404, _("This lesson has no notebook."))
    states, refusal = await _beside(request, partial(_lesson_states, request, slug))
    if refusal:
        return refusal
    response = _respond(request, await _answers(request).notebook(slug, states))
    response.headers["Content-Disposition"] = f'attachment; filename="{slug}.ipynb"'
    return response


@router.api_route("/lessons/{slug}/figures/{name}.csv", methods=READ)
async def figure_table(request: Request, slug: str, name: str) -> Response:
    """The figure's data table as CSV, raw values."""
    lesson, figure = _figure(slug, name)
    try:
        controls = await _state(figure.controls, request)
    except ControlError as error:
        return await _figure_problem(request, lesson, figure, error)
    response = _respond(request, await _answers(request).csv(slug, name, controls))
    response.headers["Content-Disposition"] = f'attachment; filename="{figure.id}.csv"'
    return response


@router.api_route("/lessons/{slug}/figures/{name}.svg", methods=READ)
async def figure_picture(request: Request, slug: str, name: str) -> Response:
    """The figure's drawing as a stand-alone SVG file; `ground=dark` for a dark page."""
    lesson, figure = _figure(slug, name)
    _is_drawing(figure)
    parameters = query_parameters(request)
    scheme = _ground(parameters)
    try:
        rest = [pair for pair in parameters if pair[0] != "ground"]
        controls = await _beside(request, partial(figure.controls.parse, rest))
    except ControlError as error:
        return await _figure_problem(request, lesson, figure, error)
    return _kept(request, await _answers(request).picture(slug, name, controls, scheme))


@router.api_route("/lessons/{slug}/figures/{name}.py", methods=READ)
async def figure_python(request: Request, slug: str, name: str) -> Response:
    """Python that reproduces the figure's read-outs in this state."""
    lesson, figure = _figure(slug, name)
    try:
        controls = await _state(figure.controls, request)
    except ControlError as error:
        return await _figure_problem(request, lesson, figure, error)
    response = _respond(request, await _answers(request).python(slug, name, controls))
    response.headers["Content-Disposition"] = f'attachment; filename="{figure.id}.py"'
    return response


@router.api_route("/lessons/{slug}/figures/{name}", methods=READ)
async def figure_page(request: Request, slug: str, name: str) -> Response:
    """A figure alone: to share, to print, to embed with `embed=1`.

    Without JavaScript a form of the lesson page adds `in=lesson`: back to the lesson, in the new state.
    """
    lesson, figure = _figure(slug, name)
    parameters = query_parameters(request)
    route = _route(parameters)
    shell = {key: value for key, value in parameters if key in ("embed", "in", "route")}
    others = [(key, value) for key, value in parameters if "." in key]
    own = [(key, value) for key, value in parameters if key not in shell and "." not in key]
    embed = _embed(shell)
    try:
        question = lesson.questions.get(name)
        controls, teaching = await _beside(request, partial(read_taught, figure.controls, own, question))
    except ControlError as error:
        return await _figure_problem(request, lesson, figure, error, given=parameters)
    if shell.get("in") == "lesson":
        known = await _beside(request, partial(_known, lesson, others, but=name))
        query = state_query([(name, _query(controls, teaching)), *known])
        query = f"route={route}&{query}" if route else query
        return RedirectResponse(f"{_here(request)}{lesson.url}?{query}#{figure.id}", 303)
    body = await _answers(request).figure(slug, name, controls, teaching, embed=embed)
    if not embed:
        return _kept(request, body)
    response = _respond(request, body)
    settings: Settings = request.app.state.settings
    response.headers.update(page_headers(settings.embed_ancestors))
    return response


@router.api_route("/lessons/{slug}/questions", methods=READ)
async def recall_page(request: Request, slug: str) -> Response:
    """What was predicted, what is so, what to look at again: all questions; the browser knows the guesses."""
    return await _recall(request, slug, REVALIDATE, whole_page=True)


@router.api_route("/fragments/{asked}/{slug}/questions", methods=READ)
async def recall_fragment(request: Request, asked: Asked, slug: str) -> Response:
    """The same at the end of the lesson, fetched when its reader is near."""
    return await _recall(request, slug, IMMUTABLE, whole_page=False)


@router.post("/lessons/{slug}/figures/{name}.csv")
async def table_on_own(request: Request, slug: str, name: str) -> Response:
    """The figure's data table on weights that were sent along."""
    return await _on_own(request, slug, name, "csv")


@router.post("/lessons/{slug}/figures/{name}.svg")
async def picture_on_own(request: Request, slug: str, name: str) -> Response:
    """The figure's drawing on weights that were sent along, as a file."""
    return await _on_own(request, slug, name, "svg")


@router.post("/lessons/{slug}/figures/{name}")
async def figure_on_own(request: Request, slug: str, name: str) -> Response:
    """The figure on weights that a form has sent: nothing of them is kept, and no address leads back.

    Where a file sets controls instead, the answer is the address of that state.
    """
    return await _on_own(request, slug, name, "figure")


@router.post("/fragments/{asked}/{slug}/{name}")
async def fragment_on_own(request: Request, asked: Asked, slug: str, name: str) -> Response:
    """The figure's view on weights that the page has sent along, or the controls that a file sets."""
    return await _on_own(request, slug, name, "fragment")


@router.api_route("/fragments/{asked}/{slug}/{name}/own", methods=READ)
async def own_panel(request: Request, asked: Asked, slug: str, name: str) -> Response:
    """What a reader gives weights or a model of their own with, fetched when it is unfolded."""
    lesson, figure = _figure(slug, name)
    _takes_own(figure)
    try:
        controls, _teaching = await _taught(lesson, name, request)
    except ControlError as error:
        return await _figure_problem(
            request, lesson, figure, error, given=query_parameters(request), whole_page=False
        )
    return _kept(request, await _answers(request).own_panel(slug, name, controls), IMMUTABLE)


@router.api_route("/lessons/{slug}/questions/{name}", methods=READ)
async def question_page(request: Request, slug: str, name: str) -> Response:
    """A question with its figure: `answer=` commits to a guess, `skip=1` to none, and what is so is shown."""
    return await _question(request, slug, name, whole_page=True)


@router.api_route("/lessons/{slug}/tasks/{section}", methods=READ)
async def task_page(request: Request, slug: str, section: str) -> Response:
    """The task of a section: `seed` chooses its numbers, `stage` what is filled in, the rest are answers."""
    lesson = _lesson(slug)
    if section not in lesson.tasks:
        known = ", ".join(lesson.tasks) or _("none")
        raise HTTPException(
            404, _("This lesson has no task “%(name)s”. It has: %(known)s.", name=section[:40], known=known)
        )
    try:
        parameters = query_parameters(request)
        attempt, exercise = await _beside(request, partial(read_attempt, lesson.tasks[section], parameters))
    except AttemptError as error:
        problems = problems_for_people(error, lesson.task_texts[section])
        back = f"{_here(request)}{lesson.url}/tasks/{section}?{urlencode(error.nearest.query())}"
        return problem_page(request, lesson, problems, back)
    body = await _answers(request).task(slug, section, attempt, exercise)
    steps = await _beside(request, partial(check, attempt, exercise))
    if any(step.outcome == "unread" for step in steps):
        return _respond(request, body, "no-store", refused=True)
    return _kept(request, body)


@router.api_route("/fragments/{asked}/{slug}/questions/{name}", methods=READ)
async def question_fragment(request: Request, asked: Asked, slug: str, name: str) -> Response:
    """The question alone, before the guess or after it."""
    return await _question(request, slug, name, IMMUTABLE, whole_page=False)


@router.api_route("/fragments/{asked}/{slug}/{name}", methods=READ)
async def fragment(request: Request, asked: Asked, slug: str, name: str) -> Response:
    """What htmx swaps in. The address holds the content's version, so the answer never changes."""
    lesson, figure = _figure(slug, name)
    try:
        controls, teaching = await _taught(lesson, name, request)
    except ControlError as error:
        return await _figure_problem(
            request, lesson, figure, error, given=query_parameters(request), whole_page=False
        )
    body = await _answers(request).fragment(slug, name, controls, teaching)
    return _kept(request, body, IMMUTABLE)


@router.api_route("/fragments/{asked}/{slug}/{name}/along/{control}", methods=READ)
async def states(request: Request, asked: Asked, slug: str, name: str, control: str) -> Response:
    """The states of one control of a figure, fetched on first touch so that a drag needs no network."""
    lesson, figure = _figure(slug, name)
    if control not in figure.controls.tabled():
        raise HTTPException(404)
    try:
        at, teaching = await _taught(lesson, name, request)
    except ControlError as error:
        return await _figure_problem(
            request, lesson, figure, error, given=query_parameters(request), whole_page=False
        )
    table = await _answers(request).states(slug, name, control, at, teaching)
    if table is None:
        return _respond(
            request, NO_TABLE, "no-store"
        )  # each state by itself then, and the table another time
    return _kept(request, table, IMMUTABLE)


@router.api_route("/fragments/{asked}/{slug}/{name}/code/{function}", methods=READ)
async def listing(request: Request, asked: Asked, slug: str, name: str, function: str) -> Response:
    """The source of a function that a figure ran, fetched when it is unfolded."""
    figure = _figure(slug, name)[1]
    body = await _answers(request).listing(_function(function), f"{figure.id}-{function}")
    return _kept(request, body, IMMUTABLE)


@router.api_route("/fragments/{asked}/{slug}/{name}/share", methods=READ)
async def share(request: Request, asked: Asked, slug: str, name: str) -> Response:
    """What is offered to take away from a figure, fetched when it is unfolded."""
    lesson, figure = _figure(slug, name)
    try:
        controls, _ = await _taught(lesson, name, request)
    except ControlError as error:
        return await _figure_problem(
            request, lesson, figure, error, given=query_parameters(request), whole_page=False
        )
    return _kept(request, await _answers(request).share(slug, name, controls), IMMUTABLE)


@router.api_route("/lessons/{slug}/code/{function}", methods=READ)
async def code_page(request: Request, slug: str, function: str) -> Response:
    """The source of a function of the library, on a page of its own."""
    _lesson(slug)
    query_parameters(request)
    return _kept(request, await _answers(request).code(slug, _function(function)))


@router.api_route("/lessons/{slug}/receipts", methods=READ)
async def receipts_page(request: Request, slug: str) -> Response:
    """Predicted beside logged, for every published case of the memory formulas."""
    lesson = _lesson(slug)
    query_parameters(request)
    if lesson.receipts is None:
        raise HTTPException(404, _("This lesson has no receipts."))
    return _kept(request, await _answers(request).receipts(slug))


@router.api_route("/lessons/{slug}/summary", methods=READ)
async def summary_page(request: Request, slug: str) -> Response:
    """The lesson on one page, to print."""
    lesson = _lesson(slug)
    query_parameters(request)
    if lesson.summary is None:
        raise HTTPException(404, _("This lesson has no summary."))
    return _kept(request, await _answers(request).summary(slug))


@router.api_route("/lessons/{slug}/sources", methods=READ)
async def sources_page(request: Request, slug: str) -> Response:
    """Every number of the prose with its kind and its source."""
    _lesson(slug)
    query_parameters(request)
    return _kept(request, await _answers(request).sources(slug))


@router.api_route("/lessons/{slug}/teach", methods=READ)
async def teach_page(request: Request, slug: str) -> Response:
    """Where a teacher makes a link: `figure=rtn&set.bits=5&show.block=lock&explain=off&place=embed`."""
    lesson = _lesson(slug)
    parameters = query_parameters(request)
    given = dict(parameters)
    if "figure" not in given:
        return _kept(request, await _answers(request).teach(slug, None, None, OPEN, "page"))
    name = given["figure"]
    if name not in lesson.figures:
        raise HTTPException(422, _no_figure(lesson, name))
    figure = lesson.figures[name]
    fixed: defaultdict[str, list[str]] = defaultdict(list)
    for key, value in parameters:
        if key.startswith("show.") and value != "open":
            fixed[value].append(key.removeprefix("show."))
    own = [(key.removeprefix("set."), value) for key, value in parameters if key.startswith("set.")]
    arranged = [(how, ",".join(names)) for how, names in fixed.items()]
    arranged += [pair for pair in parameters if pair[0] == "explain"]
    try:
        controls, teaching = await _beside(request, partial(read_taught, figure.controls, [*own, *arranged]))
    except ControlError as error:
        return await _figure_problem(request, lesson, figure, error)
    place = given.get("place", "page")
    places = ["page", "embed", "lesson"] + ["question"] * (name in lesson.questions)
    places += ["task"] * (lesson.section_of(name).slug in lesson.tasks)
    if place not in places:
        raise HTTPException(422, _("%(name)s must be %(allowed)s.", name="place", allowed=", ".join(places)))
    return _kept(request, await _answers(request).teach(slug, name, controls, teaching, place))


@router.api_route("/styleguide", methods=READ)
async def styleguide(request: Request) -> Response:
    """Every component in every state, for those who work on the lesson; nothing links here."""
    query_parameters(request)
    return _kept(request, await _answers(request).styleguide())


@router.api_route("/static/{asked}/{path:path}", methods=READ)
async def static(request: Request, asked: Asked, path: str) -> Response:
    """A static file; immutable under the current version."""
    body = static_file(path)
    if body is None:
        raise HTTPException(404)
    return _kept(request, body, IMMUTABLE)


@router.api_route("/{slug}", methods=READ)
async def plain_page(request: Request, slug: str) -> Response:
    """A page that belongs to no lesson, such as the accessibility statement."""
    query_parameters(request)
    if slug not in plain_pages():
        raise HTTPException(404)
    return _kept(request, await _answers(request).plain(slug))


def _lesson_states(request: Request, slug: str, route: str = "") -> tuple[States, Response | None]:
    """State and arrangement of every figure of a lesson, or the page that says what is wrong with them."""
    lesson = _lesson(slug)
    given: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, value in query_parameters(request):
        owner, dot, control = name.partition(".")
        if dot and owner not in lesson.figures:
            raise HTTPException(422, _no_figure(lesson, owner))
        if dot:
            given[owner].append((control, value))
    states: dict[str, tuple[FigureControls, Teaching]] = {}
    problems: list[dict[str, Any]] = []
    for name, figure in lesson.figures.items():
        try:
            states[name] = read_taught(figure.controls, given[name], lesson.questions.get(name))
        except ControlError as error:
            states[name] = error.nearest, OPEN  # not shown: what follows is the page of problems
            problems += [
                problem | {"control": f"{name}.{problem['control']}", "figure": figure.label}
                for problem in problems_for_people(error, lesson.texts[name])
            ]
    if problems:
        known = [pair for pair in query_parameters(request) if pair[0] == "route" or "." in pair[0]]
        back = _without(problems, f"{_here(request)}{lesson.url}", known)
        return states, problem_page(request, lesson, problems, back)
    return states, None


def _lesson(slug: str) -> Lesson:
    if slug not in all_slugs():
        known = ", ".join(lesson_slugs())
        raise HTTPException(
            404, _("There is no lesson “%(name)s”. There is: %(known)s.", name=slug[:40], known=known)
        )
    return load_lesson(slug)


def _figure(slug: str, name: str) -> tuple[Lesson, Figure[Any]]:
    lesson = _lesson(slug)
    if name not in lesson.figures:
        raise HTTPException(404, _no_figure(lesson, name))
    return lesson, lesson.figures[name]


def _takes_own(figure: Figure[Any]) -> None:
    if not figure.takes_own:
        raise HTTPException(
            405,
            _("%(figure)s is drawn on the lesson's own data only.", figure=figure.label),
            {"Allow": "GET"},
        )


def _is_drawing(figure: Figure[Any]) -> None:
    if figure.is_html:
        raise HTTPException(
            404, _("%(figure)s is made of HTML: there is no SVG file of it.", figure=figure.label)
        )


def _ground(parameters: list[tuple[str, str]]) -> Scheme:
    """For which ground a picture is drawn."""
    grounds = [value for key, value in parameters if key == "ground"] or ["light"]
    if grounds not in (["light"], ["dark"]):
        raise HTTPException(
            422, _("%(name)s must be %(allowed)s.", name="ground", allowed=_("light or dark"))
        )
    return "dark" if grounds == ["dark"] else "light"


async def _on_own(request: Request, slug: str, name: str, what: OnOwn) -> Response:
    forms: Forms = request.app.state.forms
    lesson, figure = _figure(slug, name)
    _takes_own(figure)
    as_file = what in ("csv", "svg")
    if as_file and figure.from_file is not None:
        raise HTTPException(405, None, {"Allow": "GET"})  # its state is in the address
    if what == "svg":
        _is_drawing(figure)
    async with forms.read(request) as form:
        return await _on_form(request, lesson, figure, form, what)


async def _on_form(
    request: Request, lesson: Lesson, figure: Figure[Any], form: bytes, what: OnOwn
) -> Response:
    as_file = what in ("csv", "svg")
    sent = await _beside(request, partial(read_form, form))
    whole_page = what == "figure"
    own = {key: value for key, value in sent if key in OWN_FIELDS}
    scheme = _ground(sent) if what == "svg" else "light"
    apart = {*OWN_FIELDS, "in", "embed", *(["ground"] if what == "svg" else [])}
    rest = [pair for pair in sent if pair[0] not in apart]
    try:
        if figure.from_file is not None:
            from_file = partial(_from_file, request, lesson, figure, rest, own, whole_page=whole_page)
            return await _beside(request, from_file)
        question = lesson.questions.get(figure.name)
        controls, teaching = await _beside(request, partial(read_taught, figure.controls, rest, question))
        body = await _answers(request).on_own(
            lesson.slug, figure.name, controls, teaching, own, what=what, scheme=scheme
        )
    except ControlError as error:
        return await _figure_problem(request, lesson, figure, error, whole_page=whole_page)
    except OwnError as error:
        if whole_page or as_file:
            raise HTTPException(422, str(error)) from None
        tell = partial(render, "own_problem.jinja", id=figure.id, problem=str(error))
        markup = await _beside(request, tell)
        return Response(markup, 422, {"Cache-Control": "no-store"}, media_type=HTML)
    response = _respond(request, body, "no-store")
    if as_file:
        response.headers["Content-Disposition"] = f'attachment; filename="{figure.id}-own.{what}"'
    return response


def _from_file(
    request: Request,
    lesson: Lesson,
    figure: Figure[Any],
    rest: list[tuple[str, str]],
    own: dict[str, str],
    *,
    whole_page: bool,
) -> Response:
    """Where the state is that a reader's file sets; for a script, the controls that it sets."""
    assert figure.from_file is not None
    found = figure.from_file(own)
    if not whole_page:
        return JSONResponse(found, headers={"Cache-Control": "no-store"})
    kept = [pair for pair in rest if pair[0] not in found]
    question = lesson.questions.get(figure.name)
    controls, teaching = read_taught(figure.controls, [*kept, *found.items()], question)
    query = urlencode(_query(controls, teaching))
    address = f"{_here(request)}{lesson.url}/figures/{figure.name}?{query}#{figure.id}"
    return RedirectResponse(address, 303, {"Cache-Control": "no-store"})


async def _recall(request: Request, slug: str, cache_control: str, *, whole_page: bool) -> Response:
    lesson = _lesson(slug)
    query_parameters(request)
    if not lesson.questions:
        raise HTTPException(404, _("This lesson asks no questions."))
    return _kept(request, await _answers(request).recall(slug, whole_page=whole_page), cache_control)


async def _question(
    request: Request, slug: str, name: str, cache_control: str = REVALIDATE, *, whole_page: bool
) -> Response:
    lesson = _lesson(slug)
    if name not in lesson.questions:
        known = ", ".join(lesson.questions) or _("none")
        raise HTTPException(
            404, _("This lesson has no question “%(name)s”. It has: %(known)s.", name=name[:40], known=known)
        )
    try:
        parameters = query_parameters(request)
        route = _route(parameters)
        committed, guess = lesson.questions[name].read([pair for pair in parameters if pair[0] != "route"])
    except ControlError as error:
        problems = problems_for_people(error, lesson.question_texts[name])
        back = _without(problems, f"{_here(request)}{lesson.url}/questions/{name}", parameters)
        label = lesson.figures[name].label
        if whole_page:
            return problem_page(request, lesson, [p | {"figure": label} for p in problems], back)
        return _problem_fragment(f"ask-{name}", problems, back)
    body = await _answers(request).question(slug, name, committed, guess, route, whole_page=whole_page)
    return _kept(request, body, cache_control)


def _no_figure(lesson: Lesson, name: str) -> str:
    known = ", ".join(lesson.figures)
    return _("This lesson has no figure “%(name)s”. It has: %(known)s.", name=name[:40], known=known)


def _function(name: str) -> str:
    if name not in shown_functions():
        raise HTTPException(404, _("The library has no function “%(name)s”.", name=name[:80]))
    return name


async def _state(controls: type[FigureControls], request: Request) -> FigureControls:
    """The state that the query names."""
    query: bytes = request.scope["query_string"]
    if len(query) > SHORT_QUERY or _is_typed(controls, query):
        return await _beside(request, lambda: controls.parse(read_query(query)))
    return _state_of(controls, query)


@functools.lru_cache(maxsize=1024)
def _state_of(controls: type[FigureControls], query: bytes) -> FigureControls:
    return controls.parse(read_query(query))


def _is_typed(controls: type[FigureControls], query: bytes) -> bool:
    """Whether a query may hold what a reader has typed: its name stands there, or is hidden in an escape."""
    texts = [name for name, widget in controls.widgets().items() if isinstance(widget, Text)]
    return bool(texts) and (b"%" in query or any(name.encode() in query for name in texts))


async def _taught(lesson: Lesson, name: str, request: Request) -> tuple[FigureControls, Teaching]:
    """The state of a figure that the query names, and what stands beside it."""
    controls, query = lesson.figures[name].controls, request.scope["query_string"]
    if any(name.encode() in query for name in TAUGHT):
        parameters, question = query_parameters(request), lesson.questions.get(name)
        return await _beside(request, partial(read_taught, controls, parameters, question))
    return await _state(controls, request), OPEN


async def _beside(request: Request, read: Callable[[], T]) -> T:
    """What `read` makes of a reader's input, beside the event loop; what it raises is raised."""
    return await _answers(request).read(read)


def _query(controls: FigureControls, teaching: Teaching) -> list[tuple[str, str]]:
    return [*controls.query(), *teaching.query()]


def _root(request: Request) -> str:
    """Where the server's addresses begin."""
    root: str = request.app.state.settings.root_path
    return root


def _here(request: Request) -> str:
    """Where the pages of the present language begin."""
    return _root(request) + spoken().prefix


def _answers(request: Request) -> Answers:
    answers: Answers = request.app.state.answers
    return answers


def _route(parameters: list[tuple[str, str]]) -> str:
    """The reader's route through a lesson, "" for none."""
    given = [value for name, value in parameters if name == "route"]
    if len(given) > 1 or any(value not in ROUTES for value in given):
        raise HTTPException(
            422, _("%(name)s must be %(allowed)s.", name="route", allowed=_("guided or lab, once"))
        )
    return given[0] if given else ""


def _embed(shell: dict[str, str]) -> bool:
    if shell.get("embed", "0") not in ("0", "1"):
        raise HTTPException(422, _("%(name)s must be %(allowed)s.", name="embed", allowed=_("0 or 1")))
    if shell.get("in", "page") not in ("page", "lesson"):
        raise HTTPException(422, _("%(name)s must be %(allowed)s.", name="in", allowed=_("page or lesson")))
    return shell.get("embed") == "1"


def _known(
    lesson: Lesson, others: list[tuple[str, str]], but: str
) -> list[tuple[str, list[tuple[str, str]]]]:
    """The states of the lesson's other figures that came along, those that are well formed."""
    kept: list[tuple[str, list[tuple[str, str]]]] = []
    for name, figure in lesson.figures.items():
        own = [(key.partition(".")[2], value) for key, value in others if key.partition(".")[0] == name]
        if own and name != but:
            with contextlib.suppress(ControlError):
                taught = read_taught(figure.controls, own, lesson.questions.get(name))
                kept.append((name, _query(*taught)))
    return kept


async def _figure_problem(
    request: Request,
    lesson: Lesson,
    figure: Figure[Any],
    error: ControlError,
    *,
    given: list[tuple[str, str]] | None = None,
    whole_page: bool = True,
) -> Response:
    """What cannot be understood of a figure's state; made beside the event loop like what can be.

    `given` are the parameters that the figure's own page would take.
    """

    def make() -> Response:
        problems = problems_for_people(error, lesson.texts[figure.name])
        embed = [("embed", "1")] if is_embed(request.scope) else []
        parameters = [*error.nearest.query(), *embed] if given is None else given
        back = _without(problems, f"{_here(request)}{lesson.url}/figures/{figure.name}", parameters)
        if whole_page:
            return problem_page(request, lesson, [p | {"figure": figure.label} for p in problems], back)
        return _problem_fragment(figure.id, problems, back)

    return await _beside(request, make)


def _without(problems: list[dict[str, Any]], address: str, given: list[tuple[str, str]]) -> str:
    """An address with all that was given but the parameters that are no good."""
    refused = {problem["control"] for problem in problems}
    kept = [pair for pair in given if not refused & {pair[0][:ECHO_LIMIT], _of_figure(pair[0])}]
    return f"{address}?{urlencode(kept)}" if kept else address


def _of_figure(name: str) -> str:
    """A parameter of a lesson's address as a problem repeats it, the figure's name in front of it."""
    owner, dot, control = name.partition(".")
    return f"{owner}{dot}{control[:ECHO_LIMIT]}"


def _problem_fragment(id: str, problems: list[dict[str, Any]], back: str) -> Response:
    body = render("problem_fragment.jinja", id=id, problems=problems, back=back)
    return Response(body, 422, {"Cache-Control": "no-store"}, media_type=HTML)


def problem_page(request: Request, lesson: Lesson, problems: list[dict[str, Any]], back: str) -> Response:
    """What cannot be understood of an address, what is allowed, and a way back."""
    body = render(
        "problem.jinja",
        _root(request),
        lesson=lesson,
        course=course(),
        problems=problems,
        back=back,
        embedded=is_embed(request.scope),
    )
    return Response(body, 422, {"Cache-Control": "no-store"}, media_type=HTML)


def _respond(
    request: Request, body: Body, cache_control: str = REVALIDATE, *, refused: bool = False
) -> Response:
    """Send a body with its ETag, compressed as the browser likes; 304 when it has it already.

    `refused`: with status 422, for it says what could not be read.
    """
    status, headers, content = body.answer(
        request.headers.get("accept-encoding", ""), request.headers.get("if-none-match", ""), cache_control
    )
    status = 422 if refused and status == 200 else status
    return response_with(b"" if request.method == "HEAD" else content, status, headers)


def _kept(request: Request, body: Body, cache_control: str = REVALIDATE) -> Response:
    """`_respond`, and the same again to whoever asks for this address, where it lasts."""
    if not body.lasting:
        return _respond(request, body)
    lane: Lane = request.app.state.lane
    lane.remember(request.scope, body, cache_control)
    return _respond(request, body, cache_control)
