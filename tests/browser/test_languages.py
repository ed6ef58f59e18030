"""A page that runs from right to left is laid out as well as any: nothing sticks out, overlaps or is cut off.

It is also read as the browser shows it: what scripts and Plotly write is in the language too.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.browser.conftest import NewPage
from tests.browser.figures import uncover

pytestmark = pytest.mark.tidy

LAYOUT = Path(__file__).with_name("layout.js").read_text()
MIRRORED = "/ar-XB/lessons/quantization"
FAULTS = """
() => {
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const figures = [...document.querySelectorAll("figure[data-figure]")];
  return [
    ...(wide > 0 ? [`the page is ${wide} px wider than the screen`] : []),
    ...figures.flatMap((figure) => layout.problems(figure).map((fault) => `${figure.id}: ${fault}`)),
  ].filter((fault) => !fault.includes("digits")); // numbers that are names no longer look so
}
"""


@pytest.mark.parametrize("width", [1440, 390])
def test_a_page_from_right_to_left_is_laid_out(new_page: NewPage, width: int) -> None:
    page = new_page(viewport={"width": width, "height": 900})
    page.goto(MIRRORED)
    uncover(page)
    page.evaluate(f"() => {{ window.layout = {LAYOUT} }}")
    assert page.evaluate(FAULTS) == []
    heading, drawing = page.locator("h1"), page.locator("#fig-02 .drawing")
    assert heading.evaluate("element => getComputedStyle(element).direction") == "rtl"
    assert drawing.evaluate("element => getComputedStyle(element).direction") == "ltr"


def test_what_scripts_write_is_in_the_language(new_page: NewPage) -> None:
    page = new_page()
    page.goto(f"{MIRRORED}/figures/quality")
    page.locator(".modebar").wait_for(state="attached")
    button = page.locator("[data-theme-button]")
    button.click()
    written = [button.get_attribute("aria-label") or "", page.locator(".chart-live").inner_text()]
    written += [element.get_attribute("data-title") or "" for element in page.locator("[data-title]").all()]
    assert len(written) > 3
    assert all(text.strip() for text in written)
    assert [text for text in written if re.search("[A-Za-z]{2}", text)] == []
