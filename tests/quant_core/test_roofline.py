"""The bound of memory and arithmetic."""

from __future__ import annotations

import pytest

from quant_core.roofline import ridge, seconds


def test_memory_is_the_limit_below_the_ridge_and_arithmetic_above() -> None:
    for bits in (16, 8, 4.5):
        at = ridge(bits, 2e12, 300e12)
        reading = 1e9 * bits / 8 / 2e12
        assert seconds(1e9, bits, at, 2e12, 300e12) == pytest.approx(reading)
        assert seconds(1e9, bits, at / 3, 2e12, 300e12) == reading
        assert seconds(1e9, bits, 3 * at, 2e12, 300e12) == pytest.approx(3 * reading)


def test_refused() -> None:
    with pytest.raises(ValueError, match="tokens is 0; give a number above 0"):
        seconds(1e9, 16, 0, 1e12, 1e14)
    with pytest.raises(ValueError, match="peak is inf"):
        ridge(16, 1e12, float("inf"))
