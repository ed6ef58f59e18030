"""NF4: against bitsandbytes, by hand, and QLoRA's forward pass."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quant_core.methods import nf4

Vectors = Mapping[str, NDArray[Any]]


def test_tables_equal_bitsandbytes(method_vectors: Vectors) -> None:
    assert np.array_equal(nf4.TABLE, method_vectors["nf4_table"])
    assert np.array_equal(nf4.dynamic_map(), method_vectors["bnb_dq_code2__normal"])


@pytest.mark.parametrize("block_size", [64, 128])
def test_equal_to_bitsandbytes(method_vectors: Vectors, ggml_vectors: Vectors, block_size: int) -> None:
    usable = ggml_vectors["edge_names"] != "fp32_subnormal"
    inputs = {"normal": ggml_vectors["x__normal"], "edge": ggml_vectors["x__edge"][usable]}
    for name, x in inputs.items():
        q = nf4.quantize(x, block_size)
        assert isinstance(q.absmax, np.ndarray)
        assert np.array_equal(q.packed, method_vectors[f"bnb_nf4_b{block_size}_q__{name}"].ravel())
        assert np.array_equal(q.absmax, method_vectors[f"bnb_nf4_b{block_size}_absmax__{name}"])
    assert np.array_equal(q.dequantize(), method_vectors[f"bnb_nf4_b{block_size}_dq__edge"])


def test_double_quantization_equals_bitsandbytes(method_vectors: Vectors, ggml_vectors: Vectors) -> None:
    q = nf4.quantize(ggml_vectors["x__normal"], double_quantization=True)
    assert np.array_equal(q.packed, method_vectors["bnb_dq_q__normal"].ravel())
    assert isinstance(q.absmax, nf4.DoubleQuantized)
    assert q.absmax.offset == method_vectors["bnb_dq_offset__normal"]
    assert np.array_equal(q.absmax.absmax2, method_vectors["bnb_dq_absmax2__normal"])
    # One of the 640 maxima lies 1e-6 from the middle of two levels and goes to the other one there.
    difference = q.absmax.codes.astype(int) - method_vectors["bnb_dq_absmax8__normal"]
    assert np.count_nonzero(difference) <= 1
    assert np.abs(difference).max() <= 1


def test_by_hand() -> None:
    weights = np.zeros(64)
    weights[:4] = 4.0, -4.0, 2.0, 0.1  # 2 / 4 = 0.5 lies between 0.4407 and 0.5626; 0.025 is nearest to 0
    q = nf4.quantize(weights)
    assert q.codes[:4].tolist() == [15, 0, 12, 7]
    assert q.packed[:2].tolist() == [0xF0, 0xC7]  # the first code in the high nibble
    assert q.dequantize()[:4].tolist() == [4.0, -4.0, pytest.approx(4 * 0.44070983), 0.0]
    # The middle of two levels goes to the lower one.
    weights[2] = 4 * (nf4.TABLE[12] + nf4.TABLE[13]) / np.float32(2)
    assert nf4.quantize(weights).codes[2] == 12


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), block_size=st.sampled_from([32, 64, 128]))
def test_every_weight_goes_to_its_nearest_level(seed: int, block_size: int) -> None:
    weights = np.random.default_rng(seed).standard_normal((4, 128)).astype(np.float32)
    q = nf4.quantize(weights, block_size)
    assert isinstance(q.absmax, np.ndarray)
    unit = weights.reshape(-1, block_size) / q.absmax[:, None]
    error = np.abs(nf4.TABLE[q.codes].reshape(unit.shape) - unit)
    nearest = np.abs(unit[..., None] - nf4.TABLE).min(axis=-1)
    assert error == pytest.approx(nearest, abs=1e-6)
    again = nf4.quantize(q.dequantize(), block_size)
    assert np.array_equal(again.codes, q.codes)
    assert np.array_equal(again.dequantize(), q.dequantize())


def test_the_largest_of_each_block_is_exact() -> None:
    weights = np.random.default_rng(0).standard_normal((8, 64)).astype(np.float32)
    restored = nf4.quantize(weights).dequantize()
    largest = np.abs(weights).argmax(axis=1)
    rows = np.arange(8)
    assert np.array_equal(restored[rows, largest], weights[rows, largest])


def test_double_quantization_is_nearly_free() -> None:
    weights = np.random.default_rng(0).standard_normal((64, 1024)).astype(np.float32)
    errors = []
    for double in (False, True):
        q = nf4.quantize(weights, double_quantization=double)
        errors.append(float(np.mean((q.dequantize() - weights) ** 2)))
    assert errors[1] == pytest.approx(errors[0], rel=0.02)


def test_bits_per_weight() -> None:
    weights = np.ones((2, 128))
    assert nf4.quantize(weights).bits_per_weight == 4.5
    assert nf4.quantize(weights, 32).bits_per_weight == 5
    # 4 + 8/64 + 32/(64 · 256): QLoRA's 0.127 bits in place of 0.5.
    assert nf4.quantize(weights, double_quantization=True).bits_per_weight == pytest.approx(4.127, abs=5e-4)


def test_zeros_are_exact() -> None:
    for double in (False, True):
        assert (nf4.quantize(np.zeros((2, 64)), double_quantization=double).dequantize() == 0).all()


def test_lora_forward_by_hand() -> None:
    base = nf4.quantize(np.eye(8))  # 64 weights, all exact
    x = np.arange(8.0)[None]
    a, b = np.zeros((2, 8)), np.zeros((8, 2))
    a[0, 7], b[0, 0] = 1.0, 3.0  # output 0 gains (α/r) · 3 · x[7]
    y = nf4.lora_forward(x, base, a, b, alpha=4)
    assert y[0].tolist() == [4 / 2 * 3 * 7, 1, 2, 3, 4, 5, 6, 7]


def test_lora_equals_the_merged_matrix() -> None:
    rng = np.random.default_rng(0)
    base = nf4.quantize(rng.standard_normal((16, 32)))
    x, a, b = (rng.standard_normal(shape) for shape in ((5, 32), (4, 32), (16, 4)))
    merged = base.dequantize() + 8 / 4 * b @ a
    assert nf4.lora_forward(x, base, a, b, alpha=8) == pytest.approx(x @ merged.T, rel=1e-4, abs=1e-4)


def test_lora_memory_by_hand() -> None:
    # A 4096 × 4096 layer and rank 64: 16.8 million frozen weights, 524,288 trained ones.
    memory = nf4.lora_memory(4096, 4096, 64, base_bits_per_weight=4.5)
    assert memory.base == 4096 * 4096 * 4.5 / 8
    assert (memory.adapter, memory.gradients, memory.optimizer) == (1048576, 1048576, 4194304)
    assert memory.total == memory.base + 6 * 1048576


@pytest.mark.parametrize(
    ("weights", "block_size", "message"),
    [
        (np.ones(100), 64, "100 weights do not divide into blocks of 64"),
        (np.ones(63), 21, "give an even divisor"),
        (np.ones(0), 64, "0 weights"),
        (np.ones(64), 0, "blocks of 0"),
        (np.full(64, np.inf), 64, "64 NaN or infinite"),
    ],
)
def test_errors_of_quantize(weights: np.ndarray, block_size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nf4.quantize(weights, block_size)


@pytest.mark.parametrize(
    ("x", "a", "b"),
    [((1, 7), (2, 8), (8, 2)), ((1, 8), (2, 7), (8, 2)), ((1, 8), (2, 8), (7, 2)), ((1, 8), (2, 8), (8, 3))],
)
def test_errors_of_lora(x: tuple[int, int], a: tuple[int, int], b: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="shapes do not fit"):
        nf4.lora_forward(np.ones(x), nf4.quantize(np.eye(8)), np.ones(a), np.ones(b), alpha=1)
