"""A manifest with changes made in place: comments, order and style stay as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

from archcaps.errors import InputError
from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.changes import GuestChange, MachineChange, ModelChange, Patch, SwitchChange
from archcaps.guest_cpu.kubevirt.manifest import one_machine
from archcaps.guest_cpu.kubevirt.reading import child, read
from archcaps.guest_cpu.kubevirt.yaml_tree import Node
from archcaps.guest_cpu.libvirt.names import feature_for, model_for, needs_arch_capabilities
from archcaps.guest_cpu.libvirt.releases import releases_of
from archcaps.guest_cpu.text_edits import Edit, apply_edits, diff_of

__all__ = ["patch"]

_NAME: Final = re.compile(r"[a-zA-Z0-9_.\-]+\Z")


def patch(asked: Asked, changes: Sequence[GuestChange]) -> Patch:
    """Return the manifest with `changes` made, one after the other; where two speak of one thing, the later holds.

    Raises:
        InputError: a machine type or model is no name.
    """
    text, impossible = asked.text, []
    release = releases_of(asked).libvirt
    for change in changes:
        writer = _Writer(text, asked.where, asked.name or None)
        match change:
            case SwitchChange(bit, on):
                name, why = feature_for(bit, release)
                if not why and on:
                    text = _with_arch_capabilities(text, bit, asked, release)
                    writer = _Writer(text, asked.where, asked.name or None)
                if not why:
                    writer.feature(name, "require" if on else "disable", on=on)
            case ModelChange(model):
                why = model_for(model, release)
                if one_machine(text, asked.where, asked.name or None).instancetype is not None:
                    why = "the CPU's model is the instance type's: give the machine another instance type"
                if not why:
                    writer.set(("cpu", "model"), model)
            case MachineChange(machine):
                if not _NAME.match(machine):
                    raise InputError(f"{machine!r} is no machine type", "machine type")
                why = ""
                writer.set(("machine", "type"), machine)
        if why:
            impossible.append((change, why))
        text = writer.written()
    diff = diff_of(asked.text, text, asked.where or "vm.yaml")
    return Patch("yaml", asked.text, text, diff, tuple(impossible))


def _with_arch_capabilities(text: str, bit: str, asked: Asked, release: str | None) -> str:
    """Return the manifest with arch-capabilities required, if the bit is nothing without it."""
    now = read(text, asked.where, asked.name or None)
    model = now.model if now.mode == "named" else None
    if not needs_arch_capabilities(bit, model, {switch.name: switch.on for switch in now.switches}, release):
        return text
    writer = _Writer(text, asked.where, asked.name or None)
    writer.feature("arch-capabilities", "require", on=True)
    return writer.written()


class _Writer:
    """Makes one change in a text."""

    def __init__(self, text: str, where: str, name: str | None) -> None:
        self.text = text
        self.where = where
        self.domain = one_machine(text, where, name).domain
        self.edits: list[Edit] = []

    def written(self) -> str:
        return apply_edits(self.text, self.edits)

    def set(self, path: tuple[str, str], value: str) -> None:
        """Set a text two keys below the domain."""
        holder = self.domain.get(path[0])
        if holder is None or holder.null:
            self.add(self.domain, path[0], {path[1]: value})
            return
        present = holder.get(path[1])
        if present is None or present.null:
            self.add(holder, path[1], value)
        elif present.text != value:
            self.edits.append(Edit(present.start, present.end, _like(self.text[present.start], value)))

    def feature(self, name: str, policy: str, *, on: bool) -> None:
        """Have a feature on or off, unless the manifest says as much already."""
        cpu = child(self.domain, "cpu", "mapping", self.where)
        features = None if cpu is None else child(cpu, "features", "list", self.where)
        entry = {"name": name, "policy": policy}
        for item in [] if features is None else features.items:
            named = item.get("name")
            if named is not None and named.text == name:
                self.policy(item, policy, on=on)
                return
        if cpu is None:
            self.add(self.domain, "cpu", {"features": [entry]})
        elif features is None or not features.items:
            self.add(cpu, "features", [entry])
        elif features.flow:
            self.edits.append(Edit(features.last - 1, features.last - 1, f", {json.dumps(entry)}"))
        else:
            self.block(features, _lines([entry]))

    def policy(self, item: Node, policy: str, *, on: bool) -> None:
        present = item.get("policy")
        word = "require" if present is None or present.null else present.text
        if (word in ("force", "require", "optional")) is on and word != "optional":
            return
        if present is None or present.null:
            self.add(item, "policy", policy)
        else:
            self.edits.append(Edit(present.start, present.end, _like(self.text[present.start], policy)))

    def add(self, holder: Node, key: str, value: object) -> None:
        """Put a key into a mapping, in the style that the mapping is written in; one without a value gets it."""
        present = holder.get(key)
        if present is not None and present.flow:  # [] or {}: the new value goes into its place
            self.edits.append(Edit(present.start, present.end, json.dumps(value)))
        elif present is not None and holder.flow:
            self.edits.append(Edit(present.start, present.end, f" {json.dumps(value)}"))
        elif present is not None:
            key_node = next(each for each in holder.keys if each.text == key)
            self.edits.append(Edit(present.start, present.end, ""))  # null, ~ or nothing
            self.after_line(max(key_node.end, present.end), holder.column + 2, _lines(value))
        elif holder.flow:
            comma = ", " if holder.items else ""
            self.edits.append(Edit(holder.end - 1, holder.end - 1, f"{comma}{json.dumps(key)}: {json.dumps(value)}"))
        else:
            self.block(holder, _lines({key: value}))

    def block(self, holder: Node, lines: list[str]) -> None:
        """Put lines after the last thing written in a block, as far in as the block is."""
        at = holder.last
        if at and self.text[at - 1] == "\n":  # after a text of several lines
            self.edits.append(Edit(at, at, "".join(f"{' ' * holder.column}{line}\n" for line in lines)))
        else:
            self.after_line(at, holder.column, lines)

    def after_line(self, at: int, column: int, lines: list[str]) -> None:
        """Put lines after the one that this place is in, so that a comment stays where it is."""
        indent = " " * column
        end = self.text.find("\n", at)
        end = len(self.text) if end < 0 else end
        self.edits.append(Edit(end, end, "".join(f"\n{indent}{line}" for line in lines)))


def _lines(value: object) -> list[str]:
    """Return a value as lines of block style."""
    match value:
        case dict():
            found = []
            for key, below in value.items():
                lines = _lines(below)
                found += (
                    [f"{key}: {lines[0]}"] if isinstance(below, str) else [f"{key}:", *(f"  {line}" for line in lines)]
                )
            return found
        case list():
            return [f"{'  ' if place else '- '}{line}" for each in value for place, line in enumerate(_lines(each))]
        case _:
            return [str(value)]


def _like(quote: str, value: str) -> str:
    """Return a text in the quotes that the old one had."""
    return f"{quote}{value}{quote}" if quote in "\"'" else value
