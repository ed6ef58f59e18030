"""The problems of an address in words, and the address without them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lessons.kit.controls import ECHO_LIMIT, ControlError
from lessons.kit.task import AttemptError
from lessons.kit.text import FigureText

Problem = dict[str, Any]


def problems_for_people(
    error: ControlError | AttemptError, text: FigureText, label: str = ""
) -> list[Problem]:
    """Each problem with the label that the reader sees beside the control, and with the figure's own."""
    return [
        {
            "control": problem.control,
            "label": _control_label(text, problem.control),
            "given": problem.given,
            "allowed": problem.allowed,
            "suggestion": problem.suggestion or "",
            "known": problem.known,
            "figure": label,
        }
        for problem in error.problems
    ]


def without(problems: list[Problem], given: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """All parameters that were given but those that cannot be understood."""
    refused = {problem["control"] for problem in problems}
    return [pair for pair in given if not refused & {pair[0][:ECHO_LIMIT], _as_repeated(pair[0])}]


def _as_repeated(name: str) -> str:
    """A parameter of a lesson's address as a problem repeats it, the figure's name in front of it."""
    owner, dot, control = name.partition(".")
    return f"{owner}{dot}{control[:ECHO_LIMIT]}"


def _control_label(text: FigureText, control: str) -> str:
    try:
        return text.control(control)
    except KeyError:
        return control
