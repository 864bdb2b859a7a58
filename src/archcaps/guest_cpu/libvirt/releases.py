"""Which libvirt and which QEMU a domain runs under: one text, 9.0.0, or with QEMU's release 9.0.0/7.2.22."""

from __future__ import annotations

from dataclasses import dataclass

from archcaps.errors import InputError
from archcaps.guest_cpu.asked import Asked
from archcaps.tables.libvirt_cpu_map import version

__all__ = ["Releases", "releases_of"]


@dataclass(frozen=True, slots=True)
class Releases:
    """libvirt's release and QEMU's; None: not said."""

    libvirt: str | None
    qemu: str | None


def releases_of(asked: Asked) -> Releases:
    """Return the two releases of a domain; /7.2.22 names QEMU's alone.

    Raises:
        InputError: libvirt's is no release. QEMU's is QEMU's reader's to judge.
    """
    libvirt, _, qemu = (asked.release or "").partition("/")
    if libvirt:
        try:
            version(libvirt)
        except ValueError as error:
            raise InputError(f"{error}, or with QEMU's as 9.0.0/7.2.22", asked.where) from error
    return Releases(libvirt or None, qemu or None)
