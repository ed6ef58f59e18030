"""FIG.06B: types for the keys and the values of a cache: the memory they take, and what they change.

Divergences were measured by `scripts/record_kv_cache.py`, for each takes a pass over a text; the memory is
computed as in FIG.06.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice, switch
from lessons.kit.figure import Figure
from lessons.kit.mathml import tex
from lessons.kit.scales import Scale
from lessons.kit.view import Column, Limit, PlotScales, Readout, Sentence, Table, View
from lessons.quantization import sources
from lessons.quantization.sources import CacheRow
from quant_core import memory
from quant_core.llm import kv_cache
from quant_core.llm.kv_cache import CacheRounding
from quant_core.memory import CACHE_TYPES

MODEL, CONTEXT = "llama-3.1-70b", 8192
"""What FIG.06 opens with: the memory is that of its cache."""

EXACT = "f32"
"""Type of the part that is kept when the other is rounded alone."""

UNQUANTIZED = ("f32", "f16", "bf16")

LEAST, MOST = 1e-5, 0.1
"""Nats, the ends of the axis; less is drawn at its left end."""

TICKS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
ROW, FIRST_ROW, LINES = 56, 34, 182
"""Pixels from a line to the next, to the first, and to the axis under them."""

SAME = 1.05
"""A factor: costs that differ by less are called the same."""

ROOM = 30
"""Per cent of a phone's width that the longest number takes: left of a mark there is room from here on."""

STRIP, STRIP_HEIGHT, STRIP_GAP = 254, 56, 30
"""Pixels to the channels of the keys, their height, and the gap to those of the values."""


class Controls(FigureControls):
    key: str = choice("q4_0", CACHE_TYPES)
    value: str = choice("q4_0", CACHE_TYPES)
    rotate: bool = switch(False)


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What a cache costs; the read-outs have their names.

    `both`, `keys` and `values` are the measurements with both parts rounded, and one alone; `turned` has the
    same three with the other position of the switch. Divergences are in nats, sizes in bytes; `share` is the
    size over that in f16. `keys_loudest` and `values_loudest` are the loudest channel of a head over the root
    mean square of all, as they are stored.
    """

    controls: Controls
    both: CacheRow
    keys: CacheRow
    values: CacheRow
    turned: tuple[CacheRow, CacheRow, CacheRow]
    divergence: float
    size: int
    agreement: float
    keys_divergence: float
    values_divergence: float
    share: float
    keys_loudest: float
    values_loudest: float


def compute(controls: Controls) -> Result:
    """Look up what was measured with both parts rounded and with one alone, and compute the memory."""
    both, keys, values = measured(controls.key, controls.value, controls.rotate)
    shape = sources.model(MODEL).shape
    size = memory.kv_cache_bytes(shape, CONTEXT, controls.key, controls.value)
    return Result(
        controls,
        both,
        keys,
        values,
        measured(controls.key, controls.value, not controls.rotate),
        divergence=both.divergence,
        size=size,
        agreement=both.agreement,
        keys_divergence=keys.divergence,
        values_divergence=values.divergence,
        share=size / memory.kv_cache_bytes(shape, CONTEXT),
        keys_loudest=loudest(channels("key", controls)),
        values_loudest=loudest(channels("value", controls)),
    )


def measured(key: str, value: str, rotate: bool) -> tuple[CacheRow, CacheRow, CacheRow]:
    """The rows of both parts, of the keys alone and of the values alone."""
    rows = sources.kv_cache()
    return rows[key, value, rotate], rows[key, EXACT, rotate], rows[EXACT, value, rotate]


def channels(part: str, controls: Controls) -> list[float]:
    """Root mean square of each channel of a head as the cache stores it, "key" or "value"."""
    turned = controls.rotate and getattr(controls, part) not in UNQUANTIZED
    recorded: dict[str, list[float]] = sources.kv_cache_conditions()["channels"]
    return recorded[f"{part}_rotated" if turned else part]


def loudest(sizes: list[float]) -> float:
    """The largest of some root mean squares over that of all."""
    return max(sizes) / root_mean_square(sizes)


def root_mean_square(sizes: list[float]) -> float:
    """Of all numbers, from the root mean squares of their channels."""
    overall: float = (sum(size * size for size in sizes) / len(sizes)) ** 0.5
    return overall


def view(result: Result) -> View:
    divergence = Readout.of(result, "divergence", _nats, "nats", accent=True)
    conditions = sources.kv_cache_conditions()
    return View(
        readouts=(
            divergence,
            Readout.of(result, "size", lambda v: numbers.fixed(v / 1e9, 2), "GB"),
            Readout.of(result, "agreement", lambda v: numbers.fixed(100 * v, 1), "%"),
            Readout.of(result, "keys_divergence", _nats, "nats"),
            Readout.of(result, "values_divergence", _nats, "nats"),
            Readout.of(result, "share", lambda v: numbers.fixed(100 * v, 0), "%"),
            Readout.of(result, "keys_loudest", lambda v: numbers.times(v, 1)),
            Readout.of(result, "values_loudest", lambda v: numbers.times(v, 1)),
        ),
        drawing=_drawing(result),
        plots={"keys": PlotScales(_scale())},
        description=tuple(_description(result)),
        table=_table(result.controls.rotate),
        formulas=(
            r"D = \frac{1}{n} \sum_t \sum_v p(v) \ln \frac{p(v)}{\hat p(v)}" rf" = {tex(divergence.text)}",
            r"q \cdot k = (H q) \cdot (H k), \qquad \hat k = H \, \operatorname{round}(H k)",
        ),
        ran=(CacheRounding.__call__, kv_cache.stored, memory.kv_cache_bytes),
        notes=(Sentence("from", predictions=numbers.integer(conditions["predictions"])), Sentence("memory")),
        limits=_limits(result.controls),
        source=Sentence("source", predictions=numbers.integer(conditions["predictions"])),
    )


def _nats(value: float) -> str:
    """To two digits, and nothing finer than a millionth: float32 has no more."""
    return numbers.significant(value, 2) if value >= 1e-6 else "0"


def _limits(controls: Controls) -> dict[str, Limit]:
    if controls.key in UNQUANTIZED and controls.value in UNQUANTIZED:
        return {"rotate": Limit(Sentence("nothing_to_rotate"))}
    return {}


def _description(result: Result) -> Iterator[Sentence]:
    """The finding, what the other position of the switch would do, and why."""
    controls = result.controls
    key_rounded, value_rounded = (name not in UNQUANTIZED for name in (controls.key, controls.value))
    said = {"key_type": controls.key, "value_type": controls.value}
    turned = "rotated" if controls.rotate else "plain"
    if key_rounded and value_rounded:
        yield _compared(result, turned, said)
    elif key_rounded:
        other = measured(EXACT, controls.key, controls.rotate)[2]
        yield Sentence(f"keys_{turned}", other=_nats(other.divergence), **said)
    elif value_rounded:
        other = measured(controls.value, EXACT, controls.rotate)[1]
        yield Sentence(f"values_{turned}", other=_nats(other.divergence), **said)
    else:
        yield Sentence("neither", **said)
        return
    turned_both = _nats(result.turned[0].divergence)
    yield Sentence("as_they_are" if controls.rotate else "if_rotated", other=turned_both)
    yield Sentence("channels")


def _compared(result: Result, turned: str, said: dict[str, str]) -> Sentence:
    """Keys beside values; the part that costs more comes first, so that the ratio is above one."""
    keys, values = result.keys_divergence, result.values_divergence
    ratio = max(keys / values, values / keys)
    if ratio < SAME:
        return Sentence(f"both_{turned}_same", **said)
    dearer = "keys" if keys > values else "values"
    return Sentence(f"both_{turned}_{dearer}", ratio=numbers.times(ratio, 1 if ratio < 9.95 else 0), **said)


def _scale() -> Scale:
    return Scale((LEAST, MOST), log=True)


def _drawing(result: Result) -> dict[str, Any]:
    """Three lines with the cost of both parts and of one alone, then the channels of a head."""
    x, controls = _scale(), result.controls
    rows = sources.kv_cache()
    alone = {
        "keys": [rows[name, EXACT, controls.rotate].divergence for name in CACHE_TYPES],
        "values": [rows[EXACT, name, controls.rotate].divergence for name in CACHE_TYPES],
        "both": [],
    }
    now = {"keys": result.keys, "values": result.values, "both": result.both}
    before = dict(zip(("both", "keys", "values"), result.turned, strict=True))
    lines = []
    for place, (name, row) in enumerate(now.items()):
        at, ghost = (x(max(each.divergence, LEAST)) for each in (row, before[name]))
        left = ghost > at > ROOM
        lines.append(
            {
                "name": name,
                "y": FIRST_ROW + ROW * place,
                "at": f"{at:g}%",
                "ghost": f"{ghost:g}%" if ghost != at else "",
                "others": [x.percent(max(each, LEAST)) for each in alone[name]],
                "text": _nats(row.divergence),
                "text_at": f"{at if left else max(at, ghost):g}%",
                "left": left,
            }
        )
    return {
        "lines": lines,
        "axis": LINES,
        "ticks": [{"at": x.percent(v), "text": _tick(v)} for v in TICKS],
        "strips": [_strip(part, place, controls) for place, part in enumerate(("key", "value"))],
        "height": STRIP + 2 * STRIP_HEIGHT + STRIP_GAP,
        "rotate": controls.rotate,
        "types": {"keys": controls.key, "values": controls.value},
    }


def _tick(value: float) -> str:
    return numbers.shortest(value) if value >= 1e-3 else numbers.significant(value, 1)


def _strip(part: str, place: int, controls: Controls) -> dict[str, Any]:
    """A bar for each channel over the root mean square of all, on one scale for keys and values."""
    sizes = channels(part, controls)
    top = root_mean_square(sizes) * loudest(sources.kv_cache_conditions()["channels"]["key"])
    foot = STRIP + place * (STRIP_HEIGHT + STRIP_GAP) + STRIP_HEIGHT
    step = 100 / len(sizes)
    return {
        "part": part,
        "foot": foot,
        "label": foot - STRIP_HEIGHT - 8,
        "loudest": numbers.times(loudest(sizes), 1),
        "turned": controls.rotate and getattr(controls, part) not in UNQUANTIZED,
        "bars": [
            {
                "x": f"{step * i:.4g}%",
                "width": f"{0.8 * step:.4g}%",
                "y": round(foot - STRIP_HEIGHT * min(1.0, size / top), 1),
                "height": round(STRIP_HEIGHT * min(1.0, size / top), 1),
            }
            for i, size in enumerate(sizes)
        ],
    }


def _table(rotate: bool) -> Table:
    shape, rows = sources.model(MODEL).shape, sources.kv_cache()
    names = [(key, value) for key in CACHE_TYPES for value in CACHE_TYPES]
    return Table(
        (
            Column("key"),
            Column("value"),
            Column("size", lambda v: numbers.fixed(v / 1e9, 2)),
            Column("divergence", _nats),
            Column("divergence_error", _nats),
            Column("perplexity", lambda v: numbers.fixed(v, 3)),
            Column("agreement", lambda v: numbers.fixed(100 * v, 1)),
        ),
        tuple(
            (
                key,
                value,
                memory.kv_cache_bytes(shape, CONTEXT, key, value),
                row.divergence,
                row.divergence_error,
                row.perplexity,
                row.agreement,
            )
            for key, value in names
            for row in (rows[key, value, rotate],)
        ),
    )


FIGURE = Figure("cache", "fig-06b", "FIG.06B", Controls, compute, view, shows="model")
