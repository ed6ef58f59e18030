"""Each figure looks as it did, and so does the opening on a phone in the dark.

`make screenshots` keeps the looks of today, and makes the picture of the README.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Locator, Page, Route

from tests.browser.conftest import DEVICES, EMPTY, ROOT, KeptPage
from tests.browser.figures import NAMES, PAGE, figure, open_alone
from tests.browser.screenshots import TOLERANCE, Grey, difference, read, report, shrink, write
from tests.browser.test_contrast import wait_for_chart

pytestmark = pytest.mark.tidy

KEPT = Path(__file__).with_name("screenshots")
README = ROOT / "docs" / "screenshot.png"
RESULTS = ROOT / "test-results"
ANEW = os.environ.get("SCREENSHOTS") == "new"
LARGEST = 44 * 1024
MARGIN = 32  # pixels of paper around the picture of the README


def with_faces(page: Page) -> None:
    """Paint in our typefaces, however late they come (`font-display: optional` would leave them out)."""
    page.route("**/*.css", wait_for_faces)


def wait_for_faces(route: Route) -> None:
    answer = route.fetch()
    route.fulfill(response=answer, body=answer.text().replace("font-display:optional", "font-display:block"))


def alone(kept_page: KeptPage, name: str) -> Locator:
    """A figure on its own page with every typeface loaded. (The long lesson takes far longer to picture.)

    What can be taken away from it stands open there; it is folded as in the lesson.
    """
    page = kept_page(EMPTY, with_faces)
    open_alone(page, name)
    page.locator("details.sharing").evaluate_all("all => all.forEach(each => { each.open = false })")
    return wait_for_chart(figure(page, name))


def picture(shown: Locator) -> bytes:
    """A figure as it is painted; native menus, which every system draws its own way, are covered."""
    menus = [shown.locator("select")]
    return shown.screenshot(animations="disabled", scale="css", mask=menus, mask_color="#808080")


def compare(name: str, png: bytes) -> None:
    kept = KEPT / f"{name}.png"
    if ANEW:
        write(kept, shrink(png))
    assert kept.exists(), f"no screenshot of {name} is kept: `make screenshots` makes it"
    assert report(read(kept), shrink(png), RESULTS, name) == ""


@pytest.mark.parametrize("name", NAMES)
def test_figure_looks_as_it_did(kept_page: KeptPage, name: str) -> None:
    compare(name, picture(alone(kept_page, name)))


def test_opening_looks_as_it_did_on_a_phone_in_the_dark(kept_page: KeptPage) -> None:
    phone = DEVICES["phone"] | {"color_scheme": "dark"}
    page = kept_page(EMPTY, with_faces, **phone)
    page.goto(PAGE)
    page.locator("html.js").wait_for()
    compare("opening-phone-dark", page.screenshot(animations="disabled", scale="css"))


def test_readme_shows_the_lesson_as_it_is(kept_page: KeptPage) -> None:
    shown = alone(kept_page, "fold")
    shown.page.evaluate("scrollTo(0, 0)")
    box = shown.bounding_box()
    assert box
    x, y = box["x"] - MARGIN, box["y"] - MARGIN
    width, height = box["width"] + 2 * MARGIN, box["height"] + 2 * MARGIN
    png = shown.page.screenshot(
        animations="disabled",
        scale="css",
        full_page=True,
        clip={"x": x, "y": y, "width": width, "height": height},
    )
    if ANEW:
        Image.open(io.BytesIO(png)).convert("RGB").quantize(64).save(README, optimize=True)
    assert report(shrink(README.read_bytes()), shrink(png), RESULTS, "readme") == ""


def test_kept_screenshots_are_small_and_each_is_compared() -> None:
    kept = sorted(KEPT.glob("*.png"))
    assert {path.stem for path in kept} == {*NAMES, "opening-phone-dark"}
    assert [path.name for path in kept if path.stat().st_size > LARGEST] == []


# --- the comparison itself --------------------------------------------------------------------------------

FINE = 8  # a pixel of the screen is drawn with 8 × 8
WIDTH, HEIGHT = 240, 160


def drawing(*, label_at: float = 40, mark: bool = True, by: float = 0, noise: float = 0) -> Grey:
    """A bar, a label and a mark, `by` pixels to the right, anti-aliased, with noise."""
    page = Image.new("L", (WIDTH * FINE, HEIGHT * FINE), 252)
    pen = ImageDraw.Draw(page)
    pen.rectangle([(20 + by) * FINE, 100 * FINE, (200 + by) * FINE, 120 * FINE], fill=90)
    pen.text(((label_at + by) * FINE, 30 * FINE), "weight w", fill=110, font_size=12 * FINE)
    if mark:
        pen.ellipse([(150 + by) * FINE, 60 * FINE, (158 + by) * FINE, 68 * FINE], fill=90)
    painted = np.asarray(page.resize((WIDTH, HEIGHT), Image.Resampling.BOX), np.float64)
    painted = painted + np.random.default_rng(0).normal(0, noise, painted.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(painted, 0, 255).astype(np.uint8)).save(file, "PNG")
    return shrink(file.getvalue())


def worst(actual: Grey) -> float:
    found = difference(drawing(), actual)
    assert found is not None
    return float(found.max())


@pytest.mark.parametrize("by", [0.25, 0.5, 1, -0.7])
def test_other_anti_aliasing_is_no_difference(by: float) -> None:
    assert worst(drawing(by=by, noise=4)) <= TOLERANCE


@pytest.mark.parametrize("label_at", [34, 46])
def test_a_label_that_moved_is_found(label_at: float) -> None:
    assert worst(drawing(label_at=label_at)) > TOLERANCE


def test_a_missing_mark_is_found() -> None:
    assert worst(drawing(mark=False)) > TOLERANCE


def test_another_size_is_no_match() -> None:
    assert difference(drawing(), drawing()[:-5]) is None


def test_a_difference_is_written_down_with_its_place(tmp_path: Path) -> None:
    said = report(drawing(), drawing(mark=False), tmp_path, "probe")
    assert "around x = 154, y = 64" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "probe-actual.png", "probe-difference.png", "probe-expected.png",
    ]  # fmt: skip
