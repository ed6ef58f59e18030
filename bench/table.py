"""Plain-text tables of numbers with their aims."""

from __future__ import annotations

from collections.abc import Sequence


class Table:
    """Rows under a title; the first column is left-aligned, the others are right-aligned."""

    def __init__(self, title: str, *columns: str) -> None:
        self.title = title
        self.columns = columns
        self.rows: list[tuple[str, ...]] = []

    def add(self, *cells: str) -> None:
        """Append a row; missing cells at its end stay empty."""
        self.rows.append((*cells, *[""] * (len(self.columns) - len(cells))))

    def print(self) -> None:
        """Print it."""
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        print(f"\n{self.title}\n")
        for row in (self.columns, *self.rows):
            first, *others = zip(row, widths, strict=True)
            cells = [first[0].ljust(first[1]), *[cell.rjust(width) for cell, width in others]]
            print("  ".join(cells).rstrip())
        print(flush=True)


def quantile(values: Sequence[float], share: float) -> float:
    """The quantile of the values, rounded up to one of them."""
    if not values:
        return float("nan")
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def median(values: Sequence[float]) -> float:
    return quantile(values, 0.5)


def number(value: float, places: int = 1) -> str:
    """Format a number, or a dash if nothing was measured."""
    return "–" if value != value else f"{value:,.{places}f}"


def yes(reached: bool) -> str:
    return "yes" if reached else "NO"
