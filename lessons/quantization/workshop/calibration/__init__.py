"""What calibration sees: the loudness of the input channels of one layer."""

from lessons.kit.still import Bar, bars
from lessons.quantization.figures.calibration import loudness

SHOWN = 54


def still() -> list[Bar]:
    """Mean |x| of the loudest channels of the main layer, in the order of loudness."""
    return bars(loudness("minilm.5.ffn_in")[:SHOWN].tolist())
