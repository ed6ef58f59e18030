"""The importance matrix: the sums that llama.cpp collects, bit for bit, and how several are merged."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader
from numpy.typing import NDArray

from quant_core import ggml
from quant_core.methods.imatrix import Collector, ImportanceMatrix, Statistics, merge

Vectors = Mapping[str, NDArray[Any]]
QUERY, UP, DOWN = "blk.0.attn_q.weight", "blk.0.ffn_up_exps.weight", "blk.0.ffn_down_exps.weight"


def stored(golden: Vectors, name: str, folder: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a golden file, read by gguf-py."""
    path = folder / "golden.gguf"
    path.write_bytes(golden[name].tobytes())
    return {tensor.name: np.array(tensor.data) for tensor in GGUFReader(path).tensors}


def test_sums_equal_llama_cpp(
    first_imatrix: ImportanceMatrix, second_imatrix: ImportanceMatrix, imatrix_golden: Vectors, tmp_path: Path
) -> None:
    for name, matrix in {
        "first": first_imatrix,
        "second": second_imatrix,
        "merged": merge([first_imatrix, second_imatrix]),
    }.items():
        golden = stored(imatrix_golden, f"{name}_gguf", tmp_path)
        assert len(golden) == 2 * len(matrix.entries)
        for tensor, entry in matrix.entries.items():
            assert np.array_equal(np.atleast_2d(golden[f"{tensor}.in_sum2"]), entry.sums)
            assert np.array_equal(golden[f"{tensor}.counts"].ravel(), entry.counts)


def test_means_by_definition(first_imatrix: ImportanceMatrix, imatrix_golden: Vectors) -> None:
    g, vectors = imatrix_golden, first_imatrix.vectors()
    x = np.concatenate([g["x1"], g["x2"]]).astype(float)
    assert vectors[QUERY] == pytest.approx((x**2).mean(axis=0), rel=1e-6)
    assert vectors[UP].shape == (5, 4)
    assert (vectors[UP][2] == 1).all()  # the expert that no token was sent to
    for expert in (0, 1, 3, 4):
        sent = (g["ids"] == expert).any(axis=1)
        assert vectors[UP][expert] == pytest.approx((g["xm"][sent] ** 2).mean(axis=0), rel=1e-5)
        assert vectors[DOWN][expert] == pytest.approx(
            (g["xd"][g["ids"] == expert] ** 2).mean(axis=0), rel=1e-5
        )
    assert first_imatrix.entries[UP].counts.sum() == g["ids"].size


def test_sums_grow_token_by_token_in_float32() -> None:
    loud = np.full((1, 3), 4096.0, np.float32)  # 2²⁴: adding 1 to it changes nothing in float32
    quiet = np.ones((5, 3), np.float32)
    collector = Collector()
    collector.add("loud first", np.concatenate([loud, quiet]))
    collector.add("loud last", np.concatenate([quiet, loud]))
    collector.add("in two parts", loud)
    collector.add("in two parts", quiet)
    sums = {name: entry.sums[0, 0] for name, entry in collector.result().entries.items()}
    assert sums == {"loud first": 2**24, "loud last": np.float32(2**24 + 5), "in two parts": 2**24}


def test_results_do_not_change_afterwards() -> None:
    collector = Collector()
    collector.add("a", [[1.0, 2.0]])
    collector.add_experts("b", [[1.0]], [[1]], 2)
    before = collector.result()
    collector.add("a", [[5.0, 5.0]])
    collector.add_experts("b", [[5.0]], [[1]], 2)
    assert before.entries["a"].sums.tolist() == [[1.0, 4.0]]
    assert before.entries["a"].counts.tolist() == [1]
    assert before.entries["b"].sums.tolist() == [[0.0], [1.0]]
    assert before.entries["b"].counts.tolist() == [0, 1]


def test_the_quantizer_takes_the_vector(four_rows: Vectors) -> None:
    w, x = four_rows["W"], four_rows["X"].copy()
    w = np.concatenate([w, w], axis=1)[:, :512]
    x = np.concatenate([x, x], axis=1)[:, :512]
    x[:, ::7] *= 8
    collector = Collector()
    collector.add("w", x)
    importance = collector.result().vectors()["w"]
    errors = []
    for data in (ggml.quantize(w, "Q4_K"), ggml.quantize(w, "Q4_K", importance)):
        errors.append(np.mean((x @ (w - ggml.dequantize(data, "Q4_K")).T) ** 2))
    assert errors[1] < errors[0]


def test_merging() -> None:
    entry = Statistics(np.ones((1, 6), np.float32), np.array([4]))
    experts = Statistics(np.ones((3, 2), np.float32), np.array([1, 0, 2]))
    a, b = (
        ImportanceMatrix({"w": entry}, 16, ("a",)),
        ImportanceMatrix({"w": experts, "v": entry}, 32, ("b",)),
    )
    for merged in (merge([a, b]), merge([b, a])):
        assert merged.entries["w"].sums.tolist() == [[2, 2]] * 3
        assert merged.entries["w"].counts.tolist() == [5, 4, 6]
        assert merged.entries["v"] is entry
    assert merge([a, b]).chunk_size == 16
    assert merge([a, b]).datasets == ("a", "b")
    with pytest.raises(ValueError, match="w has .* merge matrices of the same model"):
        merge([a, ImportanceMatrix({"w": Statistics(np.ones((1, 5), np.float32), np.array([4]))})])
    two = ImportanceMatrix({"w": Statistics(np.ones((2, 3), np.float32), np.array([4, 4]))})
    with pytest.raises(ValueError, match="w has"):
        merge([two, b])
    with pytest.raises(ValueError, match="w has"):
        merge([ImportanceMatrix({"w": Statistics(np.ones((1, 7), np.float32), np.array([4]))}), b])
    with pytest.raises(ValueError, match="there is no importance matrix"):
        merge([])
    assert ImportanceMatrix({}).chunk_count == 0


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("add", ("w", np.ones(3)), "activations has shape"),
        ("add", ("w", [[np.nan, 1.0]]), "1 NaN"),
        ("add", ("w", [[1e20, 1.0]]), "the squares of the inputs of w exceed float32"),
        ("add", ("known", np.ones((2, 4))), "known had 1 experts and 3 columns so far, and now 1 and 4"),
        ("add_experts", ("known", np.ones((2, 3)), [[0], [1]], 2), "and now 2 and 3"),
        ("add_experts", ("w", np.ones((2, 3)), [0, 1], 2), r"experts \(2,\)"),
        ("add_experts", ("w", np.ones((2, 3)), [[0, 1]], 2), r"shape \(2, 3\) and experts \(1, 2\)"),
        ("add_experts", ("w", np.ones((2, 3, 4)), [[0, 1], [0, 1]], 2), r"shape \(2, 3, 4\)"),
        ("add_experts", ("w", np.ones((2, 3)), [[0], [2]], 2), "whole numbers from 0 to 1"),
        ("add_experts", ("w", np.ones((2, 3)), [[0], [-1]], 2), "whole numbers from 0 to 1"),
        ("add_experts", ("w", np.ones((2, 3)), [[0.0], [1.0]], 2), "whole numbers from 0 to 1"),
    ],
)
def test_errors_of_collecting(method: str, arguments: tuple[Any, ...], message: str) -> None:
    collector = Collector()
    collector.add("known", np.ones((2, 3)))
    with pytest.raises(ValueError, match=message):
        getattr(collector, method)(*arguments)
