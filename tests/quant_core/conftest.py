"""Fixtures of several test files: reference vectors and real weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quant_core.methods.imatrix import Collector, ImportanceMatrix

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
REAL_BLOCKS = ROOT / "lessons" / "quantization" / "weights" / "real_blocks.safetensors"

Vectors = Mapping[str, NDArray[Any]]


@pytest.fixture(scope="session")
def ggml_vectors() -> Vectors:
    """Output of llama.cpp's C code."""
    return dict(np.load(DATA / "ggml.npz"))


@pytest.fixture(scope="session")
def more_vectors() -> Vectors:
    """The same of the codebook types below IQ4 and of the types of one and two bits."""
    return dict(np.load(DATA / "ggml_more.npz"))


@pytest.fixture(scope="session")
def method_vectors() -> Vectors:
    """Output of the authors' code of each method."""
    return dict(np.load(DATA / "methods.npz"))


@pytest.fixture(scope="session")
def four_rows(method_vectors: Vectors) -> Vectors:
    """The first rows of the reference's layer, and all its activations."""
    return {"W": method_vectors["W"][:4], "X": method_vectors["X"]}


@pytest.fixture(scope="session")
def packing_golden() -> Vectors:
    return dict(np.load(DATA / "packing_golden.npz"))


@pytest.fixture(scope="session")
def imatrix_golden() -> Vectors:
    return dict(np.load(DATA / "imatrix_golden.npz"))


@pytest.fixture
def first_imatrix(imatrix_golden: Vectors) -> ImportanceMatrix:
    """Two batches of a dense tensor, and two layers of experts of which number 2 is never used."""
    g, collector = imatrix_golden, Collector(chunk_size=8)
    collector.add("blk.0.attn_q.weight", g["x1"])
    collector.add("blk.0.attn_q.weight", g["x2"])
    collector.add_experts("blk.0.ffn_up_exps.weight", g["xm"], g["ids"], 5)
    collector.add_experts("blk.0.ffn_down_exps.weight", g["xd"], g["ids"], 5)
    return collector.result("calibration.txt")


@pytest.fixture
def second_imatrix(imatrix_golden: Vectors) -> ImportanceMatrix:
    g, collector = imatrix_golden, Collector(chunk_size=8)
    collector.add("blk.0.attn_q.weight", g["x2"])
    collector.add_experts("blk.0.ffn_up_exps.weight", g["xm"], g["ids"], 5)
    return collector.result("more.txt")


@pytest.fixture(scope="session")
def real_blocks() -> Vectors:
    """The real weights that the lesson ships, each tensor as float32 (indices stay integers)."""
    raw = REAL_BLOCKS.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    dtypes = {"F16": "<f2", "F32": "<f4", "I32": "<i4"}
    tensors = {}
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        tensor = np.frombuffer(raw[start:end], dtypes[entry["dtype"]]).reshape(entry["shape"])
        tensors[name] = tensor.astype(np.float32) if tensor.dtype.kind == "f" else tensor
    return tensors
