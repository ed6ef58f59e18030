"""The teacher's desk as its templates are given it: where the class stands, and what is on the screen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from html import escape
from typing import NamedTuple

from markupsafe import Markup

from app.classroom.codes import spaced
from app.classroom.flow import LAST_BEAT, Phase
from app.classroom.states import DeskState, Line, Person, Shown
from app.views.classroom.phases import phase_words
from app.views.classroom.reveal import RevealContext, revealed
from app.views.question import ask
from lessons.catalogue import Lesson, load_lesson
from lessons.kit.language import gettext as _
from lessons.kit.language import ngettext
from lessons.kit.question import ANSWER

VOTED = (Phase.VOTING_1, Phase.CLOSED_1, Phase.DISCUSS, Phase.VOTING_2, Phase.CLOSED_2)
"""Phases in which the votes are counted and covered."""

PEEKED = (Phase.CLOSED_1, Phase.DISCUSS, Phase.CLOSED_2)
"""Phases in which a teacher may look under the cover."""


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of a question: "done", "now" or "later", with a small word under it."""

    label: str
    when: str
    note: str = ""


class OnScreen(NamedTuple):
    """The screen in small: a large word, a small one under it, and a sentence.

    `talks`: in place of the large word a clock goes, as on the screen.
    """

    word: str
    under: str
    said: str
    talks: bool = False


@dataclass(frozen=True, slots=True)
class Desk:
    """A `DeskState` with the words for it."""

    state: DeskState

    @property
    def lesson(self) -> Lesson:
        return load_lesson(self.state.common.lesson)

    @property
    def shown(self) -> Shown | None:
        return self.state.common.shown

    @property
    def ended(self) -> bool:
        return self.state.common.status == "ended"

    @property
    def code(self) -> str:
        """The code in two groups, as it is read aloud."""
        return spaced(self.state.common.code)

    @property
    def question(self) -> str:
        """The sentence of the question that is shown, "" for anything else."""
        shown = self.shown
        return ask(self.lesson, shown.name).sentence if shown and shown.kind == "question" else ""

    @property
    def line(self) -> Line | None:
        """The line of the running order that is shown."""
        return next((line for line in self.state.order if self.shown and line.id == self.shown.id), None)

    @property
    def next_line(self) -> Line | None:
        """What comes after that which is shown and is not asked yet; from the top where nothing is shown."""
        lines = list(self.state.order)
        if self.line is not None:
            lines = lines[lines.index(self.line) + 1 :]
        return next((line for line in lines if line.phase is Phase.WAITING), None)

    def number(self, line: Line) -> int:
        """Which of the questions of the running order a line is."""
        questions = [
            other
            for other in self.state.order
            if other.kind == "question" and (other.phase is not Phase.WITHDRAWN or other is line)
        ]
        return questions.index(line) + 1

    def title(self, line: Line | Shown) -> str:
        """What a line is called."""
        return item_title(self.lesson, line.kind, line.name)

    def note(self, line: Line) -> str:
        """Where a line of the running order stands, "" before it was asked."""
        if line.kind == "task":
            return _("at their own pace")
        if line.kind == "figure" or line.phase is Phase.WAITING:
            return ""
        words = phase_words(line.phase, line.twice)
        if line.phase is not Phase.REVEALED:
            return words
        return _("two votes, %(phase)s", phase=words) if line.twice else _("one vote, %(phase)s", phase=words)

    def order(self) -> list[tuple[str, list[Line]]]:
        """The running order under the names of its sections."""
        groups: list[tuple[str, list[Line]]] = []
        for line in self.state.order:
            name = self.section(line.section)
            if not groups or groups[-1][0] != name:
                groups.append((name, []))
            groups[-1][1].append(line)
        return groups

    def section(self, slug: str) -> str:
        """A section by its number and short name."""
        for section in self.lesson.sections:
            if section.slug == slug:
                return f"{section.number} {section.short}".strip()
        return slug

    @property
    def is_busy(self) -> bool:
        """Whether a question is under way, which must be revealed or withdrawn before another is asked."""
        return bool(self.shown and self.shown.kind == "question" and self.shown.phase in VOTED)

    @property
    def reveal(self) -> RevealContext | None:
        """The answer with the guesses, once they are revealed."""
        shown, guesses = self.shown, self.state.common.guesses
        if not shown or shown.phase is not Phase.REVEALED or guesses is None:
            return None
        return revealed(self.lesson, shown.name, guesses, frame="desk", beat=shown.step)

    @property
    def last_step(self) -> int:
        """The last beat of a reveal, or the last state of a figure."""
        shown = self.shown
        if shown and shown.kind == "question":
            return self.reveal.last_beat if self.reveal else 0
        return len(shown.states) - 1 if shown else 0

    @property
    def can_peek(self) -> bool:
        return bool(self.is_busy and self.shown and self.shown.phase in PEEKED and self.state.common.voted)

    @property
    def steps(self) -> list[Step]:
        """The way of the question that is shown."""
        shown = self.shown
        if not shown or shown.kind != "question" or shown.phase is Phase.WITHDRAWN:
            return []
        if shown.twice:
            labels = [_("Asked"), _("First vote"), _("Discuss"), _("Second vote"), _("Closed"), _("Revealed")]
            places = {Phase.DISCUSS: 2, Phase.VOTING_2: 3, Phase.CLOSED_2: 4, Phase.REVEALED: 5}
        else:
            labels, places = [_("Asked"), _("Vote"), _("Revealed")], {Phase.REVEALED: 2}
        now = 0 if shown.phase is Phase.WAITING else places.get(shown.phase, 1)
        note = {Phase.CLOSED_1: _("closed")}.get(shown.phase, _("open") if shown.phase.vote else "")
        return [
            Step(label, "done" if i < now else "now" if i == now else "later", note if i == now else "")
            for i, label in enumerate(labels)
        ]

    @property
    def said(self) -> str:
        """Where the class stands, in one sentence: what the live region says when it changes."""
        shown, voted = self.shown, self.state.common.voted
        if self.ended:
            return _("The class has ended.")
        if shown is None:
            return _("The screen shows the code.")
        if shown.kind != "question":
            return _("On the screen: %(title)s.", title=self.title(shown))
        votes = ngettext("%(count)s vote", "%(count)s votes", voted) % {"count": voted}
        return {
            Phase.WAITING: _("Question %(number)s is on the screen.", number=shown.number),
            Phase.VOTING_1: _("Question %(number)s, first vote is open.", number=shown.number),
            Phase.CLOSED_1: _("First vote closed, %(votes)s.", votes=votes),
            Phase.DISCUSS: _("They discuss."),
            Phase.VOTING_2: _("Question %(number)s, second vote is open.", number=shown.number),
            Phase.CLOSED_2: _("Second vote closed, %(votes)s.", votes=votes),
            Phase.REVEALED: _("Revealed."),
            Phase.WITHDRAWN: _("Question %(number)s is withdrawn.", number=shown.number),
        }[shown.phase]

    @property
    def on_screen(self) -> OnScreen:
        """What the room sees."""
        shown, common = self.shown, self.state.common
        if self.state.screen == "blank":
            return OnScreen("", "", _("nothing: it is blank"))
        if self.ended:
            return OnScreen("", _("ended"), _("the class has ended"))
        if self.state.screen == "code" or shown is None or shown.phase is Phase.WITHDRAWN:
            return OnScreen(self.code, _("join code"), _("the join code"))
        if shown.kind != "question":
            kind = _("task") if shown.kind == "task" else _("figure")
            return OnScreen(self.title(shown).partition(" ")[0], kind, self.title(shown))
        question = _("question %(number)s", number=shown.number)
        if shown.phase is Phase.WAITING:
            return OnScreen("", question, _("%(question)s, not open yet", question=question))
        if self.reveal:
            votes = (_("first votes"), _("both votes"), _("who moved"))
            said = (
                _("the answer, the first votes"),
                _("the answer, both votes"),
                _("both votes, who moved"),
            )
            beat = min(max(shown.step, 1), LAST_BEAT) - 1
            return OnScreen(self.reveal.truth, votes[beat], said[beat])
        if shown.phase is Phase.DISCUSS:
            said_so = _("%(question)s, “Find somebody who said something else”, a clock", question=question)
            return OnScreen("", _("of talk"), said_so, talks=True)
        counted = _("%(voted)s of %(here)s", voted=common.voted, here=common.here)
        if shown.phase.vote:
            said_so = _("%(question)s, the count, the join code", question=question)
            return OnScreen(counted, _("question, count, code"), said_so)
        return OnScreen(counted, _("closed"), _("%(question)s, the count, “closed”", question=question))

    @property
    def people(self) -> list[Person]:
        """The students; who has voted matters while a question is under way."""
        people = self.state.people
        if self.is_busy:
            return list(people)
        return [replace(person, state="here") if person.state == "voted" else person for person in people]

    @property
    def states(self) -> dict[str, str]:
        """The words for what students do."""
        return {
            "voted": _("voted"),
            "here": _("not yet") if self.is_busy else _("here"),
            "away": _("line lost"),
        }

    def names(self, people: Iterable[Person]) -> Markup:
        """The lines of a list of students: a loop in a template takes five times as long."""
        words = {state: escape(word) for state, word in self.states.items()}
        return Markup(
            "".join(
                f'<li class="person-{person.state}"><svg class="who-{person.state}" width="12" height="12"'
                ' viewBox="0 0 12 12" aria-hidden="true"><circle cx="6" cy="6" r="4.3"/></svg>'
                f"<bdi>{escape(person.name, quote=False)}</bdi>"
                f' <span class="visually-hidden">{words[person.state]}</span></li>'
                for person in people
            )
        )

    @property
    def counts(self) -> dict[str, int]:
        """How many students voted, are here without a vote, and have no line."""
        states = [person.state for person in self.people]
        return {state: states.count(state) for state in ("voted", "here", "away")}

    @property
    def call_to(self) -> str:
        """The section to which all can be called: that of what is shown, or of what comes next."""
        line = self.line or self.next_line
        return line.section if line and line.section != self.state.called else ""

    @property
    def seconds(self) -> int:
        """Since the phase began, by the server's clock."""
        return _seconds_since(self.shown.changed_at, self.state.saved_at) if self.shown else 0

    @property
    def closes_in(self) -> int | None:
        """Seconds until the vote closes by itself."""
        closes_at = self.shown.closes_at if self.shown else None
        return max(0, -_seconds_since(closes_at, self.state.saved_at)) if closes_at else None


def _seconds_since(then: datetime | None, now: datetime) -> int:
    return int((now - then).total_seconds()) if then else 0


def item_title(lesson: Lesson, kind: str, name: str) -> str:
    """What a question, figure or task of a lesson is called in a running order."""
    if kind == "task":
        return _("Task: %(title)s", title=lesson.task_texts[name].title)
    if kind == "question":
        return lesson.question_texts[name].control(ANSWER)
    return f"{lesson.figures[name].label} {lesson.texts[name].title}"
