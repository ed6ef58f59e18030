"""Who moved from the first vote to the second, and the drawing of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast

from app.classroom.scale import Answer, VoteScale
from app.classroom.states import Guesses

Band = Literal["above", "near", "below", "other", "gone"]

LABEL = 2.9
"""The height of a label in the drawing of who moved, in heights of a letter: labels are so far apart."""


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
    """Who moved, as ribbons between the bars of the first guesses (`left`) and of the second (`right`)."""

    width: float
    height: float
    left: float
    right: float
    bar: float
    first: tuple[Node, ...]
    second: tuple[Node, ...]
    ribbons: tuple[Ribbon, ...]


def flow_drawing(found: Moves, text: float) -> FlowDrawing:
    """The drawing of who moved, for letters of the height `text`: all its sizes follow from that."""
    width, total, left, right, bar = (round(size * text, 1) for size in (18.5, 17.5, 4, 10.5, 0.75))
    height, slot = total - 2 * text, LABEL * text
    gap = 0.6 * slot
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
            Ribbon(
                cast(Literal["came", "other", "gone"], kind),
                count,
                _path(left + bar, right, top, foot, thick),
            )
        )
    ribbons.sort(key=lambda ribbon: -ribbon.count)
    return FlowDrawing(width, total, left, right, bar, first, second, tuple(ribbons))


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
