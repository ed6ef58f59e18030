"""The rows of a class are read alike from both databases, and of that class alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from app.classroom import operations
from app.classroom.analysis import analyse, may_need_a_word
from app.classroom.database import Database
from app.classroom.exports import class_json, students_csv, votes_csv
from app.classroom.flow import Action, Phase
from app.classroom.models import Classroom, Item, Student
from app.classroom.operations import Sent
from app.classroom.record import read_record
from app.classroom.thoughts import thought_of

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def held(database: Database, title: str) -> str:
    """A class of two: one is wrong twice and certain; the other answers at own pace, too."""
    with database.write() as session:
        ends = (NOON + timedelta(days=9)).date()
        classroom = operations.create(session, title, ends, lesson="quantization", now=NOON).classroom
        one, two = (operations.join(session, classroom, now=NOON).student for _ in range(2))
        asked = select(Item.id).where(Item.classroom_id == classroom.id, Item.name == "rtn")
        item = session.scalar(asked.where(Item.kind == "question"))
        assert item is not None
        operations.act(session, classroom, Action.ASK, classroom.version, item, now=NOON)
        for round in (1, 2):
            later = NOON + timedelta(seconds=30 * round)
            operations.vote(session, one, item, round, "2", 3 if round == 2 else None, now=later)
            operations.vote(session, two, item, round, "9", None, now=later + timedelta(seconds=1))
            operations.act(session, classroom, Action.CLOSE, classroom.version, now=later)
            for action in (Action.DISCUSS, Action.ASK_AGAIN) if round == 1 else (Action.REVEAL,):
                operations.act(session, classroom, action, classroom.version, now=later)
        sent = Sent("u1", "step", "fit", "1", step="gb", seed=3, seconds=12.5)
        operations.record(session, two, sent, now=NOON + timedelta(minutes=5))
        operations.record(session, two, Sent("u2", "question", "xray", "1"), now=NOON + timedelta(minutes=6))
        operations.progress(session, two, "rounding", done=True)
        return classroom.code


def test_a_record_holds_one_class(database: Database) -> None:
    code, other = held(database, "one"), held(database, "other")
    with database.read() as session:
        record = read_record(session, operations.find_class(session, code), now=NOON)
        foreign = set(session.scalars(select(Student.id).join(Classroom).where(Classroom.code == other)))
    assert (record.code, record.title, record.ended) == (code, "one", False)
    assert [len(rows) for rows in (record.students, record.votes, record.answers, record.progress)] == [
        2, 4, 2, 1,
    ]  # fmt: skip
    assert not foreign & {vote.student for vote in record.votes}
    assert not foreign & {answer.student for answer in record.answers}
    assert [(row.kind, row.name, row.step, row.variant) for row in record.answers] == [
        ("task", "fit", "gb", 3),
        ("prediction", "xray", "", 0),
    ]
    assert next(item for item in record.items if item.name == "rtn").phase is Phase.REVEALED
    assert record.votes[0].at.tzinfo is not None


def test_analysis_and_files_of_what_is_stored(database: Database) -> None:
    code = held(database, "one")
    with database.read() as session:
        record = read_record(session, operations.find_class(session, code), now=NOON)
    asked, *own_pace = analyse(record, lambda name, value: thought_of("quantization", name, value))
    assert (asked.first.near, asked.first.of, asked.wrong[0].reason) == (1, 2, "twice")
    assert [line.kind for line in own_pace] == ["task", "prediction"]
    wrong = {vote.student for vote in record.votes if vote.value == "2"}
    assert may_need_a_word(record, lambda *_: "here") == {"here": tuple(wrong)}
    assert votes_csv(record).count("\r\n") == 1 + 4 + 2
    assert students_csv(record).count("\r\n") == 1 + 2
    assert code in class_json(record)


def test_a_vote_that_is_due_to_close_is_closed(database: Database) -> None:
    with database.write() as session:
        ends = (NOON + timedelta(days=9)).date()
        classroom = operations.create(session, "due", ends, lesson="quantization", now=NOON).classroom
        item = session.scalar(select(Item).where(Item.kind == "question").limit(1))
        assert item is not None
        operations.act(session, classroom, Action.ASK, classroom.version, item.id, now=NOON)
        operations.close_soon(session, classroom, classroom.version, now=NOON)
        later = read_record(session, classroom, now=NOON + timedelta(minutes=1))
    assert next(row for row in later.items if row.id == item.id).phase is Phase.CLOSED_1
