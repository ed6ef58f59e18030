"""A computation that takes minutes, on its page: begun by its button, told by events, not reloaded."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from lessons.specimen.jobs import COUNT


def test_a_computation_is_begun_and_its_rows_come_by_themselves(page: Page) -> None:
    page.goto("/lessons/specimen/jobs/squares")
    page.get_by_role("button", name="Square").click()
    shown = page.locator("#job-state")
    expect(shown.locator("progress")).to_be_visible()
    page.evaluate("() => { window.notReloaded = true }")
    expect(shown.get_by_role("status")).to_contain_text("Squared in")
    expect(shown.locator("tbody tr")).to_have_count(COUNT)
    assert page.evaluate("() => window.notReloaded")
    expect(shown.get_by_role("button")).to_have_count(0)
