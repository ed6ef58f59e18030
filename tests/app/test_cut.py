"""What the browser cuts out of a model file is, to the last bit, what the whole file holds there."""

from __future__ import annotations

import base64
import json
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from app.render import environment
from quant_core import ggml
from quant_core.files.model import config_of_header
from quant_core.files.single import read_single
from quant_core.memory import model_shape
from tests.lessons.test_own_model import LISTED, header

CUT = Path(__file__).parents[2] / "static" / "js" / "cut.js"
WEIGHTS = np.random.default_rng(1).normal(0, 0.05, (5, 1024)).astype(np.float32)
Q4_K = ggml.quantize(WEIGHTS, "Q4_K")
HALF = WEIGHTS.astype(np.float16)

SCRIPT = """
import fs from "fs";
import { tensorsOf } from "./cut.mjs";
const file = new Blob([fs.readFileSync(process.argv[2])]);
const tensors = await tensorsOf(file, JSON.parse(process.argv[3]));
const tensor = tensors.find(({ name }) => name === process.argv[4]);
const { first, bytes } = await tensor.cut(Number(process.argv[5]), Number(process.argv[6]));
console.log(JSON.stringify([tensor.rows, tensor.columns, first, Buffer.from(bytes).toString("base64")]));
"""


def pair(key: str, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + value


def gguf() -> bytes:
    """A file with every kind of metadata that has to be walked past, and its own alignment."""
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
def test_a_cut_block_is_what_the_file_holds(
    tmp_path: Path, kind: str, name: str, row: int, column: int, first: int, whole: np.ndarray
) -> None:
    file = tmp_path / "model"
    if kind == "gguf":
        file.write_bytes(gguf())
    else:
        with file.open("wb") as opened:
            np.save(opened, WEIGHTS.astype("<f8"))
    (tmp_path / "cut.mjs").write_text(CUT.read_text("utf-8"), "utf-8")
    (tmp_path / "run.mjs").write_text(SCRIPT, "utf-8")
    types = json.dumps(environment().globals["block_types"])
    arguments = ["node", "run.mjs", str(file), types, name, str(row), str(column)]
    output = subprocess.run(
        arguments, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True
    ).stdout
    rows, columns, found, encoded = json.loads(output)
    assert (rows, columns, found) == (5, 1024, first)
    data = base64.b64decode(encoded)
    assert len(data) < 4096
    title, values = read_single(data)
    assert title == name
    np.testing.assert_array_equal(values, whole[row, first : first + len(values)])
    assert len(values) == min(256, 1024 - first)


SHAPE = """
import fs from "fs";
import { shapeOf } from "./cut.mjs";
try {
  const sent = await shapeOf(new Blob([fs.readFileSync(process.argv[2])]));
  console.log(JSON.stringify(Buffer.from(sent).toString("base64")));
} catch (error) {
  console.log(JSON.stringify({ error: error.message }));
}
"""


def sent_of(tmp_path: Path, data: bytes) -> bytes | str:
    """What the browser sends of a file for the model's shape, or why it does not."""
    (tmp_path / "file").write_bytes(data)
    shutil.copy(CUT, tmp_path / "cut.mjs")
    (tmp_path / "shape.mjs").write_text(SHAPE)
    done = subprocess.run(
        ["node", tmp_path / "shape.mjs", tmp_path / "file"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    answer = json.loads(done.stdout)
    return str(answer["error"]) if isinstance(answer, dict) else base64.b64decode(answer)


@pytest.mark.parametrize("name", ["llama-3.1-8b", "qwen3-8b"])
def test_of_a_gguf_file_what_says_the_shape_is_sent_and_no_more(tmp_path: Path, name: str) -> None:
    """A vocabulary of a megabyte, an alignment and a list of other tensors are left behind."""
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


def test_a_config_is_sent_whole_and_what_is_too_large_is_not_read(tmp_path: Path) -> None:
    config = json.dumps(LISTED["qwen3-8b"]).encode()
    assert sent_of(tmp_path, config) == config
    assert sent_of(tmp_path, bytes((1 << 16) + 1)) == "large"
    cut = header(LISTED["qwen3-8b"], "qwen3")[:-4]
    assert sent_of(tmp_path, cut) == "truncated"
    assert sent_of(tmp_path, b"GGUF" + bytes(40)) == "strange"
