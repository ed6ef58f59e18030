"""The same matrix, every method: the ranks by weight error and by output error."""

from lessons.kit.still import HEIGHT
from lessons.quantization.figures.methods import Controls, compute


def still() -> list[tuple[float, float, bool]]:
    """The height of each method by weight error and by output error, and whether it is the best by output."""
    result = compute(Controls())
    step = HEIGHT / len(result.scores)
    return [
        (
            round((i + 0.5) * step, 1),
            round((result.by_output.index(score) + 0.5) * step, 1),
            score.id == result.output_best,
        )
        for i, score in enumerate(result.by_weight)
    ]
