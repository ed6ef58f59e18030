"""FIG.07: factors by hand, consistent panels, and the error by plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lessons.kit.controls import Slider
from lessons.kit.view import View
from lessons.quantization.figures.smooth import (
    ALPHAS,
    FIGURE,
    FORMATS,
    LAYERS,
    OFF,
    SHOWN,
    Controls,
    sweep,
    texts,
)
from lessons.quantization.sources import load_layer
from quant_core.methods import smoothquant

view = FIGURE.view

MAIN, CONTROL, LLM = LAYERS


def readout(shown: View, name: str) -> float:
    return float(next(r.value for r in shown.readouts if r.name == name))


def rows(shown: View) -> NDArray[np.float64]:
    return np.array(shown.table.rows, dtype=float)


def w8a8_error(inputs: NDArray[np.float64], weights: NDArray[np.float64], s: NDArray[np.float64]) -> float:
    """Round both to 8 bits, one scale a row, and multiply: the textbook, in float64."""

    def rounded(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        scale = np.abs(matrix).max(axis=1, keepdims=True) / 127
        snapped: NDArray[np.float64] = np.round(matrix / scale) * scale
        return snapped

    exact = inputs @ weights.T
    return float(np.sum((rounded(inputs / s) @ rounded(weights * s).T - exact) ** 2) / np.sum(exact**2))


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_error_by_plain_arithmetic(layer: str, alpha: float) -> None:
    weights = load_layer(layer).weights.astype(float)
    calibration, held_out = (text.astype(float) for text in texts(layer))
    s = np.abs(calibration).max(axis=0) ** alpha / np.abs(weights).max(axis=0) ** (1 - alpha)
    shown = view(Controls(layer=layer, alpha=alpha))
    assert readout(shown, "output_error") == pytest.approx(w8a8_error(held_out, weights, s), rel=0.01)
    plain = w8a8_error(held_out, weights, np.ones_like(s))
    assert readout(shown, "output_error_plain") == pytest.approx(plain, rel=0.01)
    assert readout(shown, "gain") == pytest.approx(plain / readout(shown, "output_error"), rel=0.01)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("form", FORMATS)
def test_the_first_stop_is_plain_w8a8_and_zero_is_not(layer: str, form: str) -> None:
    off = view(Controls(layer=layer, format=form, alpha=OFF))
    assert readout(off, "output_error") == readout(off, "output_error_plain")
    assert readout(off, "gain") == 1
    assert readout(off, "activation_ratio_smoothed") == readout(off, "activation_ratio")
    table = rows(off)
    assert np.all(table[:, 2] == 1)
    np.testing.assert_array_equal(table[:, [1, 4]], table[:, [3, 5]])
    valley = off.drawing["valley"]
    assert valley["y"] == valley["plain"]
    assert all(mark["length"] == 0 for panel in off.drawing["panels"] for mark in panel["marks"])
    zero = view(Controls(layer=layer, format=form, alpha=0))
    assert readout(zero, "output_error") != readout(off, "output_error")
    alpha = Controls.widgets()["alpha"]
    assert isinstance(alpha, Slider)
    assert (alpha.low, alpha.text(OFF)) == (OFF, "off")


def test_statements_of_the_prose_hold() -> None:
    """5.4×10⁻⁴ without smoothing, and about seven times lower at α = 0.5."""
    shown = view(Controls())
    assert readout(shown, "output_error_plain") == pytest.approx(5.4e-4, abs=0.05e-4)
    assert readout(shown, "gain") == pytest.approx(7, abs=0.5)


def test_equal_shares_make_both_equally_difficult() -> None:
    """At α = 0.5, max|x| / s and max|w| · s are both the square root of max|x| · max|w|."""
    table = rows(view(Controls(alpha=0.5)))
    activation, weight = table[:, 1], table[:, 4]
    np.testing.assert_allclose(table[:, 3], np.sqrt(activation * weight), rtol=1e-5)
    np.testing.assert_allclose(table[:, 5], table[:, 3], rtol=1e-5)


@pytest.mark.parametrize("layer", LAYERS)
def test_at_the_ends_one_side_is_flat(layer: str) -> None:
    at_zero, at_one = view(Controls(layer=layer, alpha=0)), view(Controls(layer=layer, alpha=1))
    assert readout(at_zero, "weight_ratio_smoothed") == pytest.approx(1, rel=1e-5)
    assert readout(at_one, "activation_ratio_smoothed") == pytest.approx(1, rel=1e-5)
    assert readout(at_zero, "activation_ratio_smoothed") == pytest.approx(
        readout(at_one, "weight_ratio_smoothed"), rel=1e-5
    )


@pytest.mark.parametrize("layer", LAYERS)
def test_difficulty_moves_one_way(layer: str) -> None:
    shown = [view(Controls(layer=layer, alpha=alpha)) for alpha in ALPHAS]
    assert np.all(np.diff([readout(each, "activation_ratio_smoothed") for each in shown]) < 0)
    assert np.all(np.diff([readout(each, "weight_ratio_smoothed") for each in shown]) > 0)


@pytest.mark.parametrize("layer", LAYERS)
def test_minimum_is_inside_the_range(layer: str) -> None:
    errors = sweep(layer).errors
    assert 0 < np.argmin(errors) < len(errors) - 1
    assert min(errors) < sweep(layer).plain


def test_alpha_too_small_can_be_worse_than_no_smoothing() -> None:
    """SmolLM2's giant channel also has large weights: at zero it gets louder still."""
    shown = view(Controls(layer=LLM, alpha=0))
    assert readout(shown, "gain") < 1
    assert shown.description[0].key == "higher"


def test_the_control_layer_gains_less() -> None:
    assert readout(view(Controls(layer=CONTROL)), "gain") < readout(view(Controls()), "gain") / 3


@pytest.mark.parametrize("layer", LAYERS)
def test_the_error_is_of_text_that_gave_no_factor(layer: str) -> None:
    calibration, held_out = texts(layer)
    seen = {row.tobytes() for row in calibration}
    assert not any(row.tobytes() in seen for row in held_out)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_output_is_that_of_the_integers_to_the_bit(layer: str) -> None:
    quantized = smoothquant.quantize_w8a8(texts(layer)[1], load_layer(layer).weights, alpha=0.5)
    product = quantized.activation_codes.astype(np.int32) @ quantized.weight_codes.astype(np.int32).T
    expected = product.astype(np.float32) * quantized.activation_scale * quantized.weight_scale.T
    np.testing.assert_array_equal(quantized.output(), expected)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_marks_match_the_table(layer: str, alpha: float) -> None:
    """Sorted by magnitude; both panels have the same scale."""
    shown = view(Controls(layer=layer, alpha=alpha))
    table, s = rows(shown), sweep(layer)
    assert len(table) == SHOWN
    assert np.all(np.diff(table[:, 1]) <= 0)
    assert table[0, 1] == s.activations.max()
    slopes = []
    for panel, before in zip(shown.drawing["panels"], (1, 4), strict=True):
        marks = panel["marks"]
        at = np.array([mark["before"] for mark in marks])
        slopes.append((at[0] - at[-1]) / np.log(table[0, before] / table[-1, before]))
        after = np.array([mark["after"] for mark in marks])
        column = 3 if before == 1 else 5
        expected = slopes[-1] * np.log(table[:, column] / table[0, column])
        assert after - after[0] == pytest.approx(expected, abs=0.3)
        assert np.all(np.concatenate([at, after]) >= 0)
        assert np.all(np.concatenate([at, after]) <= panel["height"])
    assert slopes[0] == pytest.approx(slopes[1], rel=0.02)


def test_alpha_does_not_change_the_axis() -> None:
    ticks = [[panel["ticks"] for panel in view(Controls(alpha=alpha)).drawing["panels"]] for alpha in ALPHAS]
    assert all(each == ticks[0] for each in ticks)


@pytest.mark.parametrize(("kind", "fraction_bits"), [("e4m3", 3), ("e5m2", 2)])
def test_fp8_error_by_plain_rounding(kind: str, fraction_bits: int) -> None:
    """Independent of quant_core.methods.fp8: round each number to so many digits of its own power of two."""
    held_out, weights = texts(MAIN)[1].astype(np.float64), load_layer(MAIN).weights.astype(np.float64)
    top = {"e4m3": 448.0, "e5m2": 57344.0}[kind]
    smallest = {"e4m3": 2.0**-9, "e5m2": 2.0**-16}[kind]

    def rounded(matrix: np.ndarray) -> np.ndarray:
        scale = np.abs(matrix).max(axis=1, keepdims=True) / top
        values = matrix / scale
        exponent = np.floor(np.log2(np.maximum(np.abs(values), smallest)))
        step = np.maximum(2.0 ** (exponent - fraction_bits), smallest)
        result: np.ndarray = np.clip(np.rint(values / step) * step, -top, top) * scale
        return result

    output = held_out @ weights.T
    error = np.sum((rounded(held_out) @ rounded(weights).T - output) ** 2) / np.sum(output**2)
    assert readout(view(Controls(format=kind)), "output_error_plain") == pytest.approx(error, rel=0.01)


def test_fp8_needs_no_smoothing_and_int8_does() -> None:
    gains = {
        form: sweep(MAIN, form).plain / min(sweep(MAIN, form).errors) for form in ("int8", "e4m3", "e5m2")
    }
    assert gains["int8"] > 6
    assert gains["e4m3"] < 1.1
    assert gains["e5m2"] < 1.1


def test_statements_about_fp8_hold() -> None:
    """6.8×10⁻⁴ without smoothing, 6.6×10⁻⁴ with it; smoothed int8 better, plain int8 on SmolLM2 worse."""
    fp8, int8 = sweep(MAIN, "e4m3"), sweep(MAIN)
    assert (round(fp8.plain * 1e4, 1), round(fp8.errors[10] * 1e4, 1)) == (6.8, 6.6)
    assert min(int8.errors) < min(fp8.errors)
    assert sweep(LLM, "e4m3").plain < sweep(LLM).plain
