"""Error measures: by hand, and that the two writings of the output error agree."""

import numpy as np
import pytest

from quant_core.methods import metrics


def test_by_hand() -> None:
    assert metrics.sqnr_db([1.0, 1.0], [1.0, 0.9]) == pytest.approx(10 * np.log10(2 / 0.01))
    assert metrics.sqnr_db([1.0], [1.0]) == float("inf")
    assert metrics.mean_absolute_error([1.0, -1.0], [0.0, 1.0]) == 1.5
    assert metrics.relative_weight_error([[1.0, 2.0]], [[1.0, 1.0]]) == 0.2
    # Outputs 3 and 2.
    assert metrics.relative_output_error([[1.0, 1.0]], [[1.0, 2.0]], [[1.0, 1.0]]) == pytest.approx(1 / 9)


def test_the_hessian_gives_the_same_output_error() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((50, 8)), rng.standard_normal((4, 8))
    w_hat = w + 0.1 * rng.standard_normal(w.shape)
    expected = np.linalg.norm(x @ (w - w_hat).T) ** 2 / np.linalg.norm(x @ w.T) ** 2
    assert metrics.relative_output_error(x, w, w_hat) == pytest.approx(expected)
    assert metrics.relative_output_error_from_hessian(7 * x.T @ x, w, w_hat) == pytest.approx(expected)


def test_all_zero_weights() -> None:
    zeros, ones = np.zeros((1, 2)), np.ones((1, 2))
    assert metrics.relative_weight_error(zeros, zeros) == 0
    assert metrics.relative_weight_error(zeros, ones) == float("inf")


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"shape \(2,\) and their approximation \(3,\)"):
        metrics.mean_absolute_error([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="not empty"):
        metrics.sqnr_db([], [])
    with pytest.raises(ValueError, match="NaN"):
        metrics.sqnr_db([np.nan], [1.0])
    with pytest.raises(ValueError, match="activations holds"):
        metrics.relative_output_error([[np.inf]], [[1.0]], [[1.0]])
