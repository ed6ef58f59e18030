"""Nothing is said by colour alone: marks of different meaning differ in shape, outline, hatching or dash.

What a program can tell of seeing no colours: that each pair of marks which a reader has to tell apart still
differs when its colours are taken away. That the difference is easy to see is for people to judge.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.browser.figures import NAMES, figure, open_alone

pytestmark = pytest.mark.tidy

PAIRS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "zoom": ("at=block", [(".large .true-mark", ".large .snap-mark")]),
    "fold": ("", [(".true-mark", ".snap-mark"), (".kept .cell:not(.folded)", ".kept .cell.folded")]),
    "primitive": ("convention=symmetric", [(".level-mark.free", ".level-mark:not(.free, .chosen)")]),
    "rtn": ("", [(".true-mark", ".snap-mark")]),
    "fourbit": (
        "scale=e8m0",
        [(".level-mark.free", ".level-mark:not(.free)"), (".error.own", ".error:not(.own)")],
    ),
    "rounding": ("", [("p.way.nearest", "p.way.best"), (".true-mark", ".snap-mark")]),
    "gptq": ("", [(".curve.gptq", ".curve.rtn"), (".before", ".after")]),
    "awq": ("", [(".curve.sum", ".curve.loud"), (".part.now.loud", ".part.now.neighbours")]),
    "calibration": (
        "",
        [
            (".curve.quantized", ".curve.method-1"),
            (".curve.method-1", ".curve.method-2"),
            (".curve.method-2", ".curve.method-4"),
        ],
    ),
    "measured": (
        "",
        [
            (".marks.quantized .mark", ".marks.method-1 .mark"),
            (".marks.method-1 .mark", ".marks.method-2 .mark"),
            (".marks.method-2 .mark", ".marks.method-3 .mark"),
            (".marks.method-3 .mark", ".marks.method-4 .mark"),
        ],
    ),
    "sentence": ("", [(".said .level-1", ".said .level-2"), (".said .level-3", ".said .level-4")]),
    "quality": ("data=base", [(".marks.quantized .mark", ".marks.method-1 .mark")]),
    "xray": (
        "",
        [
            (".cells label:has(:checked)", ".cells .related"),
            (".cells .related", ".cells label:not(.related, :has(:checked))"),
        ],
    ),
    "mixes": ("", [(".key-raised", ".key-lowered"), (".cell.up", ".cell:not(.differs)")]),
    "fit": ("", [(".segment-weights", ".segment-cache"), (".tiles .fits i", ".tiles .over i")]),
    "smooth": ("", [(".true-mark", ".snap-mark")]),
    "rotation": ("", [(".stage .before", ".stage .after"), (".error.own", ".error:not(.own)")]),
    "qlora": ("", [(".bytes-base", ".bytes-adapter"), (".histogram-bar", ".nf4-mark")]),
    "methods": (
        "",
        [(".bar:not(.calibrated *)", ".calibrated .bar"), (".curve:not(.calibrated)", ".curve.calibrated")],
    ),
}
"""A state of a figure, and the pairs that its legend or its words tell apart."""

OTHERWISE = ("", [(".true-mark", ".snap-mark")])
"""Of a figure that is not named above, if it has such marks."""

SHAPE = """element => {
    const style = getComputedStyle(element);
    const ground = getComputedStyle(element.closest(".fig")).backgroundColor;
    const empty = ["none", "rgba(0, 0, 0, 0)", ground];
    if (!(element instanceof SVGElement)) {
        const stripes = style.backgroundImage.replace(/(oklch|oklab|rgba?|color)\\([^)]*\\)/g, "");
        const { borderWidth, borderTopStyle, transform, opacity, fontWeight } = style;
        const shadow = style.boxShadow.match(/-?[\\d.]+px/g);
        return [borderWidth, borderTopStyle, shadow, stripes, transform, opacity, fontWeight].join(" ");
    }
    if (style.opacity === "0") return "unseen";
    const outline = element.matches("path:not(.curve)") ? element.getAttribute("d") : "";
    const { fill } = style;
    const inside = fill.startsWith("url") ? fill : empty.includes(fill) ? "hollow" : "filled";
    const line = empty.includes(style.stroke) ? "" : `${style.strokeWidth} ${style.strokeDasharray}`;
    return [element.tagName, outline, inside, line].join(" ");
}"""
"""All that is left of a mark without its colours."""


def test_no_two_marks_differ_by_colour_alone(page: Page, subtests: pytest.Subtests) -> None:
    for name in NAMES:
        state, pairs = PAIRS.get(name, OTHERWISE)
        open_alone(page, name, state)
        shown = figure(page, name)
        if name not in PAIRS and not shown.locator(pairs[0][0]).count():
            continue
        with subtests.test(name):
            alike = [
                pair
                for pair in pairs
                if len({shown.locator(mark).first.evaluate(SHAPE) for mark in pair}) < 2
            ]
            assert alike == []


def test_two_marks_that_differ_by_colour_alone_are_found(page: Page) -> None:
    """Protects the test above."""
    open_alone(page, "rtn")
    page.evaluate("""() => { document.querySelector(".fig").innerHTML = `<svg>
        <rect id="one" fill="red"/><rect id="other" fill="blue"/>
        <rect id="hollow" fill="none" stroke="red"/></svg>` }""")
    shapes = [page.locator(f"#{each}").evaluate(SHAPE) for each in ("one", "other", "hollow")]
    assert shapes[0] == shapes[1] != shapes[2]
