"""safetensors headers: files of the reference package are read, errors are named."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from quant_core.files import FormatError, read_checkpoint, read_safetensors
from tests.quant_core.model_files import safetensors_bytes


def read(tmp_path: Path, content: bytes) -> Any:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    return read_safetensors(path)


def test_files_of_the_reference_package_are_read(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    arrays: dict[str, NDArray[Any]] = {
        "half": random.standard_normal((3, 5)).astype(np.float16),
        "single": random.standard_normal((2, 4)).astype(np.float32),
        "double": random.standard_normal(7),
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 4), np.float32),
    }
    path = tmp_path / "model.safetensors"
    save_file(arrays | {"numbers": np.arange(4)}, path, metadata={"format": "pt"})
    tensors = read_safetensors(path)
    assert set(tensors) == {*arrays, "numbers"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(tensors[name].floats().ravel(), array.astype(np.float32).ravel())
    assert tensors["scalar"].shape == (1,)
    assert tensors["empty"].rows == 0
    assert tensors["numbers"].type_name == "I64"
    with pytest.raises(FormatError, match="tensor numbers: type 'I64' is not known"):
        tensors["numbers"].floats()


def test_bfloat16_is_the_upper_half_of_float32(tmp_path: Path) -> None:
    header = {"x": {"dtype": "BF16", "shape": [1, 2], "data_offsets": [0, 4]}}
    tensor = read(tmp_path, safetensors_bytes(header, struct.pack("<HH", 0x3F80, 0xC049)))["x"]
    assert tensor.floats().tolist() == [[1.0, -3.140625]]


GOOD = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
DEEP = b'{"x":' * 100_000

#: What is wrong -> the file, and what the message must say.
WRONG: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "header length at byte 0: 8 bytes are needed and 0 are left"),
    "length": (safetensors_bytes({}, length=2**62), "is more than the 33554432 that are accepted"),
    "cut": (safetensors_bytes({}, length=50), "header length at byte 0: 50 need 50 bytes and 2 are left"),
    "not JSON": (safetensors_bytes(b"{"), "header at byte 8: not valid JSON: Expecting property name"),
    "not UTF-8": (safetensors_bytes(b'{"\xff":1}'), "not valid JSON: 'utf-8' codec"),
    "a list": (safetensors_bytes([]), "a JSON list where an object is expected"),
    "too deep": (safetensors_bytes(DEEP), "not valid JSON: nested too deeply"),
    "twice": (safetensors_bytes(b'{"a":{},"a":{}}'), "the name 'a' occurs twice"),
    "NaN": (safetensors_bytes(b'{"a":NaN}'), "NaN is not a JSON number"),
    "metadata": (safetensors_bytes({"__metadata__": {"a": 1}}), "__metadata__ at byte 8: it must map texts"),
    "entry": (safetensors_bytes({"x": 3}), "tensor x at byte 8: it must have dtype, shape and data_offsets"),
    "extra": (safetensors_bytes({"x": GOOD | {"y": 1}}), "and nothing else"),
    "dtype": (safetensors_bytes({"x": GOOD | {"dtype": "F5"}}), "tensor x dtype at byte 8: F5; known are"),
    "dtype type": (safetensors_bytes({"x": GOOD | {"dtype": []}}), "tensor x dtype at byte 8: []; known are"),
    "shape": (safetensors_bytes({"x": GOOD | {"shape": [-1]}}), "tensor x shape at byte 8: [-1]"),
    "shape float": (safetensors_bytes({"x": GOOD | {"shape": [2.0]}}), "tensor x shape at byte 8: [2.0]"),
    "shape truth": (safetensors_bytes({"x": GOOD | {"shape": [True]}}), "tensor x shape at byte 8: [True]"),
    "shape text": (safetensors_bytes({"x": GOOD | {"shape": "2"}}), "tensor x shape at byte 8: 2"),
    "shape long": (safetensors_bytes({"x": GOOD | {"shape": [1] * 9}}), "up to 8 whole numbers"),
    "offsets": (
        safetensors_bytes({"x": GOOD | {"data_offsets": [0]}}),
        "tensor x data_offsets at byte 8: [0]; two whole numbers",
    ),
    "offsets turned": (
        safetensors_bytes({"x": GOOD | {"data_offsets": [8, 0]}}),
        "tensor x data_offsets at byte 8: [8, 0] do not span the 8 bytes of shape and dtype",
    ),
    "huge": (
        safetensors_bytes({"x": {"dtype": "F32", "shape": [2**62] * 8, "data_offsets": [0, 2**62]}}),
        "do not span",
    ),
    "behind": (safetensors_bytes({"x": GOOD}, b"1234567"), "8 lies behind the 7 bytes of data"),
    "gap": (
        safetensors_bytes({"x": GOOD | {"data_offsets": [4, 12]}}, bytes(12)),
        "tensor x data_offsets at byte 8: 4 leaves a gap behind the tensor before it, which ends at 0",
    ),
    "overlap": (
        safetensors_bytes({"x": GOOD, "y": GOOD | {"data_offsets": [4, 12]}}, bytes(12)),
        "tensor y data_offsets at byte 8: 4 overlaps the tensor before it, which ends at 8",
    ),
    "left over": (safetensors_bytes({"x": GOOD}, bytes(9)), "1 bytes belong to no tensor"),
}


@pytest.mark.parametrize("case", WRONG)
def test_each_wrong_field_is_named(tmp_path: Path, case: str) -> None:
    content, message = WRONG[case]
    with pytest.raises(FormatError) as caught:
        read(tmp_path, content)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(SafetensorError):
        load(content)


def test_too_many_tensors_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quant_core.files.safetensors.MOST_TENSORS", 0)
    with pytest.raises(FormatError, match="header at byte 8: 1 tensors; at most 0 are accepted"):
        read(tmp_path, safetensors_bytes({"x": GOOD}, bytes(8)))


def write_shards(folder: Path, weight_map: object) -> Path:
    save_file({"a": np.ones(2, np.float32)}, folder / "model-1.safetensors")
    save_file({"b": np.zeros(2, np.float32)}, folder / "model-2.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


def test_a_checkpoint_in_shards_is_read_from_its_index_or_any_shard(tmp_path: Path) -> None:
    index = write_shards(tmp_path, {"a": "model-1.safetensors", "b": "model-2.safetensors"})
    for path in (index, tmp_path / "model-1.safetensors", tmp_path / "model-2.safetensors"):
        assert {name: t.floats().tolist() for name, t in read_checkpoint(path).items()} == {
            "a": [[1.0, 1.0]],
            "b": [[0.0, 0.0]],
        }
    save_file({"c": np.zeros(1, np.float32)}, tmp_path / "other.safetensors")
    assert list(read_checkpoint(tmp_path / "other.safetensors")) == ["c"]


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        (None, "weight_map must map names of tensors to names of files"),
        ([], "weight_map must map"),
        ({"a": 1}, "weight_map must map"),
        ({"a": "../secret.safetensors"}, "weight_map names ../secret.safetensors; a shard is"),
        ({"a": "/etc/passwd"}, "weight_map names /etc/passwd"),
        ({"a": "model-1.bin"}, "weight_map names model-1.bin"),
        ({"a": "model-1.safetensors", "b": "model-1.safetensors"}, "tensor b is in no shard"),
        ({"b": "model-1.safetensors"}, "tensor a lies in model-1.safetensors, the index says nothing of it"),
        (
            {"a": "model-2.safetensors", "b": "model-1.safetensors"},
            "tensor a lies in model-1.safetensors, the index says model-2.safetensors",
        ),
    ],
)
def test_an_index_that_its_shards_contradict_is_refused(
    tmp_path: Path, weight_map: object, message: str
) -> None:
    index = write_shards(tmp_path, weight_map)
    with pytest.raises(FormatError) as caught:
        read_checkpoint(index)
    assert message in str(caught.value)


def test_a_long_index_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quant_core.files.safetensors.MOST_INDEX_BYTES", 10)
    with pytest.raises(FormatError, match="bytes; at most 10 are read"):
        read_checkpoint(write_shards(tmp_path, {"a": "model-1.safetensors"}))
