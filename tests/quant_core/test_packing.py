"""Packed checkpoints: words worked out by hand, the tensors of the real packers, and the way back."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quant_core.methods import awq, clip, packing
from quant_core.methods.gptq import gptq, hessian
from quant_core.methods.packing import IntegerWeights
from quant_core.methods.rtn import Quantized, round_to_nearest

Vectors = Mapping[str, NDArray[Any]]


def weights(
    codes: Any, zero_point: Any, scale: Any = None, bits: int = 4, group_index: Any = None
) -> IntegerWeights:
    """Build weights from lists; the groups are runs of neighbouring columns unless given."""
    q, z = np.asarray(codes, np.uint8), np.asarray(zero_point, np.uint8)
    s = np.ones(z.shape, np.float16) if scale is None else np.asarray(scale, np.float16)
    index = np.arange(q.shape[1]) // (q.shape[1] // z.shape[1]) if group_index is None else group_index
    return IntegerWeights(q, s, z, np.asarray(index, np.int32), bits)


def drawn(seed: int, rows: int, columns: int, groups: int, bits: int, lowest_zero: int = 0) -> IntegerWeights:
    rng = np.random.default_rng(seed)
    return weights(
        rng.integers(0, 2**bits, (rows, columns)),
        rng.integers(lowest_zero, 2**bits, (rows, groups)),
        rng.integers(1, 100, (rows, groups)) / 64,
        bits,
    )


def equal(a: IntegerWeights, b: IntegerWeights) -> bool:
    names = ("codes", "scale", "zero_point", "group_index")
    same = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)
    return same and a.bits == b.bits and all(getattr(a, n).dtype == getattr(b, n).dtype for n in names)


def hexadecimal(words: NDArray[Any]) -> list[str]:
    return [f"{word:08x}" for word in words.ravel().view(np.uint32)]


# Words by hand ------------------------------------------------------------------------------------------


def test_a_gptq_word() -> None:
    """Inputs 0 to 7 of one output: the first in the lowest nibble. Zero-points less 1, across the outputs."""
    codes = np.zeros((32, 32), np.uint8)
    codes[5, :8] = [1, 2, 3, 4, 5, 6, 7, 15]
    codes[5, 31] = 9
    zeros = np.full((32, 1), 8)
    zeros[:3, 0] = [1, 2, 15]
    tensors = packing.pack_gptq(weights(codes, zeros))
    assert tensors["qweight"].shape == (4, 32)
    assert hexadecimal(tensors["qweight"][:, 5]) == ["f7654321", "00000000", "00000000", "90000000"]
    assert not tensors["qweight"][:, :5].any()
    assert hexadecimal(tensors["qzeros"]) == ["77777e10", "77777777", "77777777", "77777777"]
    second = packing.pack_gptq(weights(codes, zeros), version=2)
    assert hexadecimal(second["qzeros"]) == ["88888f21", "88888888", "88888888", "88888888"]
    assert tensors["scales"].tolist() == [[1.0] * 32]
    assert tensors["g_idx"].tolist() == [0] * 32


def test_a_gptq_run_of_three_bits() -> None:
    """32 codes in three words: code 10 has its lower two bits in word 0, code 21 its lowest in word 1."""
    codes = np.zeros((32, 32), np.uint8)
    codes[0, [0, 10, 21]] = [5, 7, 3]
    words = packing.pack_gptq(weights(codes, np.full((32, 1), 4), bits=3))["qweight"][:, 0].view(np.uint32)
    assert words.tolist() == [5 | 3 << 30, 1 | 1 << 31, 1]


def test_an_awq_word() -> None:
    """Outputs 0 to 7 of one input in the order 0 2 4 6 1 3 5 7: output 1 is in bits 16 to 19."""
    codes = np.arange(8, dtype=np.uint8)[:, None]
    tensors = packing.pack_awq(weights(codes, codes[::-1]))
    assert hexadecimal(tensors["qweight"]) == ["75316420"]
    assert hexadecimal(tensors["qzeros"]) == ["02461357"]


def test_a_compressed_tensors_word() -> None:
    """Codes along the row, zero-points along the column; the rest of a word is 0."""
    tensors = packing.pack_compressed(weights([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]] * 2, [[3, 12], [14, 8]]))
    assert tensors["weight_packed"].shape == (2, 2)
    assert hexadecimal(tensors["weight_packed"]) == ["87654321", "000000a9"] * 2
    assert hexadecimal(tensors["weight_zero_point"]) == ["000000e3", "0000008c"]
    assert tensors["weight_zero_point"].shape == (1, 2)
    assert tensors["weight_shape"].tolist() == [2, 10]
    # As signed bytes, the way the format speaks of them: −8 … 7 stored with 8 added.
    signed = np.array([-8, -1, 0, 7])
    word = packing.pack_compressed(weights([signed + 8], [[8]]), symmetric=True)["weight_packed"]
    assert hexadecimal(word) == ["0000f870"]


# The tensors of the real packers ------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_equal_to_auto_gptq(packing_golden: Vectors, bits: int) -> None:
    golden = {k.removeprefix(f"gptq{bits}_"): v for k, v in packing_golden.items() if f"gptq{bits}_" in k}
    w = IntegerWeights(golden["codes"], golden["scale"], golden["zero"], golden["g"], bits)
    assert w.in_order == (bits != 4)  # that one is in act-order
    tensors = packing.pack_gptq(w)
    compare(tensors, golden)
    assert equal(packing.unpack_gptq({name: golden[name] for name in tensors}, bits), w)


def test_equal_to_auto_awq(packing_golden: Vectors) -> None:
    golden = {k.removeprefix("awq_"): v for k, v in packing_golden.items() if k.startswith("awq_")}
    w = weights(golden["codes"], golden["zero"], golden["scale"])
    tensors = packing.pack_awq(w)
    compare(tensors, golden)
    assert equal(packing.unpack_awq({name: golden[name] for name in tensors}), w)


@pytest.mark.parametrize(("case", "bits"), [("ct4", 4), ("ct4s", 4), ("ct8", 8), ("ct2", 2)])
def test_equal_to_compressed_tensors(packing_golden: Vectors, case: str, bits: int) -> None:
    golden = {k.removeprefix(f"{case}_"): v for k, v in packing_golden.items() if k.startswith(f"{case}_")}
    golden["weight_scale"] = golden["scale"]
    w = weights(golden["codes"], golden["zero"], golden["scale"], bits)
    tensors = packing.pack_compressed(w, symmetric=case.endswith("s"))
    compare(tensors, golden)
    assert ("weight_zero_point" in golden) == ("weight_zero_point" in tensors)
    assert equal(packing.unpack_compressed({name: golden[name] for name in tensors}, bits), w)


def compare(tensors: Vectors, golden: Vectors) -> None:
    for name, tensor in tensors.items():
        assert tensor.dtype == golden[name].dtype, name
        assert tensor.flags.c_contiguous, name
        assert np.array_equal(tensor, golden[name]), name


# The way back -------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    bits=st.sampled_from(packing.GPTQ_BITS),
    version=st.sampled_from([1, 2]),
    groups=st.sampled_from([1, 2, 8]),
)
def test_gptq_round_trip(seed: int, bits: int, version: Any, groups: int) -> None:
    w = drawn(seed, 64, 32, groups, bits, lowest_zero=2 - version)
    back = packing.unpack_gptq(packing.pack_gptq(w, version), bits, version)
    assert equal(back, w)
    assert np.array_equal(back.dequantize(), w.dequantize())


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 5), groups=st.sampled_from([1, 3]))
def test_awq_round_trip(seed: int, rows: int, groups: int) -> None:
    w = drawn(seed, 8 * rows, 12, groups, 4)
    assert equal(packing.unpack_awq(packing.pack_awq(w)), w)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    bits=st.sampled_from(packing.COMPRESSED_BITS),
    rows=st.integers(1, 40),
    columns=st.integers(1, 20),
)
def test_compressed_tensors_round_trip(seed: int, bits: int, rows: int, columns: int) -> None:
    w = drawn(seed, rows, 2 * columns, 2, bits)
    assert equal(packing.unpack_compressed(packing.pack_compressed(w), bits), w)


def test_act_order_round_trip(four_rows: Vectors) -> None:
    w = np.tile(four_rows["W"], (8, 1))
    result = gptq(w, hessian(four_rows["X"]), 4, group_size=128, act_order=True)
    for pack, unpack in (
        (packing.pack_compressed, packing.unpack_compressed),
        (lambda source: packing.pack_gptq(source, 2), lambda tensors: packing.unpack_gptq(tensors, 4, 2)),
    ):
        tensors = pack(result)
        name = "g_idx" if "g_idx" in tensors else "weight_g_idx"
        assert np.array_equal(tensors[name], result.group_index)
        back = unpack(tensors)
        assert np.array_equal(back.codes, result.codes)
        # Scales are rounded to float16: to 2⁻¹¹ of themselves.
        step = result.scale[:, result.group_index]
        assert (np.abs(back.dequantize() - result.dequantized) <= 15 * step * 2.0**-11).all()
    with pytest.raises(ValueError, match="act-order"):
        packing.pack_awq(result)


def test_every_method_can_be_packed(four_rows: Vectors) -> None:
    w, x = np.tile(four_rows["W"], (8, 1)), four_rows["X"]
    symmetric = gptq(w, hessian(x), 4, group_size=128, symmetric=True)
    for source in (
        round_to_nearest(w, 4, 128),
        round_to_nearest(w, 4, 128, "symmetric"),
        clip.search(w, x, 4, 128).quantized,
        awq.search(w, x, 4, 128).quantized.quantized,
        symmetric,
    ):
        levels = source.dequantize() if isinstance(source, Quantized) else source.dequantized
        largest = np.abs(levels).max()
        for back in (
            packing.unpack_gptq(packing.pack_gptq(source, 2), 4, 2),
            packing.unpack_awq(packing.pack_awq(source)),
            packing.unpack_compressed(packing.pack_compressed(source)),
        ):
            assert np.abs(back.dequantize() - levels).max() <= 2.0**-10 * largest
    assert (packing.integer_weights(symmetric).zero_point == 8).all()
    assert "weight_zero_point" not in packing.pack_compressed(symmetric, symmetric=True)
    assert equal(
        packing.unpack_compressed(packing.pack_compressed(symmetric, symmetric=True)),
        packing.unpack_gptq(packing.pack_gptq(symmetric)),
    )


# Zero-points of 0 in GPTQ's version 1 -------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_version_one_undoes_the_borrow_of_gptqmodel(bits: int) -> None:
    """It subtracts a word of ones from the words of version 2, so a zero-point of 0 borrows from the next."""
    w = drawn(3, 32, 32, 4, bits)
    w.zero_point[:4] = [[0], [0], [1], [2**bits - 1]]
    tensors = packing.pack_gptq(w, version=2)
    ones = np.uint32(sum(1 << shift for shift in range(0, 32, bits)))
    tensors["qzeros"] = (tensors["qzeros"].view(np.uint32) - ones).view(np.int32)
    assert equal(packing.unpack_gptq(tensors, bits, version=1), w)


def test_version_one_wraps_at_three_bits() -> None:
    w = drawn(3, 32, 32, 1, 3)
    w.zero_point[0] = 0
    less_one = weights(w.codes, (w.zero_point - 1) & 7, w.scale, 3)
    assert equal(packing.unpack_gptq(packing.pack_gptq(less_one, version=2), 3, version=1), w)


# Errors -------------------------------------------------------------------------------------------------

FOUR = drawn(0, 32, 32, 2, 4, lowest_zero=1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: packing.pack_gptq(weights([[1] * 32] * 32, [[0]] * 32)),
            "32 zero-points are 0, which version 1",
        ),
        (lambda: packing.pack_gptq(drawn(0, 32, 16, 1, 4, 1)), r"shape \(32, 16\); GPTQ checkpoints take"),
        (lambda: packing.pack_gptq(drawn(0, 16, 32, 1, 4, 1)), "multiples of 32 rows and 32 columns"),
        (
            lambda: packing.pack_gptq(drawn(0, 32, 32, 1, 5, 1)),
            "bits is 5; GPTQ checkpoints store 2, 3, 4, 8",
        ),
        (lambda: packing.pack_gptq(FOUR, version=3), "version is 3"),  # type: ignore[arg-type]
        (lambda: packing.pack_awq(drawn(0, 32, 32, 1, 8)), "bits is 8; AWQ checkpoints store 4"),
        (lambda: packing.pack_awq(drawn(0, 12, 32, 1, 4)), "multiples of 8 rows and 1 columns"),
        (lambda: packing.pack_compressed(drawn(0, 8, 8, 1, 3)), "bits is 3; compressed-tensors"),
        (lambda: packing.pack_compressed(FOUR, symmetric=True), "not all of them are 8"),
        (lambda: packing.pack_awq(round_to_nearest(np.eye(8), 4, None, "float_offset")), "a float offset"),
        (lambda: packing.pack_awq(round_to_nearest(1e9 * np.eye(8), 4, None)), "scales reach from 6.66667e"),
        (lambda: packing.pack_awq(round_to_nearest(np.eye(8) * 1e-9, 8, None)), "bits is 8"),
    ],
)
def test_errors_of_writing(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_unknown_source_is_refused() -> None:
    with pytest.raises(TypeError, match="source is a ndarray; give a Quantized or a GPTQResult"):
        packing.integer_weights(np.eye(8))  # type: ignore[arg-type]


def test_scales_that_vanish_in_half_precision() -> None:
    tiny = Quantized(FOUR.codes.astype(np.int32), round_to_nearest(np.eye(32), 4, 16).grid, 16)
    tiny.scale[:] = 1e-9
    with pytest.raises(ValueError, match="in float16, from 6e-08"):
        packing.integer_weights(tiny)


GPTQ = packing.pack_gptq(FOUR)
AWQ = packing.pack_awq(FOUR)
COMPRESSED = packing.pack_compressed(FOUR)


def without(tensors: Vectors, name: str) -> Vectors:
    return {key: tensor for key, tensor in tensors.items() if key != name}


@pytest.mark.parametrize(
    ("unpack", "tensors", "message"),
    [
        (packing.unpack_gptq, without(GPTQ, "qzeros"), "qzeros is missing; there are g_idx, qweight, scales"),
        (packing.unpack_gptq, {}, "scales is missing; there are no tensors"),
        (
            packing.unpack_gptq,
            {**GPTQ, "qweight": GPTQ["qweight"][:, :8]},
            r"int32 of shape \(any, 32\) fits",
        ),
        (packing.unpack_gptq, {**GPTQ, "qweight": GPTQ["qweight"][:0]}, r"shape \(0, 32\)"),
        (packing.unpack_gptq, {**GPTQ, "qweight": GPTQ["qweight"].astype(np.int64)}, "qweight is int64"),
        (packing.unpack_gptq, {**GPTQ, "qzeros": GPTQ["qzeros"][:1]}, r"int32 of shape \(2, 4\) fits"),
        (packing.unpack_gptq, {**GPTQ, "scales": GPTQ["scales"][0]}, "scales is float16 of shape"),
        (packing.unpack_gptq, {**GPTQ, "scales": GPTQ["scales"] * np.float16(np.inf)}, "float16"),
        (
            packing.unpack_gptq,
            {**GPTQ, "g_idx": GPTQ["g_idx"] + 1},
            "values from 1 to 2; it must give one of 2",
        ),
        (packing.unpack_gptq, {**GPTQ, "g_idx": GPTQ["g_idx"][:5]}, r"g_idx has shape \(5,\)"),
        (packing.unpack_gptq, {**GPTQ, "g_idx": GPTQ["g_idx"] * 0.5}, "hold integers"),
        (
            packing.unpack_awq,
            {**AWQ, "qweight": AWQ["qweight"][:31]},
            "31 columns do not divide into 2 groups",
        ),
        (packing.unpack_awq, {**AWQ, "qweight": AWQ["qweight"].T}, r"int32 of shape \(any, 4\)"),
        (packing.unpack_awq, {**AWQ, "scales": AWQ["scales"][:, :12]}, "multiples of 8 rows"),
        (packing.unpack_compressed, {**COMPRESSED, "weight_shape": np.array([31, 32])}, "they must agree"),
        (packing.unpack_compressed, {**COMPRESSED, "weight_shape": np.array([32])}, "they must agree"),
        (
            packing.unpack_compressed,
            {**COMPRESSED, "weight_shape": np.array([32, 900])},
            r"shape \(32, 113\)",
        ),
    ],
)
def test_errors_of_reading(unpack: Callable[..., Any], tensors: Vectors, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unpack(tensors)


def test_three_bit_codes_must_fill_their_words() -> None:
    tensors = packing.pack_gptq(drawn(0, 32, 32, 1, 3, 1))
    longer = {**without(tensors, "g_idx"), "qweight": np.zeros((4, 32), np.int32)}
    with pytest.raises(ValueError, match="4 rows of words, which hold no whole number of 3-bit codes"):
        packing.unpack_gptq(longer, bits=3)
    # 33 outputs need a fifth word of zero-points.
    wider = {**GPTQ, "scales": np.ones((2, 33)), "qweight": np.zeros((4, 33), np.int32)}
    with pytest.raises(ValueError, match=r"qzeros is int32 of shape \(2, 4\); int32 of shape \(2, 5\) fits"):
        packing.unpack_gptq(wider)


def test_without_an_index_the_groups_are_in_order() -> None:
    assert equal(packing.unpack_gptq(without(GPTQ, "g_idx")), FOUR)
    assert not weights([[1, 2]], [[1, 2]], group_index=[1, 0]).in_order
    assert not weights([[1, 2, 3]], [[1, 2]], group_index=[0, 0, 1]).in_order


def test_big_endian_words_are_read() -> None:
    swapped = {name: tensor.astype(tensor.dtype.newbyteorder(">")) for name, tensor in GPTQ.items()}
    assert equal(packing.unpack_gptq(swapped), FOUR)
