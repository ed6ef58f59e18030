"""One small tensor in memory: a `.npy`, `.safetensors` or GGUF file of a few kilobytes, read strictly.

Who wants to see a block of a model of gigabytes cuts a file of the same kind out of it, with that block
alone; here such a file is read, by the readers that read whole ones. Bytes come from strangers: everything is
bounded, and what is wrong is said with its place.
"""

from __future__ import annotations

import ast
import io
import re
from pathlib import Path

import numpy as np

from quant_core.arrays import F32
from quant_core.files.bounded import Cursor
from quant_core.files.errors import FormatError, printable
from quant_core.files.gguf import MAGIC as GGUF_MAGIC
from quant_core.files.gguf import parse_gguf
from quant_core.files.safetensors import parse_safetensors
from quant_core.files.storage import decode, is_readable
from quant_core.files.tensors import StoredTensor

MOST_BYTES = 1 << 16
MOST_NUMBERS = 4096
NPY_MAGIC = b"\x93NUMPY"
_MOST_NPY_HEADER = 2048
_NPY_TYPES = ("<f2", "<f4", "<f8", ">f2", ">f4", ">f8")
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
        The tensor's name; "" in a `.npy` file.
    values : ndarray of float32, shape (n,)
        Its numbers, row after row; block formats are decoded.

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
        return "", _npy(_cursor(data, "file.npy"))
    if data.startswith(GGUF_MAGIC):
        tensors = dict(parse_gguf(_cursor(data, "file.gguf")).tensors)
    else:
        tensors = parse_safetensors(_cursor(data, "file.safetensors"))
    if len(tensors) != 1:
        raise FormatError(f"{len(tensors)} tensors; a file with exactly one is read")
    (tensor,) = tensors.values()
    return tensor.name, _values(tensor, data)


def _cursor(data: bytes, name: str) -> Cursor:
    return Cursor(io.BytesIO(data), Path(name), len(data))


def _values(tensor: StoredTensor, data: bytes) -> F32:
    _bounded(tensor.elements)
    if not is_readable(tensor.type_name):
        raise FormatError(
            f"tensor {printable(tensor.name)}: {tensor.type_name} holds no weights that are read"
        )
    stored = np.frombuffer(data, np.uint8)[tensor.offset : tensor.offset + tensor.bytes]
    try:
        return decode(stored.reshape(tensor.rows, tensor.row_bytes), tensor.type_name).reshape(-1)
    except ValueError as error:
        raise FormatError(f"tensor {printable(tensor.name)}: {error}") from None


def _bounded(count: int) -> None:
    if not 1 <= count <= MOST_NUMBERS:
        raise FormatError(f"{count} numbers; from 1 to {MOST_NUMBERS} are read")


def _npy(cursor: Cursor) -> F32:
    """The numbers of a `.npy` file, versions 1 to 3; its header is matched, never evaluated.

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
    if found["descr"] not in _NPY_TYPES:
        cursor.fail("descr", f"{printable(found['descr'])}; floats of 16, 32 and 64 bits are read", start)
    try:
        shape = ast.literal_eval(found["shape"])
    except (SyntaxError, ValueError):
        cursor.fail("shape", f"{printable(found['shape'])} is no shape", start)
    if not isinstance(shape, tuple) or len(shape) > 8:
        cursor.fail("shape", f"{printable(found['shape'])}; up to 8 whole numbers", start)
    if found["order"] == "True" and len(shape) > 1:
        cursor.fail("fortran_order", "columns first; save it in C order", start)
    count = 1
    for size in shape:
        count = min(count * size, MOST_NUMBERS + 1)
    _bounded(count)
    dtype = np.dtype(found["descr"])
    if cursor.left != count * dtype.itemsize:
        cursor.fail("data", f"{cursor.left} bytes where the shape needs {count * dtype.itemsize}")
    with np.errstate(over="ignore"):
        return np.frombuffer(cursor.take(cursor.left, "data"), dtype).astype(np.float32)
