"""FIG.07D: the outlier, the rotation and the errors by plain arithmetic, and what every state says."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from lessons.catalogue import load_lesson
from lessons.kit.view import View
from lessons.quantization.figures.rotation import FIGURE, HEIGHT, MOST, SEED, Controls
from lessons.quantization.figures.smooth import LAYERS, texts
from lessons.quantization.sources import load_layer

view = FIGURE.view
TEXT = load_lesson("quantization").texts["rotation"]
MAIN, CONTROL, LLM = LAYERS
Matrix = NDArray[np.float64]


def readout(shown: View, name: str) -> float:
    return float(next(r.value for r in shown.readouts if r.name == name))


def every_state() -> Iterator[Controls]:
    for layer, bits, size in itertools.product(LAYERS, ("8", "4"), range(MOST + 1)):
        yield Controls(layer=layer, bits=bits, size=size)


def hadamard_matrix(columns: int, n: int) -> Matrix:
    """Blocks of Sylvester's matrix, behind the figure's signs."""
    block = np.ones((1, 1))
    while len(block) < n:
        block = np.kron(np.array([[1, 1], [1, -1]]), block)
    signs = np.random.default_rng(SEED).choice([-1, 1], columns)
    matrix: Matrix = signs[:, None] * np.kron(np.eye(columns // n), block) / np.sqrt(n)
    return matrix


def tops(outline: str) -> list[float]:
    """The height of each column of an outline."""
    return [float(step.split()[1].partition("H")[0]) for step in outline.split("L")[1:]]


def rounded(values: Matrix, bits: int) -> Matrix:
    scale = np.abs(values).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
    snapped: Matrix = np.round(values / scale) * scale
    return snapped


def error(x: Matrix, w: Matrix, bits: int) -> float:
    exact = x @ w.T
    return float(((rounded(x, bits) @ rounded(w, bits).T - exact) ** 2).sum() / (exact**2).sum())


@pytest.mark.parametrize("layer", LAYERS)
def test_numbers_by_plain_arithmetic(layer: str) -> None:
    calibration, x = (text.astype(float) for text in texts(layer))
    w = load_layer(layer).weights.astype(float)
    s = np.sqrt(np.abs(calibration).max(axis=0) / np.abs(w).max(axis=0))
    for bits, size in itertools.product((8, 4), (0, 3, 6)):
        shown = view(Controls(layer=layer, bits=str(bits), size=size))
        r = hadamard_matrix(x.shape[1], 2**size)
        mean = np.abs(x @ r).mean(axis=0)
        assert readout(shown, "loudness") == pytest.approx(mean.max() / np.median(mean), rel=1e-4)
        assert readout(shown, "output_error") == pytest.approx(error(x @ r, w @ r, bits), rel=0.01)
        assert readout(shown, "output_error_plain") == pytest.approx(error(x, w, bits), rel=0.01)
        assert readout(shown, "output_error_smooth") == pytest.approx(error(x / s, w * s, bits), rel=0.01)
        assert readout(shown, "at_zero") == pytest.approx((rounded(x @ r, bits) == 0).mean(), abs=1e-3)
        assert readout(shown, "product_change") < 1e-6


def test_the_main_layer_has_the_numbers_that_the_lesson_tells() -> None:
    four, eight = view(Controls()), view(Controls(bits="8"))
    assert readout(four, "loudness_plain") == pytest.approx(17.2, abs=0.05)
    assert readout(four, "loudness") == pytest.approx(1.97, abs=0.01)
    names = ("output_error_plain", "output_error_smooth", "output_error")
    assert [readout(four, n) for n in names] == pytest.approx([0.131, 0.0259, 0.0248], rel=0.01)
    assert [readout(eight, n) for n in names] == pytest.approx([5.4e-4, 7.7e-5, 7.2e-5], rel=0.01)


def test_the_finding_is_true_in_every_state() -> None:
    keys = set()
    for controls in every_state():
        shown = view(controls)
        said = [TEXT.sentence(sentence) for sentence in shown.description]
        keys |= {sentence.key for sentence in shown.description}
        before, after = (readout(shown, name) for name in ("loudness_plain", "loudness"))
        ours, plain = readout(shown, "output_error"), readout(shown, "output_error_plain")
        smooth = readout(shown, "output_error_smooth")
        if controls.size:
            assert after < before
            assert ours < plain, "lower, as it says"
            assert readout(shown, "gain") == pytest.approx(plain / ours)
            assert readout(shown, "at_zero") < readout(shown, "at_zero_plain")
            n = int(said[0].split()[1])
            assert n == min(2**controls.size, 64 if controls.layer == LLM else 128)
            assert ("size" in shown.limits) == (n != 2**controls.size)
        else:
            assert (after, ours) == (before, plain)
            assert shown.description[0].key == "not_mixed"
        verdict = shown.description[2].key
        ranges = {"smooth_less": (1.049, 99), "smooth_near": (0.95, 1.051), "smooth_more": (0, 0.953)}
        low, high = ranges[verdict]
        assert low < smooth / ours < high
        assert len(said[0]) <= 125, "three lines beside the controls"
    written = {key for key in TEXT._content["sentences"] if key.startswith(("smooth_", "zeros"))}
    assert keys == written | {"rotated", "not_mixed", "product"}


@pytest.mark.parametrize("layer", LAYERS)
def test_mixing_divides_an_outlier_by_roots_of_two_and_fills_the_grid(layer: str) -> None:
    """Each doubling does, while one channel rules its block; the peak of the histogram sinks all along."""
    shown = [view(Controls(layer=layer, size=size)) for size in range(MOST + 1)]
    loud = np.array([readout(each, "loudness") for each in shown])
    if layer != CONTROL:
        assert loud[:-2] / loud[1:-1] == pytest.approx(2**0.5, rel=0.17)
    bells = [each.drawing["bell"] for each in shown]
    assert bells[0]["before"] == bells[0]["after"] == bells[-1]["before"]
    highest = [min(tops(bell["after"])) for bell in bells]
    assert np.all(np.diff(highest) >= 0), "places count from the top"
    assert highest[-1] > highest[0] + 300


def test_marks_match_the_table() -> None:
    for controls in (Controls(), Controls(size=3, layer=LLM), Controls(size=0, bits="8")):
        shown = view(controls)
        table = np.array(shown.table.rows, dtype=float)
        for column, key in ((1, "before"), (2, "after")):
            scale = shown.plots["channels"].y
            assert scale is not None
            expected = [1000 * scale(value) / HEIGHT for value in table[:, column]]
            assert tops(shown.drawing[key]) == pytest.approx(expected, abs=0.6)
        assert table[:, 2].max() == pytest.approx(readout(shown, "loudness"))
        assert int(shown.drawing["loudest"]["channel"]) == int(table[:, 1].argmax())
        errors = [readout(shown, f"output_error{name}") for name in ("_plain", "_smooth", "")]
        widths = [float(bar["width"].removesuffix("%")) for bar in shown.drawing["errors"]]
        assert np.array(widths) / widths[0] == pytest.approx(np.array(errors) / errors[0], rel=1e-3)
