"""Predict, then see: by keyboard, drawn where it belongs, remembered in this browser and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qsl

import pytest
from playwright.sync_api import FloatRect, Locator, Page, expect

from lessons.catalogue import load_lesson
from lessons.quantization.tasks import TASKS
from tests.browser.conftest import NewPage
from tests.browser.figures import PAGE, expect_state, put
from tests.browser.watch import Watch

pytestmark = pytest.mark.tidy

KEPT = "([key, name]) => name in JSON.parse(localStorage.getItem(key) ?? '{}')"


def question(page: Page, name: str) -> Locator:
    return page.locator(f"#ask-{name}")


def centre(mark: Locator) -> float:
    box = placed(mark)
    return box["x"] + box["width"] / 2


def test_a_guess_by_keyboard_is_drawn_on_the_figure_wherever_it_is_true(page: Page) -> None:
    page.goto(f"{PAGE}/workshop/gptq")
    asked, figure = question(page, "gptq"), page.locator("#fig-03b")
    page.locator("html.js").wait_for()
    slider = asked.locator("input[type=range]")
    slider.focus()
    slider.press("ArrowRight")
    expect(asked.locator(".slider-value")).to_have_text("55")
    slider.press("Enter")
    asked.locator(".reveal").wait_for()
    expect(asked.locator(".verdict")).to_be_focused()
    asked.get_by_role("link", name="See it in the figure").click()
    expect_state(page, "gptq", bits="2", step=16)
    guess, truth = (figure.locator(f".reveal-mark.{role} line") for role in ("guess", "truth"))
    expect(guess).to_have_count(1)
    ends = figure.locator("circle.mark")  # of the two running errors, whose end the question calls 100 %
    gptq, rtn = (float(ends.nth(i).get_attribute("cy") or "nan") for i in range(2))
    foot = float(figure.locator(".reveal-mark").first.locator("xpath=..").get_attribute("height") or "nan")
    assert abs(foot - float(guess.get_attribute("y1") or "nan") - 0.55 * (foot - rtn)) < 0.05
    assert abs(float(truth.get_attribute("y1") or "nan") - gptq) < 0.05
    expect(figure.locator(".description")).to_contain_text("your guess, 55")

    step = figure.locator("input[name=step]")
    step.focus()  # fetches a table of all its states: the guess is true in each
    for _ in range(2):
        step.press("ArrowLeft")
    expect_state(page, "gptq", bits="2", step=14)
    expect(guess).to_have_count(1)
    figure.locator("input[name=bits][value='3']").check()
    expect(guess).to_have_count(0)
    figure.locator("input[name=bits][value='2']").check()
    expect(guess).to_have_count(1)
    asked.get_by_role("link", name="Guess again").click()
    expect(guess).to_have_count(0)
    assert "guess" not in page.url, "the address has the state of the figure, and the browser the guess"


def test_a_guess_stands_where_the_slider_was_and_becomes_a_ring_of_the_chart(page: Page) -> None:
    page.goto(f"{PAGE}/questions/quality")
    page.locator("html.js").wait_for()
    asked = question(page, "quality")
    slider = asked.locator("input[type=range]")
    slider.fill("1.3")
    box = placed(slider)
    thumb = 24  # CSS pixels: its middle travels that much less than the track
    put = box["x"] + thumb / 2 + 0.5 * (box["width"] - thumb)
    slider.press("Enter")
    asked.locator(".reveal").wait_for()
    assert abs(centre(asked.locator("circle.guess")) - put) < 1.5, "where the slider's thumb was"
    chart = page.locator("#fig-05-chart")
    chart.scroll_into_view_if_needed()
    ring = chart.locator(".role-guess .point")
    ring.wait_for()
    static = chart.locator(".marks.guess .mark")
    live, server = placed(ring), placed(static)
    assert abs(centre(ring) - centre(static)) < 1, "Plotly's ring lies where the server's does"
    assert abs(live["y"] + live["height"] / 2 - server["y"] - server["height"] / 2) < 1
    expect(chart.locator(".role-guess .textpoint")).to_have_text("you 20")
    expect(chart.locator(".role-truth .point")).to_have_count(1)


def placed(mark: Locator) -> FloatRect:
    box = mark.bounding_box()
    assert box is not None
    return box


def test_a_guess_is_remembered_in_this_browser(page: Page) -> None:
    page.goto(PAGE)
    page.locator("html.js").wait_for()
    asked = question(page, "rtn")
    asked.locator("input").fill("8")
    asked.locator("button").first.click()
    asked.locator(".reveal").wait_for()
    expect(asked.locator('output[name="guess"]')).to_have_text("8×")
    page.reload()
    asked.locator(".reveal").wait_for()
    expect(asked.locator('output[name="guess"]')).to_have_text("8×")
    page.goto(f"{PAGE}/questions/rtn")
    expect(asked.locator("[data-said]")).to_have_text("You said 8×")
    expect(asked.locator("input")).to_have_value("8")
    expect(asked.locator(".reveal")).to_have_count(0)
    assert page.context.cookies() == []


def test_without_scripts_the_form_leads_to_its_own_page_and_back(no_js: Page) -> None:
    no_js.goto(f"{PAGE}/workshop/block")
    asked = question(no_js, "xray")
    asked.locator('input[value="8"]').check()
    asked.get_by_role("button", name="Commit").click()
    no_js.wait_for_url(f"{no_js.url.split('/lessons')[0]}{PAGE}/questions/xray?answer=8")
    expect(asked.locator('output[name="guess"]')).to_have_text("eight")
    expect(no_js.locator("#fig-05b label.guessed")).to_have_count(8)
    asked.get_by_role("link", name="See it in the figure").click()
    expect(no_js.locator("#fig-05b input[name=flip]:checked")).to_have_value("0")
    expect(no_js.locator("#fig-05b label.guessed")).to_have_count(8)


def test_a_revealed_question_has_nothing_that_axe_finds(page: Page, axe: Callable[..., list[str]]) -> None:
    page.goto(f"{PAGE}/questions/fit?answer=60")
    page.locator("html.js").wait_for()
    expect(page.locator("#fig-06 .reveal-mark")).to_have_count(2)
    assert axe(page, ".ask") == []
    assert axe(page, "#fig-06 .drawing") == []


def test_a_task_is_done_by_keyboard_and_has_nothing_that_axe_finds(
    page: Page, axe: Callable[..., list[str]]
) -> None:
    page.goto(f"{PAGE}/tasks/rounding?stage=faded&seed=5")
    code = next(step for step in TASKS["rounding"].make(5).steps if step.name == "code")
    page.locator("#step-code").fill(str(int(float(code.answer)) + 5))
    page.keyboard.press("Enter")
    expect(page.locator("#step-code-said")).to_have_text("Too large by 5.")
    page.locator("#step-code").fill(code.text)
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("1 of 2 right")
    assert axe(page, "main") == []


def test_an_answer_that_cannot_be_read_gets_the_focus_and_the_others_stay(
    page: Page, watch: Watch, axe: Callable[..., list[str]]
) -> None:
    watch.expect("status of 422")
    page.goto(f"{PAGE}/tasks/rounding?seed=5")
    scale, code = (step for step in TASKS["rounding"].make(5).steps if step.name in ("scale", "code"))
    page.locator("#step-code").fill(f" {code.text} ")
    page.locator("#step-scale").fill("abc")
    page.keyboard.press("Enter")
    expect(page.locator("#step-scale")).to_be_focused()
    expect(page.locator("#step-scale-said")).to_contain_text("“abc” cannot be read")
    expect(page.locator("#step-code-said")).to_have_text("Right")
    assert axe(page, "main") == []
    page.locator("#step-scale").fill(scale.text.replace(".", ","))
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("2 of 4 right")


def test_after_a_reload_what_was_answered_is_answered_and_drawn(page: Page) -> None:
    page.goto(f"{PAGE}/workshop/gptq")
    page.locator("html.js").wait_for()
    asked, shown = question(page, "gptq"), page.locator("#fig-03b")
    asked.locator("input[type=range]").fill("60")
    asked.get_by_role("button", name="Commit").click()
    asked.locator(".answer-scale").wait_for()
    asked.get_by_role("link", name="See it in the figure").click()
    expect(shown.locator(".reveal-mark.guess")).to_have_count(1)
    page.wait_for_url("**gptq.*")
    told, drawn = asked.inner_text(), shown.locator(".reveal-mark").all_inner_texts()
    address = page.url

    page.reload()
    asked.locator(".answer-scale").wait_for()
    assert asked.inner_text() == told
    expect(shown.locator(".reveal-mark.guess")).to_have_count(1)
    assert shown.locator(".reveal-mark").all_inner_texts() == drawn
    assert page.url == address

    asked.get_by_role("link", name="Guess again").click()
    asked.get_by_role("button", name="Commit").wait_for()
    expect(shown.locator(".reveal-mark")).to_have_count(0)
    page.reload()
    asked.get_by_role("button", name="Commit").wait_for()


@pytest.mark.parametrize("scripts", [True, False])
def test_the_page_of_a_question_has_its_figure_with_the_answer(
    page: Page, no_js: Page, scripts: bool
) -> None:
    shown = page if scripts else no_js
    shown.goto(f"{PAGE}/questions/xray")
    question(shown, "xray").get_by_role("button", name="Commit").wait_for()
    expect(shown.locator("figure")).to_have_count(0)
    if scripts:
        expect(question(shown, "xray").get_by_role("button", name="Commit")).to_be_disabled()
    question(shown, "xray").locator('input[value="8"]').check(force=True)
    question(shown, "xray").get_by_role("button", name="Commit").click()
    shown.wait_for_url(re.compile(r"/questions/xray\?answer=8$"))
    expect(shown.locator("#fig-05b label.guessed")).to_have_count(8)
    question(shown, "xray").get_by_role("link", name="Guess again").click()
    expect(shown.locator("figure")).to_have_count(0)


def test_what_was_predicted_is_put_beside_what_is_so_on_a_page_and_at_the_end_of_the_lesson(
    page: Page, axe: Callable[..., list[str]]
) -> None:
    for name, query in (("rtn", "answer=9"), ("fit", "answer=60")):
        page.goto(f"{PAGE}/questions/{name}?{query}")
        page.wait_for_function(KEPT, arg=[f"predicted:{PAGE}", name])
    page.goto(f"{PAGE}/questions")
    again, right, waiting = (
        page.locator(f".recall [data-group={group}] li") for group in ("again", "right", "waiting")
    )
    expect(right).to_have_count(1)
    expect(right.locator("[name=guess]")).to_have_text("9×")
    expect(again).to_have_count(1)
    expect(again.locator("[data-why]")).to_contain_text("cache")
    expect(waiting).to_have_count(len(load_lesson("quantization").questions) - 2)
    assert axe(page, "main") == []

    page.goto(f"{PAGE}#close")
    right.first.wait_for()
    expect(right.locator("[name=guess]")).to_have_text("9×")
    expect(again.locator("[data-why]")).to_contain_text("cache")
    assert axe(page, ".recall") == []
    question(page, "awq").get_by_role("button", name="Show me").click()
    expect(again).to_have_count(2)
    again.first.locator("a").click()
    page.wait_for_url(re.compile("#ask-awq$"))
    page.locator("[data-forget]").click()
    page.locator(".recall").wait_for(state="hidden")
    page.locator(".try").last.wait_for()


BOX = "card => { const { top, bottom } = card.getBoundingClientRect(); return [top, bottom]; }"


@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_a_commit_leaves_its_card_where_it_is_on_the_screen(new_page: NewPage, device: str) -> None:
    """Wherever it stood; from under the list of sections it comes out."""
    page = new_page(device)
    page.goto(PAGE)
    page.locator("html.js").wait_for()
    bar = page.locator(".contents")
    for name in ("rtn", "fit"):
        for distance in (90, 300):
            asked = question(page, name)
            asked.evaluate("(card, d) => scrollBy(0, card.getBoundingClientRect().top - d)", distance)
            page.wait_for_timeout(300)
            asked.evaluate("(card, d) => scrollBy(0, card.getBoundingClientRect().top - d)", distance)
            asked.locator("button").last.dispatch_event("click")
            asked.locator(".reveal").wait_for()
            page.wait_for_timeout(500)  # the figure goes to its state, too
            top, _ = asked.evaluate(BOX)
            assert abs(top - distance) <= 2, f"{name} went from {distance} to {top}"
            assert top >= bar.evaluate("bar => bar.getBoundingClientRect().bottom") - 1
            asked.locator("[data-ask-afresh]").dispatch_event("click")
            asked.locator("form").wait_for()
            top, _ = asked.evaluate(BOX)
            assert abs(top - distance) <= 2, f"{name} asked afresh went from {distance} to {top}"


def test_a_task_is_done_at_the_end_of_its_section_with_the_figure_of_the_page(
    page: Page, axe: Callable[..., list[str]]
) -> None:
    page.goto(PAGE)
    page.locator("html.js").wait_for()
    page.evaluate("key => localStorage.setItem(key, JSON.stringify({ seed: '5' }))", f"exercise:{PAGE}")
    fold = page.locator("#task-zeros")
    fold.locator("summary").click()
    zeros, cheaper = TASKS["zeros"].make(5).steps
    said = fold.locator(f"#zeros-step-{zeros.name}-said")
    fold.locator("[data-state] input").wait_for(state="hidden")
    fold.get_by_role("button", name="Check").click()
    said.wait_for()
    expect(said).to_contain_text("others land on zero")
    assert axe(page, "#task-zeros") == []

    expect_put(page, dict(parse_qsl(str(zeros.answer))))
    fold.locator(f"input[value={cheaper.answer}]").check(force=True)
    fold.get_by_role("button", name="Check").press("Enter")
    expect(fold.get_by_role("status")).to_have_text("2 of 2 right")
    expect(fold.locator(".code-of-task b")).to_have_text(re.compile("^zeros-5-[A-Z2-7]{5}$"))
    expect(fold.get_by_role("button", name="Check")).to_be_focused()
    page.goto(f"{PAGE}/questions")
    expect(page.locator("[data-task=zeros] output")).to_have_text("2/2")


def test_what_was_answered_and_typed_in_a_task_is_there_after_a_reload(page: Page) -> None:
    name, task = "powers", TASKS["powers"]
    page.goto(f"{PAGE}/workshop/{task.section}")
    page.locator("html.js").wait_for()
    page.evaluate("key => localStorage.setItem(key, JSON.stringify({ seed: '5' }))", f"exercise:{PAGE}")
    first = next(step for step in task.make(5).steps if not step.options)
    fold = page.locator(f"#task-{name}")
    field = fold.locator(f"#{name}-step-{first.name}")

    def reload() -> None:
        page.reload()
        page.locator("html.js").wait_for()
        fold.locator("summary").first.click()

    fold.locator("summary").first.click()
    field.fill("17.25")
    reload()
    field.wait_for()
    expect(field).to_have_value("17.25")
    expect(fold.get_by_role("status")).to_have_count(0)
    fold.get_by_role("button", name="Check").click()
    fold.get_by_role("status").wait_for()
    field.fill("18")
    reload()
    fold.get_by_role("status").wait_for()
    expect(field).to_have_value("18")


def expect_put(page: Page, state: dict[str, str]) -> None:
    """Bring FIG.02 into a state by its controls."""
    for name, value in state.items():
        put(page, "rtn", name, value)
    expect_state(page, "rtn", **state)


def test_without_scripts_a_task_has_a_page_that_reads_the_address_of_a_figure(no_js: Page) -> None:
    no_js.goto(f"{PAGE}#task-zeros")
    no_js.locator("#task-zeros summary").click()
    no_js.locator("#task-zeros a").click()
    no_js.goto(f"{PAGE}/tasks/zeros?seed=5")
    zeros = TASKS["zeros"].make(5).steps[0]
    no_js.locator(f"#step-{zeros.name}").fill(
        f"{no_js.url.split('?')[0].replace('tasks/zeros', 'figures/rtn')}?{zeros.answer}"
    )
    no_js.get_by_role("button", name="Check").click()
    expect(no_js.get_by_role("status")).to_have_text("1 of 2 right")


def test_a_figure_is_covered_until_there_is_a_guess(new_page: NewPage) -> None:
    page = new_page(covers=True)
    page.goto(PAGE)
    page.locator("html.js").wait_for()
    asked, shown = question(page, "rtn"), page.locator("#fig-02")
    slider, commit = asked.locator("input"), asked.get_by_role("button", name="Commit")
    shown.wait_for(state="hidden")
    expect(commit).to_be_disabled()
    expect(slider).to_have_attribute("aria-valuetext", "drag to your guess")
    expect(asked.locator(".slider-value")).not_to_be_visible()
    slider.press("ArrowRight")
    expect(commit).to_be_enabled()
    commit.click()
    shown.wait_for()
    expect(asked.locator(".verdict")).to_contain_text("times too small")
    expect_state(page, "rtn")

    asked.get_by_role("link", name="See it in the figure").click()
    expect(shown.locator("input[name=bits]")).to_have_value("3")
    asked.get_by_role("link", name="Continue").click()
    expect_state(page, "rtn")
    expect(shown.locator("input[name=bits]")).to_be_focused()
    expect(page).not_to_have_url(re.compile(r"rtn\.bits"))
    page.reload()
    shown.wait_for()
    asked.get_by_role("link", name="Guess again").click()
    shown.wait_for(state="hidden")


def test_a_covered_figure_opens_for_a_link_to_it_and_without_a_guess(new_page: NewPage) -> None:
    page = new_page(covers=True)
    page.goto(f"{PAGE}?rtn.bits=5")
    page.locator("#fig-02").wait_for()
    page.locator("#fig-04").wait_for(state="hidden")
    page.goto(f"{PAGE}#fig-04")
    page.locator("#fig-04").wait_for()
    page.locator("html.js").wait_for()
    question(page, "fit").get_by_role("button", name="Show me").click()
    page.locator("#fig-06").wait_for()


def test_a_link_to_a_covered_figure_moves_nothing(new_page: NewPage) -> None:
    page = new_page(covers=True)
    page.add_init_script(
        "window.shift = 0; const add = ({ value }) => { window.shift += value; };"
        "new PerformanceObserver((list) => list.getEntries().forEach(add))"
        ".observe({ type: 'layout-shift', buffered: true })"
    )
    page.goto(f"{PAGE}#fig-06")
    expect(page.locator("#fig-06")).to_be_in_viewport()
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.shift") < 0.01


def test_without_scripts_no_figure_is_covered(no_js: Page) -> None:
    no_js.goto(PAGE)
    no_js.locator("#fig-02").wait_for()


def test_what_a_question_changes_among_folded_controls_is_shown_with_the_figure(page: Page) -> None:
    page.goto(PAGE)
    page.locator("html.js").wait_for()
    asked, details = question(page, "fit"), page.locator("#fig-06-details")
    asked.locator("input").fill("44")
    asked.get_by_role("button", name="Commit").click()
    asked.get_by_role("link", name="See it in the figure").click()
    expect_state(page, "fit", context="131072")
    expect(details).to_have_attribute("open", "")
    asked.get_by_role("link", name="Continue").click()
    expect_state(page, "fit")
    expect(details).not_to_have_attribute("open", "")


def test_labels_of_a_guess_and_the_truth_stay_apart_on_a_phone(phone: Page) -> None:
    phone.goto(f"{PAGE}/questions/awq?answer=0.45")
    labels = phone.locator("#fig-04 .reveal-mark text")
    expect(labels).to_have_count(2)
    one, other = (placed(labels.nth(i)) for i in range(2))
    assert abs(one["y"] - other["y"]) > 12 or one["x"] + one["width"] < other["x"]
