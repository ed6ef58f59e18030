"""What a worker makes when it has nothing else to do, so that its readers need not wait for it."""

from __future__ import annotations

import pytest

from app.cache.response import Body
from app.views import answers
from app.views.answers import Answers
from lessons.catalogue import lesson_slugs, load_lesson
from lessons.kit.language import SOURCE
from lessons.kit.teaching import OPEN

FEW, MANY = "calibration", "rtn"
FIGURES = load_lesson("quantization").figures
NOTHING = Body(b"", "text/html")


class Quick(Answers):
    """Without what takes seconds: the page, the tables' views, and all figures but one of few states."""

    def _lesson(self, *_: object, **__: object) -> Body:
        return NOTHING

    def _states(self, *_: object) -> Body:
        return NOTHING


@pytest.fixture(scope="module")
def warmed() -> Answers:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "FEW_STATES", FIGURES[FEW].controls.combinations())
        made = Quick("", 2**26)
        made.warm(breath=0.0)
        made.close()
    return made


def test_first_state_tables_of_every_figure_are_made(warmed: Answers) -> None:
    for name, figure in FIGURES.items():
        start = figure.controls()
        for control in start.tabled():
            rest = start.model_copy(update={control: start.part(control).states[0]})
            assert warmed._kept.find((SOURCE, ("states", "quantization", name, control, rest, OPEN)))


def test_all_states_of_a_figure_with_few_are_made(warmed: Answers) -> None:
    for state in FIGURES[FEW].controls.every():
        assert warmed._kept.find((SOURCE, ("fragment", "quantization", FEW, state, OPEN)))


def test_only_state_tables_of_a_figure_with_many_states_are_made(warmed: Answers) -> None:
    state = FIGURES[MANY].controls()
    assert not warmed._kept.find((SOURCE, ("fragment", "quantization", MANY, state, OPEN)))


def test_stopping_worker_makes_no_more_responses() -> None:
    stopping = Quick("", 2**26)
    stopping.close()
    stopping.warm()
    assert [key[0] for (_tag, key), _ in stopping._kept.items()] == ["lesson"] * len(lesson_slugs())
