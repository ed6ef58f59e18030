"""Whatever two tabs of a teacher do, nothing goes back past a reveal, and nothing is seen before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from app.classroom import operations, reading, refusals
from app.classroom.flow import NEXT, Action, Phase, after
from app.classroom.models import Base, Classroom, Item, Student
from app.classroom.states import OwnVote, StudentState

START = datetime(2026, 11, 30, 10, 0, tzinfo=UTC)
GUESSES = (("3", "4"), ("17", "18"))
"""Of each of two students the guesses of both votes; no other text in a state is one of these."""


MAIN = {
    Phase.VOTING_1: "close",
    Phase.CLOSED_1: "discuss",
    Phase.DISCUSS: "ask-again",
    Phase.VOTING_2: "close",
    Phase.CLOSED_2: "reveal",
}
"""The way to the reveal."""


@dataclass
class Play:
    """One class, what two tabs know of it, and the time."""

    session: Session
    classroom: Classroom
    students: list[Student]
    tabs: list[int]
    now: datetime = START

    def press(self, tab: int, deed: str, item: Item) -> None:
        session, classroom, version, now = self.session, self.classroom, self.tabs[tab], self.now
        if deed == "main":
            shown = reading.screen_state(session, classroom, now=now).common.shown
            asked = shown is not None and shown.kind == "question"
            deed = MAIN.get(shown.phase, "show") if shown and asked else "ask"
        if deed in list(Action):
            chosen = item.id if deed == Action.ASK else None
            operations.act(session, classroom, Action(deed), version, chosen, now=now)
        elif deed in ("1", "-1"):
            operations.step(session, classroom, version, int(deed), now=now)
        elif deed == "show":
            operations.show(session, classroom, version, item.id, now=now)
        elif deed == "lobby":
            operations.show(session, classroom, version, None, now=now)
        else:
            {"soon": operations.close_soon, "stay": operations.stay_open}[deed](
                session, classroom, version, now=now
            )

    def vote(self, who: int, item: Item, round: int) -> None:
        confidence = 3 if round == 2 else None
        value = GUESSES[who][round - 1]
        operations.vote(self.session, self.students[who], item.id, round, value, confidence, now=self.now)


@contextmanager
def played() -> Iterator[Play]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        classroom = operations.create(
            session, "Monday", date(2026, 12, 18), lesson="quantization", now=START
        ).classroom
        # Three questions on the same scale, so that a guess is one for each.
        for item in operations.running_order(session, classroom):
            item.kind, item.name = ("question", "rtn") if item.kind == "question" else ("figure", "rtn")
        students = [operations.join(session, classroom, name, now=START).student for name in ("Anna", "Bo")]
        yield Play(session, classroom, students, [classroom.version] * 2)
    engine.dispose()


def leaves(state: Any) -> Iterator[Any]:
    """Everything that a state holds, down to its texts and numbers."""
    if is_dataclass(state):
        yield state
        for field in fields(state):
            yield from leaves(getattr(state, field.name))
    elif isinstance(state, tuple | list):
        for each in state:
            yield from leaves(each)
    else:
        yield state


def check_nothing_is_seen(play: Play) -> None:
    """Before the reveal no view holds a guess, but of a student's own; nor a verdict or a confidence."""
    screen = reading.screen_state(play.session, play.classroom, now=play.now)
    shown = screen.common.shown
    if shown and shown.phase is Phase.REVEALED:
        assert screen.common.guesses is not None
        return
    desk = reading.desk_state(play.session, play.classroom, now=play.now)
    for state in (screen, desk):
        held = list(leaves(state))
        assert not set(GUESSES[0] + GUESSES[1]) & {leaf for leaf in held if isinstance(leaf, str)}
        assert not [leaf for leaf in held if isinstance(leaf, OwnVote)]
    for student, others in zip(play.students, (GUESSES[1], GUESSES[0]), strict=True):
        own: StudentState = reading.student_state(play.session, student, now=play.now)
        held = list(leaves(own))
        assert own.common.guesses is None
        assert not set(others) & {leaf for leaf in held if isinstance(leaf, str)}
        assert all(vote.outcome == "" for vote in held if isinstance(vote, OwnVote))


DEEDS = st.sampled_from([*map(str, Action), "1", "-1", "show", "lobby", "soon", "stay", "main"])
PRESSES = st.tuples(st.just("press"), st.integers(0, 1), DEEDS, st.integers(0, 5))
LOOKS = st.tuples(st.just("look"), st.integers(0, 1))
VOTES = st.tuples(st.just("vote"), st.integers(0, 1), st.integers(1, 2), st.integers(0, 5))
WAITS = st.tuples(st.just("wait"), st.sampled_from([1, 11]))
MAIN_PRESSES = st.integers(0, 8)
STEPS = st.lists(st.one_of(PRESSES, LOOKS, LOOKS, VOTES, WAITS), max_size=40)


@settings(max_examples=40)
@given(MAIN_PRESSES, STEPS)
def test_nothing_goes_back_past_a_reveal_or_is_seen_before_it(
    mains: int, steps: list[tuple[Any, ...]]
) -> None:
    with played() as play:
        revealed: set[int] = set()
        for _ in range(mains):  # along the way, so that all phases are reached
            play.press(0, "main", operations.running_order(play.session, play.classroom)[0])
            play.tabs[:] = [play.classroom.version] * 2
            check_nothing_is_seen(play)
        for kind, who, *rest in steps:
            order = operations.running_order(play.session, play.classroom)
            version = play.classroom.version
            try:
                if kind == "press":
                    play.press(who, rest[0], order[rest[1] % len(order)])
                    assert play.tabs[who] in (version, version + 1)  # an old page does nothing
                elif kind == "vote":
                    play.vote(who, order[rest[1] % len(order)], rest[0])
                elif kind == "look":
                    common = reading.screen_state(play.session, play.classroom, now=play.now).common
                    play.tabs[who] = common.version
                else:
                    play.now += timedelta(seconds=who)
            except refusals.Refusal as refusal:
                assert refusal.sentence
            order = operations.running_order(play.session, play.classroom)
            now_revealed = {item.id for item in order if item.phase == Phase.REVEALED}
            assert revealed <= now_revealed
            revealed = now_revealed
            open_votes = [item for item in order if Phase(item.phase).vote]
            assert {item.id for item in open_votes} <= {play.classroom.item_id}
            assert play.classroom.version >= version
            check_nothing_is_seen(play)


def test_main_presses_lead_to_the_reveal() -> None:
    with played() as play:
        first = operations.running_order(play.session, play.classroom)[0]
        for _ in range(6):
            play.press(0, "main", first)
            play.tabs[0] = play.classroom.version
        assert first.phase == Phase.REVEALED


def test_no_action_leaves_a_reveal() -> None:
    assert not [action for phase, action in NEXT if phase is Phase.REVEALED]
    assert all(after(Phase.REVEALED, action) is None for action in Action)
