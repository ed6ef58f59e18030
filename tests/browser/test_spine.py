"""The lesson's page keeps to its measure: words, heights, first screen, margin, list of sections."""

from __future__ import annotations

from itertools import combinations

import pytest
from playwright.sync_api import Page, expect

from scripts.measure_page import measure
from tests.browser.conftest import NewPage
from tests.browser.figures import PAGE, awake, expect_address, expect_state, held

pytestmark = pytest.mark.tidy

MOST = {"prose": 2200, "visible": 3800, "height_1440": 15_000, "height_390": 24_000}
MOST_MARKS = 26
BOXES = """selector => [...document.querySelectorAll(selector)].filter((each) => each.checkVisibility())
    .map((each) => each.getBoundingClientRect())
    .map((box) => [box.left, box.top + scrollY, box.right, box.bottom + scrollY])"""
NOTES = ".margin > *"
Box = list[float]


def overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] - 0.5 and other[1] < one[3] - 0.5


def test_the_page_is_no_longer_than_its_reader_can_bear(new_page: NewPage) -> None:
    found = measure(new_page(covers=True), PAGE)
    assert {name: value for name, value in found.items() if value > MOST.get(name, value)} == {}
    assert found["marks"] <= MOST_MARKS
    assert found["prose"] > 1500


def test_the_first_screen_of_a_laptop_holds_headline_and_figure(new_page: NewPage) -> None:
    page = new_page(viewport={"width": 1440, "height": 900})
    page.goto(PAGE)
    text, figure = (
        page.evaluate(BOXES, selector)[0] for selector in (".first-screen h1", ".first-screen figure")
    )
    assert figure[3] <= 900
    assert text[3] <= 900
    assert text[2] <= figure[0] + 8


def test_the_first_screen_of_a_phone_holds_the_slider(phone: Page) -> None:
    phone.set_viewport_size({"width": 390, "height": 844})
    phone.goto(PAGE)
    ((left, top, right, bottom),) = phone.evaluate(BOXES, "#fig-hero-step")
    assert 0 <= left < right <= 390
    assert 0 <= top < bottom <= 844
    sentence = phone.evaluate(BOXES, "#fig-hero .say")
    assert sentence[0][1] < top  # what it moves begins above it


@pytest.mark.parametrize("width", [1200, 1440, 1920])
def test_notes_stand_in_the_margin_and_touch_nothing(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(PAGE)
    notes = page.evaluate(BOXES, NOTES)
    assert len(notes) >= 12
    others = page.evaluate(
        BOXES, "main figure, main .ask, main .teasers, .prose p, .prose li, .prose h2, main h2"
    )
    inside = page.evaluate(BOXES, f"{NOTES} p")
    beside = [box for box in others if box not in inside]
    assert not [pair for pair in combinations(notes, 2) if overlap(*pair)]
    assert not [(note, box) for note in notes for box in beside if overlap(note, box)]
    column = max(page.evaluate(BOXES, ".prose > p"), key=lambda box: box[2])
    assert all(note[0] > column[2] for note in notes)


def test_notes_fold_in_where_there_is_no_margin(page: Page) -> None:
    page.set_viewport_size({"width": 1199, "height": 900})
    page.goto(PAGE)
    left = page.evaluate(BOXES, ".prose > p")[0][0]
    assert all(abs(note[0] - left) < 2 for note in page.evaluate(BOXES, NOTES))


def test_prose_has_the_measure_of_seven_columns(page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(PAGE)
    widths = {round(box[2] - box[0]) for box in page.evaluate(BOXES, ".prose > p")}
    assert widths == {648}


def test_the_line_of_a_section_fills_as_one_reads(page: Page) -> None:
    page.goto(PAGE)
    awake(page)
    share = (
        "getComputedStyle(document.querySelector('[data-section-link=rounding]')).getPropertyValue('--read')"
    )
    page.evaluate("document.getElementById('rounding').scrollIntoView({ behavior: 'instant' })")
    link = page.locator("[data-section-link=rounding]")
    expect(link).to_have_attribute("aria-current", "true")
    before = float(page.evaluate(share))
    page.evaluate("scrollBy({ top: 500, behavior: 'instant' })")
    page.wait_for_function(f"before => {share} > before + .1", arg=before)
    assert float(page.evaluate(share)) <= 1


def test_sections_are_as_wide_as_their_minutes(page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(PAGE)
    widths = page.locator(".contents li").evaluate_all(
        "all => all.map((li) => [+li.className.at(-1), li.offsetWidth])"
    )
    for (short, narrow), (long, wide) in combinations(sorted(widths), 2):
        assert long == short or wide > narrow - 40


def test_on_a_phone_a_button_names_the_section_and_opens_the_list(phone: Page) -> None:
    phone.goto(PAGE)
    awake(phone)
    button = phone.locator(".contents-now")
    expect(button).to_contain_text("Start")
    expect(button).to_contain_text("minutes")
    button.tap()
    link = phone.locator("[data-section-link=fit]")
    expect(link).to_be_visible()
    link.tap()
    expect(link).to_be_hidden()
    expect(button).to_contain_text("Fit")


def test_the_way_back_from_the_workshop_leads_to_the_very_place(page: Page) -> None:
    page.goto(f"{PAGE}?noise.length=5")
    awake(page)
    link = page.get_by_role("link", name="GPTQ, column by column")
    link.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    there = page.evaluate("scrollY")
    link.click()
    page.wait_for_url("**/workshop/gptq")
    page.locator("html.js").wait_for()
    awake(page)
    page.locator("[data-way-back]").first.click()
    page.wait_for_url("**/quantization?noise.length=5*")
    page.wait_for_function("there => Math.abs(scrollY - there) < 30", arg=there)
    assert held(page, "noise")["length"] == "5"


def test_a_workshop_page_keeps_its_state_in_its_address(page: Page) -> None:
    page.goto(f"{PAGE}/workshop/gptq")
    awake(page)
    slider = page.locator("#fig-03b-step")
    page.evaluate("document.querySelectorAll('[data-covers]').forEach((ask) => delete ask.dataset.covers)")
    slider.focus()
    page.keyboard.press("End")
    expect_state(page, "gptq", step=16)
    expect_address(page, {"gptq": {"step": 16}})
