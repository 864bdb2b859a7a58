"""What a Linux kernel does about the VERW family, and the exact text of each file.

One formula serves every kernel read: the kernels before 6.16 switch VERW on in one pass and look again in a second,
those from 6.16 on collect one flag first; both end the same. From 6.17 on mitigations=off only empties the attack
vectors and an option given for one vulnerability stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Final

from archcaps.logic.choice import Choice
from archcaps.logic.graph import TRUE, Node, choose, rule
from archcaps.rules import linux_bugs as bugs
from archcaps.rules.linux_retbleed import retbleed_disables_smt
from archcaps.rules.views import Cpu, Kernel

_VERW = (
    "Linux 6.1.192, 6.12.117 arch/x86/kernel/cpu/bugs.c md_clear_select_mitigation, md_clear_update_mitigation; "
    "6.16.1, 7.1.5 *_select_mitigation, *_update_mitigation, *_apply_mitigation"
)
_TSA = "Linux 6.1.192, 6.12.117, 6.16.1, 7.1.5 arch/x86/kernel/cpu/bugs.c tsa_select_mitigation"
_SMT = "Linux 6.1.192, 6.12.117, 7.1.5 arch/x86/kernel/cpu/bugs.c *_show_state"

NO_FILE = None
NOT_AFFECTED = "Not affected"
CLEAR = "Mitigation: Clear CPU buffers"
ATTEMPTED = "Vulnerable: Clear CPU buffers attempted, no microcode"
VULNERABLE = "Vulnerable"
TSX_DISABLED = "Mitigation: TSX disabled"
MMIO_UNKNOWN = "Unknown: No mitigations"
RFDS_CLEAR = "Mitigation: Clear Register File"
NO_MICROCODE = "Vulnerable: No microcode"

Text = str | None
Texts = Choice[Text]


@rule("Linux 6.17.0, 7.1.5 arch/x86/kernel/cpu/bugs.c should_mitigate_vuln")
def user_vector(kernel: Kernel) -> Node:
    """Attacks from user space are to be mitigated, on the kernel or on other users."""
    return kernel.vector_user_kernel | kernel.vector_user_user


@rule("Linux 6.17.0, 7.1.5 arch/x86/kernel/cpu/bugs.c should_mitigate_vuln")
def guest_vector(kernel: Kernel) -> Node:
    """Attacks from guests are to be mitigated, on the host or on other guests."""
    return kernel.vector_guest_host | kernel.vector_guest_guest


@rule("Linux 6.17.0, 7.1.5 arch/x86/kernel/cpu/bugs.c should_mitigate_vuln")
def any_vector(kernel: Kernel) -> Node:
    """Attacks from user space or from guests are to be mitigated."""
    return user_vector(kernel) | guest_vector(kernel)


@rule(_VERW)
def switched_off(kernel: Kernel, name: str) -> Node:
    """This mitigation is off by option: its own, or mitigations=off where that still rules (for MMIO until 6.17)."""
    option_off, option_on = getattr(kernel, f"{name}_off"), getattr(kernel, f"{name}_on")
    off = option_off | (~option_on & ~any_vector(kernel))
    if name == "mmio":
        off |= kernel.mitigations_off & ~kernel.off_only_empties_vectors
    return choose(kernel.attack_vectors, off, kernel.mitigations_off | option_off)


@rule("Linux 6.16.1, 7.1.5 arch/x86/kernel/cpu/bugs.c taa_vulnerable; 6.1.192 taa_select_mitigation")
def taa_vulnerable(cpu: Cpu, kernel: Kernel) -> Node:
    """TAA is there to mitigate: the bug, and RTM usable."""
    return bugs.x86_bug_taa(cpu, kernel) & bugs.x86_feature_rtm(cpu, kernel)


@rule(_VERW)
def verw_selected(cpu: Cpu, kernel: Kernel) -> Node:
    """VERW on exit to user is chosen for MDS, TAA, RFDS with microcode, or MMIO on a part with MDS or TAA."""
    mds = bugs.x86_bug_mds(cpu, kernel)
    taa = taa_vulnerable(cpu, kernel)
    mmio = bugs.x86_bug_mmio_stale_data(cpu, kernel) & ~bugs.x86_bug_mmio_unknown(cpu, kernel)
    rfds = bugs.x86_bug_rfds(cpu, kernel) & cpu.rfds_clear
    return (
        (mds & ~switched_off(kernel, "mds"))
        | (taa & ~switched_off(kernel, "taa"))
        | (mmio & ~switched_off(kernel, "mmio") & (mds | taa))
        | (rfds & ~switched_off(kernel, "rfds"))
    )


@rule(_TSA)
def tsa_switched_off(kernel: Kernel) -> Node:
    """TSA is not mitigated: tsa=off, or nothing left to mitigate it for."""
    given = kernel.tsa_on | kernel.tsa_user | kernel.tsa_vm
    off = kernel.tsa_off | (~given & ~any_vector(kernel))
    return choose(kernel.attack_vectors, off, kernel.mitigations_off | kernel.tsa_off)


@rule(_TSA)
def tsa_user_only(kernel: Kernel) -> Node:
    """TSA is mitigated between user and kernel only: tsa=user, or from 6.17 no guest vector and no option."""
    given = kernel.tsa_on | kernel.tsa_vm
    return kernel.tsa_user | (kernel.attack_vectors & ~given & ~guest_vector(kernel) & user_vector(kernel))


@rule(_TSA)
def tsa_vm_only(kernel: Kernel) -> Node:
    """TSA is mitigated at VM entry only: tsa=vm, or from 6.17 no user vector and no option."""
    given = kernel.tsa_on | kernel.tsa_user
    return kernel.tsa_vm | (kernel.attack_vectors & ~given & ~user_vector(kernel) & guest_vector(kernel))


@rule(_TSA)
def tsa_verw_on_exit_to_user(cpu: Cpu, kernel: Kernel) -> Node:
    """TSA runs VERW on exit to user: with VERW_CLEAR unless for VMs only; without it where a guest forces it."""
    forced = ~bugs.x86_feature_verw_clear(cpu, kernel) & cpu.hypervisor & kernel.tsa_forces_verw_in_vm
    wanted = bugs.x86_feature_verw_clear(cpu, kernel) & ~tsa_vm_only(kernel)
    return bugs.x86_bug_tsa(cpu, kernel) & ~tsa_switched_off(kernel) & (wanted | forced)


@rule(_TSA)
def tsa_verw_before_vmrun(cpu: Cpu, kernel: Kernel) -> Node:
    """TSA asks for VERW before a guest is entered: with VERW_CLEAR unless for user and kernel only; or so forced."""
    forced = ~bugs.x86_feature_verw_clear(cpu, kernel) & cpu.hypervisor & kernel.tsa_forces_verw_in_vm
    wanted = bugs.x86_feature_verw_clear(cpu, kernel) & ~tsa_user_only(kernel)
    return bugs.x86_bug_tsa(cpu, kernel) & ~tsa_switched_off(kernel) & (wanted | forced)


@rule(_VERW + "; " + _TSA)
def x86_feature_clear_cpu_buf_vm(cpu: Cpu, kernel: Kernel) -> Node:
    """The feature CLEAR_CPU_BUF_VM is set: until 6.18 by TSA alone, later wherever VERW runs on exit to user."""
    chosen = kernel.has_clear_cpu_buf_vm_mmio & verw_selected(cpu, kernel)
    return kernel.has_clear_cpu_buf_vm & (chosen | tsa_verw_before_vmrun(cpu, kernel))


@rule(_VERW)
def x86_feature_clear_cpu_buf_vm_mmio(cpu: Cpu, kernel: Kernel) -> Node:
    """The feature CLEAR_CPU_BUF_VM_MMIO is set (from 6.19): MMIO is mitigated, and VERW does not run anyway."""
    mmio = bugs.x86_bug_mmio_stale_data(cpu, kernel) & ~stays_off(cpu, kernel, "mmio")
    return kernel.has_clear_cpu_buf_vm_mmio & mmio & ~verw_selected(cpu, kernel)


@rule(_VERW + "; " + _TSA)
def clear_cpu_buf(cpu: Cpu, kernel: Kernel) -> Node:
    """The kernel runs VERW on exit to user (X86_FEATURE_CLEAR_CPU_BUF), for whichever bug."""
    return verw_selected(cpu, kernel) | tsa_verw_on_exit_to_user(cpu, kernel)


@rule(_VERW + "; " + _TSA)
def x86_feature_clear_cpu_buf(cpu: Cpu, kernel: Kernel) -> Node:
    """The feature CLEAR_CPU_BUF is set: the kernel has it, and runs VERW on exit to user."""
    return kernel.has_clear_cpu_buf & clear_cpu_buf(cpu, kernel)


@rule(_VERW)
def stays_off(cpu: Cpu, kernel: Kernel, name: str) -> Node:
    """This mitigation is off by option and no other one switched VERW on."""
    return switched_off(kernel, name) & ~verw_selected(cpu, kernel)


@rule(_VERW)
def mmio_has_microcode(cpu: Cpu) -> Node:
    """Linux takes the MMIO microcode as present: FB_CLEAR, or MD_CLEAR and FLUSH_L1D without MDS_NO."""
    return cpu.fb_clear | (cpu.md_clear & cpu.flush_l1d & ~cpu.mds_no)


@rule(_VERW)
def taa_has_microcode(cpu: Cpu) -> Node:
    """Linux takes the TAA microcode as present: MD_CLEAR, and with MDS_NO also TSX_CTRL."""
    return cpu.md_clear & (~cpu.mds_no | cpu.tsx_ctrl)


@rule(_SMT)
def sched_smt_active(cpu: Cpu, kernel: Kernel) -> Node:
    """SMT is active after boot: two threads a core, no nosmt, and no mitigation in force asked for nosmt."""
    mds = bugs.x86_bug_mds(cpu, kernel) & ~bugs.x86_bug_msbds_only(cpu, kernel) & kernel.mds_nosmt
    taa = taa_vulnerable(cpu, kernel) & kernel.taa_nosmt
    mmio = bugs.x86_bug_mmio_stale_data(cpu, kernel) & kernel.mmio_nosmt
    off = (
        (mds & ~stays_off(cpu, kernel, "mds"))
        | (taa & ~stays_off(cpu, kernel, "taa"))
        | (mmio & ~stays_off(cpu, kernel, "mmio"))
    )
    l1tf = bugs.x86_bug_l1tf(cpu, kernel) & kernel.l1tf_nosmt
    return cpu.smt_active & ~kernel.nosmt & ~l1tf & ~off & ~retbleed_disables_smt(cpu, kernel)


@dataclass(frozen=True, eq=False)
class _File:
    """A file whose text is one of `plain`, or one of `states` with one of `suffixes`; a state's last row is TRUE."""

    has_file: Node
    plain: tuple[tuple[Node, str], ...]
    states: tuple[tuple[Node, str], ...]
    suffixes: tuple[tuple[Node, str], ...]

    @cached_property
    def state(self) -> Texts:
        """The text without its suffix."""
        return Choice.first_true(((~self.has_file, NO_FILE), *self.plain, *self.states))

    @cached_property
    def texts(self) -> Texts:
        """The whole text."""
        rows: list[tuple[Node, Text]] = [(~self.has_file, NO_FILE), *self.plain]
        # Each suffix excludes the others by itself: where the state is unknown it still rules out what it cannot be.
        endings = Choice.first_true(self.suffixes).rows
        for state, text in self.states[:-1]:
            rows += [(state & suffix, text + ending) for suffix, ending in endings]
        last = self.states[-1][1]
        rows += [(suffix, last + ending) for suffix, ending in endings[:-1]]
        return Choice.first_true([*rows, (TRUE, last + endings[-1][1])])


@cache
def _mds(cpu: Cpu, kernel: Kernel) -> _File:
    off = stays_off(cpu, kernel, "mds")
    only = bugs.x86_bug_msbds_only(cpu, kernel)
    active = sched_smt_active(cpu, kernel)
    smt = (
        (cpu.hypervisor, "; SMT Host state unknown"),
        (only & off, "; SMT vulnerable"),
        (only & active, "; SMT mitigated"),
        (only, "; SMT disabled"),
        (active, "; SMT vulnerable"),
        (TRUE, "; SMT disabled"),
    )
    states = ((off, VULNERABLE), (cpu.md_clear, CLEAR), (TRUE, ATTEMPTED))
    return _File(kernel.has_mds, ((~bugs.x86_bug_mds(cpu, kernel), NOT_AFFECTED),), states, smt)


def mds_texts(cpu: Cpu, kernel: Kernel) -> Texts:
    """Return the text of `mds` (source: mds_show_state); its SMT part follows every state but "Not affected"."""
    return _mds(cpu, kernel).texts


@cache
def _tsx_async_abort(cpu: Cpu, kernel: Kernel) -> _File:
    plain = (
        (~bugs.x86_bug_taa(cpu, kernel), NOT_AFFECTED),
        (~bugs.x86_feature_rtm(cpu, kernel), TSX_DISABLED),
        (stays_off(cpu, kernel, "taa"), VULNERABLE),
    )
    states = ((taa_has_microcode(cpu), CLEAR), (TRUE, ATTEMPTED))
    return _File(kernel.has_taa, plain, states, _smt_suffix(cpu, kernel))


def tsx_async_abort_texts(cpu: Cpu, kernel: Kernel) -> Texts:
    """Return the text of `tsx_async_abort` (source: tsx_async_abort_show_state)."""
    return _tsx_async_abort(cpu, kernel).texts


@cache
def _mmio_stale_data(cpu: Cpu, kernel: Kernel) -> _File:
    plain = (
        (bugs.x86_bug_mmio_unknown(cpu, kernel), MMIO_UNKNOWN),
        (~bugs.x86_bug_mmio_stale_data(cpu, kernel), NOT_AFFECTED),
        (stays_off(cpu, kernel, "mmio"), VULNERABLE),
    )
    states = ((mmio_has_microcode(cpu), CLEAR), (TRUE, ATTEMPTED))
    return _File(kernel.has_mmio_stale_data, plain, states, _smt_suffix(cpu, kernel))


def mmio_stale_data_texts(cpu: Cpu, kernel: Kernel) -> Texts:
    """Return the text of `mmio_stale_data` (source: mmio_stale_data_show_state)."""
    return _mmio_stale_data(cpu, kernel).texts


@cache
def reg_file_data_sampling_texts(cpu: Cpu, kernel: Kernel) -> Texts:
    """Return the text of `reg_file_data_sampling` (source: rfds_show_state)."""
    return Choice.first_true(
        (
            (~kernel.has_rfds, NO_FILE),
            (~bugs.x86_bug_rfds(cpu, kernel), NOT_AFFECTED),
            (stays_off(cpu, kernel, "rfds"), VULNERABLE),
            (cpu.rfds_clear, RFDS_CLEAR),
            (TRUE, NO_MICROCODE),
        )
    )


@cache
def tsa_texts(cpu: Cpu, kernel: Kernel) -> Texts:
    """Return the text of `tsa` (source: tsa_show_state)."""
    lacking = ~bugs.x86_feature_verw_clear(cpu, kernel)
    return Choice.first_true(
        (
            (~kernel.has_tsa, NO_FILE),
            (~bugs.x86_bug_tsa(cpu, kernel), NOT_AFFECTED),
            (tsa_switched_off(kernel), VULNERABLE),
            (lacking & kernel.tsa_forces_verw_in_vm, ATTEMPTED),
            (lacking, NO_MICROCODE),
            (tsa_user_only(kernel), CLEAR + ": user/kernel boundary"),
            (tsa_vm_only(kernel), CLEAR + ": VM"),
            (TRUE, CLEAR),
        )
    )


TEXTS: Final[Mapping[str, Callable[[Cpu, Kernel], Texts]]] = {
    "mds": mds_texts,
    "tsx_async_abort": tsx_async_abort_texts,
    "mmio_stale_data": mmio_stale_data_texts,
    "reg_file_data_sampling": reg_file_data_sampling_texts,
    "tsa": tsa_texts,
}


def states_of(vulnerability: str, cpu: Cpu, kernel: Kernel) -> Texts:
    """Return the text of a file of the VERW family without what follows its state: what it claims of the vulnerability.

    What the SMT part depends on is left out of the graph with it.
    """
    parts = {"mds": _mds, "tsx_async_abort": _tsx_async_abort, "mmio_stale_data": _mmio_stale_data}
    if vulnerability in parts:
        return parts[vulnerability](cpu, kernel).state
    return TEXTS[vulnerability](cpu, kernel)


def _smt_suffix(cpu: Cpu, kernel: Kernel) -> tuple[tuple[Node, str], ...]:
    return (
        (cpu.hypervisor, "; SMT Host state unknown"),
        (sched_smt_active(cpu, kernel), "; SMT vulnerable"),
        (TRUE, "; SMT disabled"),
    )
