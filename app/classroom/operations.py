"""What is done in a class. Each function is one transaction's work, and leaves the commit to its caller.

`find_class`, `find_teacher` and `find_student` say who asks; the others take what they found. Whatever
changes a class first locks its row, so that of two presses at the same moment the second sees what the first
did. The time is taken after the lock, so a vote that had to wait for a closing is late.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal, TypeVar
from urllib.parse import parse_qsl

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.classroom import codes, names
from app.classroom.dots import DOTS_FROM
from app.classroom.flow import LAST_BEAT, Action, Phase, after
from app.classroom.judging import judge_guess, judge_step
from app.classroom.models import TITLE_LENGTH, Answer, Classroom, Item, Progress, Student, Vote
from app.classroom.prepared import states_of
from app.classroom.refusals import (
    EndedError,
    FieldError,
    HasVotesError,
    NameTakenError,
    NotNowError,
    NotOpenError,
    NotStudentError,
    NotTeacherError,
    StaleError,
    UnknownClassError,
    UnknownItemError,
    UnknownStudentError,
)
from app.classroom.timing import (
    CLOSING,
    deleted_on,
    is_due,
    last_day,
    phase_of,
    present,
    round_of,
    status_of,
)
from lessons.catalogue import Lesson, load_lesson
from lessons.kit.controls import ControlError
from lessons.kit.language import gettext as _
from lessons.kit.task import LONGEST_ADDRESS

LONGEST_CLASS = timedelta(days=366)
MOST_ITEMS = 60
MOST_STUDENTS = 2_000
MOST_ANSWERS = 5_000
"""Answers at their own pace that are stored of one student."""

_UID = re.compile("[A-Za-z0-9-]{1,36}")
LARGEST_ID = 2**31 - 1
CONFIDENCES = (1, 2, 3)
"""A guess, fairly sure, certain."""

Row = TypeVar("Row", Item, Student)


# --- who asks ----------------------------------------------------------------------------------------------


def find_class(session: Session, code: str) -> Classroom:
    """The class with this code, however it is written.

    Raises
    ------
    UnknownClassError
        When there is none.
    """
    canonical = codes.canonical(code)
    found = canonical and session.scalar(select(Classroom).where(Classroom.code == canonical))
    if not found:
        raise UnknownClassError
    return found


def find_teacher(session: Session, code: str, secret: str) -> Classroom:
    """The class that this secret steers.

    Raises
    ------
    UnknownClassError, NotTeacherError
        When no class has the code, or the secret is not its teacher's.
    """
    classroom = find_class(session, code)
    if not codes.matches(secret, classroom.teacher_hash):
        raise NotTeacherError
    return classroom


def find_student(session: Session, code: str, secret: str) -> Student:
    """The student with this secret, which is also the resume code.

    Raises
    ------
    UnknownClassError, NotStudentError
        When no class has the code, or no student in it the secret.
    """
    classroom = find_class(session, code)
    if not codes.is_secret(secret):
        raise NotStudentError
    own = select(Student).where(
        Student.classroom_id == classroom.id, Student.secret_hash == codes.hash_of(secret)
    )
    found = session.scalar(own)
    if not found:
        raise NotStudentError
    return found


def class_of(session: Session, student: Student) -> Classroom:
    """The class of a student."""
    return session.get_one(Classroom, student.classroom_id)


# --- a class -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Created:
    """A new class, and the teacher's secret, which is stored nowhere."""

    classroom: Classroom
    secret: str


def create(
    session: Session, title: str, ends_on: date, *, lesson: str, months: int = 12, now: datetime | None = None
) -> Created:
    """Start a class on a lesson, with the default running order.

    Raises
    ------
    FieldError
        When the title is empty or too long, or the end date is past or more than a year away.
    """
    now = present(now)
    secret = codes.new_secret()
    classroom = Classroom(
        code=_free_code(session),
        title=_title(title),
        lesson=lesson,
        teacher_hash=codes.hash_of(secret),
        created_at=now,
        ends_on=_end(ends_on, now),
        retention_months=months,
    )
    session.add(classroom)
    session.flush()
    for position, (kind, name) in enumerate(default_order(load_lesson(lesson)), start=1):
        session.add(Item(classroom_id=classroom.id, position=position, kind=kind, name=name))
    session.flush()
    return Created(classroom, secret)


def default_order(lesson: Lesson) -> list[tuple[str, str]]:
    """The questions that the lesson's own page asks, in its order, each followed by its figure."""
    asked = [name for section in lesson.sections for name in section.questions]
    return [(kind, name) for name in asked for kind in ("question", "figure")]


def end(session: Session, classroom: Classroom, version: int, *, now: datetime | None = None) -> None:
    """End a class; a vote that is open is closed."""
    now = _begin(session, classroom, version, now)
    _close_open(session, classroom, now)
    classroom.ended_at = now
    _done(session, classroom)


def reopen_class(
    session: Session, classroom: Classroom, version: int, *, now: datetime | None = None
) -> None:
    """Open an ended class again, until its end date; after it, `EndedError`."""
    now = _lock(session, classroom, now)
    _refuse_stale(session, classroom, version, now)
    classroom.ended_at = None
    if status_of(classroom, now) == "ended":
        raise EndedError(classroom.ends_on)
    _done(session, classroom)


def delete_class(session: Session, classroom: Classroom) -> None:
    """Delete a class with everything in it."""
    _lock(session, classroom)
    session.delete(classroom)  # the database deletes what belongs to it
    session.flush()


def purge(session: Session, *, now: datetime | None = None) -> list[str]:
    """Delete the classes whose time is over; returns their codes."""
    today = present(now).date()
    every = session.scalars(select(Classroom).order_by(Classroom.id))
    due = [each for each in every if deleted_on(each) <= today]
    gone = [classroom.code for classroom in due]
    for classroom in due:
        delete_class(session, classroom)
    return gone


def settle_due(session: Session, *, now: datetime | None = None) -> list[str]:
    """Write down the votes whose moment of closing has passed; returns the codes of their classes."""
    now = present(now)
    due = select(Item.classroom_id).where(Item.closes_at <= now).distinct().order_by(Item.classroom_id)
    settled = []
    for classroom in [session.get_one(Classroom, id) for id in session.scalars(due)]:
        _lock(session, classroom, now)
        settled.append(classroom.code)
    return settled


# --- students ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Joined:
    """A new student, and their secret, which is stored nowhere and is also the resume code."""

    student: Student
    secret: str


def join(session: Session, classroom: Classroom, name: str = "", *, now: datetime | None = None) -> Joined:
    """Let somebody in. Without a name, or with a pseudonym that has just been taken, they get a free one.

    Raises
    ------
    EndedError, NameRefusedError, NameTakenError
        When the class has ended, or the name cannot be had.
    """
    now = _lock(session, classroom, now)
    if status_of(classroom, now) == "ended":
        raise EndedError(last_day(classroom))
    taken = _taken(session, classroom)
    if len(taken) >= MOST_STUDENTS:
        raise FieldError("class", _("at most %(most)s students", most=MOST_STUDENTS))
    name = _free_name(name, taken) if name.strip() else names.offer(taken)
    secret = codes.new_secret()
    student = Student(
        id=codes.new_secret(),
        classroom_id=classroom.id,
        name=name,
        name_key=names.skeleton(name),
        secret_hash=codes.hash_of(secret),
        joined_at=now,
        seen_at=now,
    )
    session.add(student)
    classroom.tally += 1
    session.flush()
    return Joined(student, secret)


def rename(session: Session, student: Student, name: str) -> None:
    """Give a student another name; an empty one means another pseudonym.

    Raises
    ------
    NameRefusedError, NameTakenError
        When the name cannot be had.
    """
    classroom = class_of(session, student)
    _lock(session, classroom)
    taken = _taken(session, classroom) - {student.name_key}
    own = names.clean(name) if name.strip() else names.offer({*taken, student.name_key})
    if names.skeleton(own) in taken:
        raise NameTakenError(own)
    student.name, student.name_key = own, names.skeleton(own)
    classroom.tally += 1
    session.flush()


def follow(session: Session, student: Student, following: bool) -> None:
    """Follow the teacher, or go on at their own pace; it stays so until it is taken back."""
    classroom = class_of(session, student)
    _lock(session, classroom)
    student.following = following
    classroom.tally += 1
    session.flush()


def delete_student(session: Session, classroom: Classroom, student_id: str) -> None:
    """Delete a student with all that is stored of them: by themselves, or by the teacher.

    Raises
    ------
    UnknownStudentError
        When there is none of this id in the class.
    """
    _lock(session, classroom)
    student = _within(session, classroom, Student, student_id) if codes.is_secret(student_id) else None
    if student is None:
        raise UnknownStudentError
    session.delete(student)  # the database deletes votes, answers and progress with it
    classroom.tally += 1
    classroom.version += 1  # a dot goes from what is shown
    session.flush()


# --- a vote ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a guess.

    `late`: it came after the closing. `counts` is then the guess that stood before and still counts; None
    where there was none.
    """

    value: str | None
    late: bool
    counts: str | None = None


def vote(
    session: Session,
    student: Student,
    item_id: int,
    round: int,
    value: str | None,
    confidence: int | None = None,
    *,
    now: datetime | None = None,
) -> Receipt:
    """Store a guess in the first or second vote of an item, or move it. `value` None: "I would rather not".

    Sent twice it is stored once. After the closing it is stored as late, unless one counts already.

    Raises
    ------
    FieldError, UnknownItemError, NotOpenError
        When the guess cannot be given, the item is not in the class, or its vote was never opened.
    """
    if round not in (1, 2):
        raise FieldError("round", _("one of %(options)s", options="1, 2"))
    if confidence is not None and (confidence not in CONFIDENCES or round == 1):
        raise FieldError("confidence", _("%(low)s to %(high)s, with the second vote", low=1, high=3))
    classroom = class_of(session, student)
    now = _lock(session, classroom, now)
    if not _within(session, classroom, Student, student.id):
        raise NotStudentError
    item = _item(session, classroom, item_id)
    if item.kind != "question":
        raise UnknownItemError
    phase = Phase(item.phase)
    second_is_shut = phase is not Phase.WITHDRAWN and round_of(item, phase) < 2
    if item.opened_at is None or (round == 2 and second_is_shut):
        raise NotOpenError
    judged = judge_guess(classroom.lesson, item.name, value)
    late = phase.vote != round or status_of(classroom, now) == "ended"
    own = select(Vote).where(Vote.item_id == item.id, Vote.student_id == student.id, Vote.round == round)
    stored = session.scalar(own.execution_options(populate_existing=True))
    if stored and late:
        repeated = stored.value == judged.value
        return Receipt(judged.value, stored.late or not repeated, None if stored.late else stored.value)
    if not stored:
        stored = Vote(item_id=item.id, student_id=student.id, round=round)
        session.add(stored)
    stored.value, stored.outcome, stored.confidence = judged.value, judged.outcome, confidence
    stored.late, stored.at = late, now
    stored.seconds = max((now - item.opened_at).total_seconds(), 0.0)
    student.seen_at = now
    classroom.tally += 1
    session.flush()
    return Receipt(judged.value, late)


# --- at their own pace -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent:
    """An answer at a student's own pace, as the browser sends it.

    `uid` is the browser's own, so that it may be sent again. Of a question, `name` alone; of a task also the
    step and the seed, which is stored as `variant`. `value` None: skipped.
    """

    uid: str
    kind: Literal["question", "step"]
    name: str
    value: str | None
    step: str = ""
    seed: int = 0
    seconds: float | None = None


def record(session: Session, student: Student, sent: Sent, *, now: datetime | None = None) -> bool:
    """Judge and store an answer; False where this one (`uid`) has been stored before.

    It locks the student alone, so that who reads does not hold up who votes. Where `progress` is noted in the
    same transaction it must come first: everything else locks the class and then the student.

    Raises
    ------
    FieldError
        When a field is not allowed, or the student has sent far too many.
    """
    if not _UID.fullmatch(sent.uid):
        raise FieldError("uid", _("1 to 36 letters, digits and hyphens"))
    if sent.seconds is not None and not 0 <= sent.seconds <= 86_400:
        raise FieldError("seconds", _("%(low)s to %(high)s", low=0, high=86_400))
    lesson = class_of(session, student).lesson
    locked = select(Student).where(Student.id == student.id).with_for_update(key_share=True)
    if session.scalar(locked.execution_options(populate_existing=True)) is None:
        raise NotStudentError
    if session.scalar(select(Answer.id).where(Answer.student_id == student.id, Answer.uid == sent.uid)):
        return False
    own = select(func.count()).select_from(Answer).where(Answer.student_id == student.id)
    if (session.scalar(own) or 0) >= MOST_ANSWERS:
        raise FieldError("answers", _("at most %(most)s of one student", most=MOST_ANSWERS))
    if sent.kind == "question":
        judged = judge_guess(lesson, sent.name, sent.value)
    elif sent.value is None:
        raise FieldError("value", _("an answer"))
    else:
        judged = judge_step(lesson, sent.name, sent.step, sent.seed, sent.value)
    step, variant = (sent.step, sent.seed) if sent.kind == "step" else ("", 0)
    before = own.where(
        Answer.kind == sent.kind, Answer.name == sent.name, Answer.step == step, Answer.variant == variant
    )
    session.add(
        Answer(
            student_id=student.id,
            uid=sent.uid,
            kind=sent.kind,
            name=sent.name,
            step=step,
            variant=variant,
            value=judged.value,
            outcome=judged.outcome,
            slip=judged.slip,
            attempt=(session.scalar(before) or 0) + 1,
            seconds=sent.seconds,
            at=present(now),
        )
    )
    session.flush()
    return True


def progress(session: Session, student: Student, section: str, *, done: bool = False) -> None:
    """Note where a student is, and whether they are done with it.

    Raises
    ------
    FieldError
        When the lesson has no such section.
    """
    classroom = class_of(session, student)
    _section(classroom, section)
    _lock(session, classroom)
    kept = session.get(Progress, (student.id, section))
    if kept and student.section == section and kept.done >= done:
        return
    if kept is None:
        session.add(Progress(student_id=student.id, section=section, done=done))
    else:
        kept.done = kept.done or done
    student.section = section
    classroom.tally += 1
    session.flush()


# --- the teacher's presses ---------------------------------------------------------------------------------
# Each carries the version that its page knew; with an older one nothing is done (`StaleError`).


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
    now = _begin(session, classroom, version, now)
    item = _shown(session, classroom) if item_id is None else _item(session, classroom, item_id)
    if item is None or item.kind != "question" or (item.id != classroom.item_id and action is not Action.ASK):
        raise NotNowError(action)
    phase = Phase(item.phase)
    reached = after(phase, action)
    if reached is None or (action is Action.ASK_AGAIN and not item.twice):
        raise NotNowError(action, phase)
    if action is Action.ASK:
        if item.id != classroom.item_id:
            _close_open(session, classroom, now)
        item = _copy(session, classroom, item) if phase is Phase.WITHDRAWN else item
        classroom.item_id, classroom.called = item.id, None
        classroom.screen = "follow"
    _enter(session, item, reached, action, now)
    _done(session, classroom)


def close_soon(
    session: Session, classroom: Classroom, version: int, *, now: datetime | None = None
) -> datetime:
    """Close the open vote in ten seconds; returns when. `stay_open` takes it back."""
    now = _begin(session, classroom, version, now)
    item = _voting(session, classroom)
    item.closes_at = now + CLOSING
    _done(session, classroom)
    return item.closes_at


def stay_open(session: Session, classroom: Classroom, version: int, *, now: datetime | None = None) -> None:
    """Take "close in ten seconds" back."""
    _begin(session, classroom, version, now)
    _voting(session, classroom).closes_at = None
    _done(session, classroom)


def show(
    session: Session,
    classroom: Classroom,
    version: int,
    item_id: int | None,
    *,
    now: datetime | None = None,
) -> None:
    """Put a line on the screen, as it stands; None is the lobby. A vote that is open is closed."""
    now = _begin(session, classroom, version, now)
    item = None if item_id is None else _item(session, classroom, item_id)
    if item is None or item.id != classroom.item_id:
        _close_open(session, classroom, now)
        classroom.called = None
    classroom.item_id = item.id if item else None
    classroom.screen = "follow"
    _done(session, classroom)


def next_item(session: Session, classroom: Classroom) -> Item | None:
    """The line after the one on the screen, the first in the lobby; withdrawn questions are passed over."""
    items = running_order(session, classroom)
    at = next((i for i, item in enumerate(items) if item.id == classroom.item_id), -1)
    return next((item for item in items[at + 1 :] if item.phase != Phase.WITHDRAWN), None)


def step(
    session: Session, classroom: Classroom, version: int, by: int, *, now: datetime | None = None
) -> None:
    """Walk the beats of a reveal, or the prepared states of a figure; at an end nothing happens."""
    _begin(session, classroom, version, now)
    item = _shown(session, classroom)
    if item is None:
        raise NotNowError
    low, high = steps_of(session, classroom, item)
    reached = min(max(item.step + by, low), high)
    if reached != item.step:
        item.step = reached
        _done(session, classroom)


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
    _begin(session, classroom, version, now)
    classroom.screen = screen
    _done(session, classroom)


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
        _section(classroom, section)
    _begin(session, classroom, version, now)
    classroom.called = section
    _done(session, classroom)


# --- the running order -------------------------------------------------------------------------------------


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
    known: dict[str, Collection[str]] = {
        "question": lesson.questions,
        "figure": lesson.figures,
        "task": lesson.tasks,
    }
    if kind not in known:
        raise FieldError("kind", _("one of %(options)s", options=", ".join(known)))
    if name not in known[kind]:
        raise FieldError("name", _("one of %(options)s", options=", ".join(known[kind])))
    _check_states(lesson, kind, name, states)
    _begin(session, classroom, version, now)
    order = running_order(session, classroom)
    if len(order) >= MOST_ITEMS:
        raise FieldError("order", _("at most %(most)s lines", most=MOST_ITEMS))
    item = Item(classroom_id=classroom.id, position=0, kind=kind, name=name, states=list(states), twice=twice)
    session.add(item)
    order.insert(len(order) if position is None else min(max(position - 1, 0), len(order)), item)
    _number(order)
    _done(session, classroom)
    return item


def remove_item(
    session: Session, classroom: Classroom, version: int, item_id: int, *, now: datetime | None = None
) -> None:
    """Take a line out. A question that has been asked stays (`HasVotesError`), for its votes."""
    _begin(session, classroom, version, now)
    item = _item(session, classroom, item_id)
    if item.opened_at is not None:
        raise HasVotesError
    if classroom.item_id == item.id:
        classroom.item_id = None
    session.delete(item)
    session.flush()
    _number(running_order(session, classroom))
    _done(session, classroom)


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
    _begin(session, classroom, version, now)
    item = _item(session, classroom, item_id)
    order = [each for each in running_order(session, classroom) if each.id != item.id]
    order.insert(min(max(position - 1, 0), len(order)), item)
    _number(order)
    _done(session, classroom)


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
    _begin(session, classroom, version, now)
    item = _item(session, classroom, item_id)
    if item.kind != "question" or Phase(item.phase) not in (Phase.WAITING, Phase.VOTING_1, Phase.CLOSED_1):
        raise NotNowError
    item.twice = twice
    _done(session, classroom)


# --- within ------------------------------------------------------------------------------------------------


def _begin(session: Session, classroom: Classroom, version: int, now: datetime | None) -> datetime:
    """Lock a class for a teacher's press; refuse an old page and an ended class. Returns the moment."""
    moment = _lock(session, classroom, now)
    _refuse_stale(session, classroom, version, moment)
    if status_of(classroom, moment) == "ended":
        raise EndedError(last_day(classroom))
    return moment


def _lock(session: Session, classroom: Classroom, now: datetime | None = None) -> datetime:
    """Lock the row of a class, read it again, close a vote whose moment has passed. Returns the moment."""
    _fresh(session, classroom)
    moment = present(now)
    item = _shown(session, classroom)
    if item and is_due(item, moment):
        item.phase, item.changed_at, item.closes_at = phase_of(item, moment), item.closes_at, None
        classroom.version += 1
        session.flush()
    return moment


def _fresh(session: Session, classroom: Classroom) -> None:
    row = select(Classroom).where(Classroom.id == classroom.id).with_for_update(key_share=True)
    if session.scalar(row.execution_options(populate_existing=True)) is None:
        raise UnknownClassError


def _refuse_stale(session: Session, classroom: Classroom, version: int, now: datetime) -> None:
    if version != classroom.version:
        item = _shown(session, classroom)
        raise StaleError(phase_of(item, now) if item and item.kind == "question" else None)


def _done(session: Session, classroom: Classroom) -> None:
    classroom.version += 1
    session.flush()


def _within(session: Session, classroom: Classroom, table: type[Row], id: int | str) -> Row | None:
    """A row of a class, as it is now; none of another class."""
    row = select(table).where(table.id == id)
    found = session.scalar(row.execution_options(populate_existing=True))
    return found if found is not None and found.classroom_id == classroom.id else None


def _item(session: Session, classroom: Classroom, item_id: int) -> Item:
    found = _within(session, classroom, Item, item_id) if 0 < item_id <= LARGEST_ID else None
    if found is None:
        raise UnknownItemError
    return found


def _shown(session: Session, classroom: Classroom) -> Item | None:
    return None if classroom.item_id is None else _within(session, classroom, Item, classroom.item_id)


def _voting(session: Session, classroom: Classroom) -> Item:
    item = _shown(session, classroom)
    if item is None or not Phase(item.phase).vote:
        raise NotNowError
    return item


def _close_open(session: Session, classroom: Classroom, now: datetime) -> None:
    """Close the vote that is open, because something else comes."""
    item = _shown(session, classroom)
    closed = item and after(Phase(item.phase), Action.CLOSE)
    if item and closed:
        _enter(session, item, closed, Action.CLOSE, now)


def _enter(session: Session, item: Item, phase: Phase, action: Action, now: datetime) -> None:
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


def _copy(session: Session, classroom: Classroom, item: Item) -> Item:
    """A new line for a question that is asked afresh, right after the old one."""
    order = running_order(session, classroom)
    copy = Item(classroom_id=classroom.id, position=0, kind=item.kind, name=item.name, twice=item.twice)
    session.add(copy)
    order.insert(order.index(item) + 1, copy)
    _number(order)
    session.flush()
    return copy


def _number(order: list[Item]) -> None:
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


def _section(classroom: Classroom, slug: str) -> None:
    slugs = [section.slug for section in load_lesson(classroom.lesson).sections]
    if slug not in slugs:
        raise FieldError("section", _("one of %(options)s", options=", ".join(slugs)))


def _free_code(session: Session) -> str:
    while session.scalar(select(Classroom.id).where(Classroom.code == (code := codes.new_code()))):
        pass
    return code


def _title(text: str) -> str:
    title = " ".join(text.split())
    if not 0 < len(title) <= TITLE_LENGTH or not title.isprintable():
        raise FieldError("title", _("from 1 to %(most)s characters", most=TITLE_LENGTH))
    return title


def _end(ends_on: date, now: datetime) -> date:
    first, last = now.date() - timedelta(days=1), now.date() + LONGEST_CLASS
    if not first <= ends_on <= last:  # yesterday is still today somewhere
        raise FieldError(
            "ends_on", _("from %(first)s to %(last)s", first=now.date().isoformat(), last=last.isoformat())
        )
    return ends_on


def _taken(session: Session, classroom: Classroom) -> set[str]:
    """The skeletons of the names in a class."""
    return set(session.scalars(select(Student.name_key).where(Student.classroom_id == classroom.id)))


def _free_name(text: str, taken: set[str]) -> str:
    """A name that somebody chose; one of ours that is taken is replaced, as it was offered a moment ago."""
    name = names.clean(text)
    if names.skeleton(name) not in taken:
        return name
    if names.is_offered(name):
        return names.offer(taken)
    raise NameTakenError(name)
