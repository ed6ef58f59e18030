"""The low-rank repair: Eckart and Young's theorem by hand, its optimum, and what it does to a real layer."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from quant_core.methods import lora, metrics, nf4

FloatMatrix = NDArray[np.floating[Any]]


def product_of(error: FloatMatrix, second_moment: FloatMatrix | None = None, rank: int = 1) -> FloatMatrix:
    moment = np.eye(error.shape[1]) if second_moment is None else second_moment
    a, b = lora.low_rank_repair(error, np.zeros_like(error), moment, rank)
    assert a.shape == (rank, error.shape[1])
    assert b.shape == (error.shape[0], rank)
    return b @ a


def objective(error: FloatMatrix, second_moment: FloatMatrix, repair: FloatMatrix) -> float:
    left = error - repair
    return float(np.sum((left @ second_moment) * left))


def random_problem(seed: int) -> tuple[FloatMatrix, FloatMatrix]:
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(40, 6)) * random.uniform(0.2, 5, size=6)
    return random.normal(size=(5, 6)), inputs.T @ inputs / len(inputs)


def test_rank_one_error_is_repaired_completely() -> None:
    """[1, 2]ᵀ [3, 4] has one singular value, so rank 1 leaves nothing."""
    error = np.array([[3.0, 4.0], [6.0, 8.0]])
    np.testing.assert_allclose(product_of(error), error, rtol=1e-6)


def test_eckart_young_by_hand() -> None:
    """[[2, 1], [1, 2]] has the singular values 3 and 1, the first along (1, 1) / √2."""
    error = np.array([[2.0, 1.0], [1.0, 2.0]])
    repair = product_of(error)
    np.testing.assert_allclose(repair, [[1.5, 1.5], [1.5, 1.5]], rtol=1e-6)
    assert np.sum((error - repair) ** 2) == pytest.approx(1.0)  # the square of the second one


def test_weighted_by_hand() -> None:
    """E H^(1/2) = diag(2, 3): the smaller error is repaired first, because its column has larger inputs."""
    error, second_moment = np.diag([2.0, 1.0]), np.diag([1.0, 9.0])
    repair = product_of(error, second_moment)
    np.testing.assert_allclose(repair, [[0, 0], [0, 1]], atol=1e-6)
    assert objective(error, second_moment, repair) == pytest.approx(4.0)


@given(st.integers(0, 10_000), st.integers(0, 5))
def test_remaining_error_is_the_tail_of_the_singular_values(seed: int, rank: int) -> None:
    """The optimum, computed with another root of H: its Cholesky factor."""
    error, second_moment = random_problem(seed)
    singular = np.linalg.svd(error @ np.linalg.cholesky(second_moment), compute_uv=False)
    left = objective(error, second_moment, product_of(error, second_moment, rank))
    assert left == pytest.approx(np.sum(singular[rank:] ** 2), rel=1e-3, abs=1e-8)


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_no_step_away_from_it_is_better(seed: int, other_seed: int) -> None:
    error, second_moment = random_problem(seed)
    a, b = lora.low_rank_repair(error, np.zeros_like(error), second_moment, 2)
    random = np.random.default_rng(other_seed)
    moved = (b + random.normal(size=b.shape) * 0.1) @ (a + random.normal(size=a.shape) * 0.1)
    best = objective(error, second_moment, b @ a)
    assert best <= objective(error, second_moment, moved) * (1 + 1e-6)


def test_the_parts_of_a_smaller_rank_are_the_first_of_a_larger_one() -> None:
    error, second_moment = random_problem(1)
    a, b = lora.low_rank_repair(error, np.zeros_like(error), second_moment, 4)
    np.testing.assert_allclose(b[:, :2] @ a[:2], product_of(error, second_moment, 2), atol=1e-6)


def test_rank_zero_repairs_nothing() -> None:
    a, b = lora.low_rank_repair(np.eye(3), np.zeros((3, 3)), np.eye(3), 0)
    assert a.shape == (0, 3)
    assert b.shape == (3, 0)
    assert not (b @ a).any()


def test_unused_input_gets_no_repair() -> None:
    """Column 1 has no input: its error costs nothing, and the adapter stays finite there."""
    error = np.array([[1.0, 5.0], [2.0, 7.0]])
    second_moment = np.diag([4.0, 0.0])
    repair = product_of(error, second_moment, 2)
    np.testing.assert_allclose(repair, [[1, 0], [2, 0]], atol=1e-6)
    assert objective(error, second_moment, repair) == pytest.approx(0.0, abs=1e-10)


@pytest.mark.parametrize("name", ["minilm.5.ffn_in", "minilm.1.query"])
def test_on_a_real_layer(name: str, real_blocks: dict[str, FloatMatrix]) -> None:
    """The error of the calibration text falls with every rank and ends at zero; unseen text falls along."""
    weights, hessian = real_blocks[f"{name}.W"], real_blocks[f"{name}.H"]
    frozen = nf4.quantize(weights, double_quantization=True).dequantize()
    full = min(weights.shape)
    a, b = lora.low_rank_repair(weights, frozen, hessian, full)
    ranks = [0, 1, 2, 4, 8, 16, 32, 64, 128, full]
    repaired = [frozen + b[:, :rank] @ a[:rank] for rank in ranks]
    seen = [metrics.relative_output_error_from_hessian(hessian, weights, each) for each in repaired]
    assert np.all(np.diff(seen) < 0)
    assert seen[-1] < 1e-9
    np.testing.assert_allclose(repaired[-1], weights, atol=1e-4)
    unseen = [
        metrics.relative_output_error(real_blocks[f"{name}.X_test"], weights, each) for each in repaired
    ]
    assert np.all(np.diff(unseen) < 0)


@given(st.integers(0, 10_000))
def test_the_errors_of_all_ranks_are_those_of_each(seed: int) -> None:
    weights, second_moment = random_problem(seed)
    inputs = np.random.default_rng(seed).normal(size=(9, 6))
    frozen = np.rint(weights)
    a, b = lora.low_rank_repair(weights, frozen, second_moment, 4)
    errors = lora.output_errors(inputs, weights, frozen, a, b)
    each = [
        metrics.relative_output_error(inputs, weights, frozen + b[:, :rank].astype(float) @ a[:rank])
        for rank in range(5)
    ]
    assert errors == pytest.approx(each, rel=1e-9, abs=1e-12)


def test_errors_are_relative_to_an_output_and_shapes_are_checked() -> None:
    eye = np.eye(2)
    with pytest.raises(ValueError, match="output is 0"):
        lora.output_errors(eye, np.zeros((2, 2)), eye, eye, eye)
    with pytest.raises(ValueError, match=r"a \(1, 2\), b \(2, 2\)"):
        lora.output_errors(eye, eye, eye, eye[:1], eye)


def test_weighting_helps_the_output_and_costs_the_weights(
    real_blocks: dict[str, FloatMatrix],
) -> None:
    weights, hessian = real_blocks["minilm.5.ffn_in.W"], real_blocks["minilm.5.ffn_in.H"]
    frozen = nf4.quantize(weights).dequantize()

    def errors(second_moment: FloatMatrix) -> tuple[float, float]:
        a, b = lora.low_rank_repair(weights, frozen, second_moment, 16)
        repaired = frozen + b @ a
        return (
            metrics.relative_output_error(real_blocks["minilm.5.ffn_in.X_test"], weights, repaired),
            metrics.relative_weight_error(weights, repaired),
        )

    weighted, plain = errors(hessian), errors(np.eye(len(hessian)))
    assert weighted[0] < plain[0] / 1.5
    assert weighted[1] > plain[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.eye(2), np.eye(3), np.eye(2), 1), "give one shape"),
        ((np.eye(2), np.eye(2), np.eye(3), 1), "second_moment has shape"),
        ((np.eye(2), np.eye(2), np.eye(2), 3), "from 0 to 2"),
        ((np.eye(2), np.eye(2), np.eye(2), -1), "from 0 to 2"),
        ((np.eye(2), np.eye(2), np.diag([1.0, -1.0]), 1), "positive semi-definite"),
        ((np.eye(2), np.eye(2), [[1.0, 0.5], [0.0, 1.0]], 1), "symmetric"),
        ((np.eye(2), np.eye(2), [[np.nan, 0.0], [0.0, 1.0]], 1), "finite"),
    ],
)
def test_wrong_arguments_are_named(arguments: tuple[FloatMatrix, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lora.low_rank_repair(*arguments)  # type: ignore[arg-type]
