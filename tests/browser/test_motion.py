"""What moves when a control changes: the weights themselves, for under a quarter of a second, or nothing."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import NewPage
from tests.browser.figures import FIGURES, open_alone

pytestmark = pytest.mark.tidy

LONGEST = 250  # milliseconds
CHANGE = """async ([id, value]) => {
    const slider = document.getElementById(id);
    const changed = new Promise((resolve, reject) => {
        document.addEventListener("figure:changed", () => requestAnimationFrame(resolve), { once: true });
        setTimeout(() => reject(new Error("no view came within 20 s")), 20_000);
    });
    slider.value = value;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    await changed;
    return document.getAnimations().map(({ transitionProperty, animationName, effect }) => {
        const what = transitionProperty ?? animationName;
        return [`${what} of ${effect.target.classList[0]}`, effect.getTiming().duration];
    });
}"""
MOVES = {
    ("fold", "step", "11"): {"cx of snap-mark", "width of bar-kept", "x of band"},
    ("rtn", "bits", "2"): {"cy of snap-mark", "y of nudge", "height of nudge"},
    ("gptq", "step", "8"): {"gptq-flow of arcs", "x of outline"},
    ("awq", "alpha", "0.8"): {"x of strip-level", "cx of snap-mark"},
}


def animations(page: Page, name: str, control: str, value: str) -> list[tuple[str, float]]:
    """What runs in the first frame after the change, and how long it will."""
    open_alone(page, name, "step=12&weight=3" if name == "fold" else "")
    found: list[tuple[str, float]] = page.evaluate(CHANGE, [f"{FIGURES[name].id}-{control}", value])
    return found


@pytest.mark.parametrize(("name", "control", "value"), MOVES)
def test_marks_move_to_their_new_places(new_page: NewPage, name: str, control: str, value: str) -> None:
    running = animations(new_page(reduced_motion="no-preference"), name, control, value)
    assert {what for what, _ in running} >= MOVES[name, control, value]
    assert max(duration for _, duration in running) <= LONGEST


def test_nothing_moves_under_reduced_motion(page: Page) -> None:
    for name, control, value in MOVES:
        assert animations(page, name, control, value) == []
