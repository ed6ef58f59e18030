"""The measurements from input to paint, and their tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.chromium import Profile
from bench.states import FIGURES
from bench.table import Table, median, number, quantile, yes

NEAR, FAR, WEAK = Profile("same host"), Profile("100 ms away", round_trip=100), Profile("CPU ÷4", cpu=4)
PROFILES = (NEAR, FAR, WEAK)
WAYS = ("keys", "drag", "click")
PARTS = ("script", "style", "layout", "rest", "all")
P50_AIM, P95_AIM, WEAK_P95_AIM = 8.0, 16.0, 65.0
NOT_MEASURED = float("nan")


@dataclass
class Row:
    """One control used in one way under one profile. Times are milliseconds."""

    figure: str
    control: str
    way: str
    times: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)  # the same without the wait for a frame
    changes: int = 0
    long_tasks: list[float] = field(default_factory=list)
    wrong: bool = False
    first_touch: float = NOT_MEASURED
    table_took: float = NOT_MEASURED
    table_size: float = NOT_MEASURED  # kB
    cost: dict[str, float] = field(default_factory=dict)  # CPU time of a change on the page's main thread

    @property
    def key(self) -> tuple[str, str, str]:
        return self.figure, self.control, self.way

    @property
    def place(self) -> tuple[int, int, int]:
        """Its position in the lesson."""
        controls = list(FIGURES[self.figure].controls.widgets())
        return list(FIGURES).index(self.figure), controls.index(self.control), WAYS.index(self.way)

    @property
    def is_drawing(self) -> bool:
        """Whether its figure is drawn in SVG by the server, not by Plotly and not as HTML cells."""
        figure = FIGURES[self.figure]
        return not figure.is_html and figure.view(figure.controls()).chart is None

    def reaches(self, profile: Profile) -> bool:
        """Whether the profile's aim is met, without the wait for the frame, which the page cannot change."""
        p50, p95 = median(self.work), quantile(self.work, 0.95)
        return p95 <= WEAK_P95_AIM if profile is WEAK else p50 <= P50_AIM and p95 <= P95_AIM


Measured = dict[Profile, list[Row]]


def tables(measured: Measured) -> Iterator[Table]:
    """The tables of every control, of the cost of a change, and a summary."""
    yield _controls(measured)
    yield _costs(measured)
    yield _summary(measured)


def _controls(measured: Measured) -> Table:
    table = Table(
        f"Input to painted, ms; own: without the wait for a frame. Aims, of own: p50 ≤ {P50_AIM:.0f} and "
        f"p95 ≤ {P95_AIM:.0f} (100 ms away: after first touch), p95 ≤ {WEAK_P95_AIM:.0f} at CPU ÷4.",
        *("control", "by", "p50", "p95", "own", "p95", "aim"),
        *("100: first", "p50", "p95", "own", "p95", "aim", "÷4: p50", "p95", "own", "p95", "aim"),
        *("painted", "long tasks", "right"),
    )
    known = {row.key: row for rows in measured.values() for row in rows}
    for key, any_row in sorted(known.items(), key=lambda item: item[1].place):
        rows = {profile: _find(measured[profile], key) for profile in PROFILES}
        near, far, weak = (
            [*_latency(rows[profile]), yes(rows[profile].reaches(profile)) if rows[profile].times else "–"]
            for profile in PROFILES
        )
        table.add(
            f"{any_row.figure}.{any_row.control}",
            any_row.way,
            *(*near, number(rows[FAR].first_touch, 0), *far, *weak),
            " ".join(f"{len(row.times)}/{row.changes}" for row in rows.values()),
            " ".join(str(len(row.long_tasks)) for row in rows.values()),
            yes(not any(row.wrong for row in rows.values())),
        )
    return table


def _costs(measured: Measured) -> Table:
    """The CPU time of a change on the main thread, by activity."""
    table = Table(
        "What a change costs the page's main thread, CPU ms on the same host, all its frames together; and "
        "the state table 100 ms away.",
        *("figure", *PARTS, "all, ÷4", "table ms p50", "max", "kB p50", "max"),
    )
    for name in FIGURES:
        near, far, weak = ([row for row in measured[p] if row.figure == name] for p in PROFILES)
        parts = [median([row.cost[part] for row in near if row.cost]) for part in PARTS]
        slowed = median([row.cost["all"] for row in weak if row.cost])
        took = [row.table_took for row in far if row.table_took == row.table_took]
        sizes = [row.table_size for row in far if row.table_size == row.table_size]
        largest = [max(values, default=NOT_MEASURED) for values in (took, sizes)]
        table.add(name, *map(number, [*parts, slowed, median(took), largest[0], median(sizes), largest[1]]))
    return table


def _summary(measured: Measured) -> Table:
    table = Table(
        "From input to paint, in short: figures drawn in SVG, and those of data charts and of cells of HTML.",
        *("profile", "figures", "changes", "painted", "p50", "p95", "own p50", "p95", "aim", "reached"),
        *("rows that reach it", "long tasks", "wrong"),
    )
    for profile, all_rows in measured.items():
        for kind, drawn in (("SVG", True), ("others", False)):
            rows = [row for row in all_rows if row.is_drawing == drawn]
            times = [time for row in rows for time in row.times]
            together = Row("", "", "", work=[time for row in rows for time in row.work])
            aim = (
                f"p95 ≤ {WEAK_P95_AIM:.0f}"
                if profile is WEAK
                else f"p50 ≤ {P50_AIM:.0f}, p95 ≤ {P95_AIM:.0f}"
            )
            table.add(
                profile.name,
                kind,
                *(str(sum(row.changes for row in rows)), str(len(times))),
                *(number(median(times)), number(quantile(times, 0.95))),
                *(number(median(together.work)), number(quantile(together.work, 0.95))),
                *((aim, yes(together.reaches(profile))) if drawn else ("", "")),
                f"{sum(row.reaches(profile) for row in rows)} of {len(rows)}",
                *(str(sum(len(row.long_tasks) for row in rows)), str(sum(row.wrong for row in rows))),
            )
    return table


def _latency(row: Row) -> list[str]:
    return [
        number(each) for times in (row.times, row.work) for each in (median(times), quantile(times, 0.95))
    ]


def _find(rows: list[Row], key: tuple[str, str, str]) -> Row:
    return next((row for row in rows if row.key == key), Row(*key))
