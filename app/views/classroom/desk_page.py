"""What the templates of the desk and of its peek are given."""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import Any

from app.classroom.judging import percent
from app.classroom.models import Classroom
from app.classroom.operations import MOST_STUDENTS
from app.classroom.states import DeskState, Peek
from app.views.classroom import presses
from app.views.classroom.desk import Desk, item_title
from lessons.catalogue import Lesson, load_lesson
from lessons.kit.controls import Slider
from lessons.kit.language import current_language
from lessons.kit.language import gettext as _
from lessons.kit.question import ANSWER

LISTED = 18
"""Students that are listed at once; the others are in a fold."""


def items_to_add(lesson: Lesson) -> list[tuple[str, list[tuple[str, str]]]]:
    """What can be added to a running order: kind and name, and what it is called, in groups."""

    def group(label: str, kind: str, names: Any) -> tuple[str, list[tuple[str, str]]]:
        return label, [(f"{kind}:{name}", item_title(lesson, kind, name)) for name in names]

    return [
        group(_("Questions"), "question", lesson.questions),
        group(_("Figures"), "figure", lesson.figures),
        group(_("Tasks"), "task", lesson.tasks),
    ]


def desk_context(state: DeskState, problem: str = "") -> dict[str, Any]:
    """What the desk's templates are given; `problem` says why a press did nothing."""
    desk = Desk(state)
    return {
        "desk": desk,
        "large_press": presses.large(desk),
        "other_presses": presses.others(desk),
        "afterwards": presses.then(desk),
        "line_press": partial(presses.line_press, desk),
        "line_changes": partial(presses.changes, desk),
        "state": state,
        "problem": problem,
        "to_add": items_to_add(desk.lesson),
        "listed": LISTED,
        "most_students": MOST_STUDENTS,
        "ends_on": current_language().date(date.fromisoformat(state.ends_on)),
    }


def peek_context(classroom: Classroom, peek: Peek, name: str) -> dict[str, Any]:
    """What the page that looks under the cover is given; `name` is that of the question."""
    lesson = load_lesson(classroom.lesson)
    question, text = lesson.questions[name], lesson.question_texts[name]
    widget = question.widget
    places = [
        widget.text(float(value)) if isinstance(widget, Slider) else text.option(ANSWER, value, widget)
        for value in peek.crowded
    ]
    advice = {
        "explain": _("Below 30 %: explain first, and ask again."),
        "talk": _("Between 30 and 70 %: talking pays."),
        "reveal": _("Above 70 %: reveal."),
    }
    return {
        "code": classroom.code,
        "peek": peek,
        "percent": percent(peek.near, peek.of),
        "crowded": places,
        "advice": advice[peek.advice],
    }
