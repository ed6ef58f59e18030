"""Tables of states, read as the page reads them."""

from __future__ import annotations

from typing import Any


def views_of(table: dict[str, Any]) -> dict[str, str]:
    """The views of a table of states, put together as the page does it."""
    lines = table["lines"]
    return {
        value: "\n".join(line for a, b in zip(bounds[::2], bounds[1::2], strict=True) for line in lines[a:b])
        for value, bounds in table["states"].items()
    }
