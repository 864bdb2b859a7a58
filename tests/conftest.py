"""Hypothesis profiles: "archcaps" by default, the same examples each time; "long" (make properties) for a search.

What a search finds goes into an `@example` of its test: no run depends on luck, or on what an earlier one kept.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "archcaps",
    deadline=None,
    max_examples=100,
    derandomize=True,
    database=None,
    print_blob=True,
)
settings.register_profile(
    "long",
    deadline=None,
    derandomize=False,
    max_examples=5_000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "archcaps")
