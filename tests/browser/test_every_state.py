"""Every figure in enough states to show every option of every control, on a phone with everything unfolded.

One page for a figure, changed as a reader changes it. Colours are compared in `test_contrast.py`, which sees
more of them than axe does.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from lessons.kit.controls import Slider, as_parameter
from tests.browser.covering import CHANGE, MANY, change, covering
from tests.browser.figures import (
    FIGURES,
    LESSON,
    NAMES,
    computed,
    figure,
    open_alone,
    rendered,
    without_colours,
)

pytestmark = pytest.mark.tidy

Axe = Callable[..., list[str]]
UNFOLD = "document.querySelectorAll('details').forEach(each => { each.open = true })"
SLOW = ["color-contrast", "target-size"]
"""Rules of axe that are slow: it is measured more strictly below and in `test_contrast.py`."""
MOST_ROWS = """all => all.forEach(body => [...body.rows].slice(9).forEach(row => row.remove()))"""
"""Rows of a table are made alike; axe takes long over hundreds."""
SMALL = """root => [...root.querySelectorAll("a, button, select, summary, [type=range], label:has(input)")]
    .filter(each => each.checkVisibility({ visibilityProperty: true }) && !each.closest(".modebar"))
    .map(each => [each, each.getBoundingClientRect()])
    .filter(([, box]) => Math.min(box.width, box.height) < 23.5)  // 24, and half a pixel for rounding
    .filter(([each]) => getComputedStyle(each).display !== "inline"
        || [...each.parentElement.childNodes].every(node => node === each || !node.textContent.trim()))
    .map(([each, {width, height}]) => `${width} × ${height} ${each.tagName} ${each.innerText.slice(0, 9)}`)"""
"""Targets under 24 CSS pixels; links in a sentence are excepted (WCAG 2.5.8), and so is Plotly's bar, without
which a chart says as much."""
SMALL_IN_STATES = f"""async (figure, states) => {{
    const change = {CHANGE};
    const small = {SMALL};
    const found = new Set();
    for (const state of states) {{
        await change(figure.querySelector("form[data-defaults]"), state);
        small(figure).forEach(each => found.add(each));
    }}
    return [...found].sort();
}}"""
TINY = """root => [...root.querySelectorAll("*")]
    .filter(each => [...each.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim()))
    .filter(each => each.checkVisibility({ visibilityProperty: true }) && !each.closest("math"))
    .filter(each => parseFloat(getComputedStyle(each).fontSize) < 11.99)
    .map(each => `${each.tagName} ${each.textContent.trim().slice(0, 20)}`)"""
"""Texts under 12 CSS pixels, in what is unfolded too; drawn ones are measured in `test_layout`."""


@pytest.mark.parametrize("name", NAMES)
def test_every_state_on_a_phone(phone: Page, axe: Axe, name: str, subtests: pytest.Subtests) -> None:
    open_alone(phone, name)
    with subtests.test("words and table"):
        words_and_table_are_those_of_the_state(phone, name)
    phone.evaluate(UNFOLD)
    with subtests.test("texts and width"):
        assert figure(phone, name).evaluate(TINY) == []
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    small = figure(phone, name).evaluate(SMALL_IN_STATES, covering(name))
    with subtests.test("axe"):  # in the last state
        without_colours(phone, name)
        figure(phone, name).locator("details.data tbody").evaluate_all(MOST_ROWS)
        assert axe(phone, but=SLOW) == []
    with subtests.test("targets"):
        assert small == []


def words_and_table_are_those_of_the_state(page: Page, name: str) -> None:
    """After a change: the read-outs, the description, every cell of the table, which is unfolded then."""
    state = change(page, name, covering(name)[1])
    assert state != FIGURES[name].controls()
    view, words = FIGURES[name].view(state), LESSON.texts[name]
    shown = figure(page, name)
    assert rendered(page, name) == computed(name, state)
    first_sentence, *others = (words.sentence(sentence) for sentence in view.description)
    expect(shown.locator(".finding")).to_have_text(first_sentence, use_inner_text=True)
    expect(shown.locator(".description")).to_have_text(" ".join(others), use_inner_text=True)
    expect(shown.locator(".view")).to_have_attribute("data-announce", first_sentence)
    shown.locator("details.data > summary").click()
    rows = [
        [c.text(value) for c, value in zip(view.table.columns, row, strict=True)] for row in view.table.rows
    ]
    expect(shown.locator("details.data tbody tr").first.locator("th, td")).to_have_text(rows[0])
    cells = shown.locator("details.data tbody tr").evaluate_all(
        "all => all.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    assert cells == rows


@pytest.mark.parametrize("name", NAMES)
def test_the_states_cover_every_option(name: str) -> None:
    """Protects the tests above; of a long list a good part, first and last included."""
    for key, widget in FIGURES[name].controls.widgets().items():
        reached = {state[key] for state in covering(name)}
        options = [as_parameter(value) for value in widget.states()]
        assert {options[0], options[-1]} <= reached
        assert len(reached) >= (3 if isinstance(widget, Slider) else min(len(options), MANY // 2))
