"""The shipped weights match their stated provenance and the statements of the lesson."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from safetensors.numpy import load_file

from lessons.quantization import sources
from lessons.quantization.sources import LAYERS, TINY_MODEL, WEIGHTS, layer_row, load_layer
from quant_core.llm.shapes import model_shape

ROOT = Path(__file__).resolve().parents[2]


# --- the files --------------------------------------------------------------------------------------------


def test_every_file_has_its_checksum() -> None:
    lines = (WEIGHTS / "SHA256SUMS").read_text("utf-8").splitlines()
    listed = {name: digest for digest, name in (line.split() for line in lines)}
    for name, digest in listed.items():
        assert hashlib.sha256((WEIGHTS / name).read_bytes()).hexdigest() == digest, name
    there = {path.relative_to(WEIGHTS).as_posix() for path in WEIGHTS.rglob("*") if path.is_file()}
    assert {name for name in there if not name.endswith(".md")} == {*listed, "SHA256SUMS"}


def test_every_layer_has_provenance_and_licence() -> None:
    provenance = (WEIGHTS / "PROVENANCE.md").read_text("utf-8")
    for name in LAYERS:
        assert f"`{name}`" in provenance
        assert f"`{load_layer(name).tensor}`" in provenance
        assert "Apache-2.0" in load_layer(name).model
    assert "Apache License" in (WEIGHTS / "LICENSE-Apache-2.0.txt").read_text("utf-8")
    notice = (ROOT / "NOTICE").read_text("utf-8")
    assert all(name in notice for name in ("all-MiniLM-L6-v2", "SmolLM2-135M-Instruct", "tinylm", "IBM Plex"))


# --- the layers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAYERS)
def test_arrays_are_float32_read_only_and_fit_together(name: str) -> None:
    layer = load_layer(name)
    rows, columns = layer.weights.shape
    assert len(layer.rows) == rows
    arrays = (
        (layer.weights, (rows, columns)),
        (layer.hessian, (columns, columns)),
        (layer.mean_abs, (columns,)),
        (layer.activations_test, (None, columns)),
        (layer.activations_calibration, (None, columns)),
    )
    for array, shape in arrays:
        if array is not None:
            assert all(wanted in (None, size) for wanted, size in zip(shape, array.shape, strict=True))
            assert array.dtype == np.float32
            assert not array.flags.writeable
            assert np.isfinite(array).all()


def test_layers_are_read_once() -> None:
    assert load_layer(LAYERS[0]) is load_layer(LAYERS[0])


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "minilm.0.ffn_out"])
def test_the_hessian_is_symmetric_and_positive(name: str) -> None:
    hessian = load_layer(name).hessian
    assert hessian is not None
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-4)
    assert np.linalg.eigvalsh(hessian.astype(np.float64)).min() > -1e-3


def test_outlier_channels_of_the_main_layer() -> None:
    """The loudest input channel is 17.9 times the median one; three of 384 carry 42 % of the energy."""
    layer = load_layer("minilm.5.ffn_in")
    assert layer.mean_abs is not None
    assert layer.hessian is not None
    assert round(float(layer.mean_abs.max() / np.median(layer.mean_abs)), 1) == 17.9
    energy = np.sort(np.diag(layer.hessian))[::-1]
    assert round(float(energy[:3].sum() / energy.sum()), 2) == 0.42


def test_the_control_has_no_strong_outlier_channel() -> None:
    mean_abs = load_layer("minilm.1.query").mean_abs
    assert mean_abs is not None
    assert mean_abs.max() / np.median(mean_abs) < 5  # 17.9 in the main layer


def test_the_outlier_weight() -> None:
    row = layer_row("minilm.0.ffn_out", 99)
    assert row.shape == (1536,)
    assert int(np.argmax(np.abs(row))) == 856
    assert row[856] == pytest.approx(7.91, abs=0.005)
    block = row[768:896]
    assert np.median(np.abs(block)) == pytest.approx(0.014, abs=0.001)


def test_a_language_models_layer_lies_on_a_4_bit_grid() -> None:
    """It was dequantized from Q4_1: no block of 32 has more than sixteen different values."""
    weights = load_layer("smollm2.15.q").weights
    assert max(len(np.unique(block)) for block in weights.reshape(-1, 32)) <= 16


def test_a_row_goes_by_its_index_in_the_full_tensor() -> None:
    layer = load_layer("minilm.0.ffn_out")
    assert layer.rows[-1] == 99
    np.testing.assert_array_equal(layer_row("minilm.0.ffn_out", 99), layer.weights[-1])
    np.testing.assert_array_equal(layer_row("minilm.1.query", 40), load_layer("minilm.1.query").weights[40])


def test_missing_weights_are_refused() -> None:
    with pytest.raises(ValueError, match=r"row 50 of minilm\.0\.ffn_out is not shipped; there are 0–30, 99"):
        layer_row("minilm.0.ffn_out", 50)
    with pytest.raises(ValueError, match=r"layer 'gpt' is not shipped; choose one of minilm\.5\.ffn_in"):
        load_layer("gpt")


# --- the small language model -----------------------------------------------------------------------------


def test_the_tiny_model_is_what_its_configuration_says() -> None:
    shape = model_shape(json.loads((TINY_MODEL / "config.json").read_text("utf-8")))
    tensors = load_file(TINY_MODEL / "model.safetensors")
    assert sum(tensor.size for tensor in tensors.values()) == shape.parameters == 2_033_408
    assert all(tensor.shape[-1] % 256 == 0 for tensor in tensors.values() if tensor.ndim == 2)


def test_the_held_out_tokens_are_in_the_vocabulary() -> None:
    tokens = np.load(TINY_MODEL / "heldout_tokens.npy")
    documents = json.loads((TINY_MODEL / "heldout_text.json").read_text("utf-8"))
    assert tokens.dtype == np.uint16
    assert tokens.max() < 1024
    assert np.count_nonzero(tokens == 0) in (len(documents) - 1, len(documents), len(documents) + 1)


# --- the script that compares with the packages -----------------------------------------------------------


def script() -> ModuleType:
    """Return scripts/verify_weights.py as a module."""
    spec = importlib.util.spec_from_file_location("verify_weights", ROOT / "scripts" / "verify_weights.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_script_sees_one_changed_bit() -> None:
    difference = script().difference
    original = np.linspace(-1, 1, 40, dtype=np.float32).reshape(10, 4)
    shipped = original[[2, 7]].astype(np.float16)
    assert difference(shipped, original, np.array([2, 7])) == ""
    shipped.view(np.uint16)[1, 3] ^= 1
    assert difference(shipped, original, np.array([2, 7])) == "1 weights, the first at (1, 3)"
    assert difference(shipped[:1], original, np.array([2, 7])) == "shape (1, 4) instead of (2, 4)"


def test_the_script_compares_every_shipped_layer() -> None:
    verify = script()
    assert {one.name.rsplit(".", 1)[0] for one in verify.SLICES} == set(LAYERS)
    for wanted in verify.SLICES:
        layer = load_layer(wanted.name.rsplit(".", 1)[0])
        weights, rows = verify.load_shipped(wanted)
        assert tuple(rows.tolist()) == layer.rows
        assert wanted.tensor == layer.tensor
        np.testing.assert_array_equal(weights.astype(np.float32), layer.weights)


def test_spans_of_rows() -> None:
    assert sources._spans((0, 1, 2, 9)) == "0–2, 9"
