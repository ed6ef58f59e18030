"""One small tensor in memory: a `.npy`, `.safetensors` or GGUF file of a few kilobytes, read strictly.

To look at one block of a large model, a program copies that block into a small file of the same kind. This
module reads such a file with the readers for whole ones. The bytes are untrusted: everything is bounded, and
errors name the place.
"""

from __future__ import annotations

import ast
import io
import re
from pathlib import Path

import numpy as np

from quant_core.arrays import F32, U8
from quant_core.files.bounded import Cursor
from quant_core.files.errors import FormatError, printable
from quant_core.files.gguf import MAGIC as GGUF_MAGIC
from quant_core.files.gguf import parse_gguf
from quant_core.files.safetensors import parse_safetensors
from quant_core.files.storage import decode, is_readable
from quant_core.files.tensors import StoredTensor
from quant_core.methods import fp8

MOST_BYTES = 1 << 16
MOST_NUMBERS = 4096
NPY_MAGIC = b"\x93NUMPY"
_MOST_NPY_HEADER = 2048
_NPY_TYPES = frozenset(("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"))
_NPY_UNNAMED = {"V2": "BF16", "V1": "F8_E4M3", "f1": "F8_E5M2"}
"""What `np.save` writes for the types of ml_dtypes, which numpy itself does not know."""

_INTEGERS = {
    "I8": "i1",
    "I16": "<i2",
    "I32": "<i4",
    "I64": "<i8",
    "U8": "u1",
    "U16": "<u2",
    "U32": "<u4",
    "U64": "<u8",
}
_FP8: dict[str, fp8.Kind] = {"F8_E4M3": "e4m3", "F8_E5M2": "e5m2"}
_NPY_HEADER = re.compile(
    r"\{\s*'descr':\s*'(?P<descr>[^']{1,8})',\s*'fortran_order':\s*(?P<order>True|False),"
    r"\s*'shape':\s*(?P<shape>\([0-9, ]*\)),?\s*\}\s*"
)


def read_single(data: bytes) -> tuple[str, F32]:
    """Read the one tensor of a file of at most 64 KiB and 4096 numbers.

    Parameters
    ----------
    data : bytes
        The whole file. Its kind is read off its first bytes: GGUF and `.npy` have a magic, all else is taken
        for safetensors.

    Returns
    -------
    name : str
        The tensor's name. For a `.npy` file, which has none: "", or the type that its bytes are read as.
    values : ndarray of float32, shape (n,)
        Its numbers, row after row, whatever their order in the file; block formats are decoded.

    Raises
    ------
    FormatError
        If the file is too long, damaged, of a kind or type that is not read, or holds more than one tensor.

    Examples
    --------
    >>> header = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    >>> data = np.float32([1, -2]).tobytes()
    >>> read_single(len(header).to_bytes(8, "little") + header + data)
    ('w', array([ 1., -2.], dtype=float32))
    """
    if len(data) > MOST_BYTES:
        raise FormatError(f"{len(data)} bytes; at most {MOST_BYTES} are read")
    if data.startswith(NPY_MAGIC):
        return _npy(_cursor(data, "file.npy"))
    if data.startswith(GGUF_MAGIC):
        tensors = dict(parse_gguf(_cursor(data, "file.gguf")).tensors)
    else:
        tensors = parse_safetensors(_cursor(data, "file.safetensors"))
    if len(tensors) != 1:
        raise FormatError(f"{len(tensors)} tensors; a file with exactly one is read")
    (tensor,) = tensors.values()
    return tensor.name, _values(tensor, data)


def reads(type_name: str) -> bool:
    """Whether `read_single` turns this type into numbers.

    Examples
    --------
    >>> reads("Q4_K"), reads("Q8_1")
    (True, False)
    """
    return is_readable(type_name) or type_name in _INTEGERS or type_name in _FP8


def _cursor(data: bytes, name: str) -> Cursor:
    return Cursor(io.BytesIO(data), Path(name), len(data))


def _values(tensor: StoredTensor, data: bytes) -> F32:
    _bounded(tensor.elements)
    if not reads(tensor.type_name):
        raise FormatError(
            f"tensor {printable(tensor.name)}: {tensor.type_name} holds no weights that are read"
        )
    stored = np.frombuffer(data, np.uint8)[tensor.offset : tensor.offset + tensor.bytes]
    try:
        return _numbers(stored.reshape(tensor.rows, tensor.row_bytes), tensor.type_name).reshape(-1)
    except ValueError as error:
        raise FormatError(f"tensor {printable(tensor.name)}: {error}") from None


def _numbers(rows: U8, type_name: str) -> F32:
    """Decode rows of bytes to float32; a scale of FP8 that lies in another tensor is not applied."""
    if type_name in _INTEGERS:
        return rows.view(_INTEGERS[type_name]).astype(np.float32)
    if type_name in _FP8:
        return fp8.decode(rows, _FP8[type_name])
    return decode(rows, type_name)


def _bounded(count: int) -> None:
    if not 1 <= count <= MOST_NUMBERS:
        raise FormatError(f"{count} numbers; from 1 to {MOST_NUMBERS} are read")


def _npy(cursor: Cursor) -> tuple[str, F32]:
    """The type if numpy has no name for it, and the numbers, of a `.npy` file, versions 1 to 3.

    Its header is matched, never evaluated.

    References
    ----------
    numpy.lib.format, "Format Version 1.0" to "3.0".
    """
    cursor.take(len(NPY_MAGIC), "magic")
    major = int(cursor.number("B", "major version"))
    minor = int(cursor.number("B", "minor version"))
    if major not in (1, 2, 3) or minor:
        cursor.fail("version", f"{major}.{minor}; versions 1.0, 2.0 and 3.0 are read", len(NPY_MAGIC))
    start = cursor.offset
    length = int(cursor.number("H" if major == 1 else "I", "header length"))
    if length > _MOST_NPY_HEADER:
        cursor.fail("header length", f"{length}; at most {_MOST_NPY_HEADER} bytes are read", start)
    start = cursor.offset
    header = cursor.take(length, "header").decode("latin-1")
    found = _NPY_HEADER.fullmatch(header)
    if not found:
        cursor.fail(
            "header", "no plain array: descr, fortran_order and shape are expected, in this order", start
        )
    order, kind = found["descr"][:1], found["descr"][1:]
    if order not in "<>|=" or (kind not in _NPY_TYPES and kind not in _NPY_UNNAMED):
        known = "floats and whole numbers of up to 64 bits are read"
        cursor.fail("descr", f"{printable(found['descr'])}; {known}", start)
    try:
        shape = ast.literal_eval(found["shape"])
    except (SyntaxError, ValueError):
        cursor.fail("shape", f"{printable(found['shape'])} is no shape", start)
    if not isinstance(shape, tuple) or len(shape) > 8:
        cursor.fail("shape", f"{printable(found['shape'])}; up to 8 whole numbers", start)
    count = 1
    for size in shape:
        count = min(count * size, MOST_NUMBERS + 1)
    _bounded(count)
    dtype = np.dtype(f"u{kind[1]}" if kind in _NPY_UNNAMED else found["descr"])
    if cursor.left != count * dtype.itemsize:
        cursor.fail("data", f"{cursor.left} bytes where the shape needs {count * dtype.itemsize}")
    stored = np.frombuffer(cursor.take(cursor.left, "data"), dtype)
    ordered = stored.reshape(shape, order="F" if found["order"] == "True" else "C").reshape(-1)
    if kind in _NPY_UNNAMED:
        name = _NPY_UNNAMED[kind]
        return name, _numbers(ordered.view(np.uint8).reshape(1, -1), name)[0]
    with np.errstate(over="ignore"):
        return "", ordered.astype(np.float32)
