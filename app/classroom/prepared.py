"""The prepared states of a figure on the screen, which the arrow keys walk through."""

from __future__ import annotations

import functools
from urllib.parse import urlencode

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.classroom.flow import Phase
from app.classroom.models import Classroom, Item
from lessons.catalogue import load_lesson
from lessons.kit.question import GUESS, SKIP


def states_of(session: Session, classroom: Classroom, item: Item) -> tuple[str, ...]:
    """The queries of a line's prepared states: the teacher's own, or those that come by themselves.

    By itself a figure is shown as it begins, and then, once its question is revealed, as the answer is seen
    in it. Before that the answer is not among them.
    """
    if item.states or item.kind != "figure" or item.name not in load_lesson(classroom.lesson).questions:
        return tuple(item.states)
    revealed = select(Item.id).where(
        Item.classroom_id == classroom.id,
        Item.kind == "question",
        Item.name == item.name,
        Item.phase == Phase.REVEALED,
    )
    return ("", _answer(classroom.lesson, item.name)) if session.scalar(revealed.limit(1)) else ()


@functools.lru_cache(maxsize=64)
def _answer(lesson: str, name: str) -> str:
    """The state of a figure that shows the answer of its question, which is marked."""
    question = load_lesson(lesson).questions[name]
    return urlencode([*question.reveal(None).controls.query(), (GUESS, SKIP)])
