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
        dict(guest.features),
        guest.not_followed,
        list(guest.warnings),
        list(asked.lost_in_words),
        [*guest.notices, *_unknown_features(guest)],
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
    if host is None or guest.start_hangs_on:
        return None
    return None if any(bit.guest is None for bit in bits if bit.name in ARCH_CAPABILITIES) else True


def _open(bits: list[ShownFeature]) -> list[str]:
    """Return the bits that nobody can tell of, as far as the verdicts of `check` on the VERW family turn on them."""
    decisive = {name for names in SPEAK_OF.values() for name in names} | set(ARCH_CAPABILITIES)
    return [bit.name for bit in bits if bit.guest is None and bit.name in decisive]


def _unknown(guest: ShownGuest, bits: list[ShownFeature]) -> list[str]:
    """Return all of which it is not known whether the guest gets it: features by the VMM's name, other bits by ours."""
    features = [name for name, value in guest.features.items() if value is None]
    ours = {name: bit.names.get("qemu") for name, bit in BITS.items()}
    return [*features, *(bit for bit in _open(bits) if ours[bit] not in guest.features)]


def _unknown_features(guest: ShownGuest) -> list[str]:
    """Say of which features that are asked for it is not known whether the guest gets them."""
    names = ", ".join(name for name, value in guest.features.items() if value is None)
    who = (
        "the guest runs without KVM"
        if guest.asked.accelerator == "tcg"
        else "whether KVM offers it on this host is not"
    )
    return [f"not known whether the guest gets them, as {who} known: {names}"] if names else []


def _exit_code(guest: ShownGuest, bits: list[ShownFeature], *, starts: bool | None) -> int:
    if starts is False:
        return 2
    if starts is None or _unknown(guest, bits) or guest.not_followed:
        return 3
    return 1 if guest.differences else 0


def _not_known_of(guest: ShownGuest, bits: list[ShownFeature]) -> str:
    """Return how much is not known: 43 features and the model's vmx-* controls."""
    count = len(_unknown(guest, bits))
    what = "feature" if any(value is None for value in guest.features.values()) else "bit"
    counted = f"{count} {what}{'' if count == 1 else 's'}" if count else ""
    return " and ".join(filter(None, (counted, guest.not_followed)))


def _headline(guest: ShownGuest, bits: list[ShownFeature], *, starts: bool | None, placed: bool) -> str:
    """Return the headline; `placed`: a host was named."""
    if starts is False:
        return "DOES NOT START on this host." if placed else "DOES NOT START."
    lacks = len({one.name for one in guest.differences if one.shown is False})
    more = sum(one.shown is True for one in guest.differences)
    counted = [
        f"{lacks} {'feature' if lacks == 1 else 'features'} dropped" if lacks else "",
        f"{more} added" if more else "",
    ]
    said = [" and ".join(filter(None, counted))] if lacks or more else []
    if said_of := _not_known_of(guest, bits):
        said.append(f"not known of {said_of}")
    if guest.asked.live:
        head = "RUNS, read from the VMM itself"
    elif starts:
        head = "STARTS"
        said = said or ["with all that is asked for"]
    else:
        head = "Whether it STARTS is not known" if placed else "AS ASKED FOR, on no host in particular"
    return f"{head}{': ' if said else ''}{', '.join(said)}."
