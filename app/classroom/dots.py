"""Where the guesses of a class stand: one dot each, in columns on the question's own scale, and who moved.

Positions are in units of the drawing. Heights are measured from the axis upwards. Nothing here is random and
nothing follows the data but the size of the dots, so the same guesses always make the same picture.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

from app.classroom.states import Guesses
from lessons.kit.controls import Slider, as_parameter
from lessons.kit.question import Guess, Question, guess_scale, printed

PERCENT_FROM = 20
"""Guesses from which a share is given in per cent, and who moved is drawn."""

DOTS_FROM = 5
"""Guesses from which dots are shown at once: fewer have names."""

LARGEST, SMALLEST = 28, 6
"""Diameters of a dot on the screen; where the smallest has no room, a dot stands for several guesses."""

FILL = 0.92
"""The share of the room between two columns that the dots of one may take."""

GROUPS = (1, 5, 10, 50, 100, 500, 1000)
"""How many guesses one dot may stand for."""

Band = Literal["above", "near", "below", "other", "gone"]


# --- the scale of a question ------------------------------------------------------------------------------


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


# --- the answer on it -------------------------------------------------------------------------------------


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


# --- dots -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dots:
    """The dots of a drawing: their diameter, how many stand abreast, and for how many guesses each stands."""

    diameter: float
    abreast: int
    each: int = 1

    def rows(self, count: int) -> int:
        """How many rows a column of so many guesses has."""
        return -(-self.dots(count) // self.abreast)

    def dots(self, count: int) -> int:
        """How many dots a column of so many guesses has: none vanishes."""
        return -(-count // self.each)


def dot_size(
    tallest: int, pitch: float, height: float, counts_height: float = 0, largest: int = LARGEST
) -> Dots:
    """The largest dots with which a column of `tallest` guesses fits.

    Parameters
    ----------
    pitch, height
        From one column to the next, and of a row of columns.
    counts_height
        The room above a column for its count, which is written where a dot stands for several guesses.
    largest
        The diameter that no dot exceeds.
    """
    room = FILL * pitch
    smallest = min(float(SMALLEST), math.floor(100 * room) / 100)
    sizes = [float(d) for d in range(largest, SMALLEST - 1, -1) if d <= room] or [smallest]
    for each in GROUPS:
        free = height - (counts_height if each > 1 else 0)
        for diameter in sizes:
            dots = Dots(diameter, int(room / diameter + 1e-9), each)
            if dots.rows(tallest) * diameter <= free:
                return dots
    return Dots(smallest, max(1, int(room / smallest + 1e-9)), max(1, tallest))


def places(count: int, dots: Dots) -> list[tuple[float, float]]:
    """The centres of a column's dots, beside its middle and above the axis. A short last row is centred."""
    left = dots.dots(count)
    found: list[tuple[float, float]] = []
    for row in itertools.count():
        abreast = min(left, dots.abreast)
        if abreast <= 0:
            return found
        y = round((row + 0.5) * dots.diameter, 2)
        found += [(round((i - (abreast - 1) / 2) * dots.diameter, 2), y) for i in range(abreast)]
        left -= abreast
    raise AssertionError("a column ends")


@dataclass(frozen=True, slots=True)
class Frame:
    """The size of a drawing in its own units.

    Parameters
    ----------
    width, edge
        Of the drawing, and from its sides to the ends of the scale.
    row, row_alone
        The height of the dots of a vote where both are drawn, and where one is.
    text
        The size of the letters.
    """

    name: str
    width: float
    edge: float
    row: float
    row_alone: float
    text: float

    @property
    def largest(self) -> int:
        """The largest diameter of a dot: beside its letters as large as on the screen."""
        return round(LARGEST * self.text / SCREEN_TEXT)

    def x(self, at: float) -> float:
        """From a place on the scale to one in the drawing."""
        return round(self.edge + at * (self.width - 2 * self.edge), 2)

    def pitch(self, scale: VoteScale) -> float:
        """From one column to the next."""
        return scale.pitch * (self.width - 2 * self.edge)


SCREEN_TEXT = 26

FRAMES = {
    "screen": Frame("screen", 1180, 30, 216, 470, SCREEN_TEXT),
    "desk": Frame("desk", 640, 24, 120, 200, 14),
    "phone": Frame("phone", 358, 18, 110, 110, 14),
    "cover": Frame("cover", 1050, 30, 118, 118, SCREEN_TEXT),
}
"""On a projector in units of 1/1920 of its width; else in pixels of a drawing that is scaled to its place.

"cover" is that of a question which is asked on the projector."""


@dataclass(frozen=True, slots=True)
class Count:
    """The count of a column, written above it: middle and foot of the text."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """The dots of one vote. `number` guesses, `near` of them near; `skipped` would rather not guess."""

    vote: int
    number: int
    near: int
    skipped: int
    dots: tuple[tuple[float, float], ...]
    counts: tuple[Count, ...]

    @property
    def percent(self) -> int | None:
        """How many were near, in whole per cent; None where there are too few guesses to say so."""
        return percent(self.near, self.number)


@dataclass(frozen=True, slots=True)
class Drawing:
    """The dots of both votes in a frame, of which one or two rows are drawn.

    `ticks` are the texts of the axis; `band` reaches over the columns that are near; `truth` is
    the place of the answer. `height` is that of a row's dots.
    """

    frame: Frame
    dots: Dots
    height: float
    rows: tuple[Row, Row]
    ticks: tuple[Tick, ...]
    band: tuple[float, float] | None
    truth: float | None

    @property
    def title(self) -> float:
        """The height of a row's title."""
        return 1.7 * self.frame.text

    @property
    def label(self) -> float:
        """The height of the answer's label, which stands between the first row's title and its dots."""
        return 2.1 * self.frame.text

    @property
    def block(self) -> float:
        """The height of a row with its title and its axis."""
        return self.title + self.height + 1.9 * self.frame.text

    def axis(self, row: int) -> float:
        """Where the axis of the first (0) or of the second drawn row is."""
        return round(self.title + self.label + row * self.block + self.height, 1)

    @property
    def stroke(self) -> float:
        """The width of a ring's line."""
        return round(min(self.frame.text / 11, self.dots.diameter / 7), 2)

    @property
    def radius(self) -> float:
        """Of a ring, so that the lines of two neighbours do not touch."""
        return round(0.47 * self.dots.diameter - self.stroke / 2, 2)


class Tick(NamedTuple):
    """A text under the axis, and which part of it stands at `x`."""

    x: float
    text: str
    anchor: Literal["start", "middle", "end"]


def ticks_of(scale: VoteScale, frame: Frame) -> tuple[Tick, ...]:
    """The texts of the axis: both ends, and those between that there is room for."""
    named = [column for column in scale.columns if column.tick]
    ticks = [Tick(frame.x(column.at), column.tick, "middle") for column in named]
    if not scale.ordered or len(ticks) == 1:
        return tuple(ticks)
    first, *between, last = ticks
    kept = [
        first if len(first.text) < 3 else first._replace(anchor="start"),
        last if len(last.text) < 3 else last._replace(anchor="end"),
    ]
    for tick in between:
        if not any(_texts_meet(tick, other, frame) for other in kept):
            kept.append(tick)
    return tuple(sorted(kept))


def _texts_meet(one: Tick, other: Tick, frame: Frame) -> bool:
    (a, b), (c, d) = (_extent(tick, frame) for tick in (one, other))
    apart = 0.4 * frame.text
    return a < d + apart and c < b + apart


def text_width(text: str, size: float) -> float:
    """About how wide a text is, rather more than less: letters are six tenths as wide as they are high."""
    return 0.6 * size * len(text)


def _extent(tick: Tick, frame: Frame) -> tuple[float, float]:
    """From where to where a text reaches."""
    width = text_width(tick.text, frame.text)
    start = tick.x - {"start": 0.0, "middle": width / 2, "end": width}[tick.anchor]
    return start, start + width


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


def drawing(
    scale: VoteScale, answer: Answer, guesses: Guesses, frame: Frame, votes: Sequence[int] = (1, 2)
) -> Drawing:
    """The dots of the votes. `votes` are those that are drawn, but both decide the size of the dots."""
    both = {vote: counted(scale, guesses.of(vote)) for vote in (1, 2)}
    pitch, height = frame.pitch(scale), frame.row if len(votes) > 1 else frame.row_alone
    dots = dot_size(
        max(max(counts) for counts in both.values()), pitch, height, 1.3 * frame.text, frame.largest
    )
    first, second = (
        _row(scale, answer, both[vote], vote, guesses.skipped[vote - 1], dots, frame) for vote in (1, 2)
    )
    span = answer.span
    half = pitch / 2
    band = None
    if span:
        low, high = (frame.x(scale.columns[i].at) for i in span)
        band = round(max(low - half, 0), 2), round(min(high + half, frame.width), 2)
    truth = None if answer.at is None else frame.x(answer.at)
    return Drawing(frame, dots, height, (first, second), ticks_of(scale, frame), band, truth)


def _row(
    scale: VoteScale, answer: Answer, counts: list[int], vote: int, skipped: int, dots: Dots, frame: Frame
) -> Row:
    found = [
        (round(frame.x(column.at) + x, 2), y)
        for column, count in zip(scale.columns, counts, strict=True)
        for x, y in places(count, dots)
    ]
    near = sum(itertools.compress(counts, answer.near))
    written = _counts(scale, counts, dots, frame) if dots.each > 1 else ()
    return Row(vote, sum(counts), near, skipped, tuple(found), written)


def _counts(scale: VoteScale, counts: list[int], dots: Dots, frame: Frame) -> tuple[Count, ...]:
    """The counts above their columns, the tallest first; one that would meet another or dots is left out."""
    tall = 1.1 * frame.text
    taken = []
    columns = [(frame.x(column.at), count) for column, count in zip(scale.columns, counts, strict=True)]
    for x, count in columns:
        half = min(dots.abreast, dots.dots(count)) * dots.diameter / 2
        taken.append((x - half, x + half, 0.0, dots.rows(count) * dots.diameter))
    found = []
    for x, count in sorted((column for column in columns if column[1]), key=lambda column: -column[1]):
        half = 0.31 * frame.text * len(str(count)) + 1
        foot = dots.rows(count) * dots.diameter + 0.15 * frame.text
        box = (x - half, x + half, foot, foot + tall)
        if not any(_meet(box, other) for other in taken):
            found.append(Count(x, round(foot, 2), str(count)))
            taken.append(box)
    return tuple(found)


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]


def percent(part: int, whole: int) -> int | None:
    """A share in whole per cent, half up; None under `PERCENT_FROM`."""
    return (200 * part + whole) // (2 * whole) if whole >= PERCENT_FROM else None


# --- who moved --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moves:
    """Who moved from the first vote to the second, in bands. `bands` go from the top to the bottom.

    `flows` counts the students by the band of their first and of their second guess, "gone" for who did not
    vote again. `joined` voted only the second time: they are in no band.
    """

    bands: tuple[Band, ...]
    flows: tuple[tuple[Band, Band, int], ...]
    joined: int

    def count(self, first: Iterable[Band], second: Iterable[Band]) -> int:
        """How many went from one of these bands to one of those."""
        starts, ends = tuple(first), tuple(second)
        return sum(n for start, end, n in self.flows if start in starts and end in ends)

    def first(self, band: Band) -> int:
        """How many were in a band with their first guess."""
        return self.count([band], [*self.bands, "gone"])

    def second(self, band: Band) -> int:
        """How many of these are in a band with their second guess."""
        return self.count(self.bands, [band])

    @property
    def _far(self) -> tuple[Band, ...]:
        return tuple(band for band in self.bands if band != "near")

    @property
    def came(self) -> int:
        """How many came near."""
        return self.count(self._far, ["near"])

    @property
    def left(self) -> int:
        """How many moved away."""
        return self.count(["near"], self._far)

    @property
    def stayed(self) -> int:
        """How many stayed in their band."""
        return sum(self.count([band], [band]) for band in self.bands)

    @property
    def crossed(self) -> int:
        """How many went past the answer, from one side to the other."""
        return sum(self.count([a], [b]) for a in self._far for b in self._far if a != b)

    @property
    def gone(self) -> int:
        """How many did not vote again."""
        return self.second("gone")

    @property
    def total(self) -> int:
        """How many guessed the first time."""
        return sum(n for _, _, n in self.flows)


def moves(scale: VoteScale, answer: Answer, guesses: Guesses) -> Moves:
    """Who moved between the two votes."""
    bands: tuple[Band, ...] = ("above", "near", "below") if scale.ordered else ("near", "other")
    found: Counter[tuple[Band, Band]] = Counter()
    joined = 0
    for pair, count in Counter(guesses.pairs).items():
        first, second = map(scale.index, pair)
        if first is not None:
            to: Band = "gone" if second is None else _band(scale, answer, second)
            found[_band(scale, answer, first), to] += count
        elif second is not None:
            joined += count
    order: tuple[Band, ...] = (*bands, "gone")
    flows = tuple((a, b, found[a, b]) for a in bands for b in order if found[a, b])
    return Moves(bands, flows, joined)


def _band(scale: VoteScale, answer: Answer, column: int) -> Band:
    if answer.near[column]:
        return "near"
    if not scale.ordered:
        return "other"
    at = answer.at
    if at is None:  # a scale of numbers without a place for the answer
        return "above" if answer.span is None or column > answer.span[1] else "below"
    return "above" if scale.columns[column].at > at else "below"


@dataclass(frozen=True, slots=True)
class Node:
    """A band at one side of the drawing; `label` is the height of the middle of its label."""

    band: Band
    count: int
    y: float
    height: float
    label: float


@dataclass(frozen=True, slots=True)
class Ribbon:
    """Students who went from one band to another: an SVG path."""

    kind: Literal["came", "other", "gone"]
    count: int
    path: str


@dataclass(frozen=True, slots=True)
class FlowDrawing:
    """Who moved, as ribbons from the first guesses to the second."""

    first: tuple[Node, ...]
    second: tuple[Node, ...]
    ribbons: tuple[Ribbon, ...]


def flow_drawing(found: Moves, left: float, right: float, height: float, slot: float) -> FlowDrawing:
    """The drawing of who moved, between two heights and two places along x.

    Parameters
    ----------
    slot
        The height of a label: no two at one side are nearer to each other.
    """
    gap = slot * 0.6
    ends: tuple[Band, ...] = (*found.bands, "gone") if found.gone else found.bands
    unit = max(0.0, height - gap * (len(ends) - 1)) / max(1, found.total)
    first = _nodes([(band, found.first(band)) for band in found.bands], unit, gap, height, slot)
    second = _nodes([(band, found.second(band)) for band in ends], unit, gap, height, slot)
    starts, stops = {node.band: node.y for node in first}, {node.band: node.y for node in second}
    ribbons = []
    for start, end, count in found.flows:
        thick = unit * count
        top, foot = starts[start], stops[end]
        starts[start] += thick
        stops[end] += thick
        kind = "gone" if end == "gone" else "came" if end == "near" and start != "near" else "other"
        ribbons.append(
            Ribbon(cast(Literal["came", "other", "gone"], kind), count, _path(left, right, top, foot, thick))
        )
    return FlowDrawing(first, second, tuple(sorted(ribbons, key=lambda ribbon: -ribbon.count)))


def _nodes(
    counts: list[tuple[Band, int]], unit: float, gap: float, height: float, slot: float
) -> tuple[Node, ...]:
    """Bands one below the other; labels are moved apart where bands are thin."""
    taken = sum(count for _, count in counts) * unit + gap * (len(counts) - 1)
    y, tops = (height - taken) / 2, []
    for _, count in counts:
        tops.append(y)
        y += count * unit + gap
    middles = [top + count * unit / 2 for top, (_, count) in zip(tops, counts, strict=True)]
    for i in range(1, len(middles)):
        middles[i] = max(middles[i], middles[i - 1] + slot)
    last = height - slot / 2
    for i in reversed(range(len(middles))):
        middles[i] = min(middles[i], last)
        last = middles[i] - slot
    return tuple(
        Node(band, count, round(top, 2), round(count * unit, 2), round(middle, 2))
        for (band, count), top, middle in zip(counts, tops, middles, strict=True)
    )


def _path(left: float, right: float, top: float, foot: float, thick: float) -> str:
    middle = (left + right) / 2
    a, b, c, d = (round(y, 2) for y in (top, foot, foot + thick, top + thick))
    there = f"M{left:g} {a}C{middle:g} {a} {middle:g} {b} {right:g} {b}"
    return f"{there}V{c}C{middle:g} {c} {middle:g} {d} {left:g} {d}Z"


# --- in a table -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TableRow:
    """A value with the number of its guesses in each vote."""

    text: str
    near: bool
    first: int
    second: int


def table(scale: VoteScale, answer: Answer, guesses: Guesses) -> tuple[TableRow, ...]:
    """Every value that somebody guessed."""
    first, second = (counted(scale, guesses.of(vote)) for vote in (1, 2))
    return tuple(
        TableRow(column.text, near, one, two)
        for column, near, one, two in zip(scale.columns, answer.near, first, second, strict=True)
        if one or two
    )
