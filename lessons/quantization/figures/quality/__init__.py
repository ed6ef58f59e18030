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
from lessons.kit.labels import Label, LabelArea, LabelPlace, place
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


@dataclass(frozen=True, slots=True)
class Result:
    """The rows of one data set, one of them chosen; the read-outs have their names, "" where none is known.

    `size_gb` and `size_gib` are as their names say, `removed` and `benchmark_loss` in per cent.
    """

    controls: Controls
    rows: tuple[Row, ...]
    baseline: Row
    chosen: Row
    scheme: str
    bits_per_weight: float
    size_gb: float
    size_gib: float
    perplexity: float | str
    perplexity_imatrix: float | str
    removed: float | str
    benchmark_loss: float | str
    gsm8k: float | str


def compute(controls: Controls) -> Result:
    """What a scheme takes, which is computed, and what it costs, which was measured."""
    rows = rows_of(controls.data)
    by_scheme = {row.scheme: row for row in rows}
    baseline, chosen = by_scheme[BASELINE], by_scheme.get(controls.scheme, by_scheme[FALLBACK])
    removed = chosen.removed(baseline)
    return Result(
        controls,
        rows,
        baseline,
        chosen,
        scheme=chosen.scheme,
        bits_per_weight=chosen.bits_per_weight,
        size_gb=chosen.size / 1e9,
        size_gib=chosen.size / memory.GIB,
        perplexity=known(chosen.perplexity),
        perplexity_imatrix=known(chosen.perplexity_imatrix),
        removed=known(None if removed is None else 100 * removed),
        benchmark_loss=known(chosen.loss(baseline)),
        gsm8k=known(chosen.gsm8k),
    )


def known(value: float | None) -> float | str:
    """A value as a read-out has it: "" where nothing was measured."""
    return "" if value is None else value


@functools.cache
def rows_of(data: str) -> tuple[Row, ...]:
    """The schemes of a data set, largest first. Sizes are computed, and equal the published ones."""
    if data == "instruct":
        return tuple(
            Row(
                row.scheme,
                *bits_and_size(row.scheme),
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
                *bits_and_size(scheme),
                plain.perplexity if plain else None,
                plain.perplexity_error if plain else None,
                imatrix.perplexity if imatrix else None,
                imatrix.perplexity_error if imatrix else None,
            )
        )
    return tuple(rows)


def bits_and_size(scheme: str) -> tuple[float, int]:
    """Bits per weight and bytes; IQ3_XXS is never written without an importance matrix, which changes it."""
    shape, importance = sources.model("llama-3.1-8b").shape, scheme == "IQ3_XXS"
    return memory.bits_per_weight(shape, scheme, importance), memory.weight_bytes(shape, scheme, importance)


def view(result: Result) -> View:
    """The rows of one data set, sorted, with one of them chosen."""
    controls, baseline, chosen = result.controls, result.baseline, result.chosen
    columns = {name: COLUMNS[name] for name in SETS[controls.data]}
    measure = controls.measure if controls.measure in columns else "perplexity"
    lacking = tuple(name for name in MEASURES if name not in columns)
    sort = controls.sort if controls.sort in columns else "size_gb"
    rows = _sorted(result.rows, baseline, sort, descending=controls.order == "descending")
    values = [tuple(column.read(row, baseline) for column in columns.values()) for row in rows]
    table = Table(
        tuple(Column(name, column.show) for name, column in columns.items()),
        tuple(values),
        frozenset({rows.index(chosen)}),
    )

    notes = [Sentence(f"from_{controls.data}")]
    if chosen.scheme != controls.scheme:
        notes.insert(0, Sentence("not_measured", scheme=controls.scheme, shown=FALLBACK))
    if measure != controls.measure:
        notes.insert(0, Sentence("perplexity_only"))
    return View(
        readouts=_readouts(result),
        drawing={
            "columns": [{"name": name, "sorted": name == sort} for name in columns],
            "descending": controls.order == "descending",
            "imatrix": controls.data == "base",
            "verdicts": controls.data == "instruct",
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
        description=_description(controls.data, chosen, baseline),
        table=table,
        formulas=_formulas(controls.data, chosen, baseline),
        ran=(memory.weight_bytes, memory.bits_per_weight, mixes.tensor_types),
        notes=tuple(notes),
        limits={"measure": Limit(Sentence("only_perplexity"), lacking)} if lacking else {},
        chart=_chart(result.rows, baseline, chosen, measure),
    )


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


def _readouts(result: Result) -> tuple[Readout, ...]:
    always = (
        Readout.of(result, "scheme", str, accent=True),
        Readout.of(result, "bits_per_weight", _two_places),
        Readout.of(result, "size_gb", _two_places, "GB"),
        Readout.of(result, "size_gib", _two_places, "GiB"),
        _measured(result, "perplexity"),
    )
    if result.controls.data == "base":
        return (*always, _measured(result, "perplexity_imatrix"), _measured(result, "removed", "%", 0))
    return (*always, _measured(result, "benchmark_loss", "%"), _measured(result, "gsm8k", "%"))


def _measured(result: Result, name: str, unit: str = "", places: int = 2) -> Readout:
    if getattr(result, name) == "":
        return Readout(name, "", "–")
    return Readout.of(result, name, lambda v: numbers.fixed(v, places), unit)


def _description(data: str, row: Row, baseline: Row) -> tuple[Sentence, ...]:
    size = Sentence(
        "size",
        gb=numbers.gigabytes(row.size),
        gib=numbers.gibibytes(row.size),
        change=numbers.signed(row.size_change(baseline), 1),
    )
    if data == "instruct":
        return (
            Sentence(
                "instruct",
                average=_text(row.average),
                points=numbers.signed(row.points(baseline) or 0.0, 2),
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
    ticks = tuple((v, numbers.shortest(v)) for v in BITS_TICKS if domain[0] <= v <= domain[1])
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
    plot = LabelArea(
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


def _point(mark: _Mark, placed: LabelPlace | None, chosen: Row) -> Point:
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


FIGURE = Figure("quality", "fig-05", "FIG.05", Controls, compute, view)
