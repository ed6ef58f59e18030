"""The table of formats, the arguments that are accepted, the errors, and the X-ray of a block."""

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from quant_core import ggml
from quant_core.ggml import FORMATS, Field, Format

TYPES = list(ggml.CODECS)
WRITABLE = pytest.mark.parametrize("type_name", ggml.QUANTIZABLE)
NEED_IMPORTANCE = ("IQ2_XXS", "IQ2_XS", "IQ1_S")


def some_blocks(type_name: str) -> NDArray[np.uint8]:
    """One row of 512 random weights."""
    weights = np.random.default_rng(1).standard_normal(512)
    return ggml.quantize(weights, type_name, importance_for(type_name, 512)).ravel()


def importance_for(type_name: str, columns: int) -> NDArray[np.float64] | None:
    """All ones where the type needs an importance."""
    return np.ones(columns) if type_name in NEED_IMPORTANCE else None


@pytest.mark.parametrize("type_name", [name for name in FORMATS if name != "Q2_0"])  # newer than the package
def test_block_sizes_equal_the_gguf_package(type_name: str) -> None:
    expected = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[type_name]]
    assert (FORMATS[type_name].block_size, FORMATS[type_name].block_bytes) == expected


def test_bits_per_weight() -> None:
    known = {"Q4_0": 4.5, "Q8_0": 8.5, "Q2_K": 2.625, "Q4_K": 4.5, "Q5_K": 5.5, "Q6_K": 6.5625, "MXFP4": 4.25}
    assert {name: FORMATS[name].bits_per_weight for name in known} == known


def test_fallbacks_are_formats_of_small_blocks() -> None:
    for layout in FORMATS.values():
        assert (layout.fallback is None) == (layout.block_size < 256 and layout.name != "Q2_0")
        if layout.fallback is not None:
            assert FORMATS[layout.fallback].block_size == 32


def test_q4_k_in_bytes() -> None:
    fields = [(f.name, f.offset, f.size) for f in FORMATS["Q4_K"].fields]
    assert fields == [("d", 0, 2), ("dmin", 2, 2), ("scales", 4, 12), ("qs", 16, 128)]


def test_a_layout_with_a_gap_is_refused() -> None:
    with pytest.raises(ValueError, match="field b is at 3 and not at 2"):
        Format("odd", 32, 4, (Field("a", 0, 2, "x"), Field("b", 3, 1, "x")), None)
    with pytest.raises(ValueError, match="fill 2 of 4 bytes"):
        Format("odd", 32, 4, (Field("a", 0, 2, "x"),), None)


@WRITABLE
def test_other_dtypes_and_memory_orders_are_converted(type_name: str) -> None:
    rows = np.random.default_rng(0).standard_normal((4, 512)).astype(np.float16)
    ones = importance_for(type_name, 512)
    expected = ggml.quantize(rows.astype(np.float32), type_name, ones)
    for same in (rows, rows.astype(np.float64), np.asfortranarray(rows), rows.tolist()):
        assert np.array_equal(ggml.quantize(same, type_name, ones), expected)
    strided = np.repeat(rows, 2, axis=1)[:, ::2]
    assert np.array_equal(ggml.quantize(strided, type_name, ones), expected)
    doubled = np.repeat(expected, 2, axis=1)[:, ::2]
    assert np.array_equal(ggml.dequantize(doubled, type_name), ggml.dequantize(expected, type_name))
    assert ggml.quantize(rows[0], type_name, ones).shape == (1, expected.shape[1])
    assert ggml.dequantize(expected[0], type_name).shape == (1, 512)


@WRITABLE
def test_input_is_not_modified(type_name: str) -> None:
    rows = np.random.default_rng(0).standard_normal((2, 256)).astype(np.float32)
    importance = np.linspace(0, 1, 256, dtype=np.float32)
    kept = rows.copy(), importance.copy()
    data = ggml.quantize(rows, type_name, importance)
    kept_data = data.copy()
    ggml.dequantize(data, type_name)
    ggml.fields(data, type_name)
    assert np.array_equal(rows, kept[0])
    assert np.array_equal(importance, kept[1])
    assert np.array_equal(data, kept_data)


@pytest.mark.parametrize(
    ("weights", "type_name", "importance", "message"),
    [
        (np.ones(256), "Q3_X", None, "type 'Q3_X' is not known; the types are F32, .*, Q1_0$"),
        (np.ones(100), "Q4_0", None, "100 weights is not a multiple of 32, the block of Q4_0$"),
        (np.ones(384), "Q4_K", None, "multiple of 256, the block of Q4_K; llama.cpp stores .* as Q5_0"),
        (np.ones((2, 2, 256)), "Q4_K", None, r"shape \(2, 2, 256\)"),
        (np.ones((0, 256)), "Q4_K", None, r"shape \(0, 256\)"),
        (np.float32(1), "Q4_K", None, r"shape \(\)"),
        (np.full(256, np.nan), "Q4_K", None, "256 NaN or infinite"),
        (np.full(256, 1e300), "Q4_K", None, "weights as float32 holds 256 NaN or infinite"),
        (np.ones(256), "Q4_K", np.ones(255), r"importance has shape \(255,\); .* \(256,\)"),
        (np.ones(256), "Q4_K", np.ones((1, 256)), r"importance has shape \(1, 256\)"),
        (np.ones(256), "Q4_K", np.full(256, np.inf), "importance holds 256 NaN or infinite"),
        (np.ones(256), "Q4_K", np.full(256, 1e300), "importance as float32 holds 256 NaN or infinite"),
        (np.ones(256), "Q4_K", -np.ones(256), "importance holds a negative number"),
        (np.ones(256, complex), "Q4_K", None, "dtype complex128"),
    ],
)
def test_errors_of_quantize(
    weights: np.ndarray, type_name: str, importance: np.ndarray | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ggml.quantize(weights, type_name, importance)


@pytest.mark.parametrize(
    ("data", "type_name", "message"),
    [
        (np.zeros(143, np.uint8), "Q4_K", "143 bytes is not a multiple of 144, the block of Q4_K"),
        (np.zeros(144, np.int8), "Q4_K", "dtype int8"),
        (np.zeros((0, 144), np.uint8), "Q4_K", r"shape \(0, 144\)"),
        (np.zeros((1, 1, 144), np.uint8), "Q4_K", r"shape \(1, 1, 144\)"),
        (np.zeros(144, np.uint8), "Q9_K", "type 'Q9_K' is not known"),
    ],
)
def test_errors_of_dequantize_and_fields(data: np.ndarray, type_name: str, message: str) -> None:
    for function in (ggml.dequantize, ggml.fields):
        with pytest.raises(ValueError, match=message):
            function(data, type_name)


def test_f32_loses_nothing_and_shows_its_bits() -> None:
    fields = ggml.fields(ggml.quantize([1.0, -2.0], "F32"), "F32")
    assert fields["value"].tolist() == [1.0, -2.0]
    assert fields["value_bits"].tolist() == [0x3F800000, 0xC0000000]


@pytest.mark.parametrize("type_name", TYPES)
def test_fields_have_one_row_for_each_block(type_name: str) -> None:
    layout = FORMATS[type_name]
    fields = ggml.fields(np.stack([some_blocks(type_name)] * 3), type_name)
    blocks = 3 * 512 // layout.block_size
    assert {len(array) for array in fields.values()} == {blocks}
    if "codes" in fields:
        assert fields["codes"].shape == (blocks, layout.block_size)
    for name in fields:
        if f"{name}_bits" in fields:
            assert fields[name].dtype == np.float32
    if "d" in fields and type_name != "NVFP4":
        assert np.array_equal(fields["d_bits"].view(np.float16).astype(np.float32), fields["d"])


# --- X-ray -------------------------------------------------------------------------------------------------


def test_q4_k_bytes_by_hand() -> None:
    """The roles that ggml's structure gives, read from its definition."""

    def runs(byte: int) -> list[tuple[str, int, int, int, int]]:
        return [(r.field, r.index, r.low_bit, r.high_bit, r.field_low_bit) for r in ggml.byte_roles(byte)]

    assert runs(0) == [("d", 0, 0, 7, 0)]
    assert runs(1) == [("d", 0, 0, 7, 8)]
    assert runs(3) == [("dmin", 0, 0, 7, 8)]
    assert runs(6) == [("scales", 2, 0, 5, 0), ("scales", 6, 6, 7, 4)]
    assert runs(9) == [("mins", 1, 0, 5, 0), ("mins", 5, 6, 7, 4)]
    assert runs(15) == [("scales", 7, 0, 3, 0), ("mins", 7, 4, 7, 0)]
    assert runs(16 + 32 + 5) == [("codes", 69, 0, 3, 0), ("codes", 101, 4, 7, 0)]
    assert runs(143) == [("codes", 223, 0, 3, 0), ("codes", 255, 4, 7, 0)]
    assert ggml.byte_roles(0)[0].weights == range(256)
    assert ggml.byte_roles(6)[0].weights == range(64, 96)


def test_the_bytes_of_a_q4_k_weight() -> None:
    roles = ggml.weight_bytes(200)
    assert [(r.byte, r.field) for r in roles] == [
        (0, "d"),
        (1, "d"),
        (2, "dmin"),
        (3, "dmin"),
        (6, "scales"),
        (10, "mins"),
        (14, "scales"),
        (14, "mins"),
        (120, "codes"),
    ]


def test_the_weights_of_a_tq1_0_byte() -> None:
    """Five weights share a byte, 32 or 16 apart; in the last four bytes four weights, 4 apart."""
    for m in range(32):
        (role,) = ggml.byte_roles(m, "TQ1_0")
        assert (role.field, role.index) == ("qs", m)
        assert list(role.weights) == [m, m + 32, m + 64, m + 96, m + 128]
    assert list(ggml.byte_roles(32, "TQ1_0")[0].weights) == [160, 176, 192, 208, 224]
    assert list(ggml.byte_roles(47, "TQ1_0")[0].weights) == [175, 191, 207, 223, 239]
    assert list(ggml.byte_roles(48, "TQ1_0")[0].weights) == [240, 244, 248, 252]
    assert list(ggml.byte_roles(51, "TQ1_0")[0].weights) == [243, 247, 251, 255]
    assert [role.weights for role in ggml.byte_roles(52, "TQ1_0")] == [range(256)]


@pytest.mark.parametrize("type_name", TYPES)
def test_every_bit_has_one_role_and_moves_those_weights_only(type_name: str) -> None:
    layout = FORMATS[type_name]
    data = some_blocks(type_name)[: layout.block_bytes]
    before = ggml.dequantize(data, type_name)[0]
    for byte in range(layout.block_bytes):
        roles = ggml.byte_roles(byte, type_name)
        assert [bit for r in roles for bit in range(r.low_bit, r.high_bit + 1)] == list(range(8))
        for role in roles:
            flipped = data.copy()
            flipped[byte] ^= 1 << role.low_bit
            moved = np.flatnonzero(ggml.dequantize(flipped, type_name)[0] != before)
            assert set(moved) <= set(role.weights)
            # In the 4-bit floats the sign of a zero moves nothing.
            if role.field == "codes" and type_name not in ("MXFP4", "NVFP4"):
                assert list(moved) == list(role.weights)


@pytest.mark.parametrize("type_name", TYPES)
def test_the_two_directions_of_the_map_agree(type_name: str) -> None:
    layout = FORMATS[type_name]
    for weight in range(0, layout.block_size, 17):
        there = set(ggml.weight_bytes(weight, type_name))
        back = {
            role
            for byte in range(layout.block_bytes)
            for role in ggml.byte_roles(byte, type_name)
            if weight in role.weights
        }
        assert there == back


def test_errors_of_the_x_ray() -> None:
    with pytest.raises(ValueError, match="byte is 144; a block of Q4_K has bytes 0 to 143"):
        ggml.byte_roles(144)
    with pytest.raises(ValueError, match="index is -1; a block of Q8_0 has weights 0 to 31"):
        ggml.weight_bytes(-1, "Q8_0")
    with pytest.raises(ValueError, match="is not known"):
        ggml.byte_roles(0, "Q9_K")
