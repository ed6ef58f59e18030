"""What every page depends on besides its own address: the root path, and what this host allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from lessons.catalogue import Lesson
from lessons.kit.controls import FigureControls
from lessons.kit.figure import Figure
from lessons.kit.job import Found

FindResult = Callable[[Lesson, Figure[Any], FigureControls], Found | None]
"""What is known on this host of the job whose results a figure shows."""


@dataclass(frozen=True, slots=True)
class Site:
    """The settings and the job results of one application."""

    root_path: str = ""
    embed_ancestors: str = "*"
    find_result: FindResult = lambda *_: None
    code_key: str = ""
    holds_classes: bool = False
    retention_months: int = 12
    only_this_machine: bool = False
    """Whether classes answer only to names of this machine, such as localhost."""

    @property
    def embeddable(self) -> bool:
        """Whether any other page may embed figures."""
        return self.embed_ancestors != "'none'"


_DEFAULT = Site()
_current: ContextVar[Site] = ContextVar("site")


def current_site() -> Site:
    """The site whose page is being made."""
    return _current.get(_DEFAULT)


def set_site(site: Site) -> None:
    """Make this the current site for the rest of this task."""
    _current.set(site)


@contextmanager
def use_site(site: Site) -> Iterator[None]:
    """Make this the current site within a `with` block."""
    before = _current.set(site)
    try:
        yield
    finally:
        _current.reset(before)
