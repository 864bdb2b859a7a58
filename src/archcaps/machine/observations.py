"""From snapshots to observations: what somebody read on a machine in place of what a rule would compute."""

from __future__ import annotations

from collections.abc import Mapping

from archcaps.machine.facts import Datum
from archcaps.machine.snapshot import Reading, Snapshot, number
from archcaps.rules.further import claim_of_subject, file_of
from archcaps.rules.kvm_offer import OFFERED_CPUID
from archcaps.rules.linux_said import said_of
from archcaps.rules.verdict import Claim, claim_of
from archcaps.tables.bits import REGISTERS, bits_of
from archcaps.tables.names import FURTHER, VULNERABILITIES

__all__ = ["guest_observations", "host_observations", "observations_of", "runs_verw", "texts_of"]

#: The bug bit behind each file of a host. Source: Linux arch/x86/kernel/cpu/bugs.c cpu_show_*
_BUGS = {
    "mds": "x86_bug_mds",
    "tsx_async_abort": "x86_bug_taa",
    "reg_file_data_sampling": "x86_bug_rfds",
    "tsa": "x86_bug_tsa",
    "meltdown": "x86_bug_cpu_meltdown",
    "l1tf": "x86_bug_l1tf",
    "spec_store_bypass": "x86_bug_spec_store_bypass",
    "gather_data_sampling": "x86_bug_gds",
    "indirect_target_selection": "x86_bug_its",
}
_ATTEMPTED = "Clear CPU buffers attempted"


def observations_of(host: Snapshot, guest: Snapshot) -> dict[str, Datum]:
    """Return the observed rules by name: what KVM offers, the host's bugs, and what the guest concluded."""
    return host_observations(host) | guest_observations(guest)


def texts_of(snapshot: Snapshot) -> dict[str, str]:
    """Return the texts of a machine's files that a kernel writes; what no kernel writes there tells nothing."""
    said = {file: said_of(file, text) for file, text in snapshot.vulnerabilities.items()}
    return {file: each.text for file, each in said.items() if each is not None}


def host_observations(host: Snapshot) -> dict[str, Datum]:
    """Return what was read on a host: what its KVM offers, its bugs, and whether it runs VERW."""
    found: dict[str, Datum] = {}
    texts = texts_of(host)
    for register, reading in host.kvm.offered.items():
        if register in REGISTERS:
            found |= _offered(register, reading, host)
    for name, bug in _BUGS.items():
        if name in texts:
            found[f"host.{bug}"] = _sysfs(host, name, texts[name] != "Not affected")
    if "mmio_stale_data" in texts:
        claim = claim_of(texts["mmio_stale_data"])
        affected = claim not in (Claim.NOT_AFFECTED, Claim.SAYS_UNKNOWN)
        found["host.x86_bug_mmio_stale_data"] = _sysfs(host, "mmio_stale_data", affected)
    if "gather_data_sampling" in texts:
        text = texts["gather_data_sampling"]
        mitigated = text.startswith("Mitigation: Microcode")
        found["kvm.gds_mitigated"] = _sysfs(host, "gather_data_sampling", mitigated)
    return found | _verw(host, texts)


def guest_observations(guest: Snapshot) -> dict[str, Datum]:
    """Return what was read in a guest: what it concluded, and whether it runs VERW."""
    texts = texts_of(guest)
    found = _verw(guest, texts)
    for name in VULNERABILITIES:
        if name in texts:
            seen = claim_of(texts[name])
            for claim in Claim:
                found[f"guest.concludes[{name},{claim.value}]"] = _sysfs(guest, name, claim is seen)
    if "spectre_v2" in texts:
        found["guest.bhi_is_by_loop"] = _sysfs(guest, "spectre_v2", "BHI: SW loop" in texts["spectre_v2"])
    for subject in FURTHER:
        said = texts.get(file_of(subject))
        if said is not None:
            claim_seen = claim_of_subject(subject, said)
            for claim in Claim:
                name = f"guest.further_concludes[{subject},{claim.value}]"
                found[name] = _sysfs(guest, file_of(subject), claim is claim_seen)
    return found


def _verw(snapshot: Snapshot, texts: Mapping[str, str]) -> dict[str, Datum]:
    runs = runs_verw(texts, guest=snapshot.role == "guest")
    return {} if runs is None else {f"{snapshot.role}.clear_cpu_buf": _sysfs(snapshot, "of the VERW family", runs)}


def runs_verw(texts: Mapping[str, str], *, guest: bool) -> bool | None:
    """Return whether sysfs texts show that VERW runs on exit to user; None where they do not tell.

    MDS and TAA run it in both of their "Clear CPU buffers" states, RFDS and TSA only where mitigated; a guest of the
    stable kernels also where TSA says "attempted". The text of MMIO alone never tells.
    """
    for name in ("mds", "tsx_async_abort"):
        text = texts.get(name, "")
        if text.startswith("Mitigation: Clear CPU buffers") or _ATTEMPTED in text:
            return True
    if texts.get("reg_file_data_sampling") == "Mitigation: Clear Register File":
        return True
    tsa = texts.get("tsa", "")
    if (tsa.startswith("Mitigation: Clear CPU buffers") and not tsa.endswith(": VM")) or (guest and _ATTEMPTED in tsa):
        return True
    return False if all(name in texts for name in VULNERABILITIES) else None


def _sysfs(snapshot: Snapshot, name: str, value: bool) -> Datum:
    return Datum(value, snapshot.provenance, snapshot.source or f"sysfs {name}")


def _offered(register: str, reading: Reading, host: Snapshot) -> dict[str, Datum]:
    """Return what KVM was seen to offer, bit by bit, as far as the offer of the bit is modelled."""
    found: dict[str, Datum] = {}
    width = REGISTERS[register].width
    value = number(reading.value, width, register) if reading.value is not None else 0
    known = (1 << width) - 1 if reading.known is None else number(reading.known, width, register)
    for name, bit in bits_of(register).items():
        if register == "ia32_arch_capabilities":
            rule = f"kvm.kvm_get_arch_capabilities[{name}]"
        elif name in OFFERED_CPUID:
            rule = f"kvm.kvm_get_supported_cpuid[{name}]"
        else:
            continue
        provenance, source = (
            reading.provenance or host.provenance,
            reading.source or host.source or "the host's snapshot",
        )
        if name in reading.bits:
            single = reading.bits[name]
            found[rule] = Datum(single.value, single.provenance or provenance, single.source or source)
        elif reading.value is not None and known & bit.mask:
            found[rule] = Datum(bool(value & bit.mask), provenance, source)
    return found
