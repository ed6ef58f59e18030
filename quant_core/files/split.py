"""A GGUF model in several files, NAME-00001-of-00003.gguf and so on, read as one.

The first file has the metadata. Each has `split.no`, counted from 0, and `split.count`; the first has
`split.tensors.count`, too, the number of tensors of all.

References
----------
`llama_model_loader::llama_model_loader` in `src/llama-model-loader.cpp`, `llama_split_path` and
`llama_split_prefix` in `src/llama.cpp` of ggml-org/llama.cpp 0c1e57098bba.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from quant_core.files.errors import FormatError, printable, short_path
from quant_core.files.gguf import GgufFile, Meta, read_gguf

NUMBER, COUNT, TENSORS = "split.no", "split.count", "split.tensors.count"
MOST_PARTS = (1 << 16) - 1


def read_parts(path: str | Path, *, header_alone: bool = False) -> GgufFile:
    """Read the headers of a GGUF model, whether it lies in one file or in several.

    Parameters
    ----------
    path : path
        The file, or the first of several; the others are looked for beside it, by their names.
    header_alone : bool
        As `read_gguf`.

    Returns
    -------
    GgufFile
        With the metadata of the first file and the tensors of all.

    Raises
    ------
    FormatError
        If a header is damaged, a file is missing or belongs to another model, or `path` is not the first.
    OSError
        If a file cannot be opened.
    """
    first = read_gguf(path, header_alone=header_alone)
    count = number_of(first, COUNT, 1)
    if count <= 1:
        return first
    number = number_of(first, NUMBER, 0)
    if number:
        _fail(
            first,
            f"part {number + 1} of {count}; give the first one{_named_first(first.path, number, count)}",
        )
    if count > MOST_PARTS:
        _fail(first, f"{COUNT} is {count}; at most {MOST_PARTS} are read")
    names = part_names(_prefix(first, count), count)
    parts = [first, *(_part(first, name, index, count) for index, name in enumerate(names[1:], 1))]
    tensors = dict(first.tensors)
    for part in parts[1:]:
        for name, tensor in part.tensors.items():
            if name in tensors:
                _fail(part, f"tensor {printable(name)} is in {short_path(tensors[name].path)}, too")
            tensors[name] = tensor
    wanted = number_of(first, TENSORS, len(tensors))
    if wanted != len(tensors):
        _fail(first, f"{TENSORS} is {wanted}; the {count} files hold {len(tensors)}")
    return replace(first, tensors=tensors, parts=tuple(part.path for part in parts))


def part_names(prefix: Path, count: int) -> list[Path]:
    """Return the names of the parts of a model, as llama.cpp writes and expects them.

    Examples
    --------
    >>> [path.name for path in part_names(Path("model"), 2)]
    ['model-00001-of-00002.gguf', 'model-00002-of-00002.gguf']
    """
    return [prefix.with_name(prefix.name + _postfix(number, count)) for number in range(count)]


def prefix_of(path: Path) -> Path:
    """Return the prefix of the parts' names for a target `path`: without its .gguf.

    Examples
    --------
    >>> prefix_of(Path("model.gguf")).name, prefix_of(Path("model-v0.1")).name
    ('model', 'model-v0.1')
    """
    return path.with_name(path.name.removesuffix(".gguf"))


def split_metadata(number: int, count: int, tensors: int) -> dict[str, Meta]:
    """Return the metadata with the number of a part.

    Examples
    --------
    >>> {key: meta.value for key, meta in split_metadata(1, 2, 20).items()}
    {'split.no': 1, 'split.count': 2, 'split.tensors.count': 20}
    """
    return {NUMBER: Meta("u16", number), COUNT: Meta("u16", count), TENSORS: Meta("i32", tensors)}


def number_of(file: GgufFile, key: str, default: int) -> int:
    """Return a `split.*` number of the metadata; `default` if it is missing.

    Raises
    ------
    FormatError
        If it is no whole number, or negative.
    """
    value = file.value(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        _fail(file, f"{key} is {printable(value)}; it must be a number from 0 on")
    return value


def _part(first: GgufFile, path: Path, index: int, count: int) -> GgufFile:
    if not path.exists():
        _fail(first, f"part {index + 1} of {count} is missing: {printable(path.name)} must lie beside it")
    part = read_gguf(path)
    place = number_of(part, NUMBER, 0) + 1, number_of(part, COUNT, 1)
    if place != (index + 1, count):
        _fail(part, f"it says to be part {place[0]} of {place[1]}, not {index + 1} of {count}")
    for key in ("general.architecture", TENSORS):
        stored = part.value(key)
        if stored is not None and stored != first.value(key):
            _fail(part, f"of another model than {printable(first.path.name)}: {key} is {printable(stored)}")
    return part


def _prefix(first: GgufFile, count: int) -> Path:
    postfix = _postfix(0, count)
    if not first.path.name.endswith(postfix):
        _fail(
            first,
            f"part 1 of {count}; its name must end with {postfix}, for the other parts are found by theirs",
        )
    return first.path.with_name(first.path.name.removesuffix(postfix))


def _named_first(path: Path, number: int, count: int) -> str:
    postfix = _postfix(number, count)
    if not path.name.endswith(postfix):
        return ""
    return f", {printable(path.name.removesuffix(postfix) + _postfix(0, count))}"


def _postfix(number: int, count: int) -> str:
    return f"-{number + 1:05}-of-{count:05}.gguf"


def _fail(file: GgufFile, problem: str) -> NoReturn:
    raise FormatError(f"{short_path(file.path)}: {problem}")
