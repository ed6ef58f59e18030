"""What moves when a control changes: the weights themselves, for under a quarter of a second, or nothing."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import NewPage
from tests.browser.figures import FIGURES, open_alone

pytestmark = pytest.mark.tidy

LONGEST = 250  # milliseconds
CHANGE = """async ([id, value, watched]) => {
    const slider = document.getElementById(id);
    const changed = new Promise((resolve, reject) => {
        document.addEventListener("figure:changed", () => requestAnimationFrame(resolve), { once: true });
        setTimeout(() => reject(new Error("no view came within 20 s")), 20_000);
    });
    slider.value = value;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    const start = await changed;
    const read = () => watched.map(([mark, name]) => document.getElementById(mark).getAttribute(name));
    const seen = [[0, read()]];
    let last = start;
    while (last - start < 600) {
        last = await new Promise(requestAnimationFrame);
        seen.push([last - start, read()]);
    }
    return seen;
}"""
MOVES = {
    ("fold", "step", "11"): [("chosen-kept", "cx"), ("cell3", "x"), ("band", "x"), ("fold", "d")],
    ("rtn", "bits", "2"): [("s0", "cy"), ("n1", "y"), ("n1", "height")],
    ("gptq", "step", "8"): [("outline", "x")],
    ("awq", "alpha", "0.8"): [("sum-now", "cy"), ("column-neighbours", "height")],
}


def places(page: Page, name: str, control: str, value: str) -> list[tuple[float, list[str]]]:
    """Where marks are in each frame after the change, with its time in milliseconds."""
    open_alone(page, name, "step=12&weight=3" if name == "fold" else "")
    id = FIGURES[name].id
    watched = [(f"{id}-{mark}", attribute) for mark, attribute in MOVES[name, control, value]]
    seen: list[tuple[float, list[str]]] = page.evaluate(CHANGE, [f"{id}-{control}", value, watched])
    return seen


@pytest.mark.parametrize(("name", "control", "value"), MOVES)
def test_marks_move_to_their_new_places(new_page: NewPage, name: str, control: str, value: str) -> None:
    """They set out from where they were, and are there in every frame after a quarter of a second."""
    seen = places(new_page(reduced_motion="no-preference"), name, control, value)
    first, last = seen[0][1], seen[-1][1]
    assert all(before != after for before, after in zip(first, last, strict=True))
    assert all(marks == last for at, marks in seen if at > LONGEST)


def test_nothing_moves_under_reduced_motion(page: Page) -> None:
    for name, control, value in MOVES:
        seen = places(page, name, control, value)
        assert {tuple(marks) for _, marks in seen} == {tuple(seen[0][1])}
        assert page.evaluate("document.getAnimations().length") == 0
