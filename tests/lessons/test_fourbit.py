"""FIG.02B: the floats are those of the formats, and every state says what its table holds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from lessons.catalogue import load_lesson
from lessons.kit.view import View
from lessons.quantization.blocks import BLOCKS, block_weights
from lessons.quantization.figures.fourbit import (
    FIGURE,
    FORMS,
    MXFP4,
    NVFP4,
    SIZE,
    Controls,
    block_floats,
    four_bit_floats,
    layer_of,
    tensor_scale,
)
from quant_core import ggml
from quant_core.methods import mxfp4, nvfp4

view = FIGURE.view
TEXT = load_lesson("quantization").texts["fourbit"]
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])


def readout(shown: View, name: str) -> float:
    return float(next(r.value for r in shown.readouts if r.name == name))


def every_state() -> Iterator[Controls]:
    for (scale, size), block in itertools.product(FORMS, BLOCKS):
        yield Controls(scale=scale, size=size, block=block)


def squared(weights: np.ndarray, values: np.ndarray) -> float:
    w, v = weights.astype(float), values.astype(float)
    return float(((w - v) ** 2).sum() / (w**2).sum())


@pytest.mark.parametrize("block", BLOCKS)
def test_the_named_formats_are_those_of_the_library(block: str) -> None:
    """Of the drawn weights all; of the whole layer all but a few ties, for servers multiply by 1 / scale."""
    weights, layer = block_weights(block, SIZE), layer_of(block)
    mx, nv = block_floats(block, "e8m0", "32"), block_floats(block, "tensor", "16")
    expected = mxfp4.quantize(weights[None])
    assert np.array_equal(mx.codes, expected.codes[0])
    assert np.array_equal(mx.values, expected.dequantize()[0])
    of_server = nvfp4.quantize(weights[None], tensor_scale(block))
    assert np.array_equal(nv.codes, of_server.codes[0])
    assert nv.values == pytest.approx(of_server.dequantize()[0], rel=1e-6)
    alone = nvfp4.quantize(weights[None], 1.0)
    assert block_floats(block, "e4m3", "16").values == pytest.approx(alone.dequantize()[0], rel=1e-6)
    whole = four_bit_floats(layer, "tensor", 16, tensor_scale(block)).codes
    assert (whole == nvfp4.quantize(layer).codes.reshape(-1)).mean() > 0.9995
    assert np.array_equal(
        four_bit_floats(layer, "e8m0", 32, 0).codes, mxfp4.quantize(layer).codes.reshape(-1)
    )


def test_every_weight_is_on_the_nearest_level_of_its_block() -> None:
    for controls in every_state():
        weights = block_weights(controls.block, SIZE).astype(float).reshape(-1, int(controls.size))
        own = block_floats(controls.block, controls.scale, controls.size)
        for row, scale, values in zip(weights, own.scale, own.values.reshape(weights.shape), strict=True):
            levels = float(scale) * np.concatenate([-E2M1, E2M1])
            nearest = np.abs(row[:, None] - levels).min(axis=1)
            assert np.abs(row - values) == pytest.approx(nearest, rel=1e-4, abs=1e-6)


def test_errors_are_those_of_the_table_and_of_the_layer() -> None:
    for controls in every_state():
        shown = view(controls)
        table = np.array([row[1:5] for row in shown.table.rows], dtype=float)
        errors = [squared(table[:, 0], table[:, i]) for i in (3, 2, 1)]
        read = [readout(shown, name) for name in ("error", "mxfp4_error", "int4_error")]
        assert read == pytest.approx(errors, rel=1e-4)
        layer = layer_of(controls.block)
        int4 = ggml.dequantize(ggml.quantize(layer, "Q4_0"), "Q4_0")
        assert readout(shown, "layer_int4_error") == pytest.approx(squared(layer, int4), rel=1e-4)
        assert readout(shown, "bytes") == 16 + SIZE // int(controls.size)
        assert readout(shown, "bits_per_weight") == 8 * readout(shown, "bytes") / SIZE


def test_the_finding_is_true_in_every_state() -> None:
    """Its verdict and its factor are those of the errors; so is what it says of the top level and of −0."""
    keys = set()
    for controls in every_state():
        shown = view(controls)
        keys.add(shown.description[0].key)
        verdict = shown.description[0].key.rpartition("_")[2]
        is_mxfp4 = (controls.scale, controls.size) == ("e8m0", "32")
        weights = block_weights(controls.block, SIZE)
        other = block_floats(controls.block, *(NVFP4 if is_mxfp4 else MXFP4)).values
        ratio = readout(shown, "error") / squared(weights, other)
        low, high = {"less": (0, 0.981), "same": (0.98, 1.021), "more": (1.019, 1e9)}[verdict]
        assert low < ratio < high
        if verdict != "same":
            said = float(shown.description[0].values["times"].removesuffix("×"))
            assert said == pytest.approx(max(ratio, 1 / ratio), rel=0.05)
        top = float(block_floats(controls.block, "e8m0", "32").levels.max() / np.abs(weights).max())
        ends = {"mxfp4_past": (1.05, 2), "mxfp4_fits": (0.95, 1.051), "mxfp4_cut": (0.7, 0.953)}
        low, high = ends[shown.description[1].key]
        assert low < top < high
        codes = [row[5] for row in shown.table.rows]
        assert readout(shown, "minus_zeros") == codes.count(8)
        assert (shown.description[3].key == "minus_zeros") == (8 in codes)
        assert all(len(TEXT.sentence(sentence)) < 170 for sentence in shown.description)
        assert len(TEXT.sentence(shown.description[0])) <= 115, "two lines beside the controls"
    written = set(TEXT._content["sentences"])
    assert keys == {key for key in written if key.startswith(("e8m0_", "e4m3_", "tensor_"))}


def test_the_scale_alone_changes_the_error_of_a_layer_most() -> None:
    """What the prose says: a finer scale gains more than a smaller block."""
    error = {form: readout(view(Controls(scale=form[0], size=form[1])), "layer_error") for form in FORMS}
    assert error["e8m0", "32"] - error["e4m3", "32"] > 3 * (error["e4m3", "32"] - error["e4m3", "16"])
    assert error["tensor", "16"] < error["e4m3", "16"]
    assert readout(view(Controls()), "layer_int4_error") < error["tensor", "16"], "INT4 at the same bits"


def test_marks_are_at_the_values_of_the_table() -> None:
    for controls in every_state():
        shown = view(controls)
        table = np.array([row[1:5] for row in shown.table.rows], dtype=float)
        for drawn, column in zip(shown.drawing["rows"], (1, 2, 3), strict=True):
            at = np.array([float(mark["x"].removesuffix("%")) for mark in drawn["weights"]])
            ends = [float(mark["path"].rpartition("L")[2].split()[0]) / 10 for mark in drawn["weights"]]
            slope, zero = np.polyfit(table[:, 0], at, 1)
            assert ends == pytest.approx(slope * table[:, column] + zero, abs=0.1)
            assert at.min() >= 0
            assert at.max() <= 100
            places = [float(level["x"].removesuffix("%")) for level in drawn["levels"] if not level["free"]]
            assert all(min(abs(end - place) for place in places) < 0.1 for end in ends)
        assert (
            shown.drawing["ticks"]
            == view(controls.model_copy(update={"scale": "e8m0", "size": "32"})).drawing["ticks"]
        )
