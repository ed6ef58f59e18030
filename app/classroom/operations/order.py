"""The running order: the questions, figures and tasks of a class, which its teacher may change."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import parse_qsl

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.classroom.flow import Phase
from app.classroom.models import Classroom, Item
from app.classroom.operations.locked import begin, done, item_of
from app.classroom.refusals import FieldError, HasVotesError, NotNowError
from lessons.catalogue import Lesson, load_lesson
from lessons.kit.controls import ControlError
from lessons.kit.language import gettext as _
from lessons.kit.task import LONGEST_ADDRESS

MOST_ITEMS = 100


def running_order(session: Session, classroom: Classroom) -> list[Item]:
    """The lines of the running order."""
    lines = select(Item).where(Item.classroom_id == classroom.id).order_by(Item.position, Item.id)
    return list(session.scalars(lines))


def add_item(
    session: Session,
    classroom: Classroom,
    version: int,
    kind: str,
    name: str,
    *,
    position: int | None = None,
    states: tuple[str, ...] = (),
    twice: bool = True,
    now: datetime | None = None,
) -> Item:
    """Add a line, at a position from 1 on or at the end.

    Raises
    ------
    FieldError
        When the lesson has no such question, figure or task, a state is none of the figure's, or the order
        is full.
    """
    lesson = load_lesson(classroom.lesson)
    known = lesson.items
    if kind not in known:
        raise FieldError("kind", _("one of %(options)s", options=", ".join(known)))
    if name not in known[kind]:
        raise FieldError("name", _("one of %(options)s", options=", ".join(known[kind])))
    _check_states(lesson, kind, name, states)
    begin(session, classroom, version, now)
    order = running_order(session, classroom)
    if len(order) >= MOST_ITEMS:
        raise FieldError("order", _("at most %(most)s lines", most=MOST_ITEMS))
    item = Item(classroom_id=classroom.id, position=0, kind=kind, name=name, states=list(states), twice=twice)
    session.add(item)
    order.insert(len(order) if position is None else min(max(position - 1, 0), len(order)), item)
    number(order)
    done(session, classroom)
    return item


def remove_item(
    session: Session, classroom: Classroom, version: int, item_id: int, *, now: datetime | None = None
) -> None:
    """Take a line out. A question that has been asked stays (`HasVotesError`), for its votes."""
    begin(session, classroom, version, now)
    item = item_of(session, classroom, item_id)
    if item.opened_at is not None:
        raise HasVotesError
    if classroom.item_id == item.id:
        classroom.item_id = None
    session.delete(item)
    session.flush()
    number(running_order(session, classroom))
    done(session, classroom)


def move_item(
    session: Session,
    classroom: Classroom,
    version: int,
    item_id: int,
    position: int,
    *,
    now: datetime | None = None,
) -> None:
    """Move a line to a position, from 1 on."""
    begin(session, classroom, version, now)
    item = item_of(session, classroom, item_id)
    order = [each for each in running_order(session, classroom) if each.id != item.id]
    order.insert(min(max(position - 1, 0), len(order)), item)
    number(order)
    done(session, classroom)


def set_twice(
    session: Session,
    classroom: Classroom,
    version: int,
    item_id: int,
    twice: bool,
    *,
    now: datetime | None = None,
) -> None:
    """Whether a question has a second vote; only before that could have begun."""
    begin(session, classroom, version, now)
    item = item_of(session, classroom, item_id)
    if item.kind != "question" or Phase(item.phase) not in (Phase.WAITING, Phase.VOTING_1, Phase.CLOSED_1):
        raise NotNowError
    item.twice = twice
    done(session, classroom)


def number(order: list[Item]) -> None:
    for position, item in enumerate(order, start=1):
        item.position = position


def _check_states(lesson: Lesson, kind: str, name: str, states: tuple[str, ...]) -> None:
    if not states:
        return
    if kind != "figure" or len(states) > 20:
        raise FieldError("states", _("at most %(most)s, of a figure", most=20))
    for state in states:
        if len(state) > LONGEST_ADDRESS:
            raise FieldError("states", _("at most %(most)s characters in one line", most=LONGEST_ADDRESS))
        try:
            lesson.figures[name].controls.parse(parse_qsl(state, keep_blank_values=True))
        except ControlError as error:
            raise FieldError(error.problems[0].control, error.problems[0].allowed) from None
