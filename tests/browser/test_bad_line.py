"""A slow, disorderly, cut or foreign line: the last state wins, waiting shows, and nothing breaks."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from playwright.sync_api import Page, Route, expect

from bench.slow_line import SlowLine
from lessons.kit.controls import as_parameter
from tests.browser.conftest import until
from tests.browser.figures import (
    FIGURES,
    PAGE,
    awake,
    expect_state,
    figure,
    full,
    held,
    in_address,
    open_alone,
    page_of,
    put,
    rendered,
    wait_for_table,
)
from tests.browser.watch import Watch

DISORDERLY = {PAGE: ("rtn", "zoom", "quality", "fit", "primitive"), page_of("xray"): ("xray",)}
"""Sliders, menus, segments and drawn cells; FIG.05 is a chart."""


@pytest.fixture
def line(server: str, watch: Watch) -> Iterator[SlowLine]:
    with SlowLine(server, round_trip=0.03, jitter=0.2, seed=5) as slow:
        watch.host = slow.url.removeprefix("http://")
        watch.expect("ERR_|Failed to fetch|status of")
        yield slow


@pytest.mark.parametrize("tables", [True, False], ids=["with tables", "without tables"])
def test_after_any_burst_the_drawing_the_controls_and_the_address_agree(
    page: Page, line: SlowLine, tables: bool
) -> None:
    """Two figures at once, their controls in turn, on a line where answers overtake each other."""
    if not tables:
        page.route("**/along/**", lambda route: route.abort())
    chance = random.Random(20)
    for place, figures in DISORDERLY.items():
        page.goto(f"{line.url}{place}")
        page.locator("html.js").wait_for()
        for _ in range(4):
            names = chance.sample(figures, min(2, len(figures)))
            burst(page, names, chance)
            for name in names:
                expect_agreement(page, name)


def burst(page: Page, names: list[str], chance: random.Random) -> None:
    for _ in range(8):
        name = chance.choice(names)
        control, widget = chance.choice(list(FIGURES[name].controls.widgets().items()))
        value = as_parameter(chance.choice(widget.states()))
        page.evaluate(BURST, [FIGURES[name].id, control, value])
        page.wait_for_timeout(chance.choice((0, 0, 15, 60, 120)))


BURST = """([id, control, value]) => {
    const fields = [...document.querySelectorAll(`#${id} :is(input, select)[name="${control}"]:enabled`)]
        .filter(f => f.type !== "hidden");
    const field = fields.find(f => f.type !== "radio" || f.value === value);
    if (!field) return;
    field.focus();
    if (field.type === "radio") return field.click();
    field.value = value;
    field.dispatchEvent(new Event(field.type === "range" ? "input" : "change", { bubbles: true }));
}"""


def expect_agreement(page: Page, name: str) -> None:
    """At rest the figure shows what its address says, and its controls say the same."""
    expect(page.locator("form.htmx-request")).to_have_count(0)

    def agree() -> bool:
        shown, state = held(page, name), in_address(page.url, name)
        if name == "xray":  # of a byte that the format does not have, the drawing marks the nearest
            shown["pick"] = state["pick"]
        return shown == state

    until(page, agree)  # the address follows the controls
    expect_state(page, name, **in_address(page.url, name))
    assert agree()


def expect_notice(page: Page, name: str, said: str) -> None:
    """What is seen of the notice: it holds every sentence, and shows one."""
    expect(figure(page, name).locator(".lost")).to_contain_text(said, use_inner_text=True)


def test_what_a_table_holds_does_not_wait_behind_an_answer_that_hangs(page: Page) -> None:
    """Nor may that answer, when it comes at last, replace the later state."""
    waiting: list[Route] = []
    tables: list[Route] = []
    open_alone(page, "rtn")
    page.route("**/fragments/*/quantization/rtn?*", lambda route: waiting.append(route))
    page.route("**/along/bits*", lambda route: tables.append(route))
    page.locator("#fig-02-bits").focus()
    page.keyboard.press("ArrowRight")
    until(page, lambda: (len(waiting), len(tables)) == (1, 1))
    tables[0].continue_()
    wait_for_table(page, "rtn", "bits", 5)
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect_state(page, "rtn", bits=8)
    assert len(waiting) == 1
    asked = waiting[0].request
    waiting[0].continue_()
    until(page, lambda: asked.failure is not None or asked.timing["responseEnd"] >= 0)
    page.wait_for_timeout(300)
    expect_state(page, "rtn", bits=8)
    assert held(page, "rtn") == full("rtn", bits=8)


def test_what_was_overtaken_is_not_said(page: Page, watch: Watch) -> None:
    """Of two changes on a slow line the first is drawn; only the last is announced."""
    watch.expect("ERR_FAILED.*/along/")
    waiting: list[Route] = []
    open_alone(page, "rtn")
    awake(page)
    page.route("**/along/**", lambda route: route.abort())
    page.route("**/fragments/*/quantization/rtn?*", lambda route: waiting.append(route))
    page.evaluate("""() => {
        window.spoken = [];
        const live = document.getElementById("live");
        new MutationObserver(() => spoken.push(live.textContent)).observe(live, { childList: true });
    }""")
    put(page, "rtn", "bits", 5)
    put(page, "rtn", "bits", 8)
    until(page, lambda: len(waiting) == 1)
    waiting[0].continue_()
    expect_state(page, "rtn", bits=5)
    until(page, lambda: len(waiting) == 2)
    page.wait_for_timeout(1500)
    waiting[1].continue_()
    expect_state(page, "rtn", bits=8)
    expect(page.locator("#live")).not_to_be_empty()
    page.wait_for_timeout(1500)
    said = figure(page, "rtn").locator(".view").get_attribute("data-announce")
    assert page.evaluate("spoken") == [said]


RECORD_WAITING = """figure => {
    document.addEventListener("figure:asked", () => { window.asked = performance.now() }, { once: true });
    const observer = new MutationObserver(() => { window.seen ??= performance.now() });
    observer.observe(figure, { attributeFilter: ["data-waiting"] });
}"""


def test_a_slow_answer_is_seen_to_be_waited_for(page: Page) -> None:
    waiting: list[Route] = []
    open_alone(page, "smooth")
    awake(page)
    page.route("**/fragments/**", lambda route: waiting.append(route))
    shown = figure(page, "smooth")
    shown.evaluate(RECORD_WAITING)
    put(page, "smooth", "layer", as_parameter(FIGURES["smooth"].controls.widgets()["layer"].states()[1]))
    expect(shown).to_have_attribute("data-waiting", "answer")
    assert page.evaluate("seen - asked") > 500, "an answer as usual is not waited for"
    expect(shown.locator(".view")).to_have_attribute("aria-busy", "true")
    waiting[0].continue_()
    expect(shown).not_to_have_attribute("data-waiting", "answer")
    assert shown.locator(".view").get_attribute("aria-busy") is None


def test_a_line_cut_in_the_middle_of_a_drag(page: Page, line: SlowLine) -> None:
    line.jitter = 0
    page.route("**/along/**", lambda route: route.abort())
    page.goto(f"{line.url}{PAGE}?smooth.alpha=0.2#fig-07")
    page.locator("html.js").wait_for()
    slider = page.locator("#fig-07-alpha")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, middle)
    expect_agreement(page, "smooth")
    before = rendered(page, "smooth")
    line.cut()
    for share in (0.6, 0.7, 0.8):
        page.mouse.move(box["x"] + box["width"] * share, middle)
    notice = figure(page, "smooth").locator(".lost")
    expect_notice(page, "smooth", "did not answer")
    expect(page.locator("#live")).to_contain_text("did not answer")
    assert rendered(page, "smooth") == before
    line.heal()
    page.mouse.move(box["x"] + box["width"] * 0.9, middle)
    page.mouse.up()
    expect(notice).to_have_count(0)
    expect_agreement(page, "smooth")
    assert float(held(page, "smooth")["alpha"]) > 0.8


def test_the_figure_catches_up_by_itself_when_the_line_is_back(page: Page, watch: Watch) -> None:
    watch.expect("ERR_|Failed to fetch")
    open_alone(page, "rtn")
    awake(page)  # its scripts need the line
    page.context.set_offline(True)
    put(page, "rtn", "bits", 8)
    notice = figure(page, "rtn").locator(".lost")
    expect_notice(page, "rtn", "You are offline")
    expect_state(page, "rtn")
    page.wait_for_url("**?bits=8")
    page.context.set_offline(False)
    expect_state(page, "rtn", bits=8)
    expect(notice).to_have_count(0)


PAGE_OF_A_PROXY = "<!doctype html><html><head><title>Proxy</title></head><body><h1>No</h1></body></html>"


NEVER_BY_ITSELF = """{
    const set = window.setTimeout;
    window.setTimeout = (act, after, ...rest) => after > 1500 ? 0 : set(act, after, ...rest);
}"""
"""What is lost is asked for again after two seconds and more: here only where the reader asks."""


def test_nothing_foreign_gets_into_a_figure(page: Page, watch: Watch) -> None:
    watch.expect("status of|ERR_FAILED")
    page.add_init_script(NEVER_BY_ITSELF)
    open_alone(page, "rtn")
    page.route("**/along/**", lambda route: route.abort())
    title = page.title()
    notice = figure(page, "rtn").locator(".lost")
    foreign = [
        (502, "did not answer", "Ask again"),
        (200, "Something else answered", "Ask again"),
        (404, "The lesson was renewed", "Load the page again"),
    ]
    for bits, (status, said, offered) in enumerate(foreign, start=4):
        page.route("**/quantization/rtn?*", foreign_answer(status))
        put(page, "rtn", "bits", bits)
        expect_notice(page, "rtn", said)
        expect(page.locator("#live")).to_contain_text(said)
        assert page.title() == title
        assert page.locator("#fig-02-view .drawing").count() == 1
        page.unroute("**/quantization/rtn?*")
        notice.get_by_role("button", name=offered, exact=True).click()
        expect_state(page, "rtn", bits=bits)
        expect(notice).to_have_count(0)


def foreign_answer(status: int) -> Callable[[Route], None]:
    def answer(route: Route) -> None:
        route.fulfill(status=status, body=PAGE_OF_A_PROXY, content_type="text/html")

    return answer


def test_a_busy_server_is_not_asked_before_its_time(page: Page, watch: Watch) -> None:
    watch.expect("status of|ERR_FAILED")
    asked: list[float] = []

    def busy(route: Route) -> None:
        asked.append(time.monotonic())
        if len(asked) > 2:
            route.continue_()
        else:
            route.fulfill(
                status=429, body="later", headers={"Retry-After": "2", "Content-Type": "text/plain"}
            )

    open_alone(page, "rtn")
    page.route("**/fragments/*/quantization/rtn?*", busy)
    page.route("**/along/**", lambda route: route.abort())
    page.locator("#fig-02-bits").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect_notice(page, "rtn", "busy")
    expect_state(page, "rtn", bits=7)
    assert len(asked) == 3
    assert min(after - before for before, after in pairwise(asked)) > 1.9  # seconds


@pytest.mark.parametrize("script", ["htmx.min.js", "page/figures.js", "figure/requests.js"])
def test_without_one_of_the_scripts_the_form_has_its_button(page: Page, watch: Watch, script: str) -> None:
    watch.expect("ERR_FAILED")
    page.route(f"**/{script}", lambda route: route.abort())
    page.goto(f"{PAGE}/figures/rtn")
    put(page, "rtn", "bits", 5)
    figure(page, "rtn").locator("button.apply").click()
    expect_state(page, "rtn", bits=5)


def test_a_page_of_an_older_lesson_asks_to_be_loaded_again_and_keeps_its_state(
    page: Page, watch: Watch
) -> None:
    """After a deployment the server knows the addresses of this page's fragments no longer."""
    watch.expect("status of 404")
    page.goto(PAGE)
    page.locator("html.js").wait_for()

    def renewed(route: Route) -> None:
        route.continue_(url=re.sub(r"/fragments/[^/]+/", "/fragments/0123456789abcdef/", route.request.url))

    page.route("**/fragments/**", renewed)
    put(page, "rtn", "bits", 5)
    notice = figure(page, "rtn").locator(".lost")
    expect(notice).to_contain_text("The lesson was renewed after this page was loaded")
    expect(notice.get_by_role("button")).to_have_count(1)
    page.wait_for_url("**rtn.bits=5**")
    page.unroute("**/fragments/**")
    notice.get_by_role("button", name="Load the page again").click()
    expect(notice).to_have_count(0)
    expect_state(page, "rtn", bits=5)
