"""FIG.06C: the bound by hand, sentences that are true in every state, and a task with one answer."""

from __future__ import annotations

import itertools

import pytest

from lessons.catalogue import load_lesson
from lessons.quantization import sources
from lessons.quantization.figures.speed import (
    CHOSEN,
    DOUBLINGS,
    FIGURE,
    FORMATS,
    MACHINES,
    Controls,
    arithmetic,
    compute,
    finding,
    multiplied,
)
from lessons.quantization.tasks import TASKS

TEXT = load_lesson("quantization").texts["speed"]
EVERY = [
    Controls(doublings=n, format=name, machine=machine)
    for n, name, machine in itertools.product(DOUBLINGS, CHOSEN, MACHINES)
]


def test_the_bound_by_hand() -> None:
    """An H100 reads 3350 GB/s and does 989·10¹² operations in 16 bits; 7.5 of 8.03 billion weights count."""
    assert multiplied() == 8_030_261_248 - 128_256 * 4096
    one = compute(Controls(doublings=0))
    assert one.f16_tokens_per_second == pytest.approx(3350e9 / (2 * multiplied()))
    assert one.speedup == pytest.approx(16 / 4.125)
    prompt = compute(Controls(doublings=9))
    assert (
        prompt.f16_tokens_per_second == prompt.tokens_per_second == pytest.approx(989e12 / 2 / multiplied())
    )
    assert prompt.speedup == pytest.approx(1)
    eight = compute(Controls(doublings=9, format="fp8"))
    assert eight.speedup == pytest.approx(2)
    four = compute(Controls(doublings=12, format="nvfp4", machine="b200-180"))
    assert four.speedup == pytest.approx(4)


def test_a_machine_without_the_arithmetic_expands_to_sixteen_bits() -> None:
    assert {m: arithmetic(m, "fp8") for m in MACHINES} == {
        "rtx-4090": "fp8",
        "a100-80": "fp16",
        "h100-80": "fp8",
        "b200-180": "fp8",
    }
    assert [m for m in MACHINES if arithmetic(m, "nvfp4") == "fp4"] == ["b200-180"]
    for machine in MACHINES:
        assert arithmetic(machine, "int4") == arithmetic(machine, "f16") == "fp16"


def test_the_finding_is_true_in_every_state() -> None:
    seen = set()
    for controls in EVERY:
        result = compute(controls)
        key = finding(result)
        seen.add(key)
        view = FIGURE.view(controls)
        said = TEXT.sentence(view.description[0])
        assert "{" not in said
        less = 16 / FORMATS[controls.format].bits
        memory = [result.tokens <= ridge for ridge in (result.ridge, result.f16_ridge)]
        same = arithmetic(controls.machine, controls.format) == "fp16"
        match key:
            case "one" | "memory":
                assert all(memory)
                assert result.speedup == pytest.approx(less)
                assert (result.tokens == 1) == (key == "one")
            case "squeezed":
                assert memory == [False, True]
                assert 1 < result.speedup < less
            case "same":
                assert memory == [False, False]
                assert same
                assert result.speedup == pytest.approx(1)
            case "faster":
                assert memory == [False, False]
                assert not same
                assert result.speedup > 1.9
    assert seen == {"one", "memory", "squeezed", "same", "faster"}


def test_more_tokens_at_once_are_never_fewer_a_second() -> None:
    for machine in MACHINES:
        for bounds in compute(Controls(machine=machine)).bounds.values():
            assert list(bounds) == sorted(bounds)


def test_every_peak_belongs_to_a_machine_and_has_its_source() -> None:
    for peak in sources.peaks():
        assert sources.device(peak.id).bandwidth > 0
        assert peak.url.startswith("https://")
        assert peak.read.year >= 2026
        notes = [TEXT.sentence(note) for note in FIGURE.view(Controls(machine=peak.id)).notes]
        assert any(peak.source in note for note in notes)


def test_the_task_asks_for_the_fewest_tokens() -> None:
    for seed in range(20):
        step = TASKS["knee"].make(seed).steps[0]
        best = step.state(str(step.answer))  # type: ignore[attr-defined]
        most = float(step.slots["most"].rstrip("×"))
        gains = [compute(best.model_copy(update={"doublings": n})).speedup for n in DOUBLINGS]
        assert next(n for n, gain in enumerate(gains) if gain <= most) == best.doublings
