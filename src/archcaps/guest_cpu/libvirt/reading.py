"""From libvirt's XML to what is asked for: a domain, a <cpu>, or what a host's capabilities would give a guest."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

from archcaps.errors import InputError
from archcaps.guest_cpu.asked import Asked, Identity, Mode, Switch
from archcaps.guest_cpu.libvirt.capabilities import domain_capabilities, host_cpu
from archcaps.guest_cpu.libvirt.domain import CpuElement, Domain, chosen_root, domain_of, refuse_foreign_guest

__all__ = ["asked_of_domain", "looks_like", "read"]

_MODES: Final[dict[str, Mode]] = {
    "custom": "named", "host-model": "host-model", "host-passthrough": "host", "maximum": "maximum",
}  # fmt: skip
_ACCELERATORS: Final[dict[str | None, Literal["kvm", "tcg", "xen"]]] = {"kvm": "kvm", "qemu": "tcg", "xen": "xen"}


def looks_like(text: str, name: str) -> bool:
    """Return whether a text is XML: of the formats that archcaps reads, libvirt's alone is."""
    del name
    return text.lstrip("\ufeff \t\r\n").startswith("<")


def read(text: str, where: str, name: str | None = None) -> Asked:
    """Return what libvirt's XML asks for; `name` says of which domain, where there are several.

    Of domain capabilities it is the guest with mode='host-model' there; of a host's capabilities a guest with the
    host's CPU as libvirt names it.

    Raises:
        InputError: it is not XML, none of libvirt's that speaks of a CPU, or has a value that libvirt has not.
    """
    root = chosen_root(text, where, name)
    if root.name == "domainCapabilities":
        arch = root.first("arch")
        capabilities = domain_capabilities(root, where)
        refuse_foreign_guest(
            capabilities.kind, None if arch is None else arch.text.strip(), None, "", f"{where}:{root.line}"
        )
        if capabilities.host_model is None:
            raise InputError("mode='host-model' is not supported there", f"{where}:{root.line}")
        domain = Domain(capabilities.host_model, capabilities.kind, machine=capabilities.machine)
        what = "these are a host's capabilities, not a domain: the guest is the one that mode='host-model' gives there"
        return replace(asked_of_domain(domain, where, ""), mode="host-model", lost_in_words=(what,))
    if root.name == "capabilities":
        host = host_cpu(root, where)
        features = tuple(Switch(name, "require", where) for name in host.features)
        domain = Domain(CpuElement("custom", model=host.model, vendor=host.vendor, features=features), "kvm")
        what = "these are a host's capabilities, not a domain: the guest is one with the host's CPU as libvirt names it"
        return replace(asked_of_domain(domain, where, ""), lost_in_words=(what,))
    return asked_of_domain(domain_of(root, where), where, text)


def asked_of_domain(domain: Domain, where: str, text: str) -> Asked:
    """Return what a domain asks for; `text` is its XML, where it may be changed."""
    cpu = domain.cpu
    lost = []
    model = None if cpu is None else cpu.model
    if cpu is not None and cpu.mode == "host-model" and model is not None and not domain.live:
        lost.append(
            f"<model>{model[:60]}</model> does not count with mode='host-model': libvirt copies the host's CPU, and "
            "only a running domain's XML says which model that is (for this one: mode='custom')"
        )
        model = None
    if domain.override is not None:
        lost.append(
            f"<qemu:commandline> (line {domain.override.line}) has a -cpu of its own ({domain.override.cpu}): QEMU "
            "takes the last one, so <cpu> is not what runs"
        )
    named = cpu is not None and (cpu.mode != "custom" or cpu.model is not None)
    return Asked(
        vmm="libvirt",
        mode=_MODES[cpu.mode] if cpu is not None and named else "default",  # a <cpu> may hold a topology alone
        model=model,
        switches=() if cpu is None else cpu.features,
        identity=Identity(vendor=None if cpu is None else cpu.vendor_id),
        machine=domain.machine,
        accelerator=_ACCELERATORS.get(domain.kind),
        migratable=None if cpu is None else cpu.migratable,
        check=None if cpu is None else cpu.check,
        devices=domain.devices,
        live=domain.live,
        name=domain.name,
        where=where,
        lost_in_words=tuple(lost),
        text=text,
    )
