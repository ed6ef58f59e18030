"""Views to HTML: the Jinja environment, and the one context that page, fragment and embed share."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from app.assets import ROOT, static_files, version
from lessons.catalogue import Lesson
from lessons.kit import numbers
from lessons.kit.chart import Chart
from lessons.kit.controls import Choice, ControlError, FigureControls, Slider, Text, plain
from lessons.kit.figure import Figure
from lessons.kit.job import Found
from lessons.kit.language import gettext, language, languages, ngettext, spoken
from lessons.kit.mathml import mathml
from lessons.kit.own import read_own
from lessons.kit.prose import Section
from lessons.kit.question import (
    ANSWER,
    CHART,
    GUESS,
    SKIP,
    Guess,
    Mark,
    Placed,
    Question,
    Reveal,
    on_chart,
    placed,
)
from lessons.kit.source import dotted_name, highlight, source_named, source_of
from lessons.kit.task import (
    EXAMPLE_SEED,
    LAST_SEED,
    Attempt,
    AttemptError,
    Checked,
    Exercise,
    Step,
    Task,
    check,
    read_attempt,
)
from lessons.kit.teaching import OPEN, Teaching
from lessons.kit.text import FigureText
from lessons.kit.typed import LONGEST
from lessons.kit.view import Column, Sentence, Table, View
from quant_core.files.single import reads
from quant_core.files.storage import SIZES, TYPE_NAMES

PRELOADED = ("js/lib/", "js/figure/", "js/lesson/")
"""Folders of scripts that all pages with figures use: a page names their files, to get all at once."""


@dataclass(frozen=True, slots=True)
class Limited:
    """What a control cannot do here: its options (None for all of it), why, and where that is said.

    `says`: whether the reason stands beside this control. Others of the same reason refer to it by `id`.
    """

    reason: str
    options: tuple[str, ...] | None
    id: str
    says: bool
    lasting: bool = False  # for as long as this host is as it is


@dataclass(frozen=True, slots=True)
class Shown:
    """One figure in one state, ready for the templates: its view, its words and its addresses.

    `brief`: on the lesson page, which leaves out what only comes to use near a figure or when it is unfolded.
    `own`: the fields in which a reader has sent weights; a form without scripts sends them along.
    `answered`: the question of this figure with the reader's guess, where they are true of this state.
    """

    lesson: Lesson
    figure: Figure[Any]
    controls: FigureControls
    view: View
    text: FigureText
    root_path: str  # where the pages of this language begin
    brief: bool = False
    teaching: Teaching = OPEN
    own: tuple[tuple[str, str], ...] = ()
    answered: Asked | None = None

    @property
    def late(self) -> bool:
        """Whether the drawing is left out, for the page to fetch when its reader is near."""
        return self.brief and self.lesson.is_late(self.figure.name)

    @property
    def id(self) -> str:
        return self.figure.id

    @property
    def limits(self) -> dict[str, Limited]:
        """What its controls cannot do in this state and on this host."""
        said = {
            name: (self.text.sentence(limit.reason), limit.options, False)
            for name, limit in self.view.limits.items()
        }
        for name, widget in self.controls.widgets().items():
            missing = widget.missing() if isinstance(widget, Choice) else ()
            if missing:
                chosen = getattr(self.controls, name)  # stays as the address asks for it
                options = tuple(option for option in missing if option != chosen)
                said[name] = self.text.missing(name, missing[0]), options, True
        places: dict[str, str] = {}
        for name, (reason, _, _) in said.items():
            places.setdefault(reason, name)
        return {
            name: Limited(
                reason, options, f"{self.id}-{places[reason]}-reason", places[reason] == name, lasting
            )
            for name, (reason, options, lasting) in said.items()
        }

    @property
    def announced(self) -> str:
        """What a screen reader hears after a change: what is said of what was typed, then the drawing."""
        said = [limit.reason for limit in self.limits.values() if limit.options == ()]
        return " ".join([*said, self.description[0]])

    @property
    def limits_json(self) -> str:
        """Those of this state, for static/js/figure/limits.js; "" for none."""
        told = {
            name: {"reason": limit.reason, "options": limit.options, "id": limit.id, "says": limit.says}
            for name, limit in self.limits.items()
            if not limit.lasting
        }
        return json.dumps(told, ensure_ascii=False) if told else ""

    @property
    def unused(self) -> list[tuple[str, str]]:
        """What its form sends in place of controls that cannot be used now: they keep their values."""
        return [
            (name, plain(getattr(self.controls, name)))
            for name, limit in self.view.limits.items()
            if limit.options is None and name not in self.teaching.fixed
        ]

    @property
    def kept(self) -> list[tuple[str, str]]:
        """What its form sends with every change: the controls that a teacher has fixed, and that they are."""
        fixed = [(name, plain(getattr(self.controls, name))) for name in self.teaching.fixed]
        return [*fixed, *self.teaching.query(), *self.own]

    @property
    def whole_query(self) -> list[tuple[str, str]]:
        """State and arrangement."""
        return [*self.controls.query(), *self.teaching.query()]

    @property
    def teaching_links(self) -> dict[str, str]:
        """Where a link of this state and arrangement can lead: figure, frame, lesson, question, task."""
        query = urlencode(self.whole_query)
        lesson = f"{self.root_path}{self.lesson.url}"
        there = state_query([(self.figure.name, self.whole_query)])
        links = {
            "page": self.page_url + (f"?{query}" if query else ""),
            "embed": f"{self.page_url}?embed=1" + (f"&{query}" if query else ""),
            "lesson": lesson + (f"?{there}" if there else "") + f"#{self.id}",
        }
        if self.figure.name in self.lesson.questions:
            links["question"] = f"{lesson}/questions/{self.figure.name}"
        section = self.lesson.section_of(self.figure.name).slug
        if section in self.lesson.tasks:
            links["task"] = f"{lesson}/tasks/{section}"
        return links

    @property
    def notebook_url(self) -> str:
        """The lesson's computations as a notebook, this figure in this state."""
        query = state_query([(self.figure.name, self.controls.query())])
        return f"{self.root_path}{self.lesson.url}/notebook.ipynb" + (f"?{query}" if query else "")

    @property
    def builder_url(self) -> str:
        """Where a teacher makes a link of this figure, from this state on."""
        state = [(f"set.{name}", value) for name, value in self.controls.query()]
        return f"{self.root_path}{self.lesson.url}/teach?{urlencode([('figure', self.figure.name), *state])}"

    @property
    def query(self) -> str:
        return urlencode(self.controls.query())

    @property
    def page_url(self) -> str:
        return f"{self.root_path}{self.lesson.url}/figures/{self.figure.name}"

    @property
    def fragment_url(self) -> str:
        return f"{self.root_path}/fragments/{version()}/{self.lesson.slug}/{self.figure.name}"

    @property
    def state_url(self) -> str:
        return f"{self.page_url}?{self.query}" if self.query else self.page_url

    def file_url(self, kind: str, *more: tuple[str, str]) -> str:
        """The address of the figure in this state as a file: `csv`, `svg` or `py`."""
        query = urlencode([*self.controls.query(), *more])
        return f"{self.page_url}.{kind}?{query}" if query else f"{self.page_url}.{kind}"

    @property
    def embed_url(self) -> str:
        return f"{self.page_url}?{urlencode([('embed', '1'), *self.controls.query()])}"

    @property
    def python(self) -> str:
        """Python that reproduces the read-outs; "" where the lesson has none."""
        return self.lesson.python(self.figure.name, self.controls)

    @property
    def defaults(self) -> str:
        """The default of every control, as JSON, so that the browser can keep the URL short."""
        fields = type(self.controls).model_fields
        return json.dumps({name: plain(field.default) for name, field in fields.items()})

    @property
    def description(self) -> list[str]:
        return [self.text.sentence(sentence) for sentence in self.view.description]

    def marks(self, plot: str) -> list[Placed]:
        """Guess and truth, where they stand on a plot of the drawing."""
        return [placed(mark, self.view.plots[plot], self._label(mark)) for mark in self._marks(plot)]

    @property
    def chart(self) -> Chart | None:
        """The figure's data chart, with guess and truth on it."""
        marks = self._marks(CHART)
        return on_chart(self.view.chart, marks, map(self._label, marks)) if self.view.chart else None

    def _marks(self, plot: str) -> list[Mark]:
        reveal = self.answered.reveal if self.answered else None
        return [mark for mark in reveal.marks if mark.plot == plot] if reveal else []

    def _label(self, mark: Mark) -> str:
        words = self.lesson.words.words
        return f"{words['you' if mark.role == 'guess' else 'so']} {mark.text}"

    @property
    def sources_url(self) -> str:
        return f"{self.root_path}{self.lesson.url}/sources"

    @property
    def linked(self) -> list[str]:
        """The sentences of the description as HTML, their claims leading to their sources."""
        return [self.text.linked(sentence, self.sources_url) for sentence in self.view.description]

    @property
    def chart_json(self) -> str:
        return json.dumps(self.chart.plotly(self.text.words)) if self.chart else ""


def show(
    lesson: Lesson,
    figure: Figure[Any],
    controls: FigureControls,
    root_path: str = "",
    *,
    brief: bool = False,
    teaching: Teaching = OPEN,
    own: Mapping[str, str] | None = None,
    found: Found | None = None,
) -> Shown:
    """Compute a figure's view for a state of its controls, on weights that a reader has sent if there are.

    `found` is what is known of the computation that a state waits for.

    Raises
    ------
    OwnError
        The reader's weights cannot be used.
    """
    text = lesson.texts[figure.name]
    here = root_path + spoken().prefix
    if own is None:
        view = figure.shown(controls, found)
        answered = _answered(lesson, figure.name, controls, teaching.guess)
        return Shown(lesson, figure, controls, view, text, here, brief, teaching, answered=answered)
    assert figure.on_own is not None
    view = figure.on_own(controls, read_own(own))
    return Shown(lesson, figure, controls, view, text, here, brief, teaching, tuple(own.items()))


def _answered(lesson: Lesson, name: str, state: FigureControls, guess: str) -> Asked | None:
    """The question of a figure with its guess, where they are true of this state of it."""
    question = lesson.questions.get(name)
    if not guess or question is None or not question.holds(state):
        return None
    return reveal(lesson, name, question.marked(guess))


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, before its guess or after it, ready for the templates.

    `reveal` is None before the commit: there is nothing of the answer that a page could show by mistake.
    """

    lesson: Lesson
    question: Question
    controls: FigureControls
    root_path: str
    reveal: Reveal | None
    route: str = ""

    @property
    def name(self) -> str:
        return self.question.figure

    @property
    def id(self) -> str:
        return f"ask-{self.name}"

    @property
    def figure(self) -> Figure[Any]:
        return self.lesson.figures[self.name]

    @property
    def text(self) -> FigureText:
        return self.lesson.question_texts[self.name]

    @property
    def sentence(self) -> str:
        return self.text.sentence(Sentence("ask", **self.question.given()))

    @property
    def page_url(self) -> str:
        return f"{self.root_path}{self.lesson.url}/questions/{self.name}"

    @property
    def fragment_url(self) -> str:
        return f"{self.root_path}/fragments/{version()}/{self.lesson.slug}/questions/{self.name}"

    @property
    def guess(self) -> str:
        """The guess as the reader knows it: a choice by its label."""
        if self.reveal is None or self.reveal.guess is None:
            return ""
        if is_slider(self.question.widget):
            return self.reveal.guess
        return self.text.option(ANSWER, self.reveal.guess, self.question.widget)

    @property
    def marked(self) -> str:
        """The commit as an address of the figure names it; "" before there is one."""
        if self.reveal is None:
            return ""
        return SKIP if self.reveal.guess is None else plain(getattr(self.controls, ANSWER))

    @property
    def mark_sentence(self) -> str:
        """What is marked on the figure, in words."""
        assert self.reveal is not None
        key = "marked" if self.reveal.guess else "marked_truth"
        return self.lesson.words.word(key, guess=self.guess, truth=self.reveal.truth)

    @property
    def seen_url(self) -> str:
        """The lesson, with the figure in the state that shows what is so, and the guess on it."""
        assert self.reveal is not None
        query = state_query([(self.name, [*self.reveal.controls.query(), (GUESS, self.marked)])])
        query = "&".join(filter(None, (f"route={self.route}" if self.route else "", query)))
        return f"{self.root_path}{self.lesson.url}{'?' if query else ''}{query}#{self.figure.id}"


def ask(lesson: Lesson, name: str, root_path: str = "", route: str = "") -> Asked:
    """A question before its commit. Nothing of its answer is computed."""
    question = lesson.questions[name]
    return Asked(lesson, question, question.answer(), root_path + spoken().prefix, None, route)


def reveal(lesson: Lesson, name: str, guess: Guess | None, root_path: str = "", route: str = "") -> Asked:
    """A question after its commit; without a guess when it was skipped."""
    question = lesson.questions[name]
    controls = question.answer.model_validate({} if guess is None else {ANSWER: guess})
    return Asked(lesson, question, controls, root_path + spoken().prefix, question.reveal(guess), route)


@dataclass(frozen=True, slots=True)
class Practised:
    """A task of a section: the worked example, and the exercise with what was given for it, checked."""

    lesson: Lesson
    task: Task
    root_path: str
    attempt: Attempt
    exercise: Exercise
    example: Exercise
    steps: tuple[Checked, ...]

    @property
    def text(self) -> FigureText:
        return self.lesson.task_texts[self.task.section]

    @property
    def section(self) -> Section:
        return self.lesson.section(self.task.section)

    @property
    def page_url(self) -> str:
        return f"{self.root_path}{self.lesson.url}/tasks/{self.task.section}"

    def url(self, **change: Any) -> str:
        """The address of the same task with something else, nothing given."""
        return f"{self.page_url}?{urlencode(self.attempt.another(**change).query())}"

    @property
    def solved_url(self) -> str:
        return f"{self.page_url}?{urlencode([*self.attempt.query(), ('solve', '1')])}#exercise"

    @property
    def next_seed(self) -> int:
        return self.attempt.seed % LAST_SEED + 1

    @property
    def right(self) -> int:
        return sum(checked.outcome == "right" and not checked.shown for checked in self.steps)

    @property
    def unread(self) -> list[Checked]:
        """What was given and cannot be read."""
        return [checked for checked in self.steps if checked.outcome == "unread"]

    @property
    def blanks(self) -> int:
        return sum(not checked.shown for checked in self.steps)

    def given(self, exercise: Exercise) -> str:
        return " ".join(self.text.sentence(sentence) for sentence in exercise.given)

    def how(self, step: Step) -> str:
        return self.text.sentence(step.way)

    def value(self, step: Step, value: str) -> str:
        """A value as the reader knows it: an option by its label."""
        return self.text.option(step.name, value, Choice(step.options)) if step.options else value

    def reason(self, checked: Checked) -> str:
        """Why an answer is probably wrong: in the task's own words, else in those that fit any number."""
        if checked.problem:
            return checked.problem
        if checked.reason.startswith("slip_"):
            return self.text.sentence(Sentence(checked.reason, **checked.said))
        return self.lesson.words.word(checked.reason, **checked.said)


def example(lesson: Lesson, section: str, root_path: str = "") -> Practised:
    """A task before any attempt, for its worked example."""
    return practise(lesson, section, *read_attempt(lesson.tasks[section], ()), root_path)


def practise(
    lesson: Lesson, section: str, attempt: Attempt, exercise: Exercise, root_path: str = ""
) -> Practised:
    """A task with an attempt at it."""
    task = lesson.tasks[section]
    example = task.make(EXAMPLE_SEED)
    return Practised(
        lesson, task, root_path + spoken().prefix, attempt, exercise, example, check(attempt, exercise)
    )


class _Environment(Environment):
    """Drawings are dicts: what a template reads of them is a key, and not an attribute first that is none."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is dict and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


@functools.cache
def environment() -> Environment:
    """The Jinja environment; strict, so that a misspelt name fails instead of printing nothing."""
    env = _Environment(
        loader=FileSystemLoader([ROOT / "templates", ROOT / "lessons"]),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    install = "install_gettext_callables"  # of the extension, which has no type
    getattr(env, install)(gettext, ngettext, newstyle=True)
    env.policies["ext.i18n.trimmed"] = True
    env.globals.update(
        version=version(),
        spoken=spoken,
        languages=languages,
        language=language,
        modules=[path for path in static_files() if path.startswith(PRELOADED)],
        plain=plain,
        is_slider=is_slider,
        is_choice=_is_choice,
        is_text=_is_text,
        block_types={str(number): [name, *SIZES[name]] for number, name in TYPE_NAMES.items() if reads(name)},
        source_named=source_named,
        longest_typed=LONGEST,
    )
    env.filters.update(
        with_fixed=with_fixed,
        python=lambda code: Markup(highlight(code)),
        mathml=lambda latex: Markup(mathml(latex)),
        source=source_of,
        dotted_name=dotted_name,
        safe_html=Markup,
        table_rows=table_rows,
        **{
            name: getattr(numbers, name)
            for name in (
                "ordinal",
                "integer",
                "fixed",
                "significant",
                "percent",
                "times",
                "signed",
                "as_printed",
            )
        },
    )
    return env


def table_rows(table: Table) -> Markup:
    """The rows of a data table, its first column as their headings.

    Most of a view's elements are its cells: joined here they take a fifth of the time that a loop in the
    template takes. The next state has most of its rows in common with this one, so each is printed once.
    """
    tag = spoken().tag
    marked = table.marked
    return Markup(
        "".join(_table_row(tag, table.columns, row, i in marked) for i, row in enumerate(table.rows))
    )


@functools.lru_cache(maxsize=8192)
def _table_row(_language: str, columns: tuple[Column, ...], row: tuple[Any, ...], marked: bool) -> str:
    line = '<tr class="marked">' if marked else "<tr>"
    tag, attributes = "th", ' scope="row"'
    for column, value in zip(columns, row, strict=True):
        numeric = ' class="numeric"' if column.numeric else ""
        line += f"<{tag}{attributes}{numeric}>{escape(column.text(value), quote=False)}</{tag}>"
        tag, attributes = "td", ""
    return line + "</tr>\n"


def render(template: str, root_path: str = "", **context: Any) -> bytes:
    """Render a template to UTF-8, in the present language.

    `root_path` is where the server's addresses begin, `site_root` for templates; those of static files begin
    with `static_path`, and the pages of this language with what templates call `root_path`.
    """
    context |= {
        "site_root": root_path,
        "static_path": f"{root_path}/static/{version()}",
        "root_path": root_path + spoken().prefix,
    }
    return environment().get_template(template).render(**context).encode()


def problems_for_people(error: ControlError | AttemptError, text: FigureText) -> list[dict[str, Any]]:
    """Each problem with the label that the reader sees beside the control."""
    return [
        {
            "control": problem.control,
            "label": _label(text, problem.control),
            "given": problem.given,
            "allowed": problem.allowed,
            "suggestion": problem.suggestion or "",
            "known": problem.known,
        }
        for problem in error.problems
    ]


def state_query(states: Iterable[tuple[str, list[tuple[str, str]]]]) -> str:
    """The query of a lesson page: the parameters of several figures, each with its figure's name."""
    return urlencode([(f"{name}.{key}", value) for name, query in states for key, value in query])


def with_fixed(drawing: str, names: tuple[str, ...]) -> Markup:
    """A drawing in which the cells of some controls cannot be chosen: a teacher has fixed them."""
    for name in names:
        drawing = re.sub(
            rf'<input type="radio"(?=[^>]* name="{name}")', '<input type="radio" disabled', drawing
        )
    return Markup(drawing)


def _label(text: FigureText, control: str) -> str:
    try:
        return text.control(control)
    except KeyError:
        return control


def is_slider(widget: object) -> bool:
    return isinstance(widget, Slider)


def _is_choice(widget: object) -> bool:
    return isinstance(widget, Choice)


def _is_text(widget: object) -> bool:
    return isinstance(widget, Text)
