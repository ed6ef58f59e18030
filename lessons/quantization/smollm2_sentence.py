"""A sentence read by SmolLM2-135M at seven widths, where it is installed: FIG.05E on a model that people use.

Rounding 135 million weights and reading the sentence takes seconds for each width, so it is a job: a row for
each width, as FIG.05E draws it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from numpy.typing import NDArray

from lessons.kit.job import Progress, Row
from lessons.quantization import smollm2
from lessons.quantization.measuring import GROUP_SIZE
from lessons.quantization.small_model import WIDTHS, pieces, read_by
from quant_core.arrays import F32
from quant_core.llm import calibrate
from quant_core.llm.bpe import tokenizer_of
from quant_core.llm.model import from_file
from quant_core.methods.rtn import round_to_nearest


def steps(sentence: str, seed: int, known: Sequence[Row] = ()) -> Iterator[Progress]:
    """Read the sentence at the widths that are not known yet.

    A row holds `bits`, the text of the `tokens`, their `losses` in nats, and the `continuation`.

    Raises
    ------
    FileNotFoundError
        If the package is not installed.
    """
    yield Progress(len(known) / len(WIDTHS))
    file = smollm2.opened()
    tokenizer, model = tokenizer_of(file), from_file(file)
    ids = tokenizer.encode(sentence)
    for done, bits in enumerate(WIDTHS[len(known) :], len(known)):
        rounded = model
        if bits != WIDTHS[0]:
            rounding = partial(_to_nearest, bits=bits)
            rounded = model.replaced(calibrate.round_matrices(model, model.matrices, rounding))
        yield Progress((done + 0.5) / len(WIDTHS))
        losses, continuation = read_by(rounded, tokenizer, ids, seed)
        row = {
            "bits": bits,
            "tokens": list(pieces(tokenizer, ids)),
            "losses": losses.tolist(),
            "continuation": continuation,
        }
        yield Progress((done + 1) / len(WIDTHS), row)


def _to_nearest(weights: F32, bits: int) -> NDArray[Any]:
    return round_to_nearest(weights, bits, GROUP_SIZE).dequantize()
