"""The oracle's verdicts beside the VERW family: Meltdown to PBRSB, by docs/architecture/verdict.md.

Written from that page and the vendors', apart from src/archcaps.
"""

from __future__ import annotations

from archcaps.tables.bits import ARCH_CAPABILITIES
from tests.oracle import guest_files
from tests.oracle.guest_worlds import World
from tests.oracle.pair_verdict import Pair, claim_of

__all__ = ["SUBJECTS", "Further"]

#: The list that names the part, the bits that clear it, and the bits that speak of it to a guest.
SUBJECTS = {
    "meltdown": ("meltdown_published", ("rdcl_no",), ("rdcl_no",)),
    "l1tf": ("l1tf_published", ("rdcl_no",), ("rdcl_no", "skip_l1dfl_vmentry")),
    "spec_store_bypass": ("ssb_published", ("ssb_no", "amd_ssb_no"), ("ssb_no", "ssbd")),
    "itlb_multihit": ("itlb_multihit_published", ("pschange_mc_no",), ("pschange_mc_no",)),
    "gather_data_sampling": ("gds_published", ("gds_no",), ("gds_no",)),
    "indirect_target_selection": ("its_published", ("bhi_ctrl",), ("its_no",)),
    "retbleed": ("retbleed_published", ("btc_no",), ("rsba", "ibrs_all")),
    "spectre_v2": ("spectre_v2_published", (), ("ibrs_all", "rrsba", "rsba")),
    "bhi": ("bhi_published", ("bhi_no",), ("bhi_no", "rrsba")),
    "pbrsb": ("pbrsb_published", ("pbrsb_no",), ("pbrsb_no", "ibrs_all")),
}


class Further:
    """One subject of a pair."""

    def __init__(self, pair: Pair, subject: str) -> None:
        self.pair, self.subject = pair, subject
        self.host, self.guest = pair.host, pair.guest
        self._silicon = World(pair.world.silicon, frozenset()).shows
        self._shows = pair.guest.world.shows
        published, clear, self._speaking = SUBJECTS[subject]
        self.affected = pair.silicon.lists(published) and not any(map(self._silicon, clear))
        if subject == "pbrsb":
            self.affected = self.affected and self._shows("ibrs_all")
        self.prevented = {
            "itlb_multihit": self.host.world.has("kvm_splits_huge_pages"),
            "gather_data_sampling": self.host.gds_mitigated(),
        }.get(subject, False)
        self.claim = self._claim()
        self.works = self._works()

    def _text(self) -> str | None:
        branches, smt = self.guest.branches, self.guest.buffers.smt_active
        match self.subject:
            case "spectre_v2" | "bhi" | "pbrsb":
                return guest_files.spectre_v2(branches, smt_active=smt)
            case "retbleed":
                return guest_files.retbleed(branches, smt_active=smt)
            case "spec_store_bypass":
                return guest_files.spec_store_bypass(branches)
            case "indirect_target_selection":
                return guest_files.indirect_target_selection(branches)
            case _:
                found: str | None = getattr(self.guest.buffers, self.subject)()
                return found

    def _claim(self) -> str:
        text = self._text()
        if text is None or text == "Not affected":
            return claim_of(text)
        if self.subject not in ("bhi", "pbrsb"):
            if text in ("KVM: Mitigation: VMX unsupported", "KVM: Mitigation: VMX disabled"):
                return "avoided"
            if text == "KVM: Mitigation: Split huge pages":
                return "mitigated"
            if text == "Mitigation: Vulnerable, KVM: Not affected":
                return "vulnerable"
            return claim_of(text)
        start = {"bhi": "BHI: ", "pbrsb": "PBRSB-eIBRS: "}[self.subject]
        if start not in text:
            return "none"
        said = text.split(start)[1] if self.subject == "bhi" else text.split(start)[1].split(";")[0].split(",")[0]
        if said == "Not affected":
            return "not-affected"
        return "vulnerable" if said.startswith("Vulnerable") else "mitigated"

    def _retpolines_work(self) -> bool:
        hidden = [name for name in ("rrsba", "rsba") if self._silicon(name) and not self._shows(name)]
        return not hidden

    def _works(self) -> bool:  # noqa: PLR0911  # a return a subject
        chosen = self.guest.branches
        enhanced = self._silicon("ibrs_all") or self._silicon("auto_ibrs")
        ibrs = "IBRS" in self.host.features
        match self.subject:
            case "l1tf":
                told_not_to = self._shows("vmx") and self._shows("skip_l1dfl_vmentry")
                return self.host.flushes or not told_not_to
            case "spec_store_bypass":
                return "SSBD" in self.host.features
            case "retbleed":
                return {"Mitigation: Enhanced IBRS": enhanced, "Mitigation: IBRS": ibrs}.get(self._text() or "", True)
            case "spectre_v2":
                if chosen.mode == "retpoline":
                    return self._retpolines_work()
                if chosen.mode == "IBRS":
                    return ibrs
                return enhanced if chosen.mode.startswith("eIBRS") else True
            case "bhi":
                field = guest_files.bhi_field(chosen)
                if field.endswith("BHI_DIS_S"):
                    return self._silicon("bhi_ctrl")
                if field.startswith("; BHI: SW loop"):  # five times five is too few from Alder Lake on
                    return not self._silicon("bhi_ctrl")
                return self._retpolines_work() if field.endswith("Retpoline") else True
            case _:
                return True

    @property
    def truth(self) -> str:
        claim, affected = self.claim, self.affected
        if claim == "not-affected":
            return "false-immunity" if affected and not self.prevented else "truthful"
        if claim == "mitigated":
            if not affected:
                return "needless-work"
            return "truthful" if self.works or self.prevented else "broken-promise"
        if claim in ("vulnerable", "no-microcode"):
            return "truthful" if affected else "false-alarm"
        return "truthful" if claim == "avoided" else "unsaid"

    @property
    def exposed(self) -> bool:
        if not self.affected or self.prevented or self.claim == "avoided":
            return False
        return not (self.claim == "mitigated" and self.works)

    @property
    def responsible(self) -> str:
        if self.truth in ("truthful", "unsaid") and not self.exposed:
            return "nobody"
        by_host = self.subject in ("itlb_multihit", "gather_data_sampling")
        if by_host and self.exposed and self.claim != "not-affected":
            return "host kernel"
        offered = {name: self._offers(name) for name in self._speaking}
        if not self._shows("host_identity") or any(self._shows(name) is not bit for name, bit in offered.items()):
            return "userspace"
        for name, bit in offered.items():
            if bit is not (not self.affected if name.endswith("_no") else self._silicon(name)):
                return "KVM"
        return "guest kernel"

    def _offers(self, name: str) -> bool:
        return self.host.offers(name) if name in ARCH_CAPABILITIES else self.host.offers_cpuid(name)
