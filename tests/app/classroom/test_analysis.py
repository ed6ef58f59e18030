"""The analysis of a class: published values, and classes that are too small for them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from app.classroom.analysis import (
    AnswerRow,
    Discrimination,
    ItemAnalysis,
    ItemRow,
    Record,
    Share,
    StudentRow,
    VoteRow,
    analyse,
    discrimination,
    may_need_a_word,
    rows_of,
)
from app.classroom.flow import Phase

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def vote(item: int, student: str, value: str | None, outcome: str, round: int = 1, **more: Any) -> VoteRow:
    given: dict[str, Any] = {"confidence": None, "late": False, "seconds": 10.0, "at": NOON} | more
    return VoteRow(item, student, round, value, outcome, **given)


def answer(student: str, outcome: str, attempt: int = 1, **more: Any) -> AnswerRow:
    given: dict[str, Any] = {
        "kind": "task",
        "name": "fit",
        "step": "gb",
        "variant": 1,
        "value": "38.4",
        "slip": "" if outcome == "right" else "bits",
        "seconds": 125.0,
        "at": NOON + timedelta(seconds=attempt),
    } | more
    return AnswerRow(student=student, outcome=outcome, attempt=attempt, **given)


def record(*votes: VoteRow, answers: tuple[AnswerRow, ...] = (), **more: Any) -> Record:
    students = dict.fromkeys([vote.student for vote in votes] + [answer.student for answer in answers])
    items = dict.fromkeys(row.item for row in votes)
    given: dict[str, Any] = {
        "students": tuple(StudentRow(name, name, NOON) for name in students),
        "items": tuple(ItemRow(i, "question", f"question-{i}", Phase.REVEALED) for i in items),
    } | more
    return Record(
        "K7M4XP",
        "Monday",
        "quantization",
        NOON,
        date(2026, 12, 18),
        given.pop("ended", False),
        votes=votes,
        answers=answers,
        **given,
    )


def analysed(visible: Record) -> tuple[ItemAnalysis, ...]:
    return analyse(visible, lambda name, value: f"{name}:{'low' if float(value) < 10 else 'high'}")


# --- the correlation ---------------------------------------------------------------------------------------

LSAT = "3 6 2 11 1 1 3 4 1 8 0 16 0 3 2 15 10 29 14 81 3 28 15 80 16 56 21 173 11 61 28 298"
"""How often each pattern of right (1) and wrong (0) answers to the five items of section 6 of the LSAT came,
from 00000 to 11111 (Bock and Lieberman, Psychometrika 35 (1970), table 1)."""

PUBLISHED = (0.1128, 0.1531, 0.1727, 0.1444, 0.1215)
"""Their point-biserial correlations, the item excluded, as R's ltm::descript prints them (Rizopoulos, Journal
of Statistical Software 17(5) (2006)). ltm mixes the two standard deviations: a factor of √(999/1000)."""


def lsat() -> list[list[int]]:
    patterns = itertools.product((0, 1), repeat=5)
    return [list(p) for p, n in zip(patterns, map(int, LSAT.split()), strict=True) for _ in range(n)]


def test_published_correlations_are_met() -> None:
    rows = lsat()
    assert len(rows) == 1000
    credits = [{str(i): bool(row[item]) for i, row in enumerate(rows)} for item in range(5)]
    for item, published in enumerate(PUBLISHED):
        assert discrimination(credits, item).r == pytest.approx(published, abs=1.5e-4)


def test_the_item_itself_is_left_out_of_the_score() -> None:
    rng = np.random.default_rng(1)
    scores = rng.random((40, 6)) < rng.random((40, 1))
    credits = [{str(i): bool(scores[i, item]) for i in range(40)} for item in range(6)]
    for item in range(6):
        rest = scores.sum(1) - scores[:, item]
        expected = np.corrcoef(scores[:, item], rest)[0, 1]
        assert discrimination(credits, item).r == pytest.approx(expected)
        assert discrimination(credits, item).r != pytest.approx(
            np.corrcoef(scores[:, item], scores.sum(1))[0, 1]
        )


def test_who_answered_less_is_scored_by_what_they_answered() -> None:
    """Strong students who came late are not taken for weak ones."""
    strong, weak = [f"s{i}" for i in range(12)], [f"w{i}" for i in range(12)]
    first = dict.fromkeys(strong, True) | dict.fromkeys(weak, False)
    second = dict.fromkeys(strong[:4], True) | dict.fromkeys(weak, False)
    third = dict.fromkeys(strong, True) | {name: i < 4 for i, name in enumerate(weak)}
    found = discrimination([first, second, third], 0)
    rests = [1.0] * 12 + [0.5] * 4 + [0.0] * 8
    assert found.r == pytest.approx(np.corrcoef([1.0] * 12 + [0.0] * 12, rests)[0, 1])


@pytest.mark.parametrize(
    ("first", "second", "missing"),
    [
        ([True, False] * 9 + [True], [True] * 19, "few"),
        ([True, False] * 10, [], "alone"),
        ([True, False] * 10, [True, False] * 9, "alone"),
        ([True] * 20, [True, False] * 10, "same"),
        ([False] * 20, [True, False] * 10, "same"),
        ([True, False] * 10, [True] * 20, "same"),
        ([], [True, False] * 10, "few"),
    ],
)
def test_a_correlation_that_does_not_exist_says_why(
    first: list[bool], second: list[bool], missing: str
) -> None:
    credits = [{str(i): right for i, right in enumerate(item)} for item in (first, second)]
    assert discrimination(credits, 0) == Discrimination(None, missing)  # type: ignore[arg-type]


def test_twenty_answers_are_enough() -> None:
    credits = [{str(i): i % 2 == 0 for i in range(20)}] * 2
    assert discrimination(credits, 0).r == pytest.approx(1)


@pytest.mark.parametrize(("r", "weak"), [(0.094, True), (0.096, False), (-0.3, True), (0.4, False)])
def test_a_question_is_weak_by_its_printed_correlation(r: float, weak: bool) -> None:
    assert Discrimination(r).is_weak == weak


# --- numbers of a line -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("near", "of", "percent"), [(0, 0, None), (11, 14, None), (19, 19, None), (0, 20, 0), (20, 20, 100),
                                (1, 40, 3), (25, 200, 13), (27, 66, 41)]
)  # fmt: skip
def test_percentages_are_whole_and_half_up_from_twenty_answers(
    near: int, of: int, percent: int | None
) -> None:
    assert Share(near, of).percent == percent


def test_a_question_without_votes_has_a_line_and_no_numbers() -> None:
    asked = ItemRow(1, "question", "rtn", Phase.REVEALED)
    (line,) = analysed(replace(record(), items=(asked,)))
    assert (line.first, line.second, line.seconds, line.wrong) == (Share(0, 0), None, None, ())
    assert line.discrimination == Discrimination(None, "few")


def test_one_student_has_counts_alone() -> None:
    (line,) = analysed(record(vote(1, "a", "9", "right", seconds=31.4)))
    assert (line.first, line.first.percent, line.second) == (Share(1, 1), None, None)
    assert line.seconds == 31.4
    assert line.wrong == ()


def test_all_right_is_one_hundred_percent_without_a_correlation() -> None:
    votes = [vote(item, str(i), "9", "right") for item in (1, 2) for i in range(25)]
    lines = analysed(record(*votes))
    assert [line.first.percent for line in lines] == [100, 100]
    assert [line.discrimination.missing for line in lines] == ["same", "same"]
    assert [line.wrong for line in lines] == [(), ()]


def test_close_counts_as_near_late_and_skipped_do_not_count() -> None:
    (line,) = analysed(
        record(
            vote(1, "a", "9", "right"),
            vote(1, "b", "8", "close"),
            vote(1, "c", "2", "off"),
            vote(1, "d", "9", "right", late=True),
            vote(1, "e", None, "skipped"),
            vote(1, "c", "8", "close", 2),
            vote(1, "e", "9", "right", 2),
        )
    )
    assert (line.first, line.second, line.skipped) == (Share(2, 3), Share(2, 2), 1)


def test_the_median_time_is_that_of_a_student() -> None:
    votes = [vote(1, str(i), "9", "right", seconds=s) for i, s in enumerate((5.0, 50.0, 7.0, 8.0))]
    (line,) = analysed(record(*votes))
    assert line.seconds == 7.0


def test_wrong_answers_are_grouped_by_the_thought_behind_them() -> None:
    given = [("6", "off")] * 2 + [("8", "off")] * 3 + [("7", "off"), ("24", "close"), ("9", "right")]
    (line,) = analysed(record(*(vote(1, str(i), value, how) for i, (value, how) in enumerate(given))))
    low, high = line.wrong
    assert (low.reason, low.count, low.values, low.near) == ("question-1:low", 6, ("8", "6", "7"), False)
    assert (high.reason, high.count, high.values, high.near) == ("question-1:high", 1, ("24",), True)
    assert line.others == 0


def test_only_the_most_frequent_wrong_answers_are_listed() -> None:
    given = [str(kind) for kind in range(7) for _ in range(7 - kind)]
    (line,) = analyse(
        record(*(vote(1, str(i), value, "off") for i, value in enumerate(given))), lambda _, value: value
    )
    assert [(wrong.reason, wrong.count) for wrong in line.wrong] == [("0", 7), ("1", 6), ("2", 5), ("3", 4)]
    assert line.others == 3 + 2 + 1


def test_a_step_of_a_task_counts_first_attempts_and_tells_what_came_of_them() -> None:
    answers = (
        answer("a", "wrong"),
        answer("a", "wrong", 2),
        answer("a", "right", 3),
        answer("b", "right", value="4.8"),
        answer("c", "wrong", value="384", slip="point"),
        answer("d", "unread", value="a lot"),
    )
    (line,) = analysed(record(answers=answers))
    assert (line.kind, line.name, line.step) == ("task", "fit", "gb")
    assert (line.first, line.second, line.in_the_end) == (Share(1, 3), None, 2)
    assert line.attempts == (1, 3)
    assert {wrong.reason: wrong.count for wrong in line.wrong} == {"bits": 1, "point": 1}


def test_predictions_at_own_pace_have_a_line_of_their_own() -> None:
    visible = record(
        vote(1, "a", "9", "right"),
        answers=(answer("b", "off", kind="prediction", name="question-1", step="", value="3", slip=""),),
    )
    asked, own_pace = analysed(visible)
    assert (asked.kind, asked.first, own_pace.kind, own_pace.first) == (
        "vote", Share(1, 1), "prediction", Share(0, 1),
    )  # fmt: skip
    assert own_pace.wrong[0].reason == "question-1:low"


# --- what is not told --------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.REVEALED])
def test_nothing_of_a_question_is_visible_before_its_reveal(phase: Phase) -> None:
    running = record(
        vote(1, "a", "3", "off"),
        vote(1, "a", "3", "off", 2, confidence=3),
        answers=(answer("b", "off", kind="prediction", name="question-1", step="", value="3", slip=""),),
    )
    running = replace(running, items=(replace(running.items[0], phase=phase),))
    assert analysed(running) == ()
    assert set(rows_of(running).values()) == {()}
    assert may_need_a_word(running, lambda *_: "here") == {}
    ended = replace(running, ended=True)
    shown = [line.kind for line in analysed(ended)]
    hidden = phase in (Phase.WAITING, Phase.WITHDRAWN)
    assert shown == (["prediction"] if hidden else ["vote", "prediction"])


# --- students ----------------------------------------------------------------------------------------------


def test_who_was_wrong_twice_and_certain_may_need_a_word() -> None:
    def twice(student: str, first: str, second: str, confidence: int | None) -> list[VoteRow]:
        return [vote(1, student, "3", first), vote(1, student, "3", second, 2, confidence=confidence)]

    visible = record(
        *twice("certain", "off", "off", 3),
        *twice("fairly", "off", "off", 2),
        *twice("silent", "off", "off", None),
        *twice("near", "close", "off", 3),
        *twice("learned", "off", "right", 3),
        vote(1, "once", "3", "off", 2, confidence=3),
        answers=(
            *(answer("tried", "wrong", n) for n in (1, 2, 3)),
            *(answer("gave up", "wrong", n) for n in (1, 2)),
            *(answer("got it", "wrong", n) for n in (1, 2, 3)),
            answer("got it", "right", 4),
        ),
    )
    found = may_need_a_word(visible, lambda kind, name: f"{kind} {name}")
    assert found == {"question question-1": ("certain",), "task fit": ("tried",)}


def test_a_students_row_has_both_votes_and_the_best_attempt() -> None:
    visible = record(
        vote(1, "a", "11", "off"),
        vote(1, "a", "15", "close", 2, confidence=2),
        vote(2, "b", "1", "off"),
        answers=(answer("a", "wrong"), answer("a", "right", 2, value="4.8"), answer("a", "wrong", 3)),
    )
    question, task = rows_of(visible)["a"]
    assert question.first is not None
    assert question.second is not None
    assert task.first is not None
    assert (question.first.value, question.second.value, question.second.confidence) == ("11", "15", 2)
    assert (task.first.value, task.first.outcome, task.attempts) == ("4.8", "right", 3)
