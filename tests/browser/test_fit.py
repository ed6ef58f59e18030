"""FIG.06's machines: tiles, a search, and the list of all of them in a popover."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.figures import expect_state, figure, open_alone

pytestmark = pytest.mark.tidy

CHECKED = """form => [...form.querySelectorAll("[name=device]:checked")].map(
    button => [button.value, "again" in button.dataset])"""


def test_a_machine_of_the_list_becomes_a_tile_and_keyboard_and_focus_stay_in_the_list(
    page: Page, axe: Callable[..., list[str]]
) -> None:
    open_alone(page, "fit")
    shown = figure(page, "fit")
    opens, every = shown.get_by_role("button", name="All 59 machines"), page.locator("#fig-06-all")
    expect(every).to_be_hidden()
    opens.click()
    expect(every).to_be_visible()
    assert axe(page, "#fig-06-all") == []
    every.locator("[value=rtx-3090]").click()
    expect_state(page, "fit", device="rtx-3090")
    expect(every.locator("[value=rtx-3090]")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect_state(page, "fit", device="rtx-4060")
    expect(every).to_be_visible()
    assert shown.locator("form").first.evaluate(CHECKED) == [["rtx-4060", False]]
    page.keyboard.press("Escape")
    expect(every).to_be_hidden()
    expect(opens).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(page.locator("#fig-06-rtx-4060")).to_be_focused()


def test_a_search_puts_what_it_finds_on_the_tiles(page: Page) -> None:
    open_alone(page, "fit")
    search, tiles = page.locator("#fig-06-find"), figure(page, "fit").locator(".tile b")
    search.fill("3060")
    expect(tiles).to_have_text(["RTX 3060", "MacBook M1 Max", "Your own"])
    page.locator("#fig-06-rtx-3060-12").click()
    expect_state(page, "fit", find="3060", device="rtx-3060-12")
    search.fill("abacus")
    expect(page.get_by_text("No machine in the list has that name.")).to_be_visible()
    search.fill("")
    expect(tiles).to_have_count(8)
    expect(tiles.nth(6)).to_have_text("RTX 3060")
    page.reload()
    expect(page.locator("#fig-06-rtx-3060-12")).to_be_checked()


def test_without_scripts_search_and_list_work(no_js: Page) -> None:
    no_js.goto("/lessons/quantization/figures/fit")
    no_js.locator("#fig-06-find").fill("l40")
    no_js.locator("#fig-06 button.apply").click()
    no_js.locator("#fig-06-l40s").check()
    no_js.locator("#fig-06 button.apply").click()
    expect(no_js.locator("#fig-06-l40s")).to_be_checked()
    no_js.get_by_role("button", name="All 59 machines").click()
    no_js.locator("#fig-06-all [value=l4]").check()
    no_js.keyboard.press("Escape")
    no_js.locator("#fig-06 button.apply").click()
    expect(no_js.locator("#fig-06-l4")).to_be_checked()
    assert "device=l4" in no_js.url.split("?")[1].split("&")


@pytest.mark.parametrize("width", [360, 390, 768])
def test_no_tile_is_too_narrow_for_what_it_says(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    cut = "tiles => tiles.filter(tile => tile.scrollWidth > tile.clientWidth).map(tile => tile.textContent)"
    for query in ("", "device=l4", "find=super", "find=pro+6000"):
        open_alone(page, "fit", query)
        assert figure(page, "fit").locator(".tile").evaluate_all(cut) == []
