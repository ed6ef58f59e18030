"""What a teacher presses. Each press carries the version that its page knew; an old one does nothing."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.classroom.dots import DOTS_FROM
from app.classroom.flow import LAST_BEAT, Action, Phase, after
from app.classroom.models import Classroom, Item, Vote
from app.classroom.operations.locked import begin, check_section, close_open, done, enter, item_of, shown_item
from app.classroom.operations.order import number, running_order
from app.classroom.prepared import states_of
from app.classroom.refusals import FieldError, NotNowError
from app.classroom.timing import CLOSING
from lessons.kit.language import gettext as _


def act(
    session: Session,
    classroom: Classroom,
    action: Action,
    version: int,
    item_id: int | None = None,
    *,
    now: datetime | None = None,
) -> None:
    """Do what `flow` allows with the question on the screen. `ASK` may name another one of the running order.

    A question that was withdrawn is asked afresh, as a new line: the votes of the old one are kept, unseen.

    Raises
    ------
    StaleError, NotNowError, UnknownItemError, EndedError
        When the page was old, the phase does not allow it, there is no such question, or the class has ended.
    """
    now = begin(session, classroom, version, now)
    item = shown_item(session, classroom) if item_id is None else item_of(session, classroom, item_id)
    if item is None or item.kind != "question" or (item.id != classroom.item_id and action is not Action.ASK):
        raise NotNowError(action)
    phase = Phase(item.phase)
    reached = after(phase, action)
    if reached is None or (action is Action.ASK_AGAIN and not item.twice):
        raise NotNowError(action, phase)
    if action is Action.ASK:
        if item.id != classroom.item_id:
            close_open(session, classroom, now)
        item = _copy(session, classroom, item) if phase is Phase.WITHDRAWN else item
        classroom.item_id, classroom.called = item.id, None
        classroom.screen = "follow"
    enter(session, item, reached, action, now)
    done(session, classroom)


def close_soon(
    session: Session, classroom: Classroom, version: int, *, now: datetime | None = None
) -> datetime:
    """Close the open vote in ten seconds; returns when. `stay_open` takes it back."""
    now = begin(session, classroom, version, now)
    item = _voting(session, classroom)
    item.closes_at = now + CLOSING
    done(session, classroom)
    return item.closes_at


def stay_open(session: Session, classroom: Classroom, version: int, *, now: datetime | None = None) -> None:
    """Take "close in ten seconds" back."""
    begin(session, classroom, version, now)
    _voting(session, classroom).closes_at = None
    done(session, classroom)


def show(
    session: Session,
    classroom: Classroom,
    version: int,
    item_id: int | None,
    *,
    now: datetime | None = None,
) -> None:
    """Put a line on the screen, as it stands; None is the lobby. A vote that is open is closed."""
    now = begin(session, classroom, version, now)
    item = None if item_id is None else item_of(session, classroom, item_id)
    if item is None or item.id != classroom.item_id:
        close_open(session, classroom, now)
        classroom.called = None
    classroom.item_id = item.id if item else None
    classroom.screen = "follow"
    done(session, classroom)


def step(
    session: Session, classroom: Classroom, version: int, by: int, *, now: datetime | None = None
) -> None:
    """Walk the beats of a reveal, or the prepared states of a figure; at an end nothing happens."""
    begin(session, classroom, version, now)
    item = shown_item(session, classroom)
    if item is None:
        raise NotNowError
    low, high = steps_of(session, classroom, item)
    reached = min(max(item.step + by, low), high)
    if reached != item.step:
        item.step = reached
        done(session, classroom)


def steps_of(session: Session, classroom: Classroom, item: Item) -> tuple[int, int]:
    """The first and the last step of what is on the screen.

    A reveal has three beats where there was a second vote. Else it has one; or two where there are so few
    guesses that dots have names: then they come with the second, if the teacher wants them to.
    """
    if item.kind == "figure":
        return 0, max(len(states_of(session, classroom, item)) - 1, 0)
    if item.phase != Phase.REVEALED:
        return item.step, item.step
    in_time = select(Vote.round, func.count(Vote.value)).where(Vote.item_id == item.id, Vote.late.is_(False))
    guesses = dict(session.execute(in_time.group_by(Vote.round)).all())
    return 1, LAST_BEAT if 2 in guesses else 2 if 0 < guesses.get(1, 0) < DOTS_FROM else 1


def set_screen(
    session: Session,
    classroom: Classroom,
    version: int,
    screen: str,
    *,
    now: datetime | None = None,
) -> None:
    """What the projector shows: "follow" the class, the join "code", or "blank"."""
    if screen not in ("follow", "code", "blank"):
        raise FieldError("screen", _("one of %(options)s", options="follow, code, blank"))
    begin(session, classroom, version, now)
    classroom.screen = screen
    done(session, classroom)


def set_admits(
    session: Session, classroom: Classroom, version: int, admits: bool, *, now: datetime | None = None
) -> None:
    """Whether new students may join. Who has joined can go on either way, on another device too."""
    begin(session, classroom, version, now)
    classroom.admits = admits
    done(session, classroom)


def call_all(
    session: Session,
    classroom: Classroom,
    version: int,
    section: str | None,
    *,
    now: datetime | None = None,
) -> None:
    """Offer everybody the way to a section, which moves nobody; None takes the call back."""
    if section is not None:
        check_section(classroom, section)
    begin(session, classroom, version, now)
    classroom.called = section
    done(session, classroom)


def _voting(session: Session, classroom: Classroom) -> Item:
    item = shown_item(session, classroom)
    if item is None or not Phase(item.phase).vote:
        raise NotNowError
    return item


def _copy(session: Session, classroom: Classroom, item: Item) -> Item:
    """A new line for a question that is asked afresh, right after the old one."""
    order = running_order(session, classroom)
    copy = Item(classroom_id=classroom.id, position=0, kind=item.kind, name=item.name, twice=item.twice)
    session.add(copy)
    order.insert(order.index(item) + 1, copy)
    number(order)
    session.flush()
    return copy
