"""FIG.02: the rounding of a real block, checked by hand where possible."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from lessons.catalogue import load_lesson
from lessons.kit.own import Own
from lessons.kit.view import View
from lessons.quantization.blocks import BLOCKS, block_weights, start
from lessons.quantization.figures.rtn import FIGURE, Controls, levels, on_own
from quant_core import ggml
from tests.each import each

view = FIGURE.view
ROOT = Path(__file__).resolve().parents[2]
TEXT = load_lesson("quantization").texts["rtn"]


def readout(shown: View, name: str) -> float:
    return float(next(r.value for r in shown.readouts if r.name == name))


def rows(shown: View) -> np.ndarray:
    return np.array(shown.table.rows, dtype=float)


def finding(shown: View) -> str:
    return TEXT.sentence(shown.description[0])


def test_the_default_block_by_hand() -> None:
    """Sixteen levels over the range of 32 weights: the spacing is the range by fifteen."""
    weights = block_weights("calm", 32).astype(float)
    spacing = (weights.max() - weights.min()) / 15
    shown = view(Controls())
    assert readout(shown, "step") == pytest.approx(spacing, rel=1e-6)
    multiples = rows(shown)[:, 3] / spacing
    assert multiples == pytest.approx(np.rint(multiples), abs=1e-4)
    assert np.abs(rows(shown)[:, 3] - weights).max() == pytest.approx(readout(shown, "worst_error"))
    assert finding(shown) == (
        "At 4 bits these 32 weights share 16 levels."
        " No weight moves further than half a step; 6 round to zero."
    )


def test_stretching_the_largest_weight_costs_the_others() -> None:
    """Measured independently: signal to noise of the others 17.6, 9.8 and 6.0 dB."""
    sqnr = [readout(view(Controls(stretch=factor)), "others_sqnr") for factor in (1, 4, 8)]
    assert sqnr == pytest.approx([17.6, 9.8, 6.0], abs=0.05)
    assert finding(view(Controls(stretch=4))) == (
        "Stretched 4×, the largest weight makes every step 2.6× as wide; 17 of the other 31 round to zero."
    )


def test_three_controls_and_three_numbers_stand_in_front() -> None:
    assert list(Controls.widgets())[:3] == ["bits", "stretch", "block"]
    assert [one.name for one in view(Controls()).readouts[:3]] == ["step", "zeros", "mean_error"]


SIZES = Controls.widgets()["group_size"].states()
SCHEMES = Controls.widgets()["scheme"].states()


def every_state() -> Iterator[Controls]:
    for block, stretch in itertools.product(BLOCKS, (1, 2, 3, 16)):
        for bits, size, scheme in itertools.product(range(2, 9), SIZES, SCHEMES):
            yield Controls(bits=bits, block=block, group_size=size, scheme=scheme, stretch=stretch)
        for name in FORMATS:
            yield Controls(block=block, format=name, stretch=stretch)


def test_the_finding_is_true_in_every_state() -> None:
    """Its numbers are those of the table, and what it says of steps, zeros and the range holds."""
    keys = set()
    for controls in every_state():
        shown = view(controls)
        said, key, table = finding(shown), shown.description[0].key, rows(shown)
        keys.add(key)
        assert len(said) <= 150, said
        assert not re.search(r"\b1 (weights|levels|round)|\bnan\b|\binf\b", said), said
        largest = int(np.argmax(np.abs(table[:, 1])))
        others = np.delete(table[:, 3], largest)
        has_zero = any(line["zero"] for line in shown.drawing["levels"])
        count = np.count_nonzero(others == 0) if has_zero else int(readout(shown, "zeros"))
        if "half a step" in said or "half the widest" in said:
            assert np.abs(table[:, 4]).max() <= 0.501 * shown.drawing["step"]["value"], said
        if key == "drowned":
            assert np.ptp(others) == 0
        elif key.startswith("stretched"):
            assert controls.stretch > 1
            plain = view(controls.model_copy(update={"stretch": 1}))
            wider = float(said.partition("every step ")[2].partition("×")[0])
            steps = [one.drawing["step"]["value"] for one in (shown, plain)]
            assert wider == pytest.approx(steps[0] / steps[1], abs=0.051)
            assert wider > 1.4
        elif key == "two_stretched":
            plain = view(controls.model_copy(update={"stretch": 1}))
            apart = float(said.partition("two levels ")[2].partition("×")[0])
            assert apart == pytest.approx(readout(shown, "step") / readout(plain, "step"), abs=0.006)
            assert apart > 1
        elif key == "two":
            moved = float(said.partition("furthest moves ")[2].partition(" ")[0])
            assert moved == pytest.approx(np.abs(table[:, 4]).max() / readout(shown, "step"), abs=0.006)
            assert np.unique(np.abs(table[:, 3])).size == 1
        if key.startswith(("snapped", "stretched")):
            word = {0: "none", 1: "one"}.get(int(count), str(count))
            assert f"{word} " in said.rpartition(";")[2] or f"and {word} " in said, said
            assert has_zero or controls.format != "grid"
        if key.startswith("snapped"):
            assert f"these {len(table)} weights" in said
            assert f"share {readout(shown, 'levels'):.0f} levels" in said
    assert len(keys) >= 10, keys


@pytest.mark.parametrize(("bits", "expected"), [(2, 3), (4, 15), (8, 255)])
def test_spacing_is_the_range_by_one_less_than_the_levels(bits: int, expected: int) -> None:
    weights = block_weights("calm", 32).astype(float)
    shown = view(Controls(bits=bits))
    assert np.ptp(weights) / readout(shown, "step") == pytest.approx(expected, rel=1e-5)
    assert readout(shown, "levels") == expected + 1


def test_halving_the_bits_multiplies_the_spacing_by_seventeen() -> None:
    spacing = {bits: readout(view(Controls(bits=bits)), "step") for bits in (8, 4)}
    assert spacing[4] / spacing[8] == pytest.approx(17, rel=1e-5)


def test_a_bit_is_worth_about_six_decibels() -> None:
    sqnr = [readout(view(Controls(bits=bits, group_size="128")), "sqnr") for bits in range(4, 9)]
    assert np.diff(sqnr) == pytest.approx(6.02, abs=1.6)


@pytest.mark.parametrize(
    ("size", "scheme", "expected"),
    [("32", "asymmetric", 4 + 20 / 32), ("128", "asymmetric", 4 + 20 / 128), ("16", "symmetric", 5)],
)
def test_bits_per_weight_count_scale_and_zero_point(size: str, scheme: str, expected: float) -> None:
    shown = view(Controls(bits=4, group_size=size, scheme=scheme))
    assert readout(shown, "bits_per_weight") == expected
    assert readout(shown, "storage") == expected / 16


def test_outlier_determines_the_whole_grid() -> None:
    """At four bits all 127 neighbours of the 175-sigma weight round to zero; the figure says so."""
    shown = view(Controls(bits=4, block="outlier", group_size="128"))
    snapped = rows(shown)[:, 3]
    assert np.count_nonzero(snapped) == 1
    assert "drowned" in [sentence.key for sentence in shown.description]


def test_scaled_weight_is_called_synthetic_and_increases_other_errors() -> None:
    real, scaled = view(Controls(bits=4)), view(Controls(bits=4, stretch=16))
    assert "synthetic" in [sentence.key for sentence in scaled.notes]
    assert "synthetic" not in [sentence.key for sentence in real.notes]
    assert readout(scaled, "mean_error") > 5 * readout(real, "mean_error")


@pytest.mark.parametrize("block", ["calm", "attention", "llm"])
@pytest.mark.parametrize(("bits", "size"), [(3, "32"), (4, "32"), (4, "128"), (8, "128")])
def test_growing_outlier_increases_errors_of_the_others(block: str, bits: int, size: str) -> None:
    """Their SQNR falls and more of them become zero, though the SQNR of the whole block may rise."""
    shown = [view(Controls(block=block, bits=bits, group_size=size, stretch=n)) for n in (1, 2, 4, 8, 16)]
    sqnr, zeros = ([readout(one, name) for one in shown] for name in ("others_sqnr", "zeros"))
    assert (np.diff(sqnr) < 0.05).all()
    assert sqnr[-1] < sqnr[0] / 1.5
    assert (np.diff(zeros) >= 0).all()
    assert zeros[-1] > zeros[0]


@pytest.mark.parametrize("name", [name for name in levels.SIZES if name not in ("Q2_0", "TQ2_0", "Q1_0")])
@pytest.mark.parametrize("block", ["calm", "attention", "llm"])
def test_growing_outlier_increases_errors_in_every_format(name: str, block: str) -> None:
    real, scaled = (view(Controls(format=name, block=block, stretch=n)) for n in (1, 16))
    assert readout(scaled, "others_sqnr") < readout(real, "others_sqnr") / 1.5
    assert readout(scaled, "zeros") > readout(real, "zeros")


@pytest.mark.parametrize("name", ["Q2_0", "TQ2_0"])
@pytest.mark.parametrize("block", BLOCKS)
def test_three_levels_are_the_largest_weight_and_zero(name: str, block: str) -> None:
    """Twice as large, it leaves all others at zero: of a half of it none is larger."""
    for stretch in (1, 2):
        shown = view(Controls(format=name, block=block, stretch=stretch))
        table = rows(shown)
        largest = np.abs(table[:, 1]).max()
        assert readout(shown, "step") == pytest.approx(largest, rel=1e-3)
        expected = largest * np.rint(table[:, 1] / largest)
        assert table[:, 3] == pytest.approx(expected, rel=1e-3)
    assert readout(shown, "zeros") == len(table) - 1


@pytest.mark.parametrize("block", BLOCKS)
def test_two_levels_are_the_mean_magnitude_with_either_sign(block: str) -> None:
    """None of them is nearest to zero, and the largest weight does not set them: the drawing says neither."""
    shown = view(Controls(format="Q1_0", block=block))
    table = rows(shown)
    mean = np.abs(block_weights(block, 128).astype(float)).mean()
    assert table[:, 3] == pytest.approx(np.where(table[:, 1] >= 0, mean, -mean), rel=1e-3)
    assert (readout(shown, "zeros"), readout(shown, "levels")) == (0, 2)
    assert not shown.drawing["largest"]
    named = [value["text"] for value in shown.drawing["values"]]
    assert [text[0] for text in named] == (["+"] if block == "outlier" else ["−", "+"])
    assert len({text[1:] for text in named}) == 1
    assert not any(mark["zeroed"] for mark in shown.drawing["marks"])
    assert "no level at zero" in TEXT.sentence(shown.description[2])


def test_words_beside_levels_that_are_close_together_do_not_touch() -> None:
    """The two levels of Q1_0 are one line beside an outlier, and half a step is no distance."""
    for format, block, stretch in itertools.product(FORMATS, BLOCKS, (1, 16)):
        drawn = view(Controls(format=format, block=block, stretch=stretch)).drawing
        codes = sorted(line["y"] for line in drawn["levels"] if line["code"])
        values = sorted(
            [value["y"] for value in drawn["values"]] + [drawn["zero"]["y"]] * bool(drawn["zero"]["text"])
        )
        for places in (codes, values):
            assert all(np.diff(places) >= 14), (format, block, stretch, places)
        strip = drawn["strip"]
        assert strip["close"] == (strip["down"] - strip["up"] < 18)
    assert view(Controls(format="Q1_0", block="outlier")).drawing["strip"]["close"]
    assert not view(Controls(format="Q1_0")).drawing["strip"]["close"]


def test_tq2_0_draws_the_part_with_the_largest_weight_of_256() -> None:
    for block in BLOCKS:
        whole = np.abs(block_weights(block, 256))
        shown = view(Controls(format="TQ2_0", block=block))
        assert np.abs(rows(shown)[:, 1]).max() == pytest.approx(whole.max())
        assert rows(shown)[0, 0] == start(block, 256) + whole.argmax() // 32 * 32
    own = np.zeros(256, np.float32)
    own[200], own[10] = -3, 1
    shown = on_own(Controls(format="TQ2_0"), Own("mine", own))
    assert rows(shown)[8].tolist()[:4] == [200, -3, 0, -3]


@pytest.mark.parametrize("format", ["grid", "NF4", "Q4_0"])
def test_numbers_of_the_other_weights_match_the_table(format: str) -> None:
    shown = view(Controls(format=format, block="llm", stretch=3))
    table = rows(shown)
    others = np.delete(table, np.argmax(np.abs(table[:, 1])), axis=0)
    power, noise = (others[:, 1] ** 2).sum(), (others[:, 4] ** 2).sum()
    assert readout(shown, "others_sqnr") == pytest.approx(10 * np.log10(power / noise), abs=1e-4)
    assert readout(shown, "zeros") == np.count_nonzero(others[:, 3] == 0)
    said = TEXT.sentence(next(one for one in shown.description if one.key == "others"))
    assert f"{readout(shown, 'zeros'):.0f} of the {len(others)}" in said


def test_all_zero_other_weights_have_no_sqnr() -> None:
    """A reader's own block may be one weight and zeros; IQ4_NL has no level at zero."""
    block = np.zeros(256, np.float32)
    block[8] = 1
    assert readout(on_own(Controls(), Own("mine", block)), "others_sqnr") == float("inf")
    shown = on_own(Controls(format="IQ4_NL"), Own("mine", block))
    assert [one.text for one in shown.readouts if one.name == "others_sqnr"] == ["−∞"]


@pytest.mark.parametrize("scheme", ["asymmetric", "symmetric"])
@pytest.mark.parametrize("size", ["16", "128"])
def test_marks_match_the_table(scheme: str, size: str) -> None:
    shown = view(Controls(scheme=scheme, group_size=size))
    table, marks = rows(shown), shown.drawing["marks"]
    low, high = np.argmin(table[:, 1]), np.argmax(table[:, 1])
    slope = (marks[high]["true"] - marks[low]["true"]) / (table[high, 1] - table[low, 1])
    for row, mark in zip(table, marks, strict=True):
        assert mark["snapped"] - mark["true"] == pytest.approx(slope * (row[3] - row[1]), abs=0.01)
        assert mark["length"] == pytest.approx(abs(mark["snapped"] - mark["true"]), abs=0.01)


@pytest.mark.parametrize("format", ["grid", "MXFP4", "NF4"])
@pytest.mark.parametrize("block", ["calm", "outlier"])
def test_errors_of_the_strip_are_those_of_the_table(format: str, block: str) -> None:
    """On one scale, with half of the widest step where the lines are."""
    shown = view(Controls(format=format, block=block))
    strip, table = shown.drawing["strip"], rows(shown)
    half = shown.drawing["step"]["value"] / 2
    for error, bar in zip(table[:, 4], shown.drawing["errors"], strict=True):
        end = strip["middle"] if error < 0 else strip["middle"] - bar["length"]
        assert bar["top"] == pytest.approx(end, abs=0.02)
        assert bar["length"] == pytest.approx(abs(error) / half * (strip["middle"] - strip["up"]), abs=0.02)
        assert bar["top"] >= shown.drawing["height"]


def test_weights_at_zero_are_marked() -> None:
    shown = view(Controls(stretch=4))
    table, marks = rows(shown), shown.drawing["marks"]
    assert [mark["zeroed"] for mark in marks] == [value == 0 for value in table[:, 3]]
    assert shown.drawing["zero"]["weights"] == sum(mark["zeroed"] for mark in marks) == 17


@pytest.mark.parametrize("format", ["grid", "Q8_0", "IQ4_NL", "MXFP4", "NF4"])
def test_the_bracket_is_the_widest_step(format: str) -> None:
    shown = view(Controls(format=format, bits=5))
    step, gaps = shown.drawing["step"], np.abs(np.diff([line["y"] for line in shown.drawing["levels"]]))
    assert step["length"] == pytest.approx(gaps.max() / shown.drawing["drawn_every"], abs=0.03)
    assert 0 <= step["top"] <= shown.drawing["height"] - step["length"]


def test_a_larger_block_contains_the_smaller() -> None:
    assert set(block_weights("outlier", 16)) <= set(block_weights("outlier", 128))
    assert 7.9 < block_weights("outlier", 16).max() < 7.92


FORMATS = tuple(levels.SIZES)
KVALUES = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


def lines(shown: View) -> np.ndarray:
    """The values of the drawn levels, from their places and those of two weights."""
    marks, weights = shown.drawing["marks"], rows(shown)[:, 1]
    low, high = int(np.argmin(weights)), int(np.argmax(weights))
    slope = (weights[high] - weights[low]) / (marks[high]["true"] - marks[low]["true"])
    return np.array(
        [weights[low] + slope * (line["y"] - marks[low]["true"]) for line in shown.drawing["levels"]]
    )


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("Q4_0", np.arange(16) - 8),
        ("IQ4_NL", KVALUES),
        ("MXFP4", (-6, -4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 6)),
        ("Q4_K", np.arange(16)),
        ("NVFP4", (-6, -4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 6)),
        ("Q2_0", (-1, 0, 1)),
        ("TQ2_0", (-1, 0, 1)),
        ("Q1_0", (-1, 1)),
    ],
)
@pytest.mark.parametrize("block", BLOCKS)
def test_drawn_levels_are_those_of_the_format(name: str, shape: Sequence[float], block: str) -> None:
    """Up to one scale, which may be negative, and for Q4_K an offset."""
    drawn = lines(view(Controls(format=name, block=block)))
    assert len(drawn) == len(shape)
    either_way = (np.sort(shape), np.sort(-np.asarray(shape)))
    likeness = max(np.corrcoef(drawn, expected)[0, 1] for expected in either_way)
    assert likeness == pytest.approx(1, abs=1e-6)


def test_scales_of_the_formats_by_hand() -> None:
    weights = block_weights("calm", 32).astype(float)
    largest = np.abs(weights).max()
    step = {name: readout(view(Controls(format=name)), "step") for name in FORMATS}
    assert step["Q8_0"] == pytest.approx(largest / 127, rel=1e-3)
    assert step["Q4_0"] == pytest.approx(largest / 8, rel=1e-3)
    assert step["MXFP4"] == 2 ** (np.floor(np.log2(largest)) - 2) / 2
    narrowest = 0.0795803 * np.abs(block_weights("calm", 64)).max()
    assert step["NF4"] == pytest.approx(narrowest, rel=1e-5)
    scale = np.abs(block_weights("calm", 16)).max() / 6
    assert step["NVFP4"] == round(scale * 2**9) / 2**9 / 2, "between 2⁻⁶ and 2⁻⁵ UE4M3 has steps of 2⁻⁹"


def test_q4_k_is_the_sub_block_of_its_super_block() -> None:
    together = ggml.dequantize(ggml.quantize(block_weights("calm", 256), "Q4_K"), "Q4_K")[0]
    assert rows(view(Controls(format="Q4_K")))[:, 3] == pytest.approx(together[64:96])


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("block", BLOCKS)
def test_every_snapped_value_is_a_level_with_its_code(name: str, block: str) -> None:
    size = levels.SIZES[name]
    offset = start(block, size) - start(block, levels.QUANTIZED_TOGETHER[name])
    kept = levels.snap(block_weights(block, levels.QUANTIZED_TOGETHER[name]), name, offset)
    value_of = dict(zip(kept.level_codes.tolist(), kept.levels.tolist(), strict=True))
    assert [value_of[code] for code in kept.codes.tolist()] == kept.values.tolist()
    assert (np.diff(kept.levels) > 0).all()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Q8_0", 8.5),
        ("Q4_0", 4.5),
        ("Q4_K", 4.5),
        ("IQ4_NL", 4.5),
        ("MXFP4", 4.25),
        ("NVFP4", 4.5),
        ("NF4", 4.5),
        ("Q2_0", 2.25),
        ("TQ2_0", 2.0625),
        ("Q1_0", 1.125),
    ],
)
def test_a_format_decides_bits_block_and_grid(name: str, expected: float) -> None:
    shown = view(Controls(format=name))
    assert readout(shown, "bits_per_weight") == expected
    assert len(shown.table.rows) == levels.SIZES[name]
    same = view(Controls(format=name, bits=8, group_size="128", scheme="symmetric"))
    assert same.table.rows == shown.table.rows
    assert same.readouts == shown.readouts
    keys = [note.key for note in shown.notes]
    assert f"format_{name}" in keys
    assert "format_absent" in keys
    assert set(shown.limits) == {"bits", "group_size", "scheme"}
    assert view(Controls()).limits == {}
    assert ("not_legal" in keys) == (name in ("Q4_K", "TQ2_0")), "a row of 384 weights has no super-blocks"


def test_what_llama_cpp_does_with_rows_that_do_not_divide() -> None:
    def said(format: str, block: str) -> str:
        return " ".join(map(TEXT.sentence, view(Controls(format=format, block=block)).notes))

    assert "no multiple of 256, so llama.cpp would store the tensor as Q4_0" in said("TQ2_0", "llm")
    assert "576 weights, no multiple of 128, so llama.cpp refuses to store it as Q1_0" in said("Q1_0", "llm")
    assert "multiple of" not in said("Q1_0", "calm") + said("NVFP4", "llm") + said("TQ2_0", "outlier")


@each("name, block, stretch", itertools.product(FORMATS, BLOCKS, [1, 16]))
def test_every_format_is_shown_in_words_and_plain_numbers(name: str, block: str, stretch: int) -> None:
    shown = view(Controls(format=name, block=block, stretch=stretch))
    sentences = [TEXT.sentence(sentence) for sentence in (*shown.description, *shown.notes)]
    for text in (*sentences, *(entry.text for entry in shown.readouts), *shown.formulas):
        assert not re.search(r"\b(nan|inf)\b|\de-?\d", text, re.IGNORECASE), text
    marks, table = shown.drawing["marks"], rows(shown)
    top = shown.drawing["height"]
    assert all(0 <= mark[key] <= top for mark in marks for key in ("true", "snapped"))
    order = np.argsort(table[:, 3], kind="stable")
    assert (np.diff([marks[i]["snapped"] for i in order]) <= 0).all()


def test_every_option_has_its_words() -> None:
    for control, widget in Controls.widgets().items():
        TEXT.control(control)
        for option in getattr(widget, "options", ()):
            TEXT.option(control, option, widget)
