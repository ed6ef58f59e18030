"""AWQ: against the reference implementation, by hand, and by its properties."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quant_core.methods import awq
from quant_core.methods.rtn import round_to_nearest

Vectors = Mapping[str, NDArray[Any]]
CASES = {"w4_g128": (4, 128, 0.2), "w3_g128": (3, 128, 0.5), "w4_g-1": (4, None, 0.3)}
EVERY_CASE = pytest.mark.parametrize("case", list(CASES))


def layer(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights, and activations with a few loud channels."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((64, 32)).astype(np.float32)
    x[:, rng.choice(32, 2, replace=False)] *= 20
    return rng.standard_normal((16, 32)).astype(np.float32), x


@EVERY_CASE
def test_the_curve_equals_llm_awq(method_vectors: Vectors, case: str) -> None:
    bits, group_size, best = CASES[case]
    result = awq.search(method_vectors["W"], method_vectors["X"], bits, group_size)
    assert result.losses[:20] == pytest.approx(method_vectors[f"awq_hist__{case}"], rel=1e-5)
    assert result.alpha == best
    assert result.scales == pytest.approx(method_vectors[f"awq_scales__{case}"], rel=1e-6)
    assert np.allclose(result.dequantized, method_vectors[f"awq_wq__{case}"], rtol=1e-5, atol=1e-7)


def test_scales_by_hand() -> None:
    # s = x ** 0.5 = 1, 3, 9; √(9 · 1) = 3.
    assert awq.scales_for([1.0, 9.0, 81.0], 0.5) == pytest.approx([1 / 3, 1, 3])
    # A silent channel is held at 1e-4 before the normalisation: √(1 · 1e-4) = 0.01.
    assert awq.scales_for([0.0, 1.0], 1.0) == pytest.approx([0.01, 100.0])


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), bits=st.integers(2, 8), group_size=st.sampled_from([None, 8, 16]))
def test_alpha_zero_is_round_to_nearest(seed: int, bits: int, group_size: int | None) -> None:
    w, x = layer(seed)
    scales = awq.scales_for(np.abs(x).mean(axis=0), 0.0)
    assert (scales == 1).all()
    rounded = round_to_nearest(w, bits, group_size)
    applied = awq.apply(w, scales, bits, group_size)
    assert np.array_equal(applied.quantized.codes, rounded.codes)
    assert np.array_equal(applied.dequantize(), rounded.dequantize())


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), bits=st.integers(2, 4))
def test_the_search_is_never_worse_than_alpha_zero(seed: int, bits: int) -> None:
    w, x = layer(seed)
    result = awq.search(w, x, bits, 16)
    assert result.losses[:20].min() <= result.losses[0]
    chosen = int(np.argmin(result.losses[:20]))
    assert result.alpha == result.alphas[chosen] < 1
    expected = np.mean((x.astype(float) @ (w - result.dequantized).T.astype(float)) ** 2)
    assert result.losses[chosen] == pytest.approx(expected, rel=1e-4)


def test_loud_channels_need_a_positive_alpha() -> None:
    gains = []
    for seed in range(10):
        w, x = layer(seed)
        losses = awq.search(w, x, 3, 16).losses
        gains.append(losses[0] / losses[:20].min())
    assert np.mean(gains) > 1.5


def test_full_scale_is_shown_and_never_chosen() -> None:
    """Here α = 1 is the best of all: one loud channel, whose weight alone counts."""
    x = np.zeros((4, 4), np.float32)
    x[:, 0] = 1e4
    x[:, 1:] = 1e-4
    w = np.array([[0.33, 1.0, -1.0, 0.7]], np.float32)
    result = awq.search(w, x, 2, None)
    assert result.alphas.tolist() == pytest.approx((np.arange(21) / 20).tolist())
    assert result.losses.argmin() == 20
    assert result.alpha == result.alphas[result.losses[:20].argmin()] < 1


def test_a_coarser_grid() -> None:
    w, x = layer(0)
    result = awq.search(w, x, 3, 16, grid=4)
    assert result.alphas.tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_statistics_are_all_that_the_search_needs() -> None:
    w, x = layer(1)
    from_x = awq.search(w, x, 3, 16)
    moment = x.T.astype(float) @ x.astype(float) / len(x)
    from_statistics = awq.search_statistics(w, moment, np.abs(x).mean(axis=0), 3, 16)
    assert from_statistics.losses == pytest.approx(from_x.losses, rel=1e-4)
    assert from_statistics.alpha == from_x.alpha


def test_held_out_text_does_not_affect_the_choice() -> None:
    w, x = layer(1)
    unseen = layer(2)[1].astype(float)
    moment, mean = x.T.astype(float) @ x / len(x), np.abs(x).mean(axis=0)
    alone = awq.search_statistics(w, moment, mean, 3, 16)
    judged = awq.search_statistics(w, moment, mean, 3, 16, held_out=unseen.T @ unseen / len(unseen))
    assert alone.held_out is None
    assert judged.held_out is not None
    assert np.array_equal(judged.losses, alone.losses)
    assert judged.alpha == alone.alpha
    for alpha, loss in zip(judged.alphas, judged.held_out, strict=True):
        error = w - awq.apply(w, awq.scales_for(mean, float(alpha)), 3, 16).dequantize()
        assert loss == pytest.approx(np.sum((unseen @ error.T) ** 2) / len(unseen) / len(w), rel=1e-5)


def test_the_spacing_of_a_scaled_channel() -> None:
    """Scaling one weight of many by 2 halves its spacing, while it does not stretch the group's range."""
    w = np.array([[-1.0, 2.0, 0.1, 0.5]])
    plain = awq.apply(w, np.ones(4), 3, None)
    scaled = awq.apply(w, [1, 1, 2, 1], 3, None)
    assert scaled.spacing[0, 2] == pytest.approx(plain.spacing[0, 2] / 2)
    assert scaled.spacing[0, 0] == plain.spacing[0, 0]
    stretched = awq.apply(w, [1, 1, 40, 1], 3, None)
    assert stretched.spacing[0, 0] > plain.spacing[0, 0]


def test_keep_channels() -> None:
    w, x = layer(2)
    mean = np.abs(x).mean(axis=0)
    kept = awq.keep_channels(w, mean, 3, 16, fraction=2 / 32)
    assert set(kept.channels) == set(np.argsort(mean)[-2:])
    assert np.array_equal(kept.dequantized[:, kept.channels], w[:, kept.channels])
    others = np.setdiff1d(np.arange(32), kept.channels)
    assert np.array_equal(kept.dequantized[:, others], round_to_nearest(w, 3, 16).dequantize()[:, others])
    assert kept.bits_per_weight == pytest.approx(16 / 16 + (3 + 19 / 16) * 15 / 16)

    by_weight = awq.keep_channels(w, mean, 3, 16, fraction=0.1, by="weight")
    assert set(by_weight.channels) == set(np.argsort(np.abs(w).mean(axis=0))[-3:])
    chosen = [awq.keep_channels(w, mean, 3, 16, 0.25, "random", seed).channels.tolist() for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(chosen[0]) == 8


def test_the_ends_of_the_fraction() -> None:
    w, x = layer(3)
    mean = np.abs(x).mean(axis=0)
    rounded = round_to_nearest(w, 3, 16)
    none, one, every = (awq.keep_channels(w, mean, 3, 16, fraction) for fraction in (0, 1e-6, 1))
    assert np.array_equal(none.dequantized, rounded.dequantize())
    assert none.bits_per_weight == rounded.bits_per_weight
    assert len(one.channels) == 1
    assert np.array_equal(every.dequantized, w)
    assert every.bits_per_weight == 16


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (awq.search, (np.ones((2, 4)), np.ones((3, 5)), 4, None), r"second_moment has shape \(5, 5\)"),
        (
            awq.search_statistics,
            (np.ones((2, 4)), np.eye(4), np.ones(4), 4, None, 20, np.eye(3)),
            r"held_out has shape \(3, 3\)",
        ),
        (awq.search, (np.ones((2, 4)), np.ones(4), 4, None), r"activations has shape \(4,\)"),
        (awq.search, (np.ones((2, 4)), np.full((3, 4), np.nan), 4, None), "12 NaN"),
        (awq.search, (np.ones((2, 4)), np.ones((3, 4)), 4, None, 0), "grid is 0; give at least 1"),
        (awq.search, (np.ones((2, 4)), np.ones((3, 4)), 1, None), "bits is 1"),
        (awq.search, (np.ones((2, 4)), np.ones((3, 4)), 4, 3), "group_size 3 does not divide"),
        (awq.scales_for, ([-1.0, 1.0], 0.5), "0 or more"),
        (awq.scales_for, ([], 0.5), "mean"),
        (awq.apply, (np.ones((2, 4)), np.ones(3), 4, None), "one positive number per column"),
        (awq.apply, (np.ones((2, 4)), np.zeros(4), 4, None), "one positive number per column"),
        (awq.keep_channels, (np.ones((2, 4)), np.ones(3), 4, None), r"give shape \(4,\)"),
        (awq.keep_channels, (np.ones((2, 4)), np.ones(4), 4, None, 1.5), "fraction is 1.5"),
        (awq.keep_channels, (np.ones((2, 4)), np.ones(4), 4, None, 0.5, "luck"), "by is 'luck'; give one of"),
    ],
)
def test_errors(function: Any, arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function(*arguments)
