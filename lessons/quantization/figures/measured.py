"""FIG.05D: perplexity against bits per weight, every format and method, measured on the lesson's own model.

The numbers are those of `make measure`; nothing is computed here but their place. What is quoted of an 8B
model can be laid over as change against its own 16 bits, on an axis of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from lessons.kit import numbers
from lessons.kit.chart import STATIC_HEIGHT, Axis, Chart, Point, Rule, Series
from lessons.kit.controls import FigureControls, choice, switch
from lessons.kit.figure import Figure
from lessons.kit.labels import Label, Placed, Plot, place
from lessons.kit.mathml import tex
from lessons.kit.scales import Scale
from lessons.kit.view import Column, Readout, Sentence, Table, View
from lessons.quantization import sources
from lessons.quantization.sources import Measured
from quant_core import calibrate, evaluate, model

NAMES = {
    "rtn": "RTN", "rtn-symmetric": "RTN symmetric", "gptq": "GPTQ", "gptq-act-order": "GPTQ act-order",
    "awq": "AWQ", "awq-clip": "AWQ clip", "hqq": "HQQ", "nf4": "NF4", "nf4-double": "NF4 double",
    "mxfp4": "MXFP4", "nvfp4": "NVFP4", "fp8": "FP8 E4M3",
}  # fmt: skip
WITHOUT_WIDTH = ("nf4", "nf4-double", "mxfp4", "nvfp4", "fp8")
"""Methods whose name says their width."""

FAMILIES = ("all", "gguf", "rtn", "gptq", "awq", "other")
GROUPS = ("32", "64", "128")
CHOSEN = "Q4_K_M"
ROWS = {row.key: row for row in sources.measured()}
REFERENCE = sources.measured()[0]
LOOKS = {"gguf": "quantized", "rtn": "method-1", "gptq": "method-2", "awq": "method-3", "other": "method-4"}
"""Role of each family's marks; with an importance matrix GGUF's are diamonds."""

SHAPES = {"rtn": "square", "gptq": "triangle-up", "awq": "triangle-down", "other": "pentagon"}

BITS = (1.85, 19.0)
BITS_TICKS = (2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 16.0)
LEAST, ROOM = 0.985, 1.12
"""Of perplexity to that of 16 bits: the foot of the plot, and its room above the worst row shown."""

RATIO_TICKS = {2.0: (1.05, 1.1, 1.2, 1.4, 1.6), 99.0: (1.2, 1.5, 2.0, 3.0, 5.0, 8.0)}
PERPLEXITY_TICKS = {
    2.0: (21.0, 22.0, 23.0, 24.0, 26.0, 28.0, 30.0, 35.0),
    99.0: (21.0, 25.0, 30.0, 40.0, 60.0, 80.0, 120.0, 180.0),
}
"""By the height up to which they serve, as a ratio. 1 is where the rule of 16 bits is named."""

WIDE, NARROW = 900, 236
LABELLED = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K", "Q3_K_S", "Q4_0")
"""First to get a label where many marks compete for room."""


class Controls(FigureControls):
    """Which rows are shown, what is laid over them, and the chosen one."""

    family: str = choice("all", FAMILIES)
    imatrix: str = choice("both", ("both", "without", "with"), style="segments")
    group: str = choice("64", GROUPS, style="segments")
    quoted: bool = switch(False)
    row: str = choice(CHOSEN, ROWS, style="drawn")


def name_of(row: Measured) -> str:
    """The name of a row, as its makers call it: "Q4_K_M imatrix", "GPTQ 3 g64"."""
    if row.family in ("original", "gguf"):
        return f"{row.name} imatrix" if row.importance else row.name
    name = NAMES[row.name]
    return name if row.name in WITHOUT_WIDTH else f"{name} {row.bits} g{row.group_size}"


def view(c: Controls) -> View:
    """The rows of a family, one of them chosen."""
    rows = shown_rows(c)
    chosen = chosen_row(c)
    rise = 100 * (chosen.perplexity / REFERENCE.perplexity - 1)
    rise_error = 100 * chosen.perplexity / REFERENCE.perplexity * chosen.rise_error
    text = sources.measured_conditions()["text"]
    said = {
        "name": name_of(chosen),
        "bits": numbers.fixed(chosen.bits_per_weight, 2),
        "perplexity": numbers.significant(chosen.perplexity, 4),
        "error": numbers.significant(chosen.standard_error, 2),
        "reference": numbers.significant(REFERENCE.perplexity, 4),
        "rise": numbers.signed(rise, _places(rise)),
        "rise_error": numbers.fixed(rise_error, _places(rise)),
        "divergence": numbers.significant(chosen.divergence, 2),
        "agreement": numbers.percent(chosen.agreement, 1),
        "disagreement": numbers.percent(1 - chosen.agreement, 1),
        "predictions": numbers.integer(text["predictions"]),
        "calibration": numbers.integer(text["calibration_tokens"]),
        "seconds": numbers.significant(chosen.seconds, 2),
        "made": sources.measured_conditions()["made"],
    }
    notes = [Sentence("from", **said)]
    if ROWS[c.row] not in rows:
        notes.insert(0, Sentence("not_shown", row=name_of(ROWS[c.row]), shown=name_of(chosen)))
    if c.quoted:
        notes.insert(0, Sentence("only_the_shape"))
    if c.group != "64" and c.family in ("all", "awq", "other"):
        notes.append(Sentence("one_group", group=c.group))
    notes.append(Sentence("calibrated", **said))
    return View(
        readouts=(
            Readout("row", name_of(chosen), name_of(chosen), accent=True),
            Readout("bits_per_weight", chosen.bits_per_weight, said["bits"]),
            Readout("size", chosen.bytes, numbers.fixed(chosen.bytes / 1e6, 2), "MB"),
            Readout("perplexity", chosen.perplexity, said["perplexity"], f"± {said['error']}"),
            Readout("rise", rise, said["rise"], "%"),
            Readout("divergence", chosen.divergence, said["divergence"], "nats"),
            Readout("agreement", chosen.agreement, numbers.fixed(100 * chosen.agreement, 1), "%"),
        ),
        drawing={
            "rows": [
                {
                    "key": row.key,
                    "name": name_of(row),
                    "family": row.family,
                    "importance": row.importance,
                    "chosen": row is chosen,
                    "bits": numbers.fixed(row.bits_per_weight, 2),
                    "perplexity": numbers.significant(row.perplexity, 4),
                    "rise": _rise(row),
                }
                for row in rows
            ],
            "families": list(dict.fromkeys((row.family, row.importance) for row in rows)),
            "quoted": c.quoted,
        },
        description=(
            Sentence("chosen" if chosen is not REFERENCE else "reference", **said),
            Sentence(_verdict(chosen), **said),
            Sentence("curve", **_curve()),
        ),
        table=Table(
            (
                Column("name"),
                Column("bits_per_weight", lambda v: numbers.fixed(v, 3)),
                Column("bytes", numbers.integer),
                Column("perplexity", lambda v: numbers.fixed(v, 3)),
                Column("standard_error", lambda v: numbers.fixed(v, 3)),
                Column("rise", lambda v: numbers.fixed(v, 4)),
                Column("rise_error", lambda v: numbers.fixed(v, 4)),
                Column("divergence", lambda v: numbers.fixed(v, 4)),
                Column("agreement", lambda v: numbers.percent(v, 1)),
                Column("seconds", lambda v: numbers.fixed(v, 1)),
            ),
            tuple(
                (
                    name_of(row),
                    row.bits_per_weight,
                    row.bytes,
                    row.perplexity,
                    row.standard_error,
                    row.rise,
                    row.rise_error,
                    row.divergence,
                    row.agreement,
                    row.seconds,
                )
                for row in rows
            ),
            frozenset({rows.index(chosen)}),
        ),
        formulas=(
            r"\mathrm{PPL} = \exp\left(-\frac{1}{n} \sum_{t} \ln p(x_t \mid x_{<t})\right)"
            rf" = {tex(said['perplexity'])}, \quad n = {tex(said['predictions'])}",
            r"D = \frac{1}{n} \sum_t \sum_v p_{16}(v) \ln \frac{p_{16}(v)}{p(v)}"
            rf" = {tex(said['divergence'])}",
        ),
        ran=(evaluate.evaluate_each, evaluate.windows, model.Transformer.logits, calibrate.gptq_layers),
        notes=tuple(notes),
        chart=_chart(rows, chosen, quoted=c.quoted),
    )


def chosen_row(c: Controls) -> Measured:
    """The row that is picked, or the first but the original where that is not shown."""
    rows = shown_rows(c)
    return ROWS[c.row] if ROWS[c.row] in rows else rows[min(1, len(rows) - 1)]


def shown_rows(c: Controls) -> list[Measured]:
    """The rows that the controls leave, from most to fewest bits; the original always."""

    def is_shown(row: Measured) -> bool:
        if row.family == "original":
            return True
        if c.family not in ("all", row.family):
            return False
        if row.family == "gguf":
            return c.imatrix == "both" or row.importance == (c.imatrix == "with")
        return row.name in WITHOUT_WIDTH or str(row.group_size) == c.group

    rows = [row for row in sources.measured() if is_shown(row)]
    return sorted(rows, key=lambda row: (-row.bits_per_weight, row.perplexity))


def _rise(row: Measured) -> str:
    """Rise of the perplexity over that of 16 bits, in per cent."""
    rise = 100 * (row.perplexity / REFERENCE.perplexity - 1)
    return numbers.signed(rise, _places(rise))


def _places(rise: float) -> int:
    """Decimals of a rise in per cent: as many as its error, a few hundredths of it, gives room for."""
    return 2 if abs(rise) < 1 else 1 if abs(rise) < 100 else 0


def _verdict(row: Measured) -> str:
    """Whether the rise is told from none: more than three of its own standard errors, or fewer."""
    if row is REFERENCE:
        return "is_reference"
    return "is_tie" if abs(row.rise) < 3 * row.rise_error else "is_worse" if row.rise > 0 else "is_better"


def _curve() -> dict[str, str]:
    """Round-to-nearest at groups of 64, width by width: the shape in words."""
    return {
        f"at_{bits}": numbers.significant(ROWS[f"rtn-{bits}-g64"].perplexity, 4) for bits in (6, 5, 4, 3, 2)
    }


# --- the plot ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Plot:
    x: Axis
    y: Axis
    right: Axis


def _axes(rows: list[Measured], quoted: Series | None) -> _Plot:
    """As high as the rows need that are shown; both upward axes have the same share of it for a factor."""
    worst = max(row.perplexity for row in rows) / REFERENCE.perplexity
    if quoted:
        worst = max(worst, *(point.y for point in quoted.points))
    ratios = LEAST, ROOM * worst
    low, high = (REFERENCE.perplexity * ratio for ratio in ratios)
    fine = next(most for most in RATIO_TICKS if ratios[1] <= most)
    return _Plot(
        Axis("bits_axis", BITS, tuple((v, f"{v:g}") for v in BITS_TICKS), log=True),
        Axis(
            "perplexity_axis",
            (low, high),
            tuple((v, numbers.integer(v)) for v in PERPLEXITY_TICKS[fine] if low < v < high),
            log=True,
        ),
        Axis(
            "ratio_axis",
            ratios,
            tuple((v, numbers.times(v)) for v in RATIO_TICKS[fine] if v < ratios[1]),
            log=True,
        ),
    )


def _chart(rows: list[Measured], chosen: Measured, *, quoted: bool) -> Chart:
    laid_over = _quoted() if quoted else None
    axes = _axes(rows, laid_over)
    places = _labels(rows, chosen, axes)
    series = []
    for family, importance in dict.fromkeys((row.family, row.importance) for row in rows):
        points = tuple(
            _point(row, chosen, places.get(row.key))
            for row in rows
            if (row.family, row.importance) == (family, importance)
        )
        name = f"{family}_imatrix" if importance else family
        role = LOOKS.get(family, "true")
        symbol = "diamond" if importance else SHAPES.get(family, "circle")
        series.append(Series(name, points, role=role, symbol=symbol))
    rules = (Rule("y", REFERENCE.perplexity, "reference_rule"),)
    if laid_over is None:
        return Chart(axes.x, axes.y, tuple(series), rules)
    return Chart(axes.x, axes.y, (*series, laid_over), rules, axes.right)


def _quoted() -> Series:
    """FIG.05's Llama 3 8B base without importance matrix: perplexity over that of its own F16."""
    table = sorted(
        (row for row in sources.base_quality_table() if not row.importance),
        key=lambda row: row.bits_per_weight,
    )
    baseline = next(row for row in table if row.scheme == "F16")
    points = tuple(
        Point(
            row.bits_per_weight,
            row.perplexity / baseline.perplexity,
            f"quoted-{row.scheme}",
            hover=f"8B {row.scheme} · × {numbers.fixed(row.perplexity / baseline.perplexity, 3)}",
        )
        for row in table
        if row.bits_per_weight <= BITS[1]
    )
    return Series("quoted", points, kind="line", role="method-5", right=True)


def _labels(rows: list[Measured], chosen: Measured, axes: _Plot) -> dict[str, Placed]:
    across = Scale(axes.x.domain, (0.0, 1.0), log=True)
    up = Scale(axes.y.domain, (float(STATIC_HEIGHT), 0.0), log=True)

    def rank(row: Measured) -> tuple[bool, int, float]:
        first = LABELLED.index(row.name) if row.name in LABELLED and not row.importance else len(LABELLED)
        return row is not chosen, first, -row.perplexity

    labels = [
        Label(
            row.key,
            _label(row) if _is_named(row, chosen) else "",
            across(row.bits_per_weight),
            up(row.perplexity),
        )
        for row in sorted(rows, key=rank)
    ]
    level = up(REFERENCE.perplexity)
    return place(labels, Plot(WIDE, NARROW, STATIC_HEIGHT, level=(level,), captions=((18, level - 11),)))


def _label(row: Measured) -> str:
    """The name in the plot, where the group is that of the control."""
    return name_of(row).removesuffix(f" g{row.group_size}")


def _is_named(row: Measured, chosen: Measured) -> bool:
    """Those that lie on the line of 16 bits would be struck out by it: of them the usual types only."""
    if row is chosen or (row.name in LABELLED and not row.importance):
        return row is not REFERENCE
    return row.perplexity > 1.01 * REFERENCE.perplexity


def _point(row: Measured, chosen: Measured, placed: Placed | None) -> Point:
    return Point(
        row.bits_per_weight,
        row.perplexity,
        row.key,
        label=_label(row) if placed else "",
        hover=f"{name_of(row)} · {numbers.significant(row.perplexity, 4)} ± "
        f"{numbers.significant(row.standard_error, 2)} · {_rise(row)} %",
        marked=row is chosen,
        error=row.standard_error,
        label_side=placed.side if placed else "right",
        label_minor=bool(placed and placed.minor),
    )


FIGURE = Figure("measured", "fig-05d", "FIG.05D", Controls, view)
