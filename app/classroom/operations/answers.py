"""What students answer: votes on what the class is asked, and answers at their own pace."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.classroom.flow import Phase
from app.classroom.judging import judge_guess, judge_step
from app.classroom.models import Answer, Student, Vote
from app.classroom.operations.classes import class_of
from app.classroom.operations.locked import item_of, lock, refuse_ended, within
from app.classroom.refusals import FieldError, NotOpenError, NotStudentError, UnknownItemError
from app.classroom.timing import present, round_of, status_of
from lessons.kit.language import gettext as _

MOST_ANSWERS = 5_000
"""Answers at their own pace that are stored of one student."""

CONFIDENCES = (1, 2, 3)
"""A guess, fairly sure, certain."""

_UID = re.compile("[A-Za-z0-9-]{1,36}")


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
    now = lock(session, classroom, now)
    if not within(session, classroom, Student, student.id):
        raise NotStudentError
    item = item_of(session, classroom, item_id)
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
    stored.value, stored.outcome = judged.value, judged.outcome
    stored.confidence = confidence if classroom.asks_confidence and value is not None else None
    stored.late, stored.at = late, now
    stored.seconds = max((now - item.opened_at).total_seconds(), 0.0)
    student.seen_at = now
    classroom.tally += 1
    session.flush()
    return Receipt(judged.value, late)


def first_guess(session: Session, student: Student, item_id: int) -> str | None:
    """A student's guess in the first vote of an item; None where there is none."""
    own = Vote.item_id == item_id, Vote.student_id == student.id, Vote.round == 1
    return session.scalar(select(Vote.value).where(*own))


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
    FieldError, EndedError
        When a field is not allowed, the student has sent far too many, or the class has ended.
    """
    if not _UID.fullmatch(sent.uid):
        raise FieldError("uid", _("1 to 36 letters, digits and hyphens"))
    if sent.seconds is not None and not 0 <= sent.seconds <= 86_400:
        raise FieldError("seconds", _("%(low)s to %(high)s", low=0, high=86_400))
    classroom = class_of(session, student)
    lesson = classroom.lesson
    locked = select(Student).where(Student.id == student.id).with_for_update(key_share=True)
    if session.scalar(locked.execution_options(populate_existing=True)) is None:
        raise NotStudentError
    if session.scalar(select(Answer.id).where(Answer.student_id == student.id, Answer.uid == sent.uid)):
        return False
    refuse_ended(classroom, present(now))
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
