"""Spend the bit budget: what four bits and a half cost each group alone, and the room that it takes."""

from lessons.kit.still import HEIGHT, WIDTH, Bar
from lessons.quantization import maps
from lessons.quantization.figures.budget import priced

TYPE = "Q4_K"


def still() -> list[tuple[Bar, Bar]]:
    """For each group two bars: its share of the weights, and of the divergence."""
    counts, options = maps.elements(), priced()
    costs = {group: options[group][TYPE].error for group in counts}
    most = max(
        *(n / sum(counts.values()) for n in counts.values()),
        *(c / sum(costs.values()) for c in costs.values()),
    )
    step = WIDTH / len(counts)
    pairs = []
    for i, group in enumerate(counts):
        heights = [
            round(share / most * (HEIGHT - 4), 1)
            for share in (counts[group] / sum(counts.values()), costs[group] / sum(costs.values()))
        ]
        at = round(i * step + 4, 1)
        pairs.append(
            (
                Bar(at, round(HEIGHT - heights[0], 1), 16, heights[0]),
                Bar(at + 18, round(HEIGHT - heights[1], 1), 16, heights[1]),
            )
        )
    return pairs
