"""One figure in a state, as the templates of page, fragment, embed and files get it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.addresses import address, of_figures
from app.cache.response import CachedResponse
from app.site import current_site
from app.views.environment import html
from app.views.question import QuestionContext, reveal
from lessons.catalogue import Lesson
from lessons.kit.arrangement import Arrangement, FigureQuery, Pairs, hideable
from lessons.kit.chart import Chart
from lessons.kit.controls import Choice, FigureControls, as_parameter
from lessons.kit.figure import Figure
from lessons.kit.own import read_own
from lessons.kit.question import CHART, Mark, PlacedMark, on_chart, placed
from lessons.kit.text import FigureText
from lessons.kit.view import Readout, View

IN_FRONT = 3
"""Controls, and read-outs, that a figure shows beside its drawing; the others are in its details."""


@dataclass(frozen=True, slots=True)
class Limited:
    """The options of a control that are disabled (None: all of it), why, and where that is said.

    `says`: whether the reason stands beside this control. Others of the same reason refer to it by `id`.
    """

    reason: str
    options: tuple[str, ...] | None
    id: str
    says: bool
    lasting: bool = False  # for as long as this host is as it is


@dataclass(frozen=True, slots=True)
class FigureContext:
    """A figure ready for the templates: its view, its words and its addresses.

    `brief`: on the lesson page, which leaves out what is only needed near a figure or when it is unfolded.
    `own`: the fields in which a reader has sent weights; a form without scripts sends them along.
    `answered`: the question of this figure with the reader's guess, if it holds for these controls.
    """

    lesson: Lesson
    figure: Figure[Any]
    query: FigureQuery
    view: View
    brief: bool = False
    own: tuple[tuple[str, str], ...] = ()
    answered: QuestionContext | None = None

    @property
    def controls(self) -> FigureControls:
        return self.query.controls

    @property
    def arrangement(self) -> Arrangement:
        return self.query.arrangement

    @property
    def text(self) -> FigureText:
        return self.lesson.texts[self.figure.name]

    @property
    def id(self) -> str:
        return self.figure.id

    def address(self, page: str = "figure", *more: tuple[str, str], anchor: str = "") -> str:
        """The address of something that belongs to the figure, with these controls."""
        query = [*self.controls.query(), *more]
        return address(page, self.lesson.slug, self.figure.name, query=query, anchor=anchor)

    @property
    def embed_address(self) -> str:
        query = [("embed", "1"), *self.controls.query()]
        return address("figure", self.lesson.slug, self.figure.name, query=query)

    @property
    def notebook_address(self) -> str:
        """The lesson's computations as a notebook, this figure with these controls."""
        query = of_figures([(self.figure.name, self.controls.query())])
        return address("notebook", self.lesson.slug, query=query)

    @property
    def teach_address(self) -> str:
        """Where a teacher makes a link of this figure, beginning with these controls."""
        controls = [(f"set.{name}", value) for name, value in self.controls.query()]
        return address("teach", self.lesson.slug, query=[("figure", self.figure.name), *controls])

    @property
    def sources_address(self) -> str:
        return address("sources", self.lesson.slug)

    @property
    def limits(self) -> dict[str, Limited]:
        """What its controls cannot do now and on this host."""
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
    def limits_json(self) -> str:
        """The limits of this state, for static/js/figure/limits.js; "" for none."""
        limits = {
            name: {"reason": limit.reason, "options": limit.options, "id": limit.id, "says": limit.says}
            for name, limit in self.limits.items()
            if not limit.lasting
        }
        return json.dumps(limits, ensure_ascii=False) if limits else ""

    @property
    def announced(self) -> str:
        """What a screen reader says after a change: a refused text, then the finding."""
        said = [limit.reason for limit in self.limits.values() if limit.options == ()]
        return " ".join([*said, self.description[0]])

    @property
    def unused(self) -> Pairs:
        """What its form sends for disabled controls, so that they keep their values."""
        return [
            (name, as_parameter(getattr(self.controls, name)))
            for name, limit in self.view.limits.items()
            if limit.options is None and name not in self.arrangement.fixed
        ]

    @property
    def hidden_fields(self) -> Pairs:
        """What its form sends with every change: arrangement, guess, and the controls that are fixed."""
        fixed = [(name, as_parameter(getattr(self.controls, name))) for name in self.arrangement.fixed]
        return [*fixed, *self.query.beside(), *self.own]

    @property
    def _shown_controls(self) -> list[str]:
        """The controls of its form in order: neither cells of the drawing nor hidden ones."""
        return [name for name in hideable(type(self.controls)) if name not in self.arrangement.hide]

    @property
    def front(self) -> list[str]:
        """The controls that stand beside the drawing: the first three, and those that are fixed."""
        shown = self._shown_controls
        return [name for i, name in enumerate(shown) if i < IN_FRONT or name in self.arrangement.lock]

    @property
    def folded(self) -> list[str]:
        """The controls in the details, with the hidden ones, which are not shown."""
        front = self.front
        return [name for name in hideable(type(self.controls)) if name not in front]

    @property
    def front_readouts(self) -> tuple[Readout, ...]:
        return self.view.readouts[:IN_FRONT]

    @property
    def folded_readouts(self) -> tuple[Readout, ...]:
        return self.view.readouts[IN_FRONT:]

    @property
    def details_open(self) -> bool:
        """Whether the details are open from the start.

        They are on a page of the workshop, where one of their controls is in use, and where a link says so.
        """
        if self.arrangement.details or (self.brief and self.lesson.in_workshop(self.figure.name)):
            return True
        defaults = type(self.controls).model_fields
        return any(
            getattr(self.controls, name) != defaults[name].default
            for name in self.folded
            if name not in self.arrangement.hide
        )

    @property
    def python(self) -> str:
        """Python that reproduces the read-outs."""
        return self.lesson.python(self.figure.name, self.controls)

    @property
    def defaults(self) -> str:
        """The default of every control, as JSON, so that the browser can keep the URL short."""
        fields = type(self.controls).model_fields
        return json.dumps({name: as_parameter(field.default) for name, field in fields.items()})

    @property
    def description(self) -> list[str]:
        return [self.text.sentence(sentence) for sentence in self.view.description]

    @property
    def finding(self) -> str:
        """The first sentence of the description as HTML: numbers of quantized things are set off."""
        accents = {readout.name for readout in self.view.readouts if readout.accent}
        return self.text.finding(self.view.description[0], accents)

    @property
    def source(self) -> str:
        """Where the drawn numbers come from; "" where the view does not say."""
        return self.text.sentence(self.view.source) if self.view.source else ""

    @property
    def linked_description(self) -> list[str]:
        """The sentences of the description as HTML, their claims leading to their sources."""
        return [self.text.linked(sentence, self.sources_address) for sentence in self.view.description]

    def marks(self, plot: str) -> list[PlacedMark]:
        """Guess and truth, where they stand on a plot of the drawing."""
        return [placed(mark, self.view.plots[plot], self._mark_label(mark)) for mark in self._marks(plot)]

    @property
    def chart(self) -> Chart | None:
        """The figure's data chart, with guess and truth on it."""
        marks = self._marks(CHART)
        return on_chart(self.view.chart, marks, map(self._mark_label, marks)) if self.view.chart else None

    @property
    def chart_json(self) -> str:
        return json.dumps(self.chart.plotly(self.text.words)) if self.chart else ""

    def _marks(self, plot: str) -> list[Mark]:
        found = self.answered.reveal if self.answered else None
        return [mark for mark in found.marks if mark.plot == plot] if found else []

    def _mark_label(self, mark: Mark) -> str:
        words = self.lesson.words.words
        return f"{words['you' if mark.role == 'guess' else 'so']} {mark.text}"


def figure_context(lesson: Lesson, name: str, query: FigureQuery, *, brief: bool = False) -> FigureContext:
    """A figure with the view of its controls."""
    figure = lesson.figures[name]
    waits = figure.waits_for(query.controls) is not None
    found = current_site().find_result(lesson, figure, query.controls) if waits else None
    view = figure.view_with(query.controls, found)
    return FigureContext(lesson, figure, query, view, brief, answered=_answered(lesson, name, query))


def figure_on_own(lesson: Lesson, name: str, query: FigureQuery, own: Mapping[str, str]) -> FigureContext:
    """A figure with the view of its controls on a reader's own weights.

    Raises
    ------
    OwnError
        The weights cannot be used.
    """
    figure = lesson.figures[name]
    assert figure.on_own is not None
    view = figure.on_own(query.controls, read_own(own))
    return FigureContext(lesson, figure, query, view, own=tuple(own.items()))


def figure_view(f: FigureContext) -> CachedResponse:
    """A figure's view alone, which htmx swaps in."""
    return html("kit/view.jinja", f=f)


def _answered(lesson: Lesson, name: str, query: FigureQuery) -> QuestionContext | None:
    """The question of a figure with its guess, if it holds for these controls."""
    question = lesson.questions.get(name)
    if not query.guess or question is None or not question.holds(query.controls):
        return None
    return reveal(lesson, name, question.marked(query.guess))
