"""prove: a row names the releases that have its counter-example, and no others; what is saved can be asked about again.

The expected releases of a row are those of which, each asked about alone, the same row comes out.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.running import archcaps

FULL = os.environ.get("ARCHCAPS_FULL") == "1"
KVM = ("6.12.28", "6.18.35", "7.3.4") if FULL else ("6.12.28", "6.18.35")
GUESTS = ("5.4.301", "6.1.192", "7.1.5") if FULL else ("5.4.301", "7.1.5")
ASKED = [("no-false-immunity", "tsa"), ("offered-is-truthful", "tsa"), ("no-broken-promise", "mds")]


def rows(
    name: str, about: str, kvm: tuple[str, ...], guests: tuple[str, ...]
) -> dict[str, tuple[list[str], list[str]]]:
    """Return the rows that prove lists, each with its KVMs and its guests' kernels."""
    pytest.importorskip("oxidd")
    result = archcaps(
        "prove", name, "--about", about, "--kvm", ",".join(kvm), "--guest-kernel", ",".join(guests), "--list", "100",
        "--json",
    )  # fmt: skip
    (outcome,) = json.loads(result.stdout)["outcomes"]
    return {" ".join(row["deviates"]): (row["kvm"], row["guest_kernels"]) for row in outcome["deviations"]}


@pytest.mark.parametrize(("name", "about"), ASKED if FULL else ASKED[:1])
def test_a_row_names_the_releases_that_have_it_alone(name: str, about: str) -> None:
    every = rows(name, about, KVM, GUESTS)
    assert every
    alone = {(kvm, guest): rows(name, about, (kvm,), (guest,)) for kvm in KVM for guest in GUESTS}
    for row, (kvms, guests) in every.items():
        assert kvms == [kvm for kvm in KVM if any(row in alone[kvm, guest] for guest in GUESTS)], row
        assert guests == [guest for guest in GUESTS if any(row in alone[kvm, guest] for kvm in KVM)], row


def test_a_bit_of_the_host_that_a_guest_has_by_default_can_be_given() -> None:
    """A guest's VMX is the host's unless the VMM hides it (KVM's kvm_set_cpu_caps), so it is in the space."""
    pytest.importorskip("oxidd")
    asked = ("prove", "host-entry-protected", "--about", "mmio_stale_data", "--kvm", "6.18.35", "--json")
    every, without = (
        json.loads(archcaps(*asked, *given).stdout)["outcomes"][0]["configurations"]
        for given in ((), ("--given", "host.vmx=0"))
    )
    assert int(without) * 2 == int(every)


def test_a_saved_part_has_microcode_of_its_own(tmp_path: Path) -> None:
    """AMD's revisions name their part (0x0a0011d7: family 0x19, model 1); 0xffffffff is what hides a revision."""
    pytest.importorskip("oxidd")
    archcaps(
        "prove", "offered-is-truthful", "--about", "tsa", "--kvm", "6.1.144", "--guest-kernel", "6.18.9",
        "--host-parts", "amd:0x19/0x1/1", "--save", str(tmp_path),
    )  # fmt: skip
    (host,) = tmp_path.glob("*-host.json")
    revision = int(json.loads(host.read_text())["cpu"]["microcode"], 0)
    assert revision >> 8 == 0x0A0011D7 >> 8
    assert revision >= 0x0A0011D7
