"""The Walsh-Hadamard transform: llama.cpp's matrix, its properties, and what it does to real outliers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quant_core.methods.hadamard import Rotation, random_rotation, rotate, transform
from quant_core.methods.metrics import relative_output_error
from quant_core.methods.smoothquant import smoothing_factors

SIZES = st.sampled_from([1, 2, 8, 64, 128, 384, 576])
SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int, rows: int, columns: int) -> NDArray[np.float64]:
    """Numbers with a long tail, as activations have."""
    return np.random.default_rng(seed).standard_t(2, (rows, columns))


def matrix_of_llama_cpp(n: int) -> NDArray[np.float32]:
    """`ggml_gen_hadamard`: each quadrant is a copy of the first, the last with the other sign."""
    h = np.zeros((n, n), np.float32)
    h[0, 0] = 1 / np.sqrt(np.float32(n))
    s = 1
    while s < n:
        corner = h[:s, :s]
        h[s : 2 * s, :s] = h[:s, s : 2 * s] = corner
        h[s : 2 * s, s : 2 * s] = -corner
        s *= 2
    return h


@pytest.mark.parametrize("n", [1, 2, 4, 64, 256])
def test_it_is_the_matrix_of_llama_cpp(n: int) -> None:
    assert np.array_equal(transform(np.eye(n, dtype=np.float32)), matrix_of_llama_cpp(n))


def test_other_widths_are_rotated_in_blocks() -> None:
    x = drawn(0, 3, 384)
    expected = np.concatenate([transform(part) for part in np.split(x, 3, axis=1)], axis=1)
    assert np.array_equal(transform(x), expected)
    assert np.array_equal(transform(x, 64)[:, 64:128], transform(x[:, 64:128]))


@settings(max_examples=40)
@given(seed=SEEDS, columns=SIZES)
def test_norm_is_kept_and_it_is_its_own_inverse(seed: int, columns: int) -> None:
    x = drawn(seed, 4, columns)
    turned = transform(x)
    assert np.linalg.norm(turned, axis=1) == pytest.approx(np.linalg.norm(x, axis=1), rel=1e-12)
    assert np.allclose(transform(turned), x, rtol=0, atol=1e-12 * np.abs(x).max())


@settings(max_examples=40)
@given(seed=SEEDS, columns=SIZES, channel=st.integers(0, 575), scale=st.floats(1e-3, 1e3))
def test_one_outlier_becomes_flat(seed: int, columns: int, channel: int, scale: float) -> None:
    unit = np.zeros(columns)
    unit[channel % columns] = scale
    rotation = random_rotation(columns, seed)
    flat = np.abs(rotation.apply(unit).reshape(-1, rotation.block_size))
    block = channel % columns // rotation.block_size
    assert flat[block] == pytest.approx(scale / np.sqrt(rotation.block_size), rel=1e-12)
    assert not np.delete(flat, block, axis=0).any()


@settings(max_examples=40)
@given(seed=SEEDS, columns=SIZES, block=st.sampled_from([None, 1]))
def test_the_output_of_a_layer_is_kept(seed: int, columns: int, block: int | None) -> None:
    w, x = drawn(seed, 5, columns), drawn(seed ^ 1, 7, columns)
    layer = rotate(w, x, seed, block)
    bound = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(w, axis=1)
    assert (np.abs(layer.activations @ layer.weights.T - x @ w.T) <= 1e-12 * bound).all()
    assert np.allclose(layer.rotation.undo(layer.activations), x, rtol=0, atol=1e-12 * np.abs(x).max())


def test_signs_break_a_regular_pattern() -> None:
    """A constant row goes into one channel without signs, and nowhere in particular with them."""
    constant = np.ones((1, 128))
    assert np.abs(transform(constant)).max() == pytest.approx(np.sqrt(128))
    assert np.abs(random_rotation(128).apply(constant)).max() < 4


def test_the_seed_decides_the_signs() -> None:
    assert np.array_equal(random_rotation(64, 3).signs, random_rotation(64, 3).signs)
    assert not np.array_equal(random_rotation(64, 3).signs, random_rotation(64, 4).signs)
    assert abs(random_rotation(4096).signs.mean()) < 0.05


def test_types_and_input_are_kept() -> None:
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    before = x.copy()
    layer = rotate(x, x)
    assert layer.weights.dtype == layer.activations.dtype == np.float32
    assert transform(x.astype(np.float64)).dtype == np.float64
    transform(x, 1)[0, 0] = 9
    assert np.array_equal(x, before)


def rounded(values: NDArray[Any], bits: int) -> Any:
    """Each row to signed integers of one scale: a token's activations, or an output channel's weights."""
    top = 2 ** (bits - 1) - 1
    scale = np.abs(values).max(axis=1, keepdims=True) / top
    return np.rint(values / scale) * scale


@pytest.mark.parametrize(
    ("bits", "plain", "smooth", "turned"), [(8, 5.4e-4, 7.7e-5, 7.2e-5), (4, 0.131, 0.0259, 0.0248)]
)
def test_the_outlier_channel_of_the_lesson(
    real_blocks: Mapping[str, NDArray[Any]], bits: int, plain: float, smooth: float, turned: float
) -> None:
    """The channel that is 17.9 times the median on the long text is 17.2 times on this one."""
    w, x = (real_blocks[f"minilm.5.ffn_in.{part}"] for part in ("W", "X_test"))
    layer = rotate(w, x)

    def loudest(activations: NDArray[Any]) -> float:
        mean = np.abs(activations).mean(axis=0)
        return float(mean.max() / np.median(mean))

    assert loudest(x) == pytest.approx(17.2, abs=0.05)
    assert loudest(layer.activations) == pytest.approx(1.97, abs=0.02)

    def error(weights: NDArray[Any], activations: NDArray[Any]) -> float:
        output = rounded(activations, bits) @ rounded(weights, bits).T
        return float(((output - x @ w.T) ** 2).sum() / ((x @ w.T) ** 2).sum())

    s = smoothing_factors(real_blocks["minilm.5.ffn_in.X_cal"], w)
    measured = [error(w, x), error(w * s, x / s), error(layer.weights, layer.activations)]
    assert measured == pytest.approx([plain, smooth, turned], rel=0.02)
    assert relative_output_error(layer.activations, layer.weights, layer.weights) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: transform(1.0), r"values have shape \(\)"),
        (lambda: transform(np.ones((2, 0))), r"values have shape \(2, 0\)"),
        (lambda: transform([np.inf, 1]), "NaN or infinite"),
        (
            lambda: transform(np.ones(384), 256),
            "block_size 256 does not fit 384 columns; give a power of two from 1 to 128",
        ),
        (lambda: transform(np.ones(384), 3), "block_size 3 does not fit"),
        (lambda: transform(np.ones(4), 0), "block_size 0 does not fit"),
        (lambda: random_rotation(0), "columns is 0; give at least 1"),
        (lambda: random_rotation(4, -1), "seed is -1; give an integer from 0"),
        (lambda: rotate(np.ones((2, 4)), np.ones((2, 8))), "weights have 4 columns and activations 8"),
        (lambda: random_rotation(8).apply(np.ones(4)), r"shape \(4,\); the rotation is for 8 columns"),
        (lambda: random_rotation(8).undo(np.ones(4)), "the rotation is for 8 columns"),
    ],
)
def test_errors(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_rotation_can_be_made_by_hand() -> None:
    rotation = Rotation(np.array([1, -1], np.float32), 2)
    assert rotation.apply([3.0, 1.0]) == pytest.approx(np.array([2.0, 4.0]) / np.sqrt(2))
