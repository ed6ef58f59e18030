"""A class: who asks for it, its start and end, and what is deleted of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.classroom import codes, names
from app.classroom.models import TITLE_LENGTH, Classroom, Item, Student
from app.classroom.operations.locked import begin, close_open, done, lock, refuse_stale
from app.classroom.refusals import (
    EndedError,
    FieldError,
    NotStudentError,
    NotTeacherError,
    UnknownClassError,
)
from app.classroom.timing import deleted_on, present, status_of
from lessons.catalogue import Lesson, load_lesson
from lessons.kit.language import gettext as _

LONGEST_CLASS = timedelta(days=366)


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
    session.info[Classroom] = classroom  # a session itself forgets what nobody holds, and reads it again
    return found


def class_of(session: Session, student: Student) -> Classroom:
    """The class of a student."""
    return session.get_one(Classroom, student.classroom_id)


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
    """What the lesson says; or the questions of its own page, each followed by its figure."""
    if lesson.about.class_order:
        return [(kind, name) for kind, name in map(str.split, lesson.about.class_order)]
    asked = [name for section in lesson.sections for name in section.questions]
    return [(kind, name) for name in asked for kind in ("question", "figure")]


def end(session: Session, classroom: Classroom, version: int, *, now: datetime | None = None) -> None:
    """End a class; a vote that is open is closed."""
    now = begin(session, classroom, version, now)
    close_open(session, classroom, now)
    classroom.ended_at = now
    done(session, classroom)


def reopen_class(
    session: Session, classroom: Classroom, version: int, *, now: datetime | None = None
) -> None:
    """Open an ended class again, until its end date; after it, `EndedError`."""
    now = lock(session, classroom, now)
    refuse_stale(session, classroom, version, now)
    classroom.ended_at = None
    if status_of(classroom, now) == "ended":
        raise EndedError(classroom.ends_on)
    done(session, classroom)


def delete_class(session: Session, classroom: Classroom) -> None:
    """Delete a class with everything in it."""
    lock(session, classroom)
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
        lock(session, classroom, now)
        settled.append(classroom.code)
    return settled


def _free_code(session: Session) -> str:
    while session.scalar(select(Classroom.id).where(Classroom.code == (code := codes.new_code()))):
        pass
    return code


def _title(text: str) -> str:
    title = " ".join(text.split())
    if len(title) > TITLE_LENGTH or not names.is_legible(title):
        raise FieldError(
            "title", _("from 1 to %(most)s characters, none of them invisible", most=TITLE_LENGTH)
        )
    return title


def _end(ends_on: date, now: datetime) -> date:
    first, last = now.date() - timedelta(days=1), now.date() + LONGEST_CLASS
    if not first <= ends_on <= last:  # yesterday is still today somewhere
        raise FieldError(
            "ends_on", _("from %(first)s to %(last)s", first=now.date().isoformat(), last=last.isoformat())
        )
    return ends_on
