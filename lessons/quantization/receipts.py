"""The receipts: what the memory formulas predict, beside what was logged or published.

Each case of `data/memory_cases.json` is predicted anew by `quant_core.memory`, from the model's configuration
and the conditions of the run; the file holds no predictions.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lessons.kit.language import gettext as _
from lessons.quantization.sources import DATA, model
from quant_core.memory import (
    CUDA_CONTEXT_BYTES,
    GIB,
    MIB,
    ModelShape,
    bits_per_weight,
    checkpoint_bytes,
    compute_buffer_bytes,
    host_buffer_bytes,
    kv_cache,
    kv_pool_tokens,
    model_shape,
    weight_buffers,
    weight_bytes,
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """One case: a prediction beside what was logged.

    `error_pct` is 100 (predicted − expected) / expected; `tolerance_pct` is the case's own. For the kind
    `fit` the two numbers are the memory needed and the memory there is, and `holds` compares the verdicts.
    """

    id: str
    kind: str
    model: str
    detail: str
    predicted: float
    expected: float
    unit: str
    tolerance_pct: float
    error_pct: float | None
    source: str
    caveats: tuple[str, ...]
    holds: bool


@dataclass(frozen=True, slots=True)
class NotCovered:
    """A case that no formula here predicts, and why."""

    id: str
    kind: str
    model: str
    reason: str


def receipts() -> tuple[Receipt, ...]:
    """Every case that the formulas cover, in the order of the file, its words in the current language."""
    return tuple(_receipt(case) for case in _file()["cases"] if case["id"] not in _REASONS)


def not_covered() -> tuple[NotCovered, ...]:
    """The cases left out, each with its reason."""
    return tuple(
        NotCovered(case["id"], case["kind"], _(case["model"]), _(_REASONS[case["id"]]))
        for case in _file()["cases"]
        if case["id"] in _REASONS
    )


# Case id -> reason. At present every case is covered.
_REASONS: dict[str, str] = {}


def shape_of(architecture: str) -> ModelShape:
    """The shape that a case names: an architecture of the cases' own file, or a preset."""
    own = _file()["architectures"]
    return model_shape(own[architecture]) if architecture in own else model(architecture).shape


def _receipt(case: dict[str, Any]) -> Receipt:
    shape = shape_of(case["architecture"])
    predicted = _PREDICTIONS[case["kind"]](shape, case)
    if case["kind"] == "fit":
        expected, unit = case["budget_gib"], "GiB"
        error = None
        holds = (predicted <= expected) == case["expected"]
    else:
        expected, unit = case["expected"], case["unit"]
        error = 100 * (predicted - expected) / expected
        holds = abs(error) <= case["tol_pct"]
    return Receipt(
        id=case["id"],
        kind=case["kind"],
        model=_(case["model"]),
        detail=_detail(case),
        predicted=predicted,
        expected=expected,
        unit=unit,
        tolerance_pct=case["tol_pct"],
        error_pct=error,
        source=case["source"],
        caveats=tuple(map(_, case.get("caveats", ()))),
        holds=holds,
    )


def _detail(case: dict[str, Any]) -> str:
    """The conditions of the run in a few words."""
    words = {
        "quant": "%(value)s",
        "ctx": _("context %(value)s"),
        "n_seq": _("%(value)s sequences"),
        "kv_type": _("cache %(value)s"),
        "n_ubatch": _("ubatch %(value)s"),
        "part": _("%(value)s layers only"),
        "gpus": _("%(value)s GPU"),
    }
    values = case | ({"part": _(case["part"])} if "part" in case else {})
    parts = [form % {"value": values[key]} for key, form in words.items() if key in case]
    if case.get("importance"):
        parts.append(_("importance matrix"))
    if "flash_attn" in case:
        parts.append(_("flash attention") if case["flash_attn"] else _("no flash attention"))
    return ", ".join(parts)


# --- one prediction for each kind of case, in the case's own unit -------------------------------------------

_UNIT_BYTES = {"GiB": GIB, "MiB": MIB, "GB": 10**9, "bytes": 1}


def _in_unit(size: int, case: dict[str, Any]) -> float:
    return size / int(_UNIT_BYTES[case["unit"]])


def _bits(shape: ModelShape, case: dict[str, Any]) -> float:
    return bits_per_weight(shape, case["quant"])


def _file_size(shape: ModelShape, case: dict[str, Any]) -> float:
    if case["quant"].startswith("GPTQ"):  # "GPTQ 4-bit g128", "GPTQ 8-bit gNone"
        _, bits, group = case["quant"].split()
        group_size = None if group == "gNone" else int(group[1:])
        return _in_unit(checkpoint_bytes(shape, int(bits.removesuffix("-bit")), group_size), case)
    return _in_unit(weight_bytes(shape, case["quant"], case.get("importance", False)), case)


def _gpu_weights(shape: ModelShape, case: dict[str, Any]) -> float:
    return _in_unit(weight_buffers(shape, case["quant"]).gpu, case)


def _cpu_weights(shape: ModelShape, case: dict[str, Any]) -> float:
    return _in_unit(weight_buffers(shape, case["quant"]).cpu, case)


def _cache(shape: ModelShape, case: dict[str, Any]) -> float:
    kv_type, sequences, ubatch = case.get("kv_type", "f16"), case.get("n_seq", 1), case.get("n_ubatch", 512)
    cache = kv_cache(shape, case["ctx"], kv_type, kv_type, sequences, ubatch)
    parts = {"full": cache.full, "sliding": cache.sliding}
    return _in_unit(parts.get(case.get("part", ""), cache.total), case)


def _pool(shape: ModelShape, case: dict[str, Any]) -> float:
    return kv_pool_tokens(shape, round(case["pool_gib"] * GIB), cache_type=case["kv_type"])


def _compute(shape: ModelShape, case: dict[str, Any]) -> float:
    rows = case.get("logits_rows", case["n_ubatch"])  # all, in the versions before pull request 23861
    size = compute_buffer_bytes(shape, case["ctx"], case["flash_attn"], case["n_ubatch"], rows)
    return _in_unit(size, case)


def _host(shape: ModelShape, case: dict[str, Any]) -> float:
    return _in_unit(host_buffer_bytes(shape, case["ctx"], case["n_ubatch"]), case)


def _process(shape: ModelShape, case: dict[str, Any]) -> float:
    return _in_unit(_process_bytes(shape, case), case)


def _fit(shape: ModelShape, case: dict[str, Any]) -> float:
    return _process_bytes(shape, case) / GIB


def _process_bytes(shape: ModelShape, case: dict[str, Any]) -> int:
    """Bytes on each GPU: its share of weights and cache, one compute buffer, the runtime.

    Unified memory holds the embedding too, and no CUDA context.
    """
    buffers = weight_buffers(shape, case["quant"])
    kv_type = case.get("kv_type", "f16")
    cache = kv_cache(shape, case["ctx"], kv_type, kv_type).total
    unified = case.get("unified", False)
    shared = buffers.gpu + cache + (buffers.cpu if unified else 0)
    runtime = 0 if unified else CUDA_CONTEXT_BYTES
    compute = compute_buffer_bytes(shape, case["ctx"], case["flash_attn"], logits_rows=512)
    return int(shared / case.get("gpus", 1) + compute + runtime)


_PREDICTIONS: dict[str, Callable[[ModelShape, dict[str, Any]], float]] = {
    "weights_bpw": _bits,
    "weights_file": _file_size,
    "weights_bytes": _file_size,
    "weights_gpu_buffer": _gpu_weights,
    "weights_cpu_buffer": _cpu_weights,
    "kv_cache": _cache,
    "kv_pool_tokens": _pool,
    "compute_buffer": _compute,
    "host_compute_buffer": _host,
    "process_vram": _process,
    "fit": _fit,
}


def data_messages() -> set[str]:
    """The texts in the file of cases that are translated; no template holds them."""
    cases = _file()["cases"]
    parts = {case["part"] for case in cases if "part" in case}
    return {case["model"] for case in cases} | parts | {c for case in cases for c in case.get("caveats", ())}


@functools.cache
def _file() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DATA / "memory_cases.json").read_text("utf-8"))
    return content
