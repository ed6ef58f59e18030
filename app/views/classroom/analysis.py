"""The analysis of a class as its template is given it: numbers as printed, thoughts and slips in words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from app.classroom.analysis import (
    AnswerRow,
    Cell,
    Discrimination,
    ItemAnalysis,
    Record,
    Share,
    VoteRow,
    Wrong,
    analyse,
    may_need_a_word,
    rows_of,
)
from app.classroom.codes import spaced
from app.classroom.judging import SHOWN_FROM
from app.classroom.models import Classroom
from app.classroom.states import Guesses
from app.classroom.thoughts import section_of, slip_name, thought_name, thought_of
from app.classroom.timing import deleted_on, end_of, present
from app.views.classroom.reveal import RevealContext, revealed
from lessons.catalogue import Lesson, load_lesson
from lessons.kit import numbers
from lessons.kit.controls import Slider, as_parameter
from lessons.kit.language import current_language, ngettext
from lessons.kit.language import gettext as _
from lessons.kit.question import ANSWER

LONG_SECONDS = 180
"""From which a time is printed in minutes and seconds."""

NAMED = 3
"""Students who are named at once; the others are in a fold."""

LEFT, RIGHT, APART = 10.0, 140.0, 32.0
"""The ends of the drawing of a shift, and how far apart two of its numbers are at least."""


@dataclass(frozen=True, slots=True)
class Shift:
    """The percentage of the first vote and of the second on a line: places of marks and of numbers."""

    first: int
    second: int | None

    @staticmethod
    def place(percent: int) -> float:
        return LEFT + (RIGHT - LEFT) * percent / 100

    @property
    def marks(self) -> list[float]:
        return [self.place(p) for p in (self.first, self.second) if p is not None]

    @property
    def numbers(self) -> list[tuple[float, int]]:
        """Where each number stands, moved apart where both would meet."""
        if self.second is None:
            return [(self.place(self.first), self.first)]
        low, high = sorted((self.first, self.second))
        gap = max(APART - (self.place(high) - self.place(low)), 0) / 2
        moved = {low: self.place(low) - gap, high: self.place(high) + gap}
        if low == high:
            return [(self.place(low) - gap, low), (self.place(low) + gap, low)]
        return [(moved[self.first], self.first), (moved[self.second], self.second)]

    @property
    def words(self) -> str:
        if self.second is None:
            return _("%(first)s percent", first=self.first)
        return _("%(first)s percent, then %(second)s percent", first=self.first, second=self.second)


@dataclass(frozen=True, slots=True)
class Group:
    """Wrong answers of one kind: the values, how many, the thought behind them."""

    values: str
    count: int
    thought: str
    near: bool


@dataclass(frozen=True, slots=True)
class Line:
    """An item of the table as printed. `dots` is its question with every guess on it."""

    lesson: Lesson
    item: ItemAnalysis
    dots: RevealContext | None = None

    @property
    def place(self) -> str:
        """Where in the lesson it stands, and whether it was answered at own pace."""
        if self.item.kind == "task":
            return f"{self._number} · {_('task, own pace')}"
        label = f"{self._number} · {self.lesson.figures[self.item.name].label}"
        return f"{label} · {_('own pace')}" if self.item.kind == "prediction" else label

    @property
    def _number(self) -> str:
        return self.lesson.section(section_of(self.lesson, self.item.kind, self.item.name)).number or "00"

    @property
    def title(self) -> str:
        return item_name(self.lesson, self.item.kind, self.item.name, self.item.step)

    @property
    def answers(self) -> str:
        """How many answered, first and second."""
        return ", ".join(str(share.of) for share in (self.item.first, self.item.second) if share)

    @property
    def shift(self) -> Shift | None:
        """Percentages, where both votes have enough answers for one."""
        first = self.item.first.percent
        second = self.item.second.percent if self.item.second else None
        if first is None or (self.item.second and second is None):
            return None
        return Shift(first, second)

    @property
    def counts(self) -> str:
        """The same in counts, below that."""
        first, second = self.item.first, self.item.second
        if not first.of:
            return ""
        if self.item.kind == "vote":
            said = _("%(near)s of %(all)s right or near", near=first.near, all=first.of)
        else:
            said = _("%(near)s of %(all)s right at first", near=first.near, all=first.of)
        return f"{said}; {_then(second)}" if second else said

    @property
    def attempts(self) -> str:
        """How often students tried, and how many were right in the end."""
        if self.item.attempts is None:
            return ""
        median, most = self.item.attempts
        tries = _("attempts: %(median)s in the median, %(most)s at most", median=median, most=most)
        return f"{tries}; {_('%(right)s right in the end', right=self.item.in_the_end)}"

    @property
    def skipped(self) -> str:
        count = self.item.skipped
        return _("%(count)s would rather not", count=count) if count else ""

    @property
    def correlation(self) -> str:
        """r as printed; "" where there is none."""
        r = self.item.discrimination.r
        return "" if r is None else numbers.fixed(r, 2)

    @property
    def correlation_note(self) -> str:
        return correlation_note(self.item.discrimination)

    @property
    def wrong(self) -> list[Group]:
        return [self._group(wrong) for wrong in self.item.wrong]

    def _group(self, wrong: Wrong) -> Group:
        thought = (
            slip_name(self.lesson, self.item.name, wrong.reason)
            if self.item.kind == "task"
            else thought_name(self.lesson, self.item.name, wrong.reason)
        )
        return Group(self._values(wrong), wrong.count, thought, wrong.near)

    def _values(self, wrong: Wrong) -> str:
        """The values of a group: a stretch of the scale that all has this thought, or the most frequent."""
        show = partial(value_text, self.lesson, self.item.kind, self.item.name, self.item.step)
        if self.item.kind != "task" and len(wrong.values) > 1:
            asked = self.lesson.questions[self.item.name]
            scale = [as_parameter(value) for value in asked.widget.states()]
            places = sorted(scale.index(value) for value in wrong.values if value in scale)
            stretch = scale[places[0] : places[-1] + 1] if places else []
            thoughts = {thought_of(self.lesson.slug, self.item.name, value) for value in stretch}
            if isinstance(asked.widget, Slider) and thoughts == {wrong.reason}:
                return _("%(low)s to %(high)s", low=show(stretch[0], bare=True), high=show(stretch[-1]))
        return ", ".join(map(show, wrong.values[:2])) + ("…" if len(wrong.values) > 2 else "")

    @property
    def seconds(self) -> str:
        return "" if self.item.seconds is None else duration(self.item.seconds)


def _then(second: Share) -> str:
    return _("then %(near)s of %(all)s", near=second.near, all=second.of)


def correlation_note(found: Discrimination) -> str:
    """Why there is no r, or what a small one means."""
    if found.is_weak:
        return _("read the question again")
    return {
        "": "",
        "few": _("shown from %(count)s answers", count=SHOWN_FROM),
        "alone": _("needs other questions that the same students answered"),
        "same": _("none: all answers, or all scores, are alike"),
    }[found.missing]


def duration(seconds: float) -> str:
    """Whole seconds; from three minutes on "3 min 05"."""
    whole = int(seconds + 0.5)
    if whole < LONG_SECONDS:
        return numbers.with_unit(str(whole), "s")
    return f"{numbers.with_unit(str(whole // 60), 'min')} {whole % 60:02}"


def item_name(lesson: Lesson, kind: str, name: str, step: str = "") -> str:
    """What an item asks for, in words."""
    if kind != "task":
        return lesson.question_texts[name].control(ANSWER)
    text = lesson.task_texts[name]
    label = text.open_label(step)
    return f"{text.title} · {label}" if label else text.title


def value_text(lesson: Lesson, kind: str, name: str, step: str, value: str, *, bare: bool = False) -> str:
    """A guess or an answer as its reader saw it; `bare`: without its unit.

    The address of a state of a figure has no short form.
    """
    if kind == "task":
        options = lesson.task_texts[name].options(step)
        return options.get(value, _("a state") if "=" in value else value)
    asked = lesson.questions[name]
    widget = asked.widget
    if isinstance(widget, Slider):
        found = next((state for state in widget.states() if as_parameter(state) == value), None)
        unit = "" if bare else _unit(widget)
        return value if found is None else f"{widget.text(found)}{unit}"
    return lesson.question_texts[name].option(ANSWER, value, widget)


def _unit(widget: Slider) -> str:
    return widget.unit if widget.unit in ("", numbers.TIMES, "%") else f"{numbers.NARROW_SPACE}{widget.unit}"


# --- a student ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CellText:
    """One item of a student's row: where it is, what was answered, and what that was."""

    place: str
    title: str
    values: str
    said: str


def cell_text(lesson: Lesson, cell: Cell) -> CellText:
    show = partial(_value, lesson, cell)
    if cell.kind == "vote":
        values = " → ".join(show(row) for row in (cell.first, cell.second) if row)
        last = cell.second or cell.first
        assert last is not None
        verdict = verdict_text(last.outcome)
        said = [_("then %(verdict)s", verdict=verdict) if cell.first and cell.second else verdict]
        sure = cell.second.confidence if cell.second else None
        said += [confidence_text(sure)] if sure and last.value is not None else []
        said += [_("late")] if isinstance(last, VoteRow) and last.late else []
        said += [duration(last.seconds)] if last.seconds is not None else []
    else:
        assert cell.first is not None
        values, said = show(cell.first), [verdict_text(cell.first.outcome)]
        said += [_("attempt %(number)s", number=cell.attempts)] if cell.attempts > 1 else []
    number = lesson.section(section_of(lesson, cell.kind, cell.name)).number or "00"
    return CellText(
        f"{number} · {_('task')}" if cell.kind == "task" else number,
        item_name(lesson, cell.kind, cell.name, cell.step),
        values,
        ", ".join(said),
    )


def _value(lesson: Lesson, cell: Cell, row: VoteRow | AnswerRow) -> str:
    return "–" if row.value is None else value_text(lesson, cell.kind, cell.name, cell.step, row.value)


def verdict_text(outcome: str) -> str:
    """What a guess or an answer was, in words."""
    return {
        "right": _("right"),
        "close": _("near"),
        "off": _("not near"),
        "skipped": _("would rather not"),
    }.get(outcome, _("not right"))


def confidence_text(confidence: int) -> str:
    """How sure a student was of the second vote."""
    return {1: _("a guess"), 2: _("fairly sure")}.get(confidence, _("certain"))


# --- the page ----------------------------------------------------------------------------------------------


def analysis_context(classroom: Classroom, record: Record, student: str = "") -> dict[str, Any]:
    """What the page of the analysis is given; `student` is the id of the one whose row is shown."""
    lesson = load_lesson(record.lesson)
    visible = record.visible()
    lines = _lines(lesson, visible)
    names = {row.id: row.name for row in record.students}
    help = may_need_a_word(record, partial(section_of, lesson))
    chosen = (
        student
        if student in names
        else next((s for all in help.values() for s in all), next(iter(names), ""))
    )
    cells = rows_of(record).get(chosen, ())
    answered = sum(v.student == chosen for v in record.votes) + sum(
        a.student == chosen for a in record.answers
    )
    return {
        "classroom": classroom,
        "code": spaced(classroom.code),
        "record": record,
        "lesson": lesson,
        "lines": lines,
        "asked": sum(line.item.kind == "vote" for line in lines),
        "tasks": len({line.item.name for line in lines if line.item.kind == "task"}),
        "waiting": not record.ended and len(visible.votes) < len(record.votes),
        "day": current_language().date(record.created_at.date()),
        "can_open": record.ended and present() < end_of(record.ends_on),
        "ends_on": current_language().date(record.ends_on),
        "deleted_on": current_language().date(deleted_on(classroom)),
        "names": names,
        "chosen": chosen,
        "answered": ngettext("%(count)s answer", "%(count)s answers", answered) % {"count": answered},
        "cells": [cell_text(lesson, cell) for cell in cells if is_known(lesson, cell)],
        "joined": next((row.joined_at for row in record.students if row.id == chosen), None),
        "help": [
            (section, [(s, names[s]) for s in help[section.slug]])
            for section in lesson.sections
            if section.slug in help
        ],
        "named": NAMED,
    }


def is_known(lesson: Lesson, item: ItemAnalysis | Cell) -> bool:
    """Whether the lesson still has what was answered: a class may be older than the lesson's present form."""
    return item.name in (lesson.tasks if item.kind == "task" else lesson.questions)


def _lines(lesson: Lesson, visible: Record) -> list[Line]:
    """The items of the table that the lesson still has: asked ones first, then at own pace in its order."""
    items = [item for item in analyse(visible, partial(thought_of, lesson.slug)) if is_known(lesson, item)]
    sections = [section.slug for section in lesson.sections]

    def place(item: ItemAnalysis) -> int:
        return sections.index(section_of(lesson, item.kind, item.name))

    votes = [item for item in items if item.kind == "vote"]
    own_pace = sorted((item for item in items if item.kind != "vote"), key=place)
    return [Line(lesson, item, _dots(lesson, visible, item)) for item in votes] + [
        Line(lesson, item) for item in own_pace
    ]


def _dots(lesson: Lesson, visible: Record, item: ItemAnalysis) -> RevealContext | None:
    """Every guess of a question on its scale; none where nobody guessed."""
    pairs: dict[str, list[str | None]] = {}
    for vote in visible.votes:
        if vote.item == item.item and not vote.late and vote.value is not None:
            pairs.setdefault(vote.student, [None, None])[vote.round - 1] = vote.value
    if not pairs:
        return None
    ordered = sorted(((first, second) for first, second in pairs.values()), key=str)
    return revealed(lesson, item.name, Guesses(tuple(ordered)), frame="desk")
