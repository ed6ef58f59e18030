"""The part of a model file that the browser extracts equals the file, bit for bit."""

from __future__ import annotations

import base64
import io
import json
import shutil
import struct
import subprocess
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from app.views.environment import environment
from quant_core import ggml
from quant_core.files.model import config_of_header
from quant_core.files.single import read_single
from quant_core.memory import model_shape
from quant_core.methods import fp8
from tests.lessons.test_own_model import LISTED, header

MODEL_FILE = Path(__file__).parents[2] / "static" / "js" / "own" / "model_file.js"
WEIGHTS = np.random.default_rng(1).normal(0, 0.05, (5, 1024)).astype(np.float32)
Q4_K = ggml.quantize(WEIGHTS, "Q4_K")
HALF = WEIGHTS.astype(np.float16)

SCRIPT = """
import fs from "fs";
import { tensorsOf } from "./model_file.mjs";
const { types, cuts } = JSON.parse(fs.readFileSync("cuts.json"));
const found = [];
for (const { file, name, row, column } of cuts) {
  const tensors = await tensorsOf(new Blob([fs.readFileSync(file)]), types);
  const tensor = tensors.find((tensor) => tensor.name === name);
  const { bytes } = await tensor.read(row, column);
  found.push([tensor.rows, tensor.columns, Buffer.from(bytes).toString("base64")]);
}
console.log(JSON.stringify(found));
"""


def pair(key: str, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + value


def gguf() -> bytes:
    """A file with every kind of metadata to skip, and its own alignment."""
    tokens = b"".join(struct.pack("<Q", 3) + b"abc" for _ in range(1000))
    metadata = [
        pair("general.alignment", 4, struct.pack("<I", 64)),
        pair("tokens", 9, struct.pack("<IQ", 8, 1000) + tokens),
        pair("scores", 9, struct.pack("<IQ", 6, 3) + bytes(12)),
        pair("name", 8, struct.pack("<Q", 2) + b"hi"),
        pair("flag", 7, b"\1"),
        pair("size", 10, bytes(8)),
    ]
    listed, data = b"", b""
    for name, number, stored in (("a.weight", 12, Q4_K), ("b.weight", 1, HALF)):
        data += bytes(-len(data) % 64)
        listed += struct.pack("<Q", len(name)) + name.encode()
        listed += struct.pack("<IQQIQ", 2, 1024, 5, number, len(data))
        data += stored.tobytes()
    head = b"GGUF" + struct.pack("<IQQ", 3, 2, len(metadata)) + b"".join(metadata) + listed
    return head + bytes(-len(head) % 64) + data


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not here")
@pytest.mark.parametrize(
    ("kind", "name", "row", "column", "first", "whole"),
    [
        ("gguf", "a.weight", 3, 600, 512, ggml.dequantize(Q4_K, "Q4_K")),
        ("gguf", "b.weight", 4, 900, 900, HALF.astype(np.float32)),
        ("npy", "", 2, 700, 700, WEIGHTS),
    ],
)
def test_extracted_block_equals_the_file(
    tmp_path: Path, kind: str, name: str, row: int, column: int, first: int, whole: np.ndarray
) -> None:
    opened = io.BytesIO()
    np.save(opened, WEIGHTS.astype("<f8"))
    rows, columns, data = cut(tmp_path, gguf() if kind == "gguf" else opened.getvalue(), name, row, column)
    assert (rows, columns) == (5, 1024)
    assert len(data) < 4096
    title, values = read_single(data)
    assert title == name
    np.testing.assert_array_equal(values, whole[row, first : first + len(values)])
    assert len(values) == min(256, 1024 - first)


ROWS = np.random.default_rng(8).normal(0, 40, (3, 2, 300))
INTEGERS = {f"{kind}{size}": ROWS.astype(f"{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8)}
BITS = np.random.default_rng(9).integers(0, 256, (3, 2, 300)).astype(np.uint8)
BITS[(BITS & 0x7F) >= 0x7C] = 0x38  # neither infinite nor NaN
BF16 = (ROWS.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
AS_FLOATS = {
    **{name: (values, values.astype(np.float32)) for name, values in INTEGERS.items()},
    **{
        name: (ROWS.astype(name), ROWS.astype(name).astype(np.float32)) for name in ("f2", "f4", ">f8", ">i2")
    },
    "V2": (BF16.view("V2"), (BF16.astype(np.uint32) << 16).view(np.float32)),
    "V1": (BITS.view("V1"), fp8.decode(BITS, "e4m3")),
    "f1": (BITS.view("V1"), fp8.decode(BITS, "e5m2")),
}


def cut(tmp_path: Path, data: bytes, name: str, row: int, column: int) -> tuple[int, int, bytes]:
    """The rows and columns that the browser reads, and what it sends."""
    return cuts(tmp_path, [(data, name, row, column)])[0]


def cuts(tmp_path: Path, wanted: list[tuple[bytes, str, int, int]]) -> list[tuple[int, int, bytes]]:
    """The same of several files, in one process."""
    for number, (data, *_) in enumerate(wanted):
        (tmp_path / f"model-{number}").write_bytes(data)
    (tmp_path / "model_file.mjs").write_text(MODEL_FILE.read_text("utf-8"), "utf-8")
    (tmp_path / "run.mjs").write_text(SCRIPT, "utf-8")
    asked = [
        {"file": f"model-{number}", "name": name, "row": row, "column": column}
        for number, (_, name, row, column) in enumerate(wanted)
    ]
    given = {"types": environment().globals["block_types"], "cuts": asked}
    (tmp_path / "cuts.json").write_text(json.dumps(given), "utf-8")
    done = subprocess.run(
        ["node", "run.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    return [(rows, columns, base64.b64decode(sent)) for rows, columns, sent in json.loads(done.stdout)]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not here")
def test_arrays_of_every_type_and_order_are_extracted(tmp_path: Path, subtests: pytest.Subtests) -> None:
    places = ((0, 0), (3, 44), (5, 290))
    arrays = {}
    for kind, (stored, _) in AS_FLOATS.items():
        for fortran in (False, True):
            opened = io.BytesIO()
            np.save(opened, np.asfortranarray(stored) if fortran else stored)
            data = opened.getvalue()
            assert (b"'fortran_order': True" in data) == fortran
            arrays[kind, fortran] = data.replace(b"'|V1'", b"'<f1'") if kind == "f1" else data
    found = iter(cuts(tmp_path, [(data, "", *place) for data in arrays.values() for place in places]))
    for (kind, fortran), data in arrays.items():
        with subtests.test(kind=kind, fortran=fortran):
            floats = AS_FLOATS[kind][1]
            for (row, column), (rows, columns, sent) in zip(places, islice(found, len(places)), strict=True):
                assert (rows, columns) == (6, 300)
                named, values = read_single(sent)
                assert named == {"V2": "BF16", "V1": "F8_E4M3", "f1": "F8_E5M2"}.get(kind, "")
                np.testing.assert_array_equal(values, floats.reshape(6, 300)[row, column : column + 256])
            np.testing.assert_array_equal(read_single(data)[1], floats.reshape(-1))


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not here")
@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        ("I8", "i1"), ("I16", "i2"), ("I32", "i4"), ("I64", "i8"), ("U8", "u1"), ("F16", "f2"),
        ("BF16", "V2"), ("F8_E4M3", "V1"), ("F8_E5M2", "f1"),
    ],
)  # fmt: skip
def test_tensors_of_every_type_are_extracted(tmp_path: Path, dtype: str, kind: str) -> None:
    stored, floats = AS_FLOATS[kind]
    raw = stored.tobytes()
    header = json.dumps({"w": {"dtype": dtype, "shape": [6, 300], "data_offsets": [0, len(raw)]}}).encode()
    data = struct.pack("<Q", len(header)) + header + raw
    rows, columns, sent = cut(tmp_path, data, "w", 4, 10)
    assert (rows, columns) == (6, 300)
    np.testing.assert_array_equal(read_single(sent)[1], floats.reshape(6, 300)[4, 10:266])


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not here")
@pytest.mark.parametrize(("number", "kind"), [(24, "i1"), (25, "i2"), (26, "i4"), (27, "i8")])
def test_integers_of_a_gguf_file_are_extracted(tmp_path: Path, number: int, kind: str) -> None:
    stored, floats = AS_FLOATS[kind]
    head = b"GGUF" + struct.pack("<IQQQ", 3, 1, 0, 1) + b"w" + struct.pack("<IQQIQ", 2, 300, 6, number, 0)
    _, columns, sent = cut(tmp_path, head + bytes(-len(head) % 32) + stored.tobytes(), "w", 4, 10)
    assert columns == 300
    np.testing.assert_array_equal(read_single(sent)[1], floats.reshape(6, 300)[4, 10:266])


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not here")
def test_a_column_is_read_like_a_row(tmp_path: Path) -> None:
    opened = io.BytesIO()
    np.save(opened, WEIGHTS[0][:, None])
    rows, columns, sent = cut(tmp_path, opened.getvalue(), "", 0, 100)
    assert (rows, columns) == (1, 1024)
    np.testing.assert_array_equal(read_single(sent)[1], WEIGHTS[0, 100:356])


SHAPE = """
import fs from "fs";
import { shapeOf } from "./model_file.mjs";
try {
  const sent = await shapeOf(new Blob([fs.readFileSync(process.argv[2])]));
  console.log(JSON.stringify(Buffer.from(sent).toString("base64")));
} catch (error) {
  console.log(JSON.stringify({ error: error.message }));
}
"""


def sent_of(tmp_path: Path, data: bytes) -> bytes | str:
    """What the browser sends of a file for the model's shape, or its error."""
    (tmp_path / "file").write_bytes(data)
    shutil.copy(MODEL_FILE, tmp_path / "model_file.mjs")
    (tmp_path / "shape.mjs").write_text(SHAPE)
    done = subprocess.run(
        ["node", tmp_path / "shape.mjs", tmp_path / "file"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    answer = json.loads(done.stdout)
    return str(answer["error"]) if isinstance(answer, dict) else base64.b64decode(answer)


@pytest.mark.parametrize("name", ["llama-3.1-8b", "qwen3-8b"])
def test_only_shape_metadata_of_a_gguf_file_is_sent(tmp_path: Path, name: str) -> None:
    """A vocabulary of a megabyte, an alignment and a list of other tensors are not sent."""
    architecture = name[:5]
    tokens = [struct.pack("<Q", 8) + b"token%03d" % (i % 1000) for i in range(70_000)]
    more = [
        pair("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, len(tokens)) + b"".join(tokens)),
        pair("general.alignment", 4, struct.pack("<I", 64)),
        pair("tokenizer.ggml.scores", 9, struct.pack("<IQ", 6, 3) + bytes(12)),
        pair("general.license", 8, struct.pack("<Q", 5000) + bytes(5000)),
    ]
    whole = header(LISTED[name], architecture, more=more) + bytes(1 << 16)
    sent = sent_of(tmp_path, whole)
    assert isinstance(sent, bytes)
    assert len(sent) < 1024
    assert model_shape(config_of_header(sent)) == model_shape(LISTED[name])
    assert config_of_header(sent) == config_of_header(whole)


def test_config_is_sent_whole_and_too_large_files_are_not_read(tmp_path: Path) -> None:
    config = json.dumps(LISTED["qwen3-8b"]).encode()
    assert sent_of(tmp_path, config) == config
    assert sent_of(tmp_path, bytes((1 << 16) + 1)) == "large"
    cut = header(LISTED["qwen3-8b"], "qwen3")[:-4]
    assert sent_of(tmp_path, cut) == "truncated"
    assert sent_of(tmp_path, b"GGUF" + bytes(40)) == "strange"
