"""SmoothQuant W8A8: against the formulas' reference values, by hand, and what it is for."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quant_core.methods.smoothquant import quantize_w8a8, smoothing_factors

Vectors = Mapping[str, NDArray[Any]]


@pytest.mark.parametrize("alpha", [0.5, 0.75])
def test_equal_to_the_reference(method_vectors: Vectors, alpha: float) -> None:
    layer = quantize_w8a8(method_vectors["X"], method_vectors["W"], alpha)
    assert layer.smoothing == pytest.approx(method_vectors[f"smooth_scale__a{alpha}"], rel=1e-6)
    assert np.array_equal(layer.weight_codes, method_vectors[f"smooth_wq__a{alpha}"])
    assert layer.weight_scale == pytest.approx(method_vectors[f"smooth_ws__a{alpha}"], rel=1e-6)
    assert layer.activation_scale == pytest.approx(method_vectors[f"smooth_xs__a{alpha}"], rel=1e-6)
    if alpha == 0.5:
        # A factor that differs in its last bit moves one code of 98,304 over a rounding edge.
        assert np.count_nonzero(layer.activation_codes != method_vectors["smooth_xq__a0.5"]) <= 2


def test_by_hand() -> None:
    x, w = np.array([[100.0, 1.0], [-50.0, 0.5]]), np.array([[1.0, 0.25], [0.5, -1.0]])
    assert smoothing_factors(x, w) == pytest.approx([10, 1])
    assert smoothing_factors(x, w, 1.0) == pytest.approx([100, 1])
    assert smoothing_factors(x, w, 0.0) == pytest.approx([1, 1])
    layer = quantize_w8a8(x, w)
    # W · s = [[10, 0.25], [5, -1]], X / s = [[10, 1], [-5, 0.5]].
    assert layer.weight_scale.ravel() == pytest.approx([10 / 127, 5 / 127])
    assert layer.weight_codes.tolist() == [[127, 3], [127, -25]]
    assert layer.activation_codes.tolist() == [[127, 13], [-127, 13]]


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), alpha=st.sampled_from([None, 0.0, 0.5, 1.0]))
def test_codes_are_within_half_a_step(seed: int, alpha: float | None) -> None:
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((7, 12)), rng.standard_normal((5, 12))
    layer = quantize_w8a8(x, w, alpha)
    error = layer.weight_codes * layer.weight_scale - w * layer.smoothing
    assert (np.abs(error) <= 0.501 * layer.weight_scale).all()
    error = layer.activation_codes * layer.activation_scale - x / layer.smoothing
    assert (np.abs(error) <= 0.501 * layer.activation_scale).all()
    exact = (layer.activation_codes * layer.activation_scale) @ (layer.weight_codes * layer.weight_scale).T
    assert layer.output() == pytest.approx(exact, rel=1e-4, abs=1e-5)


def test_smoothing_reduces_an_outlier_channel(four_rows: Vectors) -> None:
    x, w = four_rows["X"].copy(), four_rows["W"]
    x[:, 3] *= 50
    exact = x @ w.T
    plain, smooth = (np.linalg.norm(quantize_w8a8(x, w, alpha).output() - exact) for alpha in (None, 0.5))
    assert smooth < plain / 2


def test_zeros() -> None:
    layer = quantize_w8a8(np.zeros((2, 4)), np.zeros((3, 4)))
    assert (layer.output() == 0).all()


def test_errors() -> None:
    with pytest.raises(ValueError, match="activations have 3 columns, weights 4"):
        quantize_w8a8(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"alpha is 1\.5; give a number from 0 to 1"):
        smoothing_factors(np.ones((2, 3)), np.ones((2, 3)), 1.5)
    with pytest.raises(ValueError, match="weights has shape"):
        quantize_w8a8(np.ones((2, 3)), np.ones(3))
    with pytest.raises(ValueError, match="NaN"):
        quantize_w8a8(np.full((2, 3), np.nan), np.ones((2, 3)))
