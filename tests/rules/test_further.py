"""What whole texts claim of the subjects beside the VERW family, as kernels print them."""

from __future__ import annotations

import pytest

from archcaps.rules.further import claim_of_subject, file_of
from archcaps.rules.notices import promised_msrs

#: 6.12 and 7.1 with semicolons, 5.10 with commas.
NEW = "Mitigation: Enhanced / Automatic IBRS; IBPB: conditional; PBRSB-eIBRS: "
OLD = "Mitigation: Enhanced IBRS, IBPB: conditional, RSB filling, PBRSB-eIBRS: "


@pytest.mark.parametrize(
    ("subject", "text", "claim"),
    [
        ("bhi", f"{NEW}SW sequence; BHI: Vulnerable, KVM: SW loop", "vulnerable"),
        ("bhi", f"{NEW}Vulnerable; BHI: SW loop, KVM: SW loop", "mitigated"),
        ("bhi", f"{NEW}Vulnerable; BHI: Not affected", "not-affected"),
        ("bhi", f"{OLD}SW sequence", "none"),
        ("bhi", "Not affected", "not-affected"),
        ("bhi", "Vulnerable: LFENCE", "none"),
        ("pbrsb", f"{NEW}SW sequence; BHI: Vulnerable", "mitigated"),
        ("pbrsb", f"{NEW}Vulnerable; BHI: Not affected", "vulnerable"),
        ("pbrsb", f"{OLD}Not affected", "not-affected"),
        ("pbrsb", f"{OLD}SW sequence, Vulnerable", "mitigated"),
        ("pbrsb", "Not affected", "not-affected"),
        ("spectre_v2", f"{NEW}Vulnerable; BHI: Vulnerable", "mitigated"),
        ("spectre_v2", "Vulnerable: LFENCE", "vulnerable"),
        ("itlb_multihit", "KVM: Mitigation: Split huge pages", "mitigated"),
        ("itlb_multihit", "KVM: Mitigation: VMX unsupported", "avoided"),
        ("itlb_multihit", "KVM: Mitigation: VMX disabled", "avoided"),
        ("itlb_multihit", "KVM: Vulnerable", "vulnerable"),
        ("indirect_target_selection", "Mitigation: Vulnerable, KVM: Not affected", "vulnerable"),
        ("meltdown", "Mitigation: PTI", "mitigated"),
        ("meltdown", "Not affected", "not-affected"),
    ],
)
def test_what_a_text_claims(subject: str, text: str, claim: str) -> None:
    assert claim_of_subject(subject, text) == claim


def test_the_fields_of_spectre_v2_are_in_its_file() -> None:
    assert [file_of(subject) for subject in ("bhi", "pbrsb", "spectre_v2", "l1tf")] == [*["spectre_v2"] * 3, "l1tf"]


def test_the_bits_that_tell_of_another_msr() -> None:
    """Intel's list of IA32_ARCH_CAPABILITIES: bits that enumerate a control register, and nothing else."""
    assert {"tsx_ctrl", "fb_clear_ctrl", "gds_ctrl"} <= set(promised_msrs())
    assert not {"mds_no", "fb_clear", "rsba", "rfds_clear"} & set(promised_msrs())
