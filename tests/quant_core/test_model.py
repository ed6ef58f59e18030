"""The forward pass, compared with a second implementation and with itself in pieces, and its errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quant_core.files import FormatError, open_model, quantize_model, read_checkpoint
from quant_core.files.gguf_writer import string
from quant_core.llm.model import Transformer, from_file, load
from quant_core.llm.shapes import model_shape
from tests.quant_core.model_files import CONFIG, TINYLM, tensors_of, write_checkpoint
from tests.quant_core.reference_model import VARIANTS, forward

TOKENS = np.load(TINYLM / "heldout_tokens.npy").astype(np.int64)


@pytest.fixture(scope="module")
def tinylm() -> Transformer:
    return load(TINYLM / "model.safetensors")


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_it_computes_what_the_checkpoint_means(tmp_path: Path, changes: Mapping[str, Any]) -> None:
    config = {**CONFIG, **changes}
    tensors = {name: array * np.float16(0.3) for name, array in tensors_of(config).items()}
    path = write_checkpoint(tmp_path, config, tensors=tensors)
    quantize_model(open_model(path), tmp_path / "m.gguf", "F32")
    tokens = np.arange(40) * 7 % 60
    wanted = forward(config, {name: array.astype(np.float64) for name, array in tensors.items()}, tokens)
    for file in (path, tmp_path / "m.gguf"):
        np.testing.assert_allclose(load(file).logits(tokens), wanted, atol=1e-4 * np.abs(wanted).max())


def test_it_computes_the_lessons_model(tinylm: Transformer) -> None:
    config = json.loads((TINYLM / "config.json").read_text())
    wanted = forward(config, from_checkpoint(), TOKENS[:128])
    np.testing.assert_allclose(tinylm.logits(TOKENS[:128]), wanted, atol=2e-4)


def from_checkpoint() -> dict[str, Any]:
    """The tensors as the file names and orders them."""
    read = read_checkpoint(TINYLM / "model.safetensors")
    return {
        name: (tensor.floats() if len(tensor.shape) == 2 else tensor.floats().ravel()).astype(np.float64)
        for name, tensor in read.items()
    }


def test_cache_does_not_change_the_logits(tinylm: Transformer) -> None:
    whole = tinylm.logits(TOKENS[:60])
    cache = tinylm.cache()
    pieces = [tinylm.logits(TOKENS[a:b], cache) for a, b in ((0, 1), (1, 20), (20, 59), (59, 60))]
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-4)
    assert cache.length == 60


def test_sequences_of_a_batch_are_independent(tinylm: Transformer) -> None:
    batch = TOKENS[: 4 * 30].reshape(4, 30)
    together = tinylm.logits(batch)
    assert together.shape == (4, 30, 1024)
    for ids, scores in zip(batch, together, strict=True):
        np.testing.assert_allclose(tinylm.logits(ids), scores, atol=1e-4)
    np.testing.assert_array_equal(
        tinylm.logits(batch, last_only=True)[:, 0].argmax(-1), together[:, -1].argmax(-1)
    )


def test_no_token_sees_a_later_one(tinylm: Transformer) -> None:
    before = tinylm.logits(TOKENS[:40])
    changed = TOKENS[:40].copy()
    changed[25] = 5
    after = tinylm.logits(changed)
    np.testing.assert_array_equal(before[:25], after[:25])
    assert (np.abs(before[25:] - after[25:]).max(axis=-1) > 1e-3).all()


def test_listener_receives_the_inputs_of_each_matrix(tinylm: Transformer) -> None:
    heard: dict[str, Any] = {}
    scores = tinylm.logits(TOKENS[:20], listen=lambda name, x: heard.update({name: x.copy()}))
    assert list(heard) == [*tinylm.linears, tinylm.head]
    assert tinylm.matrices == ("token_embd.weight", *tinylm.linears)
    for name, x in heard.items():
        assert x.shape == (20, tinylm.weights[name].shape[1])
    np.testing.assert_allclose(heard[tinylm.head] @ tinylm.weights[tinylm.head].T, scores, atol=1e-5)
    # silu(gate) · up is what the last matrix of a layer reads.
    gate, up = (
        heard["blk.1.ffn_up.weight"] @ tinylm.weights[f"blk.1.ffn_{part}.weight"].T for part in ("gate", "up")
    )
    np.testing.assert_allclose(heard["blk.1.ffn_down.weight"], gate / (1 + np.exp(-gate)) * up, atol=1e-5)


def test_generation_follows_the_logits(tinylm: Transformer) -> None:
    made = tinylm.generate(TOKENS[:10], 12)
    for step in range(12):
        assert tinylm.logits([*TOKENS[:10], *made[:step]])[-1].argmax() == made[step]


def test_generation_draws_by_its_seed(tinylm: Transformer) -> None:
    first, same, other = (tinylm.generate(TOKENS[:10], 40, 1.0, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()
    # 1,000 draws of one step follow the prediction.
    drawn = tinylm.generate(np.tile(TOKENS[:10], (1000, 1)), 1, 1.0, 3)[:, 0]
    scores = tinylm.logits(TOKENS[:10])[-1].astype(np.float64)
    shares = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    likeliest = int(shares.argmax())
    error = np.sqrt(shares[likeliest] * (1 - shares[likeliest]) / 1000)
    assert abs((drawn == likeliest).mean() - shares[likeliest]) < 4 * error


def test_replaced_weights_are_used_and_the_model_is_unchanged(tinylm: Transformer) -> None:
    before = tinylm.logits(TOKENS[:9])
    name = "blk.0.ffn_down.weight"
    changed = tinylm.replaced({name: np.zeros(tinylm.weights[name].shape)})
    assert (changed.logits(TOKENS[:9]) != before).any()
    np.testing.assert_array_equal(tinylm.logits(TOKENS[:9]), before)
    with pytest.raises(ValueError, match=r"no weights blk\.9"):
        tinylm.replaced({"blk.9.ffn_down.weight": [[0.0]]})
    with pytest.raises(ValueError, match=r"has shape \(1, 1\); give \(256, 512\)"):
        tinylm.replaced({name: [[0.0]]})
    with pytest.raises(ValueError, match="NaN"):
        tinylm.replaced({name: np.full((256, 512), np.nan)})


@pytest.mark.parametrize(
    ("tokens", "problem"),
    [
        ([], "give ids"),
        ([0.5], "give ids"),
        ([[[1]]], "give ids"),
        ([-1], "0 to 1023"),
        ([3, 1024], "0 to 1023"),
    ],
)
def test_invalid_tokens_are_refused(tinylm: Transformer, tokens: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        tinylm.logits(tokens)


def test_a_full_cache_and_a_wrong_batch_are_refused(tinylm: Transformer) -> None:
    with pytest.raises(ValueError, match="holds 0 of 8 tokens for 1 sequences; 9 for 1"):
        tinylm.logits(TOKENS[:9], tinylm.cache(capacity=8))
    with pytest.raises(ValueError, match="do not fit"):
        tinylm.logits(TOKENS[:8].reshape(2, 4), tinylm.cache(capacity=8))
    with pytest.raises(ValueError, match="capacity is missing"):
        replace(tinylm, shape=replace(tinylm.shape, max_context=None)).cache()
    for count, temperature in ((-1, 0.0), (1, -0.5)):
        with pytest.raises(ValueError, match="0 or more"):
            tinylm.generate(TOKENS[:4], count, temperature)


def test_unsupported_model_kinds_are_refused(tmp_path: Path) -> None:
    model = open_model(write_checkpoint(tmp_path))
    with pytest.raises(FormatError, match=r"output_norm\.weight is missing"):
        from_file(replace(model, tensors=tuple(t for t in model.tensors if t.name != "output_norm.weight")))
    with pytest.raises(FormatError, match="rope scaling yarn is not computed"):
        from_file(replace(model, metadata={**model.metadata, "llama.rope.scaling.type": string("yarn")}))
    with pytest.raises(FormatError, match=r"rope\.freq_base is x; it must be above 0"):
        from_file(replace(model, metadata={**model.metadata, "llama.rope.freq_base": string("x")}))
    windows = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 8}
    with pytest.raises(FormatError, match="sliding windows are not computed"):
        from_file(replace(model, shape=model_shape({**CONFIG, **windows})))
    wrong = tuple(
        replace(t, shape=t.shape[::-1]) if t.name == "blk.0.ffn_up.weight" else t for t in model.tensors
    )
    with pytest.raises(FormatError, match="ffn_up.weight has shape"):
        from_file(replace(model, tensors=wrong))


def test_stretched_positions_are_slower(tmp_path: Path) -> None:
    plain = load(write_checkpoint(tmp_path / "a"))
    scaling = {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}
    slow = load(write_checkpoint(tmp_path / "b", {**CONFIG, **scaling}))
    np.testing.assert_array_equal(slow.frequencies, plain.frequencies / 4)
