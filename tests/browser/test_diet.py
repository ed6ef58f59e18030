"""A figure's diet: what it shows before anybody unfolds anything fits a laptop's screen, and a phone's.

In its default state a figure shows a finding, at most three controls and three read-outs. At 1440 × 900 it
is at most 700 px high, from its caption to the row of details. At 390 × 844 its first control and its drawing
are on the screen together. No text is smaller than 12 px, no target smaller than 24. That the finding keeps
its height in a drag is tested with the figure's own height, in `test_heights.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.figures import NAMES, figure, open_alone

pytestmark = pytest.mark.tidy

DIET = Path(__file__).with_name("diet.js").read_text()
MOST_HEIGHT = 700
MOST_IN_FRONT = 3
LEAST = {"smallestText": 12, "smallestTarget": 24}
LEAST_SEEN = 120
"""Pixels of a drawing that a phone shows above the first control, where the drawing is as high."""
NOT_YET: dict[str, set[str]] = {}
"""The rules that a figure does not keep yet. A test fails when it keeps one of them: then take it out."""


def open_folded(page: Page, name: str, query: str = "") -> None:
    """The figure as it stands in the lesson, which is as wide."""
    open_alone(page, name, query)
    figure(page, name).locator(".details").evaluate("details => { details.open = false }")
    page.evaluate(f"() => {{ window.diet = {DIET} }}")


def check(name: str, faults: dict[str, Any], rules: set[str]) -> None:
    """Only the rules that `NOT_YET` names are broken, and all of those."""
    late = NOT_YET.get(name, set()) & rules
    assert {rule: fault for rule, fault in faults.items() if rule not in late} == {}
    assert sorted(late - faults.keys()) == [], f"{name} keeps them now: take them out of NOT_YET"


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_fits_a_laptop_and_a_phone(page: Page, name: str, subtests: pytest.Subtests) -> None:
    open_folded(page, name)
    with subtests.test("laptop"):
        fits_a_laptop(page, name)
    page.set_viewport_size({"width": 390, "height": 844})
    with subtests.test("phone"):
        shows_the_first_control_with_what_it_moves(page, name)


@pytest.mark.parametrize("query", ["format=Q8_0", "format=Q6_K", "format=IQ1_M&pick=byte-49&block=outlier"])
def test_the_largest_blocks_fit_a_laptop(page: Page, query: str) -> None:
    """FIG.05B with the most bytes, with the most above error bars, and with the most bytes for one weight."""
    open_folded(page, "xray", query)
    fits_a_laptop(page, "xray")


def fits_a_laptop(page: Page, name: str) -> None:
    found = figure(page, name).evaluate("(figure, least) => diet.measure(figure, least)", LEAST)
    most = {"height": MOST_HEIGHT, "controls": MOST_IN_FRONT, "readouts": MOST_IN_FRONT}
    faults = {rule: found[rule] for rule in most if found[rule] > most[rule]}
    faults |= {rule: found[rule] for rule in ("text", "targets") if found[rule]}
    check(name, faults, found.keys())


def shows_the_first_control_with_what_it_moves(page: Page, name: str) -> None:
    together = figure(page, name).evaluate("(figure, least) => diet.together(figure, least)", LEAST_SEEN)
    check(name, {} if together else {"together": False}, {"together"})
