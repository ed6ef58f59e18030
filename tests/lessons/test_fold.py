"""FIG.00: the shown bits, level and error are those of the weight, and the size that of the model."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lessons.kit.view import View
from lessons.quantization.blocks import BLOCKS, block_weights
from lessons.quantization.figures.fold import CELL, FIGURE, FILE_TYPES, Controls, keep, model_size
from tests.each import each

view = FIGURE.view
STEPS = range(13)


def readout(shown: View, name: str) -> float:
    return float(next(r.value for r in shown.readouts if r.name == name))


def percent(position: str) -> float:
    assert position.endswith("%")
    return float(position[:-1])


def sentences(shown: View) -> list[str]:
    return [sentence.key for sentence in shown.description]


def test_the_default_weight_by_hand() -> None:
    """Column 75 is 0.04376; fifteen steps of 0.017875 span the block, and 0 is level 7."""
    weights = block_weights("calm", 32).astype(float)
    scale = (weights.max() - weights.min()) / 15
    assert weights[11] == pytest.approx(0.043762, abs=1e-6)
    assert scale == pytest.approx(0.0178752, abs=1e-7)
    shown = view(Controls())
    assert readout(shown, "code") == round(0.043762 / 0.0178752) + 7 == 9
    assert readout(shown, "restored") == pytest.approx((9 - 7) * 0.0178752, abs=1e-6)
    assert readout(shown, "error") == pytest.approx(2 * 0.0178752 - 0.043762, abs=1e-6)
    assert readout(shown, "error_in_steps") == pytest.approx(0.448, abs=0.001)
    assert [cell["bit"] for cell in shown.drawing["kept"]["cells"]] == ["1", "0", "0", "1", *[""] * 12]


@pytest.mark.parametrize(("kind", "exponent_bits", "bias"), [("fp16", 5, 15), ("bf16", 8, 127)])
@pytest.mark.parametrize("block", BLOCKS)
def test_the_sixteen_bits_are_the_weight(kind: str, exponent_bits: int, bias: int, block: str) -> None:
    """Read back by the definition of the format, every row's bits give the weight of that row."""
    for row in view(Controls(format=kind, block=block)).table.rows:
        sign, exponent, fraction = row[2].split(" ")
        assert (len(sign), len(exponent), len(fraction)) == (1, exponent_bits, 15 - exponent_bits)
        e, significand = int(exponent, 2), int(fraction, 2) / 2 ** len(fraction)
        magnitude = 2.0 ** (e - bias) * (1 + significand) if e else 2.0 ** (1 - bias) * significand
        assert (-1) ** int(sign) * magnitude == row[1]


def test_the_model_is_exact_at_both_ends() -> None:
    """Published: 70 553 706 496 parameters, two bytes each; Q4_K_M of it 42.5 GB, 39.6 GiB, 4.82 bits."""
    whole, folded = model_size(16), model_size(4)
    assert whole.size == pytest.approx(2 * 70_553_706_496, rel=1e-4)  # the norms stay in 32 bits
    assert folded.size / 1e9 == pytest.approx(42.5, abs=0.05)
    assert folded.size / 2**30 == pytest.approx(39.6, abs=0.05)
    assert folded.bits_per_weight == pytest.approx(4.82, abs=0.005)
    shown = view(Controls())
    assert readout(shown, "smaller") == pytest.approx(whole.size / folded.size)


def test_step_without_a_file_type_is_labelled_and_between_two() -> None:
    for step in STEPS:
        shown, bits = view(Controls(step=step)), 16 - step
        assert ("size_file" in sentences(shown)) == (bits in FILE_TYPES)
        assert ("size_between" in sentences(shown)) == (bits not in FILE_TYPES)
    line = [model_size(bits).size for bits in range(16, 7, -1)]
    assert np.diff(line) == pytest.approx(np.full(8, (line[-1] - line[0]) / 8))
    assert all(a > b for a, b in itertools.pairwise(model_size(bits).size for bits in range(16, 3, -1)))


@pytest.mark.parametrize("step", STEPS)
def test_number_of_cells_is_number_of_bits(step: int) -> None:
    shown = view(Controls(step=step))
    cells = shown.drawing["kept"]["cells"]
    assert len(cells) == 16
    assert [cell["folded"] for cell in cells] == [False] * (16 - step) + [True] * step
    assert readout(shown, "bits_kept") == 16 - step
    if step:
        assert int("".join(cell["bit"] for cell in cells), 2) == readout(shown, "code")


def test_before_the_first_fold_nothing_is_quantized() -> None:
    shown = view(Controls(step=0))
    original = [cell["bit"] for cell in shown.drawing["original"]["cells"]]
    assert [cell["bit"] for cell in shown.drawing["kept"]["cells"]] == original
    assert readout(shown, "error") == 0
    assert not shown.drawing["kept"]["is_code"]
    assert not shown.drawing["ladder"]["quantized"]
    assert shown.drawing["ladder"]["true"] == shown.drawing["ladder"]["kept"]
    assert next(r for r in shown.readouts if r.name == "error_in_steps").text == "–"
    assert sentences(shown)[0] == "whole"


@each("block, bits", itertools.product(BLOCKS, range(4, 16)))
def test_every_weight_goes_to_the_nearest_of_the_levels(block: str, bits: int) -> None:
    """Also at the widths above eight, which the library's own grids do not offer."""
    weights = block_weights(block, 32)
    kept = keep(weights, bits)
    assert kept.codes is not None
    assert kept.fitted is not None
    assert 0 <= kept.codes.min() <= kept.codes.max() <= 2**bits - 1
    assert np.ptp(weights) / kept.scale <= (2**bits - 1) * (1 + 1e-5)
    levels = kept.fitted.levels()
    nearest = np.abs(levels[None, :] - weights[:, None]).min(axis=1)
    assert np.abs(kept.restored - weights) == pytest.approx(nearest, abs=1e-6)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("weight", [0, 11, 24, 31])
def test_the_dot_lies_on_the_level_of_the_code(block: str, weight: int) -> None:
    shown = view(Controls(block=block, weight=weight))
    ladder, code = shown.drawing["ladder"], int(readout(shown, "code"))
    levels = ladder["codes"]
    assert [level["code"] for level in levels if level["chosen"]] == [str(code)]
    assert percent(ladder["kept"]) == pytest.approx(percent(levels[code]["x"]), abs=0.01)
    assert [rung["x"] for rung in ladder["rungs"]] == [level["x"] for level in levels]
    assert percent(ladder["band"]["width"]) == pytest.approx(100 / 16, abs=0.01)
    away = abs(percent(ladder["true"]) - percent(ladder["kept"]))
    assert away == pytest.approx(readout(shown, "error_in_steps") * 100 / 16, abs=0.02)
    assert away <= 100 / 32 + 0.01


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("step", [6, 10, 12])
def test_the_kept_cells_stand_over_their_level(block: str, step: int) -> None:
    """Or as near as the edges of the drawing allow."""
    for weight in range(32):
        shown = view(Controls(block=block, weight=weight, step=step))
        kept = [percent(cell["x"]) for cell in shown.drawing["kept"]["cells"] if not cell["folded"]]
        left, right = kept[0], kept[-1] + CELL
        level = percent(shown.drawing["ladder"]["kept"])
        assert -0.01 <= left < right <= 100.01
        assert np.diff(kept) == pytest.approx(np.full(len(kept) - 1, CELL), abs=0.02)
        middle = (left + right) / 2
        if left > 0.01 and right < 99.99:
            assert middle == pytest.approx(level, abs=0.02)
        else:
            assert left - 0.01 <= level <= right + 0.01


@pytest.mark.parametrize("weight", range(0, 32, 5))
@pytest.mark.parametrize("step", [0, 9, 12])
def test_the_nudge_leads_from_the_true_weight_to_its_level(step: int, weight: int) -> None:
    ladder = view(Controls(step=step, weight=weight)).drawing["ladder"]
    nudge = ladder["nudge"]
    ends = [percent(nudge["x"]), percent(nudge["x"]) + percent(nudge["width"])]
    assert ends == pytest.approx(sorted([percent(ladder["true"]), percent(ladder["kept"])]), abs=0.02)


@pytest.mark.parametrize("step", range(1, 13))
def test_the_band_holds_the_true_weight_and_grows_with_every_fold(step: int) -> None:
    ladder = view(Controls(step=step)).drawing["ladder"]
    true, left, width = (
        percent(ladder["true"]),
        percent(ladder["band"]["x"]),
        percent(ladder["band"]["width"]),
    )
    assert left - 0.01 <= true <= left + width + 0.01
    assert width >= percent(view(Controls(step=step - 1)).drawing["ladder"]["band"]["width"])


@pytest.mark.parametrize("block", BLOCKS)
def test_the_other_weights_lie_in_piles_below_the_chosen_one(block: str) -> None:
    """Over its final level every weight has a height of its own."""
    shown = view(Controls(block=block))
    ladder = shown.drawing["ladder"]
    assert [mark["i"] for mark in ladder["others"]] == [i for i in range(32) if i != 11]
    places = [(shown.table.rows[mark["i"]][3], mark["y"]) for mark in ladder["others"]]
    assert len(set(places)) == len(places)
    assert all(ladder["y"] + 20 < y < ladder["height"] for _, y in places)


@each("block, step", itertools.product(BLOCKS, STEPS))
def test_every_state_has_its_own_finding(block: str, step: int) -> None:
    for weight in range(32):
        shown = view(Controls(block=block, step=step, weight=weight))
        finding = sentences(shown)[0]
        if step == 0:
            assert finding == "whole"
            assert "index" not in sentences(shown)
            continue
        assert finding.startswith("folded" if step == 12 else "between")
        off = next(r for r in shown.readouts if r.name == "error_in_steps")
        assert finding.endswith("_exact") == (off.text == "0.00")
        assert 0 <= float(off.value) <= 0.5 + 1e-3
        slots = shown.description[0].slots
        assert int(slots["code"], 2) == readout(shown, "code") < 2 ** (16 - step)


def test_beside_an_outlier_all_weights_share_a_level() -> None:
    codes = [row[3] for row in view(Controls(block="outlier")).table.rows]
    assert codes.count("0000") == 31
    assert codes.count("1111") == 1
