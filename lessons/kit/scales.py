"""Scales and ticks for drawings: from values to positions. All axes of the lesson use it.

Horizontal positions are per cent of the drawing's width, so one SVG serves a phone and a desktop with its
text and marks at full size; vertical positions are CSS pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps `domain` to `span`, linearly or by logarithm. `span` may run backwards (an upward y axis)."""

    domain: tuple[float, float]
    span: tuple[float, float] = (0.0, 100.0)
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.domain
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        share = 0.5 if high == low else (value - low) / (high - low)
        return round(self.span[0] + share * (self.span[1] - self.span[0]), 2)

    def percent(self, value: float) -> str:
        """The position as an SVG percentage, to a tenth of a pixel on the widest page.

        >>> Scale((0, 4)).percent(1)
        '25%'
        """
        return f"{round(self(value), 2):g}%"

    def ticks(self, about: int = 5) -> tuple[float, ...]:
        """Round values inside the domain, about as many as asked."""
        low, high = sorted(self.domain)
        return log_ticks(low, high) if self.log else linear_ticks(low, high, about)


def linear_ticks(low: float, high: float, about: int = 5) -> tuple[float, ...]:
    """Multiples of 1, 2 or 5 times a power of ten.

    >>> linear_ticks(0, 1, 5)
    (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """
    if not high > low:
        return (low,)
    rough = (high - low) / max(1, about)
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(round(i * step, 12) + 0.0 for i in range(first, last + 1))


def log_ticks(low: float, high: float) -> tuple[float, ...]:
    """Powers of ten, with 2 and 5 between them where the axis is short.

    >>> log_ticks(6, 120)
    (10.0, 20.0, 50.0, 100.0)
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1,) if len(decades) > 5 else (1, 2, 5)
    values = [m * 10.0**d for d in decades for m in steps]
    return tuple(v for v in values if low * 0.9999 <= v <= high * 1.0001)
