"""FIG.08: which format to take, by the rules of `data/chooser.json` and the memory rule of FIG.06."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice
from lessons.kit.figure import Figure
from lessons.kit.language import current_language, gettext
from lessons.kit.view import Column, Readout, Sentence, Table, View
from lessons.quantization import sources
from lessons.quantization.figures import fit
from lessons.quantization.sources import ChooserRule
from quant_core import memory
from quant_core.memory import ModelShape

MACHINES = {
    "rpi5-16": ("small", ""),
    "laptop-32-ddr5": ("laptop", ""),
    "mac-m1-max-64": ("laptop", ""),
    "rtx-3090": ("card", "Ampere"),
    "rtx-5090": ("card", "Blackwell"),
    "a100-80": ("server", "Ampere"),
    "h100-80": ("server", "Hopper"),
    "b200-180": ("server", "Blackwell"),
}
"""Machine → its group, and the generation of NVIDIA's GPU."""

MODELS = ("llama-3.1-8b", "gpt-oss-20b", "gemma-4-26b-a4b", "qwen3-32b", "llama-3.1-70b", "gpt-oss-120b")
USES = {"alone": 1, "few": 4, "many": 32}
"""Use → conversations at once."""

OWN = {"gpt-oss-20b": "MXFP4_MOE", "gpt-oss-120b": "MXFP4_MOE", "gemma-4-26b-a4b": "Q4_0"}
"""Models whose maker trained them for the four bits of a file → llama.cpp's type of that file."""

SERVED = {"NVFP4": 4.5, "FP8": 8.0, "INT8": 8.0, "INT4": 4 + 20 / 128}
"""Formats of files for GPUs → bits of each weight in a layer; everything else keeps sixteen.
NVFP4 has an 8-bit scale for 16 weights, INT4 a 16-bit scale and a zero-point for 128."""

GGUF = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
FORMATS = (*SERVED, "own", *GGUF)
FAST = 10
"""Tokens a second that the low end of the speed band reaches where more than four bits are taken."""


class Controls(FigureControls):
    device: str = choice(
        "mac-m1-max-64", MACHINES, labels={d.id: d.name for d in sources.hardware() if d.id in MACHINES}
    )
    model: str = choice("llama-3.1-70b", MODELS, labels={name: fit.PRESETS[name].name for name in MODELS})
    use: str = choice("alone", USES, style="segments")
    context: str = choice("8192", ("4096", "8192", "32768"), style="segments")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A format on the chosen machine: the rule that speaks for it here, and what it needs."""

    format: str
    outcome: fit.Outcome
    rule: ChooserRule | None

    @property
    def fits(self) -> bool:
        return self.outcome.margin >= 0

    @property
    def taken_if_first(self) -> bool:
        """Whether it fits, and where its rule asks for room and speed, has these too."""
        if self.rule is None or not self.fits:
            return False
        speed = self.outcome.speed
        return not self.rule.roomy or (
            self.outcome.verdict == "fits" and speed is not None and speed.low >= FAST
        )


@dataclass(frozen=True, slots=True)
class Result:
    """All formats on one machine, and the one to take; sizes in bytes. The read-outs have their names.

    Where none can be taken, `format` is "" and the sizes are those of the smallest that a rule allows.
    """

    controls: Controls
    candidates: tuple[Candidate, ...]
    taken: Candidate | None
    shown: Candidate | None
    format: str
    total: int
    margin: int
    bits_per_weight: float


def compute(controls: Controls) -> Result:
    """Go through the rules in their order, and take the first format that fits."""
    candidates = candidates_of(controls)
    allowed = [each for rule in sources.chooser_rules() for each in candidates if each.rule is rule]
    taken = next((each for each in allowed if each.taken_if_first), None)
    shown = taken or min(allowed, key=lambda each: each.outcome.need.total, default=None)
    need = shown.outcome.need if shown else None
    parameters = fit.parameters_of(fit.PRESETS[controls.model].shape)
    return Result(
        controls,
        candidates,
        taken,
        shown,
        format=taken.format if taken else "",
        total=need.total if need else 0,
        margin=shown.outcome.margin if shown else 0,
        bits_per_weight=8 * need.weights / parameters if need else 0.0,
    )


def candidates_of(controls: Controls) -> tuple[Candidate, ...]:
    """Every format that the machine's programs run, with its need there."""
    machine = next(device for device in sources.hardware() if device.id == controls.device)
    formats = [
        name
        for name in FORMATS
        if (name != "own" or controls.model in OWN) and (name not in SERVED or is_served(controls, name))
    ]
    return tuple(
        Candidate(
            name,
            fit.outcome_on(footprint(controls.model, controls.context, controls.use, name), machine),
            rule_for(controls, name),
        )
        for name in formats
    )


def is_served(controls: Controls, format: str) -> bool:
    """Whether there are such files of the model, and the GPU multiplies in them."""
    group, generation = MACHINES[controls.device]
    if group not in ("card", "server") or born(controls.model):
        return False
    generations = {"NVFP4": ("Blackwell",), "FP8": ("Hopper", "Blackwell")}
    return generation in generations.get(format, (generation,))


def rule_for(controls: Controls, format: str) -> ChooserRule | None:
    """The first rule that advises a format here. A model with a file of its own for this use has no other."""
    group, generation = MACHINES[controls.device]
    if controls.use == "many" and group in ("small", "laptop"):
        return None
    for rule in sources.chooser_rules():
        if (
            format in rule.formats
            and controls.use in rule.uses
            and group in rule.groups
            and (not rule.generations or generation in rule.generations)
            and (not rule.models or controls.model in rule.models)
        ):
            return None if born(controls.model) and rule.id != "born" else rule
    return None


def born(model: str) -> bool:
    """Whether there is no original with more bits, as of gpt-oss."""
    return any(rule.id == "born" and model in rule.models for rule in sources.chooser_rules())


@functools.lru_cache(maxsize=1024)
def footprint(model: str, context: str, use: str, format: str) -> fit.Footprint:
    """What a run takes, by the rule of FIG.06."""
    mix = OWN[model] if format == "own" else "AWQ" if format in SERVED else format
    run = fit.run_of(fit.Controls(model=model, mix=mix, context=context, sequences=str(USES[use])))
    found = fit.footprint_of(run)
    if format not in SERVED:
        return found
    weights = served_bytes(run.shape, SERVED[format])
    return dataclasses.replace(found, weights=weights, weights_on_gpu=weights)


@functools.lru_cache(maxsize=64)
def served_bytes(shape: ModelShape, bits: float) -> int:
    """Bytes of a checkpoint: `bits` for each weight of a layer's matrices, sixteen for everything else."""
    return round(
        sum(
            tensor.elements * (16 if tensor.fixed_type or tensor.layer is None else bits)
            for tensor in shape.tensors()
        )
        / 8
    )


def machine_name(id: str) -> str:
    """What a machine is called in a sentence."""
    return gettext(next(device.short for device in sources.hardware() if device.id == id))


def view(result: Result) -> View:
    shown = result.shown
    return View(
        readouts=(
            Readout("format", result.format, _name(result.controls, result.format) or "–", accent=True),
            Readout("total", result.total, numbers.gigabytes(result.total) if shown else "–"),
            Readout("margin", result.margin, _signed(result.margin) if shown else "–"),
            Readout(
                "bits_per_weight", result.bits_per_weight, f"{result.bits_per_weight:.2f}" if shown else "–"
            ),
        ),
        drawing=_drawing(result),
        description=(
            _finding(result),
            Sentence(
                "count",
                count=str(len(result.candidates)),
                fitting=str(sum(each.fits for each in result.candidates)),
            ),
        ),
        table=_table(result),
        formulas=(
            r"\mathrm{need} = \mathrm{weights} + n_\mathrm{seq} \cdot \mathrm{cache} + \mathrm{buffer}"
            r" + \mathrm{runtime} \le \mathrm{usable}",
        ),
        ran=(memory.weight_bytes, memory.checkpoint_bytes, memory.kv_cache, memory.compute_buffer_bytes),
        notes=tuple(_notes(result)),
        source=Sentence("source"),
    )


def _name(controls: Controls, format: str) -> str:
    if format != "own":
        return format
    return "QAT Q4_0" if OWN[controls.model] == "Q4_0" else "MXFP4"


def _signed(size: int) -> str:
    return (numbers.MINUS if size < 0 else "") + numbers.gigabytes(abs(size))


def _slots(result: Result) -> dict[str, str]:
    controls = result.controls
    device = result.candidates[0].outcome.device
    shown = result.shown
    return {
        "model": fit.PRESETS[controls.model].name,
        "machine": gettext(device.short),
        "usable": numbers.gigabytes(device.usable_bytes),
        "context": numbers.integer(int(controls.context)),
        "people": str(USES[controls.use]),
        "name": _name(controls, shown.format) if shown else "",
        "lacking": numbers.gigabytes(abs(result.margin)),
    }


def _finding(result: Result) -> Sentence:
    slots, use = _slots(result), result.controls.use
    if result.taken:
        tight = result.taken.outcome.verdict == "tight"
        return Sentence(f"take_tight_{use}" if tight else f"take_{use}", **slots)
    if result.shown is None:
        return Sentence("refuse_many", **slots)
    return Sentence("refuse_many_memory" if use == "many" else f"refuse_{use}", **slots)


def reasons(result: Result) -> tuple[Sentence, ...]:
    """The reason of the advice and its price; where there is none, what would do."""
    if result.taken is None:
        return tuple(_instead(result))
    assert result.taken.rule
    rule, slots = result.taken.rule.id, _slots(result) | _price(result)
    need = result.taken.outcome.need
    why = "int4_caches" if rule == "int4" and need.cache > need.weights else rule
    return Sentence(f"because_{why}", **slots), Sentence(f"price_{rule}", **slots)


def _price(result: Result) -> dict[str, str]:
    """What the advice costs: in bytes, and against Q4_K_M."""
    taken = result.taken
    four = next(each for each in result.candidates if each.format == "Q4_K_M")
    assert taken
    more = taken.outcome.need.weights - four.outcome.need.weights
    ratio = taken.outcome.need.weights / four.outcome.need.weights
    return {
        "more": numbers.gigabytes(max(more, 0)),
        "ratio": numbers.times(ratio),
        "weights": numbers.gigabytes(taken.outcome.need.weights),
        "caches": numbers.gigabytes(taken.outcome.need.cache),
    }


def _instead(result: Result) -> Iterator[Sentence]:
    """The largest model that runs here, the first machine that runs this one, or fewer people at once."""
    controls = result.controls
    found = [name for name in MODELS if compute(controls.model_copy(update={"model": name})).taken]
    largest = max(found, key=lambda name: fit.parameters_of(fit.PRESETS[name].shape), default=None)
    machine = next(
        (name for name in MACHINES if compute(controls.model_copy(update={"device": name})).taken), None
    )
    ending = "_alone" if controls.use == "alone" else ""
    alone = controls.use != "alone" and compute(controls.model_copy(update={"use": "alone"})).taken
    if machine:
        yield Sentence(
            f"would_machine{ending}", other=machine_name(machine), model=fit.PRESETS[controls.model].name
        )
    if largest:
        yield Sentence(f"would_model{ending}", other=fit.PRESETS[largest].name)
    if alone:
        yield Sentence("would_alone", other=_name(controls, alone.format))
    if not (machine or largest or alone):
        yield Sentence("would_none")


def _notes(result: Result) -> Iterator[Sentence]:
    rule = result.taken.rule if result.taken else None
    if rule:
        if rule.read:
            yield Sentence("rule", source=rule.source, day=current_language().date(rule.read))
        else:
            yield Sentence("rule_own", source=rule.source)
    yield Sentence("memory", **_slots(result))
    if any(each.format in SERVED for each in result.candidates):
        yield Sentence("served")


def _drawing(result: Result) -> dict[str, Any]:
    """A bar for each format, and the edge of the memory."""
    usable = result.candidates[0].outcome.device.usable_bytes
    reach = 1.05 * max(usable, *(each.outcome.need.total for each in result.candidates))
    return {
        "edge": f"{100 * usable / reach:.2f}%",
        "usable": numbers.gigabytes(usable),
        "left": usable / reach > 0.5,
        "rows": [
            {
                "id": each.format.lower(),
                "name": _name(result.controls, each.format),
                "width": f"{100 * each.outcome.need.total / reach:.2f}%",
                "size": numbers.gigabytes(each.outcome.need.total),
                "verdict": _verdict(result, each),
            }
            for each in result.candidates
        ],
        "height": 26 + 24 * len(result.candidates),
        "reasons": reasons(result),
    }


def _verdict(result: Result, each: Candidate) -> str:
    if each is result.taken:
        return "taken"
    return "fits" if each.fits else "short"


def _table(result: Result) -> Table:
    rows = tuple(
        (
            _name(result.controls, each.format),
            each.outcome.need.weights / 1e9,
            each.outcome.need.total / 1e9,
            each.outcome.margin / 1e9,
            each.outcome.speed.low if each.outcome.speed and each.format in (*GGUF, "own") else None,
            each.rule.id if each.rule else None,
        )
        for each in result.candidates
    )
    columns = (
        Column("format"),
        Column("weights", lambda v: numbers.fixed(v, 2)),
        Column("total", lambda v: numbers.fixed(v, 2)),
        Column("margin", lambda v: numbers.signed(v, 2)),
        Column("speed", lambda v: numbers.significant(v, 2)),
        Column("rule"),
    )
    taken = {result.candidates.index(result.taken)} if result.taken else set()
    return Table(columns, rows, frozenset(taken))


FIGURE = Figure("chooser", "fig-08", "FIG.08", Controls, compute, view, shows="model")
