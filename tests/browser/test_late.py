"""Late figures: their drawing comes when the reader nears them, and what is typed is read and kept."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, expect

from tests.browser.figures import PAGE, expect_state, figure


def test_a_drawing_comes_when_its_figure_is_near_and_follows_its_controls(page: Page) -> None:
    page.goto(PAGE)
    shown = figure(page, "measured")
    assert shown.locator(".chart").count() == 0
    shown.scroll_into_view_if_needed()
    expect(shown.locator(".chart-static .mark").nth(20)).to_be_attached()
    expect(shown.locator("[data-late]")).to_have_count(0)
    expect(page.locator("#live")).to_have_text("")  # nothing was changed, so nothing is said
    shown.locator("select[name=family]").select_option("gptq")
    expect_state(page, "measured", family="gptq")


def test_what_a_reader_types_is_read_stands_in_the_address_and_gives_way_to_an_example(page: Page) -> None:
    page.goto(f"{PAGE}#fig-05e")
    words = page.locator("#fig-05e-sentence")
    words.fill("The king spoke <b>softly</b>.")  # without Enter: it counts when it rests
    expect_state(page, "sentence", sentence="The king spoke <b>softly</b>.")
    expect(page.locator("#fig-05e .said").first).to_contain_text("The king spoke <b>softly</b>.")
    words.press("Tab")
    assert parse_qs(urlsplit(page.url).query)["sentence.sentence"] == ["The king spoke <b>softly</b>."]
    page.locator("#fig-05e-example").select_option("macbeth")
    expect(words).to_have_value("")
    expect_state(page, "sentence", example="macbeth")
