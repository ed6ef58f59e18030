"""Written files appear complete or not at all, and replace only regular files that are not inputs."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quant_core.cli import main
from quant_core.files import FormatError, open_model, quantize_model, read_imatrix
from quant_core.files.atomic import atomic_file, atomic_files
from quant_core.files.imatrix import write_imatrix
from quant_core.methods.imatrix import Collector, ImportanceMatrix
from tests.quant_core.model_files import CONFIG, ROOT, safetensors_bytes, tensors_of, write_checkpoint


def test_file_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "t"
    target.write_bytes(b"old")

    def interrupted() -> None:
        with atomic_file(target) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_bytes() == b"old"
    with atomic_file(target) as file:
        file.write(b"new")
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]
    with (
        pytest.raises(IsADirectoryError, match="is a folder; give the name of a file"),
        atomic_file(tmp_path),
    ):
        pass


def test_without_unnamed_files_a_temporary_name_is_used_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    target = tmp_path / "t"

    def interrupted() -> None:
        with atomic_file(target) as file:
            assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
            file.write(b"new")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with atomic_file(target) as file:
        file.write(b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]


def test_several_files_appear_together_or_not_at_all(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b", "c")]
    paths[1].write_bytes(b"old")

    def interrupted() -> None:
        with atomic_files(paths) as files:
            for file in files:
                file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert paths[1].read_bytes() == b"old"
    with atomic_files(paths) as files:
        for number, file in enumerate(files):
            file.write(b"%d" % number)
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == [b"0", b"1", b"2"]


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.fixture
def listening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)  # the name of a socket has at most 107 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        yield tmp_path / "socket"


def test_only_regular_files_are_replaced(tmp_path: Path, pipe: Path, listening: Path) -> None:
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "link of a link").symlink_to(tmp_path / "link")
    for path, kind in (
        (pipe, "a FIFO"),
        (tmp_path / "link", "a FIFO"),
        (tmp_path / "link of a link", "a FIFO"),
        (listening, "a socket"),
    ):
        with pytest.raises(FileExistsError, match=f"{path.name} is {kind} and would be replaced; give"):
            atomic_file(path).__enter__()
    assert pipe.is_fifo()
    assert listening.is_socket()
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "socket", "link", "link of a link"}


def test_file_that_becomes_something_else_is_not_replaced(tmp_path: Path) -> None:
    def meanwhile() -> None:
        with atomic_file(tmp_path / "t"):
            os.mkfifo(tmp_path / "t")

    with pytest.raises(FileExistsError, match="t is a FIFO"):
        meanwhile()
    assert [path.name for path in tmp_path.iterdir()] == ["t"]
    assert (tmp_path / "t").is_fifo()


def test_symbolic_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "old").write_bytes(b"old")
    for name, place in (("a", "data/old"), ("b", "data/new")):
        link = tmp_path / name
        link.symlink_to(place)
        with atomic_file(link) as file:
            file.write(name.encode())
        assert link.is_symlink()
        assert (tmp_path / place).read_bytes() == name.encode()
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["new", "old"]
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="round"):
        atomic_file(tmp_path / "round").__enter__()


def test_permissions_stay_and_protected_files_are_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "t"
    target.write_bytes(b"old")
    target.chmod(0o640)
    with atomic_file(target) as file:
        file.write(b"new")
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"new", 0o640)
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (target, os.W_OK))  # root may all
    with pytest.raises(PermissionError) as error:
        atomic_file(target).__enter__()
    assert error.value.filename == str(target)
    assert target.read_bytes() == b"new"


# --- what the job reads -----------------------------------------------------------------------------------


def statistics() -> ImportanceMatrix:
    collector = Collector()
    for name in ("attn_q", "attn_k", "attn_v", "ffn_up"):
        collector.add(f"blk.0.{name}.weight", [[1.0] * 64])
    return collector.result("text")


def sharded(folder: Path) -> Path:
    """A checkpoint in two files with everything that can lie beside it; the path of its index."""
    write_checkpoint(folder, settings={})
    (folder / "model.safetensors").unlink()
    tensors = tensors_of(CONFIG)
    names, weight_map = list(tensors), {}
    for number, part in enumerate((names[:9], names[9:]), 1):
        file = f"model-{number:05}-of-00002.safetensors"
        header, data = {}, b""
        for name in part:
            place = [len(data), len(data) + tensors[name].nbytes]
            header[name] = {"dtype": "F16", "shape": tensors[name].shape, "data_offsets": place}
            data += tensors[name].tobytes()
            weight_map[name] = file
        (folder / file).write_bytes(safetensors_bytes(header, data))
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    return index


def same(path: Path, target: Path) -> Path:
    return path


def through_a_link(path: Path, target: Path) -> Path:
    target.symlink_to(path)
    return target


def through_a_hard_link(path: Path, target: Path) -> Path:
    os.link(path, target)
    return target


def by_another_way(path: Path, target: Path) -> Path:
    return path.parent / ".." / path.parent.name / path.name


@pytest.mark.parametrize("way", [same, through_a_link, through_a_hard_link, by_another_way])
@pytest.mark.parametrize("given", ["the index", "a shard"])
def test_inputs_are_never_overwritten(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    way: Callable[[Path, Path], Path],
    given: str,
) -> None:
    index = sharded(tmp_path / "in")
    write_imatrix(statistics(), tmp_path / "in" / "i.gguf")
    source = index if given == "the index" else tmp_path / "in" / "model-00002-of-00002.safetensors"
    before = {path: path.read_bytes() for path in (tmp_path / "in").iterdir()}
    assert len(before) == 7
    for number, path in enumerate(before):
        target = way(path, tmp_path / f"out{number}.gguf")
        command = ["quantize", str(source), str(target), "--type", "Q4_0", "--jobs", "1"]
        assert main([*command, "--imatrix", str(tmp_path / "in" / "i.gguf")]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.splitlines()[-1] == (
            f"quant_core: {target} is {path}, which is read; give another name"
        )
        if path.name != "i.gguf":  # the library knows what it reads by itself
            with pytest.raises(FileExistsError, match="which is read; give another name"):
                quantize_model(open_model(source), target, "Q8_0")
    assert {path: path.read_bytes() for path in (tmp_path / "in").iterdir()} == before


def test_gguf_file_is_not_overwritten_by_itself(tmp_path: Path) -> None:
    quantize_model(open_model(write_checkpoint(tmp_path / "in")), tmp_path / "a.gguf", "F16")
    before = (tmp_path / "a.gguf").read_bytes()
    (tmp_path / "b.gguf").symlink_to("a.gguf")
    for source, target in (("a", "a"), ("a", "b"), ("b", "a")):
        with pytest.raises(FileExistsError, match=f"{target}.gguf is .*{source}.gguf, which is read"):
            quantize_model(open_model(tmp_path / f"{source}.gguf"), tmp_path / f"{target}.gguf", "Q8_0")
    assert (tmp_path / "a.gguf").read_bytes() == before
    shutil.copy(tmp_path / "a.gguf", tmp_path / "c.gguf")  # equal, and another file
    quantize_model(open_model(tmp_path / "a.gguf"), tmp_path / "c.gguf", "Q8_0")


def test_an_importance_matrix_can_be_written_over_itself_after_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "i.gguf"
    write_imatrix(statistics(), path)
    before = path.read_bytes()
    write_imatrix(read_imatrix(path), path)
    assert path.read_bytes() == before


# --- what goes wrong on the way ---------------------------------------------------------------------------


def test_changed_input_is_reported(tmp_path: Path) -> None:
    for number, change in enumerate(("replaced", "written", "shorter")):
        path = write_checkpoint(tmp_path / f"in{number}")
        model = open_model(path)
        data = path.read_bytes()
        if change == "replaced":
            (tmp_path / "other").write_bytes(data[:-2] + b"ab")
            os.replace(tmp_path / "other", path)
        elif change == "written":
            with open(path, "r+b") as file:
                file.seek(-2, os.SEEK_END)
                file.write(b"ab")
            os.utime(path, ns=(0, os.stat(path).st_mtime_ns + 1_000_000))
        else:
            path.write_bytes(data[:-2])
        with pytest.raises(FormatError, match=r"model.safetensors: tensor .* after its header was read"):
            quantize_model(model, tmp_path / "out.gguf", "Q8_0")
        assert not (tmp_path / "out.gguf").exists()


def test_full_disk_is_reported_with_the_file_name(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "in")
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "x.gguf"
    # A limit on the length of a file fails at the same place as a full disk.
    done = subprocess.run(
        [sys.executable, "-m", "quant_core", "quantize", path, target, "--type", "F32", "--jobs", "1"],
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == f"quant_core: {target}: File too large"
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("place", ["no/x.gguf", "file/x.gguf"])
def test_missing_folder_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match=str((tmp_path / place).parent)):
        atomic_file(tmp_path / place).__enter__()


def test_unwritable_folder_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def denied(path: object, flags: int, *mode: int) -> int:
        if flags & os.O_WRONLY:
            raise PermissionError(13, "Permission denied", "a temporary name")
        return real(path, flags, *mode)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(PermissionError) as error:
        atomic_file(tmp_path / "x").__enter__()
    assert error.value.filename == str(tmp_path / "x")
