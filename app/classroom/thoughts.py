"""What an analysis needs to know of the lesson: the thought behind a wrong answer, and an item's section."""

from __future__ import annotations

import functools
from contextlib import suppress

from lessons.catalogue import Lesson, load_lesson
from lessons.kit.controls import ControlError
from lessons.kit.question import ANSWER
from lessons.kit.text import MissingText


@functools.lru_cache(maxsize=4096)
def thought_of(lesson: str, question: str, value: str) -> str:
    """The key of the thought behind a guess; "" where the lesson no longer has the question or the value."""
    asked = load_lesson(lesson).questions.get(question)
    if asked is None:
        return ""
    try:
        guess = asked.read([(ANSWER, value)])[1]
    except ControlError:
        return ""
    return asked.reveal(guess).why


def thought_name(lesson: Lesson, question: str, key: str) -> str:
    """That thought in words; "" for none."""
    with suppress(KeyError):
        return lesson.question_texts[question].thought(key)
    return ""


def slip_name(lesson: Lesson, task: str, slip: str) -> str:
    """A slip of a task in words: its own, or one that fits any task."""
    key = slip.removeprefix("slip_")
    with suppress(KeyError):
        return lesson.task_texts[task].slip(key)
    with suppress(MissingText):
        return lesson.words.slip(key or "other")
    return lesson.words.slip("other")


def section_of(lesson: Lesson, kind: str, name: str) -> str:
    """The slug of the section of a task, or else of a question or figure; "" of one that the lesson lacks."""
    if kind == "task":
        if name not in lesson.tasks:
            return ""
        page = lesson.page_named(lesson.tasks[name].section)
        return page.front["section"] if page in lesson.workshop else page.slug
    return lesson.section_of(name).slug if name in lesson.figures else ""
