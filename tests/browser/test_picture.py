"""The SVG file of every figure looks like its drawing on the page, pixel by pixel, in light and in dark."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page

from tests.browser.conftest import ROOT, NewPage
from tests.browser.covering import covering
from tests.browser.figures import FIGURES, PAGE, figure, open_alone

pytestmark = pytest.mark.tidy

LESSONS = ROOT / "lessons"
SHOW = Path(__file__).with_name("picture.js").read_text()
DRAWN = [name for name, each in FIGURES.items() if not each.is_html]
LEGENDS = [name for name in DRAWN if "legend in-view" in (LESSONS / FIGURES[name].template).read_text()]
STATES = {"light": 2, "dark": 0}
"""States of a figure beside the first: colours are tokens, pairs of light and dark."""
SEEN = 48
"""Levels of 255 by which a pixel has to differ to count: less is how an edge falls between two pixels."""
MOST = {"primitive": 0.004}
MOST_ELSEWHERE = 0.0005
"""Share of the pixels that may count. A curve in another colour is five times as many. The buttons of FIG.0A
are gradients on the page, whose edges are softer than those of circles."""
ROOM = {"left": 30, "right": 20, "above": 30, "below": 60}
"""CSS pixels around a drawing, for its axes."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", DRAWN)
def test_the_file_looks_like_the_page(new_page: NewPage, name: str, scheme: Any) -> None:
    page = new_page(viewport={"width": 1440, "height": 1200}, color_scheme=scheme)
    file = new_page(viewport={"width": 1200, "height": 2400}, color_scheme=scheme)
    open_alone(page, name)  # a typeface that was not there in time is in the cache from now on
    different = []
    for state in ["", *(urlencode(each) for each in covering(name)[1 : 1 + STATES[scheme]])]:
        open_alone(page, name, f"embed=1&{state}")
        file.goto(f"{PAGE}/figures/{name}.svg?ground={scheme}&{state}")
        sizes = file.evaluate(SHOW, {})
        assert sizes
        assert [height for _, height in page.evaluate(SHOW, {})] == [height for _, height in sizes]
        for which, (width, _) in enumerate(sizes):
            here, there = (alone(each, which, width) for each in (page, file))
            share = float((np.abs(here - there).max(axis=2) > SEEN).mean())
            if share > MOST.get(name, MOST_ELSEWHERE):
                different.append(f"{state or 'default'}: {share:.2%} of drawing {which}")
    assert different == []


@pytest.mark.parametrize("name", LEGENDS)
def test_the_file_has_the_keys_of_the_page(new_page: NewPage, name: str) -> None:
    """Those of a legend that changes with the state."""
    page, file = new_page(viewport={"width": 1440, "height": 1200}), new_page()
    met = False
    for state in ["", *(urlencode(each) for each in covering(name)[1:3])]:
        open_alone(page, name, state)
        words = figure(page, name).locator(".drawing .legend.in-view > span").all_inner_texts()
        file.goto(f"{PAGE}/figures/{name}.svg?{state}")
        texts = file.evaluate("[...document.querySelectorAll('text')].map(text => text.textContent)")
        met = met or bool(words)
        assert {each.strip() for each in words} <= set(texts)
    assert met


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
