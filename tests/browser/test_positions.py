"""Where things are on the screen: their lengths and places are the numbers of quant_core."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from lessons.quantization import sources
from lessons.quantization.blocks import block_weights
from quant_core import memory
from quant_core.memory import GIB
from quant_core.methods import awq, grid
from tests.browser.covering import change, covering
from tests.browser.figures import FIGURES, open_alone

pytestmark = pytest.mark.tidy

BOXES = """selector => [...document.querySelectorAll(selector)].map(e => {
    const b = e.getBoundingClientRect();
    return {x: (b.left + b.right) / 2, y: (b.top + b.bottom) / 2, left: b.left, width: b.width};
})"""
DEVICES = ["desktop", "phone"]


def boxes(page: Page, selector: str) -> list[dict[str, float]]:
    found: list[dict[str, float]] = page.evaluate(BOXES, selector)
    assert found, selector
    return found


@pytest.fixture(params=DEVICES)
def screen(request: pytest.FixtureRequest, new_page: Any) -> Page:
    page: Page = new_page(request.param)
    return page


def test_rtn_places_every_weight_at_its_value(screen: Page) -> None:
    """Vertical distances on the screen are in proportion to distances between the real weights."""
    open_alone(screen, "rtn")
    heights = np.array([mark["y"] for mark in boxes(screen, "#fig-02 .true-mark")])
    weights = block_weights("calm", 32).astype(float)
    assert np.corrcoef(heights, weights)[0, 1] == pytest.approx(-1, abs=1e-5)


def test_rtn_places_every_snapped_mark_at_its_level(screen: Page) -> None:
    open_alone(screen, "rtn", "bits=2")
    weights = block_weights("calm", 32)
    fitted = grid.fit_asymmetric(weights, 2)
    snapped = fitted.dequantize(fitted.quantize(weights)).astype(float)
    heights = np.array([mark["y"] for mark in boxes(screen, "#fig-02 .snap-mark")])
    assert np.corrcoef(heights, snapped)[0, 1] == pytest.approx(-1, abs=1e-5)
    assert len(set(np.round(heights, 1))) == len(set(np.round(snapped, 6)))


def test_fold_drops_every_weight_on_the_rung_of_its_code(screen: Page) -> None:
    open_alone(screen, "fold")
    weights = block_weights("calm", 32)
    codes = grid.fit_asymmetric(weights, 4).quantize(weights)
    rungs = [rung["x"] for rung in boxes(screen, "#fig-00 .rung")]
    kept = [mark["x"] for mark in boxes(screen, "#fig-00 .snap-mark:not(.chosen)")]
    assert len(rungs) == 16
    assert kept == pytest.approx([rungs[code] for code in codes], abs=0.6)


def test_fold_shrinks_the_bar_to_the_size_of_the_file(screen: Page) -> None:
    open_alone(screen, "fold")
    shape = sources.model("llama-3.1-70b").shape
    (whole,), (bar,) = boxes(screen, "#fig-00 .bar-whole"), boxes(screen, "#fig-00-bar")
    ratio = memory.weight_bytes(shape, "Q4_K_M") / memory.weight_bytes(shape, "F16")
    assert bar["width"] / whole["width"] == pytest.approx(ratio, abs=0.003)


def test_fit_bar_and_edge_are_on_one_scale(screen: Page) -> None:
    """The bar of the weights is to the machine's edge as their bytes are to its memory."""
    open_alone(screen, "fit")
    weights = memory.weight_bytes(sources.model("llama-3.1-70b").shape, "Q4_K_M")
    (bar,), (edge,) = boxes(screen, "#fig-06-weights"), boxes(screen, "#fig-06-edge")
    usable = sources.device("ram-62").usable_bytes
    assert bar["width"] / (edge["x"] - bar["left"]) == pytest.approx(weights / usable, rel=0.01)
    assert usable == 58 * GIB


def test_awq_draws_the_salient_weight_s_levels_a_scaled_spacing_apart(screen: Page) -> None:
    """Spacing on the screen, at α = 0 and at 0.5, is to the whole strip as Δ/s is to the range it shows."""
    layer = sources.load_layer("minilm.5.ffn_in")
    assert layer.mean_abs is not None
    channel = int(np.argmax(layer.mean_abs))
    spacing = []
    for alpha in ("0", "0.5"):
        open_alone(screen, "awq", f"alpha={alpha}")
        levels = [box["x"] for box in boxes(screen, "#fig-04 .strip-salient .strip-level")]
        spacing.append((levels[-1] - levels[0]) / (len(levels) - 1))
    row = int(
        np.argmax(
            np.abs(awq.apply(layer.weights, np.ones(384), 3, 128).dequantize() - layer.weights)[:, channel]
        )
    )
    expected = [
        awq.apply(layer.weights, awq.scales_for(layer.mean_abs, alpha), 3, 128).spacing[row, channel]
        for alpha in (0.0, 0.5)
    ]
    assert spacing[1] / spacing[0] == pytest.approx(expected[1] / expected[0], rel=0.02)


def test_rounding_bars_are_as_long_as_the_errors(screen: Page) -> None:
    open_alone(screen, "rounding")
    widths = [box["width"] for box in boxes(screen, "#fig-03 rect[id^='fig-03-left-']")]
    view = FIGURES["rounding"].view(FIGURES["rounding"].controls())
    column = [column.name for column in view.table.columns].index("output_error")
    errors = sorted(float(row[column]) for row in view.table.rows)
    assert sorted(w / max(widths) for w in widths) == pytest.approx(
        [e / errors[-1] for e in errors], abs=0.01
    )


def test_xray_lights_the_bytes_that_a_weight_depends_on(screen: Page) -> None:
    """Weight 37 is the high nibble of byte 16 + 5; its sub-block 1 has scale byte 5 and minimum byte 9."""
    open_alone(screen, "xray", "pick=weight-37")
    lit = screen.locator("#fig-05b label.related input[value^='byte-']").evaluate_all(
        "all => all.map(input => input.value)"
    )
    assert lit == [f"byte-{index}" for index in (0, 1, 2, 3, 5, 9, 21)]


STRUCK = """figure => {
    const ink = (text) => {
        const range = document.createRange();
        range.selectNodeContents(text);
        const box = range.getBoundingClientRect();
        const middle = (box.top + box.bottom) / 2, half = 0.36 * parseFloat(getComputedStyle(text).fontSize);
        return { left: box.left, right: box.right, top: middle - half, bottom: middle + half };
    };
    const cells = [...figure.querySelectorAll("[class*=row-] label:not(:has(:checked))")].map((label) => {
        const looks = getComputedStyle(label), edge = parseFloat(looks.borderBottomWidth);
        const bottom = label.getBoundingClientRect().bottom - edge - (label.matches(".down") ? 4 : 0);
        return bottom - parseFloat(looks.backgroundSize.split(" ")[1]) - ink(label).bottom;
    });
    const bars = [...figure.querySelectorAll(".trade text")].map((text) => {
        const end = text.previousElementSibling.getBoundingClientRect().right;
        return Math.max(ink(text).left - end, end - ink(text).right);
    });
    return [...cells, ...bars];
}"""


def test_xray_bars_leave_the_digits_alone(screen: Page) -> None:
    """No bar reaches into the digits that stand over it or on it."""
    open_alone(screen, "xray")
    for state in covering("xray"):
        change(screen, "xray", state)
        assert min(screen.locator("#fig-05b").evaluate(STRUCK)) > 0, state
