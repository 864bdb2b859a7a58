"""Why QEMU does not start a guest on a host."""

from __future__ import annotations

from collections.abc import Sequence

from archcaps.errors import nearest
from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.qemu.models import Setting
from archcaps.machine.msr_tries import kvm_refuses
from archcaps.machine.snapshot import Reading, Snapshot, number
from archcaps.tables import qemu as tables

__all__ = ["refusal"]

_ALL = (1 << 64) - 1


def refusal(
    asked: Asked, setting: Setting, host: Snapshot | None, shown: Snapshot, unsupported: Sequence[str], *, kvm: bool
) -> str | None:
    """Return why the guest does not start; None: it does, or that is not known."""
    strange = [switch.name for switch in asked.switches if setting.has_property(switch.name) is False]
    if strange:
        known = tables.properties()
        hint = nearest(strange[0].replace("_", "-"), known)
        if strange[0] in known:
            span = known[strange[0]].span
            hint = f" ({'.'.join(map(str, span.known or span.first))} has it)"
        return (
            f"QEMU {setting.text} has no property {strange[0]!r}{hint} and refuses the -cpu option: "
            f"Property '....{strange[0]}' not found"
        )
    if asked.mode == "host" and not kvm:
        return "-cpu host needs KVM: QEMU refuses it under TCG (CPU model 'host' requires KVM or HVF)"
    if asked.check == "enforce" and unsupported and kvm:
        return f"enforce: the host does not support {', '.join(sorted(unsupported))}"
    return _kvm_refuses(host, shown) if kvm else None


def _kvm_refuses(host: Snapshot | None, shown: Snapshot) -> str | None:
    """Return that KVM on this host refuses the value that QEMU writes to MSR 0x10a, as scratch vCPUs were seen to."""
    reading = shown.registers.get("ia32_arch_capabilities", Reading())
    if host is None or shown.cpuid is None or reading.value is None or reading.known is None:
        return None
    value = number(reading.value, 64, "MSR 0x10a")
    unknown = ~number(reading.known, 64, "MSR 0x10a") & _ALL
    with_bit = "arch_capabilities" in shown.cpuid.shown
    if not with_bit and "arch_capabilities" not in shown.cpuid.hidden:
        return None
    if not all(kvm_refuses(host, each, shown=with_bit) for each in (value, value | unknown)):
        return None
    written = f"{value:#x}" if not unknown else f"a value with the bits {value:#x}"
    return (
        f"KVM on this host refuses the value of MSR 0x10a that QEMU sets: it aborts with "
        f'"error: failed to set MSR 0x10a to {written}"'
    )
