"""What to ask for: unknown facts put together by what a person can go and look up."""

from __future__ import annotations

from collections.abc import Mapping

from archcaps.tables.bits import BITS, REGISTERS
from archcaps.tables.kernels import BEHAVIOURS
from archcaps.tables.names import CPU_LOOKUPS, KERNEL_LOOKUPS

__all__ = ["what_to_ask"]

_OWNERS = {
    "silicon": "host", "host": "host", "host_kernel": "host", "offered": "host", "true": "host", "guest": "guest",
    "guest_kernel": "guest",
}  # fmt: skip


def what_to_ask(missing: Mapping[str, str]) -> list[str]:
    """Return the missing facts as requests, those that one look at a machine answers put together.

    `missing` maps fact names to what is known of why they are unknown.
    """
    groups: dict[str, list[str]] = {}
    for name, why in missing.items():
        request, detail = _request(name, why)
        groups.setdefault(request, []).append(detail)
    return [request + _details(details) for request, details in groups.items()]


def _details(details: list[str]) -> str:
    found = list(dict.fromkeys(filter(None, details)))
    return f": {', '.join(found)}" if found else ""


def _request(name: str, why: str) -> tuple[str, str]:
    """Return what to ask for a fact, and the part of it that is in question."""
    scope, _, fact = name.partition(".")
    owner = _OWNERS.get(scope, scope)
    if fact in BITS:
        register = REGISTERS[BITS[fact].register]
        if "virtual" in why or "bare metal" in why:
            return f"{owner}: {why}", ""
        kind = f"MSR {register.address:#x}, {register.title}" if register.kind == "msr" else "CPUID bits"
        if owner == "guest" and register.kind == "msr":
            kind += " as the VMM set it"
        return f"{owner}: {kind}", fact
    if "kernel release is not known" in why:
        release = "guest" if fact.startswith("listed_") and scope in ("offered", "true") else owner
        return f"{release}: kernel release", ""
    return _by_kind(owner, fact, why), ""


def _by_kind(owner: str, fact: str, why: str) -> str:
    if fact in ("l1d_flush_never", "l1d_flush_always", "ept_off"):
        return f"{owner}: parameters of kvm_intel (vmentry_l1d_flush, ept) and the kernel's command line"
    if fact in KERNEL_LOOKUPS:
        return f"{owner}: kernel command line and configuration"
    if fact in BEHAVIOURS:
        return f"{owner} kernel: {why}"
    if fact == "tsa_microcode":
        return f"{owner}: microcode revision"
    if fact == "smt_active":
        return f"{owner}: whether SMT is active"
    if fact in CPU_LOOKUPS:
        return f"{owner}: vendor, family, model and stepping of the CPU"
    return f"{owner}: {why}"
