"""The questions: answers match the figures, and each guess has a reason."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from lessons.catalogue import load_lesson
from lessons.kit.chart import Chart
from lessons.kit.controls import ControlError, Slider
from lessons.kit.question import (
    CHART,
    Guess,
    Mark,
    Place,
    PlacedMark,
    guess_scale,
    on_chart,
    placed,
    ratio_off,
)
from lessons.kit.scales import Scale
from lessons.kit.view import PlotScales
from lessons.quantization.blocks import block_weights
from lessons.quantization.figures import awq, fit, gptq, primitive, quality, rounding, rtn, xray
from lessons.quantization.questions import QUESTIONS, readout

LESSON = load_lesson("quantization")
FIGURES = LESSON.figures
NAMES = tuple(QUESTIONS)


def guesses(name: str) -> list[Guess]:
    return list(QUESTIONS[name].widget.states())


def why(name: str, guess: Guess | None) -> str:
    return QUESTIONS[name].reveal(guess).sentences[1].key


def test_every_main_figure_has_its_question() -> None:
    main = {"FIG.0A", "FIG.02", "FIG.03", "FIG.03B", "FIG.04", "FIG.05", "FIG.05B", "FIG.06"}
    assert main <= {FIGURES[name].label for name in NAMES}
    assert list(NAMES) == [name for name in FIGURES if name in QUESTIONS], "in the order of the lesson"


@pytest.mark.parametrize("name", NAMES)
def test_every_guess_has_its_words(name: str) -> None:
    """No slot is empty for any guess, and skipping gives the same answer."""
    question, text = QUESTIONS[name], LESSON.question_texts[name]
    skipped = question.reveal(None)
    assert skipped.verdict == "skipped"
    assert skipped.guess is None
    for guess in guesses(name):
        revealed = question.reveal(guess)
        assert revealed.truth == skipped.truth
        assert revealed.verdict in ("right", "close", "off")
        assert all(len(text.sentence(sentence)) > 3 for sentence in revealed.sentences)


@pytest.mark.parametrize("name", NAMES)
def test_every_reason_of_a_guess_can_occur(name: str) -> None:
    reasons = {why(name, guess) for guess in guesses(name)}
    verdicts = {QUESTIONS[name].reveal(guess).verdict for guess in guesses(name)}
    assert {"right", "off"} <= verdicts
    assert len(reasons) >= 3
    written = {f"why_{key}" for key in reasons_written(name)}
    assert reasons == written, "every reason that is written can be met, and every one met is written"


@pytest.mark.parametrize("name", NAMES)
def test_every_reason_of_a_wrong_guess_has_a_name_for_teachers(name: str) -> None:
    question, text = QUESTIONS[name], LESSON.question_texts[name]
    met = {question.reveal(guess).why for guess in guesses(name)}
    assert met == {why(name, guess).removeprefix("why_") for guess in guesses(name)}
    assert set(text._content["thoughts"]) == met - {"right"}, "each has a name, and none is left over"
    names = [text.thought(key) for key in met - {"right"}]
    assert len(set(names)) == len(names)
    assert all(3 < len(named) <= 60 and "{" not in named for named in names)
    assert question.reveal(None).why == ""


def reasons_written(name: str) -> set[str]:
    content = LESSON.question_texts[name]._content["sentences"]
    return {key.removeprefix("why_") for key in content if key.startswith("why_")}


def test_gap_matches_the_figure_and_counting_levels_is_a_named_slip() -> None:
    fine, coarse = (readout(rtn.FIGURE.view(rtn.Controls(bits=bits)), "step") for bits in (6, 3))
    assert QUESTIONS["rtn"].reveal(None).truth == f"{coarse / fine:.0f}×" == "9×"
    assert why("rtn", 8) == "why_powers"
    assert why("rtn", 2) == "why_twice"


def test_the_rank_is_counted_among_all_roundings() -> None:
    crowd = rounding.crowd_of("query", 3, 12)
    better = sum(error < crowd.nearest for error in crowd.errors.tolist())
    assert QUESTIONS["rounding"].reveal(None).truth == str(better)
    assert why("rounding", 0) == "why_none"


def test_remaining_error_of_gptq_matches_the_figure() -> None:
    view = gptq.FIGURE.view(gptq.Controls(bits="2", step=16))
    left = readout(view, "gptq_error") / readout(view, "rtn_error")
    assert QUESTIONS["gptq"].reveal(None).truth == f"{100 * left:.0f}\u202f%"


def test_the_best_alpha_is_the_searched_one_of_that_layer() -> None:
    best = readout(awq.FIGURE.view(awq.Controls(layer="minilm.1.query")), "best_alpha")
    assert QUESTIONS["awq"].reveal(None).truth == f"{best:.2f}"
    usual = readout(awq.FIGURE.view(awq.Controls()), "best_alpha")
    assert why("awq", usual) == "why_constant"
    assert why("awq", 1.0) == "why_sharper"


def test_flipped_bit_matches_the_figure() -> None:
    revealed = QUESTIONS["xray"].reveal("32")
    view = xray.FIGURE.view(xray.Controls(pick="byte-4", flip="0"))
    moved = [row for row in view.table.rows if row[6] != 0]
    assert view.table.columns[6].name == "moved"
    assert revealed.truth == str(len(moved))
    assert revealed.verdict == "right"


def test_invalid_guesses_are_refused() -> None:
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


def marks(name: str, guess: Guess | None) -> dict[str, Mark]:
    return {mark.role: mark for mark in QUESTIONS[name].reveal(guess).marks}


def test_guess_is_marked_at_its_value() -> None:
    """Each is compared with the library or with the figure's numbers."""
    weights = block_weights("calm", 32)
    stored = primitive.compute(primitive.Controls(bits="2"))
    for guess in range(33):
        low, high = span(marks("primitive", guess)["guess"].x)
        assert np.count_nonzero((weights >= low) & (weights <= high)) == guess
    low, high = span(marks("primitive", None)["truth"].x)
    inside = (weights > low) & (weights < high)
    assert inside.tolist() == (stored.codes == stored.zero_point).tolist()

    fine, coarse = (readout(rtn.FIGURE.view(rtn.Controls(bits=bits)), "step") for bits in (6, 3))
    drawn = marks("rtn", 4)
    assert np.diff(span(drawn["guess"].y)) == pytest.approx(4 * fine)
    assert np.diff(span(drawn["truth"].y)) == pytest.approx(coarse)
    assert min(abs(rtn.compute(rtn.Controls(bits=3)).snapped.levels - span(drawn["truth"].y)[1])) < 1e-6

    errors = rounding.crowd_of("query", 3, 12).errors
    for exponent in (0, 3, 9):
        place = cast(float, marks("rounding", exponent)["guess"].x)
        assert np.count_nonzero(errors < place) == (2**exponent if exponent else 0)

    view = gptq.FIGURE.view(gptq.Controls(bits="2", step=16))
    assert marks("gptq", 50)["guess"].y == pytest.approx(0.5 * readout(view, "rtn_error"))
    assert marks("gptq", 50)["truth"].y == pytest.approx(readout(view, "gptq_error"))

    assert span(marks("fit", 60)["guess"].x) == (0.0, 60e9)
    total = readout(fit.FIGURE.view(fit.Controls(scope="everything", context="131072")), "total")
    assert span(marks("fit", 60)["truth"].x) == pytest.approx((0.0, total))


def span(place: Place) -> tuple[float, float]:
    assert isinstance(place, tuple)
    return place


def test_rings_on_a_chart_are_at_its_own_points() -> None:
    for name, state, series in (("quality", quality.Controls(data="base"), "imatrix"),):
        chart = cast(Chart, FIGURES[name].view(state).chart)
        points = {(p.x, p.y) for one in chart.series if one.name == series for p in one.points}
        truth = marks(name, None)["truth"]
        assert (truth.x, truth.y) in points
    for name, guess in (("quality", 1.0), ("quality", 1.75)):
        chart = cast(Chart, FIGURES[name].view(QUESTIONS[name].seen).chart)
        drawn = on_chart(chart, QUESTIONS[name].reveal(guess).marks, ("you", "it is"))
        assert [one.role for one in drawn.series[-2:]] == ["guess", "truth"]
        labels = [one.points[0].label for one in drawn.series[-2:]]
        assert labels in (["you", "it is"], ["", "you · it is"])
        assert (labels[0] == "") == (guess == 1.75), "two labels that would meet are one"
        trace = drawn.plotly({})["data"][-2]
        assert (trace["x"], trace["y"]) == ([drawn.series[-2].points[0].x], [drawn.series[-2].points[0].y])


@pytest.mark.parametrize("name", NAMES)
def test_marks_are_on_a_plot_of_their_figure(name: str) -> None:
    question = QUESTIONS[name]
    view = FIGURES[name].view(question.seen)
    for guess in (None, *guesses(name)):
        for mark in question.reveal(guess).marks:
            if mark.plot == CHART:
                assert view.chart
                continue
            place = placed(mark, view.plots[mark.plot], mark.text)
            assert all(0 <= at <= 340 for at in (*place.x, *place.y))
            assert not place.beyond or mark.role == "guess", "what is so is always on the plot"


def test_value_beyond_the_plot_is_at_its_edge_with_an_arrow() -> None:
    upwards = PlotScales(Scale((0, 10)), Scale((0, 10), (100.0, 0.0)))
    assert placed(Mark("guess", "p", "", 12, 5), upwards, "") == PlacedMark(
        "guess", "", (100, 100), (50, 50), "end", "→"
    )
    assert placed(Mark("guess", "p", "", 5, 11), upwards, "").beyond == "↑"
    assert placed(Mark("guess", "p", "", (-1, 4), None), upwards, "").x == (0, 40)


@pytest.mark.parametrize("name", NAMES)
def test_marks_are_drawn_only_where_they_apply(name: str) -> None:
    """The free controls of a question do not affect its answer; the others do."""
    question = QUESTIONS[name]
    assert question.holds(question.seen)
    assert question.holds(question.reveal(None).controls)
    others = [control for control in type(question.seen).model_fields if control not in question.free]
    for control in others:
        there = getattr(question.seen, control)
        value = next(v for v in states(name, control) if v != there)
        assert not question.holds(question.seen.model_copy(update={control: value})), control
    view = FIGURES[name].view(question.seen)
    for control in question.free:
        for value in states(name, control)[:6]:
            moved = FIGURES[name].view(question.seen.model_copy(update={control: value}))
            assert moved.plots == view.plots, control
            assert (moved.chart and moved.chart.scales()) == (view.chart and view.chart.scales()), control


def states(name: str, control: str) -> list[Any]:
    return list(type(QUESTIONS[name].seen).widgets()[control].states())


@pytest.mark.parametrize("name", NAMES)
def test_feedback_says_how_far_off_a_guess_is_and_on_which_side(name: str) -> None:
    question = QUESTIONS[name]
    if not isinstance(question.widget, Slider):
        return
    low, high = question.reveal(question.widget.low), question.reveal(question.widget.high)
    assert low.distance is not None
    assert high.distance is not None
    assert low.distance.key in ("times_small", "low", "few")
    assert high.distance.key in ("times_large", "high", "many")
    assert question.reveal(None).distance is None
    assert low.place is not None


def test_a_ratio_is_not_rounded_up_to_a_whole_number() -> None:
    assert ratio_off(2, 9).values["amount"] == "4.5"
    assert ratio_off(3, 9).values["amount"] == "3"
    assert ratio_off(250, 9).values["amount"] == "28"


def test_an_answer_beyond_the_slider_stands_at_its_end() -> None:
    scale = guess_scale(Slider(0, 10, 1), 4, 12)
    assert scale is not None
    assert scale.beyond
    assert (scale.guess, scale.truth, scale.stem) == (40, 100, (40, 100))
