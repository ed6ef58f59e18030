"""For any bytes, a reader returns a file or raises a one-line `FormatError`."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_core.files import (
    FormatError,
    open_model,
    open_tensors,
    quantize_model,
    read_checkpoint,
    read_gguf,
    read_safetensors,
)
from tests.quant_core.model_files import CONFIG, TOKENIZER, gguf_bytes, listed, pair, text, write_checkpoint

EXAMPLES = settings(max_examples=300)


def a_gguf_file() -> bytes:
    import struct

    metadata = (
        pair(b"general.architecture", 8, text(b"llama")),
        pair(b"general.alignment", 4, struct.pack("<I", 32)),
        pair(b"texts", 9, struct.pack("<IQ", 8, 2) + text(b"a") + text(b"bc")),
        pair(b"numbers", 9, struct.pack("<IQ3i", 5, 3, 1, 2, 3)),
        pair(b"truth", 7, b"\1"),
        pair(b"half", 12, struct.pack("<d", 0.5)),
    )
    tensors = (listed(b"a", (32, 2), 0, 0), listed(b"b", (32,), 8, 256))
    return gguf_bytes(metadata=metadata, tensors=tensors)


def a_safetensors_file() -> bytes:
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
            "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
        }
    ).encode()
    return len(header).to_bytes(8, "little") + header + bytes(32)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file with some bytes changed, taken out, put in, or cut off."""
    data = bytearray(whole)
    numbers = (b"\xff" * 8, b"\0" * 8, (2**63).to_bytes(8, "little"), (2**31).to_bytes(4, "little"))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        put = draw(st.one_of(st.binary(max_size=9), st.sampled_from(numbers)))
        gone = draw(st.sampled_from((0, len(put), 1, 4, 8)))
        data[place : place + gone] = put
    return bytes(data[: draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def read_all(path: Path, reader: Callable[[Path], Any]) -> None:
    """Read a file, and every tensor that it claims to have, in memory bounded by its length."""
    tracemalloc.start()
    try:
        tensors = reader(path)
        for tensor in getattr(tensors, "tensors", tensors).values():
            assert len(tensor.raw()) == tensor.rows
    except FormatError as error:
        assert "\n" not in str(error)
        assert str(error).isprintable()
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1_000_000, "a number in the file was believed"


@EXAMPLES
@given(
    content=st.one_of(
        damaged(a_gguf_file()), st.binary(max_size=200), st.binary().map(b"GGUF\3\0\0\0".__add__)
    )
)
def test_gguf(folder: Path, content: bytes) -> None:
    path = folder / "x.gguf"
    path.write_bytes(content)
    read_all(path, read_gguf)


@EXAMPLES
@given(content=st.one_of(damaged(a_safetensors_file()), st.binary(max_size=200)))
def test_safetensors(folder: Path, content: bytes) -> None:
    path = folder / "x.safetensors"
    path.write_bytes(content)
    read_all(path, read_safetensors)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(("F32", "BF16", "I64", "F4")) | JSON,
        "shape": st.lists(st.integers(0, 4), max_size=4) | JSON,
        "data_offsets": st.lists(st.integers(0, 64), min_size=2, max_size=2) | JSON,
    }
)


@EXAMPLES
@given(header=st.dictionaries(st.sampled_from("abc") | st.text(max_size=4), ENTRY | JSON, max_size=4) | JSON)
def test_headers_of_safetensors(folder: Path, header: object) -> None:
    text = json.dumps(header).encode()
    path = folder / "y.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(64))
    read_all(path, read_safetensors)


@EXAMPLES
@given(
    index=st.fixed_dictionaries({"weight_map": st.dictionaries(st.text(max_size=4), JSON, max_size=3)}) | JSON
)
def test_indices_of_shards(folder: Path, index: object) -> None:
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps(index), encoding="utf-8", errors="surrogatepass")
    try:
        read_all(path, read_checkpoint)
    except FileNotFoundError:
        pass  # a shard that does not exist is said so by the system
    finally:
        path.unlink()


def changed(original: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with one of its fields replaced, at the top or one level below."""
    inner = [name for name, value in original.items() if isinstance(value, dict)]
    at_top = st.tuples(st.sampled_from(sorted(original)), JSON).map(lambda new: {**original, new[0]: new[1]})
    if not inner:
        return at_top
    below = st.tuples(st.sampled_from(inner), JSON, st.integers(0, 5)).map(
        lambda new: {
            **original,
            new[0]: {
                key: new[1] if place == new[2] else value
                for place, (key, value) in enumerate(original[new[0]].items())
            },
        }
    )
    return at_top | below


@EXAMPLES
@given(
    config=changed({**CONFIG, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}, "bos_token_id": 1}),
    tokenizer=changed({**TOKENIZER, "post_processor": {"type": "TemplateProcessing", "single": [{}, {}]}}),
    settings=st.dictionaries(st.sampled_from(("bos_token", "add_bos_token", "chat_template")), JSON),
)
def test_configurations_and_tokenizers(folder: Path, config: Any, tokenizer: Any, settings: Any) -> None:
    small = {"model.norm.weight": np.ones(64, np.float16)}
    path = write_checkpoint(folder / "checkpoint", config, tokenizer, small, settings)
    try:
        model = open_model(path)
        quantize_model(model, folder / "out.gguf", "Q8_0")
    except FormatError as error:
        assert "\n" not in str(error)
    except ValueError as error:
        assert "metadata" in str(error)  # a number that GGUF has no room for, named by the writer


@EXAMPLES
@given(change=st.sampled_from(sorted(CONFIG)), value=JSON, content=damaged(a_gguf_file()))
def test_opening_any_file(folder: Path, change: str, value: object, content: bytes) -> None:
    beside = folder / "opening"
    beside.mkdir(exist_ok=True)
    (beside / "config.json").write_text(json.dumps({**CONFIG, change: value}), "utf-8", "surrogatepass")
    (beside / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    for name in ("z.gguf", "z.safetensors", "z"):
        (beside / name).write_bytes(content)
        for opening in (open_model, open_tensors):
            with pytest.raises(FormatError) if opening is open_model else _either():
                opening(beside / name)


class _either:
    """Let a `FormatError` pass, or none."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> bool:
        return kind is FormatError
