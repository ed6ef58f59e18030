"""Students: they join, are called something, follow or do not, get somewhere, and leave."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, delete, exists, select
from sqlalchemy.orm import Session

from app.classroom import codes, names
from app.classroom.models import Answer, Classroom, Progress, Student, Vote
from app.classroom.operations.classes import class_of
from app.classroom.operations.locked import check_section, lock, refuse_ended, within
from app.classroom.refusals import (
    FullError,
    NameTakenError,
    NotAdmittedError,
    UnknownStudentError,
)

MOST_STUDENTS = 2_000


@dataclass(frozen=True, slots=True)
class Joined:
    """A new student, and their secret, which is stored nowhere and is also the resume code."""

    student: Student
    secret: str


def join(session: Session, classroom: Classroom, name: str = "", *, now: datetime | None = None) -> Joined:
    """Let somebody in. Without a name, or with a pseudonym that has just been taken, they get a free one.

    Raises
    ------
    EndedError, NotAdmittedError, FullError, NameRefusedError, NameTakenError
        When the class has ended, lets nobody in or is full, or the name cannot be had.
    """
    now = lock(session, classroom, now)
    refuse_ended(classroom, now)
    if not classroom.admits:
        raise NotAdmittedError
    taken = _taken(session, classroom)
    if len(taken) >= MOST_STUDENTS:
        raise FullError(MOST_STUDENTS)
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
    lock(session, classroom)
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
    lock(session, classroom)
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
    lock(session, classroom)
    student = within(session, classroom, Student, student_id) if codes.is_secret(student_id) else None
    if student is None:
        raise UnknownStudentError
    session.delete(student)  # the database deletes votes, answers and progress with it
    classroom.tally += 1  # not the version: a press of the teacher at this moment is no old one
    session.flush()


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which students of a class are meant: who joined within a time, and of these perhaps only the silent.

    Parameters
    ----------
    since, until
        When they joined, both included.
    silent
        Only who has given no vote and no answer.
    """

    since: datetime
    until: datetime
    silent: bool


def choose_students(session: Session, classroom: Classroom, chosen: Chosen) -> list[Student]:
    """The students who are meant, in the order in which they joined."""
    found = select(Student).where(*_are_chosen(classroom, chosen)).order_by(Student.joined_at, Student.id)
    return list(session.scalars(found))


def delete_students(session: Session, classroom: Classroom, chosen: Chosen) -> int:
    """Delete the students who are meant, with all that is stored of them; returns how many they were.

    Who has answered since they were chosen as silent stays.
    """
    lock(session, classroom)
    deleted = session.execute(
        delete(Student).where(*_are_chosen(classroom, chosen)),
        execution_options={"synchronize_session": False},
    )
    classroom.tally += 1
    session.flush()
    return cast("CursorResult[Any]", deleted).rowcount


def _are_chosen(classroom: Classroom, chosen: Chosen) -> list[ColumnElement[bool]]:
    conditions = [
        Student.classroom_id == classroom.id,
        Student.joined_at >= chosen.since,
        Student.joined_at <= chosen.until,
    ]
    if chosen.silent:
        conditions += [~exists().where(table.student_id == Student.id) for table in (Vote, Answer)]
    return conditions


def progress(
    session: Session, student: Student, section: str, *, done: bool = False, now: datetime | None = None
) -> None:
    """Note where a student is, and whether they are done with it.

    Raises
    ------
    FieldError, EndedError
        When the lesson has no such section, or the class has ended.
    """
    classroom = class_of(session, student)
    check_section(classroom, section)
    refuse_ended(classroom, lock(session, classroom, now))
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
