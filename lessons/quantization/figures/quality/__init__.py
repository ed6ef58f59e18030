"""FIG.05: what each GGUF scheme saves and costs on one model, as a plot and a table of the same rows.

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
from lessons.kit.chart import Axis, Chart, Note, Point, Region, Rule, Series
from lessons.kit.controls import FigureControls, choice
from lessons.kit.figure import Figure
from lessons.kit.labels import Label, LabelArea, LabelPlace, Side, place
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

TIE = 1.0
"""Points of difference from F16 that are noise: `DIFFERENCE_NOISE`, rounded up. The one rule of finding, plot
and table. No scheme of the study lies between 0.7 and 1.4, so a stricter or laxer one would say the same."""

HEIGHT = 216
WIDE, NARROW = 520, 236
"""Of the plot, in pixels: its height, and the widths for which labels are placed: the least that shows all,
and a small phone's. The style sheet leaves the minor ones out below the first, and all below the second: the
chosen one is named by its menu."""

RULE_LABEL, NOTE_CHARACTERS = 3, 28
"""Characters of the label of F16's rule, and of the note under it, which the points' labels leave free."""

NEAR = 40.0
"""Pixels below F16's rule down to which marks lie on the shelf."""

LEGACY = ("Q5_1", "Q5_0", "Q4_1", "Q4_0")
"""The types with one level of scales: apart from the shelf that the k-quants make."""

USUAL = ("F16", "Q8_0", "Q4_K_M", "Q3_K_S", "Q3_K_M")
USUAL_BASE = ("F16", "Q4_K_M", "IQ1_S", "Q2_K", "Q3_K_S")
"""The rows of the short table. A chosen row that is not among them takes the place of the last."""


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
    "points": RowColumn(lambda row, base: row.points(base), lambda v: numbers.signed(v, 1)),
    "benchmark_loss": RowColumn(lambda row, base: row.loss(base), _two_places),
    "gsm8k": RowColumn(lambda row, base: row.gsm8k, _two_places),
}
SIZES = ("scheme", "bits_per_weight", "size_gb", "size_gib", "size_change")
SETS = {
    "instruct": (*SIZES, "points", "perplexity", "benchmark_loss", "gsm8k"),
    "base": (*SIZES, "perplexity", "perplexity_imatrix", "removed"),
}
"""The columns of each data set: what it lacks is absent, not empty."""

SHORT = {
    "instruct": ("bits_per_weight", "size_gb", "points", "perplexity"),
    "base": ("bits_per_weight", "size_gb", "perplexity", "perplexity_imatrix"),
}
"""The columns of the short table."""

SCHEMES = tuple(dict.fromkeys(row.scheme for row in sources.base_quality_table()))
"""Of both data sets, largest first: the base model was measured in all."""


class Controls(FigureControls):
    """The chosen row, the data set, what the plot shows, and how the whole table is sorted."""

    scheme: str = choice(FALLBACK, SCHEMES)
    data: str = choice("instruct", SETS, style="segments")
    measure: str = choice("benchmark_loss", ("benchmark_loss", "gsm8k", "perplexity"), style="segments")
    sort: str = choice("size_gb", COLUMNS)
    order: str = choice("descending", ("ascending", "descending"), style="segments")


@dataclass(frozen=True, slots=True)
class Result:
    """The rows of one data set, one of them chosen; the read-outs have their names, "" where none is known.

    `size_gb` and `size_gib` are as their names say, `points` is the change of the benchmark average against
    F16, `removed` and `benchmark_loss` are in per cent.
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
    points: float | str
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
        points=known(chosen.points(baseline)),
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
    """The rows of one data set, one of them chosen: some of them in front, all of them sorted."""
    controls, baseline, chosen = result.controls, result.baseline, result.chosen
    columns = {name: COLUMNS[name] for name in SETS[controls.data]}
    measure = controls.measure if controls.measure in columns else "perplexity"
    sort = controls.sort if controls.sort in columns else "size_gb"
    rows = _sorted(result.rows, baseline, sort, descending=controls.order == "descending")
    table = Table(
        tuple(Column(name, column.show) for name, column in columns.items()),
        tuple(tuple(column.read(row, baseline) for column in columns.values()) for row in rows),
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
            "rows": _short(result),
            "columns": SHORT[controls.data],
            "imatrix": controls.data == "base",
            "verdicts": controls.data == "instruct",
        },
        description=_description(result, measure),
        table=table,
        formulas=_formulas(controls.data, chosen, baseline),
        ran=(memory.weight_bytes, memory.bits_per_weight, mixes.tensor_types),
        notes=tuple(notes),
        limits=_limits(result),
        source=Sentence(f"source_{controls.data}"),
        chart=_chart(result.rows, baseline, chosen, measure),
    )


def _limits(result: Result) -> dict[str, Limit]:
    """Schemes, measures and columns that the data set lacks."""
    columns, measured = SETS[result.controls.data], {row.scheme for row in result.rows}
    lacking = {
        "scheme": ("base_only", [scheme for scheme in SCHEMES if scheme not in measured]),
        "measure": ("only_perplexity", [name for name in MEASURES if name not in columns]),
        "sort": ("other_columns", [name for name in COLUMNS if name not in columns]),
    }
    return {name: Limit(Sentence(why), tuple(options)) for name, (why, options) in lacking.items() if options}


def _usual(result: Result) -> list[Row]:
    """The rows of the short table, largest first; as many in every state."""
    usual = USUAL if result.controls.data == "instruct" else USUAL_BASE
    if result.scheme not in usual:
        usual = (*usual[:-1], result.scheme)
    return [row for row in result.rows if row.scheme in usual]


def _short(result: Result) -> list[dict[str, Any]]:
    """The printed rows of the short table."""
    columns = [Column(name, COLUMNS[name].show) for name in SHORT[result.controls.data]]
    return [
        {
            "scheme": row.scheme,
            "chosen": row is result.chosen,
            "cells": [column.text(COLUMNS[column.name].read(row, result.baseline)) for column in columns],
            "verdict": _verdict(row, result.baseline),
        }
        for row in _usual(result)
    ]


def _sorted(rows: tuple[Row, ...], baseline: Row, column: str, *, descending: bool) -> tuple[Row, ...]:
    """Rows by a column; those without a value come last either way."""
    read = COLUMNS[column].read
    with_value = [row for row in rows if read(row, baseline) is not None]
    with_value.sort(key=lambda row: read(row, baseline), reverse=descending)
    return (*with_value, *(row for row in rows if read(row, baseline) is None))


def _verdict(row: Row, baseline: Row) -> str:
    """What the benchmarks can tell: "baseline", "tie" or "lower"; "" without benchmarks."""
    points = row.points(baseline)
    if points is None:
        return ""
    return "baseline" if row is baseline else "tie" if abs(points) < TIE else "lower"


def _readouts(result: Result) -> tuple[Readout, ...]:
    size = Readout.of(result, "size_gb", _two_places, "GB", accent=result.chosen is not result.baseline)
    perplexity = _measured(result, "perplexity")
    about = (
        Readout.of(result, "scheme", str, accent=result.chosen is not result.baseline),
        Readout.of(result, "bits_per_weight", _two_places),
        Readout.of(result, "size_gib", _two_places, "GiB"),
    )
    if result.controls.data == "base":
        return (
            size,
            perplexity,
            _measured(result, "perplexity_imatrix"),
            _measured(result, "removed", "%", 0),
            *about,
        )
    points = Readout.of(
        result,
        "points",
        lambda v: numbers.signed(v, 1),
        "" if result.chosen is result.baseline else f"± {numbers.fixed(TIE, 1)}",
    )
    return (
        *(size, points, perplexity, *about),
        *(_measured(result, "benchmark_loss", "%"), _measured(result, "gsm8k", "%")),
    )


def _measured(result: Result, name: str, unit: str = "", places: int = 2) -> Readout:
    if getattr(result, name) == "":
        return Readout(name, "", "–")
    return Readout.of(result, name, lambda v: numbers.fixed(v, places), unit)


def _description(result: Result, measure: str) -> tuple[Sentence, ...]:
    row, baseline = result.chosen, result.baseline
    size = Sentence(
        "size",
        gb=numbers.gigabytes(row.size),
        gib=numbers.gibibytes(row.size),
        change=numbers.signed(row.size_change(baseline), 1),
    )
    if result.controls.data == "base":
        return (_base_finding(row, baseline), size, Sentence("cliff", bits=numbers.fixed(CLIFF_BITS, 1)))
    ties = [each for each in result.rows if _verdict(each, baseline) == "tie"]
    return (
        _finding(row, baseline, measure, len(ties), len(result.rows) - 1),
        Sentence(
            "instruct",
            average=_text(row.average),
            exactly=numbers.signed(row.points(baseline) or 0.0, 2),
        ),
        Sentence("noise", tie=numbers.fixed(TIE, 1)),
        size,
    )


def _finding(row: Row, baseline: Row, measure: str, ties: int, schemes: int) -> Sentence:
    """What the chosen scheme costs by the measure that is drawn, and whether that is noise."""
    spec = MEASURES[measure]
    value, reference = spec.read(row, baseline), spec.read(baseline, baseline)
    assert value is not None
    assert reference is not None
    said = {"size": _gigabytes(row), "ties": str(ties), "schemes": str(schemes)}
    if row is baseline:
        return Sentence(f"finding_{measure}_baseline", tie=numbers.fixed(TIE, 1), **said)
    if measure == "perplexity":
        return Sentence(
            "finding_perplexity", rise=_rise(value / reference), reference=_text(reference), **said
        )
    spread = spec.spread(baseline)
    side = "inside" if abs(value - reference) < spread else "outside"
    return Sentence(
        f"finding_{measure}_{'above' if value > reference else 'below'}_{side}",
        change=numbers.fixed(abs(value - reference), spec.noted),
        spread=numbers.fixed(spread, spec.noted),
        **said,
    )


def _base_finding(row: Row, baseline: Row) -> Sentence:
    """How far the perplexity rises over F16's, without and with an importance matrix where both are known."""
    said = {"size": _gigabytes(row), "reference": _text(baseline.perplexity)}
    if row is baseline:
        return Sentence("finding_base_baseline", **said)
    perplexity = row.perplexity or row.perplexity_imatrix
    assert perplexity is not None
    assert baseline.perplexity is not None
    ratio = perplexity / baseline.perplexity
    said |= {"rise": _rise(ratio), "times": numbers.times(ratio, 1)}
    removed = row.removed(baseline)
    if removed is not None:
        return Sentence("finding_both", share=numbers.percent(removed, 0), **said)
    if row.perplexity is not None:
        return Sentence("finding_plain", **said)
    return Sentence("finding_imatrix" if ratio < 2 else "finding_imatrix_times", **said)


def _gigabytes(row: Row) -> str:
    return numbers.gigabytes(row.size, 1)


def _text(value: float | None) -> str:
    return "–" if value is None else _two_places(value)


def _rise(ratio: float) -> str:
    return numbers.percent(ratio - 1, 1 if ratio >= 1.01 else 2)


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
    """How one measure is drawn: its axis, the value of a row, and what counts as noise around F16.

    Better is up: the axis of the perplexity runs backwards. `places` are the decimals of the axis, `noted`
    those of a difference.
    """

    domain: tuple[float, float]
    places: int
    noted: int
    read: Callable[[Row, Row], float | None]
    spread: Callable[[Row], float]


MEASURES = {
    "perplexity": Measure((9.2, 7.1), 1, 2, lambda row, base: row.perplexity, lambda base: 0.0),
    "benchmark_loss": Measure((-4.7, 1.4), 0, 1, lambda row, base: row.points(base), lambda base: TIE),
    "gsm8k": Measure(
        (66.5, 80.5), 0, 2, lambda row, base: row.gsm8k, lambda base: math.sqrt(2) * (base.gsm8k_error or 0.0)
    ),
}
INSTRUCT_SIZES, BASE_SIZES, BASE_PERPLEXITY = (2.7, 18.0), (1.85, 18.0), (75.0, 5.6)
SIZE_TICKS = (2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 16.0)
PERPLEXITY_TICKS = (6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 60.0)


def _chart(rows: tuple[Row, ...], baseline: Row, chosen: Row, measure: str) -> Chart:
    if baseline.average is None:
        return _base_chart(rows, baseline, chosen)
    spec = MEASURES[measure]
    low, high = sorted(spec.domain)
    show = numbers.signed if measure == "benchmark_loss" else numbers.fixed
    ticks = tuple((v, show(v, spec.places)) for v in linear_ticks(low, high, 7))
    x, y = _size_axis(INSTRUCT_SIZES), Axis(f"{measure}_axis", spec.domain, ticks)
    marks = [
        _Mark(row, value, None)  # the band around F16 is the noise
        for row in rows
        if (value := spec.read(row, baseline)) is not None
    ]
    reference = spec.read(baseline, baseline)
    assert reference is not None
    notes = _notes(rows, baseline, spec, reference, measure)
    points = _points(marks, x, y, chosen, reference, notes)
    spread = spec.spread(baseline)
    return Chart(
        x,
        y,
        _instruct_series(points),
        (Rule("y", reference, "f16_rule", spread=spread),),
        notes=notes,
        region=Region(INSTRUCT_SIZES[0], 0.985 * min(row.size for row in rows) / 1e9, "no_scores"),
        height=HEIGHT,
    )


def _notes(
    rows: tuple[Row, ...], baseline: Row, spec: Measure, reference: float, measure: str
) -> tuple[Note, ...]:
    """The shelf is named under its band, the cliff beside its foot."""
    low, high = spec.domain
    values = {row.scheme: value for row in rows if (value := spec.read(row, baseline)) is not None}
    lowest = min(values.values()) if low < high else max(values.values())
    spread = spec.spread(baseline)
    within = [scheme for scheme, value in values.items() if abs(value - reference) < spread]
    step = (high - low) / HEIGHT
    below = reference - math.copysign(spread, step) - 18 * step
    said = {
        "ties": str(len(within) - 1),
        "schemes": str(len(rows) - 1),
        "spread": numbers.fixed(spread, 1),
        "change": numbers.signed(lowest - reference, 1),
    }
    return (
        Note(f"shelf_{measure}", 17.6, below, "end", said),
        Note(f"cliff_{measure}", 4.15, lowest + 0.27 * (reference - lowest), "start", said),
    )


def _instruct_series(points: tuple[Point, ...]) -> tuple[Series, ...]:
    """The shelf is the line through all but the types with one level of scales, which are rings beside it."""
    shelf = tuple(point for point in points if point.key not in LEGACY)
    return (
        Series("shelf", shelf, kind="line", role="shelf"),
        Series("legacy", tuple(point for point in points if point.key in LEGACY), role="legacy", size=8),
        *_true_and_quantized(shelf),
    )


def _base_chart(rows: tuple[Row, ...], baseline: Row, chosen: Row) -> Chart:
    """Perplexity by logarithm, since it runs from 6 to 61; a line joins a scheme without and with imatrix."""
    ticks = tuple((v, numbers.integer(v)) for v in PERPLEXITY_TICKS)
    x, y = _size_axis(BASE_SIZES), Axis("perplexity_axis", BASE_PERPLEXITY, ticks, log=True)
    plain = [_Mark(row, row.perplexity, row.perplexity_error) for row in rows if row.perplexity]
    imatrix = [
        _Mark(row, row.perplexity_imatrix, row.imatrix_error) for row in rows if row.perplexity_imatrix
    ]
    assert baseline.perplexity is not None
    notes = (
        Note("shelf_base", 17.6, 7.6, "end"),
        Note("cliff_base", 2.32, 32.0),
    )
    points = _points([*plain, *imatrix], x, y, chosen, baseline.perplexity, notes)
    pairs = tuple(
        Series("pair", (point, other), kind="line", role="pair")
        for point in points[: len(plain)]
        for other in points[len(plain) :]
        if point.key == other.key
    )
    with_imatrix = Series("imatrix", points[len(plain) :], role="method-1", symbol="diamond")
    return Chart(
        x,
        y,
        (*pairs, *_true_and_quantized(points[: len(plain)]), with_imatrix),
        (Rule("y", baseline.perplexity, "f16_rule"),),
        notes=notes,
        height=HEIGHT,
    )


@dataclass(frozen=True, slots=True)
class _Mark:
    """A row's value on the vertical axis, with its standard error."""

    row: Row
    value: float
    error: float | None


def _size_axis(domain: tuple[float, float]) -> Axis:
    """The last tick has the unit, so the axis needs no title."""
    inside = [v for v in SIZE_TICKS if domain[0] <= v <= domain[1]]
    texts = [
        *(numbers.shortest(v) for v in inside[:-1]),
        numbers.with_unit(numbers.shortest(inside[-1]), "GB"),
    ]
    return Axis("", domain, tuple(zip(inside, texts, strict=True)), log=True)


def _points(
    marks: list[_Mark], x: Axis, y: Axis, chosen: Row, reference: float, notes: tuple[Note, ...]
) -> tuple[Point, ...]:
    """The marks with their labels: the chosen one first; F16 is named by its rule, at `reference`."""
    named: dict[str, int] = {}
    for index, mark in enumerate(marks):
        named.setdefault(mark.row.scheme, index)
    across, up = Scale(x.domain, (0.0, 100.0), x.log), Scale(y.domain, (float(HEIGHT), 0.0), y.log)
    labels = [
        Label(
            str(index),
            mark.row.scheme if named[mark.row.scheme] == index and mark.row.scheme != BASELINE else "",
            across(mark.row.size / 1e9) / 100,
            up(mark.value),
            _bar(mark, chosen, up),
            _sides(up(mark.value), up(reference)),
        )
        for index, mark in enumerate(marks)
    ]
    shelf = tuple(
        (label.x, label.y)
        for label, mark in zip(labels, marks, strict=True)
        if mark.row.average is not None and mark.row.scheme not in LEGACY
    )
    labels.sort(key=lambda label: (label.text != chosen.scheme, label.text != FALLBACK))
    plot = LabelArea(
        WIDE,
        NARROW,
        HEIGHT,
        level=(up(reference),),
        curves=(shelf,),
        captions=(
            (RULE_LABEL, up(reference) - 11),
            *((NOTE_CHARACTERS, up(notes[0].y) + shift) for shift in (-3, 3)),
        ),
        strict=True,
    )
    places = place(labels, plot)
    return tuple(_point(mark, places.get(str(i)), chosen) for i, mark in enumerate(marks))


def _sides(at: float, level: float) -> tuple[Side, ...]:
    """Away from F16's rule near it, and from the line through the marks; beside those far below."""
    if at - level > NEAR:
        return "right", "left", "top", "bottom"
    return ("top", "bottom", "left", "right") if at < level else ("bottom", "top", "left", "right")


def _bar(mark: _Mark, chosen: Row, up: Scale) -> tuple[float, float] | None:
    """Only the chosen point shows its error."""
    if mark.error is None or mark.row is not chosen:
        return None
    return up(mark.value + mark.error), up(mark.value - mark.error)


def _point(mark: _Mark, placed: LabelPlace | None, chosen: Row) -> Point:
    row = mark.row
    size = numbers.gigabytes(row.size, 2)
    return Point(
        row.size / 1e9,
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


FIGURE = Figure("quality", "fig-05", "FIG.05", Controls, compute, view, shows="model")
