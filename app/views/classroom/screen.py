"""A class on the projector: one thing at a time, and nothing that the room may not know yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from app.addresses import address
from app.classroom.codes import spaced
from app.classroom.dots import FRAMES, Tick, ticks_of
from app.classroom.flow import Phase
from app.classroom.states import Common, ScreenState, Shown
from app.views.classroom.phases import phase_words
from app.views.classroom.reveal import RevealContext, question_scale, revealed
from app.views.environment import render
from app.views.figure import FigureContext, figure_context
from app.views.qr import QrPath, svg_path
from app.views.question import QuestionContext, ask
from lessons.catalogue import Lesson, load_lesson
from lessons.kit.arrangement import FigureQuery, read_figure_query
from lessons.kit.controls import ControlError
from lessons.kit.figure import Figure
from lessons.kit.language import gettext as _
from lessons.kit.question import ANSWER
from lessons.kit.text import FigureText

COVER = FRAMES["cover"]
"""The scale of a question while it is asked."""

LONG, LONGER = 105, 165
"""Characters from which a question is set smaller, so that it takes at most four lines."""

LONG_FINDING = 50
"""The same of an answer, which takes at most two."""


@dataclass(frozen=True, slots=True)
class Screen:
    """A `ScreenState` with the words for it.

    Parameters
    ----------
    origin
        The scheme and host of this site, as phones reach it.
    """

    state: ScreenState
    origin: str
    now: datetime

    @property
    def common(self) -> Common:
        return self.state.common

    @property
    def shown(self) -> Shown | None:
        return self.common.shown

    @property
    def lesson(self) -> Lesson:
        return load_lesson(self.common.lesson)

    @property
    def face(self) -> str:
        """What is shown: the part of the template."""
        if self.state.screen == "blank":
            return "blank"
        if self.common.status == "ended":
            return "ended"
        if self.state.screen == "code" or self.shown is None or self.shown.phase is Phase.WITHDRAWN:
            return "code"
        if self.shown.kind != "question":
            return self.shown.kind
        if self.shown.phase is Phase.REVEALED:
            return "revealed"
        return "discuss" if self.shown.phase is Phase.DISCUSS else "question"

    # --- the way in ---

    @property
    def code(self) -> str:
        return spaced(self.common.code)

    @property
    def join(self) -> str:
        """The address that people type, without what a browser adds by itself."""
        return (self.origin + address("join")).partition("://")[2]

    @property
    def qr(self) -> QrPath:
        return svg_path(self.origin + address("join class", self.common.code))

    # --- what is shown ---

    @property
    def figure(self) -> Figure[Any]:
        assert self.shown is not None
        return self.lesson.figures[self.shown.name]

    @property
    def asked(self) -> QuestionContext:
        """The question; nothing of its answer."""
        assert self.shown is not None
        return ask(self.lesson, self.shown.name)

    @property
    def question_size(self) -> str:
        length = len(self.asked.sentence)
        return "longer" if length > LONGER else "long" if length > LONG else "short"

    @property
    def scale_label(self) -> str:
        """What is guessed."""
        return self.asked.text.control(ANSWER)

    @property
    def ticks(self) -> tuple[Tick, ...]:
        """The axis of the question's scale."""
        return ticks_of(question_scale(self.asked), COVER)

    @property
    def scale_description(self) -> str:
        columns = question_scale(self.asked).columns
        if self.asked.scale is None:
            return _("Options: %(options)s.", options=", ".join(column.text for column in columns))
        return _("A scale from %(low)s to %(high)s.", low=columns[0].text, high=columns[-1].text)

    @property
    def which(self) -> str:
        """Which question it is, and where it stands."""
        assert self.shown is not None
        said = [phase_words(self.shown.phase, self.shown.twice)]
        if self.shown.number:
            number = _("question %(number)s of %(total)s", number=self.shown.number, total=self.shown.total)
            said.insert(0, number)
        return " · ".join(said)

    @property
    def advice(self) -> str:
        """What to do now, in the foot of a question."""
        assert self.shown is not None
        return {
            Phase.WAITING: _("It opens in a moment."),
            Phase.VOTING_1: _("Guess alone. Talking comes after.")
            if self.shown.twice
            else _("Guess on your own device."),
            Phase.CLOSED_1: _("The vote is closed. Guesses stay covered."),
            Phase.VOTING_2: _("Vote again: stay, or change your mind."),
            Phase.CLOSED_2: _("Both votes are closed. The answer comes next."),
        }.get(self.shown.phase, "")

    @property
    def share_voted(self) -> float:
        """How much of the bar is full, in per cent."""
        voted, here = self.common.voted, self.common.here
        return round(100 * min(voted, here) / here, 1) if here else 0.0

    @property
    def seconds(self) -> int:
        """Since the phase began."""
        assert self.shown is not None
        since = self.shown.changed_at
        return max(0, int((self.now - since).total_seconds())) if since else 0

    @property
    def closes_in(self) -> int | None:
        """Seconds until the vote closes by itself."""
        assert self.shown is not None
        ends = self.shown.closes_at
        return None if ends is None else max(0, round((ends - self.now).total_seconds()))

    # --- the reveal ---

    @property
    def reveal(self) -> RevealContext | None:
        """The answer and the guesses; None unless the state has them."""
        if self.shown is None or self.shown.phase is not Phase.REVEALED or self.common.guesses is None:
            return None
        return revealed(self.lesson, self.shown.name, self.common.guesses, beat=self.shown.step)

    def finding_size(self, r: RevealContext) -> str:
        """How large the answer is set."""
        assert r.asked.reveal is not None
        sentence = r.asked.text.sentence(r.asked.reveal.sentences[0])
        return "long" if len(sentence) > LONG_FINDING else "short"

    # --- a figure, a task ---

    @property
    def prepared(self) -> FigureContext:
        """The figure in the prepared state of this step; as it begins where there is none."""
        assert self.shown is not None
        question = self.lesson.questions.get(self.shown.name)
        query = FigureQuery(self.figure.controls())
        if self.shown.step < len(self.shown.states):
            pairs = parse_qsl(self.shown.states[self.shown.step], keep_blank_values=True)
            try:
                query = read_figure_query(self.figure.controls, pairs, question)
            except ControlError as error:  # stored before the figure's controls were changed
                query = FigureQuery(error.nearest)
        return figure_context(self.lesson, self.shown.name, query, brief=True)

    @property
    def task(self) -> FigureText:
        assert self.shown is not None
        return self.lesson.task_texts[self.shown.name]

    @property
    def task_place(self) -> str:
        """Where the task is: the title of its section or page."""
        assert self.shown is not None
        page = self.lesson.page_named(self.lesson.tasks[self.shown.name].section)
        return f"{page.number} {page.title}".strip()


def screen_page(state: ScreenState, origin: str, *, whole: bool) -> bytes:
    """The screen as a page, or the part of it that changes."""
    screen = Screen(state, origin, datetime.now(UTC))
    template = "class/screen.jinja" if whole else "class/screen_state.jinja"
    return render(template, s=screen, lesson=screen.lesson)
