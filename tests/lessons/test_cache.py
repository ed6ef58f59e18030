"""FIG.06B: the recorded divergences are those of the code, the memory is FIG.06's, every state is true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lessons.catalogue import load_lesson
from lessons.quantization import sources
from lessons.quantization.figures import fit
from lessons.quantization.figures.cache import CONTEXT, FIGURE, MODEL, SAME, UNQUANTIZED, Controls, compute
from lessons.quantization.measuring import tiny_model
from quant_core.llm.evaluate import Windows
from quant_core.llm.kv_cache import CacheRounding
from quant_core.memory import CACHE_TYPES
from scripts import record_kv_cache
from scripts.recording import code_of

TEXT = load_lesson("quantization").texts["cache"]
ROWS = sources.kv_cache()


def test_the_measurement_is_of_this_code() -> None:
    """Fails after a change to the code that it depends on: run `make caches`."""
    assert sources.kv_cache_conditions()["code"] == code_of(record_kv_cache.COUNTED), (
        "data/kv_cache.json is stale"
    )


def test_a_sample_of_the_measurement_is_measured_again() -> None:
    text = record_kv_cache.text_of_tiny_model()
    assert sources.kv_cache_conditions()["predictions"] == text.targets.size
    pairs = [CacheRounding("q4_0", "f32", rotate) for rotate in (False, True)]
    pairs.append(CacheRounding("iq4_nl", "q5_1"))
    for row in record_kv_cache.measure(tiny_model(), text, pairs):
        recorded = ROWS[row["cache_type_k"], row["cache_type_v"], row["rotate"]]
        assert recorded.divergence == pytest.approx(row["divergence"], rel=0.01)
        assert recorded.agreement == pytest.approx(row["agreement"], abs=0.001)
    few = Windows(text.tokens[:8], text.first)
    found = record_kv_cache.channels(tiny_model(), few)
    for name, sizes in sources.kv_cache_conditions()["channels"].items():
        np.testing.assert_allclose(found[name], sizes, rtol=0.35)


def test_rows_are_complete_and_more_bits_cost_less() -> None:
    assert len(ROWS) == 2 * len(CACHE_TYPES) ** 2
    for rotate in (False, True):
        for part in (0, 1):
            pairs = [("f32", name) if part else (name, "f32") for name in ("f16", "q8_0", "q5_0", "q4_0")]
            costs = [ROWS[key, value, rotate].divergence for key, value in pairs]
            assert costs == sorted(costs)
    for key in UNQUANTIZED:
        for value in UNQUANTIZED:
            plain = ROWS[key, value, False]
            assert ROWS[key, value, True] == plain.model_copy(update={"rotate": True})


def test_what_the_page_says_holds() -> None:
    """Keys mind more as they are, for every 4-bit and 5-bit type; rotation mends them."""
    for name in ("q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"):
        keys, values = (ROWS[pair].divergence for pair in ((name, "f32", False), ("f32", name, False)))
        assert keys > 1.3 * values
        assert ROWS[name, "f32", True].divergence < 0.6 * keys
    result, turned = compute(Controls()), compute(Controls(rotate=True))
    assert result.keys_loudest > 3 * turned.values_loudest > 3
    assert turned.keys_loudest < 2


def test_memory_is_that_of_fig_06() -> None:
    for cache_type in fit.Controls.widgets()["cache_type"].options:  # type: ignore[union-attr]
        shown = fit.compute(fit.Controls(cache_type=cache_type))
        assert compute(Controls(key=cache_type, value=cache_type)).size == shown.chosen.need.cache
    assert compute(Controls(key="f16", value="f16")).share == 1
    usual = fit.Controls()
    assert (usual.model, int(usual.context)) == (MODEL, CONTEXT)
    assert f"{CONTEXT} tokens" in TEXT.note("size")


def test_every_state_says_what_was_measured() -> None:
    for controls in Controls.every():
        result, view = compute(controls), FIGURE.view(controls)
        finding = TEXT.sentence(view.description[0])
        quantized = [part not in UNQUANTIZED for part in (controls.key, controls.value)]
        assert view.readouts[0].text in finding
        assert ("otated" in finding) == (controls.rotate and any(quantized))
        assert bool(view.limits) == (not any(quantized))
        marks = {line["name"]: line for line in view.drawing["lines"]}
        for name, value in (
            ("both", result.divergence),
            ("keys", result.keys_divergence),
            ("values", result.values_divergence),
        ):
            at = float(marks[name]["at"].rstrip("%"))
            assert at == pytest.approx(25 * (np.log10(max(value, 1e-5)) + 5), abs=0.02)
        if all(quantized):
            ratio = max(result.keys_divergence, result.values_divergence) / min(
                result.keys_divergence, result.values_divergence
            )
            keys_first = finding.index("keys in") < finding.index("values in")
            if ratio < SAME:
                assert "about what" in finding
                assert "×" not in finding
            else:
                assert f"cost {ratio:.{1 if ratio < 9.95 else 0}f}× what" in finding
                assert keys_first == (result.keys_divergence > result.values_divergence)
            # Rounding both costs about what the two cost alone.
            assert result.divergence == pytest.approx(
                result.keys_divergence + result.values_divergence, rel=0.2
            )
        for line in view.drawing["lines"]:
            assert (line["ghost"] == "") == (
                not any(quantized if line["name"] == "both" else [quantized[line["name"] == "values"]])
            )


def test_a_rotated_row_of_the_table_is_of_the_chosen_switch() -> None:
    for rotate in (False, True):
        table = FIGURE.view(Controls(rotate=rotate)).table
        assert len(table.rows) == len(CACHE_TYPES) ** 2
        row = next(row for row in table.rows if row[:2] == ("q4_0", "f32"))
        assert row[3] == ROWS["q4_0", "f32", rotate].divergence
    assert replace(CacheRounding("q4_0"), rotate=False).key_rotation(64) == 0
