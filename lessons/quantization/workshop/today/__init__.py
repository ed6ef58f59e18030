"""What to reach for: the bits per weight of the formats that the page speaks of."""

from quant_core.ggml import FORMATS

SHOWN = ("BF16", "Q8_0", "Q6_K", "Q5_K", "Q4_K", "MXFP4", "Q3_K", "Q2_K")


def still() -> list[float]:
    """The bits per weight of some formats of GGUF, as shares of sixteen."""
    return [round(FORMATS[name].bits_per_weight / 16, 3) if name in FORMATS else 1 for name in SHOWN]
