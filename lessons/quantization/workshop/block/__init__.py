"""Inside a block: the 144 bytes of a Q4_K super-block."""

from lessons.quantization.figures.xray import Controls, compute

HEADER = 16  # bytes of scales before the codes


def still() -> list[tuple[float, bool]]:
    """Each byte as a share of 255, and whether it belongs to the scales."""
    return [(round(int(byte) / 255, 2), i < HEADER) for i, byte in enumerate(compute(Controls()).before.data)]
