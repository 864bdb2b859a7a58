"""The axioms: their logic by hand, and against every real machine that was recorded."""

from __future__ import annotations

from collections import Counter

import pytest

from archcaps.machine.identity import identity_lookups
from archcaps.tables.axioms import Axiom, Literal, axioms
from archcaps.tables.files import read_csv
from archcaps.tables.linux_lists import Part
from tests.tables.real_hosts import real_hosts, values_of

#: Not one machine recorded here shows what these speak of: they rest on their documents. No dump has MSR 0x122, 0x123,
#: 0x48 or 0xbd, and RSBA, FB_CLEAR_CTRL and GDS_CTRL (bits 2, 18, 25) are set in none.
WITHOUT_A_MACHINE = {
    "gds_ctrl_not_no", "rsba_no_ibrs_all",
    "fb_clear_ctrl_has_fb_clear", "rngds_mitg_dis_exists", "fb_clear_dis_exists", "gds_mitg_dis_exists",
    "gds_mitg_locked_exists", "rtm_disable_exists", "tsx_cpuid_clear_hides", "ipred_dis_u_exists",
    "ipred_dis_s_exists", "rrsba_dis_u_exists", "rrsba_dis_s_exists", "ddp_dis_u_exists", "bhi_dis_s_exists",
    "legacy_xapic_disabled_exists",
}  # fmt: skip


def axiom(when: str, then: str) -> Axiom:
    def literals(text: str) -> tuple[Literal, ...]:
        return tuple(Literal(name.removeprefix("~"), not name.startswith("~")) for name in text.split())

    return Axiom("by_hand", literals(when), literals(then), "documented", "none", "by hand")


def of(family: int, model: int) -> dict[str, bool | None]:
    """What a part of Intel is by its signature."""
    return identity_lookups(Part("GenuineIntel", family, model, 0))


@pytest.mark.parametrize(
    ("when", "then", "values", "holds"),
    [
        ("a", "b", {"a": True, "b": True}, True),
        ("a", "b", {"a": True, "b": False}, False),
        ("a", "b", {"a": False, "b": False}, True),  # it does not speak of this host
        ("a", "b", {"a": False}, True),
        ("a", "b", {"b": True}, True),  # whatever a is
        ("a", "b", {"a": True}, None),
        ("a", "b", {"b": False}, None),  # a decides
        ("a", "b", {"a": None, "b": None}, None),
        ("", "~c", {"c": False}, True),  # always
        ("", "~c", {"c": True}, False),
        ("", "~c", {}, None),
        ("a ~d", "b", {"a": True, "d": True, "b": False}, True),
        ("a ~d", "b", {"a": True, "d": False, "b": False}, False),
        ("a ~d", "b", {"d": True}, True),  # one literal of `when` fails: enough
        ("a", "b ~c", {"a": True, "b": True, "c": True}, False),
        ("a", "b ~c", {"a": True, "c": True}, False),  # one literal of `then` fails: enough
        ("a", "b ~c", {"a": True, "b": True}, None),
    ],
)
def test_three_valued(when: str, then: str, values: dict[str, bool | None], holds: bool | None) -> None:
    assert axiom(when, then).holds(values) is holds


def test_literals_are_read_from_the_table() -> None:
    found = {item.name: item for item in axioms()}["zen3_zen4_no_tsa_no"]
    assert found.when == (Literal("vendor_amd", True), Literal("family_0x19", True))
    assert found.then == (Literal("tsa_sq_no", False), Literal("tsa_l1_no", False))
    assert str(found.then[0]) == "~tsa_sq_no"


def test_a_register_that_is_not_announced_has_no_bit_set() -> None:
    found = {item.name: item for item in axioms()}["register_absent"]
    assert len(found.then) == 64  # every bit of MSR 0x10a
    assert found.holds({"arch_capabilities": False, "mds_no": True}) is False


@pytest.mark.parametrize(
    ("values", "broken"),
    [
        ({"vendor_amd": True, "arch_capabilities": True}, "amd_no_register"),
        ({"vendor_amd": True, "md_clear": True}, "amd_no_intel_controls"),
        ({"vendor_intel": True, "tsa_l1_no": True}, "intel_no_amd_controls"),
        ({"mds_no": True, "mds_published": True}, "mds_no_true"),
        ({"mds_no": False, "tsx_ctrl": True}, "tsx_ctrl_has_mds_no"),
        ({"fb_clear": False, "fb_clear_ctrl": True}, "fb_clear_ctrl_has_fb_clear"),
        ({"its_no": True}, "no_its_no"),
        ({"hypervisor": True}, "no_hypervisor"),
        ({**of(5, 0x09), "tsx_ctrl": True, "arch_capabilities": True}, "old_intel_no_controls"),  # Quark
        ({**of(6, 0x0E), "md_clear": True}, "old_intel_no_controls"),  # Yonah never got microcode
        ({**of(6, 0x96), "rtm": True}, "atom_no_tsx"),  # Elkhart Lake
        ({**of(6, 0xB7), "tsx_ctrl": True}, "atom_no_tsx"),  # Raptor Lake
        ({**of(6, 0x8F), "arch_capabilities": False}, "later_intel_immune"),  # Sapphire Rapids, of any stepping
        ({**of(6, 0x96), "mds_no": False}, "later_intel_immune"),
    ],
)
def test_silicon_that_can_not_exist(values: dict[str, bool | None], broken: str) -> None:
    assert broken in {item.name for item in axioms() if item.holds(values) is False}


@pytest.mark.parametrize(
    "values",
    [
        {"vendor_amd": True, "family_0x19": True, "flush_l1d": True},  # Zen 4 has L1D_FLUSH
        {"arch_capabilities": True, "ibrs_all": True, "rdcl_no": False},  # Goldmont Plus: 0x2
        {"rdcl_no": True, "skip_l1dfl_vmentry": False},  # Denverton: 0x1
        {"rdcl_no": True, "meltdown_published": True},  # Cascade Lake: Linux's lists count it as affected
        {"rrsba": True, "ibrs_all": True, "rrsba_ctrl": False},  # Cascade Lake: 0xc0aa0eb
        {"psdp_no": True, "sbdr_ssdp_no": True, "fbsdp_no": False, "mds_no": True},  # Ice Lake: 0xc02a0eb
        {"reserved_31": True},  # Lakefield: 0x8000002b
        # Alder Lake and Raptor Lake without their Atom cores: recorded machines, Xeon E (reg-file-data-sampling.rst)
        {**of(6, 0x97), "hybrid": False, "arch_capabilities": True, "mds_no": True, "rdcl_no": True},
        {**of(6, 0xB7), "hybrid": False, "rfds_no": True, "arch_capabilities": True, "mds_no": True, "rdcl_no": True},
        {**of(5, 0x09), "smep": True},  # Quark has leaf 7
        {**of(6, 0x6A), "arch_capabilities": True, "mds_no": False},  # a sample of Ice Lake, stepping 0
        {**of(6, 0x3C), "rtm": True, "hle": True, "avx2": True, "avx": True},  # Haswell
        # Core 2: nobody published whether it has MDS, and it cannot say so.
        {**of(6, 0x17), "mds_published": False, "mds_listed_immune": False, "mds_no": False},
    ],
)
def test_silicon_that_exists_is_not_forbidden(values: dict[str, bool | None]) -> None:
    assert not [item.name for item in axioms() if item.holds(values) is False]


@pytest.mark.parametrize("item", axioms(), ids=lambda item: item.name)
def test_every_real_machine_satisfies_it(item: Axiom) -> None:
    verdicts = {row["name"] + " " + row["source"]: item.holds(values_of(row)) for row in real_hosts()}
    assert [name for name, verdict in verdicts.items() if verdict is False] == []


def test_real_machines_show_what_the_axioms_speak_of() -> None:
    machines = [values_of(row) for row in real_hosts()]
    shown = {
        item.name
        for item in axioms()
        if any(all(literal.holds(values) for literal in (*item.when, *item.then)) for values in machines)
    }
    assert {item.name for item in axioms()} - shown == WITHOUT_A_MACHINE


def test_models_without_mds_are_what_intel_published_and_machines_say() -> None:
    published: dict[int, set[str]] = {}
    for row in read_csv("silicon/intel_affected.csv"):
        for signature in row["signature"].split():
            eax = int(signature, 16)  # CPUID.1:EAX
            cells = {row["mlpds"], row["msbds"], row["mfbds"]}
            published.setdefault(eax >> 12 & 0xF0 | eax >> 4 & 0xF, set()).update(cells)
    immune = {model for model, cells in published.items() if cells == {"Not Affected"}}
    said = {model for model in range(256) if of(6, model)["family_0x06_mds_fixed"]}
    # Goldmont and Goldmont Plus do not say MDS_NO; an early sample of Ice Lake did not, 0x6c is Ice Lake as well.
    assert immune - said == {0x5C, 0x5F, 0x7A, 0x6A, 0x6C}
    assert said <= immune


def test_the_record_has_machines_of_every_vendor() -> None:
    vendors = Counter(row["vendor"] for row in real_hosts())
    assert vendors["GenuineIntel"] > 100
    assert vendors["AuthenticAMD"] > 100
    assert vendors["HygonGenuine"] > 3
    assert all(row["source"] and row["reading"] in ("raw", "kvm") for row in real_hosts())
