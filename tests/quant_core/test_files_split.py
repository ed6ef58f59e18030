"""GGUF models in several files: read as one, written as several on request, refused if one is invalid."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import gguf
import numpy as np
import pytest

from quant_core.cli import main
from quant_core.files import FormatError, Meta, TensorSpec, create_gguf, open_model, quantize_model, read_gguf
from quant_core.files.gguf_writer import string, uint32
from quant_core.files.model import config_of_header
from quant_core.files.split import read_parts
from tests.quant_core.model_files import CONFIG, DIGESTS, TINYLM, split, tensors_of, write_checkpoint


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model in one file."""
    folder = tmp_path_factory.mktemp("one")
    quantize_model(open_model(write_checkpoint(folder / "in")), folder / "one.gguf", "F16")
    return folder / "one.gguf"


@pytest.mark.parametrize("cuts", [(0, 8, 14), (0, 0, 14), (0, 20)])
def test_several_files_are_quantized_as_one(one: Path, tmp_path: Path, cuts: Sequence[int]) -> None:
    parts = split(one, tmp_path, cuts)
    quantize_model(open_model(one), tmp_path / "a.gguf", "Q4_0")
    quantize_model(open_model(parts[0]), tmp_path / "b.gguf", "Q4_0", jobs=2)
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


def test_links_to_the_parts_are_accepted(one: Path, tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    for number, part in enumerate(split(one, tmp_path)):
        part.rename(tmp_path / "blobs" / str(number))
        part.symlink_to(f"blobs/{number}")
    assert len(read_parts(tmp_path / "m-00001-of-00003.gguf").tensors) == 21


def test_split_of_one_file_is_accepted(one: Path, tmp_path: Path) -> None:
    (part,) = split(one, tmp_path, (0,))
    part = part.rename(tmp_path / "any name.gguf")
    assert len(read_parts(part).tensors) == 21
    assert read_parts(part).parts == ()


def test_the_same_files_are_written_on_request(one: Path, tmp_path: Path) -> None:
    parts = split(one, tmp_path, (0, 8, 14))
    quantize_model(open_model(one), tmp_path / "whole.gguf", "Q4_0")
    extra = {"x.own": string("more")}
    written = quantize_model(
        open_model(parts[0]), tmp_path / "out.gguf", "Q4_0", jobs=2, keep_split=True, metadata=extra
    )
    assert [path.name for path in written.files] == [
        "out-00001-of-00003.gguf",
        "out-00002-of-00003.gguf",
        "out-00003-of-00003.gguf",
    ]
    whole_file = read_gguf(tmp_path / "whole.gguf")
    for number, (source, target) in enumerate(zip(parts, written.files, strict=True)):
        file = read_gguf(target)
        assert list(file.tensors) == list(read_gguf(source).tensors)
        for name, tensor in file.tensors.items():
            np.testing.assert_array_equal(tensor.raw(), whole_file.tensors[name].raw())
        # As `llama_model_quantize_impl`: the metadata in the first file, the place in each.
        keys = ["split.no", "split.count", "split.tensors.count"]
        assert [file.metadata[key].value for key in keys] == [number, 3, 21]
        assert [file.metadata[key].kind for key in keys] == ["u16", "u16", "i32"]
        if number:
            assert list(file.metadata) == keys
        else:
            first = [*whole_file.metadata, "x.own", *keys]
            assert list(file.metadata) == first
        assert len(gguf.GGUFReader(target).tensors) == len(file.tensors)
    again = quantize_model(open_model(written.files[0]), tmp_path / "again.gguf", "Q4_0")
    assert again.tensors == 21
    with pytest.raises(FileExistsError, match=r"out-00001-of-00003.gguf is .*, which is read"):
        quantize_model(open_model(written.files[0]), tmp_path / "out.gguf", "Q4_0", keep_split=True)


def test_the_files_are_those_that_llama_quantize_wrote(tmp_path: Path) -> None:
    half = tmp_path / "half.gguf"
    quantize_model(open_model(TINYLM / "model.safetensors"), half, "F16")
    first = split(half, tmp_path, (0, 10, 20))[0]
    written = quantize_model(open_model(first), tmp_path / "out.gguf", "Q4_K_M", keep_split=True)
    digests = DIGESTS["split"]
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in written.files] == digests


def test_part_without_tensors_is_kept(one: Path, tmp_path: Path) -> None:
    parts = split(one, tmp_path, (0, 0, 14))
    written = quantize_model(open_model(parts[0]), tmp_path / "out", "Q8_0", keep_split=True)
    assert [len(read_gguf(path).tensors) for path in written.files] == [0, 14, 7]


def test_one_file_is_named_as_llama_quantize_names_it(one: Path, tmp_path: Path) -> None:
    quantize_model(open_model(one), tmp_path / "plain.gguf", "Q8_0")
    written = quantize_model(open_model(one), tmp_path / "out.gguf", "Q8_0", keep_split=True)
    assert [path.name for path in written.files] == ["out-00001-of-00001.gguf"]
    assert written.files[0].read_bytes() == (tmp_path / "plain.gguf").read_bytes()


def rename(parts: list[Path]) -> None:
    parts[0].rename(parts[0].with_name("first.gguf"))


def remove(parts: list[Path]) -> None:
    parts[1].unlink()


def exchange(parts: list[Path]) -> None:
    data = parts[1].read_bytes()
    parts[1].write_bytes(parts[2].read_bytes())
    parts[2].write_bytes(data)


def repeat(parts: list[Path]) -> None:
    file = read_gguf(parts[0])
    name, tensor = next(iter(file.tensors.items()))
    metadata = read_gguf(parts[2]).metadata
    with create_gguf(parts[2], metadata, [TensorSpec(name, tensor.shape, tensor.type_name)]) as writer:
        writer.write(tensor.raw())


def nothing(parts: list[Path]) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "damage", "given", "message"),
    [
        ({}, nothing, "m-00002-of-00003.gguf", "part 2 of 3; give the first one, m-00001-of-00003.gguf"),
        ({}, remove, "m-00001-of-00003.gguf", "part 2 of 3 is missing: m-00002-of-00003.gguf must lie besi"),
        ({}, rename, "first.gguf", "part 1 of 3; its name must end with -00001-of-00003.gguf"),
        ({}, exchange, "m-00001-of-00003.gguf", "m-00002-of-00003.gguf: it says to be part 3 of 3, not 2 o"),
        ({}, repeat, "m-00001-of-00003.gguf", "m-00003-of-00003.gguf: tensor output.weight is in "),
        (
            {1: {"general.architecture": string("qwen2")}},
            nothing,
            "m-00001-of-00003.gguf",
            "m-00002-of-00003.gguf: of another model than m-00001-of-00003.gguf: general.architecture is q",
        ),
        (
            {2: {"split.tensors.count": Meta("i32", 20)}},
            nothing,
            "m-00001-of-00003.gguf",
            "m-00003-of-00003.gguf: of another model than m-00001-of-00003.gguf: split.tensors.count is 20",
        ),
        (
            {number: {"split.tensors.count": Meta("i32", 22)} for number in range(3)},
            nothing,
            "m-00001-of-00003.gguf",
            "m-00001-of-00003.gguf: split.tensors.count is 22; the 3 files hold 21",
        ),
        (
            {1: {"split.count": Meta("u16", 4)}},
            nothing,
            "m-00001-of-00003.gguf",
            "m-00002-of-00003.gguf: it says to be part 2 of 4, not 2 of 3",
        ),
        (
            {0: {"split.count": string("3")}},
            nothing,
            "m-00001-of-00003.gguf",
            "split.count is 3; it must be a number from 0 on",
        ),
        (
            {0: {"split.count": uint32(1 << 31)}},
            nothing,
            "m-00001-of-00003.gguf",
            "split.count is 2147483648; at most 65535 are read",
        ),
    ],
)
@pytest.mark.parametrize("command", ["quantize", "inspect", "compare", "block"])
def test_errors_of_the_parts_are_named(
    one: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    change: Mapping[int, Mapping[str, Meta]],
    damage: Callable[[list[Path]], None],
    given: str,
    message: str,
) -> None:
    damage(split(one, tmp_path, change=change))
    path = str(tmp_path / given)
    arguments = {
        "quantize": [path, str(tmp_path / "out.gguf"), "--type", "Q8_0"],
        "inspect": [path],
        "compare": [str(one), path],
        "block": [path, "blk.0.ffn_up.weight", "0"],
    }[command]
    before = set(os.listdir(tmp_path))
    assert main([command, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert set(os.listdir(tmp_path)) == before


def test_the_commands_show_all_parts(one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, third = split(one, tmp_path)
    assert main(["compare", str(one), str(first)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "21 of 21 tensors have equal bytes"
    assert main(["inspect", str(first)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "21 tensors, aligned to 32 bytes" in lines[0]
    assert lines[1:4] == [
        f"{first}: 8 of the tensors", f"{second}: 6 of the tensors", f"{third}: 7 of the tensors"
    ]  # fmt: skip
    assert lines[-1].split()[:2] == ["all", "21"]
    tensor = read_gguf(third).tensors["blk.1.ffn_up.weight"]
    assert main(["block", str(first), "blk.1.ffn_up.weight", "5"]) == 0
    place = tensor.offset + 10
    assert f"from byte {place} of m-00003-of-00003.gguf on" in capsys.readouterr().out
    command = ["quantize", str(first), str(tmp_path / "out.gguf"), "--type", "q8_0", "--jobs", "1"]
    assert main([*command, "--keep-split"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{tmp_path / 'out-00001-of-00003.gguf'}: Q8_0, 21 tensors in 3 files, ")
    assert not (tmp_path / "out.gguf").exists()


def test_all_outputs_are_checked_before_writing(one: Path, tmp_path: Path) -> None:
    parts = split(one, tmp_path)
    os.mkfifo(tmp_path / "out-00003-of-00003.gguf")
    with pytest.raises(FileExistsError, match="out-00003-of-00003.gguf is a FIFO"):
        quantize_model(open_model(parts[0]), tmp_path / "out.gguf", "Q8_0", keep_split=True)
    assert not (tmp_path / "out-00001-of-00003.gguf").exists()


def test_header_of_one_part_gives_the_shape_only_if_complete(tmp_path: Path) -> None:
    tied = CONFIG | {"tie_word_embeddings": True}
    sources = {
        "tied": write_checkpoint(tmp_path / "tied", tied, tensors=tensors_of(tied)),
        "own": write_checkpoint(tmp_path / "own"),
    }
    for name, source in sources.items():
        quantize_model(open_model(source), tmp_path / f"{name}.gguf", "F16")
        first, second, _ = split(tmp_path / f"{name}.gguf", tmp_path / name)
        if name == "own":
            assert config_of_header(first.read_bytes())["tie_word_embeddings"] is False
        else:
            with pytest.raises(FormatError, match=r"part 1 of 3 of a model: whether it has an output.weight"):
                config_of_header(first.read_bytes())
        with pytest.raises(FormatError, match="part 2 of 3 of a model; the first part says its shape"):
            config_of_header(second.read_bytes())
