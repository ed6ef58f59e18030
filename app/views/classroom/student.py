"""A class as one of its students sees it, ready for the templates."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import cast
from urllib.parse import urlencode

from markupsafe import escape

from app.addresses import address, place_of, prefix
from app.classroom.bounded import Bounded
from app.classroom.flow import Phase
from app.classroom.operations import Receipt
from app.classroom.states import Common, OwnVote, Shown, StudentState
from app.views.classroom.phases import phase_words
from app.views.classroom.reveal import RevealContext, revealed
from app.views.environment import render
from app.views.question import QuestionContext, reveal
from lessons.catalogue import Lesson, load_lesson
from lessons.kit.controls import ControlError, Slider, as_parameter
from lessons.kit.language import current_language
from lessons.kit.language import gettext as _
from lessons.kit.question import ANSWER, Guess, GuessScale, Question, guess_scale, printed
from lessons.kit.text import FigureText

NAME = "\ue000"
"""In place of the name; no name has a letter of the private use area."""

_bars: Bounded[Hashable, bytes] = Bounded(512)

NOT_ASKED = (Phase.WAITING, Phase.WITHDRAWN)


@dataclass(frozen=True, slots=True)
class VoteContext(QuestionContext):
    """A question of a class before its reveal, as its card needs it; nothing of its answer is computed.

    `controls` hold the student's present guess, or where the control begins. `round` is the vote that is
    open, or the last that was.
    """

    round: int
    first: OwnVote | None
    second: OwnVote | None

    @property
    def id(self) -> str:
        return f"vote-{self.name}"

    @property
    def own(self) -> OwnVote | None:
        """The vote of this round, if it counts."""
        vote = self.second if self.round == 2 else self.first
        return None if vote is None or vote.late else vote

    @property
    def late(self) -> OwnVote | None:
        """The vote of this round, where it came after closing."""
        vote = self.second if self.round == 2 else self.first
        return vote if vote is not None and vote.late else None

    @property
    def scale(self) -> GuessScale | None:
        """The slider's scale, with the first guess on it."""
        first = guess_of(self.question, self.first) if self.round == 2 else None
        return guess_scale(self.question.widget, cast("float | None", first))

    def said(self, vote: OwnVote | str | None) -> str:
        """A vote, or its value, as its student knows it."""
        return said(self.question, self.text, vote)


@dataclass(frozen=True, slots=True)
class StudentContext:
    """What a student's bar, card and menu show.

    `refused` is a guess that came too late to replace the one that counts.
    """

    state: StudentState
    lesson: Lesson
    refused: Receipt | None = None

    @property
    def common(self) -> Common:
        return self.state.common

    @property
    def shown(self) -> Shown | None:
        return self.common.shown

    @property
    def ended(self) -> bool:
        return self.common.status == "ended"

    @property
    def phase(self) -> str:
        """The phase of the question that is asked; "" where none is."""
        shown = self.shown
        asked = not self.ended and shown is not None and shown.kind == "question"
        return shown.phase if asked and shown is not None and shown.phase not in NOT_ASKED else ""

    @property
    def phase_words(self) -> str:
        assert self.shown is not None
        return phase_words(self.shown.phase, self.shown.twice)

    @property
    def card(self) -> str:
        """Which card is shown, so that a page knows another one; "" for none."""
        return f"{self.shown.id} {self.phase}" if self.phase and self.shown else ""

    @property
    def open(self) -> int:
        """The vote that is open, 1 or 2; 0 for none."""
        return Phase(self.phase).vote if self.phase else 0

    @property
    def asking(self) -> str:
        """The question that the class has before it and not yet revealed; "" for none."""
        return self.shown.name if self.shown and self.phase not in ("", Phase.REVEALED) else ""

    @property
    def vote(self) -> VoteContext | None:
        """The card of a question before its reveal."""
        if not self.asking:
            return None
        round_ = 2 if self.phase in (Phase.VOTING_2, Phase.CLOSED_2) else 1
        first, second = self.state.first, self.state.second
        question = self.lesson.questions[self.asking]
        guess = guess_of(question, second if round_ == 2 and second else first)
        controls = question.controls() if guess is None else question.controls.model_validate({ANSWER: guess})
        return VoteContext(self.lesson, question, controls, None, round_, first, second)

    @property
    def revealed(self) -> QuestionContext | None:
        """The question after its reveal, with the student's last guess."""
        if self.phase != Phase.REVEALED or self.shown is None:
            return None
        question = self.lesson.questions[self.shown.name]
        guess = guess_of(question, self.state.second)
        return reveal(
            self.lesson, self.shown.name, guess if guess is not None else guess_of(question, self.state.first)
        )

    @property
    def given(self) -> str:
        """After the reveal, the student's last guess as the lesson's own form would send it."""
        q = self.revealed
        guess = q.reveal.guess if q and q.reveal else None
        return urlencode({ANSWER: as_parameter(getattr(q.controls, ANSWER))}) if q and guess else ""

    @property
    def drawings(self) -> tuple[RevealContext, ...]:
        """The guesses of the last vote that the class sees, and of the first where that is another one."""
        guesses, shown = self.common.guesses, self.shown
        if guesses is None or shown is None:
            return ()
        own = tuple(
            vote.value if (vote := counted(each)) else None for each in (self.state.first, self.state.second)
        )
        both = shown.step > 1 and guesses.has_second
        return tuple(
            revealed(
                self.lesson,
                shown.name,
                guesses,
                frame="phone",
                beat=shown.step,
                votes=[number],
                own=(own[0], own[1]),
            )
            for number in ((2, 1) if both else (1,))
        )

    @property
    def went(self) -> str:
        """What became of the student's guesses, in a sentence; "" for who gave none."""
        q = self.revealed
        if q is None:
            return ""
        first, second = (counted(vote) for vote in (self.state.first, self.state.second))
        words = {"first": said(q.question, q.text, first), "second": said(q.question, q.text, second)}
        if first is None or second is None:
            return (
                _("You said %(guess)s.", guess=words["first"] or words["second"]) if first or second else ""
            )
        if first.value == second.value:
            return _("You stayed at %(first)s.", **words)
        return _moved(q, first, second, words)

    @property
    def place(self) -> str:
        """The address of what is on the screen, in the lesson; "" where nothing is."""
        if self.shown is None or self.ended:
            return ""
        if self.shown.kind == "task":
            return address("task", self.lesson.slug, self.shown.name)
        return place_of(self.lesson, self.shown.name)

    @property
    def anchor(self) -> str:
        """The id in the lesson of what is on the screen."""
        if self.shown is None or self.ended or self.shown.kind == "task":
            return ""
        return self.lesson.figures[self.shown.name].id

    @property
    def section(self) -> str:
        """Where it stands, such as "02 Rounding"."""
        if self.shown is None:
            return ""
        name = self.lesson.tasks[self.shown.name].section if self.shown.kind == "task" else ""
        return titled(self.lesson, name or self.lesson.page_of(self.shown.name).slug)

    @property
    def title(self) -> str:
        """What a shown figure or task is called."""
        if self.shown is None:
            return ""
        if self.shown.kind == "task":
            return self.lesson.task_texts[self.shown.name].title
        return f"{self.lesson.figures[self.shown.name].label} {self.lesson.texts[self.shown.name].title}"

    @property
    def called(self) -> tuple[str, str] | None:
        """The section to which all are called: its address and what it is called."""
        slug = self.state.called
        if slug is None or self.ended or slug not in {page.slug for page in self.lesson.pages}:
            return None
        page = next(page for page in self.lesson.pages if page.slug == slug)
        if page in self.lesson.workshop:
            return address("workshop page", self.lesson.slug, slug), page.title
        return address("lesson", self.lesson.slug, anchor=slug), titled(self.lesson, slug)

    @property
    def announced(self) -> str:
        """What a screen reader is told when this comes."""
        if self.ended:
            return _("The class has ended. The lesson stays open.")
        if self.shown and self.shown.kind != "question":
            return _("On the screen: %(title)s.", title=self.title)
        number = str(self.shown.number if self.shown else 0)
        return {
            "voting-1": _("Question %(number)s is open: the first vote.", number=number),
            "closed-1": _("The first vote is closed."),
            "discuss": _("Find somebody who said something else. Who convinces whom?"),
            "voting-2": _("Question %(number)s is open: the second vote.", number=number),
            "closed-2": _("The second vote is closed."),
            "revealed": _("Question %(number)s is revealed.", number=number),
        }.get(self.phase, "")


def student_context(state: StudentState, receipt: Receipt | None = None) -> StudentContext:
    """What a student's pages show; `receipt` is of the vote that was just sent."""
    refused = receipt if receipt and receipt.late and receipt.counts is not None else None
    return StudentContext(state, load_lesson(state.common.lesson), refused)


def bar(state: StudentState, receipt: Receipt | None = None) -> bytes:
    """A student's bar with the card of what is asked.

    After a press a whole class asks for it at once, and most bars differ in the name alone: each is made
    once and the name put in.
    """
    nameless = student_context(replace(state, name=NAME, answers=0), receipt)
    key = (prefix(), current_language().tag, nameless.state, nameless.refused)
    made = _bars.get(key, lambda: render("class/bar.jinja", s=nameless))
    return made.replace(NAME.encode(), escape(state.name).encode())


def counted(vote: OwnVote | None) -> OwnVote | None:
    """A vote that holds a guess and came in time."""
    return vote if vote and vote.value is not None and not vote.late else None


def guess_of(question: Question, vote: OwnVote | None) -> Guess | None:
    """The guess of a vote that counts; None also for one that this version of the lesson does not have."""
    if counted(vote) is None or vote is None or vote.value is None:
        return None
    try:
        return question.read([(ANSWER, vote.value)])[1]
    except ControlError:
        return None


def said(question: Question, text: FigureText, vote: OwnVote | str | None) -> str:
    """A guess as its student knows it: a choice by its label; "" where there was none."""
    value = vote.value if isinstance(vote, OwnVote) else vote
    if value is None:
        return ""
    try:
        guess = question.read([(ANSWER, value)])[1]
    except ControlError:
        return value
    if guess is None:
        return ""
    if isinstance(question.widget, Slider):
        return printed(question.widget, guess)
    return text.option(ANSWER, str(guess), question.widget)


def titled(lesson: Lesson, slug: str) -> str:
    """A section by its number and its short title, or a workshop page by its title."""
    page = next(page for page in lesson.pages if page.slug == slug)
    return f"{page.number} {page.short}" if page.number else page.title


def _moved(q: QuestionContext, first: OwnVote, second: OwnVote, words: dict[str, str]) -> str:
    """How two different guesses lie to the answer, in a sentence."""
    widget, place = q.question.widget, q.reveal.place if q.reveal else None
    one, two = guess_of(q.question, first), guess_of(q.question, second)
    if not isinstance(widget, Slider) or place is None or one is None or two is None:
        return _("You went from %(first)s to %(second)s.", **words)
    truth, before, after = (round((float(each) - widget.low) / widget.step) for each in (place, one, two))
    gained = abs(before - truth) - abs(after - truth)  # in steps of the scale
    if not gained:
        return _("You went from %(first)s to %(second)s, as far from it as before.", **words)
    if widget.show:  # the scale is no plain one: a distance on it says nothing
        nearer = _("You went from %(first)s to %(second)s, nearer.", **words)
        return nearer if gained > 0 else _("You went from %(first)s to %(second)s, further away.", **words)
    by = widget.text(round(abs(gained) * widget.step, 6))
    if gained > 0:
        return _("You went from %(first)s to %(second)s, nearer by %(by)s.", **words, by=by)
    return _("You went from %(first)s to %(second)s, further by %(by)s.", **words, by=by)
