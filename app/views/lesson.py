"""The pages of a lesson."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.addresses import address, of_figures
from app.cache.response import QUICK, CachedResponse
from app.views.environment import html
from app.views.figure import FigureContext, figure_context
from app.views.question import ask, reveal
from lessons.catalogue import Lesson, lesson_slugs, load_lesson
from lessons.kit.arrangement import FigureQuery, Pairs
from lessons.kit.prose import PIECES, Section
from lessons.kit.question import Guess

FigureQueries = Mapping[str, FigureQuery]
"""Figure → what the address of a lesson says about it, for all figures of the lesson."""


@dataclass(frozen=True, slots=True)
class Teaser:
    """A workshop page as other pages show it: link, still, and link back."""

    lesson: Lesson
    page: Section
    queries: FigureQueries

    @property
    def id(self) -> str:
        """The id in the section that leads there: that of the page's first figure, which stood there once."""
        figures = self.page.figures
        return self.lesson.figures[figures[0]].id if figures else f"workshop-{self.page.slug}"

    @property
    def ids(self) -> list[str]:
        """Further places of the section that are found on the page: other figures, and questions."""
        asked = [f"ask-{name}" for name in self.page.figures if name in self.lesson.questions]
        return [self.lesson.figures[name].id for name in self.page.figures[1:]] + asked

    @property
    def number(self) -> str:
        """The labels of its figures."""
        return ", ".join(self.lesson.figures[name].label for name in self.page.figures)

    @property
    def minutes(self) -> int:
        return self.lesson.minutes_of(self.page)

    @property
    def still(self) -> Any:
        """What its still draws."""
        return self.lesson.stills[self.page.slug].compute()

    @property
    def template(self) -> str:
        return self.lesson.stills[self.page.slug].template

    @property
    def section(self) -> Section:
        return self.lesson.section(self.page.front["section"])

    def address(self) -> str:
        """The page, its figures in the state that the address of the lesson names."""
        figures = self._states(here=True)
        return address("workshop page", self.lesson.slug, self.page.slug, query=figures)

    def back_address(self) -> str:
        """The place in the lesson, its figures in the state that the address of the page names."""
        return address("lesson", self.lesson.slug, query=self._states(here=False), anchor=self.id)

    def _states(self, *, here: bool) -> Pairs:
        return of_figures(
            (name, query.pairs())
            for name, query in self.queries.items()
            if (name in self.page.figures) is here
        )


def defaults_of(lesson: Lesson) -> FigureQueries:
    """All figures with the controls that they begin with."""
    return {name: FigureQuery(figure.controls()) for name, figure in lesson.figures.items()}


def lesson_address(lesson: Lesson, queries: FigureQueries, page: tuple[str, ...] = ()) -> str:
    """The canonical address of the lesson's page, or of another `page`, with the state of all figures."""
    figures = of_figures((name, query.pairs()) for name, query in queries.items())
    return address(*(page or ("lesson", lesson.slug)), query=figures)


def lesson_page(lesson: Lesson, queries: FigureQueries, quality: int = QUICK) -> CachedResponse:
    """The whole lesson."""
    return html(
        "lesson.jinja",
        quality=quality,
        lesson=lesson,
        figures=_figures_of(lesson, queries, *lesson.sections),
        questions={name: ask(lesson, name) for name in lesson.questions},
        teasers={
            name: Teaser(lesson, page, queries)
            for name, page in zip(lesson.about.workshop, lesson.workshop, strict=True)
        },
        tabs=[
            {
                "slug": section.slug,
                "number": section.number or "00",
                "short": section.short,
                "minutes": lesson.minutes_of(section),
            }
            for section in lesson.sections
            if section.number or section is lesson.sections[0]
        ],
    )


def workshop_index(lesson: Lesson) -> CachedResponse:
    """All pages of the workshop."""
    queries = defaults_of(lesson)
    return html(
        "workshop.jinja", lesson=lesson, teasers=[Teaser(lesson, page, queries) for page in lesson.workshop]
    )


def workshop_page(lesson: Lesson, page: Section, queries: FigureQueries) -> CachedResponse:
    """A page of the workshop with its figures, and the way back to the teaser that leads here."""
    return html(
        "workshop_page.jinja",
        lesson=lesson,
        page=page,
        figures=_figures_of(lesson, queries, page),
        questions={name: ask(lesson, name) for name in lesson.questions if name in page.figures},
        teaser=Teaser(lesson, page, queries),
    )


def _figures_of(lesson: Lesson, queries: FigureQueries, *pages: Section) -> dict[str, FigureContext]:
    return {
        name: figure_context(lesson, name, queries[name], brief=True)
        for page in pages
        for name in page.figures
    }


def course_page() -> CachedResponse:
    """The course path, and the way into the lessons."""
    return html("course.jinja", lessons={slug: load_lesson(slug) for slug in lesson_slugs()})


def question_page(
    lesson: Lesson, name: str, committed: bool, guess: Guess | None, *, whole_page: bool
) -> CachedResponse:
    """A question before its guess, or the answer beside the guess; with its figure, or alone."""
    q = reveal(lesson, name, guess) if committed else ask(lesson, name)
    if not whole_page:
        return html("ask/fragment.jinja", lesson=lesson, q=q)
    controls = q.reveal.controls if q.reveal else lesson.figures[name].controls()
    f = figure_context(lesson, name, FigureQuery(controls, guess=q.marked))
    return html("question.jinja", lesson=lesson, q=q, f=f)


def questions_page(lesson: Lesson, *, whole_page: bool) -> CachedResponse:
    """All questions and tasks of a lesson, or the questions alone; the browser adds what it remembers."""
    template = "recall.jinja" if whole_page else "ask/recalled.jinja"
    return html(template, lesson=lesson, questions=[ask(lesson, name) for name in lesson.questions])


def summary_page(lesson: Lesson) -> CachedResponse:
    """The lesson on one page, to print."""
    assert lesson.summary is not None
    pieces = {
        part.content: figure_context(
            lesson, part.name, FigureQuery(lesson.figures[part.name].controls.parse(part.state))
        )
        for part in lesson.summary.parts
        if part.kind in PIECES
    }
    return html("summary.jinja", lesson=lesson, pieces=pieces)


def prose_page(name: Literal["faq", "courses"], lesson: Lesson) -> CachedResponse:
    """A page of prose alone: the questions that people ask, or the units of other courses."""
    return html("prose_page.jinja", lesson=lesson, name=name, page=getattr(lesson, name))


def receipts_page(lesson: Lesson) -> CachedResponse:
    """Predicted and logged memory, for every published case of the memory formulas."""
    assert lesson.receipts is not None
    receipts, not_covered = lesson.receipts.receipts(), lesson.receipts.not_covered()
    return html("receipts.jinja", lesson=lesson, receipts=receipts, not_covered=not_covered)
