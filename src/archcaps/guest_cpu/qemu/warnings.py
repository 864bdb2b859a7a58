"""What QEMU says of the features that it cannot give a guest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from archcaps.tables import qemu as tables
from archcaps.tables.cpu_features import CpuFeature, cpu_feature

__all__ = ["in_order", "warnings"]

#: CPUID leaves that QEMU asks with a subleaf. Source: QEMU target/i386/cpu.c feature_word_info, needs_ecx
_WITH_SUBLEAF: Final = (0x7, 0xD, 0x12, 0x14, 0x1E, 0x24, 0x29)


def in_order(names: Iterable[str]) -> list[str]:
    """Return features in the order in which QEMU goes through them."""
    found = {name: cpu_feature(name) for name in dict.fromkeys(names)}
    known = sorted((each for each in found if found[each] is not None), key=lambda name: _place(found[name]))
    return [*known, *(name for name in found if found[name] is None)]


def _place(feature: CpuFeature | None) -> tuple[bool, int, int, int, int]:
    assert feature is not None
    return feature.place


def warnings(names: Iterable[str], release: tables.Version) -> list[str]:
    """Return QEMU's warnings of features that the host does not support, one a line, as a release spells them."""
    old = tables.holds("warning_with_subleaf", release) is False
    found = []
    for name in in_order(names):
        feature = cpu_feature(name)
        if feature is not None:
            where = f"{_word(feature, old=old)}.{feature.name} [bit {feature.bit}]"
            found.append(f"host doesn't support requested feature: {where}")
    return found


def _word(feature: CpuFeature, *, old: bool) -> str:
    if feature.kind == "msr":
        return f"MSR({feature.address:02X}{'H' if old else 'h'})"
    output = feature.output.upper()
    if old:
        return f"CPUID.{feature.address:02X}H:{output}"
    subleaf = f",ecx={feature.subleaf or 0:02X}h" if feature.address in _WITH_SUBLEAF else ""
    return f"CPUID[eax={feature.address:02X}h{subleaf}].{output}"
