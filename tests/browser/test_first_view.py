"""A first visit: what the first screen needs and nothing else, and the figures wake when the reader moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import DEVICES, until
from tests.browser.figures import PAGE, expect_state

SCRIPTS = ("htmx", "page/figures.js", "plotly")


@pytest.fixture
def resting(browser: Browser, server: str) -> Iterator[Page]:
    """Give a page whose reader has not moved yet."""
    context = browser.new_context(base_url=server, reduced_motion="reduce", **DEVICES["desktop"])
    yield context.new_page()
    context.close()


def asked(page: Page) -> list[str]:
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    return urls


def awake(page: Page) -> None:
    page.locator('head > script[src*="htmx"]').wait_for(state="attached")


def test_the_lesson_is_read_before_any_script_of_its_figures(resting: Page) -> None:
    urls = asked(resting)
    resting.goto(PAGE)
    resting.wait_for_load_state("networkidle")
    assert not [url for url in urls if any(name in url for name in SCRIPTS)]
    assert resting.locator("#fig-02 .drawing svg").count() == 1
    resting.evaluate("location.hash = 'fig-05'")  # a link to it shows a figure that its question covers
    until(resting, lambda: all(any(name in url for url in urls) for name in SCRIPTS))


@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_the_first_screen_can_be_moved(browser: Browser, server: str, device: str) -> None:
    """The sentence, the bar and their slider stand in it together, and the first move is answered."""
    context = browser.new_context(base_url=server, **DEVICES[device])
    page = context.new_page()
    page.goto(PAGE)
    figure, slider = page.locator("#fig-hero"), page.locator("#fig-hero-step")
    for part in (figure.locator(".say .chosen"), page.locator("#fig-hero-bar"), slider):
        expect(part).to_be_in_viewport(ratio=1)
    expect(figure.locator(".say .chosen")).to_have_text(
        "The capital of France is London. It is the largest city in the UK."
    )
    slider.focus()
    page.keyboard.press("Home")
    expect(figure.locator(".say .chosen")).to_have_text("The capital of France is Paris.")
    whole = figure.locator("rect.whole").get_attribute("width") or ""
    expect(page.locator("#fig-hero-bar")).to_have_attribute("width", whole)
    context.close()


def test_the_bar_ends_where_it_stands_without_motion(browser: Browser, server: str) -> None:
    widths = []
    for motion in ("no-preference", "reduce"):
        page = browser.new_page(base_url=server, reduced_motion=motion)
        page.goto(PAGE)
        bar = page.locator("#fig-hero-bar")
        if motion == "no-preference":
            assert bar.evaluate("bar => bar.getAnimations().length") == 1
            bar.evaluate("bar => bar.getAnimations()[0].finish()")
        assert bar.evaluate("bar => bar.getAnimations().length") == 0
        widths.append(bar.evaluate("bar => bar.getBoundingClientRect().width"))
        page.close()
    assert widths[0] == widths[1]


@pytest.mark.parametrize("move", ["mouse", "key", "scroll"])
def test_the_first_move_wakes_the_figures(resting: Page, move: str) -> None:
    resting.goto(PAGE)
    if move == "mouse":
        resting.mouse.move(300, 300)
    elif move == "key":
        resting.keyboard.press("Tab")
    else:
        resting.mouse.wheel(0, 300)
    awake(resting)


def test_a_figure_in_view_needs_no_move(resting: Page) -> None:
    resting.set_viewport_size({"width": 1440, "height": 2400})
    resting.goto(PAGE)
    awake(resting)


def test_what_was_chosen_before_the_figures_woke_is_shown(resting: Page) -> None:
    """On a slow line a slider can be moved before the scripts are here."""

    waiting: list[Route] = []
    resting.route("**/js/page/figures.js", lambda route: waiting.append(route))
    resting.goto(PAGE)
    slider = resting.locator("#fig-hero-step")
    slider.focus()
    resting.keyboard.press("End")
    until(resting, lambda: len(waiting) == 1)
    waiting[0].continue_()
    expect_state(resting, "hero", step=6)
    expect(slider).to_have_value("6")


def test_the_colour_scheme_is_chosen_before_the_figures_woke(resting: Page) -> None:
    resting.route("**/vendor/htmx.min.js", lambda route: route.abort())
    resting.goto(PAGE)
    button = resting.locator("[data-theme-button]")
    button.click()
    expect(button).to_have_attribute("aria-label", "Colour scheme: light")


def test_nothing_moves_while_a_page_loads(resting: Page) -> None:
    """Nor when the typefaces come, too late to be used; whether they come in time depends on the machine."""
    faces: list[Route] = []
    resting.route("**/*.woff2", lambda route: faces.append(route))
    resting.add_init_script(
        "window.shift = 0; new PerformanceObserver(l => l.getEntries().forEach(e => { shift += e.value }))"
        ".observe({ type: 'layout-shift', buffered: true })"
    )
    resting.goto(PAGE, wait_until="domcontentloaded")
    until(resting, lambda: bool(faces))
    resting.wait_for_timeout(1000)
    for face in faces:
        face.continue_()
    resting.wait_for_load_state("networkidle")
    assert resting.evaluate("window.shift") == 0
