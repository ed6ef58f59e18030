"""`inspect FILE`: print the metadata and the tensors of a model file."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

from quant_core.files import GgufFile, Meta, StoredTensor, read_checkpoint
from quant_core.files.errors import printable, short_path
from quant_core.files.opening import is_gguf
from quant_core.files.split import read_parts
from quant_core.files.storage import SIZES

_SHOWN_ITEMS = 6


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("inspect", help="print the metadata and the tensors of a model file")
    parser.add_argument(
        "file", metavar="FILE", type=Path, help="a GGUF file, the first of several, or .safetensors"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the metadata, the tensors and the share of each type."""
    if is_gguf(options.file):
        file = read_parts(options.file, header_alone=True)
        tensors = file.tensors
        lines = _gguf_lines(file)
    else:
        tensors = read_checkpoint(options.file)
        lines = iter([f"{short_path(options.file)}: safetensors, {len(tensors)} tensors"])
    for line in (*lines, "", *_tensor_lines(tensors), "", *_sums(tensors)):
        print(line)
    return 0


def _gguf_lines(file: GgufFile) -> Iterator[str]:
    yield (
        f"{short_path(file.path)}: GGUF version {file.version}, {len(file.metadata)} metadata values, "
        f"{len(file.tensors)} tensors, aligned to {file.alignment} bytes"
    )
    for part in file.parts:
        count = sum(tensor.path == part for tensor in file.tensors.values())
        yield f"{short_path(part)}: {count} of the tensors"
    yield ""
    for key, meta in file.metadata.items():
        yield f"{printable(key)} = {shown(meta)}"


def shown(meta: Meta) -> str:
    """Return a metadata value with its type, an array by its first items.

    Examples
    --------
    >>> shown(Meta("u32", 3)), shown(Meta("str", ("a", "b"), array=True))
    ('3  (u32)', "['a', 'b']  (2 x str)")
    """
    if not meta.array:
        return f"{printable(repr(meta.value) if meta.kind == 'str' else meta.value)}  ({meta.kind})"
    first = [item if isinstance(item, str) else item.item() for item in meta.value[:_SHOWN_ITEMS]]
    more = ", …" if len(meta.value) > _SHOWN_ITEMS else ""
    return f"[{', '.join(printable(repr(item)) for item in first)}{more}]  ({len(meta.value)} x {meta.kind})"


def _tensor_lines(tensors: Mapping[str, StoredTensor]) -> Iterator[str]:
    yield f"{'tensor':<44} {'type':<8} {'shape':<20} {'bytes':>14} {'at':>14}"
    for tensor in tensors.values():
        shape = " x ".join(map(str, tensor.shape))
        name = printable(tensor.name, 44)
        size = f"{tensor.bytes:,}" if tensor.type_name in SIZES else "unknown"
        yield f"{name:<44} {tensor.type_name:<8} {shape:<20} {size:>14} {tensor.offset:>14,}"


def _sums(tensors: Mapping[str, StoredTensor]) -> Iterator[str]:
    """Return the share of the file that each type takes."""
    types: dict[str, list[StoredTensor]] = {}
    for tensor in tensors.values():
        types.setdefault(tensor.type_name, []).append(tensor)
    for type_name, of_type in (*sorted(types.items()), ("all", list(tensors.values()))):
        elements = sum(t.elements for t in of_type)
        line = f"{type_name:<8} {len(of_type):>6} tensors {elements:>16,} weights"
        if any(t.type_name not in SIZES for t in of_type):
            yield f"{line} {'unknown':>16} bytes"
            continue
        size = sum(t.bytes for t in of_type)
        bits = f"{8 * size / elements:.4f} bits per weight" if elements else "no weights"
        yield f"{line} {size:>16,} bytes  {bits}"
