"""What QEMU takes the host's KVM to support: what KVM offers, as QEMU's own rules change it.

Source: QEMU target/i386/kvm/kvm.c kvm_arch_get_supported_cpuid, kvm_arch_get_supported_msr_feature, target/i386/cpu.c
x86_cpu_get_supported_feature_word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from archcaps.guest_cpu.qemu.host_features import HostFeatures
from archcaps.guest_cpu.qemu.models import Setting
from archcaps.machine.snapshot import FORMAT_VERSION, Snapshot, number
from archcaps.tables import qemu as tables
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS
from archcaps.tables.cpu_features import CpuFeature, cpu_feature

if TYPE_CHECKING:
    from archcaps.machine.facts import Datum

__all__ = ["IMMUNE", "Supported"]

#: With all of these QEMU adds FB_CLEAR to what KVM offers.
IMMUNE = ("mds_no", "taa_no", "sbdr_ssdp_no", "fbsdp_no", "psdp_no")
_TSX_BROKEN = "QEMU target/i386/kvm/kvm.c host_tsx_broken"
_KVM = "what KVM offers on this host"
_HT = "ht_is_supported"


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether QEMU takes a bit as supported (None: not known), who says so, and why."""

    value: bool | None
    by: str = "kvm"
    reason: str = "KVM on this host does not offer it"
    source: str = _KVM


class Supported:
    """The bits that QEMU takes KVM to support on a host; without a host, all that is asked."""

    def __init__(self, host: Snapshot | None, offered: Snapshot | None, setting: Setting, vendor: str | None) -> None:
        self._host = host
        self._setting = setting
        self._vendor = vendor
        self._offered: dict[str, Datum] | None = None
        self._own: dict[str, Datum] = {}
        self._features = HostFeatures(None, {})
        if host is not None or offered is not None:
            self._read(host, offered)

    def _read(self, host: Snapshot | None, offered: Snapshot | None) -> None:
        from archcaps.machine.facts import known_bits  # noqa: PLC0415  # not needed without a host

        self._own = {} if host is None else known_bits(host)
        self._features = HostFeatures(host, self._own)
        if offered is not None:
            # A guest by default does not say of the whole of CPUID.1:ECX what was seen of KVM's offer.
            seen = Snapshot(
                format_version=FORMAT_VERSION, role="host", registers={} if host is None else dict(host.kvm.offered)
            )
            # QEMU asks /dev/kvm for MSR 0x10a; what a vCPU then holds, which the default guest has, may be less.
            of_msr = {bit: datum for bit, datum in known_bits(seen).items() if bit in ARCH_CAPABILITIES}
            self._offered = {**known_bits(seen), **known_bits(offered), **of_msr}

    @property
    def known(self) -> bool:
        """Whether there is a host at all."""
        return self._offered is not None

    def offers(self, bit: str) -> bool | None:
        """Return whether KVM offers a bit (None: not known)."""
        if self._offered is None:
            return None
        if bit in self._offered:
            return self._offered[bit].value
        feature = cpu_feature(BITS[bit].names.get("qemu", "")) if bit not in ARCH_CAPABILITIES else None
        return None if feature is None else self._features.offers(feature)

    def of_feature(self, feature: CpuFeature) -> Answer:
        """Return whether QEMU takes any feature as supported, one that has no name of ours too."""
        if feature.known_as:
            return self.of(feature.known_as)
        if self._offered is None:
            return Answer(None)
        if feature.name == "ht":
            follows = tables.holds(_HT, self._setting.release)
            return Answer(follows, source=tables.rule_source(_HT) if follows is False else _KVM)
        offers = self._features.offers(feature)
        return Answer(offers, source=self._features.source(feature) if offers is False else _KVM)

    def provides(self, feature: CpuFeature) -> bool | None:
        """Return whether the host's CPU has a feature or KVM offers it: what libvirt compares a domain with."""
        offers = self.offers(feature.known_as) if feature.known_as else self._features.offers(feature)
        found = {offers, self._features.has(feature)}
        return True if True in found else False if found == {False} else None

    def of(self, bit: str) -> Answer:
        """Return whether QEMU takes a bit as supported."""
        if bit == "hypervisor":
            return Answer(True, "qemu")
        if self._offered is None:
            return Answer(None)
        offers = self.offers(bit)
        match bit:
            case "rtm" | "hle":
                return self._tsx(offers)
            case "erms" | "fsrm":  # no new instructions: QEMU reads them from the host's own CPUID
                return self._string_instructions(bit, offers)
            case "arch_capabilities":
                return self._arch_capabilities(offers)
            case "fb_clear":
                return self._fb_clear(offers)
            case _:
                feature = cpu_feature(BITS[bit].names.get("qemu", "")) if offers is False else None
                known = feature is None or bit in ARCH_CAPABILITIES
                return Answer(offers, source=_KVM if known or feature is None else self._features.source(feature))

    def _string_instructions(self, bit: str, offers: bool | None) -> Answer:
        own, rule = self._own.get(bit), "erms_and_fsrm_of_host"
        follows = tables.holds(rule, self._setting.release)
        if offers or follows is False or (own is not None and not own.value):
            return Answer(offers)
        why = "QEMU since 8.2 takes it from the host's own CPUID"
        return Answer(True, "qemu", why, tables.rule_source(rule)) if own and follows else Answer(None)

    def _tsx(self, offers: bool | None) -> Answer:
        broken = _host_tsx_broken(self._host)
        if broken and offers is not False:
            return Answer(
                False, "qemu", "QEMU removes it on this host, a Haswell whose TSX is known broken", _TSX_BROKEN
            )
        return Answer(None if broken is None and offers else offers)

    def _arch_capabilities(self, offers: bool | None) -> Answer:
        release, machine = self._setting.release, self._setting.machine
        if offers is False:
            return Answer(False)
        rule = "arch_capabilities_not_for_amd"
        amd = None if self._vendor is None else self._vendor == "AuthenticAMD"
        # A distribution's machine type that sets the property itself comes with a QEMU that has the rule.
        follows = True if machine.always_on is not None else tables.holds(rule, release)
        if follows and machine.arch_cap_always_on is not True and amd is not False:
            why = "QEMU since 10.1.1 hides it from guests whose vendor is AMD, except on pc machine types up to 10.0"
            hides = amd and machine.arch_cap_always_on is False
            return Answer(False, "qemu", why, tables.rule_source(rule)) if hides else Answer(None)
        rule = "arch_capabilities_as_host_cpuid"
        own = self._own.get("arch_capabilities")
        follows = tables.holds(rule, release)
        if follows is not False and (own is None or not own.value):
            why = "QEMU 10.1.0 and 10.0.3 hide it if the host's own CPUID does not show it"
            sure = follows and own is not None
            return Answer(False, "qemu", why, tables.rule_source(rule)) if sure else Answer(None)
        return Answer(offers)

    def _fb_clear(self, offers: bool | None) -> Answer:
        if offers:
            return Answer(True)
        rule = "fb_clear_if_immune"
        added = tables.holds(rule, self._setting.release)
        immune = [self.offers(bit) for bit in IMMUNE]
        if added is False or False in immune:
            return Answer(offers)
        if added is None or None in immune:
            return Answer(None)
        why = "QEMU adds it, because KVM offers MDS_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO and PSDP_NO"
        return Answer(True, "qemu", why, tables.rule_source(rule))


def _host_tsx_broken(host: Snapshot | None) -> bool | None:
    """Return whether a host is a Haswell whose TSX is broken, which QEMU looks up by its identity."""
    if host is None or host.cpu.vendor is None:
        return None
    cpu = host.cpu
    family, model, stepping = (
        None if part is None else number(part, 32, "cpu") for part in (cpu.family, cpu.model, cpu.stepping)
    )
    if host.cpu.vendor != "GenuineIntel" or (family is not None and family != 6):
        return False
    if family is None or model is None or (model == 63 and stepping is None):
        return None
    return model in (60, 69, 70) or (model == 63 and stepping is not None and stepping < 4)
