"""The command line: output, exit codes, and no traceback for bad files."""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quant_core import ggml
from quant_core.cli import main
from quant_core.cli.perplexity import Bar
from quant_core.cli.quantize import ProgressBar
from quant_core.files import open_model, quantize_model, read_gguf
from quant_core.files.gguf_writer import string
from quant_core.files.imatrix import write_imatrix
from quant_core.llm.bpe import GPT2, Tokenizer, tokenizer_of
from quant_core.llm.evaluate import evaluate
from quant_core.llm.evaluate import windows as cut
from quant_core.llm.model import load
from quant_core.methods.imatrix import ImportanceMatrix, Statistics
from tests.quant_core.model_files import (
    CONFIG,
    DIGESTS,
    ROOT,
    TINYLM,
    gguf_bytes,
    importance_of,
    listed,
    tensors_of,
    write_checkpoint,
)

WEIGHTS = str(TINYLM / "model.safetensors")
Output = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Output:
    """Run a command: its exit code, and the lines of both outputs."""

    def run(*arguments: object) -> tuple[int, list[str], list[str]]:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:  # argparse
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return run


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lesson's model as Q4_K_M."""
    path = tmp_path_factory.mktemp("cli") / "small.gguf"
    quantize_model(open_model(WEIGHTS), path, "Q4_K_M")
    return path


def test_quantize_reports_its_progress(run: Output, tmp_path: Path, small: Path) -> None:
    target = tmp_path / "out.gguf"
    code, out, err = run("quantize", WEIGHTS, target, "--type", "Q4_K_M", "--jobs", 1)
    assert code == 0
    assert out == [f"{target}: Q4_K_M, 29 tensors, 4.1 MB -> 1.3 MB, 4.9563 bits per weight"]
    assert err[0].startswith("note: the pattern that tokenizer.json splits text with is none of gpt-2")
    assert err[1] == "[   1/29] output_norm.weight: F16 -> F32"
    assert err[-1] == "[  29/29] blk.2.ffn_up.weight: F16 -> Q4_K"
    assert len(err) == 30
    assert target.read_bytes() == small.read_bytes()


def test_quantize_with_importance(run: Output, tmp_path: Path) -> None:
    vectors = importance_of(open_model(WEIGHTS).tensors)
    write_imatrix(matrix_of(vectors, "a.txt", "b.txt"), tmp_path / "i.gguf")
    command = ("quantize", WEIGHTS, tmp_path / "a.gguf", "--type", "Q4_0", "--jobs", 1)
    assert run(*command, "--imatrix", tmp_path / "i.gguf")[0] == 0
    quantize_model(open_model(WEIGHTS), tmp_path / "b.gguf", "Q4_0", vectors)
    ours, wanted = (read_gguf(tmp_path / f"{name}.gguf") for name in "ab")
    for name, tensor in wanted.tensors.items():
        np.testing.assert_array_equal(ours.tensors[name].raw(), tensor.raw())
    noted = {key: meta.value for key, meta in ours.metadata.items() if key not in wanted.metadata}
    assert noted == {
        "quantize.imatrix.file": "i.gguf",
        "quantize.imatrix.dataset": "a.txt, b.txt",
        "quantize.imatrix.entries_count": 21,
        "quantize.imatrix.chunks_count": 2,
    }


def matrix_of(vectors: Mapping[str, Any], *datasets: str) -> ImportanceMatrix:
    entries = {
        name: Statistics(vector[None] * np.float32(4), np.array([4])) for name, vector in vectors.items()
    }
    return ImportanceMatrix(entries, 2, datasets)


def test_the_file_with_an_importance_matrix_is_the_one_that_llama_quantize_wrote(
    run: Output, tmp_path: Path
) -> None:
    quantize_model(open_model(WEIGHTS), tmp_path / "half.gguf", "F16")
    write_imatrix(matrix_of(importance_of(open_model(WEIGHTS).tensors), "a.txt"), tmp_path / "i.gguf")
    command = ("quantize", tmp_path / "half.gguf", tmp_path / "out.gguf", "--type", "Q4_K_M", "--jobs", 1)
    assert run(*command, "--imatrix", tmp_path / "i.gguf")[0] == 0
    digests = DIGESTS["imatrix"]
    assert hashlib.sha256((tmp_path / "out.gguf").read_bytes()).hexdigest() == digests["Q4_K_M"]


def test_an_importance_matrix_of_another_model_is_refused(
    run: Output, tmp_path: Path, held_out: Path
) -> None:
    vectors = importance_of(open_model(WEIGHTS).tensors)
    write_imatrix(matrix_of({f"x{name}": v for name, v in vectors.items()}, "a.txt"), tmp_path / "i.gguf")
    for command in (
        ("quantize", WEIGHTS, tmp_path / "a.gguf", "--type", "Q4_K"),
        ("perplexity", WEIGHTS, "--text", held_out, "--types", "Q4_K"),
    ):
        code, out, err = run(*command, "--imatrix", tmp_path / "i.gguf")
        assert (code, out, len(err)) == (2, [], 1)
        assert "the importance matrix names no tensor of the model, but xblk.0.attn_k.weight" in err[0]
    assert not (tmp_path / "a.gguf").exists()


def test_an_importance_matrix_with_few_entries_is_warned_of(
    run: Output, tmp_path: Path, held_out: Path
) -> None:
    vectors = importance_of(open_model(WEIGHTS).tensors)
    few = dict(list(vectors.items())[:2]) | {"strange": vectors["blk.0.attn_k.weight"]}
    write_imatrix(matrix_of(few), tmp_path / "i.gguf")
    warnings = [
        "warning: the importance matrix has no entry for 19 of the 21 tensors that would heed it: "
        "blk.0.attn_q.weight, blk.0.attn_v.weight, blk.0.ffn_down.weight and 16 more",
        "warning: 1 of the 3 entries of the importance matrix name no tensor of the model: strange",
    ]
    command = ("quantize", WEIGHTS, tmp_path / "a.gguf", "--type", "Q4_K", "--jobs", 1)
    code, _, err = run(*command, "--imatrix", tmp_path / "i.gguf")
    assert code == 0
    assert [line for line in err if line.startswith("warning")] == warnings
    metadata = read_gguf(tmp_path / "a.gguf").metadata
    noted = {key: meta.value for key, meta in metadata.items() if key.startswith("quantize.")}
    assert noted == {
        "quantize.imatrix.file": "i.gguf",
        "quantize.imatrix.entries_count": 2,
        "quantize.imatrix.chunks_count": 2,
    }
    assert list(metadata)[-5:-3] == ["general.quantization_version", "general.file_type"]
    code, _, err = run(
        "perplexity", WEIGHTS, "--text", held_out, "--types", "q4_k,Q8_0", "--imatrix", tmp_path / "i.gguf"
    )
    assert code == 0
    assert err[:2] == [line.replace("warning:", "warning: Q4_K_M:") for line in warnings]
    assert err[2].startswith("warning: Q8_0: the importance matrix is not used")
    code, _, err = run("perplexity", WEIGHTS, "--text", held_out, "--imatrix", tmp_path / "i.gguf")
    assert (code, len(err)) == (0, 1)
    assert err[0].startswith("warning: the importance matrix is not used: --types names none")


def test_unused_importance_is_not_recorded(run: Output, tmp_path: Path) -> None:
    vectors = importance_of(open_model(WEIGHTS).tensors)
    write_imatrix(matrix_of(vectors, "a.txt"), tmp_path / "i.gguf")
    source = tmp_path / "half.gguf"
    model = open_model(WEIGHTS)
    stale = {"quantize.imatrix.file": string("of another run")}
    quantize_model(replace(model, metadata={**model.metadata, **stale}), tmp_path / "none.gguf", "F16")
    quantize_model(model, source, "F16", metadata=stale)
    for number, arguments in enumerate(
        (
            ("Q8_0", "--imatrix", tmp_path / "i.gguf"),
            ("Q4_K", "--imatrix", tmp_path / "i.gguf"),
            ("Q4_K",),
            ("F16",),
        )
    ):
        target = tmp_path / f"{number}.gguf"
        code, _, err = run("quantize", source, target, "--jobs", 1, "--type", *arguments)
        assert code == 0
        noted = [key for key in read_gguf(target).metadata if key.startswith("quantize.")]
        assert len(noted) == (4 if number == 1 else 0)
        assert any("importance matrix is not used" in line for line in err) == (number == 0)
    assert not any(key.startswith("quantize.") for key in read_gguf(tmp_path / "none.gguf").metadata)


def test_tensors_that_fall_back_are_listed_and_counted_again_at_the_end(run: Output, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, CONFIG | {"hidden_size": 256, "intermediate_size": 300})
    code, _, err = run("quantize", path, tmp_path / "a.gguf", "--type", "Q4_K", "--jobs", 1)
    assert code == 0
    fallen = (
        "rows of 300 are not divisible by 256, the block of",
        "warning: 2 of 21 tensor(s) required fallback quantization; 2 of them are left at F16",
    )
    assert f"warning: blk.0.ffn_down.weight: {fallen[0]} Q4_K: falling back to F16" in err
    assert f"warning: blk.1.ffn_down.weight: {fallen[0]} Q6_K: falling back to F16" in err
    assert err[-1] == fallen[1]
    assert err.count(fallen[1]) == 2
    assert read_gguf(tmp_path / "a.gguf").tensors["blk.0.ffn_down.weight"].type_name == "F16"


def test_inspect_prints_metadata_tensors_and_sums(run: Output, small: Path) -> None:
    code, out, err = run("inspect", small)
    assert (code, err) == (0, [])
    assert out[0] == f"{small}: GGUF version 3, 25 metadata values, 29 tensors, aligned to 32 bytes"
    assert "general.architecture = 'llama'  (str)" in out
    assert "llama.block_count = 3  (u32)" in out
    assert "tokenizer.ggml.token_type = [3, 1, 1, 1, 1, 1, …]  (1024 x i32)" in out
    line = next(line for line in out if line.startswith("blk.0.ffn_down.weight"))
    assert line.split() == ["blk.0.ffn_down.weight", "Q4_K", "256", "x", "512", "73,728", "356,448"]
    assert out[-1].split()[:3] == ["all", "29", "tensors"]
    assert out[-1].endswith("4.9563 bits per weight")


def test_inspect_a_checkpoint(run: Output, tmp_path: Path) -> None:
    code, out, _ = run("inspect", WEIGHTS)
    assert code == 0
    assert out[0] == f"{WEIGHTS}: safetensors, 29 tensors"
    assert out[-1].endswith("2,033,408 weights        4,066,816 bytes  16.0000 bits per weight")
    (tmp_path / "empty.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    assert run("inspect", tmp_path / "empty.safetensors")[1][-1].endswith("no weights")


def test_inspect_a_header_alone_of_new_types(run: Output) -> None:
    code, out, err = run("inspect", ROOT / "tests" / "data" / "bonsai_q1_0_header.gguf")
    assert (code, err) == (0, [])
    lines = [line.split() for line in out]
    size = 151_669 * 4096 // 128 * 18
    for name in ("token_embd.weight", "output.weight"):
        (row,) = [line for line in lines if line[:1] == [name]]
        assert row[1:6] == ["Q1_0", "151669", "x", "4096", f"{size:,}"]
    assert out[-2].endswith("1.1250 bits per weight")


def test_unknown_types_do_not_stop_a_command(run: Output, tmp_path: Path) -> None:
    path = tmp_path / "later.gguf"
    path.write_bytes(gguf_bytes(tensors=(listed(b"a", (7, 3), 57, 0), listed(b"b", (32,), 0, 256))))
    code, out, err = run("inspect", path)
    assert (code, err) == (0, [])
    assert ["a", "type", "57", "3", "x", "7", "unknown"] in [line.split()[:7] for line in out]
    assert [line.split() for line in out[-3:]] == [
        ["F32", "1", "tensors", "32", "weights", "128", "bytes", "32.0000", "bits", "per", "weight"],
        ["type", "57", "1", "tensors", "21", "weights", "unknown", "bytes"],
        ["all", "2", "tensors", "53", "weights", "unknown", "bytes"],
    ]
    code, out, err = run("compare", path, path)
    assert (code, err) == (1, [])
    assert out[1].split(maxsplit=5)[-1] == "not compared: the size of type 57 is not known"
    assert out[2].split() == ["b", "F32", "F32", "equal"]
    code, _, err = run("block", path, "a", 0)
    assert code == 2
    assert "tensor a is type 57; the types whose blocks can be shown are F32" in err[0]


@pytest.mark.parametrize("name", ["q4_k", "Q4_K", "q4_k_m", " Q4_K_m ", "15"])
def test_types_are_named_as_llama_quantize_takes_them(
    run: Output, tmp_path: Path, small: Path, name: str
) -> None:
    code, out, _ = run("quantize", WEIGHTS, tmp_path / "out.gguf", "--type", name, "--jobs", 1)
    assert code == 0
    assert ": Q4_K_M, 29 tensors" in out[0]
    assert (tmp_path / "out.gguf").read_bytes() == small.read_bytes()


def test_unknown_type_is_refused_with_a_list_of_known_ones(run: Output, tmp_path: Path) -> None:
    for name in ("Q9", "", "4", "-1", "Q2_K_M", "15.0", "١٥"):
        code, _, err = run("quantize", WEIGHTS, tmp_path / "out.gguf", f"--type={name}")
        assert (code, len(err)) == (2, 1)
        assert f"type '{name}' is not known; choose from F32 (0), F16 (1), Q4_0 (2)" in err[0]
        assert err[0].endswith("Q2_0 (41); in any case, or by its number; Q4_K is short for Q4_K_M")


def test_compare_measures_the_loss(run: Output, tmp_path: Path, small: Path) -> None:
    code, out, _ = run("compare", WEIGHTS, small)
    assert code == 1
    assert out[-1] == "0 of 29 tensors have equal bytes"
    rows = {line.split()[0]: line.split()[1:] for line in out[1:-1]}
    assert rows["output_norm.weight"] == ["F16", "F32", "differ", "inf"]
    stored = {tensor.name: tensor for tensor in open_model(WEIGHTS).tensors}["blk.1.ffn_up.weight"].floats()
    noise = stored - ggml.dequantize(ggml.quantize(stored, "Q4_K"), "Q4_K")
    decibels = 10 * np.log10(np.sum(stored.astype(float) ** 2) / np.sum(noise.astype(float) ** 2))
    assert rows["blk.1.ffn_up.weight"] == ["F16", "Q4_K", "differ", f"{decibels:.2f}"]


def test_compare_equal_files(run: Output, small: Path) -> None:
    code, out, _ = run("compare", small, small)
    assert code == 0
    assert out[-1] == "29 of 29 tensors have equal bytes"
    assert out[1].split() == ["output_norm.weight", "F32", "F32", "equal"]


def test_compare_files_of_other_tensors(run: Output, tmp_path: Path) -> None:
    zeros = bytes(4 * 192)
    (tmp_path / "a.gguf").write_bytes(
        gguf_bytes(
            tensors=(
                listed(b"same", (8,), 0, 0),
                listed(b"shape", (8,), 0, 32),
                listed(b"mine", (8,), 0, 64),
                listed(b"undecoded", (8,), 26, 96),
                listed(b"silent", (8,), 0, 128),
            ),
            data=zeros,
        )
    )
    (tmp_path / "b.gguf").write_bytes(
        gguf_bytes(
            tensors=(
                listed(b"same", (8,), 0, 0),
                listed(b"shape", (4, 2), 0, 32),
                listed(b"yours", (8,), 0, 64),
                listed(b"undecoded", (8,), 26, 96),
                listed(b"silent", (8,), 0, 128),
            ),
            data=zeros[:96] + bytes([1]) * 96,
        )
    )
    code, out, _ = run("compare", tmp_path / "a.gguf", tmp_path / "b.gguf")
    assert code == 1
    assert [line.split(maxsplit=3) for line in out[1:]] == [
        ["same", "F32", "F32", "equal"],
        ["shape", "F32", "F32", "shapes (8,) and (2, 4)"],
        ["mine", "F32", "-", "only in A"],
        ["undecoded", "I32", "I32", "differ   (a type has no decoder)"],
        ["silent", "F32", "F32", "differ   -inf"],
        ["yours", "-", "F32", "only in B"],
        ["1", "of", "6", "tensors have equal bytes"],
    ]


def test_block_prints_every_byte_field_and_weight(run: Output, small: Path) -> None:
    name, index = "blk.0.ffn_down.weight", 7
    code, out, _ = run("block", small, name, index)
    assert code == 0
    tensor = read_gguf(small).tensors[name]
    block = tensor.raw(3, 4)[0, 144:]
    fields = ggml.fields(block, "Q4_K")
    assert out[0] == "tensor  blk.0.ffn_down.weight: Q4_K, 256 x 512"
    assert out[1] == "block   7: row 3, columns 256 to 511"
    assert out[2] == f"bytes   144 from byte {tensor.offset + 7 * 144} of small.gguf on, 4.5 bits per weight"
    hexadecimal = [
        line.split(maxsplit=1)[1] for line in out if line[:6].strip().isdigit() and line[6:8] == "  "
    ]
    assert bytes.fromhex("".join(hexadecimal[:11])) == block.tobytes()
    assert f"d = {fields['d'][0]:g}" in out
    assert f"d_bits = 0x{int(fields['d_bits'][0]):04x}" in out
    codes = out.index("codes =")
    printed = [int(code) for line in out[codes + 1 : codes + 9] for code in line.split()]
    assert printed == fields["codes"][0].tolist()
    weights = out[out.index("weights =") + 1 :]
    printed_weights = [float(number) for line in weights for number in line.split()[1:]]
    assert printed_weights == pytest.approx(ggml.dequantize(block, "Q4_K")[0].tolist(), rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("type_name", [name for name in ggml.QUANTIZABLE if name != "NVFP4"])
def test_block_of_every_type(run: Output, tmp_path: Path, type_name: str) -> None:
    layout = ggml.FORMATS[type_name]
    path = tmp_path / "t.gguf"
    from quant_core.files import TensorSpec, create_gguf

    with create_gguf(path, {}, [TensorSpec("t", (1, 512), type_name)]) as writer:
        writer.write(ggml.quantize(np.linspace(-1, 1, 512), type_name, np.ones(512)))
    code, out, err = run("block", path, "t", 512 // layout.block_size - 1)
    assert (code, err) == (0, [])
    assert [line.split()[0] for line in out if line.endswith(tuple(f.holds for f in layout.fields))]
    assert out[1].endswith(("to 511", "columns 511 to 511"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("block", "{small}", "no.such", 0),
            "no tensor no.such; it has output_norm.weight, token_embd.weight",
        ),
        (("block", "{small}", "blk.0.ffn_up.weight", 512), "index is 512; the tensor has blocks 0 to 511"),
        (("block", "{small}", "blk.0.ffn_up.weight", -1), "index is -1; the tensor has blocks 0 to 511"),
        (("block", "{odd}", "a", 0), "tensor a is I32; the types whose blocks can be shown are F32"),
        (("inspect", "{small}.none"), "small.gguf.none: No such file or directory"),
        (("inspect", "{folder}"), "not a regular file"),
        (("inspect", "{text}"), "neither a GGUF file nor a .safetensors file"),
        (
            ("compare", "{small}", "{broken}"),
            "broken.gguf: magic at byte 0: 4 bytes are needed and 2 are left",
        ),
        (("quantize", "{small}", "{out}", "--type", "Q4_0"), "would be quantized twice"),
        (("quantize", WEIGHTS, "{out}", "--type", "IQ1_S"), "IQ1_S needs an importance matrix"),
        (("quantize", WEIGHTS, "{out}", "--type", "Q8_0", "--jobs", 0), "jobs is 0"),
        (
            ("quantize", WEIGHTS, "{out}", "--type", "Q8_0", "--imatrix", "{broken}"),
            "number of entries at byte 0",
        ),
        (("quantize", WEIGHTS, "{folder}", "--type", "Q8_0", "--jobs", 1), "is a folder; give the name"),
        (("quantize", WEIGHTS, "{folder}/no/x", "--type", "F32"), "no: No such file or directory"),
    ],
)
def test_errors_are_one_line(
    run: Output, tmp_path: Path, small: Path, arguments: tuple[object, ...], message: str
) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GG")
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "odd.gguf").write_bytes(gguf_bytes(tensors=(listed(b"a", (32,), 26, 0),)))
    places = {
        "small": small, "broken": tmp_path / "broken.gguf", "folder": tmp_path, "out": tmp_path / "out.gguf",
        "text": tmp_path / "text.txt", "odd": tmp_path / "odd.gguf",
    }  # fmt: skip
    code, out, err = run(*(str(argument).format(**places) for argument in arguments))
    assert code == 2
    assert out == []
    assert err[-1].startswith("quant_core: ")
    assert message in err[-1]
    assert all(line.startswith("note: ") for line in err[:-1])
    assert not (tmp_path / "out.gguf").exists()


def test_wrong_arguments_end_with_the_same_code(run: Output) -> None:
    for arguments in ((), ("paint",), ("quantize", "a", "b"), ("quantize", "a", "b", "--type", "Q9")):
        code, out, err = run(*arguments)
        assert (code, out) == (2, [])
        assert err[-1].startswith("quant_core")
    assert run("--help")[0] == 0


def test_hostile_names_are_escaped(run: Output, tmp_path: Path) -> None:
    path = tmp_path / "hostile.gguf"
    path.write_bytes(gguf_bytes(tensors=(listed(b"\x1b[2J\xc2\x9b", (32,), 0, 0),)))
    for command in (("inspect", path), ("compare", path, path), ("block", path, "x", 0)):
        _, out, err = run(*command)
        printed = "".join((*out, *err))
        assert "\\x1b[2J\\x9b" in printed
        assert printed.isprintable()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_terminal_gets_a_progress_bar(tmp_path: Path) -> None:
    stream = Terminal()
    model = open_model(write_checkpoint(tmp_path, CONFIG, tensors=tensors_of(CONFIG)))
    quantize_model(model, tmp_path / "out.gguf", "Q8_0", report=ProgressBar(stream).show)
    drawn = stream.getvalue()
    assert drawn.startswith("\r")
    assert drawn.endswith("\n")
    last = drawn.split("\r")[-1]
    assert last.startswith("█" * 30 + " 100%")
    assert "blk.1.ffn_up.weight" in last
    assert drawn.count("\n") == 1


def test_log_gets_one_line_for_each_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quant_core.files.quantizing.WEIGHTS_AT_ONCE", 1000)
    stream = io.StringIO()
    model = open_model(write_checkpoint(tmp_path))
    quantize_model(model, tmp_path / "out.gguf", "Q8_0", report=ProgressBar(stream).show)
    assert len(stream.getvalue().splitlines()) == len(model.tensors) == 21


def test_dead_worker_and_lack_of_memory_are_reported(
    run: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, message in (
        (BrokenProcessPool("x"), "a worker process has ended"),
        (MemoryError(), "memory ran out"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ):

        def fail(*arguments: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr("quant_core.cli.quantize.quantize_model", fail)
        code, _, err = run("quantize", WEIGHTS, tmp_path / "out.gguf", "--type", "Q8_0")
        assert code == 2
        assert message in err[-1]


def test_interrupt_has_no_traceback(run: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("quant_core.cli.quantize.quantize_model", interrupted)
    code, _, err = run("quantize", WEIGHTS, tmp_path / "out.gguf", "--type", "Q8_0")
    assert (code, err[-1]) == (130, "quant_core: interrupted")


def test_cores_are_counted_where_affinity_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    from quant_core.cli.quantize import _cores

    assert _cores() >= 1
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert _cores() == 1


def test_package_runs_as_a_module(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["quant_core", "inspect", str(small)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "quant_core" / "__main__.py"), run_name="__main__")
    assert end.value.code == 0


BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
UNBUFFERED = {**BUFFERED, "PYTHONUNBUFFERED": "1"}
CLOSED = ["| head -n 1", ">&-", "2>&-", "<&- >&- 2>&-", "2>&1 | head -c 1"]


@pytest.mark.parametrize(
    ("closed", "buffer"), [*((closed, BUFFERED) for closed in CLOSED), (CLOSED[-1], UNBUFFERED)]
)
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("inspect {small}", 0),
        ("compare {weights} {small}", 1),
        ("quantize {weights} {out} --type Q8_0 --jobs 1", 0),
        ("inspect {small}.none", 2),
        ("compare --help", 0),
    ],
)
def test_a_closed_stream_changes_neither_the_work_nor_the_exit_code(
    tmp_path: Path, small: Path, arguments: str, code: int, closed: str, buffer: dict[str, str]
) -> None:
    out = tmp_path / "out.gguf"
    command = arguments.format(small=small, weights=WEIGHTS, out=out)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{sys.executable} -m quant_core {command} {closed}"],
        cwd=ROOT,
        env=buffer,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    printed = done.stdout + done.stderr
    assert "Traceback" not in printed
    assert "Exception ignored" not in printed
    assert out.exists() == ("--type Q8_0" in arguments)
    if "2>" not in closed and code == 2:
        assert "quant_core" in done.stderr.splitlines()[-1]
    if closed == "| head -n 1" and code < 2 and "quantize" not in arguments:
        assert len(done.stdout.splitlines()) == 1


def test_unwritable_output_is_reported(tmp_path: Path, small: Path) -> None:
    # A limit on the length of a file fails at the same place as a full disk.
    for command in (["inspect", small], ["compare", small, small], ["--help"]):
        with open(tmp_path / "printed", "wb") as printed:
            done = subprocess.run(
                [sys.executable, "-m", "quant_core", *command],
                cwd=ROOT,
                env=BUFFERED,  # without a buffer Python itself lets a part of a write pass for the whole
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10)),
                stdout=printed,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode == 2
        assert done.stderr == "quant_core: the standard output: File too large\n"
        assert (tmp_path / "printed").stat().st_size == 10


def test_output_after_a_closed_pipe_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(options: object) -> int:
        raise BrokenPipeError

    monkeypatch.setattr("quant_core.cli.inspect.run", closed)
    with open(tmp_path / "pipe", "w+") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(["inspect", "x.gguf"]) == 0
        print("more", flush=True)
    assert (tmp_path / "pipe").read_text() == ""


def test_termination_cleans_up() -> None:
    previous = signal.getsignal(signal.SIGTERM)
    try:
        main(["inspect", WEIGHTS])
        with pytest.raises(SystemExit) as end:
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert end.value.code == 128 + signal.SIGTERM


def test_unencodable_characters_are_escaped(small: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "quant_core", "inspect", str(small)],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\\u0120 t" in done.stdout


# --- perplexity ---


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first words of the held-out text."""
    path = tmp_path_factory.mktemp("text") / "ruth.txt"
    documents = json.loads((TINYLM / "heldout_text.json").read_text("utf-8"))
    path.write_text(documents[0][:4000], "utf-8")
    return path


def test_perplexity_prints_a_line_for_each_type(run: Output, held_out: Path) -> None:
    code, out, err = run(
        "perplexity", WEIGHTS, "--text", held_out, "--types", "Q8_0,Q4_K,Q2_K", "--all-tokens"
    )
    assert (code, err) == (0, [])
    windows = int(out[0].split(": ")[1].split()[0])
    assert f"{windows} windows of 128 tokens, {127 * windows} predictions" in out[0]
    rows = {line[:10].strip(): line[10:].split() for line in out[2:]}
    assert list(rows) == ["as it is", "Q8_0", "Q4_K_M", "Q2_K"]
    bits, perplexity = ([float(row[at]) for row in rows.values()] for at in (0, 1))
    assert bits == sorted(bits, reverse=True)
    assert perplexity[0] < 16
    assert perplexity[3] > perplexity[2] > perplexity[0]
    tokenizer = tokenizer_of(open_model(WEIGHTS))
    text = cut(np.array(tokenizer.encode(held_out.read_text("utf-8"))), 128, first=1)
    result = evaluate(load(WEIGHTS), text)
    size = sum(len(tokenizer.bytes_of(token)) for token in text.targets.ravel().tolist())
    assert perplexity[0] == pytest.approx(result.perplexity, abs=1e-4)
    assert float(rows["as it is"][4]) == pytest.approx(result.bits_per_byte(size), abs=1e-4)


def test_perplexity_with_a_cache_of_other_types(run: Output, held_out: Path) -> None:
    found = {}
    for name, options in (
        ("rotated", ("--cache-type-k", "Q4_0", "--cache-type-v", "q8_0", "--types", "Q4_K")),
        ("plain", ("--cache-type-k", "q4_0", "--cache-type-v", "q8_0", "--attn-rot-disable")),
        ("keys", ("--cache-type-k", "q4_0")),
    ):
        code, found[name], err = run("perplexity", WEIGHTS, "--text", held_out, *options)
        assert (code, err) == (0, [])
    head = "cache: K q4_0, rotated by 64; V q8_0, rotated by 64; 624 bytes for each token, 1536 in f16"
    assert found["rotated"][0] == head
    assert found["plain"][0] == head.replace(", rotated by 64", "")
    assert found["keys"][0].startswith("cache: K q4_0, rotated by 64; V f16;")
    rows = {name: [line[:10].strip() for line in lines[3:]] for name, lines in found.items()}
    assert rows == {
        "rotated": ["as it is", "cache", "Q4_K_M"],
        "plain": ["as it is", "cache"],
        "keys": ["as it is", "cache"],
    }
    # Both quantized weights and what is cached cost something.
    rotated, weights, plain = (
        float(lines[place].split("±")[1].split()[2])
        for lines, place in ((found["rotated"], 4), (found["rotated"], 5), (found["plain"], 4))
    )
    assert 0 < rotated < plain
    assert rotated < weights
    code, _, err = run("perplexity", WEIGHTS, "--text", held_out, "--attn-rot-disable")
    assert code == 0
    assert err == ["warning: --attn-rot-disable does nothing without a type of the cache"]


def test_perplexity_of_a_quantized_file(run: Output, small: Path, held_out: Path) -> None:
    code, out, _ = run("perplexity", small, "--text", held_out, "--context", "64", "--stride", "32")
    assert code == 0
    assert "of 64 tokens" in out[0]
    assert len(out) == 3


def test_perplexity_errors_are_one_line(run: Output, small: Path, held_out: Path, tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"abc\xff")
    (tmp_path / "short").write_text("A word.")
    for arguments, problem in (
        ((WEIGHTS, "--text", held_out, "--types", "Q9"), "type 'Q9' is not known"),
        (
            (WEIGHTS, "--text", held_out, "--cache-type-v", "q4_k"),
            "cache_type_v is 'q4_k'; choose one of",
        ),
        ((WEIGHTS, "--text", held_out, "--types", "Q2_K_S"), "needs an importance matrix"),
        ((small, "--text", held_out, "--types", "Q2_K"), "would be quantized twice"),
        ((WEIGHTS, "--text", tmp_path / "bytes"), "not UTF-8 at byte 3"),
        ((WEIGHTS, "--text", tmp_path / "short"), "give from 2 to"),
        ((WEIGHTS, "--text", tmp_path / "none"), "No such file"),
        ((WEIGHTS, "--text", tmp_path), "Is a directory"),
        ((WEIGHTS, "--text", held_out, "--context", 0), "give from 2 to"),
        ((WEIGHTS, "--text", held_out, "--stride", 0), "stride is 0"),
    ):
        code, out, err = run("perplexity", *arguments)
        assert (code, out, len(err)) == (2, [], 1), err
        assert problem in err[0]


def test_bytes_without_a_token_are_counted_and_skipped(
    run: Output, held_out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tokenizer_of(open_model(WEIGHTS))
    merges = open_model(WEIGHTS).metadata["tokenizer.ggml.merges"].value
    tokens = ["?" if token == "ĝ" else token for token in whole.tokens]  # the byte 0x1D
    monkeypatch.setattr("quant_core.cli.perplexity.tokenizer_of", lambda _: Tokenizer(tokens, merges, [GPT2]))
    with_separators = tmp_path / "separators.txt"
    with_separators.write_text("\x1d" + held_out.read_text("utf-8") + "\x1d", "utf-8")
    results = [run("perplexity", WEIGHTS, "--text", path) for path in (held_out, with_separators)]
    assert results[0][2] == []
    assert results[1][2] == ["note: the vocabulary has no token for 2 bytes of the text; they are skipped"]
    assert results[0][1][1:] == results[1][1][1:]


def test_text_may_come_from_a_pipe_and_is_bounded(
    run: Output, held_out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    feeding = threading.Thread(target=lambda: pipe.write_bytes(held_out.read_bytes()))
    feeding.start()
    piped = run("perplexity", WEIGHTS, "--text", pipe)
    feeding.join()
    assert piped[1][1:] == run("perplexity", WEIGHTS, "--text", held_out)[1][1:]
    monkeypatch.setattr("quant_core.cli.perplexity.MOST_TEXT_BYTES", 3999)
    code, _, err = run("perplexity", WEIGHTS, "--text", held_out)
    assert (code, err) == (2, [f"quant_core: {held_out}: more than 3999 bytes"])


def test_progress_bar_of_several_runs_grows_and_is_cleared_for_results() -> None:
    stream = Terminal()
    bar = Bar(stream, 2)
    for share in (0.5, 1.0, 0.5, 1.0):
        bar.show(share)
    shown = stream.getvalue().split("\r")[1:]
    assert ["25%" in shown[0], "75%" in shown[2]] == [True, True]
    assert [part.startswith("\x1b[K") for part in shown] == [False, True, False, True]
