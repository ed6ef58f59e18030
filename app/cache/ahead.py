"""What a server makes before it is asked: taken from a file of an earlier server, or made anew."""

from __future__ import annotations

import gc
import logging
import math
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from app.addresses import address
from app.assets import content_hash, static_file, static_files, version
from app.cache import disk
from app.cache.response import SMALL, CachedResponse
from app.cache.store import ResponseCache
from app.export import pictures
from app.export.files import python_file
from app.settings import Settings
from app.site import Site, use_site
from app.views.environment import environment, html
from app.views.figure import figure_context, figure_view
from app.views.lesson import (
    course_page,
    defaults_of,
    lesson_address,
    lesson_page,
    receipts_page,
    workshop_page,
)
from app.views.state_table import fragment_address, state_table, table_address, table_query
from app.views.styleguide import styleguide_page
from app.views.teach import teaching_address, teaching_page
from lessons.catalogue import Lesson, all_slugs, lesson_slugs, load_lesson, plain_pages, teaching_pages
from lessons.kit.arrangement import FigureQuery
from lessons.kit.controls import Choice
from lessons.kit.language import PSEUDO, SOURCE, languages, use_language
from lessons.kit.source import shown_functions

log = logging.getLogger("academy")

PAUSE = 0.02  # seconds between two responses that nobody has asked for yet
FEW_STATES = 1200
"""Of a figure, up to which a worker makes all of them when it has nothing else to do."""

Making = tuple[str, Callable[[], CachedResponse]]
"""An address and what makes its response."""


class ContentChangedError(Exception):
    """Files were changed while they were read, so what was read may not belong together."""


def read_everything(app: FastAPI) -> None:
    """Read lessons, data, templates and static files, and make what everybody asks for first.

    It starts no thread: the process may be copied afterwards.

    Raises
    ------
    ContentChangedError
        If a file was changed meanwhile.
    """
    settings: Settings = app.state.settings
    cache: ResponseCache = app.state.cache
    read = version()
    for name in environment().list_templates(["jinja"]):
        environment().get_template(name)
    for path in (*static_files(), "lesson.css", "workshop.css"):
        static_file(path)
    shown_functions()
    pictures.read_files()
    for slug in all_slugs():
        for job in load_lesson(slug).jobs.values():
            if job.runs_here():
                job.depends_on()
    for language in (*languages(), *(PSEUDO if settings.pseudo_languages else ())):
        with use_site(app.state.site), use_language(language):
            for key, make in first_pages():
                cache.now(key, make)
            for slug in all_slugs():
                _make_programs(load_lesson(slug))
    if content_hash() != read:
        raise ContentChangedError


def first_pages() -> Iterator[Making]:
    """The pages of the course, and of each lesson its page, workshop and first views of figures."""
    yield address("course"), course_page
    yield address("styleguide"), styleguide_page
    for slug, page in plain_pages().items():
        yield address("plain", slug), partial(html, "plain.jinja", page=page)
    for page in teaching_pages().values():
        yield teaching_address(page.slug), partial(teaching_page, page)
    for slug in all_slugs():
        lesson = load_lesson(slug)
        queries = defaults_of(lesson)
        yield lesson_address(lesson, queries), partial(lesson_page, lesson, queries, quality=SMALL)
        for page in lesson.workshop:
            key = lesson_address(lesson, queries, ("workshop page", slug, page.slug))
            yield key, partial(workshop_page, lesson, page, queries)
        if lesson.receipts is not None:
            yield address("receipts", slug), partial(receipts_page, lesson)
        yield from (_view(lesson, name, query) for name, query in queries.items())


def likely_pages(cache: ResponseCache) -> Iterator[Making]:
    """What readers are likely to ask for, that of a lesson's page before that of its workshop.

    Of each figure the state tables of a first touch; of figures with few states, which compute longest, all.
    """
    for lesson in map(load_lesson, lesson_slugs()):
        queries = defaults_of(lesson)
        in_order = sorted(lesson.figures, key=lesson.in_workshop)
        for name in in_order:
            yield from _first_tables(cache, lesson, name, queries[name])
        for name in in_order:
            controls = lesson.figures[name].controls
            if controls.combinations() <= FEW_STATES:
                yield from (_view(lesson, name, FigureQuery(state)) for state in controls.every())


def _first_tables(cache: ResponseCache, lesson: Lesson, name: str, start: FigureQuery) -> Iterator[Making]:
    for control in start.controls.tabled():
        query = table_query(lesson, name, control, start)
        make = partial(state_table, cache, lesson, name, control, query, math.inf)
        yield table_address(lesson, name, control, query), make


def take(app: FastAPI) -> None:
    """Take what an earlier server has made, if it can be trusted and is likely to be asked for."""
    cache, file = app.state.cache, _file(app)
    disk.clean(file.parent)
    try:
        found = dict(disk.load(file))
    except disk.UnusableError as error:
        log.warning("%s is left alone: %s", file, error)
        return
    if found:
        with use_site(app.state.site), use_language(SOURCE):
            wanted = {key for key, _make in likely_pages(cache)}
        for key in wanted & found.keys():
            cache.put(key, found[key])
        app.state.made_ahead = found.keys() >= wanted


def make(app: FastAPI, pause: float = PAUSE) -> bool:
    """Make it while readers rest, and leave it for the next server where that can be done.

    Gives whether all of it was made: a worker that is to stop makes no more.
    """
    stopping: threading.Event = app.state.stopping
    cache: ResponseCache = app.state.cache
    made: dict[str, CachedResponse] = {}
    settle()
    with use_site(app.state.site), use_language(SOURCE):
        for key, make in likely_pages(cache):
            if stopping.wait(pause):
                return False
            cache.wait_for_rest(stopping)
            made[key] = make()
            cache.put(key, made[key])
    settle()
    app.state.made_ahead = True
    try:
        disk.save(_file(app), made.items())
    except OSError as error:
        log.info("what was made ahead is not kept: %s", error)
    return True


def make_now() -> None:
    """Make everything and keep it, without a server: the image does so when it is built."""
    from app.main import create_app

    app = create_app(Settings())
    read_everything(app)
    make(app, pause=0.0)


def settle() -> None:
    """Exclude the objects that exist now from garbage collection.

    Scanning them stops every response of a worker. Of a class of 1,000 (`make bench-web PARTS=class`), whose
    aim is a 99th percentile of 100 ms, it was 265 ms without this and is 113 ms with it.
    """
    gc.collect()
    gc.freeze()


def _view(lesson: Lesson, name: str, query: FigureQuery) -> Making:
    return fragment_address(lesson, name, query), lambda: figure_view(figure_context(lesson, name, query))


def _make_programs(lesson: Lesson) -> None:
    """Make the program of each figure, so that everything they need is read."""
    for name, query in defaults_of(lesson).items():
        python_file(lesson, name, query)


def _file(app: FastAPI) -> Path:
    settings: Settings = app.state.settings
    folder = Path(settings.answers_folder) if settings.answers_folder else disk.FOLDER
    site: Site = app.state.site
    about = (site.root_path, site.embeddable, site.holds_classes, site.retention_months, *_missing())
    return disk.file_of(folder, *about)


def _missing() -> Iterator[str]:
    """What figures offer and this host lacks: pages say so."""
    for slug in lesson_slugs():
        for name, figure in load_lesson(slug).figures.items():
            for control, widget in figure.controls.widgets().items():
                if isinstance(widget, Choice):
                    yield from (f"{slug}/{name}?{control}={option}" for option in widget.missing())
