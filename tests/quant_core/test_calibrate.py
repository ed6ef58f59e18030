"""Calibration on the lesson's model: the collected statistics and their effect on rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quant_core.llm import activations, calibrate
from quant_core.llm.evaluate import evaluate, windows
from quant_core.llm.model import Transformer, load
from quant_core.methods import smoothquant
from quant_core.methods.gptq import gptq
from quant_core.methods.metrics import relative_output_error_from_hessian
from quant_core.methods.rtn import round_to_nearest
from tests.quant_core.model_files import TINYLM

TOKENS = np.load(TINYLM / "heldout_tokens.npy").astype(np.int64)
CALIBRATION = TOKENS[: 16 * 128].reshape(16, 128)


@pytest.fixture(scope="module")
def tinylm() -> Transformer:
    return load(TINYLM / "model.safetensors")


@pytest.fixture(scope="module")
def seen(tinylm: Transformer) -> dict[str, calibrate.Statistics]:
    return calibrate.statistics(tinylm, CALIBRATION)


def test_statistics_are_moments_of_the_inputs(
    tinylm: Transformer, seen: dict[str, calibrate.Statistics]
) -> None:
    inputs = {}
    tinylm.logits(CALIBRATION, listen=lambda name, x: inputs.update({name: x.astype(np.float64)}))
    assert list(seen) == list(tinylm.linears)
    for name, one in seen.items():
        x = inputs[name]
        np.testing.assert_allclose(one.second_moment, x.T @ x / len(x), atol=1e-4 * float(np.mean(x**2)))
        np.testing.assert_allclose(one.magnitude, np.abs(x).mean(axis=0), rtol=1e-4)
        np.testing.assert_allclose(one.largest, np.abs(x).max(axis=0), rtol=1e-3)
        assert one.tokens == CALIBRATION.size


def test_the_importance_is_the_diagonal(tinylm: Transformer, seen: dict[str, calibrate.Statistics]) -> None:
    matrix = calibrate.importance(tinylm, CALIBRATION, "held-out")
    assert (matrix.chunk_size, matrix.chunk_count, matrix.datasets) == (128, 16, ("held-out",))
    vectors = matrix.vectors()
    assert list(vectors) == list(tinylm.linears)
    for name, vector in vectors.items():
        np.testing.assert_allclose(vector, np.diag(seen[name].second_moment), rtol=1e-3)


def output_errors(
    tinylm: Transformer, seen: dict[str, calibrate.Statistics], weights: calibrate.Weights
) -> dict[str, float]:
    return {
        name: relative_output_error_from_hessian(seen[name].second_moment, tinylm.weights[name], rounded)
        for name, rounded in weights.items()
    }


def test_gptq_and_awq_lower_the_output_error(
    tinylm: Transformer, seen: dict[str, calibrate.Statistics]
) -> None:
    plain = calibrate.round_matrices(
        tinylm, tinylm.linears, lambda w: round_to_nearest(w, 3, 64).dequantize()
    )
    rtn = output_errors(tinylm, seen, plain)
    absorbed = output_errors(tinylm, seen, calibrate.gptq_layers(tinylm, CALIBRATION, 3, 64))
    awq = output_errors(tinylm, seen, calibrate.awq_layers(tinylm, seen, 3, 64))
    first = [name for name in rtn if name.startswith("blk.0.")]  # later layers of GPTQ see other inputs
    assert all(absorbed[name] < rtn[name] for name in first)
    for parts in (("attn_q", "attn_k", "attn_v"), ("ffn_gate", "ffn_up"), ("ffn_down",)):
        names = [f"blk.{layer}.{part}.weight" for layer in range(3) for part in parts]
        assert sum(awq[name] for name in names) <= sum(rtn[name] for name in names) * (1 + 1e-6)
    # Two query heads share each value head: there is nothing to fold attn_output's scale into.
    np.testing.assert_array_equal(
        calibrate.awq_layers(tinylm, seen, 3, 64)["blk.1.attn_output.weight"],
        plain["blk.1.attn_output.weight"],
    )


def test_later_layers_are_calibrated_on_rounded_ones(tinylm: Transformer) -> None:
    rounded = calibrate.gptq_layers(tinylm, CALIBRATION[:4], 2, 64)
    first = {name: array for name, array in rounded.items() if name.startswith("blk.0.")}
    seen = calibrate.statistics(tinylm.replaced(first), CALIBRATION[:4], ["blk.1.ffn_up.weight"])
    again = gptq(tinylm.weights["blk.1.ffn_up.weight"], seen["blk.1.ffn_up.weight"].second_moment, 2, 64)
    np.testing.assert_array_equal(rounded["blk.1.ffn_up.weight"], again.dequantized.astype(np.float32))


def test_smoothing_changes_the_activations_and_not_the_model(
    tinylm: Transformer, seen: dict[str, calibrate.Statistics]
) -> None:
    smooth = calibrate.smoothed(tinylm, seen)
    np.testing.assert_allclose(smooth.logits(CALIBRATION[0]), tinylm.logits(CALIBRATION[0]), atol=1e-3)
    after = calibrate.statistics(smooth, CALIBRATION)
    for name in ("blk.0.attn_v.weight", "blk.2.ffn_up.weight"):
        factors = smooth.weights[name][0] / tinylm.weights[name][0]
        np.testing.assert_allclose(after[name].largest * factors, seen[name].largest, rtol=1e-2)
        loudest, typical = (of(seen[name].largest) for of in (np.max, np.median))
        assert after[name].largest.max() / np.median(after[name].largest) < loudest / typical
    # No norm comes before these: nothing to fold factors into.
    np.testing.assert_array_equal(
        smooth.weights["blk.0.ffn_down.weight"], tinylm.weights["blk.0.ffn_down.weight"]
    )


def test_smoothing_undoes_the_cost_of_loud_channels(
    tinylm: Transformer,
) -> None:
    def divergence(model: Transformer) -> float:
        weights = calibrate.round_matrices(model, model.linears, smoothquant.round_rows)
        kinds = dict.fromkeys(model.linears, "int8")
        rounded = replace(model.replaced(weights), inputs=activations.rounding_of(kinds))
        return evaluate(rounded, windows(TOKENS[: 4 * 128], 128, first=1), tinylm).divergence

    # The same function, with three loud channels before the queries, keys and values of a layer.
    factor = np.ones(256, np.float32)
    factor[[3, 77, 200]] = 50
    names = [f"blk.1.attn_{part}.weight" for part in "qkv"]
    norm = {"blk.1.attn_norm.weight": tinylm.weights["blk.1.attn_norm.weight"] * factor}
    loud = tinylm.replaced(norm | {name: tinylm.weights[name] / factor for name in names})
    seen = calibrate.statistics(loud, CALIBRATION)
    quiet, outliers = divergence(tinylm), divergence(loud)
    assert 0 < quiet < 0.01
    assert outliers > 3 * quiet
    assert divergence(calibrate.smoothed(loud, seen)) < 1.2 * quiet


def test_clipping_lowers_the_error_of_what_it_clips(
    tinylm: Transformer, seen: dict[str, calibrate.Statistics]
) -> None:
    scaled = calibrate.awq_layers(tinylm, seen, 2, 64)
    clipped = calibrate.awq_layers(tinylm, seen, 2, 64, clipped=True)
    before, after = (output_errors(tinylm, seen, one) for one in (scaled, clipped))
    assert sum(after.values()) < sum(before.values())
    np.testing.assert_array_equal(clipped["blk.0.attn_q.weight"], scaled["blk.0.attn_q.weight"])


def test_unknown_matrix_is_refused(tinylm: Transformer) -> None:
    with pytest.raises(ValueError, match=r"output_norm\.weight is no matrix of the model"):
        calibrate.statistics(tinylm, CALIBRATION, ["output_norm.weight"])
    with pytest.raises(ValueError, match="is no matrix"):
        calibrate.round_matrices(tinylm, ["x"], lambda w: w)
