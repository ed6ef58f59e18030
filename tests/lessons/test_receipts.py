"""Every published case is predicted within its tolerance: the basis of the receipts page."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter

import pytest

from lessons.quantization import receipts as module
from lessons.quantization.receipts import Receipt, not_covered, receipts, shape_of
from lessons.quantization.sources import DATA
from tests.each import each

# Case id -> why no formula predicts it. Empty: every case is covered.
NOT_COVERED: dict[str, str] = {}


@each("receipt", receipts())
def test_the_prediction_holds(receipt: Receipt) -> None:
    assert receipt.holds, f"{receipt.predicted} against {receipt.expected} {receipt.unit}"
    if receipt.error_pct is not None:
        assert abs(receipt.error_pct) <= receipt.tolerance_pct
        assert receipt.predicted == pytest.approx(receipt.expected * (1 + receipt.error_pct / 100))


def test_every_case_is_covered_or_has_a_reason() -> None:
    cases = json.loads((DATA / "memory_cases.json").read_text("utf-8"))
    assert {case.id: case.reason for case in not_covered()} == NOT_COVERED
    ids = [one.id for one in receipts()] + [one.id for one in not_covered()]
    assert sorted(ids) == sorted(case["id"] for case in cases["cases"])
    assert cases["n"] == len(ids) == 87


def test_all_kinds_are_there() -> None:
    kinds = Counter(receipt.kind for receipt in receipts())
    assert kinds == {
        "weights_bpw": 9,
        "weights_file": 33,
        "weights_bytes": 1,
        "weights_gpu_buffer": 3,
        "weights_cpu_buffer": 1,
        "kv_cache": 22,
        "kv_pool_tokens": 1,
        "compute_buffer": 10,
        "host_compute_buffer": 1,
        "process_vram": 1,
        "fit": 5,
    }


def test_the_cases_name_their_conditions_and_sources() -> None:
    for receipt in receipts():
        assert receipt.source
        assert receipt.detail
        assert "  " not in receipt.detail
    by_id = {receipt.id: receipt for receipt in receipts()}
    assert by_id["cb-mistral-32k"].detail == "context 32768, ubatch 512, no flash attention"
    assert by_id["w-l3-70b-IQ1_S"].detail == "IQ1_S, importance matrix"
    assert by_id["w-qwen3-14b-Q4_K_M"].error_pct == 0


def test_the_geometry_that_a_log_shows_is_that_of_the_architecture() -> None:
    """Cases of the cache carry layers and widths from the log; the configuration must lead to the same."""
    for case in json.loads((DATA / "memory_cases.json").read_text("utf-8"))["cases"]:
        shape = shape_of(case["architecture"])
        ours = {"n_head": shape.n_heads, "n_embd": shape.hidden_size, "n_vocab": shape.vocab_size}
        assert all(case.get(field, value) == value for field, value in ours.items()), case["id"]
        if "n_layer_kv" in case:
            assert case["n_layer_kv"] == sum(kind != "linear" for kind in shape.layer_kinds), case["id"]
            latent = shape.latent
            width = latent.kv_rank + latent.rope_dim if latent else shape.n_kv_heads * shape.head_dim
            assert case["n_embd_k_gqa"] == width, case["id"]


def test_wrong_prediction_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    case = {"id": "x", "kind": "weights_bytes", "model": "", "architecture": "qwen3-14b", "quant": "Q4_K_S",
            "expected": 8_995_793_920, "unit": "bytes", "tol_pct": 0.001, "source": ""}  # fmt: skip
    assert not module._receipt(case).holds
    fit = {**case, "kind": "fit", "budget_gib": 1.0, "expected": True, "ctx": 8192, "flash_attn": True}
    assert not module._receipt(fit).holds
    monkeypatch.setattr(module, "_REASONS", {"fit-1x3090-70bQ4": "for this test"})
    assert [one.reason for one in not_covered()] == ["for this test"]
    assert len(receipts()) == 86


def test_receipt_contains_only_plain_data() -> None:
    assert all(json.dumps(dataclasses.asdict(receipt)) for receipt in receipts())
