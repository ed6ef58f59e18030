"""Headless Chromium for the benchmarks: a fresh context for each visit, and pages that record events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from scripts import browser as executable

NOTES = Path(__file__).with_name("painted.js")
DEVICES: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1440, "height": 900}},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "has_touch": True,
        "is_mobile": True,
    },
}
STEP_LIMIT = 60_000  # milliseconds that a step may take on a busy machine


@dataclass(frozen=True, slots=True)
class Profile:
    """The reader's device and network: a slower processor, a slower line."""

    name: str
    cpu: int = 1  # times as slow
    round_trip: int = 0  # milliseconds
    bits_down: int = 0  # a second; 0 is no limit


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser of the tests."""
    path = executable.find()
    if path is None:
        raise SystemExit(executable.HELP)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=executable.launch_arguments())
        yield browser
        browser.close()


@contextmanager
def visit(
    browser: Browser, device: str = "desktop", profile: Profile | None = None
) -> Iterator[tuple[Page, CDPSession]]:
    """A page in a new context: nothing cached, motion on."""
    context = browser.new_context(**DEVICES[device], locale="en-GB", reduced_motion="no-preference")
    context.set_default_timeout(STEP_LIMIT)
    page = context.new_page()
    page.add_init_script(path=NOTES)
    session = context.new_cdp_session(page)
    if profile:
        _slow_down(session, profile)
    yield page, session
    context.close()


def _slow_down(session: CDPSession, profile: Profile) -> None:
    session.send("Emulation.setCPUThrottlingRate", {"rate": profile.cpu})
    if profile.bits_down:
        session.send("Network.enable")
        line = {
            "offline": False,
            "latency": profile.round_trip,
            "downloadThroughput": profile.bits_down / 8,
            "uploadThroughput": profile.bits_down / 8,
        }
        session.send("Network.emulateNetworkConditions", line)
