"""What a file of the VERW family says before its `; SMT` part, which the verdict is made from."""

from __future__ import annotations

import pytest

from archcaps.rules.linux_mitigations import NO_FILE, TEXTS, states_of
from archcaps.rules.views import Cpu, Kernel
from archcaps.tables.names import VULNERABILITIES
from tests.rules.facts import holds

CPU, KERNEL = Cpu("guest"), Kernel("guest_kernel")


def test_each_vulnerability_has_its_file() -> None:
    assert tuple(TEXTS) == VULNERABILITIES


@pytest.mark.parametrize("vulnerability", VULNERABILITIES)
def test_no_state_speaks_of_smt(vulnerability: str) -> None:
    states = {text for _, text in states_of(vulnerability, CPU, KERNEL).rows}
    assert {NO_FILE, "Not affected"} <= states
    assert not [text for text in states if text is not NO_FILE and "SMT" in text]


def test_a_kernel_that_does_not_know_mmio_stale_data_has_no_file() -> None:
    """Linux before 5.19, and stables from before June 2022, have none."""
    missing = states_of("mmio_stale_data", CPU, KERNEL).where(lambda text: text is NO_FILE)
    assert holds(missing)
    assert not holds(missing, "guest_kernel.has_mmio_stale_data")
