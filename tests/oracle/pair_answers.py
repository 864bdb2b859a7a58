"""What the oracle says of every pair: one flat table of questions and answers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from archcaps.tables.bits import ARCH_CAPABILITIES
from archcaps.tables.names import VULNERABILITIES
from tests.oracle.pair_further import SUBJECTS, Further
from tests.oracle.pair_kvm import Host
from tests.oracle.pair_msrs import answers_of
from tests.oracle.pair_verdict import Pair
from tests.oracle.pair_worlds import pairs

__all__ = ["CONTROLS", "CPUID", "Answers", "planes"]

Answers = dict[str, bool | str]
#: The CPUID bits whose offer is asked.
CPUID = (
    "md_clear", "flush_l1d", "rtm", "arch_capabilities", "verw_clear", "tsa_sq_no", "tsa_l1_no", "tsa_fill_no",
    "spec_ctrl", "intel_stibp", "ssbd", "srbds_ctrl", "rtm_always_abort", "tsx_force_abort", "hybrid",
    "core_capabilities",
)  # fmt: skip
#: Bits of MSR 0x10a that tell of another MSR.
CONTROLS = ("tsx_ctrl", "fb_clear_ctrl", "gds_ctrl")


def _answers() -> Iterator[Answers]:
    """Yield the answers for each pair of worlds."""
    return (_of_kvm(pair) | _of_verdicts(pair) for pair in map(Pair, pairs()))


def _of_kvm(pair: Pair) -> Answers:
    host, guest, world = pair.host, pair.guest, pair.world
    found: Answers = {f"offers {bit}": host.offers(bit) for bit in ARCH_CAPABILITIES}
    found |= {f"holds {bit}": host.holds(guest.world, bit) for bit in ARCH_CAPABILITIES}
    found |= {f"offers CPUID {bit}": host.offers_cpuid(bit) for bit in CPUID}
    found |= answers_of(host, world.access)
    found |= _entry(host, pair)
    shows = guest.world.shows
    found["rtm_executes"] = host.rtm_executes(guest.world, guest.buffers)
    found["contradicts_tsa"] = shows("verw_clear") and (shows("tsa_sq_no") or shows("tsa_l1_no"))
    found["contradicts_rfds"] = shows("rfds_no") and shows("rfds_clear")
    for bit in CONTROLS:
        found[f"unreachable {bit}"] = shows(bit) and not (bit == "tsx_ctrl" and host.world.shows("tsx_ctrl"))
    return found


def _entry(host: Host, pair: Pair) -> Answers:
    nests = pair.guest.world.shows("vmx")
    places = host.verw_on_entry(pair.world.vm, nests).split()

    vmrun = host.world.has("svm_verw_before_vmrun") and host.buffers.tsa_vm
    return {
        "vmx_l1d_should_flush": host.flushes,
        "vmx_l1d_flush_cond": host.flushes and not host.world.has("l1d_flush_always"),
        "mmio_verw_for_vms": host.mmio_for_vms(),
        "can_reach_mmio": host.reached(pair.world.vm, nests),
        "verw_in_c": "C" in places,
        "verw_in_entry_asm": "asm" in places,
        "verw_with_fb_clear_dis": "asm" in places and pair.guest.disabled,
        "verw_before_any_guest": vmrun if host.svm else host.clears,
        "verw_before_vmrun": host.verw_before_vmrun(),
        "host_mitigates": host.means_to_clear(),
    }


def _safety(exposed: bool) -> str:
    return "exposed" if exposed else "safe"


def _of_verdicts(pair: Pair) -> Answers:
    found: Answers = {}
    for name, guest in (("guest", pair.guest), ("offered", pair.offered), ("true", pair.true)):
        found[f"{name} FB_CLEAR_DIS"] = guest.disabled
        for vulnerability in VULNERABILITIES:
            found[f"{name} claim {vulnerability}"] = guest.claim(vulnerability)
            found[f"{name} truth {vulnerability}"] = guest.truth(vulnerability)
            found[f"{name} exposed {vulnerability}"] = guest.exposed(vulnerability)
            found[f"{name} safety {vulnerability}"] = _safety(guest.exposed(vulnerability))
            found[f"{name} affected {vulnerability}"] = guest.affected[vulnerability]
            found[f"{name} works {vulnerability}"] = guest.works[vulnerability]
    for vulnerability in VULNERABILITIES:
        found[f"responsible {vulnerability}"] = pair.responsible(vulnerability)
        found[f"cleared {vulnerability}"] = pair.cleared_before_entry(vulnerability)
        found[f"exposes host {vulnerability}"] = pair.exposes_host(vulnerability)
        found[f"host safety {vulnerability}"] = _safety(pair.exposes_host(vulnerability))
        found[f"host responsible {vulnerability}"] = pair.host_responsible(vulnerability)
    for subject in SUBJECTS:
        further = Further(pair, subject)
        found[f"affected {subject}"] = further.affected
        found[f"prevented {subject}"] = further.prevented
        found[f"works {subject}"] = further.works
        found[f"claim {subject}"] = further.claim
        found[f"truth {subject}"] = further.truth
        found[f"exposed {subject}"] = further.exposed
        found[f"safety {subject}"] = _safety(further.exposed)
        found[f"further responsible {subject}"] = further.responsible
    return found


@cache
def planes() -> dict[str, dict[bool | str, int]]:
    """Return for each question and each of its answers the plane of the pairs that are answered so."""
    found: dict[str, dict[bool | str, int]] = {}
    for row, answer in enumerate(_answers()):
        for name, value in answer.items():
            of_name = found.setdefault(name, {})
            of_name[value] = of_name.get(value, 0) | 1 << row
    return found
