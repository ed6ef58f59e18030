"""Labels beside the marks of a chart: which side each takes, and which only a wide screen has room for.

Greedy, in the order given: a label takes the first side on which it touches neither a mark nor a label that
is already there. One that fits nowhere is left out, but for the first, which covers as little as it can; the
table under the chart names every mark.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

CHARACTER = 7.3
"""Width of a character of the label face, 12 px mono, in CSS pixels."""

MARK = 7.0
GAP = 10.0
HALF_LINE = 7.0
CURVE_STEP = 6.0
"""Pixels between the places at which a curve is looked at."""

Side = Literal["right", "left", "top", "bottom"]
SIDES: tuple[Side, ...] = ("right", "left", "top", "bottom")
WIDEST = 800.0
"""CSS pixels of the widest plot there is."""


@dataclass(frozen=True, slots=True)
class Label:
    """A mark and the text that belongs beside it; a mark without text only takes its place.

    `x` is a share of the plot's width (0 to 1), `y` is in pixels; `bar` holds the ends of an error bar.
    `sides` are those to try, the best first. Of several labels `of` one thing, such as the points of a line
    that could be named at any of them, one is placed.
    """

    key: str
    text: str
    x: float
    y: float
    bar: tuple[float, float] | None = None
    sides: Sequence[Side] = SIDES
    of: str = ""


@dataclass(frozen=True, slots=True)
class LabelPlace:
    """Where a label goes; `minor` when a narrow screen has no room for it."""

    side: Side
    minor: bool


@dataclass(frozen=True, slots=True)
class LabelArea:
    """The plot in pixels: two widths, one height, and the rules across it, which labels avoid.

    `upright` holds x as a share of the width, `level` holds y in pixels; `curves` are lines through points,
    x and y as in a label. `captions` are texts that end at the
    right edge, whatever stands there, `starts` such that begin at the left one: their number of characters,
    and y. `strict`: a label that would cross a rule is left out, but for the first.
    """

    wide: float
    narrow: float
    height: float
    upright: tuple[float, ...] = ()
    level: tuple[float, ...] = ()
    curves: tuple[tuple[tuple[float, float], ...], ...] = ()
    captions: tuple[tuple[int, float], ...] = ()
    starts: tuple[tuple[int, float], ...] = ()
    strict: bool = False


@dataclass(frozen=True, slots=True)
class _Thing:
    """An area that labels must not touch: `x` is a share of the width, `left` and `right` pixels from `x`."""

    x: float
    left: float
    right: float
    top: float
    bottom: float


Widths = tuple[float, float]
"""From the narrowest plot to the widest."""


def place(labels: Sequence[Label], plot: LabelArea) -> dict[str, LabelPlace]:
    """Sides for the labels that fit, most important first; the first has one in any case.

    A side is free where it is so on every plot from the narrow one to the widest. The labels that found no
    room are tried again from the wide one on. What has not been named at any of its labels then may cross a
    rule even on a strict plot.
    """
    rules, marks = _rules(plot), [_mark(label) for label in labels]
    taken = _captions(plot)
    placed: dict[str, LabelPlace] = {}
    named: set[str] = set()
    for narrowest, minor, last in (
        (plot.narrow, False, False),
        (plot.wide, True, False),
        (plot.wide, True, True),
    ):
        widths = (narrowest, WIDEST)
        for index, label in enumerate(labels):
            if not label.text or label.key in placed or label.of in named:
                continue
            others = marks[:index] + marks[index + 1 :] + taken
            side = _free_side(label, widths, plot.height, others + rules)
            if side is None and (not plot.strict or (last and label.of)):
                side = _free_side(label, widths, plot.height, others)
            if side is None and index == 0:
                side = _side_of_first(label, plot, others)
            if side is not None:
                placed[label.key] = LabelPlace(side, minor)
                named |= {label.of} - {""}
                taken.append(_box(label, side))
    return placed


def _side_of_first(label: Label, plot: LabelArea, others: list[_Thing]) -> Side:
    """A side that is free on a wide plot, or the one on which the label covers the least there."""
    free = _free_side(label, (plot.wide, WIDEST), plot.height, others)
    if free is not None:
        return free

    def covered(side: Side) -> tuple[bool, float]:
        box = _box(label, side)
        area = sum(_common(box, other, (plot.wide, plot.wide)) for other in others)
        return not _inside(box, plot.wide, plot.height), area

    return min((side for side in label.sides if not (label.bar and side in ("top", "bottom"))), key=covered)


def _rules(plot: LabelArea) -> list[_Thing]:
    rules = [_Thing(x, -1, 1, 0.0, plot.height) for x in plot.upright]
    rules += [_Thing(0.0, -math.inf, math.inf, y - 1, y + 1) for y in plot.level]
    for curve in plot.curves:
        for (x0, y0), (x1, y1) in itertools.pairwise(curve):
            parts = 1 + int(max(abs(x1 - x0) * plot.wide, abs(y1 - y0)) / CURVE_STEP)
            shares = [i / parts for i in range(parts + 1)]
            places = [(x0 + t * (x1 - x0), y0 + t * (y1 - y0)) for t in shares]
            rules += [_Thing(x, -1, 1, y - 1, y + 1) for x, y in places]
    return rules


def _captions(plot: LabelArea) -> list[_Thing]:
    ends = [_Thing(1.0, -CHARACTER * n, 0.0, y - HALF_LINE, y + HALF_LINE) for n, y in plot.captions]
    starts = [_Thing(0.0, 0.0, GAP + CHARACTER * n, y - HALF_LINE, y + HALF_LINE) for n, y in plot.starts]
    return ends + starts


def _free_side(label: Label, widths: Widths, height: float, taken: list[_Thing]) -> Side | None:
    for side in label.sides:
        if label.bar and side in ("top", "bottom"):
            continue  # the error bar stands there
        box = _box(label, side)
        if _inside(box, widths[0], height) and not any(_common(box, other, widths) for other in taken):
            return side
    return None


def _inside(box: _Thing, width: float, height: float) -> bool:
    across = box.x * width + box.left >= -MARK and box.x * width + box.right <= width + MARK
    return across and box.top >= -HALF_LINE and box.bottom <= height + HALF_LINE


def _common(box: _Thing, other: _Thing, widths: Widths) -> float:
    """The area that two share on some plot of these widths: what lies beside the other moves as it widens."""
    upright = min(box.bottom, other.bottom) - max(box.top, other.top)
    if upright <= 0:
        return 0.0
    ways = [(other.x - box.x) * width for width in widths]
    across = min(box.right, max(ways) + other.right) - max(box.left, min(ways) + other.left)
    return max(across, 0.0) * upright


def _box(label: Label, side: Side) -> _Thing:
    y, length = label.y, CHARACTER * len(label.text)
    if side == "right":
        return _Thing(label.x, GAP, GAP + length, y - HALF_LINE, y + HALF_LINE)
    if side == "left":
        return _Thing(label.x, -GAP - length, -GAP, y - HALF_LINE, y + HALF_LINE)
    middle = y - GAP - HALF_LINE if side == "top" else y + GAP + HALF_LINE
    return _Thing(label.x, -length / 2, length / 2, middle - HALF_LINE, middle + HALF_LINE)


def _mark(label: Label) -> _Thing:
    low, high = label.bar or (label.y, label.y)
    return _Thing(label.x, -MARK, MARK, min(low, high, label.y - MARK), max(low, high, label.y + MARK))
