"""Boot options as the kernel reads them (Linux Documentation/admin-guide/kernel-parameters.txt; bugs.c, tsx.c)."""

from __future__ import annotations

import pytest

from archcaps.machine.branch_options import branch_option_values
from archcaps.machine.cmdline import parse
from archcaps.machine.given_options import Options
from archcaps.machine.l1tf import l1d_flush_state, l1tf_choices
from archcaps.machine.options import option_values

CONFIG = {"MITIGATION_MDS": "y", "MITIGATION_TAA": "y", "MITIGATION_MMIO_STALE_DATA": "y", "MITIGATION_RFDS": "y",
          "MITIGATION_TSA": "y", "MITIGATION_GDS": "y", "MITIGATION_SRBDS": "y", "KVM": "m", "KVM_INTEL": "m",
          "MITIGATION_PAGE_TABLE_ISOLATION": "y"}  # fmt: skip
BEHAVIOURS: dict[str, bool | None] = {
    "mitigation_configs": True, "tsx_auto_by_default": False, "gds_force_config": False, "attack_vectors": True,
    "selects_then_applies": True, "pti_option_stays": False,
}  # fmt: skip
#: What holds without any option: all attack vectors are mitigated, KVM is built and splits huge pages.
USUAL = {
    "vector_user_kernel", "vector_user_user", "vector_guest_host", "vector_guest_guest", "vector_cross_thread",
    "kvm_intel_built", "kvm_splits_huge_pages",
}  # fmt: skip
USER = {"vector_user_kernel", "vector_user_user"}
GUEST = {"vector_guest_host", "vector_guest_guest"}
#: What mitigations=off leaves of that.
OFF = {"mitigations_off", "pti_off", "kvm_intel_built"}
NOSMT = {"mitigations_nosmt", "mds_nosmt", "taa_nosmt", "mmio_nosmt", "l1tf_nosmt"}


def old(**behaviours: bool) -> dict[str, bool | None]:
    """A kernel before attack vectors: 6.14, or what `behaviours` say besides."""
    return {**BEHAVIOURS, "attack_vectors": False, "selects_then_applies": False, **behaviours}


def true_ones(cmdline: str, behaviours: dict[str, bool | None] = BEHAVIOURS) -> set[str]:
    """The look-ups that are true; those around branch prediction have a test of their own."""
    others = branch_option_values(cmdline, CONFIG, behaviours)
    values = {name: value for name, value in option_values(cmdline, CONFIG, behaviours).items() if name not in others}
    assert None not in values.values()
    return {name for name, value in values.items() if value}


@pytest.mark.parametrize(
    ("cmdline", "expected"),
    [
        ("", set[str]()),
        ("quiet root=/dev/vda1", set[str]()),
        ("mds=off", {"mds_off"}),
        ("mds=full", {"mds_on"}),
        ("mds=full,nosmt", {"mds_on", "mds_nosmt"}),
        ("mds=off mds=full", {"mds_on"}),  # the last one wins
        ("mds=full,nosmt mds=off", {"mds_off", "mds_nosmt"}),  # the nosmt mark stays
        ("mds=sometimes", set[str]()),  # unknown values are ignored
        ("mds=off mds=sometimes", {"mds_off"}),  # and leave what was there
        ("mds=on", set[str]()),  # not a value of mds=
        ("mmio-stale-data=off", {"mmio_off"}),  # - and _ are alike
        ("systemd.unit=a--b mds=off", {"mds_off"}),  # only a lone -- ends the kernel's part
        ('foo="a mds=off b" tsa=vm', {"tsa_vm"}),  # a quoted value is one word
        ('mds="off"', {"mds_off"}),
        ("tsx=on tsx=off", set[str]()),
        ("-- tsx=on mds=off", {"tsx_on"}),  # tsx= alone is searched for everywhere
        ("mitigations=none", set[str]()),
        ("reg_file_data_sampling=off", {"rfds_off"}),
        ("reg_file_data_sampling=on", {"rfds_on"}),
        ("tsx=on", {"tsx_on"}),
        ("tsx=auto", {"tsx_auto"}),
        ("tsx=sideways", set[str]()),  # anything else is off
        ("tsa=user", {"tsa_user"}),
        ("tsa=off", {"tsa_off"}),
        ("gather_data_sampling=off", {"gds_off"}),
        ("gather_data_sampling=off gather_data_sampling=force", {"gds_force"}),
        ("srbds=off", {"srbds_off"}),
        ("srbds=off srbds=on", set[str]()),  # any other value takes it back
        ("nosmt", {"nosmt"}),
        ("nosmt=force", {"nosmt"}),
        ("l1tf=full", {"l1tf_nosmt"}),
        ("l1tf=flush", set[str]()),
        ("nopti", {"pti_off"}),
        ("nopti pti=auto", set[str]()),  # the last of them decides
        ("pti=on nopti", {"pti_off"}),
        ("init=/sbin/init -- mds=off", set[str]()),  # what follows is init's
    ],
)
def test_options(cmdline: str, expected: set[str]) -> None:
    assert true_ones(cmdline) == expected | USUAL


@pytest.mark.parametrize(
    ("cmdline", "expected"),
    [
        ("mitigations=off", OFF),
        ("mitigations=off,whatever", OFF),  # the word is looked for at the start alone
        ("mitigations=off mitigations=auto", OFF - {"mitigations_off"} | {"kvm_splits_huge_pages"}),  # vectors stay out
        ("mitigations=off pti=on", OFF - {"pti_off"}),  # a single option stays
        ("mitigations=,no_user_kernel,no_user_user", USUAL - USER | {"pti_off"}),
        ("mitigations=auto,no_user_kernel,bogus,no_user_user", USUAL - {"vector_user_kernel"} | {"pti_off"}),
        ("mitigations=auto;no_user_kernel", USUAL),
        ("mitigations=auto,no_guest_host,no_guest_guest", USUAL - GUEST),
        ("mitigations=auto,no_cross_thread", USUAL - {"vector_cross_thread"}),
        ("mitigations=auto,nosmt", USUAL | NOSMT),
        ("mitigations=auto,nosmt,no_user_user", USUAL - {"vector_user_user"} | NOSMT),
        ("mitigations=auto,nosmt l1tf=flush", USUAL | NOSMT - {"l1tf_nosmt"}),
    ],
)
def test_mitigations_from_6_17_on(cmdline: str, expected: set[str]) -> None:
    """Linux 6.17.0, 7.1.5 kernel/cpu.c mitigations_parse_cmdline, read by hand."""
    assert true_ones(cmdline) == expected


@pytest.mark.parametrize(
    ("cmdline", "true", "false"),
    [
        ("mitigations=off", {"mitigations_off", "pti_off"}, {"kvm_splits_huge_pages"}),
        ("mitigations=off,no_user_user", set[str](), {"mitigations_off", "pti_off"}),  # no value of it
        ("mitigations=off mitigations=auto", set[str](), {"mitigations_off"}),  # the last one decides
        ("mitigations=off pti=on", {"pti_off"}, set[str]()),  # 6.12: it beats pti=on
        ("mitigations=auto,nosmt", NOSMT, set[str]()),
        ("mitigations=auto,nosmt l1tf=flush", NOSMT, set[str]()),  # until 6.14 it beats l1tf= too
    ],
)
def test_mitigations_before_6_17(cmdline: str, true: set[str], false: set[str]) -> None:
    """Linux 6.12.33 kernel/cpu.c, arch/x86/mm/pti.c, arch/x86/kernel/cpu/bugs.c, read by hand."""
    found = true_ones(cmdline, old())
    assert true <= found
    assert not false & found


def test_in_6_16_l1tf_beats_nosmt_and_not_off() -> None:
    """Linux 6.16.1 arch/x86/kernel/cpu/bugs.c l1tf_select_mitigation."""
    assert "l1tf_nosmt" not in true_ones("mitigations=auto,nosmt l1tf=flush", old(selects_then_applies=True))
    assert "l1tf_nosmt" not in true_ones("mitigations=off l1tf=full", old(selects_then_applies=True))


@pytest.mark.parametrize(
    ("cmdline", "off"),
    [
        ("mitigations=off pti=on", False),  # pti=on beats mitigations=off
        ("pti=on nopti", False),  # and nopti, wherever it stands
        ("mitigations=off pti=auto", False),
        ("mitigations=off pti=maybe", True),  # no value of it: as if not given
        ("-- nopti", True),  # searched for in the whole line
        ("pti=off", True),
    ],
)
def test_page_table_isolation_until_6_6(cmdline: str, off: bool) -> None:
    """Linux 6.6.150 arch/x86/mm/pti.c pti_check_boottime_disable, read by hand."""
    assert ("pti_off" in true_ones(cmdline, old(pti_option_stays=True))) is off


@pytest.mark.parametrize(
    ("cmdline", "before", "since"),
    [
        ("", "flush", "flush"),
        ("l1tf=off", "off", "off"),
        ("mitigations=off", "off", "off"),
        ("mitigations=off l1tf=full", "off", "full"),  # up to 6.16 it beats l1tf=, from 6.17 on l1tf= stays
        ("l1tf=off l1tf=flush", "flush", "flush"),
        ("l1tf=full,force", "full,force", "full,force"),
        ("mitigations=auto,no_user_kernel,no_guest_host", "flush", "off"),
        ("mitigations=auto,nosmt l1tf=off", "flush,nosmt", "off"),
    ],
)
def test_the_kernel_s_choice_for_l1tf(cmdline: str, before: str, since: str) -> None:
    line = parse(cmdline)
    assert l1tf_choices(Options(line, CONFIG, old())) == {before}
    assert l1tf_choices(Options(line, CONFIG, BEHAVIOURS)) == {since}
    assert l1tf_choices(Options(line, CONFIG, {**BEHAVIOURS, "attack_vectors": None})) >= {since}


@pytest.mark.parametrize(
    ("parameter", "l1tf", "state"),
    [
        ("auto", "flush", "cond"),
        ("auto", "off", "never"),
        ("auto", "flush,nosmt", "cond"),
        ("auto", "full", "always"),
        ("never", "full", "never"),
        ("never", "full,force", "always"),  # full,force leaves no choice
        ("cond", "full,force", "always"),
        ("cond", "off", "cond"),
        (None, "off", None),
        (None, "full,force", "always"),
    ],
)
def test_when_the_l1d_is_flushed(parameter: str | None, l1tf: str, state: str | None) -> None:
    """Linux 7.1.5 arch/x86/kvm/vmx/vmx.c __vmx_setup_l1d_flush, row by row."""
    assert l1d_flush_state(parameter, l1tf) == state


def test_an_unknown_command_line_leaves_everything_unknown() -> None:
    values = option_values(None, CONFIG, BEHAVIOURS)
    assert values.pop("mitigations_compiled_out") is False  # the configuration alone says that
    assert set(values.values()) == {None}


def test_an_unknown_configuration_leaves_what_it_decides_unknown() -> None:
    values = option_values("", None, BEHAVIOURS)
    assert values["mds_off"] is None
    assert values["mitigations_off"] is False
    assert values["vector_guest_host"] is None
    assert values["vector_user_kernel"] is True
    assert values["pti_off"] is None
    assert values["tsx_on"] is None
    given = option_values("mds=full tsx=off", None, BEHAVIOURS)
    assert given["mds_off"] is False
    assert given["tsx_on"] is False


def test_before_6_12_only_rfds_could_be_compiled_off() -> None:
    values = option_values("", None, {"mitigation_configs": False})
    assert values["mds_off"] is False
    assert values["rfds_off"] is None


def test_compiled_off_is_off_unless_an_option_says_otherwise() -> None:
    config = {**CONFIG, "MITIGATION_MDS": "n", "MITIGATION_TSA": "n", "X86_INTEL_TSX_MODE_AUTO": "y"}
    values = option_values("", config, BEHAVIOURS)
    assert (values["mds_off"], values["tsa_off"], values["tsx_auto"]) == (True, True, True)
    assert option_values("mds=full tsa=on", config, BEHAVIOURS)["mds_off"] is False
