"""The host's devices in a domain's XML.

Source: libvirt docs/formatdomain.rst: host device assignment, interfaces of type hostdev and vdpa, page_per_vq.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from archcaps.guest_cpu.asked import HostDevice
from archcaps.guest_cpu.devices import maybe_device, mediated_device, pci_device
from archcaps.guest_cpu.libvirt.xml_tree import Element
from archcaps.guest_cpu.qemu.devices import host_devices
from archcaps.guest_cpu.qemu.words import command_line

__all__ = ["devices_of"]

#: Types of devices whose back end may be hardware that has doorbells of its own.
_VHOST: Final = ("vdpa", "vhostuser", "vhostvdpa")


def devices_of(domain: Element, arguments: list[str], where: str) -> tuple[HostDevice, ...]:
    """Return the devices of the host that a domain gets; `arguments` are those that it passes to QEMU itself."""
    devices = domain.first("devices")
    found = [] if devices is None else [one for each in devices.children for one in _device(each, where)]
    if arguments:
        line = command_line("".join(f"{word}\0" for word in ("qemu-system-x86_64", *arguments)), where)
        options = [(name, "" if word is None else word.value) for name, word in line.options]
        found += host_devices(options, where)
    return tuple(found)


def _device(element: Element, where: str) -> Iterator[HostDevice]:
    here, kind = f"{where}:{element.line}", element.attributes.get("type")
    if element.name == "hostdev" and kind == "pci":
        yield pci_device(f"<hostdev type='pci'>{_address(element)}", here)
    elif element.name == "hostdev" and kind == "mdev":
        yield mediated_device("<hostdev type='mdev'>", here)
    elif element.name == "interface" and (kind == "hostdev" or _actual(element) == "hostdev"):
        yield pci_device(f"<interface type='hostdev'>{_address(element)}", here)
    driver = element.first("driver")
    if kind in _VHOST and driver is not None and driver.attributes.get("page_per_vq") == "on":
        because = "with page_per_vq='on' the device's doorbells may be mapped into the guest"
        yield maybe_device(f"<{element.name} type='{kind}'>", here, because)


def _actual(interface: Element) -> str | None:
    """Return what an interface of a network came to, as libvirt writes it for itself of a running domain."""
    actual = interface.first("actual")
    return None if actual is None else actual.attributes.get("type")


def _address(element: Element) -> str:
    """Return the host's address of a PCI device, where it is written as libvirt writes it."""
    source = element.first("source")
    address = None if source is None else source.first("address")
    parts = [] if address is None else [address.attributes.get(name, "") for name in ("bus", "slot", "function")]
    short = [part.removeprefix("0x")[:8] for part in parts]
    return f" {short[0]}:{short[1]}.{short[2]}" if len(short) == 3 and all(short) else ""
