"""The catalogue: the course path and every lesson with its sections, figures, texts and claims.

A lesson is a folder beside this file. Adding one is adding the folder and naming it in `course.toml`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar

from lessons.kit import duration
from lessons.kit.checked import Whole, checked
from lessons.kit.claims import Claim
from lessons.kit.controls import FigureControls
from lessons.kit.figure import Figure
from lessons.kit.job import Job
from lessons.kit.language import PSEUDO, SOURCE, current_language, use_language
from lessons.kit.program import program
from lessons.kit.prose import PIECES, Section, read_claims, read_section, read_translated
from lessons.kit.question import Question
from lessons.kit.task import Task
from lessons.kit.text import FigureText

ROOT = Path(__file__).parent


class About(Whole):
    """The content of `lesson.toml`.

    `sections`, `summary`, `faq` and `courses` are files of its prose. `workshop` are folders: pages that go
    deeper than the sections. `class_order` is the running order with which a class begins, each line a kind
    and a name.
    `hidden`: it has addresses, and nothing lists it.
    """

    title: str
    course: str
    path: str
    number: str
    slug: str
    language: str
    description: str
    sections: tuple[str, ...]
    workshop: tuple[str, ...] = ()
    class_order: tuple[str, ...] = ()
    summary: str = ""
    faq: str = ""
    courses: str = ""
    hidden: bool = False


class CourseLesson(Whole):
    """A lesson on the course path, whether it is here or not."""

    number: str
    slug: str
    title: str
    state: Literal["done", "soon", "here", "next"]
    description: str


class Course(Whole):
    """The content of `course.toml`."""

    name: str
    course: str
    path: str
    description: str
    lessons: tuple[CourseLesson, ...]


Numbered = TypeVar("Numbered", About, CourseLesson)


@dataclass(frozen=True, slots=True)
class Use:
    """A page of a lesson on which a claim is printed: its kind, the names in its path, and its title."""

    page: str
    names: tuple[str, ...] = ()
    anchor: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Still:
    """The small picture of a workshop page: the result of `compute`, drawn by a template."""

    compute: Callable[[], Any]
    template: str


@dataclass(frozen=True, slots=True)
class Lesson:
    """A lesson in one language: prose, figures, words and claims.

    `sections` make its page. `workshop` are the pages beside it, each with a still; a page's front matter
    names the `section` that leads to it. `figures` are those of both.

    `summary` is its one page to print, `faq` the page of questions that people ask, `courses` what units
    of other courses it shows. `receipts` is the
    lesson's module of that name, with `receipts()` and `not_covered()`: predictions beside what was
    published. Each is None in a lesson without it. `questions` are asked before the figures of the same
    names; `words` are those around them. `tasks` and their texts go by their own names.
    `jobs` are its computations that take minutes.
    """

    slug: str
    language: str
    about: About
    sections: tuple[Section, ...]
    figures: dict[str, Figure[Any]]
    texts: dict[str, FigureText]
    claims: dict[str, Claim]
    workshop: tuple[Section, ...] = ()
    stills: dict[str, Still] = field(default_factory=dict)
    summary: Section | None = None
    faq: Section | None = None
    courses: Section | None = None
    receipts: ModuleType | None = None
    questions: dict[str, Question] = field(default_factory=dict)
    question_texts: dict[str, FigureText] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    task_texts: dict[str, FigureText] = field(default_factory=dict)
    words: FigureText = field(default_factory=lambda: FigureText({}, "ask.toml"))
    jobs: dict[str, Job] = field(default_factory=dict)
    job_texts: dict[str, FigureText] = field(default_factory=dict)

    @property
    def items(self) -> dict[str, Collection[str]]:
        """What a class can have in its running order: names by kind."""
        return {"question": self.questions, "figure": self.figures, "task": self.tasks}

    @property
    def minutes(self) -> tuple[int, int]:
        """Minutes to read the sections, and to answer their questions and solve the tasks as well."""
        reading = sum(map(self.seconds, self.sections))
        questions = sum(not self.in_workshop(name) for name in self.questions)
        tasks = sum(len(self.tasks_of(section.slug)) for section in self.sections)
        return duration.minutes(reading), duration.minutes(reading, questions, tasks)

    def seconds(self, page: Section) -> float:
        """Seconds to read a section or a workshop page, and to look at its figures."""
        prose = (part.content for part in page.parts if part.kind == "html")
        each = duration.FIGURE_MINUTES if page in self.sections else duration.WORKSHOP_FIGURE_MINUTES
        return duration.seconds(prose, len(page.figures), each)

    def minutes_of(self, page: Section) -> int:
        """Minutes to read a section or a workshop page, and to look at its figures."""
        return duration.minutes(self.seconds(page))

    @property
    def pages(self) -> tuple[Section, ...]:
        """Sections and workshop pages, each page after the section that leads to it."""
        return tuple(
            page
            for section in self.sections
            for page in (
                section,
                *(page for page in self.workshop if page.front["section"] == section.slug),
            )
        )

    def uses(self, claim: str) -> list[Use]:
        """Where a claim is printed."""
        places = [
            Use("lesson", anchor=section.slug, title=f"{section.number} {section.short}".lstrip())
            for section in self.sections
            if claim in section.claims
        ]
        places += [
            Use("workshop page", (page.slug,), title=page.short)
            for page in self.workshop
            if claim in page.claims
        ]
        places += [
            Use("figure", (name,), title=figure.label)
            for name, figure in self.figures.items()
            if claim in self.texts[name].claims
        ]
        places += [
            Use("question", (name,), title=self.figures[name].label)
            for name, text in self.question_texts.items()
            if claim in text.claims
        ]
        places += [
            Use("task", (name,), title=text.title)
            for name, text in self.task_texts.items()
            if claim in text.claims
        ]
        places += [
            Use("job", (name,), title=text.title)
            for name, text in self.job_texts.items()
            if claim in text.claims
        ]
        if self.summary and claim in self.summary.claims:
            places.append(Use("summary", title=self.summary.title))
        if self.faq and claim in self.faq.claims:
            places.append(Use("faq", title=self.faq.title))
        if self.courses and claim in self.courses.claims:
            places.append(Use("courses", title=self.courses.title))
        return places

    def python(self, name: str, controls: FigureControls) -> str:
        """Python that computes and prints the read-outs of a figure in a state."""
        figure = self.figures[name]
        readouts = figure.view(controls).readouts
        return program(figure.computation(controls), controls, [readout.name for readout in readouts])

    def tasks_of(self, page: str) -> list[Task]:
        """The tasks of a section or a workshop page, the calculation last."""
        return [task for task in self.tasks.values() if task.section == page]

    def page_named(self, slug: str) -> Section:
        """A section or a workshop page by its slug."""
        return next(page for page in (*self.sections, *self.workshop) if page.slug == slug)

    def section(self, slug: str) -> Section:
        """A section by its slug."""
        return next(section for section in self.sections if section.slug == slug)

    def workshop_page(self, slug: str) -> Section:
        """A page of the workshop by its slug."""
        return next(page for page in self.workshop if page.slug == slug)

    @property
    def map(self) -> str | None:
        """The figure that shows all parts of a model, to which captions lead."""
        return next((name for name, figure in self.figures.items() if figure.shows == "all"), None)

    def page_of(self, figure: str) -> Section:
        """The section or the workshop page on which a figure stands."""
        return next(page for page in self.pages if figure in page.figures)

    def in_workshop(self, figure: str) -> bool:
        """Whether a figure stands on a page of the workshop."""
        return self.page_of(figure) in self.workshop

    def section_of(self, figure: str) -> Section:
        """The section in which a figure stands, or which leads to its workshop page."""
        page = self.page_of(figure)
        return self.section(page.front["section"]) if page in self.workshop else page


def course() -> Course:
    """The course path of `course.toml`, in the current language."""
    return _course(current_language().tag)


@functools.cache
def _course(language: str) -> Course:
    with use_language(language):
        content = read_translated(ROOT / "course.toml", ("path", "title", "description"))
        read = checked(Course, content, "course.toml")
        return read.model_copy(update={"lessons": tuple(map(_numbered, read.lessons))})


def _numbered(read: Numbered) -> Numbered:
    """A section with its number as the current language writes it."""
    return read.model_copy(update={"number": current_language().coordinates(read.number)})


@functools.cache
def lesson_slugs() -> tuple[str, ...]:
    """The lessons that the course offers, by folder."""
    return tuple(slug for slug in all_slugs() if not _about(ROOT / slug).hidden)


@functools.cache
def all_slugs() -> tuple[str, ...]:
    """All lessons with the hidden ones, which have addresses but are not listed."""
    return tuple(sorted(path.parent.name for path in ROOT.glob("*/lesson.toml")))


def plain_pages() -> dict[str, Section]:
    """The pages that belong to no lesson, by slug, in the current language: `pages/LANGUAGE/*.md`."""
    return _pages(current_language().tag, "")


def teaching_pages() -> dict[str, Section]:
    """The pages for teachers, by slug, in the current language: `pages/LANGUAGE/teach/*.md`.

    Their links to pages of the site begin with a slash; whoever shows them puts the site's prefix in front.
    """
    return _pages(current_language().tag, "teach")


@functools.cache
def _pages(language: str, folder: str) -> dict[str, Section]:
    with use_language(language):
        found = (ROOT / "pages" / _words_of(language) / folder).glob("*.md")
        pages = [read_section(path, {}, "") for path in sorted(found)]
    return {page.slug: page for page in pages}


def load_lesson(slug: str) -> Lesson:
    """Read a lesson in the current language. Its figures stand in the order that the prose places them in."""
    return _load_lesson(slug, current_language().tag)


@functools.cache
def _load_lesson(slug: str, language: str) -> Lesson:
    with use_language(language):
        return _read_lesson(slug, ROOT / slug, ROOT / slug / _words_of(language))


def _words_of(language: str) -> str:
    """The folder of a language's words: that of English for the pseudo-languages."""
    return SOURCE if language in PSEUDO else language


def style_sheets() -> list[tuple[Path, bool]]:
    """The style sheet of every figure that has one, and whether the figure stands in the workshop."""
    with use_language(SOURCE):
        lessons = [load_lesson(slug) for slug in all_slugs()]
    sheets = [
        (ROOT / figure.folder / "style.css", lesson.in_workshop(figure.name))
        for lesson in lessons
        for figure in lesson.figures.values()
    ]
    return [(sheet, in_workshop) for sheet, in_workshop in sheets if sheet.is_file()]


def _read_lesson(slug: str, folder: Path, words: Path) -> Lesson:
    about = _numbered(_about(folder))
    claims = read_claims(folder / "claims.toml")
    sections = tuple(
        read_section(words / name, claims, f"{slug}/sources", headlines_only=True) for name in about.sections
    )
    workshop = tuple(
        read_section(words / "workshop" / f"{name}.md", claims, "../sources") for name in about.workshop
    )
    only(sections, "html", "figure", "question", "workshop", "source")
    only(workshop, "html", "figure", "question", "source")
    by_name = dict(zip(about.workshop, workshop, strict=True))
    _check_workshop(slug, sections, by_name)
    found = _figures(slug)
    placed = [name for page in (*sections, *workshop) for name in page.figures]
    _refuse(placed, found, f"the prose of {slug} places figures that no module has")
    figures = {name: found[name] for name in placed}
    questions: dict[str, Question] = getattr(_part(slug, "questions"), "QUESTIONS", {})
    _refuse(questions, figures, f"questions of {slug} belong to no figure that the prose places")
    asked = [name for part in (*sections, *workshop) for name in part.questions]
    _refuse(asked, questions, f"the prose of {slug} places questions that nobody asks")
    tasks: dict[str, Task] = getattr(_part(slug, "tasks"), "TASKS", {})
    of_tasks = {task.section for task in tasks.values()}
    pages = [page.slug for page in (*sections, *workshop)]
    _refuse(of_tasks, pages, f"tasks of {slug} belong to no page")
    jobs: dict[str, Job] = getattr(_part(slug, "jobs"), "JOBS", {})

    def texts(of: str, names: Iterable[str]) -> dict[str, FigureText]:
        return {name: FigureText.read(words / of / f"{name}.toml", claims) for name in names}

    lesson = Lesson(
        slug=slug,
        language=current_language().tag,
        about=about,
        sections=sections,
        workshop=workshop,
        stills={page.slug: _still(slug, name) for name, page in by_name.items()},
        figures=figures,
        texts=texts("figures", placed),
        claims=claims,
        summary=_summary(words / about.summary, claims, figures) if about.summary else None,
        faq=_prose_page(words / about.faq, claims) if about.faq else None,
        courses=_prose_page(words / about.courses, claims) if about.courses else None,
        receipts=_part(slug, "receipts"),
        questions=questions,
        question_texts=texts("questions", questions),
        tasks=tasks,
        task_texts=texts("tasks", tasks),
        words=FigureText.read(words / "ask.toml") if questions or tasks else FigureText({}, "ask.toml"),
        jobs=jobs,
        job_texts=texts("jobs", jobs),
    )
    known = [f"{kind} {name}" for kind, of in lesson.items.items() for name in of]
    _refuse(about.class_order, known, f"the class_order of {slug} names what the lesson does not have")
    ordered = {name: figures[name] for page in lesson.pages for name in page.figures}
    return replace(lesson, figures=ordered)


def _check_workshop(slug: str, sections: Iterable[Section], workshop: Mapping[str, Section]) -> None:
    """Check that every workshop page has one section, and that this section has its teaser."""
    placed = {name: section.slug for section in sections for name in section.workshop}
    named = {name: page.front["section"] for name, page in workshop.items()}
    if placed != named:
        raise LookupError(f"workshop of {slug}: the sections lead to {placed}, the pages name {named}")


def _still(slug: str, name: str) -> Still:
    module = importlib.import_module(f"lessons.{slug}.workshop.{name}")
    return Still(module.still, f"{slug}/workshop/{name}/still.jinja")


def _about(folder: Path) -> About:
    content = read_translated(folder / "lesson.toml", ("title", "path", "description"))
    return checked(About, content, f"{folder.name}/lesson.toml")


def _summary(path: Path, claims: Mapping[str, Claim], figures: Mapping[str, Figure[Any]]) -> Section:
    summary = read_section(path, claims, "sources")
    only([summary], "html", *PIECES)
    for piece in (part for part in summary.parts if part.kind in PIECES):
        figures[piece.name].controls.parse(piece.state)  # an error now, not when the page is asked for
    return summary


def _prose_page(path: Path, claims: Mapping[str, Claim]) -> Section:
    page = read_section(path, claims, "sources")
    only([page], "html")
    return page


def _refuse(names: Iterable[str], known: Container[str], problem: str) -> None:
    """Raise a `LookupError` that tells which of some names are not known."""
    astray = sorted({name for name in names if name not in known})
    if astray:
        raise LookupError(f"{problem}: {', '.join(astray)}")


def only(sections: Iterable[Section], *kinds: str) -> None:
    """Refuse directives that a page of this sort does not show."""
    for section in sections:
        for part in section.parts:
            if part.kind not in kinds:
                raise LookupError(f"[[{part.kind}: {part.content}]] has no place in {section.title!r}")


def _part(slug: str, module: str) -> ModuleType | None:
    """A module that not every lesson has."""
    name = f"lessons.{slug}.{module}"
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


def _figures(slug: str) -> dict[str, Figure[Any]]:
    package = importlib.import_module(f"lessons.{slug}.figures")
    modules = [
        importlib.import_module(f"{package.__name__}.{m.name}")
        for m in pkgutil.iter_modules(package.__path__)
    ]
    figures = [module.FIGURE for module in modules if hasattr(module, "FIGURE")]
    return {figure.name: figure for figure in figures}
