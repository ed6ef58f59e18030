"""Measured here: bits per weight and perplexity of every format on the small model."""

import math

from lessons.kit.still import WIDTH, height_of
from lessons.quantization.measuring import TRAINED_FOR
from lessons.quantization.sources import measured

MOST_BITS = 9


def still() -> list[tuple[float, float]]:
    """Places of the formats: bits per weight from left to right, perplexity upwards on a logarithm."""
    rows = [row for row in measured() if row.bits_per_weight <= MOST_BITS and row.name not in TRAINED_FOR]
    levels = [math.log(row.perplexity) for row in rows]
    return [
        (round(row.bits_per_weight / MOST_BITS * WIDTH, 1), height_of(level, min(levels), max(levels)))
        for row, level in zip(rows, levels, strict=True)
    ]
