"""A figure: its names, its controls and its view function. Adding one is adding a module and a template."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
        Its drawing is made of rows and cells of HTML: only a browser can make a picture of it.
    on_own
        The view on a reader's own weights, where the figure can be drawn on any; raises `OwnError`.
    from_file
        The controls that a reader's file sets, from the fields of a form; raises `OwnError`. The file is
        no state: what it says is, and stands in the address.
    """

    name: str
    id: str
    label: str
    controls: type[C]
    view: Callable[[C], View]
    is_html: bool = False
    on_own: Callable[[C, Own], View] | None = None
    from_file: Callable[[Mapping[str, str]], dict[str, str]] | None = None

    @property
    def takes_own(self) -> bool:
        """Whether a reader can give it something of their own."""
        return self.on_own is not None or self.from_file is not None

    @property
    def template(self) -> str:
        return f"figures/{self.name}.jinja"
