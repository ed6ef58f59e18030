"""Times of a class, by the server's clock: when it ends, when its data is deleted, when a vote closes."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta

from app.classroom.flow import Action, Phase, after
from app.classroom.models import Classroom, Item
from app.classroom.states import Shown, Status

HERE = timedelta(seconds=30)
"""Who was seen within this time is here."""

CLOSING = timedelta(seconds=10)
"""From "close in 10 s" to the closing."""

_ANYWHERE = timedelta(hours=12)
"""A day is over on the whole Earth twelve hours after it is over in UTC."""


def present(now: datetime | None = None) -> datetime:
    """The present moment, unless a test says another."""
    return now or datetime.now(UTC)


def end_of(ends_on: date) -> datetime:
    """When a class ends by itself: its last day is over everywhere."""
    return datetime.combine(ends_on + timedelta(days=1), time(), UTC) + _ANYWHERE


def deleted_on(classroom: Classroom) -> date:
    """The day on which the server deletes a class with all that is stored of it."""
    months = classroom.ends_on.month - 1 + classroom.retention_months
    year, month = classroom.ends_on.year + months // 12, months % 12 + 1
    return date(year, month, min(classroom.ends_on.day, monthrange(year, month)[1]))


def status_of(classroom: Classroom, now: datetime) -> Status:
    return "ended" if classroom.ended_at or now >= end_of(classroom.ends_on) else "running"


def last_day(classroom: Classroom) -> date:
    """The day on which an ended class ended."""
    return min(classroom.ends_on, classroom.ended_at.date()) if classroom.ended_at else classroom.ends_on


def is_here(seen_at: datetime | None, now: datetime) -> bool:
    """Whether a line was seen within the last 30 seconds."""
    return seen_at is not None and seen_at >= now - HERE


def is_due(item: Item | Shown, now: datetime) -> bool:
    """Whether the moment of closing has passed, and nobody has written it down yet."""
    return bool(item.closes_at and item.closes_at <= now and Phase(item.phase).vote)


def phase_of(item: Item | Shown, now: datetime) -> Phase:
    """The phase of an item; a vote whose moment of closing has passed is closed."""
    phase = Phase(item.phase)
    return (after(phase, Action.CLOSE) or phase) if is_due(item, now) else phase


def round_of(item: Item | Shown, phase: Phase) -> int:
    """The vote that is open or was the last one; 0 before the first."""
    if phase in (Phase.VOTING_1, Phase.CLOSED_1, Phase.DISCUSS):
        return 1
    if phase in (Phase.VOTING_2, Phase.CLOSED_2):
        return 2
    return (2 if item.twice else 1) if phase is Phase.REVEALED else 0
