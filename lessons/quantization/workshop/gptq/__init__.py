"""GPTQ, column by column: the running output error beside that of plain rounding."""

from lessons.kit.still import line
from lessons.quantization.figures.gptq import Controls, compute


def still() -> dict[str, str]:
    """The output error after each column, of plain rounding and of GPTQ."""
    run = compute(Controls()).run
    high = float(run.rtn.max())
    return {"rtn": line(run.rtn.tolist(), 0, high), "gptq": line(run.running.tolist(), 0, high)}
