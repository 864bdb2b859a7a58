"""shown: what does a guest's configuration ask for, and what is the guest really shown on this host?"""

from __future__ import annotations

from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.formats import expand
from archcaps.guest_cpu.shown import ShownGuest
from archcaps.machine.facts import known_bits
from archcaps.machine.snapshot import Snapshot, number
from archcaps.questions.check import SPEAK_OF
from archcaps.questions.default_guest import default_guest
from archcaps.questions.shown_results import (
    FORMAT_VERSION,
    AskedFeature,
    DifferentFeature,
    ShownFeature,
    ShownResult,
)
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS

__all__ = ["answer", "shown"]

_ALL = (1 << 64) - 1


#: libvirt's words for CPUs that no model names.
_NAMELESS = {"host": "host-passthrough", "host-model": "host-model", "maximum": "maximum"}


def shown(asked: Asked, host: Snapshot | None, kernel: str | None = None) -> ShownResult:
    """Return what a guest is shown on `host`; without one, all that is asked for is taken as offered.

    Raises:
        InputError: the VMM has no such model or release.
    """
    offered = None if host is None else default_guest(host, kernel)
    return answer(expand(asked, host, offered), host, offered)


def answer(guest: ShownGuest, host: Snapshot | None, offered: Snapshot | None) -> ShownResult:
    """Return the answer for a guest whose CPU was already worked out or read."""
    asked, snapshot = guest.asked, guest.snapshot
    bits = _bits(snapshot, offered)
    visible = next((each.guest for each in bits if each.name == "arch_capabilities"), None)
    reading = snapshot.registers["ia32_arch_capabilities"]
    known = _ALL if reading.known is None else number(reading.known, 64, "ia32_arch_capabilities")
    cpu = snapshot.cpu
    starts = _starts(guest, host, bits)
    family, model, stepping = (
        None if part is None else number(part, 32, "cpu") for part in (cpu.family, cpu.model, cpu.stepping)
    )
    return ShownResult(
        FORMAT_VERSION,
        _headline(guest, bits, starts=starts, placed=host is not None),
        _exit_code(guest, bits, starts=starts),
        asked.vmm,
        asked.release,
        asked.machine,
        asked.accelerator,
        asked.model or _NAMELESS.get(asked.mode),
        asked.live,
        [AskedFeature(switch.name, switch.policy) for switch in asked.switches],
        None if host is None else host.name or "host",
        starts,
        guest.refused,
        cpu.vendor,
        family,
        model,
        stepping,
        visible,
        f"{number(reading.value or 0, 64, 'ia32_arch_capabilities'):#x}",
        f"{known:#x}",
        bits,
        [DifferentFeature(one.name, one.bit, one.by, one.shown, one.reason, one.source) for one in guest.differences],
        list(asked.lost_in_words),
        list(guest.notices),
        list(guest.assumptions),
    )


def _bits(guest: Snapshot, offered: Snapshot | None) -> list[ShownFeature]:
    """Return the bits of MSR 0x10a, and those of CPUID that speak of a vulnerability or of that MSR."""
    shown_to_it, offers = known_bits(guest), {} if offered is None else known_bits(offered)
    found = []
    for name, bit in BITS.items():
        speaks = name in ARCH_CAPABILITIES or (bit.register.startswith("cpuid") and bit.vulnerabilities)
        if bit.kind not in ("reserved", "unverified") and (speaks or name == "arch_capabilities"):
            values = [known[name].value if name in known else None for known in (shown_to_it, offers)]
            found.append(ShownFeature(name, bit.register, *values))
    return found


def _starts(guest: ShownGuest, host: Snapshot | None, bits: list[ShownFeature]) -> bool | None:
    """Return whether the guest starts; None: not known, as without a host."""
    if guest.refused is not None:
        return False
    if guest.asked.live:
        return True
    if host is None or guest.asked.check in ("enforce", "full", "partial"):
        return None
    return None if any(bit.guest is None for bit in bits if bit.name in ARCH_CAPABILITIES) else True


def _open(bits: list[ShownFeature]) -> list[str]:
    """Return the bits that nobody can tell of, as far as the verdicts of `check` on the VERW family turn on them."""
    decisive = {name for names in SPEAK_OF.values() for name in names} | set(ARCH_CAPABILITIES)
    return [bit.name for bit in bits if bit.guest is None and bit.name in decisive]


def _exit_code(guest: ShownGuest, bits: list[ShownFeature], *, starts: bool | None) -> int:
    if starts is False:
        return 2
    if starts is None or _open(bits):
        return 3
    return 1 if guest.differences else 0


def _headline(guest: ShownGuest, bits: list[ShownFeature], *, starts: bool | None, placed: bool) -> str:
    """Return the headline; `placed`: a host was named."""
    if starts is False:
        return "DOES NOT START on this host." if placed else "DOES NOT START."
    lacks = sum(one.shown is False for one in guest.differences)
    more = sum(one.shown is True for one in guest.differences)
    counted = [
        f"{lacks} {'feature' if lacks == 1 else 'features'} dropped" if lacks else "",
        f"{more} added" if more else "",
    ]
    said = [" and ".join(filter(None, counted))] if lacks or more else []
    if unknown := _open(bits):
        said.append(f"not known of {len(unknown)} {'bit' if len(unknown) == 1 else 'bits'}")
    if guest.asked.live:
        head = "RUNS, read from the VMM itself"
    elif starts:
        head = "STARTS"
        known = "" if all(bit.guest is not None for bit in bits) else ", as far as that is known"
        said = said or [f"with all that is asked for{known}"]
    else:
        head = "Whether it STARTS is not known" if placed else "AS ASKED FOR, on no host in particular"
    return f"{head}{': ' if said else ''}{', '.join(said)}."
