"""FIG.05C: which type each tensor of a model gets under a mix, layer by layer, beside a second mix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice
from lessons.kit.figure import Figure
from lessons.kit.mathml import tex
from lessons.kit.view import Column, Readout, Sentence, Table, View
from lessons.quantization import sources
from quant_core import memory
from quant_core.ggml import mixes
from quant_core.ggml.mixes import BLOCK_SIZES, TypedTensor

K_MIXES = (
    "Q2_K_S", "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K",
)  # fmt: skip
OTHER_MIXES = ("IQ4_XS", "Q4_0", "IQ4_NL", "Q8_0")
MODELS = ("llama-3.1-8b", "llama-3.1-70b", "llama-3.2-1b", "qwen2.5-0.5b")
KINDS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
LAYERS_IN_A_BAND = 32
MOST_RUNS = 10
"""A longer list of layers is left to the picture."""

# A cell prints the width in bits. Types of one width that may meet in a picture are told apart by this.
SUBSCRIPTS = {"IQ4_XS": "x", "IQ4_NL": "n", "Q4_0": "0", "Q5_0": "0", "Q5_1": "1"}


class Controls(FigureControls):
    mix: str = choice("Q4_K_M", (*K_MIXES, *OTHER_MIXES), style="drawn")
    against: str = choice("Q4_K_S", ("none", *K_MIXES, *OTHER_MIXES))
    model: str = choice("llama-3.1-8b", MODELS, labels={name: sources.model(name).name for name in MODELS})


@dataclass(frozen=True, slots=True)
class Result:
    """A model in a mix, beside a second mix; the read-outs have their names.

    `tensors` and `others` are its matrices in both, in one order; `pairs` those that differ in type.
    """

    controls: Controls
    shape: memory.ModelShape
    base: str
    tensors: tuple[TypedTensor, ...]
    others: tuple[TypedTensor, ...]
    pairs: list[tuple[TypedTensor, TypedTensor]]
    size: int
    bits_per_weight: float
    size_gb: float
    size_gib: float
    raised: int
    changed: int
    size_change: float


def compute(controls: Controls) -> Result:
    """Which type each tensor gets under a mix, and what the file takes."""
    shape = sources.model(controls.model).shape
    against = controls.mix if controls.against == "none" else controls.against
    tensors, others = (matrices(mixes.tensor_types(shape, mix)) for mix in (controls.mix, against))
    base = mixes.MIXES[controls.mix].default
    pairs = [(new, old) for new, old in zip(tensors, others, strict=True) if new.type != old.type]
    size = memory.weight_bytes(shape, controls.mix)
    return Result(
        controls,
        shape,
        base,
        tensors,
        others,
        pairs,
        size,
        bits_per_weight=memory.bits_per_weight(shape, controls.mix),
        size_gb=size / 1e9,
        size_gib=size / 2**30,
        raised=sum(bits_of(tensor.type) > bits_of(base) for tensor in tensors),
        changed=len(pairs),
        size_change=(size - memory.weight_bytes(shape, against)) / 1e9,
    )


def matrices(tensors: Iterable[TypedTensor]) -> tuple[TypedTensor, ...]:
    """Without norms, biases and tables, which no mix touches."""
    kinds = (*KINDS, "token_embd", "output")
    return tuple(tensor for tensor in tensors if tensor.kind in kinds and tensor.name.endswith(".weight"))


def bits_of(type_name: str) -> float:
    weights, size = BLOCK_SIZES[type_name]
    return 8 * size / weights


def view(result: Result) -> View:
    controls, shape, tensors, others = result.controls, result.shape, result.tensors, result.others
    return View(
        readouts=(
            Readout.of(result, "bits_per_weight", lambda v: numbers.fixed(v, 4), accent=True),
            Readout.of(result, "size_gb", _two_places, "GB"),
            Readout.of(result, "raised", numbers.integer),
            Readout.of(result, "size_gib", _two_places, "GiB"),
            Readout.of(result, "changed", numbers.integer),
            Readout.of(result, "size_change", lambda v: numbers.signed(v, 2), "GB"),
        ),
        drawing={
            "bands": _bands(shape.n_layers, tensors, others),
            "alone": [_cell(new, old) for new, old in zip(tensors, others, strict=True) if new.layer is None],
            "shares": _shares(tensors, result.size),
            "types": _types(tensors),
            "mixes": [_tile(name, result) for name in (*K_MIXES, *OTHER_MIXES)],
            "depth": "deep" if shape.n_layers > LAYERS_IN_A_BAND else "shallow",
            "tied": shape.tied_embeddings,
        },
        description=tuple(_description(result)),
        table=Table(
            (Column("part"), *(Column(kind) for kind in KINDS), Column("alone"), Column("size", _megabytes)),
            tuple(_rows(shape.n_layers, tensors)),
            frozenset(new.layer for new, _ in result.pairs if new.layer is not None),
        ),
        formulas=_formulas(result),
        ran=(mixes.tensor_types, mixes.uses_more_bits, memory.bits_per_weight, memory.weight_bytes),
        notes=tuple(_notes(controls.mix, shape, tensors)),
    )


def _two_places(value: float) -> str:
    return numbers.fixed(value, 2)


def _cell(tensor: TypedTensor, other: TypedTensor) -> dict[str, Any]:
    more = bits_of(tensor.type) - bits_of(other.type)
    change = "up" if more > 0 else "down" if more < 0 else "other"
    return {
        "kind": tensor.kind,
        "type": tensor.type,
        **_look(tensor.type),
        "change": change if tensor.type != other.type else "",
    }


def _look(type_name: str) -> dict[str, Any]:
    width = int(bits_of(type_name))
    return {"level": width, "subscript": SUBSCRIPTS.get(type_name, "")}


def _bands(
    n_layers: int, tensors: tuple[TypedTensor, ...], others: tuple[TypedTensor, ...]
) -> list[list[dict[str, Any]]]:
    cells: dict[int, dict[str, dict[str, Any]]] = {layer: {} for layer in range(n_layers)}
    for new, old in zip(tensors, others, strict=True):
        if new.layer is not None:
            cells[new.layer][new.kind] = _cell(new, old)
    layers = [{"layer": layer, "cells": [row[kind] for kind in KINDS]} for layer, row in cells.items()]
    return [layers[start : start + LAYERS_IN_A_BAND] for start in range(0, n_layers, LAYERS_IN_A_BAND)]


def _shares(tensors: tuple[TypedTensor, ...], size: int) -> dict[str, str]:
    """Share of the file by kind of tensor, as printed."""
    held: Counter[str] = Counter()
    for tensor in tensors:
        held[tensor.kind] += tensor.bytes
    return {kind: numbers.percent(bytes_held / size) for kind, bytes_held in held.items()}


def _types(tensors: tuple[TypedTensor, ...]) -> list[dict[str, Any]]:
    """The key of the cells: every type that occurs, from few bits to many."""
    counts = Counter(tensor.type for tensor in tensors)
    return [
        {
            "type": name,
            **_look(name),
            "bits": numbers.shortest(bits_of(name)),
            "count": str(counts[name]),
        }
        for name in sorted(counts, key=bits_of)
    ]


def _tile(name: str, result: Result) -> dict[str, Any]:
    return {
        "name": name,
        "bits": _two_places(memory.bits_per_weight(result.shape, name)),
        "checked": name == result.controls.mix,
        "against": name == result.controls.against,
    }


def _description(result: Result) -> Iterator[Sentence]:
    controls, tensors, base = result.controls, result.tensors, result.base
    yield Sentence(
        {0: "stored_evenly", 1: "stored_but_one"}.get(result.raised, "stored"),
        mix=controls.mix,
        model=sources.model(controls.model).name,
        matrices=numbers.integer(len(tensors)),
        base=base,
    )
    for (kind, type_name), layers in _by_kind((t.kind, t.type, t.layer) for t in tensors if t.type != base):
        yield _where(kind, type_name, layers, result.shape.n_layers)
    if controls.against == "none":
        return
    if not result.pairs:
        yield Sentence("same", against=controls.against)
        return
    counts = Counter(new.kind for new, _ in result.pairs)
    yield Sentence(
        "larger" if result.size_change > 0 else "smaller" if result.size_change < 0 else "as_large",
        against=controls.against,
        gb=_two_places(abs(result.size_change)),
        kinds=", ".join(f"{kind} ({count})" if count > 1 else kind for kind, count in counts.items()),
    )


def _by_kind(
    tensors: Iterable[tuple[str, str, int | None]],
) -> list[tuple[tuple[str, str], list[int | None]]]:
    groups: dict[tuple[str, str], list[int | None]] = {}
    for kind, type_name, layer in tensors:
        groups.setdefault((kind, type_name), []).append(layer)
    order = (*KINDS, "token_embd", "output")
    return sorted(groups.items(), key=lambda group: order.index(group[0][0]))


def _where(kind: str, type_name: str, layers: list[int | None], n_layers: int) -> Sentence:
    known = [layer for layer in layers if layer is not None]
    if not known:
        return Sentence("is_alone", tensor=kind, type=type_name)
    if len(known) == n_layers:
        return Sentence("is_everywhere", tensor=kind, type=type_name)
    said = {"tensor": kind, "type": type_name, "count": str(len(known)), "of": str(n_layers)}
    listed = runs(known)
    if listed.count(",") > MOST_RUNS:
        return Sentence("is_in_some", **said)
    return Sentence("is_in", layers=listed, **said)


def runs(layers: list[int]) -> str:
    """Numbers with their runs joined: what a reader can find again in the picture.

    >>> runs([0, 1, 2, 3, 6, 9, 10])
    '0–3, 6, 9, 10'
    """
    joined: list[list[int]] = []
    for layer in layers:
        if joined and joined[-1][-1] == layer - 1:
            joined[-1].append(layer)
        else:
            joined.append([layer])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in joined)


def _rows(n_layers: int, tensors: tuple[TypedTensor, ...]) -> Iterator[tuple[Any, ...]]:
    by_place = {(tensor.layer, tensor.kind): tensor for tensor in tensors}
    for layer in range(n_layers):
        row = [by_place[layer, kind] for kind in KINDS]
        yield (str(layer), *(tensor.type for tensor in row), None, sum(tensor.bytes for tensor in row))
    for tensor in tensors:
        if tensor.layer is None:
            yield (tensor.kind, *(None for _ in KINDS), tensor.type, tensor.bytes)


def _megabytes(size: float) -> str:
    return numbers.fixed(size / 1e6, 1)


def _formulas(result: Result) -> tuple[str, ...]:
    block, block_bytes = BLOCK_SIZES[result.base]
    name = result.base.replace("_", r"\_")
    mix = result.controls.mix.replace("_", r"\_")
    size, weights = numbers.integer(result.size), numbers.integer(result.shape.parameters)
    bits = numbers.shortest(bits_of(result.base))
    return (
        rf"\mathrm{{{name}}}: \frac{{8 \cdot {block_bytes}}}{{{block}}} = {bits}"
        r" \;\mathrm{bits\ per\ weight}",
        rf"\mathrm{{{mix}}}: \frac{{8 \cdot {tex(size)}}}{{{tex(weights)}}}"
        rf" = {numbers.fixed(result.bits_per_weight, 4)}",
    )


def _notes(mix: str, shape: memory.ModelShape, tensors: tuple[TypedTensor, ...]) -> Iterator[Sentence]:
    base = mixes.MIXES[mix].default
    wide = BLOCK_SIZES[base][0]
    unfit = [tensor for tensor in tensors if tensor.columns % wide]
    if unfit:
        yield Sentence(
            "fallback",
            count=numbers.integer(len(unfit)),
            columns=numbers.integer(unfit[0].columns),
            block=str(wide),
            base=base,
            type=mixes.FALLBACK[base],
        )
    if shape.tied_embeddings:
        yield Sentence("tied")
    if shape.queries_per_kv_head > 1:
        yield Sentence("grouped", share=str(shape.queries_per_kv_head))
    if shape.is_llama_70b:
        yield Sentence("seventy")
    if mixes.MIXES[mix].needs_importance:
        yield Sentence("needs_importance", mix=mix)
    yield Sentence("rules")


FIGURE = Figure("mixes", "fig-05c", "FIG.05C", Controls, compute, view, shows="model", is_html=True)
