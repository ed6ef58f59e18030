"""A question that a reader answers before the figure shows the answer.

A question has a control (the guess), the data needed to guess, and a function from the guess to the answer.
The answer is neither computed nor sent before there is a guess. Words are referred to by key. Afterwards
guess and answer are marks on the figure's own plots, drawn wherever the figure's controls have the values
that the question is about.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from pydantic import create_model

from lessons.kit import numbers
from lessons.kit.chart import Chart, Point, Series
from lessons.kit.controls import ControlError, ControlProblem, FigureControls, Slider, Widget
from lessons.kit.scales import Scale
from lessons.kit.view import PlotScales, Sentence

ANSWER, SKIP = "answer", "skip"
GUESS = "guess"
"""In an address of the figure: the guess that is drawn on it. No control may be called so."""

Guess = float | str
Verdict = Literal["right", "close", "off", "skipped"]
Place = float | tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Mark:
    """A guess or the answer as a mark on one of the figure's plots, with its label.

    A place is a value, two between which the mark reaches, or None: then the mark crosses the plot, or the
    drawing has a row for it. `plot` is the name of a plot of the figure's view, or `CHART`.
    """

    role: Literal["guess", "truth"]
    plot: str
    text: str
    x: Place = None
    y: Place = None


@dataclass(frozen=True, slots=True)
class Reveal:
    """The answer, beside the guess.

    Parameters
    ----------
    truth, guess
        As printed; no guess when the question was skipped.
    verdict
        "right", "close" or "off": how near the guess came.
    distance
        How far off it was, in the lesson's words around questions: "3× too small".
    sentences
        The answer, then its explanation, chosen to fit the guess.
    marks
        The guess, and the answer where the figure does not show it by itself.
    controls
        The controls of the figure that show it.
    place
        Where the answer lies on the slider of the guess; None for a choice.
    why
        The thought behind the guess, by its key among the `thoughts` of the question's words: what a teacher
        counts wrong answers by. "right" for a right guess, "" for none.
    """

    truth: str
    guess: str | None
    verdict: Verdict
    distance: Sentence | None
    sentences: tuple[Sentence, ...]
    marks: tuple[Mark, ...]
    controls: FigureControls
    place: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """One question, asked before the figure of this name.

    Parameters
    ----------
    figure
        The figure that it belongs to.
    controls
        The model of its one control, `answer`; see `answered_by`.
    reveal
        From a guess, or None where the question was skipped, to the answer.
    given
        The slots of the question's sentence, computed.
    seen
        The controls of the figure that show the answer, as far as they are known before the guess.
    free
        Controls on which neither the answer nor the place of its marks depends.
    """

    figure: str
    controls: type[FigureControls]
    reveal: Callable[[Guess | None], Reveal]
    seen: FigureControls
    free: tuple[str, ...] = ()
    given: Callable[[], Mapping[str, str]] = field(default=dict)

    @property
    def widget(self) -> Widget:
        return self.controls.widgets()[ANSWER]

    def holds(self, controls: FigureControls) -> bool:
        """Whether the figure with these controls shows what the question asks about."""
        return all(
            getattr(controls, name) == getattr(self.seen, name)
            for name in type(controls).model_fields
            if name not in self.free
        )

    def marked(self, text: str) -> Guess | None:
        """The guess that an address of the figure names; None for `SKIP`.

        Raises
        ------
        ControlError
            When it is not one that can be given.
        """
        if text == SKIP:
            return None
        try:
            return self.read([(ANSWER, text)])[1]
        except ControlError as error:
            named = tuple(replace(problem, control=GUESS) for problem in error.problems)
            raise ControlError(named, error.nearest) from None

    def read(self, parameters: Iterable[tuple[str, str]]) -> tuple[bool, Guess | None]:
        """Whether there was an answer, and the guess; None where the question was skipped.

        Raises
        ------
        ControlError
            When the answer is not one that can be given, or a parameter is unknown.
        """
        given = list(parameters)
        skips = [value for name, value in given if name == SKIP]
        own = [(name, value) for name, value in given if name != SKIP]
        try:
            controls = self.controls.parse(own)
        except ControlError as error:
            if not skips or any(problem.control != ANSWER for problem in error.problems):
                raise
            controls = error.nearest  # a skipped question needs no answer
        if skips and skips != ["1"]:
            problem = ControlProblem(SKIP, ", ".join(skips)[:40], "1")
            raise ControlError((problem,), self.controls())
        if skips:
            return True, None
        return bool(own), cast(Guess, getattr(controls, ANSWER)) if own else None


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


def ratio_off(guess: float, truth: float) -> Sentence:
    """How many times a guess is too large or too small."""
    larger = guess > truth
    ratio = max(guess, truth) / max(min(guess, truth), 1e-12)
    amount = numbers.shortest(round(ratio, 0 if ratio >= 10 else 1))
    return Sentence("times_large" if larger else "times_small", amount=amount)


def difference_off(
    guess: float, truth: float, show: Callable[[float], str], counted: bool = False
) -> Sentence:
    """By how much a guess is too high or too low; for counts, too many or too few."""
    words = ("many", "few") if counted else ("high", "low")
    return Sentence(words[guess < truth], amount=show(abs(guess - truth)))


# --- on the scale of the guess -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GuessScale:
    """The slider's scale with the guess and the answer on it, positions in per cent of its width.

    `ticks` are positions with their texts. `beyond`: the answer lies outside, and stands at the end.
    """

    ticks: tuple[tuple[float, str], ...]
    guess: float | None
    truth: float | None
    beyond: bool = False

    @property
    def stem(self) -> tuple[float, float] | None:
        """From the guess to the answer."""
        if self.guess is None or self.truth is None:
            return None
        return min(self.guess, self.truth), max(self.guess, self.truth)


def guess_scale(widget: Widget, guess: float | None = None, truth: float | None = None) -> GuessScale | None:
    """The scale of a slider, with guess and answer if they are known; None for a choice."""
    if not isinstance(widget, Slider):
        return None
    scale = Scale((widget.low, widget.high))
    states = widget.states()
    every = next(n * widget.step for n in (1, 2, 5, 10, 20, 25, 50, 100) if len(states) / n <= 8)
    shown = [value for value in states if math.isclose(value / every, round(value / every), abs_tol=1e-6)]
    ends = tuple(
        min(max(value, widget.low), widget.high) if value is not None else None for value in (guess, truth)
    )
    places = [None if value is None else round(scale(value), 3) for value in ends]
    ticks = tuple((round(scale(value), 3), widget.text(value)) for value in shown)
    return GuessScale(ticks, places[0], places[1], truth is not None and ends[1] != truth)


# --- where a mark is drawn ---------------------------------------------------------------------------------

CHART = "chart"
"""The plot of a figure that is a data chart."""

RING = 21
"""Pixels of a mark on a chart: around a point that is there already."""

NEAR = (20.0, 34.0)
"""Per cent across and pixels upwards within which two labels would meet."""

LABELS = {"guess": ("top", 25.0), "truth": ("bottom", 75.0)}
"""Where a label stands on a chart, and from which per cent of the width on to the left of its mark."""


@dataclass(frozen=True, slots=True)
class PlacedMark:
    """A mark's place: two positions along x in per cent and two along y in pixels, equal for a point.

    `anchor` holds the label inside the drawing; `beyond` is an arrow where the value lies outside the plot:
    the mark then stands at its edge.
    """

    role: str
    text: str
    x: tuple[float, float]
    y: tuple[float, float]
    anchor: str
    beyond: str


def placed(mark: Mark, plot: PlotScales, text: str) -> PlacedMark:
    """A mark on its plot, labelled with `text`."""
    x, x_beyond = _positions(mark.x, plot.x, "←→")
    y, y_beyond = _positions(mark.y, plot.y, "↓↑")
    end = x[1]
    anchor = "start" if end < 25 else "end" if end > 75 else "middle"
    return PlacedMark(mark.role, text, x, y, anchor, x_beyond or y_beyond)


def _positions(place: Place, scale: Scale | None, arrows: str) -> tuple[tuple[float, float], str]:
    if place is None or scale is None:
        return (0.0, 0.0), ""
    low, high = sorted(scale.domain)
    first, last = place if isinstance(place, tuple) else (place, place)
    beyond = arrows[0] if last < low else arrows[1] if last > high else ""
    return (scale(min(max(first, low), high)), scale(min(max(last, low), high))), beyond


def on_chart(chart: Chart, marks: Iterable[Mark], texts: Iterable[str]) -> Chart:
    """A chart with guess and truth as rings around their points, each a series of its own.

    Where they are near each other, the ring of the truth carries both labels.
    """
    x, y = Scale(chart.x.domain, log=chart.x.log), chart.scales()[1]
    rings = {
        mark.role: (cast(float, mark.x), cast(float, mark.y), text)
        for mark, text in zip(marks, texts, strict=True)
    }
    labels = {role: text for role, (_, _, text) in rings.items()}
    if len(rings) == 2:
        (x1, y1, own), (x2, y2, so) = rings["guess"], rings["truth"]
        if abs(x(x1) - x(x2)) < NEAR[0] and abs(y(y1) - y(y2)) < NEAR[1]:
            labels = {"guess": "", "truth": f"{own} · {so}"}
    series = []
    for role, (at, value, text) in rings.items():
        upright, edge = LABELS[role]
        side = f"{upright}-{'left' if x(at) > edge else 'right'}"
        point = Point(at, value, role, labels[role], text, label_side=side)
        series.append(Series(text, (point,), role=role, size=RING))
    return replace(chart, series=(*chart.series, *series))
