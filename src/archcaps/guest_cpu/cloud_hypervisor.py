"""Cloud Hypervisor: a VM's JSON, or its command line. A guest gets KVM's CPU: there are three words to change it.

Source: cloud-hypervisor@ae44c29 vmm/src/vm_config.rs CpusConfig, vmm/src/config.rs, arch/src/x86_64/mod.rs
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from archcaps.errors import InputError, nearest
from archcaps.guest_cpu.asked import Asked, HostDevice, Switch
from archcaps.guest_cpu.changes import GuestChange, MachineChange, ModelChange, Patch, SwitchChange
from archcaps.guest_cpu.devices import maybe_device, sysfs_device
from archcaps.guest_cpu.json_tree import JsonNode, read_json
from archcaps.guest_cpu.qemu.shell import commands
from archcaps.guest_cpu.qemu.words import program_in
from archcaps.guest_cpu.shown import ShownGuest
from archcaps.guest_cpu.words import unknown_guest, with_bits
from archcaps.machine.snapshot import Snapshot
from archcaps.tables.bits import BITS

__all__ = ["expand", "looks_like", "patch", "read"]

_PROGRAM: Final = re.compile(r"cloud-hypervisor(?:-static)?(?:-[a-z0-9_]+)?\Z")
#: The program where a command may stand, with an option after it.
_STARTED: Final = re.compile(r"(?:\A|[\s/\"'])cloud-hypervisor(?:-[a-z0-9_-]{1,20})?[\"']?[\s\0\\]{1,40}-")
_OPTIONS: Final = (
    "boot", "max", "topology", "kvm_hyperv", "max_phys_bits", "affinity", "features", "nested", "core_scheduling",
    "profile",
)  # fmt: skip
#: As serde spells it: profile=host in lower case is refused. Source: arch/src/x86_64/cpu_profile/mod.rs CpuProfile
_PROFILES: Final = ("Host",)
#: What is taken away unless the guest asks for it. Source: arch/src/x86_64/mod.rs required_common_cpuid_updates
_AMX: Final = ("amx_bf16", "amx_tile", "amx_int8")
_UPDATES: Final = "cloud-hypervisor@ae44c29 arch/src/x86_64/mod.rs required_common_cpuid_updates"
_NESTED: Final = "cloud-hypervisor@ae44c29 arch/src/x86_64/mod.rs: CPUID of a vCPU with nested=off"


@dataclass
class _Cpus:
    """What the configuration says of the CPU: names switched on and off with their places; and the host's devices."""

    switches: list[Switch] = field(default_factory=list)
    devices: list[HostDevice] = field(default_factory=list)

    def vfio(self, path: str, where: str) -> None:
        self.devices.append(sysfs_device(path, f"device {path}", where))

    def user_device(self, socket: str, where: str) -> None:
        because = "the process that serves it may hand on a device's memory"
        self.devices.append(maybe_device(f"user device {socket}", where, because))

    def amx(self, where: str) -> None:
        self.switches += [Switch(name.replace("_", "-"), "require", where) for name in _AMX]

    def nested_off(self, where: str) -> None:
        self.switches += [Switch(name, "disable", where) for name in ("vmx", "svm")]


def looks_like(text: str, name: str) -> bool:
    """Return whether a text is JSON with boot_vcpus, or a command line of cloud-hypervisor."""
    if text.lstrip()[:1] == "{":
        return '"boot_vcpus"' in text or ('"cpus"' in text and '"payload"' in text)
    if text.lstrip()[:7] in ("--cpus ", "--cpus="):
        return True
    return _STARTED.search(text[: 1 << 20]) is not None and not text.lstrip().startswith(("<", "["))


def read(text: str, where: str) -> Asked:
    """Return what a VM's JSON or a command line asks for.

    Raises:
        InputError: it is neither, or Cloud Hypervisor would refuse what it says of the CPU.
    """
    cpus = _of_json(read_json(text, where)) if text.lstrip()[:1] == "{" else _of_line(text, where)
    return Asked(
        vmm="cloud-hypervisor", mode="host", switches=tuple(cpus.switches), accelerator="kvm", name=Path(where).stem,
        devices=tuple(cpus.devices), where=where, text=text,
    )  # fmt: skip


def _of_json(document: JsonNode) -> _Cpus:
    members = document.object("a VM configuration")
    found = _Cpus()
    for key, add, named in (("devices", found.vfio, "path"), ("user_devices", found.user_device, "socket")):
        listed = members.get(key)
        for device in [] if listed is None or listed.null else listed.array(key):
            value = device.object(f"one of {key}").get(named)
            add("" if value is None else value.text(named), device.where)
    node = members.get("cpus", document if "boot_vcpus" in members else None)
    if node is None:
        return found
    cpus = node.object("cpus")
    if "features" in cpus:
        features = cpus["features"].object("cpus.features")
        if "amx" in features and features["amx"].flag("cpus.features.amx"):
            found.amx(features["amx"].where)
    if "nested" in cpus and not cpus["nested"].flag("cpus.nested"):
        found.nested_off(cpus["nested"].where)
    if "profile" in cpus:
        _check_profile(cpus["profile"].text("cpus.profile"), cpus["profile"].where)
    return found


def _of_line(text: str, where: str) -> _Cpus:
    found = _Cpus()
    words = _words(text, where)
    for value in _values(words, "--device"):
        found.vfio(dict(part.partition("=")[::2] for part in value.split(",")).get("path", value), f"{where}:1")
    for value in _values(words, "--user-device"):
        found.user_device(value, f"{where}:1")
    given = list(_values(words, "--cpus"))
    for name, value in _options(given[-1], where) if given else ():
        if name == "features":
            for feature in value.strip("[]").split(","):
                if feature != "amx":
                    raise InputError(f"unknown CPU feature {feature[:80]!r} (expected amx)", f"{where}:1")
                found.amx(f"{where}:1")
        elif name == "nested" and _toggle(value, where) is False:
            found.nested_off(f"{where}:1")
        elif name == "profile":
            _check_profile(value, f"{where}:1")
    return found


def _words(text: str, where: str) -> list[str]:
    """Return the words of the command line that starts Cloud Hypervisor, or of a text of its options alone.

    Raises:
        InputError: several are started, or a word that decides holds a variable whose value is not in the text.
    """
    if "\0" in text:
        return text.rstrip("\0").split("\0")
    every = [each.words for each in commands(text, where)]
    found = [words for words in every if program_in(words, _PROGRAM) is not None]
    if len(found) > 1:
        raise InputError(f"{len(found)} VMs are started: give the command line of one", where)
    chosen = (found or every or [()])[0]
    for option, word in pairwise(chosen):
        if word.missing and option.value in ("--cpus", "--device"):
            what = f"this text does not say what {word.missing} in {option.value} stands for: write its value into it"
            raise InputError(what, where)
    return [word.value for word in chosen]


def _values(words: Sequence[str], option: str) -> Iterator[str]:
    """Yield an option's values; several may follow it."""
    taking = False
    for word in words:
        if word.startswith("-"):
            taking = word == option
            if word.startswith(f"{option}="):
                yield word.removeprefix(f"{option}=")
        elif taking:
            yield word


def _options(text: str, where: str) -> Iterator[tuple[str, str]]:
    """Yield key and value of each option; commas within brackets do not separate."""
    for part in re.findall(r"(?:\[[^\]]*\]?|[^,\[])+", text):
        name, equals, value = part.partition("=")
        if name not in _OPTIONS or not equals:
            known = f"{nearest(name, _OPTIONS)}; expected {', '.join(_OPTIONS)}, each with =value"
            raise InputError(f"unknown option {name[:80]!r} of --cpus{known}", f"{where}:1")
        yield name, value.strip()


def _toggle(value: str, where: str) -> bool:
    if value.lower() not in ("on", "true", "off", "false", ""):
        raise InputError(f"nested={value[:80]!r} (expected on or off)", f"{where}:1")
    return value.lower() in ("on", "true")


def _check_profile(name: str, where: str) -> None:
    if name not in _PROFILES:
        raise InputError(f"unknown CPU profile {name[:80]!r} (archcaps knows {', '.join(_PROFILES)})", where)


def expand(asked: Asked, host: Snapshot | None, offered: Snapshot | None) -> ShownGuest:
    """Return what the guest is shown: KVM's CPUID and MSR 0x10a as they are, but AMX only where it is asked for."""
    guest = unknown_guest() if offered is None else offered
    changes: dict[str, tuple[bool, str]] = {"hypervisor": (True, _UPDATES)}
    switched: Mapping[str, bool] = {switch.name.replace("-", "_"): switch.on for switch in asked.switches}
    changes |= {name: (False, _UPDATES) for name in _AMX if not switched.get(name)}
    changes |= {name: (False, _NESTED) for name in ("vmx", "svm") if switched.get(name) is False and name in BITS}
    for name, (on, source) in changes.items():
        bit = BITS[name]
        guest = with_bits(guest, bit.register, bit.mask, bit.mask if on else 0, f"Cloud Hypervisor [{source}]")
    guest = replace(guest, name=asked.name or "Cloud Hypervisor guest", source="Cloud Hypervisor, CPU profile Host")
    assumptions = () if offered is not None else ("the host is not given: what its KVM offers is unknown",)
    return ShownGuest(asked, guest, assumptions=assumptions)


def patch(asked: Asked, changes: Sequence[GuestChange]) -> Patch:
    """Return the configuration as it is: no change of a CPU's bits can be written in it, and each says why."""
    impossible = tuple((change, _why(change)) for change in changes)
    if asked.text.lstrip()[:1] == "{":
        return Patch("json", asked.text, asked.text, "", impossible)
    return Patch("conf", asked.text, asked.text, "", impossible)


def _why(change: GuestChange) -> str:
    if isinstance(change, MachineChange):
        return "Cloud Hypervisor has no machine types"
    if isinstance(change, ModelChange):
        return (
            f"Cloud Hypervisor has no CPU models, only the profile{'s' * (len(_PROFILES) > 1)} {', '.join(_PROFILES)}"
        )
    assert isinstance(change, SwitchChange)
    if change.bit in _AMX:
        return "AMX is switched as a whole: features=amx in --cpus"
    if change.bit in ("vmx", "svm"):
        return "it is switched by nested=on or nested=off in --cpus"
    return "Cloud Hypervisor shows what KVM offers: change the host's kernel, its options or its microcode"
