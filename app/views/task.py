"""A task of a section as the templates are given it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.addresses import address
from lessons.catalogue import Lesson
from lessons.kit.controls import Choice
from lessons.kit.prose import Section
from lessons.kit.task import (
    EXAMPLE_SEED,
    LAST_SEED,
    Attempt,
    Checked,
    Exercise,
    Step,
    Task,
    check,
)
from lessons.kit.text import FigureText
from lessons.kit.view import Sentence


@dataclass(frozen=True, slots=True)
class TaskContext:
    """The worked example of a task, and the exercise with what was given for it, checked."""

    lesson: Lesson
    task: Task
    attempt: Attempt
    exercise: Exercise
    example: Exercise
    steps: tuple[Checked, ...]

    @property
    def text(self) -> FigureText:
        return self.lesson.task_texts[self.task.section]

    @property
    def section(self) -> Section:
        return self.lesson.section(self.task.section)

    def another(self, **change: Any) -> str:
        """The address of the same task with something else, nothing given."""
        return self._address(self.attempt.another(**change).query())

    @property
    def solved_address(self) -> str:
        return self._address([*self.attempt.query(), ("solve", "1")])

    def _address(self, query: list[tuple[str, str]]) -> str:
        return address("task", self.lesson.slug, self.task.section, query=query, anchor="exercise")

    @property
    def next_seed(self) -> int:
        return self.attempt.seed % LAST_SEED + 1

    @property
    def right(self) -> int:
        return sum(checked.outcome == "right" and not checked.shown for checked in self.steps)

    @property
    def unread(self) -> list[Checked]:
        """What was given and cannot be read."""
        return [checked for checked in self.steps if checked.outcome == "unread"]

    @property
    def blanks(self) -> int:
        return sum(not checked.shown for checked in self.steps)

    def given(self, exercise: Exercise) -> str:
        return " ".join(self.text.sentence(sentence) for sentence in exercise.given)

    def how(self, step: Step) -> str:
        return self.text.sentence(step.way)

    def value(self, step: Step, value: str) -> str:
        """A value as the reader knows it: an option by its label."""
        return self.text.option(step.name, value, Choice(step.options)) if step.options else value

    def reason(self, checked: Checked) -> str:
        """Why an answer is probably wrong: in the task's own words, else in those that fit any number."""
        if checked.problem:
            return checked.problem
        if checked.reason.startswith("slip_"):
            return self.text.sentence(Sentence(checked.reason, **checked.slots))
        return self.lesson.words.word(checked.reason, **checked.slots)


def task_context(lesson: Lesson, section: str, attempt: Attempt, exercise: Exercise) -> TaskContext:
    """A task with an attempt at it."""
    task = lesson.tasks[section]
    return TaskContext(lesson, task, attempt, exercise, task.make(EXAMPLE_SEED), check(attempt, exercise))
