"""What options leave to Linux and what they take from it: rules whose difference a later step hides in the texts.

Source: Linux 6.1.192, 6.12.117, 7.1.5 arch/x86/kernel/cpu/bugs.c, the function beside each test.
"""

from __future__ import annotations

import pytest

from archcaps.rules import linux_branch_texts as texts
from archcaps.rules import linux_bugs_branch as branch_bugs
from archcaps.rules import linux_retbleed as retbleed
from archcaps.rules import linux_spectre_v2 as spectre_v2
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


def test_mitigations_off_comes_before_the_modes() -> None:
    """spectre_v2_parse_cmdline, before "eibrs" was known: retpolines were LFENCE on AMD."""
    mode = spectre_v2.spectre_v2_mode(CPU, KERNEL)
    asked = ("kernel.spectre_v2_retpoline", "kernel.built_retpoline", "cpu.vendor_amd")
    assert holds(mode.is_in([spectre_v2.LFENCE]), *asked)
    assert holds(mode.is_in([spectre_v2.NONE]), *asked, OFF)


def test_an_option_against_retbleed_keeps_ibrs_without_any_vector() -> None:
    """spectre_v2_update_mitigation of 6.17: what retbleed= chose is neither none nor stuffing."""
    node = spectre_v2.retbleed_wants_ibrs(CPU, KERNEL)
    skylake = (
        "cpu.vendor_intel", "cpu.spec_ctrl", "cpu.listed_retbleed", "kernel.has_retbleed", "kernel.built_ibrs_entry",
        "kernel.selects_then_applies", "kernel.attack_vectors",
    )  # fmt: skip
    assert not holds(node, *skylake)
    assert holds(node, *skylake, "kernel.vector_user_kernel")
    assert holds(node, *skylake, "kernel.retbleed_unret", "kernel.built_unret_entry")
    assert holds(node, *skylake, "kernel.retbleed_ibpb", "kernel.built_ibpb_entry")


def test_call_depth_tracking_has_to_be_built_and_needs_retpolines() -> None:
    """cdt_possible."""
    node = spectre_v2.cdt_possible(CPU, KERNEL)
    assert holds(node, "kernel.built_retpoline", "kernel.built_call_depth_tracking")
    assert not holds(node, "kernel.built_retpoline")
    assert not holds(node, "kernel.built_retpoline", "kernel.built_call_depth_tracking", OFF)


@pytest.mark.parametrize(
    ("mode", "true"),
    [
        ("none", ()),
        ("retpoline", ("rsb_is_filled_by_mode", "retpoline_seq_enabled")),
        ("LFENCE", ("rsb_is_filled_by_mode", "lfence_before_branches")),
        ("eIBRS", ("spectre_v2_mode_is_eibrs",)),
        ("eIBRS+LFENCE", ("spectre_v2_mode_is_eibrs", "lfence_before_branches")),
        ("eIBRS+retpoline", ("spectre_v2_mode_is_eibrs", "retpoline_seq_enabled")),
        ("IBRS", ("rsb_is_filled_by_mode",)),
    ],
)
def test_what_a_mode_means_for_what_reads_it(mode: str, true: tuple[str, ...]) -> None:
    """spectre_v2_select_mitigation: the switch over the mode, and spectre_v2_in_eibrs_mode."""
    found = spectre_v2.by_spectre_v2_mode(CPU, KERNEL)[mode]
    assert {name.removeprefix("cpu.") for name, value in found.items() if value} == {
        *true, f"spectre_v2_mode_is[{mode}]",
    }  # fmt: skip
    assert len(found) == 4 + 7 + (mode != "none")  # a mode tells that something is done, none does not tell why not
    assert found.get("cpu.spectre_v2_cmd_none") is (None if mode == "none" else False)


def test_vmscape_is_forced_only_where_the_kernel_has_it() -> None:
    node = branch_bugs.x86_bug_vmscape(CPU, KERNEL)
    assert holds(node, "kernel.has_vmscape", "kernel.vmscape_forced")
    assert not holds(node, "kernel.vmscape_forced")


def test_its_stuffs_for_retbleed_only_where_nothing_else_was_selected() -> None:
    """its_select_mitigation before 6.16 comes last; what retbleed= had selected for Intel is none again from 6.2 on."""
    node = retbleed.retbleed_stuffs(CPU, KERNEL)
    its = (
        "cpu.vendor_intel", "cpu.listed_its", "kernel.has_its", "kernel.its_stuff", "kernel.built_retpoline",
        "kernel.built_rethunk", "kernel.built_call_depth_tracking",
    )  # fmt: skip
    unret = ("kernel.retbleed_unret", "kernel.built_unret_entry")
    assert holds(node, *its)
    assert not holds(node, *its, *unret)
    assert holds(node, *its, *unret, "kernel.resets_retbleed_on_intel")
