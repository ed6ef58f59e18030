"""A question that a reader answers before a figure shows: commit first, then see.

A question is a control (the guess), what has to be known to guess, and a function from the guess to what was
so. Nothing of the answer is computed, let alone sent, before there is a guess. Words are referred to by key,
as everywhere in the kit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from pydantic import create_model

from lessons.kit import numbers
from lessons.kit.controls import ControlError, ControlProblem, FigureControls, Slider, Widget
from lessons.kit.scales import Scale
from lessons.kit.view import Sentence

ANSWER, SKIP = "answer", "skip"

Guess = float | str
Verdict = Literal["right", "close", "off", "skipped"]
Role = Literal["guess", "truth", "given", "rest"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A guess or a truth at `x` per cent and `y` pixels, with its label; `upright` marks stand on a line.

    A truth moves in from `start`, the guess's place, so that the distance is seen.
    """

    role: Role
    x: float
    y: float
    text: str
    label: tuple[float, str]
    upright: bool = True
    start: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """A path in a square of 1000 by 1000, stretched over the drawing."""

    path: str
    role: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle: `x` and `width` in per cent, `y` and `height` in pixels; `text` is the key of its name."""

    role: str
    x: float
    width: float
    y: float
    height: float
    text: str = ""


@dataclass(frozen=True, slots=True)
class Sketch:
    """A small drawing in the coordinates of the figures: x in per cent, y in pixels."""

    height: int
    marks: tuple[Mark, ...] = ()
    curves: tuple[Curve, ...] = ()
    bars: tuple[Bar, ...] = ()
    x_ticks: tuple[Mapping[str, Any], ...] = ()
    y_ticks: tuple[Mapping[str, Any], ...] = ()
    x_title: str = ""
    y_title: str = ""


@dataclass(frozen=True, slots=True)
class Reveal:
    """What was so, beside the guess.

    Parameters
    ----------
    truth, guess
        As printed; no guess when the question was skipped.
    verdict
        "right", "close" or "off": how near the guess came.
    sentences
        What was so, then why: the one that fits the guess, naming what it rests on.
    state
        The state of the figure in which this can be seen.
    """

    truth: str
    guess: str | None
    verdict: Verdict
    sentences: tuple[Sentence, ...]
    sketch: Sketch
    state: FigureControls


@dataclass(frozen=True, slots=True)
class Question:
    """One question, asked before the figure of this name.

    Parameters
    ----------
    figure
        The figure that it belongs to.
    answer
        A model with one control, `answer`; see `answered_by`.
    reveal
        From a guess, or None for who skips, to what was so.
    given
        The slots of the question's sentence, computed.
    scene
        The axes on which the guess is marked, the slider lying along x; the reveal is drawn on the same.
    """

    figure: str
    answer: type[FigureControls]
    reveal: Callable[[Guess | None], Reveal]
    given: Callable[[], Mapping[str, str]] = field(default=dict)
    scene: Callable[[], Sketch] | None = None

    @property
    def widget(self) -> Widget:
        return self.answer.widgets()[ANSWER]

    def read(self, parameters: Iterable[tuple[str, str]]) -> tuple[bool, Guess | None]:
        """Whether there was a commit, and the guess; None for who skipped.

        Raises
        ------
        ControlError
            When the answer is not one that can be given, or a parameter is unknown.
        """
        given = list(parameters)
        skips = [value for name, value in given if name == SKIP]
        own = [(name, value) for name, value in given if name != SKIP]
        try:
            state = self.answer.parse(own)
        except ControlError as error:
            if not skips or any(problem.control != ANSWER for problem in error.problems):
                raise
            state = error.nearest  # who skips need not have answered
        if skips and skips != ["1"]:
            problem = ControlProblem(SKIP, ", ".join(skips)[:40], "1")
            raise ControlError((problem,), self.answer())
        if skips:
            return True, None
        return bool(own), cast(Guess, getattr(state, ANSWER)) if own else None


def answered_by(field_info: Any, kind: type = str) -> type[FigureControls]:
    """The model of an answer: `answered_by(slider(4, low=1, high=9), int)`."""
    return create_model("Answer", __base__=FigureControls, answer=(kind, field_info))


def printed(widget: Widget, guess: Guess) -> str:
    """A guess as the slider prints it, with its unit; a choice is named by the words of the question."""
    if isinstance(widget, Slider):
        text = widget.text(cast(float, guess))
        return (
            f"{text}{widget.unit}"
            if widget.unit in ("", numbers.TIMES)
            else numbers.with_unit(text, widget.unit)
        )
    return str(guess)


# --- where guess and truth are drawn ------------------------------------------------------------------------

GUESS_ROW, TRUTH_ROW = -34.0, -14.0
"""Label rows above a drawing, so that guess and truth never cover each other however near they are."""

LABEL_LINE = 15.0


def anchor(x: float) -> str:
    """Where a label is held so that it stays inside the drawing."""
    return "start" if x < 25 else "end" if x > 75 else "middle"


def across(
    scale: Scale,
    guess: float | None,
    truth: float,
    texts: tuple[str, str],
    y: float,
    guess_y: float | None = None,
) -> tuple[Mark, ...]:
    """Guess and truth along the x axis, at height `y`, with their labels in two rows above."""
    low, high = sorted(scale.domain)
    there = scale(truth)
    if guess is None:
        return (Mark("truth", there, y, texts[1], (TRUTH_ROW, anchor(there))),)
    here = scale(min(max(guess, low), high))
    height = y if guess_y is None else guess_y
    return (
        Mark("guess", here, height, texts[0], (GUESS_ROW, anchor(here))),
        Mark("truth", there, y, texts[1], (TRUTH_ROW, anchor(there)), start=(here, height)),
    )


def upward(
    scale: Scale, guess: float | None, truth: float, texts: tuple[str, str], x: float
) -> tuple[Mark, ...]:
    """Guess and truth above one place of the x axis, each with its label; of two that are near, apart."""
    low, high = sorted(scale.domain)
    there, side = scale(truth), "end" if x > 50 else "start"
    label = (there - LABEL_LINE, side)
    if guess is None:
        return (Mark("truth", x, there, texts[1], label, upright=False),)
    here = scale(min(max(guess, low), high))
    line = here - LABEL_LINE
    if 0 <= there - here < LABEL_LINE:
        line = there - 2 * LABEL_LINE
    elif 0 < here - there < 2 * LABEL_LINE:
        line = max(here, there + LABEL_LINE / 3) + LABEL_LINE + 3
    return (
        Mark("guess", x, here, texts[0], (line, side), upright=False),
        Mark("truth", x, there, texts[1], label, upright=False, start=(x, here)),
    )
