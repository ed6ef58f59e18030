"""FIG.05B: bytes equal llama.cpp's, cells match them, and a flipped bit changes the right weights."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lessons.catalogue import load_lesson
from lessons.kit import numbers
from lessons.kit.view import View
from lessons.quantization import sources
from lessons.quantization.anatomy import FORMATS, byte_roles, decode, flipped
from lessons.quantization.figures import xray
from lessons.quantization.figures.xray import (
    FIGURE,
    Controls,
)
from lessons.quantization.super_blocks import (
    SUPER_BLOCKS,
    SuperBlock,
    layer_importance,
    super_block,
    tiny_weights,
)
from quant_core import ggml
from quant_core.ggml import codebooks

view = FIGURE.view

ROOT = Path(__file__).resolve().parents[2]
TEXT = load_lesson("quantization").texts["xray"]
MACHINE_NUMBER = re.compile(r"\b(nan|inf)\b|\de-?\d", re.IGNORECASE)
GOLDEN = (ROOT / "tests/data/ggml.npz", ROOT / "tests/data/ggml_more.npz")


def printed(shown: View) -> list[str]:
    """Every sentence and number that readers see."""
    rows = [
        column.text(value)
        for row in shown.table.rows
        for column, value in zip(shown.table.columns, row, strict=True)
    ]
    sentences = [TEXT.sentence(sentence) for sentence in (*shown.description, *shown.notes)]
    return [*(readout.text for readout in shown.readouts), *sentences, *shown.formulas, *rows]


def readout(shown: View, name: str) -> Any:
    return next(entry.value for entry in shown.readouts if entry.name == name)


def percent(position: str) -> float:
    return float(position.removesuffix("%"))


def weight_cells(shown: View) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = shown.drawing["weights"]
    return cells


def byte_cells(shown: View) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = shown.drawing["bytes"]
    return cells


def column(shown: View, name: str) -> list[Any]:
    at = [entry.name for entry in shown.table.columns].index(name)
    return [row[at] for row in shown.table.rows]


@pytest.mark.parametrize("type_name", FORMATS)
def test_receipt_counts_the_compared_bytes(type_name: str) -> None:
    """`tests/quant_core/test_ggml_bytes.py` compares these very arrays."""
    compared = 0
    for path in GOLDEN:
        with np.load(path) as vectors:
            for name in vectors.files:
                kind, _, rest = name.partition("__")
                of_type, _, inputs = rest.partition("__")
                if kind in ("q", "qi", "qz") and of_type == type_name:
                    data = vectors[name]
                    unknown = f"ub__{type_name}"
                    defined = inputs == "edge" and unknown in vectors.files
                    compared += (data[~vectors[unknown]] if defined else data).size
    assert compared == xray.COMPARED_BYTES[type_name]
    receipt = f"0 of {numbers.integer(compared)} bytes differ from llama.cpp at commit 0c1e570"
    assert receipt in " ".join(printed(view(Controls(format=type_name))))


def test_the_sum_by_hand() -> None:
    """d, dmin, the 6-bit numbers and the nibble read straight from the bytes, without the library."""
    data = xray.encoded("ffn_in", False).data
    d, dmin = np.frombuffer(data[:4].tobytes(), "<f2").astype(float)
    for weight, scale, minimum in (
        (5, data[4] & 63, data[8] & 63),
        (37, data[5] & 63, data[9] & 63),
        (200, (data[14] & 15) | (data[6] >> 6) << 4, (data[14] >> 4) | (data[10] >> 6) << 4),
    ):
        byte = data[16 + weight // 64 * 32 + weight % 32]
        code = byte >> 4 if weight % 64 >= 32 else byte & 15
        shown = view(Controls(pick=f"weight-{weight}"))
        assert readout(shown, "value") == pytest.approx(d * scale * code - dmin * minimum, rel=1e-6)
        terms = {term["field"]: term["value"] for product in shown.drawing["terms"] for term in product}
        assert (terms["scales"], terms["mins"], terms["codes"]) == (str(scale), str(minimum), str(code))


def test_the_printed_sum_adds_up() -> None:
    for weight in range(0, 256, 17):
        terms = {
            t["field"]: t["value"]
            for p in view(Controls(pick=f"weight-{weight}")).drawing["terms"]
            for t in p
        }
        d, sc, q, dmin, m = (float(terms[name]) for name in ("d", "scales", "codes", "dmin", "mins"))
        value = readout(view(Controls(pick=f"weight-{weight}")), "value")
        assert d * sc * q - dmin * m == pytest.approx(value, abs=2e-5)


def by_hand(type_name: str, data: bytes, i: int) -> float:
    """A weight from the bytes by the layouts in llama.cpp's ggml-common.h, without the library."""

    def half(at: int) -> float:
        return float(np.frombuffer(data[at : at + 2], "<f2")[0])

    def signed(at: int) -> int:
        return (data[at] ^ 128) - 128

    block, j = divmod(i, 32)
    of_128, l, line = i // 128, i % 32, i % 128 // 32  # noqa: E741  # `l` as in the layout
    if type_name == "Q8_0":
        return half(34 * block) * signed(34 * block + 2 + j)
    if type_name in ("Q4_0", "IQ4_NL"):
        code = data[18 * block + 2 + j % 16] >> 4 * (j // 16) & 15
        return half(18 * block) * (code - 8 if type_name == "Q4_0" else KVALUES[code])
    if type_name == "MXFP4":
        code = data[17 * block + 1 + j % 16] >> 4 * (j // 16) & 15
        value = math.ldexp((0, 0.5, 1, 1.5, 2, 3, 4, 6)[code & 7], data[17 * block] - 127)
        return -value if code >> 3 else value
    if type_name == "Q2_K":
        code, pair = data[16 + 32 * of_128 + l] >> 2 * line & 3, data[i // 16]
        return half(80) * (pair & 15) * code - half(82) * (pair >> 4)
    if type_name == "Q3_K":
        code = data[32 + 32 * of_128 + l] >> 2 * line & 3 | (data[l] >> i // 32 & 1) << 2
        s = i // 16
        scale = data[96 + s % 8] >> 4 * (s // 8) & 15 | (data[104 + s % 4] >> 2 * (s // 4) & 3) << 4
        return half(108) * (scale - 32) * (code - 4)
    assert type_name == "Q6_K"
    low = data[64 * of_128 + i % 64] >> 4 * (line // 2) & 15
    code = low | (data[128 + 32 * of_128 + l] >> 2 * line & 3) << 4
    return half(208) * signed(192 + i // 16) * (code - 32)


KVALUES = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
BITS = "01234567"
OTHERS = ("Q2_K", "Q3_K", "Q6_K", "Q4_0", "Q8_0", "IQ4_NL", "MXFP4")


@pytest.mark.parametrize("type_name", OTHERS)
@pytest.mark.parametrize("block", SUPER_BLOCKS)
def test_the_sum_of_every_format_by_hand(type_name: str, block: str) -> None:
    data = xray.encoded(block, False, type_name).data.tobytes()
    values = column(view(Controls(block=block, format=type_name)), "value")
    assert values == pytest.approx([by_hand(type_name, data, i) for i in range(256)], rel=1e-6)


@pytest.mark.parametrize("type_name", OTHERS)
def test_the_printed_sum_of_every_format_adds_up(type_name: str) -> None:
    for weight in range(0, 256, 11):
        shown = view(Controls(format=type_name, pick=f"weight-{weight}"))
        products = [
            np.prod(
                [eval(term["value"].replace(numbers.MINUS, "-").replace("×10⁻⁵", "e-5")) for term in product]
            )
            for product in shown.drawing["terms"]
        ]
        total = products[0] - sum(products[1:])
        assert total == pytest.approx(readout(shown, "value"), rel=2e-4, abs=2e-5)


@pytest.mark.parametrize("type_name", FORMATS)
def test_every_byte_and_weight_of_a_format_is_drawn_once(type_name: str) -> None:
    shown = view(Controls(format=type_name))
    data = xray.encoded("ffn_in", False, type_name).data
    drawn = {cell["value"]: cell["hex"] for cell in byte_cells(shown)}
    assert drawn == {f"byte-{i}": f"{byte:02X}" for i, byte in enumerate(data)}
    assert len(byte_cells(shown)) == len(data) == readout(shown, "bytes")
    codes = {cell["value"]: cell["code"] for cell in weight_cells(shown)}
    assert len(weight_cells(shown)) == len(codes) == 256
    name = "level" if FORMATS[type_name].codebook else "code"
    assert codes == {f"weight-{i}": numbers.integer(q) for i, q in enumerate(column(shown, name))}
    assert readout(shown, "bits_per_weight") == 8 * len(data) / 256


@pytest.mark.parametrize("type_name", FORMATS)
def test_a_byte_lights_the_weights_that_change_with_its_bits(type_name: str) -> None:
    before = xray.encoded("ffn_in", False, type_name)
    for byte in range(0, FORMATS[type_name].bytes, 7):
        lit = {
            cell["index"]
            for cell in weight_cells(view(Controls(format=type_name, pick=f"byte-{byte}")))
            if "related" in cell["look"]
        }
        for bit in range(8):
            after = flipped(before, byte, bit).weights
            assert set(np.flatnonzero(after != before.weights).tolist()) <= lit


@pytest.mark.parametrize("type_name", FORMATS)
def test_the_named_runs_of_bytes_fill_a_block(type_name: str) -> None:
    fields = view(Controls(format=type_name)).drawing["fields"]
    assert all(TEXT.word(field["word"]) for field in fields)
    spans = " ".join(field["span"] for field in fields)
    ends = [int(number) for number in re.findall(r"\d+", spans)]
    assert ends[0] == 0
    assert ends[-1] == ggml.FORMATS[type_name].block_bytes - 1


@pytest.mark.parametrize("type_name", FORMATS)
def test_byte_missing_from_a_format_is_reported(type_name: str) -> None:
    last = FORMATS[type_name].bytes - 1
    shown = view(Controls(format=type_name, pick=f"byte-{last}"))
    assert "no_such_byte" not in [sentence.key for sentence in shown.description]
    if last < 271:
        beyond = view(Controls(format=type_name, pick=f"byte-{last + 1}"))
        assert f"{type_name} has {last + 1} bytes" in TEXT.sentence(beyond.description[0])
        assert [cell["value"] for cell in byte_cells(beyond) if cell["checked"]] == [f"byte-{last}"]
        assert beyond.drawing == shown.drawing


@pytest.mark.parametrize("type_name", FORMATS)
@pytest.mark.parametrize("block", ["ffn_in", "outlier"])
def test_every_bit_of_every_format_can_be_turned(type_name: str, block: str) -> None:
    """A sample of bytes, and all bits of those that hold scales; a scale may then be as large as can be."""
    head = {role.byte for role in ggml.weight_bytes(0, type_name)}
    for byte in sorted(head | set(range(0, FORMATS[type_name].bytes, 41))):
        for bit in BITS if byte in head else "6":
            shown = view(Controls(format=type_name, block=block, pick=f"byte-{byte}", flip=bit))
            for text in printed(shown):
                assert not MACHINE_NUMBER.search(text.replace(xray.COMMIT, "")), (byte, bit, text)


def test_the_largest_power_of_two_is_printed_as_infinity() -> None:
    """Byte 34 is the exponent of block 2 of the outlier's row; its highest bit gives 255."""
    shown = view(Controls(format="MXFP4", block="outlier", pick="byte-34", flip="7"))
    assert shown.drawing["byte"]["hex"] == "FF"
    assert "∞" in TEXT.sentence(shown.description[0])
    assert readout(shown, "plain_error") == np.inf


@pytest.mark.parametrize("type_name", FORMATS)
@pytest.mark.parametrize("block", SUPER_BLOCKS)
def test_the_sum_of_every_format_is_what_the_library_decodes(type_name: str, block: str) -> None:
    data = xray.encoded(block, False, type_name)
    totals = [FORMATS[type_name].total(data.stored(i), i) for i in range(256)]
    assert totals == pytest.approx(ggml.dequantize(data.data, type_name)[0].tolist(), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("type_name", FORMATS)
def test_every_bit_moves_only_weights_whose_sum_has_it(type_name: str) -> None:
    """The sum holds after any turned bit, so factors and bytes are those that the decoder takes."""
    before = xray.encoded("tinylm", False, type_name)
    for byte in range(0, FORMATS[type_name].bytes, 5):
        after = flipped(before, byte, byte % 8)
        weights = {i for role in byte_roles(type_name, byte) for i in role.weights}
        assert set(np.flatnonzero(after.weights != before.weights).tolist()) <= weights
        for i in sorted(weights)[:8]:
            expected = pytest.approx(float(after.weights[i]), rel=1e-6, abs=1e-9)
            assert FORMATS[type_name].total(after.stored(i), i) == expected


def test_the_bytes_of_four_digits_are_called_so() -> None:
    fields = view(Controls(format="TQ1_0")).drawing["fields"]
    names = [(TEXT.word(field["word"]), field["span"].replace(xray.WORD_JOINER, "")) for field in fields]
    assert names == [("5 digits", "0–47"), ("4 digits", "48–51"), ("d", "52–53")]


def test_every_block_type_of_ggml_is_offered_once() -> None:
    blocks = [name for name in ggml.CODECS if ggml.FORMATS[name].block_size > 1]
    offered = [name for group in xray.GROUPS.values() for name in group]
    assert sorted(offered) == sorted(blocks) == sorted(FORMATS)


@pytest.mark.parametrize("type_name", FORMATS)
def test_a_format_is_offered_with_its_bits_a_weight(type_name: str) -> None:
    name, bits = TEXT.option("format", type_name, Controls.widgets()["format"]).split(", ")
    assert (name, float(bits.split()[0])) == (type_name, ggml.FORMATS[type_name].bits_per_weight)


@pytest.mark.parametrize("type_name", FORMATS)
def test_every_byte_and_every_kind_of_turned_bit_has_a_sentence(type_name: str) -> None:
    """A sentence names the byte, and how many weights move."""
    before = xray.encoded("ffn_in", False, type_name)
    for byte in range(FORMATS[type_name].bytes):
        shown = view(Controls(format=type_name, pick=f"byte-{byte}"))
        says = TEXT.sentence(shown.description[0])
        assert says.startswith(f"Byte {byte} is {before.data[byte]:02X}")
        if byte % 7 == 0:
            bit = byte // 7 % 8
            turned = view(Controls(format=type_name, pick=f"byte-{byte}", flip=str(bit)))
            moved = np.count_nonzero(flipped(before, byte, bit).weights != before.weights)
            says = TEXT.sentence(turned.description[0])
            expected = f" {moved} of " if moved > 1 else "that one weight|1 of " if moved else "no weight"
            assert re.search(expected, says), says


def test_the_entry_of_a_codebook_is_that_of_the_library() -> None:
    for type_name in ("IQ2_XXS", "IQ3_S", "IQ1_S"):
        data = xray.encoded("ffn_in", False, type_name)
        grid = codebooks.grid(FORMATS[type_name].codebook)
        for weight in (0, 77, 255):
            entry = view(Controls(format=type_name, pick=f"weight-{weight}")).drawing["entry"]
            vector = [int(number["text"].replace(numbers.MINUS, "-")) for number in entry["values"]]
            index = int(data.fields["indices"][weight // grid.shape[1]])
            assert entry["index"] == numbers.integer(index)
            assert np.abs(vector).tolist() == np.abs(grid[index]).tolist()
            assert [number["picked"] for number in entry["values"]].index(True) == weight % grid.shape[1]


def test_a_type_that_needs_a_matrix_has_one_and_says_so() -> None:
    for type_name in ("IQ2_XXS", "IQ2_XS", "IQ1_S"):
        shown = view(Controls(format=type_name))
        assert shown.limits["importance"].reason.key == "needs_importance"
        assert "importance" in [entry.name for entry in shown.table.columns]
        without = view(Controls(format=type_name, block="outlier"))
        assert "importance_even" in [note.key for note in without.notes]
        ones = ggml.quantize(super_block("outlier").weights, type_name, np.ones(256))[0]
        assert np.array_equal(xray.encoded("outlier", False, type_name).data, ones)


@pytest.mark.parametrize("type_name", FORMATS)
def test_the_formats_said_to_ignore_importance_are_those_that_do(type_name: str) -> None:
    without, with_it = (xray.encoded("ffn_in", chosen, type_name).data for chosen in (False, True))
    same = np.array_equal(without, with_it) and not xray.needs_importance(type_name)
    assert same == (type_name in xray.WITHOUT_SEARCH)
    shown = view(Controls(format=type_name, importance=True))
    assert ("importance_ignored" in [note.key for note in shown.notes]) == same
    assert (shown.drawing["trade"] == []) == (same or xray.needs_importance(type_name))


@pytest.mark.parametrize("type_name", FORMATS)
def test_only_the_scale_of_the_outlier_grows_with_it(type_name: str) -> None:
    """The notes say so: blocks have scales of their own, the parts of a super-block share the range of d."""
    weights = super_block("outlier").weights.copy()
    weights[88] = 0
    key = next(n for n in view(Controls(block="outlier", format=type_name)).notes if "outlier_" in n.key)
    if key.key != "outlier_scale":
        return
    with_it = xray.encoded("outlier", False, type_name)
    field = FORMATS[type_name].products[0][0].field
    scale, other = (
        np.repeat(block.fields[field], FORMATS[type_name].sub_block)
        for block in (with_it, decode(ggml.quantize(weights, type_name)[0], type_name))
    )
    changed = np.flatnonzero(scale != other)
    assert (str(changed.min()), str(changed.max())) == (key.values["first"], key.values["last"])
    assert (np.abs(scale[changed]) > np.abs(other[changed])).all()


@pytest.mark.parametrize("block", SUPER_BLOCKS)
def test_cells_table_and_bytes_agree(block: str) -> None:
    shown = view(Controls(block=block))
    data = xray.encoded(block, False).data
    assert [cell["hex"] for cell in byte_cells(shown)] == [f"{byte:02X}" for byte in data]
    assert [int(cell["code"]) for cell in weight_cells(shown)] == column(shown, "code")
    assert [cell["value"] for cell in byte_cells(shown)] == [f"byte-{i}" for i in range(144)]
    assert [cell["value"] for cell in weight_cells(shown)] == [f"weight-{i}" for i in range(256)]
    assert column(shown, "original") == super_block(block).weights.tolist()
    assert readout(shown, "bytes") == len(data) == 144
    assert readout(shown, "bits_per_weight") == 8 * len(data) / len(shown.table.rows) == 4.5


def test_weights_and_bytes_highlight_each_other() -> None:
    for weight in (0, 31, 37, 129, 255):
        related = [
            i
            for i, cell in enumerate(byte_cells(view(Controls(pick=f"weight-{weight}"))))
            if "related" in cell["look"]
        ]
        assert related == sorted({role.byte for role in ggml.weight_bytes(weight)})
        for byte in related:
            held = [
                i
                for i, cell in enumerate(weight_cells(view(Controls(pick=f"byte-{byte}"))))
                if "related" in cell["look"]
            ]
            assert weight in held
            assert len(held) == (
                256
                if byte < 4
                else 64
                if byte < 16 and byte not in (12, 13, 14, 15)
                else 32
                if byte < 16
                else 2
            )


def test_one_radio_of_each_group_is_checked() -> None:
    for pick in ("byte-0", "byte-143", "weight-255"):
        shown = view(Controls(pick=pick, flip="7"))
        assert [c["value"] for c in (*byte_cells(shown), *weight_cells(shown)) if c["checked"]] == [pick]
        assert [bit["bit"] for bit in shown.drawing["bits"] if bit["flipped"]] == [7]


def test_bits_are_in_byte_order_with_their_value() -> None:
    for byte, worth in (
        (0, "f7 f6 f5 f4 f3 f2 f1 f0"),
        (1, "± e4 e3 e2 e1 e0 f9 f8"),
        (4, "32 16 32 16 8 4 2 1"),
        (12, "8 4 2 1 8 4 2 1"),
        (143, "8 4 2 1 8 4 2 1"),
    ):
        bits = view(Controls(pick=f"byte-{byte}")).drawing["bits"]
        assert "".join(str(bit["value"]) for bit in bits) == f"{xray.encoded('ffn_in', False).data[byte]:08b}"
        assert " ".join(bit["worth"] for bit in bits) == worth


def test_a_bit_of_a_nibble_moves_one_weight_by_its_worth_in_steps() -> None:
    before = xray.encoded("ffn_in", False)
    step = float(before.fields["d"][0]) * float(before.fields["scales"][0])
    for bit in range(8):
        moved = np.array(column(view(Controls(pick="byte-16", flip=str(bit))), "moved"))
        weight = 0 if bit < 4 else 32
        assert np.flatnonzero(moved).tolist() == [weight]
        if bit < 4:
            assert abs(moved[0]) == pytest.approx(step * 2**bit, rel=1e-5)


def test_a_bit_of_d_moves_every_weight_with_a_code() -> None:
    codes = np.array(column(view(Controls()), "code"))
    for byte, bit in ((0, 0), (1, 1), (1, 6)):
        moved = np.array(column(view(Controls(pick=f"byte-{byte}", flip=str(bit))), "moved"))
        assert np.array_equal(moved != 0, codes > 0)
        assert np.count_nonzero(moved) > 230, "nearly all of them, as the prose says"
    exponent = view(Controls(pick="byte-1", flip="6"))
    assert float(flipped(xray.encoded("ffn_in", False), 1, 6).fields["d"][0]) == pytest.approx(
        2.0**16 * float(xray.encoded("ffn_in", False).fields["d"][0])
    )
    assert "related" in weight_cells(exponent)[0]["look"]


@pytest.mark.parametrize("block", SUPER_BLOCKS)
@pytest.mark.parametrize("importance", [False, True])
def test_no_single_bit_makes_a_number_that_cannot_be_printed(block: str, importance: bool) -> None:
    before = xray.encoded(block, importance and super_block(block).importance is not None)
    for byte in range(144):
        for bit in range(8):
            after = flipped(before, byte, bit).weights
            assert np.isfinite(after).all()
            assert (after != before.weights).any(), "the sentence says that something moves"


def test_importance_lowers_weighted_and_raises_plain_error() -> None:
    """Weighted error falls, plain error rises; and the read-outs say what the bars say."""
    off, on = view(Controls()), view(Controls(importance=True))
    assert readout(on, "weighted_error") < readout(off, "weighted_error")
    assert readout(on, "plain_error") > readout(off, "plain_error")
    plain, weighted = on.drawing["trade"]
    assert [bar["value"] for bar in plain["bars"]] == [
        next(r.text for r in shown.readouts if r.name == "plain_error") for shown in (off, on)
    ]
    assert [bar["value"] for bar in weighted["bars"]] == [
        next(r.text for r in shown.readouts if r.name == "weighted_error") for shown in (off, on)
    ]


def test_the_weighted_error_by_its_definition() -> None:
    block = super_block("ffn_in")
    hessian = sources.load_layer("minilm.5.ffn_in").hessian
    assert hessian is not None
    assert block.importance is not None
    assert np.array_equal(block.importance, np.diag(hessian)[:256])
    w, decoded = block.weights.astype(float), xray.encoded("ffn_in", True).weights.astype(float)
    expected = (block.importance * (w - decoded) ** 2).sum() / (block.importance * w**2).sum()
    assert readout(view(Controls(importance=True)), "weighted_error") == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("name", "places"), [("ffn_in", 0.03), ("tinylm", 0.01)])
def test_the_row_is_typical_of_its_layer(name: str, places: float) -> None:
    """The note says so: both changes of the row are near the median of all rows."""
    importance = layer_importance(name)
    assert importance is not None
    importance = importance[:256]
    layer = sources.load_layer("minilm.5.ffn_in").weights if name == "ffn_in" else None
    rows = layer[:, :256] if layer is not None else tiny_weights("model.layers.0.self_attn.v_proj.weight")
    errors = {
        chosen: ggml.dequantize(ggml.quantize(rows, "Q4_K", importance if chosen else None), "Q4_K") - rows
        for chosen in (False, True)
    }
    for weights in (np.ones(256), importance):
        change = (weights * errors[True] ** 2).sum(1) / (weights * errors[False] ** 2).sum(1) - 1
        assert change[super_block(name).row] == pytest.approx(np.median(change), abs=places)


def test_the_importance_of_the_first_layer_is_that_of_its_normalised_tokens() -> None:
    embedding = tiny_weights("model.embed_tokens.weight")
    gain = tiny_weights("model.layers.0.input_layernorm.weight")
    tokens = np.load(sources.TINY_MODEL / "heldout_tokens.npy")
    x = embedding[tokens]
    x = x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-5) * gain
    assert layer_importance("tinylm") == pytest.approx((x**2).mean(0), rel=1e-3)


def test_every_block_says_what_it_is() -> None:
    assert super_block("tinylm").legal
    assert super_block("outlier").legal
    assert not super_block("ffn_in").legal
    assert any("no multiple of 256" in sentence for sentence in printed(view(Controls())))
    assert not any("no multiple of 256" in sentence for sentence in printed(view(Controls(block="tinylm"))))
    outlier = view(Controls(block="outlier", pick="weight-88"))
    assert readout(outlier, "original") == pytest.approx(7.91, abs=0.005)
    scales = [int(part["texts"][0][1]) for part in outlier.drawing["scales"]]
    assert scales == [1, 1, 63, 1, 1, 1, 1, 1], "the outlier takes the range of d"
    without = view(Controls(block="outlier", importance=True))
    assert readout(without, "weighted_error") == "none"
    assert without.drawing["trade"] == []
    assert byte_cells(without) == byte_cells(view(Controls(block="outlier")))


def states() -> list[Controls]:
    picks = ["byte-0", "byte-1", "byte-2", "byte-3", "byte-7", "byte-11", "byte-15", "byte-16", "byte-143"]
    picks += ["weight-0", "weight-129", "weight-255"]
    few = [
        Controls(block=block, importance=importance, pick=pick, flip=flip)
        for block in SUPER_BLOCKS
        for importance in (False, True)
        for pick in picks
        for flip in ("none", "0", "7")
    ]
    return (
        few + [Controls(pick=pick) for pick in xray.PICKS[::9]] + [Controls(flip=flip) for flip in xray.FLIPS]
    )


def test_every_state_is_shown_in_words_and_plain_numbers() -> None:
    for controls in states():
        shown = view(controls)
        for text in printed(shown):
            assert not MACHINE_NUMBER.search(text.replace(xray.COMMIT, "")), (controls, text)
        assert len(shown.table.rows) == 256


def test_every_option_has_its_words() -> None:
    for name, widget in Controls.widgets().items():
        TEXT.control(name)
        if not widget.drawn:  # type: ignore[union-attr]
            for option in widget.options:  # type: ignore[union-attr]
                TEXT.option(name, option, widget)
    for entry in view(Controls(importance=True, flip="1")).table.columns:
        TEXT.column(entry.name)


def test_a_scale_that_is_no_number_is_not_printed_as_infinity() -> None:
    """A turned bit of an FP16 between 1 and 2 gives an exponent of ones: NaN, where the fraction is not 0."""
    weights = np.linspace(-1.5, 1.5, 256, dtype=np.float32)
    block = SuperBlock(weights, 0, 0, 256, None)
    controls = Controls(format="TQ2_0", pick="byte-65", flip="6")
    shown = xray.view(xray.turned(controls, block, xray.written(block, False, "TQ2_0")))
    assert "from 1.5000 to NaN" in TEXT.sentence(shown.description[0])
