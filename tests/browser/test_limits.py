"""Controls that can do nothing are disabled, changed or fresh; what was chosen is not lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.figures import PAGE, figure

LOOKS = """group => [group.disabled, group.getAttribute("aria-describedby"), group.innerText,
    ...[...group.querySelectorAll("input")].map((each) => [each.value, each.checked, each.disabled])]"""

pytestmark = pytest.mark.tidy


def test_measures_that_the_data_lacks_come_and_go_with_it(page: Page, axe: Callable[..., list[str]]) -> None:
    page.goto(f"{PAGE}/figures/quality?measure=gsm8k")
    page.locator("html.js").wait_for()
    shown = figure(page, "quality")
    measure = shown.locator("fieldset").filter(has=page.locator("[name=measure]"))
    shown.locator("[name=data][value=base]").check(force=True)
    expect(measure.locator("[value=benchmark_loss]")).to_be_disabled()
    expect(measure.locator("[value=gsm8k]")).to_be_disabled()
    expect(measure.locator("[value=perplexity]")).to_be_enabled()
    expect(measure).to_have_accessible_description(
        "The base model was measured by perplexity alone: the plot shows that."
    )
    assert axe(page, "#fig-05 .controls") == []
    shown.locator("select[name=scheme]").select_option("Q2_K")
    expect(shown.locator("output[name=scheme]")).to_have_text("Q2_K")
    page.wait_for_url("**scheme=Q2_K*")
    assert "measure=gsm8k" in page.url
    after = measure.evaluate(LOOKS)
    page.reload()
    page.locator("html.js").wait_for()
    fresh = measure.evaluate(LOOKS)
    assert after == fresh

    shown.locator("[name=data][value=instruct]").check(force=True)
    expect(measure.locator("[value=gsm8k]")).to_be_enabled()
    expect(measure.locator("[value=gsm8k]")).to_be_checked()
    expect(measure.locator(".reason")).to_have_count(0)
    assert measure.get_attribute("aria-describedby") is None
    expect(shown.locator(".chart")).to_contain_text("GSM8K")


def test_the_one_measure_that_there_is_can_be_chosen(page: Page) -> None:
    page.goto(f"{PAGE}/figures/quality?data=base")
    page.locator("html.js").wait_for()
    shown = figure(page, "quality")
    shown.locator("[name=measure][value=perplexity]").check(force=True)
    page.wait_for_url("**measure=perplexity*")
    shown.locator("[name=data][value=instruct]").check(force=True)
    expect(shown.locator("[name=measure][value=perplexity]")).to_be_checked()
    page.wait_for_url("**/quality?measure=perplexity")


def test_a_control_of_no_use_keeps_its_value(page: Page) -> None:
    page.goto(f"{PAGE}/figures/measured?imatrix=with")
    page.locator("html.js").wait_for()
    shown = figure(page, "measured")
    shown.locator("[name=family]").select_option("gptq")
    expect(shown.locator("[name=imatrix][value=both]")).to_be_disabled()
    shown.locator("[name=group][value='32']").check(force=True)
    page.wait_for_url("**group=32*")
    assert "imatrix=with" in page.url
    shown.locator("[name=family]").select_option("gguf")
    expect(shown.locator("[name=imatrix][value=both]")).to_be_enabled()
    expect(shown.locator("[name=imatrix][value=with]")).to_be_checked()
    expect(shown.locator("[name=group][value='64']")).to_be_disabled()


def test_an_accent_or_an_emoji_keeps_the_drawing_and_is_named_beside_the_field(
    page: Page, axe: Callable[..., list[str]]
) -> None:
    page.goto(f"{PAGE}/figures/sentence")
    page.locator("html.js").wait_for()
    shown, field = figure(page, "sentence"), page.locator("#fig-05e-sentence")
    field.fill("To be café 🙂")
    first = shown.locator(".width").first.locator(".said")
    expect(first).to_contain_text("To be cafe")
    expect(page.locator("#fig-05e-sentence-reason")).to_contain_text("without “é”, “🙂”")
    expect(field).to_be_focused()
    expect(shown.locator(".problem")).to_have_count(0)
    assert axe(page, "#fig-05e .controls") == []
    field.fill("To be or not")
    expect(first).to_contain_text("To be or not")
    expect(page.locator("#fig-05e-sentence-reason")).to_have_count(0)
