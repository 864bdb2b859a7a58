"""A kernel's boot options and configuration, as the named booleans that rules read.

What neither the command line nor the configuration settles is unknown.
Source: Linux 6.1.192, 6.12.117, 6.16.1, 7.1.5 arch/x86/kernel/cpu/bugs.c; kernel/cpu.c.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from archcaps.machine.branch_options import branch_option_values
from archcaps.machine.cmdline import VECTORS, parse
from archcaps.machine.forced_flags import WAYS, cleared_features
from archcaps.machine.given_options import Options, Values
from archcaps.machine.options_memory import memory_values
from archcaps.tables.names import KERNEL_LOOKUPS

__all__ = ["option_values"]

_VERW: Final = {
    "mds": ("mds", "MITIGATION_MDS", ("off", "full", "full,nosmt")),
    "taa": ("tsx_async_abort", "MITIGATION_TAA", ("off", "full", "full,nosmt")),
    "mmio": ("mmio_stale_data", "MITIGATION_MMIO_STALE_DATA", ("off", "full", "full,nosmt")),
    "rfds": ("reg_file_data_sampling", "MITIGATION_RFDS", ("off", "on")),
}
_TSA: Final = ("off", "on", "user", "vm")
#: Look-ups of a kernel that neither options nor the configuration decide.
_NOT_OPTIONS: Final = frozenset(
    (
        "xen_pv",
        "l1d_flush_never",
        "l1d_flush_always",
        "ept_off",
        "shadow_paging",
        "kvm_intel_loaded",
        "vmx_on",
        "ignore_msrs",
    )
)


def option_values(
    cmdline: str | None, config: Mapping[str, str] | None, behaviours: Mapping[str, bool | None]
) -> Values:
    """Return the kernel look-ups that the command line and the configuration decide.

    `cmdline` None: not known. `behaviours` are those of the kernel's release: whether its configuration can switch a
    mitigation off at all, how it reads options, and what it does by default with TSX.
    """
    built = {"mitigations_compiled_out": _compiled_out(config)}
    first, by_name, sets = (behaviours.get(name) for name in WAYS)
    built |= cleared_features(cmdline, (first, by_name, sets))
    if cmdline is None:
        unknown: Values = dict.fromkeys(name for name in KERNEL_LOOKUPS if name not in _NOT_OPTIONS)
        return unknown | built | branch_option_values(cmdline, config, behaviours)
    options = Options(parse(cmdline), config, behaviours)
    return (
        built
        | {"nosmt": options.line.has("nosmt")}
        | _mitigations(options)
        | _verw(options)
        | _tsa(options)
        | memory_values(options)
        | branch_option_values(cmdline, config, behaviours)
    )


def _compiled_out(config: Mapping[str, str] | None) -> bool | None:
    """Whether the kernel was built without CPU mitigations; with any one of them it was not (arch/x86/Kconfig)."""
    if config is None:
        return None
    if any(item.startswith("MITIGATION_") and value == "y" for item, value in config.items()):
        return False
    return config["CPU_MITIGATIONS"] == "n" if "CPU_MITIGATIONS" in config else None


def _mitigations(options: Options) -> Values:
    """mitigations=, and the attack vectors (from 6.17): user ones are on by default, guest ones where KVM is built."""
    kvm = options.built("KVM")
    removed = options.line.mitigations(attack_vectors=True).removed
    values: Values = {
        "mitigations_off": options.mitigations(lambda given: given.off),
        "mitigations_nosmt": options.mitigations(lambda given: given.smt == "on"),
    }
    for vector in VECTORS:
        default = kvm if vector.startswith("guest_") else True
        values[f"vector_{vector}"] = False if vector in removed else default
    values["vector_cross_thread"] = options.line.mitigations(attack_vectors=True).smt != "off"
    return values


def _verw(options: Options) -> Values:
    values: Values = {}
    for name, (option, item, valid) in _VERW.items():
        chosen = options.line.last(option, valid)
        on = chosen not in ("", "off")
        can_be = True if name == "rfds" else options.behaviours.get("mitigation_configs")
        values[f"{name}_off"] = chosen == "off" or (False if on else options.compiled_off(item, can_be))
        values[f"{name}_on"] = on
        if name != "rfds":  # its own nosmt stays once given, whatever follows
            own = "full,nosmt" in options.line.values(option)
            values[f"{name}_nosmt"] = own or options.mitigations(lambda given: given.smt == "on")
    return values


def _tsa(options: Options) -> Values:
    chosen = options.line.last("tsa", _TSA)
    compiled = False if chosen in ("on", "user", "vm") else options.compiled_off("MITIGATION_TSA", True)
    return {
        "tsa_off": chosen == "off" or compiled,
        "tsa_on": chosen == "on",
        "tsa_user": chosen == "user",
        "tsa_vm": chosen == "vm",
    }
