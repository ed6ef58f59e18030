"""Importance matrix files: llama.cpp's bytes, and errors of broken files."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quant_core.files.errors import FormatError
from quant_core.files.gguf_writer import TensorSpec, create_gguf, string, string_array, uint32
from quant_core.files.imatrix import read_imatrix, write_imatrix
from quant_core.methods.imatrix import ImportanceMatrix, Statistics, merge

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "imatrix_golden.npz"

Vectors = Mapping[str, NDArray[Any]]
QUERY, UP, DOWN = "blk.0.attn_q.weight", "blk.0.ffn_up_exps.weight", "blk.0.ffn_down_exps.weight"


def written(matrix: ImportanceMatrix, path: Path) -> bytes:
    write_imatrix(matrix, path)
    return path.read_bytes()


def golden_file(golden: Vectors, name: str, folder: Path) -> Path:
    path = folder / name.replace("_", ".")
    path.write_bytes(golden[name].tobytes())
    return path


# Against llama.cpp --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["gguf", "dat"])
def test_the_bytes_of_llama_imatrix(
    form: str,
    first_imatrix: ImportanceMatrix,
    second_imatrix: ImportanceMatrix,
    imatrix_golden: Vectors,
    tmp_path: Path,
) -> None:
    assert written(first_imatrix, tmp_path / f"a.{form}") == imatrix_golden[f"first_{form}"].tobytes()
    assert written(second_imatrix, tmp_path / f"b.{form}") == imatrix_golden[f"second_{form}"].tobytes()
    merged = written(merge([first_imatrix, second_imatrix]), tmp_path / f"c.{form}")
    assert merged == imatrix_golden[f"merged_{form}"].tobytes()


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("first_gguf", "second_gguf"), "merged_gguf"),
        (("first_gguf", "second_dat"), "merged_from_dat_gguf"),
        (("first_dat", "second_dat"), "dat_only_gguf"),
    ],
)
def test_merged_files(parts: tuple[str, ...], expected: str, imatrix_golden: Vectors, tmp_path: Path) -> None:
    matrices = [read_imatrix(golden_file(imatrix_golden, part, tmp_path), chunk_size=8) for part in parts]
    assert written(merge(matrices), tmp_path / "merged.gguf") == imatrix_golden[expected].tobytes()


def test_a_gguf_file_comes_back(first_imatrix: ImportanceMatrix, tmp_path: Path) -> None:
    write_imatrix(first_imatrix, tmp_path / "one.gguf")
    back = read_imatrix(tmp_path / "one.gguf")
    assert (back.chunk_size, back.chunk_count, back.datasets) == (8, 2, ("calibration.txt",))
    assert set(back.entries) == set(first_imatrix.entries)
    for name, entry in first_imatrix.entries.items():
        assert np.array_equal(back.entries[name].sums, entry.sums)
        assert np.array_equal(back.entries[name].counts, entry.counts)


def test_gguf_py_reads_it(first_imatrix: ImportanceMatrix, tmp_path: Path) -> None:
    write_imatrix(first_imatrix, tmp_path / "one.gguf")
    reader = GGUFReader(tmp_path / "one.gguf")
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    assert np.array_equal(tensors[f"{UP}.in_sum2"], first_imatrix.entries[UP].sums)
    assert tensors[f"{DOWN}.counts"].ravel().tolist() == first_imatrix.entries[DOWN].counts.tolist()
    assert reader.fields["imatrix.chunk_size"].contents() == 8


def test_a_binary_file_holds_the_means(
    first_imatrix: ImportanceMatrix, imatrix_golden: Vectors, tmp_path: Path
) -> None:
    back = read_imatrix(golden_file(imatrix_golden, "first_dat", tmp_path))
    assert back.chunk_size == 512
    assert back.datasets == ("calibration.txt",)
    for name, vector in first_imatrix.vectors().items():
        # It knows one count for all experts, and has rounded twice.
        assert back.vectors()[name] == pytest.approx(vector.ravel(), rel=1e-6)


# Files that are not as they should be -------------------------------------------------------------------


def binary(*parts: bytes | int) -> bytes:
    return b"".join(struct.pack("<i", part) if isinstance(part, int) else part for part in parts)


ONES = np.ones(2, "<f4").tobytes()
ENTRY = (1, 1, b"w", 1, 2, ONES)


@pytest.mark.parametrize(
    ("data", "means", "datasets"),
    [
        (binary(*ENTRY), [1, 1], ()),
        (binary(*ENTRY, 1), [1, 1], ()),
        (binary(*ENTRY, 1, 0), [1, 1], ()),
        (binary(*ENTRY, 1, 2, b"ab"), [1, 1], ("ab",)),
        (binary(1, 1, b"w", 4, 2, ONES), [0.25, 0.25], ()),
        (binary(1, 1, b"w", 0, 2, ONES), [1, 1], ()),  # no chunks: the values are the means
    ],
)
def test_binary_files_that_are_read(data: bytes, means: Any, datasets: Any, tmp_path: Path) -> None:
    path = tmp_path / "imatrix.dat"
    path.write_bytes(data)
    matrix = read_imatrix(path)
    assert matrix.vectors()["w"].tolist() == means
    assert matrix.datasets == datasets


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "number of entries at byte 0: 4 bytes are needed and 0 are left"),
        (binary(0), "number of entries at byte 0: 0; it must be 1 or more"),
        (binary(2_000_000_000), "2000000000 need 32000000000 bytes"),
        (binary(1, -1, 0, 0, 0, 0), "entry 0 name length at byte 4: -1"),
        (binary(1, 900, b"w", 1, 2, ONES), "entry 0 name length at byte 4: 900 need 900 bytes"),
        (binary(1, 5000, bytes(6000)), "5000 bytes; at most 4096 are read"),
        (binary(1, 0, 1, 2, ONES, 7), "entry 0 name at byte 4: '' is empty or occurs twice"),
        (binary(2, *ENTRY[1:], *ENTRY[1:]), "entry 1 name at byte 25: 'w' is empty or occurs twice"),
        (binary(1, 1, b"w", -3, 2, ONES), r"entry 0 \(w\) chunks at byte 9: -3"),
        (binary(1, 1, b"w", 1, 0, ONES), r"entry 0 \(w\) number of values at byte 13: 0"),
        (binary(1, 1, b"w", 1, 900, ONES), "900 need 3600 bytes and 8 are left"),
        (binary(1, 1, b"w", 1, 2, np.array([1, -1], "<f4").tobytes()), "must be finite and not negative"),
        (binary(1, 1, b"w", 1, 2, np.array([1, np.inf], "<f4").tobytes()), "must be finite"),
        (binary(*ENTRY, b"xy"), "chunks of the run at byte 25: 4 bytes are needed and 2 are left"),
        (binary(*ENTRY, 1, 9, b"xy"), "data set length at byte 29: 9 need 9 bytes and 2 are left"),
        (binary(*ENTRY, 1, 2, b"xyz"), "end at byte 35: 1 bytes follow the last field"),
    ],
)
def test_broken_binary_files(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "imatrix.dat"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=message):
        read_imatrix(path)


GOOD: dict[str, Any] = {
    "general.type": string("imatrix"),
    "imatrix.datasets": string_array(["a"]),
    "imatrix.chunk_count": uint32(1),
    "imatrix.chunk_size": uint32(512),
}
SUMS, COUNTS = (
    ("w.in_sum2", "F32", np.ones((2, 3), np.float32)),
    ("w.counts", "F32", np.ones((2, 1), np.float32)),
)


@pytest.mark.parametrize(
    ("metadata", "tensors", "message"),
    [
        ({"imatrix.chunk_size": None}, [SUMS, COUNTS], "metadata imatrix.chunk_size is missing"),
        (
            {"imatrix.datasets": None, "imatrix.chunk_count": None},
            [SUMS, COUNTS],
            "datasets, imatrix.chunk_count",
        ),
        ({"imatrix.chunk_size": uint32(0)}, [SUMS, COUNTS], "chunk_size a number of at least 1"),
        ({"imatrix.chunk_size": string("8")}, [SUMS, COUNTS], "chunk_size a number of at least 1"),
        ({"imatrix.datasets": string("a")}, [SUMS, COUNTS], "datasets must be texts"),
        ({}, [("w.weight", "F32", SUMS[2])], "no tensor ends with .in_sum2"),
        ({}, [SUMS], r"tensor w\.counts is missing"),
        ({}, [COUNTS], r"tensor w\.in_sum2 is missing"),
        ({}, [SUMS, ("w.counts", "F16", np.ones((2, 1), np.float16))], "or is not F32"),
        ({}, [SUMS, ("w.counts", "F32", np.ones((4, 1), np.float32))], "6 sums, no multiple of its 4 counts"),
        (
            {},
            [SUMS, ("w.counts", "F32", -COUNTS[2])],
            r"tensor w\.counts: sums of squares and counts must be",
        ),
        ({}, [("w.in_sum2", "F32", SUMS[2] * np.nan), COUNTS], "must be finite"),
    ],
)
def test_broken_gguf_files(metadata: Any, tensors: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "imatrix.gguf"
    kept = {key: value for key, value in {**GOOD, **metadata}.items() if value is not None}
    with create_gguf(
        path, kept, [TensorSpec(name, array.shape, kind) for name, kind, array in tensors]
    ) as writer:
        for _, _, array in tensors:
            writer.write(array.view(np.uint8))
    with pytest.raises(FormatError, match=message):
        read_imatrix(path)


@settings(max_examples=100)
@given(
    data=st.binary(max_size=80), start=st.integers(0, 400), form=st.sampled_from(["first_gguf", "first_dat"])
)
def test_damaged_file_raises_only_format_error(
    data: bytes, start: int, form: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with np.load(GOLDEN) as files:
        golden = files[form].tobytes()
    path = tmp_path_factory.getbasetemp() / "damaged"
    for broken in (golden[:start] + data + golden[start + len(data) :], golden[:start], golden + data):
        path.write_bytes(broken)
        try:
            matrix = read_imatrix(path)
        except FormatError as error:
            assert "\n" not in str(error)
        else:
            assert all(np.isfinite(vector).all() for vector in matrix.vectors().values())


def test_writing() -> None:
    with pytest.raises(ValueError, match="holds no statistics"):
        write_imatrix(ImportanceMatrix({}), "never.gguf")
    unseen = Statistics(np.zeros((1, 3), np.float32), np.array([0]))
    with pytest.raises(ValueError, match="holds no statistics"):
        write_imatrix(ImportanceMatrix({"w": unseen}), "never.dat")


def test_binary_file_omits_unused_tensors(tmp_path: Path) -> None:
    unseen = Statistics(np.zeros((1, 3), np.float32), np.array([0]))
    seen = Statistics(np.ones((1, 3), np.float32), np.array([1]))
    matrix = ImportanceMatrix({"a": unseen, "b": seen})
    write_imatrix(matrix, tmp_path / "some.dat")
    assert list(read_imatrix(tmp_path / "some.dat").entries) == ["b"]
    write_imatrix(matrix, tmp_path / "some.gguf")
    assert read_imatrix(tmp_path / "some.gguf").vectors()["a"].tolist() == [1, 1, 1]


def test_the_size_of_a_chunk(tmp_path: Path) -> None:
    path = tmp_path / "imatrix.dat"
    path.write_bytes(binary(*ENTRY))
    assert read_imatrix(path, chunk_size=128).entries["w"].counts.tolist() == [128]
    with pytest.raises(ValueError, match="chunk_size is 0"):
        read_imatrix(path, chunk_size=0)


def test_a_binary_value_whose_sum_float32_cannot_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.dat"
    entry = struct.pack("<i", 1) + b"w" + struct.pack("<ii", 1, 1) + struct.pack("<f", 3e38)
    path.write_bytes(struct.pack("<i", 1) + entry)
    with pytest.raises(FormatError, match="infinite in float32"):
        read_imatrix(path)
