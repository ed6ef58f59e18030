"""The tables of a class. Of a student: a random id, a pseudonym and answers; no address, no e-mail."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    ForeignKey,
    LargeBinary,
    MetaData,
    String,
    TypeDecorator,
    UniqueConstraint,
    true,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

CODE_LENGTH = 6
TITLE_LENGTH = 80
NAME_LENGTH = 24
VALUE_LENGTH = 200
"""Characters of a guess or of an answer to a step."""


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC; SQLite itself stores no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """The tables that Alembic migrates. Every constraint has a name, so that a migration can drop it."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: UtcTime}


class Classroom(Base):
    """A class.

    `version` rises with every change that students or the screen show, `tally` with what only counts (who
    joined, who voted, who is where). `item_id` is what is on the screen: none in the lobby. `screen` is
    "follow", "code" (the join code instead) or "blank". `called` is the section to which all were called.
    `admits`: whether new students may join.
    `screen_seen_at` is when a screen last had a line: `app.classroom.live` writes it and `Student.seen_at`
    every ten seconds.
    """

    __tablename__ = "classroom"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(CODE_LENGTH), unique=True)
    title: Mapped[str] = mapped_column(String(TITLE_LENGTH))
    lesson: Mapped[str] = mapped_column(String(40))
    teacher_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime]
    ends_on: Mapped[date]
    retention_months: Mapped[int] = mapped_column(default=12)
    ended_at: Mapped[datetime | None]
    asks_confidence: Mapped[bool] = mapped_column(default=True)
    admits: Mapped[bool] = mapped_column(default=True, server_default=true())
    version: Mapped[int] = mapped_column(default=1)
    tally: Mapped[int] = mapped_column(default=0)
    item_id: Mapped[int | None]
    screen: Mapped[str] = mapped_column(String(8), default="follow")
    screen_seen_at: Mapped[datetime | None]
    called: Mapped[str | None] = mapped_column(String(40))


class Item(Base):
    """One line of a class's running order: a question that is asked, a figure that is shown, a task.

    Parameters
    ----------
    kind
        "question", "figure" or "task"; `name` is its name in the lesson.
    states
        Of a figure: the queries of its prepared states, which the arrow keys walk through. `step` is the
        present one; of a revealed question it is the beat, from 1 to `LAST_BEAT`.
    twice
        Whether there is a second vote.
    """

    __tablename__ = "item"

    id: Mapped[int] = mapped_column(primary_key=True)
    classroom_id: Mapped[int] = mapped_column(ForeignKey("classroom.id", ondelete="CASCADE"), index=True)
    position: Mapped[int]
    kind: Mapped[str] = mapped_column(String(8))
    name: Mapped[str] = mapped_column(String(40))
    states: Mapped[list[str]] = mapped_column(JSON, default=list)
    twice: Mapped[bool] = mapped_column(default=True)
    phase: Mapped[str] = mapped_column(String(12), default="waiting")
    step: Mapped[int] = mapped_column(default=0)
    changed_at: Mapped[datetime | None]
    opened_at: Mapped[datetime | None]
    closes_at: Mapped[datetime | None]


class Student(Base):
    """Somebody in a class, under a pseudonym. `name_key` is the name as it is compared with others."""

    __tablename__ = "student"
    __table_args__ = (UniqueConstraint("classroom_id", "name_key"),)

    id: Mapped[str] = mapped_column(String(22), primary_key=True)
    classroom_id: Mapped[int] = mapped_column(ForeignKey("classroom.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    name_key: Mapped[str] = mapped_column(String(NAME_LENGTH))
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary(32), index=True)
    joined_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    following: Mapped[bool] = mapped_column(default=True)
    section: Mapped[str | None] = mapped_column(String(40))


class Vote(Base):
    """A student's guess in one of the two votes of an item; `value` is none for "I would rather not".

    `outcome` is "right", "close", "off" or "skipped". A `late` one came after closing: its owner sees it,
    and it has no dot. `seconds` is the time since the vote opened.
    """

    __tablename__ = "vote"
    __table_args__ = (UniqueConstraint("item_id", "student_id", "round"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("item.id", ondelete="CASCADE"), index=True)
    student_id: Mapped[str] = mapped_column(ForeignKey("student.id", ondelete="CASCADE"), index=True)
    round: Mapped[int]
    value: Mapped[str | None] = mapped_column(String(VALUE_LENGTH))
    outcome: Mapped[str] = mapped_column(String(8))
    confidence: Mapped[int | None]
    late: Mapped[bool] = mapped_column(default=False)
    seconds: Mapped[float]
    at: Mapped[datetime]


class Answer(Base):
    """What a student answered at their own pace: a prediction of the lesson, or a step of a task.

    `uid` is made by the browser, so that an answer that is sent twice is stored once. `variant` is the seed
    of a task; `slip` the known mistake that a wrong answer shows.
    """

    __tablename__ = "answer"
    __table_args__ = (UniqueConstraint("student_id", "uid"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    student_id: Mapped[str] = mapped_column(ForeignKey("student.id", ondelete="CASCADE"), index=True)
    uid: Mapped[str] = mapped_column(String(36))
    kind: Mapped[str] = mapped_column(String(10))
    name: Mapped[str] = mapped_column(String(40))
    step: Mapped[str] = mapped_column(String(40), default="")
    variant: Mapped[int] = mapped_column(default=0)
    value: Mapped[str | None] = mapped_column(String(VALUE_LENGTH))
    outcome: Mapped[str] = mapped_column(String(8))
    slip: Mapped[str] = mapped_column(String(40), default="")
    attempt: Mapped[int] = mapped_column(default=1)
    seconds: Mapped[float | None]
    at: Mapped[datetime]


class Progress(Base):
    """A section that a student has reached, and whether it is done."""

    __tablename__ = "progress"

    student_id: Mapped[str] = mapped_column(ForeignKey("student.id", ondelete="CASCADE"), primary_key=True)
    section: Mapped[str] = mapped_column(String(40), primary_key=True)
    done: Mapped[bool] = mapped_column(default=False)
