"""What the screen, a student and the desk may know now, read from the database.

Before the reveal of a question no guess, verdict or confidence of anybody else is read at all, and of a
student's own votes no verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from datetime import datetime
from typing import Literal, cast

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from app.classroom.bounded import Bounded
from app.classroom.flow import Phase
from app.classroom.judging import NEAR, values, verdict
from app.classroom.models import Answer, Classroom, Item, Progress, Student, Vote
from app.classroom.operations import class_of, running_order
from app.classroom.prepared import states_of
from app.classroom.refusals import NotNowError
from app.classroom.states import (
    Common,
    DeskState,
    Guesses,
    Line,
    OwnVote,
    Peek,
    Person,
    ScreenState,
    Shown,
    StudentState,
)
from app.classroom.thoughts import section_of
from app.classroom.timing import HERE, is_due, is_here, phase_of, present, round_of, status_of
from lessons.catalogue import Lesson, load_lesson

CROWDED = 3
"""Wrong answers that a peek names."""

EXPLAIN_BELOW, REVEAL_ABOVE = 0.3, 0.7
"""Shares of near guesses between which talking helps most."""

Screen = Literal["follow", "code", "blank"]

_questions: Bounded[tuple[str, int, int], tuple[int, ...]] = Bounded(256)
_guesses: Bounded[tuple[str, int, int], Guesses] = Bounded(256)
_counts: Bounded[tuple[str, int, int, int], tuple[int, int]] = Bounded(256)


def screen_state(session: Session, classroom: Classroom, *, now: datetime | None = None) -> ScreenState:
    """What the projector may show."""
    now = present(now)
    return ScreenState(_common(session, classroom, now), cast(Screen, classroom.screen))


def student_state(session: Session, student: Student, *, now: datetime | None = None) -> StudentState:
    """What one student may know."""
    now = present(now)
    classroom = class_of(session, student)
    common = _common(session, classroom, now)
    own: dict[int, OwnVote] = {}
    if common.shown and common.shown.kind == "question":
        revealed = common.shown.phase is Phase.REVEALED
        if common.shown.phase.vote:  # so that the first guess in this worker is judged as soon as all others
            verdict(classroom.lesson, common.shown.name, None)
        votes = select(Vote).where(Vote.item_id == common.shown.id, Vote.student_id == student.id)
        own = {
            vote.round: OwnVote(vote.value, vote.outcome if revealed else "", vote.confidence, vote.late)
            for vote in session.scalars(votes)
        }
    voted, answered = (
        select(func.count()).select_from(table).where(table.student_id == student.id).scalar_subquery()
        for table in (Vote, Answer)
    )
    return StudentState(
        common=common,
        name=student.name,
        following=student.following,
        called=classroom.called,
        first=own.get(1),
        second=own.get(2),
        asks_confidence=classroom.asks_confidence,
        answers=session.scalar(select(voted + answered)) or 0,
    )


def desk_state(session: Session, classroom: Classroom, *, now: datetime | None = None) -> DeskState:
    """What the teacher may know."""
    now = present(now)
    lesson = load_lesson(classroom.lesson)
    common = _common(session, classroom, now)
    students = list(
        session.scalars(
            select(Student).where(Student.classroom_id == classroom.id).order_by(Student.name, Student.id)
        )
    )
    item = _shown_item(session, classroom)
    voted, any_round = _voters(session, item, now)
    people = tuple(
        Person(
            student.id,
            student.name,
            "voted" if student.id in voted else "here" if is_here(student.seen_at, now) else "away",
        )
        for student in students
    )
    here = [student for student in students if student.id in any_round or is_here(student.seen_at, now)]
    return DeskState(
        common=common,
        screen=cast(Screen, classroom.screen),
        screen_on=is_here(classroom.screen_seen_at, now),
        ends_on=classroom.ends_on.isoformat(),
        order=tuple(
            _line(lesson, item, now)
            for item in running_order(session, classroom)
            if is_in_lesson(classroom, item)
        ),
        people=people,
        following=sum(student.following for student in here),
        sections=_sections(session, classroom, lesson, here),
        called=classroom.called,
        saved_at=now,
    )


def peek(session: Session, classroom: Classroom, *, now: datetime | None = None) -> Peek:
    """How the last vote went, for the teacher's eyes: the share of near guesses and the crowded wrong ones.

    Raises
    ------
    NotNowError
        When a vote is open, or none has been closed, or the answer is revealed.
    """
    now = present(now)
    item = _shown_item(session, classroom)
    phase = phase_of(item, now) if item else Phase.WAITING
    if item is None or phase not in (Phase.CLOSED_1, Phase.DISCUSS, Phase.CLOSED_2):
        raise NotNowError(phase=phase)
    last = _in_time(item).where(Vote.round == round_of(item, phase), Vote.value.is_not(None))
    votes = session.execute(last.with_only_columns(Vote.value, Vote.outcome))
    given = [(str(value), outcome) for value, outcome in votes]
    near = sum(outcome in NEAR for _, outcome in given)
    wrong = Counter(value for value, outcome in given if outcome not in NEAR)
    order = {value: place for place, value in enumerate(values(classroom.lesson, item.name))}
    ranked = sorted(wrong, key=lambda value: (-wrong[value], order.get(value, 0)))
    crowded = tuple(value for value in ranked if wrong[value] > 1)[:CROWDED]
    share = near / len(given) if given else 0.0
    advice = "explain" if share < EXPLAIN_BELOW else "talk" if share <= REVEAL_ABOVE else "reveal"
    return Peek(near, len(given), crowded, cast(Literal["explain", "talk", "reveal"], advice))


# --- within ------------------------------------------------------------------------------------------------


def _common(session: Session, classroom: Classroom, now: datetime) -> Common:
    item = _shown_item(session, classroom)
    shown = _shown(session, classroom, item, now)
    voted, here = _counted(session, classroom, item, now)
    revealed = item is not None and shown is not None and shown.phase is Phase.REVEALED
    return Common(
        code=classroom.code,
        title=classroom.title,
        lesson=classroom.lesson,
        status=status_of(classroom, now),
        version=classroom.version + bool(item and is_due(item, now)),  # as the settled class will have it
        shown=shown,
        voted=voted,
        here=here,
        guesses=_read_guesses(session, classroom, item) if item and revealed else None,
    )


def _shown_item(session: Session, classroom: Classroom) -> Item | None:
    item = None if classroom.item_id is None else session.get(Item, classroom.item_id)
    return item if item is not None and is_in_lesson(classroom, item) else None


def is_in_lesson(classroom: Classroom, item: Item) -> bool:
    """Whether this version of the lesson has what an item names: a class may be older than an update."""
    lesson = load_lesson(classroom.lesson)
    names: dict[str, Container[str]] = {
        "question": lesson.questions,
        "figure": lesson.figures,
        "task": lesson.tasks,
    }
    return item.name in names[item.kind]


def _shown(session: Session, classroom: Classroom, item: Item | None, now: datetime) -> Shown | None:
    if item is None:
        return None
    key = (classroom.code, classroom.version, item.id)
    questions = _questions.get(key, lambda: _asked(session, classroom, item))
    due = is_due(item, now)
    return Shown(
        id=item.id,
        kind=item.kind,
        name=item.name,
        phase=phase_of(item, now),
        step=item.step,
        states=states_of(session, classroom, item),
        twice=item.twice,
        number=questions.index(item.id) + 1 if item.id in questions else 0,
        total=len(questions),
        changed_at=item.closes_at if due else item.changed_at,
        closes_at=None if due else item.closes_at,
    )


def _asked(session: Session, classroom: Classroom, item: Item) -> tuple[int, ...]:
    """The questions of a class without those that were withdrawn, in their order."""
    asked = select(Item).where(
        Item.classroom_id == classroom.id,
        Item.kind == "question",
        or_(Item.phase != Phase.WITHDRAWN, Item.id == item.id),
    )
    items = session.scalars(asked.order_by(Item.position, Item.id))
    return tuple(each.id for each in items if is_in_lesson(classroom, each))


def _in_time(item: Item) -> Select[str]:
    """Whose votes were in time."""
    return select(Vote.student_id).where(Vote.item_id == item.id, Vote.late.is_(False))


def _counted(session: Session, classroom: Classroom, item: Item | None, now: datetime) -> tuple[int, int]:
    """How many have voted in the open or last round, and how many are here; at most a second old."""
    key = (classroom.code, classroom.version, classroom.tally, int(now.timestamp()))
    return _counts.get(key, lambda: _count(session, classroom, item, now))


def _count(session: Session, classroom: Classroom, item: Item | None, now: datetime) -> tuple[int, int]:
    is_here = Student.seen_at >= now - HERE
    voted = 0
    if item is not None:
        in_time = _in_time(item)
        last = in_time.where(Vote.round == round_of(item, phase_of(item, now)))
        voted = session.scalar(select(func.count()).select_from(last.subquery())) or 0
        is_here = or_(is_here, Student.id.in_(in_time))
    here = select(func.count()).select_from(Student).where(Student.classroom_id == classroom.id, is_here)
    return voted, session.scalar(here) or 0


def _voters(session: Session, item: Item | None, now: datetime) -> tuple[set[str], set[str]]:
    """Who has voted in time in the open or last round of an item, and who in any of its rounds."""
    if item is None:
        return set(), set()
    votes = select(Vote.student_id, Vote.round).where(Vote.item_id == item.id, Vote.late.is_(False))
    rows = session.execute(votes).all()
    round = round_of(item, phase_of(item, now))
    return {student for student, own in rows if own == round}, {student for student, _ in rows}


def _read_guesses(session: Session, classroom: Classroom, item: Item) -> Guesses:
    """The guesses on a revealed question, sorted by value, so that no order tells whose they are."""
    key = (classroom.code, item.id, classroom.version)
    return _guesses.get(key, lambda: _collect(session, classroom, item))


def _collect(session: Session, classroom: Classroom, item: Item) -> Guesses:
    votes = select(Vote.student_id, Vote.round, Vote.value).where(
        Vote.item_id == item.id, Vote.late.is_(False)
    )
    pairs: dict[str, list[str | None]] = {}
    skipped = [0, 0]
    for student, round, value in session.execute(votes):
        if value is None:
            skipped[round - 1] += 1
        else:
            pairs.setdefault(student, [None, None])[round - 1] = value
    order = {value: place for place, value in enumerate(values(classroom.lesson, item.name))}

    def place(pair: tuple[str | None, str | None]) -> list[tuple[int, str]]:
        return [(-1, "") if value is None else (order.get(value, len(order)), value) for value in pair]

    ordered = sorted(((first, second) for first, second in pairs.values()), key=place)
    return Guesses(tuple(ordered), (skipped[0], skipped[1]))


def _line(lesson: Lesson, item: Item, now: datetime) -> Line:
    phase = phase_of(item, now)
    return Line(
        item.id,
        item.kind,
        item.name,
        section_of(lesson, item.kind, item.name),
        phase,
        item.twice,
        item.changed_at,
    )


def _sections(
    session: Session, classroom: Classroom, lesson: Lesson, here: list[Student]
) -> tuple[tuple[str, int, int], ...]:
    done = (
        select(Progress.section, func.count())
        .join(Student, Student.id == Progress.student_id)
        .where(Student.classroom_id == classroom.id, Progress.done)
        .group_by(Progress.section)
    )
    finished = dict(session.execute(done).all())
    there = Counter(student.section for student in here)
    return tuple(
        (section.slug, finished.get(section.slug, 0), there[section.slug]) for section in lesson.sections
    )
