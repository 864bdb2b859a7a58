"""What options leave to Linux and what they take from it: rules whose difference a later step hides in the texts.

Source: Linux 6.1.192, 6.12.117, 7.1.5 arch/x86/kernel/cpu/bugs.c, the function beside each test.
"""

from __future__ import annotations

import pytest

from archcaps.rules import linux_branch_texts as texts
from archcaps.rules import linux_retbleed as retbleed
from archcaps.rules.views import Cpu, Kernel
from tests.rules.facts import holds

CPU, KERNEL = Cpu("cpu"), Kernel("kernel")
OFF = "kernel.mitigations_off"
IBPB = ("kernel.retbleed_ibpb", "kernel.built_ibpb_entry", "cpu.amd_ibpb")


@pytest.mark.parametrize("option", ["off", "on", "prctl", "ibpb"])
def test_spectre_v2_user_is_left_to_linux_without_an_option(option: str) -> None:
    """spectre_v2_user_select_mitigation: SPECTRE_V2_USER_CMD_AUTO."""
    node = texts.spectre_v2_user_left_to_linux(KERNEL)
    assert holds(node)
    assert not holds(node, f"kernel.spectre_v2_user_{option}")


@pytest.mark.parametrize(
    "counts",
    [
        ("kernel.retbleed_unret", "kernel.built_unret_entry"),
        IBPB,
        (
            "kernel.retbleed_stuff",
            "kernel.built_call_depth_tracking",
            "kernel.selects_then_applies",
            "cpu.vendor_intel",
        ),
        ("kernel.retbleed_off",),
    ],
)
def test_retbleed_is_left_to_linux_where_no_option_counts(counts: tuple[str, ...]) -> None:
    """retbleed_select_mitigation: what is not built in, or not there, becomes auto."""
    node = retbleed.retbleed_is_left_to_linux(CPU, KERNEL)
    assert holds(node)
    assert holds(node, *counts[:-1])
    assert not holds(node, *counts)


def test_its_is_off_with_all_mitigations() -> None:
    """its_select_mitigation: cpu_mitigations_off comes before its own option; from 6.17 on the option stays."""
    node, stuffing = retbleed.its_switched_off(KERNEL), retbleed.its_asks_for_stuffing(CPU, KERNEL)
    assert not holds(node)
    assert holds(node, OFF)
    asked = (
        "cpu.vendor_intel", "cpu.listed_its", "kernel.has_its", "kernel.its_stuff", "kernel.built_retpoline",
        "kernel.built_rethunk", "kernel.built_call_depth_tracking",
    )  # fmt: skip
    assert holds(stuffing, *asked)
    assert not holds(stuffing, *asked, OFF)
    assert holds(stuffing, *asked, OFF, "kernel.attack_vectors")


def test_retbleed_s_ibpb_stops_nothing_where_mitigations_are_off() -> None:
    """retbleed_select_mitigation returns first thing."""
    node = retbleed.rsb_filling_at_vm_exit_is_stopped(CPU, KERNEL)
    given = (*IBPB, "kernel.retbleed_ibpb_stops_rsb_filling", "kernel.has_retbleed", "cpu.listed_retbleed")
    assert holds(node, *given)
    assert not holds(node, *given, OFF)
