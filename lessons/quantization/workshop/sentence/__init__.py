"""Break a sentence: how much worse each token is predicted at three bits."""

from lessons.kit.still import Bar, bars
from lessons.quantization.figures.sentence import Controls, compute


def still() -> list[Bar]:
    """The rise of each token's loss, from sixteen bits to three; none where it fell."""
    return bars([max(0.0, float(rise)) for rise in compute(Controls()).rises])
