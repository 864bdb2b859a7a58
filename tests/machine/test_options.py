"""Boot options as the kernel reads them (Linux Documentation/admin-guide/kernel-parameters.txt; bugs.c, tsx.c)."""

from __future__ import annotations

import pytest

from archcaps.machine.options import l1d_flush_state, l1tf_choices, option_values

CONFIG = {"MITIGATION_MDS": "y", "MITIGATION_TAA": "y", "MITIGATION_MMIO_STALE_DATA": "y", "MITIGATION_RFDS": "y",
          "MITIGATION_TSA": "y", "MITIGATION_GDS": "y", "KVM": "m", "CPU_MITIGATIONS": "y"}  # fmt: skip
BEHAVIOURS: dict[str, bool | None] = {
    "mitigation_configs": True,
    "tsx_auto_by_default": False,
    "attack_vectors": False,
}


def true_ones(cmdline: str) -> set[str]:
    values = option_values(cmdline, CONFIG, BEHAVIOURS)
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
        ("mitigations=off mitigations=auto", {"no_user_vector", "no_guest_vector"}),  # the vectors stay taken out
        ("mitigations=none", set[str]()),
        ("mitigations=,no_user_kernel,no_user_user", {"no_user_vector"}),
        ("mitigations=auto,no_user_kernel,bogus,no_user_user", set[str]()),  # the rest is not read
        ("reg_file_data_sampling=off", {"rfds_off"}),
        ("reg_file_data_sampling=on", {"rfds_on"}),
        ("mitigations=off", {"mitigations_off", "no_user_vector", "no_guest_vector", "gds_off"}),
        ("mitigations=auto,nosmt", {"mds_nosmt", "taa_nosmt", "mmio_nosmt"}),
        ("mitigations=auto;no_user_kernel", set[str]()),
        ("mitigations=auto,no_user_kernel,no_user_user", {"no_user_vector"}),
        ("mitigations=auto,no_guest_host,no_guest_guest", {"no_guest_vector"}),
        ("tsx=on", {"tsx_on"}),
        ("tsx=auto", {"tsx_auto"}),
        ("tsx=sideways", set[str]()),  # anything else is off
        ("tsa=user", {"tsa_user"}),
        ("tsa=off", {"tsa_off"}),
        ("gather_data_sampling=off", {"gds_off"}),
        ("init=/sbin/init -- mds=off", set[str]()),  # what follows is init's
    ],
)
def test_options(cmdline: str, expected: set[str]) -> None:
    assert true_ones(cmdline) == expected


@pytest.mark.parametrize(
    ("cmdline", "before", "since"),
    [
        ("", "auto", "auto"),
        ("l1tf=off", "off", "off"),
        ("mitigations=off", "off", "off"),
        ("mitigations=off l1tf=full", "off", "full"),  # up to 6.16 it beats l1tf=, from 6.17 on l1tf= stays
        ("l1tf=off l1tf=flush", "flush", "flush"),
        ("l1tf=full,force", "full,force", "full,force"),
        ("mitigations=auto,no_user_kernel,no_guest_host", "auto", "off"),
    ],
)
def test_the_kernel_s_choice_for_l1tf(cmdline: str, before: str, since: str) -> None:
    assert l1tf_choices(cmdline, attack_vectors=False) == {before}
    assert l1tf_choices(cmdline, attack_vectors=True) == {since}
    assert l1tf_choices(cmdline, None) == {before, since}


@pytest.mark.parametrize(
    ("parameter", "l1tf", "state"),
    [
        ("auto", "auto", "cond"),
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


@pytest.mark.parametrize(
    ("cmdline", "before", "since"),
    [
        ("gather_data_sampling=force", False, False),
        ("mitigations=off gather_data_sampling=force", True, False),
        ("mitigations=off mitigations=auto", False, True),  # the vectors stay taken out
        ("mitigations=off mitigations=auto,nosmt", False, False),  # but cross-thread comes back
        ("mitigations=auto,no_user_kernel,no_user_user,no_guest_host,no_guest_guest", False, False),
        ("mitigations=auto,no_user_kernel,no_user_user,no_guest_host,no_guest_guest,no_cross_thread", False, True),
    ],
)
def test_gds_is_off_by_mitigations_up_to_6_16_and_by_the_vectors_from_6_17(
    cmdline: str, before: bool, since: bool
) -> None:
    """Linux 6.16.1 and 7.1.5 arch/x86/kernel/cpu/bugs.c gds_select_mitigation, should_mitigate_vuln."""

    def gds_off(attack_vectors: bool | None) -> bool | None:
        return option_values(cmdline, CONFIG, {**BEHAVIOURS, "attack_vectors": attack_vectors})["gds_off"]

    assert gds_off(False) is before
    assert gds_off(True) is since
    assert gds_off(None) is (before if before is since else None)


def test_gds_compiled_off_is_off_unless_it_is_forced() -> None:
    config = {**CONFIG, "MITIGATION_GDS": "n"}
    assert option_values("", config, BEHAVIOURS)["gds_off"] is True
    assert option_values("gather_data_sampling=force", config, BEHAVIOURS)["gds_off"] is False


def test_an_unknown_command_line_leaves_everything_unknown() -> None:
    values = option_values(None, CONFIG, BEHAVIOURS)
    assert values.pop("mitigations_compiled_out") is False  # the configuration alone says that
    assert set(values.values()) == {None}


def test_an_unknown_configuration_leaves_what_it_decides_unknown() -> None:
    values = option_values("", None, BEHAVIOURS)
    assert values["mds_off"] is None
    assert values["mitigations_off"] is False
    assert values["no_guest_vector"] is None
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


@pytest.mark.parametrize(
    ("config", "value"),
    [({"CPU_MITIGATIONS": "n"}, True), ({"KVM": "y"}, None), (None, None), ({"MITIGATION_GDS": "y"}, False)],
)
def test_a_kernel_built_without_cpu_mitigations(config: dict[str, str] | None, value: bool | None) -> None:
    assert option_values("", config, BEHAVIOURS)["mitigations_compiled_out"] is value
