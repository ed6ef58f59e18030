"""A job is a computation of minutes: how a lesson describes one, and what is known while it runs.

`lessons.kit.job_store` runs jobs in a process of their own, one at a time on a host.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lessons.kit.controls import FigureControls
from lessons.kit.view import Table

Row = dict[str, Any]
Words = Callable[..., str]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is, from 0 to 1, and the row that it has just found, if any."""

    done: float
    row: Row | None = None


class Nothing(FigureControls):
    """The controls of a job that has none."""


def _nothing(_: Any) -> dict[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Job:
    """A job of a lesson.

    Parameters
    ----------
    name
        In URLs and file names.
    runs_here
        Whether what it needs is installed.
    steps
        The computation, from its controls and the rows that it found before it was stopped, which it does not
        compute again. It may be stopped after any step.
    table
        The rows found so far as a table; its second argument gives the words of the job by key.
    drawing
        The rows found so far as the template of `figure` draws them, in place of a table.
    figure, figure_query
        The figure that shows what was found, and the parameters with which it does.
    controls, asked
        Its controls, and those of their values that decide the result, as the reader is shown them.
    depends_on
        A name of the code and the data that the result depends on: with another one it is computed anew.
    """

    name: str
    runs_here: Callable[[], bool]
    steps: Callable[[Any, Sequence[Row]], Iterator[Progress]]
    table: Callable[[Sequence[Row], Words], Table] | None = None
    drawing: Callable[[Sequence[Row]], Mapping[str, Any]] | None = None
    figure: str = ""
    figure_query: Callable[[Any], list[tuple[str, str]]] = lambda _: []
    controls: type[FigureControls] = Nothing
    asked: Callable[[Any], Mapping[str, str]] = _nothing
    depends_on: Callable[[], str] = str

    def key(self, controls: FigureControls) -> str:
        """The name of a result: the same for the same controls and the same code."""
        question = json.dumps([self.depends_on(), dict(self.asked(controls))])
        return f"{self.name}-{hashlib.sha256(question.encode()).hexdigest()[:24]}"


@dataclass(frozen=True, slots=True)
class JobState:
    """What is known of a job: all rows so far, and whether it is running."""

    running: bool = False
    done: float = 0.0
    rows: tuple[Row, ...] = field(default_factory=tuple)
    seconds: float = 0.0

    @property
    def finished(self) -> bool:
        return self.done >= 1.0


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of the job that a figure shows, and whether what the job needs is installed."""

    state: JobState = field(default_factory=JobState)
    installed: bool = False
