"""Four-bit floats: the levels of MXFP4 and of NVFP4, and the weights of a block between them."""

from lessons.kit.scales import Scale
from lessons.kit.still import WIDTH
from lessons.quantization.figures.fourbit import SIZE, Controls, compute


def still() -> dict[str, list[float]]:
    """Where the weights of a block, the levels of MXFP4 and those of NVFP4's first half lie, in pixels."""
    result = compute(Controls())
    half = SIZE // 2
    top = float(result.mxfp4.levels.max())
    x = Scale((-top, top), (3.0, WIDTH - 3.0))
    return {
        "weights": [round(x(float(w)), 1) for w in result.weights[:half]],
        "mxfp4": sorted({round(x(float(level)), 1) for level in result.mxfp4.levels[0]}),
        "nvfp4": sorted({round(x(float(level)), 1) for level in result.nvfp4.levels[0]}),
    }
