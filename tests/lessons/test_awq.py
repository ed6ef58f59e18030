"""FIG.04: the minimum over α, its limits and the control layer; numbers of the reference and of the paper."""

from __future__ import annotations

import re

import numpy as np
import pytest

from lessons.catalogue import load_lesson
from lessons.kit import numbers
from lessons.kit.view import View
from lessons.quantization import sources
from lessons.quantization.figures.awq import (
    FIGURE,
    GROUP_SIZES,
    HEIGHT,
    KEPT_BY,
    Controls,
    changes,
    channel_shares,
    error_scale,
    sweep,
)
from quant_core.methods import awq

view = FIGURE.view

TEXT = load_lesson("quantization").texts["awq"]
MAIN, CONTROL = "minilm.5.ffn_in", "minilm.1.query"


def readout(shown: View, name: str) -> float:
    return float(next(r.value for r in shown.readouts if r.name == name))


def finding(controls: Controls) -> str:
    return TEXT.sentence(view(controls).description[0])


def test_alpha_zero_is_plain_rtn() -> None:
    shown = view(Controls(alpha=0))
    assert readout(shown, "gain") == 1
    assert readout(shown, "scale") == pytest.approx(1)
    assert shown.description[0].key == "plain"


def test_search_finds_the_minimum_of_the_main_layer() -> None:
    """Measured independently of this code: α 0.45, 1.78 times lower than RTN at three bits, groups of 128."""
    shown = view(Controls())
    assert readout(shown, "best_alpha") == 0.45
    assert readout(shown, "gain") == pytest.approx(1.78, abs=0.01)
    said = finding(Controls()).replace("\u202f", " ")
    assert said.startswith(
        "Scaled by α = 0.45, the 4 loud channels err 8.9× less: output error 2.21 %, unscaled 4.03 %."
    )


def test_full_scale_is_worse_than_no_scale() -> None:
    shown = view(Controls(alpha=1))
    assert readout(shown, "gain") < 1
    assert shown.description[0].key == "worse"


@pytest.mark.parametrize(
    ("alpha", "loud", "neighbours", "total"),
    [(0.0, 1.85, 2.18, 4.03), (0.45, 0.21, 2.00, 2.21), (1.0, 0.03, 5.48, 5.52)],
)
def test_the_split_of_the_main_layer(alpha: float, loud: float, neighbours: float, total: float) -> None:
    """Measured independently of this code, on the calibration text."""
    s, step = sweep(MAIN, 3), round(20 * alpha)
    parts = [100 * float(values[step]) for values in (s.loud, s.neighbours, s.calibration)]
    assert parts == pytest.approx([loud, neighbours, total], abs=0.0055)
    assert readout(view(Controls(alpha=alpha)), "output_error") == s.calibration[step]


@pytest.mark.parametrize("layer", GROUP_SIZES)
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_shares_add_up(layer: str, bits: int) -> None:
    """By hand for a channel; in total the error of the search; and both root mean squares."""
    s, data = sweep(layer, bits), sources.load_layer(layer)
    assert data.hessian is not None
    assert data.mean_abs is not None
    assert s.loud + s.neighbours == pytest.approx(s.calibration, rel=1e-5)
    assert (s.loud > 0).all()
    assert (s.neighbours > 0).all()
    scaled = awq.apply(data.weights, awq.scales_for(data.mean_abs, 0.6), bits, GROUP_SIZES[layer])
    error = np.asarray(scaled.dequantize() - data.weights, np.float64)
    loudest = int(np.argmax(data.mean_abs))
    by_hand = sum(
        float(np.dot(error[:, loudest], error[:, j])) * float(data.hessian[loudest, j])
        for j in range(error.shape[1])
    )
    assert channel_shares(error, data.hessian)[loudest] == pytest.approx(by_hand / len(error), rel=1e-4)
    length = float(np.linalg.norm(error[:, loudest]))
    assert s.loudest_rounding[12] == pytest.approx(length / len(error) ** 0.5)
    loud = np.argsort(-data.mean_abs)[: s.kept_count]
    assert len(loud) == round(0.01 * error.shape[1])
    others = np.delete(error, loud, axis=1)
    assert s.neighbour_rounding[12] == pytest.approx(float(np.sqrt((others**2).mean())))


def test_the_finding_is_true_in_every_state() -> None:
    """Each sentence's claims, from the arrays: who errs less or more, and against what."""
    seen = set()
    for controls in Controls.every():
        s = sweep(controls.layer, int(controls.bits))
        step, best = round(20 * controls.alpha), round(20 * s.alpha)
        key, said = view(controls).description[0].key, finding(controls)
        seen.add(key)
        assert len(said) <= 150
        assert numbers.percent(float(s.calibration[0]), 2) in said
        if key == "plain":
            assert step == 0
            continue
        less = float(s.loud[0] / s.loud[step])
        printed = re.search(r"err ([\d.]+)× less", said)
        assert printed
        assert float(printed[1]) == pytest.approx(less, rel=0.05)
        assert float(printed[1]) > 1
        assert f"output error {100 * float(s.calibration[step]):.2f}\u202f%, unscaled" in said
        if key == "before":
            assert s.calibration[step] > s.calibration[best]
            assert s.calibration[step] < s.calibration[0]
        elif key == "least":
            assert s.calibration[step] == s.calibration.min()
            assert (s.neighbours[step + 1 :] > s.neighbours[step]).all()
        elif key == "beyond":
            assert s.neighbours[step] - s.neighbours[best] > max(0, s.loud[best] - s.loud[step])
            assert s.calibration[step] < s.calibration[0]
        else:
            assert key == "worse"
            more = re.search(r"neighbours ([\d.]+)× more", said)
            assert more
            assert float(more[1]) == pytest.approx(float(s.neighbours[step] / s.neighbours[0]), abs=0.0051)
            assert float(more[1]) > 1
            assert s.calibration[step] >= s.calibration[0]
    assert seen == {"plain", "before", "least", "beyond", "worse"}


def test_alpha_one_is_drawn_and_never_chosen() -> None:
    for bits in (2, 3, 4):
        found = sweep(MAIN, bits)
        assert len(found.calibration) == len(found.held_out) == 21
        assert found.alpha < 1


def test_a_layer_without_outliers_gains_next_to_nothing() -> None:
    best = sweep(CONTROL, 3)
    at = round(best.alpha * 20)
    assert best.held_out[0] / best.held_out[at] == pytest.approx(1.02, abs=0.02)


def test_salience_is_in_the_activations_of_the_layer() -> None:
    """Measured independently: 0.53 of the error remains by activation, 1.00 by weight, 0.99 at random."""
    kept = sweep(MAIN, 3).kept
    assert [kept[by] for by in KEPT_BY] == pytest.approx([0.53, 1.0, 0.99], abs=0.02)


@pytest.mark.parametrize("layer", GROUP_SIZES)
@pytest.mark.parametrize("alpha", [0.2, 0.45, 0.7, 1.0])
def test_the_range_of_the_block_changes_and_the_spacing_with_it(layer: str, alpha: float) -> None:
    """The grid would be s times finer only with an unchanged range; the description states the change."""
    plain, shown = (view(Controls(layer=layer, alpha=a)) for a in (0.0, alpha))
    step, finer, coarser = changes(sweep(layer, 3), round(alpha * 20))
    assert finer == pytest.approx(readout(plain, "spacing") / readout(shown, "spacing"), rel=1e-5)
    assert finer == pytest.approx(readout(shown, "scale") / step, rel=1e-5)
    assert abs(step - 1) > 0.05
    assert coarser > 1
    said = TEXT.sentence(next(one for one in shown.description if one.key == "block"))
    assert f"{numbers.times(finer)} closer" in said
    assert not [one for one in plain.description if one.key == "block"]


@pytest.mark.parametrize("layer", GROUP_SIZES)
@pytest.mark.parametrize("alpha", [0.0, 0.45, 1.0])
def test_the_drawing_is_the_table(layer: str, alpha: float) -> None:
    """The points lie on their curves at α, and the column is one share on the other."""
    shown = view(Controls(layer=layer, alpha=alpha))
    (row,) = (shown.table.rows[i] for i in shown.table.marked)
    y, now = error_scale(sweep(layer, 3)), shown.drawing["now"]
    assert row[0] == alpha
    for name, value in (("loud", row[1]), ("neighbours", row[2]), ("sum", row[3])):
        assert now[name] == y(value)
        x, height = shown.drawing["curves"][name].removeprefix("M").split("L")[round(20 * alpha)].split()
        assert float(x) == pytest.approx(1000 * alpha)
        assert float(height) == pytest.approx(1000 * now[name] / HEIGHT, abs=0.06)
    assert now["loud_y"] == pytest.approx(now["sum"], abs=0.02)
    assert now["neighbours_y"] == pytest.approx(now["neighbours"], abs=0.02)
    assert now["loud_y"] + now["loud_height"] == pytest.approx(now["neighbours_y"], abs=0.01)
    assert now["neighbours_y"] + now["neighbours_height"] == pytest.approx(HEIGHT, abs=0.01)


def test_the_lowest_point_is_marked() -> None:
    for layer in GROUP_SIZES:
        for bits in ("2", "3", "4"):
            drawn, s = view(Controls(layer=layer, bits=bits)).drawing, sweep(layer, int(bits))
            assert drawn["best_text"] == f"{s.alphas[int(np.argmin(s.calibration))]:.2f}"
            assert drawn["best_y"] == error_scale(s)(float(s.calibration.min()))


def test_search_does_not_use_held_out_text() -> None:
    s = sweep(MAIN, 3)
    assert not np.allclose(s.calibration, s.held_out, rtol=1e-3)
