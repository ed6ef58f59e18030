"""FIG.06 on a reader's own model: a config.json pasted, a GGUF header read, a link that holds either."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from lessons.quantization.own_model import line_of
from tests.browser.dropping import bytes_read, drop
from tests.browser.figures import PAGE, expect_state, figure
from tests.browser.watch import Watch
from tests.lessons.test_own_model import LISTED, header, published

pytestmark = pytest.mark.tidy


def test_a_pasted_config_and_the_header_of_a_gguf_file_are_counted(
    page: Page, watch: Watch, axe: Callable[..., list[str]]
) -> None:
    watch.expect("status of 422")
    page.goto(PAGE)
    page.locator("html.js").wait_for()
    panel = figure(page, "fit").locator("details.config")
    panel.locator("summary").click()
    panel.locator("textarea").fill("{}")
    panel.locator(".own-paste button").click()
    expect(panel.locator(".own-problem")).to_contain_text("hidden_size is missing")
    assert axe(page, "#fig-06 .own-panel") == []

    panel.locator("textarea").fill(published(LISTED["qwen3-30b-a3b"]))
    panel.locator(".own-paste button").click()
    expect(panel.locator(".own-problem")).to_be_hidden()
    expect_state(page, "fit", source="config", config=line_of(LISTED["qwen3-30b-a3b"]))
    expect(page.locator("#fig-06-config")).to_be_visible()
    expect(figure(page, "fit").get_by_role("group", name="Choose by")).to_be_visible()

    sent: list[int] = []
    page.on("request", lambda asked: sent.append(len(asked.post_data or "")))
    drop(figure(page, "fit"), "model.gguf", header(LISTED["llama-3.1-8b"], "llama") + bytes(4 << 20))
    expect_state(page, "fit", source="config", config=line_of(LISTED["llama-3.1-8b"]))
    assert 0 < max(sent) < 2048, "what says the shape, not the file"
    assert bytes_read(figure(page, "fit")) < 2 << 20, "its header, a piece at a time"
    page.wait_for_url("**fit.config=*llama3*")


def test_what_says_nothing_of_the_shape_is_not_sent(page: Page) -> None:
    """A published file in NVFP4 lists its layers in three megabytes."""
    layers = {
        f"model.layers.{i}.mlp.experts.{j}.up_proj": {"num_bits": 4} for i in range(60) for j in range(500)
    }
    config = LISTED["qwen3-8b"] | {
        "quantization_config": {"quantized_layers": layers},
        "limit": [0.0, float("inf")],
    }
    text = json.dumps(config)
    assert len(text) > 1_500_000
    page.goto(PAGE)
    page.locator("html.js").wait_for()
    sent: list[int] = []
    page.on("request", lambda asked: sent.append(len(asked.post_data or "")))
    drop(figure(page, "fit"), "config.json", text.encode("utf-8-sig"))
    expect_state(page, "fit", source="config", config=line_of(LISTED["qwen3-8b"]))
    assert 0 < max(sent) < 4096
    panel = figure(page, "fit").locator("details.config")
    panel.locator("textarea").evaluate(
        "(field, text) => { field.value = text; }", text.replace("qwen3", "qwen2")
    )
    panel.locator(".own-paste button").click()
    expect_state(page, "fit", source="config", config=line_of(config | {"model_type": "qwen2"}))
    assert 0 < max(sent) < 4096
