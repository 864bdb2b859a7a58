"""What a property forbids, on a Milan host whose guest's kernel knows TSA."""

from __future__ import annotations

import pytest

from archcaps.rules.properties import VIOLATIONS
from tests.rules.facts import holds

MILAN = (
    "host.vendor_amd", "host.family_0x19", "silicon.tsa_published", "silicon.tsa_microcode", "guest.hypervisor",
    "host_kernel.has_tsa", "guest_kernel.has_tsa", "guest_kernel.reads_tsa_no", "guest_kernel.reads_verw_clear",
)  # fmt: skip
#: 31272abd5974, up to 6.19: KVM offers both bits on every AMD host (docs/scenarios/s11-tsa-no-always.md).
NO_ALWAYS = ("host_kernel.offers_tsa_no", "host_kernel.offers_tsa_no_always")
VERW_CLEAR = ("host_kernel.offers_verw_clear", "host.verw_clear")
#: A kernel whose lists lack family 0x19 takes the CPU for immune, whatever it is shown.
OFFERED_LISTED, TRUE_LISTED = "offered.listed_tsa", "true.listed_tsa"


@pytest.mark.parametrize(
    ("facts", "misled"),
    [
        ((*NO_ALWAYS, OFFERED_LISTED, TRUE_LISTED), True),  # false immunity, by the offer alone
        ((OFFERED_LISTED, TRUE_LISTED), True),  # VERW_CLEAR withheld: a false alarm
        ((*VERW_CLEAR, OFFERED_LISTED, TRUE_LISTED), False),
        ((*NO_ALWAYS, OFFERED_LISTED), False),  # the truth would mislead it too
        ((*VERW_CLEAR, OFFERED_LISTED), False),  # the truth alone would
        (VERW_CLEAR, False),
    ],
)
def test_misled_by_the_offer_is_who_the_truth_would_not_mislead(facts: tuple[str, ...], misled: bool) -> None:
    assert holds(VIOLATIONS["misled-by-offer"]("tsa"), *MILAN, *facts) is misled


def test_what_can_be_forbidden() -> None:
    assert set(VIOLATIONS) == {
        "broken-promise", "false-immunity", "exposed", "lied-to", "misled-by-offer", "host-left-open-by-kvm",
        "exposes-host", "vcpus-differ", "newly-exposed", "newly-exposed-by-host",
    }  # fmt: skip
