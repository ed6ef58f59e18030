"""Driving figures as a person does, and reading what is rendered."""

from __future__ import annotations

import functools
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from playwright.sync_api import Locator, Page, expect

from lessons.catalogue import load_lesson
from lessons.kit.controls import Choice, FigureControls, Slider, Switch, as_parameter

LESSON = load_lesson("quantization")
FIGURES = LESSON.figures
PAGE = "/lessons/quantization"
NAMES = list(FIGURES)
SPINE = [name for section in LESSON.sections for name in section.figures]
"""The figures of the lesson's own page; the others stand on pages of its workshop."""

KINDS = ["rtn", "xray", "quality", "fit", "sentence"]
"""One figure of each kind: marks, cells, a chart, many controls, text that is read. They stand for all where
the frame that all share does the work."""

WHERE_IT_MATTERS: dict[tuple[str, str], dict[str, str]] = {
    ("fit", "parameters"): {"source": "size"},
    ("fit", "config"): {"source": "config"},
    ("fit", "memory"): {"device": "own"},
    ("fit", "bandwidth"): {"device": "own"},
    ("fit", "context"): {"scope": "everything"},
    ("fit", "sequences"): {"scope": "everything"},
    ("fit", "cache_type"): {"scope": "everything"},
    ("fit", "flash_attention"): {"scope": "everything"},
    ("calibration", "bits"): {"question": "amount"},
    ("calibration", "method"): {"question": "domain"},
    ("trained", "bits"): {"story": "during"},
    ("trained", "steps"): {"story": "during"},
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


@functools.cache
def computed(name: str, state: FigureControls) -> dict[str, str]:
    """The read-outs as the figure's function computes them."""
    return {readout.name: readout.text for readout in FIGURES[name].view(state).readouts}


def expect_state(page: Page, name: str, **controls: Any) -> None:
    """Wait until the figure shows the state, and compare every read-out."""
    state = FIGURES[name].controls.parse([(key, as_parameter(value)) for key, value in controls.items()])
    wanted = computed(name, state)
    expect(figure(page, name).locator("output[name]")).to_have_text(list(wanted.values()))
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


def without_tables(page: Page, name: str) -> None:
    """Let the server answer each change: a control that is touched would fetch all its views."""
    page.locator(f"#{FIGURES[name].id}-form").evaluate("form => { delete form.dataset.tabled }")


def without_colours(page: Page, name: str) -> None:
    """Keep the words of a figure's Python only: its thousand coloured pieces take as long as all the rest."""
    pieces = figure(page, name).locator("pre")
    pieces.evaluate_all("all => all.forEach(each => each.replaceChildren(each.textContent))")


def awake(page: Page) -> None:
    """Wait until the lesson's scripts have run."""
    script = 'head > script[src$="/js/page/figures.js"]'
    page.locator(script).wait_for(state="attached")
    page.evaluate("script => import(document.querySelector(script).src).then(() => null)", script)


def wait_for_table(page: Page, name: str, control: str, value: Any) -> None:
    """Wait until the table that holds a control's state is here; it must have been asked for already."""
    page.locator(f"#{FIGURES[name].id}-form").evaluate(
        """async (form, [name, value]) => {
            const { src } = document.querySelector('script[src$="/js/page/figures.js"]');
            const tables = await import(src.replace("page/figures.js", "figure/state_tables.js"));
            await tables.fetchStates({ form, name, value });
        }""",
        [control, as_parameter(value)],
    )


def page_of(name: str) -> str:
    """The path of the page on which a figure stands."""
    page = LESSON.page_of(name)
    return f"{PAGE}/workshop/{page.slug}" if page in LESSON.workshop else PAGE


def uncover(page: Page) -> None:
    """Show the figures that questions of the page cover, and pass all of them."""
    page.evaluate(
        "document.querySelectorAll('[data-covers]').forEach(ask => ask.removeAttribute('data-covers'))"
    )
    for each in page.locator("figure[data-figure]").all():
        each.scroll_into_view_if_needed()
    page.evaluate("scrollTo(0, 0)")


def put(page: Page, name: str, control: str, value: Any) -> None:
    """Set a control of any kind as a person would: a menu's option, a slider's position, a radio's label."""
    selector = f':is(input:not([type="hidden"]), select)[name="{control}"]'
    field = figure(page, name).locator(selector)
    folded = figure(page, name).locator(f".details:not([open]):has({selector})")
    if folded.count():
        folded.locator("> summary").click()
    if field.first.get_attribute("type") == "radio":
        cell = figure(page, name).locator(f'input[name="{control}"][value="{as_parameter(value)}"]').first
        cell.dispatch_event("click")
    elif field.get_attribute("type") == "range":
        field.fill(as_parameter(value))
    else:
        field.select_option(as_parameter(value))


def unfold_data(page: Page, name: str) -> None:
    """Open the table of a figure, which is in its details."""
    shown = figure(page, name)
    if not shown.locator(".details").evaluate("details => details.open"):
        shown.locator(".details > summary").click()
    shown.locator("details.data > summary").click()


def held(page: Page, name: str) -> dict[str, str]:
    """What the controls say, all of them."""
    state: dict[str, str] = page.locator(f"#{FIGURES[name].id}-form").evaluate(
        "form => Object.fromEntries(new FormData(form))"
    )
    return state


def in_address(url: str, name: str) -> dict[str, str]:
    """The figure's state in an address of the lesson, all of it."""
    query = parse_qsl(urlsplit(url).query)
    own = [(key.removeprefix(f"{name}."), value) for key, value in query if key.startswith(f"{name}.")]
    return full(name, **dict(own))


def expect_address(page: Page, states: dict[str, dict[str, Any]]) -> None:
    """Wait until the lesson's address holds these states: it follows a change that has come to rest."""
    page.wait_for_url(
        lambda url: all(in_address(url, name) == full(name, **state) for name, state in states.items())
    )


def full(name: str, **controls: Any) -> dict[str, str]:
    """Every control of a state as the form and the address write it."""
    state = FIGURES[name].controls.parse([(key, as_parameter(value)) for key, value in controls.items()])
    return {key: as_parameter(getattr(state, key)) for key in type(state).model_fields}
