"""What a worker makes when it has nothing else to do, so that its readers need not wait for it."""

from __future__ import annotations

import dataclasses

import pytest

from app import answers
from app.answers import Answers
from app.body import Body
from lessons.catalogue import load_lesson
from lessons.kit.language import SOURCE
from lessons.kit.teaching import OPEN

FEW, MANY = "calibration", "rtn"


@pytest.fixture
def warmed(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Answers of a lesson with a figure of few states and one of very many, made ahead."""
    lesson = load_lesson("quantization")
    two = dataclasses.replace(lesson, figures={name: lesson.figures[name] for name in (FEW, MANY)})
    monkeypatch.setattr(answers, "load_lesson", lambda _: two)
    monkeypatch.setattr(answers, "BREATH", 0)
    monkeypatch.setattr(Answers, "_lesson", lambda *_, **__: Body(b"", "text/html"))
    monkeypatch.setattr(answers, "settle", lambda: None)
    made = Answers("", 2**26)
    made.warm()
    made.close()
    return made


def test_of_a_figure_with_few_states_all_are_made(warmed: Answers) -> None:
    for state in load_lesson("quantization").figures[FEW].controls.every():
        assert warmed._kept.find((SOURCE, ("fragment", "quantization", FEW, state, OPEN)))


def test_of_one_with_very_many_those_that_a_first_touch_may_lead_to(warmed: Answers) -> None:
    start = load_lesson("quantization").figures[MANY].controls()
    near, far = start.model_copy(update={"bits": 2}), start.model_copy(update={"bits": 2, "stretch": 9})
    fragments = [
        warmed._kept.find((SOURCE, ("fragment", "quantization", MANY, s, OPEN))) for s in (near, far)
    ]
    assert fragments[0]
    assert not fragments[1]


def test_a_worker_that_is_to_stop_makes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Answers, "_lesson", lambda *_, **__: Body(b"", "text/html"))
    stopping = Answers("", 2**26)
    stopping.close()
    stopping.warm()
    assert stopping._kept.bytes == 0
