"""FIG.06D: some layers on the card and the rest in RAM (`--n-gpu-layers`): what lies where, at which price.

Every token passes through all layers, so the time that it takes at least is the sum of both parts: bytes on
the card over the card's bandwidth, and bytes in RAM over that of the RAM.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice, slider
from lessons.kit.figure import Figure
from lessons.kit.language import gettext
from lessons.kit.mathml import tex
from lessons.kit.scales import Scale
from lessons.kit.view import Column, PlotScales, Readout, Sentence, Table, View
from lessons.quantization import sources
from lessons.quantization.figures.fit import USUAL
from quant_core import memory

MOST_LAYERS = 81
"""Of the models here, the output counted as one."""

MODELS = {
    preset.id: preset.name
    for preset in sources.models()
    if preset.kind == "dense" and preset.shape.n_layers < MOST_LAYERS and preset.total_params > 2.5e9
}
CARDS = {device.id: device.name for device in sources.hardware() if device.kind == "gpu"}
RAM = {"laptop-16-ddr4": "DDR4-3200", "laptop-32-ddr5": "DDR5-5600", "laptop-32-lpddr5x": "LPDDR5X-7500"}
"""Machines of the list, for the bandwidth of their memory."""

CONTEXTS = ("4096", "8192", "16384", "32768")


class Controls(FigureControls):
    """How many layers go to the card, the card, the format; and the model, its context and the RAM."""

    layers: int = slider(61, low=0, high=MOST_LAYERS)
    card: str = choice("rtx-5090", CARDS, labels=CARDS)
    mix: str = choice("Q4_K_M", USUAL)
    model: str = choice("llama-3.1-70b", MODELS, labels=MODELS)
    ram: str = choice("laptop-32-ddr5", RAM, style="segments", labels=RAM)
    context: str = choice("8192", CONTEXTS, style="segments")


@dataclass(frozen=True, slots=True)
class Result:
    """What lies where, and how long a token takes at least; the read-outs have their names.

    Sizes are bytes, times seconds. `taken` is all that the card has to hold, `in_ram` weights and cache that
    stay outside; `fit_layers` is the most that fits; `slower` compares with all layers on the card, whether
    they fit or not.
    """

    controls: Controls
    split: memory.Offload
    usable: int
    buffer: int
    card_time: float
    ram_time: float
    taken: int
    in_ram: int
    tokens_per_second: float
    fit_layers: int
    ram_share: float
    slower: float


def compute(controls: Controls) -> Result:
    """Split the model at a layer, and add the times of both parts."""
    shape, context = sources.model(controls.model).shape, int(controls.context)
    card, ram = device(controls.card), device(controls.ram)
    split = memory.offload(shape, controls.mix, controls.layers, context)
    buffer = memory.compute_buffer_bytes(shape, context) + memory.CUDA_CONTEXT_BYTES
    room = card.usable_bytes - buffer
    # What a token multiplies by: all weights but the table in which it looks up its own row.
    weights = memory.weight_buffers(shape, controls.mix).gpu
    cache = split.gpu_cache + split.cpu_cache
    card_time = split.gpu / card.bandwidth
    ram_time = (weights - split.gpu_weights + split.cpu_cache) / ram.bandwidth
    return Result(
        controls,
        split,
        card.usable_bytes,
        buffer,
        card_time,
        ram_time,
        taken=split.gpu + (buffer if split.layers else 0),
        in_ram=split.cpu_weights + split.cpu_cache,
        tokens_per_second=1 / (card_time + ram_time),
        fit_layers=memory.layers_that_fit(shape, controls.mix, room, context).layers,
        ram_share=ram_time / (card_time + ram_time),
        slower=(card_time + ram_time) / ((weights + cache) / card.bandwidth),
    )


@functools.cache
def device(name: str) -> sources.Device:
    """A machine of the list."""
    return next(one for one in sources.hardware() if one.id == name)


def view(result: Result) -> View:
    controls, split = result.controls, result.split
    return View(
        readouts=(
            Readout.of(result, "taken", _gigabytes, "GB", accent=True),
            Readout.of(result, "in_ram", _gigabytes, "GB"),
            Readout.of(result, "tokens_per_second", lambda v: "–" if _is_over(result) else _rate(v)),
            Readout.of(result, "fit_layers", str, f"/ {split.of}"),
            Readout.of(result, "ram_share", lambda v: numbers.fixed(100 * v, 0), "%"),
            Readout.of(result, "slower", lambda v: numbers.times(v, 1)),
        ),
        drawing=_drawing(result),
        plots={"time": PlotScales(_time_scale(result))},
        description=tuple(_description(result)),
        table=_table(result),
        formulas=_formulas(result),
        ran=(memory.offload, memory.layers_that_fit),
        notes=tuple(_notes(result)),
        source=Sentence("source", context=numbers.integer(int(controls.context))),
    )


def _is_over(result: Result) -> bool:
    return result.taken > result.usable


def _gigabytes(size: float) -> str:
    return numbers.fixed(size / 1e9, 1)


def _rate(tokens: float) -> str:
    """Two figures: it is a bound."""
    return numbers.significant(float(f"{tokens:.1e}"), 2)


def _milliseconds(seconds: float) -> str:
    return numbers.with_unit(numbers.significant(1e3 * seconds, 2), "ms")


def _time_scale(result: Result) -> Scale:
    return Scale((0.0, 1.02 * (result.card_time + result.ram_time)))


def _drawing(result: Result) -> dict[str, Any]:
    split, usable = result.split, result.usable
    cells, memories = Scale((0.0, split.of)), Scale((0.0, 1.02 * max(usable, result.taken, result.in_ram)))
    time = _time_scale(result)
    return {
        "cells": [
            {"x": cells.percent(i), "width": f"{80 / split.of:.3f}%", "card": i >= split.of - split.layers}
            for i in range(split.of)
        ],
        "split": cells.percent(split.of - split.layers),
        "taken": memories.percent(min(result.taken, usable)),
        "beyond": memories.percent(max(result.taken - usable, 0)),
        "usable": memories.percent(usable),
        "usable_text": numbers.gigabytes(usable, 1),
        "in_ram": memories.percent(result.in_ram),
        "card_time": time.percent(result.card_time),
        "ram_time": time.percent(result.ram_time),
        "texts": {
            "taken": numbers.gigabytes(result.taken, 1),
            "in_ram": numbers.gigabytes(result.in_ram, 1),
            "card_time": _milliseconds(result.card_time),
            "ram_time": _milliseconds(result.ram_time),
        },
        "layers": str(split.layers),
        "rest": str(split.of - split.layers),
        "last": str(split.of - 2),
        "over": _is_over(result),
    }


def _description(result: Result) -> Iterator[Sentence]:
    controls, split = result.controls, result.split
    said = {
        "layers": str(split.layers),
        "of": str(split.of),
        "rest": str(split.of - split.layers),
        "card": gettext(device(controls.card).short or device(controls.card).name),
        "gb": numbers.gigabytes(result.taken, 1),
        "ram": numbers.gigabytes(result.in_ram, 1),
        "usable": numbers.gigabytes(result.usable, 1),
        "share": numbers.percent(result.ram_share, 0),
    }
    if _is_over(result):
        yield Sentence("over", over=numbers.gigabytes(result.taken - result.usable, 1), **said)
    elif split.layers == split.of:
        yield Sentence("all", time=_milliseconds(result.card_time), **said)
    elif split.layers == 0:
        yield Sentence("none", time=_milliseconds(result.ram_time), **said)
    else:
        yield Sentence("some", **said)
    yield Sentence("fits", **said)
    if _is_over(result) or split.layers == split.of:
        return
    if split.layers:
        yield Sentence(
            "times", **{name: _drawing(result)["texts"][name] for name in ("card_time", "ram_time")}
        )
    yield Sentence("slower")


def _notes(result: Result) -> Iterator[Sentence]:
    controls, split = result.controls, result.split
    if controls.layers > split.of:
        yield Sentence("clamped", of=str(split.of), model=MODELS[controls.model])
    yield Sentence("order")
    card, ram = device(controls.card), device(controls.ram)
    yield Sentence(
        "bandwidths",
        card=gettext(card.short or card.name),
        card_rate=_bandwidth(card),
        ram=RAM[controls.ram],
        ram_rate=_bandwidth(ram),
    )
    yield Sentence("bound")


def _bandwidth(machine: sources.Device) -> str:
    return numbers.with_unit(numbers.significant(machine.bandwidth / 1e9), "GB/s")


def _table(result: Result) -> Table:
    """The part on the card and the part in RAM."""
    split = result.split
    gigabytes = functools.partial(numbers.fixed, places=2)
    return Table(
        (
            Column("where"),
            Column("layers", numbers.integer),
            Column("weights", gigabytes),
            Column("cache", gigabytes),
            Column("buffer", gigabytes),
            Column("time", lambda v: numbers.significant(v, 3)),
        ),
        (
            (
                gettext(device(result.controls.card).name),
                split.layers,
                split.gpu_weights / 1e9,
                split.gpu_cache / 1e9,
                (result.buffer if split.layers else 0) / 1e9,
                1e3 * result.card_time,
            ),
            (
                RAM[result.controls.ram],
                split.of - split.layers,
                split.cpu_weights / 1e9,
                split.cpu_cache / 1e9,
                None,
                1e3 * result.ram_time,
            ),
        ),
        frozenset({0}),
    )


def _formulas(result: Result) -> tuple[str, ...]:
    card, ram = device(result.controls.card), device(result.controls.ram)
    on_card, in_ram = result.card_time * card.bandwidth / 1e9, result.ram_time * ram.bandwidth / 1e9
    return (
        r"t = \frac{\mathrm{bytes\ on\ the\ card}}{\mathrm{its\ bandwidth}}"
        r" + \frac{\mathrm{bytes\ in\ RAM}}{\mathrm{its\ bandwidth}} = "
        rf"\frac{{{tex(numbers.significant(on_card))}}}{{{tex(numbers.significant(card.bandwidth / 1e9))}}}"
        rf" + \frac{{{tex(numbers.significant(in_ram))}}}{{{tex(numbers.significant(ram.bandwidth / 1e9))}}}"
        rf" = {tex(numbers.significant(result.card_time + result.ram_time))} \;\mathrm{{s}}",
    )


FIGURE = Figure("offload", "fig-06d", "FIG.06D", Controls, compute, view, shows="model")
