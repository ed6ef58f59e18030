"""Measure the size and loading of the lesson page: bytes by kind, paint, shifts, long tasks, memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, CDPSession, Page

from bench.chromium import Profile, chromium, visit
from bench.serving import lesson_server
from bench.states import PAGE
from bench.table import Table, median, number, yes

HERE = Profile("same host")
SLOW = Profile("slow phone", cpu=4, round_trip=150, bits_down=1_600_000)
VISITS = [("desktop", HERE), ("phone", HERE), ("phone", SLOW)]
RUNS = 3
MOST_MOVED = 12
KINDS = ("html", "css", "js", "font", "other")
TYPES = {"Document": "html", "Stylesheet": "css", "Script": "js", "Font": "font"}

FIRST_VIEW_AIM, PLOTLY_AIM = 150.0, 350.0  # kB
PLOTLY = "plotly-basic"


@dataclass
class Visit:
    """The measurements of one visit. Sizes are bytes as transferred with headers; times are milliseconds."""

    first: Counter[str] = field(default_factory=Counter)
    later: Counter[str] = field(default_factory=Counter)
    plotly: int = 0
    requests: int = 0
    largest_paint: float = 0.0
    shift: float = 0.0
    scroll_shift: float = 0.0
    moved: Counter[str] = field(default_factory=Counter)
    long_tasks: list[float] = field(default_factory=list)
    heap: float = 0.0
    scrolled_heap: float = 0.0


def main() -> None:
    with lesson_server() as server, chromium() as browser:
        visits = [
            (f"{device}, {profile.name}", [_visit(browser, server.url, device, profile) for _ in range(RUNS)])
            for device, profile in VISITS
        ]
    _sizes(visits).print()
    _loading(visits).print()
    moved: Counter[str] = sum((run.moved for _, runs in visits for run in runs), Counter())
    for what, times in moved.most_common(MOST_MOVED):
        print(f"moved {times} times: {what}")


def _sizes(visits: list[tuple[str, list[Visit]]]) -> Table:
    table = Table(
        "The page: kB as transferred, compressed. First view: all that an unscrolled first visit asks for.",
        *("visit", *KINDS, "sum", "requests", "aim", "reached"),
    )
    for name, runs in visits:
        run = runs[0]
        total = run.first.total() / 1000
        table.add(
            f"{name}: first view",
            *(number(run.first[kind] / 1000) for kind in KINDS),
            *(number(total), str(run.requests), f"≤ {FIRST_VIEW_AIM:.0f}", yes(total <= FIRST_VIEW_AIM)),
        )
        table.add(
            f"{name}: when scrolled",
            *(number(run.later[kind] / 1000) for kind in KINDS),
            number(run.later.total() / 1000),
        )
    bundle = max(run.plotly for _, runs in visits for run in runs) / 1000
    aim = f"≤ {PLOTLY_AIM:.0f}", yes(0 < bundle <= PLOTLY_AIM)
    table.add("Plotly's bundle", "", "", number(bundle), "", "", number(bundle), "", *aim)
    return table


def _loading(visits: list[tuple[str, list[Visit]]]) -> Table:
    table = Table(
        f"Loading: medians of {RUNS} visits; shifts are sums and the worst of them. ms and MB.",
        *("visit", "LCP", "CLS", "CLS scrolled", "long tasks", "their sum", "heap", "heap scrolled"),
        *("aim", "reached"),
    )
    for name, runs in visits:
        shift, scrolled = max(run.shift for run in runs), max(run.scroll_shift for run in runs)
        table.add(
            name,
            number(median([run.largest_paint for run in runs]), 0),
            number(shift, 4),
            number(scrolled, 4),
            number(median([len(run.long_tasks) for run in runs]), 0),
            number(median([sum(run.long_tasks) for run in runs]), 0),
            number(median([run.heap for run in runs])),
            number(median([run.scrolled_heap for run in runs])),
            "CLS 0",
            yes(shift == 0 and scrolled == 0),
        )
    return table


def _visit(browser: Browser, url: str, device: str, profile: Profile) -> Visit:
    seen = Visit()
    with visit(browser, device, profile) as (page, session):
        kinds: dict[str, tuple[str, str]] = {}
        target = seen.first

        def began(event: dict[str, Any]) -> None:
            kinds[event["requestId"]] = TYPES.get(event["type"], "other"), event["request"]["url"]

        def finished(event: dict[str, Any]) -> None:
            kind, address = kinds.get(event["requestId"], ("other", ""))
            size = int(event["encodedDataLength"])
            target[kind] += size
            seen.plotly += size if PLOTLY in address else 0

        session.send("Network.enable")
        session.send("Performance.enable")
        session.on("Network.requestWillBeSent", began)
        session.on("Network.loadingFinished", finished)
        page.goto(url + PAGE, wait_until="networkidle")
        page.wait_for_timeout(500)
        seen.requests = len(kinds)
        notes = page.evaluate("bench")
        seen.largest_paint = notes["largest"]
        seen.shift, seen.long_tasks = _shifted(notes, seen), notes["longTasks"]
        seen.heap = _heap(session)
        target = seen.later
        page.evaluate("bench.shifts = []")
        _scroll_through(page, device)
        seen.scroll_shift = _shifted(page.evaluate("bench"), seen)
        seen.scrolled_heap = _heap(session)
    return seen


def _shifted(notes: dict[str, Any], seen: Visit) -> float:
    seen.moved.update(what for shift in notes["shifts"] for what in shift["what"])
    return float(sum(shift["value"] for shift in notes["shifts"]))


def _scroll_through(page: Page, device: str) -> None:
    """Scroll to the end in steps of most of a screen, with a pause after each."""
    page.evaluate(
        """async () => {
          const root = document.scrollingElement;
          while (root.scrollTop + innerHeight < root.scrollHeight - 2) {
            scrollBy({ top: innerHeight * 0.8, behavior: "instant" });
            await new Promise((resolve) => setTimeout(resolve, 60));
          }
        }"""
    )
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(500)


def _heap(session: CDPSession) -> float:
    """Megabytes of JavaScript's heap after a collection."""
    session.send("HeapProfiler.collectGarbage")
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(m["value"] for m in metrics if m["name"] == "JSHeapUsedSize")) / 1e6
