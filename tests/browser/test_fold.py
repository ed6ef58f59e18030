"""FIG.00 plays by itself once, on its button again, and never against its reader."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage
from tests.browser.figures import FIGURES, awake, computed, expect_state, figure, open_alone

MOVING = {"reduced_motion": "no-preference"}
LONGEST = 6000  # milliseconds of playing
RECORD = """
    window.steps = [];
    const record = ({ target }) => target.name === "step" && steps.push(+target.value);
    document.addEventListener("input", record, true);
"""


def is_playing(page: Page) -> bool:
    return figure(page, "fold").get_attribute("data-playing") is not None


def wait_until_playing(page: Page, playing: bool = True) -> None:
    not_ = "" if playing else ":not([data-playing])"
    page.wait_for_selector(f"#fig-00{'[data-playing]' if playing else not_}")


def halt_under_way(page: Page) -> None:
    """Stop the page's clock where the first bits have folded away: neither the beginning nor the end."""
    wait_until_playing(page)
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 10)
    page.clock.run_for(1000)
    expect(page.locator("#fig-00 output[name=bits_kept]")).not_to_have_text(re.compile("^(4|16|15)$"))


def test_plays_once_when_seen_and_leaves_no_trace(new_page: NewPage) -> None:
    page = new_page(**MOVING)
    page.add_init_script(RECORD)
    page.clock.install()
    open_alone(page, "fold")
    address = page.url
    wait_until_playing(page)
    page.clock.run_for(LONGEST)
    assert not is_playing(page)
    assert page.evaluate("steps") == list(range(13))
    expect_state(page, "fold")
    assert page.url == address
    page.clock.run_for(2 * LONGEST)
    assert page.locator("#live").text_content() == ""
    assert not is_playing(page)


def test_button_plays_and_stops_on_a_state_that_the_address_holds(new_page: NewPage) -> None:
    page = new_page(**MOVING)
    page.clock.install()
    open_alone(page, "fold", "step=3")
    button = page.locator("[data-fold-play]")
    expect(button).to_have_text("Play again", use_inner_text=True)
    button.click()
    halt_under_way(page)
    expect(button).to_have_text("Stop", use_inner_text=True)
    button.dispatch_event("click")
    page.clock.resume()
    wait_until_playing(page, False)
    step = int(page.locator("#fig-00-step").input_value())
    assert 1 < step < 12
    expect_state(page, "fold", step=step)
    page.wait_for_url(lambda url: parse_qs(urlsplit(url).query) == {"step": [str(step)]})


@pytest.mark.parametrize("means", ["key", "pointer", "escape"])
def test_any_input_stops_it(new_page: NewPage, means: str) -> None:
    page = new_page(**MOVING)
    page.clock.install()
    open_alone(page, "fold")
    halt_under_way(page)
    if means == "key":
        page.locator("#fig-00-weight").press("ArrowRight")
    elif means == "pointer":
        box = figure(page, "fold").locator("figcaption").bounding_box()
        assert box
        page.mouse.click(box["x"] + 2, box["y"] + 2)
    else:
        page.keyboard.press("Escape")
    wait_until_playing(page, False)
    step = page.locator("#fig-00-step").input_value()
    page.clock.run_for(LONGEST)
    assert page.locator("#fig-00-step").input_value() == step != "12"


def test_a_shared_state_is_not_played_over(new_page: NewPage) -> None:
    page = new_page(**MOVING)
    page.clock.install()
    open_alone(page, "fold", "step=7")
    awake(page)
    page.locator("#fig-00 .fold-plot").scroll_into_view_if_needed()
    page.wait_for_timeout(500)  # it would be seen by then
    page.clock.run_for(LONGEST)
    assert not is_playing(page)
    expect_state(page, "fold", step=7)


def test_stands_still_under_reduced_motion(page: Page) -> None:
    page.add_init_script(RECORD)
    page.clock.install()
    open_alone(page, "fold")
    awake(page)
    page.wait_for_timeout(500)
    page.clock.run_for(LONGEST)
    assert page.evaluate("steps") == []
    assert not is_playing(page)
    expect(page.locator("[data-fold-play]")).to_be_hidden()
    expect_state(page, "fold")


def test_without_scripts_the_end_of_the_fold_is_shown(no_js: Page) -> None:
    no_js.goto("/lessons/quantization/figures/fold")
    expect(no_js.locator("[data-fold-play]")).to_be_hidden()
    wanted = computed("fold", FIGURES["fold"].controls())
    assert no_js.locator("#fig-00 output[name=model_size]").text_content() == wanted["model_size"]
    assert no_js.locator("#fig-00 .kept .cell:not(.folded)").all_text_contents() == list("1001")[::-1]


def test_the_sixteen_cells_fit_a_phone(phone: Page) -> None:
    open_alone(phone, "fold")
    boxes = [cell.bounding_box() for cell in phone.locator("#fig-00 .original .cell").all()]
    assert len(boxes) == 16
    for box in boxes:
        assert box
        assert box["width"] >= 15
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
