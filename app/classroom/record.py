"""All rows of a class, as the analysis and the exports take them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.classroom.analysis import AnswerRow, ItemRow, Kind, Record, StudentRow, VoteRow
from app.classroom.models import Answer, Classroom, Item, Progress, Student, Vote
from app.classroom.timing import phase_of, present, status_of

KINDS: dict[str, Kind] = {"question": "prediction", "step": "task"}
"""What a stored answer at own pace is to the analysis."""


def read_record(session: Session, classroom: Classroom, *, now: datetime | None = None) -> Record:
    """All that is stored of a class, students by when they joined, items in the running order."""
    moment = present(now)
    of_class = Student.classroom_id == classroom.id
    students = session.scalars(select(Student).where(of_class).order_by(Student.joined_at, Student.id))
    items = session.scalars(
        select(Item).where(Item.classroom_id == classroom.id).order_by(Item.position, Item.id)
    )
    votes = session.scalars(select(Vote).join(Student).where(of_class).order_by(Vote.at, Vote.id))
    answers = session.scalars(select(Answer).join(Student).where(of_class).order_by(Answer.at, Answer.id))
    progress = session.scalars(
        select(Progress).join(Student).where(of_class).order_by(Progress.student_id, Progress.section)
    )
    return Record(
        code=classroom.code,
        title=classroom.title,
        lesson=classroom.lesson,
        created_at=classroom.created_at,
        ends_on=classroom.ends_on,
        ended=status_of(classroom, moment) == "ended",
        students=tuple(StudentRow(s.id, s.name, s.joined_at) for s in students),
        items=tuple(ItemRow(i.id, i.kind, i.name, phase_of(i, moment), i.twice, i.opened_at) for i in items),
        votes=tuple(map(_vote, votes)),
        answers=tuple(map(_answer, answers)),
        progress=tuple((row.student_id, row.section, row.done) for row in progress),
    )


def _vote(row: Vote) -> VoteRow:
    return VoteRow(
        row.item_id, row.student_id, row.round, row.value, row.outcome, row.confidence, row.late, row.seconds,
        row.at,
    )  # fmt: skip


def _answer(row: Answer) -> AnswerRow:
    return AnswerRow(
        row.student_id, KINDS[row.kind], row.name, row.step, row.variant, row.value, row.outcome, row.slip,
        row.attempt, row.seconds, row.at,
    )  # fmt: skip
