"""What each address answers with, rendered: fragments, tables of states, pages, listings.

Everything here is a pure function of its arguments, the present language and the files of this version, and
goes through one bounded cache (`app.cache.store`). What shows the results of a computation of this host is
made anew each time.
"""

from __future__ import annotations

import contextlib
import csv
import gc
import io
import math
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeVar
from urllib.parse import parse_qsl, urlencode

import orjson

from app.assets import static_file
from app.cache.disk import Name
from app.cache.queue import Busy, Together
from app.cache.response import BEST, Body
from app.cache.store import Kept
from app.export.pictures import picture
from app.export.sheets import Scheme
from app.views.render import Shown, ask, example, practise, render, reveal, show
from app.views.styleguide import guide
from lessons.catalogue import Lesson, course, lesson_slugs, load_lesson, plain_pages
from lessons.kit.controls import ControlError, FigureControls, plain
from lessons.kit.figure import Figure
from lessons.kit.job import Found
from lessons.kit.language import SOURCE, spoken
from lessons.kit.language import gettext as _
from lessons.kit.prose import PIECES
from lessons.kit.question import Guess
from lessons.kit.source import source_named
from lessons.kit.task import ROUTES, Attempt, Exercise
from lessons.kit.teaching import OPEN, Teaching, hideable
from lessons.kit.view import Table
from lessons.notebook import notebook

HTML = "text/html; charset=utf-8"
T = TypeVar("T")
States = Mapping[str, tuple[FigureControls, Teaching]]
"""Figure → its state and its arrangement."""

Asking = Callable[[Lesson, Figure[Any], FigureControls], Found | None]
OnOwn = Literal["figure", "fragment", "csv", "svg"]
"""What can be made of a reader's own weights."""

BREATH = 0.02  # seconds between two answers that nobody has asked for yet
FEW_STATES = 1200
"""Of a figure, up to which a worker makes all of them when it has nothing else to do."""
TABLE_SECONDS = 0.18  # of a processor, of what one request may spend; the next one goes on from there
LARGEST_TABLE = 64 * 1024  # bytes, compressed: beyond it the next state alone is the better answer
NO_TABLE = Body(b"{}", "application/json")


class Answers:
    """Every answer, each rendered once.

    `found` tells what is known of a computation that a state of a figure waits for.
    """

    def __init__(
        self, root_path: str, most_bytes: int, found: Asking = lambda *_: None, *, embeddable: bool = True
    ) -> None:
        self.root_path = root_path
        self._found = found
        self.embeddable = embeddable
        self._kept = Kept(most_bytes)
        self._closing = threading.Event()
        self.complete = False  # whether all that `warm` makes is here

    async def fragment(
        self, slug: str, name: str, controls: FigureControls, teaching: Teaching = OPEN
    ) -> Body:
        """A figure's view alone."""
        teaching = _of_view(slug, name, controls, teaching)
        return await self._get(
            ("fragment", slug, name, controls, teaching),
            partial(self._fragment, slug, name, controls, teaching),
            typed=controls.typed(),
            together=_together(slug, name, controls),
            lasting=not _waits(slug, name, controls),
        )

    async def states(
        self, slug: str, name: str, control: str, at: FigureControls, teaching: Teaching = OPEN
    ) -> Body | None:
        """The states of one control, the others as they are: all, or the part that the present one is in.

        A page that holds them answers a drag in the same frame, however far away the server is. JSON of
        `lines`, of `states` (value → the lines of its view, as bounds of ranges) and of `beside`, a value of
        each part next to it. It is empty where the views together are too large to send ahead or of a typed
        text, and None when too much else is to be done, or where they change with this host.
        """
        if _waits(slug, name, at):
            return None
        if at.typed():
            return NO_TABLE
        rest = at.model_copy(update={control: at.part(control).states[0]})
        views = (_of_view(slug, name, state, teaching) for state in _along(rest, control).values())
        # A table in which no guess is drawn is that of all who made none.
        teaching = max(views, key=lambda of_view: of_view.guess)
        key = ("states", slug, name, control, rest, teaching)
        make = partial(self._states, slug, name, control, rest, teaching, TABLE_SECONDS)
        return await self._kept.get_ahead((spoken().tag, key), make)

    async def lesson(self, slug: str, states: States, route: str = "") -> Body:
        """The lesson page, its figures in these states and arrangements.

        `route` "guided" has the worked examples, and begins with fewer controls.
        """
        key = ("lesson", slug, tuple(states.items()), route)
        return await self._get(
            key,
            partial(self._lesson, slug, states, route),
            typed=_any_typed(states),
            lasting=not any(_waits(slug, name, controls) for name, (controls, _t) in states.items()),
        )

    async def figure(
        self, slug: str, name: str, controls: FigureControls, teaching: Teaching = OPEN, *, embed: bool
    ) -> Body:
        """A figure on a page of its own, or bare for a frame."""
        template = "embed.jinja" if embed else "figure.jinja"
        return await self._get(
            (template, slug, name, controls, teaching),
            lambda: self._page(template, slug, f=self._shown(slug, name, controls, teaching=teaching)),
            typed=controls.typed(),
            together=_together(slug, name, controls),
            lasting=not _waits(slug, name, controls),
        )

    async def question(
        self,
        slug: str,
        name: str,
        committed: bool,
        guess: Guess | None,
        route: str = "",
        *,
        whole_page: bool,
    ) -> Body:
        """A question before its guess, or what is so beside the guess; with its figure, or alone."""
        asked = (slug, name, committed, guess, route, whole_page)
        return await self._get(("question", *asked), partial(self._question, *asked))

    async def recall(self, slug: str, *, whole_page: bool) -> Body:
        """All questions and tasks of a lesson, or the questions alone; the browser adds what it remembers."""
        return await self._get(("recall", slug, whole_page), partial(self._recall, slug, whole_page))

    async def task(self, slug: str, section: str, attempt: Attempt, exercise: Exercise) -> Body:
        """The task of a section, with what was given for its steps checked."""
        make = partial(self._task, slug, section, attempt, exercise)
        return await self._get(("task", slug, section, attempt), make)

    async def csv(self, slug: str, name: str, controls: FigureControls) -> Body:
        """A figure's data table, raw values."""
        return await self._get(
            ("csv", slug, name, controls),
            partial(self._csv, slug, name, controls),
            typed=controls.typed(),
            together=_together(slug, name, controls),
            lasting=not _waits(slug, name, controls),
        )

    async def picture(self, slug: str, name: str, controls: FigureControls, scheme: Scheme) -> Body:
        """A figure's drawing as an SVG file that stands alone."""
        return await self._get(
            ("picture", slug, name, controls, scheme),
            partial(self._picture, slug, name, controls, scheme),
            typed=controls.typed(),
            together=_together(slug, name, controls),
            lasting=not _waits(slug, name, controls),
        )

    async def python(self, slug: str, name: str, controls: FigureControls) -> Body:
        """The Python that reproduces a figure's read-outs."""
        return await self._get(
            ("python", slug, name, controls),
            lambda: Body(load_lesson(slug).python(name, controls).encode(), "text/x-python; charset=utf-8"),
            typed=controls.typed(),
        )

    async def on_own(
        self,
        slug: str,
        name: str,
        controls: FigureControls,
        teaching: Teaching,
        own: Mapping[str, str],
        *,
        what: OnOwn,
        scheme: Scheme = "light",
    ) -> Body:
        """A figure on a reader's own weights, its view, table or picture: nothing of them is kept.

        Raises
        ------
        OwnError
            They cannot be used.
        """

        def make() -> Body:
            lesson = load_lesson(slug)
            shown = show(lesson, lesson.figures[name], controls, self.root_path, teaching=teaching, own=own)
            if what == "csv":
                return _table(shown.view.table)
            if what == "svg":
                return _drawn(shown, scheme)
            return self._html(f"{what}.jinja", lesson=lesson, f=shown)

        return await self._kept.fresh(make, own=True)

    async def own_panel(self, slug: str, name: str, controls: FigureControls) -> Body:
        """What a reader gives weights or a model of their own with."""
        return await self._get(
            ("own", slug, name, controls),
            lambda: self._html("own.jinja", f=self._shown(slug, name, controls)),
            typed=controls.typed(),
        )

    async def notebook(self, slug: str, states: States) -> Body:
        """The lesson's computations as a Jupyter notebook."""
        return await self._get(
            ("notebook", slug, tuple(states.items())),
            partial(self._notebook, slug, states),
            typed=_any_typed(states),
        )

    async def share(self, slug: str, name: str, controls: FigureControls) -> Body:
        """What is offered to take away from a figure."""
        return await self._get(
            ("share", slug, name, controls),
            lambda: self._html("share.jinja", f=self._shown(slug, name, controls)),
            typed=controls.typed(),
        )

    async def teach(
        self, slug: str, name: str | None, controls: FigureControls | None, teaching: Teaching, place: str
    ) -> Body:
        """The page on which a teacher makes a link."""
        return await self._get(
            ("teach", slug, name, controls, teaching, place),
            partial(self._teach, slug, name, controls, teaching, place),
            typed=bool(controls and controls.typed()),
        )

    async def course(self) -> Body:
        """The course path, and the way into the lessons."""
        return await self._get("course", self._course)

    async def sources(self, slug: str) -> Body:
        """Every number of the prose with its kind and its source."""
        return await self._get(("sources", slug), partial(self._page, "sources.jinja", slug))

    async def summary(self, slug: str) -> Body:
        """The lesson on one page, to print."""
        return await self._get(("summary", slug), partial(self._summary, slug))

    async def plain(self, slug: str) -> Body:
        """A page that belongs to no lesson."""
        return await self._get(("plain", slug), partial(self._plain, slug))

    async def styleguide(self) -> Body:
        """Every component in every state."""
        return await self._get("styleguide", partial(self._styleguide))

    async def receipts(self, slug: str) -> Body:
        """Predicted beside logged, for every published case of the memory formulas."""
        return await self._get(("receipts", slug), partial(self._receipts, slug))

    async def code(self, slug: str, function: str) -> Body:
        """The source of a function that figures run, on a page of its own."""
        return await self._get(
            ("code", slug, function),
            lambda: self._page("code.jinja", slug, code=source_named(function)),
        )

    async def listing(self, function: str, id: str) -> Body:
        """The source of a function alone, as an element of this id."""
        return await self._get(
            ("listing", function, id),
            lambda: self._html("listing.jinja", code=source_named(function), id=id),
        )

    async def read(self, what: Callable[[], T]) -> T:
        """What a reader's input says, read beside the event loop; whatever `what` raises is raised."""
        return await self._kept.read(what)

    async def _get(
        self,
        key: Any,
        make: Callable[[], Body],
        *,
        typed: bool = False,
        lasting: bool = True,
        together: Together | None = None,
    ) -> Body:
        """The kept answer in the present language."""
        if not lasting:
            body = await self._kept.fresh(make, typed=typed, together=together)
            body.lasting = False
            return body
        return await self._kept.get((spoken().tag, key), make, typed=typed, together=together)

    def make_course(self) -> None:
        """Make the pages that belong to no lesson, in the present language."""
        tag = spoken().tag
        self._kept.now((tag, "course"), self._course)
        self._kept.now((tag, "styleguide"), self._styleguide)
        for slug in plain_pages():
            self._kept.now((tag, ("plain", slug)), partial(self._plain, slug))

    def make_first(self, slug: str) -> None:
        """Make the page of a lesson and the first view of its figures, in the present language.

        All that answers are made of is read on the way.
        """
        lesson, tag = load_lesson(slug), spoken().tag
        states = {name: (figure.controls(), OPEN) for name, figure in lesson.figures.items()}
        for route in ("", *ROUTES):
            key = ("lesson", slug, tuple(states.items()), route)
            self._kept.now((tag, key), partial(self._lesson, slug, states, route))
        if lesson.receipts is not None:
            self._kept.now((tag, ("receipts", slug)), partial(self._receipts, slug))
        for name, (controls, teaching) in states.items():
            view = ("fragment", slug, name, controls, teaching)
            self._kept.now((tag, view), partial(self._fragment, slug, name, controls, teaching))
            lesson.python(name, controls)
            if not lesson.figures[name].is_html:
                self._picture(slug, name, controls, "light")

    def warm(self, breath: float = BREATH) -> bool:
        """Make what everybody asks for first, as small as it can be, and then what is likely to be asked for.

        Of each figure the tables of a first touch; of those with few states, which compute longest, all.
        There are `breath` seconds between two of them. Gives whether all of it was made.
        """
        settle()
        static_file("lesson.css")
        for slug in lesson_slugs():
            figures = load_lesson(slug).figures
            states = {name: (figure.controls(), OPEN) for name, figure in figures.items()}
            key = ("lesson", slug, tuple(states.items()), "")
            self._kept.put((SOURCE, key), self._lesson(slug, states, quality=BEST))
            for name, (at, _teaching) in states.items():
                for control in at.tabled():
                    rest = at.model_copy(update={control: at.part(control).states[0]})
                    if not self._warm(breath, "states", self._states, slug, name, control, rest, OPEN):
                        return False
        for slug in lesson_slugs():
            for name, figure in load_lesson(slug).figures.items():
                if figure.controls.combinations() > FEW_STATES:
                    continue
                for state in figure.controls.every():
                    if not self._warm(breath, "fragment", self._fragment, slug, name, state, OPEN):
                        return False
        settle()
        return True

    def named(self) -> Iterator[tuple[Name, Body]]:
        """What `warm` has made, by names that `take` understands."""
        for (tag, key), body in self._kept.items():
            match key if tag == SOURCE and isinstance(key, tuple) else ():
                case ("lesson", slug, states, "") if states == _first(slug):
                    yield ("lesson", slug), body
                case ("fragment", slug, name, controls, teaching) if teaching == OPEN and not _waits(
                    slug, name, controls
                ):
                    yield ("fragment", slug, name, urlencode(controls.query())), body
                case ("states", slug, name, control, rest, teaching) if teaching == OPEN:
                    yield ("states", slug, name, control, urlencode(rest.query())), body

    def take(self, named: Iterable[tuple[Name, Body]]) -> int:
        """Keep what was made by an earlier process. Gives how many answers could be used."""
        taken = 0
        for name, body in named:
            with contextlib.suppress(ControlError, LookupError, TypeError, ValueError):
                self._kept.put((SOURCE, _key(*name)), body)
                taken += 1
        return taken

    def _warm(self, breath: float, kind: str, make: Callable[..., Body], *asked: Any) -> bool:
        """Make an answer in the source language while nobody waits; false where the worker is closing."""
        if self._closing.wait(breath):
            return False
        self._kept.give_way()
        self._kept.now((SOURCE, (kind, *asked)), partial(make, *asked))
        return True

    def close(self) -> None:
        """Stop making answers."""
        self._closing.set()
        self._kept.close()

    def _plain(self, slug: str) -> Body:
        return self._html("plain.jinja", page=plain_pages()[slug])

    def _course(self) -> Body:
        return self._html("course.jinja", lessons={slug: load_lesson(slug) for slug in lesson_slugs()})

    def _fragment(self, slug: str, name: str, controls: FigureControls, teaching: Teaching) -> Body:
        return self._html("fragment.jinja", f=self._shown(slug, name, controls, teaching=teaching))

    def _states(
        self,
        slug: str,
        name: str,
        control: str,
        rest: FigureControls,
        teaching: Teaching,
        within: float = math.inf,
    ) -> Body:
        """The table; Busy where it takes longer than so many seconds. The views made until then are kept."""
        end, late = time.thread_time() + within, False
        lines: dict[str, int] = {}
        states: dict[str, list[int]] = {}
        for value, at in _along(rest, control).items():
            self._kept.give_way()
            of_view = _of_view(slug, name, at, teaching)
            key = (spoken().tag, ("fragment", slug, name, at, of_view))
            view = self._kept.find(key)
            if view is None:
                if late:
                    raise Busy
                view = self._kept.now(key, partial(self._fragment, slug, name, at, of_view))
                late = time.thread_time() > end
            states[value] = _ranges(view.raw.decode().split("\n"), lines)
        beside = [plain(value) for value in rest.part(control).beside]
        body = Body(
            orjson.dumps({"lines": list(lines), "states": states, "beside": beside}), "application/json"
        )
        return body if body.size <= LARGEST_TABLE else NO_TABLE

    def _lesson(self, slug: str, states: States, route: str = "", **kept: Any) -> Body:
        shown = {
            name: self._shown(slug, name, state, brief=True, teaching=teaching)
            for name, (state, teaching) in states.items()
        }
        lesson = load_lesson(slug)
        asked = {name: ask(lesson, name, self.root_path, route) for name in lesson.questions}
        guided = lesson.tasks if route == "guided" else ()
        examples = {section: example(lesson, section, self.root_path) for section in guided}
        context = {"shown": shown, "asked": asked, "examples": examples, "route": route}
        return self._page("lesson.jinja", slug, **context, **kept)

    def _question(
        self, slug: str, name: str, committed: bool, guess: Guess | None, route: str, whole_page: bool
    ) -> Body:
        lesson = load_lesson(slug)
        if committed:
            q = reveal(lesson, name, guess, self.root_path, route)
        else:
            q = ask(lesson, name, self.root_path, route)
        if not whole_page:
            return self._html("ask/fragment.jinja", lesson=lesson, q=q)
        state = q.reveal.controls if q.reveal else lesson.figures[name].controls()
        teaching = Teaching(guess=q.marked)
        return self._page("question.jinja", slug, q=q, f=self._shown(slug, name, state, teaching=teaching))

    def _recall(self, slug: str, whole_page: bool) -> Body:
        lesson = load_lesson(slug)
        asked = [ask(lesson, name, self.root_path) for name in lesson.questions]
        return self._page("recall.jinja" if whole_page else "ask/recalled.jinja", slug, asked=asked)

    def _task(self, slug: str, section: str, attempt: Attempt, exercise: Exercise) -> Body:
        t = practise(load_lesson(slug), section, attempt, exercise, self.root_path)
        return self._page("task.jinja", slug, t=t)

    def _csv(self, slug: str, name: str, controls: FigureControls) -> Body:
        return _table(self._shown(slug, name, controls).view.table)

    def _picture(self, slug: str, name: str, controls: FigureControls, scheme: Scheme) -> Body:
        return _drawn(self._shown(slug, name, controls), scheme)

    def _notebook(self, slug: str, states: States) -> Body:
        opening = _(
            "The computations behind the figures, as they are shown. Run it at the root of a copy of the "
            "repository, with what `requirements.txt` names."
        )
        content = notebook(load_lesson(slug), {name: state for name, (state, _t) in states.items()}, opening)
        return Body(content.encode(), "application/x-ipynb+json")

    def _teach(
        self, slug: str, name: str | None, controls: FigureControls | None, teaching: Teaching, place: str
    ) -> Body:
        if name is None or controls is None:
            return self._page("teach.jinja", slug, f=None)
        f = self._shown(slug, name, controls, teaching=teaching)
        links = f.teaching_links
        return self._page(
            "teach.jinja",
            slug,
            f=f,
            place=place,
            links=links,
            hideable=hideable(type(controls)),
        )

    def _summary(self, slug: str) -> Body:
        lesson = load_lesson(slug)
        assert lesson.summary is not None
        pieces = [part for part in lesson.summary.parts if part.kind in PIECES]
        states = {part.content: lesson.figures[part.name].controls.parse(part.state) for part in pieces}
        shown = {part.content: self._shown(slug, part.name, states[part.content]) for part in pieces}
        return self._page("summary.jinja", slug, shown=shown)

    def _styleguide(self) -> Body:
        return Body(render("styleguide.jinja", self.root_path, **guide(self.root_path)), HTML)

    def _receipts(self, slug: str) -> Body:
        receipts = load_lesson(slug).receipts
        assert receipts is not None
        return self._page(
            "receipts.jinja", slug, receipts=receipts.receipts(), not_covered=receipts.not_covered()
        )

    def _page(self, template: str, slug: str, **context: Any) -> Body:
        return self._html(template, lesson=load_lesson(slug), **context)

    def _html(self, template: str, quality: int | None = None, **context: Any) -> Body:
        context |= {"course": course(), "embeddable": self.embeddable}
        markup = render(template, self.root_path, **context)
        return Body(markup, HTML, quality) if quality else Body(markup, HTML)

    def _shown(
        self,
        slug: str,
        name: str,
        controls: FigureControls,
        *,
        brief: bool = False,
        teaching: Teaching = OPEN,
    ) -> Shown:
        lesson = load_lesson(slug)
        figure = lesson.figures[name]
        found = self._found(lesson, figure, controls)
        return show(lesson, figure, controls, self.root_path, brief=brief, teaching=teaching, found=found)


def _first(slug: str) -> tuple[tuple[str, tuple[FigureControls, Teaching]], ...]:
    """The states that the figures of a lesson begin with."""
    return tuple((name, (figure.controls(), OPEN)) for name, figure in load_lesson(slug).figures.items())


def _key(kind: str, slug: str, name: str = "", *state: str) -> Hashable:
    """The key of an answer that `named` has named."""
    if slug not in lesson_slugs():
        raise LookupError(slug)
    if kind == "lesson":
        return ("lesson", slug, _first(slug), "")
    *control, query = state
    controls = load_lesson(slug).figures[name].controls.parse(parse_qsl(query, keep_blank_values=True))
    if (kind, len(control)) not in (("fragment", 0), ("states", 1)):
        raise LookupError(kind)
    return (kind, slug, name, *control, controls, OPEN)


def _waits(slug: str, name: str, controls: FigureControls) -> bool:
    """Whether what a state shows changes while this content stays what it is."""
    return load_lesson(slug).figures[name].waits_for(controls) is not None


def _table(table: Table) -> Body:
    """A data table as CSV, raw values."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow([column.name for column in table.columns])
    writer.writerows(table.rows)
    return Body(buffer.getvalue().encode(), "text/csv; charset=utf-8")


def _drawn(shown: Shown, scheme: Scheme) -> Body:
    svg, policy = picture(shown, scheme)
    return Body(svg, "image/svg+xml; charset=utf-8", headers={"Content-Security-Policy": policy})


def settle() -> None:
    """What is here now stays: a later search for garbage need not stop everything to look through it."""
    gc.collect()
    gc.freeze()


def _of_view(slug: str, name: str, state: FigureControls, teaching: Teaching) -> Teaching:
    """What of an arrangement makes a difference to the view: answers that are alike are kept once."""
    return teaching.of_view(state, load_lesson(slug).questions.get(name))


def _along(rest: FigureControls, control: str) -> dict[str, FigureControls]:
    """The states of a part of one control, the others as they are, by its value as addresses write it."""
    values = rest.part(control).states
    return {plain(value): rest.model_copy(update={control: value}) for value in values}


def _ranges(view: Sequence[str], lines: dict[str, int]) -> list[int]:
    """The lines of a view as bounds of ranges in `lines`, which is given those that are new."""
    bounds: list[int] = []
    for line in view:
        number = lines.setdefault(line, len(lines))
        if bounds and bounds[-1] == number:
            bounds[-1] = number + 1
        else:
            bounds += [number, number + 1]
    return bounds


def _together(slug: str, name: str, controls: FigureControls) -> Together | None:
    """How a state that a reader typed is computed together with others that wait."""
    prepare = load_lesson(slug).figures[name].prepare
    return Together(prepare, controls) if prepare and controls.typed() else None


def _any_typed(states: States) -> bool:
    return any(controls.typed() for controls, _ in states.values())
