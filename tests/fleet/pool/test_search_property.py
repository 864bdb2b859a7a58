"""The search by bit planes is a plain loop over every choice, read one by one with the rules of check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from archcaps.fleet.pool.guest import guest_of
from archcaps.fleet.pool.identities import Identity
from archcaps.fleet.pool.search import FAULTS, Problem, Tried
from archcaps.machine.inline import host as inline_host
from archcaps.machine.row import row_of
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.reader import Reader
from archcaps.rules import host_border, notices
from archcaps.rules import verdict as rules
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS, REGISTERS
from archcaps.tables.names import VULNERABILITIES
from tests.questions import machines

INTEL = ["md_clear", "flush_l1d", "arch_capabilities", "mds_no", "taa_no", "fb_clear", "rfds_no", "rfds_clear", "rtm",
         "tsx_ctrl"]  # fmt: skip
AMD = ["verw_clear", "tsa_sq_no", "tsa_l1_no", "md_clear"]
IDENTITIES = {
    "GenuineIntel": [(6, 0x55, 7), (6, 0x8F, 8), (6, 0xBE, 0), (6, 0x37, 8)],
    "AuthenticAMD": [(0x19, 1, 1), (0x1A, 2, 1)],
}
ALL = {name: False for name, bit in BITS.items()
       if name in ARCH_CAPABILITIES or REGISTERS[bit.register].kind == "cpuid"}  # fmt: skip


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[Snapshot], Problem]:
    vendor = draw(st.sampled_from(sorted(IDENTITIES)))
    of_vendor = machines.hosts.filter(lambda host: host.cpu.vendor == vendor)
    drawn = draw(st.lists(of_vendor, min_size=1, max_size=3))
    hosts = [replace(host, name=f"h{number}") for number, host in enumerate(drawn)]
    bits = draw(st.lists(st.sampled_from(INTEL if vendor == "GenuineIntel" else AMD), unique=True, max_size=4))
    free = [name for name in BITS if name in bits]
    shown = {name: value for name, value in ALL.items() if name not in free} | {"hypervisor": True}
    shown["arch_capabilities"] = vendor == "GenuineIntel"
    if "arch_capabilities" in free:
        del shown["arch_capabilities"]
    of = [Identity(vendor, *numbers, "one", None) for numbers in IDENTITIES[vendor]]
    refused = {name: np.array(draw(st.lists(st.booleans(), min_size=len(hosts), max_size=len(hosts)))) for name in free}
    if draw(st.booleans()):
        refused = {name: np.zeros(len(hosts), dtype=bool) for name in free}
    kernels = draw(st.lists(st.sampled_from(machines.RELEASES), min_size=1, max_size=2, unique=True))
    return hosts, Problem([row_of(host) for host in hosts], kernels, of[:2], shown, free, refused)


def faults(host: Snapshot, guest: Snapshot) -> list[int]:
    """How many faults of each kind check's own reading finds, one guest on one host."""
    reader = Reader(host, guest)
    case, ternary = reader.model.guest, reader.ternary
    found = dict.fromkeys(FAULTS, 0)
    for name in VULNERABILITIES:
        truth = rules.truth(case, name).answer(ternary).possible
        for safety in (rules.safety(case, name), host_border.host_safety(case, name)):
            possible = safety.answer(ternary).possible
            found["undecided"] += len(possible) > 1
            found["exposed"] += list(possible) == ["exposed"]
        if len(truth) > 1:
            found["undecided"] += 1
        elif truth[0] in ("false-immunity", "broken-promise"):
            found["lies"] += 1
        elif truth[0] not in ("truthful", "unsaid"):
            found["untruths"] += 1
    seen = [notices.contradicts_tsa(case.cpu), notices.contradicts_rfds(case.cpu)]
    seen += [notices.unreachable_msr(case.cpu, reader.model.kvm, bit) for bit in notices.promised_msrs()]
    found["contradictions"] = sum(ternary.value(node) is True for node in seen)
    return list(found.values())


def choices(problem: Problem) -> Iterator[tuple[int, int, dict[str, bool]]]:
    """Every identity with every choice, the first bit changing fastest."""
    for identity in range(len(problem.identities)):
        values = product((False, True), repeat=len(problem.free))
        for number, chosen in enumerate(values):
            bits = dict(zip(problem.free, reversed(chosen), strict=True))
            visible = bits.get("arch_capabilities", problem.shown.get("arch_capabilities"))
            if visible or not any(value for name, value in bits.items() if name in ARCH_CAPABILITIES):
                yield identity, number, bits


def brute_force(hosts: Sequence[Snapshot], problem: Problem) -> tuple[tuple[list[int], int, int], int]:
    """The best rank (faults, bits shown, identity), and the fewest hosts to leave out."""
    ranks = []
    sets: list[set[int]] = []
    for identity, _, bits in choices(problem):
        total = [0] * len(FAULTS)
        bad = set()
        for number, host in enumerate(hosts):
            refused = any(bits[name] and problem.refused[name][number] for name in problem.free)
            guests = (
                guest_of(problem.identities[identity], {**problem.shown, **bits}, kernel) for kernel in problem.kernels
            )
            counts = [faults(host, guest) for guest in guests]
            total = [sum(column) for column in zip(total, *counts, strict=True)]
            if refused or any(map(any, counts)):
                bad.add(number)
        sets.append(bad)
        if not any(value and problem.refused[name].any() for name, value in bits.items()):
            ranks.append((total, -sum(bits.values()), identity))
    every = range(len(hosts))
    fewest = next(size for size in range(len(hosts) + 1)
                  if any(bad <= set(out) for out in combinations(every, size) for bad in sets))  # fmt: skip
    return min(ranks), fewest


@settings(max_examples=12)
@given(problems())
def test_the_best_choice_is_that_of_a_plain_loop(case: tuple[list[Snapshot], Problem]) -> None:
    hosts, problem = case
    (total, shown, identity), fewest = brute_force(hosts, problem)
    found = Tried.of(problem, [1] * len(hosts))
    assert list(found.best.faults.values()) == total
    # Bits that no verdict depends on are shown wherever they can be.
    others = {name: not problem.refused[name].any() for name in problem.free if name not in found.bits}
    bits = {**others, **found.best.bits}
    if not bits.get("arch_capabilities", problem.shown.get("arch_capabilities")):
        bits = {name: value and name not in ARCH_CAPABILITIES for name, value in bits.items()}
    assert -sum(bits.values()) == shown
    assert problem.identities.index(found.best.identity) == identity
    assert (len(hosts) if found.leave_out is None else len(found.leave_out)) == fewest


def whole_problem(host: Snapshot, kernels: Sequence[str], identities: Sequence[tuple[int, int, int]]) -> Problem:
    """Every bit that speaks of the VERW family is free, on one host."""
    vendor = str(host.cpu.vendor)
    free = [name for name in BITS if name in (INTEL if vendor == "GenuineIntel" else AMD)]
    shown = {name: value for name, value in ALL.items() if name not in free} | {"hypervisor": True}
    of = [Identity(vendor, *numbers, "one", None) for numbers in identities]
    return Problem([row_of(host)], kernels, of, shown, free, {name: np.zeros(1, dtype=bool) for name in free})


@settings(max_examples=12)
@given(
    machines.hosts.filter(lambda host: host.cpu.vendor in IDENTITIES),
    st.lists(st.sampled_from(machines.RELEASES), min_size=1, max_size=3, unique=True),
    st.data(),
)
def test_no_verdict_hangs_on_a_bit_that_is_left_out(host: Snapshot, kernels: list[str], data: st.DataObject) -> None:
    problem = whole_problem(host, kernels, data.draw(st.permutations(IDENTITIES[str(host.cpu.vendor)])))
    left_out = [name for name in problem.free if name not in Tried.of(problem, [1]).bits]
    identity, kernel = data.draw(st.sampled_from(problem.identities)), data.draw(st.sampled_from(kernels))
    others = {name: data.draw(st.booleans()) for name in problem.free}
    if "arch_capabilities" in others and any(others[name] for name in others if name in ARCH_CAPABILITIES):
        others["arch_capabilities"] = True
    for name in left_out:
        both = [{**problem.shown, **others, name: value} for value in (False, True)]
        without, with_it = (faults(host, guest_of(identity, shown, kernel)) for shown in both)
        assert without == with_it, name


def test_a_host_that_can_not_show_what_is_chosen_is_left_out() -> None:
    cpu = {"cpu": "6/0x55/4", "flags": "md_clear,flush_l1d,arch_capabilities", "kernel": "6.12.117", "cmdline": ""}
    host = inline_host(**cpu, arch_capabilities=0)
    shown = {**ALL, "hypervisor": True, "arch_capabilities": True, "flush_l1d": True}
    del shown["md_clear"]
    one = Identity("GenuineIntel", 6, 0x55, 4, "one", None)
    rows, refused = [row_of(host)] * 3, {"md_clear": np.array([False, True, False])}
    found = Tried.of(Problem(rows, ["6.12.117"], [one], shown, ["md_clear"], refused), [1, 1, 1])
    # Shown, MDS is mitigated and says so; hidden, every guest gets a false alarm.
    assert (found.best.bits, found.leave_out) == ({"md_clear": False}, (1,))
    rather = Tried.of(Problem(rows, ["6.12.117"], [one], shown, ["md_clear"], {"md_clear": np.zeros(3, bool)}), [1] * 3)
    assert (rather.best.bits, rather.leave_out, rather.without_fault) == ({"md_clear": True}, (), 1)
