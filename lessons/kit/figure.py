"""A figure: its names, its controls and its view function. Adding one is adding a module and a template."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from lessons.kit.controls import FigureControls
from lessons.kit.own import Own
from lessons.kit.view import View

C = TypeVar("C", bound=FigureControls)


@dataclass(frozen=True, slots=True)
class Figure(Generic[C]):
    """A pure function from controls to a view, and what it is called.

    Parameters
    ----------
    name
        In URLs, file names and prose: `rtn`.
    id
        The id of its `<figure>`: `fig-02`.
    label
        As printed: `FIG.02`.
    controls
        The model of its controls.
    view
        Same controls, same view. Must not read anything but its argument and the shipped data.
    is_html
        Its drawing is made of rows and cells of HTML: there is no picture of it to save.
    on_own
        The view on a reader's own weights, where the figure can be drawn on any; raises `OwnError`.
    """

    name: str
    id: str
    label: str
    controls: type[C]
    view: Callable[[C], View]
    is_html: bool = False
    on_own: Callable[[C, Own], View] | None = None

    @property
    def template(self) -> str:
        return f"figures/{self.name}.jinja"
