"""What happens at the same moment has one outcome, which all are told; on SQLite and on PostgreSQL.

Half of the threads have a database of their own, as another process has.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import cycle
from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.classroom import codes, operations, refusals
from app.classroom.database import Database
from app.classroom.flow import Action, Phase
from app.classroom.models import Answer, Classroom, Item, Student, Vote

THREADS = 8


@pytest.fixture
def databases(database: Database) -> Iterator[tuple[Database, Database]]:
    other = Database(database.url)
    yield database, other
    other.close()


class Room:
    """A class with students, whose first question is open."""

    def __init__(self, database: Database, students: int = 0) -> None:
        with database.write() as session:
            ends_on = (datetime.now(UTC) + timedelta(days=9)).date()
            created = operations.create(session, "Monday", ends_on, lesson="quantization")
            self.code, self.secret = created.classroom.code, created.secret
            classroom = created.classroom
            self.students = [operations.join(session, classroom).secret for _ in range(students)]
            self.item = operations.running_order(session, classroom)[0].id
            operations.act(session, classroom, Action.ASK, classroom.version, self.item)
            self.version = classroom.version

    def teacher(self, session: Session) -> Classroom:
        return operations.find_teacher(session, self.code, self.secret)


def at_once(
    databases: tuple[Database, Database], works: Sequence[Callable[[Session], object]]
) -> list[object]:
    """What each piece of work gives, or is refused with, when all are begun at the same moment."""
    gate = threading.Barrier(len(works))

    def run(database: Database, work: Callable[[Session], object]) -> object:
        gate.wait()
        try:
            with database.write() as session:
                return work(session)
        except refusals.Refusal as refusal:
            return refusal

    with ThreadPoolExecutor(len(works)) as pool:
        running = [
            pool.submit(run, database, work) for database, work in zip(cycle(databases), works, strict=False)
        ]
    return [each.result() for each in running]


def test_double_click_does_it_once_and_tells_the_others(databases: tuple[Database, Database]) -> None:
    room = Room(databases[0])

    def close(session: Session) -> str:
        operations.act(session, room.teacher(session), Action.CLOSE, room.version)
        return "done"

    told = Counter(str(result) for result in at_once(databases, [close] * THREADS))
    already = "Already closed in your other tab. Nothing was done twice."
    assert told == {"done": 1, already: THREADS - 1}
    with databases[1].read() as session:
        assert room.teacher(session).version == room.version + 1


def test_two_tabs_that_want_different_things_get_one_of_them(databases: tuple[Database, Database]) -> None:
    reached = {Action.CLOSE: Phase.CLOSED_1, Action.SKIP: Phase.REVEALED, Action.WITHDRAW: Phase.WITHDRAWN}
    for _ in range(3):
        room = Room(databases[0])

        def press(action: Action, room: Room = room) -> Callable[[Session], Action]:
            def work(session: Session) -> Action:
                operations.act(session, room.teacher(session), action, room.version)
                return action

            return work

        results = at_once(databases, [press(action) for action in reached] * 2)
        done = [result for result in results if isinstance(result, Action)]
        refused = [result for result in results if isinstance(result, refusals.StaleError)]
        assert (len(done), len(refused)) == (1, 5)
        with databases[1].read() as session:
            phase = session.get_one(Item, room.item).phase
        assert phase == reached[done[0]]
        assert {refusal.phase for refusal in refused} == {phase}


@pytest.mark.parametrize("soon", [False, True])
def test_vote_at_the_moment_of_closing(databases: tuple[Database, Database], soon: bool) -> None:
    """A vote is in time or late, as its student was told, and is stored once. `soon`: it closes by itself."""
    room = Room(databases[0], students=2 * THREADS)
    closing = threading.Event()
    if soon:
        with databases[0].write() as session:
            operations.close_soon(session, room.teacher(session), room.version)
            session.get_one(Item, room.item).closes_at = datetime.now(UTC) + timedelta(seconds=0.05)

    def vote(secret: str, value: str) -> Callable[[Session], operations.Receipt]:
        def work(session: Session) -> operations.Receipt:
            student = operations.find_student(session, room.code, secret)
            return operations.vote(session, student, room.item, 1, value)

        return work

    def close(session: Session) -> str:
        if not soon:
            operations.act(session, room.teacher(session), Action.CLOSE, room.version)
        closing.set()
        return "closed"

    works: list[Callable[[Session], object]] = [
        vote(secret, str(number % 20 + 1)) for number, secret in enumerate(room.students)
    ]
    results = at_once(databases, [*works[:THREADS], close, *works[THREADS:]])
    receipts = [result for result in results if isinstance(result, operations.Receipt)]
    assert len(receipts) == 2 * THREADS
    assert closing.is_set()
    with databases[1].write() as session:
        operations.settle_due(session, now=datetime.now(UTC) + timedelta(seconds=1))
        closed_at = session.get_one(Item, room.item).changed_at
        assert closed_at
        assert all((vote.at > closed_at) == vote.late for vote in session.scalars(select(Vote)))
        stored = session.execute(
            select(Student.secret_hash, Vote.value, Vote.late).join(Vote, Vote.student_id == Student.id)
        ).all()
        hashes = {codes.hash_of(secret): i for i, secret in enumerate(room.students)}
        told = {i: (receipt.value, receipt.late) for i, receipt in enumerate(receipts)}
        assert {hashes[row[0]]: (row[1], row[2]) for row in stored} == told
        assert len(stored) == 2 * THREADS


def test_one_vote_and_one_answer_sent_many_times_are_stored_once(
    databases: tuple[Database, Database],
) -> None:
    room = Room(databases[0], students=1)

    def vote(session: Session) -> object:
        student = operations.find_student(session, room.code, room.students[0])
        return operations.vote(session, student, room.item, 1, "8")

    def record(session: Session) -> object:
        student = operations.find_student(session, room.code, room.students[0])
        return operations.record(session, student, operations.Sent("once", "question", "awq", "0.1"))

    results = at_once(databases, [vote, record] * (THREADS // 2))
    assert Counter(map(str, results[::2])) == {str(operations.Receipt("8", False)): THREADS // 2}
    assert Counter(results[1::2]) == {True: 1, False: THREADS // 2 - 1}
    with databases[1].read() as session:
        assert len(session.scalars(select(Vote)).all()) == 1
        assert len(session.scalars(select(Answer)).all()) == 1


def test_two_who_want_one_name_do_not_both_get_it(databases: tuple[Database, Database]) -> None:
    room = Room(databases[0])

    def join(name: str) -> Callable[[Session], str]:
        def work(session: Session) -> str:
            classroom = operations.find_class(session, room.code)
            return operations.join(session, classroom, name).student.name

        return work

    results = at_once(databases, [join("Anna"), join("Аnna")] * 2 + [join("quiet heron")] * 4)
    assert sum(result in ("Anna", "Аnna") for result in results[:4]) == 1
    assert sum(isinstance(result, refusals.NameTakenError) for result in results[:4]) == 3
    assert len({str(name) for name in results[4:]}) == 4


def test_student_who_leaves_while_voting_leaves_nothing(databases: tuple[Database, Database]) -> None:
    room = Room(databases[0], students=1)
    with databases[0].read() as session:
        student_id = operations.find_student(session, room.code, room.students[0]).id

    def vote(session: Session) -> object:
        student = operations.find_student(session, room.code, room.students[0])
        return operations.vote(session, student, room.item, 1, "8")

    def leave(session: Session) -> object:
        operations.delete_student(session, operations.find_class(session, room.code), student_id)
        return "gone"

    results = at_once(databases, [vote, vote, leave, vote])
    assert results[2] == "gone"
    for result in (results[0], results[1], results[3]):
        assert isinstance(result, operations.Receipt | refusals.NotStudentError), result
    with databases[1].read() as session:
        assert session.scalars(select(Vote)).all() == []
        assert session.scalars(select(Student)).all() == []


def test_answers_with_progress_and_votes_of_one_student_do_not_block_each_other(
    databases: tuple[Database, Database],
) -> None:
    """Both lock the class first. The other way round PostgreSQL would end one of them after a second."""
    room = Room(databases[0], students=1)

    def answers(session: Session) -> object:
        student = operations.find_student(session, room.code, room.students[0])
        operations.progress(session, student, "rounding")
        return operations.record(session, student, operations.Sent(str(uuid4()), "question", "awq", "0.1"))

    def vote(session: Session) -> object:
        student = operations.find_student(session, room.code, room.students[0])
        return operations.vote(session, student, room.item, 1, "8").late

    for _ in range(5):
        results = at_once(databases, [answers, vote] * (THREADS // 2))
        assert results == [True, False] * (THREADS // 2)
