"""Tables of figures with their aims beside them, as plain text."""

from __future__ import annotations

from collections.abc import Sequence


class Table:
    """Rows under a title; the first column is set to the left, the others to the right."""

    def __init__(self, title: str, *columns: str) -> None:
        self.title = title
        self.columns = columns
        self.rows: list[tuple[str, ...]] = []

    def add(self, *cells: str) -> None:
        """Append a row; what is missing at its end stays empty."""
        self.rows.append((*cells, *[""] * (len(self.columns) - len(cells))))

    def print(self) -> None:
        """Print it as wide as its cells need."""
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        print(f"\n{self.title}\n")
        for row in (self.columns, *self.rows):
            first, *others = zip(row, widths, strict=True)
            cells = [first[0].ljust(first[1]), *[cell.rjust(width) for cell, width in others]]
            print("  ".join(cells).rstrip())
        print(flush=True)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of all lies at or below; of few values it is the next higher one."""
    if not values:
        return float("nan")
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def median(values: Sequence[float]) -> float:
    return quantile(values, 0.5)


def number(value: float, places: int = 1) -> str:
    """Print a figure, or a dash where nothing was measured."""
    return "–" if value != value else f"{value:,.{places}f}"


def yes(reached: bool) -> str:
    return "yes" if reached else "NO"
