"""FP8: every half-precision number rounds as in PyTorch and ml_dtypes, every code has their value."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_core.methods import fp8
from quant_core.methods.fp8 import LAYOUTS, Kind, decode, encode, quantize

SLICE = np.load(Path(__file__).resolve().parents[1] / "data" / "fp8_slice.npz")
UPSTREAM: dict[Kind, str] = {"e4m3": "fp8_e4m3fn", "e5m2": "fp8_e5m2"}
HALVES = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32)

EACH_KIND = pytest.mark.parametrize("kind", list(LAYOUTS))


@EACH_KIND
@pytest.mark.parametrize("library", ["torch", "mldtypes"])
def test_every_half_rounds_as_upstream(kind: Kind, library: str) -> None:
    expected = SLICE[f"{UPSTREAM[kind]}_{library}"]
    in_range = np.abs(HALVES) <= LAYOUTS[kind].largest
    assert in_range.sum() > 48_000
    assert np.array_equal(encode(HALVES[in_range], kind), expected[in_range])


@EACH_KIND
def test_every_code_has_the_value_of_upstream(kind: Kind) -> None:
    codes = np.arange(256, dtype=np.uint8)
    expected = SLICE[f"{UPSTREAM[kind]}_table"]
    got = decode(codes, kind)
    assert np.array_equal(got, expected, equal_nan=True)
    assert np.array_equal(np.signbit(got), codes >= 128)


@EACH_KIND
def test_decoding_and_encoding_again_changes_nothing(kind: Kind) -> None:
    codes = np.arange(256, dtype=np.uint8)
    finite = np.isfinite(decode(codes, kind))
    assert np.array_equal(encode(decode(codes, kind)[finite], kind), codes[finite])
    assert float(decode(codes, kind)[finite].max()) == LAYOUTS[kind].largest


@EACH_KIND
@given(values=st.lists(st.floats(-60000, 60000), min_size=1, max_size=20))
def test_the_nearest_number_is_taken_in_double_precision_too(kind: Kind, values: list[float]) -> None:
    table = decode(np.arange(256, dtype=np.uint8), kind).astype(np.float64)
    table = table[np.isfinite(table)]
    clipped = np.clip(values, -LAYOUTS[kind].largest, LAYOUTS[kind].largest)
    error = np.abs(decode(encode(values, kind), kind) - clipped)
    assert np.array_equal(error, np.abs(clipped[:, None] - table).min(axis=1))


def test_known_patterns() -> None:
    assert encode([448.0, 449.0, -1e6, 2.0**-9, -0.0, 2.0**-10], "e4m3").tolist() == [
        126,
        126,
        254,
        1,
        128,
        0,
    ]


@EACH_KIND
def test_the_largest_of_a_row_survives_scaling(kind: Kind) -> None:
    weights = np.random.default_rng(0).standard_normal((6, 128)).astype(np.float32)
    weights[3] = 0
    rows, tensor = quantize(weights, kind), quantize(weights, kind, per="tensor")
    assert rows.scale.shape == (6, 1)
    assert tensor.scale.shape == (1, 1)
    assert (rows.bits_per_weight, tensor.bits_per_weight) == (8 + 32 / 128, 8 + 32 / 768)
    at = np.abs(weights).argmax(axis=1)
    assert np.allclose(rows.dequantize()[range(6), at], weights[range(6), at], rtol=1e-6)
    # Half a step of the fraction is lost at most, relative to a number that is not subnormal.
    worst = 2.0 ** -(LAYOUTS[kind].fraction_bits + 1)
    normal = np.abs(weights) > rows.scale * 2.0 ** (1 - LAYOUTS[kind].bias)
    assert (np.abs(rows.dequantize() - weights)[normal] <= worst * np.abs(weights)[normal] * 1.0001).all()
    assert (rows.dequantize()[3] == 0).all()


def test_tiny_and_huge_matrices_have_scales() -> None:
    for size in (1e-42, 3e38):
        q = quantize(np.full((1, 8), size, np.float32))
        assert np.isfinite(q.dequantize()).all()


def test_errors() -> None:
    with pytest.raises(ValueError, match="kind is 'e3m4'; give one of e4m3, e5m2"):
        encode([1.0], "e3m4")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="holds 1 NaN or infinite"):
        encode([np.inf], "e5m2")
    with pytest.raises(ValueError, match="codes have dtype int64; give uint8"):
        decode([1, 2], "e4m3")
    with pytest.raises(ValueError, match="per is 'column'; give 'tensor' or 'row'"):
        quantize(np.ones((2, 2)), per="column")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        fp8.quantize(np.ones(3))
