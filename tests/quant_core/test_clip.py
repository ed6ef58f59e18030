"""The clip search: against the reference, by its definition, and by its properties."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quant_core.methods import awq, clip
from quant_core.methods.rtn import round_to_nearest

Vectors = Mapping[str, NDArray[Any]]


@pytest.mark.parametrize(("bits", "size", "tokens"), [(4, 128, 256), (3, 128, 256), (3, 384, 128)])
def test_limits_equal_llm_awq(
    four_rows: Vectors, method_vectors: Vectors, bits: int, size: int, tokens: int
) -> None:
    result = clip.search(four_rows["W"], four_rows["X"], bits, size, tokens=tokens)
    assert np.array_equal(result.limit, method_vectors[f"clip_limit__w{bits}_g{size}_n{tokens}"])


def layer(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    w = rng.standard_t(3, (6, 32)).astype(np.float32)
    return w, rng.standard_normal((40, 32)).astype(np.float32) * rng.uniform(0.1, 3, 32).astype(np.float32)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), bits=st.integers(2, 5), size=st.sampled_from([8, 16, 32]))
def test_losses_are_errors_of_the_output(seed: int, bits: int, size: int) -> None:
    w, x = layer(seed)
    result = clip.search(w, x, bits, size)
    assert result.shares == pytest.approx(1 - np.arange(10) / 20)
    by_group = x.astype(float).reshape(40, -1, size)
    for share, losses in zip(result.shares, result.losses, strict=True):
        limit = np.abs(w).reshape(6, -1, size).max(axis=-1) * np.float32(share)
        error = round_to_nearest(clip.apply(w, limit), bits, size).dequantize().astype(float) - w
        output = np.einsum("tgi,rgi->trg", by_group, error.reshape(6, -1, size))
        assert losses == pytest.approx((output**2).mean(axis=0), rel=1e-6, abs=1e-12)
    chosen = result.losses.argmin(axis=0)
    largest = np.abs(w).reshape(6, -1, size).max(axis=-1)
    assert np.array_equal(result.limit, largest * result.shares[chosen].astype(np.float32))
    assert np.array_equal(result.quantized.dequantize(), rtn_of(w, result, bits, size))


def rtn_of(w: np.ndarray, result: clip.ClipResult, bits: int, size: int) -> NDArray[Any]:
    groups = w.reshape(6, -1, size)
    clipped = np.clip(groups, -result.limit[..., None], result.limit[..., None]).reshape(w.shape)
    return round_to_nearest(clipped, bits, size).dequantize()


def test_statistics_are_all_that_the_search_needs(four_rows: Vectors) -> None:
    w, x = four_rows["W"], four_rows["X"].astype(float)
    from_x = clip.search(w, x, 3, 128, tokens=len(x))
    from_statistics = clip.search_statistics(w, x.T @ x / len(x), 3, 128)
    assert np.array_equal(from_statistics.limit, from_x.limit)
    assert from_statistics.losses == pytest.approx(from_x.losses, rel=1e-6)


def test_clipping_lowers_the_error_at_three_bits(four_rows: Vectors) -> None:
    w, x = four_rows["W"], four_rows["X"]
    clipped = clip.search(w, x, 3, 128).quantized.dequantize()
    plain = round_to_nearest(w, 3, 128).dequantize()
    error, plain_error = (np.mean((x @ (w - levels).T) ** 2) for levels in (clipped, plain))
    assert error < 0.9 * plain_error


def test_after_the_scale_search(four_rows: Vectors) -> None:
    """On the scaled weights and inputs, with the scales divided out: better than either alone."""
    w, x = four_rows["W"], four_rows["X"]
    scaled = awq.search(w, x, 3, 128)
    clipped = clip.search(w * scaled.scales, x / scaled.scales, 3, 128)
    both = awq.Scaled(clipped.quantized, scaled.scales).dequantize()
    errors = {
        name: np.mean((x @ (w - levels).T) ** 2)
        for name, levels in {
            "both": both,
            "scales": scaled.dequantized,
            "clip": clip.search(w, x, 3, 128).quantized.dequantize(),
        }.items()
    }
    assert errors["both"] < min(errors["scales"], errors["clip"])


def test_tokens_are_spread_evenly() -> None:
    w, x = layer(0)
    few = clip.search(w, x, 3, 16, tokens=10)
    assert np.array_equal(few.losses, clip.search(w, x[::4], 3, 16).losses)
    assert np.array_equal(clip.search(w, x, 3, 16, tokens=41).losses, clip.search(w, x, 3, 16).losses)


def test_zero_input_keeps_the_whole_range() -> None:
    w = np.array([[1.0, -2.0, 3.0, 0.5], [0.0, 0.0, 0.0, 0.0]])
    result = clip.search(w, np.zeros((3, 4)), 4, None)
    assert (result.losses == 0).all()
    assert result.limit.tolist() == [[3.0], [0.0]]  # of equal losses the widest range


def test_another_grid_of_limits() -> None:
    w, x = layer(1)
    result = clip.search(w, x, 3, 16, grid=4, max_shrink=0.75)
    assert result.shares.tolist() == [1, 0.75, 0.5]
    assert result.losses.shape == (3, 6, 2)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (clip.search, (np.ones((2, 4)), np.ones((3, 5)), 4, None), "activations have 5 columns, weights 4"),
        (clip.search, (np.ones((2, 4)), np.ones((3, 4)), 4, 3), "group_size 3 does not divide"),
        (clip.search, (np.ones((2, 4)), np.ones((3, 4)), 4, None, 0), "grid is 0"),
        (clip.search, (np.ones((2, 4)), np.ones((3, 4)), 4, None, 20, 0.01), "max_shrink 0.01"),
        (clip.search, (np.ones((2, 4)), np.ones((3, 4)), 4, None, 20, 1.5), "max_shrink 1.5"),
        (clip.search, (np.ones((2, 4)), np.ones((3, 4)), 4, None, 20, 0.5, 0), "tokens is 0"),
        (clip.search, (np.ones((2, 4)), np.full((3, 4), np.nan), 4, None), "12 NaN"),
        (clip.search_statistics, (np.ones((2, 4)), np.eye(3), 4, None), r"second_moment has shape \(3, 3\)"),
        (clip.search_statistics, (np.ones((2, 4)), np.eye(4), 4, 2, 0), "grid is 0"),
        (clip.apply, (np.ones((2, 4)), np.ones((3, 1))), r"limit has shape \(3, 1\)"),
        (clip.apply, (np.ones((2, 4)), np.ones((2, 3))), r"limit has shape \(2, 3\)"),
        (clip.apply, (np.ones((2, 4)), -np.ones((2, 1))), "at least 0"),
    ],
)
def test_errors(function: Any, arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function(*arguments)
