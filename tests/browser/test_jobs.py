"""A computation that takes minutes, on its page: begun by its button, told by events, not reloaded."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from lessons.specimen.jobs import COUNT
from tests.app.servers import serving
from tests.browser.watch import Watch

RECORD = """addEventListener("DOMContentLoaded", () => {
    const loads = JSON.parse(sessionStorage.loads ?? "[]");
    sessionStorage.loads = JSON.stringify([...loads, document.querySelector("progress") !== null]);
})"""
"""Whether a computation was under way, each time the page was loaded."""


def test_a_computation_is_begun_and_its_rows_come_by_themselves(page: Page) -> None:
    page.add_init_script(RECORD)
    page.goto("/lessons/specimen/jobs/squares")
    page.get_by_role("button", name="Square").click()
    shown = page.locator("#job-state")
    expect(shown.get_by_role("status")).to_contain_text("Squared in")
    expect(shown.locator("tbody tr")).to_have_count(COUNT)
    assert page.evaluate("JSON.parse(sessionStorage.loads)") == [False, True]
    expect(shown.get_by_role("button")).to_have_count(0)


@pytest.fixture
def waiting(tmp_path: Path, watch: Watch) -> Iterator[str]:
    """The page of a computation on a server whose machine computes something else."""
    with serving(ACADEMY_JOBS_FOLDER=str(tmp_path), ACADEMY_MAKE_AHEAD="0") as (port, _):
        watch.host = f"127.0.0.1:{port}"
        with open(tmp_path / "lock", "a+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write("another-1")
            lock.flush()
            yield f"http://127.0.0.1:{port}/lessons/specimen/jobs/squares"


def test_who_began_it_can_stop_it_and_a_link_that_is_passed_on_cannot(page: Page, waiting: str) -> None:
    page.goto(waiting)
    page.get_by_role("button", name="Square").click()
    expect(page).to_have_url(waiting)
    stop = page.get_by_role("button", name="Stop")
    expect(stop).to_be_visible()
    page.reload()
    expect(stop).to_be_visible()
    expect(page).to_have_url(waiting)
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("#job-state")).to_contain_text("Only the page on which it was begun can stop it")
    expect(other.get_by_role("button", name="Stop")).to_have_count(0)
    stop.click()
    expect(page.get_by_role("button", name="Square")).to_be_visible()
