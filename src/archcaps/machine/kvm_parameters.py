"""What the parameters of KVM's modules say, as look-ups of the kernel that KVM runs in."""

from __future__ import annotations

from collections.abc import Mapping

from archcaps.machine.options_memory import l1tf_off, l1tf_full

__all__ = ["kvm_lookups"]


def kvm_lookups(
    parameters: Mapping[str, str], cmdline: str | None, attack_vectors: bool | None
) -> dict[str, bool | None]:
    """Return the look-ups that modules' parameters decide (/sys/module/kvm*/parameters; empty: nothing is known).

    Source: Linux 7.1.5 arch/x86/kvm/vmx/vmx.c vmx_setup_l1d_flush; kvm/mmu/mmu.c nx_huge_pages.
    """
    flush, ept, split = (parameters.get(name) for name in ("vmentry_l1d_flush", "ept", "nx_huge_pages"))
    never: bool | None = None
    always: bool | None = None
    if flush is not None and flush != "auto":
        never, always = flush == "never", flush == "always"
    elif flush == "auto" and cmdline is not None:
        never, always = l1tf_off(cmdline, attack_vectors), l1tf_full(cmdline, attack_vectors)
    found: dict[str, bool | None] = {
        "l1d_flush_never": never,
        "l1d_flush_always": always,
        "ept_off": None if ept is None else ept.upper() in ("N", "0"),
        # These two belong to kvm_intel: where they can be read it is loaded.
        "kvm_intel_loaded": True if flush is not None or ept is not None else None,
    }
    if split is not None:
        found["kvm_splits_huge_pages"] = split.upper() in ("Y", "1")
    return found
