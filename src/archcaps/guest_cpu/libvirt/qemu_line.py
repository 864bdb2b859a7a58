"""The -cpu that libvirt hands to QEMU for a domain.

Source: libvirt 9.0.0 and 11.3.0 src/qemu/qemu_command.c qemuBuildCpuModelArgStr, qemu_process.c
qemuProcessUpdateGuestCPU, cpu_x86.c virCPUx86Update; the name of a model is handed on as it is written.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from archcaps.errors import InputError
from archcaps.guest_cpu.asked import Asked, Mode, Policy, Switch
from archcaps.guest_cpu.libvirt.names import BY_LIBVIRT
from archcaps.guest_cpu.libvirt.releases import releases_of
from archcaps.guest_cpu.qemu.models import setting
from archcaps.guest_cpu.snapshot_bits import has_bit
from archcaps.machine.snapshot import Snapshot
from archcaps.tables.libvirt_cpu_map import NEVER_PASSED_ON, QEMU_NAMES, models_named, version
from archcaps.tables.qemu import properties

__all__ = ["qemu_cpu_line"]

#: libvirt writes QEMU's own default into a domain that names no CPU: qemu64 on every pc machine type.
#: Source: libvirt 11.3.0 qemu_postparse.c; QEMU 11.1 target/i386/cpu.h TARGET_DEFAULT_CPU_TYPE
_DEFAULT: Final = "qemu64"
_WORDS: Final[dict[Mode, str]] = {"host": "host", "maximum": "max"}


def qemu_cpu_line(asked: Asked, offered: Snapshot | None = None) -> Asked:
    """Return the -cpu that libvirt makes of a domain's CPU, as QEMU is asked for it; `text` is the option.

    An optional feature is on where KVM offers it (`offered`), off where it does not, and left out where that is not
    known.

    Raises:
        InputError: mode='host-model' without the model that libvirt has chosen on the host.
    """
    if asked.mode == "host-model" and asked.model is None:
        raise InputError(
            "mode='host-model': which model that is, libvirt decides on the host (virsh domcapabilities says it, and "
            "the XML of the running domain)",
            asked.where,
        )
    default = asked.mode == "default"
    model = _DEFAULT if default else _WORDS.get(asked.mode, asked.model or "")
    mode: Mode = "named" if asked.mode in ("default", "host-model") else asked.mode
    migratable = True if asked.mode == "host" and asked.migratable is None else asked.migratable
    switches = tuple(_handed_on(asked, offered))
    words = [model]
    if mode != "named" and migratable is not None:
        words.append(f"migratable={_on(migratable)}")
    if asked.identity.vendor is not None:
        words.append(f"vendor={asked.identity.vendor}")
    words += [f"{switch.name}={_on(switch.on)}" for switch in switches]
    return replace(
        asked,
        vmm="qemu",
        mode=mode,
        model=model,
        switches=switches,
        release=releases_of(asked).qemu,
        migratable=migratable if mode != "named" else None,
        check=None,
        live=False,
        lost_in_words=(),
        text=f"-cpu {','.join(words)}",
    )


def _handed_on(asked: Asked, offered: Snapshot | None) -> list[Switch]:
    """Return the features as QEMU is given them: on or off, by QEMU's names."""
    switches = list(asked.switches)
    named = {switch.name for switch in switches}
    releases = releases_of(asked)
    runs = setting(releases.qemu, asked.machine, asked.where)
    switches += [Switch(name, "disable", asked.where) for name in sorted(_removed(asked) - named)]
    found = []
    for switch in switches:
        if switch.name in NEVER_PASSED_ON:
            continue
        on: bool | None = switch.on
        if switch.policy == "optional":
            bit = BY_LIBVIRT.get(switch.name)
            on = None if bit is None or offered is None else has_bit(offered, bit)
        name = QEMU_NAMES.get(switch.name, switch.name)
        if asked.live and name not in properties():
            continue  # a newer libvirt's; what it is called is all that is known
        if on is None or (not on and _left_out(releases.libvirt) and runs.has_property(name) is False):
            continue
        policy: Policy = "require" if on else "disable"
        found.append(Switch(name, policy, switch.where))
    return found


def _left_out(release: str | None) -> bool:
    """Whether libvirt leaves out what is switched off and QEMU has no name for; 9.0.0 does not, and QEMU refuses it."""
    return release is None or version(release) >= (11, 3, 0)


def _removed(asked: Asked) -> frozenset[str]:
    """Return what the model once had and a fresh start switches off; of a running domain all is written out."""
    if asked.live or asked.mode != "named" or asked.model is None:
        return frozenset()
    models = models_named(asked.model, releases_of(asked).libvirt)
    if not models or None in models:
        return frozenset()
    return frozenset.intersection(*(model.removed for model in models if model is not None))


def _on(value: bool) -> str:
    return "on" if value else "off"
