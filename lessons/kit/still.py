"""Shapes for the stills of workshop pages: small pictures of a fixed size, drawn from real numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 216, 96
"""Of every still, in pixels."""


class Bar(NamedTuple):
    """A rectangle, in pixels."""

    x: float
    y: float
    width: float
    height: float


def bars(values: Sequence[float], top: float | None = None, gap: float = 1) -> list[Bar]:
    """One bar for each value, standing on the lower edge; the highest value, or `top`, fills the height."""
    reach, step = max(values) if top is None else top, WIDTH / len(values)
    heights = [round(min(1, value / reach) * (HEIGHT - 2), 1) for value in values]
    return [
        Bar(round(i * step, 1), round(HEIGHT - height, 1), round(step - gap, 1), height)
        for i, height in enumerate(heights)
    ]


def line(values: Sequence[float], low: float, high: float) -> str:
    """The points of a polyline through values at equal distances; `low` is the lower edge of the still."""
    step = (WIDTH - 8) / (len(values) - 1)
    return " ".join(f"{4 + i * step:.1f},{height_of(value, low, high):.1f}" for i, value in enumerate(values))


def height_of(value: float, low: float, high: float) -> float:
    """Where a value stands, in pixels from the upper edge."""
    return round(HEIGHT - 4 - (value - low) / (high - low) * (HEIGHT - 8), 1)
