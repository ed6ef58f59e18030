"""The SVG file of every figure looks like its drawing on the page, pixel by pixel, in light and in dark."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, ViewportSize

from tests.browser.conftest import ROOT, NewPage
from tests.browser.covering import covering
from tests.browser.figures import FIGURES, PAGE, figure, open_alone

pytestmark = pytest.mark.tidy

LESSONS = ROOT / "lessons"
SHOW = Path(__file__).with_name("picture.js").read_text()
DRAWN = [name for name, each in FIGURES.items() if not each.is_html]
LEGENDS = [name for name in DRAWN if "legend in-view" in (LESSONS / FIGURES[name].template).read_text()]
WINDOWS: list[ViewportSize] = [{"width": 1440, "height": 1200}, {"width": 1200, "height": 2400}]
SCHEMES: list[Literal["light", "dark"]] = ["light", "dark"]
SEEN = 48
"""Levels of 255 by which a pixel has to differ to count: less is how an edge falls between two pixels."""
MOST = 0.0005
"""Share of the pixels that may count. A curve in another colour is five times as many."""
ROOM = {"left": 30, "right": 20, "above": 30, "below": 60}
"""CSS pixels around a drawing, for its axes."""


@pytest.mark.parametrize("name", DRAWN)
def test_the_file_looks_like_the_page(new_page: NewPage, name: str) -> None:
    """In one state in light and in another one in the dark: colours are tokens, pairs of the two."""
    page, file = (new_page(viewport=size) for size in WINDOWS)
    open_alone(page, name)  # a typeface that was not there in time is in the cache from now on
    states = ["", *(urlencode(each) for each in covering(name)[1:2])]
    different, legends = [], 0
    for state, scheme in zip(states, SCHEMES, strict=True):
        for each in (page, file):
            each.emulate_media(color_scheme=scheme)
        open_alone(page, name, f"embed=1&{state}")
        file.goto(f"{PAGE}/figures/{name}.svg?ground={scheme}&{state}")
        keys = figure(page, name).locator(".drawing .legend.in-view > span").all_inner_texts()
        texts = file.evaluate("[...document.querySelectorAll('text')].map(text => text.textContent)")
        assert {key.strip() for key in keys} <= set(texts)
        legends += bool(keys)
        different += [f"{state or 'default'}: {each}" for each in differences(page, file, name)]
    assert different == []
    assert bool(legends) == (name in LEGENDS)


def differences(page: Page, file: Page, name: str) -> list[str]:
    """The drawings that differ in more pixels than they may."""
    sizes = file.evaluate(SHOW, {})
    assert sizes
    assert [height for _, height in page.evaluate(SHOW, {})] == [height for _, height in sizes]
    found = []
    for which, (width, _) in enumerate(sizes):
        here, there = (alone(each, which, width) for each in (page, file))
        share = float((np.abs(here - there).max(axis=2) > SEEN).mean())
        if share > MOST:
            found.append(f"{share:.2%} of drawing {which}")
    return found


def alone(page: Page, which: int, width: float) -> NDArray[np.int64]:
    """One drawing on its ground, with its axes, as (height, width, 3) levels."""
    box = page.evaluate(SHOW, {"which": which, "width": width})
    clip = {
        "x": box["x"] - ROOM["left"],
        "y": box["y"] - ROOM["above"],
        "width": box["width"] + ROOM["left"] + ROOM["right"],
        "height": box["height"] + ROOM["above"] + ROOM["below"],
    }
    picture = Image.open(io.BytesIO(page.screenshot(clip=clip)))  # type: ignore[arg-type]
    return np.asarray(picture.convert("RGB")).astype(np.int64)
