"""Parameters of KVM's modules as a kernel's command line sets them, over those that they are built with."""

from __future__ import annotations

from archcaps.machine.cmdline import parse

__all__ = ["module_parameters"]


def module_parameters(cmdline: str | None) -> dict[str, str]:
    """Return the parameters of KVM's modules that archcaps knows: the command line's, else those they are built with.

    Nothing where the command line is not known. Source: Linux arch/x86/kvm/x86.c, vmx/vmx.c; kernel/module/main.c (the
    command line's `kvm_intel.ept=0`); lib/kstrtox.c (a parameter without a value is on).
    """
    if cmdline is None:
        return {}
    found = {"vmentry_l1d_flush": "auto", "ept": "Y", "ignore_msrs": "N"}
    for name, value in parse(cmdline).options:
        module, _, parameter = name.partition(".")
        if parameter in found and module == ("kvm" if parameter == "ignore_msrs" else "kvm_intel"):
            found[parameter] = value or "Y"
    return found
