"""FIG.06D: what lies on the card and in RAM, and the time that both take."""

from __future__ import annotations

import random
from typing import Any

import pytest

from lessons.catalogue import load_lesson
from lessons.kit.view import View
from lessons.quantization import sources
from lessons.quantization.figures.fit import USUAL
from lessons.quantization.figures.offload import (
    CARDS,
    FIGURE,
    MODELS,
    MOST_LAYERS,
    RAM,
    Controls,
    compute,
    device,
)
from quant_core import memory

TEXT = load_lesson("quantization").texts["offload"]


def finding(shown: View) -> str:
    return TEXT.sentence(shown.description[0])


def readout(shown: View, name: str) -> Any:
    return next(one for one in shown.readouts if one.name == name)


def test_the_parts_are_those_of_the_library() -> None:
    result = compute(Controls())
    shape = sources.model("llama-3.1-70b").shape
    assert result.split == memory.offload(shape, "Q4_K_M", 61, 8192)
    assert result.fit_layers == 61
    assert result.taken <= result.usable < compute(Controls(layers=62)).taken
    # Together with the embedding, which stays in RAM: the whole file.
    whole = result.split.gpu_weights + result.split.cpu_weights
    assert whole == memory.weight_bytes(shape, "Q4_K_M")
    assert max(sources.model(name).shape.n_layers for name in MODELS) + 1 == MOST_LAYERS


def test_the_time_is_bytes_over_bandwidth() -> None:
    shape = sources.model("llama-3.1-70b").shape
    cache = memory.kv_cache_bytes(shape, 8192)
    read = memory.weight_buffers(shape, "Q4_K_M").gpu + cache
    card = device("rtx-5090").bandwidth
    for ram in RAM:
        nothing, everything = (compute(Controls(layers=layers, ram=ram)) for layers in (0, MOST_LAYERS))
        assert nothing.ram_time == pytest.approx(read / device(ram).bandwidth)
        assert everything.card_time == pytest.approx(read / card)
        assert (nothing.card_time, everything.ram_time) == (0, 0)
        assert (everything.slower, nothing.ram_share, everything.ram_share) == (1, 1, 0)
        assert nothing.slower == pytest.approx(card / device(ram).bandwidth)
    bound = memory.speed_band(shape, "Q4_K_M", card, cache).bound
    assert everything.tokens_per_second == pytest.approx(bound)


def test_every_sentence_is_true() -> None:
    generator = random.Random(4)
    seen = set()
    states = [
        Controls(
            layers=generator.randint(0, MOST_LAYERS),
            card=generator.choice(list(CARDS)),
            mix=generator.choice(USUAL),
            model=generator.choice(list(MODELS)),
            ram=generator.choice(list(RAM)),
        )
        for _ in range(150)
    ]
    states += [Controls(layers=layers) for layers in range(0, MOST_LAYERS + 1, 5)]
    states += [Controls(layers=layers, model="llama-3.1-8b") for layers in (0, 1, 33, 40)]
    for state in states:
        shown, result = FIGURE.view(state), compute(state)
        split, key = result.split, shown.description[0].key
        seen.add(key)
        over = result.taken > result.usable
        assert (key == "over") == over
        assert over == (split.layers > result.fit_layers)
        if not over:
            assert (key == "all") == (split.layers == split.of)
            assert (key == "none") == (split.layers == 0)
        assert (readout(shown, "tokens_per_second").text == "–") == over
        told = [sentence.key for sentence in (*shown.description, *shown.notes)]
        assert ("clamped" in told) == (state.layers > split.of)
        cells = shown.drawing["cells"]
        assert (len(cells), sum(cell["card"] for cell in cells)) == (split.of, split.layers)
        assert len(finding(shown)) <= 170
    assert seen == {"some", "all", "none", "over"}


def test_the_output_goes_to_the_card_first() -> None:
    cells = FIGURE.view(Controls(layers=1)).drawing["cells"]
    assert [cell["card"] for cell in cells] == [False] * 80 + [True]
