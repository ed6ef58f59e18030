"""A task that the server checks: numbers drawn from a seed, steps with a blank each, and the likely slips.

A seed gives an exercise: what is given, and for each step the answer together with what comes out when it is
done wrong in a known way. So the page can say what probably went wrong; all numbers are computed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

from lessons.kit import numbers
from lessons.kit.controls import ECHO_LIMIT, ControlError, ControlProblem, FigureControls
from lessons.kit.language import gettext as _
from lessons.kit.typed import read_typed
from lessons.kit.view import Sentence

LAST_SEED = 9999
EXAMPLE_SEED = 0
"""The worked example; no fresh exercise has it."""

STAGES = ("faded", "fresh")
Stage = Literal["faded", "fresh"]
Outcome = Literal["open", "right", "wrong", "unread"]

LONGEST_ADDRESS = 600
"""Characters of an address of a figure that are read."""

TOLERANCE = 0.006
"""Relative error that is allowed: answers need about three digits."""

_NEAR_ENOUGH = 100
"""How many times too large or too small an answer may be for its ratio to tell anything."""

_SHIFTS = (0.001, 0.01, 0.1, 10.0, 100.0, 1000.0)


@dataclass(frozen=True, slots=True)
class Slip:
    """A wrong answer with a known cause: what it gives, and the key of the sentence that names it."""

    key: str
    value: float | str


@dataclass(frozen=True, slots=True)
class Step:
    """One blank: a number (`text` as printed), or one of `options`.

    `exact` answers are whole numbers; others may be off by half of `rounded`, the last place that is printed.
    `slots` fills the step's own sentences: `how_NAME`, which writes its arithmetic out, and `slip_KEY`.
    """

    name: str
    answer: float | str
    text: str
    slips: tuple[Slip, ...] = ()
    options: tuple[str, ...] = ()
    unit: str = ""
    exact: bool = False
    rounded: float = 0.0
    slots: Mapping[str, str] = field(default_factory=dict)
    how: str = ""

    @property
    def way(self) -> Sentence:
        """The sentence with the step's arithmetic; `how` is its key where that is not the step's name."""
        return Sentence(f"how_{self.how or self.name}", **self.slots)

    def read(self, text: str) -> float | str:
        """A given answer.

        Raises
        ------
        ValueError
            When it is neither a number nor one of the options; the message is for the reader.
        """
        if not self.options:
            return read_typed(text, self.unit, whole=self.exact)
        if text not in self.options:
            raise ValueError(_("Choose one of these."))
        return text

    def near(self, given: float | str, value: float | str) -> bool:
        if isinstance(given, str) or isinstance(value, str):
            return given == value
        off = 0.0 if self.exact else max(abs(value) * TOLERANCE, 0.505 * self.rounded)
        return abs(given - value) <= off + 1e-12


@dataclass(frozen=True, slots=True)
class StateStep(Step):
    """A step that is answered by a figure: the reader brings it into a state that fulfils a condition.

    The answer is the figure's address, or its query alone; `answer` is an example.

    Parameters
    ----------
    figure
        The figure, by name, with the model of its controls.
    holds
        Whether a state fulfils the condition.
    measured
        What a state has instead, for the sentence `slip_state`.
    """

    figure: str = ""
    controls: type[FigureControls] = FigureControls
    holds: Callable[[Any], bool] = bool
    measured: Callable[[Any], Mapping[str, str]] = dict

    def read(self, text: str) -> str:
        """The query of the state that an address names; `ValueError` for the reader where it names none."""
        try:
            return urlencode(self.state(text).query())
        except ControlError:
            raise ValueError(_("That is no state of this figure.")) from None

    def state(self, text: str) -> FigureControls:
        """The controls that an address of the figure or of its page sets."""
        path, mark, query = text.strip().partition("?")
        if not mark:
            path, query = ("", path) if "=" in path else (path, "")
        query = query.partition("#")[0]
        names, prefix = self.controls.model_fields, f"{self.figure}."
        given = parse_qsl(query)
        if (
            path
            and not path.endswith(f"/{self.figure}")
            and not any(key.startswith(prefix) for key, value in given)
        ):
            raise ValueError(_("That is not an address of this figure."))
        own = [(key.removeprefix(prefix), value) for key, value in given]
        return self.controls.parse([pair for pair in own if pair[0] in names])

    def near(self, given: float | str, value: float | str) -> bool:
        return self.holds(self.state(str(given)))


@dataclass(frozen=True, slots=True)
class Exercise:
    """The given data, as sentences and as rows of printed numbers, and the steps."""

    given: tuple[Sentence, ...]
    steps: tuple[Step, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a section.

    Parameters
    ----------
    name
        Its name in addresses.
    section
        The slug of the section, or of the workshop page, at whose end it stands.
    make
        From a seed to an exercise; the same seed gives the same one.
    by_hand
        Whether it asks for a calculation; the others ask for an idea, or for a state of a figure.
    """

    name: str
    section: str
    make: Callable[[int], Exercise]
    by_hand: bool = False


@dataclass(frozen=True, slots=True)
class Checked:
    """A step with the given answer: `reason` is a slip's key, or one that fits any number.

    Of what could not be read, `problem` says why, for the reader.
    """

    step: Step
    given: str
    outcome: Outcome
    reason: str = ""
    slots: Mapping[str, str] = field(default_factory=dict)
    shown: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An address of a task: the exercise, the stage, and the answers to its steps."""

    stage: Stage = "fresh"
    seed: int = 1
    solve: bool = False
    given: tuple[tuple[str, str], ...] = ()

    def query(self) -> list[tuple[str, str]]:
        """The parameters of this address."""
        pairs = [("stage", self.stage), ("seed", str(self.seed))]
        return [*pairs, *self.given, *([("solve", "1")] if self.solve else [])]

    def another(self, **change: object) -> Attempt:
        """The same address with a change, and no answers yet."""
        return replace(self, given=(), solve=False, **change)  # type: ignore[arg-type]


class AttemptError(ValueError):
    """The parameters are no valid attempt. Holds every problem, and the attempt without them."""

    def __init__(self, problems: tuple[ControlProblem, ...], nearest: Attempt) -> None:
        super().__init__("; ".join(f"{p.control}={p.given!r}: {p.allowed}" for p in problems))
        self.problems = problems
        self.nearest = nearest


def read_attempt(task: Task, parameters: Iterable[tuple[str, str]]) -> tuple[Attempt, Exercise]:
    """An attempt and its exercise from an address.

    Raises
    ------
    AttemptError
        When a parameter is unknown, given twice or not allowed. Answers to steps are not checked here but by
        `check`.
    """
    given: dict[str, str] = {}
    problems: list[ControlProblem] = []
    for name, value in parameters:
        if name in given:
            problems.append(_problem(name, f"{given[name]}, {value}", _("one value, not several")))
        given.setdefault(name, value)
    stage = _one_of(given, "stage", STAGES, "fresh", problems)
    solve = _one_of(given, "solve", ("1",), "", problems) == "1"
    seed = given.pop("seed", "1")
    if not re.fullmatch("[0-9]{1,4}", seed) or int(seed) == EXAMPLE_SEED:
        problems.append(_problem("seed", seed, _("%(low)s to %(high)s", low=1, high=LAST_SEED)))
        seed = "1"
    exercise = task.make(int(seed))
    steps = {step.name: step for step in exercise.steps}
    read: list[tuple[str, str]] = []
    for name, value in given.items():
        if name not in steps:
            known = ", ".join(["seed", "stage", "solve", *steps])
            problems.append(ControlProblem(name[:ECHO_LIMIT], value[:ECHO_LIMIT], known, known=False))
        elif value.strip():
            longest = LONGEST_ADDRESS if isinstance(steps[name], StateStep) else ECHO_LIMIT
            read.append((name, value[:longest]))
    attempt = Attempt("faded" if stage == "faded" else "fresh", int(seed), solve, tuple(read))
    if problems:
        raise AttemptError(tuple(problems), attempt)
    return attempt, exercise


def check(attempt: Attempt, exercise: Exercise) -> tuple[Checked, ...]:
    """Check every step of the exercise. In a faded one the first half is filled in."""
    given = dict(attempt.given)
    first_blank = len(exercise.steps) // 2 if attempt.stage == "faded" else 0
    return tuple(
        Checked(step, step.text, "right", shown=True)
        if i < first_blank
        else _checked(step, given.get(step.name))
        for i, step in enumerate(exercise.steps)
    )


def _checked(step: Step, text: str | None) -> Checked:
    if text is None:
        return Checked(step, "", "open")
    try:
        given = step.read(text)
    except ValueError as error:
        return Checked(step, text, "unread", problem=str(error))
    if step.near(given, step.answer):
        return Checked(step, text, "right")
    reason, slots = explain(step, given)
    return Checked(step, text, "wrong", reason, slots)


def explain(step: Step, given: float | str) -> tuple[str, Mapping[str, str]]:
    """The probable reason for a wrong answer: a slip of this step, a sign, a decimal point, or a distance."""
    if isinstance(step, StateStep):
        return "slip_state", {**step.slots, **step.measured(step.state(str(given)))}
    for slip in step.slips:
        if step.near(given, slip.value) and not step.near(slip.value, step.answer):
            return f"slip_{slip.key}", step.slots
    if isinstance(given, str) or isinstance(step.answer, str):
        return "other", step.slots
    if given and step.near(-given, step.answer):
        return "sign", {}
    if any(step.near(given, step.answer * shift) for shift in _SHIFTS) and given:
        return "point", {}
    if step.exact:
        return ("above" if given > step.answer else "below"), {"by": f"{abs(given - step.answer):g}"}
    if not given or not step.answer or (given > 0) != (step.answer > 0) or not math.isfinite(given):
        return "elsewhere", {}
    ratio = given / step.answer
    if not 1 / _NEAR_ENOUGH < ratio < _NEAR_ENOUGH:
        return "elsewhere", {}
    return ("larger" if ratio > 1 else "smaller"), {"ratio": numbers.times(ratio)}


def _one_of(
    given: dict[str, str], name: str, options: tuple[str, ...], default: str, problems: list[ControlProblem]
) -> str:
    value = given.pop(name, default)
    if value == default or value in options:
        return value
    problems.append(_problem(name, value, _("one of %(options)s", options=", ".join(options))))
    return default


def _problem(name: str, given: str, allowed: str) -> ControlProblem:
    return ControlProblem(name[:ECHO_LIMIT], given[:ECHO_LIMIT], allowed)
