"""Settings of all tests."""

from __future__ import annotations

import gc

import hypothesis

# No time limits for examples of hypothesis: a busy machine must not fail a test.
hypothesis.settings.register_profile(
    "no deadline", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("no deadline")

# With Python's own threshold, a fifth of the time would go to looking for garbage.
gc.set_threshold(50_000, 20, 20)


def pytest_collection_finish() -> None:
    """Modules and tests stay until the end: the search for garbage leaves them out."""
    gc.freeze()
