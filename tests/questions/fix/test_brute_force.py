"""The answer against plain Python: every set of bits made in a snapshot of its own and asked of `check`, one by one."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import archcaps
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.check import check
from tests.scenarios.running import machine

#: Where each bit stands, by hand (Intel SDM; AMD64 APM).
PLACES = {
    "arch_capabilities": ("cpuid_7_0_edx", 29), "md_clear": ("cpuid_7_0_edx", 10),
    "flush_l1d": ("cpuid_7_0_edx", 28), "rtm": ("cpuid_7_0_ebx", 11),
    "mds_no": (None, 5), "tsx_ctrl": (None, 7), "taa_no": (None, 8), "sbdr_ssdp_no": (None, 13),
    "fbsdp_no": (None, 14), "psdp_no": (None, 15), "fb_clear": (None, 17), "rfds_no": (None, 27),
    "rfds_clear": (None, 28), "verw_clear": ("cpuid_80000021_eax", 5), "tsa_sq_no": ("cpuid_80000021_ecx", 1),
    "tsa_l1_no": ("cpuid_80000021_ecx", 2), "tsa_fill_no": ("cpuid_80000021_ecx", 0),
}  # fmt: skip
FURTHER_WRONG = ("false-immunity", "broken-promise", "withheld", "false-alarm", "needless-work")


def flipped(guest: Snapshot, bits: tuple[str, ...]) -> Snapshot:
    """The guest with each of these bits the other way round, edited as JSON."""
    raw: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(guest))
    raw["vulnerabilities"] = {}
    for bit in bits:
        register, number = PLACES[bit]
        register = register or "ia32_arch_capabilities"
        if register in raw["registers"]:
            word = raw["registers"][register]
            word["value"] = hex(int(str(word["value"]), 0) ^ 1 << number)
        else:
            shown = raw["cpuid"]["shown"]
            if bit in shown:
                shown.remove(bit)
                raw["cpuid"]["hidden"].append(bit)
            else:
                shown.append(bit)
                raw["cpuid"]["hidden"] = [name for name in raw["cpuid"]["hidden"] if name != bit]
    return archcaps.parse_snapshot(msgspec.json.encode(raw), "brute force", "guest")


def standing(host: Snapshot, guest: Snapshot) -> tuple[int, frozenset[str]]:
    """The level (docs/architecture/fix.md) by what `check` says, and what further is not as it should."""
    result = check(host, guest, brief=True)
    truths = [set(verdict.truth.possible) for verdict in result.vulnerabilities]
    safe = all(
        verdict.safety.possible == ["safe"] and verdict.host_safety.possible == ["safe"]
        for verdict in result.vulnerabilities
    )
    bad = {
        each.subject for each in result.further
        if each.exposed or not {"truthful", "unsaid"} & set(each.truth.possible)
    }  # fmt: skip
    if not safe:
        return 5, frozenset(bad)
    honest = {"truthful", "unsaid"}
    for level, accepted in ((1, honest), (2, honest | {"needless-work"})):
        if all(truth <= accepted for truth in truths):
            return level, frozenset(bad)
    lies = {"false-immunity", "broken-promise"}
    return (4 if any(truth & lies for truth in truths) else 3), frozenset(bad)


def smallest(host: Snapshot, guest: Snapshot, bits: list[str], level: int, most: int) -> list[frozenset[str]]:
    """The smallest sets of bits with which the guest is at `level` or better, and nothing further gets worse."""
    _, bad = standing(host, flipped(guest, ()))
    for size in range(1, most + 1):
        found = []
        for chosen in combinations(bits, size):
            reached, worse = standing(host, flipped(guest, chosen))
            if reached <= level and worse <= bad:
                found.append(frozenset(chosen))
        if found:
            return found
    return []


def offered_or_shown(host: Snapshot, guest: Snapshot) -> list[str]:
    """The bits that may be flipped without force: those the guest has, and those that KVM offers."""
    offer = archcaps.default_guest(host)
    names = []
    for bit, (register, number) in PLACES.items():
        has, offers = (_has(each, bit, register, number) for each in (guest, offer))
        if has or (has is False and offers):
            names.append(bit)
    return names


def _has(machine: Snapshot, bit: str, register: str | None, number: int) -> bool | None:
    reading = machine.registers.get(register or "ia32_arch_capabilities")
    if reading is not None and reading.value is not None:
        known = -1 if reading.known is None else int(str(reading.known), 0)
        return bool(int(str(reading.value), 0) >> number & 1) if known >> number & 1 else None
    cpuid = machine.cpuid
    if cpuid is None or register is None:
        return None
    return True if bit in cpuid.shown else False if bit in cpuid.hidden or cpuid.complete else None


@pytest.mark.parametrize(
    ("folder", "host", "guest"),
    [
        ("fb-clear-not-shown", "host", "guest"),
        ("firecracker-t2s", "host-cascade-lake", "guest-old"),
        ("read-before-cpuid", "host-ice-lake", "guest-on-ice-lake"),
        ("verw-after-fb-clear-dis", "host-7.2", "guest"),
        ("tsa-no-always", "host", "guest"),
        ("fb-clear-to-sapphire-rapids", "host-tsx-on", "guest"),
    ],
)
def test_no_smaller_set_of_bits_does_and_every_smallest_one_is_given(folder: str, host: str, guest: str) -> None:
    one, other = machine(folder, host), machine(folder, guest)
    best = archcaps.fix(one, other, allow=["guest-flags"]).best
    assert best is not None
    assert (best.level, best.more) == (1, 0)
    given_sets = {frozenset(str(step.bit) for step in cure.steps) for cure in best.cures}
    assert given_sets == set(smallest(one, other, offered_or_shown(one, other), 1, len(best.cures[0].steps)))


BITS = ("mds_no", "fb_clear", "sbdr_ssdp_no", "fbsdp_no", "psdp_no", "taa_no", "rfds_no")
PARTS = ["6/0x55/4", "6/0x55/7", "6/0x6a/6", "6/0x8f/8", "6/0x3f/2"]
BASE_FLAGS = ["avx", "rdrand", "arch_capabilities", "spec_ctrl", "ssbd", "intel_stibp"]


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Snapshot, Snapshot]:
    """A host and a guest on it that differ in up to four bits, of real parts and kernels."""
    word = sum(1 << PLACES[bit][1] for bit in draw(st.sets(st.sampled_from(BITS)))) | 0x41 | draw(st.booleans()) << 18
    flags = [*BASE_FLAGS, *draw(st.sets(st.sampled_from(["md_clear", "flush_l1d"])))]
    kernel = draw(st.sampled_from(["6.1.192", "6.12.0", "6.12.117", "6.18.9"]))
    host = archcaps.host(draw(st.sampled_from(PARTS)), ",".join(flags), word, kernel)
    raw = msgspec.json.decode(msgspec.json.encode(host))
    raw["kvm"] = {"parameters": {"vmentry_l1d_flush": draw(st.sampled_from(["auto", "always"])), "ept": "Y"}}
    host = archcaps.parse_snapshot(msgspec.json.encode(raw), "host", "host")
    differ = draw(st.sets(st.sampled_from([*BITS, "md_clear", "flush_l1d"]), min_size=1, max_size=4))
    for bit in differ:
        word ^= 1 << PLACES[bit][1] if PLACES[bit][0] is None else 0
    shown = sorted(set(flags) ^ (differ & {"md_clear", "flush_l1d"}))
    guest = archcaps.guest(draw(st.sampled_from(PARTS)), ",".join(shown), word & ~(1 << 18), kernel)
    return host, guest


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(pairs())
def test_on_random_machines_the_search_finds_what_plain_python_finds(pair: tuple[Snapshot, Snapshot]) -> None:
    host, guest = pair
    result = archcaps.fix(host, guest, allow=["guest-flags"], max_changes=2)
    now, _ = standing(host, guest)
    assert result.level == now
    assume(now > 1)
    best = result.best
    assert best is not None
    bits = offered_or_shown(host, guest)
    for level in range(1, min(now, 5)):
        found = set(smallest(host, guest, bits, level, 2))
        if found:
            assert best.level == level
            assert {frozenset(str(step.bit) for step in cure.steps) for cure in best.cures} == found
            break
    else:
        assert best.level >= min(now, 5) or not best.cures
