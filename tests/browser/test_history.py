"""The address is the state: back, forward, coming back, reloading and sharing show what was left there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from lessons.kit.controls import Choice, Slider, as_parameter
from scripts import browser as chromium
from tests.browser.conftest import NewPage, until
from tests.browser.figures import (
    FIGURES,
    NAMES,
    PAGE,
    WHERE_IT_MATTERS,
    computed,
    expect_address,
    expect_state,
    figure,
    full,
    held,
    open_alone,
    page_of,
    put,
)
from tests.browser.watch import Watch

RECORD_SPEECH = """
    addEventListener("DOMContentLoaded", () => {
      window.spoken = [];
      new MutationObserver(() => spoken.push(document.getElementById("live").textContent))
        .observe(document.getElementById("live"), { childList: true });
    });
"""

RECORD_SHIFTS = """
    window.shifts = [];
    new PerformanceObserver(list => {
      const moved = list.getEntries().flatMap(({ sources }) => sources.map(s => s.node?.parentElement));
      shifts.push(...moved.filter(e => e && !e.closest(".contents")).map(e => e.textContent.slice(0, 80)));
    }).observe({ type: "layout-shift", buffered: true });
"""


def two_changes(name: str) -> list[tuple[str, str]]:
    """The first control and the last one, drawn cells included, each in a state that is not its default.

    The last one is one that can be changed after the first change.
    """
    shown = [
        control
        for control, widget in FIGURES[name].controls.widgets().items()
        if (name, control) not in WHERE_IT_MATTERS
        and not (isinstance(widget, Choice) and widget.missing())  # on this host
    ]
    first = (shown[0], other_state(name, shown[0]))
    limits = FIGURES[name].view(FIGURES[name].controls.parse([first])).limits
    last = next(control for control in reversed(shown) if control not in limits)
    return [first, (last, other_state(name, last))]


def other_state(name: str, control: str) -> str:
    widget = FIGURES[name].controls.widgets()[control]
    default = as_parameter(FIGURES[name].controls.model_fields[control].default)
    states = [as_parameter(state) for state in widget.states() if as_parameter(state) != default]
    return states[len(states) // 2 if isinstance(widget, Slider) else 0]


def expect_everywhere(page: Page, name: str, **controls: Any) -> None:
    """The drawing, the controls and the address say the same."""
    expect_state(page, name, **controls)
    assert held(page, name) == full(name, **controls)
    expect_address(page, {name: controls})


@pytest.fixture
def lesson(page: Page) -> Page:
    page.add_init_script(RECORD_SPEECH)
    page.goto(PAGE)
    page.locator("html.js").wait_for()
    return page


@pytest.mark.tidy
@pytest.mark.parametrize("place", sorted({page_of(name) for name in NAMES}))
def test_every_figure_goes_back_and_forward_and_comes_back(page: Page, new_page: NewPage, place: str) -> None:
    """All of a page at once: a change, a link within it, another change, and every way to come again."""
    page.goto(place)
    page.locator("html.js").wait_for()
    changes = {name: two_changes(name) for name in NAMES if page_of(name) == place}
    before = {name: dict(pair[:1]) for name, pair in changes.items()}
    after = {name: dict(pair) for name, pair in changes.items()}
    for name, (change, _) in changes.items():
        put(page, name, *change)
    expect_all(page, before)
    page.locator(".skip").press("Enter")
    for name, (_, change) in changes.items():
        put(page, name, *change)
    expect_all(page, after)
    page.go_back()
    expect_all(page, before)
    page.go_forward()
    expect_all(page, after)
    page.reload()
    expect_all(page, after)
    page.goto(f"{PAGE}/faq")
    page.go_back()
    expect_all(page, after)
    shared = new_page()
    shared.goto(page.url)
    expect_all(shared, after)


def expect_all(page: Page, states: dict[str, dict[str, str]]) -> None:
    """Every figure of the page: drawing, controls and address."""
    order = page.locator("figure[data-figure]").evaluate_all("all => all.map(f => f.dataset.figure)")
    wanted = {name: FIGURES[name].controls.parse(list(states[name].items())) for name in order}
    texts = [text for name in order for text in computed(name, wanted[name]).values()]
    expect(page.locator("figure[data-figure] output[name]")).to_have_text(texts)
    for name in order:
        assert held(page, name) == full(name, **states[name])
    expect_address(page, states)


def test_going_back_speaks_once_and_leaves_the_focus(lesson: Page) -> None:
    page = lesson
    for name in ("rtn", "quality"):
        put(page, name, *two_changes(name)[0])
        expect_state(page, name, **dict(two_changes(name)[:1]))
    link = page.locator('[data-section-link="awq"]')
    link.click()
    for name in ("rtn", "quality"):
        put(page, name, *two_changes(name)[1])
        expect_state(page, name, **dict(two_changes(name)))
    said = figure(page, "quality").locator(".view").get_attribute("data-announce") or ""
    expect(page.locator("#live")).to_have_text(said)
    link.focus()
    page.evaluate("spoken.length = 0")
    page.go_back()
    for name in ("rtn", "quality"):
        expect_everywhere(page, name, **dict(two_changes(name)[:1]))
    until(page, lambda: page.evaluate("spoken.length") > 0)
    page.wait_for_timeout(1000)
    assert page.evaluate("spoken.length") == 1
    expect(link).to_be_focused()


@pytest.mark.tidy
def test_back_restores_a_cell_that_the_present_drawing_does_not_have(page: Page) -> None:
    """Byte 200 of 210 in Q6_K; a block of Q2_K has 84."""
    page.goto(page_of("xray"))
    page.locator("html.js").wait_for()
    put(page, "xray", "format", "Q6_K")
    expect_state(page, "xray", format="Q6_K")
    put(page, "xray", "pick", "byte-200")
    expect_everywhere(page, "xray", format="Q6_K", pick="byte-200")
    page.locator(".skip").press("Enter")
    put(page, "xray", "format", "Q2_K")
    expect_state(page, "xray", format="Q2_K", pick="byte-200")
    page.go_back()
    expect_everywhere(page, "xray", format="Q6_K", pick="byte-200")


@pytest.mark.tidy
def test_a_drag_adds_nothing_to_the_history(page: Page) -> None:
    open_alone(page, "rtn")
    before = page.evaluate("history.length")
    page.locator("#fig-02-bits").focus()
    for key in ("End", "ArrowLeft", "ArrowLeft", "Home"):
        page.keyboard.press(key)
    put(page, "rtn", "block", "outlier")
    expect_state(page, "rtn", bits=2, block="outlier")
    page.wait_for_url(re.compile(r"\?bits=2&block=outlier$"))  # after the drawing
    assert page.evaluate("history.length") == before


def test_the_address_is_written_before_a_link_is_followed(lesson: Page) -> None:
    """A change and a click at once: the state stays with the entry in which it was made."""
    page = lesson
    page.evaluate("""() => {
        const slider = document.getElementById("fig-02-bits");
        slider.value = 7;
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        document.querySelector('[data-section-link="awq"]').click();
    }""")
    put(page, "rtn", "bits", 5)
    expect_everywhere(page, "rtn", bits=5)
    page.go_back()
    expect_everywhere(page, "rtn", bits=7)


@pytest.mark.tidy
def test_an_address_written_by_hand_becomes_that_of_the_controls(page: Page) -> None:
    page.goto(f"{PAGE}?awq.alpha=0.60&fit.scope=everything&fit.flash_attention=false&utm_source=x")
    assert held(page, "awq") == full("awq", alpha=0.6)
    assert held(page, "fit") == full("fit", scope="everything", flash_attention="off")
    expect_address(page, {"awq": {"alpha": 0.6}, "fit": {"scope": "everything", "flash_attention": "off"}})
    assert "fit.flash_attention=off" in page.url
    assert "utm_source=x" in page.url


def test_what_a_browser_fills_in_by_itself_is_put_right(page: Page) -> None:
    """Some browsers restore the values of a form, once the page is parsed."""
    page.add_init_script("""
        addEventListener("DOMContentLoaded", () => {
          const form = document.getElementById("fig-02-form");
          form.elements.bits.value = 8;
          form.elements.block.value = "outlier";
          form.querySelector('[name="group_size"][value="64"]').checked = true;
        });
    """)
    open_alone(page, "rtn", "bits=4")
    expect_state(page, "rtn", bits=4)
    assert held(page, "rtn") == full("rtn", bits=4)
    expect(page.locator("#fig-02 .slider-value").first).to_have_text("4")


@pytest.fixture
def remembering(browser: Browser, server: str) -> Iterator[Page]:
    """A page of a full Chromium that keeps the pages that it leaves, as people's browsers do."""
    path = chromium.find_full()
    assert path, chromium.HELP
    other = browser.browser_type.launch(
        executable_path=path,
        args=chromium.launch_arguments(),
        ignore_default_args=["--disable-back-forward-cache"],
    )
    yield other.new_page(base_url=server, reduced_motion="reduce")
    other.close()


def test_a_page_kept_by_the_browser_comes_back_as_it_was(remembering: Page) -> None:
    page = remembering
    open_alone(page, "rtn", "block=outlier")
    put(page, "rtn", "bits", 6)
    expect_state(page, "rtn", bits=6, block="outlier")
    page.evaluate("addEventListener('pageshow', event => { window.kept = event.persisted })")
    page.locator(".masthead a[href$='/sources']").click()
    page.wait_for_url("**/sources")
    page.evaluate("history.back()")
    page.wait_for_function("window.kept === true")
    expect_state(page, "rtn", bits=6, block="outlier")
    assert held(page, "rtn") == full("rtn", bits=6, block="outlier")
    put(page, "rtn", "bits", 2)
    expect_state(page, "rtn", bits=2, block="outlier")
    assert figure(page, "rtn").get_attribute("data-waiting") is None


def test_a_link_to_a_figure_lands_on_it_and_nothing_moves(new_page: NewPage, watch: Watch) -> None:
    """Only the list of sections opens the name of the present one.

    Without the typefaces: whether they come before the first paint depends on the machine's load.
    """
    page = new_page(covers=True)
    watch.expect("ERR_FAILED.*woff2")
    page.route("**/*.woff2", lambda route: route.abort())
    page.add_init_script(RECORD_SHIFTS)
    for name in ("rtn", "awq", "quality"):
        assert shifts_on_arrival(page, name) == []
        top = "id => document.getElementById(id).getBoundingClientRect().top"
        assert 0 <= page.evaluate(top, FIGURES[name].id) < 100


def shifts_on_arrival(page: Page, name: str) -> object:
    page.goto(f"{PAGE}/sources")
    page.goto(f"{PAGE}?rtn.bits=5&awq.alpha=0.2&fold.step=3#{FIGURES[name].id}")
    page.wait_for_timeout(600)
    return page.evaluate("shifts")
