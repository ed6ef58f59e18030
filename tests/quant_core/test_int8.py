"""LLM.int8(): against bitsandbytes, by hand, and by its properties."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quant_core.methods.int8 import quantize_int8
from quant_core.methods.smoothquant import quantize_w8a8

Vectors = Mapping[str, NDArray[Any]]


def test_equal_to_bitsandbytes(four_rows: Vectors, method_vectors: Vectors) -> None:
    layer = quantize_int8(method_vectors["int8_x"], four_rows["W"])
    assert np.array_equal(layer.outlier_channels, method_vectors["int8_outlier_channels"])
    assert np.array_equal(layer.activation_codes, method_vectors["int8_activation_codes"])
    assert np.array_equal(layer.weight_codes, method_vectors["int8_weight_codes"])
    for scale, largest in ((layer.activation_scale, "activation"), (layer.weight_scale, "weight")):
        assert np.array_equal(scale[:, 0], method_vectors[f"int8_{largest}_absmax"] / np.float32(127))
    # It adds up in float16, whose steps are 0.004 from 4 to 8, the largest output.
    assert layer.output() == pytest.approx(method_vectors["int8_output"].astype(np.float32), abs=0.004)


def test_by_hand() -> None:
    x = np.array([[1.0, 8.0, -2.0], [4.0, 3.0, 0.0]])
    w = np.array([[2.0, 0.5, -1.0]])
    layer = quantize_int8(x, w)
    assert layer.outlier_channels.tolist() == [1]
    # Token 0: its outlier does not count, so 2 is 127. Token 1: 4 is 127, and 3 leaves with its channel.
    assert layer.activation_codes.tolist() == [[64, 0, -127], [127, 0, 0]]
    assert layer.activation_scale[:, 0] == pytest.approx([2 / 127, 4 / 127])
    assert layer.weight_codes.tolist() == [[127, 32, -64]]
    assert layer.outlier_activations.tolist() == [[8.0], [3.0]]
    assert layer.outlier_channels.tolist() == [1]
    assert float(layer.weights[0, 1]) == pytest.approx(32 * 2 / 127)
    regular = np.array([64 * 127 + 127 * 64, 127 * 127]) * np.array([2, 4]) * 2 / 127**2
    expected = regular + np.array([8, 3]) * 32 * 2 / 127
    assert layer.output()[:, 0] == pytest.approx(expected, rel=1e-6)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), threshold=st.sampled_from([0.5, 2.0, 6.0, 1e4]))
def test_the_split(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((7, 24)), rng.standard_normal((5, 24))
    x[:, rng.choice(24, 3)] *= 30
    layer = quantize_int8(x, w, threshold)
    half = x.astype(np.float16).astype(np.float32)
    assert layer.outlier_channels.tolist() == np.flatnonzero((abs(half) >= threshold).any(axis=0)).tolist()
    assert (layer.activation_codes[:, layer.outlier_channels] == 0).all()
    regular = np.delete(half, layer.outlier_channels, axis=1)
    codes = np.delete(layer.activation_codes, layer.outlier_channels, axis=1)
    assert (np.abs(codes * layer.activation_scale - regular) <= 0.502 * layer.activation_scale).all()
    # The product is that with the stored weights, but for the rounding of the regular inputs.
    seen = half.copy()
    seen[:, np.setdiff1d(np.arange(24), layer.outlier_channels)] = codes * layer.activation_scale
    assert layer.output() == pytest.approx(
        seen @ (layer.weight_codes * layer.weight_scale).T, rel=1e-4, abs=1e-3
    )


def test_without_a_threshold_it_is_plain_w8a8(four_rows: Vectors) -> None:
    x, w = four_rows["X"].astype(np.float16), four_rows["W"].astype(np.float16)
    layer, plain = quantize_int8(x, w, threshold=0), quantize_w8a8(x, w, alpha=None)
    assert not len(layer.outlier_channels)
    assert np.abs(layer.activation_codes.astype(int) - plain.activation_codes).max() <= 1
    assert layer.output() == pytest.approx(plain.output(), rel=1e-2, abs=1e-2)


def test_outlier_channels_hurt_plain_int8_only(four_rows: Vectors) -> None:
    x, w = four_rows["X"].copy(), four_rows["W"]
    x[:, [3, 200]] *= 100
    exact = x @ w.T
    split = np.linalg.norm(quantize_int8(x, w).output() - exact)
    plain = np.linalg.norm(quantize_int8(x, w, threshold=0).output() - exact)
    assert split < plain / 3


def test_zeros() -> None:
    layer = quantize_int8(np.zeros((2, 4)), np.zeros((3, 4)))
    assert (layer.output() == 0).all()
    every = quantize_int8(np.full((2, 4), 9.0), np.ones((3, 4)))
    assert every.outlier_channels.tolist() == [0, 1, 2, 3]
    assert every.output() == pytest.approx(36.0)


def test_errors() -> None:
    with pytest.raises(ValueError, match="activations have 3 columns, weights 4"):
        quantize_int8(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="threshold is -1"):
        quantize_int8(np.ones((2, 3)), np.ones((2, 3)), -1)
    with pytest.raises(ValueError, match="threshold is nan"):
        quantize_int8(np.ones((2, 3)), np.ones((2, 3)), float("nan"))
    with pytest.raises(ValueError, match="weights reach 70000, beyond the float16 maximum"):
        quantize_int8(np.ones((2, 3)), np.full((2, 3), 7e4))
    with pytest.raises(ValueError, match="NaN"):
        quantize_int8(np.full((2, 3), np.nan), np.ones((2, 3)))
