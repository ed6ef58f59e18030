"""The questions before the figures: what was so is what the figure shows, and each guess has its reason."""

from __future__ import annotations

import pytest

from lessons.catalogue import load_lesson
from lessons.kit.controls import ControlError, Slider
from lessons.kit.question import Guess, across, upward
from lessons.kit.scales import Scale
from lessons.quantization.figures import awq, gptq, rounding, rtn, xray
from lessons.quantization.questions import QUESTIONS, readout

LESSON = load_lesson("quantization")
MAIN = ("primitive", "rtn", "rounding", "gptq", "awq", "quality", "xray", "fit")


def guesses(name: str) -> list[Guess]:
    return list(QUESTIONS[name].widget.states())


def why(name: str, guess: Guess | None) -> str:
    return QUESTIONS[name].reveal(guess).sentences[1].key


def test_every_main_figure_has_its_question() -> None:
    assert tuple(QUESTIONS) == MAIN
    assert [LESSON.figures[name].label for name in MAIN] == [
        "FIG.0A",
        "FIG.02",
        "FIG.03",
        "FIG.03B",
        "FIG.04",
        "FIG.05",
        "FIG.05B",
        "FIG.06",
    ]


@pytest.mark.parametrize("name", MAIN)
def test_every_guess_gets_its_words(name: str) -> None:
    """No slot is empty, whatever is guessed, and who skips is told the same truth."""
    question, text = QUESTIONS[name], LESSON.asked[name]
    skipped = question.reveal(None)
    assert skipped.verdict == "skipped"
    assert skipped.guess is None
    for guess in guesses(name):
        revealed = question.reveal(guess)
        assert revealed.truth == skipped.truth
        assert revealed.verdict in ("right", "close", "off")
        assert all(len(text.sentence(sentence)) > 3 for sentence in revealed.sentences)


@pytest.mark.parametrize("name", MAIN)
def test_a_guess_can_be_right_and_wrong_for_several_reasons(name: str) -> None:
    reasons = {why(name, guess) for guess in guesses(name)}
    verdicts = {QUESTIONS[name].reveal(guess).verdict for guess in guesses(name)}
    assert {"right", "off"} <= verdicts
    assert len(reasons) >= 3
    written = {f"why_{key}" for key in reasons_written(name)}
    assert reasons == written, "every reason that is written can be met, and every one met is written"


def reasons_written(name: str) -> set[str]:
    content = LESSON.asked[name]._content["sentences"]
    return {key.removeprefix("why_") for key in content if key.startswith("why_")}


def test_the_gap_is_that_of_the_figure_and_the_slip_of_counting_levels_is_named() -> None:
    fine, coarse = (readout(rtn.view(rtn.Controls(bits=bits)), "step") for bits in (6, 3))
    assert QUESTIONS["rtn"].reveal(None).truth == f"{coarse / fine:.0f}×" == "9×"
    assert why("rtn", 8) == "why_powers"
    assert why("rtn", 2) == "why_twice"


def test_the_rank_is_counted_among_all_roundings() -> None:
    crowd = rounding.crowd_of("query", 3, 12)
    better = sum(error < crowd.nearest for error in crowd.errors.tolist())
    assert QUESTIONS["rounding"].reveal(None).truth == str(better)
    assert why("rounding", 0) == "why_none"


def test_what_gptq_leaves_is_what_its_figure_ends_with() -> None:
    view = gptq.view(gptq.Controls(bits="2", step=16))
    left = readout(view, "gptq_error") / readout(view, "rtn_error")
    assert QUESTIONS["gptq"].reveal(None).truth == f"{100 * left:.0f}\u202f%"


def test_the_best_alpha_is_the_searched_one_of_that_layer() -> None:
    best = readout(awq.view(awq.Controls(layer="minilm.1.query")), "best_alpha")
    assert QUESTIONS["awq"].reveal(None).truth == f"{best:.2f}"
    usual = readout(awq.view(awq.Controls()), "best_alpha")
    assert why("awq", usual) == "why_constant"
    assert why("awq", 1.0) == "why_sharper"


def test_the_turned_bit_moves_what_the_figure_says() -> None:
    revealed = QUESTIONS["xray"].reveal("32")
    view = xray.view(xray.Controls(pick="byte-4", flip="0"))
    moved = [row for row in view.table.rows if row[6] != 0]
    assert view.table.columns[6].name == "moved"
    assert revealed.truth == str(len(moved))
    assert revealed.verdict == "right"


def test_only_an_answer_that_can_be_given_is_read() -> None:
    question = QUESTIONS["rtn"]
    assert question.read([]) == (False, None)
    assert question.read([("answer", "8")]) == (True, 8)
    assert question.read([("skip", "1")]) == (True, None)
    assert question.read([("answer", "4"), ("skip", "1")]) == (True, None)
    for wrong in (
        [("answer", "21")],
        [("answer", "nan")],
        [("answer", "")],
        [("skip", "yes")],
        [("bits", "3")],
    ):
        with pytest.raises(ControlError):
            question.read(wrong)


def test_guess_and_truth_stand_where_they_belong() -> None:
    scale = Scale((0, 10))
    guess, truth = across(scale, 2.0, 7.0, ("2", "7"), 60)
    assert (guess.x, truth.x) == (20, 70)
    assert truth.start == (guess.x, guess.y)
    assert guess.label[0] != truth.label[0], "in two rows, so that they never cover each other"
    up = Scale((0, 10), (100.0, 0.0))
    for own in range(11):
        guess, truth = upward(up, float(own), 5.0, ("g", "t"), 100.0)
        assert guess.y == 100 - 10 * own
        assert abs(guess.label[0] - truth.label[0]) >= 15


@pytest.mark.parametrize("name", MAIN)
def test_sketches_stay_inside(name: str) -> None:
    question = QUESTIONS[name]
    states = guesses(name)
    for guess in (None, states[0], states[len(states) // 2], states[-1]):
        sketch = question.reveal(guess).sketch
        roles = [mark.role for mark in sketch.marks if mark.role != "rest"]
        if isinstance(question.widget, Slider):
            assert roles == (["truth"] if guess is None else ["guess", "truth"])
        assert all(0 <= mark.x <= 100 for mark in sketch.marks)
        assert all(-20 <= mark.y <= sketch.height for mark in sketch.marks)
        assert all(bar.x >= 0 and bar.x + bar.width <= 100.01 for bar in sketch.bars)
