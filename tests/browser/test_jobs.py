"""A computation that takes minutes, on its page: begun by its button, told by events, not reloaded."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect

from lessons.specimen.jobs import COUNT

RECORD = """addEventListener("DOMContentLoaded", () => {
    const loads = JSON.parse(sessionStorage.loads ?? "[]");
    sessionStorage.loads = JSON.stringify([...loads, document.querySelector("progress") !== null]);
})"""
"""Whether a computation was under way, each time the page was loaded."""


@contextmanager
def machine_is_taken(jobs: Path) -> Iterator[None]:
    """The server's machine computes something else."""
    with open(jobs / "lock", "a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("another-1")
        lock.flush()
        yield
        lock.truncate(0)


def test_a_computation_is_stopped_by_who_began_it_and_begun_again_its_rows_come_by_themselves(
    page: Page, server_folder: Path
) -> None:
    page.add_init_script(RECORD)
    page.goto("/lessons/specimen/jobs/squares")
    begin = page.get_by_role("button", name="Square")
    with machine_is_taken(server_folder / "jobs"):
        begin.click()
        only_its_own_page_can_stop_it(page)
        begin.wait_for()
    page.evaluate("sessionStorage.loads = '[]'")
    begin.click()
    shown = page.locator("#job-state")
    expect(shown.get_by_role("status")).to_contain_text("Squared in")
    expect(shown.locator("tbody tr")).to_have_count(COUNT)
    assert page.evaluate("JSON.parse(sessionStorage.loads)") == [True]
    expect(shown.get_by_role("button")).to_have_count(0)


def only_its_own_page_can_stop_it(page: Page) -> None:
    """Neither a link that is passed on nor its address tells how."""
    stop = page.get_by_role("button", name="Stop")
    stop.wait_for()
    page.wait_for_url(re.compile("/jobs/squares$"))
    page.reload()
    stop.wait_for()
    page.wait_for_url(re.compile("/jobs/squares$"))
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("#job-state")).to_contain_text("Only the page on which it was begun can stop it")
    expect(other.get_by_role("button", name="Stop")).to_have_count(0)
    other.close()
    stop.click()
