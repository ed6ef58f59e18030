"""The lesson's data: published tables and real weights, read from `data` and `weights` as typed rows.

Everything is read once and cached; arrays are read-only. Nothing is computed here: `quant_core` does that.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, AliasPath, BeforeValidator, Field, model_validator
from safetensors import safe_open

from lessons.kit.checked import Kind, Row, checked
from lessons.kit.numbers import hold_units
from quant_core.memory import GIB, MIB, ModelShape, model_shape

DATA = Path(__file__).parent / "data"
WEIGHTS = Path(__file__).parent / "weights"
TINY_MODEL = WEIGHTS / "tinylm"
QUALITY = "llama31_8b_gguf.json"

Array = NDArray[np.float32]
Held = Annotated[str, AfterValidator(hold_units)]


# --- models and machines ----------------------------------------------------------------------------------


def _origin(source: dict[str, str]) -> str:
    """Repository, path and commit in one line."""
    commit = source.get("commit", "")[:8]
    parts = (source.get("repo"), source.get("path"), f"@ {commit}" if commit else "", source.get("entry"))
    return " ".join(part for part in parts if part) or source["what"]


class ModelPreset(Row):
    """A published model: what FIG.06 offers. `total_params` is the published or exactly computed count."""

    id: str
    name: str
    family: str
    kind: Literal["dense", "moe", "hybrid", "hybrid-moe"]
    total_params: int = Field(gt=0)
    active_params: int = Field(gt=0)
    published_label: str
    max_context: int = Field(gt=0)
    shape: Annotated[ModelShape, BeforeValidator(model_shape)] = Field(validation_alias="config")
    source: Annotated[str, BeforeValidator(_origin)]
    notes: str = ""


class Device(Row):
    """A machine. `usable_bytes` is what weights, cache and buffers may take together.

    Marketing's "24 GB" of RAM or VRAM are GiB, and are counted so. Bandwidth is in bytes per second;
    `bandwidth_assumed`: no source states it. `read` is the day on which the source was read; `weak_source`:
    the source is neither the maker nor somebody who quotes the maker. `short` names it in a sentence and on a
    tile; `usable_basis` is where `usable_mib` is known from, where that is not the source.
    """

    id: str
    name: Held
    short: str
    kind: Literal["sbc", "phone", "cpu-ram", "unified", "gpu", "datacenter", "multi-gpu"] = Field(
        validation_alias="class"
    )
    memory_gb: float = Field(gt=0)
    usable_mib: int = Field(gt=0)
    bandwidth_gbs: float | None = Field(gt=0)
    assumed_bandwidth_gbs: float | None = Field(default=None, gt=0)
    bandwidth_basis: str = ""
    memory_type: str
    source: Held
    confidence: Literal["high", "medium", "low"]
    usable_basis: Held = ""
    note: str = ""
    read: date | None
    weak_source: bool = False

    @model_validator(mode="after")
    def _has_bandwidth(self) -> Self:
        if self.bandwidth_gbs is None and self.assumed_bandwidth_gbs is None:
            raise ValueError("needs bandwidth_gbs or assumed_bandwidth_gbs")
        return self

    @property
    def memory_bytes(self) -> int:
        return round(self.memory_gb * GIB)

    @property
    def usable_bytes(self) -> int:
        """What a model may take: of a card all that its driver shows; of a Mac what macOS lets the GPU use,
        three quarters (two thirds up to 32 GB); without a GPU all but about 5 GB."""
        return self.usable_mib * MIB

    @property
    def bandwidth(self) -> float:
        return 1e9 * (self.bandwidth_gbs or self.assumed_bandwidth_gbs or 0)

    @property
    def bandwidth_assumed(self) -> bool:
        return self.bandwidth_gbs is None

    @property
    def is_gpu(self) -> bool:
        """Whether it has memory of its own beside the RAM, where a CUDA context takes its share."""
        return self.kind in ("gpu", "datacenter", "multi-gpu")


class ChooserRule(Row):
    """A row of FIG.08's table of rules: where it applies, what it advises, and who says so.

    `formats` are tried in their order; an empty `generations` or `models` means all. A `roomy` rule asks for
    a tenth of the memory to stay free, and for speed. A rule of our own has no `url` and no day on which it
    was `read`; its `source` says what it rests on.
    """

    id: str
    formats: tuple[str, ...]
    uses: tuple[str, ...]
    groups: tuple[str, ...] = ("small", "laptop", "card", "server")
    generations: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    roomy: bool = False
    source: str
    url: str = ""
    read: date | None = None


@functools.cache
def chooser_rules() -> tuple[ChooserRule, ...]:
    """The rules of FIG.08, in the order in which they are tried."""
    return _rows(ChooserRule, _read("chooser.json")["rules"], "id", "chooser.json")


@functools.cache
def models() -> tuple[ModelPreset, ...]:
    """The presets whose architecture is modelled, family by family, the smallest first."""
    entries = [entry for entry in _read("models.json")["models"] if "config" in entry]
    return _rows(ModelPreset, entries, "id", "models.json")


def model(preset_id: str) -> ModelPreset:
    """One preset by its id, for example `llama-3.1-8b`."""
    return _by_id(models(), preset_id)


def data_messages() -> set[str]:
    """The texts in the table of machines that are translated; no template holds them."""
    return {
        text
        for machine in hardware()
        for text in (machine.name, machine.short, machine.source, machine.usable_basis)
        if text
    }


@functools.cache
def hardware() -> tuple[Device, ...]:
    """The machines of FIG.06, in the order of the file: small boards first, several cards last."""
    return _rows(Device, _read("hardware.json")["devices"], "id", "hardware.json")


def device(device_id: str) -> Device:
    """One machine by its id, for example `rtx-3090`."""
    return _by_id(hardware(), device_id)


class Peak(Row):
    """The peak arithmetic of a machine, dense, in 10¹² operations a second; None for a type it lacks."""

    id: str
    fp16: float = Field(gt=0)
    fp8: float | None = Field(default=None, gt=0)
    fp4: float | None = Field(default=None, gt=0)
    source: Held
    url: str
    read: date
    note: str = ""


@functools.cache
def peaks() -> tuple[Peak, ...]:
    """The machines whose arithmetic is known, the slowest first."""
    return _rows(Peak, _read("peaks.json")["peaks"], "id", "peaks.json")


def peak(device_id: str) -> Peak:
    return _by_id(peaks(), device_id)


# --- size and quality of one model under every file type ---------------------------------------------------


def _score(name: str) -> Any:
    return Field(validation_alias=AliasPath("llama31_8b_instruct", name))


class QualityRow(Row):
    """Llama-3.1-8B-Instruct under one file type, written without an importance matrix (Kurt 2026).

    Scores are per cent. `benchmark_loss` is relative: 100 (average of F16 − average) / average of F16.
    Perplexity is of WikiText-2; it must not stand in one column with that of a :class:`BaseRow`.
    """

    scheme: str
    bits_per_weight: float = Field(validation_alias="bpw")
    size_mib: float
    size_reduction: float = Field(validation_alias="size_reduction_vs_f16_pct")
    perplexity: float = _score("wikitext2_ppl")
    average: float = _score("avg")
    benchmark_loss: float = _score("bench_loss_pct_relative")
    gsm8k: float = _score("gsm8k")
    gsm8k_error: float = _score("gsm8k_se")  # standard error, points
    hellaswag: float = _score("hellaswag")
    ifeval: float = _score("ifeval")
    mmlu: float = _score("mmlu")
    truthfulqa: float = _score("truthfulqa_mc2")

    @property
    def size_bytes(self) -> int:
        return round(self.size_mib * MIB)

    @property
    def size_change(self) -> float:
        """Per cent, against F16."""
        return 0.0 - self.size_reduction


class BaseRow(Row):
    """Llama-3-8B base (not 3.1, not Instruct) under one file type: llama.cpp's own scoreboard."""

    scheme: str
    importance: bool  # with an importance matrix from 10 million tokens of WikiText
    bits_per_weight: float = Field(validation_alias="bpw")
    size_mib: float
    perplexity: float = Field(validation_alias="ppl")
    perplexity_error: float = Field(validation_alias="ppl_se")
    perplexity_increase: float = Field(validation_alias="ppl_increase_pct")  # against F16
    divergence: float = Field(validation_alias="kld_mean")  # mean Kullback–Leibler divergence from F16

    @property
    def size_bytes(self) -> int:
        return round(self.size_mib * MIB)


@functools.cache
def quality_table() -> tuple[QualityRow, ...]:
    """The Instruct study, from the largest file to the smallest."""
    rows = _rows(QualityRow, [row for row in _types() if row["llama31_8b_instruct"]], "scheme", QUALITY)
    return tuple(sorted(rows, key=lambda row: -row.bits_per_weight))


@functools.cache
def base_quality_table() -> tuple[BaseRow, ...]:
    """The base model's scoreboard, which alone reaches below 3.5 bits; with and without importance matrix."""
    scored = [
        row | scores | {"importance": key == "imatrix_WT_10m"}
        for row in _types()
        for key in ("no_imatrix", "imatrix_WT_10m")
        if (scores := row["llama3_8b_base"][key])
    ]
    rows = [row for each in scored for row in _rows(BaseRow, [each], "scheme", QUALITY)]
    return tuple(sorted(rows, key=lambda row: (-row.bits_per_weight, row.importance)))


def _types() -> list[dict[str, Any]]:
    return [{"scheme": scheme} | row for scheme, row in _read(QUALITY)["types"].items()]


@functools.cache
def quality_sources() -> dict[str, dict[str, str]]:
    """Where the two tables come from, and under which conditions: keys `kurt`, `pplreadme`, `readme` …"""
    sources: dict[str, dict[str, str]] = _read(QUALITY)["sources"]
    return sources


# --- measured here: every format and method on the lesson's own model --------------------------------------


@dataclass(frozen=True, slots=True)
class Measured:
    """One way to round the small model, and what was measured: a row of `make measure`.

    `rise` is the mean loss above the 16-bit model's, in nats a token, and its error that of the differences
    token by token. `divergence` is the mean Kullback–Leibler divergence, in nats; `agreement` a share.
    """

    key: str
    family: str  # of `measuring.FAMILIES`
    name: str
    bits: int
    group_size: int
    importance: bool
    bytes: int
    bits_per_weight: float
    perplexity: float
    standard_error: float
    rise: float
    rise_error: float
    divergence: float
    divergence_error: float
    agreement: float
    sample_perplexity: float
    seconds: float
    activation_bits: int = 16


@dataclass(frozen=True, slots=True)
class MeasuredCalibration:
    """A method at 3 bits after calibration on so many tokens of a text, judged on Macbeth."""

    method: str
    source: str  # "own", "play", "bible"; "" for RTN, which needs none
    tokens: int
    perplexity: float
    standard_error: float
    rise: float
    rise_error: float


METHOD_NAMES = {
    "rtn": "RTN", "rtn-symmetric": "RTN symmetric", "gptq": "GPTQ", "gptq-act-order": "GPTQ act-order",
    "awq": "AWQ", "awq-clip": "AWQ clip", "hqq": "HQQ", "nf4": "NF4", "nf4-double": "NF4 double",
    "mxfp4": "MXFP4", "nvfp4": "NVFP4", "fp8": "FP8 E4M3", "fp8-e5m2": "FP8 E5M2",
    "w8a8": "RTN W8A8", "smoothquant": "SmoothQuant W8A8", "llm-int8": "LLM.int8()",
    "fp8-w8a8": "FP8 W8A8", "keep-activation": "Keep-1% |x|", "keep-weight": "Keep-1% |w|",
    "keep-random": "Keep-1% random",
}  # fmt: skip
WITHOUT_WIDTH = (
    "nf4", "nf4-double", "mxfp4", "nvfp4", "fp8", "fp8-e5m2", "w8a8", "smoothquant", "llm-int8", "fp8-w8a8",
)  # fmt: skip
"""Methods whose name says their width."""


class Named(Protocol):
    """A measurement, or the recipe of one: what `name_of` can name."""

    @property
    def family(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def bits(self) -> int: ...
    @property
    def group_size(self) -> int: ...
    @property
    def importance(self) -> bool: ...


def name_of(row: Named) -> str:
    """The name of a row, as its makers call it: "Q4_K_M imatrix", "GPTQ 3 g64".

    The original of SmolLM2 has that of the type in which it is shipped.
    """
    if row.family == "original" and row.name != "F16":
        return f"SmolLM2 {row.name}"
    if row.family in ("original", "gguf"):
        return f"{row.name} imatrix" if row.importance else row.name
    width = "" if row.name in WITHOUT_WIDTH else f" {row.bits}"
    group = f" g{row.group_size}" if row.group_size else ""
    return METHOD_NAMES[row.name] + width + group


@functools.cache
def measured() -> tuple[Measured, ...]:
    """What `make measure` wrote, the 16-bit model first."""
    return _rows(Measured, _read("measured.json")["rows"], "key", "measured.json")


def measured_row(key: str) -> Measured:
    """The row of a key, which must exist."""
    return next(row for row in measured() if row.key == key)


@functools.cache
def measured_calibration() -> tuple[MeasuredCalibration, ...]:
    """The same for the calibration study."""
    entries = _read("measured.json")["calibration"]
    return tuple(checked(list[MeasuredCalibration], entries, "measured.json: calibration"))


@functools.cache
def measured_conditions() -> dict[str, Any]:
    """On what it was measured, with what, and which code and weights it depends on."""
    return {key: value for key, value in _read("measured.json").items() if key not in ("rows", "calibration")}


# --- recorded: what a small model writes at falling widths --------------------------------------------------


class Continuation(Row):
    """What SmolLM2-135M writes after a sentence at a width: a row of `scripts/record_continuations.py`.

    `candidates` are its likeliest first tokens with their probabilities; `perplexity` is that of the text
    under the model without rounding.
    """

    sentence: str
    bits: int
    text: str
    candidates: tuple[tuple[str, float], ...]
    perplexity: float


@functools.cache
def continuations() -> dict[tuple[str, int], Continuation]:
    """Every continuation by its sentence's name and its bits."""
    rows = checked(tuple[Continuation, ...], _read("continuations.json")["rows"], "continuations.json")
    return {(row.sentence, row.bits): row for row in rows}


@functools.cache
def continuation_conditions() -> dict[str, Any]:
    """The sentences, the model's file and package, the day, and the hash of the code that it depends on."""
    return {key: value for key, value in _read("continuations.json").items() if key != "rows"}


class CacheRow(Row):
    """What a key/value cache of two types costs the lesson's small model.

    A row of `scripts/record_kv_cache.py`. The divergence is from a cache in float32, in nats.
    """

    cache_type_k: str
    cache_type_v: str
    rotate: bool
    perplexity: float
    divergence: float
    divergence_error: float
    agreement: float


@functools.cache
def kv_cache() -> dict[tuple[str, str, bool], CacheRow]:
    """Every row by the types of keys and values, and by whether they are rotated."""
    rows = checked(tuple[CacheRow, ...], _read("kv_cache.json")["rows"], "kv_cache.json")
    return {(row.cache_type_k, row.cache_type_v, row.rotate): row for row in rows}


@functools.cache
def kv_cache_conditions() -> dict[str, Any]:
    """What was measured and when, the hash of the code, a head's channels, and SmolLM2-135M's rows."""
    return {key: value for key, value in _read("kv_cache.json").items() if key != "rows"}


# --- recorded: a layer that was trained for few bits --------------------------------------------------------


class Training(Row):
    """The output error of a layer after a training with the rounding in place, on text it has not seen."""

    bits: int
    steps: int
    error: float


class LatticeCase(Row):
    """The layer trained at 4 bits and saved as BF16: its output error, and that of Q4_0 with either scale.

    `untrained` is Q4_0 on the original weights; `block` a block of the saved ones; `on_lattice` how many of
    all `blocks` are found to lie on a lattice.
    """

    untrained: float
    saved: float
    usual: float
    recovered: float
    blocks: int
    on_lattice: int
    block: tuple[float, ...]


class TernaryCase(Row):
    """The layer's first inputs in TQ2_0: the output error of ordinary weights (`usual`), of those trained for
    three levels, and of these once they are stored. `changed` weights came back different; `block` is one of
    the trained."""

    usual: float
    trained: float
    stored: float
    changed: int
    block: tuple[float, ...]


class TrainedLayer(Row):
    """What `scripts/record_training.py` found, with the hash of the code that it depends on."""

    code: str
    layer: str
    group_size: int
    rows: tuple[Training, ...]
    lattice: LatticeCase
    ternary: TernaryCase


@functools.cache
def trained_layer() -> TrainedLayer:
    return checked(TrainedLayer, _read("trained.json"), "trained.json")


# --- recorded: the codebook types on the layers of FIG.07C --------------------------------------------------


class CodebookType(Row):
    """What a codebook type of ggml makes of a layer, with or without an importance matrix.

    A row of `scripts/record_codebook_types.py`. Both errors are relative and squared.
    """

    layer: str
    type: str
    importance: bool
    weight_error: float
    output_error: float


@functools.cache
def codebook_types() -> tuple[CodebookType, ...]:
    """Every row, by layer from the largest type to the smallest."""
    return checked(tuple[CodebookType, ...], _read("codebook_types.json")["rows"], "codebook_types.json")


@functools.cache
def codebook_conditions() -> dict[str, Any]:
    """When it was recorded and with what, and the hashes of the code and the layers."""
    return {key: value for key, value in _read("codebook_types.json").items() if key != "rows"}


# --- maps of types ----------------------------------------------------------------------------------------


class NamedMap(Row):
    """A map of types that has a name: its divergence from 16 bits on the small model, in nats."""

    name: str
    divergence: float = Field(ge=0)
    error: float = Field(ge=0)


class SingleGroup(Row):
    """The same of one group in a type, everything else in 16 bits."""

    group: str
    type: str
    divergence: float = Field(ge=0)
    error: float = Field(ge=0)


class MeasuredMaps(Row):
    """What `make maps` measured. `grid` has every map that gives each of `groups` one of `types`, by key."""

    made: date
    code: str
    weights: str
    text: dict[str, int]
    groups: tuple[str, ...]
    types: tuple[str, ...]
    single: tuple[SingleGroup, ...]
    named: tuple[NamedMap, ...]
    grid: dict[str, float]


@functools.cache
def measured_maps() -> MeasuredMaps:
    """The divergence of every map of types on the small model."""
    return checked(MeasuredMaps, _read("maps.json"), "maps.json")


# --- real weights -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """Rows of a linear layer of a real model, with what flows into it.

    `weights` is (rows, columns); row i is row `rows[i]` of `tensor`. `hessian` is XᵀX/n over the calibration
    tokens, (columns, columns); the activations are (tokens, columns); `mean_abs` is mean |x| by column. A
    layer that is shown for its weights alone has none of these.
    """

    name: str
    model: str
    tensor: str
    note: str
    rows: tuple[int, ...]
    weights: Array
    hessian: Array | None
    mean_abs: Array | None
    activations_test: Array | None
    activations_calibration: Array | None


@dataclass(frozen=True, slots=True)
class _Origin:
    model: str
    tensor: str
    note: str


_MINILM = "sentence-transformers/all-MiniLM-L6-v2 (an encoder; Apache-2.0)"
_SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct (a language model; Apache-2.0)"
_ORIGINS = {
    "minilm.5.ffn_in": _Origin(
        _MINILM, "encoder.layer.5.intermediate.dense.weight", "strong outlier channels in its input"
    ),
    "minilm.1.query": _Origin(
        _MINILM, "encoder.layer.1.attention.self.query.weight", "no strong outlier channels: the control"
    ),
    "smollm2.15.q": _Origin(
        _SMOLLM2, "blk.15.attn_q.weight", "dequantized from Q4_1, so that 3 and 2 bits are its fair widths"
    ),
    "minilm.0.ffn_out": _Origin(
        _MINILM, "encoder.layer.0.output.dense.weight", "row 99, column 856 holds a weight of 175 sigma"
    ),
}
LAYERS = tuple(_ORIGINS)


@functools.cache
def load_layer(name: str) -> Layer:
    """Read one of :data:`LAYERS`; every array is float32 and read-only."""
    if name not in _ORIGINS:
        raise ValueError(f"layer {name!r} is not shipped; choose one of {', '.join(LAYERS)}")
    with safe_open(WEIGHTS / "real_blocks.safetensors", framework="numpy") as file:
        names = set(file.keys())

        def part(suffix: str) -> Array | None:
            key = f"{name}.{suffix}"
            return _frozen(file.get_tensor(key)) if key in names else None

        whole = f"{name}.W" in names
        weights = _frozen(file.get_tensor(f"{name}.{'W' if whole else 'W_rows'}"))
        rows = range(len(weights)) if whole else file.get_tensor(f"{name}.row_index").tolist()
        origin = _ORIGINS[name]
        return Layer(
            name=name,
            model=origin.model,
            tensor=origin.tensor,
            note=origin.note,
            rows=tuple(rows),
            weights=weights,
            hessian=part("H"),
            mean_abs=part("absmean"),
            activations_test=part("X_test"),
            activations_calibration=part("X_cal"),
        )


def layer_row(name: str, row: int) -> Array:
    """One row of a layer, float32, by its index in the full tensor."""
    layer = load_layer(name)
    if row not in layer.rows:
        raise ValueError(f"row {row} of {name} is not shipped; there are {_spans(layer.rows)}")
    values: Array = layer.weights[layer.rows.index(row)]
    return values


def _spans(rows: tuple[int, ...]) -> str:
    """Sorted numbers as spans: (0, 1, 2, 9) is 0–2, 9."""
    starts = [row for row in rows if row - 1 not in rows]
    ends = [row for row in rows if row + 1 not in rows]
    return ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in zip(starts, ends, strict=True))


def _frozen(array: NDArray[Any]) -> Array:
    values: Array = array.astype(np.float32)
    values.setflags(write=False)
    return values


# --- reading ----------------------------------------------------------------------------------------------


@functools.cache
def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DATA / name).read_text("utf-8"))
    return content


def _rows(kind: type[Kind], entries: list[dict[str, Any]], key: str, file: str) -> tuple[Kind, ...]:
    """The entries of a file as rows; an error names the entry by what stands in its field `key`."""
    rows = {entry[key]: entry for entry in entries}
    return tuple(checked(dict[str, kind], rows, file).values())  # type: ignore[valid-type]  # made here


_Row = TypeVar("_Row", ModelPreset, Device, Peak)


def _by_id(rows: tuple[_Row, ...], wanted: str) -> _Row:
    for row in rows:
        if row.id == wanted:
            return row
    raise ValueError(f"{wanted!r} is not known; choose one of {', '.join(row.id for row in rows)}")
