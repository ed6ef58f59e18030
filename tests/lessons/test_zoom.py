"""FIG.MAP: counts of Llama 3.1 70B as published, and real weights from the matrix on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lessons.kit.view import View
from lessons.quantization import sources
from lessons.quantization.blocks import block_weights
from lessons.quantization.figures.zoom import FIGURE, PARTS, WEIGHT, Controls, compute, real_weights

HIDDEN, WIDE, KEYS, VOCABULARY, LAYERS = 8192, 28672, 1024, 128256, 80
"""config.json of meta-llama/Llama-3.1-70B: 8 key/value heads of 128, 64 heads."""

LAYER = 2 * HIDDEN * HIDDEN + 2 * HIDDEN * KEYS + 3 * HIDDEN * WIDE + 2 * HIDDEN
COUNTS = {
    "model": LAYERS * LAYER + 2 * VOCABULARY * HIDDEN + HIDDEN,
    "layer": LAYER,
    "matrix": WIDE * HIDDEN,
    "row": HIDDEN,
    "block": 32,
    "weight": 1,
}


def shown(part: str) -> View:
    return FIGURE.view(Controls(at=part))


def percent(position: str) -> float:
    assert position.endswith("%")
    return float(position[:-1])


@pytest.mark.parametrize("part", PARTS)
def test_weights_and_bytes_of_each_part(part: str) -> None:
    result = compute(Controls(at=part))
    assert result.weights == COUNTS[part]
    assert result.bytes_f16 == 2 * COUNTS[part]
    assert result.bytes_q4 == pytest.approx(4.5 * COUNTS[part] / 8)


def test_the_model_has_the_published_count() -> None:
    assert compute(Controls()).weights == 70_553_706_496


@pytest.mark.parametrize(
    ("part", "texts"),
    [
        ("model", [("70.6", "billion"), ("141", "GB"), ("39.7", "GB")]),
        ("row", [("8192", ""), ("16.4", "kB"), ("4.61", "kB")]),
        ("block", [("32", ""), ("64", "bytes"), ("18", "bytes")]),
        ("weight", [("1", ""), ("2", "bytes"), ("4.5", "bits")]),
    ],
)
def test_read_outs_are_printed_in_the_unit_of_their_size(part: str, texts: list[tuple[str, str]]) -> None:
    assert [(readout.text, readout.unit) for readout in shown(part).readouts] == texts


def test_table_has_every_part_whatever_is_chosen() -> None:
    for i, part in enumerate(PARTS):
        table = shown(part).table
        assert [row[:2] for row in table.rows] == list(enumerate(COUNTS.values(), start=1))
        assert table.marked == {i}


def test_the_finding_says_what_the_part_is() -> None:
    for part in PARTS:
        assert shown(part).description[0].key == part
    slots = shown("matrix").description[0].slots
    assert (slots["columns"], slots["rows"]) == ("8192", "28\u202f672")
    assert shown("layer").description[0].slots["matrices"] == "7"


def test_the_matrices_of_a_layer_are_drawn_to_scale() -> None:
    layer = shown("layer").drawing["layer"]
    areas = {kind: box["width"] * box["height"] for kind, box in layer["small"].items()}
    for kind, elements in (
        ("attn_q", HIDDEN * HIDDEN),
        ("attn_k", KEYS * HIDDEN),
        ("ffn_down", WIDE * HIDDEN),
    ):
        assert areas[kind] / areas["ffn_up"] == pytest.approx(elements / (WIDE * HIDDEN), rel=0.03)
    tall, flat = layer["small"]["ffn_up"], layer["small"]["ffn_down"]
    assert tall["height"] / tall["width"] == pytest.approx(3.5, rel=0.01)
    assert flat["width"] / flat["height"] == pytest.approx(3.5, rel=0.01)
    boxes = layer["wide"]
    assert all(percent(a["x"]) + percent(a["width"]) < percent(b["x"]) for a, b in itertools.pairwise(boxes))


def test_the_output_of_the_row_is_the_sum_of_its_products() -> None:
    layer = sources.load_layer("minilm.5.ffn_in")
    assert layer.activations_test is not None
    total = sum(float(w) * float(x) for w, x in zip(layer.weights[3], layer.activations_test[0], strict=True))
    assert real_weights().outputs[3] == pytest.approx(total, rel=1e-4)
    printed = shown("row").description[1].slots["output"].replace("\u2212", "-")
    assert float(printed) == pytest.approx(total, rel=0.01)


def test_the_corner_is_part_of_the_matrix_with_what_enters_and_leaves() -> None:
    """The shades part the numbers in thirds: every cell has one, the darkest are the largest."""
    corner, sample = shown("matrix").drawing["matrix"]["wide"], real_weights()
    cells = [
        {tuple(map(int, cell.split("h")[0].split())) for cell in path.split("M")[1:]}
        for path in corner["weights"]
    ]
    assert sum(map(len, cells)) == corner["rows"] * corner["columns"]
    sizes = np.abs(sample.weights[: corner["rows"], sample.first : sample.first + corner["columns"]])
    least = [min(sizes[y, x] for x, y in shade) for shade in cells]
    most = [max(sizes[y, x] for x, y in shade) for shade in cells]
    assert most[0] <= least[1]
    assert most[1] <= least[2]
    assert sum(path.count("M") for path in corner["inputs"]) == corner["columns"]
    assert sum(path.count("M") for path in corner["outputs"]) == corner["rows"]


def test_block_and_weight_are_those_of_the_lesson() -> None:
    """The weight of FIG.00: 0.04376, level 9 of the block's sixteen."""
    sample = real_weights()
    assert sample.block == pytest.approx(block_weights("calm", 32), abs=1e-4)
    assert np.array_equal(sample.weights[3, 64:96], block_weights("calm", 32))
    step = float(np.ptp(sample.block)) / 15
    nearest = np.rint(sample.block / step) - np.rint(sample.block.min() / step)
    assert np.array_equal(sample.codes, nearest)
    drawing = shown("weight").drawing["weight"]
    assert "".join(drawing["code"]) == f"{int(nearest[WEIGHT]):04b}" == "1001"
    pattern = int("".join(cell["bit"] for cell in drawing["cells"]), 2)
    assert np.array(pattern, np.uint16).view(np.float16) == pytest.approx(sample.block[WEIGHT])


def test_the_marks_of_the_block_lie_on_their_levels() -> None:
    block = shown("block").drawing["block"]
    levels = sorted(percent(level["y"]) for level in block["levels"])
    assert len(levels) == 16
    assert [level["zero"] for level in block["levels"]].count(True) == 1
    for mark in block["marks"]:
        away = [abs(percent(mark["kept"]) - level) for level in levels]
        assert min(away) < 0.02
        assert abs(percent(mark["true"]) - percent(mark["kept"])) <= 100 / 32 + 0.02


def test_one_part_leads_to_the_next() -> None:
    """The marked block of the row is the one that is drawn, and so is the marked weight."""
    row, block = shown("row").drawing["row"], shown("block").drawing["block"]
    assert percent(row["x"]) == pytest.approx(100 * 64 / 384, abs=0.01)
    assert percent(row["right"]) == pytest.approx(100 * 96 / 384, abs=0.01)
    assert block["chosen"] == block["marks"][WEIGHT]
