"""The host's devices on a QEMU command line.

Source: QEMU hw/vfio/pci.c; hw/virtio/vhost-vdpa.c, vhost-user.c and virtio-pci.c: a queue's doorbell is mapped only
with page-per-vq=on; hw/display/virtio-gpu-base.c: hostmem= is where the host's graphics memory is mapped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from archcaps.guest_cpu.asked import HostDevice
from archcaps.guest_cpu.devices import maybe_device, pci_device, sysfs_device

__all__ = ["host_devices", "listed_device"]

_ON: Final = ("on", "yes", "true", "y")
#: A file that is a device's memory: a PCI device's region, or all memory of the host.
_MEMORY_OF_DEVICES: Final = re.compile(r"/dev/mem\Z|/sys/.*/resource[0-9]+(?:_wc)?\Z")
_VARIABLE: Final = re.compile(r"[$`]")


def host_devices(options: Iterable[tuple[str, str]], where: str) -> tuple[HostDevice, ...]:
    """Return the devices of the host that these options (name and value) give the guest."""
    given = list(options)
    vhost = any(name == "netdev" and value.startswith(("vhost-vdpa", "vhost-user")) for name, value in given)
    return tuple(
        found
        for name, value in given
        for found in (
            _device(value, where, vhost=vhost)
            if name in ("device", "pcidevice")
            else _memory(value, where)
            if name in ("object", "mem-path")
            else _file(name, value, where)
        )
    )


def listed_device(kind: str, what: str) -> HostDevice | None:
    """Return the device that a running QEMU lists under this type's name; None: it is none of the host's."""
    if kind.startswith("vfio-user"):
        return maybe_device(what, "", "the process that serves it may hand on a device's memory")
    if kind.startswith("vfio-"):
        return HostDevice(what, mapped=None, unknown_because="QEMU's list does not say whether it is a mediated one")
    return None


def _device(value: str, where: str, *, vhost: bool) -> Iterator[HostDevice]:
    what = f"-device {value}"
    given = _properties(value)
    driver = given.get("driver", "")
    if driver.startswith("vfio-user"):
        yield maybe_device(what, where, "the process that serves it may hand on a device's memory")
    elif driver.startswith(("vfio-pci-igd", "vfio-calxeda", "vfio-amd", "vfio-platform")):
        return  # a bridge beside a graphics device; devices of ARM's
    elif driver.startswith("vfio-") or driver in ("pci-assign", "kvm-pci-assign"):
        yield _vfio(given, what, where)
    elif given.get("page-per-vq", given.get("page_per_vq", "off")).lower() in _ON and (vhost or "vhost" in driver):
        yield maybe_device(what, where, "with page-per-vq=on the device's doorbells may be mapped into the guest")
    elif driver.startswith(("virtio-gpu", "virtio-vga")) and given.get("hostmem", "0") not in ("0", ""):
        yield maybe_device(what, where, "with hostmem= memory of the host's graphics device may be mapped")
    elif _VARIABLE.search(driver):
        yield maybe_device(what, where, "what the variable stands for is not in this text")


def _vfio(given: Mapping[str, str], what: str, where: str) -> HostDevice:
    if given.get("x-no-mmap", "off").lower() in _ON:
        return HostDevice(what[:100], where, mapped=None, unknown_because="x-no-mmap=on: QEMU itself does not map it")
    if "sysfsdev" in given:
        return sysfs_device(given["sysfsdev"], what, where)
    if "host" in given or "fd" not in given:
        return pci_device(what, where)
    return sysfs_device("", what, where)


def _memory(value: str, where: str) -> Iterator[HostDevice]:
    path = _properties(value).get("mem-path", value)
    if _MEMORY_OF_DEVICES.search(path):
        yield HostDevice(f"memory from {path[:80]}", where, counted=None)


def _file(name: str, value: str, where: str) -> Iterator[HostDevice]:
    if name == "readconfig":
        yield maybe_device(f"-readconfig {value[:80]}", where, "that file is not read here; it may name devices")


def _properties(value: str) -> dict[str, str]:
    """Return a device's properties, from ``driver,key=value`` or from JSON."""
    if value.lstrip().startswith("{"):
        try:
            given = json.loads(value[:10_000])
        except (ValueError, RecursionError):
            return {}
        if not isinstance(given, dict):
            return {}
        return {str(key): {True: "on", False: "off"}.get(item, str(item)) if isinstance(item, bool) else str(item)
                for key, item in given.items()}  # fmt: skip
    first, *rest = value.split(",")
    pairs = [part.partition("=") for part in rest]
    found = {key: given or "on" for key, _, given in pairs}
    key, equals, given = first.partition("=")
    return {**found, key: given} if equals else {**found, "driver": first}
