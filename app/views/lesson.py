"""The pages of a lesson that show more than one figure, and those that show none."""

from __future__ import annotations

from collections.abc import Mapping

from app.addresses import address, of_figures
from app.cache.response import QUICK, CachedResponse
from app.views.environment import html
from app.views.figure import FigureContext, figure_context
from app.views.question import ask, reveal
from lessons.catalogue import Lesson, lesson_slugs, load_lesson
from lessons.kit.arrangement import FigureQuery, hideable
from lessons.kit.prose import PIECES
from lessons.kit.question import Guess

FigureQueries = Mapping[str, FigureQuery]
"""Figure → what the address of a lesson says about it, for all figures of the lesson."""


def defaults_of(lesson: Lesson) -> FigureQueries:
    """All figures with the controls that they begin with."""
    return {name: FigureQuery(figure.controls()) for name, figure in lesson.figures.items()}


def lesson_address(lesson: Lesson, queries: FigureQueries, page: str = "lesson") -> str:
    """The canonical address of a page that shows all figures of a lesson."""
    figures = of_figures((name, query.pairs()) for name, query in queries.items())
    return address(page, lesson.slug, query=figures)


def lesson_page(lesson: Lesson, queries: FigureQueries, quality: int = QUICK) -> CachedResponse:
    """The whole lesson."""
    return html(
        "lesson.jinja",
        quality=quality,
        lesson=lesson,
        figures={name: figure_context(lesson, name, query, brief=True) for name, query in queries.items()},
        questions={name: ask(lesson, name) for name in lesson.questions},
    )


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


def receipts_page(lesson: Lesson) -> CachedResponse:
    """Predicted beside logged, for every published case of the memory formulas."""
    assert lesson.receipts is not None
    receipts, not_covered = lesson.receipts.receipts(), lesson.receipts.not_covered()
    return html("receipts.jinja", lesson=lesson, receipts=receipts, not_covered=not_covered)


def teach_page(lesson: Lesson, name: str, query: FigureQuery, place: str) -> CachedResponse:
    """The page on which a teacher makes a link, for a figure with these controls and this arrangement."""
    f = figure_context(lesson, name, query)
    return html(
        "teach.jinja",
        lesson=lesson,
        f=f,
        place=place,
        links=teaching_links(f),
        hideable=hideable(type(query.controls)),
    )


def places(lesson: Lesson, name: str) -> list[str]:
    """Where a teacher's link of a figure can lead."""
    section = lesson.section_of(name).slug
    return (
        ["page", "embed", "lesson"]
        + ["question"] * (name in lesson.questions)
        + ["task"] * bool(lesson.tasks_of(section))
    )


def teaching_links(f: FigureContext) -> dict[str, str]:
    """For each of those places its address."""
    slug, name, pairs = f.lesson.slug, f.figure.name, f.query.pairs()
    links = {
        "page": address("figure", slug, name, query=pairs),
        "embed": address("figure", slug, name, query=[("embed", "1"), *pairs]),
        "lesson": address("lesson", slug, query=of_figures([(name, pairs)]), anchor=f.id),
        "question": address("question", slug, name),
        "task": address("task", slug, task_of(f.lesson, name)),
    }
    return {place: links[place] for place in places(f.lesson, name)}


def task_of(lesson: Lesson, figure: str) -> str:
    """The first task of a figure's section; "" where it has none."""
    return next((task.name for task in lesson.tasks_of(lesson.section_of(figure).slug)), "")


def arrangement_of(parameters: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The parameters of a figure that the form of the teacher's page sets: `set.bits=5&show.block=lock`."""
    controls = [(key.removeprefix("set."), value) for key, value in parameters if key.startswith("set.")]
    shown = [(key.removeprefix("show."), how) for key, how in parameters if key.startswith("show.")]
    hows = dict.fromkeys(how for _, how in shown if how != "open")
    fixed = [(how, ",".join(name for name, own in shown if own == how)) for how in hows]
    return [*controls, *fixed, *(pair for pair in parameters if pair[0] in ("explain", "open") and pair[1])]
