"""Hypothesis profiles: "archcaps" by default, "fuzz" (make fuzz) for a long search."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "archcaps",
    deadline=None,
    max_examples=100,
    derandomize=os.environ.get("CI", "").lower() not in {"", "0", "false"},
    print_blob=True,
)
settings.register_profile(
    "fuzz",
    deadline=None,
    derandomize=False,
    max_examples=20_000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "archcaps")
