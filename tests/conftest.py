"""Settings of all tests."""

from __future__ import annotations

import hypothesis

# No time limits for examples of hypothesis: a busy machine must not fail a test.
hypothesis.settings.register_profile(
    "no deadline", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("no deadline")
