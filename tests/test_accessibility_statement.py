"""docs/accessibility.md names every figure, its controls in order, and the sentence heard after a change."""

from __future__ import annotations

from pathlib import Path

import pytest

from lessons.catalogue import load_lesson
from lessons.kit.controls import Choice, Slider, Text, Widget

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "accessibility.md"
LESSON = load_lesson("quantization")


def chapters() -> dict[str, str]:
    """The chapters about figures, by heading."""
    parts = DOCUMENT.read_text("utf-8").split("\n### ")[1:]
    return {head: body.split("\n## ")[0] for head, _, body in (part.partition("\n") for part in parts)}


def heading(name: str) -> str:
    return f"{LESSON.figures[name].label} `{name}`"


def kind(widget: Widget) -> str:
    if isinstance(widget, Slider):
        return "slider"
    if isinstance(widget, Text):
        return "text"
    if isinstance(widget, Choice) and widget.drawn:
        return "drawn"
    return "menu" if widget.style == "menu" else "options"


def controls_line(name: str) -> str:
    """The line that the document has to have: each control by its label, with its kind."""
    words = LESSON.texts[name]
    widgets = LESSON.figures[name].controls.widgets()
    return " · ".join(f"{words.control(key)} ({kind(widget)})" for key, widget in widgets.items())


def sentence_line(name: str) -> str:
    """The sentence that is announced for the default state."""
    figure = LESSON.figures[name]
    return f"> {LESSON.texts[name].sentence(figure.view(figure.controls()).description[0])}"


def test_every_figure_has_a_chapter_and_nothing_else_has() -> None:
    assert list(chapters()) == [heading(name) for name in LESSON.figures]


@pytest.mark.parametrize("name", LESSON.figures)
def test_a_chapter_names_the_controls_in_their_order(name: str) -> None:
    assert f"Controls: {controls_line(name)}." in chapters()[heading(name)].splitlines()


@pytest.mark.parametrize("name", LESSON.figures)
def test_a_chapter_quotes_what_is_announced(name: str) -> None:
    assert sentence_line(name) in chapters()[heading(name)].splitlines()
