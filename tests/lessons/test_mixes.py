"""FIG.05C: types and numbers equal those of llama.cpp for every tensor."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lessons.catalogue import load_lesson
from lessons.kit.view import View
from lessons.quantization import sources
from lessons.quantization.figures import mixes
from lessons.quantization.figures.mixes import (
    FIGURE,
    K_MIXES,
    KINDS,
    MODELS,
    OTHER_MIXES,
    Controls,
    runs,
)
from quant_core.ggml.mixes import BLOCK_SIZES, tensor_types

view = FIGURE.view

ROOT = Path(__file__).resolve().parents[2]
TEXT = load_lesson("quantization").texts["mixes"]

MACHINE_NUMBER = re.compile(r"\b(nan|inf)\b|\de-\d", re.IGNORECASE)

# tools/quantize/README.md of llama.cpp at 0c1e57098bba, Llama-3.1-8B: bits per weight and GiB.
README = {
    "Q2_K_S": (2.9697, 2.78), "Q2_K": (3.1593, 2.95), "Q3_K_S": (3.6429, 3.41), "Q3_K_M": (3.9960, 3.74),
    "Q3_K_L": (4.2979, 4.02), "Q4_K_S": (4.6672, 4.36), "Q4_K_M": (4.8944, 4.58), "Q5_K_S": (5.5704, 5.21),
    "Q5_K_M": (5.7036, 5.33), "Q6_K": (6.5633, 6.14), "Q8_0": (8.5008, 7.95), "IQ4_XS": (4.4597, 4.17),
    "IQ4_NL": (4.6818, 4.38),
}  # fmt: skip


def readout(shown: View, name: str) -> Any:
    return next(entry for entry in shown.readouts if entry.name == name)


def cells(shown: View, kind: str) -> list[str]:
    """Type by layer, read from the drawing."""
    at = KINDS.index(kind)
    return [row["cells"][at]["type"] for band in shown.drawing["bands"] for row in band]


def changes(shown: View) -> dict[str, list[int]]:
    """Layers that the drawing marks as different, by kind."""
    found: dict[str, list[int]] = {}
    for band in shown.drawing["bands"]:
        for row in band:
            for cell in row["cells"]:
                if cell["change"]:
                    found.setdefault(cell["kind"], []).append(row["layer"])
    return found


@pytest.mark.parametrize("mix", README)
def test_bits_and_size_are_those_of_llama_cpp(mix: str) -> None:
    shown = view(Controls(mix=mix))
    bits, gib = README[mix]
    assert readout(shown, "bits_per_weight").text == f"{bits:.4f}"
    assert readout(shown, "size_gib").text == f"{gib:.2f}"
    assert f"{bits:.4f} bits a weight" in TEXT.sentence(shown.description[0])


def test_the_m_of_q4_k_m_is_half_of_two_tensors() -> None:
    """attn_v and ffn_down in 16 of 32 layers; the output does not depend on the suffix."""
    favoured = [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]
    shown = view(Controls(mix="Q4_K_M"))
    for kind in KINDS:
        expected = favoured if kind in ("attn_v", "ffn_down") else []
        assert [layer for layer, name in enumerate(cells(shown, kind)) if name == "Q6_K"] == expected
    assert readout(shown, "raised").value == 33, "the two of 16 layers, and the output"


def test_the_s_of_q4_k_s_is_the_first_four_layers() -> None:
    shown = view(Controls(mix="Q4_K_S"))
    for kind in ("attn_v", "ffn_down"):
        assert cells(shown, kind) == ["Q5_K"] * 4 + ["Q4_K"] * 28


@pytest.mark.parametrize("mix", K_MIXES)
def test_the_output_is_q6_k_and_the_embedding_the_base_type(mix: str) -> None:
    alone = {cell["kind"]: cell["type"] for cell in view(Controls(mix=mix)).drawing["alone"]}
    assert alone == {"token_embd": f"Q{mix[1]}_K", "output": "Q6_K"}


@pytest.mark.parametrize(
    ("mix", "against", "kinds"),
    [
        ("Q4_K_M", "Q4_K_S", {"attn_v", "ffn_down"}),
        ("Q5_K_M", "Q5_K_S", {"attn_v", "ffn_down"}),
        ("Q3_K_M", "Q3_K_S", {"attn_v", "attn_output", "ffn_down"}),
        ("Q3_K_L", "Q3_K_M", {"attn_v", "attn_output", "ffn_down"}),
    ],
)
def test_what_the_suffix_changes(mix: str, against: str, kinds: set[str]) -> None:
    shown = view(Controls(mix=mix, against=against))
    assert set(changes(shown)) == kinds
    assert readout(shown, "changed").value == sum(map(len, changes(shown).values()))
    back = view(Controls(mix=against, against=mix))
    assert readout(back, "size_change").value == -readout(shown, "size_change").value < 0


def test_against_itself_or_nothing_there_is_no_mark() -> None:
    for against in ("none", "Q4_K_M"):
        shown = view(Controls(mix="Q4_K_M", against=against))
        assert changes(shown) == {}
        assert readout(shown, "size_change").text == "0.00"


def test_70b_keeps_attn_v_at_five_bits_or_more() -> None:
    shown = view(Controls(mix="Q4_K_M", model="llama-3.1-70b"))
    assert set(cells(shown, "attn_v")) == {"Q5_K", "Q6_K"}
    assert len(cells(shown, "attn_v")) == 80
    assert readout(shown, "size_gb").text == "42.51", "the 42.5 GB of the lesson's opening"


def test_a_tied_model_has_no_output_and_stores_its_embedding_as_one() -> None:
    shown = view(Controls(model="llama-3.2-1b"))
    assert [(cell["kind"], cell["type"]) for cell in shown.drawing["alone"]] == [("token_embd", "Q6_K")]
    assert len(cells(shown, "attn_q")) == 16


def test_rows_that_do_not_divide_fall_back() -> None:
    shown = view(Controls(model="qwen2.5-0.5b", mix="Q4_K_S"))
    assert set(cells(shown, "attn_q")) == {"Q5_0"}, "896 columns are no multiple of 256"
    assert "Q4_K" in cells(shown, "ffn_down"), "4864 columns are"
    assert any("no multiple of 256" in TEXT.sentence(note) for note in shown.notes)


def test_drawing_table_and_readouts_agree_in_every_state() -> None:
    for model in MODELS:
        for mix in (*K_MIXES, *OTHER_MIXES):
            shown = view(Controls(mix=mix, model=model, against="Q5_K_S"))
            names = [column.name for column in shown.table.columns]
            layers = len(cells(shown, "attn_q"))
            for kind in KINDS:
                assert [row[names.index(kind)] for row in shown.table.rows[:layers]] == cells(shown, kind)
            matrices = sum(row[names.index("size")] for row in shown.table.rows)
            size = readout(shown, "size_gb").value * 1e9
            assert 0.999 < matrices / size <= 1, "norms and tables are the rest"
            assert sum(
                float(share.split("\u202f")[0]) for share in shown.drawing["shares"].values()
            ) == pytest.approx(100, abs=0.6)
            marked = {layer for found in changes(shown).values() for layer in found}
            assert shown.table.marked == marked
            texts = [TEXT.sentence(sentence) for sentence in (*shown.description, *shown.notes)]
            texts += [entry.text for entry in shown.readouts] + list(shown.formulas)
            assert not [text for text in texts if MACHINE_NUMBER.search(text)]


def test_types_that_meet_in_a_picture_look_different() -> None:
    for model in MODELS:
        for mix in (*K_MIXES, *OTHER_MIXES):
            types = view(Controls(mix=mix, model=model)).drawing["types"]
            looks = [(entry["level"], entry["subscript"]) for entry in types]
            assert len(set(looks)) == len(looks)
            assert all(
                entry["level"] == int(8 * BLOCK_SIZES[entry["type"]][1] / BLOCK_SIZES[entry["type"]][0])
                for entry in types
            )


def test_every_option_has_its_words() -> None:
    for name, widget in Controls.widgets().items():
        TEXT.control(name)
        for option in widget.options:  # type: ignore[union-attr]
            assert TEXT.option(name, option, widget) if name != "mix" else option
    for column in view(Controls()).table.columns:
        TEXT.column(column.name)


def test_runs_of_layers() -> None:
    assert runs([0, 1, 2, 3, 6, 9, 10]) == "0–3, 6, 9, 10"
    assert runs([5]) == "5"
    assert mixes.MOST_RUNS >= 10, "Q4_K_M of an 8B is spelt out"


def test_the_prose_names_the_tensors_that_a_suffix_changes() -> None:
    """attn_v and ffn_down; attn_output too in the Q2 and Q3 mixes, and in no other."""
    shape = sources.model("llama-3.1-8b").shape

    def changed(mix: str, other: str) -> set[str]:
        pairs = zip(tensor_types(shape, mix), tensor_types(shape, other), strict=True)
        return {one.kind for one, two in pairs if one.type != two.type}

    pairs = {
        "Q2": [("Q2_K", "Q2_K_S")],
        "Q3": [("Q3_K_M", "Q3_K_S"), ("Q3_K_L", "Q3_K_M")],
        "Q4": [("Q4_K_M", "Q4_K_S")],
        "Q5": [("Q5_K_M", "Q5_K_S")],
    }
    kinds = {bits: set().union(*(changed(*pair) for pair in two)) for bits, two in pairs.items()}
    assert set().union(*kinds.values()) == {"attn_v", "ffn_down", "attn_output"}
    output = [bits for bits, found in kinds.items() if "attn_output" in found]
    prose = " ".join((ROOT / "lessons/quantization/en/workshop/mixes.md").read_text("utf-8").split())
    assert f"changes `attn_v` and `ffn_down`, and for {' and '.join(output)} also `attn_output`" in prose
