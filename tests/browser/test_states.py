"""The state table: after the first touch a control needs no network."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from app.assets import version
from tests.browser.conftest import until
from tests.browser.figures import FIGURES, PAGE, awake, expect_state, figure, open_alone, wait_for_table
from tests.browser.watch import Watch

pytestmark = pytest.mark.tidy


def go_offline(page: Page, watch: Watch) -> None:
    watch.expect("INTERNET_DISCONNECTED.*/share")  # the open panel follows when the figure has come to rest
    page.context.set_offline(True)


def make_table(page: Page, name: str, control: str, **state: str | float | bool) -> None:
    """Let the server make a table beforehand: on a busy machine it leaves out one that takes too long."""
    address = f"/fragments/{version()}/quantization/{name}/along/{control}"
    until(page, lambda: "states" in page.request.get(address, params=state).json())


def touch(page: Page, name: str, control: str) -> None:
    """Focus a slider and wait until its table has arrived."""
    slider = page.locator(f"#{FIGURES[name].id}-{control}")
    with page.expect_response(lambda answer: f"/along/{control}" in answer.url):
        slider.focus()
    wait_for_table(page, name, control, slider.input_value())


def test_after_the_first_touch_a_drag_needs_no_network(page: Page, watch: Watch) -> None:
    make_table(page, "rtn", "bits")
    open_alone(page, "rtn")
    touch(page, "rtn", "bits")
    go_offline(page, watch)
    for bits in (5, 6, 7, 8):
        page.keyboard.press("ArrowRight")
        expect_state(page, "rtn", bits=bits)


def test_of_very_many_states_the_next_part_comes_before_it_is_reached(page: Page, watch: Watch) -> None:
    """528 bytes and weights travel in parts; who goes on over the end of one needs no network there."""
    part = FIGURES["xray"].controls(pick="byte-0").part("pick")
    *_, before, last = part.states
    [beyond] = part.beside
    for pick in (before, beyond):
        make_table(page, "xray", "pick", pick=pick)
    open_alone(page, "xray", f"pick={before}")
    awake(page)
    with page.expect_response(f"**/along/pick?*pick={before}"):
        page.locator(f"#fig-05b input[type=radio][value={before}]").focus()
    wait_for_table(page, "xray", "pick", before)
    with page.expect_response(f"**/along/pick?*pick={beyond}"):
        page.keyboard.press("ArrowRight")
        expect_state(page, "xray", pick=last)
    wait_for_table(page, "xray", "pick", beyond)
    watch.expect("INTERNET_DISCONNECTED.*along/pick")  # the part after that one
    go_offline(page, watch)
    page.keyboard.press("ArrowRight")
    expect_state(page, "xray", pick=beyond)


def test_large_states_come_a_few_at_a_time_and_the_next_before_they_are_reached(
    page: Page, watch: Watch
) -> None:
    """A format of FIG.05B is a drawing of its own: at the edge of a part the one beside it comes too."""
    formats = FIGURES["xray"].controls.widgets()["format"].states()
    first, second = (FIGURES["xray"].controls(format=formats[i]).part("format").states for i in (0, 3))
    for each in (first[-1], second[0]):
        make_table(page, "xray", "format", format=str(each))
    open_alone(page, "xray", f"format={first[-1]}")
    awake(page)
    with page.expect_response(f"**/along/format?*format={second[0]}"):
        page.locator("#fig-05b-format").focus()
    for each in (first[0], second[0]):
        wait_for_table(page, "xray", "format", each)
    watch.expect("INTERNET_DISCONNECTED.*along/format")  # the part after that one
    go_offline(page, watch)
    page.locator("#fig-05b-format").select_option(str(second[0]))
    expect_state(page, "xray", format=second[0])
    page.locator("#fig-05b-format").select_option(str(first[0]))
    expect_state(page, "xray", format=first[0])


def test_a_drag_asks_the_server_once(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/fragments/" in request.url else None)
    open_alone(page, "awq")
    touch(page, "awq", "alpha")
    for _ in range(11):
        page.keyboard.press("ArrowRight")
    expect_state(page, "awq", alpha=1)
    assert len(asked) == 1


def test_a_table_is_found_when_the_control_itself_disables_others(page: Page, watch: Watch) -> None:
    """The format sets bits and group: their values then stand at another place of the form."""
    make_table(page, "rtn", "format")
    open_alone(page, "rtn")
    with page.expect_response("**/along/format*"):
        page.locator("#fig-02-format").focus()
    wait_for_table(page, "rtn", "format", "grid")
    go_offline(page, watch)
    for name in ("Q8_0", "Q4_0", "grid"):
        page.locator("#fig-02-format").select_option(name)
        expect_state(page, "rtn", format=name)


def test_the_table_follows_the_other_controls(page: Page) -> None:
    """A table fetched at one block must not answer for another."""
    for block in ("calm", "outlier"):
        make_table(page, "rtn", "bits", block=block)
    open_alone(page, "rtn")
    touch(page, "rtn", "bits")
    page.locator("#fig-02-block").focus()
    page.locator("#fig-02-block").select_option("outlier")
    expect_state(page, "rtn", block="outlier")
    touch(page, "rtn", "bits")
    page.keyboard.press("End")
    expect_state(page, "rtn", block="outlier", bits=8)


def test_without_a_table_a_change_is_a_request_of_its_own(page: Page, watch: Watch) -> None:
    watch.expect("along|ERR_FAILED")
    page.route("**/along/**", lambda route: route.abort())
    open_alone(page, "rtn")
    page.locator("#fig-02-bits").focus()
    page.keyboard.press("End")
    expect_state(page, "rtn", bits=8)


def test_the_address_follows_when_the_drag_rests(page: Page) -> None:
    page.goto(PAGE)
    page.locator("html.js").wait_for()
    touch(page, "rtn", "bits")
    page.keyboard.press("End")
    page.wait_for_url(f"**{PAGE}?rtn.bits=8")
    assert figure(page, "rtn").locator("[data-state-link=page]").first.get_attribute("href") == (
        f"{page.url.partition('/lessons')[0]}{PAGE}/figures/rtn?bits=8#fig-02-data"
    )
