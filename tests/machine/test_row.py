"""A snapshot and its flat row say the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from archcaps.errors import InputError
from archcaps.machine.facts import facts_of
from archcaps.machine.observations import observations_of
from archcaps.machine.read import read_snapshot
from archcaps.machine.row import COLUMNS, row_of, signed, snapshot_of
from archcaps.machine.snapshot import BitReading, Cpuid, Reading, Snapshot

EXAMPLES = Path(__file__).parents[2] / "examples"
PAIRS = sorted(
    (host, guest) for guest in EXAMPLES.glob("*/guest*.toml") for host in guest.parent.glob("host*.toml")
)  # fmt: skip


def guest(**fields: object) -> Snapshot:
    return Snapshot(format_version=1, role="guest", **fields)  # type: ignore[arg-type]  # of several types


@pytest.mark.parametrize(("host", "guest"), PAIRS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_row_gives_the_facts_and_observations_of_its_snapshot(host: Path, guest: Path) -> None:
    snapshots = read_snapshot(host), read_snapshot(guest)
    rows = [row_of(snapshot) for snapshot in snapshots]
    again = snapshot_of(rows[0], "host"), snapshot_of(rows[1], "guest")
    assert facts_of(*again).values == facts_of(*snapshots).values
    seen = {name: datum.value for name, datum in observations_of(*snapshots).items()}
    assert {name: datum.value for name, datum in observations_of(*again).items()} == seen


def test_every_value_of_a_row_has_a_column() -> None:
    for host, _ in PAIRS:
        assert set(row_of(read_snapshot(host))) <= set(COLUMNS["host"])


def test_bit_63_is_the_sign() -> None:
    row = row_of(guest(registers={"ia32_arch_capabilities": Reading(value=0x8000_0000_0000_0001)}))
    assert row["ia32_arch_capabilities"] == -0x7FFF_FFFF_FFFF_FFFF
    assert row["ia32_arch_capabilities_known"] == -1
    assert signed(1 << 62) == 1 << 62


def test_single_bits_and_names_are_bits_of_their_words() -> None:
    row = row_of(
        guest(
            cpuid=Cpuid(shown=["md_clear"], hidden=["rtm"], complete=False),
            registers={"ia32_arch_capabilities": Reading(bits={"mds_no": BitReading(value=True)})},
        )
    )
    # CPUID.7.0: MD_CLEAR is EDX bit 10, RTM is EBX bit 11; MDS_NO is bit 5 of MSR 0x10a (Intel SDM).
    assert (row["cpuid_7_0_edx"], row["cpuid_7_0_edx_known"]) == (1 << 10, 1 << 10)
    assert (row["cpuid_7_0_ebx"], row["cpuid_7_0_ebx_known"]) == (0, 1 << 11)
    assert (row["ia32_arch_capabilities"], row["ia32_arch_capabilities_known"]) == (1 << 5, 1 << 5)


def test_what_is_no_json_object_is_refused_with_its_column() -> None:
    with pytest.raises(InputError, match="host: kvm_parameters"):
        snapshot_of({"kvm_parameters": "vmentry_l1d_flush=never"}, "host")
