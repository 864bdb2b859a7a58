"""What a VMM's configuration says of a move: who runs the guest, on which machine type, and how strictly."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from archcaps.errors import InputError
from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.libvirt.running import package_threads
from archcaps.guest_cpu.shown import ShownGuest
from archcaps.questions.migrate_move import VMMS, Vmms

__all__ = ["vmms_of", "with_features"]

#: Firecracker's own templates that set bits of MSR 0x10a; T2, T2A and C3 leave it alone.
#: Source: Firecracker 81b38b9da src/vmm/src/cpu_config/x86_64/static_cpu_templates
_NAMING_THE_MSR: Final = ("T2S", "T2CL")


def with_features(vmms: Vmms, shown: ShownGuest) -> Vmms:
    """Return what runs the guest with the features of its CPU, as its configuration comes to on its host.

    A guest that was started with enforce has all that is asked for, or it would not run.
    """
    runs = shown.asked.check == "enforce"
    features = {name: True if runs and value is None else value for name, value in shown.features.items()}
    return replace(vmms, features=features, not_followed=shown.not_followed, threads=package_threads(shown.asked))


def vmms_of(asked: Asked, given: Vmms, *, vmm_given: bool) -> Vmms:
    """Return `given` with what the configuration says where nothing was given.

    Raises:
        InputError: the configuration is of a VMM that does not run on KVM.
    """
    vmm = given.vmm if vmm_given else asked.vmm
    if vmm not in VMMS:
        raise InputError(f"migration under {vmm} is not modelled (it is for {', '.join(VMMS)})", asked.where)
    return replace(
        given,
        vmm=vmm,
        machine=given.machine or asked.machine,
        from_version=given.from_version or asked.release,
        check=given.check or ("enforce" if asked.check == "enforce" else None),
        passthrough=given.passthrough or asked.mode in ("host", "maximum"),
        saved=_saved(asked) if given.saved is None else given.saved,
    )


def _saved(asked: Asked) -> bool | None:
    """Return whether Firecracker's snapshots of this guest hold MSR 0x10a; None: it is another VMM's guest."""
    if asked.vmm != "firecracker":
        return None
    return asked.model in _NAMING_THE_MSR or any(write.register == "ia32_arch_capabilities" for write in asked.writes)
