"""FIG.07E: the recording is current, a part of it is trained again, and both formats do what is said."""

from __future__ import annotations

import numpy as np
import pytest

from lessons.catalogue import load_lesson
from lessons.quantization import sources
from lessons.quantization.figures.trained import (
    BITS,
    FIGURE,
    MOST_STEPS,
    STEPS,
    Controls,
    During,
    Lattice,
    Ternary,
    compute,
    errors_of,
)
from lessons.quantization.tasks import TASKS
from quant_core import ggml
from quant_core.methods import metrics, rtn
from scripts import record_training
from scripts.recording import code_of

TEXT = load_lesson("quantization").texts["trained"]
EVERY = [
    *(Controls(bits=bits, steps=steps) for bits in BITS for steps in STEPS),
    Controls(story="lattice"),
    Controls(story="ternary"),
]


def finding(controls: Controls) -> str:
    return TEXT.sentence(FIGURE.view(controls).description[0])


def test_the_recording_is_current() -> None:
    """Fails after a change to the code that it depends on: run `make training`."""
    recorded = sources.trained_layer()
    assert recorded.code == code_of(record_training.COUNTED), "data/trained.json is stale"
    assert {(str(row.bits), row.steps) for row in recorded.rows} == {(b, s) for b in BITS for s in STEPS}
    assert (recorded.layer, recorded.group_size) == (record_training.LAYER, record_training.GROUP_SIZE)


def test_a_training_gives_the_same_again() -> None:
    for bits, steps in ((3, 20), (2, 0)):
        again = record_training.output_error(record_training.trained(bits, steps).quantized.dequantize())
        assert again == pytest.approx(errors_of(bits)[STEPS.index(steps)], rel=1e-3)


def test_without_a_step_the_layer_is_rounded_to_nearest() -> None:
    layer = sources.load_layer(record_training.LAYER)
    assert layer.activations_test is not None
    for bits in BITS:
        nearest = rtn.round_to_nearest(layer.weights, int(bits), record_training.GROUP_SIZE, "symmetric")
        expected = metrics.relative_output_error(layer.activations_test, layer.weights, nearest.dequantize())
        assert errors_of(int(bits))[0] == pytest.approx(expected, rel=1e-3)


def test_the_finding_is_true_in_every_state() -> None:
    for controls in EVERY:
        result, said = compute(controls), finding(controls)
        shown = {readout.name: readout.value for readout in FIGURE.view(controls).readouts}
        match result:
            case During():
                assert shown["after_error"] == result.errors[0]
                assert ("steps of training" in said) == (controls.steps > 0)
                assert controls.steps == 0 or result.during_error < result.after_error / 1.5
                assert shown["gain"] == pytest.approx(result.after_error / result.during_error)
            case Lattice():
                assert result.usual_error > result.untrained_error > result.recovered_error, (
                    "what `lost` says"
                )
            case Ternary():
                assert result.ordinary_error > 0.5 > 5 * result.trained_error
                assert result.changed == sources.trained_layer().ternary.changed == 0
        assert "{" not in said


def test_the_usual_scale_misses_the_lattice_and_the_recovered_one_hits_it() -> None:
    result = compute(Controls(story="lattice"))
    assert isinstance(result, Lattice)
    largest = float(result.weights[np.argmax(np.abs(result.weights))])
    assert result.usual_scale == np.float16(largest / -8)
    codes = result.weights / result.recovered_scale
    np.testing.assert_allclose(codes, np.rint(codes), atol=0.05)
    assert np.abs(np.rint(codes)).max() == 7
    saved = ggml.dequantize(ggml.quantize(result.recovered, "BF16"), "BF16")[0]
    np.testing.assert_array_equal(saved, result.weights)
    case = sources.trained_layer().lattice
    assert case.on_lattice == case.blocks == 256 * 384 // 32


def test_three_levels_change_nothing_that_was_trained_for_them() -> None:
    result = compute(Controls(story="ternary"))
    assert isinstance(result, Ternary)
    assert len(np.unique(result.trained)) == 3
    np.testing.assert_array_equal(result.trained, result.trained_kept)
    assert len(np.unique(result.ordinary_kept)) == 3
    assert np.mean(result.ordinary_kept == 0) > 0.8
    case = sources.trained_layer().ternary
    assert case.trained == case.stored


def test_the_drawing_has_every_weight_of_the_table() -> None:
    for story in ("lattice", "ternary"):
        shown = FIGURE.view(Controls(story=story))
        assert [len(panel["marks"]) for panel in shown.drawing["panels"]] == [len(shown.table.rows)] * 2
    shown = FIGURE.view(Controls(steps=60))
    assert [row[0] for row in shown.table.rows] == list(STEPS)
    assert shown.table.marked == {STEPS.index(60)}


def test_the_task_asks_for_the_fewest_steps() -> None:
    for seed in range(20):
        step = TASKS["shortest"].make(seed).steps[0]
        controls = step.state(str(step.answer))  # type: ignore[attr-defined]
        most = float(step.slots["most"].split("\u202f")[0]) / 100
        errors = errors_of(int(controls.bits))
        assert (
            next(steps for steps, error in zip(STEPS, errors, strict=True) if error <= most) == controls.steps
        )
        assert controls.steps < MOST_STEPS
