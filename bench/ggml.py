"""Measure speed and memory of `quant_core.ggml`, compared with gguf-py and, if installed, ggml's C code.

Every ratio is of two measurements taken alternately in one run, on one thread. The C code is the shared
library of the package `llama_cpp`; without it its columns stay empty. The bytes of both are compared before
timing.

    python bench/ggml.py [TYPE ...]
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# numpy reads these when it is imported.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import gguf
import numpy as np
from numpy.typing import NDArray

from quant_core import ggml
from quant_core.files.storage import TYPE_NUMBERS

ROWS, COLUMNS = 256, 4096
ROUNDS = 5
#: The types that gguf-py quantizes too.
LEGACY = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
WITHOUT_SEARCH = ("F32", "F16", "BF16", "Q8_0", "MXFP4", "NVFP4", "TQ1_0", "TQ2_0", "Q1_0", "Q2_0")
#: The types that gguf-py does not decode; F32 it returns as it is.
NOT_IN_GGUF = ("F32", "Q1_0", "Q2_0")

Run = Callable[[], object]


def main(type_names: Sequence[str]) -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    weights = (rng.standard_t(5, (ROWS, COLUMNS)) * 0.02).astype(np.float32)
    importance = rng.gamma(1.0, size=COLUMNS).astype(np.float32)
    c = C.load()
    print(f"{ROWS} x {COLUMNS} weights, one thread, best of {ROUNDS} rounds; million weights a second,")
    print("and how many times as fast as gguf-py (xpy) and ggml's C (xC). peak: traced memory of a call,")
    print("its result included, over the float32 weights.")
    if c is None:
        print("ggml's C is not here (package llama_cpp): its columns are empty.")
    print()
    columns = ("dequant", "xpy", "xC", "peak", "quant", "xpy", "xC", "important", "xC", "peak")
    print("type    " + "".join(f"{column:>10}" for column in columns))
    for name in type_names or ggml.CODECS:
        cells = decoding(name, weights, importance, c)
        cells += encoding(name, weights, importance, c)
        print(f"{name:<8}" + "".join(f"{cell:>10}" for cell in cells), flush=True)


def decoding(
    name: str, weights: NDArray[np.float32], importance: NDArray[np.float32], c: C | None
) -> list[str]:
    """Measure `dequantize`: speed, ratios, peak."""
    data = ggml.quantize(weights, name, importance)
    runs: list[Run | None] = [
        lambda: ggml.dequantize(data, name),
        None
        if name in NOT_IN_GGUF
        else lambda: gguf.quants.dequantize(data, gguf.GGMLQuantizationType[name]),
        c.dequantizer(name, data) if c else None,
    ]
    return [*speeds(runs), peak(lambda: ggml.dequantize(data, name), weights)]


def encoding(
    name: str, weights: NDArray[np.float32], importance: NDArray[np.float32], c: C | None
) -> list[str]:
    """Measure `quantize`: speed and ratios without importance, if the type allows it, and with it; peak."""
    cells = ["", "", ""]
    if not ggml.CODECS[name].needs_importance:
        plain: list[Run | None] = [
            lambda: ggml.quantize(weights, name),
            (lambda: gguf.quants.quantize(weights, gguf.GGMLQuantizationType[name]))
            if name in LEGACY
            else None,
            c.quantizer(name, weights, None) if c else None,
        ]
        cells = speeds(plain)
    if name in WITHOUT_SEARCH:
        cells += ["", "", peak(lambda: ggml.quantize(weights, name), weights)]
        return cells
    weighted: list[Run | None] = [
        lambda: ggml.quantize(weights, name, importance),
        c.quantizer(name, weights, importance) if c else None,
    ]
    return [*cells, *speeds(weighted), peak(lambda: ggml.quantize(weights, name, importance), weights)]


def speeds(runs: list[Run | None]) -> list[str]:
    """Time the runs alternately; return the speed of the first and its ratio to each of the others."""
    best = [float("inf")] * len(runs)
    with np.errstate(all="ignore"):
        for _ in range(ROUNDS):
            for index, run in enumerate(runs):
                if run is not None:
                    start = time.process_time()
                    run()
                    best[index] = min(best[index], time.process_time() - start)
    ratios = [f"{other / best[0]:.2f}" if np.isfinite(other) else "" for other in best[1:]]
    return [f"{ROWS * COLUMNS / best[0] / 1e6:.1f}", *ratios]


def peak(run: Run, weights: NDArray[np.float32]) -> str:
    """Return the largest memory that a call held at once, over the size of the weights."""
    tracemalloc.start()
    run()
    largest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return f"{largest / weights.nbytes:.2f}"


class C:
    """The functions of ggml's shared library, called through ctypes."""

    def __init__(self, path: Path) -> None:
        self.library = ctypes.CDLL(str(path))
        self.chunk = self.library.ggml_quantize_chunk
        self.chunk.restype = ctypes.c_size_t
        pointer, count = ctypes.c_void_p, ctypes.c_int64
        self.chunk.argtypes = [ctypes.c_int, pointer, pointer, count, count, count, pointer]

    @classmethod
    def load(cls) -> C | None:
        """Return the library of the package `llama_cpp`, or None."""
        named = os.environ.get("GGML_BASE_LIBRARY")
        if named:
            return cls(Path(named))
        spec = importlib.util.find_spec("llama_cpp")
        found = sorted(Path(spec.origin).parent.glob("lib/libggml-base.*")) if spec and spec.origin else []
        return cls(found[0]) if found else None

    def quantizer(
        self, name: str, weights: NDArray[np.float32], importance: NDArray[np.float32] | None
    ) -> Run:
        """Return a call that quantizes; fail if its bytes differ from ours."""
        ours = ggml.quantize(weights, name, importance)
        theirs = np.empty_like(ours)
        vector = None if importance is None else importance.ctypes.data

        def run() -> object:
            sizes = 0, len(weights), weights.shape[1]
            return self.chunk(TYPE_NUMBERS[name], weights.ctypes.data, theirs.ctypes.data, *sizes, vector)

        run()
        if not np.array_equal(ours, theirs):
            raise SystemExit(f"{name}: {np.count_nonzero(ours != theirs)} bytes differ from ggml's C")
        return run

    def dequantizer(self, name: str, data: NDArray[np.uint8]) -> Run | None:
        """Return a call that dequantizes, or None where the library has no function of that name."""
        function: Any = getattr(self.library, f"dequantize_row_{name.lower().replace('_k', '_K')}", None)
        if function is None:
            return None
        function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
        function.restype = None
        values = np.empty((ROWS, COLUMNS), np.float32)
        return lambda: function(data.ctypes.data, values.ctypes.data, values.size)


if __name__ == "__main__":
    main(sys.argv[1:])
