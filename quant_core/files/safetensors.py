"""Reading the header of a safetensors file, or of a checkpoint in several of them.

The header is JSON: a dictionary of names to dtype, shape and offsets. It is checked by the rules of the
reference implementation (every byte of the data belongs to one tensor, and only one) before any weight is
read.

References
----------
huggingface/safetensors 0.8, `README.md` ("Format") and `safetensors/src/tensor.rs` (`Metadata::validate`).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from quant_core.files.bounded import Cursor, open_bounded, parse_object, read_json
from quant_core.files.errors import FormatError, printable, short_path
from quant_core.files.storage import SIZES
from quant_core.files.tensors import StoredTensor

#: A third of what the reference accepts, because parsed JSON can take twenty times its length in memory.
MOST_HEADER_BYTES = 1 << 25
MOST_INDEX_BYTES = 1 << 26
MOST_TENSORS = 1 << 17
MOST_DIMENSIONS = 8
DTYPES = frozenset(
    (
        "F64",
        "F32",
        "F16",
        "BF16",
        "F8_E4M3",
        "F8_E5M2",
        "F8_E4M3FNUZ",
        "F8_E5M2FNUZ",
        "F8_E8M0",
        "C64",
        "BOOL",
        "I8",
        "U8",
        "I16",
        "U16",
        "I32",
        "U32",
        "I64",
        "U64",
    )
)
INDEX = "model.safetensors.index.json"


def read_safetensors(path: str | Path) -> dict[str, StoredTensor]:
    """Read and check the header of one safetensors file.

    Returns
    -------
    dict of str to StoredTensor
        In the order of the data.

    Raises
    ------
    FormatError
        If anything in the header is wrong; the message names the tensor and the field.
    OSError
        If the file cannot be opened.
    """
    with open_bounded(Path(path)) as cursor:
        return parse_safetensors(cursor)


def parse_safetensors(cursor: Cursor) -> dict[str, StoredTensor]:
    """Read and check a header from its first byte on, as `read_safetensors` does.

    Raises
    ------
    FormatError
        If anything in the header is wrong.
    """
    length = cursor.count("header length", MOST_HEADER_BYTES, each=1)
    header = parse_object(cursor.take(length, "header"), f"{short_path(cursor.path)}: header at byte 8")
    metadata = header.pop("__metadata__", None)
    if not _is_text_map(metadata):
        cursor.fail("__metadata__", "it must map texts to texts", 8)
    if len(header) > MOST_TENSORS:
        cursor.fail("header", f"{len(header)} tensors; at most {MOST_TENSORS} are accepted", 8)
    tensors = [_tensor(cursor, name, entry) for name, entry in header.items()]
    return _contiguous(cursor, sorted(tensors, key=lambda tensor: (tensor.offset, tensor.bytes)))


def read_checkpoint(path: str | Path) -> dict[str, StoredTensor]:
    """Read the headers of a checkpoint: one file, or the shards that an index names.

    Parameters
    ----------
    path : path
        A safetensors file, or `model.safetensors.index.json`. A shard means the whole checkpoint, if
        its index lies beside it.

    Raises
    ------
    FormatError
        As `read_safetensors`, or if the index and the shards disagree.
    """
    path = Path(path)
    if path.name.endswith(".index.json"):
        return _sharded(path)
    index = path.with_name(INDEX)
    if index.exists() and path.name in _shards(index).values():
        return _sharded(index)
    return read_safetensors(path)


def _sharded(index: Path) -> dict[str, StoredTensor]:
    shard_of = _shards(index)
    found: dict[str, StoredTensor] = {}
    for shard in sorted(set(shard_of.values())):
        for name, tensor in read_safetensors(index.with_name(shard)).items():
            if shard_of.get(name) != shard:
                raise FormatError(
                    f"{short_path(index)}: weight_map: tensor {printable(name)} lies in {printable(shard)}, "
                    f"the index says {printable(shard_of.get(name, 'nothing of it'))}"
                )
            found[name] = tensor
    missing = sorted(set(shard_of) - set(found))
    if missing:
        raise FormatError(f"{short_path(index)}: weight_map: tensor {printable(missing[0])} is in no shard")
    return found


def _shards(index: Path) -> dict[str, str]:
    weight_map = read_json(index, MOST_INDEX_BYTES).get("weight_map")
    if not weight_map or not _is_text_map(weight_map):
        raise FormatError(f"{short_path(index)}: weight_map must map names of tensors to names of files")
    for shard in weight_map.values():
        # With another folder an index could read any file of the machine.
        if shard != Path(shard).name or not shard.endswith(".safetensors"):
            raise FormatError(
                f"{short_path(index)}: weight_map names {printable(shard)}; a shard is a .safetensors file "
                "in the folder of the index"
            )
    return dict(weight_map)


def _is_text_map(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and all(isinstance(v, str) for v in value.values()))


def _tensor(cursor: Cursor, name: str, entry: Any) -> StoredTensor:
    field = f"tensor {printable(name)}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        cursor.fail(field, "it must have dtype, shape and data_offsets, and nothing else", 8)
    dtype, shape, place = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        cursor.fail(f"{field} dtype", f"{printable(dtype)}; known are {', '.join(sorted(DTYPES))}", 8)
    if not _are_counts(shape) or len(shape) > MOST_DIMENSIONS:
        cursor.fail(f"{field} shape", f"{printable(shape)}; up to {MOST_DIMENSIONS} whole numbers", 8)
    if not _are_counts(place) or len(place) != 2:
        cursor.fail(f"{field} data_offsets", f"{printable(place)}; two whole numbers", 8)
    size = math.prod(shape) * SIZES[dtype][1]
    if place[1] - place[0] != size:
        cursor.fail(
            f"{field} data_offsets", f"{printable(place)} do not span the {size} bytes of shape and dtype", 8
        )
    if place[1] > cursor.left:
        cursor.fail(f"{field} data_offsets", f"{place[1]} lies behind the {cursor.left} bytes of data", 8)
    # A scalar is a row of one.
    offset = cursor.offset + place[0]
    return StoredTensor(name, tuple(shape) or (1,), dtype, cursor.path, offset, stamp=cursor.stamp)


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 1 << 63 for item in value)


def _contiguous(cursor: Cursor, in_order: list[StoredTensor]) -> dict[str, StoredTensor]:
    end = cursor.offset
    for tensor in in_order:
        if tensor.offset != end:
            problem = "overlaps" if tensor.offset < end else "leaves a gap behind"
            cursor.fail(
                f"tensor {printable(tensor.name)} data_offsets",
                f"{tensor.offset - cursor.offset} {problem} the tensor before it, which ends at "
                f"{end - cursor.offset}",
                8,
            )
        end += tensor.bytes
    if end != cursor.size:
        cursor.fail("data", f"{cursor.size - end} bytes belong to no tensor", end)
    return {tensor.name: tensor for tensor in in_order}
