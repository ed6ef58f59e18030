"""Training a layer with rounding in the loop, against rounding afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quant_core.methods.metrics import relative_output_error
from quant_core.methods.qat import Trained, loss_and_gradient, train
from quant_core.methods.rtn import round_to_nearest

F64 = NDArray[np.float64]


@pytest.fixture(scope="module")
def layer() -> tuple[F64, F64, F64]:
    """Correlated inputs to train with, more of the same kind, and the weights of a layer."""
    random = np.random.default_rng(0)
    mixed = random.normal(size=(64, 64)) * np.exp(random.normal(size=64)) / 8
    inputs, held_out = (random.normal(size=(512, 64)) @ mixed for _ in range(2))
    return inputs, held_out, random.normal(size=(16, 64)) / 8


@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize("scheme", ["symmetric", "asymmetric"])
def test_rounding_during_training_costs_less_than_after(
    layer: tuple[F64, F64, F64], bits: int, scheme: Any
) -> None:
    inputs, held_out, weights = layer
    after, during = (
        train(inputs, inputs @ weights.T, weights, aware=aware, bits=bits, scheme=scheme, steps=300)
        for aware in (False, True)
    )
    errors = [relative_output_error(held_out, weights, one.quantized.dequantize()) for one in (after, during)]
    assert errors[1] < errors[0] / 1.5
    # Full precision has nothing to learn here, so "after" is round to nearest.
    nearest = round_to_nearest(weights, bits, 32, scheme)
    np.testing.assert_array_equal(after.quantized.codes, nearest.codes)
    # Both are on grids of as many levels, and those of the training are the first ones.
    np.testing.assert_array_equal(during.quantized.scale, nearest.scale)
    assert during.quantized.bits_per_weight == after.quantized.bits_per_weight
    assert during.losses[-1] < during.losses[0] / 2


def test_without_damping_weights_oscillate(layer: tuple[F64, F64, F64]) -> None:
    inputs, held_out, weights = layer
    plain, damped = (
        train(inputs, inputs @ weights.T, weights, aware=True, bits=3, steps=300, damping=damping)
        for damping in (0.0, 2.0)
    )
    errors = [relative_output_error(held_out, weights, one.quantized.dequantize()) for one in (plain, damped)]
    assert errors[1] < errors[0] / 1.5


def test_from_random_weights_with_a_delay(layer: tuple[F64, F64, F64]) -> None:
    inputs, held_out, weights = layer
    start = np.random.default_rng(5).normal(size=weights.shape) / 8
    targets = inputs @ weights.T
    after = train(inputs, targets, start, aware=False, bits=3, steps=1200)
    during = train(inputs, targets, start, aware=True, bits=3, steps=1200, delay=800)
    assert after.losses[-1] < after.losses[0] / 1000
    assert during.losses[:800] == train(inputs, targets, start, aware=False, bits=3, steps=1200).losses[:800]
    errors = [relative_output_error(held_out, weights, one.quantized.dequantize()) for one in (after, during)]
    assert errors[1] < errors[0] / 1.5


def test_the_estimator_is_the_gradient_at_the_rounded_weights(layer: tuple[F64, F64, F64]) -> None:
    """Adam's first step is the sign of the gradient, times the learning rate."""
    inputs, _, weights = layer
    targets = inputs @ weights.T
    trained = train(inputs, targets, weights, aware=True, bits=3, steps=1, learning_rate=0.01, damping=0.0)
    rounded = round_to_nearest(weights, 3, 32, "symmetric").dequantize().astype(np.float64)
    loss, gradient = loss_and_gradient(inputs, targets, rounded)
    assert trained.losses == (loss,)
    unit = 0.01 * np.sqrt(np.mean(weights**2))
    np.testing.assert_allclose(weights - trained.weights, unit * np.sign(gradient), rtol=0.01)


def test_the_gradient_is_that_of_the_loss(layer: tuple[F64, F64, F64]) -> None:
    inputs, _, weights = layer
    targets = np.ones((512, 16))
    loss, gradient = loss_and_gradient(inputs, targets, weights)
    assert loss == pytest.approx(np.mean((inputs @ weights.T - 1) ** 2))
    for row, column in ((0, 0), (7, 30), (15, 63)):
        moved = weights.copy()
        moved[row, column] += 1e-6
        slope = (loss_and_gradient(inputs, targets, moved)[0] - loss) / 1e-6
        assert gradient[row, column] == pytest.approx(slope, rel=1e-3, abs=1e-6)


def test_the_same_arguments_give_the_same_result(layer: tuple[F64, F64, F64]) -> None:
    inputs, _, weights = layer

    def trained(seed: int) -> Trained:
        return train(inputs, inputs @ weights.T, weights, aware=True, bits=3, steps=50, batch=64, seed=seed)

    one, same, other = trained(1), trained(1), trained(2)
    np.testing.assert_array_equal(one.weights, same.weights)
    assert one.losses == same.losses != other.losses
    assert len(one.losses) == 50


def test_no_steps_round_the_start(layer: tuple[F64, F64, F64]) -> None:
    inputs, _, weights = layer
    for aware in (False, True):
        trained = train(inputs, inputs @ weights.T, weights, aware=aware, steps=0)
        np.testing.assert_array_equal(trained.weights, weights)
        np.testing.assert_array_equal(
            trained.quantized.codes, round_to_nearest(weights, 4, 32, "symmetric").codes
        )
        assert trained.losses == ()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"inputs": np.ones((3, 64))}, "inputs have 3 tokens and targets 512"),
        ({"start": np.ones((16, 32))}, r"start has shape \(16, 32\); .* demand \(16, 64\)"),
        ({"start": np.zeros((16, 64))}, "start is all 0"),
        ({"targets": np.full((512, 16), np.nan)}, "NaN"),
        ({"bits": 9}, "bits is 9"),
        ({"group_size": 5}, "does not divide"),
        ({"scheme": "other"}, "scheme is 'other'"),
        ({"steps": -1}, "steps is -1"),
        ({"delay": 501}, "delay is 501; give 0 to 500"),
        ({"learning_rate": 0.0}, "learning_rate is 0"),
        ({"damping": -1.0}, "damping is -1"),
        ({"batch": 513}, "batch is 513; give 1 to 512"),
    ],
)
def test_refused(layer: tuple[F64, F64, F64], changes: dict[str, Any], problem: str) -> None:
    inputs, _, weights = layer
    arguments = {"inputs": inputs, "targets": inputs @ weights.T, "start": weights, "aware": True, **changes}
    with pytest.raises(ValueError, match=problem):
        train(**arguments)
