"""What a teacher takes along: complete, readable by spreadsheets, and harmless in them."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest

from app.classroom.analysis import ItemRow, Record, StudentRow
from app.classroom.exports import class_json, defused, students_csv, votes_csv
from app.classroom.flow import Phase
from tests.app.classroom.test_analysis import NOON, answer, record, vote


def lesson_record(**more: Any) -> Record:
    """Two students, a question with two votes, one at own pace, a step of a task."""
    made = record(
        vote(1, "a", "8", "close", seconds=31.44),
        vote(1, "a", "9", "right", 2, confidence=2),
        vote(1, "b", None, "skipped"),
        vote(1, "b", "2", "off", 2, confidence=3, late=True),
        answers=(
            answer("b", "wrong", value="-38.4", slip="slip_bits"),
            answer("b", "right", 2, value="4.8"),
            answer("a", "off", kind="prediction", name="primitive", step="", variant=0, value="8", slip=""),
        ),
    )
    names = {"a": "quiet heron", "b": '=HYPERLINK("x")'}
    return replace(
        made,
        students=tuple(StudentRow(s.id, names[s.id], NOON) for s in made.students),
        items=(ItemRow(9, "figure", "rtn", Phase.WAITING), ItemRow(1, "question", "rtn", Phase.REVEALED)),
        progress=(("a", "rounding", True),),
        **more,
    )


def read(text: str) -> list[dict[str, str]]:
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


@pytest.mark.parametrize(
    "text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\tx", "\rx", "\nx", "＝1", "-", "=", "+x"]
)
def test_no_text_begins_like_a_formula(text: str) -> None:
    assert defused(text) == f"'{text}"


@pytest.mark.parametrize(
    ("text", "cell"), [("a;=1+1", "a;'=1+1"), ("a; @x;-1", "a; '@x;'-1"), ("=1;=2", "'=1;'=2")]
)
def test_no_formula_begins_after_a_semicolon(text: str, cell: str) -> None:
    assert defused(text) == cell


@pytest.mark.parametrize(
    "value", ["quiet heron", "a; b", "a;1", "-0.008", "+5", "4.8", "", None, 3, -2.5, "a=b", "α"]
)
def test_numbers_and_other_texts_stay_as_they_are(value: object) -> None:
    assert defused(value) == value


def test_a_row_an_answer_has_all_of_it() -> None:
    rows = read(votes_csv(lesson_record()))
    assert [(row["student"], row["kind"], row["vote"], row["value"]) for row in rows] == [
        ("quiet heron", "vote", "1", "8"),
        ('\'=HYPERLINK("x")', "vote", "1", ""),
        ("quiet heron", "vote", "2", "9"),
        ('\'=HYPERLINK("x")', "vote", "2", "2"),
        ('\'=HYPERLINK("x")', "task", "", "-38.4"),
        ('\'=HYPERLINK("x")', "task", "", "4.8"),
        ("quiet heron", "prediction", "", "8"),
    ]
    first, skipped, _, late, wrong, *_ = rows
    assert first["thought"] == "Counted 2ᵇ levels, not the gaps between them"
    assert (first["line"], first["name"], first["seconds"]) == ("2", "rtn", "31.4")
    assert (skipped["outcome"], skipped["thought"]) == ("skipped", "")
    assert (late["late"], late["confidence"]) == ("yes", "certain")
    assert (wrong["step"], wrong["exercise"], wrong["thought"]) == ("gb", "1", "Bits taken for bytes")
    assert first["time"] == "2026-11-30T12:00:00+00:00"


def test_a_row_a_student_has_both_votes_and_each_step() -> None:
    heron, other = read(students_csv(lesson_record()))
    assert (heron["2 rtn first"], heron["2 rtn second"], heron["2 rtn outcome"]) == ("8", "9", "right")
    assert (heron["2 rtn confidence"], heron["primitive value"]) == ("fairly sure", "8")
    assert (other["fit gb value"], other["fit gb outcome"], other["fit gb attempts"]) == ("4.8", "right", "2")
    assert (heron["fit gb value"], other["primitive value"]) == ("", "")


def test_json_holds_the_class() -> None:
    content = json.loads(class_json(lesson_record()))
    assert content["class"]["code"] == "K7M4XP"
    assert [len(content[part]) for part in ("running_order", "students", "votes", "answers", "progress")] == [
        2, 2, 4, 3, 1,
    ]  # fmt: skip
    assert content["students"][1]["name"] == '=HYPERLINK("x")', "JSON is no spreadsheet"
    assert content["progress"] == [{"student": "quiet heron", "section": "rounding", "done": True}]


@pytest.mark.parametrize("make", [votes_csv, students_csv, class_json])
def test_files_hold_no_secret_and_nothing_before_the_reveal(make: Any) -> None:
    hidden = lesson_record()
    hidden = replace(
        hidden,
        items=tuple(replace(item, phase=Phase.CLOSED_1) for item in hidden.items),
        answers=tuple(replace(a, name="rtn", value="17") for a in hidden.answers if a.kind == "prediction"),
    )
    text = make(hidden)
    assert "hash" not in text
    assert not any(f"{mark}8{mark}" in text or f"{mark}17{mark}" in text for mark in (",", '"'))
    assert "17" in make(replace(hidden, ended=True)).replace("T12", "")


def test_an_empty_class_has_its_heads() -> None:
    empty = record()
    assert votes_csv(empty).startswith("\ufeffstudent,kind,line")
    assert students_csv(empty) == "\ufeffstudent,joined\r\n"
    assert json.loads(class_json(empty))["votes"] == []
