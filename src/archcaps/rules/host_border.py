"""The border between guest and host: can code in the guest sample what the host left in the CPU's buffers?

The border between a guest's user code and its kernel is in `verdict`.
"""

from __future__ import annotations

from functools import cache

from archcaps.logic.choice import Choice
from archcaps.logic.graph import FALSE, TRUE, Node, rule
from archcaps.rules import silicon as hardware
from archcaps.rules.kvm_offer import on_svm
from archcaps.rules.kvm_vmx_entry import cleared_before_entry, mmio_verw_for_vms, vmx_l1d_should_flush
from archcaps.rules.linux_mitigations import clear_cpu_buf, tsa_verw_before_vmrun
from archcaps.rules.shown import Case
from archcaps.rules.verdict import Responsible, Safety

__all__ = [
    "exposes_host",
    "guest_can_sample",
    "host_mitigates",
    "host_responsible",
    "host_safety",
    "kvm_leaves_host_open",
]

_TABLE = "archcaps: docs/architecture/verdict.md"


@rule(_TABLE)
def guest_can_sample(case: Case, vulnerability: str) -> Node:
    """The guest could sample this: the silicon is affected; MMIO alone only where the guest has host MMIO mapped."""
    affected = case.affected[vulnerability]
    if vulnerability != "mmio_stale_data":
        return affected
    return affected & (case.affected["mds"] | case.affected["tsx_async_abort"] | case.vm.has_mapped_host_mmio)


@rule(_TABLE)
def exposes_host(case: Case, vulnerability: str) -> Node:
    """Data of the host can leak to the guest: it could sample it, and not every VM entry overwrites it first."""
    return guest_can_sample(case, vulnerability) & ~cleared_before_entry(case, vulnerability)


@cache
def host_safety(case: Case, vulnerability: str) -> Choice[Safety]:
    """Return whether data can leak from the host to the guest."""
    leaks = exposes_host(case, vulnerability)
    return Choice.one_of(((leaks, Safety.EXPOSED), (~leaks, Safety.SAFE)))


@rule(_TABLE)
def host_mitigates(case: Case) -> Node:
    """The host's kernel means to overwrite buffers at VM entry: by VERW for itself or for VMs, or by the L1D flush."""
    kvm = case.kvm
    host, kernel = kvm.host, kvm.kernel
    vmx = clear_cpu_buf(host, kernel) | mmio_verw_for_vms(kvm) | vmx_l1d_should_flush(kvm)
    return (on_svm(kvm) & tsa_verw_before_vmrun(host, kernel)) | (~on_svm(kvm) & vmx)


@rule(_TABLE)
def kvm_leaves_host_open(case: Case, vulnerability: str) -> Node:
    """The host means to overwrite its buffers and VERW can, and yet KVM's way into the guest leaves this one's full."""
    works = hardware.verw_reaches(vulnerability, case.silicon, case.affected[vulnerability], FALSE)
    return exposes_host(case, vulnerability) & works & host_mitigates(case)


@cache
def host_responsible(case: Case, vulnerability: str) -> Choice[Responsible]:
    """Return who left the host open to the guest.

    The microcode, if VERW cannot clear on this silicon at all; KVM, if the host means to mitigate and the entry path
    does not deliver; else the host's kernel, which was told not to, or is too old to know.
    """
    works = hardware.verw_reaches(vulnerability, case.silicon, case.affected[vulnerability], FALSE)
    return Choice.first_true(
        (
            (~exposes_host(case, vulnerability), Responsible.NOBODY),
            (~works, Responsible.MICROCODE),
            (kvm_leaves_host_open(case, vulnerability), Responsible.KVM),
            (TRUE, Responsible.HOST_KERNEL),
        )
    )
