"""States of figures and their URLs, as a page requests them."""

from __future__ import annotations

import random
from urllib.parse import urlencode

from app.addresses import path
from lessons.catalogue import load_lesson
from lessons.kit.controls import FigureControls, as_parameter

LESSON = load_lesson("quantization")
FIGURES = LESSON.figures
PAGE = path("lesson", LESSON.slug)
"""The address of the lesson."""


def random_state(name: str, source: random.Random) -> FigureControls:
    """A random state of a figure."""
    controls: type[FigureControls] = FIGURES[name].controls
    return controls(**{key: source.choice(w.states()) for key, w in controls.widgets().items()})


def random_states(name: str, count: int, source: random.Random) -> list[FigureControls]:
    """Different random states, as many as requested or found."""
    found: dict[FigureControls, None] = {}
    for _ in range(20 * count):
        if len(found) == count:
            break
        found[random_state(name, source)] = None
    return list(found)


def fragment_path(name: str, state: FigureControls) -> str:
    """Path of the fragment of this state; a form sends every control, in order."""
    query = {key: as_parameter(value) for key, value in state}
    return f"{path('fragment', LESSON.slug, name)}?{urlencode(query)}"


def table_path(name: str, control: str, state: FigureControls) -> str:
    """Path of the state table along one control: the whole table, or the part around this state."""
    parted = type(state).parted()
    query = {key: as_parameter(value) for key, value in state if key != control or control in parted}
    return f"{path('along', LESSON.slug, name, control)}?{urlencode(query)}"


def figure_path(name: str, state: FigureControls) -> str:
    """Path of a figure's own page."""
    return f"{path('figure', LESSON.slug, name)}?{urlencode(state.query())}"
