"""A question after its reveal, with the guesses of a class: what screen, desk and phones draw.

Make it only of `Guesses` that `ScreenState` and the others hold: before the reveal there are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial

from app.classroom.bounded import Bounded
from app.classroom.dots import (
    DOTS_FROM,
    FRAMES,
    Drawing,
    Frame,
    Row,
    TableRow,
    Tick,
    drawing,
    table,
    text_width,
)
from app.classroom.flow import LAST_BEAT
from app.classroom.judging import SHOWN_FROM
from app.classroom.moves import Band, FlowDrawing, Moves, flow_drawing, moves
from app.classroom.scale import Answer, VoteScale, answer_of, scale_of
from app.classroom.states import Guesses
from app.views.question import QuestionContext, ask, reveal
from lessons.catalogue import Lesson
from lessons.kit import numbers
from lessons.kit.controls import Slider
from lessons.kit.language import current_language, ngettext
from lessons.kit.language import gettext as _
from lessons.kit.question import ANSWER, Question

TRUTH = 1.23
"""The size of the answer's label, in heights of a letter."""

BEYOND = {"above": " →", "below": " ←", "": ""}
"""The arrow to an answer that lies outside the scale."""


_scales: Bounded[tuple[str, str, Question, str], tuple[VoteScale, Answer]] = Bounded(64)


@dataclass(frozen=True)
class RevealContext:
    """The answer with the guesses, ready for `class/reveal.jinja`.

    Parameters
    ----------
    beat
        1: the first vote; 2: both; 3: also who moved. With few guesses the first beat is the answer alone.
    votes
        The votes that are drawn at this beat.
    room
        How many rows there is room for: a row that comes later moves nothing.
    own
        The reader's own guesses, first and second.
    """

    asked: QuestionContext
    scale: VoteScale
    answer: Answer
    guesses: Guesses
    drawing: Drawing
    moves: Moves
    beat: int
    votes: tuple[int, ...]
    room: int
    own: tuple[str | None, str | None] = (None, None)

    # --- the answer ---

    @property
    def truth(self) -> str:
        """The answer as printed."""
        assert self.asked.reveal is not None
        return self.asked.reveal.truth

    @property
    def finding(self) -> str:
        """The answer in a sentence, as HTML: its number is set off."""
        assert self.asked.reveal is not None
        return self.asked.text.finding(self.asked.reveal.sentences[0], {"truth"})

    @property
    def why(self) -> str:
        """The reason, as whoever guessed right is told it."""
        assert self.asked.reveal is not None
        return " ".join(self.asked.text.sentence(s) for s in self.asked.reveal.sentences[1:])

    @property
    def near_text(self) -> str:
        """Which guesses are near, such as “14 to 20”; "" where none can be, and for a choice."""
        span = self.answer.span
        if span is None or not self.scale.ordered:
            return ""
        first, last = (self.scale.columns[i] for i in span)
        if first is last:
            return first.text
        widget = self.asked.question.widget
        assert isinstance(widget, Slider)
        return _("%(low)s to %(high)s", low=widget.text(float(first.value)), high=last.text)

    @property
    def truth_label(self) -> Tick:
        """The answer above its place, as near to it as the drawing has room."""
        d = self.drawing
        width = d.frame.width
        said = _("in fact %(truth)s", truth=self.truth) + BEYOND[self.answer.beyond]
        middle = d.truth if d.truth is not None else sum(d.band) / 2 if d.band else width / 2
        half = min(text_width(said, TRUTH * d.frame.text), width) / 2
        return Tick(round(min(max(middle, half), width - half), 1), said, "middle")

    @property
    def near_label(self) -> Tick | None:
        """Which guesses are near, beside the band and the answer's label; None where there is no room."""
        d, text = self.drawing, self.drawing.frame.text
        if d.band is None or not self.near_text or not self.shows_dots:
            return None
        said = _("near: %(span)s", span=self.near_text)
        half = text_width(self.truth_label.text, TRUTH * text) / 2
        width = text_width(said, text)
        end = max(d.band[1], self.truth_label.x + half) + 0.4 * text
        if end + width <= d.frame.width:
            return Tick(round(end, 1), said, "start")
        start = min(d.band[0], self.truth_label.x - half) - 0.4 * text
        return Tick(round(start, 1), said, "end") if start >= width else None

    # --- the numbers ---

    @property
    def last_beat(self) -> int:
        """How many beats this reveal has."""
        return LAST_BEAT if self.guesses.has_second else 2 if self.is_small else 1

    @cached_property
    def is_small(self) -> bool:
        """Whether so few have guessed that dots have names."""
        return 0 < max(len(self.guesses.of(1)), len(self.guesses.of(2))) < DOTS_FROM

    @property
    def shows_dots(self) -> bool:
        return not self.is_small or self.beat > 1

    @property
    def rows(self) -> tuple[Row, ...]:
        """The votes of this beat."""
        return tuple(row for row in self.drawing.rows if row.vote in self.votes)

    @property
    def shows_second(self) -> bool:
        """Whether this beat tells of the second vote."""
        return self.guesses.has_second and self.shows_dots and self.beat > 1

    @cached_property
    def table(self) -> tuple[TableRow, ...]:
        """Every value that was guessed in a vote that this beat tells of."""
        if not self.shows_dots:
            return ()
        found = table(self.scale, self.answer, self.guesses)
        return tuple(row for row in found if row.first or self.shows_second)

    @property
    def summary(self) -> str:
        """How many were near, in a sentence for this beat."""
        first, second = self.drawing.rows
        if not first.number and not second.number:
            return _("Nobody guessed.")
        if not self.shows_dots:
            count = max(first.number, second.number)
            return ngettext("%(count)s guess.", "%(count)s guesses.", count) % {"count": count}
        counts = {"near": first.near, "of": first.number, "then": second.near, "of_then": second.number}
        both = self.shows_second
        if self.scale.ordered:
            return (
                _("%(near)s of %(of)s were near; after talking, %(then)s of %(of_then)s.", **counts)
                if both
                else _("%(near)s of %(of)s were near.", **counts)
            )
        return (
            _("%(near)s of %(of)s were right; after talking, %(then)s of %(of_then)s.", **counts)
            if both
            else _("%(near)s of %(of)s were right.", **counts)
        )

    def circles(self, row: Row) -> str:
        """The dots of a vote as SVG."""
        return _circles(row.dots, self.drawing.radius)

    def caption(self, row: Row) -> str:
        """How many of a vote were near: per cent only where there are enough."""
        if not row.number:
            return _("nobody guessed")
        if not self.shows_dots:
            return ""
        word = _("near") if self.scale.ordered else _("right")
        if row.percent is None:
            return _("%(near)s of %(of)s %(word)s", near=row.near, of=row.number, word=word)
        share = current_language().percent(numbers.integer(row.percent))
        return _("%(near)s %(word)s, %(share)s", near=row.near, word=word, share=share)

    def title(self, row: Row) -> str:
        """Which vote a row is, and how many guesses it has."""
        if row.vote == 1:
            return _("First vote, %(count)s", count=row.number)
        return _("Second vote, %(count)s", count=row.number)

    # --- who moved ---

    @property
    def shows_moves(self) -> bool:
        """Whether it is the beat of who moved, and somebody could."""
        return self.guesses.has_second and self.beat >= LAST_BEAT and self.moves.total > 0

    @property
    def draws_moves(self) -> bool:
        """Whether there are enough for a drawing."""
        return self.shows_moves and self.moves.total >= SHOWN_FROM

    @property
    def moves_lead(self) -> str:
        """How many came near, in words."""
        if self.scale.ordered:
            return _("%(count)s came near", count=self.moves.came)
        return _("%(count)s came to the answer", count=self.moves.came)

    @property
    def moves_rest(self) -> tuple[str, ...]:
        """What the others did."""
        found = self.moves
        said = [_("%(count)s moved away", count=found.left)]
        if not self.draws_moves:
            said.append(_("%(count)s stayed", count=found.stayed))
            if found.crossed:
                said.append(_("%(count)s went past it", count=found.crossed))
            if found.gone:
                said.append(_("%(count)s did not vote again", count=found.gone))
        return tuple(said)

    @property
    def joined(self) -> str:
        """Who is in the second vote and not in the drawing of who moved."""
        count = self.moves.joined
        joined = ngettext(
            "%(count)s more only in the second vote", "%(count)s more only in the second vote", count
        )
        return joined % {"count": count} if count else ""

    @property
    def flow(self) -> FlowDrawing:
        """The drawing of who moved."""
        return flow_drawing(self.moves, self.drawing.frame.text)

    def band(self, band: Band) -> str:
        """The name of a band."""
        span = self.answer.span
        low, high = (self.scale.columns[i].text for i in span) if span else (self.truth, self.truth)
        return {
            "above": _("above %(value)s", value=high),
            "near": _("near") if self.scale.ordered else _("right"),
            "below": _("below %(value)s", value=low),
            "other": _("other"),
            "gone": _("not again"),
        }[band]

    # --- for those who do not see it ---

    @property
    def description(self) -> str:
        """The drawing in words."""
        columns = self.scale.columns
        said = [
            _("Guesses on the scale from %(low)s to %(high)s.", low=columns[0].text, high=columns[-1].text)
            if self.scale.ordered
            else _("Guesses for each option."),
            _("In fact %(truth)s.", truth=self.truth),
        ]
        if self.shows_dots:
            said += [f"{self.title(row)}: {self.caption(row)}." for row in self.rows]
        return " ".join(said)

    def own_at(self, vote: int) -> float | None:
        """Where the reader's own guess stands."""
        column = self.scale.index(self.own[vote - 1])
        return None if column is None else self.drawing.frame.x(self.scale.columns[column].at)


def question_scale(asked: QuestionContext) -> VoteScale:
    """The scale of a question: nothing of its answer."""
    return scale_of(asked.question, lambda value: asked.text.option(ANSWER, value, asked.question.widget))


def revealed(
    lesson: Lesson,
    name: str,
    guesses: Guesses,
    *,
    frame: str = "screen",
    beat: int = LAST_BEAT,
    votes: Sequence[int] = (),
    own: tuple[str | None, str | None] = (None, None),
) -> RevealContext:
    """A question with the guesses on it.

    Parameters
    ----------
    guesses
        Those of the state; pass none that are not revealed.
    frame
        "screen", "desk" or "phone": see `FRAMES`.
    votes
        Which votes are drawn; by default those of the beat. A phone draws one at a time.
    """
    asked = reveal(lesson, name, None)
    key = (lesson.slug, name, asked.question, current_language().tag)
    scale, answer = _scales.get(key, partial(_scale_and_answer, lesson, name))
    drawn = tuple(votes) or ((1, 2) if guesses.has_second else (1,))
    shown = tuple(votes) or ((1, 2) if guesses.has_second and beat > 1 else (1,))
    picture, found = _drawn(scale, answer, guesses, FRAMES[frame], drawn)
    return RevealContext(asked, scale, answer, guesses, picture, found, beat, shown, len(drawn), own)


def _scale_and_answer(lesson: Lesson, name: str) -> tuple[VoteScale, Answer]:
    scale = question_scale(ask(lesson, name))
    return scale, answer_of(lesson.questions[name], scale)


@lru_cache(maxsize=64)
def _drawn(
    scale: VoteScale, answer: Answer, guesses: Guesses, frame: Frame, votes: tuple[int, ...]
) -> tuple[Drawing, Moves]:
    """What all in a class see at the same moment."""
    return drawing(scale, answer, guesses, frame, votes), moves(scale, answer, guesses)


@lru_cache(maxsize=64)
def _circles(dots: tuple[tuple[float, float], ...], radius: float) -> str:
    return "".join(f'<circle cx="{x}" cy="{-y}" r="{radius}"/>' for x, y in dots)
