"""A task of a section as the templates get it."""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass
from typing import Any

from app.addresses import address
from app.site import current_site
from lessons.catalogue import Lesson
from lessons.kit.controls import ECHO_LIMIT, Choice
from lessons.kit.figure import Figure
from lessons.kit.prose import Section
from lessons.kit.task import (
    EXAMPLE_SEED,
    LAST_SEED,
    Attempt,
    Checked,
    Exercise,
    StateStep,
    Step,
    Task,
    check,
)
from lessons.kit.text import FigureText
from lessons.kit.view import Sentence

MOST_CODES = 200
"""Codes that a teacher can have checked at once."""


@dataclass(frozen=True, slots=True)
class TaskContext:
    """The worked example of a task, and its exercise with checked answers."""

    lesson: Lesson
    task: Task
    attempt: Attempt
    exercise: Exercise
    example: Exercise
    steps: tuple[Checked, ...]

    @property
    def text(self) -> FigureText:
        return self.lesson.task_texts[self.task.name]

    @property
    def section(self) -> Section:
        """The section, or the workshop page, at whose end it stands."""
        return self.lesson.page_named(self.task.section)

    @property
    def place(self) -> str:
        """Where it stands."""
        slug, anchor = self.lesson.slug, f"task-{self.task.name}"
        if self.section in self.lesson.workshop:
            return address("workshop page", slug, self.section.slug, anchor=anchor)
        return address("lesson", slug, anchor=self.section.slug)

    def another(self, **change: Any) -> str:
        """The address of the same task with something else, nothing given."""
        return self._address(self.attempt.another(**change).query())

    @property
    def solved_address(self) -> str:
        return self._address([*self.attempt.query(), ("solve", "1")])

    @property
    def code(self) -> str:
        """What a teacher can check: that every step was right without help; "" where it was not."""
        alone = self.attempt.stage == "fresh" and not self.attempt.solve
        return code_for(self.task.name, self.attempt.seed) if alone and self.right == len(self.steps) else ""

    def figure_of(self, step: StateStep) -> Figure[Any]:
        """The figure that a step asks to bring into a state."""
        return self.lesson.figures[step.figure]

    def _address(self, query: list[tuple[str, str]]) -> str:
        return address("task", self.lesson.slug, self.task.name, query=query, anchor="exercise")

    @property
    def next_seed(self) -> int:
        return self.attempt.seed % LAST_SEED + 1

    @property
    def right(self) -> int:
        return sum(checked.outcome == "right" and not checked.shown for checked in self.steps)

    @property
    def unread(self) -> list[Checked]:
        """The answers that cannot be read."""
        return [checked for checked in self.steps if checked.outcome == "unread"]

    @property
    def blanks(self) -> int:
        return sum(not checked.shown for checked in self.steps)

    def given(self, exercise: Exercise) -> str:
        return " ".join(self.text.sentence(sentence) for sentence in exercise.given)

    def label(self, step: Step) -> str:
        """What a step asks for, with the numbers of this exercise."""
        return self.text.filled("controls", step.name, "label", **step.slots)

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


def task_context(lesson: Lesson, name: str, attempt: Attempt, exercise: Exercise) -> TaskContext:
    """A task with an attempt at it."""
    task = lesson.tasks[name]
    return TaskContext(lesson, task, attempt, exercise, task.make(EXAMPLE_SEED), check(attempt, exercise))


def code_for(task: str, seed: int) -> str:
    """The code of a task that was done: its name, its seed, and five characters that depend on both."""
    key = current_site().code_key.encode()
    digest = hmac.digest(key, f"{task}-{seed}".encode(), "sha256")
    return f"{task}-{seed}-{base64.b32encode(digest).decode()[:5]}"


def read_codes(lesson: Lesson, text: str) -> list[tuple[str, Task | None, int]]:
    """The codes of a text, each with its task and seed; None for the task where a code is not valid."""
    read: list[tuple[str, Task | None, int]] = []
    for code in text.split()[:MOST_CODES]:
        name, _, rest = code.lower().rpartition("-")[0].rpartition("-")
        seed = int(rest) if rest.isascii() and rest.isdigit() and len(rest) <= 4 else 0
        valid = name in lesson.tasks and hmac.compare_digest(
            code_for(name, seed).lower().encode(), code.lower().encode()
        )
        read.append((code[:ECHO_LIMIT], lesson.tasks[name] if valid else None, seed))
    return read
