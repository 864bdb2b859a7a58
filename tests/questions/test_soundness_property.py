"""Unknown is a value: what is answered with facts missing stays true when they come, and rests on what is printed."""

from __future__ import annotations

from copy import copy
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from archcaps.machine.facts import Facts
from archcaps.machine.snapshot import Kvm, Snapshot
from archcaps.questions.check import judge
from archcaps.questions.reader import Reader
from archcaps.questions.results import CheckResult, Verdict
from tests.questions.machines import guests, hosts

assumptions = st.sampled_from([frozenset[str](), frozenset({"user-mmio"})])
EXAMPLES = max(settings().max_examples // 8, 10)


def with_only(reader: Reader, names: set[str]) -> CheckResult:
    """Judge with just the named facts; the others are unknown."""
    partial = copy(reader)
    known = {name: datum for name, datum in reader.facts.known.items() if name in names}
    partial.read(Facts(known, dict(reader.facts.unknown)), reader.observed)
    return judge(partial)


def answers(verdict: Verdict) -> dict[str, set[str]]:
    fields = ("concludes", "claim", "truth", "safety", "responsible")
    found = {field: set(getattr(verdict, field).possible) for field in fields}
    for field in ("runs_verw", "verw_works", "affected"):
        value = getattr(verdict, field)
        found[field] = {"True", "False"} if value is None else {str(value)}
    return found


@settings(max_examples=EXAMPLES)
@given(hosts, guests, assumptions, st.integers(min_value=0))
def test_property_a_definite_answer_holds_in_every_completion(
    host: Snapshot, guest: Snapshot, assumed: frozenset[str], seed: int
) -> None:
    reader = Reader(host, guest, assumed)
    whole = judge(reader)
    random = Random(seed)
    share = random.random()
    kept = {name for name in sorted(reader.facts.known) if random.random() < share}
    partial = with_only(reader, kept)
    for less, more in zip(partial.vulnerabilities, whole.vulnerabilities, strict=True):
        for field, possible in answers(more).items():
            assert possible <= answers(less)[field], (less.vulnerability, field)
        if less.safety.value == "safe":
            assert more.safety.value == "safe"


def thinned(snapshot: Snapshot, random: Random) -> Snapshot:
    """Return the snapshot with some of what it says left out."""

    def some(fields: tuple[str, ...]) -> dict[str, None]:
        return {field: None for field in fields if random.random() < 0.3}

    registers = {name: reading for name, reading in snapshot.registers.items() if random.random() < 0.7}
    return replace(
        snapshot,
        cpu=replace(snapshot.cpu, **some(("vendor", "family", "model", "stepping", "core_type", "microcode"))),
        cpuid=snapshot.cpuid if random.random() < 0.7 else None,
        registers=registers,
        kernel=replace(snapshot.kernel, **some(("release", "cmdline", "config"))),
        kvm=snapshot.kvm if random.random() < 0.7 else Kvm(),
    )


@settings(max_examples=EXAMPLES)
@given(hosts, guests, st.integers(min_value=0))
def test_property_what_a_thinner_snapshot_answers_holds_for_the_whole_one(
    host: Snapshot, guest: Snapshot, seed: int
) -> None:
    random = Random(seed)
    whole = judge(Reader(host, guest))
    thin = judge(Reader(thinned(host, random), thinned(guest, random)))
    for less, more in zip(thin.vulnerabilities, whole.vulnerabilities, strict=True):
        for field, possible in answers(more).items():
            assert possible <= answers(less)[field], (less.vulnerability, field)


@settings(max_examples=EXAMPLES)
@given(hosts, guests, assumptions)
def test_property_the_printed_reasons_alone_give_the_same_answer(
    host: Snapshot, guest: Snapshot, assumed: frozenset[str]
) -> None:
    reader = Reader(host, guest, assumed)
    for verdict in judge(reader).vulnerabilities:
        alone = with_only(reader, {item.name for item in verdict.decided_by})
        assert answers(alone[verdict.vulnerability]) == answers(verdict), verdict.vulnerability


@settings(max_examples=EXAMPLES)
@given(hosts, guests)
def test_property_complete_known_machines_have_one_answer_or_say_what_is_missing(
    host: Snapshot, guest: Snapshot
) -> None:
    result = judge(Reader(host, guest))
    for verdict in result.vulnerabilities:
        assert bool(verdict.missing) is verdict.undecided
        assert verdict.truth.possible
        assert verdict.safety.possible


@settings(max_examples=EXAMPLES)
@given(hosts, guests)
def test_property_the_exit_code_is_the_worst_verdict(host: Snapshot, guest: Snapshot) -> None:
    result = judge(Reader(host, guest))
    if any("exposed" in (verdict.safety.value, verdict.host_safety.value) for verdict in result.vulnerabilities):
        assert result.exit_code == 2
    elif any(verdict.undecided for verdict in result.vulnerabilities):
        assert result.exit_code == 3
    else:
        assert (result.exit_code == 0) is (
            not result.notices and all(v.truth.value in ("truthful", "unsaid") for v in result.vulnerabilities)
        )


@settings(max_examples=EXAMPLES)
@given(hosts, guests)
def test_property_userspace_is_responsible_only_where_it_did_not_pass_kvm_s_offer_on(
    host: Snapshot, guest: Snapshot
) -> None:
    """The guest that is shown what KVM offers, with the host's identity, cannot be userspace's doing."""
    reader = Reader(host, guest)
    offered = reader.model.offered
    names = ("md_clear", "flush_l1d", "rtm", "mds_no", "taa_no", "tsx_ctrl", "fb_clear", "rfds_no", "rfds_clear",
             "sbdr_ssdp_no", "fbsdp_no", "psdp_no", "verw_clear", "tsa_sq_no", "tsa_l1_no", "tsa_fill_no")  # fmt: skip
    values = {name: reader.ternary.value(offered.cpu.bit(name)) for name in names}
    if None in values.values():
        return
    facts = Facts(dict(reader.facts.known), dict(reader.facts.unknown))
    for name, datum in list(facts.known.items()):
        scope, _, rest = name.partition(".")
        if scope == "host" and rest.startswith(("vendor_", "family_", "unknown_zen", "rtm_always")):
            facts.known[f"guest.{rest}"] = datum
        if scope == "offered" and rest.startswith("listed_"):
            facts.known[f"guest.{rest}"] = datum
    some = next(iter(facts.known.values()))
    for name, value in {**values, "arch_capabilities": True, "rtm_disable": True}.items():
        facts.known[f"guest.{name}"] = type(some)(bool(value), "assumed", "as offered")
    reader.read(facts, {})
    for verdict in judge(reader).vulnerabilities:
        assert verdict.responsible.value != "userspace", verdict.vulnerability
