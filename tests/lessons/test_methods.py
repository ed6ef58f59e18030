"""FIG.07C: compare methods with `quant_core`, errors with plain arithmetic, ranks with counting."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lessons.catalogue import ROOT, load_lesson
from lessons.kit.view import View
from lessons.quantization.figures.methods import (
    FIGURE,
    LAYERS,
    METHODS,
    SORTS,
    SUB_BLOCK,
    WIDTHS,
    Controls,
    Sample,
    sample_of,
    scores_of,
    swaps,
)
from lessons.quantization.sources import codebook_conditions, codebook_types, load_layer
from quant_core import ggml
from quant_core.methods import awq, clip, gptq, hqq, nf4
from scripts import record_codebook_types
from scripts.recording import code_of

view = FIGURE.view

LESSON = load_lesson("quantization")
TEXT = LESSON.texts["methods"]
MAIN, CONTROL, LLM = LAYERS
STATES = [Controls(layer=layer, bits=bits) for layer in LAYERS for bits in WIDTHS]
COLUMNS = {MAIN: 256, CONTROL: 256, LLM: 512}


def readout(shown: View, name: str) -> Any:
    return next(r.value for r in shown.readouts if r.name == name)


def errors(layer: str, bits: int) -> dict[str, tuple[float, float]]:
    return {score.id: (score.weight_error, score.output_error) for score in scores_of(layer, bits)}


def by_hand(layer: str, approximation: NDArray[Any]) -> tuple[float, float]:
    """Weight and output error of an approximation of the layer's first columns, in float64."""
    whole = load_layer(layer)
    assert whole.activations_test is not None
    columns = COLUMNS[layer]
    weights = whole.weights[:, :columns].astype(float)
    inputs = whole.activations_test[:, :columns].astype(float)
    nudges = weights - approximation
    output = float(np.sum((inputs @ nudges.T) ** 2) / np.sum((inputs @ weights.T) ** 2))
    return float(np.sum(nudges**2) / np.sum(weights**2)), output


def round_to_nearest(weights: NDArray[Any], bits: int) -> NDArray[Any]:
    """The textbook: groups of 128, a range that holds 0, an integer zero-point."""
    groups = weights.astype(float).reshape(len(weights), -1, 128)
    low = np.minimum(groups.min(axis=2, keepdims=True), 0)
    high = np.maximum(groups.max(axis=2, keepdims=True), 0)
    scale = (high - low) / (2**bits - 1)
    zero = np.round(-low / scale)
    codes = np.clip(np.round(groups / scale) + zero, 0, 2**bits - 1)
    levels: NDArray[Any] = (scale * (codes - zero)).reshape(weights.shape)
    return levels


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("layer", LAYERS)
def test_rtn_by_plain_arithmetic(layer: str, bits: int) -> None:
    weights = load_layer(layer).weights[:, : COLUMNS[layer]]
    assert errors(layer, bits)["rtn"] == pytest.approx(
        by_hand(layer, round_to_nearest(weights, bits)), rel=0.005
    )


@pytest.mark.parametrize("layer", LAYERS)
def test_every_method_is_the_library_s_on_the_first_columns(layer: str) -> None:
    whole, columns = load_layer(layer), COLUMNS[layer]
    assert whole.hessian is not None
    assert whole.mean_abs is not None
    w, h = whole.weights[:, :columns], whole.hessian[:columns, :columns].astype(float)
    importance = np.diag(h).astype(np.float32)

    def block(name: str, weight: NDArray[Any] | None = None) -> NDArray[Any]:
        return ggml.dequantize(ggml.quantize(w, name, weight), name)

    expected = {
        "clipped": clip.search_statistics(w, h, 4, 128).quantized.dequantize(),
        "hqq": hqq.hqq(w, 4, 128).dequantize(),
        "awq": awq.search_statistics(w, h, whole.mean_abs[:columns], 4, 128).dequantized,
        "gptq": gptq.gptq(w, h, 4, 128).dequantized,
        "act_order": gptq.gptq(w, h, 4, 128, act_order=True).dequantized,
        "q4_0": block("Q4_0"),
        "iq4_nl": block("IQ4_NL"),
        "k_quant": block("Q4_K"),
        "imatrix": block("Q4_K", importance),
        "nf4": nf4.quantize(w, double_quantization=True).dequantize(),
        "mxfp4": block("MXFP4"),
        "iq4_xs": block("IQ4_XS"),
        "nvfp4": block("NVFP4"),
    }
    found = errors(layer, 4)
    assert found.keys() - expected.keys() == {"rtn"}
    for id, approximation in expected.items():
        assert found[id] == pytest.approx(by_hand(layer, approximation), rel=1e-6), id


@pytest.mark.parametrize("layer", LAYERS)
def test_types_of_very_few_levels_are_ggml_s_on_the_first_columns(layer: str) -> None:
    weights = load_layer(layer).weights[:, : COLUMNS[layer]]
    for bits, names in {2: ("Q2_0", "TQ2_0"), 1: ("TQ1_0", "Q1_0")}.items():
        for name in names:
            approximation = ggml.dequantize(ggml.quantize(weights, name), name)
            found = errors(layer, bits)[name.lower()]
            assert found == pytest.approx(by_hand(layer, approximation), rel=1e-6), name


def test_the_recording_is_current() -> None:
    """Fails after a change to the code or the weights that it depends on: run `make codebooks`."""
    recorded = codebook_conditions()
    assert recorded["code"] == code_of(record_codebook_types.COUNTED), "data/codebook_types.json is stale"
    assert recorded["weights"] == record_codebook_types.weights()
    cases = [(row.layer, row.type, row.importance) for row in codebook_types()]
    assert cases == record_codebook_types.cases()


def test_some_codebook_types_are_written_again() -> None:
    """By the library, measured in float64: one of each width."""
    for name, importance in (("IQ3_S", True), ("IQ2_S", False), ("IQ2_XXS", True), ("IQ1_S", True)):
        whole = load_layer(CONTROL)
        assert whole.hessian is not None
        weight = np.diag(whole.hessian)[:256].astype(np.float32) if importance else None
        data = ggml.quantize(whole.weights[:, :256], name, weight)
        id = name.lower() + ("_imatrix" if importance else "")
        found = errors(CONTROL, int(name[2]))[id]
        assert found == pytest.approx(by_hand(CONTROL, ggml.dequantize(data, name)), rel=1e-4), id


def test_every_codebook_type_of_ggml_is_shown_at_the_width_of_its_name() -> None:
    for bits in (1, 2, 3):
        names = {score.name.removesuffix(" + imatrix") for score in scores_of(MAIN, bits)}
        assert {name for name in names if name.startswith("IQ")} == {
            name for name in ggml.CODECS if name.startswith(f"IQ{bits}")
        }


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_clipping_helps_the_output_on_held_out_text(bits: int) -> None:
    for layer in LAYERS:
        assert errors(layer, bits)["clipped"][1] < errors(layer, bits)["rtn"][1]


def test_bits_per_weight_by_counting() -> None:
    """Codes, fp16 scales and zero-points of groups of 128; the bytes of llama.cpp's blocks; NF4's scales."""
    group = {"rtn", "clipped", "awq", "gptq", "act_order"}
    quants = {2: 84, 3: 110, 4: 144}
    for bits in (2, 3, 4):
        found = {score.id: score.bits_per_weight for score in scores_of(MAIN, bits)}
        assert {found[id] for id in group} == {bits + (16 + bits) / 128}
        assert found["hqq"] == bits + (16 + 16) / 128
        assert found["k_quant"] == found["imatrix"] == 8 * quants[bits] / 256
    assert found["q4_0"] == found["iq4_nl"] == 8 * 18 / 32
    assert found["mxfp4"] == 8 * 17 / 32
    assert found["iq4_xs"] == 8 * 136 / 256
    assert found["nvfp4"] == 8 * 36 / 64
    assert found["nf4"] == 4 + 8 / 64 + 32 / (64 * 256)
    k_bytes = {"iq3_s": 110, "iq3_xxs": 98, "iq2_s": 82, "iq2_xs_imatrix": 74, "iq2_xxs_imatrix": 66}
    k_bytes |= {"iq1_m": 56, "iq1_s_imatrix": 50, "tq2_0": 66, "tq1_0": 54}
    few = {score.id: score.bits_per_weight for bits in (3, 2, 1) for score in scores_of(MAIN, bits)}
    assert {id: few[id] for id in k_bytes} == {id: 8 * size / 256 for id, size in k_bytes.items()}
    assert (few["q2_0"], few["q1_0"]) == (8 * 18 / 64, 8 * 18 / 128)


def test_sub_blocks_are_the_formats_own() -> None:
    for bits, type_name in ((2, "Q2_K"), (3, "Q3_K"), (4, "Q4_K")):
        scales = ggml.fields(ggml.quantize(load_layer(MAIN).weights[:1, :256], type_name), type_name)
        counts = {array.shape[-1] for name, array in scales.items() if name in ("sc", "scales")}
        assert 256 // SUB_BLOCK[bits] in counts, (type_name, {k: v.shape for k, v in scales.items()})


# --- what the shipped layers are known to show -------------------------------------------------------------


def test_on_the_main_layer_gptq_and_awq_move_weights_further_and_outputs_less_than_rtn() -> None:
    found = errors(MAIN, 3)
    for id in ("awq", "gptq", "act_order"):
        assert found[id][0] > found["rtn"][0]
        assert found[id][1] < found["rtn"][1] / 1.7


def test_awq_gains_much_with_loud_channels_and_little_on_the_control() -> None:
    gain = {layer: errors(layer, 3)["rtn"][1] / errors(layer, 3)["awq"][1] for layer in LAYERS}
    assert gain[MAIN] > 1.7
    assert gain[LLM] > 2.5
    assert 1 <= gain[CONTROL] < 1.1


def test_hqq_lowers_the_weight_error_and_may_raise_the_output_error() -> None:
    for layer, bits in itertools.product(LAYERS, (2, 3, 4)):
        assert errors(layer, bits)["hqq"][0] < errors(layer, bits)["rtn"][0]
    assert errors(LLM, 2)["hqq"][1] > errors(LLM, 2)["rtn"][1]


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("layer", LAYERS)
def test_an_imatrix_lowers_the_output_error(layer: str, bits: int) -> None:
    assert errors(layer, bits)["imatrix"][1] < errors(layer, bits)["k_quant"][1]


def test_layer_from_q4_1_is_nearly_exact_at_four_bits() -> None:
    """Q4_K finds its levels again, ten times closer than on a layer that was never quantized; it is said."""
    assert errors(LLM, 4)["k_quant"][0] < errors(MAIN, 4)["k_quant"][0] / 10
    said = {state: [note.key for note in view(state).notes] for state in STATES}
    assert [state for state in STATES if "second_rounding" in said[state]] == [Controls(layer=LLM, bits="4")]


# --- the figure --------------------------------------------------------------------------------------------


def test_the_columns_are_whole_super_blocks_and_the_note_says_how_many() -> None:
    for layer, columns in COLUMNS.items():
        assert sample_of(layer).weights.shape == (256, columns)
        whole = load_layer(layer).weights.shape[1]
        assert columns % 256 == 0
        assert whole - columns < 256
        note = TEXT.sentence(view(Controls(layer=layer)).notes[0])
        assert f"the first {columns} of {whole} columns" in note


@pytest.mark.parametrize("state", STATES, ids=str)
def test_readouts_table_and_first_sentence_agree(state: Controls) -> None:
    shown = view(state)
    names = {row[0]: row for row in shown.table.rows}
    by_weight = min(names.values(), key=lambda row: row[3])
    by_output = min(names.values(), key=lambda row: row[5])
    printed = {r.name: r.text for r in shown.readouts}
    assert (printed["weight_best"], printed["output_best"]) == (by_weight[0], by_output[0])
    assert (
        readout(shown, "output_best_rank")
        == by_output[4]
        == 1 + sum(row[3] < by_output[3] for row in names.values())
    )
    assert (
        readout(shown, "weight_best_rank")
        == by_weight[6]
        == 1 + sum(row[5] < by_weight[5] for row in names.values())
    )
    key = "same" if by_weight is by_output else "differ"
    assert shown.description[0].key == key + ("_one" if state.bits == "1" else "")
    assert by_output[0] in TEXT.sentence(shown.description[0])
    assert [row for i, row in enumerate(shown.table.rows) if i in shown.table.marked] == [by_output]
    assert readout(shown, "output_spread") == pytest.approx(
        max(row[5] for row in names.values()) / by_output[5]
    )


@pytest.mark.parametrize("state", STATES, ids=str)
def test_swapped_pairs_by_counting_ranks(state: Controls) -> None:
    ranks = [(row[4], row[6]) for row in view(state).table.rows]
    crossing = [(a, b) for a, b in itertools.combinations(ranks, 2) if (a[0] < b[0]) != (a[1] < b[1])]
    shown = view(state)
    assert readout(shown, "swapped") == len(crossing) == swaps(scores_of(state.layer, int(state.bits)))
    said = TEXT.sentence(shown.description[1])
    count = {0: "No two", 1: "one stands"}.get(len(crossing), f"{len(crossing)} stand")
    assert count in said


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("bits", WIDTHS)
def test_the_left_side_is_sorted_and_the_right_side_ranks_the_outputs(bits: str, sort: str) -> None:
    shown = view(Controls(bits=bits, sort=sort))
    rows = {row["name"]: row for row in shown.drawing["rows"]}
    left = sorted(rows, key=lambda name: rows[name]["left"])
    right = sorted(rows, key=lambda name: rows[name]["right"])
    assert left == [row[0] for row in shown.table.rows]
    column = {"bits_per_weight": 2, "weight_error": 3, "output_error": 5}[sort]
    values = [row[column] for row in shown.table.rows]
    assert values == sorted(values)
    assert right == [row[0] for row in sorted(shown.table.rows, key=lambda row: row[6])]
    straight = [row for row in rows.values() if row["left"] == row["right"]]
    assert (len(straight) == len(rows)) == (sort == "output_error")
    for row in rows.values():
        count = len(rows)
        assert row["link"].startswith(f"M0 {1000 * (row['left'] + 0.5) / count:.1f} ")
        assert row["link"].endswith(f" 1000 {1000 * (row['right'] + 0.5) / count:.1f}")


def test_bars_start_at_zero_and_the_longest_fills_its_side() -> None:
    shown = view(Controls())
    table = {row[0]: row for row in shown.table.rows}
    for row in shown.drawing["rows"]:
        for key, column in (("weight_width", 3), ("output_width", 5)):
            most = max(values[column] for values in table.values())
            width = 100 * table[row["name"]][column] / most
            assert float(row[key].rstrip("%")) == pytest.approx(width, abs=1e-3)
        assert float(row["weight_x"].rstrip("%")) + float(row["weight_width"].rstrip("%")) == pytest.approx(
            100, abs=1e-3
        )


@pytest.mark.parametrize("bits", WIDTHS)
def test_only_methods_with_the_width_are_shown_and_filled_ones_have_seen_text(bits: str) -> None:
    shown = view(Controls(bits=bits))
    names = [row["name"] for row in shown.drawing["rows"]]
    assert (f"Q{bits}_K" in names) == (bits != "1")
    assert ("RTN" in names) == (bits != "1")
    assert {"Q4_0", "IQ4_NL", "NF4", "MXFP4"} & set(names) == (
        {"Q4_0", "IQ4_NL", "NF4", "MXFP4"} if bits == "4" else set()
    )
    filled = {row["id"] for row in shown.drawing["rows"] if row["calibrated"]}
    by_text = {"clipped", "awq", "gptq", "act_order", "imatrix"} if bits != "1" else set()
    assert filled == by_text | {row["id"] for row in shown.drawing["rows"] if "+ imatrix" in row["name"]}


def test_a_method_that_is_drawn_hollow_gives_the_same_weights_without_any_text() -> None:
    whole = sample_of(CONTROL)
    silent = Sample(whole.weights, np.eye(256), np.ones(256, np.float32), whole.held_out)
    for id, method in METHODS.items():
        bits = max(method.widths)
        same = np.array_equal(method.quantize(whole, bits)[0], method.quantize(silent, bits)[0])
        assert same == (method.statistics is None), id


def test_sorting_computes_nothing_again() -> None:
    first = scores_of(MAIN, 4)
    view(Controls(sort="bits_per_weight"))
    assert scores_of(MAIN, 4) is first


def test_every_row_has_a_place_in_the_style_sheet() -> None:
    rules = (ROOT / "quantization" / "figures" / "methods" / "style.css").read_text("utf-8")
    for bits in WIDTHS:
        count = len(scores_of(MAIN, int(bits)))
        assert f".of-{count} " in rules
        assert all(f".at-{place} " in rules for place in range(count))


def test_an_imatrix_lowers_the_output_error_of_every_codebook_type() -> None:
    errors_by = {(row.layer, row.type, row.importance): row.output_error for row in codebook_types()}
    both = [(layer, name) for layer, name, importance in errors_by if not importance]
    assert len(both) == 4 * len(LAYERS)
    for layer, name in both:
        assert errors_by[layer, name, True] < errors_by[layer, name, False]


def test_notes_say_what_the_types_of_each_width_are() -> None:
    for bits in WIDTHS:
        shown = view(Controls(bits=bits))
        notes = " ".join(map(TEXT.sentence, shown.notes))
        for row in shown.table.rows:
            name = row[0].removesuffix(" + imatrix").replace("Clipped", "clipped").removesuffix(" act-order")
            assert name in notes, (bits, name)
        assert ("recorded by" in notes) == (bits != "4")


def test_statements_of_the_prose_hold() -> None:
    """Four bits, main layer: act-order among the last two of fourteen by weight, number two by output."""
    table = {row[0]: row for row in view(Controls()).table.rows}
    claims = {id: claim.value for id, claim in LESSON.claims.items()}
    assert claims["methods-count"] == str(len(table))
    assert table["GPTQ act-order"][4] > len(table) - 2
    assert claims["act-weight-rank"] == "last two"
    assert claims["act-output-rank"] == str(table["GPTQ act-order"][6])
