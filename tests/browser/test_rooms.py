"""The lesson's page keeps as much room for a late drawing as it takes, so that nothing moves when it comes.

`make screenshots` measures the room of every late figure at each width, and writes it to `rooms.css`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from lessons.catalogue import ROOT
from tests.browser.conftest import NewPage
from tests.browser.figures import LESSON, figure, open_alone
from tests.browser.test_contrast import wait_for_chart
from tests.browser.test_screenshots import with_faces

pytestmark = pytest.mark.tidy

ROOMS = ROOT / LESSON.slug / "rooms.css"
LATE = [name for name in LESSON.figures if LESSON.is_late(name)]
ANEW = os.environ.get("SCREENSHOTS") == "new"
WINDOWS = range(1440, 319, -20)
CHANGE = 16
"""Pixels by which a drawing has to grow at a narrower width for another rule."""
SEEN = 36
"""Pixels of difference that a test finds: two lines, because a text breaks otherwise at every width."""
HEAD = """\
/* The room for each drawing that comes when its reader is near. Written by `make screenshots`. */
"""

Measure = Callable[[int], tuple[int, int]]


def measures(page: Page, name: str) -> Measure:
    """The width of a figure's stage and the height of its drawing in a window of some width."""
    open_alone(page, name)
    with_faces(page)
    shown = wait_for_chart(figure(page, name))

    def at(window: int) -> tuple[int, int]:
        page.set_viewport_size({"width": window, "height": 1000})
        return tuple(
            shown.evaluate("""fig => {
                const { clientWidth } = fig.querySelector(".stage");
                return [clientWidth, Math.round(fig.querySelector(".drawing").offsetHeight)];
            }""")
        )

    return at


def steps(at: Measure) -> list[tuple[int, int]]:
    """The widths from which on a drawing has another height, from wide to narrow, and these heights."""
    found = [at(WINDOWS[0])]
    before = WINDOWS[0]
    for window in WINDOWS[1:]:
        if abs(at(window)[1] - found[-1][1]) > CHANGE:
            wide, narrow = before, window
            while wide - narrow > 1:
                middle = (wide + narrow) // 2
                if abs(at(middle)[1] - found[-1][1]) > CHANGE:
                    narrow = middle
                else:
                    wide = middle
            found.append(at(narrow))
        before = window
    return found


def rules(name: str, found: list[tuple[int, int]]) -> str:
    """A figure's room as a style sheet, from wide to narrow."""
    place = f".fig-{name}:where(.js *) .drawing[data-late]"
    lines = [f"  {place} {{ min-height: {found[0][1]}px; }}"]
    lines += [
        f"  @container (max-width: {width}px) {{ {place} {{ min-height: {height}px; }} }}"
        for width, height in found[1:]
    ]
    return "\n".join(["@media screen {", *lines, "}"]) + "\n"


def room(name: str, width: int) -> int:
    """The height that the sheet keeps for a drawing in a stage of this width."""
    place = re.escape(f".fig-{name}:where(.js *) .drawing[data-late]")
    kept = re.findall(
        rf"(?:max-width: (\d+)px\) {{ )?{place} {{ min-height: (\d+)px", ROOMS.read_text("utf-8")
    )
    return int([height for most, height in kept if not most or width <= int(most)][-1])


@pytest.mark.skipif(not ANEW, reason="make screenshots does it")
@pytest.mark.parametrize("name", LATE)
def test_write_the_room_of_a_late_figure(new_page: NewPage, name: str) -> None:
    page = new_page(viewport={"width": WINDOWS[0], "height": 1000})
    blocks = re.findall(r"@media.*?^}\n", ROOMS.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    of_name = {re.findall(r"\.fig-(\w+)", block)[0]: block for block in blocks}
    of_name[name] = rules(name, steps(measures(page, name)))
    ROOMS.write_text(HEAD + "".join(of_name[late] for late in LATE if late in of_name), "utf-8")


@pytest.mark.parametrize("name", LATE)
def test_a_late_drawing_has_its_room(new_page: NewPage, name: str) -> None:
    at = measures(new_page(viewport={"width": WINDOWS[0], "height": 1000}), name)
    for window in (1440, 1024, 768, 390, 320):
        width, height = at(window)
        assert abs(room(name, width) - height) <= SEEN, f"{window} px: `make screenshots` measures it anew"
