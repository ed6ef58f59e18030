"""Eight-bit activations: the loudest channels before and after smoothing."""

import numpy as np

from lessons.kit.still import Bar, bars
from lessons.quantization.figures.smooth import Controls, compute, loudest

SHOWN = 36


def still() -> dict[str, list[Bar]]:
    """Largest |x| of the loudest channels over the median channel's: as they come, and smoothed."""
    result = compute(Controls())
    channels = loudest(result.sweep)[:SHOWN]
    before, after = (
        (magnitudes / np.median(magnitudes))[channels].tolist()
        for magnitudes in (result.sweep.activations, result.activations)
    )
    return {"before": bars(before), "after": bars(after, top=max(before))}
