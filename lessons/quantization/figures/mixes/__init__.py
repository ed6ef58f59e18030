"""FIG.05C: which type each tensor of a model gets under a mix, layer by layer, beside a second mix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
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
LAYERS_IN_A_BAND = 40
MOST_RUNS = 10
"""A longer list of layers is left to the picture."""

# A cell prints the width in bits. Types of one width that may meet in a picture are told apart by this.
SUBSCRIPTS = {"IQ4_XS": "x", "IQ4_NL": "n", "Q4_0": "0", "Q5_0": "0", "Q5_1": "1"}


class Controls(FigureControls):
    mix: str = choice("Q4_K_M", (*K_MIXES, *OTHER_MIXES), style="drawn")
    against: str = choice("Q4_K_S", ("none", *K_MIXES, *OTHER_MIXES))
    model: str = choice("llama-3.1-8b", MODELS, labels={name: sources.model(name).name for name in MODELS})


def view(c: Controls) -> View:
    shape = sources.model(c.model).shape
    tensors = _matrices(mixes.tensor_types(shape, c.mix))
    others = _matrices(mixes.tensor_types(shape, c.against)) if c.against != "none" else tensors
    base = mixes.MIXES[c.mix].default
    changed = [(new, old) for new, old in zip(tensors, others, strict=True) if new.type != old.type]
    raised = [tensor for tensor in tensors if _bits(tensor.type) > _bits(base)]
    size = memory.weight_bytes(shape, c.mix)
    difference = size - (memory.weight_bytes(shape, c.against) if c.against != "none" else size)
    bits_per_weight = memory.bits_per_weight(shape, c.mix)
    by_place = {(tensor.layer, tensor.kind): tensor for tensor in tensors}

    return View(
        readouts=(
            Readout("bits_per_weight", bits_per_weight, numbers.fixed(bits_per_weight, 4), accent=True),
            Readout("size_gb", size / 1e9, numbers.fixed(size / 1e9, 2), "GB"),
            Readout("size_gib", size / 2**30, numbers.fixed(size / 2**30, 2), "GiB"),
            Readout("raised", len(raised), numbers.integer(len(raised))),
            Readout("changed", len(changed), numbers.integer(len(changed))),
            Readout("size_change", difference / 1e9, numbers.signed(difference / 1e9, 2), "GB"),
        ),
        drawing={
            "bands": _bands(shape.n_layers, tensors, others),
            "alone": [_cell(new, old) for new, old in zip(tensors, others, strict=True) if new.layer is None],
            "shares": _shares(tensors, size),
            "types": _types(tensors),
            "mixes": [_tile(name, shape, c.mix, c.against) for name in (*K_MIXES, *OTHER_MIXES)],
            "first_other": OTHER_MIXES[0],
            "depth": "deep" if shape.n_layers > LAYERS_IN_A_BAND else "shallow",
            "tied": shape.tied_embeddings,
        },
        description=_description(c, shape, tensors, raised, changed, bits_per_weight, size, difference),
        table=Table(
            (Column("part"), *(Column(kind) for kind in KINDS), Column("alone"), Column("size", _megabytes)),
            tuple(_rows(shape.n_layers, by_place, tensors)),
            frozenset(new.layer for new, _ in changed if new.layer is not None),
        ),
        formulas=_formulas(c, base, size, shape.parameters, bits_per_weight),
        ran=(mixes.tensor_types, mixes.uses_more_bits, memory.bits_per_weight, memory.weight_bytes),
        notes=tuple(_notes(c, shape, tensors)),
    )


def _matrices(tensors: Iterable[TypedTensor]) -> tuple[TypedTensor, ...]:
    """Without norms, biases and tables, which no mix touches."""
    kinds = (*KINDS, "token_embd", "output")
    return tuple(tensor for tensor in tensors if tensor.kind in kinds and tensor.name.endswith(".weight"))


def _bits(type_name: str) -> float:
    weights, size = BLOCK_SIZES[type_name]
    return 8 * size / weights


def _cell(tensor: TypedTensor, other: TypedTensor) -> dict[str, Any]:
    more = _bits(tensor.type) - _bits(other.type)
    change = "up" if more > 0 else "down" if more < 0 else "other"
    return {
        "kind": tensor.kind,
        "type": tensor.type,
        **_look(tensor.type),
        "change": change if tensor.type != other.type else "",
    }


def _look(type_name: str) -> dict[str, Any]:
    width = int(_bits(type_name))
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
            "bits": numbers.plain(_bits(name)),
            "count": str(counts[name]),
        }
        for name in sorted(counts, key=_bits)
    ]


def _tile(name: str, shape: memory.ModelShape, shown: str, against: str) -> dict[str, Any]:
    return {
        "name": name,
        "bits": numbers.fixed(memory.bits_per_weight(shape, name), 2),
        "checked": name == shown,
        "against": name == against,
    }


def _description(
    c: Controls,
    shape: memory.ModelShape,
    tensors: tuple[TypedTensor, ...],
    raised: list[TypedTensor],
    changed: list[tuple[TypedTensor, TypedTensor]],
    bits_per_weight: float,
    size: int,
    difference: int,
) -> tuple[Sentence, ...]:
    base = mixes.MIXES[c.mix].default
    sentences = [
        Sentence(
            "stored",
            mix=c.mix,
            model=sources.model(c.model).name,
            bits=numbers.fixed(bits_per_weight, 4),
            gb=numbers.fixed(size / 1e9, 2),
            gib=numbers.fixed(size / 2**30, 2),
            raised=numbers.integer(len(raised)),
            matrices=numbers.integer(len(tensors)),
            base=base,
        )
    ]
    for (kind, type_name), layers in _by_kind((t.kind, t.type, t.layer) for t in tensors if t.type != base):
        sentences.append(_where(kind, type_name, layers, shape.n_layers))
    if c.against == "none":
        return tuple(sentences)
    if not changed:
        return (*sentences, Sentence("same", against=c.against))
    key = "larger" if difference > 0 else "smaller" if difference < 0 else "as_large"
    counts = Counter(new.kind for new, _ in changed)
    sentences.append(
        Sentence(
            key,
            against=c.against,
            changed=numbers.integer(len(changed)),
            gb=numbers.fixed(abs(difference) / 1e9, 2),
            kinds=", ".join(f"{kind} ({count})" if count > 1 else kind for kind, count in counts.items()),
        )
    )
    return tuple(sentences)


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


def _rows(
    n_layers: int, by_place: dict[tuple[int | None, str], TypedTensor], tensors: tuple[TypedTensor, ...]
) -> Iterable[tuple[Any, ...]]:
    for layer in range(n_layers):
        row = [by_place[layer, kind] for kind in KINDS]
        yield (str(layer), *(tensor.type for tensor in row), None, sum(tensor.bytes for tensor in row))
    for tensor in tensors:
        if tensor.layer is None:
            yield (tensor.kind, *(None for _ in KINDS), tensor.type, tensor.bytes)


def _megabytes(size: float) -> str:
    return numbers.fixed(size / 1e6, 1)


def _formulas(c: Controls, base: str, size: int, weights: int, bits_per_weight: float) -> tuple[str, ...]:
    block, block_bytes = BLOCK_SIZES[base]
    name = base.replace("_", r"\_")
    mix = c.mix.replace("_", r"\_")
    return (
        rf"\mathrm{{{name}}}: \frac{{8 \cdot {block_bytes}}}{{{block}}} = {numbers.plain(_bits(base))}"
        r" \;\mathrm{bits\ per\ weight}",
        rf"\mathrm{{{mix}}}: \frac{{8 \cdot {tex(numbers.integer(size))}}}{{{tex(numbers.integer(weights))}}}"
        rf" = {numbers.fixed(bits_per_weight, 4)}",
    )


def _notes(c: Controls, shape: memory.ModelShape, tensors: tuple[TypedTensor, ...]) -> Iterable[Sentence]:
    base = mixes.MIXES[c.mix].default
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
    if mixes.MIXES[c.mix].needs_importance:
        yield Sentence("needs_importance", mix=c.mix)
    yield Sentence("rules")


FIGURE = Figure("mixes", "fig-05c", "FIG.05C", Controls, None, view, is_html=True)
