"""The roofline: INT4 above F16 while memory is the limit, and on the same roof afterwards."""

import math

from lessons.kit.still import line
from lessons.quantization.figures.speed import Controls, compute


def still() -> dict[str, str]:
    """The bounds of F16 and INT4 by tokens at once, both in logarithms."""
    bounds = compute(Controls()).bounds
    logs = {name: [math.log(bound) for bound in bounds[name]] for name in ("f16", "int4")}
    low, high = min(logs["f16"]), max(logs["f16"]) + 0.4
    return {name: line(values, low, high) for name, values in logs.items()}
