"""The pages for teachers: the guide with its plans and answers, and the page that makes links."""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.addresses import address, place_of, prefix, static_path
from app.cache.response import CachedResponse
from app.views.environment import html
from app.views.figure import FigureContext, figure_context
from app.views.qr import svg_path
from app.views.question import ask
from lessons.catalogue import Lesson, lesson_slugs, teaching_pages
from lessons.kit.arrangement import FigureQuery, Pairs, hideable
from lessons.kit.prose import Section
from lessons.kit.task import STAGES, Task

GUIDE, ANSWERS = "guide", "answers"

MOST_SEEDS = 100
"""Exercises for which links are made at once."""

MOST_IN_QR = 1200
"""Characters of a link up to which a phone still reads its QR code from a sheet of paper."""

OF_SITE = re.compile(r'(<a href=")/(?!/)')
"""A link of Markdown to a page of this site."""

PICTURE = re.compile(r'<img src="/static/')
"""A picture of Markdown among the static files of this site."""


@dataclass(frozen=True, slots=True)
class TaskLinks:
    """Which task a teacher's link opens, and with which exercises; no seeds for the first one."""

    task: str
    seeds: range | None = None
    stage: str = STAGES[-1]

    def pairs(self) -> Pairs:
        """Its parameters in the form."""
        seeds = [] if self.seeds is None else [("seed", str(self.seeds[0])), ("to", str(self.seeds[-1]))]
        return [("task", self.task), *seeds, *self._stage()]

    def links(self, lesson: Lesson) -> list[tuple[str, str]]:
        """For each exercise its number and its address."""
        if self.seeds is None:
            return [("", address("task", lesson.slug, self.task, query=self._stage()))]
        return [
            (str(seed), address("task", lesson.slug, self.task, query=[("seed", str(seed)), *self._stage()]))
            for seed in self.seeds
        ]

    def _stage(self) -> Pairs:
        return [("stage", self.stage)] if self.stage != STAGES[-1] else []


def teach_page(
    lesson: Lesson, name: str, query: FigureQuery, place: str, task: TaskLinks | None
) -> CachedResponse:
    """The page on which a teacher makes a link, for a figure with these controls and this arrangement."""
    f = figure_context(lesson, name, query)
    made = task.links(lesson) if task and place == "task" else [("", teaching_links(f)[place])]
    return html(
        "teach.jinja",
        lesson=lesson,
        f=f,
        place=place,
        places=places(lesson, name),
        links=made,
        embed_address=teaching_links(f)["embed"],
        in_qr=MOST_IN_QR,
        hideable=hideable(type(query.controls)),
        task=task,
        tasks=tasks_of(lesson, name),
        most_seeds=MOST_SEEDS,
        question=ask(lesson, name) if place == "question" else None,
    )


def places(lesson: Lesson, name: str) -> list[str]:
    """Where a teacher's link of a figure can lead."""
    return (
        ["page", "embed", "present", "lesson"]
        + ["question"] * (name in lesson.questions)
        + ["task"] * bool(tasks_of(lesson, name))
    )


def teaching_links(f: FigureContext) -> dict[str, str]:
    """For each of those places but a task its address."""
    slug, name, pairs = f.lesson.slug, f.figure.name, f.query.pairs()
    return {
        "page": address("figure", slug, name, query=pairs),
        "embed": address("figure", slug, name, query=[("embed", "1"), *pairs]),
        "present": address("figure", slug, name, query=[("present", "1"), *pairs]),
        "lesson": place_of(f.lesson, name, pairs),
        "question": address("question", slug, name),
    }


def tasks_of(lesson: Lesson, figure: str) -> list[Task]:
    """The tasks of a figure's section, and of its page of the workshop if it stands there."""
    section, page = lesson.section_of(figure), lesson.page_of(figure)
    return lesson.tasks_of(section.slug) + (lesson.tasks_of(page.slug) if page is not section else [])


def arrangement_of(parameters: Pairs) -> Pairs:
    """The parameters of a figure that the form of the teacher's page sets: `set.bits=5&show.block=lock`."""
    controls = [(key.removeprefix("set."), value) for key, value in parameters if key.startswith("set.")]
    shown = [(key.removeprefix("show."), how) for key, how in parameters if key.startswith("show.")]
    hows = dict.fromkeys(how for _, how in shown if how != "open")
    fixed = [(how, ",".join(name for name, own in shown if own == how)) for how in hows]
    return [*controls, *fixed, *(pair for pair in parameters if pair[0] in ("explain", "open") and pair[1])]


# --- the guide ---------------------------------------------------------------------------------------------


def teaching_address(slug: str) -> str:
    """Where a page for teachers is."""
    return address("teaching") if slug == GUIDE else address("teaching page", slug)


def teaching_page(page: Section, *, answers_at: str = "", shown: bool = True) -> CachedResponse:
    """The guide or another page for teachers; `answers_at` is where its reader gets to the answers.

    Of a page that is not `shown` there is only how to get it.
    """
    pages = teaching_pages()
    places = {slug: teaching_address(slug) for slug in ORDER} | ({ANSWERS: answers_at} if answers_at else {})
    links = [(slug, pages[slug].short, place) for slug, place in places.items()]
    parts = [of_site(part.content, answers_at) for part in page.parts] if shown else []
    return html("teaching.jinja", page=page, links=links, parts=parts, shown=shown, slug=lesson_slugs()[0])


ORDER = (GUIDE, "plans", ANSWERS)
"""Of the pages for teachers."""


def of_site(content: str, answers_at: str = "") -> str:
    """Prose whose links to pages and pictures of this site are those of this host and language."""
    found = OF_SITE.sub(rf"\1{prefix()}/", content)
    found = PICTURE.sub(f'<img loading="lazy" src="{static_path()}/', found)
    return found.replace(f'"{teaching_address(ANSWERS)}"', f'"{answers_at}"') if answers_at else found


def qr_image(link: str) -> bytes:
    """A QR code as a picture: dark on light, since phones read no other.

    Raises
    ------
    ValueError
        When the link is too long.
    """
    size, path = svg_path(link)
    pixels = 8 * size
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" width="{pixels}" '
        f'height="{pixels}" shape-rendering="crispEdges"><rect width="{size}" height="{size}" fill="#fff"/>'
        f'<path d="{path}"/></svg>\n'
    ).encode()
