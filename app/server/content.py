"""Everything that answers are made of, read once at the start: what changes later changes nothing here."""

from __future__ import annotations

from app.assets import content_hash, static_file, static_files, version
from app.views.answers import Answers
from app.views.render import environment
from lessons.catalogue import all_slugs, load_lesson
from lessons.kit.language import PSEUDO, languages, speaking
from lessons.kit.source import shown_functions


class ContentChangedError(Exception):
    """Files were changed while they were read, so what was read may not belong together."""


def read_everything(answers: Answers, *, pseudo_languages: bool = False) -> None:
    """Read lessons, data, templates and static files, and make what everybody asks for first.

    It starts no thread: the process may be copied afterwards.

    Raises
    ------
    ContentChangedError
        If a file was changed meanwhile.
    """
    read = version()
    for name in environment().list_templates(["jinja"]):
        environment().get_template(name)
    for path in (*static_files(), "lesson.css", "late.css"):
        static_file(path)
    shown_functions()
    for language in (*languages(), *(PSEUDO if pseudo_languages else ())):
        with speaking(language):
            answers.make_course()
            for slug in all_slugs():
                load_lesson(slug)
                answers.make_first(slug)
    if content_hash() != read:
        raise ContentChangedError
