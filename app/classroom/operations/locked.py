"""What every operation begins and ends with: the lock of a class, its version, what is on the screen."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.classroom.flow import Action, Phase, after
from app.classroom.models import Classroom, Item, Student, Vote
from app.classroom.refusals import EndedError, FieldError, StaleError, UnknownClassError, UnknownItemError
from app.classroom.timing import is_due, last_day, phase_of, present, status_of
from lessons.catalogue import load_lesson
from lessons.kit.language import gettext as _

LARGEST_ID = 2**31 - 1

Row = TypeVar("Row", Item, Student)


def begin(session: Session, classroom: Classroom, version: int, now: datetime | None) -> datetime:
    """Lock a class for a teacher's press; refuse an old page and an ended class. Returns the moment."""
    moment = lock(session, classroom, now)
    refuse_stale(session, classroom, version, moment)
    refuse_ended(classroom, moment)
    return moment


def lock(session: Session, classroom: Classroom, now: datetime | None = None) -> datetime:
    """Lock the row of a class, read it again, close a vote whose moment has passed. Returns the moment."""
    _fresh(session, classroom)
    moment = present(now)
    item = shown_item(session, classroom)
    if item and is_due(item, moment):
        item.phase, item.changed_at, item.closes_at = phase_of(item, moment), item.closes_at, None
        classroom.version += 1
        session.flush()
    return moment


def done(session: Session, classroom: Classroom) -> None:
    classroom.version += 1
    session.flush()


def refuse_stale(session: Session, classroom: Classroom, version: int, now: datetime) -> None:
    if version != classroom.version:
        item = shown_item(session, classroom)
        raise StaleError(phase_of(item, now) if item and item.kind == "question" else None)


def refuse_ended(classroom: Classroom, now: datetime) -> None:
    if status_of(classroom, now) == "ended":
        raise EndedError(last_day(classroom))


def within(session: Session, classroom: Classroom, table: type[Row], id: int | str) -> Row | None:
    """A row of a class, as it is now; none of another class."""
    row = select(table).where(table.id == id)
    found = session.scalar(row.execution_options(populate_existing=True))
    return found if found is not None and found.classroom_id == classroom.id else None


def item_of(session: Session, classroom: Classroom, item_id: int) -> Item:
    found = within(session, classroom, Item, item_id) if 0 < item_id <= LARGEST_ID else None
    if found is None:
        raise UnknownItemError
    return found


def shown_item(session: Session, classroom: Classroom) -> Item | None:
    return None if classroom.item_id is None else within(session, classroom, Item, classroom.item_id)


def close_open(session: Session, classroom: Classroom, now: datetime) -> None:
    """Close the vote that is open, because something else comes."""
    item = shown_item(session, classroom)
    closed = item and after(Phase(item.phase), Action.CLOSE)
    if item and closed:
        enter(session, item, closed, Action.CLOSE, now)


def enter(session: Session, item: Item, phase: Phase, action: Action, now: datetime) -> None:
    """Bring a question into a phase."""
    item.phase, item.changed_at, item.closes_at = phase, now, None
    if action in (Action.ASK, Action.ASK_AGAIN):
        item.opened_at = now
    if action is Action.REOPEN:  # what came while it was closed is in time after all
        session.execute(
            update(Vote).where(Vote.item_id == item.id, Vote.round == phase.vote).values(late=False)
        )
    if action is Action.SKIP:
        item.twice = False
    if phase is Phase.REVEALED:
        item.step = 1


def check_section(classroom: Classroom, slug: str) -> None:
    slugs = [section.slug for section in load_lesson(classroom.lesson).sections]
    if slug not in slugs:
        raise FieldError("section", _("one of %(options)s", options=", ".join(slugs)))


def _fresh(session: Session, classroom: Classroom) -> None:
    row = select(Classroom).where(Classroom.id == classroom.id).with_for_update(key_share=True)
    if session.scalar(row.execution_options(populate_existing=True)) is None:
        raise UnknownClassError
