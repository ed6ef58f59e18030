"""Perplexity and its companions: the arithmetic, the windows of llama-perplexity, a known model's losses."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from quant_core.files import open_model, read_checkpoint
from quant_core.llm.evaluate import Evaluation, Windows, evaluate, evaluate_each, losses, windows
from quant_core.llm.model import Transformer, load
from quant_core.methods.rtn import round_to_nearest
from tests.quant_core.model_files import TINYLM
from tests.quant_core.reference_model import forward

TOKENS = np.load(TINYLM / "heldout_tokens.npy").astype(np.int64)
FEW = windows(TOKENS[: 8 * 128], 128, first=1)


@pytest.fixture(scope="module")
def tinylm() -> Transformer:
    return load(TINYLM / "model.safetensors")


@pytest.fixture(scope="module")
def at_3_bits(tinylm: Transformer) -> Transformer:
    return tinylm.replaced(
        {name: round_to_nearest(tinylm.weights[name], 3, 64).dequantize() for name in tinylm.matrices}
    )


def test_losses_are_those_of_the_reference(tinylm: Transformer) -> None:
    config = json.loads((TINYLM / "config.json").read_text())
    stored = {
        name: tensor.floats().astype(np.float64)
        for name, tensor in read_checkpoint(TINYLM / "model.safetensors").items()
    }
    stored = {name: array if len(array) > 1 else array[0] for name, array in stored.items()}
    for row, ids in zip(evaluate(tinylm, FEW).losses, FEW.tokens, strict=True):
        scores = forward(config, stored, ids)[:-1]
        wanted = np.log(np.exp(scores).sum(axis=-1)) - np.take_along_axis(scores, ids[1:, None], -1)[:, 0]
        np.testing.assert_allclose(row, wanted, atol=1e-4)


def test_windows_are_those_of_llama_perplexity() -> None:
    # process_logits gets n_ctx − 1 − first predictions from the scores at first = n_ctx / 2 on.
    plain = windows(range(1000), 128)
    assert plain.tokens.shape == (7, 128)
    assert plain.targets.shape == (7, 63)
    assert plain.targets[0, 0] == 65
    # perplexity_v2: chunks = ⌈(tokens − n_ctx) / stride⌉, predictions from place n_ctx − stride on.
    for count, chunks in ((1000, 28), (992, 27)):
        strided = windows(range(count), 128, stride=32)
        assert strided.targets.shape == (chunks, 32)
        assert strided.targets.ravel().tolist() == list(range(96, 96 + 32 * chunks))


def test_a_text_that_begins_with_a_token_has_it_in_every_window() -> None:
    text = windows(range(10, 20), 4, start=1)
    assert text.inputs.tolist() == [[1, 11, 12, 13], [1, 15, 16, 17]]
    assert text.targets.tolist() == [[13], [17]]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"tokens": [[1, 2]]}, "give a list of ids"),
        ({"tokens": [0.5, 1.0]}, "give a list of ids"),
        ({"context": 1}, "give from 2 to 10"),
        ({"context": 11}, "give from 2 to 10"),
        ({"context": 10, "stride": 2}, "give from 2 to 9"),
        ({"first": 0}, "give from 1 to 3"),
        ({"first": 4}, "give from 1 to 3"),
        ({"stride": 4}, "give from 1 to 3"),
        ({"stride": 1, "first": 1}, "and no first"),
    ],
)
def test_invalid_windows_are_refused(arguments: dict[str, Any], problem: str) -> None:
    given: dict[str, Any] = {"tokens": range(10), "context": 4} | arguments
    with pytest.raises(ValueError, match=problem):
        windows(**given)


def test_numbers_follow_their_definitions() -> None:
    result = Evaluation(np.log([[2.0, 8.0]]), np.array([[0.1, 0.3]]), np.array([[True, False]]))
    assert result.perplexity == pytest.approx(4)
    # The spread of {log 2, log 8} is log 2, and llama-perplexity divides by √(n − 1).
    assert result.standard_error == pytest.approx(4 * math.log(2))
    assert result.divergence == pytest.approx(0.2)
    assert result.divergence_error == pytest.approx(0.1)
    assert result.agreement == 0.5
    assert result.bits_per_byte(2) == pytest.approx(2)  # 1 bit and 3 bits
    with pytest.raises(ValueError, match="1 or more"):
        result.bits_per_byte(0)
    alone = Evaluation(np.zeros((1, 1)))
    assert (alone.standard_error, alone.divergence, alone.divergence_error, alone.agreement) == (0, 0, 0, 1)


def test_a_model_agrees_with_itself(tinylm: Transformer) -> None:
    result = evaluate(tinylm, FEW, tinylm)
    assert (result.divergence, result.agreement) == (0, 1)


def test_rounding_raises_every_measure(tinylm: Transformer, at_3_bits: Transformer) -> None:
    result, before = evaluate(at_3_bits, FEW, tinylm), evaluate(tinylm, FEW)
    assert before.perplexity < result.perplexity
    assert result.divergences is not None
    assert result.divergences.min() > 0
    assert 0.5 < result.agreement < 1


def test_the_divergence_is_the_sum_over_the_vocabulary(tinylm: Transformer, at_3_bits: Transformer) -> None:
    p, q = (np.exp(m.logits(FEW.tokens[0]).astype(np.float64)) for m in (tinylm, at_3_bits))
    p, q = (one / one.sum(axis=-1, keepdims=True) for one in (p, q))
    wanted = (p * np.log(p / q)).sum(axis=-1)[:-1]
    found = evaluate(at_3_bits, Windows(FEW.tokens[:1], 1), tinylm).divergences
    assert found is not None
    np.testing.assert_allclose(found[0], wanted, atol=1e-5)


def test_several_models_are_measured_as_separately(tinylm: Transformer, at_3_bits: Transformer) -> None:
    shares: list[float] = []
    both = evaluate_each({"16": tinylm, "3": at_3_bits}, FEW, tinylm, shares.append)
    for name, model in (("16", tinylm), ("3", at_3_bits)):
        np.testing.assert_array_equal(both[name].losses, evaluate(model, FEW).losses)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_a_short_text_is_measured_token_by_token(tinylm: Transformer) -> None:
    short = losses(tinylm, TOKENS[:30].tolist())
    assert short.shape == (29,)
    np.testing.assert_allclose(short, evaluate(tinylm, windows(TOKENS[:30], 30, first=1)).losses[0])
    with pytest.raises(ValueError, match="the text has 1 tokens"):
        losses(tinylm, [3])


def test_the_windows_hold_the_text_of_the_weights_description() -> None:
    assert windows(TOKENS, 128, first=1).targets.size == 120_777
    assert open_model(TINYLM / "model.safetensors").shape.parameters == 2_033_408
