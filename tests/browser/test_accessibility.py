"""What assistive technology is given: names, descriptions, tables, announcements, the keyboard."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from lessons.kit.controls import Choice, Slider, Text, as_parameter
from tests.browser.figures import (
    FIGURES,
    LESSON,
    NAMES,
    WHERE_IT_MATTERS,
    awake,
    expect_state,
    figure,
    open_alone,
    without_colours,
    without_tables,
)

pytestmark = pytest.mark.tidy

REST = 600  # milliseconds without a change, after which the page speaks
STEPS = """([first, ...others]) => {
    const options = first.localName === "select" ? [...first.options] : [first, ...others];
    const steps = [1, 0, 1].map((i) => options[i]);
    for (const option of steps) {  // faster than any hand, so that the machine's load does not part them
        if (option.localName === "input") option.click();
        else first.value = option.value, first.dispatchEvent(new Event("change", { bubbles: true }));
    }
    return steps.length;
}"""
BEYOND = "beyond"
RECORD_FOCUS = """() => { window.passed = [];
    addEventListener("focusin", ({ target }) =>
        passed.push(target.matches(".more summary") ? "beyond" : target.closest("form") && target.name)) }"""
ENABLED = "all => all.filter(radio => !radio.disabled).map(radio => radio.value)"
CHOICES = [
    (name, key)
    for name in NAMES
    for key, widget in FIGURES[name].controls.widgets().items()
    if not isinstance(widget, Slider | Text) and (name, key) not in WHERE_IT_MATTERS
]
MADE_OF_CONTROLS = {"xray", "sentence"}
"""Figures whose drawing is no picture: radio buttons with names of their own, or text that is read."""


def drawn(name: str, key: str) -> bool:
    widget = FIGURES[name].controls.widgets()[key]
    return isinstance(widget, Choice) and widget.drawn


@pytest.mark.parametrize("name", NAMES)
def test_everything_has_its_name(page: Page, name: str, subtests: pytest.Subtests) -> None:
    open_alone(page, name)
    without_tables(page, name)
    without_colours(page, name)
    for check in (caption_names_figure, controls_have_labels, radios_have_names, readouts_have_names):
        with subtests.test(check.__name__):
            check(page, name)
    if name not in MADE_OF_CONTROLS:
        with subtests.test("drawing is described"):
            drawing_is_described(page, name)
    with subtests.test("tab order"):
        tab_passes_controls_in_order(page, name)
    with subtests.test("data table"):
        table_is_reached_by_keyboard(page, name)
    with subtests.test("choices by keyboard"):
        choices_are_made_and_taken_back_with_the_keyboard_alone(page, name)


def caption_names_figure(page: Page, name: str) -> None:
    title = f"{FIGURES[name].label} {LESSON.texts[name].title}"
    expect(page.get_by_role("figure")).to_have_count(1)
    expect(page.get_by_role("figure", name=title, exact=True)).to_have_count(1)


def controls_have_labels(page: Page, name: str) -> None:
    shown = figure(page, name)
    text = LESSON.texts[name]
    for key, widget in FIGURES[name].controls.widgets().items():
        if (name, key) in WHERE_IT_MATTERS or drawn(name, key):
            continue
        if isinstance(widget, Slider):
            role = shown.get_by_role("slider", name=text.control(key), exact=True)
        elif isinstance(widget, Text):
            role = shown.get_by_role("textbox", name=text.control(key), exact=True)
        elif widget.style == "menu":
            role = shown.get_by_role("combobox", name=text.control(key), exact=True)
        else:
            role = shown.get_by_role("group", name=text.control(key), exact=True)
            expect(role.get_by_role("radio")).to_have_count(len(widget.options))
        expect(role).to_have_count(1)


def radios_have_names(page: Page, name: str) -> None:
    tree = figure(page, name).aria_snapshot()
    radios = re.findall(r"- '?radio\b(.*)", tree)
    assert all(re.match(r' "[^"]+"', radio) for radio in radios)
    seen = "all => all.filter(each => each.checkVisibility({ visibilityProperty: true })).length"
    assert len(radios) == figure(page, name).locator('input[type="radio"]').evaluate_all(seen)


def readouts_have_names(page: Page, name: str) -> None:
    for readout in FIGURES[name].view(FIGURES[name].controls()).readouts:
        output = figure(page, name).locator(f'output[name="{readout.name}"]')
        expect(output).to_have_accessible_name(LESSON.texts[name].readout(readout.name))


def drawing_is_described(page: Page, name: str) -> None:
    """By the finding; the other sentences are in the details."""
    finding = LESSON.texts[name].sentence(FIGURES[name].view(FIGURES[name].controls()).description[0])
    pictures = figure(page, name).locator(f'[role="img"][aria-describedby="{FIGURES[name].id}-description"]')
    assert pictures.count() >= 1
    for picture in pictures.all():
        expect(picture).to_have_accessible_description(finding)
        expect(picture).to_have_accessible_name(re.compile(r"\w"))


def tab_passes_controls_in_order(page: Page, name: str) -> None:
    """Every control once, in the order of the page."""
    order = """form => [...new Set([...form.querySelectorAll("input, select")]
        .filter(each => each.checkVisibility({ visibilityProperty: true }) && each.type !== "hidden")
        .map(each => each.name))]"""
    wanted = page.locator(f"#{FIGURES[name].id}-form").evaluate(order)
    page.evaluate(RECORD_FOCUS)
    passed: list[str] = []
    for _ in range(8):
        for _ in range(8):
            page.keyboard.press("Tab")
        passed = page.evaluate("passed")
        if BEYOND in passed:
            break
    assert list(dict.fromkeys(filter(None, passed[: passed.index(BEYOND)]))) == wanted


def table_is_reached_by_keyboard(page: Page, name: str) -> None:
    shown = figure(page, name)
    shown.locator("details.data > summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    caption = LESSON.texts[name].table_caption
    region = shown.locator("details.data").get_by_role("region", name=caption, exact=True)
    expect(region).to_be_focused()
    table = region.get_by_role("table", name=caption, exact=True)
    view = FIGURES[name].view(FIGURES[name].controls())
    expect(table.get_by_role("columnheader")).to_have_count(len(view.table.columns))
    expect(table.get_by_role("rowheader")).to_have_count(len(view.table.rows))


def choices_are_made_and_taken_back_with_the_keyboard_alone(page: Page, name: str) -> None:
    """The focus is on the chosen option, an arrow leads to its neighbour, and the figure follows."""
    shown = figure(page, name)
    for key in [key for of, key in CHOICES if of == name]:
        menu = shown.locator(f'select[name="{key}"]')
        radios = shown.locator(f'input[type="radio"][name="{key}"]')
        if menu.count():
            menu.focus()
            options = menu.locator("option:enabled").evaluate_all("all => all.map(option => option.value)")
        else:
            shown.locator(f'input[type="radio"][name="{key}"]:checked').focus()
            options = radios.evaluate_all(ENABLED)
        if len(options) == 1:  # SmolLM2 can be chosen where it is installed
            assert key == "model"
            continue
        now = options.index(as_parameter(getattr(FIGURES[name].controls(), key)))
        ahead = now + 1 < len(options)
        wanted = options[now + 1 if ahead else now - 1]
        page.keyboard.press("ArrowDown" if ahead else "ArrowUp")
        expect_state(page, name, **{key: wanted})
        focused = page.evaluate("[document.activeElement.name, document.activeElement.value]")
        assert focused == [key, wanted], "the focus stays on the control"
        page.keyboard.press("ArrowUp" if ahead else "ArrowDown")
        expect_state(page, name)


@pytest.mark.parametrize("name", ["rtn", "quality"])  # a menu, segments
def test_a_drag_is_announced_once(page: Page, name: str) -> None:
    """However many steps it has, and with the sentence of the state in which it came to rest."""
    open_alone(page, name)
    page.evaluate("""() => {
        window.spoken = [];
        const live = document.getElementById("live");
        new MutationObserver(() => window.spoken.push(live.textContent)).observe(live, { childList: true });
    }""")
    key = next(key for n, key in CHOICES if n == name)
    shown = figure(page, name)
    awake(page)
    assert shown.locator(f'[name="{key}"]').evaluate_all(STEPS) == 3
    expect(page.locator("#live")).not_to_be_empty()
    page.wait_for_timeout(2 * REST)
    assert page.evaluate("window.spoken") == [shown.locator(".view").get_attribute("data-announce")]
