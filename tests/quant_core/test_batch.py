"""Batched texts are continued as separately, bit for bit, and as by `generate`."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quant_core.llm.batch import Text, generate_each
from quant_core.llm.model import Transformer, load
from tests.quant_core.model_files import CONFIG, TINYLM, write_checkpoint
from tests.quant_core.reference_model import VARIANTS

ROOM, COUNT = 40, 8
TOKENS = ([0, 5, 9, 200, 31], [0, 7], [0, *range(100, 138)], [0, 3, 3, 3, 3, 3, 3])


def texts(model: Transformer) -> list[Text]:
    found = []
    for seed, tokens in enumerate(TOKENS):
        cache = model.cache(capacity=len(tokens))
        model.logits(np.array(tokens[:-1]), cache)
        found.append(Text(cache, tokens[-1], seed))
    return found


@pytest.fixture(scope="module")
def tinylm() -> Transformer:
    return load(TINYLM / "model.safetensors")


def test_batched_text_is_continued_as_alone(tinylm: Transformer) -> None:
    each = texts(tinylm)
    alone = [generate_each(tinylm, [text], COUNT, 0.7, ROOM)[0] for text in each]
    for count in range(2, len(each) + 1):
        for order in itertools.permutations(range(len(each)), count):
            made = generate_each(tinylm, [each[i] for i in order], COUNT, 0.7, ROOM)
            np.testing.assert_array_equal(made, [alone[i] for i in order])


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_batch_equals_generate(tinylm: Transformer, temperature: float) -> None:
    made = generate_each(tinylm, texts(tinylm), COUNT, temperature, ROOM)
    for seed, tokens in enumerate(TOKENS):
        single = tinylm.generate(np.array(tokens), COUNT, temperature, seed)
        np.testing.assert_array_equal(made[seed], single)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_every_kind_of_model_is_continued(tmp_path: Path, changes: dict[str, Any]) -> None:
    model = load(write_checkpoint(tmp_path, {**CONFIG, **changes}))
    tokens = np.array([1, 2, 3])
    cache = model.cache(capacity=8)
    model.logits(tokens[:-1], cache)
    made = generate_each(model, [Text(cache, 3, 0)], 4, 0.7, 8)
    np.testing.assert_array_equal(made[0], model.generate(tokens, 4, 0.7, 0))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"texts": []}, "at least one"),
        ({"room": 5}, "at most 5"),
        ({"count": -1}, "count is -1"),
        ({"temperature": -1.0}, "temperature -1"),
    ],
)
def test_invalid_batches_are_refused(tinylm: Transformer, change: Any, problem: str) -> None:
    arguments = {"texts": texts(tinylm), "count": COUNT, "temperature": 0.7, "room": ROOM} | change
    with pytest.raises(ValueError, match=problem):
        generate_each(tinylm, **arguments)
