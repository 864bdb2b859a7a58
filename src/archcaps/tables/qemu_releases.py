"""What single QEMU releases do that decides over a migration, and which feature names they know.

A row speaks for the releases from its first to its last; between rows, and after the newest one that was read, a
behaviour is unknown. Stable lines took fixes at point releases, so that a later line's row does not speak for them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from packaging.version import Version

from archcaps.errors import InputError
from archcaps.tables.files import read_csv

__all__ = ["QEMU_BEHAVIOURS", "QemuRelease", "always_shows_arch_capabilities", "knows_name", "qemu_does"]

_VERSION: Final = re.compile(r"(\d{1,3})\.(\d{1,3})(?:\.(\d{1,3}))?(?![\d.])")
_MACHINE: Final = re.compile(r"pc(?:-q35|-i440fx)?-(\d{1,3})\.(\d{1,3})\Z")

#: Each with the sentence that it stands for.
QEMU_BEHAVIOURS: Final = {
    "fb_clear_by_five_no": "QEMU holds fb-clear for supported where KVM offers MDS_NO, TAA_NO and three MMIO NO bits",
    "hides_where_host_lacks": "QEMU hides ARCH_CAPABILITIES where the host's CPUID lacks it, whatever the machine type",
    "hides_from_amd": "QEMU hides ARCH_CAPABILITIES from AMD guests, but not with machine types up to 10.0",
}


@dataclass(frozen=True, slots=True)
class QemuRelease:
    """A QEMU release: its version, and whether something stands behind it (a distribution's own patches)."""

    text: str
    version: Version
    patched: bool

    @classmethod
    def parse(cls, text: str, where: str) -> QemuRelease:
        """Return the release that `text` names, as ``10.1.2`` or ``8.2.2 (Debian 1:8.2.2+ds-0ubuntu1)``.

        Raises:
            InputError: it does not start with a version.
        """
        match = _VERSION.match(text.strip())
        if match is None:
            raise InputError(f"{text[:40]!r} is not a QEMU version (expected something like 10.1.2)", where)
        major, minor, point = match.groups(default="0")
        return cls(text.strip(), Version(f"{major}.{minor}.{point}"), bool(text.strip()[match.end() :]))


def qemu_does(name: str, release: QemuRelease | None) -> bool | None:
    """Return whether a release does what `QEMU_BEHAVIOURS` has under `name`; None: unknown.

    Raises:
        KeyError: no such behaviour.
    """
    if name not in QEMU_BEHAVIOURS:
        raise KeyError(name)
    if release is None:
        return None
    for row in read_csv("vmms/qemu_releases.csv"):
        if row["name"] == name and Version(row["first"]) <= release.version <= Version(row["last"]):
            return row["holds"] == "yes"
    return None


def knows_name(bit: str, release: QemuRelease | None) -> bool | None:
    """Return whether a release has a name for a bit, by our name; None: unknown. A bit in no table has none."""
    for row in read_csv("vmms/qemu_names.csv"):
        if row["bit"] == bit:
            if release is None:
                return None
            if release.version >= Version(row["present_from"]):
                return True
            return False if row["absent_to"] and release.version <= Version(row["absent_to"]) else None
    return False


def always_shows_arch_capabilities(machine: str | None) -> bool | None:
    """Return whether a machine type sets x-arch-cap-always-on: those of PCs up to 10.0 do; None: unknown.

    Source: QEMU e9efa4a77168 hw/i386/pc.c pc_compat_10_0.
    """
    if machine is None:
        return None
    if machine == "microvm" or machine in ("q35", "pc"):
        # The plain names stand for the newest; which that is only QEMU's version tells.
        return False if machine == "microvm" else None
    match = _MACHINE.match(machine)
    return (int(match[1]), int(match[2])) <= (10, 0) if match else None
