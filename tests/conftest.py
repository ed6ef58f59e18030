"""What holds for all tests."""

from __future__ import annotations

import hypothesis

# A busy machine must not fail a property: there is no time limit, neither for one example nor for making it.
hypothesis.settings.register_profile(
    "no deadline", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("no deadline")
