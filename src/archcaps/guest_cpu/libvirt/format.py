"""libvirt as a format: domain XML (stored, live, or a <cpu> alone), domain capabilities and host capabilities."""

from __future__ import annotations

from archcaps.guest_cpu.libvirt.expanding import expand
from archcaps.guest_cpu.libvirt.patching import patch
from archcaps.guest_cpu.libvirt.qemu_line import qemu_cpu_line
from archcaps.guest_cpu.libvirt.reading import looks_like, read

__all__ = ["expand", "looks_like", "patch", "qemu_cpu_line", "read"]
