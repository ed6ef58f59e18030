"""What a figure shows for one state of its controls: plain data, no markup and no sentences.

Words are referred to by key (`Sentence("snapped", levels="8")`); the text of the figure holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lessons.kit.chart import Chart
from lessons.kit.scales import Scale


@dataclass(frozen=True, slots=True)
class Readout:
    """One number under the drawing: `value` for machines (`data-value`), `text` as printed."""

    name: str
    value: float | str
    text: str
    unit: str = ""
    accent: bool = False

    @classmethod
    def of(
        cls,
        result: object,
        name: str,
        show: Callable[[Any], str],
        unit: str = "",
        accent: bool = False,
    ) -> Readout:
        """The attribute of this name of a figure's result, as `show` prints it."""
        value = getattr(result, name)
        return cls(name, value, show(value), unit, accent)

    @property
    def length(self) -> str:
        """Whether a number has to be printed smaller to stay in one line: "", "long" or "longest"."""
        if isinstance(self.value, str) or len(self.text) <= 8:
            return ""
        return "long" if len(self.text) <= 11 else "longest"


class Sentence:
    """A sentence of the figure's text by its key, with the printed values of its slots.

    A slot with the name of a read-out is filled with that read-out; `values` holds the others.
    """

    __slots__ = ("_read_outs", "key", "values")

    def __init__(self, key: str, **values: str) -> None:
        self.key = key
        self.values = values
        self._read_outs: Mapping[str, str] = {}

    @property
    def slots(self) -> dict[str, str]:
        """The printed value of every slot that the sentence may have."""
        return {**self._read_outs, **self.values}

    def beside(self, read_outs: Mapping[str, str]) -> Sentence:
        """The same sentence; slots of a read-out's name are filled with its printed value."""
        sentence = Sentence(self.key, **self.values)
        sentence._read_outs = read_outs
        return sentence

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sentence) and (self.key, self.slots) == (other.key, other.slots)

    __hash__ = None  # type: ignore[assignment]  # its slots are a dictionary

    def __repr__(self) -> str:
        return f"Sentence({self.key!r}, {self.values!r})"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the data table. `show` prints a raw value; a column without it holds text."""

    name: str
    show: Callable[[Any], str] | None = None

    @property
    def numeric(self) -> bool:
        return self.show is not None

    def text(self, value: Any) -> str:
        if value is None:
            return "–"
        return self.show(value) if self.show else str(value)


@dataclass(frozen=True, slots=True)
class Table:
    """The figure's data, row by row, as raw values. `marked` rows are the selected ones."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class PlotScales:
    """Where values lie in a part of the drawing: `x` in per cent of its width, `y` in pixels from its top.

    A part that has no axis for one of them leaves it out.
    """

    x: Scale | None = None
    y: Scale | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """What a control cannot do in this state, and why.

    Parameters
    ----------
    reason
        Beside the control, for the reader.
    options
        Options that cannot be chosen; None for the control as a whole, () where the reason is only said.
    """

    reason: Sentence
    options: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class View:
    """Everything that a figure shows in one state.

    Parameters
    ----------
    readouts
        Its numbers; the first three stand in front, the others in the details. Their names are a public
        contract (docs/figures.md).
    drawing
        What the figure's template draws: positions, classes, labels, all computed here.
    description
        The text alternative of the drawing, sentence by sentence. The first is the finding: the figure's
        headline, and what a screen reader hears after a change.
    table
        The data of the drawing, from the same arrays.
    formulas
        LaTeX with the live numbers in it; rendered to MathML on the server.
    ran
        The `quant_core` functions that computed this view; the page shows their source.
    notes
        Sentences of the details (provenance, a caveat of this very state).
    source
        Where the drawn numbers come from, in a few words, for the caption.
    chart
        The data chart, when the figure is one.
    plots
        The scales of those parts of the drawing on which a guess can be marked, by name.
    limits
        What controls, by name, cannot do in this state.
    """

    readouts: tuple[Readout, ...]
    drawing: Mapping[str, Any]
    description: tuple[Sentence, ...]
    table: Table
    formulas: tuple[str, ...]
    ran: tuple[Callable[..., Any], ...]
    notes: tuple[Sentence, ...] = ()
    source: Sentence | None = None
    chart: Chart | None = None
    plots: Mapping[str, PlotScales] = field(default_factory=dict)
    limits: Mapping[str, Limit] = field(default_factory=dict)

    def __post_init__(self) -> None:
        printed = {readout.name: readout.text for readout in self.readouts}
        for part in ("description", "notes"):
            sentences = tuple(sentence.beside(printed) for sentence in getattr(self, part))
            object.__setattr__(self, part, sentences)
        if self.source:
            object.__setattr__(self, "source", self.source.beside(printed))
