"""Labels beside the marks of a chart: which side each takes, and which only a wide screen has room for.

Greedy, in the order given: a label takes the first side on which it touches neither a mark nor a label that
is already there. One that fits nowhere is left out, but for the first, which covers as little as it can; the
table under the chart names every mark.
"""

from __future__ import annotations

import itertools
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
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Label:
    """A mark and the text that belongs beside it; a mark without text only takes its place.

    `x` is a share of the plot's width (0 to 1), `y` is in pixels; `bar` holds the ends of an error bar.
    `sides` are those to try, the best first.
    """

    key: str
    text: str
    x: float
    y: float
    bar: tuple[float, float] | None = None
    sides: Sequence[Side] = SIDES


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


def place(labels: Sequence[Label], plot: LabelArea) -> dict[str, LabelPlace]:
    """Sides for the labels that fit, most important first; the first has one in any case.

    Sides are settled for the narrow plot: marks only move apart as it widens, so they stay free on the wide
    one, where the labels that found no room are tried again.
    """
    placed: dict[str, LabelPlace] = {}
    if labels and labels[0].text:
        placed[labels[0].key] = LabelPlace(_first_side(labels, plot), minor=False)
    for width, minor in ((plot.narrow, False), (plot.wide, True)):
        rules = _rules(plot, width)
        marks = [_mark(label, width) for label in labels]
        taken = _captions(plot, width)
        taken += [_box(label, placed[label.key].side, width) for label in labels if label.key in placed]
        for index, label in enumerate(labels):
            others = marks[:index] + marks[index + 1 :] + taken
            settled = not label.text or label.key in placed
            if settled:
                continue
            side = _free_side(label, width, plot.height, others + rules)
            if side is None and not plot.strict:
                side = _free_side(label, width, plot.height, others)
            if side is not None:
                placed[label.key] = LabelPlace(side, minor)
                taken.append(_box(label, side, width))
    return placed


def _first_side(labels: Sequence[Label], plot: LabelArea) -> Side:
    """A free side on the narrow plot or else on the wide one; where there is none, it covers what it must."""
    for width in (plot.narrow, plot.wide):
        others = [*(_mark(label, width) for label in labels[1:]), *_captions(plot, width)]
        for taken in (others + _rules(plot, width), others):
            side = _free_side(labels[0], width, plot.height, taken)
            if side is not None:
                return side
    return _least_covering(labels[0], plot.wide, plot.height, others)


def _rules(plot: LabelArea, width: float) -> list[Box]:
    rules = [(x * width - 1, x * width + 1, 0.0, plot.height) for x in plot.upright]
    rules += [(0.0, width, y - 1, y + 1) for y in plot.level]
    for curve in plot.curves:
        for (x0, y0), (x1, y1) in itertools.pairwise(curve):
            parts = 1 + int(max(abs(x1 - x0) * width, abs(y1 - y0)) / CURVE_STEP)
            shares = [i / parts for i in range(parts + 1)]
            rules += [_dot((x0 + t * (x1 - x0)) * width, y0 + t * (y1 - y0)) for t in shares]
    return rules


def _dot(x: float, y: float) -> Box:
    return x - 1, x + 1, y - 1, y + 1


def _captions(plot: LabelArea, width: float) -> list[Box]:
    ends = [(width - CHARACTER * n, width, y - HALF_LINE, y + HALF_LINE) for n, y in plot.captions]
    return ends + [(0.0, GAP + CHARACTER * n, y - HALF_LINE, y + HALF_LINE) for n, y in plot.starts]


def _free_side(label: Label, width: float, height: float, taken: list[Box]) -> Side | None:
    for side in label.sides:
        if label.bar and side in ("top", "bottom"):
            continue  # the error bar stands there
        box = _box(label, side, width)
        if _inside(box, width, height) and not any(_touch(box, other) for other in taken):
            return side
    return None


def _least_covering(label: Label, width: float, height: float, taken: list[Box]) -> Side:
    """The side on which it covers the least of what is there; one inside the plot, where there is one."""

    def covered(side: Side) -> tuple[bool, float]:
        box = _box(label, side, width)
        return not _inside(box, width, height), sum(_common(box, other) for other in taken)

    sides = [side for side in label.sides if not (label.bar and side in ("top", "bottom"))]
    return min(sides, key=covered)


def _inside(box: Box, width: float, height: float) -> bool:
    across = box[0] >= -MARK and box[1] <= width + MARK
    return across and box[2] >= -HALF_LINE and box[3] <= height + HALF_LINE


def _common(a: Box, b: Box) -> float:
    """The area that two boxes share."""
    across, upright = min(a[1], b[1]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[2], b[2])
    return max(across, 0.0) * max(upright, 0.0)


def _box(label: Label, side: Side, width: float) -> Box:
    x, y, length = label.x * width, label.y, CHARACTER * len(label.text)
    if side == "right":
        return x + GAP, x + GAP + length, y - HALF_LINE, y + HALF_LINE
    if side == "left":
        return x - GAP - length, x - GAP, y - HALF_LINE, y + HALF_LINE
    middle = y - GAP - HALF_LINE if side == "top" else y + GAP + HALF_LINE
    return x - length / 2, x + length / 2, middle - HALF_LINE, middle + HALF_LINE


def _mark(label: Label, width: float) -> Box:
    low, high = label.bar or (label.y, label.y)
    x = label.x * width
    return x - MARK, x + MARK, min(low, high, label.y - MARK), max(low, high, label.y + MARK)


def _touch(a: Box, b: Box) -> bool:
    return a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]
