"""The tasks: seeds determine exercises, slips give their described values, and input is validated."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from lessons.catalogue import load_lesson
from lessons.kit.controls import Choice
from lessons.kit.task import (
    EXAMPLE_SEED,
    Attempt,
    AttemptError,
    Exercise,
    StateStep,
    Step,
    check,
    explain,
    read_attempt,
)
from lessons.kit.view import Sentence
from lessons.quantization.tasks import TASKS
from quant_core import ggml
from quant_core.methods import awq, grid, rtn, smoothquant

LESSON = load_lesson("quantization")
SEEDS = range(1, 13)
GENERIC = {"sign", "point", "above", "below", "larger", "smaller", "elsewhere", "other"}


def plain(text: str) -> str:
    return text.replace("\u202f", "")


def number(text: str) -> float:
    return float(plain(text).replace("\u2212", "-"))


def asked(exercise: Exercise) -> str:
    """All that an exercise asks, as text."""
    return str([(step.name, step.text, step.slots, step.options) for step in exercise.steps])


def printed_answer(step: Step) -> str:
    return str(step.answer) if isinstance(step, StateStep) else plain(step.text)


@pytest.fixture(scope="module", params=TASKS)
def section(request: pytest.FixtureRequest) -> str:
    """Of the module, so that the tests of one task follow each other and share its exercises."""
    task: str = request.param
    return task


@functools.cache
def made(section: str, seed: int) -> Exercise:
    """An exercise, which many tests look at; that a seed determines it is a test of its own."""
    return TASKS[section].make(seed)


def steps_of(section: str, seed: int) -> dict[str, Step]:
    return {step.name: step for step in made(section, seed).steps}


def test_every_section_and_workshop_page_has_a_task_and_most_ask_for_more_than_numbers() -> None:
    for page in (*LESSON.sections, *LESSON.workshop):
        assert LESSON.tasks_of(page.slug) or page.slug == "close", page.slug
    assert sum(task.by_hand for task in TASKS.values()) <= len(TASKS) / 2


def test_seed_determines_the_exercise(section: str) -> None:
    first, again = made(section, 7), TASKS[section].make(7)
    assert first.given[0].values == again.given[0].values
    assert asked(first) == asked(again)
    assert first.rows == again.rows
    shown = {asked(made(section, seed)) for seed in SEEDS}
    assert len(shown) >= (len(SEEDS) - 3 if TASKS[section].by_hand else 4), "a class gets different ones"


def test_every_sentence_has_its_numbers(section: str) -> None:
    text = LESSON.task_texts[section]
    for seed in (EXAMPLE_SEED, *SEEDS):
        exercise = made(section, seed)
        assert all(text.sentence(sentence) for sentence in exercise.given)
        assert all(text.word(name) for name, _ in exercise.rows)
        for step in exercise.steps:
            assert text.filled("controls", step.name, "label", **step.slots)
            assert text.sentence(step.way)
            assert all(text.option(step.name, option, Choice(step.options)) for option in step.options)
            for slip in step.slips:
                assert text.sentence(Sentence(f"slip_{slip.key}", **step.slots))


def test_every_slip_has_a_name_for_teachers(section: str) -> None:
    text = LESSON.task_texts[section]
    written = {key.removeprefix("slip_") for key in text._content["sentences"] if key.startswith("slip_")}
    assert set(text._content.get("slips", {})) == written - {"state"}
    assert all(3 < len(text.slip(key)) <= 60 and "{" not in text.slip(key) for key in written - {"state"})


def test_every_other_reason_of_a_wrong_answer_has_a_name_for_teachers() -> None:
    assert set(LESSON.words._content["slips"]) == {"state", "sign", "point", "other"}


def test_every_described_slip_can_occur(section: str) -> None:
    """Each wrong answer gets its slip, or one with the same value."""
    written = {key for key in LESSON.task_texts[section]._content["sentences"] if key.startswith("slip_")}
    written -= {"slip_state"}
    met = set()
    for seed in (EXAMPLE_SEED, *SEEDS):
        for step in made(section, seed).steps:
            for slip in step.slips:
                if not step.near(slip.value, step.answer):
                    reason, _ = explain(step, slip.value)
                    same = {f"slip_{other.key}" for other in step.slips if step.near(slip.value, other.value)}
                    assert reason in same
                    met.add(reason)
    assert met == written


def test_the_printed_answer_is_right(section: str) -> None:
    for seed in SEEDS:
        exercise = made(section, seed)
        given = tuple((step.name, printed_answer(step)) for step in exercise.steps)
        checked = check(Attempt(given=given), exercise)
        assert {each.outcome for each in checked} == {"right"}


def test_the_block_is_rounded_as_the_library_rounds_it() -> None:
    for seed in SEEDS:
        exercise = made("rounding", seed)
        weights = np.array([number(cell) for cell in exercise.rows[0][1]])
        quantized = rtn.round_to_nearest(weights[None, :], 4, 8)
        steps, said = steps_of("rounding", seed), exercise.given[0].values
        which = int(said["position"]) - 1
        assert steps["scale"].answer == pytest.approx(float(quantized.scale[0, 0]))
        assert quantized.zero_point is not None
        assert steps["zero_point"].answer == quantized.zero_point[0, 0]
        assert steps["code"].answer == quantized.codes[0, which]
        assert steps["restored"].answer == pytest.approx(float(quantized.dequantize()[0, which]))


def test_sixteen_steps_in_place_of_fifteen_are_recognised() -> None:
    for seed in SEEDS:
        scale = steps_of("rounding", seed)["scale"]
        assert explain(scale, float(scale.answer) * 15 / 16)[0] == "slip_sixteen"


def test_the_protected_channel_is_the_one_that_awq_scales_up_most() -> None:
    for seed in SEEDS:
        exercise = made("awq", seed)
        rows = dict(exercise.rows)
        scales = awq.scales_for([number(cell) for cell in rows["x"]], 0.5)
        assert exercise.steps[0].answer == rows["channel"][int(np.argmax(scales))]
        assert exercise.steps[1].answer == pytest.approx(float(scales.max()))
        heavy = rows["channel"][int(np.argmax([number(cell) for cell in rows["w"]]))]
        assert explain(exercise.steps[0], heavy)[0] == "slip_heavy"


def test_the_byte_decodes_to_what_ggml_reads() -> None:
    """Rebuilt from the printed numbers: one super-block with this byte and these scales."""
    for seed in SEEDS:
        said = made("gguf", seed).given[0].values
        value = steps_of("gguf", seed)["value"]
        assert ggml.FORMATS["Q4_K"].block_bytes == 144
        byte = int(said["hex"], 16)
        high = made("gguf", seed).given[1].key == "given_high"
        code = byte >> 4 if high else byte & 15
        by_hand = number(said["d"]) * int(said["sc"]) * code - number(said["dmin"]) * int(said["m"])
        assert value.answer == pytest.approx(by_hand)
        assert int(said["weight"]) // 32 == int(said["part"])


def test_the_bits_of_a_weight_are_the_librarys() -> None:
    for seed in SEEDS:
        said = made("idea", seed).given[0].values
        expected = rtn.bits_per_weight(int(said["bits"]), int(said["n"]))
        assert steps_of("idea", seed)["per_weight"].answer == expected


def test_the_factor_is_smoothquants() -> None:
    for seed in SEEDS:
        said = made("family", seed).given[0].values
        factor = smoothquant.smoothing_factors(
            [[number(said["x"])]], [[number(said["w"])]], float(said["alpha"])
        )
        assert steps_of("family", seed)["factor"].answer == pytest.approx(float(factor[0]))


def test_the_best_of_four_roundings_is_the_least() -> None:
    for seed in SEEDS:
        exercise = made("output-error", seed)
        rows = {name: [number(cell) for cell in cells] for name, cells in exercise.rows}
        best = str(exercise.steps[1].answer)
        levels = [rows["up" if arrow == "↑" else "down"][i] for i, arrow in enumerate(best)]
        error = abs(sum((v - w) * x for v, w, x in zip(levels, rows["w"], rows["x"], strict=True)))
        assert exercise.steps[2].answer == pytest.approx(error)
        assert float(exercise.steps[2].answer) < float(exercise.steps[0].answer)


def test_one_weight_is_stored_and_restored_as_a_grid_does() -> None:
    for seed in SEEDS:
        said = made("opening", seed).given[0].values
        levels = grid.Grid("asymmetric", 4, np.array(number(said["s"])), np.array(int(said["z"]), np.int32))
        code = levels.quantize(np.array([number(said["w"])]))
        assert steps_of("opening", seed)["code"].answer == code[0]
        assert steps_of("opening", seed)["restored"].answer == pytest.approx(
            float(levels.dequantize(code)[0])
        )


# --- reading ------------------------------------------------------------------------------------------------


def read(*given: tuple[str, str]) -> tuple[Attempt, Exercise]:
    return read_attempt(TASKS["rounding"], given)


def test_faded_exercise_has_its_first_half_filled_in() -> None:
    attempt, exercise = read(("stage", "faded"), ("seed", "5"))
    assert [each.shown for each in check(attempt, exercise)] == [True, True, False, False]


@pytest.mark.parametrize("text", ["0.02", "0,02", " .02", "+0.0200", "\u22120.5", "-1"])
def test_numbers_are_read_as_people_write_them(text: str) -> None:
    attempt, _ = read(("scale", text))
    assert attempt.given == (("scale", text),)


def test_unreadable_answer_is_reported_for_its_step() -> None:
    attempt, exercise = read(("seed", "5"), ("scale", "abc"), ("code", "3"))
    assert attempt == Attempt(seed=5, given=(("scale", "abc"), ("code", "3")))
    checked = {each.step.name: each for each in check(attempt, exercise)}
    assert checked["scale"].outcome == "unread"
    assert "“abc”" in checked["scale"].problem
    assert checked["code"].outcome in ("right", "wrong")


def test_answers_are_read_in_every_notation(section: str) -> None:
    for step in made(section, 5).steps:
        if step.options or isinstance(step, StateStep):
            continue
        shown = step.text.replace("\u2212", "-")
        ways = {step.text, f" {shown.replace('.', ',')} ", f"{float(plain(shown)):e}", f"{shown} {step.unit}"}
        for text in ways:
            attempt, exercise = read_attempt(TASKS[section], [("seed", "5"), (step.name, text)])
            outcome = {each.step.name: each.outcome for each in check(attempt, exercise)}[step.name]
            assert outcome == "right", text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", "0"),
        ("seed", "10000"),
        ("seed", "-1"),
        ("seed", "1.5"),
        ("seed", "٣"),
        ("stage", "worked"),
        ("solve", "0"),
        ("bits", "4"),
    ],
)
def test_invalid_parameters_are_named(name: str, value: str) -> None:
    with pytest.raises(AttemptError) as raised:
        read((name, value))
    assert raised.value.problems[0].control == name


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(AttemptError):
        read(("seed", "3"), ("seed", "4"))


def test_unexplained_error_is_described_by_size_and_sign() -> None:
    step = Step("x", 0.05, "0.050", rounded=0.001)
    assert explain(step, -0.05)[0] == "sign"
    assert explain(step, 0.5)[0] == "point"
    assert explain(step, 0.1) == ("larger", {"ratio": "2.00×"})
    assert explain(step, 0.02)[0] == "smaller"
    assert explain(step, 999.0)[0] == "elsewhere"
    assert explain(step, 0.0)[0] == "elsewhere"
    assert explain(Step("q", 9, "9", exact=True), 12) == ("above", {"by": "3"})
    assert all(LESSON.words.word(key, ratio="2×", by="3") for key in GENERIC)


def state_step(task: str, seed: int = 5) -> StateStep:
    return next(step for step in made(task, seed).steps if isinstance(step, StateStep))


def test_no_figure_begins_in_the_state_that_is_asked_for() -> None:
    steps = [(task, step) for task in TASKS for seed in SEEDS for step in made(task, seed).steps]
    asked_for = [(task, step) for task, step in steps if isinstance(step, StateStep)]
    assert len(asked_for) >= len(SEEDS) * 15
    for task, step in asked_for:
        assert not step.near("=", step.answer), task
        assert step.near(step.answer, step.answer), task
        reason, slots = explain(step, "=")
        assert LESSON.task_texts[task].sentence(Sentence(reason, **slots)), task


def test_a_state_is_read_from_any_address_of_its_figure() -> None:
    step = state_step("index")
    weight = step.state(str(step.answer)).query()[0][1]
    for text in (
        f"weight={weight}",
        f"https://x.example/lessons/quantization/figures/primitive?weight={weight}&lock=bits",
        f" /lessons/quantization?rtn.bits=4&primitive.weight={weight}#fig-0a ",
    ):
        assert step.read(text) == f"weight={weight}"
    other = "https://x.example/lessons/quantization/figures/rtn?bits=4"
    for text in ("weight=99", other, "nonsense", "?bits=9"):
        with pytest.raises(ValueError, match=r"^That is no"):
            step.read(text)


def test_any_state_that_fulfils_the_condition_is_right() -> None:
    step = state_step("share")
    states = [f"length={stop}&bits={bits}" for stop in range(10) for bits in (2, 3, 4)]
    right = [state for state in states if step.near(state, "")]
    assert len(right) > 1
