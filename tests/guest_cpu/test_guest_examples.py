"""The example configurations of Firecracker, Cloud Hypervisor, Proxmox VE and Xen are found to be what they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from archcaps.guest_cpu import cloud_hypervisor, formats, xen
from archcaps.guest_cpu.firecracker import format as firecracker
from archcaps.guest_cpu.proxmox import format as proxmox
from archcaps.questions.default_guest import default_guest
from tests.guest_cpu.test_firecracker_read import HOST

EXAMPLES = Path(__file__).parents[2] / "examples" / "guests"
MODULES = {
    "firecracker": firecracker,
    "cloud-hypervisor": cloud_hypervisor,
    "xen": xen,
    "proxmox": proxmox,
}


@pytest.mark.parametrize(
    ("name", "vmm"),
    [
        ("firecracker-t2s.json", "firecracker"),
        ("firecracker-template.json", "firecracker"),
        ("proxmox-100.conf", "proxmox"),
        ("proxmox-custom-model.conf", "proxmox"),
        ("proxmox-windows.conf", "proxmox"),
        ("cloud-hypervisor.json", "cloud-hypervisor"),
        ("xen.cfg", "xen"),
    ],
)
def test_example(name: str, vmm: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert [each for each, module in MODULES.items() if module.looks_like(text, name)] == [vmm]
    asked = MODULES[vmm].read(text, name)
    assert asked.vmm == vmm
    shown = formats.expand(asked, HOST, default_guest(HOST))
    assert shown.asked is asked
    assert "ia32_arch_capabilities" in shown.snapshot.registers
    assert formats.expand(asked, None, None).snapshot.role == "guest"
    assert formats.patch(asked, []).after == text
