"""Every address of the site: routes match these paths, and pages link to them.

An address is canonical: its parameters are in the order of the form, defaults left out. It is also the key of
its response in the cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlencode

from app.assets import version
from app.site import current_site
from lessons.catalogue import Lesson
from lessons.kit.language import Language, current_language

_LESSON = "/lessons/{slug}"
_FIGURE = f"{_LESSON}/figures/{{name}}"
_JOB = f"{_LESSON}/jobs/{{name}}"
_FRAGMENTS = "/fragments/{version}/{slug}"
_CLASS = "/class/{code}"
_DESK = "/desk/{code}"
_SCREEN = "/screen/{code}"

PATHS = {
    "course": "/",
    "plain": "/{slug}",
    "styleguide": "/styleguide",
    "static": "/static/{version}/{path:path}",
    "healthz": "/healthz",
    "readyz": "/readyz",
    "lesson": _LESSON,
    "notebook": f"{_LESSON}/notebook.ipynb",
    "receipts": f"{_LESSON}/receipts",
    "sources": f"{_LESSON}/sources",
    "summary": f"{_LESSON}/summary",
    "faq": f"{_LESSON}/faq",
    "courses": f"{_LESSON}/courses",
    "workshop": f"{_LESSON}/workshop",
    "workshop page": f"{_LESSON}/workshop/{{page}}",
    "teach": f"{_LESSON}/teach",
    "code": f"{_LESSON}/code/{{function}}",
    "figure": _FIGURE,
    "csv": f"{_FIGURE}.csv",
    "svg": f"{_FIGURE}.svg",
    "py": f"{_FIGURE}.py",
    "questions": f"{_LESSON}/questions",
    "question": f"{_LESSON}/questions/{{name}}",
    "task": f"{_LESSON}/tasks/{{name}}",
    "codes": f"{_LESSON}/teach/codes",
    "job": _JOB,
    "job steps": f"{_JOB}/steps",
    "job stop": f"{_JOB}/stop",
    "fragment": f"{_FRAGMENTS}/{{name}}",
    "along": f"{_FRAGMENTS}/{{name}}/along/{{control}}",
    "listing": f"{_FRAGMENTS}/{{name}}/code/{{function}}",
    "own": f"{_FRAGMENTS}/{{name}}/own",
    "share": f"{_FRAGMENTS}/{{name}}/share",
    "questions fragment": f"{_FRAGMENTS}/questions",
    "question fragment": f"{_FRAGMENTS}/questions/{{name}}",
    "task fragment": f"{_FRAGMENTS}/tasks/{{name}}",
    "classes": "/classes",
    "join": "/join",
    "join class": "/join/{code}",
    "class": _CLASS,
    "class bar": f"{_CLASS}/bar",
    "class events": f"{_CLASS}/events",
    "class vote": f"{_CLASS}/vote",
    "class answers": f"{_CLASS}/answers",
    "class me": f"{_CLASS}/me",
    "class resume": f"{_CLASS}/resume",
    "class data": f"{_CLASS}/mine.json",
    "class leave": f"{_CLASS}/leave",
    "desk": _DESK,
    "desk enter": f"{_DESK}/enter",
    "desk links": f"{_DESK}/links",
    "desk state": f"{_DESK}/state",
    "desk events": f"{_DESK}/events",
    "desk act": f"{_DESK}/act",
    "desk peek": f"{_DESK}/peek",
    "desk order": f"{_DESK}/order",
    "desk analysis": f"{_DESK}/analysis",
    "desk export": f"{_DESK}/export/{{file}}",
    "desk students": f"{_DESK}/students",
    "desk student": f"{_DESK}/students/{{student}}",
    "desk delete": f"{_DESK}/delete",
    "desk answers": f"{_DESK}/answers",
    "screen": _SCREEN,
    "screen state": f"{_SCREEN}/state",
    "screen events": f"{_SCREEN}/events",
    "qr": "/qr.svg",
    "teaching": "/teach",
    "teaching page": "/teach/{page}",
}
"""Page → its path as routes match it. `version` is that of the content, so such an answer never changes."""

OF_CLASSES = ("/join", "/classes", "/class/", "/desk/", "/screen/")
"""How the addresses of classes begin."""

_FORMS = {page: re.sub(r"\{(?!version\})[\w:]+\}", "{}", path) for page, path in PATHS.items()}


def path(page: str, *names: str) -> str:
    """The path of a page from the root of the site in English, such as `/lessons/quantization`."""
    return _FORMS[page].format(*names, version=version())


def address(page: str, *names: str, query: Iterable[tuple[str, str]] = (), anchor: str = "") -> str:
    """The address of a page of this site in the current language, for links."""
    return prefix() + local_address(page, *names, query=query, anchor=anchor)


def local_address(page: str, *names: str, query: Iterable[tuple[str, str]] = (), anchor: str = "") -> str:
    """The address of a page from the root of the site, in English."""
    parameters = urlencode(list(query))
    return path(page, *names) + (f"?{parameters}" if parameters else "") + (f"#{anchor}" if anchor else "")


def prefix() -> str:
    """Where the pages of this site in the current language begin."""
    return current_site().root_path + current_language().prefix


def in_language(own: str, language: Language) -> str:
    """The address of the same page in another language."""
    return current_site().root_path + language.prefix + own.removeprefix(prefix())


def static_path() -> str:
    """Where the static files of this version are."""
    return current_site().root_path + path("static", "").rstrip("/")


def place_of(
    lesson: Lesson,
    figure: str,
    query: Iterable[tuple[str, str]] = (),
    *,
    others: Iterable[tuple[str, list[tuple[str, str]]]] = (),
    anchor: str | None = None,
) -> str:
    """Where a figure stands in a lesson: in a section, or on a page of the workshop.

    `query` is what the address says about the figure, `others` the same for other figures by name;
    `anchor` is another place than the figure itself.
    """
    page = lesson.page_of(figure)
    names = ("workshop page", lesson.slug, page.slug) if page in lesson.workshop else ("lesson", lesson.slug)
    states = {**dict(others), figure: list(query)}
    ordered = of_figures((name, states[name]) for name in lesson.figures if name in states)
    return address(*names, query=ordered, anchor=lesson.figures[figure].id if anchor is None else anchor)


def of_figures(states: Iterable[tuple[str, Iterable[tuple[str, str]]]]) -> list[tuple[str, str]]:
    """The parameters of several figures as pages of a lesson take them: `rtn.bits=3`."""
    return [(f"{name}.{key}", value) for name, pairs in states for key, value in pairs]
