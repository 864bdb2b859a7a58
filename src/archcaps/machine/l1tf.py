"""The kernel's choice against L1TF, and what kvm_intel makes of it: by l1tf=, mitigations= and vmentry_l1d_flush."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import product
from typing import Final

from archcaps.machine.given_options import Options

__all__ = ["L1TF_WITHOUT_SMT", "flush_states", "kvm_lookups", "l1d_flush_state", "l1tf_choices"]

_L1TF: Final = ("off", "flush", "flush,nowarn", "flush,nosmt", "full", "full,force")
#: What vmentry_l1d_flush can be or read as. Source: Linux 7.1.5 arch/x86/kvm/vmx/vmx.c vmentry_l1d_param,
#: vmentry_l1d_flush_get
_FLUSH: Final = ("auto", "never", "cond", "always", "EPT disabled", "not required", "???")
#: Choices that take SMT away. Source: Linux arch/x86/kernel/cpu/bugs.c l1tf_apply_mitigation
L1TF_WITHOUT_SMT: Final = frozenset(("flush,nosmt", "full", "full,force"))


def l1tf_choices(options: Options | None) -> frozenset[str]:
    """Return the kernel's choice as l1tf= names it; several where unknown, every one where no option is known.

    Source: Linux 6.12.117 (mitigations= beats l1tf=), 6.16.1 (off does, auto,nosmt does not), 6.17.0 (l1tf= stays)
    arch/x86/kernel/cpu/bugs.c l1tf_select_mitigation.
    """
    if options is None:
        return frozenset(_L1TF)
    known = options.behaviours
    states = {
        name: (True, False) if known.get(name) is None else (bool(known[name]),)
        for name in ("attack_vectors", "selects_then_applies")
    }
    kvm = options.built("KVM")
    guests = (True, False) if kvm is None and "user_kernel" in _removed(options) else (kvm is not False,)
    return frozenset(
        _choice(options, vectors, later, guest) for vectors, later, guest in product(*states.values(), guests)
    )


def _removed(options: Options) -> frozenset[str]:
    return options.line.mitigations(attack_vectors=True).removed


def _choice(options: Options, vectors: bool, later: bool, guest_host: bool) -> str:
    """Return the choice of a kernel with or without attack vectors, that selects all before it applies or not."""
    own = options.line.last("l1tf", _L1TF)
    given = options.line.mitigations(attack_vectors=vectors)
    default = "flush,nosmt" if given.smt == "on" else "flush"
    if vectors:
        left = "user_kernel" not in given.removed or (guest_host and "guest_host" not in given.removed)
        return own or (default if left else "off")
    if given.off:
        return "off"
    return own or default if later or given.smt != "on" else default


def l1d_flush_state(parameter: str | None, l1tf: str) -> str | None:
    """Return when kvm_intel flushes the L1D on a host that needs it: never, cond or always; None where unknown.

    `parameter` is vmentry_l1d_flush, `l1tf` the kernel's choice. Source: Linux 7.1.5 arch/x86/kvm/vmx/vmx.c
    __vmx_setup_l1d_flush.
    """
    if l1tf == "full,force":
        return "always"
    return {"off": "never", "full": "always"}.get(l1tf, "cond") if parameter == "auto" else parameter


def flush_states(parameter: str | None, options: Options | None) -> dict[str, bool | None]:
    """Return whether kvm_intel never flushes the L1D, and whether it always does, as look-ups of the kernel."""
    if parameter is not None and parameter not in _FLUSH:
        return {"l1d_flush_never": None, "l1d_flush_always": None}
    states = {l1d_flush_state(parameter, each) for each in l1tf_choices(options)}
    found: dict[str, bool | None] = {}
    for state in ("never", "always"):
        so = {None if each is None else each == state for each in states}
        found[f"l1d_flush_{state}"] = so.pop() if len(so) == 1 else None
    return found


def kvm_lookups(parameters: Mapping[str, str], options: Options | None) -> dict[str, bool | None]:
    """Return the look-ups that parameters of KVM's modules decide (/sys/module/kvm*/parameters; empty: not known).

    Source: Linux 7.1.5 arch/x86/kvm/vmx/vmx.c vmx_setup_l1d_flush; kvm/mmu/mmu.c nx_huge_pages.
    """
    flush, ept, split = (parameters.get(name) for name in ("vmentry_l1d_flush", "ept", "nx_huge_pages"))
    found = flush_states(flush, options)
    found["ept_off"] = _switched(ept, on=("N", "0"), off=("Y", "1"))
    found["shadow_paging"] = found["ept_off"] is True  # EPT is on by default
    # These two belong to kvm_intel: where they can be read it is loaded.
    found["kvm_intel_loaded"] = True if flush is not None or ept is not None else None
    found["ignore_msrs"] = _switched(parameters.get("ignore_msrs"), on=("Y", "1"), off=("N", "0"))
    if split is not None:
        found["kvm_splits_huge_pages"] = _switched(split, on=("Y", "1", "FORCE"), off=("N", "0", "OFF", "NEVER"))
    return found


def _switched(text: str | None, on: Collection[str], off: Collection[str]) -> bool | None:
    """Return what a parameter's text says; None where it is not known, or neither."""
    said = None if text is None else text.strip().upper()
    return True if said in on else False if said in off else None
