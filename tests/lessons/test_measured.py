"""FIG.05D and its data: the file of `make measure` is current and reproducible."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from lessons.catalogue import load_lesson
from lessons.kit import numbers
from lessons.kit.view import View
from lessons.quantization import measuring, sources
from lessons.quantization.figures.measured import (
    FIGURE,
    FLOOR,
    HIGHEST,
    REFERENCE,
    ROWS,
    Controls,
    compute,
)
from lessons.quantization.sources import Measured, name_of
from quant_core.files.storage import FILE_TYPES
from quant_core.ggml import QUANTIZABLE
from quant_core.ggml.mixes import tensor_types
from quant_core.llm.evaluate import Windows
from quant_core.methods.int8 import THRESHOLD

LESSON = load_lesson("quantization")
TEXT = LESSON.texts["measured"]
CONDITIONS = sources.measured_conditions()
SAMPLED = (
    "F16", "Q4_K_M", "Q2_K-imatrix", "rtn-3-g64", "awq-3-g32", "gptq-3-g64", "hqq-3-g64", "nf4", "mxfp4",
    "smoothquant", "llm-int8", "keep-activation-3-g64",
)  # fmt: skip
CALIBRATED = ("gptq", "awq", "imatrix", "keep", "smoothquant")


def view(**controls: str) -> View:
    return FIGURE.view(Controls.parse(list(controls.items())))


def words(shown: View) -> str:
    return " ".join(TEXT.sentence(sentence) for sentence in (*shown.description, *shown.notes))


def finding(shown: View) -> str:
    return TEXT.sentence(shown.description[0])


# --- the file ---------------------------------------------------------------------------------------------


def test_the_file_is_current() -> None:
    """Fails after a change to the code or the weights that the numbers depend on: run `make measure`."""
    assert CONDITIONS["fingerprint"] == measuring.fingerprint(), (
        "data/measured.json is stale: run `make measure`"
    )
    assert [row.key for row in sources.measured()] == [recipe.key for recipe in measuring.RECIPES]
    assert [(row.method, row.source, row.tokens) for row in sources.measured_calibration()] == [
        (one.method, one.source, one.tokens) for one in measuring.calibrations()
    ]


def test_fingerprint_depends_on_code_and_not_on_words() -> None:
    source = '"""What it is."""\n\n# why\nX = 1\n\n\ndef f():\n    """Say."""\n    return X\n'
    same = measuring.bare_source(source.replace("Say.", "Tell.").replace("# why", "# because"))
    assert measuring.bare_source(source) == same == "X = 1\ndef f():\n    return X\n"
    assert measuring.bare_source(source.replace("X = 1", "X = 2")) != same
    counted = {path.relative_to(measuring.ROOT).as_posix() for path in measuring.counted_modules()}
    assert {
        "quant_core/llm/model.py",
        "quant_core/methods/gptq.py",
        "quant_core/ggml/q4_k.py",
        "quant_core/ggml/mixes.py",
    } <= counted
    assert "quant_core/methods/clip.py" in counted  # not taken for a part of quant_core.cli
    assert not {path for path in counted if path.startswith("quant_core/cli/") or path.endswith("gguf.py")}


@pytest.mark.parametrize("key", SAMPLED)
def test_a_sample_is_measured_again(key: str) -> None:
    """The first windows of the text; their perplexity is stored beside that of the whole."""
    recipe = next(recipe for recipe in measuring.RECIPES if recipe.key == key)
    sample = Windows(measuring.text().tokens[: measuring.SAMPLE_WINDOWS], 1)
    (row,) = measuring.measure([recipe], sample)
    written = ROWS[key]
    # What calibration weighs may round the other way where another BLAS adds in another order.
    tolerance = 1e-2 if any(name in key for name in CALIBRATED) else 1e-4
    assert row["perplexity"] == pytest.approx(written.sample_perplexity, rel=tolerance)
    assert (row["bytes"], row["bits_per_weight"]) == (written.bytes, written.bits_per_weight)


def test_calibration_text_is_generated_by_the_model() -> None:
    """The first token of a few windows: the random numbers of all windows are drawn together."""
    made = measuring.tiny_model().generate(np.zeros((measuring.CONTEXT, 1), int), 3, 1.0, measuring.SEED)
    np.testing.assert_array_equal(made, measuring.calibration()[:, 1:4])


# --- the numbers ------------------------------------------------------------------------------------------


def test_the_known_values_of_the_weights_description_hold() -> None:
    """Round to nearest, groups of 64, all matrices, on the whole held-out text: to three digits."""
    known = {"F16": 21.11, "rtn-5-g64": 21.35, "rtn-4-g64": 21.90, "rtn-3-g64": 24.78, "rtn-2-g64": 113.6}
    for key, perplexity in known.items():
        assert float(f"{ROWS[key].perplexity:.4g}") == perplexity
    assert REFERENCE.standard_error == pytest.approx(0.15, abs=0.005)
    assert CONDITIONS["text"]["predictions"] == 120_777


def test_bits_per_weight_are_the_mixs_own() -> None:
    shape = measuring.model_file().shape
    for row in (row for row in sources.measured() if row.family == "gguf"):
        assert row.bytes == sum(tensor.bytes for tensor in tensor_types(shape, row.name, row.importance))


def test_every_row_is_a_measurement() -> None:
    for row in sources.measured():
        assert row.rise == pytest.approx(math.log(row.perplexity / REFERENCE.perplexity), abs=2e-5)
        assert 0 <= row.agreement <= 1
        assert row.divergence >= 0
        assert 0 < row.standard_error < 0.02 * row.perplexity
        assert row is REFERENCE or 0 < row.rise_error < row.standard_error


def pairs(name: str, of: str) -> list[tuple[Measured, Measured]]:
    """The rows of two methods at the same width and group."""
    rows = sources.measured()
    return [
        (one, other)
        for one in rows
        for other in rows
        if (one.name, other.name) == (name, of)
        and (one.bits, one.group_size) == (other.bits, other.group_size)
    ]


def test_statements_about_the_methods_hold() -> None:
    assert all(gptq.perplexity < rtn.perplexity for gptq, rtn in pairs("gptq", "rtn") if rtn.bits < 4)
    # No loud channels: AWQ changes little at the widths at which the model still works.
    assert all(
        abs(awq.perplexity / rtn.perplexity - 1) < 0.03 for awq, rtn in pairs("awq", "rtn") if rtn.bits > 2
    )
    assert ROWS["Q2_K-imatrix"].perplexity < ROWS["Q2_K"].perplexity
    assert ROWS["keep-activation-3-g64"].perplexity < ROWS["keep-random-3-g64"].perplexity
    eight = [row for row in sources.measured() if row.family == "w8a8"]
    assert [row.activation_bits for row in eight] == [8] * 4
    assert all(row.perplexity < 1.01 * REFERENCE.perplexity for row in eight)


def test_every_format_and_method_is_measured_at_every_width() -> None:
    """Omissions are listed in the note of the figure and in the docstring of `measuring`."""
    measured = {(row.name, row.bits, row.group_size) for row in sources.measured()}
    for name in ("rtn", "gptq", "awq", "awq-clip", "hqq", "gptq-act-order"):
        assert {(name, bits, 64) for bits in (4, 3, 2)} <= measured
    for name in ("rtn", "gptq", "awq"):
        assert {(name, bits, size) for bits in (4, 3) for size in (32, 128)} <= measured
    # All file types that can be written, but for those that change nothing or repeat another.
    mixes = {row.name for row in sources.measured()}
    shape = measuring.model_file().shape
    writable = {
        mix
        for mix in FILE_TYPES
        if {tensor.type for tensor in tensor_types(shape, mix, True)} <= {*QUANTIZABLE, "F32"}
    }
    assert writable - mixes == {"F32", "BF16", "MXFP4_MOE"}


def test_statements_about_llm_int8_hold() -> None:
    """In down projections at least half of the channels have outliers, in others almost none."""
    outliers: dict[str, float] = {}

    def listen(name: str, x: NDArray[np.float32]) -> None:
        outliers[name] = float((np.abs(x) >= THRESHOLD).any(axis=0).mean())

    measuring.tiny_model().logits(measuring.text().tokens[:8], listen=listen, last_only=True)
    layers = measuring.tiny_model().linears
    down = [outliers[name] for name in layers if "ffn_down" in name]
    assert min(down) > 0.5
    assert max(down) > 0.9
    assert max(outliers[name] for name in layers if "ffn_down" not in name) < 0.05
    assert "in 16 bits" in words(view(row="llm-int8"))
    assert "rounded to 8 bits too" in words(view(row="smoothquant"))


# --- the figure -------------------------------------------------------------------------------------------


def test_the_chosen_row_is_read_out() -> None:
    shown = view(row="gptq-3-g64")
    values = {readout.name: readout.value for readout in shown.readouts}
    row = ROWS["gptq-3-g64"]
    assert values["perplexity"] == row.perplexity
    assert values["bits_per_weight"] == row.bits_per_weight
    assert values["row"] == "GPTQ 3 g64"
    assert "GPTQ 3 g64" in words(shown)


def test_filters_select_rows() -> None:
    assert {row.family for row in compute(Controls(family="gptq")).shown} == {"original", "gptq"}
    assert not [row for row in compute(Controls(imatrix="without")).shown if row.importance]
    plain = {row.name for row in compute(Controls(family="gguf", imatrix="with")).shown}
    assert plain == {"F16", *measuring.IMATRIX_MIXES}
    assert {row.group_size for row in compute(Controls(family="rtn", group="32")).shown} == {0, 32}
    for family in Controls.widgets()["family"].states():
        assert compute(Controls(family=str(family))).shown[0] is REFERENCE


def test_hidden_row_is_named_and_replaced() -> None:
    shown = view(family="gptq", row="Q4_K_M")
    assert "Q4_K_M is not among the rows shown" in words(shown)
    assert finding(shown).startswith("GPTQ act-order 4 g64,")
    assert "Q4_K_M" in (shown.limits["row"].options or ())
    assert "blocks of 64 only" in words(view(group="32"))


def test_the_quoted_curve_is_its_own_rise_and_has_its_warning() -> None:
    shown = view(quoted="on")
    assert shown.chart
    (quoted,) = [series for series in shown.chart.series if series.name == "quoted"]
    table = {row.scheme: row for row in sources.base_quality_table() if not row.importance}
    drawn = {point.key.removeprefix("quoted-"): point.y for point in quoted.points}
    assert drawn["Q4_K_M"] == pytest.approx(100 * (table["Q4_K_M"].perplexity / table["F16"].perplexity - 1))
    assert "Only the shape can be compared" in words(shown)
    assert "quoted" not in [series.name for series in view().chart.series]  # type: ignore[union-attr]


@pytest.mark.parametrize("family", ["all", "gguf", "rtn", "gptq", "awq", "w8a8", "other"])
@pytest.mark.parametrize("group", ["32", "64", "128"])
def test_every_mark_lies_in_the_plot_at_its_rise(family: str, group: str) -> None:
    """Better is up; the first line has what is not told from 16 bits, a note names what is far worse."""
    shown = view(family=family, group=group, quoted="on")
    assert shown.chart
    high, low = shown.chart.y.domain
    marks = [series for series in shown.chart.series if series.kind == "points"]
    drawn = {point.key: point.y for series in marks for point in series.points}
    rows = {row.key for row in compute(Controls(family=family, group=group)).shown}
    ruinous = {key for key in rows if ROWS[key].perplexity > HIGHEST * REFERENCE.perplexity}
    assert drawn.keys() == rows - ruinous - {"F16"}
    assert ruinous == (set(measuring.TRAINED_FOR) if family in ("all", "gguf") else set())
    (note,) = [TEXT.sentence(each) for each in shown.notes if each.key == "beyond"] or [""]
    assert all(f"{key} (" in note for key in ruinous)
    assert bool(ruinous) == bool(note)
    assert len(note) <= 130
    for series in shown.chart.series:
        assert all(low < point.y < high for point in series.points)
    for key, y in drawn.items():
        assert y == pytest.approx(max(FLOOR, 100 * (ROWS[key].perplexity / REFERENCE.perplexity - 1)))
    assert 3 <= len(shown.chart.y.ticks) <= 9


def test_every_line_is_named_and_the_chosen_mark_too() -> None:
    """Near two bits, where lines meet, the name of a chosen mark may take the place of a line's.

    A chosen mark that is too far down for the plot has none.
    """
    for quoted in ("off", "on"):
        for row in ROWS:
            shown = view(row=row, quoted=quoted)
            assert shown.chart
            points = [point for series in shown.chart.series for point in series.points]
            labels = {point.label for point in points}
            assert (quoted == "on") == ("8B" in labels)
            missing = {"GGUF", "imatrix", "RTN", "GPTQ", "AWQ", "HQQ"} - labels
            assert not missing or (missing <= {"AWQ", "GPTQ"} and ("-2-" in row or row == "IQ1_S-imatrix"))
            marked = [point for point in points if point.marked]
            assert bool(marked) == (row != "F16" and row not in measuring.TRAINED_FOR)
            assert all(point.label and not point.label_minor for point in marked)
            if not marked:
                assert not [p for p in points if p.label and p.y == FLOOR and p.label_side == "right"]


def test_the_finding_is_true_and_short_in_every_state() -> None:
    for family in Controls.widgets()["family"].states():
        for group in ("32", "64", "128"):
            for row in ROWS:
                shown = view(family=str(family), group=group, row=row)
                result = compute(Controls(family=str(family), group=group, row=row))
                said, chosen = finding(shown), result.chosen
                assert len(said) <= 130
                if chosen is REFERENCE:
                    assert said.startswith("16 bits: perplexity 21.11")
                    continue
                if chosen.name in measuring.TRAINED_FOR:
                    assert said.startswith(
                        f"{chosen.name}, {chosen.bits_per_weight:.2f} bits a weight, is for "
                    )
                    perplexity = numbers.significant(chosen.perplexity, 4)
                    assert said.endswith(f"on ours the perplexity is {perplexity}, not 21.11.")
                    continue
                assert said.startswith(
                    f"{name_of(chosen)}, {chosen.bits_per_weight:.2f} bits a weight, costs "
                )
                if abs(chosen.rise) < 3 * chosen.rise_error:
                    assert "costs nothing that this text can show" in said
                elif chosen.rise < 0:
                    assert "costs nothing: " in said
                else:
                    places = 2 if result.rise < 1 else 1 if result.rise < 100 else 0
                    assert f"costs {result.rise:.{places}f}\u202f%" in said
                if "about a bit less" in said:
                    lower = next(r for r in result.shown if f"less, {name_of(r)} costs" in said)
                    assert 0.6 <= chosen.bits_per_weight - lower.bits_per_weight <= 1.4
                    assert lower.perplexity > chosen.perplexity
                    assert lower.name not in measuring.TRAINED_FOR
                    assert lower.name.startswith("IQ") == chosen.name.startswith("IQ")
                    assert (lower.family, lower.importance) == (chosen.family, chosen.importance)


def test_the_table_has_the_rows_of_the_plot() -> None:
    shown = view()
    assert {name_of(row) for row in compute(Controls()).shown} == {row[0] for row in shown.table.rows}
