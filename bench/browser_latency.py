"""Measure from input to paint: every control of every figure, by keyboard and pointer, on the lesson page.

A change starts with the time stamp of the hardware event and ends when the frame that shows its state has
been painted. The state of a frame is read from the words of the view and compared with what the figure's
function computes. bench/README.md gives the details.
"""

from __future__ import annotations

import contextlib
import functools
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from playwright.sync_api import CDPSession, Error, Locator, Page

from bench.chromium import Profile, chromium, visit
from bench.latency_tables import FAR, NEAR, PROFILES, WEAK, Row, tables
from bench.serving import lesson_server
from bench.slow_line import SlowLine
from bench.states import FIGURES, LESSON, PAGE
from lessons.kit.controls import Choice

SECONDS = 90.0  # for each profile; a started control is finished
FIRST_VISIT = 0.8  # share of the time for the first visit, divided among the figures
KEYS = {NEAR: 12, FAR: 6, WEAK: 6}  # presses for each control
CLICKS = {NEAR: 5, FAR: 3, WEAK: 3}
DRAG_MOVES, DRAG_PAUSE = 60, 0.004  # there and back
THUMB = 8  # pixels from a slider's end to the middle of its thumb
PAINT_LIMIT = 2000  # milliseconds
TABLE_LIMIT = 8000
SETTLES = 120
REST = 60  # milliseconds between a table's arrival and the first key
PACE = (40, 70)  # least milliseconds between two keys, random: not in step with the frames

MENU_KEYS, OTHER_KEYS = ("ArrowDown", "ArrowUp"), ("ArrowRight", "ArrowLeft")
FOCUS = "all => (all.find((input) => input.checked) ?? all[0]).focus({ preventScroll: true })"
SHOWS = "input => (input.closest('label, fieldset, .control') ?? input).getClientRects().length > 0"
CLICKABLE = """inputs => inputs.filter((input) => !input.checked && !input.disabled)
  .filter((input) => input.closest("label")?.getClientRects().length).map((input) => input.value)"""
PARTS = {"script": "Script", "style": "RecalcStyle", "layout": "Layout"}

OPEN = """() => {
  for (const card of document.querySelectorAll("[data-covers]")) card.removeAttribute("data-covers");
  for (const details of document.querySelectorAll(".fig .details")) details.open = true;
}"""
"""Questions cover no figure, and all controls can be seen."""

VISITS: tuple[dict[str, dict[str, str]], ...] = (
    {},
    {},  # hidden by a choice made on the first visit
    {"fit": {"source": "size", "device": "own", "scope": "everything"}},  # what the figure hides at first
)
"""The states in which the page is opened. Each visit drives what the ones before it did not."""


def main(*figures: str) -> None:
    """Print the tables for the named figures of the lesson, or for what the time allows of all."""
    on_page = tuple(name for name in FIGURES if not LESSON.in_workshop(name))
    names = tuple(name for name in on_page if name in figures) if figures else on_page
    seconds = float("inf") if figures else SECONDS
    measured: dict[Profile, list[Row]] = {profile: [] for profile in PROFILES}
    with lesson_server() as server, chromium() as browser, SlowLine(server.url) as line:
        server.wait_until_idle()
        for profile in PROFILES:
            line.round_trip = profile.round_trip / 1000
            known: set[str] = set()
            end = time.monotonic() + seconds
            for needed in VISITS:
                with visit(browser, profile=profile) as (page, session):
                    reader = _Reader(page, session, profile)
                    address = line.url if profile.round_trip else server.url
                    share = FIRST_VISIT * (end - time.monotonic()) / len(names)
                    measured[profile] += reader.read(address, names, needed, known, share, end)
    for table in tables(measured):
        table.print()


@dataclass
class Change:
    """A change of a control, the words of its state, and the time of the frame that showed them.

    `took` is the time from the event to the paint. `worked` leaves out the wait for the frame: it is the time
    from the handler to the end of the swap plus that from the start of the frame to its paint.
    """

    at: float
    handled: float
    words: str = ""
    took: float = float("nan")
    worked: float = float("nan")


class _Reader:
    """Use every control of the lesson page."""

    def __init__(self, page: Page, session: CDPSession, profile: Profile) -> None:
        self.page = page
        self.session = session
        self.profile = profile
        self.source = random.Random(0)
        self.changes = 0  # noted by the page since the last read

    def read(
        self,
        address: str,
        names: Sequence[str],
        needed: dict[str, dict[str, str]],
        known: set[str],
        seconds: float,
        end: float,
    ) -> Iterator[Row]:
        """Drive each visible control not yet measured, for this many seconds in each figure."""
        query = {f"{name}.{key}": value for name, pairs in needed.items() for key, value in pairs.items()}
        self.page.goto(f"{address}{PAGE}?{urlencode(query)}")
        self.page.locator("html.js").wait_for()
        self.page.evaluate(OPEN)
        self.page.keyboard.press("Escape")  # or FIG.00 plays
        self.session.send("Performance.enable", {"timeDomain": "threadTicks"})
        for name in needed or names:
            controls = FIGURES[name].controls
            new = [c for c in controls.widgets() if f"{name}.{c}" not in known]
            new.sort(key=lambda c: c not in controls.tabled())  # these figures have no tables
            if not new or name not in names or time.monotonic() > end:
                continue
            begun = time.monotonic()
            self._arrive(name)
            for control in new:
                inputs = self._form(name).locator(f'[name="{control}"]:not(output)')
                if time.monotonic() < min(begun + seconds, end) and inputs.first.evaluate(SHOWS):
                    known.add(f"{name}.{control}")
                    yield from self._drive(name, control, inputs)

    def _drive(self, name: str, control: str, inputs: Locator) -> Iterator[Row]:
        self._form(name).evaluate("(form, id) => bench.watch(id)", FIGURES[name].id)
        self.changes = 0
        inputs.first.evaluate("input => input.scrollIntoView({ block: 'center', behavior: 'instant' })")
        yield self._by_keyboard(Row(name, control, "keys"), inputs)
        kind = inputs.first.evaluate("input => input.type")
        if kind == "range":
            yield self._by_dragging(Row(name, control, "drag"), inputs)
        elif kind == "radio":
            yield self._by_clicking(Row(name, control, "click"), inputs)

    def _by_keyboard(self, row: Row, inputs: Locator) -> Row:
        before = self._count("tables")
        inputs.evaluate_all(FOCUS)
        ahead, back = MENU_KEYS if row.control in self._menus(row.figure) else OTHER_KEYS
        if not self._press(ahead):
            self._press(back)
        self._await_table(row, before)
        self._await_state(row)  # the table may arrive before the response to the first change
        for first in self._take(row)[:1]:
            row.first_touch = first.took
        costs = self._costs()
        for _ in range(KEYS[self.profile]):
            if not self._press(ahead):
                ahead, back = back, ahead
                self._press(ahead)
        self._finish(row, costs)
        return row

    def _by_dragging(self, row: Row, slider: Locator) -> Row:
        box = slider.bounding_box()
        assert box
        y, left, width = box["y"] + box["height"] / 2, box["x"] + THUMB, box["width"] - 2 * THUMB
        costs, mouse = self._costs(), self.page.mouse
        mouse.move(left, y)
        mouse.down()
        for step in range(DRAG_MOVES + 1):
            share = 1 - abs(1 - 2 * step / DRAG_MOVES)
            mouse.move(left + share * width, y)
            time.sleep(DRAG_PAUSE)
        mouse.up()
        self._finish(row, costs)
        return row

    def _by_clicking(self, row: Row, inputs: Locator) -> Row:
        values = inputs.evaluate_all(CLICKABLE)
        for value in self.source.sample(values, min(len(values), CLICKS[self.profile])):
            label = (
                self._form(row.figure).locator(f'label:has([name="{row.control}"][value="{value}"])').first
            )
            with contextlib.suppress(Error):  # a covered cell is chosen by another click
                label.click(timeout=PAINT_LIMIT)
                self._await_paint()
        self._finish(row, None)
        return row

    def _finish(self, row: Row, costs: dict[str, float] | None) -> None:
        """Wait for the last state and record the results."""
        self._await_state(row)
        after = self._costs()
        self.page.wait_for_timeout(SETTLES)
        changes = self._take(row)
        row.changes = len(changes)
        row.times = [change.took for change in changes if change.took == change.took]
        row.work = [change.worked for change in changes if change.worked == change.worked]
        if costs and changes:
            row.cost = {part: (after[part] - costs[part]) / len(changes) for part in after}

    def _take(self, row: Row) -> list[Change]:
        """The changes since the last call, each with the time to its frame."""
        notes = self.page.evaluate("bench.take()")
        self.changes = 0
        changes = [
            Change(at=c["at"], handled=c["handled"], words=_words(row.figure, c["query"]))
            for c in notes["changes"]
        ]
        done = 0  # a frame shows the last matching change, and none before one already shown
        for frame in notes["frames"]:
            for i in range(len(changes) - 1, done - 1, -1):
                if changes[i].words == frame["words"] and changes[i].at < frame["shown"]:
                    changes[i].took = frame["shown"] - changes[i].at
                    swap = max(0.0, frame["swapped"] - changes[i].handled)
                    changes[i].worked = swap + frame["shown"] - frame["begins"]
                    done = i + 1
                    break
        row.long_tasks += notes["longTasks"]
        row.wrong |= bool(changes) and changes[-1].words != notes["words"]
        return changes

    def _press(self, key: str) -> bool:
        """Press a key and wait for its effect; return whether it changed the control.

        The page is not queried until its drawing is likely to be done: a query would take CPU time from what
        is measured.
        """
        self.page.keyboard.press(key)
        time.sleep(self.source.uniform(*PACE) / 1000)
        count = self._count("changes")
        changed, self.changes = count > self.changes, count
        if changed:
            self._await_paint()
        return changed

    def _await_paint(self) -> None:
        self.page.evaluate("limit => bench.painted(limit)", PAINT_LIMIT)

    def _await_state(self, row: Row) -> None:
        """Wait until the view shows the last change, as long as a reader might wait."""
        query = self.page.evaluate("bench.changes.at(-1)?.query")
        if query is not None:
            self._await_paint()
            with contextlib.suppress(Error):  # reported as `wrong`
                words = _words(row.figure, query)
                self.page.wait_for_function(
                    "words => bench.words() === words", arg=words, timeout=PAINT_LIMIT
                )

    def _await_table(self, row: Row, before: int) -> None:
        """Wait until the state table is ready, if the page requests one."""
        if row.control not in (self._form(row.figure).get_attribute("data-tabled") or "").split():
            return
        table = self.page.evaluate("([before, limit]) => bench.table(before, limit)", [before, TABLE_LIMIT])
        if table:  # the page may already have it
            row.table_took, row.table_size = table["took"], table["size"] / 1000
        self.page.wait_for_timeout(REST)

    def _arrive(self, name: str) -> None:
        """Scroll the figure into view; wait for Plotly if it draws the chart."""
        figure = self.page.locator(f"#{FIGURES[name].id}")
        figure.evaluate("figure => figure.scrollIntoView({ block: 'center', behavior: 'instant' })")
        if figure.locator("[data-chart]").count():
            figure.locator("[data-chart].live .main-svg").first.wait_for()
        self.page.wait_for_timeout(SETTLES)

    def _count(self, what: str) -> int:
        return int(self.page.evaluate(f"bench.{what}.length"))

    def _costs(self) -> dict[str, float]:
        """The CPU time of the page's main thread so far, in milliseconds."""
        metrics = {
            m["name"]: 1000 * m["value"] for m in self.session.send("Performance.getMetrics")["metrics"]
        }
        parts = {part: metrics[f"{name}Duration"] for part, name in PARTS.items()}
        every = metrics["TaskDuration"]
        return parts | {"rest": every - sum(parts.values()), "all": every}

    def _menus(self, name: str) -> set[str]:
        widgets = FIGURES[name].controls.widgets()
        return {key for key, w in widgets.items() if isinstance(w, Choice) and w.style == "menu"}

    def _form(self, name: str) -> Locator:
        return self.page.locator(f"#{FIGURES[name].id}-form")


@functools.cache
def _words(name: str, query: str) -> str:
    """The read-outs and the finding that the figure computes for a form's query."""
    state = FIGURES[name].controls.parse(parse_qsl(query, keep_blank_values=True))
    view, text = FIGURES[name].view(state), LESSON.texts[name]
    return "|".join([*(readout.text for readout in view.readouts), text.sentence(view.description[0])])
