"""Typed controls of a figure: its form, validation, address and cache key are made from them.

A figure declares its controls as the fields of a `FigureControls` model, each made by `slider`,
`choice`, `switch` or `line`. The words beside a control (its label, the names of its options) are not here:
they belong to the text of the figure, see `lessons.kit.text`.
"""

from __future__ import annotations

import bisect
import difflib
import functools
import itertools
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from lessons.kit.language import current_language
from lessons.kit.language import gettext as _

MOST_TOGETHER = 40
"""States of a control that a page may fetch at once on first touch."""

ECHO_LIMIT = 40
"""Characters of a refused value that an error message repeats."""


@dataclass(frozen=True, slots=True)
class Slider:
    """A native range input over `low, low + step, …, high`.

    `show` prints a value where the number itself says little: the exponent of a logarithmic scale.
    """

    low: float
    high: float
    step: float
    unit: str = ""
    show: Callable[[float], str] | None = None

    def allowed(self) -> str:
        low, high, step = as_parameter(self.low), as_parameter(self.high), as_parameter(self.step)
        if self.step == 1:
            allowed = _("%(low)s to %(high)s", low=low, high=high)
        else:
            allowed = _("%(low)s to %(high)s in steps of %(step)s", low=low, high=high, step=step)
        first, last = self.text(self.low), self.text(self.high)
        if _is_number(first, self.low) and _is_number(last, self.high):
            return allowed
        return _(
            "%(allowed)s, which stand for %(first)s to %(last)s", allowed=allowed, first=first, last=last
        )

    def accepts(self, value: Any) -> bool:
        if not self.low <= value <= self.high:  # also refuses NaN
            return False
        steps = (value - self.low) / self.step
        return math.isclose(steps, round(steps), abs_tol=1e-6)

    def states(self) -> tuple[float, ...]:
        count = round((self.high - self.low) / self.step)
        return tuple(round(self.low + i * self.step, 10) for i in range(count + 1))

    def position(self, value: float) -> int:
        """Where a value stands among the states."""
        return round((value - self.low) / self.step)

    def text(self, value: float) -> str:
        """The value as printed beside the slider."""
        return self.show(value) if self.show else current_language().number(as_parameter(value))

    @functools.cache  # noqa: B019 — widgets live as long as the program
    def characters(self) -> int:
        """Characters of the longest printed value; the form reserves room for it."""
        return max(len(self.text(value)) for value in self.states())

    def texts(self) -> list[str]:
        """The printed text of every value, for the browser; empty where each is the number itself."""
        texts = [self.text(value) for value in self.states()]
        return [] if texts == [as_parameter(value) for value in self.states()] else texts


def _is_number(text: str, value: float) -> bool:
    try:
        return math.isclose(float(text), value)
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a fixed set of options: a menu, or a row of segments when there are few.

    `drawn`: the figure's own template draws the radio buttons (cells of a diagram), so the row of controls
    leaves them out. `labels` holds names that are data (a model, a device), not words of the lesson. `ahead`:
    whether a page may fetch its states before they are asked for; not those that change with this host.
    `together`: how many of them at once, fewer where each state is a whole drawing of its own. `needs`: of an
    option that not every host has, whether this one does.
    """

    options: tuple[str, ...]
    style: str = "menu"
    labels: Mapping[str, str] | None = None
    groups: Mapping[str, tuple[str, ...]] | None = None
    ahead: bool = True
    together: int = MOST_TOGETHER
    needs: Mapping[str, Callable[[], bool]] | None = None

    def missing(self) -> tuple[str, ...]:
        """Options that are not available on this host."""
        return tuple(option for option, is_here in (self.needs or {}).items() if not is_here())

    @property
    def drawn(self) -> bool:
        return self.style == "drawn"

    def allowed(self) -> str:
        if len(self.options) > 12:
            return _(
                "one of %(count)s options, such as %(some)s",
                count=len(self.options),
                some=", ".join(self.options[:3]),
            )
        return _("one of %(options)s", options=", ".join(self.options))

    def accepts(self, value: Any) -> bool:
        return value in self.options

    def states(self) -> tuple[str, ...]:
        return self.options

    def position(self, value: str) -> int:
        """Where a value stands among the states."""
        return self.options.index(value)


@dataclass(frozen=True, slots=True)
class Switch:
    """On or off, drawn as two segments: an unchecked checkbox would send nothing and read as the default."""

    options = ("on", "off")
    style = "segments"
    drawn = False

    def allowed(self) -> str:
        return _("on or off")

    def accepts(self, value: Any) -> bool:
        return isinstance(value, bool)

    def states(self) -> tuple[bool, ...]:
        return (True, False)

    def position(self, value: bool) -> int:
        """Where a value stands among the states."""
        return 0 if value else 1


@dataclass(frozen=True, slots=True)
class Text:
    """A line of free text: bounded in length, of letters, digits and punctuation without accents.

    Each character is one byte of ASCII once `straight` has made typographic quotes and dashes plain, so the
    length bounds whatever is computed from it. It has no list of states: `samples` stand for them in tests,
    and a page never fetches them ahead. `instead_of` names a control whose change empties the text.
    `reads`: what a text that is not empty has to be; its ValueError says why it is not. `slow`: whether what
    is computed from it takes so long that it must not hold up other answers. `lenient`: other letters are
    taken too, and left out by `readable`, so that the figure can say which.
    """

    most: int
    samples: tuple[str, ...]
    instead_of: str = ""
    reads: Callable[[str], object] | None = None
    slow: bool = False
    lenient: bool = False
    drawn = False

    def allowed(self) -> str:
        if self.lenient:
            return _("at most %(most)s characters in one line", most=str(self.most))
        return _(
            "at most %(most)s characters: letters without accents, digits, punctuation and spaces",
            most=str(self.most),
        )

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and self._is_plain(value) and not self._misread(value)

    def refusal(self, value: str) -> str:
        """The message about a text that is not accepted."""
        return self._misread(value) if self._is_plain(value) else self.allowed()

    def _is_plain(self, value: str) -> bool:
        if self.lenient:
            return len(value) <= self.most and "Cc" not in map(unicodedata.category, value)
        return len(value) <= self.most and all(map(_is_ascii, value))

    def _misread(self, value: str) -> str:
        if self.reads is None or not value.strip():
            return ""
        try:
            self.reads(straight(value))
        except ValueError as error:
            return str(error) or self.allowed()
        return ""

    def states(self) -> tuple[str, ...]:
        return self.samples


TYPOGRAPHIC = {"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "\u00a0": " "}
"""Typographic characters that keyboards and word processors put in place of an ASCII one."""


_CLUSTER = re.compile("(?s).(?:[\u0300-\u036f\ufe00-\ufe0f\U0001f3fb-\U0001f3ff]|\u200d.)*")


def readable(text: str) -> tuple[str, list[str]]:
    """A text in ASCII, and the characters that it had to change: accents are taken off, the rest left out.

    >>> readable("a café 🙂"), readable("“no”")
    (('a cafe ', ['é', '🙂']), ('"no"', []))
    """
    kept, changed = [], []
    for cluster in _CLUSTER.findall(text):
        if len(cluster) == 1 and _is_ascii(cluster):
            kept.append(straight(cluster))
        else:
            kept.append("".join(filter(_is_ascii, unicodedata.normalize("NFKD", cluster))))
            changed.append(cluster)
    return "".join(kept), list(dict.fromkeys(changed))


def _is_ascii(letter: str) -> bool:
    return " " <= letter <= "~" or letter in TYPOGRAPHIC


def straight(text: str) -> str:
    """The text of a `Text` control in ASCII, as many characters as it had."""
    return "".join(TYPOGRAPHIC.get(letter, letter) for letter in text)


Widget = Slider | Choice | Switch | Text


def slider(
    default: float,
    *,
    low: float,
    high: float,
    step: float = 1,
    unit: str = "",
    show: Callable[[float], str] | None = None,
) -> Any:
    """Declare a numeric control. Annotate the field `int` or `float`."""
    return _declare(default, Slider(low, high, step, unit, show))


def choice(
    default: str,
    options: Iterable[str],
    *,
    style: str = "menu",
    labels: Mapping[str, str] | None = None,
    groups: Mapping[str, tuple[str, ...]] | None = None,
    ahead: bool = True,
    together: int = MOST_TOGETHER,
    needs: Mapping[str, Callable[[], bool]] | None = None,
) -> Any:
    """Declare a control with named options, in the style "menu", "segments" or "drawn". Annotate it `str`."""
    return _declare(default, Choice(tuple(options), style, labels, groups, ahead, together, needs))


def switch(default: bool) -> Any:
    """Declare an on/off control. Annotate the field `bool`."""
    return _declare(default, Switch())


def line(
    default: str,
    *,
    most: int,
    samples: Iterable[str],
    instead_of: str = "",
    reads: Callable[[str], object] | None = None,
    slow: bool = False,
    lenient: bool = False,
) -> Any:
    """Declare a control for a line of free text. Annotate the field `str`."""
    return _declare(default, Text(most, tuple(samples), instead_of, reads, slow, lenient))


def _declare(default: Any, widget: Widget) -> Any:
    if not widget.accepts(default):
        raise ValueError(f"default {default!r} is not allowed: {widget.allowed()}")
    return Field(default, json_schema_extra=cast(Any, {"widget": widget}))  # only ever read by `widgets`


@dataclass(frozen=True, slots=True)
class ControlProblem:
    """One control that could not be understood: what was given, and what is allowed.

    Of a control that does not exist (`known` is false), `allowed` lists those that do.
    """

    control: str
    given: str
    allowed: str
    suggestion: str | None = None
    known: bool = True


class ControlError(ValueError):
    """The parameters are no valid controls. Holds every problem, and the nearest controls that are valid."""

    def __init__(self, problems: tuple[ControlProblem, ...], nearest: FigureControls) -> None:
        super().__init__("; ".join(f"{p.control}={p.given!r}: {p.allowed}" for p in problems))
        self.problems = problems
        self.nearest = nearest


class TablePart(NamedTuple):
    """A part of a control's state table: its values, and the nearest of each neighbouring part."""

    states: list[Any]
    beside: list[Any]


def _most_together(widget: Widget) -> int:
    return widget.together if isinstance(widget, Choice) else MOST_TOGETHER


class FigureControls(BaseModel):
    """The base of every figure's controls. Frozen and hashable: an instance can be a key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="after")
    @classmethod
    def _within_widget(cls, value: Any, info: ValidationInfo) -> Any:
        widget = cls.widgets()[str(info.field_name)]
        if not widget.accepts(value):
            raise ValueError(widget.allowed())
        return value

    @classmethod
    def widgets(cls) -> dict[str, Widget]:
        """The widget of each control, in the order of the form."""
        return {
            name: cast(Any, field.json_schema_extra)["widget"] for name, field in cls.model_fields.items()
        }

    @classmethod
    def tabled(cls) -> tuple[str, ...]:
        """The controls that have a state table: not free text, nor what must not be fetched ahead."""
        return tuple(
            name
            for name, widget in cls.widgets().items()
            if not isinstance(widget, Text) and not (isinstance(widget, Choice) and not widget.ahead)
        )

    @classmethod
    def parted(cls) -> tuple[str, ...]:
        """The controls whose state table has so many values that it is sent in parts."""
        widgets = cls.widgets()
        return tuple(
            name for name in cls.tabled() if len(widgets[name].states()) > _most_together(widgets[name])
        )

    @classmethod
    def combinations(cls) -> int:
        """The number of combinations of values, free text left out."""
        return math.prod(len(cls.widgets()[name].states()) for name in cls.tabled())

    @classmethod
    def every(cls) -> Iterator[Self]:
        """All combinations that a page may fetch ahead: no free text, nothing that depends on a job."""
        names = cls.tabled()
        start = cls()
        for values in itertools.product(*(cls.widgets()[name].states() for name in names)):
            yield start.model_copy(update=dict(zip(names, values, strict=True)))

    def part(self, name: str) -> TablePart:
        """The part of a control's state table that holds its current value."""
        widget = self.widgets()[name]
        assert not isinstance(widget, Text)
        states = list(widget.states())
        count = -(-len(states) // _most_together(widget))
        bounds = [len(states) * i // count for i in range(count + 1)]
        at = bisect.bisect_right(bounds, widget.position(getattr(self, name))) - 1
        first, end = bounds[at], bounds[at + 1]
        return TablePart(states[first:end], [*states[max(first - 1, 0) : first], *states[end : end + 1]])

    def typed(self) -> bool:
        """Whether a control holds free text that takes long to compute; nobody else will ask for the same."""
        return any(
            isinstance(widget, Text) and widget.slow and getattr(self, name)
            for name, widget in self.widgets().items()
        )

    @classmethod
    def parse(cls, parameters: Iterable[tuple[str, str]]) -> Self:
        """Read controls from URL parameters. Missing ones take their defaults.

        Raises
        ------
        ControlError
            When a control is unknown, given twice or out of range; names each, and holds the controls
            with everything else kept.
        """
        given: dict[str, str] = {}
        problems: list[ControlProblem] = []
        for name, value in parameters:
            if name not in cls.model_fields:
                problems.append(cls._unknown(name, value))
            elif name in given:
                problems.append(
                    ControlProblem(name, f"{given[name]}, {value}"[:ECHO_LIMIT], _("one value, not several"))
                )
            else:
                given[name] = value
        try:
            controls = cls.model_validate(given)
        except ValidationError as error:
            for name in dict.fromkeys(str(item["loc"][0]) for item in error.errors()):
                widget, value = cls.widgets()[name], given.pop(name)
                allowed = widget.refusal(value) if isinstance(widget, Text) else widget.allowed()
                problems.append(ControlProblem(name, value[:ECHO_LIMIT], allowed))
            controls = cls.model_validate(given)
        if problems:
            raise ControlError(tuple(problems), controls)
        return controls

    @classmethod
    def _unknown(cls, name: str, value: str) -> ControlProblem:
        close = difflib.get_close_matches(name, list(cls.model_fields), n=1)
        known = ", ".join(cls.model_fields) or _("none: this figure has no controls")
        return ControlProblem(
            name[:ECHO_LIMIT], value[:ECHO_LIMIT], known, close[0] if close else None, known=False
        )

    def query(self) -> list[tuple[str, str]]:
        """The parameters that differ from the defaults: the shortest URL of these controls."""
        return [
            (name, as_parameter(getattr(self, name)))
            for name, field in type(self).model_fields.items()
            if getattr(self, name) != field.default
        ]


def as_parameter(value: Any) -> str:
    """A control's value as it stands in a URL and in a form."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value)
