"""The bits of a pool's CPU that are not searched for: forced by the hosts or by a rule, or left to a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from archcaps.fleet.pool.hosts import HostClass
from archcaps.fleet.pool.showable import POOLED, WORSE, Showable, offered_bits
from archcaps.machine.facts import known_bits
from archcaps.rules.kvm_offer import OFFERED_CPUID
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS, REGISTERS

__all__ = ["Forced", "forced_bits", "has_it", "plain_intersection"]

#: The two forms of one piece of bad news; which of them a guest is told depends on whether it sees enhanced IBRS.
#: Source: tables/xen/levelling.csv (rsba, rrsba)
_RETURNS: Final = ("rsba", "rrsba")
#: A bit that the guest's own kernel switches.
_AT_RUN_TIME: Final = ("ospke",)


@dataclass
class Forced:
    """`shown`: bits that are the same whatever is chosen, by name; `free`: those that can be shown or hidden.

    `why` says of each forced bit how it comes; bits of which nothing is known are in none of the three. `not_told`:
    bad news that the VMM cannot show at all; `unequal`: bad news of some hosts that others cannot show.
    """

    shown: dict[str, bool] = field(default_factory=dict)
    free: list[str] = field(default_factory=list)
    why: dict[str, str] = field(default_factory=dict)
    not_told: list[str] = field(default_factory=list)
    unequal: list[str] = field(default_factory=list)


def forced_bits(hosts: Sequence[HostClass], can: Mapping[str, Sequence[Showable]], *, anywhere: bool = False) -> Forced:
    """Return what is forced, and which bits are free: those that every host can show (`anywhere`: that some can)."""
    forced = Forced()
    others = _of_other_vendors(str(hosts[0].snapshot.cpu.vendor))
    for name, bit in BITS.items():
        if name not in ARCH_CAPABILITIES and REGISTERS[bit.register].kind != "cpuid":
            continue
        if name in _AT_RUN_TIME:
            continue
        if name in others:
            forced.shown[name] = False
            forced.why[name] = others[name]
        elif name not in POOLED:
            forced.shown[name] = False
            forced.why[name] = "not for guests"
        elif name == "hypervisor":
            forced.shown[name] = True
            forced.why[name] = "every guest is shown that it is one"
        elif name not in WORSE:
            _good(forced, name, hosts, can[name], anywhere=anywhere)
    _bad_news(forced, hosts, can, [name for name in WORSE if name not in others])
    return forced


def _good(
    forced: Forced, name: str, hosts: Sequence[HostClass], answers: Sequence[Showable], *, anywhere: bool
) -> None:
    values = [answer.value for answer in answers]
    if all(values) or (anywhere and any(values)):
        forced.free.append(name)
    elif False in values:
        at = values.index(False)
        forced.shown[name] = False
        forced.why[name] = _refusal(hosts, answers, at)
    elif _is_judged(name):  # unknown never counts as offered
        at = values.index(None)
        forced.shown[name] = False
        forced.why[name] = f"not known whether KVM offers it on {hosts[at].example}"


def _refusal(hosts: Sequence[HostClass], answers: Sequence[Showable], at: int) -> str:
    others = sum(answer.value is False for answer in answers) - 1
    more = f" and {others} other {'class' if others == 1 else 'classes'}" if others else ""
    return f"{answers[at].why} ({hosts[at].example}{more})"


def _is_judged(name: str) -> bool:
    """Whether the bit claims something of a vulnerability, or its offer is modelled: hidden where that is unknown.

    Of the others (AVX, AMD's IBPB ...) a model's own stands where nothing is known: hiding a control takes a means of
    defence away.
    """
    claims = bool(BITS[name].vulnerabilities) and BITS[name].kind not in ("feature", "control")
    return name in ARCH_CAPABILITIES or name in OFFERED_CPUID or claims


def _of_other_vendors(vendor: str) -> dict[str, str]:
    """Return the bits that are another vendor's: KVM may offer them everywhere, and say nothing of this CPU with them.

    Source: tables/xen/levelling.csv (arch_capabilities: Intel's alone); AMD64 APM volume 3 (Fn8000_0021 is AMD's)
    """
    amd = vendor in ("AuthenticAMD", "HygonGenuine")
    registers = ["ia32_arch_capabilities"] if amd else ["cpuid_80000021_eax", "cpuid_80000021_ecx"]
    why = "Intel's: it says nothing of AMD's CPUs" if amd else "AMD's leaf"
    names = [name for name, bit in BITS.items() if bit.register in registers]
    return dict.fromkeys([*names, *(["arch_capabilities"] if amd else [])], why)


def _bad_news(
    forced: Forced, hosts: Sequence[HostClass], can: Mapping[str, Sequence[Showable]], names: Sequence[str]
) -> None:
    """Decide the bits where the worse wins: a guest that may come to a host that has one must have seen it."""
    eibrs = "ibrs_all" in forced.free
    suffers = {name: [has_it(host, name) for host in hosts] for name in names}
    if set(_RETURNS) <= set(names):
        either = [any(suffers[name][number] for name in _RETURNS) for number in range(len(hosts))]
        suffers |= {name: either if (name == "rrsba") is eibrs else [False] * len(hosts) for name in _RETURNS}
    for name, has in suffers.items():
        answers = can[name]
        refusing = [number for number, answer in enumerate(answers) if answer.value is not True]
        if not any(has):
            forced.shown[name], forced.why[name] = False, "no host suffers from it"
        elif not refusing:
            forced.shown[name] = True
            forced.why[name] = f"{hosts[has.index(True)].example} suffers from it: the worse wins"
        else:
            forced.shown[name] = False
            why = answers[refusing[0]].why or "not known whether KVM offers it"
            forced.why[name] = f"{hosts[has.index(True)].example} suffers from it, but: {why}"
            same = len(refusing) == len(hosts)
            where = "" if same else f" on {hosts[refusing[0]].example}"
            said = f"{name}: {hosts[has.index(True)].example} has it, and the guest cannot be told{where}: {why}"
            if BITS[name].vulnerabilities:
                (forced.not_told if same or all(has) else forced.unequal).append(said)


def has_it(host: HostClass, name: str) -> bool:
    """Whether a host has a bit, by what KVM offers there or by its own registers."""
    own = known_bits(host.snapshot)
    return bool(offered_bits(host).get(name)) or (name in own and own[name].value)


def plain_intersection(hosts: Sequence[HostClass]) -> dict[str, bool]:
    """Return libvirt's baseline: every bit that it has a name for and that KVM offers on all hosts, good news or bad.

    Source: libvirt 9.0.0 virsh cpu-baseline, observed (a plain AND of all bits)
    """
    offered = [offered_bits(host) for host in hosts]
    return {
        name: name == "hypervisor" or ("libvirt" in BITS[name].names and all(bits.get(name) for bits in offered))
        for name in POOLED
    }
