"""Every figure at four widths, each control at its ends, each option once: nothing overlaps, is cut or jumps.

By geometry, in one page for each figure: its states are fetched once and shown one after another.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page

from lessons.kit.controls import Slider, Widget, as_parameter
from tests.browser.conftest import NewPage
from tests.browser.figures import FIGURES, NAMES, PAGE, WHERE_IT_MATTERS, open_alone, sliders

pytestmark = pytest.mark.tidy

LAYOUT = Path(__file__).with_name("layout.js").read_text()
SWEEP = Path(__file__).with_name("sweep.js").read_text()
WIDTHS = [1440, 768, 390, 320]
HALVES = [768, 320]
"""Widths that share the states: each shows the default, half of the others, and all sliders."""
STEPS = 5
MOST_OPTIONS = 9
"""Of a choice with more (the bytes of a block) some are shown: the ends, and others evenly between."""


def covering_states(name: str) -> list[str]:
    """The default, and as few further states as bring every control to each of its values."""
    values = {control: shown_values(widget) for control, widget in FIGURES[name].controls.widgets().items()}
    count = max(map(len, values.values()))
    return ["", *(query({c: all_[i % len(all_)] for c, all_ in values.items()}) for i in range(count))]


ANOTHER_DRAWING = {("rounding", "n"): ["2"]}
"""Values of a slider at which another drawing, of the same size, takes the place of the usual one."""


def drags(name: str) -> list[list[str]]:
    """For each slider, its way from end to end while everything else rests."""
    ways = []
    for control, widget in sliders(name).items():
        needed = WHERE_IT_MATTERS.get((name, control), {})
        values = [as_parameter(value) for value in widget.states()]
        values = [value for value in values if value not in ANOTHER_DRAWING.get((name, control), [])]
        ways.append([query(needed | {control: value}) for value in evenly(values, 3)])
    return ways


def shown_values(widget: Widget) -> list[str]:
    states = [as_parameter(value) for value in widget.states()]
    return evenly(states, STEPS if isinstance(widget, Slider) else MOST_OPTIONS)


def evenly(values: list[str], most: int) -> list[str]:
    """The first, the last and others evenly between."""
    if len(values) <= most:
        return values
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]


def query(state: dict[str, str]) -> str:
    return urlencode(state)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_overlaps_is_cut_off_or_jumps(new_page: NewPage, name: str) -> None:
    page = new_page()
    open_alone(page, name)
    page.evaluate(f"() => {{ window.layout = {LAYOUT} }}")
    faults = [f"{width} px, {fault}" for width in WIDTHS for fault in sweep(page, name, width)]
    assert not faults, "\n".join(faults)


def test_nothing_overlaps_where_motion_is_welcome(new_page: NewPage) -> None:
    """FIG.00 has a button then that plays it; it shares the rows of bits with what they say."""
    page = new_page(reduced_motion="no-preference")
    open_alone(page, "fold")
    page.keyboard.press("Escape")  # it would play
    page.evaluate(f"() => {{ window.layout = {LAYOUT} }}")
    faults = [f"{width} px, {fault}" for width in (*WIDTHS, 900, 640) for fault in sweep(page, "fold", width)]
    assert not faults, "\n".join(faults)


def sweep(page: Page, name: str, width: int) -> list[str]:
    page.set_viewport_size({"width": width, "height": 900})
    default, *others = covering_states(name)
    if width in HALVES:
        middle = (len(others) + 1) // 2
        others = others[:middle] if width == HALVES[0] else others[middle:]
    found: list[str] = page.evaluate(SWEEP, {"states": [default, *others], "drags": drags(name)})
    return found


def test_what_the_sweep_must_find_is_found(page: Page) -> None:
    """Protects the test above."""
    open_alone(page, "rtn")
    page.evaluate(f"() => {{ window.layout = {LAYOUT} }}")
    figure = page.locator("figure[data-figure]")
    figure.locator(".more, .sharing").evaluate_all("all => all.forEach(each => each.remove())")
    assert figure.evaluate("figure => layout.problems(figure)") == []
    drag = {"states": [], "drags": [["bits=2", "bits=5", "bits=8"]]}
    assert page.evaluate(SWEEP, drag) == []
    page.evaluate("""answers.get("bits=5").querySelector(".drawing").before("one line more")""")
    assert any(": .drawing 0 goes from" in jump for jump in page.evaluate(SWEEP, drag))
    figure.evaluate("""figure => {
        const svg = figure.querySelector(".drawing svg");
        svg.innerHTML = `<text x="50%" y="20">first</text><text x="50%" y="22">-1.5</text>
            <text x="50%" y="99" font-size="9">NaN</text><text x="-99" y="60">1.2345678</text>
            <circle class="mark" cx="101%" cy="900" r="4"/>`;
        svg.querySelectorAll("text").forEach(text => text.style.setProperty("fill", "red"));
    }""")
    found = "\n".join(figure.evaluate("figure => layout.problems(figure)"))
    for fault in ("overlap", "9.0 px", "no number", "more than 6", "hyphen", "cut off", "lies outside"):
        assert fault in found


LINES = """name => {
    const output = document.querySelector(`.readout output[name=${name}]`);
    const room = output.closest(".readout").getBoundingClientRect().right;
    return [output.getClientRects().length, output.getBoundingClientRect().right - room];
}"""


@pytest.mark.parametrize(
    ("name", "state", "number"),
    [
        ("fold", "step=2&weight=13&block=attention&format=bf16", "error"),
        ("fold", "step=6&weight=2", "error"),
        ("xray", "block=outlier&format=Q4_0&pick=weight-7", "error"),
        ("rounding", "n=12", "best_error"),
    ],
)
def test_a_number_stays_in_one_line_at_every_width(no_js: Page, name: str, state: str, number: str) -> None:
    no_js.goto(f"{PAGE}/figures/{name}?{state}")
    for width in (320, 360, 390, 500, 600, 660, 700, 768, 820, 900, 1000, 1100, 1280, 1440):
        no_js.set_viewport_size({"width": width, "height": 900})
        lines, over = no_js.evaluate(LINES, number)
        assert lines == 1, width
        assert over < 0.5, width
