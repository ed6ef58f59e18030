"""What an address says beside a figure's state: what a teacher arranges, and a reader's guess to draw on it.

`lock=bits,block` shows controls that cannot be changed, `hide=stretch` leaves controls out, `explain=off`
keeps back what the figure says about itself. It is an arrangement of the page, not an examination: whoever
edits the address has everything again. `guess=8` marks that guess, and what was so, on the
figure of a question.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lessons.kit.controls import ECHO_LIMIT, Choice, ControlError, ControlProblem, FigureControls
from lessons.kit.language import gettext as _
from lessons.kit.question import GUESS, Question

NAMES = ("lock", "hide", "explain", GUESS)
"""No control may be called so."""


@dataclass(frozen=True, slots=True)
class Teaching:
    """The arrangement of one figure.

    Attributes
    ----------
    lock, hide : tuple of str
        Controls, in the order of the form.
    explain : bool
        Whether description, notes, formulas and code are shown. The text alternative of the drawing is always
        there for those who do not see it.
    guess : str
        What a reader has answered to the question of this figure, or "skip"; "" where there was no commit.
    """

    lock: tuple[str, ...] = ()
    hide: tuple[str, ...] = ()
    explain: bool = True
    guess: str = ""

    @property
    def fixed(self) -> tuple[str, ...]:
        """Controls that cannot be changed, seen or not."""
        return self.lock + self.hide

    def query(self) -> list[tuple[str, str]]:
        """Its parameters; none where everything is open."""
        given = [("lock", ",".join(self.lock)), ("hide", ",".join(self.hide)), (GUESS, self.guess)]
        return [pair for pair in given if pair[1]] + [("explain", "off")] * (not self.explain)

    def of_view(self, state: FigureControls, question: Question | None) -> Teaching:
        """What a figure's view has to know: which of its cells are fixed, and a guess that is true of it."""
        lock = tuple(name for name in self.lock if _is_drawn(type(state), name))
        return Teaching(lock, guess=self.guess if question and question.holds(state) else "")


OPEN = Teaching()
"""Everything can be seen and changed."""


def hideable(controls: type[FigureControls]) -> tuple[str, ...]:
    """Controls that can be left out: all but those that are cells of the drawing itself."""
    return tuple(name for name in controls.model_fields if not _is_drawn(controls, name))


def read_taught(
    controls: type[FigureControls],
    parameters: Iterable[tuple[str, str]],
    question: Question | None = None,
) -> tuple[FigureControls, Teaching]:
    """Read a state and its arrangement from the parameters of an address.

    Raises
    ------
    ControlError
        As `FigureControls.parse`, and where an arrangement names what cannot be locked or hidden, or a guess
        that the figure's question does not allow.
    """
    pairs = list(parameters)
    problems: list[ControlProblem] = []
    names = NAMES if question else tuple(name for name in NAMES if name != GUESS)
    taught = _read(controls, [pair for pair in pairs if pair[0] in names], problems, question)
    own = [pair for pair in pairs if pair[0] not in names]
    try:
        state = controls.parse(own)
    except ControlError as error:
        raise ControlError((*error.problems, *problems), error.nearest) from None
    if problems:
        raise ControlError(tuple(problems), state)
    return state, taught


def _read(
    controls: type[FigureControls],
    given: list[tuple[str, str]],
    problems: list[ControlProblem],
    question: Question | None,
) -> Teaching:
    lockable, free = tuple(controls.model_fields), hideable(controls)
    taught = OPEN
    for name, value in given:
        if sum(name == other for other, _ in given) > 1:
            problems.append(ControlProblem(name, value[:ECHO_LIMIT], _("one value, not several")))
        elif name == "explain":
            if value not in ("on", "off"):
                problems.append(ControlProblem(name, value[:ECHO_LIMIT], _("on or off")))
            taught = replace(taught, explain=value != "off")
        elif name == GUESS and question:
            try:
                question.marked(value)
            except ControlError as error:
                problems.extend(error.problems)
            taught = replace(taught, guess=value)
        else:
            allowed = lockable if name == "lock" else free
            asked = value.split(",") if value else []
            if not set(asked) <= set(allowed):
                known = (
                    f"names of controls with commas between: {', '.join(allowed) or 'this figure has none'}"
                )
                problems.append(ControlProblem(name, value[:ECHO_LIMIT], known))
            chosen = tuple(control for control in allowed if control in asked)
            taught = replace(taught, lock=chosen) if name == "lock" else replace(taught, hide=chosen)
    return replace(taught, lock=tuple(name for name in taught.lock if name not in taught.hide))


def _is_drawn(controls: type[FigureControls], name: str) -> bool:
    widget = controls.widgets()[name]
    return isinstance(widget, Choice) and widget.drawn
