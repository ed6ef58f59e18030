"""Whole files: llama-quantize's bytes, for any number of processes, in bounded memory, all or nothing."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from quant_core.files import (
    FormatError,
    Model,
    Progress,
    TensorSpec,
    create_gguf,
    open_model,
    quantize_model,
    quantizing,
    read_gguf,
)
from quant_core.files.gguf_writer import string, uint32
from quant_core.files.storage import FILE_TYPES, encode
from quant_core.ggml import QUANTIZABLE
from quant_core.ggml.mixes import tensor_types
from tests.quant_core.model_files import (
    CONFIG,
    DIGESTS,
    ROOT,
    WEIGHTS,
    importance_of,
    tensors_of,
    write_checkpoint,
)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("half") / "half.gguf"
    quantize_model(open_model(WEIGHTS), path, "F16")
    return path


_encoded: dict[bytes, NDArray[np.uint8]] = {}


@pytest.fixture
def encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encode a tensor once for all files that store it in the same type: some types take seconds."""

    def once(values: NDArray[np.float32], type_name: str, importance: Any = None) -> NDArray[np.uint8]:
        heeded = b"" if importance is None else importance.tobytes()
        key = hashlib.sha256(f"{type_name} {values.shape} ".encode() + values.tobytes() + heeded).digest()
        if key not in _encoded:
            _encoded[key] = encode(values, type_name, importance)
        return _encoded[key]

    monkeypatch.setattr(quantizing, "encode", once)


@pytest.mark.usefixtures("encoded_once")
@pytest.mark.parametrize("mix", DIGESTS["plain"])
def test_the_file_is_the_one_that_llama_quantize_wrote(half: Path, tmp_path: Path, mix: str) -> None:
    for source in (half, WEIGHTS):
        quantize_model(open_model(source), tmp_path / "out.gguf", mix)
        assert hashlib.sha256((tmp_path / "out.gguf").read_bytes()).hexdigest() == DIGESTS["plain"][mix]


@pytest.mark.usefixtures("encoded_once")
@pytest.mark.parametrize("mix", DIGESTS["importance"])
def test_with_importance_too(half: Path, tmp_path: Path, mix: str) -> None:
    model = open_model(half)
    quantize_model(model, tmp_path / "out.gguf", mix, importance_of(model.tensors))
    assert hashlib.sha256((tmp_path / "out.gguf").read_bytes()).hexdigest() == DIGESTS["importance"][mix]


@pytest.mark.parametrize("importance", ["plain", "importance"])
def test_every_writable_file_type_is_tested(half: Path, importance: str) -> None:
    model = open_model(half)
    vectors = importance_of(model.tensors) if importance == "importance" else None
    for mix in set(FILE_TYPES) - set(DIGESTS[importance]):
        with pytest.raises(ValueError, match="needs an importance matrix"):
            quantizing.plan(model, mix, vectors)


def test_the_reference_package_reads_the_file(half: Path, tmp_path: Path) -> None:
    model = open_model(half)
    written = quantize_model(model, tmp_path / "out.gguf", "Q4_K_M")
    reader = gguf.GGUFReader(tmp_path / "out.gguf")
    wanted = {tensor.name: tensor.type for tensor in tensor_types(model.shape, "Q4_K_M")}
    assert {tensor.name: tensor.tensor_type.name for tensor in reader.tensors} == wanted
    assert written.bytes_after == sum(tensor.n_bytes for tensor in reader.tensors)
    assert written.bits_per_weight == pytest.approx(8 * written.bytes_after / 2_033_408)
    assert written.tensors == len(reader.tensors) == 29
    ours = read_gguf(tmp_path / "out.gguf").tensors
    for tensor in reader.tensors[::5]:
        theirs = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(ours[tensor.name].floats().reshape(theirs.shape), theirs)


def test_pieces_and_processes_do_not_change_the_bytes(
    half: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = open_model(half)
    importance = importance_of(model.tensors)
    quantize_model(model, tmp_path / "whole.gguf", "Q4_K_M", importance)
    monkeypatch.setattr(quantizing, "WEIGHTS_AT_ONCE", 5000)
    quantize_model(model, tmp_path / "pieces.gguf", "Q4_K_M", importance)
    monkeypatch.setattr(quantizing, "WEIGHTS_AT_ONCE", 50_000)
    quantize_model(model, tmp_path / "processes.gguf", "Q4_K_M", importance, jobs=3)
    one = (tmp_path / "whole.gguf").read_bytes()
    assert (tmp_path / "pieces.gguf").read_bytes() == one
    assert (tmp_path / "processes.gguf").read_bytes() == one


def test_an_error_in_a_process_is_the_same_error(tmp_path: Path) -> None:
    tensors = tensors_of(CONFIG)
    tensors["model.layers.1.mlp.up_proj.weight"][3, 5] = np.nan
    model = open_model(write_checkpoint(tmp_path / "in", tensors=tensors))
    for jobs in (1, 2):
        with pytest.raises(
            FormatError, match="tensor blk.1.ffn_up.weight, rows 0 to 95: weights holds 1 NaN"
        ):
            quantize_model(model, tmp_path / "out.gguf", "Q8_0", jobs=jobs)
    assert not (tmp_path / "out.gguf").exists()


def test_progress_reaches_the_end(half: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    quantize_model(open_model(half), tmp_path / "out.gguf", "Q8_0", report=seen.append)
    assert [progress.number for progress in seen] == list(range(1, 30))
    assert all(0 < progress.done_bytes <= progress.total_bytes for progress in seen)
    assert seen[-1].done_bytes == seen[-1].total_bytes


def test_memory_stays_below_the_largest_tensor(tmp_path: Path) -> None:
    config = CONFIG | {"vocab_size": 1 << 14, "hidden_size": 512, "num_hidden_layers": 1}
    path = write_checkpoint(tmp_path, config)
    model = open_model(path)
    largest = max(tensor.bytes for tensor in model.tensors)
    assert largest == 2**14 * 512 * 2
    tracemalloc.start()
    quantize_model(model, tmp_path / "out.gguf", "Q4_0")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < largest


def write_model(path: Path, change: Mapping[str, Any], drop: str = "", **shapes: tuple[int, ...]) -> Path:
    """A GGUF file like a Llama, with some of its metadata and tensors changed."""
    metadata = {
        "general.architecture": string("llama"),
        "llama.block_count": uint32(1),
        "llama.embedding_length": uint32(32),
        "llama.feed_forward_length": uint32(64),
        "llama.attention.head_count": uint32(2),
        "split.no": uint32(0),
        "general.file_type": uint32(1),
        **change,
    }
    layer = {
        "attn_norm": (32,), "attn_q": (32, 32), "attn_k": (32, 32), "attn_v": (32, 32),
        "attn_output": (32, 32), "ffn_norm": (32,), "ffn_gate": (64, 32), "ffn_up": (64, 32),
        "ffn_down": (32, 64),
    }  # fmt: skip
    every: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (10, 32),
        "output_norm.weight": (32,),
        **{f"blk.0.{name}.weight": shape for name, shape in layer.items()},
        **{name.replace("__", "."): shape for name, shape in shapes.items()},
    }
    every.pop(drop, None)
    specs = [TensorSpec(name, shape, "F32") for name, shape in every.items()]
    random = np.random.default_rng(2)
    with create_gguf(path, metadata, specs) as writer:
        for spec in specs:
            writer.write(random.standard_normal(spec.shape).astype("<f4").view(np.uint8))
    return path


def test_a_gguf_file_keeps_its_metadata_and_its_own_tensors(tmp_path: Path) -> None:
    path = write_model(tmp_path / "in.gguf", {"x.own": string("kept")}, blk__0__attn_output__bias=(32,))
    quantize_model(open_model(path), tmp_path / "out.gguf", "Q8_0")
    file = read_gguf(tmp_path / "out.gguf")
    assert file.value("x.own") == "kept"
    assert "split.no" not in file.metadata
    assert list(file.metadata)[-2:] == ["general.quantization_version", "general.file_type"]
    assert file.value("general.file_type") == 7
    assert file.tensors["blk.0.attn_output.bias"].type_name == "F32"
    assert file.tensors["blk.0.attn_q.weight"].type_name == "Q8_0"


@pytest.mark.parametrize(
    ("change", "drop", "shapes", "message"),
    [
        (
            {"general.architecture": string("bert")},
            "",
            {},
            "general.architecture: bert is not quantized",
        ),
        ({"general.architecture": uint32(1)}, "", {}, "general.architecture: 1 is not quantized"),
        ({}, "token_embd.weight", {}, "tensor token_embd.weight is missing"),
        ({}, "blk.0.ffn_up.weight", {}, "tensor blk.0.ffn_up.weight is missing"),
        ({"llama.block_count": uint32(0)}, "", {}, "metadata of llama: num_hidden_layers is 0"),
        ({"llama.attention.head_count": string("2")}, "", {}, "num_attention_heads is '2'"),
        ({}, "", {"strange__weight": (2, 32)}, r"tensor strange.weight of shape \(2, 32\) is not part"),
        (
            {"llama.feed_forward_length": uint32(96)},
            "",
            {},
            r"has shape \(32, 64\); the model's numbers demand",
        ),
        (
            {"llama.expert_count": uint32(8), "llama.expert_used_count": uint32(2)},
            "",
            {},
            "is not part of such",
        ),
    ],
)
def test_files_that_contradict_themselves_are_refused(
    tmp_path: Path, change: Mapping[str, Any], drop: str, shapes: Mapping[str, Any], message: str
) -> None:
    path = write_model(tmp_path / "in.gguf", change, drop, **shapes)
    with pytest.raises(FormatError, match=message):
        quantize_model(open_model(path), tmp_path / "out.gguf", "Q8_0")
    assert not (tmp_path / "out.gguf").exists()


def test_requantizing_is_refused_and_copying_is_not(half: Path, tmp_path: Path) -> None:
    quantize_model(open_model(half), tmp_path / "q8.gguf", "Q8_0")
    with pytest.raises(FormatError, match="stored as Q8_0 already and would be quantized twice"):
        quantize_model(open_model(tmp_path / "q8.gguf"), tmp_path / "out.gguf", "Q4_0")
    quantize_model(open_model(tmp_path / "q8.gguf"), tmp_path / "copy.gguf", "Q8_0")
    assert (tmp_path / "copy.gguf").read_bytes() == (tmp_path / "q8.gguf").read_bytes()


def test_unwritable_types_are_refused_before_any_work(half: Path, tmp_path: Path) -> None:
    model = open_model(half)
    out = tmp_path / "out.gguf"
    with pytest.raises(ValueError, match="file type 'Q4_K_XL' is not known; choose one of F32"):
        quantize_model(model, out, "Q4_K_XL")
    with pytest.raises(ValueError, match="IQ2_XXS needs an importance matrix"):
        quantize_model(model, out, "IQ2_XXS")
    with pytest.raises(ValueError, match="jobs is 0; give the number of processes"):
        quantize_model(model, out, "Q8_0", jobs=0)
    importance = importance_of(model.tensors)
    importance["blk.0.attn_q.weight"] = np.ones(3, np.float32)
    with pytest.raises(
        ValueError, match=r"blk.0.attn_q.weight has 256 columns; its importance has shape \(3,\)"
    ):
        quantize_model(model, out, "Q4_K_M", importance)
    assert not out.exists()


@pytest.mark.parametrize("name", ["blk.0.attn_k.weight", "blk.2.ffn_up.weight"])
def test_types_that_require_importance_are_refused_without_it(half: Path, tmp_path: Path, name: str) -> None:
    # `tensor_requires_imatrix`: Q2_K does in a Q2_K_S file, and not in others; the embedding and head never.
    model = open_model(half)
    importance = importance_of(model.tensors)
    assert "token_embd.weight" not in importance
    importance.pop("output.weight", None)
    quantize_model(model, tmp_path / "out.gguf", "Q2_K_S", importance)
    del importance[name]
    with pytest.raises(ValueError, match=f"{name} would be Q2_K and has no entry in the importance"):
        quantize_model(model, tmp_path / "no.gguf", "Q2_K_S", importance)
    quantize_model(model, tmp_path / "out.gguf", "Q2_K", importance)
    assert not (tmp_path / "no.gguf").exists()


@pytest.mark.parametrize("mix", ["F16", "Q8_0", "Q4_K_M"])
def test_the_importance_of_another_model_is_refused(half: Path, tmp_path: Path, mix: str) -> None:
    model = open_model(half)
    importance = {f"model.{name}": vector for name, vector in importance_of(model.tensors).items()}
    with pytest.raises(
        ValueError,
        match=r"names no tensor of the model, but model.blk.0.attn_k.weight, .* and 18 more: it is that",
    ):
        quantize_model(model, tmp_path / "out.gguf", mix, importance)
    assert not (tmp_path / "out.gguf").exists()


def test_deviations_from_the_request_are_reported(half: Path) -> None:
    model = open_model(half)
    importance = importance_of(model.tensors)
    assert said(model, "Q4_K_M", None) == []
    assert said(model, "Q4_K_M", importance) == []
    few = {"blk.0.attn_k.weight": importance["blk.0.attn_k.weight"]}
    assert said(model, "Q4_K_M", few) == [
        "the importance matrix has no entry for 20 of the 21 tensors that would heed it: "
        "blk.0.attn_output.weight, blk.0.attn_q.weight, blk.0.attn_v.weight and 17 more"
    ]
    assert said(model, "Q4_K_M", importance | {"a": few["blk.0.attn_k.weight"]}) == [
        "1 of the 22 entries of the importance matrix name no tensor of the model: a"
    ]
    for mix in ("F16", "BF16", "Q8_0"):
        assert said(model, mix, importance) == [
            "the importance matrix is not used: no tensor with an entry gets a type that heeds it"
        ]


@pytest.mark.parametrize("type_name", QUANTIZABLE)
def test_types_that_use_importance_are_those_whose_bytes_change(type_name: str) -> None:
    rows = np.random.default_rng(1).standard_normal((2, 512)).astype(np.float32)
    importance = np.linspace(0, 1, 512, dtype=np.float32) ** 4
    without = np.ones_like(importance) if type_name in ("IQ2_XXS", "IQ2_XS", "IQ1_S") else None
    changes = not np.array_equal(encode(rows, type_name, without), encode(rows, type_name, importance))
    assert changes == (type_name not in quantizing._IGNORES_IMPORTANCE)


def said(model: Model, mix: str, importance: Mapping[str, Any] | None) -> list[str]:
    return quantizing.quantization_warnings(quantizing.plan(model, mix, importance), importance)


@pytest.mark.parametrize("case", DIGESTS["fallback"])
def test_tensors_fall_back_as_in_llama_quantize(tmp_path: Path, case: str) -> None:
    width, mix = case.split()
    config = CONFIG | {"hidden_size": 256, "intermediate_size": int(width), "head_dim": 16}
    model = open_model(write_checkpoint(tmp_path / f"fb{width}", config))
    quantize_model(model, tmp_path / "out.gguf", mix)
    assert hashlib.sha256((tmp_path / "out.gguf").read_bytes()).hexdigest() == DIGESTS["fallback"][case]


def test_tensors_that_fall_back_are_listed_and_counted(tmp_path: Path) -> None:
    # `tensor_type_fallback`: Q4_K to Q5_0, Q6_K to Q8_0, and F16 where rows are no multiple of 32 either.
    config = CONFIG | {"hidden_size": 256, "intermediate_size": 288, "head_dim": 16}
    model = open_model(write_checkpoint(tmp_path / "a", config))
    remarks = said(model, "Q4_K_M", None)
    types = {tensor.name: tensor.type for tensor in tensor_types(model.shape, "Q4_K_M")}
    fallen = sorted(name for name in types if name.endswith(("ffn_down.weight", "attn_output.weight")))
    assert [remark.split(":")[0] for remark in remarks[:-1]] == fallen
    rows = "are not divisible by 256, the block of"
    assert remarks[0] == f"blk.0.attn_output.weight: rows of 64 {rows} Q4_K: falling back to Q5_0"
    assert types["blk.1.ffn_down.weight"] == "Q8_0"
    assert remarks[-2] == f"blk.1.ffn_down.weight: rows of 288 {rows} Q6_K: falling back to Q8_0"
    assert remarks[-1] == "4 of 21 tensor(s) required fallback quantization"
    odd = config | {"intermediate_size": 300}
    model = open_model(write_checkpoint(tmp_path / "b", odd))
    for mix in ("Q4_K_M", "Q4_0"):
        assert said(model, mix, None)[-1] == (
            f"{4 if mix == 'Q4_K_M' else 2} of 21 tensor(s) required fallback quantization; "
            "2 of them are left at F16"
        )


def test_weights_too_large_for_half_precision_are_refused(tmp_path: Path) -> None:
    tensors: dict[str, Any] = {name: array.astype(np.float32) for name, array in tensors_of(CONFIG).items()}
    tensors["lm_head.weight"][1, 1] = 65520
    model = open_model(write_checkpoint(tmp_path / "in", tensors=tensors))
    with pytest.raises(FormatError, match="tensor output.weight, rows 0 to 63: weights reach beyond ±65504"):
        quantize_model(model, tmp_path / "out.gguf", "F16")
    quantize_model(model, tmp_path / "out.gguf", "BF16")
    assert read_gguf(tmp_path / "out.gguf").tensors["output.weight"].floats()[1, 1] == 65536


def test_double_precision_is_read(tmp_path: Path) -> None:
    tensors = {name: array.astype(np.float64) for name, array in tensors_of(CONFIG).items()}
    quantize_model(open_model(write_checkpoint(tmp_path / "a", tensors=tensors)), tmp_path / "a.gguf", "Q8_0")
    (tmp_path / "b" / "x").parent.mkdir()
    quantize_model(open_model(write_checkpoint(tmp_path / "b")), tmp_path / "b.gguf", "Q8_0")
    a, b = (read_gguf(tmp_path / f"{name}.gguf").tensors for name in "ab")
    assert all(np.array_equal(a[name].raw(), b[name].raw()) for name in b)


# --- all or nothing ---------------------------------------------------------------------------------------


#: A run that stops at the first piece of a tensor, and waits there for its end.
WAITS = """
import sys
from quant_core.cli import main, quantize

def show(bar, progress):
    print("begun", flush=True)
    sys.stdin.read()

quantize.ProgressBar.show = show
raise SystemExit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="this system has no files without names")
@pytest.mark.parametrize(
    ("end", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_killed_run_leaves_no_files(tmp_path: Path, end: signal.Signals, code: int) -> None:
    path = write_checkpoint(tmp_path / "in")
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", WAITS, "quantize", str(path), str(tmp_path / "out" / "x.gguf")]
    with subprocess.Popen(
        [*command, "--type", "Q8_0", "--jobs", "2"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        workers = children(process.pid)
        assert len(workers) >= 2
        assert str(tmp_path / "out") in str(opened(process.pid))
        process.send_signal(end)
        assert process.wait(60) == code
    assert list((tmp_path / "out").iterdir()) == []
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "a worker outlives its parent"
        time.sleep(0.05)


def opened(process: int) -> list[str]:
    """What the descriptors of a process lead to."""
    return [os.readlink(descriptor) for descriptor in Path(f"/proc/{process}/fd").iterdir()]


def test_a_worker_waits_for_its_parents_end(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    codes: list[int] = []

    class Parent:
        def join(self) -> None:
            ended.wait(30)

    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(signal, "signal", lambda number, handler: codes.append(number))
    monkeypatch.setattr(multiprocessing, "parent_process", Parent)
    before = set(threading.enumerate())
    quantizing._begin_worker()
    (watcher,) = set(threading.enumerate()) - before
    assert codes == [signal.SIGINT]
    ended.set()
    watcher.join(30)
    assert codes == [signal.SIGINT, 1]


def children(parent: int) -> list[int]:
    """Processes whose parent is this one."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            status = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(status[1]) == parent:
            found.append(int(entry.name))
    return found
