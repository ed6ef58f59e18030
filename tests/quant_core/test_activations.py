"""What llama.cpp's CPU kernels round activations to."""

from __future__ import annotations

import numpy as np
import pytest

from quant_core import activations, ggml
from quant_core.files.storage import FILE_TYPES

X = np.random.default_rng(5).standard_normal((16, 512)).astype(np.float32)


def test_q8_k_is_ggmls_loop() -> None:
    """quantize_row_q8_K_ref, number by number."""
    rounded = activations.to_q8_k(X)
    for row, found in zip(X, rounded, strict=True):
        for start in (0, 256):
            block = row[start : start + 256]
            largest = max(block, key=abs)
            inverse = np.float32(-127) / largest
            codes = [min(127, int(np.rint(inverse * value))) for value in block]
            wanted = np.array(codes, np.float32) / inverse
            np.testing.assert_allclose(found[start : start + 256], wanted, rtol=1e-6)
            assert min(codes) == -127


def test_silence_stays_silent() -> None:
    for rounded in (activations.to_q8_0, activations.to_q8_k, activations.to_f16):
        assert not rounded(np.zeros((2, 256))).any()


@pytest.mark.parametrize("type_name", sorted(set(ggml.QUANTIZABLE) & FILE_TYPES.keys()))
def test_the_inputs_of_every_type_keep_seven_bits_at_least(type_name: str) -> None:
    rounded = activations.rounding_of({"w": type_name})("w", X)
    limit = np.abs(X).reshape(16, 2, 256).max(axis=-1).repeat(256, axis=-1) / 254
    assert (np.abs(rounded - X) <= limit * 1.2).all()  # half a step, and the scale's rounding
    assert (rounded is X) == (type_name in ("F32", "BF16"))
    assert activations.rounding_of({"w": type_name})("other", X) is X


def test_blocks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="300 columns; give a multiple of 256"):
        activations.to_q8_k(np.zeros((1, 300)))
