"""The flow of a class: the phases of an asked question, and what a teacher may do in each."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType

LAST_BEAT = 3
"""Beats of a reveal: the first vote with the answer, both votes, who moved."""


class Phase(StrEnum):
    """Where a question of a class stands. None goes back past `REVEALED`."""

    WAITING = "waiting"
    VOTING_1 = "voting-1"
    CLOSED_1 = "closed-1"
    DISCUSS = "discuss"
    VOTING_2 = "voting-2"
    CLOSED_2 = "closed-2"
    REVEALED = "revealed"
    WITHDRAWN = "withdrawn"

    @property
    def vote(self) -> int:
        """Which vote is open: 1, 2, or 0 for none."""
        return {Phase.VOTING_1: 1, Phase.VOTING_2: 2}.get(self, 0)


class Action(StrEnum):
    """What a teacher does with the question that is on the screen."""

    ASK = "ask"
    CLOSE = "close"
    REOPEN = "reopen"
    DISCUSS = "discuss"
    ASK_AGAIN = "ask-again"
    REVEAL = "reveal"
    SKIP = "skip"
    WITHDRAW = "withdraw"


NEXT = MappingProxyType(
    {
        (Phase.WAITING, Action.ASK): Phase.VOTING_1,
        (Phase.WITHDRAWN, Action.ASK): Phase.VOTING_1,
        (Phase.VOTING_1, Action.CLOSE): Phase.CLOSED_1,
        (Phase.CLOSED_1, Action.REOPEN): Phase.VOTING_1,
        (Phase.CLOSED_1, Action.DISCUSS): Phase.DISCUSS,
        (Phase.DISCUSS, Action.ASK_AGAIN): Phase.VOTING_2,
        (Phase.VOTING_2, Action.CLOSE): Phase.CLOSED_2,
        (Phase.CLOSED_2, Action.REOPEN): Phase.VOTING_2,
        (Phase.CLOSED_2, Action.REVEAL): Phase.REVEALED,
        (Phase.VOTING_1, Action.SKIP): Phase.REVEALED,
        (Phase.CLOSED_1, Action.SKIP): Phase.REVEALED,
        (Phase.DISCUSS, Action.SKIP): Phase.REVEALED,
        (Phase.VOTING_1, Action.WITHDRAW): Phase.WITHDRAWN,
        (Phase.CLOSED_1, Action.WITHDRAW): Phase.WITHDRAWN,
        (Phase.DISCUSS, Action.WITHDRAW): Phase.WITHDRAWN,
        (Phase.VOTING_2, Action.WITHDRAW): Phase.WITHDRAWN,
        (Phase.CLOSED_2, Action.WITHDRAW): Phase.WITHDRAWN,
    }
)
"""The phase after an action; what is not here cannot be done."""


def after(phase: Phase, action: Action) -> Phase | None:
    """The phase that an action leads to; None where it cannot be done in this one."""
    return NEXT.get((phase, action))
