"""QEMU's tables against what others recorded of the programs: other runs, decoded by other means."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from archcaps.guest_cpu.qemu.models import definition, setting
from archcaps.tables import qemu as tables
from archcaps.tables.bits import BITS, REGISTERS

DATA = Path(__file__).parents[1] / "guest_cpu" / "data"


def rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("release", ["7.2", "11.1"])
def test_models_and_their_bits(release: str) -> None:
    """Identity, MSR 0x10a and the CPUID bits of mitigations, of every model, version and alias."""
    where = setting(release, "none", "")
    found = rows(f"qemu_{release}_cpu_models.csv")
    assert len(found) == {"7.2": 130, "11.1": 187}[release]
    names = list(found[0])[list(found[0]).index("md-clear") :]
    names = [name for name in names if tables.properties()[name].kind == "feature" if name in tables.properties()]
    assert {"md-clear", "verw-clear", "tsa-sq-no", "rtm"} <= set(names)
    for row in found:
        model = definition(row["name"], where, "")
        assert [str(each) for each in (model.family, model.model, model.stepping)] == [
            row["family"], row["model"], row["stepping"],
        ]  # fmt: skip
        assert model.vendor == row["vendor"], row["name"]
        word = sum(
            bit.mask for bit in BITS.values()
            if bit.register == "ia32_arch_capabilities" and bit.names.get("qemu") in model.features
        )  # fmt: skip
        assert word == int(row["arch_capabilities_hex"], 16), row["name"]
        for name in names:
            if row[name]:
                assert (name in model.features) is (row[name] == "1"), (row["name"], name)


def test_names_stand_for_the_bits_that_the_programs_have_them_for() -> None:
    """Decoded from the binaries' own tables of names: word, bit, name, in both releases."""
    by_name = {(bit.names["qemu"], bit.register): bit.bit for bit in BITS.values() if "qemu" in bit.names}
    compared = 0
    for row in rows("qemu_feature_bits.csv"):
        numbers = tables.parse_release(row["qemu"])
        assert numbers is not None
        assert tables.properties()[row["property"]].span.has(numbers), row
        kind, _, rest = row["where"].partition(" ")
        for (name, register), bit in by_name.items():
            word = REGISTERS[register]
            place = f"{word.address:#x}" if kind == "msr" else f"{word.address:X}.{word.subleaf} {word.output}"
            if name == row["property"] and word.kind == kind and place.lower() == rest.lower():
                assert bit == int(row["bit"]), row
                compared += 1
    assert compared > 120


def test_what_a_version_changes() -> None:
    for row in rows("qemu_version_deltas.csv"):
        where = setting(row["qemu"], "none", "")
        old, new = (definition(f"{row['model']}-v{row[key]}", where, "") for key in ("from", "to"))
        for word in row["changed_properties(excl vmx-*)"].split():
            name, _, change = word.partition(":")
            if tables.properties()[name].kind == "feature":
                on = change.endswith("->True")
                assert (name in old.features, name in new.features) == (not on, on), (row, name)


def test_what_machine_types_change() -> None:
    """Properties of models on machine types, against the newest pc type."""
    compared = 0
    for row in rows("qemu_machine_type_diffs.csv"):
        name, value = row["property"], row["value_on_machine"]
        if tables.properties().get(name) is None or row["model"] in ("max", "host"):
            continue
        model = definition(row["model"], setting(row["qemu"], row["machine"], ""), "")
        if name in ("family", "model", "stepping"):
            assert str(getattr(model, name)) == value, row
        elif tables.properties()[name].kind == "feature":
            assert (name in model.features) is (value == "True"), row
        else:
            continue
        compared += 1
    assert compared > 150


def test_a_release_between_two_that_were_recorded() -> None:
    """What both have alike holds in between; what only the later has is unknown; what is dated is known."""
    known = tables.properties()
    assert known["mds-no"].span.has((8, 0)) is True
    assert known["fb-clear"].span.has((8, 0)) is False  # 8.1 brought it
    assert known["fb-clear"].span.has((8, 1)) is True
    assert known["flush-l1d"].span.has((8, 0)) is None
    assert known["its-no"].span.has((7, 0)) is False
    assert definition("Icelake-Server-v4", setting("8.0", "pc", ""), "").model == 106
    newer = definition("Icelake-Server-v4", setting("13.0.1", "pc", ""), "")
    assert newer == definition("Icelake-Server-v4", setting("11.1", "pc", ""), "")
    assert any("13.0.1 is newer" in text for text in setting("13.0.1", "pc", "").assumptions)


def test_plain_names() -> None:
    """Version 1 on pc types, the newest of the release on microvm."""
    for release, newest in (("7.2", 6), ("10.2", 7), ("11.1", 9)):
        for machine, version in (("pc", 1), ("q35", 1), ("pc-q35-6.2", 1), ("microvm", newest)):
            assert definition("Icelake-Server", setting(release, machine, ""), "").name == f"Icelake-Server-v{version}"
    assert definition("Haswell-noTSX", setting("11.1", "microvm", ""), "").name == "Haswell-v2"


@pytest.mark.parametrize(
    ("rule", "release", "expected"),
    [
        ("fb_clear_if_immune", (10, 1, 1), False),
        ("fb_clear_if_immune", (10, 1, 2), True),
        ("fb_clear_if_immune", (10, 2), True),
        ("fb_clear_if_immune", (10, 0, 0), False),
        ("fb_clear_if_immune", (10, 0, 12), None),
        ("fb_clear_if_immune", (10, 0, 13), True),
        ("arch_capabilities_as_host_cpuid", (10, 0, 2), False),
        ("arch_capabilities_as_host_cpuid", (10, 0, 3), True),
        ("arch_capabilities_as_host_cpuid", (10, 0, 8), None),
        ("arch_capabilities_as_host_cpuid", (10, 0, 13), False),
        ("arch_capabilities_as_host_cpuid", (10, 1, 0), True),
        ("arch_capabilities_as_host_cpuid", (10, 1, 1), False),
        ("arch_capabilities_not_for_amd", (10, 1, 0), False),
        ("arch_capabilities_not_for_amd", (10, 1, 1), True),
        ("arch_capabilities_not_for_amd", (11, 1), True),
        ("erms_and_fsrm_of_host", (8, 1), None),
    ],
)
def test_rules_by_release(rule: str, release: tuple[int, ...], expected: bool | None) -> None:
    assert tables.holds(rule, release) is expected
