"""4-bit floats with scales: the bytes of torchao, compressed-tensors, ModelOpt and gpt-oss, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from quant_core.files.safetensors import read_safetensors
from quant_core.methods import e2m1, mxfp4, nvfp4
from quant_core.methods.metrics import sqnr_db
from tests.quant_core.model_files import safetensors_bytes

Vectors = Mapping[str, NDArray[Any]]

GOLDEN = np.load(Path(__file__).resolve().parents[1] / "data" / "fp4_golden.npz")
CODES = np.arange(16, dtype=np.uint8)


def golden(prefix: str) -> dict[str, NDArray[Any]]:
    """The tensors that a packer wrote, by their names in its checkpoint."""
    names = [name for name in GOLDEN.files if name.startswith(prefix) and "dequantized" not in name]
    return {name.removeprefix(prefix): GOLDEN[name] for name in names}


def from_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def same(tensors: Vectors, expected: Vectors) -> bool:
    return tensors.keys() == expected.keys() and all(
        tensors[name].dtype == one.dtype
        and tensors[name].shape == one.shape
        and np.array_equal(tensors[name], one)
        for name, one in expected.items()
    )


# Elements -----------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=20))
def test_the_nearest_level_is_taken(values: list[float]) -> None:
    levels = e2m1.decode(CODES)
    got = e2m1.decode(e2m1.encode(values))
    clipped = np.clip(values, -6, 6)
    assert np.array_equal(np.abs(got - clipped), np.abs(clipped[:, None] - levels).min(axis=1))
    assert np.array_equal(np.signbit(got), np.signbit(values))


def test_levels_ties_and_the_second_zero() -> None:
    levels = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    assert e2m1.decode(CODES).tolist() == [*levels, *(-level for level in levels)]
    assert np.signbit(e2m1.decode(CODES)).tolist() == [False] * 8 + [True] * 8
    assert e2m1.encode([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0]).tolist() == [0, 2, 2, 4, 4, 6, 6]
    assert np.array_equal(e2m1.encode(e2m1.decode(CODES)), CODES)


def test_the_first_code_is_in_the_low_nibble() -> None:
    assert e2m1.pack(CODES[None, :4]).tolist() == [[0x10, 0x32]]
    assert np.array_equal(e2m1.unpack(e2m1.pack(CODES.reshape(2, 2, 4))), CODES.reshape(2, 2, 4))


# The quantizers -----------------------------------------------------------------------------------------


def test_nvfp4_is_that_of_torchao(ggml_vectors: Vectors) -> None:
    q = nvfp4.quantize(ggml_vectors["x__normal"])
    assert q.tensor_scale == GOLDEN["nvfp4_2level_pts__normal"]
    assert np.array_equal(q.scale_bits, GOLDEN["nvfp4_2level_scale__normal"])
    assert np.array_equal(e2m1.pack(q.codes), GOLDEN["nvfp4_2level_data__normal"])
    assert q.scale.max() == 448


def test_nvfp4_without_a_scale_of_the_tensor_is_that_of_torchao(ggml_vectors: Vectors) -> None:
    q = nvfp4.quantize(ggml_vectors["x__edge"], tensor_scale=1)
    assert np.array_equal(q.scale_bits, GOLDEN["nvfp4_1level_scale__edge"])
    assert np.array_equal(e2m1.pack(q.codes), GOLDEN["nvfp4_1level_data__edge"])


@pytest.mark.parametrize("name", [n for n in GOLDEN.files if n.startswith("mx_fp4") and "_data_" in n])
def test_mxfp4_is_that_of_torchao(ggml_vectors: Vectors, name: str) -> None:
    scaling: Any = name.split("_")[2]
    q = mxfp4.quantize(ggml_vectors[f"x__{name.rpartition('__')[2]}"], scaling)
    assert np.array_equal(q.scale_bits, GOLDEN[name.replace("data", "scale")])
    assert np.array_equal(e2m1.pack(q.codes), GOLDEN[name])


def test_every_scaling_of_mxfp4_is_compared() -> None:
    assert get_args(mxfp4.Scaling) == mxfp4.SCALINGS
    assert {n.split("_")[2] for n in GOLDEN.files if n.startswith("mx_fp4")} == set(mxfp4.SCALINGS)


def test_quality_on_real_weights(method_vectors: Vectors) -> None:
    """In decibels: finer scales gain 2 over powers of two; the tensor's scale makes them fit any size."""
    w = method_vectors["W"]

    def quality(q: nvfp4.NVFP4 | mxfp4.MXFP4, factor: float = 1) -> float:
        return sqnr_db(w * factor, q.dequantize())

    small = w / 1024
    measured = [
        quality(nvfp4.quantize(w)),
        quality(nvfp4.quantize(w, tensor_scale=1)),
        quality(mxfp4.quantize(w)),
        quality(mxfp4.quantize(w, "rceil")),
        quality(nvfp4.quantize(small, tensor_scale=1), 1 / 1024),
    ]
    assert measured == pytest.approx([20.50, 20.38, 18.68, 18.39, 0.0], abs=0.01)
    assert np.array_equal(nvfp4.quantize(small).codes, nvfp4.quantize(w).codes)


@pytest.mark.parametrize("size", [1e-42, 1e-30, 1e30, 3e38])
def test_tiny_and_huge_matrices(size: float) -> None:
    w = size * np.linspace(-1, 1, 64).reshape(2, 32)
    for q in (nvfp4.quantize(w), nvfp4.quantize(w, tensor_scale=1), mxfp4.quantize(w)):
        assert np.isfinite(q.dequantize()).all()
    if size > 1e-35:
        assert sqnr_db(w, nvfp4.quantize(w).dequantize()) > 18


def test_zeros() -> None:
    zeros = np.zeros((3, 64), np.float32)
    for q in (nvfp4.quantize(zeros), mxfp4.quantize(zeros)):
        assert not q.dequantize().any()
    assert nvfp4.quantize(zeros).tensor_scale == 1


def test_one_scale_for_matrices_that_are_multiplied_as_one() -> None:
    small, large = np.full((1, 16), 0.1, np.float32), np.full((1, 16), 9.0, np.float32)
    scale = nvfp4.quantize(large).tensor_scale
    shared = nvfp4.quantize(small, tensor_scale=float(scale))
    assert shared.tensor_scale == scale
    assert shared.dequantize() == pytest.approx(small, rel=0.07)
    both = nvfp4.quantize(np.concatenate([small, large]))
    assert np.array_equal(both.codes[:1], shared.codes)


# Checkpoints --------------------------------------------------------------------------------------------


def test_compressed_tensors_writes_the_same(method_vectors: Vectors) -> None:
    tensors = nvfp4.pack_compressed(nvfp4.quantize(method_vectors["W"]))
    assert same(tensors, golden("ct_"))
    read = nvfp4.unpack_compressed(golden("ct_"))
    assert same(nvfp4.pack_compressed(read), golden("ct_"))
    expected = from_bfloat16(GOLDEN["ct_dequantized"])  # rounded to 8 bits, twice
    assert (np.abs(read.dequantize() - expected) <= 2.0**-7 * np.abs(expected)).all()


def test_modelopt_writes_the_same(method_vectors: Vectors) -> None:
    tensors = nvfp4.pack_modelopt(nvfp4.quantize(method_vectors["W"]))
    assert same(tensors, golden("mo_"))
    assert np.array_equal(nvfp4.unpack_modelopt(golden("mo_")).dequantize(), GOLDEN["mo_dequantized"])


def test_the_global_scale_of_compressed_tensors_is_the_reciprocal() -> None:
    q = nvfp4.quantize(np.full((1, 16), 2.0))
    assert nvfp4.pack_compressed(q)["weight_global_scale"] == pytest.approx([1344])
    assert nvfp4.pack_modelopt(q)["weight_scale_2"] == pytest.approx(1 / 1344)


def test_gpt_oss_is_read_as_transformers_reads_it() -> None:
    q = mxfp4.unpack_gpt_oss(GOLDEN["oss_blocks"], GOLDEN["oss_scales"])
    # transformers transposes each expert.
    expected = from_bfloat16(GOLDEN["oss_dequantized"]).swapaxes(1, 2)
    assert np.array_equal(q.dequantize(), expected)
    assert np.array_equal(np.signbit(q.dequantize()), np.signbit(expected))
    blocks, scales = mxfp4.pack_gpt_oss(q)
    assert np.array_equal(blocks, GOLDEN["oss_blocks"])
    assert np.array_equal(scales, GOLDEN["oss_scales"])


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 5), blocks=st.integers(1, 4))
def test_round_trips(seed: int, rows: int, blocks: int) -> None:
    w = np.random.default_rng(seed).standard_normal((rows, 32 * blocks)).astype(np.float32)
    q = nvfp4.quantize(w)
    assert np.array_equal(nvfp4.unpack_modelopt(nvfp4.pack_modelopt(q)).dequantize(), q.dequantize())
    back = nvfp4.unpack_compressed(nvfp4.pack_compressed(q))
    assert np.array_equal(back.codes, q.codes)
    assert np.array_equal(back.scale_bits, q.scale_bits)
    assert back.tensor_scale == pytest.approx(q.tensor_scale, rel=2.0**-22)
    m = mxfp4.quantize(w)
    assert np.array_equal(mxfp4.unpack_gpt_oss(*mxfp4.pack_gpt_oss(m)).dequantize(), m.dequantize())


def test_tensors_of_a_file(tmp_path: Path, method_vectors: Vectors) -> None:
    """The bytes of a safetensors file, whose types numpy does not have, are what is unpacked."""
    q = nvfp4.quantize(method_vectors["W"])
    types = {"weight_packed": "U8", "weight_scale": "F8_E4M3", "weight_global_scale": "F32"}
    header, data = {}, b""
    for name, tensor in nvfp4.pack_compressed(q).items():
        place = [len(data), len(data) + tensor.nbytes]
        header[f"q_proj.{name}"] = {"dtype": types[name], "shape": tensor.shape, "data_offsets": place}
        data += tensor.tobytes()
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes(header, data))
    stored = {name.removeprefix("q_proj."): one for name, one in read_safetensors(path).items()}
    raw = {name: one.raw() for name, one in stored.items()}
    raw["weight_global_scale"] = raw["weight_global_scale"].view("<f4")
    assert np.array_equal(nvfp4.unpack_compressed(raw).scale_bits, q.scale_bits)
    assert np.array_equal(nvfp4.unpack_compressed(raw).codes, q.codes)


def test_configurations_are_those_that_the_packages_write() -> None:
    """What compressed-tensors 0.20.1 and ModelOpt 0.47.0 wrote for weights, less nulls and producer."""
    assert nvfp4.compressed_config() == {
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": {
                    "num_bits": 4,
                    "type": "float",
                    "symmetric": True,
                    "group_size": 16,
                    "strategy": "tensor_group",
                    "dynamic": False,
                    "scale_dtype": "torch.float8_e4m3fn",
                },
                "format": "nvfp4-pack-quantized",
            }
        },
        "quant_method": "compressed-tensors",
        "format": "nvfp4-pack-quantized",
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
    }
    weights = {"dynamic": False, "num_bits": 4, "type": "float", "group_size": 16}
    assert nvfp4.modelopt_config(["lm_head", "router"]) == {
        "config_groups": {"group_0": {"weights": weights, "targets": ["Linear"]}},
        "ignore": ["lm_head", "router"],
        "quant_algo": "W4A16_NVFP4",
        "quant_method": "modelopt",
    }
    assert mxfp4.gpt_oss_config(["lm_head"]) == {
        "quant_method": "mxfp4",
        "modules_to_not_convert": ["lm_head"],
    }


def test_bits_per_weight_are_the_bytes_stored() -> None:
    w = np.ones((64, 1024), np.float32)
    q, m = nvfp4.quantize(w), mxfp4.quantize(w)
    stored = sum(one.nbytes for one in nvfp4.pack_modelopt(q).values())
    assert 8 * (stored - 4) / w.size == q.bits_per_weight == 4.5
    assert 8 * sum(one.nbytes for one in mxfp4.pack_gpt_oss(m)) / w.size == m.bits_per_weight == 4.25


# Errors -------------------------------------------------------------------------------------------------

COMPRESSED = nvfp4.pack_compressed(nvfp4.quantize(np.ones((2, 32))))
MODELOPT = nvfp4.pack_modelopt(nvfp4.quantize(np.ones((2, 32))))
BLOCKS, SCALES = mxfp4.pack_gpt_oss(mxfp4.quantize(np.ones((2, 64))))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: e2m1.encode([np.nan]), "holds 1 NaN or infinite"),
        (lambda: e2m1.decode(np.array([16], np.uint8)), "codes reach 16; a code of 4 bits is 0 to 15"),
        (lambda: e2m1.decode([1, 2]), "codes have dtype int64; give uint8"),
        (lambda: e2m1.pack(CODES[:3]), r"shape \(3,\); the last size must be even"),
        (lambda: e2m1.pack(CODES + np.uint8(2)), "codes reach 17"),
        (lambda: nvfp4.quantize(np.ones((2, 24))), "24 columns; NVFP4 takes a multiple of 16"),
        (lambda: nvfp4.quantize(np.ones(16)), r"shape \(16,\)"),
        (lambda: nvfp4.quantize(np.ones((1, 16)), 0), "tensor_scale is 0; it must be a number from 7.5e-37"),
        (lambda: nvfp4.quantize(np.ones((1, 16)), np.nan), "tensor_scale is nan"),
        (lambda: mxfp4.quantize(np.ones((2, 16))), r"shape \(2, 16\); MXFP4 takes rows of a multiple of 32"),
        (lambda: mxfp4.quantize(1.0), r"shape \(\)"),
        (
            lambda: mxfp4.quantize(np.ones((2, 32)), "up"),  # type: ignore[arg-type]
            "scaling is 'up'; give one of floor, ceil, even, rceil",
        ),
        (lambda: nvfp4.unpack_compressed({}), "weight_global_scale is missing; there are no tensors"),
        (
            lambda: nvfp4.unpack_compressed(MODELOPT),
            "missing; there are weight, weight_scale, weight_scale_2",
        ),
        (
            lambda: nvfp4.unpack_compressed({**COMPRESSED, "weight_global_scale": np.zeros(1, np.float32)}),
            "weight_global_scale is 0.0; it must be a finite number from 1.2e-38",
        ),
        (
            lambda: nvfp4.unpack_modelopt({**MODELOPT, "weight_scale_2": np.array(-1, np.float32)}),
            "weight_scale_2 is -1.0; it must be a finite number from 0",
        ),
        (
            lambda: nvfp4.unpack_modelopt({**MODELOPT, "weight_scale_2": np.ones(2, np.float32)}),
            r"float32 of shape \(2,\); it must be one float32",
        ),
        (
            lambda: nvfp4.unpack_modelopt({**MODELOPT, "weight": MODELOPT["weight"][:, :8]}),
            r"weight has shape \(2, 8\), but weight_scale \(2, 2\)",
        ),
        (
            lambda: nvfp4.unpack_modelopt({**MODELOPT, "weight": MODELOPT["weight"].astype(np.int32)}),
            r"weight is int32 of shape \(2, 16\); it must be a matrix of bytes",
        ),
        (
            lambda: nvfp4.unpack_modelopt({**MODELOPT, "weight_scale": np.full((2, 2), 127, np.uint8)}),
            "weight_scale holds byte 127; scales are positive E4M3 numbers, 0 to 126",
        ),
        (
            lambda: mxfp4.unpack_gpt_oss(BLOCKS, SCALES[:1]),
            r"blocks have shape \(2, 2, 16\) and scales \(1, 2\)",
        ),
        (lambda: mxfp4.unpack_gpt_oss(BLOCKS, SCALES * 1.0), "scales are float64"),
        (lambda: mxfp4.unpack_gpt_oss(BLOCKS, np.full((2, 2), 255, np.uint8)), "scales hold 255"),
    ],
)
def test_errors(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_matrix_of_zeros_of_modelopt() -> None:
    read = nvfp4.unpack_modelopt({**MODELOPT, "weight_scale_2": np.array(0, np.float32)})
    assert not read.dequantize().any()
