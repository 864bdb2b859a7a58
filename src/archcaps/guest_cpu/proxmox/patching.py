"""Changes of a VM's CPU in Proxmox VE's files: a flag of the VM where that is allowed, else a custom model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.changes import GuestChange, MachineChange, ModelChange, Patch
from archcaps.guest_cpu.proxmox.cpu_line import BUILTIN_MODELS, VENDORS, VM_FLAGS, read_flags
from archcaps.guest_cpu.proxmox.files import CPU_KEYS, CpuModel, Line, PveFiles, read_files
from archcaps.guest_cpu.text_edits import Edit, apply_edits, diff_of
from archcaps.tables.bits import BITS

__all__ = ["MODELS_FILE", "patch"]

#: Where custom models stand on a Proxmox VE host.
MODELS_FILE: Final = "/etc/pve/virtual-guest/cpu-models.conf"
_HEADER: Final = f"# {MODELS_FILE}\n"


@dataclass
class _Work:
    """What is to be written: flags of the VM's line and of its custom model, model and machine."""

    vm_flags: dict[str, bool] = field(default_factory=dict)
    model_flags: dict[str, bool] = field(default_factory=dict)
    cputype: str | None = None
    machine: str | None = None
    impossible: list[tuple[GuestChange, str]] = field(default_factory=list)


def patch(asked: Asked, changes: Sequence[GuestChange]) -> Patch:
    """Return the VM's file with `changes` made.

    A flag that a VM's line may not have goes into the VM's custom model. Where it has none, a new one is made, and the
    VM's line names it: `after` then holds two files, the VM's and, below a comment with its path, what is to be added
    to cpu-models.conf.
    """
    files = read_files(asked.text, asked.where)
    cpu, _ = files.cpu()
    work = _Work()
    for change in changes:
        _sort(work, change, files, cpu)
    edits = _edits(asked.text, files, dict(cpu), work)
    after = apply_edits(asked.text, edits)
    name = Path(asked.where).name
    return Patch("conf", asked.text, after, diff_of(asked.text, after, name), tuple(work.impossible))


def _sort(work: _Work, change: GuestChange, files: PveFiles, cpu: Mapping[str, str]) -> None:
    why = _unwritable(change, files, cpu)
    if why is not None:
        work.impossible.append((change, why))
    elif isinstance(change, MachineChange):
        work.machine = change.machine
    elif isinstance(change, ModelChange):
        work.cputype = change.model
    else:
        flag = BITS[change.bit].names["qemu"]
        (work.vm_flags if flag in VM_FLAGS else work.model_flags)[flag] = change.on


def _unwritable(change: GuestChange, files: PveFiles, cpu: Mapping[str, str]) -> str | None:
    """Return why a change cannot be written; None: it can."""
    if not files.settings and not files.models:
        return "there is no VM"
    if isinstance(change, MachineChange):
        return _unwritable_machine(files)
    if "args" in files.settings and "-cpu" in files.settings["args"].value.split():
        return f"args holds a -cpu of its own ({files.settings['args'].where}), which counts: change it there"
    custom = cpu.get("cputype", "").removeprefix("custom-") if cpu.get("cputype", "").startswith("custom-") else None
    if isinstance(change, ModelChange):
        if change.model not in VENDORS and change.model not in BUILTIN_MODELS:
            return f"Proxmox VE has no CPU model {change.model}"
        if custom is not None and change.model in BUILTIN_MODELS:
            return f"a custom model reports one of QEMU's models, and {change.model} is Proxmox VE's own"
    elif change.bit not in BITS or "qemu" not in BITS[change.bit].names:
        return f"QEMU has no name for {change.bit}"
    if custom is not None and custom not in files.models:
        return f"the custom model {custom} stands in {MODELS_FILE}: give that file after the VM's"
    return None


def _unwritable_machine(files: PveFiles) -> str | None:
    """Return why a machine type cannot be written; None: it can."""
    args = files.settings.get("args")
    if args is not None and {"-machine", "-M"} & set(args.value.split()):
        return f"args holds a -machine of its own ({args.where}), which counts: change it there"
    return None if files.settings else "a custom model has no machine type: give the VM's file"


def _edits(text: str, files: PveFiles, cpu: dict[str, str], work: _Work) -> list[Edit]:
    edits: list[Edit] = []
    if work.machine is not None:
        edits.append(_machine(files, work.machine))
    if not (work.vm_flags or work.model_flags or work.cputype):
        return edits
    if not files.settings:
        (model,) = files.models.values()
        return edits + _in_model(model, {**work.model_flags, **work.vm_flags}, work.cputype)
    before, section = dict(cpu), ""
    custom = cpu.get("cputype", "")
    if custom.startswith("custom-"):
        edits += _in_model(files.models[custom.removeprefix("custom-")], work.model_flags, work.cputype)
    else:
        cpu["cputype"] = work.cputype or cpu.get("cputype") or _default(files)
        if work.model_flags:
            name, section = _new_model(files, cpu["cputype"], work.model_flags)
            cpu["cputype"] = f"custom-{name}"
    if work.vm_flags:
        cpu["flags"] = _with_flags(cpu.get("flags", ""), work.vm_flags)
    if cpu != before:
        edits.append(_setting(files, "cpu", _property_string(cpu)))
    return [*edits, _append(text, section, files)] if section else edits


def _default(files: PveFiles) -> str:
    """Return the model of a VM that names none."""
    off = "kvm" in files.settings and files.settings["kvm"].value in ("0", "off", "no", "false")
    return "qemu64" if off else "kvm64"


def _in_model(model: CpuModel, flags: Mapping[str, bool], reported: str | None) -> list[Edit]:
    """Return the edits of a custom model's section."""
    edits = []
    for key, value in (
        ("flags", _with_flags(_value(model, "flags"), flags) if flags else None),
        ("reported-model", reported),
    ):
        if value is None:
            continue
        if key in model.properties:
            line = model.properties[key]
            edits.append(Edit(line.start, line.end, f"\t{key} {value}"))
        else:
            edits.append(Edit(model.end, model.end, f"\n\t{key} {value}"))
    return edits


def _value(model: CpuModel, key: str) -> str:
    return model.properties[key].value if key in model.properties else ""


def _new_model(files: PveFiles, cputype: str, flags: Mapping[str, bool]) -> tuple[str, str]:
    """Return the name and the section of a custom model that is a VM's model with flags changed."""
    reported, own = BUILTIN_MODELS.get(cputype, (cputype, ""))
    name, number = f"from-{cputype}", 2
    while name in files.models:
        name, number = f"from-{cputype}-{number}", number + 1
    return name, f"cpu-model: {name}\n\treported-model {reported}\n\tflags {_with_flags(own, flags)}\n"


def _with_flags(text: str, flags: Mapping[str, bool]) -> str:
    """Return ``+a;-b`` with some flags changed where they stand, and the others added at the end."""
    left = dict(flags)
    found = []
    for flag in read_flags(text, ""):
        name = flag.name.replace("_", "-")
        if name in flags and name not in left:
            continue
        found.append(f"{'+' if left.pop(name) else '-'}{name}" if name in left else flag.word)
    return ";".join([*found, *(f"{'+' if on else '-'}{name}" for name, on in left.items())])


def _property_string(cpu: Mapping[str, str]) -> str:
    rest = [f"{key}={cpu[key]}" for key in CPU_KEYS[1:] if key in cpu]
    return ",".join([cpu["cputype"], *rest])


def _machine(files: PveFiles, machine: str) -> Edit:
    rest = ""
    if "machine" in files.settings:
        parts = files.settings["machine"].value.split(",")
        rest = "".join(f",{part}" for part in parts if "=" in part and not part.startswith("type="))
    return _setting(files, "machine", machine + rest)


def _setting(files: PveFiles, key: str, value: str) -> Edit:
    """Return the edit that sets a VM's setting, where it stands or after the last one."""
    line: Line | None = files.settings.get(key)
    if line is not None:
        return Edit(line.start, line.end, f"{key}: {value}")
    begin = "\n" if files.vm_end else ""
    return Edit(files.vm_end, files.vm_end, f"{begin}{key}: {value}" + ("" if begin else "\n"))


def _append(text: str, section: str, files: PveFiles) -> Edit:
    """Return the edit that puts a new custom model at the end, below the path of its file if it is the first."""
    between = "" if not text or text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
    return Edit(len(text), len(text), between + ("" if files.models else _HEADER) + section)
