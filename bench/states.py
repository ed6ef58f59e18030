"""States of figures and their addresses, as a page asks for them."""

from __future__ import annotations

import random
from urllib.parse import urlencode

from app.assets import version
from lessons.catalogue import load_lesson
from lessons.kit.controls import FigureControls, plain

LESSON = load_lesson("quantization")
FIGURES = LESSON.figures


def random_state(name: str, source: random.Random) -> FigureControls:
    """A state of a figure, each control anywhere in its range."""
    controls: type[FigureControls] = FIGURES[name].controls
    return controls(**{key: source.choice(w.states()) for key, w in controls.widgets().items()})


def random_states(name: str, count: int, source: random.Random) -> list[FigureControls]:
    """Different states, as many as asked or as many as the figure may have been found to have."""
    found: dict[FigureControls, None] = {}
    for _ in range(20 * count):
        if len(found) == count:
            break
        found[random_state(name, source)] = None
    return list(found)


def fragment_path(name: str, state: FigureControls) -> str:
    """Address of the view in this state; a form sends every control, in its order."""
    query = {key: plain(value) for key, value in state}
    return f"/fragments/{version()}/{LESSON.slug}/{name}?{urlencode(query)}"


def table_path(name: str, control: str, state: FigureControls) -> str:
    """Address of the views along one control, the others as they are: all, or the part of this state."""
    parted = type(state).parted()
    query = {key: plain(value) for key, value in state if key != control or control in parted}
    return f"/fragments/{version()}/{LESSON.slug}/{name}/along/{control}?{urlencode(query)}"


def figure_path(name: str, state: FigureControls) -> str:
    """Address of a figure's own page."""
    return f"{LESSON.url}/figures/{name}?{urlencode(state.query())}"
