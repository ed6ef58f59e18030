"""Rotate the outliers away: the channels around the loudest one, before and after."""

from lessons.kit.still import Bar, bars
from lessons.quantization.figures.rotation import Controls, compute

SHOWN = 54


def still() -> dict[str, list[Bar]]:
    """The loudness of neighbouring channels, the loudest in the middle, as they are and rotated."""
    result = compute(Controls())
    first = int(result.plain.loudness.argmax()) - SHOWN // 2
    before, after = (side.loudness[first : first + SHOWN].tolist() for side in (result.plain, result.rotated))
    return {"before": bars(before), "after": bars(after, top=max(before))}
