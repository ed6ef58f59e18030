"""FIG.03: two weights, four roundings: the nearest levels are not always the ones that keep the output."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice, slider
from lessons.kit.figure import Figure
from lessons.kit.mathml import tex
from lessons.kit.scales import Scale, linear_ticks
from lessons.kit.view import Column, PlotScales, Readout, Sentence, Table, View
from lessons.quantization import sources
from quant_core.methods import grid, rounding

BLOCK = 128
"""Columns that share the grid, aligned, as in GPTQ's and AWQ's checkpoints."""

X2_HIGH = 4.0
BINS = 40
ARROWS = "↓↑"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two neighbouring weights of a row, and the token of the held-out text whose activations they meet."""

    layer: str
    row: int
    column: int
    token: int


PAIRS = {
    "query": Pair("minilm.1.query", 23, 155, 182),
    "feed_forward": Pair("minilm.5.ffn_in", 251, 157, 138),
    "adding": Pair("minilm.5.ffn_in", 191, 275, 451),
    "outlier": Pair("minilm.5.ffn_in", 141, 126, 115),
}
"""Chosen among many so that the four behave differently, and so that the real second activation is, exactly,
a position of the slider."""


class Controls(FigureControls):
    pair: str = choice("query", PAIRS)
    bits: str = choice("3", ("2", "3", "4"), style="segments")
    x2: float = slider(1.125, low=0, high=X2_HIGH, step=0.125)
    n: int = slider(8, low=2, high=rounding.MAX_ENUMERATED)


@dataclass(frozen=True)
class Weights:
    """`count` neighbouring weights of a pair's row, with their real activations and their grid."""

    columns: slice
    values: NDArray[np.float64]
    activations: NDArray[np.float64]
    grid: grid.Grid


@dataclass(frozen=True)
class Crowd:
    """All 2ⁿ roundings of n weights under real activations: where nearest lies among them."""

    columns: slice
    errors: NDArray[np.float64]
    nearest: float
    best: float
    rank: int
    nearest_mean: float
    best_mean: float
    tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """The four roundings of a pair and the 2ⁿ of its neighbourhood; the read-outs have their names.

    `x` holds both activations, the second as the slider has it and `real_x2` as the text had it. `ranges`
    are those of `best_ranges`; `flip` is where nearest first loses, "none" where it never does.
    """

    controls: Controls
    pair: Weights
    x: NDArray[np.float64]
    real_x2: float
    four: rounding.Roundings
    ranges: tuple[tuple[int, float, float], ...]
    crowd: Crowd
    nearest_error: float
    best_error: float
    weight_ratio: float
    flip: float | str
    roundings: int
    rank: int
    crowd_best: float


def compute(controls: Controls) -> Result:
    """Round two weights down and up, four ways, and compare the errors of the weights and of the output."""
    bits = int(controls.bits)
    pair = weights_of(controls.pair, bits, 2)
    x = np.array([pair.activations[0], controls.x2])
    four = rounding.all_roundings(pair.values, x, pair.grid)
    nearest, best = four.nearest, four.best
    crowd = crowd_of(controls.pair, bits, controls.n)
    ranges = best_ranges(controls.pair, bits)
    return Result(
        controls,
        pair,
        x,
        float(pair.activations[1]),
        four,
        ranges,
        crowd,
        nearest_error=float(four.output_error[nearest]),
        best_error=float(four.output_error[best]),
        weight_ratio=float(four.weight_error[best] / four.weight_error[nearest]),
        flip=next((low for row, low, _ in ranges if row != nearest), "none"),
        roundings=2**controls.n,
        rank=crowd.rank,
        crowd_best=crowd.best,
    )


@functools.lru_cache(maxsize=128)
def weights_of(name: str, bits: int, count: int) -> Weights:
    """`count` weights of a pair's row, from its first column on, or as near before it as the block allows."""
    pair = PAIRS[name]
    row, token = sources.layer_row(pair.layer, pair.row), tokens_of(pair.layer)[pair.token]
    first = pair.column // BLOCK * BLOCK
    start = min(pair.column, first + BLOCK - count)
    columns = slice(start, start + count)
    return Weights(
        columns,
        row[columns].astype(np.float64),
        token[columns].astype(np.float64),
        grid.fit_asymmetric(row[first : first + BLOCK], bits),
    )


@functools.lru_cache(maxsize=128)
def crowd_of(name: str, bits: int, count: int) -> Crowd:
    """All roundings of `count` weights for the pair's own token; what the best one does on other tokens."""
    chosen = weights_of(name, bits, count)
    every = rounding.all_roundings(chosen.values, chosen.activations, chosen.grid)
    nearest, best = (float(every.output_error[row]) for row in (every.nearest, every.best))
    tokens = tokens_of(PAIRS[name].layer)[:, chosen.columns].astype(np.float64)
    nudges = chosen.values - every.values[[every.nearest, every.best]]
    means = np.abs(tokens @ nudges.T).mean(axis=0)
    rank = 1 + int(np.count_nonzero(every.output_error < nearest))
    return Crowd(
        chosen.columns, every.output_error, nearest, best, rank, float(means[0]), float(means[1]), len(tokens)
    )


def tokens_of(layer: str) -> NDArray[np.float32]:
    """The layer's inputs on held-out text, shape (tokens, columns)."""
    tokens = sources.load_layer(layer).activations_test
    assert tokens is not None, f"{layer} is shipped without activations"
    return tokens


@functools.lru_cache(maxsize=128)
def best_ranges(name: str, bits: int) -> tuple[tuple[int, float, float], ...]:
    """Which rounding is best for which x₂, as (row of `Roundings`, from, to) over the slider's range.

    Each output error is |a + b·x₂|; the best one can only change where two of these meet.
    """
    pair = weights_of(name, bits, 2)
    four = rounding.all_roundings(pair.values, pair.activations, pair.grid)
    nudges = pair.values - four.values
    a, b = nudges[:, 0] * pair.activations[0], nudges[:, 1]
    sums = (a[:, None] + s * a for s in (1, -1))
    slopes = (b[:, None] + s * b for s in (1, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        meets = np.concatenate([(-rise / run).ravel() for rise, run in zip(sums, slopes, strict=True)])
    inside = meets[np.isfinite(meets) & (meets > 0) & (meets < X2_HIGH)]
    stops = [0.0, *np.unique(inside.round(9)).tolist(), X2_HIGH]
    ranges: list[tuple[int, float, float]] = []
    for low, high in itertools.pairwise(stops):
        row = int(np.lexsort((four.weight_error, np.abs(a + b * (low + high) / 2)))[0])
        if ranges and ranges[-1][0] == row:
            low = ranges.pop()[1]
        ranges.append((row, low, high))
    return tuple(ranges)


def view(result: Result) -> View:
    controls, pair, four, crowd = result.controls, result.pair, result.four, result.crowd
    names = tuple("".join(ARROWS[int(up)] for up in row) for row in four.up)
    readouts = (
        Readout.of(result, "nearest_error", numbers.significant),
        Readout.of(result, "best_error", numbers.significant, accent=True),
        Readout.of(result, "weight_ratio", numbers.times),
        Readout.of(result, "flip", lambda v: "–" if v == "none" else numbers.fixed(v, 2)),
        Readout.of(result, "roundings", numbers.integer),
        Readout.of(result, "rank", numbers.integer),
        Readout.of(result, "crowd_best", lambda v: numbers.significant(v, 2)),
    )
    real = numbers.fixed(result.real_x2, 3)
    said = {
        "n": str(controls.n),
        "total": readouts[4].text,
        "crowd_nearest": numbers.significant(crowd.nearest),
        "crowd_best": readouts[6].text,
        "better": numbers.integer(crowd.rank - 1),
        "first": str(crowd.columns.start),
        "last": str(crowd.columns.stop - 1),
    }
    return View(
        readouts=readouts,
        drawing={
            "real": real,
            "moved": controls.x2 != result.real_x2,
            "strips": [_strip(pair, four, result.x, i) for i in range(2)],
            "bars": _bars(four, names),
            "curves": _curves(result, names),
            "crowd": _histogram(crowd),
            "said": said,
        },
        plots={"crowd": PlotScales(_error_scale(crowd))},
        description=tuple(_description(result, names, said)),
        table=_table(four, names),
        formulas=_formulas(pair, four, result.x, readouts[0].text, readouts[1].text),
        ran=(rounding.all_roundings, grid.fit_asymmetric),
        notes=(Sentence(f"from_{controls.pair}"), Sentence("grid_of_block", columns=str(BLOCK))),
    )


def _description(result: Result, names: tuple[str, ...], said: dict[str, str]) -> Iterator[Sentence]:
    four, crowd = result.four, result.crowd
    x2, nearest = numbers.fixed(result.controls.x2, 3), names[four.nearest]
    if four.nearest == four.best:
        yield Sentence("same", x2=x2, nearest=nearest)
    else:
        ratio = numbers.fixed(result.weight_ratio, 1)
        yield Sentence("flipped", x2=x2, nearest=nearest, best=names[four.best], ratio=ratio)
    wins = [(low, high) for row, low, high in result.ranges if row == four.nearest]
    if len(wins) == len(result.ranges):
        yield Sentence("everywhere")
    elif wins:
        written = ", ".join(f"{numbers.fixed(low, 2)}–{numbers.fixed(high, 2)}" for low, high in wins)
        yield Sentence("ranges", ranges=written)
    else:
        yield Sentence("nowhere")
    yield Sentence({1: "none_better", 2: "one_better"}.get(crowd.rank, "better"), **said)
    yield Sentence(
        "one_token",
        tokens=str(crowd.tokens),
        nearest_mean=numbers.significant(crowd.nearest_mean),
        best_mean=numbers.significant(crowd.best_mean),
    )


STRIP_Y = 34


def _strip(pair: Weights, four: rounding.Roundings, x: NDArray[Any], i: int) -> dict[str, Any]:
    """One weight between its two levels, with the nudge of the best choice."""
    w, levels = float(pair.values[i]), four.values[:, i]
    low, high = float(levels.min()), float(levels.max())
    chosen, nearest = float(levels[four.best]), float(levels[four.nearest])
    place = Scale((low, high), (18.0, 82.0))
    return {
        "y": STRIP_Y,
        "w": numbers.fixed(w, 4),
        "x": numbers.fixed(float(x[i]), 3),
        "true": place.percent(w),
        "snap": place.percent(chosen),
        "left": f"{min(place(w), place(chosen)):.7g}%",
        "width": f"{abs(place(w) - place(chosen)):.5g}%",
        "levels": [
            {
                "x": place.percent(value),
                "value": numbers.fixed(value, 4),
                "code": str(int(four.codes[np.argmax(levels == value), i])),
                "nearest": value == nearest,
            }
            for value in (low, high)
        ],
    }


ROW, BAR = 48, 14
REACH = 34.0
"""Longest bar, in per cent of the width; the two fans of bars leave the middle for the links."""


def _bars(four: rounding.Roundings, names: tuple[str, ...]) -> dict[str, Any]:
    """Four bars by weight error on the left, by output error on the right, each side ranked."""
    by_weight, by_output = _ranks(four)
    height = len(names) * ROW

    def middle(rank: int) -> float:
        return rank * ROW + BAR / 2

    rows = []
    for i, name in enumerate(names):
        left, right = middle(int(by_weight[i])), middle(int(by_output[i]))
        ends = (1000 * left / height, 1000 * right / height)
        rows.append(
            {
                "name": name,
                "role": _role(i, four),
                "nearest": i == four.nearest,
                "best": i == four.best,
                "left": left,
                "right": right,
                "weight": numbers.significant(float(four.weight_error[i])),
                "output": numbers.significant(float(four.output_error[i])),
                "weight_width": _share(four.weight_error, i),
                "output_width": _share(four.output_error, i),
                "weight_x": f"{35 - REACH * float(four.weight_error[i] / four.weight_error.max()):.5g}%",
                "link": f"M465 {ends[0]:.1f} C500 {ends[0]:.1f} 500 {ends[1]:.1f} 535 {ends[1]:.1f}",
            }
        )
    return {"height": height - (ROW - BAR - 18), "full": height, "bar": BAR, "rows": rows}


def _share(errors: NDArray[np.float64], i: int) -> str:
    most = float(errors.max())
    return f"{REACH * float(errors[i]) / most if most else 0:.5g}%"


def _ranks(four: rounding.Roundings) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rank of each rounding by weight error and by output error, from 0; nearest and best are first."""
    by_weight = np.argsort(np.argsort(four.weight_error, kind="stable"))
    by_output = np.argsort(np.lexsort((four.weight_error, four.output_error)))
    return by_weight, by_output


def _role(i: int, four: rounding.Roundings) -> str:
    return "best" if i == four.best else "nearest" if i == four.nearest else "other"


CURVE_HEIGHT = 210


def _curves(result: Result, names: tuple[str, ...]) -> dict[str, Any]:
    """Output error of each rounding against x₂: four Vs, the least of them, and which one it is."""
    pair, four, ranges, real = result.pair, result.four, result.ranges, result.real_x2
    nudges = pair.values - four.values
    a, b = nudges[:, 0] * pair.activations[0], nudges[:, 1]
    nearest_ends = np.abs(a[four.nearest] + b[four.nearest] * np.array([0.0, X2_HIGH]))
    lowest = [abs(a[row] + b[row] * end) for row, low, high in ranges for end in (low, high)]
    top = 1.12 * float(max(*nearest_ends, *lowest, four.output_error[four.nearest]))
    x, y = Scale((0.0, X2_HIGH)), Scale((0.0, top), (float(CURVE_HEIGHT), 0.0))

    def error(row: int, low: float, high: float) -> list[tuple[float, float]]:
        """Corners of one rounding's error between two values of x₂, with its zero where that lies between."""
        zero = -a[row] / b[row] if b[row] else low
        stops = (low, float(zero) if low < zero < high else (low + high) / 2, high)
        return [(10 * x(at), 1000 * y(abs(float(a[row] + b[row] * at))) / CURVE_HEIGHT) for at in stops]

    least = [corner for row, low, high in ranges for corner in error(row, low, high)]
    return {
        "height": CURVE_HEIGHT,
        "y_ticks": [{"at": y(v), "text": numbers.fixed(v, _places(top))} for v in linear_ticks(0, top, 5)],
        "x_ticks": [{"at": x.percent(v), "text": numbers.integer(v)} for v in linear_ticks(0, X2_HIGH, 4)],
        "least": _path(least),
        "lines": [
            {"role": "nearest" if i == four.nearest else "other", "path": _path(error(i, 0.0, X2_HIGH))}
            for i in range(len(names))
        ],
        "at": x.percent(result.controls.x2),
        "real": x.percent(real),
        "real_side": "end" if real > X2_HIGH / 2 else "start",
        "nearest": y(float(four.output_error[four.nearest])),
        "best": y(float(four.output_error[four.best])),
        "ranges": [
            {
                "x": x.percent(low),
                "width": f"{x(high) - x(low):.5g}%",
                "middle": x.percent((low + high) / 2),
                "role": "nearest" if row == four.nearest else "best",
                "name": names[row] if high - low > 0.12 * X2_HIGH else "",
            }
            for row, low, high in ranges
        ],
    }


def _path(corners: list[tuple[float, float]]) -> str:
    return " ".join(f"{'L' if i else 'M'}{px:.1f} {py:.1f}" for i, (px, py) in enumerate(corners))


def _error_scale(crowd: Crowd) -> Scale:
    return Scale((0.0, float(crowd.errors.max()) * 1.0001))


def _histogram(crowd: Crowd) -> dict[str, Any]:
    """How many of the 2ⁿ roundings have which output error; the part that beats nearest is told apart."""
    x = _error_scale(crowd)
    top = x.domain[1]
    counts, edges = np.histogram(crowd.errors, BINS, (0.0, top))
    better, _ = np.histogram(crowd.errors[crowd.errors < crowd.nearest], BINS, (0.0, top))
    most = int(counts.max())
    y = Scale((0.0, float(most)), (float(CURVE_HEIGHT), 0.0))
    return {
        "height": CURVE_HEIGHT,
        "y_ticks": [
            {"at": y(v), "text": numbers.integer(v)} for v in linear_ticks(0, most, 4) if v.is_integer()
        ],
        "x_ticks": [
            {"at": x.percent(v), "text": numbers.fixed(v, _places(top))} for v in linear_ticks(0, top, 4)
        ],
        "bars": [
            {
                "x": x.percent(float(low)),
                "y": y(float(count)),
                "height": round(CURVE_HEIGHT - y(float(count)), 3),
                "better_y": y(float(won)),
                "better_height": round(CURVE_HEIGHT - y(float(won)), 3),
            }
            for low, count, won in zip(edges, counts, better, strict=False)
        ],
        "width": f"{100 / BINS - 0.35:.4g}%",
        "nearest": x.percent(crowd.nearest),
        "nearest_anchor": _anchor(crowd.nearest / top),
        "best": x.percent(crowd.best),
    }


def _places(top: float) -> int:
    return 2 if top > 0.06 else 3


def _table(four: rounding.Roundings, names: tuple[str, ...]) -> Table:
    by_weight, by_output = _ranks(four)
    order = np.argsort(by_weight)
    return Table(
        (
            Column("rounding"),
            Column("codes"),
            Column("first", lambda v: numbers.fixed(v, 4)),
            Column("second", lambda v: numbers.fixed(v, 4)),
            Column("weight_error", numbers.significant),
            Column("weight_rank", str),
            Column("output_error", numbers.significant),
            Column("output_rank", str),
        ),
        tuple(
            (
                names[i],
                ", ".join(str(code) for code in four.codes[i]),
                float(four.values[i, 0]),
                float(four.values[i, 1]),
                float(four.weight_error[i]),
                int(by_weight[i]) + 1,
                float(four.output_error[i]),
                int(by_output[i]) + 1,
            )
            for i in order
        ),
        frozenset({int(by_weight[four.best])}),
    )


def _formulas(
    pair: Weights, four: rounding.Roundings, x: NDArray[Any], nearest_error: str, best_error: str
) -> tuple[str, ...]:
    def written(row: int, name: str, error: str) -> str:
        terms = " + ".join(
            rf"({tex(numbers.fixed(float(nudge), 5))}) \cdot {tex(numbers.fixed(float(activation), 4))}"
            for nudge, activation in zip(pair.values - four.values[row], x, strict=True)
        )
        return rf"E_{{\mathrm{{{name}}}}} = \left| {terms} \right| = {tex(error)}"

    return (
        r"E = \left| \mathbf{w} \cdot \mathbf{x} - \hat{\mathbf{w}} \cdot \mathbf{x} \right|"
        r" = \left| (w_1 - \hat w_1)\, x_1 + (w_2 - \hat w_2)\, x_2 \right|",
        written(four.nearest, "nearest", nearest_error),
        written(four.best, "best", best_error),
    )


def _anchor(share: float) -> str:
    """How a label above a mark is set, so that it stays over the plot on a phone."""
    return "start" if share < 0.3 else "end" if share > 0.7 else "middle"


FIGURE = Figure("rounding", "fig-03", "FIG.03", Controls, compute, view, shows="row")
