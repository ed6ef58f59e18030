"""What each of the three views of a class may know. What is not in here is not sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from app.classroom.flow import Phase

Status = Literal["running", "ended"]
Screen = Literal["follow", "code", "blank"]


@dataclass(frozen=True, slots=True)
class Shown:
    """The item that is on the screen. `number` of `total`: which of the class's questions it is.

    `step` is the beat of a reveal (1 to 3), or which of a figure's prepared `states` is shown: queries of its
    address, none where it is only shown as it begins.
    """

    id: int
    kind: str
    name: str
    phase: Phase
    step: int
    states: tuple[str, ...]
    twice: bool
    number: int
    total: int
    changed_at: datetime | None
    closes_at: datetime | None


@dataclass(frozen=True, slots=True)
class Guesses:
    """The votes on a question, after its reveal only: nameless and in no order that tells who.

    `pairs` has for every student the value of the first and of the second vote; None where there was none.
    Late votes and those of who would rather not are not in it; `skipped` counts the latter in each vote.
    """

    pairs: tuple[tuple[str | None, str | None], ...]
    skipped: tuple[int, int] = (0, 0)

    @property
    def has_second(self) -> bool:
        """Whether there was a second vote."""
        return bool(self.of(2)) or self.skipped[1] > 0

    def of(self, vote: int) -> tuple[str, ...]:
        """All values of the first (1) or of the second vote (2)."""
        return tuple(pair[vote - 1] for pair in self.pairs if pair[vote - 1] is not None)  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class Common:
    """What everybody in a class may know.

    `version` is that of the class: what is newer has a larger one. `admits`: new students may join. `voted`
    counts the votes of the open or last round, `here` who has a line or has voted. `guesses` is None before
    the reveal.
    """

    code: str
    title: str
    lesson: str
    status: Status
    admits: bool
    version: int
    shown: Shown | None
    voted: int
    here: int
    guesses: Guesses | None


@dataclass(frozen=True, slots=True)
class ScreenState:
    """For the projector."""

    common: Common
    screen: Screen


@dataclass(frozen=True, slots=True)
class OwnVote:
    """A student's own vote."""

    value: str | None
    outcome: str
    confidence: int | None
    late: bool


@dataclass(frozen=True, slots=True)
class StudentState:
    """For one student's own devices. `first` and `second` are their votes on what is shown."""

    common: Common
    name: str
    following: bool
    called: str | None
    first: OwnVote | None
    second: OwnVote | None
    asks_confidence: bool
    answers: int


@dataclass(frozen=True, slots=True)
class Person:
    """A student as the desk lists them."""

    id: str
    name: str
    state: Literal["voted", "here", "away"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the running order. `near` is the share that was near in the last vote, once revealed."""

    id: int
    kind: str
    name: str
    section: str
    phase: Phase
    twice: bool
    changed_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeskState:
    """For the teacher. It may be projected, so it has no guesses before the reveal either."""

    common: Common
    screen: Screen
    screen_on: bool
    ends_on: str
    order: tuple[Line, ...]
    people: tuple[Person, ...]
    following: int
    sections: tuple[tuple[str, int, int], ...]
    """Of each section its slug, how many are done with it, and how many are there now."""
    called: str | None
    saved_at: datetime


@dataclass(frozen=True, slots=True)
class Peek:
    """What a teacher may see for five seconds between two votes."""

    near: int
    of: int
    crowded: tuple[str, ...]
    advice: Literal["explain", "talk", "reveal"]
