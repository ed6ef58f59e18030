"""FIG.06: does a model fit a machine? Weights, cache, buffer and runtime added up, and held against memory.

Every size comes from `quant_core.memory`; the receipts page holds the same functions against published logs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice, line, readable, slider, straight, switch
from lessons.kit.figure import Figure
from lessons.kit.language import N_, current_language, gettext
from lessons.kit.mathml import tex
from lessons.kit.scales import Scale
from lessons.kit.view import Column, Limit, PlotScales, Readout, Sentence, Table, View
from lessons.quantization import own_model, sources
from lessons.quantization.sources import Device
from quant_core import memory
from quant_core.ggml import mixes
from quant_core.ggml.mixes import BLOCK_SIZES
from quant_core.llm.shapes import ARCHITECTURES
from quant_core.memory import GIB, MIB, ModelShape, SpeedBand

MIXES = (
    "F32", "F16", "BF16", "Q8_0", "Q6_K_L", "Q6_K", "Q5_1", "Q5_K_M", "Q5_K_S", "Q5_0", "Q4_1", "Q4_K_M",
    "Q4_K_S", "Q4_0", "IQ4_NL", "IQ4_XS", "MXFP4_MOE", "Q3_K_L", "Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_S",
    "IQ3_XS", "IQ3_XXS", "Q2_K", "Q2_K_S", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "Q2_0", "TQ2_0", "IQ1_M",
    "TQ1_0", "IQ1_S", "Q1_0",
)  # fmt: skip
"""Every file type that llama-quantize writes."""

USUAL = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K", "IQ2_XXS", "IQ1_S")
"""Those that are compared with other models of the family, the largest first."""

LEAST_BITS = 4.0
"""Below these a larger model is no longer the better use of the same bytes (the claim `same-gigabytes`)."""

INSTEAD = "Q4_K_M"
"""What is shown where llama.cpp cannot write the chosen type."""

CHECKPOINTS = ("GPTQ", "AWQ")
CHECKPOINT_BITS, CHECKPOINT_GROUP = 4, 128
"""GPTQ and AWQ files as they are usually published."""

CONTEXTS = tuple(str(1024 * k) for k in (2, 4, 8, 16, 32, 64, 128))
OWN = "own"
TIGHT = 0.1
"""A machine is called tight when less than this share of its memory would be left."""

TILES = ("rpi5-16", "laptop-32-lpddr5x", "rtx-5090", "mac-m1-max-64", "ram-62", "h100-80")
"""The machines that are shown where no other is looked for, the smallest first."""

MEASURED = ("preset", "llama-3.1-70b", "Q4_K_M", "mac-m1-max-64")
"""Source, model, format and machine of the claim `speed-m1max-70b`."""

UBATCH = 512
"""Tokens that llama.cpp takes in at once, unless it is told otherwise."""

GAP_LABEL = 20
"""Half of the longest label of the gap, in per cent of a phone's width: nearer to a side it starts there."""
EDGE_LABEL, MEMORY_LABEL, WEIGHTS_LABEL = 33, 21, 42
"""Room for the labels of the edge, the whole memory and the weights, in per cent of a phone's width."""
KEPT_LABEL = 22
"""Room for the label of what the system keeps, in per cent of a tablet's width; a phone goes without."""


def _count_text(count: float) -> str:
    """70.6 B, 135 M: the customary short form of a parameter count."""
    million, billion = 1e6, 1e9
    if count < billion:
        return numbers.with_unit(numbers.significant(count / million), "M")
    return numbers.with_unit(numbers.significant(count / billion), "B")


PRESETS = {preset.id: preset for preset in sources.models()}
FAMILIES = {
    family: tuple(preset.id for preset in presets)
    for family, presets in groupby(PRESETS.values(), key=lambda preset: preset.family)
}
PLAIN = set(ARCHITECTURES)
"""Kinds of models whose tensors are known one by one."""

CONFIGS = (
    "",
    "model_type=qwen3 hidden_size=2560 num_hidden_layers=36 num_attention_heads=32 num_key_value_heads=8 "
    "head_dim=128 intermediate_size=9728 vocab_size=151936 tie_word_embeddings=true",
)
"""States of the line for the tests: none, and Qwen3 4B."""


class Controls(FigureControls):
    """The model, its format, a machine to look for, what is counted, and the machine."""

    model: str = choice(
        "llama-3.1-70b", PRESETS, labels={p.id: p.name for p in PRESETS.values()}, groups=FAMILIES
    )
    mix: str = choice("Q4_K_M", (*MIXES, *CHECKPOINTS))
    find: str = line("", most=40, samples=("", "3060"), lenient=True)
    source: str = choice("preset", ("preset", "size", "config"), style="segments")
    parameters: float = slider(9.85, low=8, high=12, step=0.05, show=lambda v: _count_text(10**v))
    config: str = line("", most=own_model.MOST_LINE, samples=CONFIGS, reads=own_model.shape_of)
    scope: str = choice("everything", ("weights", "everything"), style="segments")
    context: str = choice("8192", CONTEXTS, style="segments")
    sequences: str = choice("1", ("1", "2", "4", "8", "16", "32"), style="segments")
    cache_type: str = choice("f16", ("f16", "q8_0", "q4_0"), style="segments")
    flash_attention: bool = switch(True)
    device: str = choice(
        "mac-m1-max-64",
        [*(d.id for d in sources.hardware()), OWN],
        style="drawn",
        labels={d.id: d.name for d in sources.hardware()},
    )
    memory: int = slider(16, low=1, high=192, unit="GiB")
    bandwidth: float = slider(
        1.7, low=1, high=3.5, step=0.05, unit="GB/s", show=lambda v: numbers.significant(10**v, 2)
    )


@dataclass(frozen=True, slots=True)
class Run:
    """What is to be run: a model in a format, and how much it has to remember.

    `context` is the tokens of each of `sequences` conversations. `refused` is the length of the rows for
    which llama.cpp cannot write the type that was asked for, 0 where it can; `mix` then is another.
    """

    shape: ModelShape
    mix: str
    refused: int
    everything: bool
    context: int
    sequences: int
    cache_type: str
    flash_attention: bool

    @property
    def is_checkpoint(self) -> bool:
        """Whether it is a GPTQ or AWQ file, which llama.cpp does not run."""
        return self.mix in CHECKPOINTS

    @property
    def value_type(self) -> str:
        """Type of the cached values: llama.cpp refuses a quantized one without flash attention."""
        return self.cache_type if self.flash_attention else "f16"


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a run takes whatever the machine, in bytes; parts that are not counted are 0.

    `conversation` is the cache of one conversation, `runtime` what a GPU's driver takes, `speed` the band at
    one byte per second of bandwidth (None for files that llama.cpp does not run).
    """

    weights: int
    weights_on_gpu: int
    conversation: int
    cache: int
    buffer: int
    runtime: int
    speed: SpeedBand | None


@dataclass(frozen=True, slots=True)
class Need:
    """What has to lie in memory, part by part, in bytes."""

    weights: int
    cache: int = 0
    buffer: int = 0
    runtime: int = 0

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return self.weights + self.cache + self.buffer + self.runtime

    @property
    def parts(self) -> dict[str, int]:
        """The parts by name, in the order in which they are stacked."""
        return {
            "weights": self.weights,
            "cache": self.cache,
            "buffer": self.buffer,
            "runtime": self.runtime,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """The run on one machine: what it needs there, what is left (negative: lacking), how fast it may go."""

    device: Device
    need: Need
    margin: int
    speed: SpeedBand | None

    @property
    def verdict(self) -> str:
        if self.margin < 0:
            return "over"
        return "tight" if self.margin < TIGHT * self.device.usable_bytes else "fits"


@dataclass(frozen=True, slots=True)
class Result:
    """A run held against one machine and against all of them; the read-outs have their names.

    Sizes are in bytes, `margin` in GiB. `f16` is the model in 16 bits. `split` says which layers a single
    card holds, None for other machines; `gpu_layers` prints it.
    """

    controls: Controls
    run: Run
    footprint: Footprint
    outcomes: list[Outcome]
    chosen: Outcome
    parameters: int
    bits_per_weight: float
    weights: int
    f16: int
    against_f16: float
    total: int
    margin: float
    tokens_per_second: str
    split: memory.Offload | None
    gpu_layers: str


def compute(controls: Controls) -> Result:
    """Add up what a run needs, and hold it against the memory of every machine."""
    run = run_of(controls)
    footprint = footprint_of(run)
    machines = (*sources.hardware(), own_machine(controls))
    outcomes = [outcome_on(footprint, machine) for machine in machines]
    chosen = next(outcome for outcome in outcomes if outcome.device.id == controls.device)
    parameters, f16 = parameters_of(run.shape), file_bytes(run.shape, "F16")
    split = split_on(run, footprint, chosen.device)
    return Result(
        controls,
        run,
        footprint,
        outcomes,
        chosen,
        parameters,
        bits_per_weight=8 * footprint.weights / parameters,
        weights=footprint.weights,
        f16=f16,
        against_f16=f16 / footprint.weights,
        total=chosen.need.total,
        margin=chosen.margin / GIB,
        tokens_per_second=f"{chosen.speed.low:.4g}-{chosen.speed.high:.4g}" if chosen.speed else "",
        split=split,
        gpu_layers=f"{split.layers}/{split.of}" if split else "",
    )


def run_of(controls: Controls) -> Run:
    """The run that the controls describe."""
    if own := own_config(controls):
        shape = own_model.shape_of(own)
        longest = shape.max_context or int(CONTEXTS[-1])
    elif controls.source == "size":
        shape = generic(controls.parameters)
        longest = shape.max_context or int(CONTEXTS[-1])
    else:
        shape, longest = PRESETS[controls.model].shape, PRESETS[controls.model].max_context
    if controls.mix not in CHECKPOINTS:
        shape = as_published(shape)
    refused = rows_refused(shape, controls.mix)
    return Run(
        shape,
        INSTEAD if refused else controls.mix,
        refused,
        controls.scope == "everything",
        min(int(controls.context), longest),
        int(controls.sequences),
        controls.cache_type,
        controls.flash_attention,
    )


@functools.lru_cache(maxsize=128)
def as_published(shape: ModelShape) -> ModelShape:
    """A model whose experts were born in few bits keeps these in every file."""
    return memory.native_shape(shape)


@functools.lru_cache(maxsize=1024)
def rows_refused(shape: ModelShape, mix: str) -> int:
    """The length of rows that no block of the type divides, where llama.cpp knows no other type; else 0."""
    if mix in CHECKPOINTS:
        return 0
    block, name = BLOCK_SIZES[mixes.MIXES[mix].default][0], mixes.MIXES[mix].default
    if block <= 32 or name in mixes.FALLBACK:
        return 0
    return next(
        (tensor.columns for tensor in shape.tensors() if not tensor.fixed_type and tensor.columns % block), 0
    )


def own_config(controls: Controls) -> str:
    """The line of the reader's model, "" where another model is shown."""
    return straight(controls.config).strip() if controls.source == "config" else ""


@functools.lru_cache(maxsize=128)
def generic(exponent: float) -> ModelShape:
    return memory.generic_shape(10**exponent)


@functools.lru_cache(maxsize=256)
def parameters_of(shape: ModelShape) -> int:
    """The count walks over every tensor of the model, so each model is counted once."""
    return shape.parameters


def own_machine(controls: Controls) -> Device:
    """The visitor's machine. All of the memory counts as usable: the sliders ask for what is free."""
    known: dict[str, Any] = {"id": OWN, "kind": OWN, "name": "", "short": "", "source": "", "read": None}
    size: dict[str, Any] = {"memory_gb": controls.memory, "usable_mib": controls.memory * (GIB // MIB)}
    return Device.model_construct(**known, **size, bandwidth_gbs=10**controls.bandwidth)


@functools.lru_cache(maxsize=1024)
def file_bytes(shape: ModelShape, mix: str) -> int:
    """Bytes of the whole file."""
    if mix in CHECKPOINTS:
        return memory.checkpoint_bytes(shape, CHECKPOINT_BITS, CHECKPOINT_GROUP, mix.lower())
    return memory.weight_bytes(shape, mix)


@functools.lru_cache(maxsize=1024)
def weights_on_gpu(shape: ModelShape, mix: str) -> int:
    """Bytes on the card: llama.cpp keeps the embedding table in RAM."""
    return memory.weight_buffers(shape, mix).gpu


def cache_bytes(run: Run, sequences: int) -> int:
    """Bytes of the cache, and of the fixed state of layers that keep none."""
    tokens = run.context * sequences
    grown = memory.kv_cache_bytes(
        run.shape, tokens, run.cache_type, run.value_type, sequences, flash_attention=run.flash_attention
    )
    return grown + memory.recurrent_state_bytes(run.shape, sequences)


def footprint_of(run: Run) -> Footprint:
    """Everything about a run that no machine changes, computed once for the whole list."""
    weights = file_bytes(run.shape, run.mix)
    on_gpu = weights if run.is_checkpoint else weights_on_gpu(run.shape, run.mix)
    conversation = cache_bytes(run, 1)
    read = conversation if run.everything else 0
    unknown = run.is_checkpoint or run.shape.is_encoder
    speed = None if unknown else speed_per_byte(run.shape, run.mix, read)
    if not run.everything:
        return Footprint(weights, weights, conversation, 0, 0, 0, speed)
    buffer = memory.compute_buffer_bytes(
        run.shape, run.context, run.flash_attention, logits_rows=run.sequences
    )
    cache = cache_bytes(run, run.sequences)
    return Footprint(weights, on_gpu, conversation, cache, buffer, memory.CUDA_CONTEXT_BYTES, speed)


def need_on(run: Footprint, device: Device) -> Need:
    """What the run needs on a machine. Several cards split the layers; each has a buffer and a runtime."""
    cards = int(device.id.partition("x-")[0]) if device.kind == "multi-gpu" else 1
    return Need(
        run.weights_on_gpu if device.is_gpu else run.weights,
        run.cache,
        cards * run.buffer,
        cards * run.runtime if device.is_gpu else 0,
    )


def outcome_on(run: Footprint, device: Device) -> Outcome:
    need = need_on(run, device)
    margin = device.usable_bytes - need.total
    return Outcome(device, need, margin, speed_on(run, device) if margin >= 0 else None)


def split_on(run: Run, footprint: Footprint, device: Device) -> memory.Offload | None:
    """The layers that fit a single card beside buffer and runtime; llama.cpp leaves the others to RAM."""
    if not device.is_gpu or device.kind == "multi-gpu" or run.is_checkpoint or not run.everything:
        return None
    return memory.layers_that_fit(
        run.shape,
        run.mix,
        device.usable_bytes - footprint.buffer - footprint.runtime,
        run.context * run.sequences,
        run.cache_type,
        run.value_type,
        run.sequences,
        run.flash_attention,
    )


def speed_on(run: Footprint, device: Device) -> SpeedBand | None:
    """Tokens per second of one conversation; None for a file that is not llama.cpp's."""
    if run.speed is None:
        return None
    low, high, bound = (device.bandwidth * part for part in (run.speed.low, run.speed.high, run.speed.bound))
    return SpeedBand(low, high, bound)


@functools.lru_cache(maxsize=1024)
def speed_per_byte(shape: ModelShape, mix: str, kv_bytes: int) -> SpeedBand:
    """The band at one byte per second: it is proportional to the bandwidth."""
    return memory.speed_band(shape, mix, 1.0, kv_bytes)


def view(result: Result) -> View:
    controls, run, chosen = result.controls, result.run, result.chosen
    name = _name(controls, run.shape)
    return View(
        readouts=(
            Readout("total", result.total, *_split(_size(result.total)), accent=True),
            Readout("margin", result.margin, *_split(_size(chosen.margin))),
            Readout.of(result, "tokens_per_second", lambda _: _band_text(chosen.speed)),
            Readout("weights", result.weights, *_split(numbers.gigabytes(result.weights)), accent=True),
            Readout.of(result, "bits_per_weight", lambda v: numbers.fixed(v, 2)),
            Readout("parameters", result.parameters, *_split(_count_text(result.parameters))),
            Readout.of(result, "against_f16", numbers.times),
            Readout.of(result, "gpu_layers", lambda v: v.replace("/", " / ") or "–"),
        ),
        drawing=_drawing(result),
        plots={"memory": PlotScales(_bytes_scale(chosen))},
        description=_description(name, result),
        table=_table(result.outcomes, chosen),
        formulas=_formulas(result),
        ran=_functions(run),
        notes=_notes(name, result),
        source=_source(run),
        limits=_limits(controls, run, chosen.device),
    )


def _source(run: Run) -> Sentence:
    """Whose sizes these are, and for how long a conversation."""
    if not run.everything:
        return Sentence("source_weights")
    several = run.sequences > 1
    slots = {"context": numbers.integer(run.context), "count": str(run.sequences)}
    return Sentence("source_several" if several else "source", **slots)


def _limits(controls: Controls, run: Run, device: Device) -> dict[str, Limit]:
    """What is to be said beside a control: of a search without an answer, of a file for other machines."""
    limits = {}
    if controls.find.strip():
        count = len(found(controls.find))
        key = "found_none" if not count else "found_more" if count > len(TILES) else ""
        if key:
            slots = {"count": str(count), "most": str(len(TILES))}
            limits["find"] = Limit(Sentence(key, **slots), options=())
    unwritable = tuple(mix for mix in MIXES if rows_refused(run.shape, mix))
    if unwritable:
        said = {"mixes": ", ".join(unwritable), "columns": str(rows_refused(run.shape, unwritable[0]))}
        limits["mix"] = Limit(Sentence("unwritable", **said), options=unwritable)
    if run.is_checkpoint and not device.is_gpu and device.id != OWN:
        limits["mix"] = Limit(Sentence("checkpoint_wants_gpu", mix=run.mix), options=())
    return limits


def found(text: str) -> list[str]:
    """The machines in whose names every word of the text occurs; spaces and signs in a name do not count."""
    words = [_plain(word) for word in readable(text)[0].split()]
    return [
        device.id
        for device in sources.hardware()
        if all(word in _plain(f"{gettext(device.name)} {device.memory_gb:g} GB") for word in words)
    ]


def _plain(text: str) -> str:
    """Letters and digits alone, small ones."""
    return "".join(filter(str.isalnum, text.casefold().replace(numbers.TIMES, "x")))


def _name(controls: Controls, shape: ModelShape) -> str:
    """What the model is called."""
    count = _count_text(parameters_of(shape))
    if own_config(controls):
        return f"{shape.model_type}\N{NO-BREAK SPACE}{count}"
    return f"≈{count}" if controls.source == "size" else PRESETS[controls.model].name


def _older_buffer(run: Run) -> int:
    """The compute buffer of llama.cpp before pull request 23861, which reserved logits for every token."""
    return memory.compute_buffer_bytes(run.shape, run.context, run.flash_attention, logits_rows=UBATCH)


def _rooms(run: Footprint, chosen: Outcome) -> int:
    """Conversations of the run's context that the machine holds at once."""
    return max(0, (chosen.margin + chosen.need.cache) // max(1, run.conversation))


def _split(printed: str) -> tuple[str, str]:
    """A printed number and its unit, apart."""
    text, _, unit = printed.partition(numbers.NARROW_SPACE)
    return text, unit


def _size(size: int) -> str:
    """Bytes in GB with one decimal, which stays in a drag; small ones as finely as they need."""
    if abs(size) >= 0.995e9:
        return numbers.gigabytes(size, 1 if abs(size) < 999.5e9 else 0)
    if abs(size) >= 9.95e6:
        return numbers.gigabytes(size, 2)
    return numbers.with_unit(numbers.significant(size / 1e6, 2), "MB")


def _band_text(speed: SpeedBand | None) -> str:
    return f"{_speed_text(speed.low)}–{_speed_text(speed.high)}" if speed else "–"


def _speed_text(tokens_per_second: float) -> str:
    """Two figures and zeros: the band is not known more closely."""
    return numbers.significant(float(f"{tokens_per_second:.1e}"), 2)


def _bytes_scale(chosen: Outcome) -> Scale:
    """As wide as the machine's memory, or as what is needed where that is more."""
    device = chosen.device
    return Scale((0.0, 1.004 * max(device.memory_bytes, device.usable_bytes, chosen.need.total)))


def _drawing(result: Result) -> dict[str, Any]:
    chosen, need, device = result.chosen, result.chosen.need, result.chosen.device
    usable, x = device.usable_bytes, _bytes_scale(chosen)
    return {
        "segments": [{"name": name, "size": size, "text": _size(size)} for name, size in need.parts.items()],
        "held": _stacked(need, x, 0, usable),
        "beyond": _stacked(need, x, usable, need.total),
        "box": x.percent(max(device.memory_bytes, usable)),
        "kept": _kept(chosen, x),
        "labels": _labels(result, x),
        "edge": {"x": x.percent(usable), "left": x(usable) > EDGE_LABEL, "usable": _size(usable)},
        "gap": _gap(x, need.total, usable),
        "verdict": chosen.verdict,
        "margin": _size(abs(chosen.margin)),
        "rule": {"says": _rule(device), "doubt": _doubt(device)},
        "everything": result.run.everything,
        "tiles": _tiles(result),
        "all": len(result.outcomes) - 1,
        "groups": [
            _group(kind, list(members), chosen)
            for kind, members in groupby(result.outcomes, lambda outcome: outcome.device.kind)
        ],
    }


def _labels(result: Result, x: Scale) -> dict[str, dict[str, str] | None]:
    """The labels that have room: of the weights, inside their bar, and of the whole memory, at its end."""
    chosen, weights = result.chosen, result.chosen.need.weights
    usable, whole = chosen.device.usable_bytes, chosen.device.memory_bytes
    label: dict[str, dict[str, str] | None] = {"weights": None, "memory": None}
    beyond = whole if x(weights) - x(whole) >= WEIGHTS_LABEL else usable
    if x(min(weights, usable)) >= WEIGHTS_LABEL:
        label["weights"] = {"x": x.percent(0), "class": "within", "text": _size(weights)}
    elif x(weights) - x(beyond) >= WEIGHTS_LABEL:
        label["weights"] = {"x": x.percent(beyond), "class": "outside", "text": _size(weights)}
    free_from = x(usable) + (EDGE_LABEL if x(usable) <= EDGE_LABEL else 0)
    at = {"x": x.percent(whole), "text": _size(whole)}
    if whole > usable and x(whole) - free_from >= MEMORY_LABEL:
        label["memory"] = {**at, "anchor": "end"}
    elif whole > usable and free_from <= x(whole) <= 100 - MEMORY_LABEL:
        label["memory"] = {**at, "anchor": "start"}
    return label


def _kept(chosen: Outcome, x: Scale) -> dict[str, Any]:
    """The memory that the system keeps, as far as nothing covers it; `middle`, where a label has room."""
    usable, whole = chosen.device.usable_bytes, chosen.device.memory_bytes
    free_from = max(usable, chosen.need.total)
    roomy = x(whole) - x(free_from) >= KEPT_LABEL
    return {
        "x": x.percent(free_from),
        "width": x.percent(max(whole - free_from, 0)),
        "middle": x.percent((whole + free_from) / 2) if roomy else "",
    }


def _rule(device: Device) -> Sentence:
    """Why a machine lets a model use so much of its memory."""
    whole, usable = device.memory_bytes, device.usable_bytes
    kind = "card" if device.is_gpu else device.kind if device.kind in ("unified", OWN) else "ram"
    return Sentence(
        f"rule_{kind}",
        usable=numbers.fixed(usable / GIB, 1),
        memory=numbers.with_unit(numbers.shortest(whole / GIB), "GiB"),
        share=numbers.percent(usable / whole, 0),
        kept=numbers.gibibytes(whole - usable, 1),
    )


def _doubt(device: Device) -> str:
    return "assumed" if device.bandwidth_assumed else "weak" if device.weak_source else ""


def _tiles(result: Result) -> list[dict[str, Any]]:
    """The machines that are looked for, or the usual ones; then the chosen one if it is another, and the
    reader's own."""
    asked = result.controls.find.strip()
    shown = (found(asked)[: len(TILES)] if asked else []) or list(TILES)
    if result.controls.device not in (*shown, OWN):
        shown.append(result.controls.device)
    outcomes = {outcome.device.id: outcome for outcome in result.outcomes}
    return [_tile(outcomes[name], outcomes[name] is result.chosen) for name in (*shown, OWN)]


def _tile(outcome: Outcome, chosen: bool) -> dict[str, Any]:
    device = outcome.device
    return {
        "id": device.id,
        "name": _label(device),
        "size": numbers.with_unit(numbers.shortest(device.memory_gb), "GiB" if device.id == OWN else "GB"),
        "verdict": outcome.verdict,
        "level": f"{min(100, 100 * outcome.need.total / device.usable_bytes):.3g}%",
        "chosen": chosen,
    }


def _label(device: Device) -> str:
    """The short name as a label: with a capital letter, but for a brand that is written without."""
    short = gettext(device.short)
    return short if device.name.startswith(device.short[:1]) else short[:1].upper() + short[1:]


def _stacked(need: Need, x: Scale, low: int, high: int) -> list[dict[str, str]]:
    """The parts behind one another, as far as they lie between two sizes: within the machine, or beyond."""
    drawn, start = [], 0
    for name, size in need.parts.items():
        left, right = max(start, low), min(start + size, high)
        if right > left:
            drawn.append({"name": name, "x": x.percent(left), "width": x.percent(right - left)})
        start += size
    return drawn


def _gap(x: Scale, total: int, usable: int) -> dict[str, str]:
    """What is left or what sticks out, measured off between the bar's end and the machine's edge."""
    left, right = sorted((total, usable))
    middle = (left + right) / 2
    anchor = "start" if x(middle) < GAP_LABEL else "end" if x(middle) > 100 - GAP_LABEL else "middle"
    at = {"start": left, "middle": middle, "end": right}[anchor]
    return {"left": x.percent(left), "right": x.percent(right), "at": x.percent(at), "anchor": anchor}


def _group(kind: str, members: list[Outcome], chosen: Outcome) -> dict[str, Any]:
    rows = [
        {
            "id": outcome.device.id,
            "name": gettext(outcome.device.name),
            "size": _marked_size(outcome.device),
            "own": numbers.gibibytes(outcome.device.usable_bytes),
            "assumed": outcome.device.bandwidth_assumed,
            "weak": outcome.device.weak_source and not outcome.device.bandwidth_assumed,
            "chosen": outcome is chosen,
            "verdict": outcome.verdict,
            "margin": numbers.signed(outcome.margin / 1e9, 1),
        }
        for outcome in members
    ]
    return {"kind": kind, "rows": rows, "fit": sum(row["verdict"] != "over" for row in rows), "of": len(rows)}


def _marked_size(device: Device) -> str:
    """How much memory the machine is sold with, where its name does not say."""
    if not device.name or "GB" in device.name:
        return ""
    return numbers.gigabytes(device.memory_bytes * 1e9 / GIB, 0)


def _description(name: str, result: Result) -> tuple[Sentence, ...]:
    controls, run, chosen = result.controls, result.run, result.chosen
    need, speed, device = chosen.need, chosen.speed, chosen.device
    machines = [outcome for outcome in result.outcomes if outcome.device.id != OWN]
    fitting = [outcome for outcome in machines if outcome.verdict != "over"]
    finding = chosen.verdict if run.everything else f"{chosen.verdict}_weights"
    if run.refused:
        finding = "refused_over" if chosen.margin < 0 else "refused_fits"
    sentences = [
        Sentence(
            finding,
            total=_size(need.total),
            model=name,
            asked=controls.mix,
            mix=run.mix,
            machine=gettext(device.short or N_("machine")),
            usable=_size(device.usable_bytes),
            margin=_size(abs(chosen.margin)),
        )
    ]
    if run.refused:
        block = BLOCK_SIZES[mixes.MIXES[controls.mix].default][0]
        slots = {"columns": str(run.refused), "block": str(block)}
        sentences.append(Sentence("refused", asked=controls.mix, **slots))
    if result.split and chosen.margin < 0:
        sentences.append(_split_says(result.split))
    if run.everything:
        printed = {name: _size(size) for name, size in need.parts.items()}
        sentences.append(Sentence("parts_card" if need.runtime else "parts", **printed))
    counted = {"total": need.total, "usable": device.usable_bytes, "margin": abs(chosen.margin)}
    printed = {name: numbers.gibibytes(size) for name, size in counted.items()}
    sentences.append(Sentence("short_in_gib" if chosen.margin < 0 else "in_gib", **printed))
    sentences.append(_rule(device))
    if speed:
        sentences.append(
            Sentence(
                "speed",
                bandwidth=_bandwidth_text(device),
                bound=_speed_text(speed.bound),
            )
        )
        if (controls.source, controls.model, run.mix, device.id) == MEASURED:
            sentences.append(Sentence("measured"))
    elif chosen.verdict != "over":
        sentences.append(
            Sentence("writes_nothing") if run.shape.is_encoder else Sentence("no_band", mix=run.mix)
        )
    if run.everything:
        sentences.append(_serves(result))
    sentences.append(Sentence("ladder", fitting=str(len(fitting)), all=str(len(machines))))
    sentences.extend(_born(name, run))
    sentences.extend(_same_size(result))
    return tuple(sentences)


def _serves(result: Result) -> Sentence:
    if not result.footprint.conversation:
        return Sentence("keeps_nothing")
    rooms = _rooms(result.footprint, result.chosen)
    key = "serves" if rooms > 1 else "serves_one" if rooms else "serves_none"
    return Sentence(key, rooms=numbers.integer(rooms), context=numbers.integer(result.run.context))


def _split_says(split: memory.Offload) -> Sentence:
    """Which layers go to the card and how much to RAM."""
    ram = _size(split.cpu_weights + split.cpu_cache)
    key = "split" if split.layers else "split_none"
    return Sentence(key, layers=str(split.layers), of=str(split.of), ram=ram)


def _born(name: str, run: Run) -> Iterator[Sentence]:
    """Why all files of a model have about one size: its experts were published in few bits."""
    native = memory.NATIVE_TYPES.get(run.shape.model_type)
    if native is None or run.is_checkpoint:
        return
    tensors = run.shape.tensors()
    share = sum(tensor.elements for tensor in tensors if tensor.fixed_type == native)
    sizes = {mix: file_bytes(run.shape, mix) for mix in ("F16", "Q8_0", "Q4_K_M", "Q2_K")}
    smallest = min(sizes, key=lambda mix: sizes[mix])
    yield Sentence(
        "born",
        model=name,
        type=native,
        share=numbers.percent(share / sum(tensor.elements for tensor in tensors), 0),
        mix=smallest,
        low=numbers.gigabytes(sizes[smallest]),
        high=numbers.gigabytes(sizes["F16"]),
    )


def _same_size(result: Result) -> Iterator[Sentence]:
    """What else of its family the same bytes hold: a larger model in fewer bits, a smaller one in more."""
    controls, run = result.controls, result.run
    if controls.source != "preset" or run.is_checkpoint or run.refused or run.shape.is_encoder:
        return
    others = [PRESETS[other] for other in FAMILIES[PRESETS[controls.model].family]]
    others = [other for other in others if other.kind == PRESETS[controls.model].kind]
    others.sort(key=lambda other: other.total_params)
    said: dict[str, str] = {}
    for side, ordered in (("larger", others), ("smaller", others[::-1])):
        least, most = (1.3, math.inf) if side == "larger" else (0.0, 1 / 1.3)
        near = next((one for one in ordered if least < one.total_params / result.parameters < most), None)
        mix = near and _most_bits(as_published(near.shape), result.weights)
        if near and mix:
            said |= {side: near.name, f"{side}_mix": mix}
    if not said:
        return
    key = "both" if len(said) == 4 else "larger" if "larger" in said else "smaller"
    bits = _base_bits(said["larger_mix"]) if "larger" in said else result.bits_per_weight
    side = "above" if bits >= LEAST_BITS else "below"
    yield Sentence(f"same_{key}_{side}", size=_size(result.weights), mix=run.mix, **said)


def _base_bits(mix: str) -> float:
    """Bits of a weight in the type that most tensors of a mix have."""
    weights, size = BLOCK_SIZES[mixes.MIXES[mix].default]
    return 8 * size / weights


def _most_bits(shape: ModelShape, size: int) -> str | None:
    """The first of the usual types in which a model takes at most so many bytes."""
    return next((mix for mix in USUAL if file_bytes(shape, mix) <= size), None)


def _bandwidth_text(device: Device) -> str:
    return numbers.with_unit(numbers.significant(device.bandwidth / 1e9), "GB/s")


def _notes(name: str, result: Result) -> tuple[Sentence, ...]:
    controls, run, footprint, chosen = result.controls, result.run, result.footprint, result.chosen.device
    notes = []
    if run.everything and int(controls.context) > run.context:
        notes.append(Sentence("clamped", model=name, context=numbers.integer(run.context)))
    if run.everything and run.value_type != run.cache_type:
        notes.append(Sentence("value_refused", cache_type=run.cache_type))
    if run.everything and run.is_checkpoint:
        notes.append(Sentence("checkpoint_cache", mix=run.mix))
    elif run.everything and not run.shape.is_encoder:
        notes.append(Sentence("buffer_before", size=numbers.gibibytes(_older_buffer(run))))
    if run.everything and not run.is_checkpoint and chosen.is_gpu and not run.shape.tied_embeddings:
        table = footprint.weights - footprint.weights_on_gpu
        notes.append(Sentence("embedding_in_ram", size=numbers.gibibytes(table)))
    if result.split and result.chosen.margin < 0 and run.shape.experts:
        notes.append(Sentence("experts_first"))
    if chosen.bandwidth_assumed:
        notes.append(Sentence("assumed", bandwidth=_bandwidth_text(chosen)))
    if controls.source == "size":
        notes.append(Sentence("generic"))
    elif own_config(controls):
        known = run.shape.model_type in PLAIN
        notes.append(Sentence("own_config" if known else "own_config_plain", model_type=run.shape.model_type))
        notes.extend(_beside(own_model.beside_of(own_config(controls))))
    else:
        if controls.source == "config":
            notes.append(Sentence("no_config", model=name))
        notes.append(Sentence("from_config", model=name, source=PRESETS[controls.model].source))
    if chosen.id != OWN:
        said = {"device": gettext(chosen.name), "source": gettext(chosen.source)}
        day = current_language().date(chosen.read) if chosen.read else ""
        notes.append(Sentence("from_hardware", **said, day=day))
        if chosen.usable_basis:
            notes.append(Sentence("usable_basis", basis=gettext(chosen.usable_basis)))
        if chosen.weak_source and not chosen.bandwidth_assumed:  # of which another note has told
            notes.append(Sentence("weak_source", **said))
    return tuple(notes)


def _beside(beside: own_model.Beside) -> Iterator[Sentence]:
    """What of a reader's model is not counted, and what its file does not say."""
    if beside.assumed:
        listed = ", ".join(
            f"{name}\N{NO-BREAK SPACE}{numbers.integer(size)}" for name, size in beside.assumed
        )
        yield Sentence("left_to_class", fields=listed)
    if beside.towers is None:
        yield Sentence("towers_unknown")
    elif beside.towers:
        count = _count_text(beside.towers)
        yield Sentence("towers", count=count, size=numbers.gigabytes(2 * beside.towers))


def _table(outcomes: Sequence[Outcome], chosen: Outcome) -> Table:
    """Every machine: what it has, what the run needs there, what is left, how fast it may go."""
    rows = tuple(
        (
            gettext(outcome.device.name or N_("your machine")),
            outcome.device.usable_bytes / GIB,
            *(size / GIB for size in outcome.need.parts.values()),
            outcome.need.total / GIB,
            outcome.margin / GIB,
            outcome.device.bandwidth / 1e9,
            outcome.speed.low if outcome.speed else None,
            outcome.speed.high if outcome.speed else None,
        )
        for outcome in outcomes
    )
    gib: Callable[[float], str] = functools.partial(numbers.fixed, places=2)
    columns = (
        Column("machine"),
        *(Column(name, gib) for name in ("usable", "weights", "cache", "buffer", "runtime", "total")),
        Column("margin", lambda v: numbers.signed(v, 2)),
        Column("bandwidth", lambda v: numbers.significant(v, 3)),
        Column("low", _speed_text),
        Column("high", _speed_text),
    )
    return Table(columns, rows, frozenset({outcomes.index(chosen)}))


def _formulas(result: Result) -> tuple[str, ...]:
    run, chosen, speed = result.run, result.chosen, result.chosen.speed
    count, bits = numbers.integer(result.parameters), numbers.fixed(result.bits_per_weight, 3)
    formulas = [
        r"\mathrm{weights} = \sum_{\mathrm{tensors}} \frac{n}{n_\mathrm{block}}\, b_\mathrm{block}"
        rf" = \frac{{{tex(count)} \times {bits}}}{{8}}"
        rf" = {tex(numbers.significant(result.weights / 1e9))} \times 10^9 \;\mathrm{{bytes}}"
    ]
    if run.everything:
        per_token = memory.kv_bytes_per_token(run.shape, run.cache_type, run.value_type)
        formulas.append(
            r"\mathrm{cache} = n_\mathrm{seq}\, n_\mathrm{tokens} \sum_{\mathrm{layers}} (w_K B_K + w_V B_V)"
            rf"{_state_formula(run)} = {tex(numbers.gibibytes(chosen.need.cache))}, \quad"
            rf" {tex(numbers.significant(per_token / memory.KIB))} \;\mathrm{{KiB\ a\ token}}"
        )
        layer = (
            r"4u\,(3\, d + n_q + 3\, n_\mathrm{ff}) + 2u\, n_\mathrm{tokens}"
            if run.flash_attention
            else r"4u\,(n_\mathrm{tokens}(n_\mathrm{heads} + 1) + 4\, d)"
        )
        formulas.append(
            rf"\mathrm{{buffer}} = \max\big({layer},\; \mathrm{{logits}}\big), \quad u = 512,"
            rf" \quad d = {run.shape.hidden_size}"
        )
    if speed:
        low, high = map(numbers.shortest, memory.SPEED_SHARE)
        formulas.append(
            r"\mathrm{tokens/s} \le \frac{\mathrm{bandwidth}}{\mathrm{bytes\ read\ for\ a\ token}} = "
            rf"\frac{{{tex(numbers.significant(chosen.device.bandwidth / 1e9))}}}"
            rf"{{{tex(numbers.significant(chosen.device.bandwidth / speed.bound / 1e9))}}}"
            rf" = {tex(numbers.significant(speed.bound, 2))}, \quad"
            rf" \times {low} \ldots {high}"
        )
    return tuple(formulas)


def _state_formula(run: Run) -> str:
    """What recurrent layers add: a state of fixed size for each sequence."""
    state = memory.recurrent_state_bytes(run.shape)
    if not state:
        return ""
    return (
        rf" + n_\mathrm{{seq}} \times {tex(numbers.significant(state / memory.MIB))} \;\mathrm{{MiB\ state}}"
    )


def _functions(run: Run) -> tuple[Callable[..., Any], ...]:
    """The functions of the library that computed this state."""
    sizes = memory.checkpoint_bytes if run.is_checkpoint else memory.weight_bytes
    state = (memory.recurrent_state_bytes,) if memory.recurrent_state_bytes(run.shape) else ()
    whole = (memory.kv_cache, *state, memory.compute_buffer_bytes) if run.everything else ()
    speed = () if run.is_checkpoint or run.shape.is_encoder else (memory.speed_band,)
    return (sizes, *whole, *speed)


FIGURE = Figure(
    *("fit", "fig-06", "FIG.06", Controls, compute, view),
    shows="model",
    from_file=own_model.controls_of,
)
