"""What a server makes before it is asked: taken from a file of an earlier one, or made for the next."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from fastapi import FastAPI

from app.cache import disk
from app.settings import Settings
from app.views.answers import Answers
from lessons.catalogue import lesson_slugs, load_lesson
from lessons.kit.controls import Choice

log = logging.getLogger("academy")


def take(app: FastAPI) -> None:
    """Take what an earlier server has made, if it can be trusted."""
    answers: Answers = app.state.answers
    file = _file(app)
    disk.clean(file.parent)
    try:
        found = disk.load(file)
    except disk.UnusableError as error:
        log.warning("%s is left alone: %s", file, error)
        return
    answers.complete = bool(found) and answers.take(found) == len(found)


def make(app: FastAPI) -> None:
    """Make it, in the pauses between requests, and leave it for the next server where that can be done."""
    answers: Answers = app.state.answers
    if not answers.warm():
        return
    answers.complete = True
    try:
        disk.save(_file(app), answers.named())
    except OSError as error:
        log.info("what was made ahead is not kept: %s", error)


def _file(app: FastAPI) -> Path:
    settings: Settings = app.state.settings
    folder = Path(settings.answers_folder) if settings.answers_folder else disk.FOLDER
    return disk.file_of(folder, settings.root_path, app.state.answers.embeddable, *_missing())


def _missing() -> Iterator[str]:
    """What figures offer and this host lacks: pages say so."""
    for slug in lesson_slugs():
        for name, figure in load_lesson(slug).figures.items():
            for control, widget in figure.controls.widgets().items():
                if isinstance(widget, Choice):
                    yield from (f"{slug}/{name}?{control}={option}" for option in widget.missing())


def make_now() -> None:
    """Make everything and keep it, without a server: the image does so when it is built."""
    from app.main import create_app
    from app.server.content import read_everything

    app = create_app(Settings())
    read_everything(app.state.answers)
    app.state.answers.warm(breath=0.0)
    disk.save(_file(app), app.state.answers.named())
