"""A figure: its names, its controls and its view function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, get_args

from lessons.kit.controls import FigureControls
from lessons.kit.job import Found
from lessons.kit.own import Own
from lessons.kit.view import View

C = TypeVar("C", bound=FigureControls)
Part = Literal["model", "layer", "matrix", "row", "block", "weight"]
PARTS: tuple[Part, ...] = get_args(Part)
"""What a figure may show of a model, from the whole to the smallest part."""


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
    compute
        The mathematics: from the controls to a result. Same controls, same result: it reads nothing but its
        argument and the shipped data. The page shows its source, and offers it to copy.
    view_of
        What is shown of a result; it computes nothing.
    shows
        The part of a model that it draws, marked in its caption, or "all" for the map of them; None where
        that says nothing.
    is_html
        Its drawing is made of rows and cells of HTML: only a browser can make a picture of it.
    slider_below
        Its slider lies under the axis that it moves, where there is room.
    on_own
        The view on a reader's own weights, where the figure can be drawn on any; raises `OwnError`.
    from_file
        The controls that a reader's file sets, from the fields of a form; raises `OwnError`. The address has
        these controls, not the file.
    job
        The job whose results a state shows: its name and its controls. None for a
        state that shows what is shipped.
    on_found
        The view of such a state with what is known of the job; `view` is the one without.
    compute_job
        What the job computes, in one function that takes minutes: offered to copy in such a state.
    prepare
        Computes what the views of several states rest on together, where that is cheaper than one by one.
    """

    name: str
    id: str
    label: str
    controls: type[C]
    compute: Callable[[C], Any]
    view_of: Callable[[Any], View]
    shows: Part | Literal["all"] | None = None
    is_html: bool = False
    slider_below: bool = False
    on_own: Callable[[C, Own], View] | None = None
    from_file: Callable[[Mapping[str, str]], dict[str, str]] | None = None
    job: Callable[[C], tuple[str, FigureControls] | None] | None = None
    on_found: Callable[[C, Found], View] | None = None
    compute_job: Callable[[C], Any] | None = None
    prepare: Callable[[Sequence[C]], None] | None = None

    def view(self, controls: C) -> View:
        """Everything that the figure shows in a state."""
        return self.view_of(self.compute(controls))

    def computation(self, controls: C) -> Callable[[C], Any]:
        """The function that computes what is shown in a state."""
        return self.compute_job if self.compute_job and self.waits_for(controls) else self.compute

    def functions(self, view: View) -> tuple[Callable[..., Any], ...]:
        """The functions that computed a view: the figure's own, and those of the library."""
        return (self.compute, *view.ran)

    @property
    def takes_own(self) -> bool:
        """Whether a reader can give it something of their own."""
        return self.on_own is not None or self.from_file is not None

    def waits_for(self, controls: C) -> tuple[str, FigureControls] | None:
        """The job whose results this state shows: its name and its controls."""
        return self.job(controls) if self.job else None

    def view_with(self, controls: C, found: Found | None) -> View:
        """The view, with what is known of the job that the state waits for."""
        return (
            self.view(controls) if found is None or self.on_found is None else self.on_found(controls, found)
        )

    @property
    def folder(self) -> str:
        """Where its module, drawing and style sheet are, from `lessons/`: `quantization/figures/rtn`."""
        return self.controls.__module__.partition(".")[2].replace(".", "/")

    @property
    def template(self) -> str:
        return f"{self.folder}/drawing.jinja"
