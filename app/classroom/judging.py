"""What an answer is worth: the server judges, with the lesson's own questions and tasks."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from app.classroom.models import VALUE_LENGTH
from app.classroom.refusals import FieldError
from lessons.catalogue import load_lesson
from lessons.kit.controls import ControlError, as_parameter
from lessons.kit.language import gettext as _
from lessons.kit.question import ANSWER
from lessons.kit.task import EXAMPLE_SEED, LAST_SEED, LONGEST_ADDRESS, Attempt, check

NEAR = ("right", "close")
"""The verdicts that count as near."""

SHOWN_FROM = 20
"""Answers from which on a percentage and a correlation are shown."""


def percent(part: int, whole: int) -> int | None:
    """A share in whole per cent, half up; None under `SHOWN_FROM`, where only the counts are shown."""
    return (200 * part + whole) // (2 * whole) if whole >= SHOWN_FROM else None


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer as it is stored: its value as a parameter, and its outcome.

    `slip` is the known mistake of a wrong step: a key of the task's sentences ("slip_…"), "sign" or "point".
    """

    value: str | None
    outcome: str
    slip: str = ""


@functools.lru_cache(maxsize=4096)
def verdict(lesson: str, question: str, value: str | None) -> str:
    """The verdict of a question on a value that can be given: "right", "close", "off"; "skipped" for None."""
    asked = load_lesson(lesson).questions[question]
    guess = None if value is None else asked.read([(ANSWER, value)])[1]
    return asked.reveal(guess).verdict


@functools.lru_cache(maxsize=256)
def values(lesson: str, question: str) -> tuple[str, ...]:
    """All values that can be guessed, in the order of the scale or of the options."""
    return tuple(as_parameter(value) for value in load_lesson(lesson).questions[question].widget.states())


def judge_guess(lesson: str, question: str, value: str | None) -> Judged:
    """Judge a guess; None is "I would rather not".

    Raises
    ------
    FieldError
        When the lesson has no such question, or the guess is not one that can be given.
    """
    questions = load_lesson(lesson).questions
    if question not in questions:
        raise FieldError("question", _("one of %(options)s", options=", ".join(questions)))
    if value is None:
        return Judged(None, "skipped")
    try:
        guess = questions[question].read([(ANSWER, value[:VALUE_LENGTH])])[1]
    except ControlError as error:
        raise FieldError(ANSWER, error.problems[0].allowed) from None
    canonical = as_parameter(guess)
    return Judged(canonical, verdict(lesson, question, canonical))


def judge_step(lesson: str, task: str, step: str, seed: int, value: str) -> Judged:
    """Judge the answer to a step of a task whose numbers come from a seed.

    Raises
    ------
    FieldError
        When there is no such task or step, the seed is none, or the answer cannot be read.
    """
    tasks = load_lesson(lesson).tasks
    if task not in tasks:
        raise FieldError("task", _("one of %(options)s", options=", ".join(tasks)))
    if not EXAMPLE_SEED < seed <= LAST_SEED:
        raise FieldError("seed", _("%(low)s to %(high)s", low=EXAMPLE_SEED + 1, high=LAST_SEED))
    exercise = tasks[task].make(seed)
    steps = {each.name: each for each in exercise.steps}
    if step not in steps:
        raise FieldError("step", _("one of %(options)s", options=", ".join(steps)))
    value = value.strip()[: LONGEST_ADDRESS + 1]
    attempt = Attempt(seed=seed, given=((step, value),))
    checked = next(each for each in check(attempt, exercise) if each.step.name == step)
    if checked.outcome == "unread":
        raise FieldError(step, checked.problem)
    value = as_parameter(checked.step.read(value))  # one spelling for a number, however it was typed
    if len(value) > VALUE_LENGTH:
        raise FieldError(step, _("at most %(most)s characters in one line", most=str(VALUE_LENGTH)))
    known = checked.reason.startswith("slip_") or checked.reason in ("sign", "point")
    return Judged(value, checked.outcome, checked.reason if known else "")
