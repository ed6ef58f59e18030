"""FIG.05F: give each group of tensors a type under a budget, and see how far the predictions move.

Every map that a reader can choose was measured (`make maps`); nothing is estimated. Greedy and knapsack know
only what each group costs alone, and add these up: the read-outs say what their maps cost as a whole.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.chart import Axis, Chart, Point, Rule, Series
from lessons.kit.controls import FigureControls, choice, slider
from lessons.kit.figure import Figure
from lessons.kit.labels import Label, LabelArea, place
from lessons.kit.language import N_, current_language, gettext
from lessons.kit.mathml import tex
from lessons.kit.scales import Scale
from lessons.kit.view import Column, Readout, Sentence, Table, View
from lessons.quantization import maps, sources
from lessons.quantization.maps import DYNAMIC, GROUPS, TYPES
from lessons.quantization.measuring import model_file
from quant_core.methods import allocation
from quant_core.methods.allocation import Option

BESIDE = ("none", "greedy", "knapsack", "best", "Q4_K_M", DYNAMIC)
LOOKS = {
    "mine": ("quantized", "circle"), "best": ("true", "circle"), "knapsack": ("method-1", "diamond"),
    "greedy": ("method-2", "square"), "Q4_K_M": ("method-3", "triangle-up"),
    DYNAMIC: ("method-4", "triangle-down"),
}  # fmt: skip
"""Role and shape of each map's mark, in the order in which maps that are the same share one."""

NAMES = {
    "mine": N_("yours"), "best": N_("best"), "knapsack": N_("knapsack"), "greedy": N_("greedy"),
}  # fmt: skip
"""What the maps are called; the others have names of their own."""

BITS_DOMAIN, BITS_TICKS = (2.4, 9.0), (3, 4, 5, 6, 7, 8)
COST_DOMAIN, COST_TICKS = (1.0, 0.0001), (1.0, 0.1, 0.01, 0.001)
"""Better is up: the axis of the divergence runs downwards."""

HEIGHT, WIDE, NARROW = 258, 400, 200
CLOSE = 0.05
"""An estimate this near to the measurement, in share, counts as the same."""


class Controls(FigureControls):
    """The budget in bits a weight, the map that is laid beside the reader's, and the type of each group."""

    budget: float = slider(5, low=3, high=7, step=0.25, unit="bits", show=lambda v: numbers.fixed(v, 2))
    beside: str = choice("none", BESIDE, labels={name: name for name in ("Q4_K_M", DYNAMIC)})
    embedding: str = choice("Q4_K", TYPES, style="drawn")
    attention: str = choice("Q4_K", TYPES, style="drawn")
    values: str = choice("Q4_K", TYPES, style="drawn")
    gate_up: str = choice("Q4_K", TYPES, style="drawn")
    down: str = choice("Q4_K", TYPES, style="drawn")


@dataclass(frozen=True, slots=True)
class TypeMap:
    """A map of types: for each group its type, or several by the number of layers that have each.

    `divergence` is measured, in nats; `estimate` is the sum of what the groups cost alone (None where a type
    was not measured alone).
    """

    types: Mapping[str, Mapping[str, int]]
    bits_per_weight: float
    divergence: float
    estimate: float | None


@dataclass(frozen=True, slots=True)
class Result:
    """The reader's map and the others within the budget; the read-outs have their names.

    Bits are of a weight, over the whole file; `left` is what the budget leaves, negative beyond it.
    Divergences are in nats. `within` counts the maps that the budget allows.
    """

    controls: Controls
    mine: TypeMap
    answers: dict[str, TypeMap]
    bits_per_weight: float
    divergence: float
    best_divergence: float
    left: float
    greedy_divergence: float
    knapsack_divergence: float
    estimate: float
    within: int


def compute(controls: Controls) -> Result:
    """Look up what the reader's map costs, and choose others: by two methods, and the best of all."""
    mine = map_of([getattr(controls, group) for group in GROUPS])
    budget = budget_bytes(controls.budget)
    options, every = priced(), every_map()
    chosen = {
        "greedy": allocation.greedy(options, budget).types,
        "knapsack": allocation.knapsack(options, budget).types,
    }
    answers = {name: map_of([types[group] for group in GROUPS]) for name, types in chosen.items()}
    fitting = np.flatnonzero(every.sizes <= budget)
    best = fitting[np.argmin(every.divergences[fitting])]
    answers["best"] = map_of(every.types[best])
    answers |= named()
    return Result(
        controls,
        mine,
        answers,
        bits_per_weight=mine.bits_per_weight,
        divergence=mine.divergence,
        best_divergence=answers["best"].divergence,
        left=controls.budget - mine.bits_per_weight,
        greedy_divergence=answers["greedy"].divergence,
        knapsack_divergence=answers["knapsack"].divergence,
        estimate=mine.estimate or 0.0,
        within=len(fitting),
    )


def budget_bytes(bits: float) -> int:
    """Bytes that a budget in bits a weight leaves for the matrices: norms are not rounded."""
    norms = maps.norm_elements()
    return int(bits * (sum(maps.elements().values()) + norms) / 8) - 4 * norms


def bits_of(size: float) -> float:
    """Bits a weight of the whole file, from the bytes of its matrices."""
    norms = maps.norm_elements()
    return 8 * (size + 4 * norms) / (sum(maps.elements().values()) + norms)


def share_of(group: str) -> float:
    """The share of a group in all weights."""
    counts = maps.elements()
    return counts[group] / (sum(counts.values()) + maps.norm_elements())


@functools.cache
def priced() -> dict[str, dict[str, Option]]:
    """What each type costs each group: bytes, and the measured divergence with all else in 16 bits."""
    alone = {(row.group, row.type): row.divergence for row in sources.measured_maps().single}
    counts = maps.elements()
    return {
        group: {kind: Option(maps.bytes_of(counts[group], kind), alone[group, kind]) for kind in TYPES}
        for group in GROUPS
    }


@dataclass(frozen=True, slots=True, eq=False)
class EveryMap:
    """All maps that give each group one type: types, bytes of the matrices, divergence and its estimate."""

    types: list[tuple[str, ...]]
    sizes: NDArray[np.int64]
    divergences: NDArray[np.float64]
    estimates: NDArray[np.float64]


@functools.cache
def every_map() -> EveryMap:
    """All of them, as they were measured."""
    options, grid = priced(), sources.measured_maps().grid
    types = list(product(TYPES, repeat=len(GROUPS)))
    picked = [[options[group][kind] for group, kind in zip(GROUPS, one, strict=True)] for one in types]
    return EveryMap(
        types,
        np.array([sum(option.bytes for option in one) for one in picked]),
        np.array([grid[maps.key_of(one)] for one in types]),
        np.array([sum(option.error for option in one) for one in picked]),
    )


def map_of(types: Sequence[str]) -> TypeMap:
    """The map that gives each group one type."""
    picked = [priced()[group][kind] for group, kind in zip(GROUPS, types, strict=True)]
    return TypeMap(
        {group: {kind: 1} for group, kind in zip(GROUPS, types, strict=True)},
        bits_of(sum(option.bytes for option in picked)),
        sources.measured_maps().grid[maps.key_of(types)],
        sum(option.error for option in picked),
    )


@functools.cache
def named() -> dict[str, TypeMap]:
    """The maps of files that people use; they keep their size, whatever the budget."""
    measured = {row.name: row.divergence for row in sources.measured_maps().named}
    sizes = {tensor.name: tensor.elements for tensor in model_file().tensors}
    found = {}
    for name, types in maps.named_maps().items():
        of_group: dict[str, dict[str, int]] = {group: {} for group in GROUPS}
        for tensor, kind in types.items():
            counts = of_group[maps.group_of(tensor)]
            counts[kind] = counts.get(kind, 0) + 1
        size = sum(maps.bytes_of(sizes[tensor], kind) for tensor, kind in types.items())
        found[name] = TypeMap(of_group, bits_of(size), measured[name], None)
    return found


def view(result: Result) -> View:
    printed = functools.partial(numbers.fixed, places=2)
    return View(
        readouts=(
            Readout.of(result, "bits_per_weight", printed, f"/ {printed(result.controls.budget)}", True),
            Readout.of(result, "divergence", _cost, accent=True),
            Readout.of(result, "best_divergence", _cost),
            Readout.of(result, "left", lambda v: numbers.signed(v, 2)),
            Readout.of(result, "greedy_divergence", _cost),
            Readout.of(result, "knapsack_divergence", _cost),
            Readout.of(result, "estimate", _cost),
            Readout.of(result, "within", numbers.integer),
        ),
        drawing=_drawing(result),
        description=tuple(_description(result)),
        table=_table(result),
        formulas=_formulas(result),
        ran=(allocation.greedy, allocation.knapsack),
        notes=tuple(_notes(result)),
        source=Sentence("source", predictions=numbers.integer(sources.measured_maps().text["predictions"])),
        chart=_chart(result),
    )


def _cost(divergence: float) -> str:
    return numbers.fixed(divergence, 4)


def _drawing(result: Result) -> dict[str, Any]:
    other = result.answers.get(result.controls.beside)
    return {
        "types": [
            {"name": kind, "bits": numbers.shortest(8 * maps.bytes_of(256, kind) / 256)} for kind in TYPES
        ],
        "rows": [
            {
                "group": group,
                "share": numbers.percent(share_of(group), 0),
                "cells": [
                    {
                        "type": kind,
                        "level": TYPES[kind],
                        "cost": _cost(option.error),
                        "chosen": getattr(result.controls, group) == kind,
                        "beside": bool(other and kind in other.types[group]),
                    }
                    for kind, option in priced()[group].items()
                ],
                "beside": _beside(other.types[group]) if other else "",
            }
            for group in GROUPS
        ],
        "beside": result.controls.beside if other else "",
    }


def _beside(types: Mapping[str, int]) -> str:
    """The types of a group in the other map, where a ring in one cell does not say it."""
    return "" if len(types) == 1 and types.keys() <= TYPES.keys() else _types_text(types)


def _types_text(types: Mapping[str, int]) -> str:
    """The type of a group, or its types with the number of layers that have each."""
    if len(types) == 1:
        return next(iter(types))
    return ", ".join(f"{count}× {kind}" for kind, count in types.items())


def _description(result: Result) -> Iterator[Sentence]:
    controls, answers = result.controls, result.answers
    budget = numbers.fixed(controls.budget, 2)
    said = {"budget": budget}
    best = answers["best"]
    if result.left < 0:
        yield Sentence("over", over=numbers.fixed(-result.left, 2), **said)
    elif result.mine.types == best.types:
        yield Sentence("is_best", **said)
    else:
        yield Sentence("finding", **said)
    yield _methods(result)
    for name in ("Q4_K_M", DYNAMIC):
        known = answers[name]
        fits = known.bits_per_weight <= controls.budget
        yield Sentence(
            "named_fits" if fits else "named_over",
            name=name,
            bits=numbers.fixed(known.bits_per_weight, 2),
            cost=_cost(known.divergence),
            budget=budget,
        )
    off = result.estimate / result.divergence - 1
    key = "sum_near" if abs(off) < CLOSE else "sum_low" if off < 0 else "sum_high"
    yield Sentence(key, off=numbers.percent(abs(off), 0))


def _methods(result: Result) -> Sentence:
    """Whether the two methods, which add up what groups cost alone, find the best map."""
    best, greedy, knapsack = (result.answers[name].types for name in ("best", "greedy", "knapsack"))
    found = {name for name, types in (("greedy", greedy), ("knapsack", knapsack)) if types == best}
    key = "both" if len(found) == 2 else next(iter(found), "neither")
    return Sentence(f"methods_{key}")


def _notes(result: Result) -> Iterator[Sentence]:
    known = sources.measured_maps()
    yield Sentence("how", windows=str(known.text["windows"]), day=current_language().date(known.made))
    off = additivity()
    yield Sentence(
        "additivity",
        half=numbers.percent(float(np.median(off)), 1),
        most=numbers.percent(float(off.max()), 0),
        count=numbers.integer(len(off)),
    )
    yield Sentence("mapped", name=DYNAMIC)


@functools.cache
def additivity() -> NDArray[np.float64]:
    """How far the sum of the groups' own divergences is from the measured one, as a share, for every map."""
    every = every_map()
    return np.abs(every.estimates / every.divergences - 1)


def _table(result: Result) -> Table:
    shown = {"mine": result.mine, **result.answers}
    columns = (
        Column("map"),
        *(Column(group) for group in GROUPS),
        Column("bits_per_weight", lambda v: numbers.fixed(v, 3)),
        Column("divergence", lambda v: numbers.significant(v, 4)),
        Column("estimate", lambda v: numbers.significant(v, 4)),
    )
    rows = tuple(
        (
            _label([name]),
            *(_types_text(one.types[group]) for group in GROUPS),
            one.bits_per_weight,
            one.divergence,
            one.estimate,
        )
        for name, one in shown.items()
    )
    return Table(columns, rows, frozenset({0}))


def _formulas(result: Result) -> tuple[str, ...]:
    return (
        r"D = \frac{1}{n} \sum_t \sum_v p_{16}(v) \ln \frac{p_{16}(v)}{p(v)}"
        rf" = {tex(_cost(result.divergence))} \;\mathrm{{nats}}",
        r"\min_{\mathrm{types}} \sum_g D_g(\mathrm{type}_g) \quad\mathrm{with}\quad"
        r" \sum_g n_g\, b(\mathrm{type}_g) \le B",
    )


# --- the plot ---------------------------------------------------------------------------------------------


@functools.cache
def _frontier() -> tuple[Point, ...]:
    """The maps than which none is smaller and better."""
    every = every_map()
    order = np.lexsort((every.divergences, every.sizes))
    lowest = np.minimum.accumulate(every.divergences[order])
    better = np.r_[True, lowest[1:] < lowest[:-1]]
    return tuple(
        Point(bits_of(every.sizes[i]), float(every.divergences[i]), f"frontier-{i}") for i in order[better]
    )


def _chart(result: Result) -> Chart:
    x = Axis("bits_axis", BITS_DOMAIN, tuple((float(v), str(v)) for v in BITS_TICKS))
    y = Axis("cost_axis", COST_DOMAIN, tuple((v, numbers.shortest(v)) for v in COST_TICKS), log=True)
    marks = _marks(result)
    across, down = Scale(x.domain, (0.0, 100.0)), Scale(y.domain, (float(HEIGHT), 0.0), log=True)
    line = tuple((across(p.x) / 100, down(p.y)) for p in _frontier())
    labels = [
        Label("+".join(names), _label(names), across(one.bits_per_weight) / 100, down(one.divergence))
        for names, one in marks
    ]
    upright = (across(result.controls.budget) / 100,)
    places = place(labels, LabelArea(WIDE, NARROW, HEIGHT, upright=upright, curves=(line,)))
    series = [Series("frontier", _frontier(), kind="line", role="frontier")]
    for names, one in reversed(marks):
        role, symbol = LOOKS[names[0]]
        key = "+".join(names)
        placed = places.get(key)
        point = Point(
            one.bits_per_weight,
            one.divergence,
            key,
            label=_label(names) if placed else "",
            hover=f"{_label(names)} · {numbers.fixed(one.bits_per_weight, 2)} · {_cost(one.divergence)}",
            marked="mine" in names,
            label_side=placed.side if placed else "right",
            label_minor=bool(placed and placed.minor),
        )
        series.append(Series(names[0], (point,), role=role, symbol=symbol))
    return Chart(x, y, tuple(series), (Rule("x", result.controls.budget, "budget_rule"),), height=HEIGHT)


def _marks(result: Result) -> list[tuple[tuple[str, ...], TypeMap]]:
    """The maps to draw, those that are the same together, under all of their names."""
    shown = {"mine": result.mine, **result.answers}
    together: list[tuple[tuple[str, ...], TypeMap]] = []
    for name in LOOKS:
        one = shown[name]
        at = next((i for i, (_, other) in enumerate(together) if other.types == one.types), None)
        if at is None:
            together.append(((name,), one))
        else:
            together[at] = ((*together[at][0], name), one)
    return together


def _label(names: Sequence[str]) -> str:
    return ", ".join(gettext(NAMES.get(name, name)) for name in names)


FIGURE = Figure("budget", "fig-05f", "FIG.05F", Controls, compute, view, shows="model")
