"""Boot options of the branch prediction mitigations, as kernels read them."""

from __future__ import annotations

import pytest

from archcaps.machine.branch_options import BRANCH_LOOKUPS, branch_option_values
from archcaps.tables.names import KERNEL_LOOKUPS

#: Behaviours of a kernel before 6.18 with everything, and of one from 6.18 on.
OLD = {
    "options_are_early": False, "mitigation_configs": True, "names_eibrs_modes": True, "has_retbleed": True,
    "mitigates_retbleed_on_amd": True, "knows_retbleed_stuff": True, "knows_its_stuff": True, "knows_bhi_vmexit": True,
    "spectre_v2_user_off_by_default": False,
}  # fmt: skip
NEW = OLD | {"options_are_early": True}
CONFIG = {"MITIGATION_SPECTRE_V2": "y", "MITIGATION_ITS": "y", "MITIGATION_RETBLEED": "y", "MITIGATION_VMSCAPE": "y"}


def true_of(cmdline: str, behaviours: dict[str, bool], config: dict[str, str] | None = None) -> set[str]:
    """The look-ups that options make true, without what is built in."""
    values = branch_option_values(cmdline, CONFIG if config is None else config, behaviours)
    return {name for name, value in values.items() if value and not name.startswith("built_")}


def test_every_look_up_is_named() -> None:
    assert set(BRANCH_LOOKUPS) <= set(KERNEL_LOOKUPS)
    assert set(branch_option_values("", None, OLD)) == set(BRANCH_LOOKUPS)
    assert set(branch_option_values(None, None, OLD)) == set(BRANCH_LOOKUPS)


def test_no_option_is_none() -> None:
    assert true_of("quiet", OLD) == set()
    assert set(branch_option_values(None, None, NEW).values()) == {None}


@pytest.mark.parametrize(
    ("cmdline", "old", "new"),
    [
        ("spectre_v2=eibrs,lfence", {"spectre_v2_eibrs_lfence"}, {"spectre_v2_eibrs_lfence"}),
        ("spectre_v2=retpoline,amd", {"spectre_v2_retpoline_lfence"}, {"spectre_v2_retpoline_lfence"}),
        ("spectre_v2=on", {"spectre_v2_on"}, {"spectre_v2_on", "spectre_v2_forced"}),
        ("spectre_v2=off spectre_v2=auto", set(), set()),
        ("spectre_v2=off spectre_v2=nonsense", set(), {"spectre_v2_off"}),
        # spectre_v2_parse_cmdline of 6.18 returns at once behind nospectre_v2
        ("nospectre_v2 spectre_v2=on", {"spectre_v2_off"}, {"spectre_v2_off"}),
        ("spectre_v2=on nospectre_v2", {"spectre_v2_off"}, {"spectre_v2_off", "spectre_v2_forced"}),
        # a lone -- ends the kernel's own options, and in names - is _: both for early parameters only
        ("-- spectre_v2=off", {"spectre_v2_off"}, set()),
        ("spectre-v2=off", set(), {"spectre_v2_off"}),
        ("retbleed=off,auto,nosmt", {"retbleed_nosmt"}, {"retbleed_nosmt"}),
        (
            "retbleed=ibpb retbleed=force,what",
            {"retbleed_ibpb", "retbleed_forced"},
            {"retbleed_ibpb", "retbleed_forced"},
        ),
        ("indirect_target_selection=force", {"its_on", "its_forced"}, {"its_on", "its_forced"}),
        ("vmscape=off vmscape=force", {"vmscape_forced"}, {"vmscape_forced"}),
        ("spec_rstack_overflow=ibpb-vmexit", {"srso_ibpb_vmexit"}, {"srso_ibpb_vmexit"}),
        ("nosmt=force", {"nosmt_force"}, {"nosmt_force"}),
    ],
)  # fmt: skip
def test_options(cmdline: str, old: set[str], new: set[str]) -> None:
    assert true_of(cmdline, OLD) == old
    assert true_of(cmdline, NEW) == new


def test_words_that_a_kernel_does_not_know() -> None:
    before = OLD | {"knows_retbleed_stuff": False, "knows_its_stuff": False, "knows_bhi_vmexit": False}
    assert true_of("retbleed=stuff,force indirect_target_selection=stuff spectre_bhi=vmexit", before) == set()
    assert true_of("retbleed=auto,nosmt", before | {"mitigates_retbleed_on_amd": False}) == set()
    assert true_of("spectre_v2=ibrs", before | {"has_retbleed": False}) == set()


def test_ways_of_reading_that_agree_leave_nothing_open() -> None:
    values = branch_option_values("spectre_v2=off", CONFIG, {})
    assert values["spectre_v2_off"] is True
    values = branch_option_values("spectre_v2=off spectre_v2=nonsense", CONFIG, {})
    assert values["spectre_v2_off"] is None


def test_compiled_off() -> None:
    off = {"MITIGATION_ITS": "n", "MITIGATION_RETBLEED": "n", "MITIGATION_SPECTRE_V2": "n"}
    found = true_of("indirect_target_selection=force", OLD, off)
    assert found >= {"its_off", "retbleed_off", "spectre_v2_off", "spectre_v2_user_off"}
    assert "its_forced" not in found
    assert "retbleed_off" not in true_of("retbleed=auto", OLD, off)
    assert "spectre_v2_off" not in true_of("", OLD | {"mitigation_configs": False}, off)


def test_items_under_their_old_names() -> None:
    values = branch_option_values("", {"RETPOLINE": "y", "CPU_SRSO": "n", "BPF_SYSCALL": "n"}, OLD)
    assert values["built_retpoline"] is True
    assert values["built_srso"] is False
    assert values["built_rethunk"] is None
    assert values["unprivileged_bpf"] is False
