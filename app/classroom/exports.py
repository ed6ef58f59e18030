"""What a teacher takes along: every answer as CSV, every student as CSV, the class as JSON.

The CSV is UTF-8 with a byte order mark, without which spreadsheets read names and α as something else;
pandas and R's readr know the mark. A text that a spreadsheet would take for a formula begins with an
apostrophe instead. Nothing is in these files that the analysis does not tell: see `Record.visible`.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from app.classroom.analysis import AnswerRow, Cell, Record, VoteRow, rows_of
from app.classroom.thoughts import slip_name, thought_name, thought_of
from lessons.catalogue import Lesson, load_lesson

BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a formula begins with: OWASP, CSV Injection; the full-width signs some spreadsheets take, too."""
AFTER_SEMICOLON = re.compile(r"(;\s*)(?=[=+\-@＝＋－＠])")
"""Where a formula could begin in a spreadsheet of a country whose lists are separated by semicolons."""
NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
"""An answer such as -0.008 stays a number."""

LONG = (
    *("student", "kind", "line", "name", "step", "exercise", "vote", "value", "outcome", "thought"),
    *("confidence", "late", "attempt", "seconds", "time"),
)
"""The columns of a row an answer. `line` is the question's place in the running order."""

OF_QUESTION = ("first", "second", "outcome", "confidence", "seconds")
OF_STEP = ("value", "outcome", "attempts")
"""The columns of a row a student, for each question and for each answer at own pace."""

CONFIDENCE = {1: "a guess", 2: "fairly sure", 3: "certain"}

Fields = dict[str, Any]


def votes_csv(record: Record) -> str:
    """A row an answer: votes in the running order, then answers at own pace, by their time."""
    visible = record.visible()
    votes = sorted(_votes(visible), key=lambda row: (row["line"], row["vote"], row["time"]))
    return _csv(LONG, [*votes, *_answers(visible)])


def students_csv(record: Record) -> str:
    """A row a student: for each question both votes, and for each answer at own pace what came of it."""
    visible = record.visible()
    columns = dict.fromkeys(("student", "joined"))
    for place, item in enumerate(visible.items, start=1):
        if item.kind == "question" and visible.is_visible(item):
            columns |= dict.fromkeys(f"{place} {item.name} {what}" for what in OF_QUESTION)
    places = {item.id: f"{place} {item.name}" for place, item in enumerate(visible.items, start=1)}
    cells, rows = rows_of(visible), []
    for student in visible.students:
        row: Fields = {"student": student.name, "joined": _time(student.joined_at)}
        for cell in cells[student.id]:
            name = f"{cell.name} {cell.step}".strip() if cell.item is None else places[cell.item]
            found = _of_step(cell) if cell.item is None else _of_question(cell)
            row |= {f"{name} {what}": value for what, value in found.items()}
        columns |= dict.fromkeys(row)
        rows.append(row)
    return _csv(tuple(columns), rows)


def class_json(record: Record) -> str:
    """The class with its students by pseudonym, votes, answers and progress."""
    visible = record.visible()
    names = {student.id: student.name for student in visible.students}
    content = {
        "class": {
            "code": visible.code,
            "title": visible.title,
            "lesson": visible.lesson,
            "created": _time(visible.created_at),
            "ends_on": visible.ends_on.isoformat(),
            "ended": visible.ended,
        },
        "running_order": [
            {"line": line, "kind": item.kind, "name": item.name, "phase": item.phase, "twice": item.twice}
            for line, item in enumerate(visible.items, start=1)
        ],
        "students": [{"name": s.name, "joined": _time(s.joined_at)} for s in visible.students],
        "votes": _votes(visible),
        "answers": _answers(visible),
        "progress": [
            {"student": names[student], "section": section, "done": done}
            for student, section, done in visible.progress
        ],
    }
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def _votes(visible: Record) -> list[Fields]:
    lesson, names = load_lesson(visible.lesson), {student.id: student.name for student in visible.students}
    places = {item.id: (place, item.name) for place, item in enumerate(visible.items, start=1)}
    return [
        {
            "student": names[vote.student],
            "kind": "vote",
            "line": places[vote.item][0],
            "name": places[vote.item][1],
            "vote": vote.round,
            "value": vote.value,
            "outcome": vote.outcome,
            "thought": _thought(lesson, places[vote.item][1], vote),
            "confidence": CONFIDENCE.get(vote.confidence or 0),
            "late": vote.late,
            "seconds": round(vote.seconds, 1),
            "time": _time(vote.at),
        }
        for vote in visible.votes
    ]


def _answers(visible: Record) -> list[Fields]:
    lesson, names = load_lesson(visible.lesson), {student.id: student.name for student in visible.students}
    return [
        {
            "student": names[answer.student],
            "kind": answer.kind,
            "name": answer.name,
            "step": answer.step,
            "exercise": answer.variant if answer.kind == "task" else None,
            "value": answer.value,
            "outcome": answer.outcome,
            "thought": _thought(lesson, answer.name, answer),
            "attempt": answer.attempt,
            "seconds": None if answer.seconds is None else round(answer.seconds, 1),
            "time": _time(answer.at),
        }
        for answer in visible.answers
    ]


def _of_question(cell: Cell) -> Fields:
    """What a student made of a question: the outcome and the time are those of the last vote."""
    first, second = cell.first, cell.second
    last = second or first
    assert last is not None
    sure = CONFIDENCE.get(second.confidence or 0) if second else None
    seconds = None if last.seconds is None else round(last.seconds, 1)
    found = (first and first.value, second and second.value, last.outcome, sure, seconds)
    return dict(zip(OF_QUESTION, found, strict=True))


def _of_step(cell: Cell) -> Fields:
    assert cell.first is not None
    return dict(zip(OF_STEP, (cell.first.value, cell.first.outcome, cell.attempts), strict=True))


def defused(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula; a truth value is yes or no.

    >>> defused("=1+1"), defused("-0.008"), defused("quiet;=1+1")
    ("'=1+1", '-0.008', "quiet;'=1+1")
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and not NUMBER.fullmatch(value):
        return AFTER_SEMICOLON.sub(r"\1'", f"'{value}" if value.startswith(FORMULA) else value)
    return value


def _csv(columns: Sequence[str], rows: Iterable[Fields]) -> str:
    lines = io.StringIO()
    writer = csv.DictWriter(lines, [*columns])
    writer.writeheader()
    writer.writerows({name: defused(value) for name, value in row.items()} for row in rows)
    return BOM + lines.getvalue()


def _thought(lesson: Lesson, name: str, row: VoteRow | AnswerRow) -> str:
    """The thought behind an answer that is not right, or the slip, in words."""
    if row.outcome in ("right", "skipped") or row.value is None:
        return ""
    if isinstance(row, AnswerRow) and row.kind == "task":
        return slip_name(lesson, name, row.slip) if row.slip else ""
    return thought_name(lesson, name, thought_of(lesson.slug, name, row.value))


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


FILES: dict[str, Callable[[Record], str]] = {
    "votes.csv": votes_csv,
    "students.csv": students_csv,
    "class.json": class_json,
}
"""What can be taken along, by the names of the files."""


def file_name(code: str, file: str) -> str:
    """The name under which a file of a class is saved."""
    return f"class-{code}-{file}"
