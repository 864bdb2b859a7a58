"""explain: everything can be explained, and what it says is what the sources say."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import get_args

import pytest

from archcaps.errors import InputError
from archcaps.machine.branch_options import BRANCH_BEHAVIOURS
from archcaps.machine.forced_flags import WAYS
from archcaps.machine.snapshot import Provenance
from archcaps.questions.check import SPEAK_OF
from archcaps.questions.explain import explain, names
from archcaps.questions.explain_rules import LOOKUPS, arguments_of, rules
from archcaps.questions.explain_texts import states_of, texts_of
from archcaps.rules.linux_mitigations import TEXTS
from archcaps.rules.verdict import Claim, Responsible, Safety, Truth, claim_of
from archcaps.tables.bits import BITS, REGISTERS
from archcaps.tables.kernels import BEHAVIOURS, Release
from archcaps.tables.names import FURTHER, VULNERABILITIES
from archcaps.tables.words import WORD_KINDS, phrases, words
from tests.questions.explaining import one, result, table_of

ROOT = Path(__file__).parents[2]
ATTEMPTED = "Vulnerable: Clear CPU buffers attempted, no microcode"


# --- what the sources say --------------------------------------------------------------------------------------------


def test_noverw_is_the_kernel_s_condition() -> None:
    """Linux arch/x86/kvm/vmx/vmx.c vmx_update_fb_clear_dis: FB_CLEAR, or all five NO bits."""
    table = table_of("noverw")
    bits = ("fb_clear", "mds_no", "taa_no", "psdp_no", "fbsdp_no", "sbdr_ssdp_no")
    for values in product((True, False), repeat=6):
        true = [bit for bit, value in zip(bits, values, strict=True) if value]
        assert result(table, *true) is (values[0] or all(values[1:]))


@pytest.mark.parametrize(
    ("rule", "shown", "overwrites"),
    [
        ("verw_overwrites_mds_buffers", (), False),
        ("verw_overwrites_mds_buffers", ("md_clear",), True),
        ("verw_overwrites_mds_buffers", ("md_clear", "mds_no"), False),
        ("verw_overwrites_taa_buffers", ("md_clear", "mds_no"), False),
        ("verw_overwrites_taa_buffers", ("md_clear", "mds_no", "tsx_ctrl"), True),
        ("verw_overwrites_taa_buffers", ("md_clear", "mds_no", "taa_no", "tsx_ctrl"), False),
        ("verw_overwrites_fill_buffers", (), False),
        ("verw_overwrites_fill_buffers", ("md_clear",), False),
        ("verw_overwrites_fill_buffers", ("md_clear", "flush_l1d"), True),
        ("verw_overwrites_fill_buffers", ("md_clear", "flush_l1d", "mds_no", "taa_no"), False),
        ("verw_overwrites_fill_buffers", ("fb_clear", "mds_no", "taa_no"), True),
        ("verw_works[mmio_stale_data]", ("verw_overwrites_fill_buffers",), True),
        ("verw_works[mmio_stale_data]", ("verw_overwrites_fill_buffers", "vmx_update_fb_clear_dis"), False),
    ],
)
def test_verw_by_intel_s_definitions(rule: str, shown: tuple[str, ...], overwrites: bool) -> None:
    """Intel: MD_CLEAR, TAA, Processor MMIO Stale Data guidance; FB_CLEAR_DIS takes the effect away, not the bit."""
    table = table_of(rule)
    names = [name.rpartition(".")[2] for name in table.inputs]
    assert result(table, *(name for name in shown if name in names)) is overwrites


def test_linux_s_test_for_the_mmio_microcode() -> None:
    """Linux: FB_CLEAR, or MD_CLEAR and FLUSH_L1D and not MDS_NO."""
    table = table_of("mmio_has_microcode")
    bits = ("fb_clear", "md_clear", "flush_l1d", "mds_no")
    for fb_clear, md_clear, flush_l1d, mds_no in product((True, False), repeat=4):
        values = (fb_clear, md_clear, flush_l1d, mds_no)
        true = [bit for bit, value in zip(bits, values, strict=True) if value]
        assert result(table, *true) is (fb_clear or (md_clear and flush_l1d and not mds_no))


@pytest.mark.parametrize(
    ("file", "text", "verw"),
    [
        ("mds", ATTEMPTED, "yes"),
        ("mds", "Mitigation: Clear CPU buffers", "yes"),
        ("mds", "Vulnerable", "no"),
        ("tsx_async_abort", ATTEMPTED, "yes"),
        ("tsx_async_abort", "Mitigation: TSX disabled", "only where another"),
        ("mmio_stale_data", ATTEMPTED, "if the kernel finds MDS"),
        ("mmio_stale_data", "Mitigation: Clear CPU buffers", "if the kernel finds MDS"),
        ("reg_file_data_sampling", "Mitigation: Clear Register File", "yes"),
        ("reg_file_data_sampling", "Vulnerable: No microcode", "only where another"),
        ("tsa", ATTEMPTED, "if HYPERVISOR is shown; else no"),
        ("tsa", "Vulnerable: No microcode", "no"),
        ("tsa", "Mitigation: Clear CPU buffers", "yes"),
        ("tsa", "Mitigation: Clear CPU buffers: VM", "no"),
    ],
)
def test_whether_verw_runs_beside_each_text(file: str, text: str, verw: str) -> None:
    """Linux 6.1.192 to 7.1.5 arch/x86/kernel/cpu/bugs.c: which states select X86_FEATURE_CLEAR_CPU_BUF."""
    line = one(f"{file}: {text}", "text").line
    assert line is not None
    assert [state.file for state in line.files] == [file]
    assert line.files[0].verw.startswith(verw)
    assert "TAA" in line.files[0].verw or file != "mmio_stale_data"


def test_tsa_without_verw_clear_has_two_texts_by_kernel() -> None:
    """The backports to 5.10 to 6.12 attempt it and say so; mainline from 6.16 on does neither."""
    old, new = (one(f"tsa: {text}", "text").line for text in (ATTEMPTED, "Vulnerable: No microcode"))
    assert old is not None and new is not None
    assert set(old.files[0].needs) == {"has_tsa", "tsa_forces_verw_in_vm"}
    assert set(new.files[0].never_with) == {"tsa_forces_verw_in_vm"}
    lines = {item.line: item.readings for item in old.files[0].needs["tsa_forces_verw_in_vm"]}
    assert "yes" in lines["6.12"]
    assert "yes" not in lines["mainline"]
    assert "yes" not in lines["6.18"]


def test_mmio_unknown_is_said_by_kernels_from_6_0_to_6_15_only() -> None:
    line = one("Unknown: No mitigations", "text").line
    assert line is not None
    assert [state.file for state in line.files] == ["mmio_stale_data"]
    readings = {item.line: item.readings for item in line.files[0].needs["has_mmio_unknown"]}
    yes = [Release.parse(text).version for text in re.findall(r"yes (\S+?)(?:;| to|$)", readings["mainline"])]
    assert yes and all(Release.parse("6.0-rc1").version <= version < Release.parse("6.16").version for version in yes)
    assert re.search(r"no 6\.16\S* to 7\.", readings["mainline"])


def test_fb_clear_is_about_verw_and_the_fill_buffers() -> None:
    """Not about what happens on idle or in C6, as some have it."""
    meaning = one("fb_clear", "bit").meaning
    assert "VERW overwrites the fill buffers" in meaning
    assert not re.search(r"\bidle\b|\bC6\b", meaning)


def test_md_clear_is_no_promise_on_parts_with_mds_no() -> None:
    assert "on parts with MDS_NO it says nothing" in one("md_clear", "bit").meaning


# --- everything has an explanation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BITS)
def test_every_bit_by_everybody_s_name(name: str) -> None:
    bit = BITS[name]
    for asked in {name, name.upper(), name.replace("_", "-"), *bit.names.values()}:
        found = {item.name: item for item in explain(asked).explanations if item.kind == "bit"}
        facts = found[name].bit
        assert facts is not None
        assert (facts.bit, int(facts.mask, 16)) == (bit.bit, 1 << bit.bit)
        assert ("UNVERIFIED" in found[name].note) is (bit.status == "unverified")
        assert facts.status == bit.status
        assert bool(facts.pool_meaning) is bool(bit.pool)
        assert found[name].sources == bit.source.split("; ")


def test_a_name_that_two_bits_have_gets_both() -> None:
    assert [item.name for item in explain("SSB_NO").explanations] == ["ssb_no", "amd_ssb_no"]  # Xen's is AMD's


@pytest.mark.parametrize("name", REGISTERS)
def test_every_register(name: str) -> None:
    for asked in (name, REGISTERS[name].title):
        facts = one(asked, "register").register
        assert facts is not None
        assert int(facts.address, 16) == REGISTERS[name].address


def test_an_msr_by_its_address() -> None:
    assert one("0x10a", "register").name == one("MSR 0x10A", "register").name == "ia32_arch_capabilities"


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_every_behaviour_with_its_readers(name: str) -> None:
    facts = one(name, "behaviour").behaviour
    assert facts is not None
    assert facts.kernels
    # these are read by the look-up of options, before the graph
    options = {"tsx_auto_by_default", "pti_option_stays", "gds_force_config", *BRANCH_BEHAVIOURS, *WAYS}
    assert facts.read_by or name in options


@pytest.mark.parametrize("name", LOOKUPS)
def test_every_look_up(name: str) -> None:
    assert any(item.behaviour is not None for item in explain(name).explanations)


def test_every_rule_of_the_sources_is_known_and_has_words() -> None:
    written = set()
    for path in (ROOT / "src/archcaps/rules").glob("*.py"):
        written |= set(re.findall(r"^@rule\(.*?\)\ndef (\w+)", path.read_text(encoding="utf-8"), re.M | re.S))
    assert written == set(rules()) == set(phrases())


@pytest.mark.parametrize("name", list(rules()))
def test_every_rule_with_every_argument(name: str) -> None:
    item = one(name, "rule")
    assert item.meaning
    assert item.sources
    facts = item.rule
    assert facts is not None
    assert facts.arguments == [",".join(texts) for texts in arguments_of(name)]
    assert sorted(argument for formula in facts.formulas for argument in formula.arguments) == sorted(facts.arguments)
    for argument in facts.arguments[:: max(1, len(facts.arguments) // 4)]:
        single = one(f"{name}[{argument}]", "rule").rule
        assert single is not None
        assert len(single.formulas) == 1
        assert all(text for _, text in single.formulas[0].condition.in_words)


def test_a_rule_as_the_reports_call_it() -> None:
    assert one("guest.x86_bug_mds", "rule").name == "x86_bug_mds"
    assert one("kvm.kvm_get_arch_capabilities[mds_no]", "rule").name == "kvm_get_arch_capabilities[mds_no]"


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("truth", list(Truth)),
        ("safety", [*Safety, "undecided"]),
        ("responsible", list(Responsible)),
        ("claim", list(Claim)),
        ("provenance", [*get_args(Provenance), "modelled", "unknown"]),
    ],
)
def test_every_word_of_the_verdict(kind: str, values: list[str]) -> None:
    for value in values:
        item = one(str(value), kind)
        assert item.what_to_do
        if kind in ("truth", "responsible"):
            assert item.verdict
    assert {word.name for word in words() if word.kind == kind} == set(map(str, values))


@pytest.mark.parametrize("name", FURTHER)
def test_what_check_judges_further_is_explained(name: str) -> None:
    item = one(name, "further vulnerability")
    assert item.what_to_do
    assert {word.name for word in words() if word.kind == item.kind} == set(FURTHER)


def test_every_file_of_vulnerabilities_is_explained() -> None:
    for file in TEXTS:
        assert any("vulnerability" in item.kind for item in explain(file).explanations), file
    assert one("vmscape", "predicted vulnerability").what_to_do.endswith('says "Not affected".')
    assert one("SRSO", "predicted vulnerability").name == "spec_rstack_overflow"


@pytest.mark.parametrize(
    ("asked", "name"), [("GDS", "gather_data_sampling"), ("ssb", "spec_store_bypass"), ("Foreshadow", "l1tf")]
)
def test_people_s_names_of_these(asked: str, name: str) -> None:
    assert one(asked, "further vulnerability").name == name


def test_every_word_has_its_parts() -> None:
    for word in words():
        assert word.kind in WORD_KINDS
        assert word.meaning.endswith(".") and word.what_to_do.endswith(".") and word.source
    assert len({(word.kind, word.name) for word in words()}) == len(words())


@pytest.mark.parametrize("file", TEXTS)
def test_every_text_of_every_file(file: str) -> None:
    for text in texts_of(file):
        for asked in (f"{file}: {text}", text, text.lower(), text.replace(":", ";"), f"'{text}'"):
            line = one(asked, "text").line
            assert line is not None
            assert file in [state.file for state in line.files]
            assert line.claim == claim_of(None if text == "no such file" else text).value
            assert one(asked, "text").truth
        assert one(text.partition("; ")[0], "text").line is not None


def test_a_text_with_the_path_that_grep_prints() -> None:
    path = f"/sys/devices/system/cpu/vulnerabilities/mds:{ATTEMPTED}; SMT Host state unknown"
    assert one(path, "text").name == f"mds: {ATTEMPTED}; SMT Host state unknown"


@pytest.mark.parametrize(
    ("asked", "name"),
    [("taa", "tsx_async_abort"), ("MMIO", "mmio_stale_data"), ("rfds", "reg_file_data_sampling"), ("TSA", "tsa")],
)
def test_short_names_of_vulnerabilities(asked: str, name: str) -> None:
    assert one(asked, "vulnerability").name == name


@pytest.mark.parametrize("name", VULNERABILITIES)
def test_every_vulnerability(name: str) -> None:
    facts = one(name, "vulnerability").vulnerability
    assert facts is not None
    assert {mention.name for mention in facts.bits} >= set(SPEAK_OF[name])
    assert facts.texts == texts_of(name)
    assert list(facts.states) == states_of(name)
    assert facts.links and all(link.startswith("https://") for link in facts.links)


def test_the_list_names_what_can_be_explained() -> None:
    found = names().names
    for kind, keys in found.items():
        for key in keys[:: max(1, len(keys) // 8)]:
            asked = key.removesuffix("[...]")
            assert any(kind in (item.kind, "look-up") for item in explain(asked).explanations), key


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ("fb_claer", "nothing is called 'fb_claer' (did you mean fb_clear"),
        ("no such thing at all, really", "nothing is called 'no such thing at all, really'"),
        ("", "nothing is called ''"),
        ("mds: Mitigation: TSX disabled", "the file mds never says 'Mitigation: TSX disabled' (tsx_async_abort can)"),
        ("Not affected; SMT vulnerable", "no file says 'Not affected; SMT vulnerable'"),
        ("in_mask[mds_on]", "rule in_mask has no argument 'mds_on' (did you mean mds_no?)"),
        ("noverw[mds_no]", "rule noverw has no argument 'mds_no'"),
    ],
)
def test_what_nothing_is_called(asked: str, line: str) -> None:
    with pytest.raises(InputError) as error:
        explain(asked)
    assert line in str(error.value)
    assert "\n" not in str(error.value)
