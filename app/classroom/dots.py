"""Where the guesses of a class stand: one dot each, in columns on the question's own scale.

Positions are in units of the drawing. Heights are measured from the axis upwards. Nothing here is random and
nothing follows the data but the size of the dots, so the same guesses always make the same picture.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from app.classroom.judging import percent
from app.classroom.scale import Answer, VoteScale, counted
from app.classroom.states import Guesses

DOTS_FROM = 5
"""Guesses from which dots are shown at once: fewer have names."""

LARGEST, SMALLEST = 28, 6
"""Diameters of a dot on the screen; where the smallest has no room, a dot stands for several guesses."""

FILL = 0.92
"""The share of the room between two columns that the dots of one may take."""

GROUPS = (1, 5, 10, 50, 100, 500, 1000)
"""How many guesses one dot may stand for."""


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
