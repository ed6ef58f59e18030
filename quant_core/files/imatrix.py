"""llama.cpp's importance matrix files: the GGUF one, and the older binary one (usually .dat).

**GGUF.** Metadata `general.type` = "imatrix", `imatrix.datasets` (texts), `imatrix.chunk_count` and
`imatrix.chunk_size` (u32). For each weight, by name, two float32 tensors: NAME`.in_sum2` of shape
(experts, columns), the sums of x², and NAME`.counts` of shape (experts, 1), the tokens. The importance is
their quotient; 1 where a count is 0.

**Binary**, little-endian::

    int32  number of entries
    each   int32  length of the name, the name
           int32  chunks: tokens / chunk size, rounded up (of the expert with the most tokens)
           int32  number of values
           float32 values: mean of x² times chunks; chunks for an expert without tokens
    int32  chunks of the run                                  (the rest may be missing)
    int32  length of the data set's name, the name

It holds neither tokens nor the chunk size, so merging weights the runs by chunks.

References
----------
ggml-org/llama.cpp 0c1e57098bba, `tools/imatrix/imatrix.cpp` (`save_imatrix`, `save_imatrix_legacy`) and
`common/imatrix-loader.cpp`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from quant_core.arrays import F32
from quant_core.files.atomic import atomic_file
from quant_core.files.bounded import Cursor, open_bounded
from quant_core.files.errors import FormatError, printable, short_path
from quant_core.files.gguf import MAGIC, GgufFile, read_gguf
from quant_core.files.gguf_writer import TensorSpec, create_gguf, string, string_array, uint32
from quant_core.files.tensors import StoredTensor
from quant_core.methods.imatrix import CHUNK_SIZE, ImportanceMatrix, Statistics

SUMS, COUNTS = ".in_sum2", ".counts"
DATASETS, CHUNK_COUNT_KEY, CHUNK_SIZE_KEY = "imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"

#: Longest name in a binary file; GGUF has a limit of its own.
MOST_NAME_BYTES = 1 << 12


def read_imatrix(path: str | Path, chunk_size: int = CHUNK_SIZE) -> ImportanceMatrix:
    """Read an importance matrix; the first bytes tell which of the two formats it is.

    Parameters
    ----------
    path : path
    chunk_size : int
        Tokens in a chunk, for a binary file, which does not hold it.

    Returns
    -------
    ImportanceMatrix
        Of a binary file each tensor has one count, even if it has experts.

    Raises
    ------
    FormatError
        If the file is damaged, or is no importance matrix.
    OSError
        If it cannot be opened.
    """
    with open_bounded(Path(path)) as cursor:
        is_gguf = cursor.take(min(len(MAGIC), cursor.left), "magic") == MAGIC
    if is_gguf:
        return _from_gguf(read_gguf(path))
    if chunk_size < 1:
        raise ValueError(f"chunk_size is {chunk_size}; give at least 1")
    with open_bounded(Path(path)) as cursor:
        return _read_binary(cursor, chunk_size)


def write_imatrix(matrix: ImportanceMatrix, path: str | Path) -> None:
    """Write an importance matrix as GGUF, or in the binary format if the name ends with .dat.

    A binary file omits tensors without tokens, and names only the last of several data sets.

    Parameters
    ----------
    matrix : ImportanceMatrix
    path : path
        Replaced if it exists.

    Raises
    ------
    ValueError
        If the matrix is empty, or a name is too long.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from quant_core.methods.imatrix import Collector
    >>> collector = Collector()
    >>> collector.add("blk.0.attn_q.weight", [[1.0, 2.0], [3.0, 0.0]])
    >>> target = Path(tempfile.mkdtemp()) / "imatrix.gguf"
    >>> write_imatrix(collector.result("calibration.txt"), target)
    >>> read_imatrix(target).vectors()["blk.0.attn_q.weight"].tolist()
    [5.0, 2.0]
    """
    if not any(entry.counts.any() for entry in matrix.entries.values()):
        raise ValueError("the importance matrix holds no statistics; collect some before writing it")
    if Path(path).suffix == ".dat":
        data = b"".join(_binary(matrix))
        with atomic_file(path) as file:
            file.write(data)
    else:
        _write_gguf(matrix, path)


def _write_gguf(matrix: ImportanceMatrix, path: str | Path) -> None:
    metadata = {
        "general.type": string("imatrix"),
        DATASETS: string_array(matrix.datasets),
        CHUNK_COUNT_KEY: uint32(matrix.chunk_count),
        CHUNK_SIZE_KEY: uint32(matrix.chunk_size),
    }
    arrays: dict[str, F32] = {}
    for name, entry in _by_name(matrix):
        arrays[name + SUMS] = entry.sums
        arrays[name + COUNTS] = entry.counts[:, None].astype(np.float32)
    # ggml does not write trailing dimensions of 1.
    specs = [
        TensorSpec(name, array.shape if len(array) > 1 else array.shape[1:], "F32")
        for name, array in arrays.items()
    ]
    with create_gguf(path, metadata, specs) as writer:
        for array in arrays.values():
            writer.write(array.astype("<f4", order="C").view(np.uint8))


def _binary(matrix: ImportanceMatrix) -> Iterator[bytes]:
    stored = [(name, entry) for name, entry in _by_name(matrix) if entry.counts.any()]
    yield struct.pack("<i", len(stored))
    for name, entry in stored:
        chunks = -(-int(entry.counts.max()) // matrix.chunk_size)
        values = entry.mean() * np.float32(chunks)
        encoded = name.encode()
        yield struct.pack("<i", len(encoded)) + encoded + struct.pack("<ii", chunks, values.size)
        yield values.astype("<f4").tobytes()
    dataset = matrix.datasets[-1].encode() if matrix.datasets else b""
    yield struct.pack("<ii", matrix.chunk_count, len(dataset)) + dataset


def _by_name(matrix: ImportanceMatrix) -> list[tuple[str, Statistics]]:
    """Return the entries in the order in which llama.cpp writes them: that of the names' bytes."""
    return sorted(matrix.entries.items(), key=lambda item: item[0].encode())


def _from_gguf(file: GgufFile) -> ImportanceMatrix:
    where = short_path(file.path)
    missing = [key for key in (DATASETS, CHUNK_COUNT_KEY, CHUNK_SIZE_KEY) if key not in file.metadata]
    if missing:
        raise FormatError(f"{where}: not an importance matrix: metadata {', '.join(missing)} is missing")
    datasets, size = file.metadata[DATASETS], file.metadata[CHUNK_SIZE_KEY]
    if datasets.kind != "str" or not datasets.array or size.kind != "u32" or size.array or size.value < 1:
        raise FormatError(f"{where}: {DATASETS} must be texts and {CHUNK_SIZE_KEY} a number of at least 1")
    ours = [name for name in file.tensors if name.endswith((SUMS, COUNTS))]
    names = {name.removesuffix(SUMS).removesuffix(COUNTS) for name in ours}
    if not names:
        raise FormatError(f"{where}: not an importance matrix: no tensor ends with {SUMS}")
    entries = {name: _statistics(file.tensors, name, where) for name in sorted(names)}
    return ImportanceMatrix(entries, int(size.value), tuple(datasets.value))


def _statistics(tensors: Mapping[str, StoredTensor], name: str, where: str) -> Statistics:
    arrays = []
    for suffix in (SUMS, COUNTS):
        tensor = tensors.get(name + suffix)
        if tensor is None or tensor.type_name != "F32":
            raise FormatError(f"{where}: tensor {printable(name)}{suffix} is missing, or is not F32")
        arrays.append(_checked(tensor.floats().ravel(), f"{where}: tensor {printable(name)}{suffix}"))
    sums, counts = arrays
    if len(sums) % len(counts):
        raise FormatError(
            f"{where}: {printable(name)} has {len(sums)} sums, no multiple of its {len(counts)} counts"
        )
    return Statistics(sums.reshape(len(counts), -1), np.rint(counts).astype(np.int64))


def _read_binary(cursor: Cursor, chunk_size: int) -> ImportanceMatrix:
    count = _length(cursor, "number of entries", least=1, each=16)
    entries: dict[str, Statistics] = {}
    for index in range(count):
        field = f"entry {index}"
        start = cursor.offset
        name = _text(cursor, f"{field} name")
        if not name or name in entries:
            cursor.fail(f"{field} name", f"{printable(name)!r} is empty or occurs twice", start)
        field = f"{field} ({printable(name)})"
        chunks = _length(cursor, f"{field} chunks", least=0, each=0)
        size = _length(cursor, f"{field} number of values", least=1, each=4)
        at = f"{short_path(cursor.path)}: {field} at byte {cursor.offset}"
        values = _checked(np.frombuffer(cursor.take(4 * size, f"{field} values"), "<f4"), at)
        # llama.cpp takes the values of an entry without chunks for means: those of one chunk.
        tokens = np.array([max(chunks, 1) * chunk_size], np.int64)
        with np.errstate(over="ignore"):
            sums = values.astype(np.float32)[None] * np.float32(chunk_size)
        if not np.isfinite(sums).all():
            raise FormatError(f"{at}: a value is so large that its sum over a chunk is infinite in float32")
        entries[name] = Statistics(sums, tokens)
    return ImportanceMatrix(entries, chunk_size, _dataset(cursor))


def _dataset(cursor: Cursor) -> tuple[str, ...]:
    """Read the optional end of the file: the chunks of the run, and the name of its data set."""
    if not cursor.left:
        return ()
    cursor.number("i", "chunks of the run")
    dataset = _text(cursor, "data set") if cursor.left else ""
    if cursor.left:
        cursor.fail("end", f"{cursor.left} bytes follow the last field")
    return (dataset,) if dataset else ()


def _text(cursor: Cursor, field: str) -> str:
    length = _length(cursor, f"{field} length", least=0, each=1)
    if length > MOST_NAME_BYTES:
        cursor.fail(f"{field} length", f"{length} bytes; at most {MOST_NAME_BYTES} are read")
    return cursor.take(length, field).decode("utf-8", errors="surrogateescape")


def _length(cursor: Cursor, field: str, least: int, each: int) -> int:
    """Return a 32-bit count of items of at least `each` bytes, checked against the rest of the file."""
    start = cursor.offset
    count = int(cursor.number("i", field))
    if count < least:
        cursor.fail(field, f"{count}; it must be {least} or more", start)
    if count * each > cursor.left:
        cursor.fail(field, f"{count} need {count * each} bytes and {cursor.left} are left", start)
    return count


def _checked(values: F32, where: str) -> F32:
    if not np.isfinite(values).all() or (values < 0).any():
        raise FormatError(f"{where}: sums of squares and counts must be finite and not negative")
    return values
