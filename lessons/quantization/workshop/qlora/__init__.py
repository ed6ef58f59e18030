"""QLoRA: the output error that an adapter leaves, by its rank."""

from lessons.kit.still import line
from lessons.quantization.figures.qlora import Controls, compute


def still() -> str:
    """The error at every rank, from none on."""
    errors = compute(Controls()).layer.errors
    return line(errors, 0, max(errors))
