"""Read state tables as the page does."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient


def table_of(client: TestClient, address: str) -> dict[str, Any]:
    """The state table at an address, requested again while it is incomplete."""
    for _ in range(20):
        table: dict[str, Any] = client.get(address).json()
        if table:
            return table
    raise AssertionError(f"{address} stays empty")


def views_of(table: dict[str, Any]) -> dict[str, str]:
    """The views of a state table, assembled as the page does it."""
    lines = table["lines"]
    return {
        value: "\n".join(line for a, b in zip(bounds[::2], bounds[1::2], strict=True) for line in lines[a:b])
        for value, bounds in table["states"].items()
    }
