"""`compare A B`: print for each tensor whether the bytes are equal, and the SQNR of B against A."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from quant_core.cli.streams import say
from quant_core.files import StoredTensor, open_tensors
from quant_core.files.errors import printable
from quant_core.files.quantizing import WEIGHTS_AT_ONCE
from quant_core.files.storage import SIZES, is_readable


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "compare", help="compare two model files tensor by tensor; exit code 1 where they differ"
    )
    parser.add_argument("a", metavar="A", type=Path, help="the original")
    parser.add_argument("b", metavar="B", type=Path, help="what was made of it")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print a line for each tensor; SQNR is the signal-to-quantization-noise ratio with A as the signal."""
    first, second = open_tensors(options.a), open_tensors(options.b)
    say(f"{'tensor':<44} {'A':<8} {'B':<8} {'bytes':<8} SQNR in dB")
    equal = 0
    for name in dict.fromkeys((*first, *second)):
        a, b = first.get(name), second.get(name)
        line, same = _difference(a, b)
        equal += same
        types = " ".join(f"{tensor.type_name if tensor else '-':<8}" for tensor in (a, b))
        say(f"{printable(name, 44):<44} {types} {line}")
    count = len(first.keys() | second.keys())
    say(f"{equal} of {count} tensors have equal bytes")
    return 0 if equal == count else 1


def _difference(a: StoredTensor | None, b: StoredTensor | None) -> tuple[str, bool]:
    """Return the last two columns, and whether the bytes are equal."""
    if a is None or b is None:
        return f"only in {'A' if b is None else 'B'}", False
    if a.shape != b.shape:
        return f"shapes {a.shape} and {b.shape}", False
    unknown = next((t.type_name for t in (a, b) if t.type_name not in SIZES), None)
    if unknown:
        return f"not compared: the size of {unknown} is not known", False
    if a.type_name == b.type_name and all(np.array_equal(a.raw(*rows), b.raw(*rows)) for rows in _pieces(a)):
        return "equal", True
    if not is_readable(a.type_name) or not is_readable(b.type_name):
        return "differ   (a type has no decoder)", False
    return f"differ   {_sqnr(a, b):.2f}", False


def _sqnr(a: StoredTensor, b: StoredTensor) -> float:
    """As `quant_core.methods.metrics.sqnr_db`, piece by piece in double precision."""
    power = noise = 0.0
    for rows in _pieces(a):
        signal = a.floats(*rows).astype(np.float64)
        power += float(np.sum(signal**2))
        with np.errstate(invalid="ignore"):
            noise += float(np.sum((signal - b.floats(*rows)) ** 2))
    if noise == 0:
        return math.inf
    return 10 * math.log10(power / noise) if power > 0 else -math.inf


def _pieces(tensor: StoredTensor) -> Iterator[tuple[int, int]]:
    at_once = max(1, WEIGHTS_AT_ONCE // max(1, tensor.columns))
    for start in range(0, tensor.rows, at_once):
        yield start, min(start + at_once, tensor.rows)
