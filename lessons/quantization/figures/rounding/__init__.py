"""FIG.03: two weights, four roundings: the nearest levels are not always the ones that keep the output."""

from __future__ import annotations

import functools
import itertools
import math
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
ZOOMS = (1.5, 2.5, X2_HIGH)
"""The arrows keep their scale up to one of these values of x₂; beyond it the next one makes room."""


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
    x2: float = slider(1.125, low=0, high=X2_HIGH, step=0.125)
    pair: str = choice("query", PAIRS)
    bits: str = choice("3", ("2", "3", "4"), style="segments")
    n: int = slider(2, low=2, high=rounding.MAX_ENUMERATED)


@dataclass(frozen=True)
class Weights:
    """`count` neighbouring weights of a pair's row, with their real activations and their grid.

    `second` is where the pair's second weight stands among them.
    """

    columns: slice
    second: int
    values: NDArray[np.float64]
    activations: NDArray[np.float64]
    grid: grid.Grid


@dataclass(frozen=True)
class Crowd:
    """All 2ⁿ roundings of n weights: where nearest lies among them."""

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
    are those of `best_ranges`; `wins` is the one in which the best rounding is the best, and `flip` where
    nearest first loses, "none" where it never does.
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
    wins: str
    gain: float
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
    crowd = crowd_of(controls.pair, bits, controls.n, controls.x2)
    ranges = best_ranges(controls.pair, bits)
    low, high = range_around(controls.x2, best, ranges)
    nearest_error, best_error = (float(four.output_error[row]) for row in (nearest, best))
    return Result(
        controls,
        pair,
        x,
        float(pair.activations[1]),
        four,
        ranges,
        crowd,
        nearest_error=nearest_error,
        best_error=best_error,
        wins=f"{low:.2f}–{high:.2f}",
        gain=float(four.output_error[nearest] / four.output_error[best])
        if four.output_error[best]
        else math.inf,
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
        pair.column + 1 - start,
        row[columns].astype(np.float64),
        token[columns].astype(np.float64),
        grid.fit_asymmetric(row[first : first + BLOCK], bits),
    )


@functools.lru_cache(maxsize=128)
def crowd_of(name: str, bits: int, count: int, x2: float | None = None) -> Crowd:
    """All roundings of `count` weights for the pair's own token; what the best one does on other tokens.

    `x2` takes the place of the second weight's real activation.
    """
    chosen = weights_of(name, bits, count)
    x = chosen.activations.copy()
    if x2 is not None:
        x[chosen.second] = x2
    every = rounding.all_roundings(chosen.values, x, chosen.grid)
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


def range_around(x2: float, row: int, ranges: tuple[tuple[int, float, float], ...]) -> tuple[float, float]:
    """The range of x₂ around a value where a rounding is the best; of no width where it is so by a tie."""
    around = [(low, high) for each, low, high in ranges if each == row and low <= x2 <= high]
    return around[0] if around else (x2, x2)


def view(result: Result) -> View:
    controls, pair, four, crowd = result.controls, result.pair, result.four, result.crowd
    names = tuple("".join(ARROWS[int(up)] for up in row) for row in four.up)
    readouts = (
        Readout.of(result, "nearest_error", numbers.significant),
        Readout.of(result, "best_error", numbers.significant, accent=True),
        Readout.of(result, "wins", _range),
        Readout.of(result, "gain", numbers.times, accent=True),
        Readout.of(result, "weight_ratio", numbers.times),
        Readout.of(result, "flip", lambda v: "–" if v == "none" else numbers.fixed(v, 2)),
        Readout.of(result, "roundings", numbers.integer),
        Readout.of(result, "rank", numbers.integer),
        Readout.of(result, "crowd_best", lambda v: numbers.significant(v, 2)),
    )
    return View(
        readouts=readouts,
        drawing={
            "strips": [_strip(pair, four, result.x, i) for i in range(2)],
            "ways": _ways(result) if controls.n == 2 else None,
            "crowd": _histogram(crowd) if controls.n > 2 else None,
            "axis": _axis(result),
            "said": _said(result),
        },
        plots={"crowd": PlotScales(_error_scale(crowd))},
        description=tuple(_description(result)),
        table=_table(four, names),
        formulas=_formulas(pair, four, result.x, readouts[0].text, readouts[1].text),
        ran=(rounding.all_roundings, grid.fit_asymmetric),
        notes=(Sentence(f"from_{controls.pair}"), Sentence("grid_of_block", columns=str(BLOCK))),
        source=Sentence(f"source_{controls.pair}"),
    )


def _said(result: Result) -> dict[str, str]:
    crowd, columns, gain = result.crowd, result.crowd.columns, result.gain
    return {
        "x2": numbers.fixed(result.controls.x2, 3),
        "ratio": numbers.times(result.weight_ratio, 1),
        "gain": numbers.times(gain, 1 if gain < 9.95 else 0),
        "less": numbers.percent(1 - 1 / gain, 0 if gain > 1.02 else 1),
        "n": str(result.controls.n),
        "roundings": numbers.integer(result.roundings),
        "crowd_nearest": numbers.significant(crowd.nearest),
        "better": numbers.integer(crowd.rank - 1),
        "first": str(columns.start),
        "last": str(columns.stop - 1),
        "tokens": str(crowd.tokens),
        "nearest_mean": numbers.significant(crowd.nearest_mean),
        "best_mean": numbers.significant(crowd.best_mean),
    }


def _range(ends: str) -> str:
    return "–".join(dict.fromkeys(numbers.fixed(float(end), 2) for end in ends.split("–")))


FAR = {(False, False): "nearest", (True, True): "both", (True, False): "first", (False, True): "second"}
"""Which of the two weights a rounding moves to the level that is farther away."""


def _way(four: rounding.Roundings, row: int) -> str:
    first, second = (four.up[row] != four.up[four.nearest]).tolist()
    return FAR[first, second]


def _description(result: Result) -> Iterator[Sentence]:
    """The finding about what is drawn, then what is true beyond it."""
    four, crowd, said = result.four, result.crowd, _said(result)
    better = {1: "none_better", 2: "one_better"}.get(crowd.rank, "better")
    if result.controls.n > 2:
        yield Sentence(better, **said)
    way = _way(four, four.best)
    yield Sentence(
        f"{way}_{'hardly' if result.gain < 1.1 else 'wins'}" if way != "nearest" else "nearest_wins", **said
    )
    wins = [(low, high) for row, low, high in result.ranges if row == four.nearest]
    if len(wins) == len(result.ranges):
        yield Sentence("everywhere")
    elif wins:
        written = ", ".join(f"{numbers.fixed(low, 2)}–{numbers.fixed(high, 2)}" for low, high in wins)
        yield Sentence("ranges", ranges=written)
    else:
        yield Sentence("nowhere")
    yield Sentence("one_token", **said)


STRIP_Y = 28


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
        "levels": [
            {
                "x": place.percent(value),
                "value": numbers.fixed(value, 4) if value else "0",
                "nearest": value == nearest,
            }
            for value in (low, high)
        ],
    }


HEADS = {True: "M-9-4.5L-1 0L-9 4.5", False: "M9-4.5L1 0L9 4.5"}
"""Heads of arrows that point to the right, and to the left."""

SHORTEST = 1.5
"""Per cent of the width: a shorter arrow has no room for its head."""


def _ways(result: Result) -> dict[str, Any]:
    """The four roundings from the least output error on: what each weight adds to the output, and the sum."""
    four, pair = result.four, result.pair
    added = (four.values - pair.values) * result.x
    zoomed = pair.activations[0], next(stop for stop in ZOOMS if result.controls.x2 <= stop)
    reach = float(np.abs(((four.values - pair.values) * zoomed).cumsum(axis=1)).max())
    x = Scale((-reach, reach), (2.0, 98.0))
    tick = linear_ticks(0.0, reach, 3)[-1]
    rows = []
    for row in np.argsort(_ranks(four)[1]):
        first, last = float(added[row, 0]), float(added[row].sum())
        rows.append(
            {
                "row": int(row),
                "way": _way(four, row),
                "role": _role(int(row), four),
                "key": "".join("ud"[not up] for up in four.up[row]),
                "weight": numbers.significant(float(four.weight_error[row])),
                "output": numbers.significant(float(four.output_error[row])),
                "arrows": [_arrow(x, 0.0, first), _arrow(x, first, last)],
                "sum": last,
                "left": f"{min(x(0.0), x(last)):.7g}%",
                "width": f"{abs(x(last) - x(0.0)):.5g}%",
            }
        )
    return {
        "rows": rows,
        "zero": x.percent(0.0),
        "ticks": [{"x": x.percent(v), "text": numbers.signed(v, _places(reach))} for v in (-tick, tick)],
    }


def _arrow(x: Scale, start: float, end: float) -> dict[str, Any]:
    return {
        "from": x.percent(start),
        "to": x.percent(end),
        "head": HEADS[end > start] if abs(x(end) - x(start)) > SHORTEST else "",
    }


def _ranks(four: rounding.Roundings) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rank of each rounding by weight error and by output error, from 0; nearest and best are first."""
    by_weight = np.argsort(np.argsort(four.weight_error, kind="stable"))
    by_output = np.argsort(np.lexsort((four.weight_error, four.output_error)))
    return by_weight, by_output


def _role(i: int, four: rounding.Roundings) -> str:
    return "best" if i == four.best else "nearest" if i == four.nearest else "other"


NAMED, NARROW = 0.1, 0.3
"""Shares of the slider that have no room for a name: on no screen, and not on a phone."""


def _axis(result: Result) -> dict[str, Any]:
    """The slider's axis: which rounding is the best for which x₂."""
    four, real = result.four, result.real_x2
    x = Scale((0.0, X2_HIGH))
    return {
        "at": x.percent(result.controls.x2),
        "x2": numbers.fixed(result.controls.x2, 3),
        "real": x.percent(real),
        "ticks": [{"at": x.percent(v), "text": numbers.integer(v)} for v in linear_ticks(0, X2_HIGH, 4)],
        "ranges": [
            {
                "x": x.percent(low),
                "width": f"{x(high) - x(low):.5g}%",
                "middle": x.percent((low + high) / 2),
                "role": "nearest" if row == four.nearest else "best",
                "now": row == four.best and low <= result.controls.x2 <= high,
                "way": _way(four, row) if high - low > NAMED * X2_HIGH else "",
                "minor": high - low < NARROW * X2_HIGH,
            }
            for row, low, high in result.ranges
        ],
    }


CROWD_HEIGHT = 126


def _error_scale(crowd: Crowd) -> Scale:
    return Scale((0.0, float(crowd.errors.max()) * 1.0001))


def _histogram(crowd: Crowd) -> dict[str, Any]:
    """How many of the 2ⁿ roundings have which output error; the part that beats nearest is told apart."""
    x = _error_scale(crowd)
    top = x.domain[1]
    counts, edges = np.histogram(crowd.errors, BINS, (0.0, top))
    better, _ = np.histogram(crowd.errors[crowd.errors < crowd.nearest], BINS, (0.0, top))
    most = int(counts.max())
    y = Scale((0.0, float(most)), (float(CROWD_HEIGHT), 0.0))
    return {
        "height": CROWD_HEIGHT,
        "y_ticks": [
            {"at": y(v), "text": numbers.integer(v)} for v in linear_ticks(0, most, 3) if v.is_integer()
        ],
        "x_ticks": [
            {"at": x.percent(v), "text": numbers.fixed(v, _places(top))} for v in linear_ticks(0, top, 4)
        ],
        "bars": [
            {
                "x": x.percent(float(low)),
                "y": y(float(count)),
                "height": round(CROWD_HEIGHT - y(float(count)), 3),
                "better_y": y(float(won)),
                "better_height": round(CROWD_HEIGHT - y(float(won)), 3),
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


FIGURE = Figure("rounding", "fig-03", "FIG.03", Controls, compute, view, shows="row", slider_below=True)
