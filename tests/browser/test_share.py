"""Sharing in a browser: what is copied, what an embed tells its host, and the pictures that are saved."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage, until
from tests.browser.figures import figure
from tests.browser.watch import Watch

pytestmark = pytest.mark.tidy

PAGE = "/lessons/quantization"
COPY = "() => { navigator.clipboard.writeText = async (text) => { window.copied = text } }"


def test_share_is_fetched_and_copies_the_state_that_is_shown(page: Page) -> None:
    page.goto(f"{PAGE}?rtn.bits=5")
    page.locator("html.js").wait_for()
    page.evaluate(COPY)
    shared = figure(page, "rtn").locator("details.sharing:not(.own)")
    shared.locator("summary").click()
    shared.locator("[data-copy=fig-02-link]").click()
    expect(page.locator("#live")).to_have_text("Copied")
    assert page.evaluate("window.copied") == f"{origin(page)}{PAGE}/figures/rtn?bits=5"

    page.locator("#fig-02-bits").focus()
    page.keyboard.press("End")
    expect(shared.locator("#fig-02-link")).to_have_value(f"{origin(page)}{PAGE}/figures/rtn?bits=8")
    expect(shared.locator("textarea")).to_have_value(
        re.compile(f'src="{origin(page)}{PAGE}/figures/rtn\\?embed=1&amp;bits=8"')
    )


def test_a_picture_is_saved_as_it_is_drawn(page: Page, tmp_path: Path) -> None:
    page.goto(f"{PAGE}/figures/rtn?bits=5")
    page.locator(".sharing:not(.own) > summary").click()
    with page.expect_download() as saved:
        page.locator("[data-png]").first.click()
    saved.value.save_as(tmp_path / "figure.png")
    assert saved.value.suggested_filename == "fig-02-light.png"
    pixels = np.asarray(Image.open(tmp_path / "figure.png").convert("RGB")).astype(int)
    assert pixels.shape[1] == 2 * 1080
    accent = np.array([0xC7, 0x37, 0x00])
    assert (np.abs(pixels - accent).sum(axis=2) < 12).sum() > 1000, "the marks of quantized weights"


def test_a_page_of_cells_is_saved_as_it_is_laid_out(page: Page, tmp_path: Path) -> None:
    page.goto(f"{PAGE}/figures/xray")
    page.locator(".sharing:not(.own) > summary").click()
    drawing = page.locator(".drawing").bounding_box()
    assert drawing
    files = {}
    for name in ("fig-05b-light.svg", "fig-05b-dark.png"):
        with page.expect_download() as saved:
            page.locator(f'[data-html-picture][data-name="{name}"]').click()
        saved.value.save_as(tmp_path / name)
        files[name] = tmp_path / name
    picture = np.asarray(Image.open(files["fig-05b-dark.png"]).convert("RGB")).astype(int)
    assert picture.shape[0] == pytest.approx(2 * (drawing["height"] + 48), abs=4)
    assert picture[4, 4].mean() == pytest.approx(22, abs=12)
    assert len(np.unique(picture @ [1 << 16, 1 << 8, 1])) > 100, "cells and letters"
    svg = files["fig-05b-light.svg"].read_text()
    outside = r'(?:src|href)="(?!data:)[^"]*"|url\("(?!data:|#)[^"]*"'
    assert re.findall(outside, svg) == [], "it needs nothing else"


def test_embed_tells_its_host_how_high_it_is(new_page: NewPage, watch: Watch) -> None:
    page = new_page()
    page.goto(f"{PAGE}/figures/rtn?bits=5")
    page.locator(".sharing:not(.own) > summary").click()
    page.locator("#fig-02-take button:visible").first.wait_for()
    code = page.locator("#fig-02-take textarea").input_value()
    with serving(f"<!doctype html>{code}") as host:
        watch.expect(host)
        page.goto(host)
        frame = page.frame_locator("iframe")
        frame.locator("#fig-02").wait_for()
        main = frame.locator("main")

        def fits() -> bool:
            needed = main.evaluate("main => Math.ceil(main.getBoundingClientRect().height)")
            return page.locator("iframe").get_attribute("height") == str(needed)

        until(page, fits)
        assert frame.locator("html").evaluate("html => html.scrollHeight <= innerHeight + 1")


@contextmanager
def serving(body: str) -> Iterator[str]:
    """A page of another host."""

    class Host(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Host) as host:
        threading.Thread(target=host.serve_forever).start()
        yield f"http://127.0.0.1:{host.server_port}/"
        host.shutdown()


def origin(page: Page) -> str:
    return "{0.scheme}://{0.netloc}".format(urlsplit(page.url))


def test_a_fixed_control_stays_what_it_is_through_every_change(page: Page) -> None:
    page.goto(f"{PAGE}/figures/primitive?bits=3&lock=bits,weight&explain=off")
    shown = figure(page, "primitive")
    expect(shown.locator("[name=bits]:disabled")).not_to_have_count(0)
    expect(shown.locator("[name=bits]:enabled:not([type=hidden])")).to_have_count(0)
    shown.get_by_role("radio", name="symmetric", exact=True).check()
    page.wait_for_url("**/primitive?*convention=symmetric*")
    assert "lock=bits%2Cweight" in page.url or "lock=bits,weight" in page.url
    expect(shown.locator("[name=weight]:disabled")).not_to_have_count(0)
    expect(shown.locator("[name=weight]:enabled:not([type=hidden])")).to_have_count(0)
    expect(shown.locator(".tick.code").first).to_have_text("−3")
    expect(shown.locator(".finding")).to_be_hidden()
    expect(shown.locator(".description")).to_be_hidden()


def test_the_page_that_makes_links_is_accessible_and_copies(
    page: Page, axe: Callable[..., list[str]]
) -> None:
    page.goto(f"{PAGE}/teach?figure=rtn&set.bits=6&show.block=lock&explain=off&place=embed")
    page.evaluate(COPY)
    link = f"{origin(page)}{PAGE}/figures/rtn?embed=1&bits=6&lock=block&explain=off"
    expect(page.locator("#made-link")).to_have_value(link)
    assert axe(page) == []
    page.get_by_role("button", name="Copy the link").click()
    expect(page.locator("#live")).to_have_text("Copied")
    assert page.evaluate("window.copied") == link
    page.locator("#set-bits").fill("5")
    page.get_by_role("button", name="Make the link").click()
    expect(page.locator("#made-link")).to_have_value(link.replace("bits=6", "bits=5"))


def test_link_code_and_preview_follow_the_form(page: Page) -> None:
    """After a walk they are those of a fresh page, and what cannot be shown leaves them as they were."""
    page.goto(f"{PAGE}/teach?figure=rtn&place=embed")
    preview = page.locator(".teach-preview figure")
    expect(preview).to_have_attribute("data-place", "embed")
    page.locator("#set-bits").fill("6")
    page.locator(".teach-row", has_text="Bits per weight").get_by_role("radio", name="fixed").check()
    link = f"{origin(page)}{PAGE}/figures/rtn?embed=1&bits=6&lock=bits"
    expect(page.locator("#made-link")).to_have_value(link)
    expect(preview.locator("input[name=bits]").first).to_have_value("6")
    expect(preview.locator(".arrangement-note")).to_contain_text("Bits per weight")
    expect(page.locator("#made img")).to_have_attribute("src", re.compile("bits%253D6|bits%3D6"))
    walked = page.locator("#made").inner_text()
    page.reload()
    expect(preview.locator("input[name=bits]").first).to_have_value("6")
    assert page.locator("#made").inner_text() == walked
    page.locator("#set-bits").fill("99")
    page.locator(".teach-problem").wait_for()
    expect(page.locator("#made-link")).to_have_value(link)
    page.locator("#set-bits").fill("4")
    expect(page.locator(".teach-problem")).to_be_hidden()
    expect(page.locator("#made-link")).to_have_value(link.replace("bits=6&", ""))


def test_a_range_of_exercises_is_refused_with_its_reason(page: Page, watch: Watch) -> None:
    watch.expect("status of 422")
    page.goto(f"{PAGE}/teach?figure=rtn")
    page.get_by_role("radio", name="a task of its section").check()
    page.get_by_label("from", exact=True).fill("5")
    page.get_by_label("to", exact=True).fill("8")
    expect(page.locator(".teach-codes img")).to_have_count(4)
    links = [f"{origin(page)}{PAGE}/tasks/zeros?seed={seed}\n" for seed in range(5, 9)]
    expect(page.locator("#made-link")).to_have_value("".join(links))
    page.get_by_label("to", exact=True).fill("3")
    expect(page.locator(".teach-problem")).to_contain_text("5 to 104")
    expect(page.locator(".teach-codes img")).to_have_count(4)


@pytest.mark.parametrize("path", ["/teach", "/teach/plans", "/teach/answers", "/privacy"])
def test_pages_for_teachers_are_accessible(page: Page, axe: Callable[..., list[str]], path: str) -> None:
    page.goto(path)
    assert axe(page) == []
