"""The files and the bugs that are modelled, in the kernel's own order."""

from __future__ import annotations

from archcaps.logic.concatenation import Concatenation
from archcaps.rules.linux_bug_names import BUGS
from archcaps.rules.linux_files import TEXTS, conditions_of
from archcaps.rules.views import Cpu, Kernel


def test_the_files_in_the_order_of_cpu_root_vulnerabilities_attrs() -> None:
    """Linux 7.1.5 drivers/base/cpu.c."""
    assert list(TEXTS) == [
        "meltdown", "spectre_v1", "spectre_v2", "spec_store_bypass", "l1tf", "mds", "tsx_async_abort", "itlb_multihit",
        "srbds", "mmio_stale_data", "retbleed", "spec_rstack_overflow", "gather_data_sampling",
        "reg_file_data_sampling", "ghostwrite", "old_microcode", "indirect_target_selection", "tsa", "vmscape",
    ]  # fmt: skip


def test_the_bugs_in_the_order_of_their_numbers() -> None:
    """Linux 7.1.5, 6.12.117, 5.10.265 arch/x86/include/asm/cpufeatures.h, without those of 32-bit kernels."""
    assert list(BUGS) == [
        "tlb_mmatch", "fxsave_leak", "clflush_monitor", "sysret_ss_attrs", "null_seg", "swapgs_fence", "monitor",
        "amd_e400", "cpu_meltdown", "spectre_v1", "spectre_v2", "spec_store_bypass", "l1tf", "mds", "msbds_only",
        "swapgs", "taa", "itlb_multihit", "srbds", "mmio_stale_data", "mmio_unknown", "retbleed", "eibrs_pbrsb",
        "smt_rsb", "gds", "tdx_pw_mce", "srso", "div0", "rfds", "bhi", "ibpb_no_ret", "spectre_v2_user",
        "old_microcode", "its", "its_native_only", "tsa", "vmscape",
    ]  # fmt: skip


def test_each_bug_is_found_by_the_rule_of_its_name() -> None:
    cpu, kernel = Cpu("cpu"), Kernel("kernel")
    assert {name: rule(cpu, kernel).name for name, rule in BUGS.items()} == {
        name: f"cpu.x86_bug_{name}" for name in BUGS
    }


def test_the_conditions_of_a_line_are_those_of_its_fields_too() -> None:
    cpu, kernel = Cpu("cpu"), Kernel("kernel")
    plain, line = TEXTS["mds"](cpu, kernel), TEXTS["spectre_v2"](cpu, kernel)
    assert not isinstance(plain, Concatenation)
    assert isinstance(line, Concatenation)
    assert len(conditions_of(plain)) == len(plain.rows)
    assert len(conditions_of(line)) == len(line.whole.rows) + sum(len(choice.rows) for _, choice in line.fields)
