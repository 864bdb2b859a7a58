"""The -cpu option that Proxmox VE gives QEMU for a VM, but for its Hyper-V enlightenments, which are no CPU bits.

Source: proxmox/qemu-server@e6352be src/PVE/QemuServer/CPUConfig.pm get_cpu_options, get_pve_cpu_flags, CPUFlags.pm
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from packaging.version import InvalidVersion, Version

from archcaps.errors import InputError, nearest
from archcaps.guest_cpu.proxmox.files import CpuModel, PveFiles
from archcaps.guest_cpu.proxmox.machine import machine_type, windows_version
from archcaps.tables.files import read_csv

__all__ = ["BUILTIN_MODELS", "VENDORS", "VM_FLAGS", "CpuLine", "Flag", "cpu_line", "read_flags"]

#: Flags that a VM's own line may have; all others need a custom model.
VM_FLAGS: Final = tuple(row["flag"] for row in read_csv("proxmox/vm_flags.csv"))
#: Proxmox VE's own models: QEMU's model and the flags that it adds.
BUILTIN_MODELS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {row["model"]: (row["reported_model"], row["flags"]) for row in read_csv("proxmox/builtin_models.csv")}
)
#: QEMU's models that Proxmox VE knows, each with the vendor that it sets; None: the host's.
VENDORS: Final[Mapping[str, str | None]] = MappingProxyType(
    {row["model"]: row["vendor"] or None for row in read_csv("proxmox/vendors.csv")}
)
_RENAMED: Final = {"Icelake-Client": "Icelake-Server", "Icelake-Client-noTSX": "Icelake-Server-noTSX"}
_FLAG: Final = re.compile(r"([+-])([a-zA-Z0-9\-_.]+)\Z")


@dataclass(frozen=True, slots=True)
class Flag:
    """A word of the -cpu option: +, - or nothing before it, its name, a value after =, and where it is from."""

    sign: str
    name: str
    value: str = ""
    where: str = ""

    @property
    def word(self) -> str:
        """The word as QEMU reads it."""
        return f"{self.sign}{self.name}{'=' if self.value else ''}{self.value}"


@dataclass(frozen=True, slots=True)
class CpuLine:
    """The -cpu option: QEMU's model, the words after it, and what of it depends on what the files do not say."""

    model: str
    flags: tuple[Flag, ...]
    level: str = ""
    phys_bits: tuple[str, ...] = ()
    kvm: bool = True
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        level = [f"level={self.level}"] if self.level else []
        return ",".join([self.model, *level, *(flag.word for flag in self.flags), *self.phys_bits])


def cpu_line(files: PveFiles, qemu: Version | None = None) -> CpuLine:
    """Return the -cpu option of a VM under a release of QEMU; without one, two flags for Windows 11 stay open.

    Raises:
        InputError: Proxmox VE would refuse the CPU: an unknown model, a flag that a VM's line may not have.
    """
    cpu, where = files.cpu()
    kvm = _yes(files.settings["kvm"].value, files.settings["kvm"].where) if "kvm" in files.settings else True
    name = cpu.get("cputype") or ("kvm64" if kvm else "qemu64")
    if cpu and "cputype" not in cpu:
        raise InputError("cpu has no type (expected a model first, as host,flags=+md-clear)", where)
    if "reported-model" in cpu:
        raise InputError("reported-model is for custom models, not for a VM's line", where)
    model, custom, builtin = name, None, ""
    if name.startswith("custom-"):
        custom = files.models.get(name.removeprefix("custom-"))
        if custom is None:
            raise InputError(f"the custom model {name.removeprefix('custom-')[:60]!r} is not in this text", where)
        model = _of(custom, "reported-model") or "kvm64"
    elif name in BUILTIN_MODELS:
        model, builtin = BUILTIN_MODELS[name]
    model = _RENAMED.get(model, model)
    if model not in VENDORS:
        names = [*VENDORS, *BUILTIN_MODELS]
        raise InputError(f"Proxmox VE has no CPU model {model[:60]!r}{nearest(model, names)}", where)
    windows = windows_version(files)
    words: dict[str, Flag] = {}
    for flag in (
        *_own(files, model, windows, qemu, kvm=kvm),
        *read_flags(builtin, f"Proxmox VE's model {name}"),
        *(
            read_flags(_of(custom, "flags"), custom.properties["flags"].where)
            if _of(custom, "flags") and custom
            else ()
        ),
        *_vm_flags(cpu.get("flags", ""), where),
        *_forced(model, custom, cpu, where, kvm=kvm),
    ):
        words[flag.name] = flag
    unknown: tuple[str, ...] = ()
    if windows >= 11 and qemu is None:
        unknown = ("Proxmox VE adds -cet-ibt,-cet-ss for Windows 11 on QEMU from 11.0 on; QEMU's release is not known",)
    return CpuLine(
        model,
        tuple(words[each] for each in sorted(words)),
        cpu.get("level") or _of(custom, "level"),
        tuple(_phys_bits(cpu, custom)),
        kvm,
        unknown,
    )


def _of(custom: CpuModel | None, key: str) -> str:
    return custom.properties[key].value if custom is not None and key in custom.properties else ""


def read_flags(text: str, where: str) -> Iterator[Flag]:
    """Yield the flags of ``+aes;-avx``.

    Raises:
        InputError: one has no + or - before it, or is no flag.
    """
    for part in text.split(";") if text else ():
        match = _FLAG.match(part)
        if match is None:
            raise InputError(f"{part[:60]!r} is no flag (expected +NAME or -NAME, with ; between them)", where)
        yield Flag(match[1], match[2], where=where)


def _vm_flags(text: str, where: str) -> Iterator[Flag]:
    for flag in read_flags(text, where):
        if flag.name not in VM_FLAGS:
            allowed = f"expected {', '.join(VM_FLAGS)}; any other in a custom model"
            raise InputError(f"a VM's line may not have the flag {flag.name[:60]} ({allowed})", where)
        yield flag


def _own(files: PveFiles, model: str, windows: int, qemu: Version | None, *, kvm: bool) -> Iterator[Flag]:
    """Yield what Proxmox VE adds by itself."""
    own = "added by Proxmox VE"
    if model == "kvm64":
        yield Flag("+", "lahf_lm", where=own)
    if "ostype" in files.settings and files.settings["ostype"].value == "solaris":
        yield Flag("-", "x2apic", where=own)
    if model in ("kvm64", "kvm32"):
        yield Flag("+", "sep", where=own)
    if model.startswith("Opteron"):
        yield Flag("-", "rdtscp", where=own)
    if kvm:
        yield Flag("+", "kvm_pv_unhalt", where=own)
        yield Flag("+", "kvm_pv_eoi", where=own)
    if qemu is None or qemu < Version("11.0"):
        return
    if windows >= 11:
        yield Flag("-", "cet-ibt", where=own)
        yield Flag("-", "cet-ss", where=own)
    version = re.search(r"-([0-9]+(?:\.[0-9]+)+)", machine_type(files))
    if model == "host" and version is not None and Version(version[1]) < Version("11.0"):
        yield Flag("-", "vmx-mbec", where=own)


def _forced(model: str, custom: CpuModel | None, cpu: Mapping[str, str], where: str, *, kvm: bool) -> Iterator[Flag]:
    if model != "host" and kvm:
        yield Flag("", "enforce", where="added by Proxmox VE")
    hidden = cpu.get("hidden") or _of(custom, "hidden")
    if hidden and _yes(hidden, where):
        yield Flag("", "kvm", "off", where)
    vendor = VENDORS[model]
    if vendor is not None:
        yield Flag("", "vendor", vendor, "added by Proxmox VE")


def _phys_bits(cpu: Mapping[str, str], custom: CpuModel | None) -> Iterator[str]:
    for key in ("guest-phys-bits", "phys-bits"):
        value = cpu.get(key) or _of(custom, key)
        if value:
            yield "host-phys-bits=true" if value == "host" else f"{key}={value}"


def _yes(value: str, where: str) -> bool:
    """Return a Boolean as Proxmox VE reads it."""
    if re.fullmatch(r"1|on|yes|true", value, re.IGNORECASE):
        return True
    if re.fullmatch(r"0|off|no|false", value, re.IGNORECASE):
        return False
    raise InputError(f"{value[:40]!r} is neither yes nor no (expected 1 or 0)", where)


@cache
def release_of(text: str | None) -> Version | None:
    """Return QEMU's release as a number that can be compared.

    Raises:
        InputError: it is none.
    """
    if text is None:
        return None
    try:
        return Version(text)
    except InvalidVersion as error:
        raise InputError(f"{text[:40]!r} is no release of QEMU (expected one as 11.0.2)") from error
