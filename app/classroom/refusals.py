"""Why something cannot be done in a class: an exception for each reason, with a sentence for its reader."""

from __future__ import annotations

from datetime import date
from typing import Literal

from app.classroom.flow import Action, Phase
from lessons.kit.language import current_language, isolated_text
from lessons.kit.language import gettext as _

Kind = Literal["unknown", "forbidden", "gone", "conflict", "invalid", "busy"]
"""404, 403, 410, 409, 422 and 429 in HTTP."""


class Refusal(Exception):
    """Something that a class refuses. `sentence` is made when it is read, in the reader's language."""

    kind: Kind

    @property
    def sentence(self) -> str:
        raise NotImplementedError

    def __str__(self) -> str:
        return self.sentence


class UnknownClassError(Refusal):
    """A code that no class has."""

    kind = "unknown"

    @property
    def sentence(self) -> str:
        return _(
            "No class has this code. Compare it with the screen: codes have no vowels, no L, S or Y, "
            "and no 0, 1, 5 or 8."
        )


class UnknownItemError(Refusal):
    """A line that is not in the running order of this class."""

    kind = "unknown"

    @property
    def sentence(self) -> str:
        return _("This line is no longer in the running order.")


class UnknownStudentError(Refusal):
    """A student who is not in this class."""

    kind = "unknown"

    @property
    def sentence(self) -> str:
        return _("This student is no longer in the class.")


class NotTeacherError(Refusal):
    """A secret that is not the one of this class's teacher."""

    kind = "forbidden"

    @property
    def sentence(self) -> str:
        return _("This link does not steer a class.")


class NotStudentError(Refusal):
    """A secret that no student of this class has."""

    kind = "forbidden"

    @property
    def sentence(self) -> str:
        return _("This device is not in the class. Join with its code.")


class EndedError(Refusal):
    """A class that has ended."""

    kind = "gone"

    def __init__(self, day: date) -> None:
        self.day = day

    @property
    def sentence(self) -> str:
        return _("This class ended on %(day)s.", day=current_language().date(self.day))


class NotAdmittedError(Refusal):
    """A class that lets nobody new in."""

    kind = "forbidden"

    @property
    def sentence(self) -> str:
        return _("This class lets nobody new in just now. Ask your teacher.")


class FullError(Refusal):
    """A class that has as many students as it can hold."""

    kind = "forbidden"

    def __init__(self, most: int) -> None:
        self.most = most

    @property
    def sentence(self) -> str:
        return _("This class is full: it has %(most)s students. Ask your teacher.", most=self.most)


class StaleError(Refusal):
    """A press on a page that is older than the class. `phase` is that of the question on the screen now."""

    kind = "conflict"

    def __init__(self, phase: Phase | None = None) -> None:
        self.phase = phase

    @property
    def sentence(self) -> str:
        return {
            Phase.VOTING_1: _("Already asked in your other tab. Nothing was done twice."),
            Phase.CLOSED_1: _("Already closed in your other tab. Nothing was done twice."),
            Phase.DISCUSS: _("Already in discussion in your other tab. Nothing was done twice."),
            Phase.VOTING_2: _("Already asked again in your other tab. Nothing was done twice."),
            Phase.CLOSED_2: _("Already closed in your other tab. Nothing was done twice."),
            Phase.REVEALED: _("Already revealed in your other tab. Nothing was done twice."),
            Phase.WITHDRAWN: _("Already withdrawn in your other tab. Nothing was done twice."),
        }.get(self.phase or Phase.WAITING, _("The class has moved on in your other tab. Nothing was done."))


class NotNowError(Refusal):
    """An action that the present phase does not allow."""

    kind = "conflict"

    def __init__(self, action: Action | None = None, phase: Phase | None = None) -> None:
        self.action, self.phase = action, phase

    @property
    def sentence(self) -> str:
        return _("This cannot be done now. Nothing was changed.")


class NotOpenError(Refusal):
    """A guess for a vote that has not been opened."""

    kind = "conflict"

    @property
    def sentence(self) -> str:
        return _("This vote is not open yet.")


class HasVotesError(Refusal):
    """A question that cannot leave the running order, because students have answered it."""

    kind = "conflict"

    @property
    def sentence(self) -> str:
        return _("This question has been asked, so it stays in the running order. Withdraw it instead.")


class NameTakenError(Refusal):
    """A name that somebody in the class has, or one that looks like it."""

    kind = "conflict"

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def sentence(self) -> str:
        name = isolated_text(self.name)
        return _("Somebody here is called “%(name)s”, or almost so. Choose another name.", name=name)


class NameRefusedError(Refusal):
    """A name that is too short or too long, or holds what no name may."""

    kind = "invalid"

    def __init__(self, why: Literal["length", "characters", "words"]) -> None:
        self.why = why

    @property
    def sentence(self) -> str:
        return {
            "length": _("Name: from 2 to 24 characters."),
            "characters": _("Name: letters, digits and punctuation in one line, nothing invisible."),
            "words": _("Name: choose another one, please."),
        }[self.why]


class FieldError(Refusal):
    """A field whose value is not allowed: its name as its form has it, and what would be allowed."""

    kind = "invalid"

    def __init__(self, field: str, allowed: str) -> None:
        self.field, self.allowed = field, allowed

    @property
    def sentence(self) -> str:
        return _("%(field)s: allowed is %(allowed)s.", field=self.field, allowed=self.allowed)


class TooManyError(Refusal):
    """More than the rate allows. `seconds` until the next one is."""

    kind = "busy"

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    @property
    def sentence(self) -> str:
        return _("Many are coming in. You are next in about %(seconds)s seconds.", seconds=self.seconds)
