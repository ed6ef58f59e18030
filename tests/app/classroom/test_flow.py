"""A class from its start to the reveal: what is done, and what each of the three views may know."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from app.classroom import operations, reading, refusals
from app.classroom.database import Database
from app.classroom.flow import Action, Phase
from app.classroom.models import Classroom, Item, Student

NOW = datetime(2026, 11, 30, 10, 0, tzinfo=UTC)
END = date(2026, 12, 18)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def start(session: Session) -> Classroom:
    return operations.create(session, "Monday group", END, lesson="quantization", now=NOW).classroom


def lines(session: Session, classroom: Classroom, kind: str = "question") -> list[Item]:
    return [item for item in operations.running_order(session, classroom) if item.kind == kind]


def students(session: Session, classroom: Classroom, count: int) -> list[Student]:
    return [operations.join(session, classroom, now=NOW).student for _ in range(count)]


def press(session: Session, classroom: Classroom, *actions: Action, now: datetime = NOW) -> None:
    for action in actions:
        item = None
        if action is Action.ASK:
            item = next(line.id for line in lines(session, classroom) if line.phase == Phase.WAITING)
        operations.act(session, classroom, action, classroom.version, item, now=now)


def test_class_goes_from_lobby_to_reveal(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        order = [(item.kind, item.name) for item in operations.running_order(session, classroom)]
        assert order[:4] == [("question", "rtn"), ("figure", "rtn"), ("question", "awq"), ("figure", "awq")]
        quiet, brisk = students(session, classroom, 2)
        screen = reading.screen_state(session, classroom, now=NOW)
        assert (screen.common.shown, screen.common.here, screen.common.status) == (None, 2, "running")
        press(session, classroom, Action.ASK)
        item = lines(session, classroom)[0]
        assert operations.vote(session, quiet, item.id, 1, "8", now=later(5)) == operations.Receipt(
            "8", False
        )
        state = reading.student_state(session, quiet, now=later(6))
        assert state.common.shown
        assert (state.common.shown.phase, state.common.voted, state.common.guesses) == ("voting-1", 1, None)
        assert state.first
        assert (state.first.value, state.first.outcome) == ("8", "")
        press(session, classroom, Action.CLOSE, Action.DISCUSS, Action.ASK_AGAIN, now=later(10))
        operations.vote(session, quiet, item.id, 2, "9", 3, now=later(12))
        operations.vote(session, brisk, item.id, 2, None, now=later(12))
        press(session, classroom, Action.CLOSE, Action.REVEAL, now=later(20))
        seen = reading.screen_state(session, classroom, now=later(21)).common.guesses
        assert seen
        assert (seen.pairs, seen.skipped, seen.of(1), seen.of(2)) == ((("8", "9"),), (0, 1), ("8",), ("9",))
        own = reading.student_state(session, quiet, now=later(21)).second
        assert own
        assert (own.outcome, own.confidence) == ("right", 3)
        desk = reading.desk_state(session, classroom, now=later(21))
        assert {person.id: person.state for person in desk.people} == {quiet.id: "voted", brisk.id: "voted"}


@pytest.mark.parametrize("code", ["", "AAAAAA", "K7M4XP", "x" * 500])
def test_unknown_code_is_refused(database: Database, code: str) -> None:
    with (
        database.read() as session,
        pytest.raises(refusals.UnknownClassError, match="No class has this code"),
    ):
        operations.find_class(session, code)


def test_secrets_open_their_own_class_only(database: Database) -> None:
    with database.write() as session:
        one = operations.create(session, "One", END, lesson="quantization", now=NOW)
        two = operations.create(session, "Two", END, lesson="quantization", now=NOW)
        joined = operations.join(session, one.classroom, now=NOW)
        assert operations.find_teacher(session, one.classroom.code.lower(), one.secret) is one.classroom
        assert operations.find_student(session, one.classroom.code, joined.secret) is joined.student
        for secret in (two.secret, joined.secret, "", "x" * 22):
            with pytest.raises(refusals.NotTeacherError):
                operations.find_teacher(session, one.classroom.code, secret)
        for code, secret in ((two.classroom.code, joined.secret), (one.classroom.code, one.secret)):
            with pytest.raises(refusals.NotStudentError):
                operations.find_student(session, code, secret)
        assert joined.secret.encode() not in joined.student.secret_hash
