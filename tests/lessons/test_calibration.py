"""FIG.04B: loud channels, and how much and which text calibration needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lessons.catalogue import load_lesson
from lessons.kit.view import View
from lessons.quantization import sources
from lessons.quantization.figures import awq as awq_figure
from lessons.quantization.figures.calibration import (
    ALL_TOKENS,
    FIGURE,
    LAYER,
    TOKENS,
    Controls,
    gains,
    loudness,
)
from quant_core.methods import awq
from quant_core.methods.rtn import round_to_nearest

TEXT = load_lesson("quantization").texts["calibration"]


def view(**controls: str) -> View:
    return FIGURE.view(Controls.parse(list(controls.items())))


def words(shown: View) -> str:
    return " ".join(TEXT.sentence(sentence) for sentence in (*shown.description, *shown.notes))


def finding(shown: View) -> str:
    return TEXT.sentence(shown.description[0])


def test_the_finding_is_true_and_short_in_every_state() -> None:
    for state in Controls.every():
        shown = FIGURE.view(state)
        said = finding(shown)
        values: dict[str, Any] = {readout.name: readout.value for readout in shown.readouts}
        assert len(said) <= 150
        assert len(shown.readouts) >= 3
        if state.question == "channels":
            assert f"{values['loudest_0']:.1f}×" in said
            assert f"only {values['loudest_3']:.1f}×" in said
        elif state.question == "kept":
            assert (
                f"At {state.bits} bits, keep 4 of 384 channels: {100 * values['kept_activation']:.0f}" in said
            )
        elif state.question == "amount":
            assert "from 1024 on GPTQ is ahead" in said
            assert values["awq_few"] > values["gptq_few"]
            assert values["gptq_all"] > values["awq_all"]
        elif state.method == "gptq":
            assert values["same"] < values["rtn"]
            assert "after 256 it is worse than none" in said
        else:
            assert values["same"] >= values["rtn"]
            assert said.startswith("AWQ gains nothing from The Tempest here")


def test_every_line_has_its_name_in_the_plot() -> None:
    for question in ("channels", "kept", "amount", "domain"):
        chart = view(question=question).chart
        assert chart is not None
        lines = [series for series in chart.series if series.kind != "points"]
        assert len(lines) >= 2
        assert all(series.named and series.name in TEXT.words for series in lines)
        spec = chart.plotly(TEXT.words)
        texts = {text for trace in spec["data"] for text in trace.get("text", ()) if text}
        assert texts == {TEXT.words[series.name] for series in lines}


def test_both_methods_have_one_scale_of_perplexity() -> None:
    charts = [view(question="domain", method=method).chart for method in ("gptq", "awq")]
    assert charts[0]
    assert charts[1]
    assert charts[0].y == charts[1].y
    ticks = [text for _, text in charts[0].y.ticks]
    assert len(set(ticks)) == len(ticks)


def test_loudest_channel_matches_the_prose() -> None:
    layer = sources.load_layer(LAYER)
    assert layer.mean_abs is not None
    assert loudness(LAYER)[0] == pytest.approx(float(layer.mean_abs.max() / np.median(layer.mean_abs)))
    assert loudness(LAYER)[0] == pytest.approx(17.9, abs=0.05)
    assert loudness("tinylm")[0] < loudness("minilm.1.query")[0] < loudness(LAYER)[0]


@pytest.mark.parametrize("bits", ["4", "3", "2"])
def test_keeping_loud_channels_helps_and_large_weights_does_not(bits: str) -> None:
    shown = view(question="kept", bits=bits)
    values = {readout.name: readout.value for readout in shown.readouts}
    layer = sources.load_layer(LAYER)
    assert layer.mean_abs is not None
    assert layer.activations_test is not None
    inputs, weights = layer.activations_test.astype(np.float64), layer.weights.astype(np.float64)

    def error(approximation: NDArray[Any]) -> float:
        return float(((inputs @ (weights - approximation).T) ** 2).sum())

    size = awq_figure.GROUP_SIZES[LAYER]
    by_hand = awq.keep_channels(layer.weights, layer.mean_abs, int(bits), size, awq_figure.KEEP)
    plain = round_to_nearest(layer.weights, int(bits), size).dequantize()
    assert values["kept_activation"] == pytest.approx(error(by_hand.dequantized) / error(plain), rel=1e-6)
    assert float(values["kept_activation"]) < 0.65
    assert min(float(values["kept_weight"]), float(values["kept_random"])) > 0.97
    assert values["kept_activation"] == awq_figure.sweep(LAYER, int(bits)).kept["activation"]


def test_kept_channels_match_the_measurement() -> None:
    assert f"{sources.measured_row('keep-activation-3-g64').perplexity:.2f}" in words(view(question="kept"))


def test_gptq_overfits_few_tokens_and_awq_does_not() -> None:
    """The weights' description: with 256 tokens 1.28 and 1.80, with all of them 2.5 and 1.78."""
    found = {name: dict(zip((*TOKENS, ALL_TOKENS), values, strict=True)) for name, values in gains(3).items()}
    assert found["gptq"][256] == pytest.approx(1.28, abs=0.01)
    assert found["awq"][256] == pytest.approx(1.80, abs=0.01)
    assert found["gptq"][ALL_TOKENS] == pytest.approx(2.45, abs=0.07)
    assert found["awq"][ALL_TOKENS] == pytest.approx(1.78, abs=0.01)


@pytest.mark.parametrize("bits", ["4", "3", "2"])
def test_crossing_is_where_gptq_becomes_better(bits: str) -> None:
    shown = view(question="amount", bits=bits)
    values = {readout.name: readout.value for readout in shown.readouts}
    found = gains(int(bits))
    pairs = zip((*TOKENS, ALL_TOKENS), found["gptq"], found["awq"], strict=True)
    leads = [tokens for tokens, one, other in pairs if one > 1.01 * other]
    assert values["crossing"] == leads[0] == 1024
    assert "cannot show" in words(shown)


def test_small_model_calibration_matches_the_measurement() -> None:
    for method in ("gptq", "awq"):
        shown = view(question="domain", method=method)
        rows = {
            (row.source, row.tokens): row for row in sources.measured_calibration() if row.method == method
        }
        values = {readout.name: readout.value for readout in shown.readouts}
        assert values["same"] == rows["play", 4096].perplexity
        assert values["other"] == rows["bible", 4096].perplexity
        assert shown.chart
        drawn = {(series.name, point.x): point.y for series in shown.chart.series for point in series.points}
        assert drawn == {key: row.perplexity for key, row in rows.items()}
