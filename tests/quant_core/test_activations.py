"""What llama.cpp's CPU kernels round activations to."""

from __future__ import annotations

import numpy as np
import pytest

from quant_core import ggml
from quant_core.files.storage import FILE_TYPES
from quant_core.llm import activations
from quant_core.methods import int8, smoothquant

X = np.random.default_rng(5).standard_normal((16, 512)).astype(np.float32)


def test_q8_k_is_ggmls_loop() -> None:
    """quantize_row_q8_K_ref, number by number."""
    rounded = activations.rounded(X, "q8_K")
    for row, found in zip(X, rounded, strict=True):
        for start in (0, 256):
            block = row[start : start + 256]
            largest = max(block, key=abs)
            inverse = np.float32(-127) / largest
            codes = [min(127, int(np.rint(inverse * value))) for value in block]
            wanted = np.array(codes, np.float32) / inverse
            np.testing.assert_allclose(found[start : start + 256], wanted, rtol=1e-6)
            assert min(codes) == -127


def test_zero_activations_stay_zero() -> None:
    for kind in activations.KINDS:
        assert not activations.rounded(np.zeros((2, 256)), kind).any()


def test_the_product_of_rounded_matrices_is_that_of_the_integers() -> None:
    """What a model computes with rounded inputs is what the W8A8 and LLM.int8() kernels compute."""
    x, w = X[:, :64].copy(), X[:8, :64]
    x[:, 5] *= 20
    plain = smoothquant.quantize_w8a8(x, w, alpha=None).output()
    np.testing.assert_allclose(
        activations.rounded(x, "int8") @ smoothquant.round_rows(w).T, plain, atol=1e-5 * np.abs(plain).max()
    )
    mixed = int8.quantize_int8(x, w)
    assert 5 in mixed.outlier_channels
    assert len(mixed.outlier_channels) < 64
    np.testing.assert_allclose(
        activations.rounded(x, "LLM.int8()") @ mixed.weights.T,
        mixed.output(),
        atol=1e-5 * np.abs(plain).max(),
    )


@pytest.mark.parametrize("type_name", sorted(set(ggml.QUANTIZABLE) & FILE_TYPES.keys()))
def test_inputs_of_every_type_keep_at_least_seven_bits(type_name: str) -> None:
    rounded = activations.rounding_of({"w": type_name})("w", X)
    limit = np.abs(X).reshape(16, 2, 256).max(axis=-1).repeat(256, axis=-1) / 254
    assert (np.abs(rounded - X) <= limit * 1.2).all()  # half a step, and the scale's rounding
    assert (rounded is X) == (type_name in ("F32", "BF16"))
    assert activations.rounding_of({"w": type_name})("other", X) is X


def test_rows_that_do_not_divide_into_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="300 columns; give a multiple of 256"):
        activations.rounded(np.zeros((1, 300)), "q8_K")
    with pytest.raises(ValueError, match="kind is 'q8_1'; give one of f16, q8_0"):
        activations.rounded(X, "q8_1")
