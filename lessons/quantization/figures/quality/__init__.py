"""FIG.05: what each GGUF scheme saves and costs on one model, as a table and a plot of the same rows.

Two data sets lie behind it, measured by two people on two models. A control switches between them; no table
and no plot ever holds both.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lessons.kit import numbers
from lessons.kit.chart import STATIC_HEIGHT, Axis, Chart, Point, Rule, Series
from lessons.kit.controls import FigureControls, choice
from lessons.kit.figure import Figure
from lessons.kit.labels import Label, Placed, Plot, place
from lessons.kit.mathml import tex
from lessons.kit.scales import Scale, linear_ticks
from lessons.kit.view import Column, Limit, Readout, Sentence, Table, View
from lessons.quantization import sources
from quant_core import memory
from quant_core.ggml import mixes

BASELINE = "F16"
FALLBACK = "Q4_K_M"
"""Measured in both data sets: what is shown for a scheme that a set does not have."""

CLIFF_BITS = 3.7
"""Between Q3_K_M (4.00 bits) and Q3_K_S (3.64): where both data sets turn down. Our reading of the tables."""

TASK_ERRORS = (1.15, 0.45, 0.38, 1.6, 1.8)
"""Standard errors in points of GSM8K, HellaSwag, MMLU, TruthfulQA and IFEval (Kurt 2026, appendix B)."""

AVERAGE_NOISE = math.hypot(*TASK_ERRORS) / len(TASK_ERRORS)
"""Standard error of the mean of the five benchmarks, in points, as if the tasks were independent."""

DIFFERENCE_NOISE = math.sqrt(2) * AVERAGE_NOISE
"""Standard error of the difference of two such means, as if they were independent. They share their
questions, so the true one is smaller; the study does not give it."""

TIE, RESOLVED = DIFFERENCE_NOISE, 2 * DIFFERENCE_NOISE
"""Points of difference from F16: less than the first is a tie, more than the second a loss."""

WIDE, NARROW = 900, 236
"""Widths of the plot for which labels are placed, in pixels: the least that shows all, and a small phone's.

The style sheet leaves the minor ones out below the first, all but the chosen one below the second.
"""

RULE_LABEL = 15
"""Characters of the label of F16's rule, at the right end above it: the points' labels leave it free."""


@dataclass(frozen=True, slots=True)
class Row:
    """One scheme and what was measured on it; None where nothing was.

    `size` is in bytes, `average` and `gsm8k` in per cent; each `_error` is a standard error.
    """

    scheme: str
    bits_per_weight: float
    size: int
    perplexity: float | None
    perplexity_error: float | None = None
    perplexity_imatrix: float | None = None
    imatrix_error: float | None = None
    average: float | None = None
    gsm8k: float | None = None
    gsm8k_error: float | None = None

    def size_change(self, baseline: Row) -> float:
        """Size against the baseline, in per cent."""
        return 100 * (self.size / baseline.size - 1)

    def points(self, baseline: Row) -> float | None:
        """Change of the benchmark average against the baseline, in points."""
        if self.average is None or baseline.average is None:
            return None
        return self.average - baseline.average

    def loss(self, baseline: Row) -> float | None:
        """Benchmark loss: the per cent of the baseline's average that is missing."""
        if self.average is None or baseline.average is None:
            return None
        return 100 * (baseline.average - self.average) / baseline.average

    def removed(self, baseline: Row) -> float | None:
        """Share of the rise in perplexity that the importance matrix takes away."""
        if self.perplexity is None or self.perplexity_imatrix is None or baseline.perplexity is None:
            return None
        return (self.perplexity - self.perplexity_imatrix) / (self.perplexity - baseline.perplexity)


@dataclass(frozen=True, slots=True)
class RowColumn:
    """A column of the rows: how it is read and printed."""

    read: Callable[[Row, Row], Any]
    show: Callable[[Any], str] | None = None


def _two_places(value: float) -> str:
    return numbers.fixed(value, 2)


COLUMNS: dict[str, RowColumn] = {
    "scheme": RowColumn(lambda row, base: row.scheme),
    "bits_per_weight": RowColumn(lambda row, base: row.bits_per_weight, _two_places),
    "size_gb": RowColumn(lambda row, base: row.size / 1e9, _two_places),
    "size_gib": RowColumn(lambda row, base: row.size / memory.GIB, _two_places),
    "size_change": RowColumn(lambda row, base: row.size_change(base), lambda v: numbers.signed(v, 1)),
    "perplexity": RowColumn(lambda row, base: row.perplexity, _two_places),
    "perplexity_imatrix": RowColumn(lambda row, base: row.perplexity_imatrix, _two_places),
    "removed": RowColumn(lambda row, base: row.removed(base), lambda v: numbers.percent(v, 0)),
    "benchmark_loss": RowColumn(lambda row, base: row.loss(base), _two_places),
    "gsm8k": RowColumn(lambda row, base: row.gsm8k, _two_places),
}
SIZES = ("scheme", "bits_per_weight", "size_gb", "size_gib", "size_change")
SETS = {
    "instruct": (*SIZES, "perplexity", "benchmark_loss", "gsm8k"),
    "base": (*SIZES, "perplexity", "perplexity_imatrix", "removed"),
}
"""The columns of each data set: what it lacks is absent, not empty."""

SCHEMES = tuple(
    dict.fromkeys(
        [row.scheme for row in sources.quality_table()] + [row.scheme for row in sources.base_quality_table()]
    )
)


class Controls(FigureControls):
    """The data set, what the plot shows, how the table is sorted, and the chosen row."""

    data: str = choice("instruct", SETS, style="segments")
    measure: str = choice("benchmark_loss", ("perplexity", "benchmark_loss", "gsm8k"), style="segments")
    order: str = choice("descending", ("ascending", "descending"), style="segments")
    sort: str = choice("size_gb", COLUMNS, style="drawn")
    scheme: str = choice(FALLBACK, SCHEMES, style="drawn")


def view(c: Controls) -> View:
    """The rows of one data set, sorted, with one of them chosen."""
    rows = rows_of(c.data)
    baseline = next(row for row in rows if row.scheme == BASELINE)
    scheme = chosen_scheme(c)
    known = scheme == c.scheme
    chosen = next(row for row in rows if row.scheme == scheme)
    measure = c.measure if c.measure in SETS[c.data] else "perplexity"
    lacking = tuple(name for name in MEASURES if name not in SETS[c.data])
    sort = c.sort if c.sort in SETS[c.data] else "size_gb"
    rows = _sorted(rows, baseline, sort, descending=c.order == "descending")
    columns = {name: COLUMNS[name] for name in SETS[c.data]}
    values = [tuple(column.read(row, baseline) for column in columns.values()) for row in rows]
    table = Table(
        tuple(Column(name, column.show) for name, column in columns.items()),
        tuple(values),
        frozenset({rows.index(chosen)}),
    )

    notes = [Sentence(f"from_{c.data}")]
    if not known:
        notes.insert(0, Sentence("not_measured", scheme=c.scheme, shown=FALLBACK))
    if measure != c.measure:
        notes.insert(0, Sentence("perplexity_only"))
    return View(
        readouts=_readouts(c.data, chosen, baseline),
        drawing={
            "columns": [{"name": name, "sorted": name == sort} for name in columns],
            "descending": c.order == "descending",
            "imatrix": c.data == "base",
            "verdicts": c.data == "instruct",
            "rows": [
                {
                    "scheme": row.scheme,
                    "chosen": row is chosen,
                    "cells": [column.text(value) for column, value in zip(table.columns, cells, strict=True)],
                    "verdict": _verdict(row, baseline),
                }
                for row, cells in zip(rows, values, strict=True)
            ],
        },
        description=_description(c.data, chosen, baseline),
        table=table,
        formulas=_formulas(c.data, chosen, baseline),
        ran=(memory.weight_bytes, memory.bits_per_weight, mixes.tensor_types),
        notes=tuple(notes),
        limits={"measure": Limit(Sentence("only_perplexity"), lacking)} if lacking else {},
        chart=_chart(rows_of(c.data), baseline, chosen, measure),
    )


def chosen_scheme(c: Controls) -> str:
    """The scheme that is shown: the chosen one, where the data set has it."""
    return c.scheme if c.scheme in {row.scheme for row in rows_of(c.data)} else FALLBACK


@functools.cache
def rows_of(data: str) -> tuple[Row, ...]:
    """The schemes of a data set, largest first. Sizes are computed, and equal the published ones."""
    if data == "instruct":
        return tuple(
            Row(
                row.scheme,
                *_bits_and_size(row.scheme),
                row.perplexity,
                average=row.average,
                gsm8k=row.gsm8k,
                gsm8k_error=row.gsm8k_error,
            )
            for row in sources.quality_table()
        )
    measured = {(row.scheme, row.importance): row for row in sources.base_quality_table()}
    rows = []
    for scheme in dict.fromkeys(scheme for scheme, _ in measured):
        plain, imatrix = measured.get((scheme, False)), measured.get((scheme, True))
        rows.append(
            Row(
                scheme,
                *_bits_and_size(scheme),
                plain.perplexity if plain else None,
                plain.perplexity_error if plain else None,
                imatrix.perplexity if imatrix else None,
                imatrix.perplexity_error if imatrix else None,
            )
        )
    return tuple(rows)


def _bits_and_size(scheme: str) -> tuple[float, int]:
    """Bits per weight and bytes; IQ3_XXS is never written without an importance matrix, which changes it."""
    shape, importance = sources.model("llama-3.1-8b").shape, scheme == "IQ3_XXS"
    return memory.bits_per_weight(shape, scheme, importance), memory.weight_bytes(shape, scheme, importance)


def _sorted(rows: tuple[Row, ...], baseline: Row, column: str, *, descending: bool) -> tuple[Row, ...]:
    """Rows by a column; those without a value come last either way."""
    read = COLUMNS[column].read
    with_value = [row for row in rows if read(row, baseline) is not None]
    with_value.sort(key=lambda row: read(row, baseline), reverse=descending)
    return (*with_value, *(row for row in rows if read(row, baseline) is None))


def _verdict(row: Row, baseline: Row) -> str:
    """What the benchmarks can tell: "baseline", "tie", "borderline" or "lower"; "" without benchmarks."""
    points = row.points(baseline)
    if points is None:
        return ""
    if row is baseline:
        return "baseline"
    return "tie" if abs(points) < TIE else "borderline" if abs(points) < RESOLVED else "lower"


def _readouts(data: str, row: Row, baseline: Row) -> tuple[Readout, ...]:
    gb, gib = row.size / 1e9, row.size / memory.GIB
    always = (
        Readout("scheme", row.scheme, row.scheme, accent=True),
        Readout("bits_per_weight", row.bits_per_weight, _two_places(row.bits_per_weight)),
        Readout("size_gb", gb, _two_places(gb), "GB"),
        Readout("size_gib", gib, _two_places(gib), "GiB"),
        _measured("perplexity", row.perplexity),
    )
    if data == "base":
        removed = row.removed(baseline)
        percent = None if removed is None else 100 * removed
        return (
            *always,
            _measured("perplexity_imatrix", row.perplexity_imatrix),
            _measured("removed", percent, "%", 0),
        )
    return (*always, _measured("benchmark_loss", row.loss(baseline), "%"), _measured("gsm8k", row.gsm8k, "%"))


def _measured(name: str, value: float | None, unit: str = "", places: int = 2) -> Readout:
    if value is None:
        return Readout(name, "", "–")
    return Readout(name, value, numbers.fixed(value, places), unit)


def _description(data: str, row: Row, baseline: Row) -> tuple[Sentence, ...]:
    size = Sentence(
        "size",
        scheme=row.scheme,
        bits=_two_places(row.bits_per_weight),
        gb=numbers.gigabytes(row.size),
        gib=numbers.gibibytes(row.size),
        change=numbers.signed(row.size_change(baseline), 1),
    )
    if data == "instruct":
        return (
            Sentence(
                "instruct",
                scheme=row.scheme,
                perplexity=_text(row.perplexity),
                average=_text(row.average),
                points=numbers.signed(row.points(baseline) or 0.0, 2),
                loss=_text(row.loss(baseline)),
            ),
            Sentence(f"is_{_verdict(row, baseline)}"),
            size,
        )
    removed = row.removed(baseline)
    key = "both" if removed is not None else "plain" if row.perplexity is not None else "imatrix"
    if row is baseline:
        key = "base_baseline"
    return (
        Sentence(
            key,
            scheme=row.scheme,
            plain=_text(row.perplexity),
            imatrix=_text(row.perplexity_imatrix),
            plain_rise=_rise(row.perplexity, baseline),
            imatrix_rise=_rise(row.perplexity_imatrix, baseline),
            removed="–" if removed is None else numbers.percent(removed, 0),
        ),
        size,
        Sentence("cliff", bits=numbers.fixed(CLIFF_BITS, 1)),
    )


def _text(value: float | None) -> str:
    return "–" if value is None else _two_places(value)


def _rise(perplexity: float | None, baseline: Row) -> str:
    """Rise of the perplexity over the baseline's, in per cent."""
    if perplexity is None or baseline.perplexity is None:
        return "–"
    return numbers.signed(100 * (perplexity / baseline.perplexity - 1), 1)


def _formulas(data: str, row: Row, baseline: Row) -> tuple[str, ...]:
    parameters = tex(numbers.integer(sources.model("llama-3.1-8b").shape.parameters))
    bits = tex(numbers.fixed(row.bits_per_weight, 3))
    size = (
        rf"\mathrm{{bytes}} = \frac{{\mathrm{{parameters}} \times \mathrm{{bits}}}}{{8}} = "
        rf"\frac{{{parameters} \times {bits}}}{{8}} = {_two_places(row.size / 1e9)} \times 10^9"
    )
    loss, removed = row.loss(baseline), row.removed(baseline)
    if data == "instruct" and loss is not None:
        return (
            size,
            rf"\mathrm{{loss}} = 100 \cdot \frac{{{baseline.average} - {row.average}}}{{{baseline.average}}} "
            rf"= {tex(_two_places(loss))}\,\%",
        )
    if removed is not None:
        plain, imatrix, reference = map(_text, (row.perplexity, row.perplexity_imatrix, baseline.perplexity))
        share = tex(numbers.percent(removed, 0))
        return (
            size,
            rf"\mathrm{{removed}} = \frac{{{plain} - {imatrix}}}{{{plain} - {reference}}} = {share}",
        )
    return (size,)


@dataclass(frozen=True, slots=True)
class Measure:
    """How one measure is drawn: its axis, the value of a row, and the error of its difference from F16."""

    domain: tuple[float, float]
    places: int
    read: Callable[[Row, Row], float | None]
    error: Callable[[Row, Row], float | None]


MEASURES = {
    "perplexity": Measure((7.15, 9.2), 1, lambda row, base: row.perplexity, lambda row, base: None),
    "benchmark_loss": Measure(
        (-2.0, 7.0),
        0,
        lambda row, base: row.loss(base),
        lambda row, base: 100 * DIFFERENCE_NOISE / base.average if base.average else None,
    ),
    "gsm8k": Measure(
        (66.5, 81.5),
        0,
        lambda row, base: row.gsm8k,
        lambda row, base: math.hypot(row.gsm8k_error or 0.0, base.gsm8k_error or 0.0),
    ),
}
INSTRUCT_BITS = (3.15, 18.5)
BASE_BITS, BASE_PERPLEXITY = (1.85, 18.5), (5.9, 68.0)
BITS_TICKS = (2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 16.0)
PERPLEXITY_TICKS = (6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 30.0, 50.0)


def _chart(rows: tuple[Row, ...], baseline: Row, chosen: Row, measure: str) -> Chart:
    if baseline.average is None:
        return _base_chart(rows, baseline, chosen)
    spec = MEASURES[measure]
    ticks = tuple((v, numbers.fixed(v, spec.places)) for v in linear_ticks(*spec.domain, 6))
    x, y = _bits_axis(INSTRUCT_BITS), Axis(f"{measure}_axis", spec.domain, ticks)
    marks = [
        _Mark(row, value, None)  # the band around F16 holds the error of a difference
        for row in rows
        if (value := spec.read(row, baseline)) is not None
    ]
    reference = spec.read(baseline, baseline)
    assert reference is not None
    points = _points(marks, x, y, chosen, reference)
    spread = spec.error(baseline, baseline) or 0.0
    rules = (
        Rule("x", CLIFF_BITS, "cliff_rule", role="quantized"),
        Rule("y", reference, "noise_rule" if spread else "f16_rule", spread=spread),
    )
    return Chart(x, y, _true_and_quantized(points), rules)


def _base_chart(rows: tuple[Row, ...], baseline: Row, chosen: Row) -> Chart:
    """Perplexity by logarithm, since it runs from 6 to 61; a line joins a scheme without and with imatrix."""
    ticks = tuple((v, numbers.integer(v)) for v in PERPLEXITY_TICKS)
    x, y = _bits_axis(BASE_BITS), Axis("perplexity_axis", BASE_PERPLEXITY, ticks, log=True)
    plain = [_Mark(row, row.perplexity, row.perplexity_error) for row in rows if row.perplexity]
    imatrix = [
        _Mark(row, row.perplexity_imatrix, row.imatrix_error) for row in rows if row.perplexity_imatrix
    ]
    assert baseline.perplexity is not None
    points = _points([*plain, *imatrix], x, y, chosen, baseline.perplexity)
    pairs = tuple(
        Series("pair", (point, other), kind="line", role="pair")
        for point in points[: len(plain)]
        for other in points[len(plain) :]
        if point.key == other.key
    )
    rules = (
        Rule("x", CLIFF_BITS, "cliff_rule", role="quantized"),
        Rule("y", baseline.perplexity, "f16_rule"),
    )
    with_imatrix = Series("imatrix", points[len(plain) :], role="method-1", symbol="diamond")
    return Chart(x, y, (*pairs, *_true_and_quantized(points[: len(plain)]), with_imatrix), rules)


@dataclass(frozen=True, slots=True)
class _Mark:
    """A row's value on the vertical axis, with its standard error."""

    row: Row
    value: float
    error: float | None


def _bits_axis(domain: tuple[float, float]) -> Axis:
    ticks = tuple((v, numbers.plain(v)) for v in BITS_TICKS if domain[0] <= v <= domain[1])
    return Axis("bits_axis", domain, ticks, log=True)


def _points(marks: list[_Mark], x: Axis, y: Axis, chosen: Row, reference: float) -> tuple[Point, ...]:
    """The marks with their labels: the chosen one first; F16 is named by its rule, at `reference`."""
    named: dict[str, int] = {}
    for index, mark in enumerate(marks):
        named.setdefault(mark.row.scheme, index)
    across, up = Scale(x.domain, (0.0, 1.0), x.log), Scale(y.domain, (float(STATIC_HEIGHT), 0.0), y.log)
    labels = [
        Label(
            str(index),
            mark.row.scheme if named[mark.row.scheme] == index and mark.row.scheme != BASELINE else "",
            across(mark.row.bits_per_weight),
            up(mark.value),
            _bar(mark, chosen, up),
        )
        for index, mark in enumerate(marks)
    ]
    labels.sort(key=lambda label: (label.text != chosen.scheme, label.text != FALLBACK))
    plot = Plot(
        WIDE,
        NARROW,
        STATIC_HEIGHT,
        upright=(across(CLIFF_BITS),),
        level=(up(reference),),
        captions=((RULE_LABEL, up(reference) - 11),),
    )
    places = place(labels, plot)
    return tuple(_point(mark, places.get(str(i)), chosen) for i, mark in enumerate(marks))


def _bar(mark: _Mark, chosen: Row, up: Scale) -> tuple[float, float] | None:
    """Only the chosen point shows its error."""
    if mark.error is None or mark.row is not chosen:
        return None
    return up(mark.value + mark.error), up(mark.value - mark.error)


def _point(mark: _Mark, placed: Placed | None, chosen: Row) -> Point:
    row = mark.row
    size = numbers.gigabytes(row.size, 2)
    return Point(
        row.bits_per_weight,
        mark.value,
        row.scheme,
        label=row.scheme if placed else "",
        hover=f"{row.scheme} · {size} · {_two_places(mark.value)}"
        + (f" ± {numbers.significant(mark.error, 2)}" if mark.error else ""),
        marked=row is chosen,
        error=mark.error if row is chosen else None,
        label_side=placed.side if placed else "right",
        label_minor=bool(placed and placed.minor),
    )


def _true_and_quantized(points: tuple[Point, ...]) -> tuple[Series, ...]:
    return (
        Series("f16", tuple(p for p in points if p.key == BASELINE), role="true"),
        Series("plain", tuple(p for p in points if p.key != BASELINE)),
    )


FIGURE = Figure("quality", "fig-05", "FIG.05", Controls, None, view)
