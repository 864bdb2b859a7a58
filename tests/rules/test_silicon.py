"""What VERW does: Intel's truth table (MDS, TAA and Processor MMIO Stale Data guidance), a row a test."""

from __future__ import annotations

from itertools import combinations

import pytest

from archcaps.rules import silicon as rules
from archcaps.rules.views import Silicon
from tests.rules.facts import holds

SILICON = Silicon()
H = "silicon.arch_capabilities"
MD_CLEAR, L1D_FLUSH = "silicon.md_clear", "silicon.flush_l1d"
MDS_NO, TAA_NO, TSX_CTRL = "silicon.mds_no", "silicon.taa_no", "silicon.tsx_ctrl"
FB_CLEAR = "silicon.fb_clear"


@pytest.mark.parametrize(
    ("given", "mds_buffers", "taa_buffers", "fill_buffers"),
    [
        # MD_CLEAR=0: no guarantee
        ((H,), False, False, False),
        ((H, MDS_NO), False, False, False),
        # MD_CLEAR=1, MDS_NO=0: overwrites what MDS samples; with L1D_FLUSH that is FB_CLEAR by implication
        ((H, MD_CLEAR), True, True, False),
        ((H, MD_CLEAR, L1D_FLUSH), True, True, True),
        # a part without IA32_ARCH_CAPABILITIES has none of its bits
        ((MD_CLEAR, L1D_FLUSH), True, True, True),
        ((MD_CLEAR, L1D_FLUSH, MDS_NO), True, True, True),
        # MD_CLEAR=1, MDS_NO=1, TAA_NO=0, TSX_CTRL=0: does not overwrite, needs microcode
        ((H, MD_CLEAR, L1D_FLUSH, MDS_NO), False, False, False),
        # MD_CLEAR=1, MDS_NO=1, TAA_NO=0, TSX_CTRL=1: overwrites
        ((H, MD_CLEAR, MDS_NO, TSX_CTRL), False, True, True),
        # MDS_NO=1, TAA_NO=1: not required to overwrite
        ((H, MD_CLEAR, L1D_FLUSH, MDS_NO, TAA_NO, TSX_CTRL), False, False, False),
        # FB_CLEAR=1: overwrites the fill buffers
        ((H, MD_CLEAR, MDS_NO, TAA_NO, FB_CLEAR), False, False, True),
        ((H, FB_CLEAR), False, False, True),
    ],
)
def test_verw_truth_table(given: tuple[str, ...], mds_buffers: bool, taa_buffers: bool, fill_buffers: bool) -> None:
    assert holds(rules.verw_overwrites_fill_buffers(SILICON), *given) is fill_buffers
    used = [name for name in given if name in (H, MD_CLEAR, MDS_NO)]
    assert holds(rules.verw_overwrites_mds_buffers(SILICON), *used) is mds_buffers
    used += [name for name in given if name in (TAA_NO, TSX_CTRL)]
    assert holds(rules.verw_overwrites_taa_buffers(SILICON), *used) is taa_buffers


def test_mmio_takes_all_three_no_bits_to_be_immune() -> None:
    three = ("silicon.sbdr_ssdp_no", "silicon.fbsdp_no", "silicon.psdp_no")
    node = rules.affected_by_mmio(SILICON)
    for count in range(4):
        for bits in combinations(three, count):
            assert holds(node, H, "silicon.mmio_published", *bits) is (count < 3)
    assert not holds(node, H)


def test_rfds_clear_says_affected_and_rfds_no_says_immune() -> None:
    node = rules.affected_by_rfds(SILICON)
    assert holds(node, H, "silicon.rfds_clear")
    assert holds(node, "silicon.rfds_published")
    assert not holds(node, H, "silicon.rfds_clear", "silicon.rfds_published", "silicon.rfds_no")


def test_tsa_takes_every_no_bit_to_be_immune() -> None:
    node = rules.affected_by_tsa(SILICON)
    assert holds(node, "silicon.tsa_published", "silicon.tsa_sq_no", "silicon.tsa_l1_no")
    assert not holds(node, "silicon.tsa_published", "silicon.tsa_sq_no", "silicon.tsa_l1_no", "silicon.tsa_fill_no")


def test_verw_has_nothing_to_do_with_other_vulnerabilities() -> None:
    with pytest.raises(ValueError, match="retbleed"):
        rules.verw_reaches("retbleed", SILICON, SILICON.md_clear, SILICON.md_clear)
