"""Driving figures as a person does, and reading what is rendered."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Locator, Page, expect

from lessons.catalogue import load_lesson
from lessons.kit.controls import Choice, FigureControls, Slider, Switch, plain

LESSON = load_lesson("quantization")
FIGURES = LESSON.figures
PAGE = "/lessons/quantization"
NAMES = list(FIGURES)
CHARTS = [name for name, each in FIGURES.items() if each.view(each.controls()).chart]

WHERE_IT_MATTERS: dict[tuple[str, str], dict[str, str]] = {
    ("fit", "parameters"): {"source": "size"},
    ("fit", "memory"): {"device": "own"},
    ("fit", "bandwidth"): {"device": "own"},
    ("fit", "context"): {"scope": "everything"},
    ("fit", "sequences"): {"scope": "everything"},
    ("fit", "cache_type"): {"scope": "everything"},
    ("fit", "flash_attention"): {"scope": "everything"},
}
"""Controls that a figure hides until another one makes them matter, and that other one."""


def figure(page: Page, name: str) -> Locator:
    return page.locator(f"#{FIGURES[name].id}")


def rendered(page: Page, name: str) -> dict[str, str]:
    """The read-outs as a reader sees them."""
    outputs = figure(page, name).locator("output[name]")
    return dict(
        zip(*outputs.evaluate_all("all => [all.map(o => o.name), all.map(o => o.textContent)]"), strict=True)
    )


def computed(name: str, state: FigureControls) -> dict[str, str]:
    """The read-outs as the figure's function computes them."""
    return {readout.name: readout.text for readout in FIGURES[name].view(state).readouts}


def expect_state(page: Page, name: str, **controls: Any) -> None:
    """Wait until the figure shows the state, and compare every read-out."""
    state = FIGURES[name].controls.parse([(key, plain(value)) for key, value in controls.items()])
    wanted = computed(name, state)
    for key, text in wanted.items():
        expect(figure(page, name).locator(f'output[name="{key}"]')).to_have_text(text)
    assert rendered(page, name) == wanted


def sliders(name: str) -> dict[str, Slider]:
    return {key: w for key, w in FIGURES[name].controls.widgets().items() if isinstance(w, Slider)}


def choices(name: str) -> dict[str, Choice | Switch]:
    widgets = FIGURES[name].controls.widgets()
    return {key: w for key, w in widgets.items() if isinstance(w, (Choice, Switch)) and not w.drawn}


def open_where_it_matters(page: Page, name: str, control: str) -> dict[str, str]:
    """Open a figure in a state that shows the control; give what that state sets."""
    needed = WHERE_IT_MATTERS.get((name, control), {})
    open_alone(page, name, urlencode(needed))
    return needed


def open_alone(page: Page, name: str, query: str = "") -> None:
    page.goto(f"{PAGE}/figures/{name}?{query}")
    page.locator("html.js").wait_for()
