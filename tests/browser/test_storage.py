"""What a browser remembers can be anything, or forbidden: the lesson works, and mends what it can."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, expect

from lessons.quantization.tasks import TASKS
from tests.browser.figures import PAGE, expect_state, put
from tests.browser.watch import Watch

pytestmark = pytest.mark.tidy

FORBIDDEN = """
for (const name of ["localStorage", "sessionStorage"])
  Object.defineProperty(window, name, { get() { throw new DOMException("forbidden", "SecurityError"); } });
"""
FULL = 'Storage.prototype.setItem = () => { throw new DOMException("full", "QuotaExceededError"); };'
IN_TURNS = "let asked = 0; Storage.prototype.getItem = () => {}[asked++ % {}.length];"
DAMAGE = {
    "forbidden": FORBIDDEN,
    "full": FULL,
    "gone": "for (const name of ['localStorage', 'sessionStorage'])"
    "  Object.defineProperty(window, name, { value: null });",
} | {
    name: IN_TURNS.replace("{}", json.dumps(texts))
    for name, texts in {
        "no JSON": ["{damaged", ""],
        "no object": ["null", "7", '"guess"', '[1, null, {}, ["x"], "hero"]'],
        "wrong values": [
            '{"rtn": {"a": 1}, "gptq": null, "rounding": 3, "own.text": [], "fit": ["answer=1"]}'
        ],
        "nonsense": ['{"rtn": "%%%", "gptq": "answer=<b>", "rounding": {"right": "a"}, "fit": "skip=7"}'],
    }.items()
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_storage_stops_nothing(page: Page, watch: Watch, damage: str) -> None:
    """Reading, a figure, a guess, a look back, forgetting it, a task, the colour scheme: no error in any."""
    if damage == "nonsense":
        watch.expect("status of 422")  # the server is asked for it, and says that it is none
    with page.add_init_script(DAMAGE[damage]):
        walk_with_damage(page)


def walk_with_damage(page: Page) -> None:
    page.goto(PAGE)
    page.locator("html.js").wait_for()
    put(page, "rtn", "bits", 5)
    expect_state(page, "rtn", bits=5)
    asked = page.locator("#ask-rtn")
    asked.locator("input").fill("8")
    asked.locator("button").first.click()
    asked.locator(".reveal").wait_for()
    expect(asked.locator('output[name="guess"]')).to_have_text("8×")
    page.locator("[data-theme-button]").click()
    page.goto(f"{PAGE}/questions")
    page.locator(".recall [data-question]").first.wait_for()
    forgetting = page.locator("[data-forget]")
    if forgetting.is_visible():
        forgetting.click()
    page.goto(f"{PAGE}/tasks/rounding?stage=faded&seed=5")
    code = next(step for step in TASKS["rounding"].make(5).steps if step.name == "code")
    page.locator("#step-code").fill(code.text)
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("1 of 2 right")


def test_what_is_damaged_is_mended_by_the_next_guess(page: Page) -> None:
    page.goto(PAGE)
    page.locator("html.js").wait_for()
    page.evaluate(
        """path => { for (const kind of ["predicted", "practised", "read"])
                    localStorage.setItem(`${kind}:${path}`, "{damaged"); }""",
        PAGE,
    )
    page.goto(PAGE)
    page.locator("html.js").wait_for()
    asked = page.locator("#ask-rtn")
    asked.locator("input").fill("8")
    asked.locator("button").first.click()
    asked.locator(".reveal").wait_for()
    expect(asked.locator('output[name="guess"]')).to_have_text("8×")
    page.goto(f"{PAGE}/questions/rtn")
    expect(asked.locator("[data-said]")).to_have_text("You said 8×")
