"""Features that a kernel makes of CPUID's bits, by themselves: where no file's text tells them apart."""

from __future__ import annotations

import pytest

from archcaps.logic.graph import Node
from archcaps.rules import linux_bugs as bugs
from archcaps.rules import linux_features as features
from archcaps.rules import linux_memory as memory
from archcaps.rules import linux_mitigations as mitigations
from archcaps.rules import linux_spectre_v2 as spectre_v2
from archcaps.rules.views import Cpu, Kernel
from tests.rules.facts import holds

CPU, KERNEL = Cpu("cpu"), Kernel("kernel")
#: Intel bare metal with microcode of the bad list.
BAD = ("cpu.vendor_intel", "cpu.bad_spectre_microcode")


@pytest.mark.parametrize("bit", ["spec_ctrl", "amd_ibrs", "amd_stibp", "amd_ssbd"])
def test_any_bit_that_needs_msr_0x48_gives_msr_spec_ctrl(bit: str) -> None:
    """init_speculation_control: Intel's SPEC_CTRL, AMD's IBRS, STIBP and SSBD; IBPB has an MSR of its own."""
    node = features.x86_feature_msr_spec_ctrl(CPU, KERNEL)
    assert holds(node, f"cpu.{bit}")
    assert not holds(node)
    assert not holds(node, f"cpu.{bit}", "cpu.spec_ctrl", *BAD)


def test_ls_cfg_is_asked_only_where_no_bit_tells_of_ssbd() -> None:
    """bsp_init_amd: families 0x15 to 0x17 without VIRT_SSBD and AMD_SSBD."""
    node = features.x86_feature_ls_cfg_ssbd(CPU, KERNEL)
    zen2 = ("cpu.vendor_amd", "cpu.family_0x15_to_0x17", "cpu.ls_cfg_readable")
    assert holds(node, *zen2)
    assert not holds(node, *zen2, "cpu.amd_ssbd")
    assert not holds(node, *zen2, "cpu.virt_ssbd")


def test_sbpb_is_tried_only_where_ibpb_brtype_is_not_shown() -> None:
    """early_init_amd: bare metal from family 0x19."""
    zen3 = ("cpu.vendor_amd", "cpu.family_from_0x19", "cpu.sbpb_write_succeeds", "kernel.probes_ibpb_brtype")
    found, sbpb = features.sbpb_found(CPU, KERNEL), features.x86_feature_sbpb(CPU, KERNEL)
    assert holds(found, *zen3)
    assert holds(sbpb, *zen3)
    assert not holds(found, *zen3, "cpu.ibpb_brtype")
    assert not holds(sbpb, *zen3, "cpu.ibpb_brtype")
    assert holds(sbpb, "cpu.sbpb")
    assert not holds(sbpb)


def test_tsa_init_is_amd_s_and_in_no_guest() -> None:
    node = bugs.tsa_init_runs(CPU, KERNEL)
    assert holds(node, "kernel.has_tsa", "cpu.vendor_amd")
    assert not holds(node, "kernel.has_tsa", "cpu.vendor_amd", "cpu.hypervisor")
    assert not holds(node, "kernel.has_tsa")
    assert not holds(node, "cpu.vendor_amd")


def test_a_kernel_without_tsa_knows_no_verw_clear() -> None:
    node = bugs.x86_feature_verw_clear(CPU, KERNEL)
    assert holds(node, "kernel.has_tsa", "kernel.reads_verw_clear", "cpu.verw_clear")
    assert not holds(node, "kernel.reads_verw_clear", "cpu.verw_clear")


def test_only_a_kernel_that_asks_for_tsa_fill_no_sets_it() -> None:
    node = bugs.synthesised_tsa_fill_no(CPU, KERNEL)
    zen4 = ("kernel.has_tsa", "cpu.vendor_amd")
    assert holds(node, *zen4, "kernel.asks_tsa_fill_no")
    assert not holds(node, *zen4)


@pytest.mark.parametrize("left_out", ["kernel.reads_tsa_no", "cpu.tsa_sq_no", "cpu.tsa_l1_no"])
def test_the_tsa_no_bits_count_where_they_are_read(left_out: str) -> None:
    """Linux 6.1.146: CPUID 80000021 ECX is read for no feature yet."""
    node = bugs.x86_feature_tsa_no(CPU, KERNEL)
    three = ("kernel.reads_tsa_no", "cpu.tsa_sq_no", "cpu.tsa_l1_no")
    assert holds(node, *three)
    assert not holds(node, *(fact for fact in three if fact != left_out))


def test_page_tables_are_isolated_and_ptes_inverted_only_where_there_is_the_bug() -> None:
    pti, inverted = memory.x86_feature_pti(CPU, KERNEL), memory.x86_feature_l1tf_pteinv(CPU, KERNEL)
    assert holds(pti)
    assert holds(inverted)
    assert not holds(pti, "cpu.listed_no_meltdown")
    assert not holds(inverted, "cpu.listed_no_l1tf")


def test_gds_by_force_and_by_vectors() -> None:
    """gds_select_mitigation: until 6.16 mitigations=off beats force; from 6.17 a vector or cross-thread keeps it."""
    forced, off = memory.gds_forced(KERNEL), memory.gds_switched_off(KERNEL)
    assert holds(forced, "kernel.gds_force", "kernel.mitigations_off", "kernel.attack_vectors")
    assert not holds(forced, "kernel.gds_force", "kernel.mitigations_off")
    assert holds(off, "kernel.attack_vectors")
    assert not holds(off, "kernel.attack_vectors", "kernel.gds_force")
    assert not holds(off, "kernel.attack_vectors", "kernel.vector_cross_thread")
    assert not holds(off, "kernel.attack_vectors", "kernel.vector_user_user")


@pytest.mark.parametrize(
    ("node", "kernel", "others"),
    [
        (mitigations.x86_feature_clear_cpu_buf(CPU, KERNEL), "has_clear_cpu_buf", ()),
        (mitigations.x86_feature_clear_cpu_buf_vm(CPU, KERNEL), "has_clear_cpu_buf_vm", ("has_clear_cpu_buf_vm_mmio",)),
    ],
)
def test_a_kernel_without_the_feature_does_not_set_it(node: Node, kernel: str, others: tuple[str, ...]) -> None:
    """On a part with MDS, which runs VERW."""
    given = tuple(f"kernel.{name}" for name in others)
    assert holds(node, f"kernel.{kernel}", *given)
    assert not holds(node, *given)


def test_clear_cpu_buf_vm_mmio_is_a_feature_of_6_19() -> None:
    node = mitigations.x86_feature_clear_cpu_buf_vm_mmio(CPU, KERNEL)
    mmio = ("kernel.has_mmio_stale_data", "cpu.listed_mmio", "cpu.listed_no_mds")
    assert holds(node, *mmio, "kernel.has_clear_cpu_buf_vm_mmio")
    assert not holds(node, *mmio)


def test_without_any_vector_tsa_is_neither_for_users_nor_for_vms_only() -> None:
    """tsa_select_mitigation of 6.17: with no vector left it is off altogether."""
    user, vm = mitigations.tsa_user_only(KERNEL), mitigations.tsa_vm_only(KERNEL)
    assert not holds(user, "kernel.attack_vectors")
    assert not holds(vm, "kernel.attack_vectors")
    assert holds(user, "kernel.attack_vectors", "kernel.vector_user_user")
    assert holds(vm, "kernel.attack_vectors", "kernel.vector_guest_guest")


def test_every_mode_of_spectre_v2_is_split_on() -> None:
    split = spectre_v2.by_spectre_v2_mode(CPU, KERNEL)
    assert set(split) == set(spectre_v2.spectre_v2_mode(CPU, KERNEL).labels)
    assert split["LFENCE"]["cpu.lfence_before_branches"] is True
    assert split["eIBRS+LFENCE"]["cpu.lfence_before_branches"] is True
    assert split["eIBRS+retpoline"]["cpu.lfence_before_branches"] is False


def test_spectre_v2_on_does_not_count_where_it_is_switched_off() -> None:
    node = spectre_v2.spectre_v2_cmd_force(CPU, KERNEL)
    assert holds(node, "kernel.spectre_v2_on")
    assert not holds(node, "kernel.spectre_v2_on", "kernel.mitigations_off")


def test_l1tf_never_flushed_says_nothing_of_active_smt() -> None:
    """l1tf_show_state: behind "vulnerable" the threads are named only where SMT is off."""
    choice = memory.l1tf_texts(CPU, KERNEL)
    never = (
        "kernel.has_earliest_files", "kernel.kvm_intel_built", "kernel.kvm_intel_loaded", "cpu.vmx",
        "kernel.l1d_flush_never",
    )  # fmt: skip
    vulnerable = "Mitigation: PTE Inversion; VMX: vulnerable"
    assert holds(choice.is_in([vulnerable]), *never, "cpu.smt_active")
    assert holds(choice.is_in([f"{vulnerable}, SMT disabled"]), *never)
