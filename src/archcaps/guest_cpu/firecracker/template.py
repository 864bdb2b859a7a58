"""Firecracker's custom CPU template, read by the rules of its own deserialiser.

Source: firecracker@81b38b9 src/vmm/src/cpu_config/x86_64/custom_cpu_template.rs, templates.rs, templates_serde.rs.
Fields that it does not know are refused in the template itself and passed over inside a modifier, as it does; two equal
keys are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from archcaps.errors import InputError, nearest
from archcaps.guest_cpu.asked import MaskedWrite
from archcaps.guest_cpu.firecracker.bitmap import read_bitmap
from archcaps.guest_cpu.json_tree import JsonNode
from archcaps.tables.bits import REGISTERS

__all__ = ["OUTPUTS", "TEMPLATE_FIELDS", "Modifier", "modifiers", "read_number", "register_of", "write_of"]

TEMPLATE_FIELDS: Final = ("kvm_capabilities", "cpuid_modifiers", "msr_modifiers")
_ARM_FIELDS: Final = ("reg_modifiers", "vcpu_features")
OUTPUTS: Final = ("eax", "ebx", "ecx", "edx")
_U32: Final = (1 << 32) - 1
_CAPABILITY: Final = re.compile(r"!?\+?[0-9]{1,12}\Z")
_OURS: Final[Mapping[tuple[int, int, str], str]] = {
    (register.address, register.subleaf, register.output): name for name, register in REGISTERS.items()
}


@dataclass(frozen=True, slots=True)
class Modifier:
    """One bitmap of a template: for an MSR `output` is empty and `subleaf` 0; `node` is the bitmap's string."""

    address: int
    subleaf: int
    output: str
    mask: int
    value: int
    node: JsonNode | None = None

    @property
    def key(self) -> tuple[int, int, str]:
        """Which register it is of: MSR or leaf, subleaf, and output word."""
        return self.address, self.subleaf, self.output

    @property
    def title(self) -> str:
        """The register as a user knows it."""
        if not self.output:
            return f"MSR {self.address:#x}"
        return f"CPUID {self.address:#x} subleaf {self.subleaf:#x} {self.output.upper()}"


def register_of(key: tuple[int, int, str]) -> str | None:
    """Return archcaps's name of a register that a modifier speaks of; None: it has none."""
    return _OURS.get(key)


def write_of(modifier: Modifier) -> MaskedWrite:
    """Return a modifier in the form that all VMMs have in common."""
    where = modifier.node.where if modifier.node is not None else ""
    return MaskedWrite(register_of(modifier.key), modifier.title, modifier.mask, modifier.value, where)


def modifiers(template: JsonNode) -> list[Modifier]:
    """Return the modifiers of a template in the order in which Firecracker applies them: CPUID, then MSRs.

    Raises:
        InputError: Firecracker would refuse it, or it is for ARM.
    """
    members = template.object("the CPU template")
    for name, node in members.items():
        if name in _ARM_FIELDS:
            raise InputError(f"{name} is for ARM: archcaps reads templates for x86_64", node.where)
        if name not in TEMPLATE_FIELDS:
            expected = f"{nearest(name, TEMPLATE_FIELDS)}; expected {', '.join(TEMPLATE_FIELDS)}"
            raise InputError(f"unknown field {name[:80]!r} of a CPU template{expected}", node.where)
    if "kvm_capabilities" in members:
        for node in members["kvm_capabilities"].array("kvm_capabilities"):
            _check_capability(node)
    return [*_cpuid(members.get("cpuid_modifiers")), *_msrs(members.get("msr_modifiers"))]


def _check_capability(node: JsonNode) -> None:
    text = node.text("a KVM capability")
    if _CAPABILITY.match(text) is None or int(text.lstrip("!+")) > _U32:
        raise InputError(
            f"{text[:80]!r} is no KVM capability (expected its number, with ! before it to drop it)", node.where
        )


def _cpuid(node: JsonNode | None) -> Iterator[Modifier]:
    for leaf in node.array("cpuid_modifiers") if node is not None else ():
        fields = leaf.object("a CPUID modifier")
        address, subleaf = (read_number(_field(leaf, fields, name), name) for name in ("leaf", "subleaf"))
        _field(leaf, fields, "flags").whole("flags", _U32)
        for entry in _field(leaf, fields, "modifiers").array("modifiers"):
            parts = entry.object("a modifier of a register")
            register = _field(entry, parts, "register")
            output = register.text("register")
            if output not in OUTPUTS:
                raise InputError(f"register {output[:80]!r} (expected {', '.join(OUTPUTS)})", register.where)
            bitmap = _field(entry, parts, "bitmap")
            yield Modifier(address, subleaf, output, *read_bitmap(bitmap.text("bitmap"), 32, bitmap.where), bitmap)


def _msrs(node: JsonNode | None) -> Iterator[Modifier]:
    for entry in node.array("msr_modifiers") if node is not None else ():
        fields = entry.object("an MSR modifier")
        address = read_number(_field(entry, fields, "addr"), "addr")
        bitmap = _field(entry, fields, "bitmap")
        yield Modifier(address, 0, "", *read_bitmap(bitmap.text("bitmap"), 64, bitmap.where), bitmap)


def _field(node: JsonNode, fields: Mapping[str, JsonNode], name: str) -> JsonNode:
    if name not in fields:
        raise InputError(f"no {name[:80]!r} in this modifier{nearest(name, fields)}", node.where)
    return fields[name]


def read_number(node: JsonNode, what: str) -> int:
    """Return a number that is written as a string with 0x or 0b before it.

    Raises:
        InputError: it is none, or has more than 32 bits.
    """
    text = node.text(what)
    for prefix, base, digits in (("0x", 16, "[0-9a-fA-F]"), ("0b", 2, "[01]")):
        body = text.removeprefix(prefix)
        if body != text and re.fullmatch(rf"\+?{digits}{{1,80}}", body) and int(body, base) <= _U32:
            return int(body, base)
    raise InputError(
        f"{what} {text[:80]!r} is no number of 32 bits (expected 0x or 0b and digits, in quotes)", node.where
    )
