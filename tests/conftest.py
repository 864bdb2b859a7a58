"""Hypothesis profiles: "archcaps" by default, the same examples each time; "long" (make properties) for a search.

What a search finds goes into an `@example` of its test: no run depends on luck, or on what an earlier one kept.
"""

import os

import pytest
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

#: Tests that take a minute or more each: begun first, so that no worker has one left when the others are done.
LONG = ("test_generated_documents_are_up_to_date", "test_an_audit_counts_what_the_prover_counts", "tests/fleet/spark/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first; the others keep their order."""
    items.sort(key=lambda item: not any(each in item.nodeid for each in LONG))
