"""The words for where a question stands: the same for students, on the screen and on the desk."""

from __future__ import annotations

from app.classroom.flow import Phase
from lessons.kit.language import gettext as _


def phase_words(phase: Phase, twice: bool) -> str:
    """Where a question stands; `twice`: it has two votes."""
    return {
        Phase.WAITING: _("not open yet"),
        Phase.VOTING_1: _("first vote · open") if twice else _("vote · open"),
        Phase.CLOSED_1: _("first vote · closed") if twice else _("vote · closed"),
        Phase.DISCUSS: _("discussion"),
        Phase.VOTING_2: _("second vote · open"),
        Phase.CLOSED_2: _("second vote · closed"),
        Phase.REVEALED: _("revealed"),
        Phase.WITHDRAWN: _("withdrawn"),
    }[phase]
