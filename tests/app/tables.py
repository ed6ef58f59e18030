"""Tables of states, read as the page reads them."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient


def table_of(client: TestClient, address: str) -> dict[str, Any]:
    """The table at an address; what takes longer than a request may is asked for again."""
    for _ in range(20):
        table: dict[str, Any] = client.get(address).json()
        if table:
            return table
    raise AssertionError(f"{address} stays empty")


def views_of(table: dict[str, Any]) -> dict[str, str]:
    """The views of a table of states, put together as the page does it."""
    lines = table["lines"]
    return {
        value: "\n".join(line for a, b in zip(bounds[::2], bounds[1::2], strict=True) for line in lines[a:b])
        for value, bounds in table["states"].items()
    }
