"""FIG.05D: perplexity against bits per weight, every format and method, measured on the lesson's own model.

The numbers are those of `make measure`, or of SmolLM2-135M what the job `bigger` (`smollm2.py`) found on this
host; nothing is computed here but their place. What is quoted of an 8B model can be laid over as change
against its own 16 bits, on an axis of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lessons.kit import numbers
from lessons.kit.chart import LABEL_ROOM, STATIC_HEIGHT, Axis, Chart, Point, Rule, Series
from lessons.kit.controls import FigureControls, choice, switch
from lessons.kit.figure import Figure
from lessons.kit.job import Found, Nothing
from lessons.kit.labels import Label, Placed, Plot, place
from lessons.kit.mathml import tex
from lessons.kit.scales import Scale, linear_ticks
from lessons.kit.view import Column, Limit, Readout, Sentence, Table, View
from lessons.quantization import smollm2, sources
from lessons.quantization.measuring import Recipe
from lessons.quantization.sources import Measured, name_of
from quant_core.llm import calibrate, evaluate, model

FAMILIES = ("all", "gguf", "rtn", "gptq", "awq", "w8a8", "other")
GROUPS = ("32", "64", "128")
CHOSEN = "Q4_K_M"
ROWS = {row.key: row for row in sources.measured()}
REFERENCE = sources.measured()[0]
LOOKS = {
    "gguf": "quantized", "rtn": "method-1", "gptq": "method-2", "awq": "method-3", "other": "method-4",
    "w8a8": "method-5",
}  # fmt: skip
"""Role of each family's marks; with an importance matrix GGUF's are diamonds."""

SHAPES = {
    "rtn": "square", "gptq": "triangle-up", "awq": "triangle-down", "other": "pentagon",
    "w8a8": "triangle-right",
}  # fmt: skip

BITS = (1.85, 19.0)
BITS_TICKS = (2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 16.0)
ROOM, LEAST_WORST = 1.12, 1.25
"""Room of the plot above the worst row shown, as a ratio, and the worst that it is drawn for at least: so
error bars on the rule of 16 bits stay clear of its name."""

RATIO_TICKS = {2.0: (1.05, 1.1, 1.2, 1.4, 1.6), 99.0: (1.2, 1.5, 2.0, 3.0, 5.0, 8.0)}
PERPLEXITY_TICKS = {
    2.0: (21.0, 22.0, 23.0, 24.0, 26.0, 28.0, 30.0, 35.0),
    99.0: (21.0, 25.0, 30.0, 40.0, 60.0, 80.0, 120.0, 180.0),
}
"""By the height up to which they serve, as a ratio. 1 is where the rule of 16 bits is named."""

HIGHEST = 12.0
"""Of perplexity to that of the reference: rows beyond it are in the table and not in the plot."""

MOST_TICKS = 7
RULE_LABELS = {"tinylm": 7, "smollm2": 24}
"""Characters of the name of each reference's rule."""

WIDE, NARROW = 900, 236
LABELLED = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K", "Q3_K_S", "Q4_0")
"""First to get a label where many marks compete for room."""


class Controls(FigureControls):
    """Of which model which rows are shown, what is laid over them, and the chosen one."""

    model: str = choice(
        "tinylm",
        ("tinylm", "smollm2"),
        style="segments",
        ahead=False,
        needs={"smollm2": smollm2.is_installed},
    )
    family: str = choice("all", FAMILIES)
    imatrix: str = choice("both", ("both", "without", "with"), style="segments")
    group: str = choice("64", GROUPS, style="segments")
    quoted: bool = switch(False)
    row: str = choice(CHOSEN, ROWS, style="drawn")


@dataclass(frozen=True, slots=True)
class Results:
    """The rows of one model, the reference first; `awaited` where those of SmolLM2 should stand instead."""

    rows: Sequence[Measured]
    predictions: int
    of: str = "tinylm"
    awaited: str = ""

    @property
    def reference(self) -> Measured:
        return self.rows[0]


def results(c: Controls, found: Found) -> Results:
    """What there is to show: SmolLM2's rows where this host has measured any, else the small model's."""
    shipped = sources.measured(), sources.measured_conditions()["text"]["predictions"]
    if c.model == "tinylm":
        return Results(*shipped)
    rows = tuple(Measured(**row) for row in found.state.rows)
    if len(rows) < 2:
        return Results(*shipped, awaited="measure" if found.installed else "missing")
    return Results(rows, smollm2.PREDICTIONS, "smollm2", "" if found.state.finished else "rest")


def view(c: Controls) -> View:
    """The rows of a family, one of them chosen."""
    return on_found(c, Found())


def on_found(c: Controls, found: Found) -> View:
    """The same with what this host has measured."""
    known = results(c, found)
    rows = shown_rows(c, known.rows)
    chosen = chosen_row(c, known.rows)
    beyond = [row for row in rows if row.perplexity > HIGHEST * known.reference.perplexity]
    said = _said(chosen, known)
    return View(
        readouts=_readouts(chosen, known.reference, said),
        drawing={
            "rows": [_listed(row, chosen, known.reference) for row in rows],
            "awaited": known.awaited,
            "of": known.of,
            "families": list(dict.fromkeys((row.family, row.importance) for row in rows)),
            "quoted": c.quoted,
        },
        description=tuple(_description(chosen, known, said)),
        table=_table(rows, chosen),
        formulas=(
            r"\mathrm{PPL} = \exp\left(-\frac{1}{n} \sum_{t} \ln p(x_t \mid x_{<t})\right)"
            rf" = {tex(said['perplexity'])}, \quad n = {tex(said['predictions'])}",
            r"D = \frac{1}{n} \sum_t \sum_v p_{16}(v) \ln \frac{p_{16}(v)}{p(v)}"
            rf" = {tex(said['divergence'])}",
        ),
        ran=(evaluate.evaluate_each, evaluate.windows, model.Transformer.logits, calibrate.gptq_layers),
        notes=tuple(_notes(c, known, rows, beyond, chosen, said)),
        limits=_limits(c),
        chart=_chart([row for row in rows if row not in beyond], chosen, known, quoted=c.quoted),
    )


def _change(row: Measured, reference: Measured) -> tuple[float, float]:
    """By how much its perplexity is above the reference's, and the error of that, in per cent."""
    ratio = row.perplexity / reference.perplexity
    return 100 * (ratio - 1), 100 * ratio * row.rise_error


def _said(chosen: Measured, known: Results) -> dict[str, str]:
    """The numbers of the sentences."""
    rise, rise_error = _change(chosen, known.reference)
    conditions = sources.measured_conditions()
    return {
        "name": name_of(chosen),
        "bits": numbers.fixed(chosen.bits_per_weight, 2),
        "perplexity": numbers.significant(chosen.perplexity, 4),
        "error": numbers.significant(chosen.standard_error, 2),
        "reference": numbers.significant(known.reference.perplexity, 4),
        "source": known.reference.name,
        "rise": numbers.signed(rise, _places(rise)),
        "rise_error": numbers.fixed(rise_error, _places(rise)),
        "divergence": numbers.significant(chosen.divergence, 2),
        "agreement": numbers.percent(chosen.agreement, 1),
        "disagreement": numbers.percent(1 - chosen.agreement, 1),
        "predictions": numbers.integer(known.predictions),
        "calibration": numbers.integer(conditions["text"]["calibration_tokens"]),
        "seconds": numbers.significant(chosen.seconds, 2),
        "made": conditions["made"],
    }


def _readouts(chosen: Measured, reference: Measured, said: dict[str, str]) -> tuple[Readout, ...]:
    rise, _ = _change(chosen, reference)
    return (
        Readout("row", name_of(chosen), name_of(chosen), accent=True),
        Readout("bits_per_weight", chosen.bits_per_weight, said["bits"]),
        Readout("size", chosen.bytes, numbers.fixed(chosen.bytes / 1e6, 2), "MB"),
        Readout("perplexity", chosen.perplexity, said["perplexity"], f"± {said['error']}"),
        Readout("rise", rise, said["rise"], "%"),
        Readout("divergence", chosen.divergence, said["divergence"], "nats"),
        Readout("agreement", chosen.agreement, numbers.fixed(100 * chosen.agreement, 1), "%"),
    )


def _listed(row: Measured, chosen: Measured, reference: Measured) -> dict[str, object]:
    """A row of the list under the plot."""
    return {
        "key": row.key,
        "name": name_of(row),
        "family": row.family,
        "importance": row.importance,
        "chosen": row is chosen,
        "bits": numbers.fixed(row.bits_per_weight, 2),
        "perplexity": numbers.significant(row.perplexity, 4),
        "rise": _rise(row, reference),
    }


def _description(chosen: Measured, known: Results, said: dict[str, str]) -> Iterator[Sentence]:
    of = "_smollm2" if known.of == "smollm2" else "_awaited" if known.awaited else ""
    yield Sentence(("reference" if chosen is known.reference else "chosen") + of, **said)
    yield Sentence(_verdict(chosen, known.reference), **said)
    if curve := _curve(known.rows):
        yield Sentence("curve", **curve)


def _notes(
    c: Controls,
    known: Results,
    rows: Sequence[Measured],
    beyond: Sequence[Measured],
    chosen: Measured,
    said: dict[str, str],
) -> Iterator[Sentence]:
    """What is not as it looks; then how it was measured."""
    small = known.of == "tinylm"
    if c.quoted:
        yield Sentence("only_the_shape")
    wanted = next((row for row in known.rows if row.key == c.row), None)
    if wanted not in rows:
        yield Sentence("not_shown", row=name_of(wanted or ROWS[c.row]), shown=name_of(chosen))
    if beyond:
        named = [f"{name_of(row)} ({numbers.significant(_short(row.perplexity), 3)})" for row in beyond]
        yield Sentence("beyond", rows=", ".join(named), highest=numbers.integer(HIGHEST))
    yield Sentence("from" if small else "from_smollm2", **said)
    if small and c.group != "64" and c.family not in ("gguf", "w8a8"):
        yield Sentence("one_group", group=c.group)
    if chosen.activation_bits < known.reference.activation_bits:
        yield Sentence("activations", bits=str(chosen.activation_bits))
    if chosen.name == "llm-int8":
        yield Sentence("outliers")
    yield Sentence("calibrated" if small else "not_calibrated", **said)


TABLE = (
    Column("name"),
    Column("bits_per_weight", lambda v: numbers.fixed(v, 3)),
    Column("activation_bits", str),
    Column("bytes", numbers.integer),
    Column("perplexity", lambda v: numbers.fixed(v, 3)),
    Column("standard_error", lambda v: numbers.fixed(v, 3)),
    Column("rise", lambda v: numbers.fixed(v, 4)),
    Column("rise_error", lambda v: numbers.fixed(v, 4)),
    Column("divergence", lambda v: numbers.fixed(v, 4)),
    Column("agreement", lambda v: numbers.percent(v, 1)),
    Column("seconds", lambda v: numbers.fixed(v, 1)),
)
"""After the name each column is the field of a row."""


def _table(rows: Sequence[Measured], chosen: Measured) -> Table:
    values = tuple((name_of(row), *(getattr(row, column.name) for column in TABLE[1:])) for row in rows)
    return Table(TABLE, values, frozenset({rows.index(chosen)}))


def _limits(c: Controls) -> dict[str, Limit]:
    """Controls of rows that the chosen family does not have."""
    limits = {}
    if c.family not in ("all", "gguf"):
        limits["imatrix"] = Limit(Sentence("gguf_only"))
    if c.family in ("gguf", "w8a8"):
        limits["group"] = Limit(Sentence("own_blocks" if c.family == "gguf" else "by_row"))
    return limits


def chosen_row(c: Controls, of: Sequence[Measured] | None = None) -> Measured:
    """The row that is picked, or the first but the original where that is not shown."""
    rows = shown_rows(c, of)
    picked = next((row for row in rows if row.key == c.row), None)
    return picked or rows[min(1, len(rows) - 1)]


def shown_rows(c: Controls, of: Sequence[Measured] | None = None) -> list[Measured]:
    """The rows that the controls leave, from most to fewest bits; the original always and first."""
    rows = [row for row in of or sources.measured() if is_shown(c, row)]
    return sorted(rows, key=lambda row: (row.family != "original", -row.bits_per_weight, row.perplexity))


def is_shown(c: Controls, row: Measured | Recipe) -> bool:
    """Whether the controls leave a row, measured or only wanted."""
    if row.family == "original":
        return True
    if c.family not in ("all", row.family):
        return False
    if row.family == "gguf":
        return c.imatrix == "both" or row.importance == (c.imatrix == "with")
    return row.group_size in (0, int(c.group))


def _rise(row: Measured, reference: Measured) -> str:
    """Rise of the perplexity over that of the reference, in per cent."""
    rise = 100 * (row.perplexity / reference.perplexity - 1)
    return numbers.signed(rise, _places(rise))


def _places(rise: float) -> int:
    """Decimals of a rise in per cent: as many as its error, a few hundredths of it, gives room for."""
    return 2 if abs(rise) < 1 else 1 if abs(rise) < 100 else 0


def _short(value: float) -> float:
    """Three digits and zeros behind them: what a perplexity of millions is worth."""
    return float(f"{value:.3g}")


def _verdict(row: Measured, reference: Measured) -> str:
    """Whether the rise is told from none: more than three of its own standard errors, or fewer."""
    if row is reference:
        return "is_reference"
    return "is_tie" if abs(row.rise) < 3 * row.rise_error else "is_worse" if row.rise > 0 else "is_better"


def _curve(rows: Sequence[Measured]) -> dict[str, str]:
    """Round-to-nearest at groups of 64, width by width: the shape in words; empty while it is incomplete."""
    known = {row.key: row.perplexity for row in rows}
    keys = {f"at_{bits}": f"rtn-{bits}-g64" for bits in (6, 5, 4, 3, 2)}
    if not known.keys() >= set(keys.values()):
        return {}
    return {name: numbers.significant(known[key], 4) for name, key in keys.items()}


# --- the plot ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Plot:
    x: Axis
    y: Axis
    right: Axis


def _axes(rows: list[Measured], reference: Measured, quoted: Series | None) -> _Plot:
    """As high as the rows need that are shown; both upward axes have the same share of it for a factor."""
    worst = max(LEAST_WORST, max(row.perplexity for row in rows) / reference.perplexity)
    if quoted:
        worst = max(worst, *(point.y for point in quoted.points))
    high = ROOM * worst
    # Below the rule there is room for its name, and for the error bars of marks that lie on it.
    error = reference.standard_error / reference.perplexity
    ratios = min(high ** (-LABEL_ROOM / (STATIC_HEIGHT - LABEL_ROOM)), 0.99 - error), high
    low, high = (reference.perplexity * ratio for ratio in ratios)
    fine = next(most for most in RATIO_TICKS if ratios[1] <= most)
    ticks = PERPLEXITY_TICKS[fine] if reference is REFERENCE else _ticks(reference.perplexity, high)
    return _Plot(
        Axis("bits_axis", BITS, tuple((v, f"{v:g}") for v in BITS_TICKS), log=True),
        Axis(
            "perplexity_axis",
            (low, high),
            tuple((v, numbers.fixed(v, 0 if v.is_integer() else 1)) for v in ticks if low < v < high),
            log=True,
        ),
        Axis(
            "ratio_axis",
            ratios,
            tuple((v, numbers.times(v)) for v in RATIO_TICKS[fine] if v < ratios[1]),
            log=True,
        ),
    )


def _ticks(low: float, high: float) -> tuple[float, ...]:
    """A few round numbers from the reference up; 1 is where its rule is named."""
    if high < 2 * low:
        return tuple(value for value in linear_ticks(low, high, MOST_TICKS) if value > 1.01 * low)
    rounds = [m * 10.0**power for power in range(1, 6) for m in (1, 1.5, 2, 3, 4, 6, 8)]
    inside = [value for value in rounds if 1.05 * low < value < high]
    return tuple(inside[:: -(-len(inside) // MOST_TICKS)])


def _chart(rows: list[Measured], chosen: Measured, known: Results, *, quoted: bool) -> Chart:
    laid_over = _quoted() if quoted else None
    reference = known.reference
    axes = _axes(rows, reference, laid_over)
    places = _labels(rows, chosen, known, axes)
    series = []
    for family, importance in dict.fromkeys((row.family, row.importance) for row in rows):
        points = tuple(
            _point(row, chosen, reference, places.get(row.key))
            for row in rows
            if (row.family, row.importance) == (family, importance)
        )
        name = f"{family}_imatrix" if importance else family
        role = LOOKS.get(family, "true")
        symbol = "diamond" if importance else SHAPES.get(family, "circle")
        series.append(Series(name, points, role=role, symbol=symbol))
    rule = "reference_rule" if known.of == "tinylm" else "shipped_rule"
    rules = (Rule("y", reference.perplexity, rule, below=True),)
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


def _labels(rows: list[Measured], chosen: Measured, known: Results, axes: _Plot) -> dict[str, Placed]:
    reference = known.reference
    across = Scale(axes.x.domain, (0.0, 100.0), log=True)  # it rounds to hundredths
    up = Scale(axes.y.domain, (float(STATIC_HEIGHT), 0.0), log=True)

    def rank(row: Measured) -> tuple[bool, int, float]:
        first = LABELLED.index(row.name) if row.name in LABELLED and not row.importance else len(LABELLED)
        return row is not chosen, first, -row.perplexity

    labels = [
        Label(
            row.key,
            _label(row) if _is_named(row, chosen, reference) else "",
            across(row.bits_per_weight) / 100,
            up(row.perplexity),
        )
        for row in sorted(rows, key=rank)
    ]
    level = up(reference.perplexity)
    named = ((RULE_LABELS[known.of], level + 18),)
    return place(labels, Plot(WIDE, NARROW, STATIC_HEIGHT, level=(level,), starts=named, strict=True))


def _label(row: Measured) -> str:
    """The name in the plot, where the group is that of the control."""
    return name_of(row).removesuffix(f" g{row.group_size}")


def _is_named(row: Measured, chosen: Measured, reference: Measured) -> bool:
    """Those that lie on the line of 16 bits would be struck out by it: of them the usual types only."""
    if row is chosen or (row.name in LABELLED and not row.importance):
        return row is not reference
    return row.perplexity > 1.01 * reference.perplexity


def _point(row: Measured, chosen: Measured, reference: Measured, placed: Placed | None) -> Point:
    return Point(
        row.bits_per_weight,
        row.perplexity,
        row.key,
        label=_label(row) if placed else "",
        hover=f"{name_of(row)} · {numbers.significant(row.perplexity, 4)} ± "
        f"{numbers.significant(row.standard_error, 2)} · {_rise(row, reference)} %",
        marked=row is chosen,
        error=row.standard_error,
        label_side=placed.side if placed else "right",
        label_minor=bool(placed and placed.minor),
    )


def job(c: Controls) -> tuple[str, Nothing] | None:
    """What measures SmolLM2 on this host."""
    return ("bigger", Nothing()) if c.model == "smollm2" else None


FIGURE = Figure("measured", "fig-05d", "FIG.05D", Controls, None, view, job=job, on_found=on_found)
