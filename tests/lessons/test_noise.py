"""FIG.01: the sums against plain matrix products, √n against n, and a share that stays."""

from __future__ import annotations

import numpy as np
import pytest

from lessons.catalogue import load_lesson
from lessons.quantization import sources
from lessons.quantization.figures.noise import FIGURE, HEIGHT, LAYER, LENGTHS, Controls, compute
from quant_core.methods import rtn
from tests.each import each

WHOLE = len(LENGTHS) - 1
TEXT = load_lesson("quantization").texts["noise"]
STATES = list(Controls.every())


def finding(controls: Controls) -> str:
    return TEXT.sentence(FIGURE.view(controls).description[0])


@pytest.mark.parametrize("length", [0, 4, WHOLE])
@pytest.mark.parametrize("bits", ["2", "4"])
def test_the_errors_are_those_of_the_sums(length: int, bits: str) -> None:
    """Rounded and exact outputs of the first n columns, by one matrix product each."""
    n, layer = LENGTHS[length], sources.load_layer(LAYER)
    assert layer.activations_test is not None
    weights, inputs = layer.weights.astype(float)[:, :n], layer.activations_test.astype(float)[:, :n]
    rounded = rtn.round_to_nearest(layer.weights, int(bits), 32).dequantize()[:, :n]
    exact, off = inputs @ weights.T, inputs @ (rounded - weights).T
    result = compute(Controls(length=length, bits=bits))
    assert result.error == pytest.approx(np.sqrt(np.mean(off**2)), rel=1e-6)
    assert result.share == pytest.approx(np.linalg.norm(off) / np.linalg.norm(exact), rel=1e-6)
    one_sign = np.abs(inputs) @ np.abs(rounded - weights).T
    assert result.agreed == pytest.approx(np.sqrt(np.mean(one_sign**2)), rel=1e-6)


def test_the_numbers_of_the_lesson() -> None:
    """Measured independently: 0.0024, 0.0076, 0.029 and 0.056; with one sign 10.3 times as much."""
    results = [compute(Controls(length=LENGTHS.index(n))) for n in (1, 16, 128, 384)]
    assert [result.error for result in results] == pytest.approx([0.0024, 0.0076, 0.029, 0.056], rel=0.02)
    assert results[-1].ratio == pytest.approx(10.3, abs=0.05)
    assert all(0.07 <= result.share <= 0.09 for result in results)


def test_single_product_does_not_cancel() -> None:
    assert compute(Controls(length=0)).ratio == pytest.approx(1)


def test_the_single_sums_end_where_the_row_says() -> None:
    growth = compute(Controls()).growth
    assert np.all(np.abs(growth.walks) <= growth.climbs + 1e-12)
    assert np.all(np.diff(growth.climbs) >= 0)


def test_what_the_default_state_says() -> None:
    assert finding(Controls()) == (
        "Over 384 products the errors add up to 0.0562; if they all had one sign it would be 0.580,"
        " 10.3× as much."
    )


def test_three_controls_and_three_numbers_stand_in_front() -> None:
    assert list(Controls.widgets()) == ["length", "signs", "bits"]
    assert [one.name for one in FIGURE.view(Controls()).readouts[:3]] == ["error", "agreed", "ratio"]


@each("controls", STATES)
def test_the_finding_is_true_in_every_state(controls: Controls) -> None:
    said, shown = finding(controls), {one.name: one.text for one in FIGURE.view(controls).readouts}
    assert len(said) <= 150
    assert shown["error"] in said
    if LENGTHS[controls.length] == 1:
        assert shown["ratio"] == "1.0×"
        assert "nothing to cancel" in said
        return
    assert f"{LENGTHS[controls.length]} products" in said
    assert shown["agreed"] in said
    assert f"{shown['ratio']} " in said
    assert compute(controls).ratio > 1.2
    assert said.startswith("With one sign") == (controls.signs == "one")


@pytest.mark.parametrize("bits", ["2", "3", "4"])
def test_the_share_stays_where_the_strip_says(bits: str) -> None:
    """Its least and most, as printed, hold all lengths; and they are no further apart than 7 and 9 are."""
    controls = Controls(bits=bits)
    said = FIGURE.view(controls).drawing
    least, most = (float(said[name].removesuffix("\u202f%")) / 100 for name in ("least", "most"))
    shares = compute(controls).growth.mixed / compute(controls).growth.output
    assert least - 0.005 <= shares.min() <= shares.max() <= most + 0.005
    assert most / least < 9.5 / 7


@each("controls", STATES)
def test_marks_are_where_the_numbers_say(controls: Controls) -> None:
    drawing, result = FIGURE.view(controls).drawing, compute(controls)
    tick = drawing["y_ticks"][1]
    slope = (tick["at"] - drawing["zero"]) / float(tick["text"])
    assert drawing["agreed_at"] == pytest.approx(drawing["zero"] + slope * result.agreed, abs=0.1)
    assert drawing["mixed_at"] == pytest.approx(drawing["zero"] + slope * result.error, abs=0.1)
    share = drawing["share_ticks"][1]
    slope = (share["at"] - drawing["foot"]) / float(share["text"].removesuffix("\u202f%"))
    assert drawing["share_at"] == pytest.approx(drawing["foot"] + slope * 100 * result.share, abs=0.1)
    labels = [drawing["agreed_label"], drawing["mixed_label"]]
    assert 0 < labels[0] < labels[1] - 40
    assert labels[1] + 17 < HEIGHT - 10
