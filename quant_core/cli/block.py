"""`block FILE TENSOR INDEX`: print one block of a quantized tensor, byte by byte and number by number."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_core import ggml
from quant_core.arrays import U8
from quant_core.files import FormatError, StoredTensor, open_tensors
from quant_core.files.errors import printable, short_path

_BYTES_A_LINE, _NUMBERS_A_LINE, _WEIGHTS_A_LINE = 16, 32, 8


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("block", help="print one block of a tensor: bytes, fields, weights")
    parser.add_argument("file", metavar="FILE", type=Path)
    parser.add_argument("tensor", metavar="TENSOR", help="such as blk.0.ffn_down.weight")
    parser.add_argument("index", metavar="INDEX", type=int, help="counted from 0, row after row")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the block."""
    tensors = open_tensors(options.file)
    if options.tensor not in tensors:
        raise FormatError(
            f"{short_path(options.file)}: no tensor {printable(options.tensor)}; it has "
            f"{printable(', '.join(tensors), 400)}"
        )
    for line in _lines(tensors[options.tensor], options.index):
        print(line)
    return 0


def _lines(tensor: StoredTensor, index: int) -> Iterator[str]:
    if tensor.type_name not in ggml.CODECS:
        raise ValueError(
            f"tensor {printable(tensor.name)} is {tensor.type_name}; the types whose blocks can be shown are "
            f"{', '.join(ggml.CODECS)}"
        )
    layout = ggml.FORMATS[tensor.type_name]
    per_row = tensor.columns // layout.block_size
    if not 0 <= index < tensor.rows * per_row:
        raise ValueError(f"index is {index}; the tensor has blocks 0 to {tensor.rows * per_row - 1}")
    row, place = divmod(index, per_row)
    data = tensor.raw(row, row + 1)[0, place * layout.block_bytes : (place + 1) * layout.block_bytes]
    column = place * layout.block_size
    offset = tensor.offset + index * layout.block_bytes
    yield f"tensor  {printable(tensor.name)}: {layout.name}, {tensor.rows} x {tensor.columns}"
    yield f"block   {index}: row {row}, columns {column} to {column + layout.block_size - 1}"
    yield (
        f"bytes   {layout.block_bytes} from byte {offset} of {printable(tensor.path.name)} on, "
        f"{layout.bits_per_weight:g} bits per weight"
    )
    yield ""
    yield from _byte_lines(data, layout)
    for name, numbers in ggml.fields(data, layout.name).items():
        yield ""
        yield from _number_lines(name, numbers[0])
    yield ""
    yield from _weight_lines(ggml.dequantize(data, layout.name)[0])


def _byte_lines(data: U8, layout: ggml.Format) -> Iterator[str]:
    for field in layout.fields:
        yield f"{field.name:<8}{field.holds}"
        end = field.offset + field.size
        for start in range(field.offset, end, _BYTES_A_LINE):
            yield f"  {start:>4}  {data[start : min(start + _BYTES_A_LINE, end)].tobytes().hex(' ')}"


def _number_lines(name: str, numbers: NDArray[Any]) -> Iterator[str]:
    """Print a single number beside its name, several on the lines below."""
    if name.endswith("_bits"):
        texts = [f"0x{number:0{2 * numbers.itemsize}x}" for number in numbers.ravel().tolist()]
    else:
        texts = [f"{number:g}" for number in numbers.ravel().tolist()]
    if numbers.ndim == 0:
        yield f"{name} = {texts[0]}"
        return
    yield f"{name} ="
    width = max(3, *map(len, texts))
    for start in range(0, len(texts), _NUMBERS_A_LINE):
        yield "  " + " ".join(text.rjust(width) for text in texts[start : start + _NUMBERS_A_LINE])


def _weight_lines(weights: NDArray[np.float32]) -> Iterator[str]:
    yield "weights ="
    for start in range(0, len(weights), _WEIGHTS_A_LINE):
        some = weights[start : start + _WEIGHTS_A_LINE].tolist()
        yield f"  {start:>3}  " + " ".join(f"{weight:>12.5g}" for weight in some)
