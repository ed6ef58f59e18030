"""What the screen, a student and the desk may know now, read from the database.

Before the reveal of a question no guess, verdict or confidence of anybody else is read at all, and of a
student's own votes no verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, or_, select
from sqlalchemy.orm import Session, aliased

from app.classroom import codes
from app.classroom.bounded import Bounded
from app.classroom.flow import Phase
from app.classroom.judging import NEAR, values, verdict
from app.classroom.models import Answer, Classroom, Item, Progress, Student, Vote
from app.classroom.operations import find_student, running_order
from app.classroom.prepared import states_of
from app.classroom.refusals import NotNowError, NotStudentError
from app.classroom.states import (
    Common,
    DeskState,
    Guesses,
    Line,
    OwnVote,
    Peek,
    Person,
    Screen,
    ScreenState,
    Shown,
    StudentState,
)
from app.classroom.thoughts import section_of
from app.classroom.timing import HERE, end_of, is_due, is_here, phase_of, present, round_of
from lessons.catalogue import Lesson, load_lesson

CROWDED = 3
"""Wrong answers that a peek names."""

EXPLAIN_BELOW, REVEAL_ABOVE = 0.3, 0.7
"""Shares of near guesses between which talking helps most."""


def _own_vote(vote: type[Vote], round: int) -> ColumnElement[bool]:
    """The vote of a student in a round on what is shown."""
    return and_(vote.item_id == Classroom.item_id, vote.student_id == Student.id, vote.round == round)


_FIRST, _SECOND = aliased(Vote), aliased(Vote)
_OWN = (
    select(
        *(Classroom.id, Classroom.code, Classroom.version, Classroom.tally),
        *(Student.name, Student.following),
        *(
            select(func.count()).select_from(table).where(table.student_id == Student.id).scalar_subquery()
            for table in (Vote, Answer)
        ),
        *(
            getattr(vote, name)
            for vote in (_FIRST, _SECOND)
            for name in ("id", "value", "outcome", "confidence", "late")
        ),
    )
    .join(Student, Student.classroom_id == Classroom.id)
    .outerjoin(_FIRST, _own_vote(_FIRST, 1))
    .outerjoin(_SECOND, _own_vote(_SECOND, 2))
)
"""All that is read for a student's page where another student's has been read at the same version."""
_OWN_BY_ID = _OWN.where(Student.id == bindparam("student"))
_OWN_BY_SECRET = _OWN.where(Classroom.code == bindparam("code"), Student.secret_hash == bindparam("hash"))


@dataclass(frozen=True, slots=True)
class _Stored:
    """What all in a class share, as it is stored at one version."""

    id: int
    code: str
    version: int
    title: str
    lesson: str
    ends_at: datetime
    admits: bool
    shown: Shown | None
    called: str | None
    asks_confidence: bool


@dataclass(frozen=True, slots=True)
class _Counts:
    """How many have voted in the open or last round, how many are here, and all votes that count."""

    voted: int
    here: int
    votes: int


_stored: Bounded[tuple[str, int], _Stored] = Bounded(256)
_guesses: Bounded[tuple[str, int, int, int], Guesses] = Bounded(256)
_counts: Bounded[tuple[str, int, int, int], _Counts] = Bounded(256)


def screen_state(session: Session, classroom: Classroom, *, now: datetime | None = None) -> ScreenState:
    """What the projector may show."""
    return ScreenState(_common_of(session, classroom, present(now)), cast(Screen, classroom.screen))


def student_state(session: Session, student: Student, *, now: datetime | None = None) -> StudentState:
    """What one student may know."""
    own = session.execute(_OWN_BY_ID, {"student": student.id}).one()
    return _student_state(session, own, present(now))


def find_student_state(
    session: Session, code: str, secret: str, *, now: datetime | None = None
) -> StudentState:
    """The same of the student with this secret; raises what `find_student` does."""
    known = codes.is_secret(secret) and codes.canonical(code)
    own = (
        known
        and session.execute(_OWN_BY_SECRET, {"code": known, "hash": codes.hash_of(secret)}).one_or_none()
    )
    if not own:
        find_student(session, code, secret)
        raise NotStudentError
    return _student_state(session, own, present(now))


def _student_state(session: Session, own: Sequence[Any], now: datetime) -> StudentState:
    id, code, version, tally, name, following, voted, answered, *votes = own
    stored = _stored.get((code, version), lambda: _read_stored(session, id))
    common = _common(session, stored, tally, now)
    first, second = None, None
    if common.shown and common.shown.kind == "question":
        revealed = common.shown.phase is Phase.REVEALED
        if common.shown.phase.vote:  # so that the first guess in this worker is judged as soon as all others
            verdict(common.lesson, common.shown.name, None)
        first, second = (_own_of(votes[at : at + 5], revealed) for at in (0, 5))
    return StudentState(
        common=common,
        name=name,
        following=following,
        called=stored.called,
        first=first,
        second=second,
        asks_confidence=stored.asks_confidence,
        answers=voted + answered,
    )


def _own_of(columns: list[Any], revealed: bool) -> OwnVote | None:
    id, value, outcome, confidence, late = columns
    return None if id is None else OwnVote(value, outcome if revealed else "", confidence, late)


def desk_state(session: Session, classroom: Classroom, *, now: datetime | None = None) -> DeskState:
    """What the teacher may know."""
    now = present(now)
    lesson = load_lesson(classroom.lesson)
    common = _common_of(session, classroom, now)
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


def _common_of(session: Session, classroom: Classroom, now: datetime) -> Common:
    key = (classroom.code, classroom.version)
    stored = _stored.get(key, lambda: _read_stored(session, classroom.id))
    return _common(session, stored, classroom.tally, now)


def _common(session: Session, stored: _Stored, tally: int, now: datetime) -> Common:
    """What all may know now: as it is stored, but a vote whose moment of closing has passed is closed."""
    shown = stored.shown
    due = shown is not None and is_due(shown, now)
    if shown and due:
        shown = replace(shown, phase=phase_of(shown, now), changed_at=shown.closes_at, closes_at=None)
    counts = _counted(session, stored, shown, tally, now)
    revealed = shown is not None and shown.phase is Phase.REVEALED
    return Common(
        code=stored.code,
        title=stored.title,
        lesson=stored.lesson,
        status="ended" if now >= stored.ends_at else "running",
        admits=stored.admits,
        version=stored.version + due,  # as the settled class will have it
        shown=shown,
        voted=counts.voted,
        here=counts.here,
        guesses=_read_guesses(session, stored, shown, counts.votes) if shown and revealed else None,
    )


def _read_stored(session: Session, classroom_id: int) -> _Stored:
    query = select(Classroom, Item).outerjoin(Item, Item.id == Classroom.item_id)
    classroom, joined = session.execute(query.where(Classroom.id == classroom_id)).one()
    item: Item | None = joined
    return _Stored(
        id=classroom.id,
        code=classroom.code,
        version=classroom.version,
        title=classroom.title,
        lesson=classroom.lesson,
        ends_at=classroom.ended_at or end_of(classroom.ends_on),
        admits=classroom.admits,
        shown=_shown(session, classroom, item) if item and is_in_lesson(classroom, item) else None,
        called=classroom.called,
        asks_confidence=classroom.asks_confidence,
    )


def _shown_item(session: Session, classroom: Classroom) -> Item | None:
    item = None if classroom.item_id is None else session.get(Item, classroom.item_id)
    return item if item is not None and is_in_lesson(classroom, item) else None


def is_in_lesson(classroom: Classroom, item: Item) -> bool:
    """Whether this version of the lesson has what an item names: a class may be older than an update."""
    return item.name in load_lesson(classroom.lesson).items[item.kind]


def _shown(session: Session, classroom: Classroom, item: Item) -> Shown:
    questions = _asked(session, classroom, item)
    return Shown(
        id=item.id,
        kind=item.kind,
        name=item.name,
        phase=Phase(item.phase),
        step=item.step,
        states=states_of(session, classroom, item),
        twice=item.twice,
        number=questions.index(item.id) + 1 if item.id in questions else 0,
        total=len(questions),
        changed_at=item.changed_at,
        closes_at=item.closes_at,
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


def _in_time(item: Item | Shown) -> Select[str]:
    """Whose votes were in time."""
    return select(Vote.student_id).where(Vote.item_id == item.id, Vote.late.is_(False))


def _counted(session: Session, stored: _Stored, shown: Shown | None, tally: int, now: datetime) -> _Counts:
    """The counts, at most a second old."""
    key = (stored.code, stored.version, tally, int(now.timestamp()))
    return _counts.get(key, lambda: _count(session, stored, shown, now))


def _count(session: Session, stored: _Stored, shown: Shown | None, now: datetime) -> _Counts:
    is_here = Student.seen_at >= now - HERE
    votes: dict[int, int] = {}
    if shown is not None:
        in_time = _in_time(shown)
        by_round = in_time.with_only_columns(Vote.round, func.count()).group_by(Vote.round)
        votes = dict(session.execute(by_round).all())
        is_here = or_(is_here, Student.id.in_(in_time))
    here = select(func.count()).select_from(Student).where(Student.classroom_id == stored.id, is_here)
    voted = votes.get(round_of(shown, shown.phase), 0) if shown else 0
    return _Counts(voted, session.scalar(here) or 0, sum(votes.values()))


def _voters(session: Session, item: Item | None, now: datetime) -> tuple[set[str], set[str]]:
    """Who has voted in time in the open or last round of an item, and who in any of its rounds."""
    if item is None:
        return set(), set()
    votes = select(Vote.student_id, Vote.round).where(Vote.item_id == item.id, Vote.late.is_(False))
    rows = session.execute(votes).all()
    round = round_of(item, phase_of(item, now))
    return {student for student, own in rows if own == round}, {student for student, _ in rows}


def _read_guesses(session: Session, stored: _Stored, shown: Shown, votes: int) -> Guesses:
    """The guesses on a revealed question, sorted by value, so that no order tells whose they are.

    After the reveal they become fewer when a student is deleted, which changes no version.
    """
    key = (stored.code, shown.id, stored.version, votes)
    return _guesses.get(key, lambda: _collect(session, stored.lesson, shown))


def _collect(session: Session, lesson: str, shown: Shown) -> Guesses:
    votes = select(Vote.student_id, Vote.round, Vote.value).where(
        Vote.item_id == shown.id, Vote.late.is_(False)
    )
    pairs: dict[str, list[str | None]] = {}
    skipped = [0, 0]
    for student, round, value in session.execute(votes):
        if value is None:
            skipped[round - 1] += 1
        else:
            pairs.setdefault(student, [None, None])[round - 1] = value
    order = {value: place for place, value in enumerate(values(lesson, shown.name))}

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
