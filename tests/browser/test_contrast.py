"""Contrast of every text and every mark of a figure, drawn in SVG and by Plotly as much as in HTML.

axe reads the colour of text in HTML only. Here the browser says what is painted under each text and around
each mark, and the ratios are those of WCAG 2.2: 1.4.3 for texts, 1.4.11 for what is not text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Locator, Page

from tests.browser.charts import CHARTS
from tests.browser.conftest import NewPage
from tests.browser.covering import change, covering
from tests.browser.figures import KINDS, NAMES, PAGE, figure, open_alone

pytestmark = pytest.mark.tidy

READ_TEXTS = Path(__file__).with_name("texts.js").read_text()
READ_MARKS = Path(__file__).with_name("marks.js").read_text()
TALL = 4200  # pixels: the whole figure in the window, since only what is in it can be asked for
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
LEAST_OF_A_MARK = 3.0
Colour = list[float]

DECORATION = {
    ".grid, .strip-axis, .rule-band, .layer-below path": "helps to read labels",
    ".track": "the length of a whole bar, beside which stands what the bar says",
    ".here-bar": "the other parts of a model; the part that is drawn is named beside them",
    ".area": "the ground under a curve, whose line is drawn at full strength",
    ".way .band": "the ground of a row, which has a line at its start and its own words",
    ".level": "a level's place is told by its code at the edge, and by the marks that lie on it",
    ".fold-shape": "joins the sixteen cells to those that are kept",
    ".cell": "a cell is told from others by the sign, the code or the number printed in it",
    ".link": "leads from the marked part to the panel that enlarges it",
    ".shade0, .shade1": "smaller numbers of a matrix; the larger ones stand out from them",
    ".pending": "what the next steps of the slider will show at full strength",
    ".restore span, .cell span": "a button that is known by its words, not by its edge",
}
"""Marks that may be fainter, and why nobody misses them."""


LOOKS = """element => { const style = getComputedStyle(element);
    return [style.backgroundColor, style.color, style.borderTop, style.borderLeft].join() }"""
UNPAINTED = """keys => keys.filter(key => {
    const style = getComputedStyle(key);
    const ground = ["rgba(0, 0, 0, 0)", getComputedStyle(document.body).backgroundColor];
    const border = parseFloat(style.borderTopWidth) + parseFloat(style.borderLeftWidth);
    return ground.includes(style.backgroundColor) && border === 0;
}).map(key => key.className)"""
CHOSEN = {
    "fit": (".tiles .marked", ".tiles .tile:not(.marked)"),
    "quality": (".rows tr.marked > .name", ".rows tr:not(.marked) > .name"),
    "mixes": (".tiles input:checked + .tile", ".tiles input:not(:checked) + .tile"),
    "zoom": (".part:has(:checked) .name", ".part:not(:has(:checked)) .name"),
}
"""What is chosen in a drawing, and another one beside it."""


@dataclass(frozen=True)
class Text:
    """A text as painted: its words, where it stands, its size in CSS pixels, its colours along its length."""

    words: str
    where: str
    size: float
    weight: int
    samples: list[tuple[Colour, Colour]]

    @property
    def contrast(self) -> float:
        return min(contrast(ink, ground) for ink, ground in self.samples)

    @property
    def least_contrast(self) -> float:
        """WCAG's bar: large text (24 px, or 18.66 px in bold) may have less."""
        return 3.0 if self.size >= 24 or (self.size >= 18.66 and self.weight >= 700) else 4.5

    def __str__(self) -> str:
        return (
            f"{self.words!r} ({self.where}): {self.contrast:.2f} of {self.least_contrast}, {self.size:.1f} px"
        )


@dataclass(frozen=True)
class Mark:
    """A shape, a key or an edge as painted: the colours of its inside and its outline, and its ground."""

    what: str
    paints: list[Colour]
    ground: Colour

    @property
    def contrast(self) -> float:
        """One of its colours is enough to see it."""
        return max(contrast(paint, self.ground) for paint in self.paints)

    def __str__(self) -> str:
        return f"{self.what}: {self.contrast:.2f} of {LEAST_OF_A_MARK}"


def luminance(colour: Colour) -> float:
    """Relative luminance of an sRGB colour in [0, 1]."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Colour, other: Colour) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def texts(root: Locator) -> list[Text]:
    found = as_text(root, f"({READ_TEXTS})(root)")
    return [Text(t["text"], t["where"], t["size"], t["weight"], t["samples"]) for t in found]


def marks(root: Locator) -> list[Mark]:
    found = as_text(root, f"({READ_MARKS})([root, passed])", ", ".join(DECORATION))
    return [Mark(m["what"], m["paints"], m["ground"]) for m in found if m["paints"]]


def as_text(root: Locator, read: str, passed: str = "") -> list[dict[str, Any]]:
    """What a script finds, as one string: Playwright takes long over thousands of numbers."""
    found: list[dict[str, Any]] = json.loads(
        root.evaluate(f"(root, passed) => JSON.stringify({read})", passed)
    )
    return found


def too_faint(shown: Locator) -> list[str]:
    """The texts and the marks that stand out less than WCAG asks for."""
    read, painted = texts(shown), marks(shown)
    assert read
    assert painted
    return [str(text) for text in read if text.contrast < text.least_contrast] + [
        str(mark) for mark in painted if mark.contrast < LEAST_OF_A_MARK
    ]


def open_in_full(page: Page, name: str) -> Locator:
    """Open a figure's own page, wait for its chart to be Plotly's, and give the figure."""
    open_alone(page, name)
    return wait_for_chart(figure(page, name))


def wait_for_chart(shown: Locator) -> Locator:
    if shown.locator("[data-chart]").count():
        shown.locator(".chart.live .xtick").first.wait_for()  # `expect` reads the whole page while it waits
    return shown


UNSEEN = """async ([marks, addresses]) => {
    const parse = async (address) =>
        new DOMParser().parseFromString(await (await fetch(address)).text(), "text/html");
    const pages = await Promise.all(addresses.map(parse));
    return marks.filter((mark) => !pages.some((page) => page.querySelector(`figure :is(${mark})`)));
}"""


@pytest.mark.parametrize("name", NAMES)
def test_every_text_and_mark_stands_out(new_page: NewPage, name: str, subtests: pytest.Subtests) -> None:
    """In the reader's own few colours; then in states that show every option, in turns in light and in dark.

    Colours are tokens, pairs of light and dark.
    """
    page = new_page(viewport={"width": 1440, "height": TALL})
    shown = open_in_full(page, name)
    for scheme in SCHEMES if name in KINDS else SCHEMES[:1]:
        page.emulate_media(forced_colors="active", color_scheme=scheme)
        with subtests.test(f"forced colours, {scheme}"):
            forced_colours_keep_texts_and_keys(shown)
    with subtests.test("forced colours, chosen options"):
        forced_colours_keep_what_is_chosen(shown, name)
    page.emulate_media(forced_colors="none")
    states = covering(name)
    for turn, scheme in enumerate(SCHEMES):
        page.emulate_media(color_scheme=scheme)
        faint: set[str] = set()
        for state in [states[0], *states[1 + turn :: 2]]:
            change(page, name, state)
            faint |= set(too_faint(wait_for_chart(shown)))
        with subtests.test(scheme):
            assert sorted(faint) == []


def forced_colours_keep_texts_and_keys(shown: Locator) -> None:
    read = texts(shown)
    assert read
    assert [str(text) for text in read if text.contrast < text.least_contrast] == []
    assert shown.locator(".key").evaluate_all(UNPAINTED) == [], "these keys cannot be told from the ground"


def forced_colours_keep_what_is_chosen(shown: Locator, name: str) -> None:
    """In a row of segments and in a drawing."""
    for chosen in shown.locator(".segments-row input:checked + span").all():
        others = shown.locator(".segments-row input:not(:checked) + span")
        assert chosen.evaluate(LOOKS) != others.first.evaluate(LOOKS)
    if name in CHOSEN:
        chosen, other = (shown.locator(selector).first for selector in CHOSEN[name])
        assert chosen.evaluate(LOOKS) != other.evaluate(LOOKS)


def test_every_decoration_is_drawn_somewhere(page: Page) -> None:
    """Protects the tests above: what is passed over is what its reason speaks of."""
    unseen = [mark for marks in DECORATION for mark in marks.split(", ")]
    for name in CHARTS:  # Plotly draws some
        open_in_full(page, name)
        unseen = [mark for mark in unseen if not page.locator(f"figure :is({mark})").count()]
    addresses = [f"{PAGE}/figures/{name}" for name in NAMES]
    assert page.evaluate(UNSEEN, [unseen, addresses]) == []


def test_black_on_white_is_21_to_1() -> None:
    assert contrast([0, 0, 0, 1], [1, 1, 1, 1]) == pytest.approx(21)


def test_the_grey_that_just_passes_on_white() -> None:
    """#767676 on white is the textbook pair: 4.54 : 1."""
    assert contrast([0x76 / 255] * 3, [1, 1, 1]) == pytest.approx(4.54, abs=0.005)


def test_a_text_upon_a_drawn_shape_is_compared_with_the_shape(page: Page) -> None:
    """Protects the tests above: a shape counts though the pointer passes it, unless it is fully faded."""
    open_alone(page, "rtn")
    drawing = """opacity => { document.body.innerHTML = `<svg id="probe" width="300" height="60">
        <rect width="300" height="60" fill="#777" fill-opacity="${opacity}" pointer-events="none"/>
        <text x="10" y="30" fill="#666" font-size="16">on a shape</text></svg>` }"""
    page.evaluate(drawing, 1)
    (on_shape,) = texts(page.locator("#probe"))
    assert on_shape.contrast == pytest.approx(contrast([0x66 / 255] * 3, [0x77 / 255] * 3), abs=0.02)
    page.evaluate(drawing, 0)
    (on_paper,) = texts(page.locator("#probe"))
    assert on_paper.contrast > 4.5


def test_a_faint_shape_is_found_and_a_decoration_is_not(page: Page) -> None:
    """Protects the tests above: an outline or an inside that stands out is enough, opacity counts."""
    open_alone(page, "rtn")
    page.evaluate("""() => { document.body.innerHTML = `<div id="probe"><svg width="300" height="60">
        <rect class="faint" width="9" height="9" fill="#000" opacity="0.3"/>
        <rect class="outlined" x="20" width="9" height="9" fill="#eee" stroke="#000"/>
        <rect class="filled" x="40" width="9" height="9" fill="#000"/>
        <line class="grid" x2="9" y2="9"/></svg></div>` }""")
    found = marks(page.locator("#probe"))
    assert [mark.what.split()[0] for mark in found] == ["rect.faint", "rect.outlined", "rect.filled"]
    assert [mark.contrast >= LEAST_OF_A_MARK for mark in found] == [False, True, True]
