"""FIG.05D: what each format and method costs in perplexity, measured on the lesson's own model.

The numbers are those of `make measure`, or of SmolLM2-135M what the job `bigger` found on this host; nothing
is computed here but their place. The cost is the rise over 16 bits in per cent, by logarithm, so that four
bits and eight are told apart as well as two. What is quoted of an 8B model can be laid over: its own rise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lessons.kit import numbers
from lessons.kit.chart import Axis, Chart, Point, Rule, Series
from lessons.kit.controls import FigureControls, choice, switch
from lessons.kit.figure import Figure
from lessons.kit.job import Found, Nothing
from lessons.kit.labels import Label, LabelArea, LabelPlace, place
from lessons.kit.mathml import tex
from lessons.kit.scales import Scale
from lessons.kit.view import Column, Limit, Readout, Sentence, Table, View
from lessons.quantization import smollm2, sources
from lessons.quantization.measuring import TRAINED_FOR, Recipe
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

K_QUANTS = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
"""The line of the usual GGUF types; with an importance matrix it goes on to IQ1_S."""

LINES = {
    "gguf": ("GGUF", (*K_QUANTS, "IQ2_M", "IQ2_XXS", "IQ1_S")),
    "rtn": ("RTN", ("rtn",)),
    "gptq": ("GPTQ", ("gptq",)),
    "awq": ("AWQ", ("awq",)),
    "other": ("HQQ", ("hqq",)),
}
"""The line of each family: its name, and the formats or methods that it joins, one at each width."""

BITS, BITS_TICKS = (1.3, 9.2), (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
LEAST, FLOOR = 0.08, 0.1
"""Per cent: the upper edge of the plot, and the rise up to which marks lie on its first line: with 0.02 or
0.03 of error, less is not told from nothing."""

RISE_TICKS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
ROOM, LEAST_WORST = 2.2, 10.0
"""Room of the plot below the worst row shown, as a ratio, and the worst, in per cent, that it is drawn for at
least."""

HIGHEST = 12.0
"""Of perplexity to that of the reference: rows beyond it are in the table and not in the plot."""

A_BIT = (0.6, 1.4)
"""Bits that count as about one less."""

HEIGHT = 312
WIDE, NARROW = 520, 236
LABELLED = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K", "Q3_K_S", "Q4_0")
"""First to get a label where many marks compete for room."""

MeasuredOrRecipe = TypeVar("MeasuredOrRecipe", Measured, Recipe)


class Controls(FigureControls):
    """Which rows are shown, the chosen one, what is laid over them, and of which model they are."""

    family: str = choice("all", FAMILIES)
    row: str = choice(CHOSEN, ROWS, labels={key: name_of(row) for key, row in ROWS.items()})
    quoted: bool = switch(False)
    imatrix: str = choice("both", ("both", "without", "with"), style="segments")
    group: str = choice("64", GROUPS, style="segments")
    model: str = choice(
        "tinylm",
        ("tinylm", "smollm2"),
        style="segments",
        ahead=False,
        needs={"smollm2": smollm2.is_installed},
    )


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
    chosen = result.chosen
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
            Readout.of(result, "rise", lambda v: numbers.signed(v, _places(v)), "%", accent=True),
            Readout.of(result, "bits_per_weight", lambda v: numbers.fixed(v, 2)),
            perplexity,
            Readout.of(result, "row", str, accent=chosen is not result.reference),
            Readout.of(result, "size", lambda v: numbers.fixed(v / 1e6, 2), "MB"),
            divergence,
            Readout.of(result, "agreement", lambda v: numbers.fixed(100 * v, 1), "%"),
        ),
        drawing={"awaited": awaited, "of": result.model},
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
        limits=_limits(result),
        source=Sentence("source" if result.model == "tinylm" else "source_smollm2", predictions=predictions),
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
    """The rows that the plot has room for, and those far worse."""
    highest = HIGHEST * result.reference.perplexity
    return (
        [row for row in result.shown if row.perplexity <= highest],
        [row for row in result.shown if row.perplexity > highest],
    )


def _description(result: Result, awaited: str) -> Iterator[Sentence]:
    chosen, reference = result.chosen, result.reference
    rise_error = 100 * chosen.perplexity / reference.perplexity * chosen.rise_error
    said = {
        "error": numbers.significant(chosen.standard_error, 2),
        "reference": numbers.significant(reference.perplexity, 4),
        "source": reference.name,
        "rise_error": numbers.fixed(rise_error, _places(result.rise)),
        "disagreement": numbers.percent(1 - chosen.agreement, 1),
    }
    yield _finding(result, awaited, said)
    yield Sentence("reference" if chosen is reference else "chosen", **said)
    yield Sentence(f"is_{_verdict(chosen, reference)}", **said)
    if curve := _curve(result.rows):
        yield Sentence("curve", **curve)


def _finding(result: Result, awaited: str, said: dict[str, str]) -> Sentence:
    """What the chosen row costs, and what the row of its line costs that has about a bit less."""
    verdict = _verdict(result.chosen, result.reference)
    if result.model == "tinylm" and awaited:
        return Sentence("finding_awaited")
    if result.chosen.name in TRAINED_FOR:
        return Sentence("finding_trained_for", **said)
    if verdict == "reference":
        return Sentence("finding_reference" if result.model == "tinylm" else "finding_shipped", **said)
    lower = _a_bit_less(result)
    if verdict != "worse" or lower is None:
        return Sentence(f"finding_{verdict}", cost=_cost(result.rise), **said)
    lower_rise = 100 * (lower.perplexity / result.reference.perplexity - 1)
    return Sentence(
        "finding_worse_lower",
        cost=_cost(result.rise),
        lower=name_of(lower),
        lower_cost=_cost(lower_rise),
        **said,
    )


def _cost(rise: float) -> str:
    return numbers.fixed(rise, _places(rise)) if abs(rise) < 1000 else numbers.integer(rise)


def _a_bit_less(result: Result) -> Measured | None:
    """The row of the chosen one's line or kind that has about one bit less, the nearest to it.

    IQ types are compared with IQ types.
    """
    chosen = result.chosen
    steps = [
        (abs(chosen.bits_per_weight - row.bits_per_weight - 1), row)
        for row in result.shown
        if (row.family, row.importance) == (chosen.family, chosen.importance)
        if A_BIT[0] <= chosen.bits_per_weight - row.bits_per_weight <= A_BIT[1]
        if chosen.family == "gguf" or (row.name, row.group_size) == (chosen.name, chosen.group_size)
        if row.perplexity > chosen.perplexity and row.name not in TRAINED_FOR
        if row.name.startswith("IQ") == chosen.name.startswith("IQ")
    ]
    return min(steps, key=lambda step: step[0])[1] if steps else None


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


def _limits(result: Result) -> dict[str, Limit]:
    """Rows that are not shown, and controls of rows that the chosen family does not have."""
    family, shown = result.controls.family, {row.key for row in result.shown}
    limits = {"row": Limit(Sentence("only_shown"), tuple(key for key in ROWS if key not in shown))}
    if family not in ("all", "gguf"):
        limits["imatrix"] = Limit(Sentence("gguf_only"))
    if family in ("gguf", "w8a8"):
        limits["group"] = Limit(Sentence("own_blocks" if family == "gguf" else "by_row"))
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
        return "reference"
    return "tie" if abs(row.rise) < 3 * row.rise_error else "worse" if row.rise > 0 else "better"


def _curve(rows: Sequence[Measured]) -> dict[str, str]:
    """Round-to-nearest at groups of 64, width by width: the shape in words; empty while it is incomplete."""
    known = {row.key: row.perplexity for row in rows}
    keys = {f"at_{bits}": f"rtn-{bits}-g64" for bits in (6, 5, 4, 3, 2)}
    if not known.keys() >= set(keys.values()):
        return {}
    return {name: numbers.significant(known[key], 4) for name, key in keys.items()}


# --- the plot ---------------------------------------------------------------------------------------------


def _axes(rows: Sequence[Measured], result: Result, quoted: Series | None) -> tuple[Axis, Axis]:
    """As deep as the rows need that are shown. Better is up: the axis of the cost runs downwards."""
    worst = max((_drawn_rise(row, result) for row in rows), default=LEAST_WORST)
    worst = (
        max(LEAST_WORST, worst, *(point.y for point in quoted.points)) if quoted else max(LEAST_WORST, worst)
    )
    domain = (ROOM * worst, LEAST)
    ticks = [(FLOOR, f"≤ {numbers.shortest(FLOOR)}")]
    ticks += [(v, f"+{numbers.shortest(v)}") for v in RISE_TICKS if v < domain[0]]
    return (
        Axis("bits_axis", BITS, tuple((v, numbers.shortest(v)) for v in BITS_TICKS)),
        Axis("rise_axis", domain, tuple(ticks), log=True),
    )


def _drawn_rise(row: Measured, result: Result) -> float:
    """Rise in per cent, where the plot has it."""
    return max(FLOOR, 100 * (row.perplexity / result.reference.perplexity - 1))


def _chart(rows: list[Measured], result: Result) -> Chart:
    rows = [row for row in rows if row is not result.reference]
    laid_over = _quoted() if result.controls.quoted else None
    x, y = _axes(rows, result, laid_over)
    places = _labels(rows, result, x, y, laid_over)
    laid_over = _quoted(places) if laid_over else None
    series: list[Series] = []
    for family, importance in dict.fromkeys((row.family, row.importance) for row in rows):
        kind = [row for row in rows if (row.family, row.importance) == (family, importance)]
        points = {row.key: _point(row, result, places.get(row.key)) for row in kind}
        name, role = f"{family}_imatrix" if importance else family, LOOKS[family]
        symbol = "diamond" if importance else SHAPES.get(family, "circle")
        if line := [points[row.key] for row in kind if _is_on_line(row)][::-1]:
            series.append(Series(f"{name}_line", tuple(line), kind="line", role=role))
        for on_line, size in ((False, 7), (True, 9)):
            marks = tuple(
                points[row.key] for row in kind if _is_on_line(row) is on_line and row is not result.chosen
            )
            if marks:
                series.append(Series(name, marks, role=role, symbol=symbol, size=size))
        if result.chosen in kind:
            series.append(Series(name, (points[result.chosen.key],), role=role, symbol=symbol))
    # Lines below the marks, the chosen one above all: its name may have to stand on others.
    series.sort(key=lambda each: (each.kind != "line", len(each.points) == 1 and each.points[0].marked))
    rules = (Rule("y", FLOOR, "reference_rule" if result.model == "tinylm" else "shipped_rule"),)
    return Chart(x, y, (*([laid_over] if laid_over else []), *series), rules, height=HEIGHT)


def _is_on_line(row: Measured) -> bool:
    return row.name in LINES.get(row.family, ("", ()))[1]


def _quoted(places: Mapping[str, LabelPlace] | None = None) -> Series:
    """FIG.05's Llama 3 8B base without importance matrix: its rise over its own F16, named where placed."""
    places = places or {}
    table = sorted(
        (row for row in sources.base_quality_table() if not row.importance),
        key=lambda row: row.bits_per_weight,
    )
    baseline = next(row for row in table if row.scheme == "F16")
    rises = {row.scheme: 100 * (row.perplexity / baseline.perplexity - 1) for row in table}
    points = [
        Point(
            row.bits_per_weight,
            max(FLOOR, rises[row.scheme]),
            f"quoted-{row.scheme}",
            label="8B" if f"quoted-{row.scheme}" in places else "",
            hover=f"8B {row.scheme} · {numbers.signed(rises[row.scheme], 2)} %",
            label_side=places[f"quoted-{row.scheme}"].side if f"quoted-{row.scheme}" in places else "right",
        )
        for row in table
        if row.scheme in K_QUANTS
    ]
    return Series("quoted", tuple(points), kind="both", role="method-5", size=6)


def _labels(
    rows: Sequence[Measured], result: Result, x: Axis, y: Axis, quoted: Series | None
) -> dict[str, LabelPlace]:
    """The chosen row, each line once, as near to an end of it as there is room, and what else has room.

    Where all families are shown, marks beside the lines have names only where they are of no line's family.
    """
    across, up = Scale(x.domain, (0.0, 100.0)), Scale(y.domain, (float(HEIGHT), 0.0), log=True)
    alone = result.controls.family != "all"
    is_drawn = result.chosen in rows

    def text(row: Measured) -> tuple[str, str]:
        """The text of a mark's label, and the line that it names."""
        if row is result.chosen or alone:
            return _label(row), ""
        if _is_on_line(row):
            return _line_name(row), _line_name(row)
        return ("" if row.family in ("gguf", "rtn", "gptq", "awq") else _label(row)), ""

    def rank(row: Measured) -> tuple[bool, bool, bool, bool, float]:
        # The first label may stand on the line across the plot: let it be that of no mark on the line.
        on_rule = not is_drawn and _drawn_rise(row, result) <= FLOOR
        usual = alone and row.name in LABELLED and not row.importance
        from_end = -row.bits_per_weight if _kind(row) == ("gguf", False) else row.bits_per_weight
        return row is not result.chosen, on_rule, not text(row)[1], not usual, from_end

    ordered = sorted(rows, key=rank)
    labels = [
        Label(
            row.key,
            text(row)[0],
            across(row.bits_per_weight) / 100,
            up(_drawn_rise(row, result)),
            of=text(row)[1],
        )
        for row in ordered
    ]
    lines = [
        tuple((label.x, label.y) for row, label in _by_bits(ordered, labels) if _kind(row) == kind)
        for kind in dict.fromkeys(_kind(row) for row in rows if _is_on_line(row))
    ]
    if quoted:
        # As near to its lower end as there is room, after the chosen row.
        labels[is_drawn:is_drawn] = [
            Label(point.key, "8B", across(point.x) / 100, up(point.y), of="8B") for point in quoted.points
        ]
        lines.append(tuple((across(point.x) / 100, up(point.y)) for point in quoted.points))
    area = LabelArea(WIDE, NARROW, HEIGHT, level=(up(FLOOR),), curves=tuple(lines), strict=True)
    return place(labels, area)


def _line_name(row: Measured) -> str:
    return "imatrix" if row.importance else LINES[row.family][0]


def _kind(row: Measured) -> tuple[str, bool]:
    return row.family, row.importance


def _by_bits(rows: Sequence[Measured], labels: Sequence[Label]) -> list[tuple[Measured, Label]]:
    """Those on a line, in order of bits."""
    pairs = [(row, label) for row, label in zip(rows, labels, strict=True) if _is_on_line(row)]
    return sorted(pairs, key=lambda pair: pair[0].bits_per_weight)


def _label(row: Measured) -> str:
    """The name in the plot, where the group is that of the control."""
    return name_of(row).removesuffix(f" g{row.group_size}")


def _point(row: Measured, result: Result, placed: LabelPlace | None) -> Point:
    chosen = row is result.chosen
    alone = result.controls.family != "all"
    label = _label(row) if chosen or alone or not _is_on_line(row) else _line_name(row)
    return Point(
        row.bits_per_weight,
        _drawn_rise(row, result),
        row.key,
        label=label if placed else "",
        hover=f"{name_of(row)} · {numbers.significant(row.perplexity, 4)} ± "
        f"{numbers.significant(row.standard_error, 2)} · {_rise(row, result.reference)} %",
        marked=chosen,
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
