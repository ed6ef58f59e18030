"""A question, before or after its guess, as the templates get it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from app.addresses import place_of
from lessons.catalogue import Lesson
from lessons.kit.controls import FigureControls, Slider, as_parameter
from lessons.kit.figure import Figure
from lessons.kit.language import current_language
from lessons.kit.question import ANSWER, GUESS, SKIP, Guess, GuessScale, Question, Reveal, guess_scale
from lessons.kit.text import FigureText
from lessons.kit.view import Sentence


@dataclass(frozen=True, slots=True)
class QuestionContext:
    """A question ready for the templates.

    `reveal` is None before the commit: there is nothing of the answer that a page could show by mistake.
    """

    lesson: Lesson
    question: Question
    controls: FigureControls
    reveal: Reveal | None

    @property
    def name(self) -> str:
        return self.question.figure

    @property
    def id(self) -> str:
        return f"ask-{self.name}"

    @property
    def figure(self) -> Figure[Any]:
        return self.lesson.figures[self.name]

    @property
    def text(self) -> FigureText:
        return self.lesson.question_texts[self.name]

    @property
    def sentence(self) -> str:
        return self.text.sentence(Sentence("ask", **self.question.given()))

    @property
    def guess(self) -> str:
        """The guess as the reader knows it: a choice by its label."""
        if self.reveal is None or self.reveal.guess is None:
            return ""
        if isinstance(self.question.widget, Slider):
            return self.reveal.guess
        return self.text.option(ANSWER, self.reveal.guess, self.question.widget)

    @property
    def is_in_lesson(self) -> bool:
        """Whether it stands on the lesson's own page."""
        return any(self.name in section.questions for section in self.lesson.sections)

    @property
    def scale(self) -> GuessScale | None:
        """The slider's scale, with guess and answer on it once there is one."""
        if self.reveal is None:
            return guess_scale(self.question.widget)
        guess = None if self.reveal.guess is None else getattr(self.controls, ANSWER)
        return guess_scale(self.question.widget, guess, self.reveal.place)

    @property
    def verdict(self) -> str:
        """How near the guess came, in words."""
        assert self.reveal is not None
        distance, words = self.reveal.distance, self.lesson.words
        key = self.reveal.verdict + ("_choice" if self.reveal.verdict == "off" and not distance else "")
        off = words.word(distance.key, **distance.slots) if distance else ""
        return words.word(key, guess=self.guess, distance=off)

    @property
    def marked(self) -> str:
        """The guess as the `guess` parameter of the figure; "" before there is one."""
        if self.reveal is None:
            return ""
        return SKIP if self.reveal.guess is None else as_parameter(getattr(self.controls, ANSWER))

    @property
    def mark_sentence(self) -> str:
        """What is marked on the figure, in words."""
        assert self.reveal is not None
        key = "marked" if self.reveal.guess else "marked_truth"
        return self.lesson.words.word(key, guess=self.guess, truth=self.reveal.truth)

    @property
    def figure_address(self) -> str:
        """The place of this figure in the lesson."""
        return place_of(self.lesson, self.name)

    @property
    def seen_address(self) -> str:
        """The lesson, with the figure's controls set to show the answer, and the guess on it."""
        assert self.reveal is not None
        return place_of(self.lesson, self.name, [*self.reveal.controls.query(), (GUESS, self.marked)])


def ask(lesson: Lesson, name: str) -> QuestionContext:
    """A question before its commit. Nothing of its answer is computed."""
    question = lesson.questions[name]
    return QuestionContext(lesson, question, question.controls(), None)


def reveal(lesson: Lesson, name: str, guess: Guess | None) -> QuestionContext:
    """A question after its commit; without a guess when it was skipped."""
    question = lesson.questions[name]
    controls = question.controls.model_validate({} if guess is None else {ANSWER: guess})
    return QuestionContext(lesson, question, controls, _revealed(question, guess, current_language().tag))


@functools.lru_cache(maxsize=1024)
def _revealed(question: Question, guess: Guess | None, _language: str) -> Reveal:
    """The reveal of a guess. It is cached, because a class gives the same few guesses a thousand times."""
    return question.reveal(guess)
