"""OpenStack nova: the [libvirt] section of nova.conf, which says the CPU of every guest of a compute node.

Source: nova 00a0304 nova/conf/libvirt.py, doc/source/admin/cpu-models.rst; the file's form: oslo.config iniparser.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from archcaps.errors import InputError, nearest
from archcaps.guest_cpu import formats
from archcaps.guest_cpu.asked import Asked, HostDevice, Mode, Switch
from archcaps.guest_cpu.changes import GuestChange, MachineChange, ModelChange, Patch
from archcaps.guest_cpu.devices import maybe_device, mediated_device, pci_device
from archcaps.guest_cpu.json_tree import read_json
from archcaps.guest_cpu.libvirt.expanding import refuse_unknown_features
from archcaps.guest_cpu.libvirt.names import feature_for, model_for, needs_arch_capabilities
from archcaps.guest_cpu.libvirt.releases import releases_of
from archcaps.guest_cpu.shown import ShownGuest
from archcaps.guest_cpu.text_edits import diff_of
from archcaps.machine.snapshot import Snapshot

__all__ = ["expand", "looks_like", "patch", "read"]

_MODES: Final[dict[str, Mode]] = {
    "host-model": "host-model", "host-passthrough": "host", "custom": "named", "none": "default",
}  # fmt: skip
#: Source: nova 00a0304 nova/conf/libvirt.py virt_type; those for containers and parallels are none of KVM's.
_KINDS: Final[dict[str, Literal["kvm", "tcg", "xen"]]] = {"kvm": "kvm", "qemu": "tcg", "xen": "xen"}
#: What gives the guests of a node devices of the host, for a flavor that asks for them.
_DEVICES: Final = (
    ("pci", "device_spec"), ("pci", "passthrough_whitelist"), ("devices", "enabled_mdev_types"),
    ("devices", "enabled_vgpu_types"),
)  # fmt: skip
#: A flavor's or an instance's JSON, and what in it asks for a device. Source: nova doc/source/user/flavors.rst
_FLAVOR: Final = re.compile(r"OS-FLV-|OS-EXT-SRV-ATTR|\bextra_specs\b|pci_passthrough:alias|\bresources[0-9]{0,3}:")
_FLAVOR_DEVICE: Final = re.compile(
    r"pci_passthrough:alias|\bresources[_A-Za-z0-9]{0,20}:(?:VGPU|PGPU|\w{0,60}PCI\w{0,60})"
)
_SECTION: Final = re.compile(r"^\[([^\]]*)\]\s*\Z")
_FLAG: Final = re.compile(r"[+-]?[a-z0-9_.-]+\Z")
_FLAGS: Final = "cpu_model_extra_flags"


@dataclass(frozen=True, slots=True)
class _Option:
    """An option's value, and its lines, counted from 0; it may go on over several."""

    value: str
    first: int
    last: int


def looks_like(text: str, name: str) -> bool:
    """Return whether a text is nova's configuration: by its name, or a [libvirt] section with a CPU in it."""
    if name.startswith("nova") and name.endswith(".conf"):
        return True
    if text.lstrip()[:1] == "{":
        return _FLAVOR.search(text) is not None
    return re.search(r"^\[libvirt\]\s*$", text, re.M) is not None and re.search(r"^cpu_mode", text, re.M) is not None


def read(text: str, where: str) -> Asked:
    """Return the CPU that nova gives the guests of this compute node.

    Raises:
        InputError: a line is no option, or an option has a value that nova refuses; with the line.
    """
    if text.lstrip()[:1] == "{":
        return _of_flavor(text, where)
    sections = _sections(text, where)
    options = sections.get("libvirt", {})
    kind = _value(options, "virt_type", where) or "kvm"
    if kind not in _KINDS:
        expected = f"{nearest(kind, _KINDS)} (expected kvm)"
        raise InputError(
            f"guests of virt_type={kind[:40]}: archcaps knows KVM's{expected}", _place(options, "virt_type", where)
        )
    default = "host-model" if kind in ("kvm", "qemu") else "none"
    mode = (_value(options, "cpu_mode", where) or default).lower()
    if mode not in _MODES:
        expected = f"{nearest(mode, _MODES)} (expected one of {', '.join(_MODES)})"
        raise InputError(f"cpu_mode is {mode[:80]!r}{expected}", _place(options, "cpu_mode", where))
    models = _list(_value(options, "cpu_models", where) or _value(options, "cpu_model", where))
    lost = []
    if models and mode != "custom":
        what = f"cpu_models with cpu_mode={mode}: nova refuses models unless the mode is custom"
        raise InputError(what, _place(options, "cpu_models", where, "cpu_model"))
    if mode == "custom" and not models:
        raise InputError("cpu_mode=custom without cpu_models", _place(options, "cpu_mode", where))
    if len(models) > 1:
        lost.append(
            f"nova takes the first of {', '.join(models)} that has what the flavor asks for: taken as {models[0]}"
        )
    switches = _switches(options, where)
    if switches and mode == "none":
        lost.append(f"cpu_mode=none takes no {_FLAGS}")
    types = dict(part.split("=", 1) for part in _list(_value(options, "hw_machine_type", where)) if "=" in part)
    return Asked(
        vmm="nova",
        mode=_MODES[mode],
        model=models[0] if models else None,
        switches=() if mode == "none" else switches,
        machine=types.get("x86_64"),
        accelerator=_KINDS[kind],
        devices=_devices(sections, where),
        where=where,
        lost_in_words=tuple(lost),
        text=text,
    )


def _of_flavor(text: str, where: str) -> Asked:
    """Return what a flavor or instance asks for, as `openstack flavor show -f json` prints it: devices, no CPU.

    Raises:
        InputError: it is no JSON.
    """
    read_json(text, where)
    devices = [
        mediated_device(f"flavor {match[0][:60]}", where) if "VGPU" in match[0] else pci_device(match[0][:60], where)
        for match in _FLAVOR_DEVICE.finditer(text)
    ]
    lost = "a flavor does not say the CPU: the compute node's nova.conf does"
    return Asked(
        vmm="nova", mode="host-model", accelerator="kvm", devices=tuple(devices), where=where, lost_in_words=(lost,),
        text=text,
    )  # fmt: skip


def expand(asked: Asked, host: Snapshot | None, offered: Snapshot | None) -> ShownGuest:
    """Return what the guest is shown: nova makes a libvirt domain of it, with the same words.

    Raises:
        InputError: QEMU has no such model or version.
    """
    refuse_unknown_features(asked, "internal error: Unknown CPU feature")
    return replace(formats.expand(replace(asked, vmm="libvirt", text=""), host, offered), asked=asked)


def patch(asked: Asked, changes: Sequence[GuestChange]) -> Patch:
    """Return nova.conf with `changes` made in the lines of cpu_mode, cpu_models and cpu_model_extra_flags.

    Raises:
        InputError: a model is no name.
    """
    text, impossible = asked.text, []
    release = releases_of(asked).libvirt
    if text.lstrip()[:1] == "{":
        why = "a flavor does not say the CPU: change the compute node's nova.conf"
        return Patch("ini", text, text, "", tuple((change, why) for change in changes))
    for change in changes:
        now = read(text, asked.where)
        if isinstance(change, MachineChange):
            why = (
                "an instance keeps the machine type it was made with: set hw_machine_type of its image (openstack "
                "image set --property), and rebuild it"
            )
        elif isinstance(change, ModelChange):
            why = model_for(change.model, release)
            if not why:
                text = _set(_set(text, asked.where, "cpu_mode", "custom"), asked.where, "cpu_models", change.model)
        elif now.mode == "default":
            why = f"cpu_mode=none takes no {_FLAGS}: set cpu_mode first"
        else:
            name, why = feature_for(change.bit, release)
            if not why:
                model = now.model if now.mode == "named" else None
                switches = {switch.name: switch.on for switch in now.switches}
                if change.on and needs_arch_capabilities(change.bit, model, switches, release):
                    text = _with_flag(text, asked.where, "arch-capabilities", on=True)
                text = _with_flag(text, asked.where, name, on=change.on)
        if why:
            impossible.append((change, why))
    diff = diff_of(asked.text, text, asked.where or "nova.conf")
    return Patch("ini", asked.text, text, diff, tuple(impossible))


def _devices(sections: dict[str, dict[str, _Option]], where: str) -> tuple[HostDevice, ...]:
    """Return what of the host's the node may give a guest; which guest gets it, its flavor says."""
    because = "which guests of this node get it, their flavors say (pci_passthrough:alias, resources:VGPU)"
    return tuple(
        maybe_device(f"[{section}] {name}", _place(sections[section], name, where), because)
        for section, name in _DEVICES
        if section in sections and name in sections[section] and sections[section][name].value.strip()
    )


def _libvirt_section(text: str, where: str) -> dict[str, _Option]:
    """Return the options of [libvirt]."""
    return _sections(text, where).get("libvirt", {})


def _sections(text: str, where: str) -> dict[str, dict[str, _Option]]:
    """Return the options by section: of one that stands twice the last; a line that starts with a blank goes on."""
    found: dict[tuple[str, str], tuple[list[str], int, int]] = {}
    section, name = "DEFAULT", None
    for number, line in enumerate(text.split("\n")):
        here = f"{where}:{number + 1}"
        if not line.strip():
            name = None
        elif line[0] in "#;":
            continue
        elif line[0] in " \t":
            if name is None:
                raise InputError("a line that goes on, and nothing before it (options start in the first column)", here)
            parts, first, _ = found[section, name]
            parts.append(line.strip())
            found[section, name] = parts, first, number
        elif line[0] == "[":
            match = _SECTION.match(line)
            if match is None:
                raise InputError(f"{line.strip()[:60]!r} is no section (expected [name])", here)
            section, name = match[1], None
        else:
            key, value = _option(line, here)
            name = key
            found[section, key] = [value], number, number
    sections: dict[str, dict[str, _Option]] = {}
    for (section, name), (parts, first, last) in found.items():
        sections.setdefault(section, {})[name] = _Option("\n".join(parts), first, last)
    return sections


def _option(line: str, here: str) -> tuple[str, str]:
    match = re.match(r"([^:=]+)[:=](.*)\Z", line, re.S)
    if match is None:
        raise InputError(f"{line.strip()[:60]!r} is no option (expected name = value)", here)
    value = match[2].strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return match[1].strip(), value


def _value(options: dict[str, _Option], name: str, where: str) -> str | None:
    option = options.get(name)
    if option is None or not option.value.strip():
        return None
    if "$" in option.value:
        raise InputError(f"{name} refers to another option ($): write its value out", _place(options, name, where))
    return option.value


def _place(options: dict[str, _Option], name: str, where: str, other: str = "") -> str:
    option = options.get(name) or options.get(other)
    return where if option is None else f"{where}:{option.first + 1}"


def _list(value: str | None) -> list[str]:
    return [part.strip() for part in re.split(r"[,\n]", value or "") if part.strip()]


def _switches(options: dict[str, _Option], where: str) -> tuple[Switch, ...]:
    """Return the flags: +flag and flag are required, -flag is disabled; case does not matter; the last word holds."""
    here = _place(options, _FLAGS, where)
    found: dict[str, Switch] = {}
    for flag in _list(_value(options, _FLAGS, where)):
        word = flag.lower()
        if not _FLAG.match(word):
            raise InputError(f"{flag[:80]!r} is no flag (expected a name, with + or - before it if need be)", here)
        name = word.lstrip("+") if word[0] == "+" else word[1:] if word[0] == "-" else word
        found[name] = Switch(name, "disable" if word[0] == "-" else "require", here)
    return tuple(found.values())


def _with_flag(text: str, where: str, name: str, *, on: bool) -> str:
    """Return the text with a flag in its line; other flags and their spelling stay."""
    options = _libvirt_section(text, where)
    flags = _list(_value(options, _FLAGS, where))
    if any(switch.name == name and switch.on is on for switch in _switches(options, where)):
        return text
    signs = [flag[0] in "+-" for flag in flags]
    new = f"-{name}" if not on else name if signs and not any(signs) else f"+{name}"
    same = [place for place, flag in enumerate(flags) if flag.lower().lstrip("+-") == name]
    if same:
        flags[same[0]] = new
        flags = [flag for place, flag in enumerate(flags) if place not in same[1:]]
    else:
        flags.append(new)
    return _set(text, where, _FLAGS, ", ".join(flags))


def _set(text: str, where: str, name: str, value: str) -> str:
    """Return the text with an option of [libvirt] set: in its lines, or in a new one after those of the CPU."""
    options = _libvirt_section(text, where)
    lines = text.split("\n")
    if name in options:
        option = options[name]
        if option.value == value:
            return text
        head = re.match(r"[^:=]+[:=][ \t]*", lines[option.first])
        assert head is not None
        lines[option.first : option.last + 1] = [head[0] + value]
        return "\n".join(lines)
    before = [options[other].last for other in ("cpu_mode", "cpu_models", "cpu_model") if other in options]
    if before:
        at = max(before) + 1
    elif (header := next((n for n, line in enumerate(lines) if re.match(r"\[libvirt\]\s*\Z", line)), None)) is not None:
        at = header + 1
    else:
        while lines and not lines[-1]:
            lines.pop()
        lines += ["", "[libvirt]", ""]
        at = len(lines) - 1
    lines.insert(at, f"{name} = {value}")
    return "\n".join(lines)
