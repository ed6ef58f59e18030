"""A class from its start to the reveal: what is done, and what each of the three views may know."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.classroom import names, operations, reading, refusals
from app.classroom.database import Database
from app.classroom.flow import Action, Phase
from app.classroom.models import Answer, Classroom, Item, Progress, Student, Vote
from app.classroom.timing import deleted_on
from lessons.catalogue import load_lesson
from lessons.kit.controls import as_parameter
from tests.each import each

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
        assert order[:3] == [("question", "rtn"), ("figure", "rtn"), ("figure", "rounding")]
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


@each("code", ["", "AAAAAA", "K7M4XP", "x" * 500])
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


# --- votes -------------------------------------------------------------------------------------------------


def test_guess_is_moved_until_the_vote_closes_and_then_stands(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        (student,) = students(session, classroom, 1)
        press(session, classroom, Action.ASK)
        item = lines(session, classroom)[0].id
        operations.vote(session, student, item, 1, "8", now=later(1))
        operations.vote(session, student, item, 1, "7.0", now=later(2))
        press(session, classroom, Action.CLOSE, now=later(3))
        changed = operations.vote(session, student, item, 1, "12", now=later(4))
        assert changed == operations.Receipt("12", late=True, counts="7")
        again = operations.vote(session, student, item, 1, "7", now=later(5))  # its answer had been lost
        assert again == operations.Receipt("7", late=False, counts="7")
        own = reading.student_state(session, student, now=later(6)).first
        assert own
        assert (own.value, own.late) == ("7", False)
        assert session.scalars(select(Vote.value)).all() == ["7"]


def test_late_guess_is_stored_shown_to_its_owner_and_has_no_dot(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        early, late = students(session, classroom, 2)
        press(session, classroom, Action.ASK)
        item = lines(session, classroom)[0].id
        operations.vote(session, early, item, 1, "9", now=later(1))
        press(session, classroom, Action.CLOSE, now=later(2))
        assert operations.vote(session, late, item, 1, "4", now=later(3)).late
        assert reading.screen_state(session, classroom, now=later(4)).common.voted == 1
        press(session, classroom, Action.SKIP, now=later(5))
        state = reading.student_state(session, late, now=later(6))
        assert state.first
        assert (state.first.value, state.first.late) == ("4", True)
        assert state.common.guesses
        assert state.common.guesses.pairs == (("9", None),)


def test_late_guess_counts_when_the_vote_is_opened_again(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        (student,) = students(session, classroom, 1)
        press(session, classroom, Action.ASK, Action.CLOSE)
        item = lines(session, classroom)[0].id
        assert operations.vote(session, student, item, 1, "4").late
        press(session, classroom, Action.REOPEN)
        assert reading.screen_state(session, classroom, now=later(1)).common.voted == 1


def test_latecomer_votes_in_the_second_vote_alone(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        (first,) = students(session, classroom, 1)
        press(session, classroom, Action.ASK)
        item = lines(session, classroom)[0].id
        operations.vote(session, first, item, 1, "8")
        press(session, classroom, Action.CLOSE, Action.DISCUSS)
        (latecomer,) = students(session, classroom, 1)
        with pytest.raises(refusals.NotOpenError):
            operations.vote(session, latecomer, item, 2, "9")
        press(session, classroom, Action.ASK_AGAIN)
        operations.vote(session, latecomer, item, 2, "9")
        press(session, classroom, Action.CLOSE, Action.REVEAL)
        seen = reading.student_state(session, latecomer).common.guesses
        assert seen
        assert seen.pairs == ((None, "9"), ("8", None))


def test_choice_is_voted_on_as_a_slider_is(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        item = operations.add_item(session, classroom, 1, "question", "xray", position=1)
        (student,) = students(session, classroom, 1)
        operations.act(session, classroom, Action.ASK, classroom.version, item.id)
        with pytest.raises(refusals.FieldError, match="1, 8, 32, 256"):
            operations.vote(session, student, item.id, 1, "9")
        operations.vote(session, student, item.id, 1, "32")
        press(session, classroom, Action.SKIP)
        state = reading.student_state(session, student)
        assert state.first
        assert (state.first.value, state.first.outcome) == ("32", "right")


@each("value", ["", "21", "8.5", "nan", "x\x00", "9" * 5000, "1e400"])
def test_guess_out_of_range_names_field_and_range(database: Database, value: str) -> None:
    with database.write() as session:
        classroom = start(session)
        (student,) = students(session, classroom, 1)
        press(session, classroom, Action.ASK)
        with pytest.raises(refusals.FieldError, match="answer: allowed is 1 to 20"):
            operations.vote(session, student, lines(session, classroom)[0].id, 1, value)


@each("item_id", [-1, 0, 10**6, 2**31, 2**70])
def test_guess_on_what_is_not_in_the_class_is_refused(database: Database, item_id: int) -> None:
    with database.write() as session:
        classroom, other = start(session), start(session)
        (student,) = students(session, classroom, 1)
        press(session, other, Action.ASK)
        for unknown in (item_id, lines(session, other)[0].id, lines(session, classroom, "figure")[0].id):
            with pytest.raises(refusals.UnknownItemError):
                operations.vote(session, student, unknown, 1, "8")
        with pytest.raises(refusals.NotOpenError):
            operations.vote(session, student, lines(session, classroom)[0].id, 1, "8")


# --- the teacher's presses ---------------------------------------------------------------------------------


def test_old_page_does_nothing_and_says_so(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        press(session, classroom, Action.ASK)
        old = classroom.version
        press(session, classroom, Action.CLOSE)
        with pytest.raises(refusals.StaleError, match="Already closed in your other tab. Nothing"):
            operations.act(session, classroom, Action.CLOSE, old)
        assert classroom.version == old + 1


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.WAITING])
def test_every_phase_has_a_sentence_for_an_old_page(phase: Phase) -> None:
    assert refusals.StaleError(phase).sentence.endswith("Nothing was done twice.")


def test_vote_closes_ten_seconds_later_and_whoever_looks_first_settles_it(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        student, other = students(session, classroom, 2)
        press(session, classroom, Action.ASK)
        item = lines(session, classroom)[0].id
        at = operations.close_soon(session, classroom, classroom.version, now=NOW)
        assert at == later(10)
        before = reading.screen_state(session, classroom, now=later(9.9)).common
        after = reading.screen_state(session, classroom, now=later(10)).common
        assert before.shown
        assert after.shown
        assert (before.shown.phase, before.shown.closes_at) == (Phase.VOTING_1, at)
        assert (after.shown.phase, after.shown.closes_at, after.shown.changed_at) == (
            Phase.CLOSED_1,
            None,
            at,
        )
        assert after.version == before.version + 1
        assert not operations.vote(session, student, item, 1, "8", now=later(9.9)).late
        assert operations.vote(session, other, item, 1, "8", now=later(10)).late
        assert (classroom.version, lines(session, classroom)[0].phase) == (after.version, Phase.CLOSED_1)
        operations.act(session, classroom, Action.DISCUSS, after.version, now=later(11))


def test_due_votes_of_all_classes_are_settled(database: Database) -> None:
    with database.write() as session:
        one, two = start(session), start(session)
        for classroom in (one, two):
            press(session, classroom, Action.ASK)
        operations.close_soon(session, one, one.version, now=NOW)
        assert operations.settle_due(session, now=later(9)) == []
        assert operations.settle_due(session, now=later(11)) == [one.code]
        assert operations.settle_due(session, now=later(12)) == []
        assert (lines(session, one)[0].phase, lines(session, two)[0].phase) == (
            Phase.CLOSED_1,
            Phase.VOTING_1,
        )


def test_closing_soon_is_taken_back(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        press(session, classroom, Action.ASK)
        operations.close_soon(session, classroom, classroom.version, now=NOW)
        operations.stay_open(session, classroom, classroom.version, now=later(5))
        shown = reading.screen_state(session, classroom, now=later(60)).common.shown
        assert shown
        assert (shown.phase, shown.closes_at) == (Phase.VOTING_1, None)


def test_skipped_reveal_has_one_beat_and_leaves_the_second_vote_out(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        press(session, classroom, Action.ASK)
        item = lines(session, classroom)[0].id
        for student in students(session, classroom, 5):
            operations.vote(session, student, item, 1, "8")
        press(session, classroom, Action.SKIP)
        version = classroom.version
        operations.step(session, classroom, version, 1)
        shown = reading.screen_state(session, classroom).common.shown
        assert shown
        assert (shown.phase, shown.step, shown.twice, classroom.version) == (
            Phase.REVEALED,
            1,
            False,
            version,
        )


def test_beats_are_walked_both_ways(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        press(session, classroom, Action.ASK, Action.CLOSE, Action.DISCUSS, Action.ASK_AGAIN)
        item = lines(session, classroom)[0]
        operations.vote(session, students(session, classroom, 1)[0], item.id, 2, "8")
        press(session, classroom, Action.CLOSE, Action.REVEAL)
        walked = []
        for by in (1, 1, 1, -1, -9):
            operations.step(session, classroom, classroom.version, by)
            walked.append(item.step)
        assert walked == [2, 3, 3, 2, 1]


def test_withdrawn_question_is_asked_afresh_and_its_votes_are_kept_unseen(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        (student,) = students(session, classroom, 1)
        press(session, classroom, Action.ASK)
        old = lines(session, classroom)[0]
        operations.vote(session, student, old.id, 1, "8")
        press(session, classroom, Action.WITHDRAW)
        assert reading.screen_state(session, classroom).common.guesses is None
        operations.act(session, classroom, Action.ASK, classroom.version)
        state = reading.student_state(session, student)
        assert state.common.shown
        assert (state.common.shown.number, state.common.shown.total, state.common.voted) == (1, 3, 0)
        assert state.first is None
        press(session, classroom, Action.SKIP)
        guesses = reading.screen_state(session, classroom).common.guesses
        assert guesses
        assert guesses.pairs == ()
        assert old.phase == Phase.WITHDRAWN
        assert session.scalars(select(Vote.item_id)).all() == [old.id]


def test_open_vote_is_closed_when_something_else_is_shown(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        press(session, classroom, Action.ASK)
        first, second = lines(session, classroom)[:2]
        operations.show(session, classroom, classroom.version, lines(session, classroom, "figure")[0].id)
        assert first.phase == Phase.CLOSED_1
        operations.show(session, classroom, classroom.version, first.id)
        press(session, classroom, Action.DISCUSS, Action.ASK_AGAIN)
        operations.act(session, classroom, Action.ASK, classroom.version, second.id)
        assert (first.phase, second.phase) == (Phase.CLOSED_2, Phase.VOTING_1)


def test_question_asked_once_goes_from_its_vote_to_the_reveal(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        item = lines(session, classroom)[0]
        operations.set_twice(session, classroom, classroom.version, item.id, False)
        press(session, classroom, Action.ASK, Action.CLOSE, Action.DISCUSS)
        with pytest.raises(refusals.NotNowError):
            press(session, classroom, Action.ASK_AGAIN)
        press(session, classroom, Action.SKIP)
        assert item.phase == Phase.REVEALED


def test_screen_and_call(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        (student,) = students(session, classroom, 1)
        operations.set_screen(session, classroom, classroom.version, "blank")
        operations.call_all(session, classroom, classroom.version, "awq")
        assert reading.screen_state(session, classroom).screen == "blank"
        assert reading.student_state(session, student).called == "awq"
        with pytest.raises(refusals.FieldError, match="follow, code, blank"):
            operations.set_screen(session, classroom, classroom.version, "x")
        with pytest.raises(refusals.FieldError, match="opening, idea"):
            operations.call_all(session, classroom, classroom.version, "x")
        operations.call_all(session, classroom, classroom.version, None)
        press(session, classroom, Action.ASK)
        assert reading.screen_state(session, classroom).screen == "follow"
        assert reading.student_state(session, student).called is None


# --- peek, presence, progress ------------------------------------------------------------------------------


def test_peek_gives_share_crowd_and_advice_between_votes_only(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        room = students(session, classroom, 11)
        press(session, classroom, Action.ASK)
        item = lines(session, classroom)[0].id
        given = ["9", "10", "3", "3", "3", "2", "2", "18", None, "8"]
        for student, value in zip(room, given, strict=False):
            operations.vote(session, student, item, 1, value)
        with pytest.raises(refusals.NotNowError):
            reading.peek(session, classroom)
        press(session, classroom, Action.CLOSE)
        seen = reading.peek(session, classroom)
        assert (seen.near, seen.of, seen.crowded, seen.advice) == (3, 9, ("3", "2"), "talk")
        press(session, classroom, Action.SKIP)
        with pytest.raises(refusals.NotNowError):
            reading.peek(session, classroom)


def test_peek_at_no_votes_advises_to_explain(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        press(session, classroom, Action.ASK, Action.CLOSE)
        assert reading.peek(session, classroom).advice == "explain"


def test_here_is_who_was_seen_within_30_seconds_or_has_voted(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        voter, quiet, gone = students(session, classroom, 3)
        press(session, classroom, Action.ASK)
        operations.vote(session, voter, lines(session, classroom)[0].id, 1, None, now=later(1))
        quiet.seen_at = later(60)
        session.flush()
        desk = reading.desk_state(session, classroom, now=later(80))
        assert {p.id: p.state for p in desk.people} == {voter.id: "voted", quiet.id: "here", gone.id: "away"}
        assert (desk.common.here, desk.common.voted, desk.following) == (2, 1, 2)
        operations.follow(session, quiet, False)
        assert reading.desk_state(session, classroom, now=later(81)).following == 1


def test_progress_is_counted_by_section(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        one, two = students(session, classroom, 2)
        for student, section, done in (
            (one, "opening", True),
            (one, "rounding", False),
            (two, "opening", True),
        ):
            operations.progress(session, student, section, done=done)
        operations.progress(session, two, "opening")  # done stays done
        desk = reading.desk_state(session, classroom, now=later(1))
        assert desk.sections[:3] == (("opening", 2, 1), ("idea", 0, 0), ("rounding", 0, 1))
        with pytest.raises(refusals.FieldError, match="section"):
            operations.progress(session, one, "gptq")


# --- at their own pace -------------------------------------------------------------------------------------


def test_answer_sent_twice_is_stored_once_and_judged_by_the_server(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        (student,) = students(session, classroom, 1)
        sent = operations.Sent("a-1", "question", "rtn", "9", seconds=12.5)
        assert operations.record(session, student, sent, now=NOW)
        assert not operations.record(session, student, sent, now=NOW)
        assert operations.record(session, student, operations.Sent("a-2", "question", "rtn", None), now=NOW)
        stored = session.scalars(select(Answer).order_by(Answer.id)).all()
        assert [(a.value, a.outcome, a.attempt, a.seconds) for a in stored] == [
            ("9", "right", 1, 12.5),
            (None, "skipped", 2, None),
        ]
        assert reading.student_state(session, student).answers == 2


def test_every_step_of_every_task_is_judged_by_its_seed_with_its_slips(database: Database) -> None:
    lesson = load_lesson("quantization")
    with database.write() as session:
        classroom = start(session)
        (student,) = students(session, classroom, 1)
        uid, slips = 0, 0
        for task in lesson.tasks.values():
            for step in task.make(7).steps:
                wrong = next((slip for slip in step.slips if not step.near(slip.value, step.answer)), None)
                for value in (step.answer, wrong.value if wrong else None):
                    if value is None:
                        continue
                    uid += 1
                    sent = operations.Sent(
                        str(uid), "step", task.name, as_parameter(value), step=step.name, seed=7
                    )
                    operations.record(session, student, sent)
                    stored = session.scalars(select(Answer).where(Answer.uid == str(uid))).one()
                    expected = "right" if value == step.answer else "wrong"
                    assert (stored.outcome, stored.variant, stored.step) == (expected, 7, step.name), (
                        task.name
                    )
                    slips += stored.slip.startswith("slip_")
        assert slips > 10


@each(
    "field, sent",
    [
        ("uid", operations.Sent("", "question", "rtn", "9")),
        ("uid", operations.Sent("x\x00", "question", "rtn", "9")),
        ("uid", operations.Sent("x" * 37, "question", "rtn", "9")),
        ("question", operations.Sent("1", "question", "nothing", "9")),
        ("answer", operations.Sent("1", "question", "rtn", "99")),
        ("task", operations.Sent("1", "step", "nothing", "9")),
        ("seed", operations.Sent("1", "step", "fit", "9", "weights", seed=0)),
        ("seed", operations.Sent("1", "step", "fit", "9", "weights", seed=10_000)),
        ("step", operations.Sent("1", "step", "fit", "9", "nothing", seed=1)),
        ("value", operations.Sent("1", "step", "fit", None, "nothing", seed=1)),
        ("seconds", operations.Sent("1", "question", "rtn", "9", seconds=float("nan"))),
    ],
)
def test_wrong_answer_names_its_field(database: Database, field: str, sent: operations.Sent) -> None:
    with database.write() as session:
        (student,) = students(session, start(session), 1)
        with pytest.raises(refusals.FieldError, match=f"^{field}: allowed is ."):
            operations.record(session, student, sent)


# --- the running order -------------------------------------------------------------------------------------


def test_running_order_is_edited(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)

        def present() -> list[str]:
            order = operations.running_order(session, classroom)
            assert [item.position for item in order] == list(range(1, len(order) + 1))
            return [f"{item.kind} {item.name}" for item in order]

        task = operations.add_item(session, classroom, classroom.version, "task", "fit")
        assert present()[-1] == "task fit"
        operations.move_item(session, classroom, classroom.version, task.id, 1)
        assert present()[0] == "task fit"
        states = ("bits=3", "bits=2&scheme=symmetric")
        figure = operations.add_item(
            session, classroom, classroom.version, "figure", "rtn", position=2, states=states
        )
        operations.show(session, classroom, classroom.version, figure.id)
        operations.step(session, classroom, classroom.version, 5)
        shown = reading.screen_state(session, classroom).common.shown
        assert shown
        assert (shown.states, shown.step) == (states, 1)
        operations.remove_item(session, classroom, classroom.version, figure.id)
        assert reading.screen_state(session, classroom).common.shown is None
        desk = reading.desk_state(session, classroom)
        assert [(line.kind, line.section) for line in desk.order[:2]] == [
            ("task", "fit"),
            ("question", "rounding"),
        ]


def test_question_that_was_asked_stays_in_the_order(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        press(session, classroom, Action.ASK, Action.WITHDRAW)
        with pytest.raises(refusals.HasVotesError):
            operations.remove_item(session, classroom, classroom.version, lines(session, classroom)[0].id)


@each(
    "field, kind, name, states",
    [
        ("kind", "poem", "rtn", ()),
        ("name", "question", "noise", ()),
        ("name", "task", "rtn", ()),
        ("bits", "figure", "rtn", ("bits=99",)),
        ("states", "question", "rtn", ("bits=3",)),
        ("states", "figure", "rtn", ("bits=3",) * 21),
        ("states", "figure", "rtn", ("x" * 601,)),
    ],
)
def test_line_that_cannot_be_names_its_field(
    database: Database, field: str, kind: str, name: str, states: tuple[str, ...]
) -> None:
    with database.write() as session:
        classroom = start(session)
        with pytest.raises(refusals.FieldError, match=f"^{field}: "):
            operations.add_item(session, classroom, classroom.version, kind, name, states=states)


# --- its end, and what is deleted --------------------------------------------------------------------------


def test_ended_class_lets_nobody_in_and_is_opened_again_until_its_end_date(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        (student,) = students(session, classroom, 1)
        press(session, classroom, Action.ASK)
        operations.end(session, classroom, classroom.version, now=later(60))
        assert lines(session, classroom)[0].phase == Phase.CLOSED_1
        assert reading.student_state(session, student, now=later(61)).common.status == "ended"
        with pytest.raises(refusals.EndedError, match="This class ended on 30 November 2026."):
            operations.join(session, classroom, now=later(62))
        with pytest.raises(refusals.EndedError):
            operations.act(session, classroom, Action.DISCUSS, classroom.version, now=later(62))
        operations.reopen_class(session, classroom, classroom.version, now=later(70))
        operations.join(session, classroom, now=later(71))
        past = datetime(2026, 12, 19, 12, 0, tzinfo=UTC)
        assert (
            reading.screen_state(session, classroom, now=past - timedelta(seconds=1)).common.status
            == "running"
        )
        assert reading.screen_state(session, classroom, now=past).common.status == "ended"
        with pytest.raises(refusals.EndedError, match="18 December 2026"):
            operations.reopen_class(session, classroom, classroom.version, now=past)


@each(
    "title, ends_on, field",
    [
        ("", END, "title"),
        ("x" * 81, END, "title"),
        ("a\x00b", END, "title"),
        ("a\u202eb", END, "title"),
        ("\u3164\u3164", END, "title"),
        ("a" + "\u0316" * 9, END, "title"),
        ("ok", date(2026, 11, 28), "ends_on"),
        ("ok", date(2028, 1, 1), "ends_on"),
    ],
)
def test_class_that_cannot_be_names_its_field(
    database: Database, title: str, ends_on: date, field: str
) -> None:
    with database.write() as session, pytest.raises(refusals.FieldError, match=f"^{field}: allowed is "):
        operations.create(session, title, ends_on, lesson="quantization", now=NOW)


def stored(session: Session) -> list[int]:
    tables = (Classroom, Item, Student, Vote, Answer, Progress)
    return [session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]


def test_student_and_class_are_deleted_with_everything(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        gone, stays = students(session, classroom, 2)
        press(session, classroom, Action.ASK)
        for student in (gone, stays):
            operations.vote(session, student, lines(session, classroom)[0].id, 1, "8")
            operations.record(session, student, operations.Sent("1", "question", "awq", "0.15"))
            operations.progress(session, student, "opening", done=True)
        press(session, classroom, Action.SKIP)
        other = start(session)
        for wrong in (stays.id[::-1], "", "x\x00"):
            with pytest.raises(refusals.UnknownStudentError):
                operations.delete_student(session, classroom, wrong)
        with pytest.raises(refusals.UnknownStudentError):
            operations.delete_student(session, other, stays.id)
        operations.delete_student(session, classroom, gone.id)
        assert stored(session) == [2, 12, 1, 1, 1, 1]
        guesses = reading.screen_state(session, classroom).common.guesses
        assert guesses
        assert guesses.of(1) == ("8",)
        operations.delete_class(session, classroom)
        assert stored(session) == [1, 6, 0, 0, 0, 0]


def test_class_is_purged_when_its_months_are_over(database: Database) -> None:
    with database.write() as session:
        leap = operations.create(
            session, "Leap", date(2027, 8, 31), lesson="quantization", months=6, now=NOW
        ).classroom
        kept = start(session)
        assert deleted_on(leap) == date(2028, 2, 29)
        assert deleted_on(kept) == date(2027, 12, 18)
        assert operations.purge(session, now=datetime(2027, 12, 17, 23, tzinfo=UTC)) == []
        assert operations.purge(session, now=datetime(2027, 12, 18, 1, tzinfo=UTC)) == [kept.code]
        assert session.scalars(select(Classroom.code)).all() == [leap.code]


def test_names_are_unique_in_a_class(database: Database) -> None:
    with database.write() as session:
        classroom, other = start(session), start(session)
        anna = operations.join(session, classroom, "Anna", now=NOW).student
        with pytest.raises(refusals.NameTakenError, match="Аnna"):
            operations.join(session, classroom, "Аnna", now=NOW)  # with a Cyrillic А
        operations.join(session, other, "Anna", now=NOW)
        operations.rename(session, anna, "ANNA")
        assert anna.name == "ANNA"
        first = operations.join(session, classroom, "quiet heron", now=NOW).student
        second = operations.join(session, classroom, "quiet heron", now=NOW).student
        assert (first.name, second.name != "quiet heron") == ("quiet heron", True)
        with pytest.raises(refusals.NameTakenError):
            operations.rename(session, anna, "Quiet Heron")
        operations.rename(session, anna, "")
        assert names.is_offered(anna.name)


def test_confidence_is_stored_with_a_guess_of_the_second_vote_where_it_is_asked(database: Database) -> None:
    with database.write() as session:
        for asks, value, kept in ((True, "9", 2), (False, "9", None), (True, None, None)):
            classroom = start(session)
            classroom.asks_confidence = asks
            (student,) = students(session, classroom, 1)
            press(session, classroom, Action.ASK)
            item = lines(session, classroom)[0].id
            for wrong in ((1, 2), (2, 0), (2, 4)):
                with pytest.raises(refusals.FieldError, match="confidence"):
                    operations.vote(session, student, item, wrong[0], "9", wrong[1])
            press(session, classroom, Action.CLOSE, Action.DISCUSS, Action.ASK_AGAIN)
            operations.vote(session, student, item, 2, value, 2)
            own = reading.student_state(session, student).second
            assert own
            assert own.confidence == kept


def test_lines_that_a_newer_lesson_does_not_have_are_left_out(database: Database) -> None:
    with database.write() as session:
        classroom = start(session)
        (student,) = students(session, classroom, 1)
        press(session, classroom, Action.ASK)
        before = reading.desk_state(session, classroom, now=NOW)
        lines(session, classroom)[0].name = "dropped"
        classroom.version += 1
        session.flush()
        assert reading.screen_state(session, classroom, now=NOW).common.shown is None
        assert reading.student_state(session, student, now=NOW).common.shown is None
        after = reading.desk_state(session, classroom, now=NOW)
        assert [line.id for line in after.order] == [line.id for line in before.order[1:]]
        press(session, classroom, Action.ASK)
        shown = reading.screen_state(session, classroom, now=NOW).common.shown
        assert shown is not None
        assert (shown.name, shown.number, shown.total) == ("awq", 1, 2)
