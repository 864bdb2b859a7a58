"""A domain's XML with changes made in place: the rest of the text, comments and indentation stay as they are."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

from archcaps.errors import InputError
from archcaps.guest_cpu.asked import Asked, Policy
from archcaps.guest_cpu.changes import GuestChange, MachineChange, ModelChange, Patch, SwitchChange
from archcaps.guest_cpu.libvirt.domain import chosen_root, domain_of
from archcaps.guest_cpu.libvirt.names import feature_for, model_for, needs_arch_capabilities
from archcaps.guest_cpu.libvirt.releases import releases_of
from archcaps.guest_cpu.libvirt.xml_tree import Element
from archcaps.guest_cpu.text_edits import Edit, apply_edits, diff_of

__all__ = ["patch"]

_ATTRIBUTE: Final = re.compile(r"\s+([^\s=/>]+)\s*=\s*(\"[^\"]*\"|'[^']*')")
_MACHINE: Final = re.compile(r"[a-zA-Z0-9_.\-]+\Z")
#: What a new <feature> goes before: libvirt writes these two last.
_AFTER_FEATURES: Final = ("numa",)


def patch(asked: Asked, changes: Sequence[GuestChange]) -> Patch:
    """Return the domain's XML with `changes` made; where two speak of one thing, the later holds.

    With a bit of MSR 0x10a goes arch-capabilities, without which QEMU clears them all.

    Raises:
        InputError: a machine type or model is no name that libvirt takes.
    """
    if not asked.text:
        why = "this is not a domain's XML (virsh dumpxml --inactive NAME prints it)"
        return Patch("xml", "", "", "", tuple((change, why) for change in changes))
    writer = _Writer(asked, {change.bit for change in changes if isinstance(change, SwitchChange)})
    for change in _last_of_each(changes):
        writer.make(change)
    after = writer.written()
    return Patch(
        "xml", asked.text, after, diff_of(asked.text, after, asked.where or "domain.xml"), tuple(writer.impossible)
    )


def _last_of_each(changes: Sequence[GuestChange]) -> list[GuestChange]:
    """Return the changes that hold, a model before the features beside it."""
    found: dict[str, GuestChange] = {}
    for change in changes:
        found[change.bit if isinstance(change, SwitchChange) else type(change).__name__] = change

    def order(change: GuestChange) -> int:
        return 0 if not isinstance(change, SwitchChange) else 1 if change.bit == "arch_capabilities" else 2

    return sorted(found.values(), key=order)


class _Writer:
    """Collects edits of one domain's text."""

    def __init__(self, asked: Asked, changed: Collection[str]) -> None:
        self.asked = asked
        self.changed = changed
        self.release = releases_of(asked).libvirt
        self.root = chosen_root(asked.text, asked.where, asked.name or None)
        self.data = asked.text.encode("utf-8")
        self.domain = domain_of(self.root, asked.where)
        holder = self.root if self.root.name == "domain" else self.root.first("domain")
        self.holder = holder
        self.cpu = self.root if self.root.name == "cpu" else None if holder is None else holder.first("cpu")
        self.edits: list[Edit] = []
        self.attributes: dict[int, dict[str, str | None]] = {}
        self.tags: dict[int, Element] = {}
        self.new_model: str | None = None
        self.put_model: str | None = None
        self.new_features: list[tuple[str, Policy]] = []
        self.impossible: list[tuple[GuestChange, str]] = []

    def make(self, change: GuestChange) -> None:
        """Make one change, or note why it cannot be made."""
        if isinstance(change, MachineChange):
            why = self.machine(change.machine)
        elif self.domain.override is not None:
            why = (
                f"the -cpu among <qemu:commandline>'s arguments (line {self.domain.override.line}) overrides <cpu>: "
                "change it there, or take it out"
            )
        elif isinstance(change, ModelChange):
            why = self.model(change.model)
        else:
            why = self.feature(change)
        if why:
            self.impossible.append((change, why))

    def machine(self, machine: str) -> str:
        if not _MACHINE.match(machine):
            raise InputError(f"{machine!r} is no machine type (expected letters, digits, and . - _)", "machine type")
        system = None if self.holder is None else self.holder.first("os")
        kind = None if system is None else system.first("type")
        if kind is None:
            return "there is no <os><type> here: the machine type stands in the <domain>"
        self.set(kind, machine=machine)
        return ""

    def model(self, model: str) -> str:
        why = model_for(model, self.release)
        if why:
            return why
        if self.cpu is None:
            self.new_model = model
            return ""
        if self.domain.cpu is not None and self.domain.cpu.mode != "custom":
            self.set(self.cpu, mode="custom", match="exact", migratable=None)
        element = self.cpu.first("model")
        if element is None:
            self.new_model = model
        else:
            self.put_model = model
            self.put(element.start, element.end, f"<model{_attributes_of(element)}>{model}</model>")
        return ""

    def feature(self, change: SwitchChange) -> str:
        name, why = feature_for(change.bit, self.release)
        if why:
            return why
        cpu = self.domain.cpu
        named = self.new_model is not None or (cpu is not None and (cpu.mode != "custom" or cpu.model is not None))
        if not named:
            return "the domain names no CPU model, and libvirt takes features only beside one: choose a model as well"
        switches = {each.name: each.on for each in (cpu.features if cpu is not None else ())}
        model = self.new_model or self.put_model or (None if cpu is None or cpu.mode != "custom" else cpu.model)
        own_word = "arch_capabilities" in self.changed  # who asks for both knows what they want
        if change.on and not own_word and needs_arch_capabilities(change.bit, model, switches, self.release):
            self.put_feature("arch-capabilities", on=True)
        self.put_feature(name, on=change.on)
        return ""

    def put_feature(self, name: str, *, on: bool) -> None:
        """Have a feature required or disabled, unless the domain says as much already."""
        cpu = self.domain.cpu
        present = next((switch for switch in cpu.features if switch.name == name), None) if cpu is not None else None
        if present is None:
            if name not in dict(self.new_features):
                self.new_features.append((name, "require" if on else "disable"))
        elif on and present.policy != "force":
            self.set(self.element(name), policy="require")
        elif not on and present.policy != "forbid":
            self.set(self.element(name), policy="disable")

    def element(self, feature: str) -> Element:
        assert self.cpu is not None
        return next(each for each in self.cpu.all("feature") if each.attributes.get("name") == feature)

    def set(self, element: Element, **values: str | None) -> None:
        """Set attributes of an element; None takes one out."""
        self.tags[element.start] = element
        self.attributes.setdefault(element.start, {}).update(values)

    def put(self, start: int, end: int, text: str) -> None:
        """Put a text in the place of some bytes."""
        place, until = (len(self.data[:byte].decode("utf-8")) for byte in (start, end))
        self.edits.append(Edit(place, until, text))

    def written(self) -> str:
        """Return the text with all edits made."""
        lines = [f"<model fallback='forbid'>{self.new_model}</model>"] if self.new_model else []
        lines += [f"<feature policy='{policy}' name='{name}'/>" for name, policy in self.new_features]
        if lines and self.cpu is None:
            self.new_cpu(lines)
        elif lines:
            self.new_children(lines)
        for start, values in self.attributes.items():
            element = self.tags[start]
            tag = _with_attributes(element.start_tag, values)
            if not (element is self.cpu and element.empty_tag and lines):
                self.put(element.start, element.opened, tag)
        return apply_edits(self.asked.text, self.edits)

    def new_children(self, lines: list[str]) -> None:
        """Put new elements into <cpu>: a model first, features after the last feature."""
        assert self.cpu is not None
        cpu = self.cpu
        if not cpu.children:
            indent, inner = self.indent(cpu), self.indent(cpu) + "  "
            tag = _with_attributes(cpu.start_tag, self.attributes.get(cpu.start, {}))
            opened = tag[:-2].rstrip() + ">" if cpu.empty_tag else tag
            body = "".join(f"\n{inner}{line}" for line in lines)
            text = f"{opened}{body}\n{indent}</cpu>"
            self.attributes.pop(cpu.start, None)
            self.put(cpu.start, cpu.end, text)
            return
        inner = self.indent(cpu.children[0])
        if self.new_model:
            self.put(cpu.opened, cpu.opened, f"\n{inner}{lines.pop(0)}")
        if not lines:
            return
        features = cpu.all("feature")
        before = [child for child in cpu.children if child.name not in _AFTER_FEATURES]
        last = features[-1] if features else before[-1] if before else None
        place = cpu.opened if last is None else last.end
        self.put(place, place, "".join(f"\n{inner}{line}" for line in lines))

    def new_cpu(self, lines: list[str]) -> None:
        """Put a <cpu> into a domain that has none, after what libvirt writes before it."""
        assert self.holder is not None
        before = [child for child in self.holder.children if child.name in ("name", "vcpu", "os", "features")]
        indent = self.indent(before[-1]) if before else "  "
        body = "".join(f"\n{indent}  {line}" for line in lines)
        text = f"\n{indent}<cpu mode='custom' match='exact'>{body}\n{indent}</cpu>"
        place = before[-1].end if before else self.holder.opened
        self.put(place, place, text)

    def indent(self, element: Element) -> str:
        """Return the blanks before an element on its line."""
        line = self.data[: element.start].decode("utf-8").rpartition("\n")[2]
        return line if not line.strip() else ""


def _attributes_of(element: Element) -> str:
    return "".join(match.group() for match in _ATTRIBUTE.finditer(element.start_tag))


def _with_attributes(tag: str, values: dict[str, str | None]) -> str:
    """Return a start tag with attributes set: in their place and their quotes where they stand already, else last."""
    present = {match[1]: match for match in _ATTRIBUTE.finditer(tag)}
    named = re.match(r"<[^\s/>]+", tag)
    assert named is not None
    last = max((match.end() for match in present.values()), default=named.end())
    quote = next(iter(present.values()))[2][0] if present else "'"
    edits = []
    for name, value in values.items():
        if name in present:
            own = present[name][2][0]
            edits.append(Edit(*present[name].span(), "" if value is None else f" {name}={own}{value}{own}"))
        elif value is not None:
            edits.append(Edit(last, last, f" {name}={quote}{value}{quote}"))
    return apply_edits(tag, edits)
