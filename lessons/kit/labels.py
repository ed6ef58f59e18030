"""Labels beside the marks of a chart: which side each takes, and which only a wide screen has room for.

Greedy, in the order given: a label takes the first side on which it touches neither a mark nor a label that
is already there. One that fits nowhere is left out; the table under the chart names every mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

CHARACTER = 7.3
"""Width of a character of the label face, 12 px mono, in CSS pixels."""

MARK = 7.0
GAP = 10.0
HALF_LINE = 7.0

Side = Literal["right", "left", "top", "bottom"]
SIDES: tuple[Side, ...] = ("right", "left", "top", "bottom")
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Label:
    """A mark and the text that belongs beside it; a mark without text only takes its place.

    `x` is a share of the plot's width (0 to 1), `y` is in pixels; `bar` holds the ends of an error bar.
    """

    key: str
    text: str
    x: float
    y: float
    bar: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class LabelPlace:
    """Where a label goes; `minor` when a narrow screen has no room for it."""

    side: Side
    minor: bool


@dataclass(frozen=True, slots=True)
class LabelArea:
    """The plot in pixels: two widths, one height, and the rules across it, which labels avoid.

    `upright` holds x as a share of the width, `level` holds y in pixels. `captions` are texts that end at the
    right edge, whatever stands there, `starts` such that begin at the left one: their number of characters,
    and y. `strict`: a label that would cross a rule is left out, but for the first.
    """

    wide: float
    narrow: float
    height: float
    upright: tuple[float, ...] = ()
    level: tuple[float, ...] = ()
    captions: tuple[tuple[int, float], ...] = ()
    starts: tuple[tuple[int, float], ...] = ()
    strict: bool = False


def place(labels: Sequence[Label], plot: LabelArea) -> dict[str, LabelPlace]:
    """Sides for the labels that fit, most important first.

    Sides are settled for the narrow plot: marks only move apart as it widens, so they stay free on the wide
    one, where the labels that found no room are tried again.
    """
    placed: dict[str, LabelPlace] = {}
    for width, minor in ((plot.narrow, False), (plot.wide, True)):
        rules = [(x * width - 1, x * width + 1, 0.0, plot.height) for x in plot.upright]
        rules += [(0.0, width, y - 1, y + 1) for y in plot.level]
        marks = [_mark(label, width) for label in labels]
        taken = [(width - CHARACTER * n, width, y - HALF_LINE, y + HALF_LINE) for n, y in plot.captions]
        taken += [(0.0, GAP + CHARACTER * n, y - HALF_LINE, y + HALF_LINE) for n, y in plot.starts]
        taken += [_box(label, placed[label.key].side, width) for label in labels if label.key in placed]
        for index, label in enumerate(labels):
            others = marks[:index] + marks[index + 1 :] + taken
            settled = not label.text or label.key in placed
            if settled:
                continue
            side = _free_side(label, width, plot.height, others + rules)
            if side is None and not (plot.strict and index):
                side = _free_side(label, width, plot.height, others)
            if side is not None:
                placed[label.key] = LabelPlace(side, minor)
                taken.append(_box(label, side, width))
    return placed


def _free_side(label: Label, width: float, height: float, taken: list[Box]) -> Side | None:
    for side in SIDES:
        if label.bar and side in ("top", "bottom"):
            continue  # the error bar stands there
        box = _box(label, side, width)
        across = box[0] >= -MARK and box[1] <= width + MARK
        upright = box[2] >= -HALF_LINE and box[3] <= height + HALF_LINE
        if across and upright and not any(_touch(box, other) for other in taken):
            return side
    return None


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
