"""The files written here are those of llama.cpp: byte for byte, and it generates text from them.

llama.cpp comes with the package llama-cpp-python, which is built from source and is no part of the ordinary
test run: without it this module is skipped. `tests/data/tinylm_gguf.json` keeps the digests of the files that
llama.cpp wrote, so that the ordinary run compares with them.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quant_core.files import open_model, quantize_model
from quant_core.files.storage import FILE_TYPES, TYPE_NUMBERS
from quant_core.files.tensor_types import TensorType, parse_tensor_type, with_tensor_types
from quant_core.llm.activations import rounding_of
from quant_core.llm.evaluate import Windows, evaluate, windows
from quant_core.llm.kv_cache import stored
from quant_core.llm.model import load
from tests.quant_core.model_files import (
    CONFIG,
    DIGESTS,
    ROOT,
    WEIGHTS,
    importance_of,
    tensors_of,
    write_checkpoint,
)
from tests.quant_core.reference_model import VARIANTS, forward

llama_cpp = pytest.importorskip(
    "llama_cpp",
    reason="LLAMA.CPP IS NOT COMPARED WITH: llama-cpp-python is not installed; `make interop` builds it",
)

F32, Q8_0 = 0, 8
CACHES = json.loads((ROOT / "tests" / "data" / "kv_cache.json").read_text("utf-8"))

# What llama-cpp-python leaves open is no matter of ours.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as an F16 file: the input of both sides."""
    path = tmp_path_factory.mktemp("interop") / "half.gguf"
    quantize_model(open_model(WEIGHTS), path, "F16")
    return path


def llama_quantize(
    source: Path,
    target: Path,
    mix: str,
    importance: Mapping[str, NDArray[np.float32]],
    tensor_types: Sequence[TensorType] = (),
) -> bytes:
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype, parameters.nthread = FILE_TYPES[mix], 1
    if mix == "Q6_K_L":  # what publishers call Q6_K with --token-embedding-type and --output-tensor-type
        parameters.token_embedding_type = parameters.output_tensor_type = Q8_0
    if importance:

        class Entry(ctypes.Structure):
            _fields_ = [("name", ctypes.c_char_p), ("data", ctypes.c_void_p), ("size", ctypes.c_size_t)]

        entries = (Entry * (len(importance) + 1))()  # the last one, without a name, ends the list
        for entry, (name, vector) in zip(entries, importance.items(), strict=False):
            entry.name, entry.data, entry.size = name.encode(), vector.ctypes.data, vector.size
        parameters.imatrix = ctypes.cast(entries, type(parameters.imatrix))
    if tensor_types:

        class Override(ctypes.Structure):
            _fields_ = [("pattern", ctypes.c_char_p), ("type", ctypes.c_int)]

        overrides = (Override * (len(tensor_types) + 1))()  # the last one, without a pattern, ends the list
        for override, (pattern, type_name) in zip(overrides, tensor_types, strict=False):
            override.pattern, override.type = pattern.encode(), TYPE_NUMBERS[type_name]
        parameters.tt_overrides = ctypes.cast(overrides, type(parameters.tt_overrides))
    assert llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), parameters) == 0
    return target.read_bytes()


@pytest.mark.parametrize("mix", DIGESTS["plain"])
def test_the_file_is_llama_quantizes(half: Path, tmp_path: Path, mix: str) -> None:
    theirs = llama_quantize(half, tmp_path / "theirs.gguf", mix, {})
    for source in (half, WEIGHTS):
        quantize_model(open_model(source), tmp_path / "ours.gguf", mix)
        assert (tmp_path / "ours.gguf").read_bytes() == theirs
    assert DIGESTS["plain"][mix] == hashlib.sha256(theirs).hexdigest()


@pytest.mark.parametrize("mix", DIGESTS["importance"])
def test_with_importance_the_file_is_llama_quantizes(half: Path, tmp_path: Path, mix: str) -> None:
    model = open_model(half)
    importance = importance_of(model.tensors)
    quantize_model(model, tmp_path / "ours.gguf", mix, importance)
    theirs = llama_quantize(half, tmp_path / "theirs.gguf", mix, importance)
    assert (tmp_path / "ours.gguf").read_bytes() == theirs
    assert DIGESTS["importance"][mix] == hashlib.sha256(theirs).hexdigest()


@pytest.mark.parametrize("case", DIGESTS["tensor_types"], ids=lambda case: str(case["type"]))
def test_with_tensor_types_the_file_is_llama_quantizes(
    half: Path, tmp_path: Path, case: Mapping[str, Any]
) -> None:
    options = [parse_tensor_type(option) for option in case["options"]]
    model = open_model(half)
    importance = importance_of(model.tensors) if case["importance"] else {}
    theirs = llama_quantize(half, tmp_path / "theirs.gguf", case["type"], importance, options)
    model = with_tensor_types(model, case["type"], options)
    quantize_model(model, tmp_path / "ours.gguf", case["type"], importance or None)
    assert (tmp_path / "ours.gguf").read_bytes() == theirs
    assert case["sha256"] == hashlib.sha256(theirs).hexdigest()


@pytest.mark.parametrize("mix", ["F16", "Q8_0", "Q4_K_M"])
def test_llama_cpp_writes_text_with_the_model(tmp_path: Path, mix: str) -> None:
    path = tmp_path / "model.gguf"
    quantize_model(open_model(WEIGHTS), path, mix)
    llama = llama_cpp.Llama(str(path), n_ctx=128, n_threads=1, verbose=False)
    said = llama("In the beginning God created", max_tokens=24, temperature=0)["choices"][0]["text"]
    words = [word.strip(",.;:!?") for word in said.split()]
    assert len(words) >= 12
    assert {"the", "of", "and", "his", "he", "they"} & set(words), said


@pytest.fixture(scope="module")
def text() -> Windows:
    return windows(np.load(WEIGHTS.with_name("heldout_tokens.npy")), 128, first=1)


def their_losses(path: Path, text: Windows) -> NDArray[np.float64]:
    """What llama.cpp is surprised by, token by token; keys and values are kept in float32, as ours are."""
    llama = llama_cpp.Llama(
        str(path), n_ctx=128, n_threads=1, verbose=False, logits_all=True, type_k=F32, type_v=F32
    )
    losses = []
    for window in text.tokens:
        logits = logits_of(llama, window)[:-1]
        logits -= logits.max(axis=1, keepdims=True)
        losses.append(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(127), window[1:]])
    return np.array(losses)


def test_llama_cpp_predicts_the_held_out_text_as_we_do(tmp_path: Path, text: Windows) -> None:
    """In F32 it rounds nothing, and neither do we; its kernel of F16 rounds activations to half precision."""
    ours = evaluate(load(WEIGHTS), text)
    # What the weights' own description says of the model in torch: 21.11 ± 0.15 over 120,777 predictions.
    assert ours.losses.size == 120_777
    assert ours.perplexity == pytest.approx(21.11, abs=0.005)
    assert ours.standard_error == pytest.approx(0.15, abs=0.005)
    for mix, most, usual in (("F32", 1e-3, 1e-5), ("F16", 2e-2, 1e-3)):
        quantize_model(open_model(WEIGHTS), tmp_path / f"{mix}.gguf", mix)
        difference = their_losses(tmp_path / f"{mix}.gguf", text) - ours.losses
        print(f"{mix}: at most {np.abs(difference).max():.2g}, mean {np.abs(difference).mean():.2g}")
        assert np.abs(difference).max() < most
        assert np.abs(difference).mean() < usual
        assert abs(difference.mean()) < 1e-5


@pytest.mark.parametrize("mix", ["Q8_0", "Q6_K", "Q4_K_M", "Q2_K"])
def test_perplexity_of_rounded_weights_is_llama_cpps(tmp_path: Path, text: Windows, mix: str) -> None:
    """Its CPU kernels round activations to 8 bits. With that, we agree; without, we are a little lower."""
    path = tmp_path / "model.gguf"
    quantize_model(open_model(WEIGHTS), path, mix)
    model = load(path)
    types = {tensor.name: tensor.type_name for tensor in open_model(path).tensors}
    plain, rounded = evaluate(model, text), evaluate(replace(model, inputs=rounding_of(types)), text)
    theirs = float(np.exp(their_losses(path, text).mean()))
    print(f"{mix}: theirs {theirs:.4f}, ours {plain.perplexity:.4f}, as theirs {rounded.perplexity:.4f}")
    assert abs(theirs - rounded.perplexity) < plain.standard_error / 10
    assert -0.0005 < theirs / plain.perplexity - 1 < 0.002


def cached_predictions(path: Path, text: Windows, row: Mapping[str, Any]) -> NDArray[np.float64]:
    """Log-probabilities by llama.cpp with a key/value cache of the row's types."""
    os.environ["LLAMA_ATTN_ROT_DISABLE"] = "0" if row["rotated"] else "1"
    llama = llama_cpp.Llama(
        str(path),
        n_ctx=128,
        n_threads=1,
        verbose=False,
        logits_all=True,
        flash_attn=True,
        type_k=TYPE_NUMBERS[row["cache_type_k"].upper()],
        type_v=TYPE_NUMBERS[row["cache_type_v"].upper()],
    )
    logits = np.array([logits_of(llama, window)[:-1] for window in text.tokens])
    logits -= logits.max(axis=-1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return logits


def with_cache(path: Path, text: Windows, row: Mapping[str, Any]) -> tuple[float, float]:
    """Perplexity, and mean divergence in nats from a cache in F32."""
    base = cached_predictions(path, text, {"cache_type_k": "f32", "cache_type_v": "f32", "rotated": False})
    found = cached_predictions(path, text, row)
    losses = -np.take_along_axis(found, text.targets[..., None], axis=-1)
    return float(np.exp(losses.mean())), float((np.exp(base) * (base - found)).sum(axis=-1).mean())


@pytest.mark.parametrize("row", CACHES["rows"], ids=lambda row: "-".join(map(str, row.values())))
def test_a_cache_costs_what_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: Mapping[str, Any]
) -> None:
    monkeypatch.setenv("LLAMA_ATTN_ROT_DISABLE", "0")
    quantize_model(open_model(WEIGHTS), tmp_path / "m.gguf", "F32")
    tokens = np.load(WEIGHTS.with_name("heldout_tokens.npy"))[: 128 * CACHES["windows"]]
    found = with_cache(tmp_path / "m.gguf", windows(tokens, 128, first=1), row)
    assert found == pytest.approx((row["perplexity"], row["divergence"]), rel=0.005, abs=1e-6)


def test_a_cache_in_iq4_nl_is_ggmls() -> None:
    library = ctypes.CDLL(str(Path(llama_cpp.__file__).with_name("lib") / "libggml-base.so"))
    random = np.random.default_rng(0)
    rows = random.standard_normal((400, 64)) * 10.0 ** random.integers(-6, 3, (400, 1))
    rows = np.concatenate([rows, np.zeros((1, 64)), np.ones((1, 64)), -np.ones((1, 64))]).astype(np.float32)
    blocks, back = np.empty(rows.size // 32 * 18, np.uint8), np.empty_like(rows)
    count = ctypes.c_int64(rows.size)
    library.quantize_row_iq4_nl_ref(
        ctypes.c_void_p(rows.ctypes.data), ctypes.c_void_p(blocks.ctypes.data), count
    )
    library.dequantize_row_iq4_nl(
        ctypes.c_void_p(blocks.ctypes.data), ctypes.c_void_p(back.ctypes.data), count
    )
    np.testing.assert_array_equal(stored(rows, "iq4_nl"), back)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_llama_cpp_computes_what_the_checkpoint_means(tmp_path: Path, changes: Mapping[str, Any]) -> None:
    config = {**CONFIG, **changes}
    tensors = {name: array * np.float16(0.3) for name, array in tensors_of(config).items()}
    quantize_model(
        open_model(write_checkpoint(tmp_path, config, tensors=tensors)), tmp_path / "m.gguf", "F32"
    )
    llama = llama_cpp.Llama(str(tmp_path / "m.gguf"), n_ctx=64, n_threads=1, verbose=False, logits_all=True)
    tokens = np.arange(40) * 7 % 60
    wanted = forward(config, {name: array.astype(np.float64) for name, array in tensors.items()}, tokens)
    np.testing.assert_allclose(logits_of(llama, tokens), wanted, atol=2e-3 * np.abs(wanted).max())


def logits_of(llama: Any, tokens: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    llama.reset()
    llama.eval(tokens.tolist())
    return np.array(llama.scores[: len(tokens)], dtype=np.float64)
