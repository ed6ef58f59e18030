"""Readers who drive a figure in one way only: without scripts, by keyboard, by touch, or by names alone.

Each finds a control, sets it and reads the answer with what that way gives, and nothing else. `Computed` is
the reader who asks the figure's function: what the others are compared with.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Protocol

from playwright.sync_api import Locator, Page, expect

from lessons.kit.controls import Choice, Slider, Text, as_parameter
from lessons.quantization import sources
from tests.browser.figures import FIGURES, LESSON, PAGE, expect_state, figure, open_alone

TABS = 150  # presses after which a keyboard's reader gives up
SPOKEN = re.compile(r'- (row|rowheader|cell)\b(?: "(.*)")?')
DRAWN_NAMES = {
    ("xray", "pick"): r"^{}, ",
    ("mixes", "mix"): r"^{} ",
    ("zoom", "at"): r"^{} ",
    ("fit", "device"): r"^{}\b.*(fits|short|tight)",
}
"""How the name of a drawn radio button begins; its value in words stands between."""


class Reader(Protocol):
    """Whoever does a task: sets controls of one figure and reads from it."""

    name: str

    def set(self, **controls: str) -> None: ...
    def read(self, readout: str) -> str: ...
    def rows(self) -> list[list[str]]: ...
    def words(self) -> str: ...


MOST_LOOKS = 50


class Computed:
    """The figure's own function, without any page."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: dict[str, str] = {}
        self._look()

    def _look(self) -> None:
        self.view = FIGURES[self.name].view(FIGURES[self.name].controls.parse(self.state.items()))

    def set(self, **controls: str) -> None:
        self.state |= controls
        self._look()

    def read(self, readout: str) -> str:
        return next(each.text for each in self.view.readouts if each.name == readout)

    def rows(self) -> list[list[str]]:
        columns = self.view.table.columns
        return [
            [c.text(value) for c, value in zip(columns, row, strict=True)] for row in self.view.table.rows
        ]

    def words(self) -> str:
        return " ".join(LESSON.texts[self.name].sentence(each) for each in self.view.description)


class InPage(ABC):
    """A reader of the figure's own page, who sees what is on the screen unless a subclass knows better."""

    def __init__(self, page: Page, name: str) -> None:
        self.page, self.name = page, name
        self.id = FIGURES[name].id
        self.state: dict[str, str] = {}
        self.open()

    def open(self) -> None:
        open_alone(self.page, self.name)

    @property
    def shown(self) -> Locator:
        return figure(self.page, self.name)

    def set(self, **controls: str) -> None:
        for key, value in controls.items():
            self.put(key, value)
        self.state |= controls
        self.confirm()
        expect_state(self.page, self.name, **self.state)
        expect(self.shown.locator("form.htmx-request")).to_have_count(0)  # an order has the same read-outs

    @abstractmethod
    def put(self, key: str, value: str) -> None:
        """Bring one control to a value."""

    def confirm(self) -> None:  # noqa: B027 - with scripts there is nothing to do
        """Say that this is the state to show."""

    def read(self, readout: str) -> str:
        return self.shown.locator(f'output[name="{readout}"]').inner_text()

    def unfold(self) -> None:
        self.shown.locator("details.data > summary").click()

    def rows(self) -> list[list[str]]:
        self.unfold()
        found: list[list[str]] = self.shown.locator("details.data tbody tr").evaluate_all(
            "all => all.map(row => [...row.cells].map(cell => cell.innerText))"
        )
        return found

    def words(self) -> str:
        return " ".join(
            self.shown.locator(part).inner_text() for part in (".finding", ".description")
        ).strip()

    def input(self, key: str, value: str) -> Locator:
        return self.shown.locator(f'input[type="radio"][name="{key}"][value="{value}"]:not([data-again])')

    def slider(self, key: str) -> Slider | None:
        widget = FIGURES[self.name].controls.widgets()[key]
        return widget if isinstance(widget, Slider) else None

    def text(self, key: str) -> bool:
        return isinstance(FIGURES[self.name].controls.widgets()[key], Text)

    def step_to(self, slider: Slider, value: str) -> None:
        """On a slider that has the focus: from where it is or from an end, one arrow after the other."""
        states = [as_parameter(each) for each in slider.states()]
        wanted = states.index(value)
        now = states.index(self.page.evaluate("document.activeElement.value"))
        starts = {"": now, "Home": 0, "End": len(states) - 1}
        key = min(starts, key=lambda start: abs(wanted - starts[start]))
        if key:
            self.page.keyboard.press(key)
        for _ in range(abs(wanted - starts[key])):
            self.page.keyboard.press("ArrowRight" if wanted > starts[key] else "ArrowLeft")


class WithoutScripts(InPage):
    """Fills in the form and sends it."""

    def open(self) -> None:
        self.page.goto(f"{PAGE}/figures/{self.name}")

    def put(self, key: str, value: str) -> None:
        if slider := self.slider(key):
            self.page.locator(f"#{self.id}-{key}").focus()
            self.step_to(slider, value)
        elif (menu := self.shown.locator(f'select[name="{key}"]')).count():
            menu.select_option(value)
        elif self.text(key):
            self.page.locator(f"#{self.id}-{key}").fill(value)
        else:
            self.input(key, value).check()

    def confirm(self) -> None:
        self.shown.locator("button.apply").click()


class ByKeyboard(InPage):
    """Presses Tab until the control has the focus, then arrow keys; clicks nothing."""

    def put(self, key: str, value: str) -> None:
        self.tab_to(f"document.activeElement.name === '{key}'")
        if slider := self.slider(key):
            self.step_to(slider, value)
            return
        if self.text(key):
            self.page.keyboard.press("ControlOrMeta+a")
            self.page.keyboard.type(value)
            self.page.keyboard.press("Enter")
            return
        if not self.shown.locator(f'select[name="{key}"]').count():
            expect(self.input(key, value)).to_be_attached()  # a search may still bring it
        options, now = self.page.evaluate("""() => {
            const here = document.activeElement;
            const all = here.options ?? here.form.querySelectorAll(`[name="${here.name}"]:not([data-again])`);
            return [[...all].map(option => [option.value, !option.disabled]), here.value];
        }""")
        values = [each for each, _ in options]
        start, end = values.index(now), values.index(value)
        passed = options[start + 1 : end + 1] if end > start else options[end:start]
        for _, enabled in passed:
            if enabled:  # the keys skip what is disabled
                self.page.keyboard.press("ArrowDown" if end > start else "ArrowUp")

    def unfold(self) -> None:
        self.tab_to("document.activeElement.matches('.data > summary')")
        self.page.keyboard.press("Enter")

    def tab_to(self, condition: str) -> None:
        for _ in range(TABS):
            if self.page.evaluate(condition):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not lead to where {condition}")


class ByTouch(InPage):
    """Taps with one finger, on a phone of four inches; nothing is dragged."""

    THUMB = 24  # CSS pixels

    def put(self, key: str, value: str) -> None:
        if slider := self.slider(key):
            track = self.page.locator(f"#{self.id}-{key}")
            track.scroll_into_view_if_needed()
            box = track.bounding_box()
            assert box
            share = (float(value) - slider.low) / (slider.high - slider.low)
            x = box["x"] + self.THUMB / 2 + share * (box["width"] - self.THUMB)
            self.page.touchscreen.tap(x, box["y"] + box["height"] / 2)
        elif (menu := self.shown.locator(f'select[name="{key}"]')).count():
            menu.tap()
            menu.select_option(value)  # the list itself is the system's
        elif self.text(key):
            self.page.locator(f"#{self.id}-{key}").tap()
            self.page.keyboard.type(value)
            self.page.keyboard.press("Enter")
        else:
            self.input(key, value).tap()

    def unfold(self) -> None:
        self.shown.locator("details.data > summary").tap()


class ByName(InPage):
    """A screen reader's way: roles and names only, and what the accessibility tree says of them."""

    def put(self, key: str, value: str) -> None:
        words, widget = LESSON.texts[self.name], FIGURES[self.name].controls.widgets()[key]
        label = words.control(key)
        spoken = self.page.get_by_role("figure", name=f"{FIGURES[self.name].label} {words.title}", exact=True)
        if isinstance(widget, Slider):
            spoken.get_by_role("slider", name=label, exact=True).focus()
            self.step_to(widget, value)
        elif isinstance(widget, Text):
            spoken.get_by_role("textbox", name=label, exact=True).fill(value)
        elif isinstance(widget, Choice) and widget.drawn:
            name = DRAWN_NAMES[self.name, key].format(re.escape(self.said(key, value)))
            self.press(spoken.get_by_role("radio", name=re.compile(name)))
        elif widget.style == "menu":
            option = words.option(key, value, widget)
            spoken.get_by_role("combobox", name=label, exact=True).select_option(label=option)
        else:
            group = spoken.get_by_role("group", name=label, exact=True)
            self.press(group.get_by_role("radio", name=words.option(key, value, widget), exact=True))

    def said(self, key: str, value: str) -> str:
        """The option in the words of its name: "byte-47" is "byte 47"."""
        if key == "device":
            return sources.device(value).short
        return value.replace("-", " ") if key == "pick" else value

    def press(self, radio: Locator) -> None:
        radio.focus()
        self.page.keyboard.press("Space")

    def confirm(self) -> None:
        announced = Computed(self.name)
        announced.set(**self.state)
        first = LESSON.texts[self.name].sentence(announced.view.description[0])
        expect(self.page.locator("#live")).to_have_text(first)

    def read(self, readout: str) -> str:
        label = LESSON.texts[self.name].readout(readout)
        spoken = self.shown.get_by_role("status", name=label, exact=True).aria_snapshot()
        return spoken.rpartition(": ")[2].strip('"')

    def unfold(self) -> None:
        self.shown.locator("summary").get_by_text("Data", exact=True).focus()
        self.page.keyboard.press("Enter")
        self.shown.locator("details.data tbody tr").first.wait_for()

    def rows(self) -> list[list[str]]:
        self.unfold()
        there = self.shown.locator("details.data tbody tr").count()
        for _ in range(MOST_LOOKS):  # what is named follows what is drawn, on a busy machine some time later
            rows = self.rows_named()
            if len(rows) >= there:
                break
            self.page.wait_for_timeout(100)
        return rows

    def rows_named(self) -> list[list[str]]:
        table = self.shown.locator("details.data").get_by_role("table").aria_snapshot()
        rows: list[list[str]] = []
        for role, text in SPOKEN.findall(table):
            if role == "row":
                rows.append([])
            else:
                rows[-1].append(text)
        return [row for row in rows if row]
