"""All that is stored of one student, for that student."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.classroom.flow import Phase
from app.classroom.models import Answer, Item, Progress, Student, Vote


def stored_of(session: Session, student: Student, code: str, title: str) -> dict[str, Any]:
    """What is stored of a student, as JSON can hold it; times are UTC. The secret is not stored."""
    votes = session.execute(
        select(Vote, Item.name, Item.phase)
        .join(Item, Item.id == Vote.item_id)
        .where(Vote.student_id == student.id)
        .order_by(Vote.at)
    ).all()
    answers = session.scalars(select(Answer).where(Answer.student_id == student.id).order_by(Answer.at))
    progress = session.scalars(
        select(Progress).where(Progress.student_id == student.id).order_by(Progress.section)
    )
    return {
        "class": {"code": code, "title": title},
        "id": student.id,
        "name": student.name,
        "joined_at": _time(student.joined_at),
        "seen_at": _time(student.seen_at),
        "following": student.following,
        "section": student.section,
        "votes": [
            {"question": name, **_fields(vote, "round", "value", "confidence", "late", "seconds")}
            | ({"outcome": vote.outcome} if phase == Phase.REVEALED else {})
            | {"at": _time(vote.at)}
            for vote, name, phase in votes
        ],
        "answers": [
            _fields(
                answer,
                *("uid", "kind", "name", "step", "variant", "value", "outcome", "slip", "attempt", "seconds"),
            )
            | {"at": _time(answer.at)}
            for answer in answers
        ],
        "progress": [_fields(line, "section", "done") for line in progress],
    }


def _fields(row: object, *names: str) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _time(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
