"""A model file given to a figure: its header and a block are read, kilobytes are sent, the block is drawn."""

from __future__ import annotations

import csv
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect

from quant_core.methods import metrics, rtn
from tests.browser.conftest import until
from tests.browser.dropping import bytes_read, drop
from tests.browser.figures import figure, page_of, unfold_data
from tests.browser.watch import Watch

pytestmark = pytest.mark.tidy

PAGE = "/lessons/quantization"
WEIGHTS = np.random.default_rng(3).normal(0, 0.05, (64, 4096)).astype(np.float16)


def model(path: Path) -> Path:
    """A file of half a megabyte, of which 512 bytes are wanted."""
    data = WEIGHTS.tobytes()
    other = np.zeros(8, np.int64).tobytes()
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "ids": {"dtype": "I64", "shape": [8], "data_offsets": [0, len(other)]},
            "layer.0.w": {
                "dtype": "F16",
                "shape": list(WEIGHTS.shape),
                "data_offsets": [len(other), len(other) + len(data)],
            },
        }
    )
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + other + data)
    return path


def test_a_block_of_a_file_dropped_on_a_figure_is_drawn_in_every_figure_that_can(
    page: Page, tmp_path: Path, axe: Callable[..., list[str]]
) -> None:
    page.goto(PAGE)
    page.locator("html.js").wait_for()
    panel = figure(page, "rtn").locator("details.own")
    sent: list[int] = []
    page.on(
        "request", lambda asked: sent.append(len(asked.post_data or "")) if asked.method == "POST" else None
    )
    content = model(tmp_path / "model.safetensors").read_bytes()
    drop(figure(page, "rtn"), "model.safetensors", content)
    expect(panel.locator("[data-tensor] option")).to_have_count(1)
    panel.locator("[data-row]").fill("17")
    panel.locator("[data-column]").fill("1024")
    assert axe(page, "#fig-02 .own-panel") == []
    panel.locator(".own-cut button").click()

    shown = figure(page, "rtn")
    expect(shown.locator(".note").first).to_contain_text("model.safetensors · layer.0.w")
    block = WEIGHTS[17, 1024 : 1024 + 32].astype(np.float32)
    for bits in (4, 8):
        quantized = rtn.round_to_nearest(block[None, :], bits, 32)
        sqnr = metrics.sqnr_db(block, quantized.dequantize()[0])
        expect(shown.locator("output[name=levels]")).to_have_text(str(2**bits))
        expect(shown.locator("output[name=sqnr]")).to_have_text(f"{sqnr:.1f}")
        page.locator("#fig-02-bits").focus()
        page.keyboard.press("End")
    expect(figure(page, "primitive").locator(".note").first).to_contain_text("model.safetensors")
    page.wait_for_url("**rtn.bits=8*")
    shown.locator("details.sharing:not(.own) > summary").click()
    expect(shown.locator("[data-own-says]")).to_be_visible()
    for name, suffix in (("CSV", "csv"), ("SVG on white", "svg"), ("PNG on white", "png")):
        with page.expect_download() as waiting:
            shown.locator(".take-files").get_by_text(name).click()
        assert waiting.value.suggested_filename.endswith(f"-own.{suffix}")
        saved = Path(waiting.value.path()).read_bytes()
        if suffix == "csv":
            rows = list(csv.DictReader(saved.decode().splitlines()))
            assert [float(row["weight"]) for row in rows] == block.tolist()
    assert "own" not in page.url
    assert max(sent) < 4096, "kilobytes, not the file"
    header = len(content) - WEIGHTS.nbytes - 64  # the other tensor has 64 bytes
    assert header <= bytes_read(shown) <= header + 16 + 2 * 256, "its first bytes, its header and one block"

    page.goto(page_of("xray"))
    page.locator("html.js").wait_for()
    expect(figure(page, "xray").locator(".note").first).to_contain_text("model.safetensors")
    page.go_back()
    page.locator("html.js").wait_for()
    expect(shown.locator(".note").first).to_contain_text("model.safetensors")
    figure(page, "rtn").locator("details.own > summary").click()
    panel.locator("[data-own-back]").click()
    expect(shown.locator(".note").first).to_contain_text("all-MiniLM-L6-v2")


OWN = np.linspace(-1, 1, 256, dtype=np.float32) ** 3


def paste(page: Page) -> None:
    """Give weights of one's own, as many as the largest figure shows."""
    panel = figure(page, "rtn").locator("details.own")
    panel.locator("summary").click()
    panel.locator(".own-drop").wait_for()
    panel.locator("textarea").fill(" ".join(map(str, OWN)))
    panel.locator(".own-paste button").click()
    expect(figure(page, "rtn")).to_have_attribute("data-own", "tab")


def expect_own(page: Page, bits: int) -> None:
    block = OWN[:32]
    sqnr = metrics.sqnr_db(block, rtn.round_to_nearest(block[None, :], bits, 32).dequantize()[0])
    expect(figure(page, "rtn").locator("output[name=levels]")).to_have_text(str(2**bits))
    expect(figure(page, "rtn").locator("output[name=sqnr]")).to_have_text(f"{sqnr:.1f}")


def test_tables_of_the_lessons_weights_are_not_shown_in_place_of_the_readers(page: Page) -> None:
    """The table of a slider was fetched before the reader gave weights."""
    page.goto(f"{PAGE}/figures/rtn")
    page.locator("html.js").wait_for()
    slider = page.locator("#fig-02-bits")
    with page.expect_response("**/along/bits*"):
        slider.focus()
    page.wait_for_load_state("networkidle")
    paste(page)
    for key, bits in (("End", 8), ("ArrowLeft", 7)):
        slider.focus()
        page.keyboard.press(key)
        expect_own(page, bits)


def test_data_of_the_lessons_weights_that_arrive_late_do_not_replace_the_readers(page: Page) -> None:
    waiting: list[Route] = []
    page.route(
        "**/fragments/*/quantization/rtn?*",
        lambda route: waiting.append(route) if route.request.method == "GET" else route.continue_(),
    )
    page.goto(PAGE)
    page.locator("html.js").wait_for()
    unfold_data(page, "rtn")
    until(page, lambda: len(waiting) == 1)
    paste(page)
    expect_own(page, 4)
    with page.expect_response(waiting[0].request.url):
        waiting[0].continue_()
    page.wait_for_timeout(200)
    expect_own(page, 4)


def test_what_is_no_model_file_is_said_and_changes_nothing(page: Page, watch: Watch, tmp_path: Path) -> None:
    watch.expect("status of 422")
    page.goto(f"{PAGE}/figures/rtn")
    panel = figure(page, "rtn").locator("details.own")
    panel.locator("summary").click()
    panel.locator(".own-drop").wait_for()
    cut = model(tmp_path / "model.safetensors").read_bytes()[:100_000]
    for name, content, words in (  # each is told something else than the one before
        ("cut.safetensors", cut, "ends before"),
        ("notes.txt", b"no model at all, only words", "no .npy"),
        ("cut.gguf", b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0", "ends before"),
    ):
        panel.locator("input[type=file]").set_input_files(
            {"name": name, "mimeType": "application/octet-stream", "buffer": content}
        )
        if name == "cut.safetensors":  # its header is whole: only the block is missing
            panel.locator("[data-row]").fill("63")
            panel.locator(".own-cut button").click()
        expect(panel.locator(".own-problem")).to_contain_text(words)
    panel.locator("textarea").fill("1 2 3")
    panel.locator(".own-paste button").click()
    expect(panel.locator(".own-problem")).to_contain_text("needs 32")
    expect(figure(page, "rtn").locator(".note").first).to_contain_text("all-MiniLM-L6-v2")
