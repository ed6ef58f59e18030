"""A key/value cache of fewer bits: what llama.cpp computes with one, and the rules of its rotation."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from quant_core import ggml
from quant_core.llm.batch import Text, generate_each
from quant_core.llm.evaluate import evaluate, windows
from quant_core.llm.kv_cache import CacheRounding, stored
from quant_core.llm.model import load
from quant_core.memory import CACHE_TYPES
from quant_core.methods.hadamard import transform
from tests.quant_core.model_files import ROOT, WEIGHTS

#: What llama.cpp measured with the same cache types, see tests/data/README.md.
ORACLE = json.loads((ROOT / "tests" / "data" / "kv_cache.json").read_text("utf-8"))
HEADS = np.random.default_rng(3).standard_normal((2, 5, 3, 64)).astype(np.float32)


def test_a_cache_costs_what_it_costs_in_llama_cpp() -> None:
    """Its CPU kernels round queries too. Without that the divergence differs by a few percent."""
    model = load(WEIGHTS)
    tokens = np.load(WEIGHTS.with_name("heldout_tokens.npy"))[: 128 * ORACLE["windows"]]
    text = windows(tokens, 128, first=1)
    assert {row["cache_type_k"] for row in ORACLE["rows"]} == set(CACHE_TYPES)
    for row in ORACLE["rows"]:
        cache = CacheRounding(row["cache_type_k"], row["cache_type_v"], row["rotated"], round_queries=True)
        result = evaluate(replace(model, cached=cache), text, model)
        assert result.perplexity == pytest.approx(row["perplexity"], rel=1e-3), row
        assert result.divergence == pytest.approx(row["divergence"], rel=0.01, abs=1e-6), row
        if row["cache_type_k"] in ("q4_0", "q4_1"):
            plain = evaluate(replace(model, cached=replace(cache, round_queries=False)), text, model)
            assert plain.divergence == pytest.approx(row["divergence"], rel=0.05), row


def test_only_quantized_heads_of_64_or_a_multiple_are_rotated() -> None:
    for head_dim, key, value in ((64, 64, 64), (128, 128, 64), (192, 64, 64), (80, 0, 0), (32, 0, 0)):
        for cache_type in CACHE_TYPES:
            cache = CacheRounding(cache_type, cache_type)
            expected = (key, value) if ggml.FORMATS[cache_type.upper()].block_size > 1 else (0, 0)
            assert (cache.key_rotation(head_dim), cache.value_rotation(head_dim)) == expected
            off = replace(cache, rotate=False)
            assert (off.key_rotation(head_dim), off.value_rotation(head_dim)) == (0, 0)


def test_rotated_products_are_those_of_rotated_queries_and_keys() -> None:
    query, key, value = CacheRounding("q4_0", "q5_1")(HEADS, HEADS, HEADS)
    assert query is HEADS
    inside = stored(transform(HEADS), "q4_0")
    np.testing.assert_allclose(
        np.vecdot(query, key), np.vecdot(transform(HEADS), inside), rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(value, transform(stored(transform(HEADS), "q5_1")), atol=1e-6)
    plain = CacheRounding("q4_0", "q5_1", rotate=False)(HEADS, HEADS, HEADS)
    np.testing.assert_array_equal(plain[1], stored(HEADS, "q4_0"))
    assert not np.array_equal(plain[1], key)


def test_iq4_nl_is_written_without_the_search_of_a_file() -> None:
    """quantize_row_iq4_nl_ref, number by number."""
    table = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]
    blocks = HEADS.reshape(-1, 32)
    for block, found in zip(blocks, stored(blocks, "iq4_nl"), strict=True):
        inverse = -127 / float(max(block, key=abs))
        codes = np.array([min(table, key=lambda level: abs(level - inverse * float(x))) for x in block])
        scale = np.float16((block**3 * codes).sum() / (block**2 * codes**2).sum())
        np.testing.assert_allclose(found, np.float32(scale) * codes, rtol=2e-3)
    of_a_file = ggml.dequantize(ggml.quantize(blocks, "IQ4_NL"), "IQ4_NL")
    assert not np.array_equal(of_a_file, stored(blocks, "iq4_nl"))
    assert not stored(np.zeros((1, 32), np.float32), "iq4_nl").any()


def test_types_and_heads_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="cache_type_v is 'q4_k'; choose one of f32, f16"):
        CacheRounding("f16", "q4_k")
    with pytest.raises(ValueError, match="q4_0 has blocks of 32, which do not divide heads of 80; take f16"):
        CacheRounding("q4_0")(*3 * (np.zeros((1, 1, 1, 80), np.float32),))


def test_a_text_read_in_steps_or_in_a_batch_has_the_same_cache() -> None:
    model = replace(load(WEIGHTS), cached=CacheRounding("q4_0", "q4_0"))
    tokens = np.load(WEIGHTS.with_name("heldout_tokens.npy"))[:12].astype(np.int64)
    cache = model.cache()
    parts = [model.logits(part, cache) for part in (tokens[:5], tokens[5:])]
    np.testing.assert_allclose(np.concatenate(parts), model.logits(tokens), atol=1e-3)
    before = model.cache()
    model.logits(tokens[:-1], before)
    made = generate_each(model, [Text(before, int(tokens[-1]), 0)], 8, 0.0, 20)
    assert made[0].tolist() == model.generate(tokens, 8, 0.0).tolist()
