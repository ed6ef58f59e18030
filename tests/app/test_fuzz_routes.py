"""A short seeded run of fuzz/routes.py (`make fuzz-routes`), and the faults that it detects."""

from __future__ import annotations

import asyncio

import pytest

from fuzz.asgi import Answer, Request
from fuzz.routes import HOST, MOST_EXPENSIVE, faults, fuzz

GOOD = {
    "content-security-policy": "default-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "permissions-policy": "usb=()",
    "content-length": "2",
}


def test_short_fuzz_run_passes() -> None:
    summary = asyncio.run(fuzz(300, seed=0))
    assert summary.passed, summary.failure
    assert {200, 404, 405, 422} <= set(summary.statuses)
    assert len(summary.most_expensive) == MOST_EXPENSIVE
    assert min(milliseconds for milliseconds, _ in summary.most_expensive) > 0


def test_valid_response_has_no_faults() -> None:
    assert faults(Request("GET", "/"), Answer(200, GOOD, b"ok")) == []


@pytest.mark.parametrize(
    ("request_", "answer", "words"),
    [
        (Request("GET", "/"), Answer(500, GOOD, b"ok"), "failed"),
        (Request("GET", "/"), Answer(200, {"content-length": "2"}, b"ok"), "header is missing"),
        (Request("GET", "/"), Answer(200, GOOD, b"okay"), "length"),
        (Request("GET", "/"), Answer(200, GOOD | {"link": f"<http://{HOST}/>"}, b"ok"), "host is repeated"),
        (Request("GET", "/"), Answer(303, GOOD | {"location": "//elsewhere.invalid"}, b"ok"), "another host"),
        (Request("POST", "/"), Answer(200, GOOD, b"ok"), "written to"),
    ],
)
def test_a_fault_is_named(request_: Request, answer: Answer, words: str) -> None:
    (found,) = faults(request_, answer)
    assert words in found
