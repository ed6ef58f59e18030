"""FP16 and BF16 fields: known patterns, and every one of the 65,536."""

import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from quant_core.methods.floats import bf16_bits, float_bits


@pytest.mark.parametrize(
    ("value", "sign", "exponent", "fraction"),
    [
        (1.0, "0", "01111", "0000000000"),
        (-2.0, "1", "10000", "0000000000"),
        (65504.0, "0", "11110", "1111111111"),  # the largest half
        (2.0**-14, "0", "00001", "0000000000"),  # the smallest normal half
        (2.0**-24, "0", "00000", "0000000001"),  # the smallest subnormal half
        (1 / 3, "0", "01101", "0101010101"),
    ],
)
def test_known_halves(value: float, sign: str, exponent: str, fraction: str) -> None:
    assert float_bits(value, "fp16").strings() == [(sign, exponent, fraction)]


@pytest.mark.parametrize(
    ("value", "sign", "exponent", "fraction"),
    [
        (1.0, "0", "01111111", "0000000"),
        (-0.0, "1", "00000000", "0000000"),
        (3.140625, "0", "10000000", "1001001"),
        (2.0**127, "0", "11111110", "0000000"),
    ],
)
def test_known_bfloats(value: float, sign: str, exponent: str, fraction: str) -> None:
    assert float_bits(value, "bf16").strings() == [(sign, exponent, fraction)]


@pytest.mark.parametrize(("kind", "bias", "width"), [("fp16", 15, 10), ("bf16", 127, 7)])
def test_the_fields_make_the_value(kind: str, bias: int, width: int) -> None:
    patterns = np.arange(65536, dtype=np.uint16)
    if kind == "fp16":
        values = patterns.view(np.float16).astype(np.float32)
    else:
        values = (patterns.astype(np.uint32) << 16).view(np.float32)
    finite = np.isfinite(values)
    parts = float_bits(values[finite], kind)  # type: ignore[arg-type]
    assert np.array_equal(parts.bits, patterns[finite])
    normal = parts.exponent > 0
    power = np.exp2(np.where(normal, parts.exponent.astype(int), 1) - bias, dtype=np.float64)
    significand = normal + parts.fraction / 2**width
    assert np.array_equal(np.where(parts.sign == 1, -1, 1) * significand * power, parts.value)


def rounded_to_bf16(values: ArrayLike) -> NDArray[np.float32]:
    return (bf16_bits(values).astype(np.uint32) << 16).view(np.float32)


@given(st.floats(width=32, allow_nan=False))
@example(1 + 2**-8)  # halfway between two BF16 numbers, of which the lower is even
@example(1 + 3 * 2**-8)  # and the upper
def test_bf16_is_the_nearest(value: float) -> None:
    below = struct.unpack("<I", struct.pack("<f", value))[0] & 0xFFFF0000
    candidates = [struct.unpack("<f", struct.pack("<I", bits))[0] for bits in (below, below + 0x10000)]
    rounded = float(rounded_to_bf16([value])[0])
    if np.isinf(value):
        assert rounded == value
    elif not np.isinf(candidates[1]):
        distances = [abs(candidate - value) for candidate in candidates]
        assert abs(rounded - value) == min(distances)
        if distances[0] == distances[1]:
            assert int(bf16_bits([value])[0]) % 2 == 0


def test_the_ends_of_the_range() -> None:
    assert np.isnan(rounded_to_bf16([np.nan])).all()
    almost_signalling = np.array([0x7F800001], np.uint32).view(np.float32)
    assert np.isnan(rounded_to_bf16(almost_signalling)).all()
    assert np.isinf(rounded_to_bf16([3.4e38])).tolist() == [True]
    assert np.isinf(float_bits([7e4], "fp16").value).all()


def test_shapes_and_kind() -> None:
    assert float_bits(np.ones((2, 3)), "bf16").fraction.shape == (2, 3)
    assert float_bits(np.ones((2, 3)), "fp16").bits.dtype == np.uint16
    assert float_bits(1.0, "bf16").bits.shape == ()
    assert len(float_bits(np.ones((2, 3)), "fp16").strings()) == 6
    with pytest.raises(ValueError, match="kind is 'fp8'; give one of fp16, bf16"):
        float_bits([1.0], "fp8")  # type: ignore[arg-type]
