"""The pages for teachers on a phone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

NARROWEST = (
    """table => Math.min(...[...table.querySelectorAll("td:nth-child(2)")].map((cell) => cell.clientWidth))"""
)


@pytest.mark.parametrize("address", ["/teach", "/teach/plans"])
def test_what_to_do_has_room_on_a_phone(phone: Page, address: str) -> None:
    phone.goto(address)
    tables = phone.locator("table:has(td:nth-child(3):last-child)")
    assert tables.count() > 0
    for table in tables.all():
        assert table.evaluate("table => table.scrollWidth <= table.parentElement.clientWidth")
        assert table.evaluate(NARROWEST) > 180
