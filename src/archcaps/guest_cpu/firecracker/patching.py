"""Changes of a guest's CPU in Firecracker's JSON: bits of bitmaps where they stand, else new modifiers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.changes import GuestChange, MachineChange, ModelChange, Patch, SwitchChange
from archcaps.guest_cpu.firecracker.bitmap import change_bitmap, write_bitmap
from archcaps.guest_cpu.firecracker.releases import STATIC_TEMPLATES, check_release, flags_of, newest, static_template
from archcaps.guest_cpu.firecracker.template import TEMPLATE_FIELDS, Modifier, modifiers, read_number
from archcaps.guest_cpu.json_tree import JsonNode, read_json
from archcaps.guest_cpu.text_edits import Edit, apply_edits, diff_of
from archcaps.tables.bits import BITS, REGISTERS
from archcaps.tables.files import read_csv

__all__ = ["patch"]

_ARCH_CAP: Final = 0x10A
#: KVM_CPUID_FLAG_SIGNIFCANT_INDEX: the subleaf counts.
#: Source: Linux Documentation/virt/kvm/api.rst KVM_GET_SUPPORTED_CPUID
_INDEXED: Final = {0x7: 1}

Key = tuple[int, int, str]


@dataclass
class _Work:
    """What is to be written: bits by register, and what cannot be."""

    bits: dict[Key, dict[int, bool]] = field(default_factory=dict)
    static: str | None = None
    impossible: list[tuple[GuestChange, str]] = field(default_factory=list)


def patch(asked: Asked, changes: Sequence[GuestChange]) -> Patch:
    """Return the configuration with `changes` made; other modifiers stay as they are, to the letter.

    A static template, or none, in a whole VM configuration becomes a custom one that stands in it (`cpu-config`, from
    Firecracker 1.13 on); one whose release is not known is written as the newest release has it.
    """
    document = read_json(asked.text, asked.where)
    members = document.object("a configuration of Firecracker")
    vm = any(name in members for name in ("machine-config", "boot-source", "cpu-config"))
    work = _Work()
    for change in changes:
        _sort(work, change, asked, vm=vm, custom=bool(asked.writes) or _custom(members))
    edits: list[Edit] = []
    if work.static is not None:
        edits += _set_static(asked.text, document, work.static, vm=vm)
    if work.bits:
        edits += _set_bits(asked, document, work, vm=vm)
    after = apply_edits(asked.text, edits)
    return Patch("json", asked.text, after, diff_of(asked.text, after, Path(asked.where).name), tuple(work.impossible))


def _custom(members: Mapping[str, JsonNode]) -> bool:
    config = members.get("cpu-config")
    return (config is not None and config.members is not None) or any(name in members for name in TEMPLATE_FIELDS)


def _sort(work: _Work, change: GuestChange, asked: Asked, *, vm: bool, custom: bool) -> None:
    """Put a change where it is written, or say why it is not."""
    if isinstance(change, MachineChange):
        work.impossible.append((change, "Firecracker has one machine and no types of it"))
    elif isinstance(change, ModelChange):
        _sort_model(work, change, asked, vm=vm, custom=custom)
    else:
        why = _unwritable(change, asked, vm=vm)
        if why is not None:
            work.impossible.append((change, why))
            return
        bit = BITS[change.bit]
        register = REGISTERS[bit.register]
        key = (register.address, register.subleaf, register.output)
        work.bits.setdefault(key, {})[bit.bit] = change.on


def _sort_model(work: _Work, change: ModelChange, asked: Asked, *, vm: bool, custom: bool) -> None:
    if change.model not in STATIC_TEMPLATES:
        why = (
            f"Firecracker knows no CPU model {change.model}: it has the static templates {', '.join(STATIC_TEMPLATES)}"
        )
        work.impossible.append((change, why))
    elif custom or asked.lost_in_words:
        work.impossible.append((change, "a custom template takes the place of a static one: take it away first"))
    elif vm and '"machine-config"' not in asked.text:
        work.impossible.append((change, "there is no machine-config, which a static template stands in"))
    else:
        work.static = change.model


def _unwritable(change: SwitchChange, asked: Asked, *, vm: bool) -> str | None:
    """Return why a bit cannot be changed in this document; None: it can."""
    if change.bit not in BITS:
        return f"archcaps has no bit {change.bit}"
    register = REGISTERS[BITS[change.bit].register]
    if register.kind == "msr" and register.address != _ARCH_CAP:
        return f"{register.title} is no register of features: the guest itself writes it"
    for row in read_csv("firecracker/normalisation.csv"):
        if row["bit"] == change.bit and (row["value"] == "1") is not change.on and row["vendor"] != "AuthenticAMD":
            of = f" on {row['vendor']}" if row["vendor"] else ""
            return f"Firecracker sets {change.bit} to {row['value']} after the template{of} [{row['source']}]"
    if asked.lost_in_words:
        return f"{asked.lost_in_words[0]}: the change belongs there"
    if not vm and asked.model is not None:
        return (
            f"the static template {asked.model} is part of Firecracker: take it out of the machine configuration, and"
            f" give a custom template (PUT /cpu-config) that has {asked.model}'s modifiers and this bit"
        )
    if not vm and asked.mode == "host" and not asked.writes and "vcpu_count" in asked.text:
        return "a machine configuration holds no modifiers: give a custom template (PUT /cpu-config) with this bit"
    return None


def _set_static(text: str, document: JsonNode, name: str, *, vm: bool) -> list[Edit]:
    machine = document.object("a configuration").get("machine-config") if vm else document
    if machine is None or machine.null:
        return []
    node = machine.object("machine-config").get("cpu_template")
    if node is not None:
        return [Edit(node.start, node.end, json.dumps(name))]
    return [_members(text, machine, {"cpu_template": name})]


def _set_bits(asked: Asked, document: JsonNode, work: _Work, *, vm: bool) -> list[Edit]:
    members = document.object("a configuration")
    if not vm:
        return _in_template(asked.text, document, work.bits)
    config = members.get("cpu-config")
    if config is not None and config.members is not None:
        return _in_template(asked.text, config, work.bits)
    template = _written_out(work.static or asked.model, asked.release, work.bits)
    edits = []
    if config is not None:
        edits.append(Edit(config.start, config.end, _dump(template, _indent(asked.text, config.start))))
    else:
        edits.append(_members(asked.text, document, {"cpu-config": template}))
    machine = members.get("machine-config")
    if asked.model is not None and work.static is None and machine is not None:
        node = machine.object("machine-config")["cpu_template"]
        edits.append(Edit(node.start, node.end, '"None"'))
    return edits


def _written_out(static: str | None, release: str | None, bits: Mapping[Key, Mapping[int, bool]]) -> dict[str, Any]:
    """Return a static template, or an empty one, as a custom template with bits changed."""
    known: list[Modifier] = []
    flags: dict[Key, int] = {}
    if static is not None:
        known, _ = static_template(static, check_release(release) or newest())
        flags = flags_of(static)
    words = {modifier.key: (modifier.mask, modifier.value) for modifier in known}
    for key, changed in bits.items():
        mask, value = words.get(key, (0, 0))
        for bit, on in changed.items():
            mask, value = mask | 1 << bit, value | 1 << bit if on else value & ~(1 << bit)
        words[key] = mask, value
    leaves: dict[tuple[int, int], dict[str, Any]] = {}
    msrs = []
    for (address, subleaf, output), (mask, value) in words.items():
        if not output:
            msrs.append(_msr(address, write_bitmap(mask, value, 64)))
            continue
        own = flags.get((address, subleaf, output), _INDEXED.get(address, 0))
        leaf = leaves.setdefault((address, subleaf), _leaf(address, subleaf, own, []))
        leaf["modifiers"].append({"register": output, "bitmap": write_bitmap(mask, value, 32)})
    found = {"cpuid_modifiers": list(leaves.values()), "msr_modifiers": msrs}
    return {name: entries for name, entries in found.items() if entries}


def _leaf(address: int, subleaf: int, flags: int, entries: list[dict[str, str]]) -> dict[str, Any]:
    return {"leaf": f"{address:#x}", "subleaf": f"{subleaf:#x}", "flags": flags, "modifiers": entries}


def _msr(address: int, bitmap: str) -> dict[str, str]:
    return {"addr": f"{address:#x}", "bitmap": bitmap}


def _in_template(text: str, template: JsonNode, bits: Mapping[Key, Mapping[int, bool]]) -> list[Edit]:
    """Return the edits of a custom template: the last modifier of a register is the one that counts."""
    nodes = {modifier.key: modifier.node for modifier in modifiers(template)}
    edits: list[Edit] = []
    msrs: list[dict[str, str]] = []
    leaves: dict[tuple[int, int], list[dict[str, str]]] = {}
    for key, changed in bits.items():
        address, subleaf, output = key
        width = 32 if output else 64
        node = nodes.get(key)
        if node is not None:
            bitmap = change_bitmap(node.text("bitmap"), dict(changed), width)
            edits.append(Edit(node.start, node.end, json.dumps(bitmap)))
            continue
        mask = sum(1 << bit for bit in changed)
        bitmap = write_bitmap(mask, sum(1 << bit for bit, on in changed.items() if on), width)
        if output:
            leaves.setdefault((address, subleaf), []).append({"register": output, "bitmap": bitmap})
        else:
            msrs.append(_msr(address, bitmap))
    edits += _new_entries(text, template, leaves, msrs)
    return edits


def _new_entries(
    text: str, template: JsonNode, leaves: Mapping[tuple[int, int], list[dict[str, str]]], msrs: list[dict[str, str]]
) -> list[Edit]:
    members = template.object("the CPU template")
    edits: list[Edit] = []
    fresh = []
    for (address, subleaf), entries in leaves.items():
        leaf = _leaf_node(members, address, subleaf)
        if leaf is not None:
            edits += _items(text, leaf.object("a CPUID modifier")["modifiers"], entries)
        else:
            fresh.append(_leaf(address, subleaf, _INDEXED.get(address, 0), entries))
    new: dict[str, Any] = {}
    for name, values in (("cpuid_modifiers", fresh), ("msr_modifiers", msrs)):
        if values and name in members:
            edits += _items(text, members[name], values)
        elif values:
            new[name] = values
    return [*edits, *([_members(text, template, new)] if new else [])]


def _leaf_node(members: Mapping[str, JsonNode], address: int, subleaf: int) -> JsonNode | None:
    """Return the last modifier of a CPUID leaf: Firecracker applies them in order."""
    node = members.get("cpuid_modifiers")
    found = None
    for leaf in node.array("cpuid_modifiers") if node is not None else ():
        fields = leaf.object("a CPUID modifier")
        if [read_number(fields[name], name) for name in ("leaf", "subleaf")] == [address, subleaf]:
            found = leaf
    return found


def _items(text: str, array: JsonNode, values: Sequence[Any]) -> list[Edit]:
    """Return the edit that puts values at the end of an array, laid out as what stands there."""
    items = array.array("an array")
    if items:
        return [_after(text, items[-1], [json.dumps(value) for value in values])]
    indent = _indent(text, array.start)
    return [Edit(array.start, array.end, _dump(list(values), indent))]


def _members(text: str, node: JsonNode, new: Mapping[str, Any]) -> Edit:
    members = node.object("an object")
    if not members:
        return Edit(node.start, node.end, _dump(dict(new), _indent(text, node.start)))
    last = list(members.values())[-1]
    indent = _indent(text, last.start)
    return _after(text, last, [f"{json.dumps(name)}: {_dump(value, indent)}" for name, value in new.items()])


def _after(text: str, node: JsonNode, values: Sequence[str]) -> Edit:
    line = text.rfind("\n", 0, node.start) + 1
    lead = text[line : node.start]
    own_line = line and (not lead.strip() or lead.lstrip().startswith('"'))
    between = f",\n{_indent(text, node.start)}" if own_line else ", "
    return Edit(node.end, node.end, "".join(between + value for value in values))


def _indent(text: str, index: int) -> str:
    """Return the white space with which the line of `index` begins."""
    line = text[text.rfind("\n", 0, index) + 1 : index]
    return line[: len(line) - len(line.lstrip())]


def _dump(value: object, indent: str) -> str:
    """Return a value as JSON over lines that begin with `indent`; a scalar on one."""
    return json.dumps(value, indent=2).replace("\n", f"\n{indent}")
