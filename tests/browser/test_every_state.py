"""Every figure in enough states to show every option of every control, with everything unfolded, on a phone.

One page for a figure, changed as a reader changes it. Colours are compared in `test_contrast.py`, which sees
more than axe does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

from lessons.kit.controls import FigureControls, plain
from tests.browser.covering import MANY, change, covering
from tests.browser.figures import FIGURES, LESSON, NAMES, computed, figure, open_alone, rendered

Axe = Callable[..., list[str]]
SMALL = """root => [...root.querySelectorAll("a, button, select, summary, input, label:has(input)")]
    .filter(each => each.checkVisibility({ opacityProperty: false, visibilityProperty: true }))
    .filter(each => !each.matches("label > input, .visually-hidden") && !each.closest(".modebar, p, li"))
    .filter(each => { const { width, height } = each.getBoundingClientRect(); return Math.min(width, height) < 24 })
    .map(each => each.outerHTML.slice(0, 120))"""
"""What is smaller than 24 CSS pixels (WCAG 2.5.8). Links in a sentence may be; Plotly's bar repeats the zoom."""
UNFOLD = "document.querySelectorAll('details').forEach(each => { each.open = true })"


@pytest.mark.parametrize("name", NAMES)
def test_axe_finds_nothing_in_any_state(phone: Page, axe: Axe, name: str) -> None:
    open_alone(phone, name)
    phone.evaluate(UNFOLD)
    found = {each for each in axe(phone)}
    for state in covering(name):
        change(phone, name, state)
        found |= {f"{each} in {state}" for each in axe(phone, f"#{FIGURES[name].id}", colours=False)}
    assert sorted(found) == []
