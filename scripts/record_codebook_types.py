"""Record what ggml's codebook types make of the matrices of FIG.07C.

    make codebooks    20 seconds

Their encoders search a codebook for each group of 4 or 8 weights: up to two seconds for a matrix, too long
for a request. Each type is written with the layer's importance matrix, and without one where llama.cpp allows
that. It writes `lessons/quantization/data/codebook_types.json`.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is first imported

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lessons.quantization.figures.methods import LAYERS, by_ggml, errors_of, sample_of  # noqa: E402
from lessons.quantization.sources import DATA, WEIGHTS  # noqa: E402
from quant_core import ggml  # noqa: E402
from scripts.recording import code_of, conditions, write  # noqa: E402

TARGET = DATA / "codebook_types.json"
TYPES = ("IQ3_S", "IQ3_XXS", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S")

COUNTED = (
    "scripts/record_codebook_types.py",
    "quant_core/ggml/codebooks.py",
    "quant_core/ggml/iq.py",
    "quant_core/ggml/iq1_encode.py",
    "quant_core/ggml/iq_encode.py",
    "quant_core/ggml/primitives.py",
    "quant_core/ggml/weighting.py",
    "quant_core/methods/metrics.py",
)
"""The code that decides what is recorded: the formats, their encoders, and both errors."""


def weights() -> str:
    """SHA-256 of the layers, with what flows into them."""
    return hashlib.sha256((WEIGHTS / "real_blocks.safetensors").read_bytes()).hexdigest()


def cases() -> list[tuple[str, str, bool]]:
    """Layer, type, and whether the type is written with an importance matrix."""
    return [
        (layer, name, importance)
        for layer in LAYERS
        for name in TYPES
        for importance in (False, True)
        if importance or not ggml.CODECS[name].needs_importance
    ]


def measure(wanted: Iterable[tuple[str, str, bool]]) -> list[dict[str, Any]]:
    """Both errors of each case, relative and squared, one row for each."""
    rows = []
    for layer, name, importance in wanted:
        sample = sample_of(layer)
        weight_error, output_error = errors_of(sample, by_ggml(name, importance)(sample, 0)[0])
        rows.append(
            {
                "layer": layer,
                "type": name,
                "importance": importance,
                "weight_error": float(f"{weight_error:.6g}"),
                "output_error": float(f"{output_error:.6g}"),
            }
        )
    return rows


def main() -> None:
    """Write the file, one row per line."""
    found = {
        **conditions("Errors of ggml's codebook types on FIG.07C's matrices; written by `make codebooks`."),
        "code": code_of(COUNTED),
        "weights": weights(),
        "rows": measure(cases()),
    }
    write(TARGET, found)


if __name__ == "__main__":
    main()
