"""The scale of a question, on which a class's guesses stand, and the answer on it."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, cast

from lessons.kit.controls import Slider, as_parameter
from lessons.kit.question import Guess, Question, guess_scale, printed


@dataclass(frozen=True, slots=True)
class Column:
    """One value that can be guessed. `at` is its place along the scale from 0 to 1, `text` as printed.

    `tick` is what the axis says there, if anything.
    """

    value: str
    text: str
    at: float
    tick: str


@dataclass(frozen=True, slots=True)
class VoteScale:
    """All values of a question, in order. `ordered`: whether they are numbers on a line, or options.

    It knows nothing of the answer, so it can be shown before the reveal.
    """

    columns: tuple[Column, ...]
    ordered: bool

    @property
    def pitch(self) -> float:
        """From one column to the next, as a share of the scale."""
        gaps = len(self.columns) - 1 if self.ordered else len(self.columns)
        return 1 / max(1, gaps)

    def index(self, value: str | None) -> int | None:
        """The column of a guess: a number outside stands at the end, an unknown option nowhere."""
        if value is None:
            return None
        known = _places_of(self.columns)
        if value in known or not self.ordered:
            return known.get(value)
        try:
            number = float(value)
        except ValueError:
            return None
        if math.isnan(number):
            return None
        return min(range(len(self.columns)), key=lambda i: abs(float(self.columns[i].value) - number))


def scale_of(question: Question, option: Callable[[str], str] = str) -> VoteScale:
    """The scale of a question's guesses. `option` names the options of a choice."""
    widget = question.widget
    if not isinstance(widget, Slider):
        states = [str(state) for state in widget.states()]
        columns = [
            Column(state, option(state), (i + 0.5) / len(states), option(state))
            for i, state in enumerate(states)
        ]
        return VoteScale(tuple(columns), ordered=False)
    values, ticks = widget.states(), _ticks(widget)
    columns = [
        Column(as_parameter(_typed(question, value)), printed(widget, value), at, ticks.get(i, ""))
        for i, (value, at) in enumerate(zip(values, _shares(len(values)), strict=True))
    ]
    return VoteScale(tuple(columns), ordered=True)


def _shares(count: int) -> list[float]:
    """Equal steps from 0 to 1; the middle where there is only one."""
    return [i / (count - 1) for i in range(count)] if count > 1 else [0.5]


def _typed(question: Question, value: float) -> float:
    """The value as the question's control holds it: whole where it counts."""
    return cast(float, question.controls.model_validate({"answer": value}).answer)  # type: ignore[attr-defined]


def _ticks(widget: Slider) -> dict[int, str]:
    """Which values the axis names: round ones and both ends, the last with its unit."""
    scale = guess_scale(widget)
    assert scale is not None
    values = widget.states()
    last = len(values) - 1
    apart = max(1, last * 0.07)
    shown = {round(at / 100 * last) for at, _ in scale.ticks}
    named = {i: widget.text(values[i]) for i in shown if apart <= i <= last - apart}
    return named | {0: widget.text(values[0]), last: printed(widget, values[last])}


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer on the scale of the guesses: known from the reveal on.

    `at` is its place from 0 to 1, at the end where it lies `beyond` it; None for a choice. `near` has, for
    every column, whether a guess there was right or close.
    """

    at: float | None
    beyond: Literal["", "below", "above"]
    near: tuple[bool, ...]

    @property
    def span(self) -> tuple[int, int] | None:
        """The first and the last column that is near; None where no guess can be."""
        found = [i for i, near in enumerate(self.near) if near]
        return (found[0], found[-1]) if found else None


@functools.lru_cache(maxsize=4096)
def is_near(question: Question, value: str) -> bool:
    """Whether a guess is right or close."""
    guess = cast(Guess, question.controls.model_validate({"answer": value}).answer)  # type: ignore[attr-defined]
    return question.reveal(guess).verdict in ("right", "close")


def answer_of(question: Question, scale: VoteScale) -> Answer:
    """Where the answer of a question stands, and which guesses were near."""
    near = tuple(is_near(question, column.value) for column in scale.columns)
    place, widget = question.reveal(None).place, question.widget
    if place is None or not isinstance(widget, Slider):
        return Answer(None, "", near)
    at = (place - widget.low) / ((widget.high - widget.low) or 1)
    return Answer(min(max(at, 0.0), 1.0), "below" if at < 0 else "above" if at > 1 else "", near)


@functools.lru_cache(maxsize=64)
def _places_of(columns: tuple[Column, ...]) -> dict[str, int]:
    """The place of each column by its value."""
    return {column.value: i for i, column in enumerate(columns)}


def counted(scale: VoteScale, values: Iterable[str | None]) -> list[int]:
    """How many guesses there are in each column."""
    found: Counter[int | None] = Counter()
    for value, count in Counter(values).items():
        found[scale.index(value)] += count
    return [found[i] for i in range(len(scale.columns))]
