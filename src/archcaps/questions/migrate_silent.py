"""What changes with the host and no layer compares: FB_CLEAR_DIS, TSX, the L1D flush, and the border to the host."""

from __future__ import annotations

from collections.abc import Iterator

from archcaps.logic.graph import Node, fact
from archcaps.questions.migrate_results import BorderMove, SilentChange
from archcaps.questions.results import CheckResult
from archcaps.questions.two_hosts import TwoHosts
from archcaps.rules import host_border
from archcaps.rules.kvm_vmx_entry import vmx_l1d_flush_cond, vmx_l1d_should_flush

__all__ = ["border_of", "silent_changes"]


def silent_changes(hosts: TwoHosts) -> list[SilentChange]:
    """Return what is, or may be, another on the second host."""
    found = []
    for name, node, meaning in _looked_at(hosts):
        before, after = (reader.ternary.value(node) for reader in hosts.readers)
        if before is not after:
            found.append(SilentChange(name, before, after, meaning))
    return found


def _looked_at(hosts: TwoHosts) -> Iterator[tuple[str, Node, str]]:
    case, kvm = hosts.case, hosts.before.model.kvm
    yield "FB_CLEAR_DIS", case.disable_fb_clear, "KVM lets VERW not clear the fill buffers while this guest runs"
    yield "RTM", case.rtm_executes, "TSX transactions execute in this guest, whatever its CPUID says"
    yield "L1D flush", vmx_l1d_should_flush(kvm), "KVM flushes the L1 data cache at VM entry, for a nested guest too"
    yield "conditional L1D flush", vmx_l1d_flush_cond(kvm), "KVM skips that flush where it thinks that it can"
    yield "host SMT", fact("host.smt_active"), "sibling threads run on the host; the guest is never told"


def border_of(hosts: TwoHosts, before: CheckResult, after: CheckResult) -> list[BorderMove]:
    """Return the vulnerabilities by which data of the host leaks to this guest on one host and not the other."""
    found = []
    for was, now in zip(before.vulnerabilities, after.vulnerabilities, strict=True):
        choice = host_border.host_safety(hosts.case, now.vulnerability)
        if hosts.alike_all(choice):
            continue
        newly: bool | None = None
        if was.host_safety.value == "exposed" or now.host_safety.value == "safe":
            newly = False
        elif was.host_safety.value == "safe" and now.host_safety.value == "exposed":
            newly = True
        found.append(BorderMove(now.vulnerability, was.host_safety, now.host_safety, now.host_responsible, newly))
    return found
