"""Trained for it: the output error that falls with the training, below that of rounding afterwards."""

from lessons.kit.still import line
from lessons.quantization.figures.trained import errors_of


def still() -> dict[str, str]:
    """The error of a layer at three bits: rounded afterwards, and after each length of training."""
    errors = errors_of(3)
    high = 1.15 * errors[0]
    return {
        "after": line([errors[0]] * 2, 0, high),
        "during": line(errors, 0, high),
    }
