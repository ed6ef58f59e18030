"""ggml's blocks are the bytes of llama.cpp: zero of them differ, and the values are bitwise equal."""

import hashlib
from collections.abc import Mapping
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quant_core import ggml
from quant_core.ggml import codebooks, fp4, iq4

Vectors = Mapping[str, NDArray[Any]]
TYPES = [name for name in ggml.QUANTIZABLE if ggml.FORMATS[name].block_size > 1]
EVERY_TYPE = pytest.mark.parametrize("type_name", TYPES)
MORE = [name for name in TYPES if name.startswith(("IQ1", "IQ2", "IQ3", "TQ", "Q1", "Q2_0"))]
FIRST_TYPES = pytest.mark.parametrize("type_name", [name for name in TYPES if name not in MORE])
MORE_TYPES = pytest.mark.parametrize("type_name", MORE)
WITHOUT_IMPORTANCE = ("Q8_0", "MXFP4", "NVFP4")
NEED_IMPORTANCE = ("IQ2_XXS", "IQ2_XS", "IQ1_S")
UNKNOWN_TO_GGUF = ("Q1_0", "Q2_0")
SEARCHED = [n for n in TYPES if n not in (*WITHOUT_IMPORTANCE, "TQ1_0", "TQ2_0", "Q1_0", "Q2_0")]


def compare(vectors: Vectors, keys: list[str], type_name: str) -> int:
    """Compare every array of a type; return the number of bytes compared."""
    compared = 0
    for key in keys:
        prefix, _, set_name = key.split("__")
        importance = {"q": None, "qi": f"im__{set_name}", "qz": f"imz__{set_name}"}[prefix]
        got = ggml.quantize(
            vectors[f"x__{set_name}"], type_name, None if importance is None else vectors[importance]
        )
        expected = vectors[key]
        defined = (
            ~vectors[f"ub__{type_name}"] if f"ub__{type_name}" in vectors and set_name == "edge" else ...
        )
        different = int(np.count_nonzero(got[defined] != expected[defined]))
        assert different == 0, f"{key}: {different} bytes differ"
        compared += expected[defined].size
    return compared


def keys_of(vectors: Any, type_name: str) -> list[str]:
    return [key for key in vectors if key.split("__")[:2] in [[p, type_name] for p in ("q", "qi", "qz")]]


@FIRST_TYPES
def test_no_byte_differs_from_llama_cpp(ggml_vectors: Vectors, type_name: str) -> None:
    keys = keys_of(ggml_vectors, type_name)
    assert len(keys) == (7 if type_name in WITHOUT_IMPORTANCE else 15)
    assert compare(ggml_vectors, keys, type_name) > 150_000


@MORE_TYPES
def test_no_byte_of_the_low_bit_types_differs(more_vectors: Vectors, type_name: str) -> None:
    keys = keys_of(more_vectors, type_name)
    assert len(keys) == (8 if type_name in NEED_IMPORTANCE else 16)
    assert compare(more_vectors, keys, type_name) > 11_000
    for key in keys:
        values = ggml.dequantize(more_vectors[key], type_name)
        assert hashlib.sha256(values.tobytes()).digest() == more_vectors[f"sha256__{key}"].tobytes(), key


def test_types_that_need_importance_are_refused_without() -> None:
    for type_name in NEED_IMPORTANCE:
        with pytest.raises(ValueError, match=f"{type_name} needs an importance: llama.cpp refuses this type"):
            ggml.quantize(np.ones(256), type_name)


@FIRST_TYPES
def test_decoded_values_are_bitwise_equal(ggml_vectors: Vectors, type_name: str) -> None:
    for key in [*keys_of(ggml_vectors, type_name), f"rb__{type_name}"]:
        values = ggml.dequantize(ggml_vectors[key], type_name)
        assert hashlib.sha256(values.tobytes()).digest() == ggml_vectors[f"sha256__{key}"].tobytes(), key


@pytest.mark.parametrize("type_name", [name for name in ggml.CODECS if name not in UNKNOWN_TO_GGUF])
def test_random_bits_decode_as_in_the_gguf_package(type_name: str) -> None:
    """Any bytes are blocks: every value of every field is met, infinite and NaN scales too."""
    block_bytes = ggml.FORMATS[type_name].block_bytes
    data = np.random.default_rng(7).integers(0, 256, (3, 200 * block_bytes), dtype=np.uint8)
    with np.errstate(all="ignore"):
        expected = gguf.quants.dequantize(data, gguf.GGMLQuantizationType[type_name])
    got = ggml.dequantize(data, type_name)
    assert got.dtype == np.float32
    assert np.isfinite(got).mean() > 0.9
    equal_bits = got.view(np.uint32) == expected.view(np.uint32)
    assert (equal_bits | (np.isnan(got) & np.isnan(expected))).all()


@pytest.mark.parametrize("type_name", ["F32", "F16", "BF16"])
def test_plain_types_store_what_the_gguf_package_stores(type_name: str, ggml_vectors: Vectors) -> None:
    rows = ggml_vectors["x__edge"]
    with np.errstate(over="ignore"):
        expected = gguf.quants.quantize(rows, gguf.GGMLQuantizationType[type_name])
    got = ggml.quantize(rows, type_name)
    assert got.tobytes() == expected.tobytes()
    values = ggml.dequantize(got, type_name)
    assert np.array_equal(ggml.quantize(values[:5], type_name), got[:5])
    if type_name == "F32":
        assert values.tobytes() == rows.tobytes()


@MORE_TYPES
@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_one_block_alone_decodes_to_what_it_does_among_many(type_name: str, seed: int) -> None:
    size = (5, ggml.FORMATS[type_name].block_bytes)
    blocks = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    together = ggml.dequantize(blocks, type_name)
    for alone, expected in zip(blocks, together, strict=True):
        assert ggml.dequantize(alone, type_name).tobytes() == expected.tobytes()


def random_rows(seed: int, rows: int, columns: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.integers(-6, 4)
    return (rng.standard_t(3, (rows, columns)) * scale).astype(np.float32)


@EVERY_TYPE
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), with_importance=st.booleans())
def test_one_block_alone_gives_the_bytes_it_gives_among_many(
    type_name: str, seed: int, with_importance: bool
) -> None:
    block = ggml.FORMATS[type_name].block_size
    many = random_rows(seed, 5, block)
    given = with_importance or type_name in NEED_IMPORTANCE
    importance = np.random.default_rng(seed).gamma(1.0, size=block) if given else None
    together = ggml.quantize(many, type_name, importance)
    for index in range(5):
        alone = ggml.quantize(many[index], type_name, importance)
        assert np.array_equal(alone[0], together[index])


@EVERY_TYPE
def test_blocks_of_a_row_are_independent(type_name: str) -> None:
    block = ggml.FORMATS[type_name].block_size
    row = random_rows(3, 1, 4 * block)
    importance = np.linspace(0.1, 2, block) if type_name in NEED_IMPORTANCE else None
    whole = ggml.quantize(row, type_name, None if importance is None else np.tile(importance, 4))
    parts = [ggml.quantize(part, type_name, importance) for part in row.reshape(4, block)]
    assert np.array_equal(whole, np.hstack(parts))


@EVERY_TYPE
def test_chunks_do_not_change_the_bytes(type_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = random_rows(4, 7, 512)
    importance = np.linspace(0.1, 2, 512)
    whole = ggml.quantize(rows, type_name, importance)
    monkeypatch.setattr(ggml, "_CHUNK", 1024)
    assert np.array_equal(ggml.quantize(rows, type_name, importance), whole)


@pytest.mark.parametrize("type_name", [name for name in TYPES if name.startswith("Q")])
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_weight_is_further_than_two_steps_of_its_block(type_name: str, seed: int) -> None:
    """Half a step is lost to rounding; a fit may clip an end, and stored scales have errors of their own."""
    rows = np.random.default_rng(seed).standard_normal((2, 512)).astype(np.float32)
    error = np.abs(ggml.dequantize(ggml.quantize(rows, type_name), type_name) - rows)
    blocks = rows.reshape(-1, ggml.FORMATS[type_name].block_size)
    has_minimum = type_name in ("Q4_1", "Q5_1", "Q2_K", "Q4_K", "Q5_K")
    spread = np.ptp(blocks, axis=1) if has_minimum else 2 * np.abs(blocks).max(axis=1)
    step = spread / (2 ** int(type_name[1]) - 1)
    assert (error.reshape(blocks.shape).max(axis=1) <= 2 * step).all()


@pytest.mark.parametrize("type_name", ["Q8_0", "Q4_0", "Q5_0", "Q4_1", "Q5_1"])
@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_blocks_on_an_exact_grid_survive_unchanged(type_name: str, seed: int) -> None:
    """A block whose range spans the grid, with a scale that a half holds, loses nothing, twice over."""
    rng = np.random.default_rng(seed)
    bits = int(type_name[1])
    scale = np.float32(2.0 ** rng.integers(-8, 4))
    if type_name == "Q8_0":
        codes = rng.integers(-127, 128, 32)
        codes[0] = 127
    elif type_name.endswith("0"):
        codes = rng.integers(-(2 ** (bits - 1)) + 1, 2 ** (bits - 1), 32)
        codes[0] = -(2 ** (bits - 1))
    else:
        codes = rng.integers(0, 2**bits, 32)
        codes[:2] = 0, 2**bits - 1
        codes -= 3  # a minimum that a half holds
    rows = (codes * scale).astype(np.float32)
    once = ggml.dequantize(ggml.quantize(rows, type_name), type_name)
    assert np.array_equal(once[0], rows)


def test_q4_0_by_hand() -> None:
    # The largest magnitude, -8, gives d = 1; the codes are x + 8; byte j holds j and j + 16.
    x = np.concatenate([np.arange(-8.0, 8.0), np.arange(7.0, -9.0, -1.0)])
    expected = bytes.fromhex("003c") + bytes((15 - j) << 4 | j for j in range(16))
    assert ggml.quantize(x, "Q4_0").tobytes() == expected


def test_q4_1_by_hand() -> None:
    # min -1, step 0.5: d = 0.5 = 0x3800, m = -1 = 0xbc00.
    x = -1 + 0.5 * np.concatenate([np.arange(16), np.arange(16)])
    expected = bytes.fromhex("003800bc") + bytes(17 * j for j in range(16))
    assert ggml.quantize(x, "Q4_1").tobytes() == expected


def test_q5_0_by_hand() -> None:
    # -16 gives d = 1; the codes are 0 … 31, so the fifth bits are sixteen 0 and sixteen 1.
    expected = bytes.fromhex("003c0000ffff") + bytes(17 * j for j in range(16))
    assert ggml.quantize(np.arange(-16.0, 16.0), "Q5_0").tobytes() == expected


def test_q5_1_by_hand() -> None:
    expected = bytes.fromhex("003c00000000ffff") + bytes(17 * j for j in range(16))
    assert ggml.quantize(np.arange(32.0), "Q5_1").tobytes() == expected


def test_q8_0_by_hand() -> None:
    x = np.arange(32.0)
    x[0] = -127
    expected = bytes.fromhex("003c") + bytes([0x81, *range(1, 32)])
    assert ggml.quantize(x, "Q8_0").tobytes() == expected
    # Ties go away from zero: 0.5 and 2.5 become 1 and 3.
    x[1:3] = 0.5, -2.5
    assert ggml.fields(ggml.quantize(x, "Q8_0"), "Q8_0")["codes"][0, 1:3].tolist() == [1, -3]


def test_q4_k_by_hand() -> None:
    """A block written by hand from the layout: d = 2, dmin = 0.5, scales 1 … 8, mins 40 … 47."""
    scales, mins = np.arange(1, 9), np.arange(40, 48)
    packed = [s | (s4 >> 4) << 6 for s, s4 in zip(scales[:4], scales[4:], strict=True)]
    packed += [m | (m4 >> 4) << 6 for m, m4 in zip(mins[:4], mins[4:], strict=True)]
    packed += [s4 & 15 | (m4 & 15) << 4 for s4, m4 in zip(scales[4:], mins[4:], strict=True)]
    codes = np.arange(256) % 16
    nibbles = [codes[64 * g + i] | codes[64 * g + i + 32] << 4 for g in range(4) for i in range(32)]
    block = np.array([0x00, 0x40, 0x00, 0x38, *packed, *nibbles], np.uint8)

    fields = ggml.fields(block, "Q4_K")
    assert (fields["d"].tolist(), fields["dmin"].tolist()) == ([2.0], [0.5])
    assert (fields["d_bits"].tolist(), fields["dmin_bits"].tolist()) == ([0x4000], [0x3800])
    assert fields["scales"].tolist() == [scales.tolist()]
    assert fields["mins"].tolist() == [mins.tolist()]
    assert fields["codes"].tolist() == [codes.tolist()]
    sub_block = np.arange(256) // 32
    expected = 2.0 * scales[sub_block] * codes - 0.5 * mins[sub_block]
    assert ggml.dequantize(block, "Q4_K").tolist() == [expected.tolist()]


def test_q4_k_recovers_an_exact_grid() -> None:
    """Weights that lie on a Q4_K grid with the largest scale and minimum at 63 are stored exactly."""
    rng = np.random.default_rng(5)
    scales, mins = rng.integers(8, 64, 8), rng.integers(8, 64, 8)
    scales[3] = mins[6] = 63
    codes = rng.integers(0, 16, (8, 32))
    codes[:, :2] = 0, 15
    x = (2.0**-6 * scales[:, None] * codes - 2.0**-5 * mins[:, None]).ravel()
    data = ggml.quantize(x, "Q4_K")
    fields = ggml.fields(data, "Q4_K")
    assert fields["scales"][0].tolist() == scales.tolist()
    assert fields["mins"][0].tolist() == mins.tolist()
    assert fields["codes"][0].tolist() == codes.ravel().tolist()
    assert np.array_equal(ggml.dequantize(data, "Q4_K")[0], x)


def test_zero_blocks() -> None:
    for type_name in TYPES:
        importance = np.ones(256) if type_name in NEED_IMPORTANCE else None
        data = ggml.quantize(np.zeros((2, 256)), type_name, importance)
        assert (ggml.dequantize(data, type_name) == 0).all()
    # The signed types store d = 0 / -8 = -0 and the middle code; with importance, +0 and code 0.
    assert ggml.quantize(np.zeros(32), "Q4_0").tobytes() == bytes.fromhex("0080") + b"\x88" * 16
    assert ggml.quantize(np.zeros(32), "Q4_0", np.ones(32)).tobytes() == bytes(18)


@pytest.mark.parametrize("type_name", SEARCHED)
def test_importance_lowers_the_error_that_it_weights(ggml_vectors: Vectors, type_name: str) -> None:
    x, importance = ggml_vectors["x__normal"], ggml_vectors["im__normal"]
    errors = [
        float(np.sum(importance * (ggml.dequantize(ggml.quantize(x, type_name, im), type_name) - x) ** 2))
        for im in (np.ones_like(importance) if type_name in NEED_IMPORTANCE else None, importance)
    ]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("type_name", [t for t in ggml.QUANTIZABLE if t not in SEARCHED])
def test_types_without_a_search_ignore_importance(type_name: str) -> None:
    rows = random_rows(9, 2, 256)
    weighted = ggml.quantize(rows, type_name, np.linspace(0, 9, 256))
    assert np.array_equal(weighted, ggml.quantize(rows, type_name))


def test_q2_k_by_hand() -> None:
    """A block written by hand from the layout: d = 2, dmin = 0.5, scales 0 … 15, mins 15 … 0."""
    scales = np.arange(16)
    codes = np.arange(256) % 4 ^ np.arange(256) // 64
    planes = [
        sum(int(codes[128 * half + 32 * run + i]) << 2 * run for run in range(4))
        for half in range(2)
        for i in range(32)
    ]
    scale_bytes = [s | (15 - s) << 4 for s in range(16)]
    block = np.array([*scale_bytes, *planes, 0x00, 0x40, 0x00, 0x38], np.uint8)
    fields = ggml.fields(block, "Q2_K")
    assert (fields["d"].tolist(), fields["dmin"].tolist()) == ([2.0], [0.5])
    assert fields["scales"].tolist() == [scales.tolist()]
    assert fields["mins"].tolist() == [(15 - scales).tolist()]
    assert fields["codes"].tolist() == [codes.tolist()]
    sub_block = np.arange(256) // 16
    expected = 2.0 * scales[sub_block] * codes - 0.5 * (15 - scales[sub_block])
    assert ggml.dequantize(block, "Q2_K").tolist() == [expected.tolist()]


def test_q3_k_by_hand() -> None:
    """A block written by hand from the layout: d = 1, scales −32 … 28 in steps of 4."""
    scales = np.arange(0, 64, 4)
    codes = np.arange(256) * 5 % 8
    third = [sum(int(codes[32 * run + i] > 3) << run for run in range(8)) for i in range(32)]
    planes = [
        sum(int(codes[128 * half + 32 * run + i] % 4) << 2 * run for run in range(4))
        for half in range(2)
        for i in range(32)
    ]
    low = [scales[j] & 15 | (scales[j + 8] & 15) << 4 for j in range(8)]
    high = [sum(int(scales[j + 4 * k]) >> 4 << 2 * k for k in range(4)) for j in range(4)]
    block = np.array([*third, *planes, *low, *high, 0x00, 0x3C], np.uint8)
    assert ggml.fields(block, "Q3_K")["scales"].tolist() == [scales.tolist()]
    assert ggml.fields(block, "Q3_K")["codes"].tolist() == [codes.tolist()]
    expected = (scales[np.arange(256) // 16] - 32.0) * (codes - 4)
    assert ggml.dequantize(block, "Q3_K").tolist() == [expected.tolist()]


def test_iq4_nl_keeps_weights_that_lie_on_its_table() -> None:
    weights = np.concatenate([iq4.TABLE, iq4.TABLE[::-1]]) / 4
    data = ggml.quantize(weights, "IQ4_NL")
    assert data[0, :2].tolist() == [0x00, 0x34]  # d = ¼
    assert ggml.fields(data, "IQ4_NL")["codes"].tolist() == [[*range(16), *range(15, -1, -1)]]
    assert ggml.dequantize(data, "IQ4_NL").tolist() == [weights.tolist()]


def test_iq4_xs_by_hand() -> None:
    """A block written by hand from the layout: d = −½, scales −32, −22 … 28, every code in turn."""
    scales = np.array([0, 10, 20, 30, 32, 42, 52, 60])
    high = sum(int(scale) >> 4 << 2 * j for j, scale in enumerate(scales))
    low = [scales[j] & 15 | (scales[j + 1] & 15) << 4 for j in range(0, 8, 2)]
    codes = np.arange(256) % 16
    nibbles = [codes[32 * g + i] | codes[32 * g + i + 16] << 4 for g in range(8) for i in range(16)]
    block = np.array([0x00, 0xB8, high & 255, high >> 8, *low, *nibbles], np.uint8)
    assert ggml.fields(block, "IQ4_XS")["scales"].tolist() == [scales.tolist()]
    expected = -0.5 * (scales[np.arange(256) // 32] - 32) * iq4.TABLE[codes]
    assert ggml.dequantize(block, "IQ4_XS").tolist() == [expected.tolist()]


@given(st.lists(st.floats(-300, 300, width=32), min_size=1, max_size=30))
def test_the_nearest_entry_of_the_iq4_table(values: list[float]) -> None:
    array = np.array(values, np.float32)
    distances = np.abs(array[:, None].astype(np.float64) - iq4.TABLE)
    upper = 15 - distances[:, ::-1].argmin(axis=1)  # between two entries, the upper
    assert iq4.nearest(array).tolist() == upper.tolist()


def test_mxfp4_by_hand() -> None:
    """The largest, 6 = 1.5 · 2², has the scale 2⁰; ties go to the smaller magnitude, −0 is not written."""
    weights = np.zeros(32)
    weights[:10] = 6, -6, 0.25, -0.25, 0.75, 1.75, -2.5, 5, 5.01, -0.1
    data = ggml.quantize(weights, "MXFP4")
    assert data[0, 0] == 127
    assert ggml.dequantize(data, "MXFP4")[0, :10].tolist() == [6, -6, 0, 0, 0.5, 1.5, -2, 4, 6, 0]
    assert ggml.fields(data, "MXFP4")["codes"][0, [1, 3, 9]].tolist() == [15, 0, 0]
    assert ggml.fields(data, "MXFP4")["e"].tolist() == [1.0]


def test_nvfp4_by_hand() -> None:
    """Each 16 weights have a scale of their own: largest / 6, as a float of 3 fraction bits."""
    weights = np.zeros(64)
    weights[[0, 16, 33]] = 6, 6 * 1.125, -0.75
    data = ggml.quantize(weights, "NVFP4")
    fields = ggml.fields(data, "NVFP4")
    assert fields["d"].tolist() == [[1.0, 1.125, 0.125, 0.0]]
    assert fields["d_bits"].tolist() == [[7 << 3, 7 << 3 | 1, 4 << 3, 0]]
    assert np.flatnonzero(fields["codes"][0]).tolist() == [0, 16, 33]
    assert np.array_equal(ggml.dequantize(data, "NVFP4")[0], weights)


@given(st.lists(st.floats(0, 255, width=32), min_size=1, max_size=30))
def test_the_nvfp4_scale_is_the_nearest(values: list[float]) -> None:
    """Up to 248 the byte is the nearest; llama.cpp writes 448 for all that rounds to 256 and more."""
    array = np.array(values, np.float32)
    table = fp4.ue4m3_values(np.arange(127, dtype=np.uint8)).astype(np.float64)
    got = fp4.ue4m3_values(fp4.ue4m3_bits(array))
    best = np.abs(array[:, None] - table).min(axis=1)
    near = array < 248
    # Between the largest subnormal and the smallest normal number the subnormal is kept.
    between = (array > 7 * 2.0**-9) & (array < 2.0**-6)
    assert (np.abs(got - array)[near & ~between] == best[near & ~between]).all()
    assert (got[between] == 7 * 2.0**-9).all()
    assert (got[array >= 248] == 448).all()


def test_codebooks_hold_distinct_vectors_of_their_digits() -> None:
    for name, (levels, length) in codebooks._DIGITS.items():
        grid = codebooks.grid(name)
        assert len(np.unique(grid, axis=0)) == len(grid)
        assert set(np.unique(grid)) == set(levels)
        assert grid.shape[1] == length


def test_the_eighth_sign_makes_the_number_of_minus_signs_even() -> None:
    data = np.random.default_rng(3).integers(0, 256, (20, 66), dtype=np.uint8)
    data[:, :2] = 0x00, 0x3C
    minus = (ggml.dequantize(data, "IQ2_XXS") < 0).reshape(-1, 8)
    assert (minus.sum(axis=1) % 2 == 0).all()
    assert minus[:, 7].any()
