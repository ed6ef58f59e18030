"""The query of a figure: its controls, a teacher's arrangement, and a reader's guess to draw on it.

`lock=bits,block` shows controls that cannot be changed, `hide=stretch` leaves controls out, `explain=off`
leaves out what the figure says about itself, `open=details` opens its details. It is not
made for examinations: editing the address undoes it. `guess=8` marks that guess, and the answer, on
the figure of a question.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from lessons.kit.controls import ECHO_LIMIT, Choice, ControlError, ControlProblem, FigureControls
from lessons.kit.language import gettext as _
from lessons.kit.question import GUESS, Question

Pairs = list[tuple[str, str]]
"""Parameters of a query, in order."""

NAMES = ("lock", "hide", "explain", "open", GUESS)
"""Parameters beside the controls: no control may have such a name."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How a teacher arranged one figure.

    Attributes
    ----------
    lock, hide : tuple of str
        Controls, in the order of the form.
    explain : bool
        Whether description, notes, formulas and code are shown. The text alternative of the drawing is always
        there for those who do not see it.
    details : bool
        Whether the details are open when the page is.
    """

    lock: tuple[str, ...] = ()
    hide: tuple[str, ...] = ()
    explain: bool = True
    details: bool = False

    @property
    def fixed(self) -> tuple[str, ...]:
        """Controls that cannot be changed, seen or not."""
        return self.lock + self.hide

    def pairs(self) -> Pairs:
        """Its parameters; none if everything is open."""
        given = [("lock", ",".join(self.lock)), ("hide", ",".join(self.hide))]
        pairs = [pair for pair in given if pair[1]]
        return pairs + [("explain", "off")] * (not self.explain) + [("open", "details")] * self.details


OPEN = Arrangement()
"""Everything can be seen and changed."""


class FigureQuery(NamedTuple):
    """What an address says about a figure.

    Attributes
    ----------
    guess : str
        What a reader answered to the question of this figure, or "skip"; "" where there was no commit.
    """

    controls: FigureControls
    arrangement: Arrangement = OPEN
    guess: str = ""

    def pairs(self) -> Pairs:
        """Its parameters in their canonical order, defaults left out."""
        return [*self.controls.query(), *self.beside()]

    def beside(self) -> Pairs:
        """The parameters beside the controls."""
        return self.arrangement.pairs() + [(GUESS, self.guess)] * bool(self.guess)

    def of_view(self, question: Question | None) -> FigureQuery:
        """The part that the figure's view depends on: its fixed cells, and a guess if the question holds."""
        lock = tuple(name for name in self.arrangement.lock if _is_drawn(type(self.controls), name))
        holds = question is not None and question.holds(self.controls)
        return FigureQuery(self.controls, Arrangement(lock), self.guess if holds else "")


def hideable(controls: type[FigureControls]) -> tuple[str, ...]:
    """Controls that can be left out: all but those that are cells of the drawing itself."""
    return tuple(name for name in controls.model_fields if not _is_drawn(controls, name))


def read_figure_query(
    controls: type[FigureControls],
    parameters: Iterable[tuple[str, str]],
    question: Question | None = None,
) -> FigureQuery:
    """Read controls, arrangement and guess from the parameters of an address.

    Raises
    ------
    ControlError
        As `FigureControls.parse`, and where an arrangement names what cannot be locked or hidden, or a guess
        that the figure's question does not allow.
    """
    names = NAMES if question else tuple(name for name in NAMES if name != GUESS)
    beside: Pairs = []
    own: Pairs = []
    for pair in parameters:
        (beside if pair[0] in names else own).append(pair)
    arrangement, guess, problems = _read_beside(controls, beside, question)
    try:
        parsed = controls.parse(own)
    except ControlError as error:
        raise ControlError((*error.problems, *problems), error.nearest) from None
    if problems:
        raise ControlError(tuple(problems), parsed)
    return FigureQuery(parsed, arrangement, guess)


def _read_beside(
    controls: type[FigureControls], given: Pairs, question: Question | None
) -> tuple[Arrangement, str, list[ControlProblem]]:
    arrangement, guess = OPEN, ""
    problems: list[ControlProblem] = []
    for name, value in given:
        if sum(name == other for other, _ in given) > 1:
            problems.append(ControlProblem(name, value[:ECHO_LIMIT], _("one value, not several")))
        elif name == "explain":
            if value not in ("on", "off"):
                problems.append(ControlProblem(name, value[:ECHO_LIMIT], _("on or off")))
            arrangement = replace(arrangement, explain=value != "off")
        elif name == "open":
            if value != "details":
                problems.append(ControlProblem(name, value[:ECHO_LIMIT], "details"))
            arrangement = replace(arrangement, details=value == "details")
        elif name == GUESS and question:
            try:
                question.marked(value)
            except ControlError as error:
                problems.extend(error.problems)
            guess = value
        else:
            allowed = tuple(controls.model_fields) if name == "lock" else hideable(controls)
            chosen, problem = _named(name, value, allowed)
            problems += [problem] if problem else []
            arrangement = (
                replace(arrangement, lock=chosen) if name == "lock" else replace(arrangement, hide=chosen)
            )
    lock = tuple(name for name in arrangement.lock if name not in arrangement.hide)
    return replace(arrangement, lock=lock), guess, problems


def _named(name: str, value: str, allowed: tuple[str, ...]) -> tuple[tuple[str, ...], ControlProblem | None]:
    """The controls that `lock` or `hide` names, in the order of the form."""
    given = value.split(",") if value else []
    problem = None
    if not set(given) <= set(allowed):
        known = f"names of controls with commas between: {', '.join(allowed) or 'this figure has none'}"
        problem = ControlProblem(name, value[:ECHO_LIMIT], known)
    return tuple(control for control in allowed if control in given), problem


def _is_drawn(controls: type[FigureControls], name: str) -> bool:
    widget = controls.widgets()[name]
    return isinstance(widget, Choice) and widget.drawn
