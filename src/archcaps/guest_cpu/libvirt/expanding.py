"""What a libvirt domain's guest will be shown: libvirt's own checks, the -cpu it makes, and QEMU's answer to that."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from archcaps.errors import InputError, nearest
from archcaps.guest_cpu import formats
from archcaps.guest_cpu.asked import Asked, Switch
from archcaps.guest_cpu.libvirt.capabilities import DomainCapabilities
from archcaps.guest_cpu.libvirt.checking import Checked, check, effective_check
from archcaps.guest_cpu.libvirt.domain import Domain, read_domain
from archcaps.guest_cpu.libvirt.names import BY_LIBVIRT
from archcaps.guest_cpu.libvirt.qemu_line import qemu_cpu_line
from archcaps.guest_cpu.libvirt.releases import releases_of
from archcaps.guest_cpu.libvirt.running import settled_bits, settled_features
from archcaps.guest_cpu.shown import Difference, ShownGuest
from archcaps.guest_cpu.snapshot_bits import has_bit, with_known_bits
from archcaps.machine.snapshot import FORMAT_VERSION, Cpuid, Kernel, Reading, Snapshot
from archcaps.tables.bits import BITS
from archcaps.tables.cpu_features import cpu_feature
from archcaps.tables.libvirt_cpu_map import RELEASES, cpu_map, knows_feature

__all__ = ["expand", "refuse_unknown_features", "with_host_model"]

#: Names that one distribution alone had. Source: https://bugzilla.redhat.com/show_bug.cgi?id=1867127
_OLD_NAMES: Final = {"arch-facilities": " (RHEL 7 called arch-capabilities so: write that)"}


def expand(asked: Asked, host: Snapshot | None, offered: Snapshot | None) -> ShownGuest:
    """Return what the guest will be shown on `host`, whose KVM offers a guest `offered` by default.

    The XML of a running domain is the truth about every feature that libvirt knows; of a stored one libvirt makes a
    -cpu, and what QEMU does with that is QEMU's expansion. Without a host, all that is asked for is taken as offered.

    Raises:
        InputError: QEMU has no such model or version, no libvirt has such a feature, or the release named is none of
            libvirt's.
    """
    refuse_unknown_features(asked)
    domain = read_domain(asked.text, asked.where, asked.name or None) if asked.text else Domain(None)
    if domain.override is not None:
        line = formats.read_configuration(_qemu_command(asked, domain.override.cpu), asked.where, "qemu")
        shown = formats.expand(replace(line, release=releases_of(asked).qemu, name=asked.name), host, offered)
        return replace(shown, asked=asked, notices=(*asked.lost_in_words, *shown.notices))
    least = domain.cpu is not None and domain.cpu.match == "minimum" and not asked.live
    if least or (asked.mode == "host-model" and asked.model is None):
        return _chosen_on_the_host(asked, domain, host, offered)
    try:
        shown = formats.expand(qemu_cpu_line(asked, offered), host, offered)
    except InputError as error:
        said = check(asked, domain, host, offered).refused
        if said is None:
            raise
        return ShownGuest(asked, _nothing_known(asked, offered), refused=said, notices=(str(error),))
    settled = settled_bits(asked)
    snapshot = with_known_bits(shown.snapshot, settled, "the XML of the running domain")
    by_qemu: dict[str, bool | None] = {_libvirts(each): False for each in shown.differences if each.shown is False}
    by_qemu |= {_name_of(name): value for name, value in shown.features.items()}
    checked = Checked() if asked.live else check(asked, domain, host, offered, by_qemu)
    refused = None if asked.live else checked.refused or shown.refused
    return ShownGuest(
        asked=asked,
        snapshot=snapshot,
        differences=(*_by_libvirt(asked, offered), *(each for each in shown.differences if each.bit not in settled)),
        refused=refused,
        assumptions=shown.assumptions,
        notices=(*_notices(asked, domain), *shown.notices),
        features=settled_features(asked) if asked.live else shown.features,
        undecided=shown.undecided,
        not_followed="" if asked.live else shown.not_followed,
        warnings=() if asked.live else shown.warnings,
        start_hangs_on=checked.hangs_on,
    )


def refuse_unknown_features(asked: Asked, said: str = "unsupported configuration: unknown CPU feature:") -> None:
    """Refuse a name that no libvirt has; a domain that runs has it of a libvirt that archcaps does not know.

    `said` are the words of who refuses it, before the name.

    Raises:
        InputError: there is one, with libvirt's own words.
    """
    for switch in asked.switches:
        if asked.live or knows_feature(switch.name, None) is not False:
            continue
        name = switch.name[:60]
        hint = _OLD_NAMES.get(name) or nearest(name.replace("_", "-"), cpu_map(RELEASES[-1]).features)
        what = f"no libvirt up to {RELEASES[-1]} knows the CPU feature {name[:80]!r}{hint}"
        raise InputError(f"{what}: it refuses the domain ({said} {name})", switch.where)


def with_host_model(asked: Asked, capabilities: DomainCapabilities) -> Asked:
    """Return a mode='host-model' domain with the model and features that libvirt gives it on the host.

    A feature that the domain names itself stays as it says; one that cannot migrate is listed there and not given.

    Raises:
        InputError: the host's capabilities have no host-model.
    """
    if capabilities.host_model is None:
        raise InputError("mode='host-model' is not supported on that host", asked.where)
    own = {switch.name for switch in asked.switches}
    newest = cpu_map(RELEASES[-1]).features
    stuck = {name for name, feature in newest.items() if not feature.migratable}
    given = tuple(switch for switch in capabilities.host_model.features if switch.name not in own | stuck)
    return replace(asked, model=capabilities.host_model.model, switches=(*given, *asked.switches))


def _qemu_command(asked: Asked, cpu: str) -> str:
    """Return a QEMU command line with a -cpu, the domain's machine type and its accelerator."""
    words = ["qemu-system-x86_64"]
    if asked.accelerator is not None:
        words += ["-accel", asked.accelerator]
    if asked.machine is not None:
        words += ["-machine", asked.machine]
    return " ".join([*words, "-cpu", "".join(cpu.split())])


def _nothing_known(asked: Asked, offered: Snapshot | None) -> Snapshot:
    return Snapshot(
        format_version=FORMAT_VERSION,
        role="guest",
        name=asked.name,
        provenance="imported",
        source="libvirt's XML",
        cpuid=Cpuid(complete=False),
        registers={"ia32_arch_capabilities": Reading(value="0x0", known="0x0")},
        kernel=Kernel() if offered is None else offered.kernel,
    )


def _chosen_on_the_host(asked: Asked, domain: Domain, host: Snapshot | None, offered: Snapshot | None) -> ShownGuest:
    """Return what is certain where libvirt takes the host's model: what is disabled, and what is required and there."""
    bits: dict[str, bool] = {}
    for switch in asked.switches:
        bit = BY_LIBVIRT.get(switch.name)
        if bit is None:
            continue
        if not switch.on:
            bits[bit] = False
        elif offered is not None and has_bit(offered, bit) is not None:
            bits[bit] = bool(has_bit(offered, bit))
    said = check(asked, domain, host, offered).refused
    what = "mode='host-model'" if asked.mode == "host-model" else "match='minimum'"
    notice = (
        f"{what}: which model and features that is, libvirt decides on the host; the XML of the running "
        "domain says it (virsh dumpxml NAME), and so does virsh domcapabilities there"
    )
    snapshot = with_known_bits(_nothing_known(asked, offered), bits, "libvirt's XML")
    return ShownGuest(asked, snapshot, refused=said, notices=(notice,))


def _name_of(qemu: str) -> str:
    """Return libvirt's name of a feature that QEMU names."""
    feature = cpu_feature(qemu)
    return qemu if feature is None else feature.libvirt or qemu


def _libvirts(difference: Difference) -> str:
    """Return libvirt's name of a feature that QEMU names."""
    names = {} if difference.bit is None else BITS[difference.bit].names
    return names.get("libvirt", _name_of(difference.name))


def _by_libvirt(asked: Asked, offered: Snapshot | None) -> list[Difference]:
    """Return the optional features that are not there, which libvirt leaves out of what it asks of QEMU."""
    found = []
    for switch in asked.switches:
        bit = BY_LIBVIRT.get(switch.name)
        if switch.policy == "optional" and bit is not None and offered is not None and has_bit(offered, bit) is False:
            reason = "policy='optional': KVM does not offer it"
            found.append(Difference(switch.name, bit, "libvirt", False, reason, "libvirt docs/formatdomain.rst"))
    return found


def _notices(asked: Asked, domain: Domain) -> list[str]:
    """Return what a user has to know beside the bits."""
    found = list(asked.lost_in_words)
    if asked.live:
        found.append("this is what runs; the stored XML (virsh dumpxml --inactive) counts at the next start")
    elif effective_check(asked) == "none" and asked.accelerator != "tcg" and asked.mode in ("named", "default"):
        found.append(
            "check='none': libvirt starts the domain even if features are missing; the running one's XML says which"
        )
    if domain.cpu is not None and domain.cpu.match == "strict":
        found.append("match='strict': libvirt refuses hosts with any feature beyond these; not all are compared here")
    if releases_of(asked).libvirt is None:
        found += [
            _unknown_somewhere(switch) for switch in asked.switches if knows_feature(switch.name, None) is not True
        ]
    return found


def _unknown_somewhere(switch: Switch) -> str:
    """Say which releases do not know a feature's name, where the release that is used is not known."""
    having = [release for release in RELEASES if switch.name in cpu_map(release).features]
    if not having:
        return f"no libvirt that was read (up to {RELEASES[-1]}) knows the feature {switch.name}: it would be refused"
    lacking = [release for release in RELEASES if release not in having]
    return (
        f"libvirt {lacking[-1]} does not know {switch.name} and refuses the domain (unsupported configuration: unknown "
        f"CPU feature: {switch.name}); {having[0]} does; which libvirt runs was not said"
    )
