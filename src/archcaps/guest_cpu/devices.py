"""Devices of the host that a guest gets: what KVM sees of each, and the guest's snapshot with that.

VFIO maps the memory regions of a PCI device into the guest, and QEMU and Cloud Hypervisor tell KVM of each group or
device. A mediated device's regions may be mapped or emulated, as its driver likes. Devices of USB, SCSI and disks have
no memory that a guest could map.
Source: QEMU hw/vfio/pci.c, hw/vfio/kvm-helpers.c; Linux Documentation/driver-api/vfio-mediated-device.rst
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from msgspec.structs import replace as with_fields

from archcaps.guest_cpu.asked import HostDevice
from archcaps.guest_cpu.shown import ShownGuest
from archcaps.machine.snapshot import Vm

__all__ = ["maybe_device", "mediated_device", "pci_device", "sysfs_device", "with_devices"]

#: The last part of a mediated device's path: a UUID.
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_MEDIATED: Final = "a mediated device's driver maps its memory, or emulates it"


def pci_device(what: str, where: str) -> HostDevice:
    """Return a PCI device, or a virtual function of one, that is given to the guest by VFIO."""
    return HostDevice(_short(what), where)


def mediated_device(what: str, where: str) -> HostDevice:
    """Return a mediated device (vGPU and the like)."""
    return HostDevice(_short(what), where, mapped=None, unknown_because=_MEDIATED)


def sysfs_device(path: str, what: str, where: str) -> HostDevice:
    """Return the device that VFIO finds at a path of sysfs: a mediated one's ends in a UUID, a PCI one's does not."""
    last = path.rstrip("/").rpartition("/")[2]
    if "/mdev" in path or _UUID.match(last):
        return mediated_device(what, where)
    if re.match(r"(?:[0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{1,2}:[0-9a-fA-F]{1,2}(?:\.[0-7])?\Z", last):
        return pci_device(what, where)
    return HostDevice(_short(what), where, mapped=None, unknown_because="what device that is, this path does not say")


def maybe_device(what: str, where: str, because: str) -> HostDevice:
    """Return something that may be a device of the host whose memory is mapped, or none."""
    return HostDevice(_short(what), where, None, None, because)


def with_devices(shown: ShownGuest) -> ShownGuest:
    """Return the guest with what KVM sees of the devices that its configuration names; what is not known is said."""
    devices = shown.asked.devices
    if not devices or shown.snapshot.vm.has_host_device:  # one format expands by another's
        return shown
    source = ", ".join(
        dict.fromkeys(f"{each.what} ({each.where})" if each.where else each.what for each in devices[:3])
    )
    more = f" and {len(devices) - 3} more" if len(devices) > 3 else ""
    vm = Vm(
        has_assigned_device=_any(each.counted for each in devices),
        has_mapped_host_mmio=_any(each.mapped for each in devices),
        has_host_device=True,
        provenance="imported",
        source=f"{source}{more}",
    )
    notices = shown.notices
    if vm.has_mapped_host_mmio is None:
        reasons = "; ".join(dict.fromkeys(each.unknown_because for each in devices))
        notices = (*notices, f"whether host MMIO is mapped into the guest is not known: {vm.source}: {reasons}")
    return replace(shown, snapshot=with_fields(shown.snapshot, vm=vm), notices=notices)


def _any(values: Iterable[bool | None]) -> bool | None:
    """Return True if one is; what the others leave open is unknown, as nobody says that the list is complete."""
    return True if any(values) else None


def _short(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}..."
