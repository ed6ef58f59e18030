"""Few states of a figure that together show every option of every control, and putting a page into them."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

from lessons.kit.controls import FigureControls, Slider, Widget, as_parameter
from tests.browser.figures import FIGURES

CHANGE = Path(__file__).with_name("change.js").read_text()
MANY = 9
"""Options up to which each gets a state: the 528 cells of a block and the 58 models are each drawn alike."""
OF_LONG = 7
"""How many stand for a longer list."""

State = dict[str, str]


def covering(name: str) -> list[State]:
    """The i-th state has the i-th value of every control: as many states as the longest control needs."""
    axes = {key: values(widget) for key, widget in FIGURES[name].controls.widgets().items()}
    longest = max(map(len, axes.values()))
    return [{key: axis[i % len(axis)] for key, axis in axes.items()} for i in range(longest)]


def values(widget: Widget) -> list[str]:
    """Both ends and the middle of a slider; all options of a choice, or as many of a long list, evenly."""
    states = [as_parameter(value) for value in widget.states()]
    if isinstance(widget, Slider):
        return [states[0], states[len(states) // 2], states[-1]]
    if len(states) <= MANY:
        return states
    return [states[round(i * (len(states) - 1) / (OF_LONG - 1))] for i in range(OF_LONG)]


def change(page: Page, name: str, state: State) -> FigureControls:
    """Set the controls in the open page, and give the state that the form then holds.

    It can differ from `state`: a cell that only another format has cannot be picked yet.
    """
    held: list[tuple[str, str]] = page.locator(f"#{FIGURES[name].id}-form").evaluate(CHANGE, state)
    controls: type[FigureControls] = FIGURES[name].controls
    return controls.parse(held)
