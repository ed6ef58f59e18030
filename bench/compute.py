"""Measure the cost of one state on the server: computing, rendering, compressing, size."""

from __future__ import annotations

import functools
import random
import sys
from collections.abc import Callable, Iterator
from time import thread_time
from typing import Any

from app.cache.response import CachedResponse
from app.views.environment import HTML, render
from app.views.figure import figure_context
from bench.states import FIGURES, LESSON, random_state
from bench.table import Table, median, number, quantile, yes
from lessons.kit.arrangement import FigureQuery

STATES = 60
COLD_STATES = 6
KEPT = ("lessons.quantization.sources", "lessons.quantization.receipts", "lessons.quantization.measuring")
"""Modules whose caches are files read once by a process; every other one is emptied for a cold call."""

VIEW_AIM, COLD_AIM = 5.0, 60.0  # milliseconds
COLD_FIGURES = ("gptq", "awq")


def main() -> None:
    table = Table(
        f"Compute: {STATES} random states of each figure, {COLD_STATES} with empty caches. CPU ms, kB.",
        *("figure", "view p50", "p95", "cold p50", "cold max", "render p50", "brotli p50"),
        *("raw p50", "br p50", "aim", "reached"),
    )
    for name in FIGURES:
        table.add(name, *_row(name))
    table.print()


def _row(name: str) -> list[str]:
    source = random.Random(name)
    view, markup, packing, raw, packed = [], [], [], [], []
    for state in [random_state(name, source) for _ in range(STATES)]:
        view.append(_timed(functools.partial(FIGURES[name].view, state)))
        context = figure_context(LESSON, name, FigureQuery(state))
        draw = functools.partial(render, "kit/view.jinja", f=context)
        markup.append(_timed(draw))
        packing.append(_timed(functools.partial(CachedResponse, draw(), HTML)))
        raw.append(len(draw()) / 1000)
        packed.append(CachedResponse(draw(), HTML).size / 1000)
    cold = [_cold(name, random_state(name, source)) for _ in range(COLD_STATES)]
    aims, reached = [f"≤ {VIEW_AIM:.0f}"], median(view) <= VIEW_AIM
    if name in COLD_FIGURES:
        aims.append(f"cold ≤ {COLD_AIM:.0f}")
        reached &= median(cold) <= COLD_AIM
    figures = median(view), quantile(view, 0.95), median(cold), max(cold), median(markup), median(packing)
    sizes = median(raw), median(packed)
    return [*(number(f, 2) for f in figures), *(number(s) for s in sizes), ", ".join(aims), yes(reached)]


def _cold(name: str, state: Any) -> float:
    for cache in _caches():
        cache.cache_clear()
    return _timed(lambda: FIGURES[name].view(state))


def _caches() -> Iterator[Any]:
    """Every functools cache of the lesson and the library, except those of files."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("lessons.quantization", "quant_core")) and name not in KEPT:
            yield from (item for item in vars(module).values() if hasattr(item, "cache_clear"))


def _timed(run: Callable[[], object]) -> float:
    """Milliseconds of one call in CPU time of this thread, so that other work does not count."""
    start = thread_time()
    run()
    return 1000 * (thread_time() - start)
