"""Every figure by keyboard, mouse, touch and without scripts: what is rendered is what is computed."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from lessons.kit.controls import Choice, as_parameter
from tests.browser.figures import (
    FIGURES,
    KINDS,
    NAMES,
    PAGE,
    WHERE_IT_MATTERS,
    choices,
    computed,
    expect_state,
    figure,
    open_where_it_matters,
    page_of,
    rendered,
    sliders,
)

pytestmark = pytest.mark.tidy

SLIDERS = [(name, control) for name in KINDS for control in sliders(name)]
CHOICES = [
    (name, control)
    for name in NAMES
    for control in choices(name)
    if (name in KINDS and control == next(iter(choices(name)))) or (name, control) in WHERE_IT_MATTERS
]
"""One of each kind of figure, and those that a figure hides; every choice is made by keyboard elsewhere."""


def choose(page: Page, name: str, control: str, option: str) -> None:
    """Pick an option as a person does: from the menu, or by its label."""
    form = page.locator(f"#{FIGURES[name].id}-form")
    menu = form.locator(f'select[name="{control}"]')
    if menu.count():
        menu.select_option(option)
    else:
        form.locator(f'label:has(input[name="{control}"][value="{option}"])').first.click()


def other_option(name: str, control: str) -> str:
    """An option that is not the default."""
    default = as_parameter(FIGURES[name].controls.model_fields[control].default)
    return next(as_parameter(v) for v in choices(name)[control].states() if as_parameter(v) != default)


@pytest.mark.parametrize(("name", "control"), CHOICES)
def test_choice_by_mouse(page: Page, name: str, control: str) -> None:
    state = open_where_it_matters(page, name, control)
    option = other_option(name, control)
    choose(page, name, control, option)
    expect_state(page, name, **state | {control: option})


@pytest.mark.parametrize("place", sorted({page_of(name) for name in KINDS}))
def test_without_scripts_a_form_brings_its_page_back_in_the_new_state(no_js: Page, place: str) -> None:
    """One figure of each kind in turn, and the ones before it on the same page stay as they were put."""
    no_js.goto(place)
    chosen: dict[str, dict[str, str]] = {}
    for name in [name for name in KINDS if page_of(name) == place]:
        control = next(
            control
            for control, choice in choices(name).items()
            if not (isinstance(choice, Choice) and choice.missing())
        )
        chosen[name] = {control: other_option(name, control)}
        choose(no_js, name, control, chosen[name][control])
        no_js.locator(f"#{FIGURES[name].id}-form button.apply").click()
        expect_state(no_js, name, **chosen[name])
        assert urlsplit(no_js.url).path == place
        assert urlsplit(no_js.url).fragment == FIGURES[name].id
    for name, state in chosen.items():
        assert rendered(no_js, name) == computed(name, FIGURES[name].controls.parse(state.items()))


@pytest.mark.parametrize("name", KINDS)
def test_without_scripts_the_drawing_and_the_table_are_there(no_js: Page, name: str) -> None:
    no_js.goto(f"{PAGE}/figures/{name}")
    expect(figure(no_js, name).locator(".drawing")).to_be_visible()
    figure(no_js, name).locator("details.data > summary").click()
    expect(figure(no_js, name).locator("details.data td").first).to_be_visible()


@pytest.mark.parametrize(("name", "control"), SLIDERS)
def test_slider_by_touch(phone: Page, name: str, control: str) -> None:
    state = open_where_it_matters(phone, name, control)
    slider = phone.locator(f"#{FIGURES[name].id}-{control}")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box
    phone.touchscreen.tap(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
    expect_state(phone, name, **state | {control: sliders(name)[control].states()[-1]})


@pytest.mark.parametrize("name", KINDS)
def test_embed_shows_the_figure_and_nothing_else(page: Page, name: str) -> None:
    page.goto(f"{PAGE}/figures/{name}?embed=1")
    assert page.locator("header, nav, footer").count() == 0
    assert rendered(page, name) == computed(name, FIGURES[name].controls())
