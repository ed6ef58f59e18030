"""FIG.05D: perplexity against bits per weight, every format and method, measured on the lesson's own model.

The numbers are those of `make measure`, or of SmolLM2-135M what the job `bigger` found on this host; nothing
is computed here but their place. What is quoted of an 8B model can be laid over as change against its own 16
bits, on an axis of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from lessons.kit import numbers
from lessons.kit.chart import LABEL_ROOM, STATIC_HEIGHT, Axis, Chart, Point, Rule, Series
from lessons.kit.controls import FigureControls, choice, switch
from lessons.kit.figure import Figure
from lessons.kit.job import Found, Nothing
from lessons.kit.labels import Label, LabelArea, LabelPlace, place
from lessons.kit.mathml import tex
from lessons.kit.scales import Scale, linear_ticks
from lessons.kit.view import Column, Limit, Readout, Sentence, Table, View
from lessons.quantization import smollm2, sources
from lessons.quantization.measuring import Recipe
from lessons.quantization.sources import Measured, name_of
from quant_core.llm import calibrate, evaluate
from quant_core.llm.model import Transformer

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

MeasuredOrRecipe = TypeVar("MeasuredOrRecipe", Measured, Recipe)


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


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """The rows of one model, and the chosen one of those that are shown; the read-outs have their names.

    The first of `rows` is the reference; `shown` are in order of bits, the reference first. `size` is in
    bytes, `rise` is that of the perplexity over the reference's in per cent, `divergence` in nats.
    """

    controls: Controls
    model: str
    rows: Sequence[Measured]
    shown: list[Measured]
    chosen: Measured
    row: str
    bits_per_weight: float
    size: int
    perplexity: float
    rise: float
    divergence: float
    agreement: float

    @property
    def reference(self) -> Measured:
        return self.rows[0]


def compute(controls: Controls) -> Result:
    """Choose one of the rows that `make measure` wrote; measuring them takes minutes."""
    return choose(controls, "tinylm", sources.measured())


def compute_smollm2(controls: Controls) -> Result:
    """Measure SmolLM2-135M as it is shipped, and as the chosen row rounds it; this takes minutes."""
    file = smollm2.opened()
    largest_first = sorted(smollm2.RECIPES, key=lambda recipe: -smollm2.size_of(recipe, file))
    shown = [recipe for recipe in largest_first if is_shown(controls, recipe)]
    shown.sort(key=lambda recipe: recipe.family != "original")
    recipes = tuple(dict.fromkeys((shown[0], chosen_of(shown, controls.row))))
    rows = [Measured(**step.row) for step in smollm2.measure(recipes) if step.row]
    return choose(controls, "smollm2", rows)


def choose(controls: Controls, model: str, rows: Sequence[Measured]) -> Result:
    """Choose a row of those that the controls leave, and compare it with the reference."""
    shown = [row for row in rows if is_shown(controls, row)]
    shown.sort(key=lambda row: (row.family != "original", -row.bits_per_weight, row.perplexity))
    chosen = chosen_of(shown, controls.row)
    return Result(
        controls,
        model,
        rows,
        shown,
        chosen,
        row=name_of(chosen),
        bits_per_weight=chosen.bits_per_weight,
        size=chosen.bytes,
        perplexity=chosen.perplexity,
        rise=100 * (chosen.perplexity / rows[0].perplexity - 1),
        divergence=chosen.divergence,
        agreement=chosen.agreement,
    )


def chosen_of(shown: Sequence[MeasuredOrRecipe], key: str) -> MeasuredOrRecipe:
    """The row of this key, or the first but the reference where it is not shown."""
    return next((row for row in shown if row.key == key), shown[min(1, len(shown) - 1)])


def is_shown(controls: Controls, row: Measured | Recipe) -> bool:
    """Whether the controls leave a row, measured or only wanted."""
    if row.family == "original":
        return True
    if controls.family not in ("all", row.family):
        return False
    if row.family == "gguf":
        return controls.imatrix == "both" or row.importance == (controls.imatrix == "with")
    return row.group_size in (0, int(controls.group))


def on_found(controls: Controls, found: Found) -> View:
    """The view with what this host has measured; until that is enough, the small model's."""
    rows = found.state.rows
    if controls.model == "tinylm" or len(rows) < 2:
        return view(compute(controls), found)
    return view(choose(controls, "smollm2", [Measured(**row) for row in rows]), found)


def view(result: Result, found: Found | None = None) -> View:
    controls, chosen = result.controls, result.chosen
    in_plot, beyond = _in_plot(result)
    perplexity = Readout.of(
        result,
        "perplexity",
        lambda v: numbers.significant(v, 4),
        f"± {numbers.significant(chosen.standard_error, 2)}",
    )
    divergence = Readout.of(result, "divergence", lambda v: numbers.significant(v, 2), "nats")
    predictions = numbers.integer(_predictions(result))
    awaited = _awaited(result, found or Found())
    return View(
        readouts=(
            Readout.of(result, "row", str, accent=True),
            Readout.of(result, "bits_per_weight", lambda v: numbers.fixed(v, 2)),
            Readout.of(result, "size", lambda v: numbers.fixed(v / 1e6, 2), "MB"),
            perplexity,
            Readout.of(result, "rise", lambda v: numbers.signed(v, _places(v)), "%"),
            divergence,
            Readout.of(result, "agreement", lambda v: numbers.fixed(100 * v, 1), "%"),
        ),
        drawing=_drawing(result, awaited),
        description=tuple(_description(result, awaited)),
        table=_table(result),
        formulas=(
            r"\mathrm{PPL} = \exp\left(-\frac{1}{n} \sum_{t} \ln p(x_t \mid x_{<t})\right)"
            rf" = {tex(perplexity.text)}, \quad n = {tex(predictions)}",
            r"D = \frac{1}{n} \sum_t \sum_v p_{16}(v) \ln \frac{p_{16}(v)}{p(v)}"
            rf" = {tex(divergence.text)}",
        ),
        ran=(evaluate.evaluate_each, evaluate.windows, Transformer.logits, calibrate.gptq_layers),
        notes=tuple(_notes(result, beyond, predictions)),
        limits=_limits(controls),
        chart=_chart(in_plot, result),
    )


def _awaited(result: Result, found: Found) -> str:
    """What is missing of SmolLM2's rows: the package, the measurement, the rest of it; "" for nothing."""
    if result.controls.model == "tinylm":
        return ""
    if result.model == "tinylm":
        return "measure" if found.installed else "missing"
    return "" if found.state.finished else "rest"


def _predictions(result: Result) -> int:
    if result.model == "smollm2":
        return smollm2.PREDICTIONS
    predictions: int = sources.measured_conditions()["text"]["predictions"]
    return predictions


def _in_plot(result: Result) -> tuple[list[Measured], list[Measured]]:
    """The rows that the plot has room for, and those far above."""
    highest = HIGHEST * result.reference.perplexity
    return (
        [row for row in result.shown if row.perplexity <= highest],
        [row for row in result.shown if row.perplexity > highest],
    )


def _description(result: Result, awaited: str) -> Iterator[Sentence]:
    chosen, reference = result.chosen, result.reference
    of = "_smollm2" if result.model == "smollm2" else "_awaited" if awaited else ""
    yield Sentence(
        ("reference" if chosen is reference else "chosen") + of,
        error=numbers.significant(chosen.standard_error, 2),
        reference=numbers.significant(reference.perplexity, 4),
        source=reference.name,
    )
    rise_error = 100 * chosen.perplexity / reference.perplexity * chosen.rise_error
    yield Sentence(
        _verdict(chosen, reference),
        rise_error=numbers.fixed(rise_error, _places(result.rise)),
        disagreement=numbers.percent(1 - chosen.agreement, 1),
    )
    if curve := _curve(result.rows):
        yield Sentence("curve", **curve)


def _notes(result: Result, beyond: list[Measured], predictions: str) -> Iterator[Sentence]:
    controls, chosen, small = result.controls, result.chosen, result.model == "tinylm"
    if controls.quoted:
        yield Sentence("only_the_shape")
    wanted = next((row for row in result.rows if row.key == controls.row), None)
    if wanted not in result.shown:
        yield Sentence("not_shown", wanted=name_of(wanted or ROWS[controls.row]))
    if beyond:
        named = [f"{name_of(row)} ({numbers.significant(_short(row.perplexity), 3)})" for row in beyond]
        yield Sentence("beyond", rows=", ".join(named), highest=numbers.integer(HIGHEST))
    conditions = sources.measured_conditions()
    if small:
        yield Sentence("from", made=conditions["made"], predictions=predictions)
    else:
        yield Sentence("from_smollm2", predictions=predictions, source=result.reference.name)
    if small and controls.group != "64" and controls.family not in ("gguf", "w8a8"):
        yield Sentence("one_group", group=controls.group)
    if chosen.activation_bits < result.reference.activation_bits:
        yield Sentence("activations", bits=str(chosen.activation_bits))
    if chosen.name == "llm-int8":
        yield Sentence("outliers")
    if small:
        yield Sentence("calibrated", calibration=numbers.integer(conditions["text"]["calibration_tokens"]))
    else:
        yield Sentence("not_calibrated")


def _drawing(result: Result, awaited: str) -> dict[str, Any]:
    return {
        "rows": [
            {
                "key": row.key,
                "name": name_of(row),
                "family": row.family,
                "importance": row.importance,
                "chosen": row is result.chosen,
                "bits": numbers.fixed(row.bits_per_weight, 2),
                "perplexity": numbers.significant(row.perplexity, 4),
                "rise": _rise(row, result.reference),
            }
            for row in result.shown
        ],
        "awaited": awaited,
        "of": result.model,
        "families": list(dict.fromkeys((row.family, row.importance) for row in result.shown)),
        "quoted": result.controls.quoted,
    }


def _table(result: Result) -> Table:
    columns = (
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
    return Table(
        (Column("name"), *columns),
        tuple((name_of(row), *(getattr(row, column.name) for column in columns)) for row in result.shown),
        frozenset({result.shown.index(result.chosen)}),
    )


def _limits(controls: Controls) -> dict[str, Limit]:
    """Controls of rows that the chosen family does not have."""
    limits = {}
    if controls.family not in ("all", "gguf"):
        limits["imatrix"] = Limit(Sentence("gguf_only"))
    if controls.family in ("gguf", "w8a8"):
        limits["group"] = Limit(Sentence("own_blocks" if controls.family == "gguf" else "by_row"))
    return limits


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
class _Axes:
    x: Axis
    y: Axis
    right: Axis


def _axes(rows: list[Measured], reference: Measured, quoted: Series | None) -> _Axes:
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
    return _Axes(
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


def _chart(rows: list[Measured], result: Result) -> Chart:
    laid_over = _quoted() if result.controls.quoted else None
    reference = result.reference
    axes = _axes(rows, reference, laid_over)
    places = _labels(rows, result, axes)
    series = []
    for family, importance in dict.fromkeys((row.family, row.importance) for row in rows):
        points = tuple(
            _point(row, result, places.get(row.key))
            for row in rows
            if (row.family, row.importance) == (family, importance)
        )
        name = f"{family}_imatrix" if importance else family
        role = LOOKS.get(family, "true")
        symbol = "diamond" if importance else SHAPES.get(family, "circle")
        series.append(Series(name, points, role=role, symbol=symbol))
    rule = "reference_rule" if result.model == "tinylm" else "shipped_rule"
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


def _labels(rows: list[Measured], result: Result, axes: _Axes) -> dict[str, LabelPlace]:
    chosen, reference = result.chosen, result.reference
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
    named = ((RULE_LABELS[result.model], level + 18),)
    return place(labels, LabelArea(WIDE, NARROW, STATIC_HEIGHT, level=(level,), starts=named, strict=True))


def _label(row: Measured) -> str:
    """The name in the plot, where the group is that of the control."""
    return name_of(row).removesuffix(f" g{row.group_size}")


def _is_named(row: Measured, chosen: Measured, reference: Measured) -> bool:
    """Those that lie on the line of 16 bits would be struck out by it: of them the usual types only."""
    if row is chosen or (row.name in LABELLED and not row.importance):
        return row is not reference
    return row.perplexity > 1.01 * reference.perplexity


def _point(row: Measured, result: Result, placed: LabelPlace | None) -> Point:
    return Point(
        row.bits_per_weight,
        row.perplexity,
        row.key,
        label=_label(row) if placed else "",
        hover=f"{name_of(row)} · {numbers.significant(row.perplexity, 4)} ± "
        f"{numbers.significant(row.standard_error, 2)} · {_rise(row, result.reference)} %",
        marked=row is result.chosen,
        error=row.standard_error,
        label_side=placed.side if placed else "right",
        label_minor=bool(placed and placed.minor),
    )


def job(controls: Controls) -> tuple[str, Nothing] | None:
    """What measures SmolLM2 on this host."""
    return ("bigger", Nothing()) if controls.model == "smollm2" else None


FIGURE = Figure(
    *("measured", "fig-05d", "FIG.05D", Controls, compute, view),
    shows="model",
    job=job,
    on_found=on_found,
    compute_job=compute_smollm2,
)
