"""A computation that takes no time, to show how one is begun, followed and stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from lessons.kit.job import Job, Nothing, Progress, Row
from lessons.kit.numbers import integer
from lessons.kit.view import Column, Table

COUNT, PACE = 5, 0.3  # rows, and seconds before each


def steps(_: Nothing, known: Sequence[Row]) -> Iterator[Progress]:
    """Squares, one after the other."""
    for number in range(len(known) + 1, COUNT + 1):
        time.sleep(PACE)
        yield Progress(number / COUNT, {"number": number, "square": number**2})


def table(rows: Sequence[Row], word: Callable[..., str]) -> Table:
    """The rows as they are."""
    columns = (Column("number"), Column("square", integer))
    return Table(columns, tuple((word("number", number=str(row["number"])), row["square"]) for row in rows))


JOBS = {"squares": Job("squares", lambda: True, steps, table)}
