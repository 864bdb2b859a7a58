"""From snapshots to facts: precedence, provenance, and what stays unknown."""

from __future__ import annotations

import pytest

from archcaps.errors import InputError
from archcaps.machine.facts import facts_of
from archcaps.machine.read import parse_snapshot
from archcaps.machine.snapshot import BitReading, Cpu, Cpuid, Kernel, Kvm, Reading, Snapshot
from archcaps.tables.kernels import BEHAVIOURS

HOST = Snapshot(format_version=1, role="host")
GUEST = Snapshot(format_version=1, role="guest")


def guest_with(**fields: object) -> Snapshot:
    return Snapshot(format_version=1, role="guest", **fields)  # type: ignore[arg-type]  # fields by name


def test_nothing_given_is_nothing_known_but_the_assumptions() -> None:
    assert set(facts_of(HOST, GUEST).known) == {
        "assume.user_mmio",
        "vm.has_assigned_device",
        "vm.has_mapped_host_mmio",
        "guest_kernel.xen_pv",
        "guest.ram_above_half",
        "host_kernel.shadow_paging",
    }


def test_a_host_is_built_with_kvm_and_mitigates_guest_vectors() -> None:
    """Linux 6.17 and later: the guest vectors are on by default where KVM is built; of a guest nobody knows."""
    kernel = Kernel(release="6.18.35", cmdline="", config="upstream-defaults")
    host = Snapshot(format_version=1, role="host", kernel=kernel)
    facts = facts_of(host, guest_with(kernel=kernel))
    assert facts.known["host_kernel.vector_guest_host"].value is True
    assert "guest_kernel.vector_guest_host" not in facts.known


def test_a_complete_cpuid_list_says_no_to_every_other_bit() -> None:
    facts = facts_of(HOST, guest_with(cpuid=Cpuid(shown=["md_clear"])))
    assert facts.known["guest.md_clear"].value is True
    assert facts.known["guest.flush_l1d"].value is False
    assert "guest.mds_no" not in facts.known  # a bit of an MSR


def test_an_incomplete_list_leaves_the_others_unknown() -> None:
    facts = facts_of(HOST, guest_with(cpuid=Cpuid(shown=["md_clear"], hidden=["rtm"], complete=False)))
    assert facts.known["guest.rtm"].value is False
    assert "guest.flush_l1d" not in facts.known


def test_a_register_beats_the_list_and_a_single_bit_beats_the_register() -> None:
    facts = facts_of(
        HOST,
        guest_with(
            cpuid=Cpuid(shown=["md_clear"]),
            registers={
                "cpuid_7_0_edx": Reading(value=1 << 28, provenance="imported"),
                "ia32_arch_capabilities": Reading(
                    value="0x20", bits={"mds_no": BitReading(value=False, provenance="assumed", source="a guess")}
                ),
            },
        ),
    )
    assert facts.known["guest.md_clear"].value is False
    assert facts.known["guest.flush_l1d"].provenance == "imported"
    mds_no = facts.known["guest.mds_no"]
    assert (mds_no.value, mds_no.provenance, mds_no.source) == (False, "assumed", "a guess")


def test_bits_outside_the_known_mask_are_unknown() -> None:
    facts = facts_of(HOST, guest_with(registers={"ia32_arch_capabilities": Reading(value=0x20, known=0x20)}))
    assert facts.known["guest.mds_no"].value is True
    assert "guest.fb_clear" not in facts.known


@pytest.mark.parametrize("hypervisor", [True, None])
def test_a_host_that_may_be_a_guest_does_not_know_its_silicon(hypervisor: bool | None) -> None:
    cpuid = Cpuid(shown=["md_clear", "hypervisor"]) if hypervisor else Cpuid(shown=["md_clear"], complete=False)
    host = Snapshot(
        format_version=1, role="host", cpu=Cpu(vendor="GenuineIntel", family=6, model=0x6A, stepping=6), cpuid=cpuid
    )
    facts = facts_of(host, GUEST)
    assert facts.known["host.md_clear"].value is True
    assert not any(name.startswith("silicon.") for name in facts.known)


def test_an_observed_behaviour_beats_that_of_the_release() -> None:
    kernel = Kernel(release="6.1.192", behaviours={"toggles_fb_clear": False})
    facts = facts_of(Snapshot(format_version=1, role="host", kernel=kernel), GUEST)
    assert facts.known["host_kernel.toggles_fb_clear"].value is False
    assert facts.known["host_kernel.arch_cap_mask"].value is True


def test_a_kernel_that_no_release_names_has_no_behaviours() -> None:
    facts = facts_of(HOST, GUEST)
    assert all(facts.unknown[f"guest_kernel.{name}"] == "the kernel release is not known" for name in BEHAVIOURS)


def test_an_unknown_configuration_is_refused() -> None:
    with pytest.raises(
        InputError,
        match=r"guest: kernel\.config: unknown kernel configuration 'debain-cloud' .did you mean debian-cloud",
    ):
        facts_of(HOST, guest_with(kernel=Kernel(config="debain-cloud")))


def test_default_options_are_an_assumption_that_is_marked() -> None:
    facts = facts_of(HOST, guest_with(kernel=Kernel(release="6.12.117")), frozenset({"default-options"}))
    assert facts.known["guest_kernel.mds_off"].value is False
    assert facts.known["guest_kernel.mds_off"].provenance == "assumed"
    assert "guest_kernel.mds_off" not in facts_of(HOST, guest_with(kernel=Kernel(release="6.12.117"))).known


def test_json_numbers_may_be_hexadecimal_text() -> None:
    text = '{"format_version": 1, "role": "guest", "cpu": {"vendor": "AuthenticAMD", "family": "0x19"}}'
    facts = facts_of(HOST, parse_snapshot(text.encode(), "x"))
    assert facts.known["guest.family_0x19"].value is True


@pytest.mark.parametrize(
    ("parameter", "cmdline", "release", "never"),
    [
        ("never", "", "6.12.117", True),
        ("never", None, "6.12.117", None),
        ("never", "l1tf=full,force", "6.12.117", False),
        ("never", "l1tf=full,force mitigations=off", "6.12.117", True),
        ("never", "l1tf=full,force mitigations=off", "7.1.5", False),
        ("never", "l1tf=full,force mitigations=off", None, None),
        ("cond", "l1tf=off", "6.12.117", False),
        ("auto", "l1tf=off", "6.12.117", True),
        ("auto", None, "6.12.117", None),
    ],
)
def test_l1tf_full_force_beats_kvm_s_own_parameter(
    parameter: str, cmdline: str | None, release: str | None, never: bool | None
) -> None:
    """Linux 5.15.55, 6.12.117 arch/x86/kvm/vmx/vmx.c vmx_setup_l1d_flush."""
    host = Snapshot(
        format_version=1,
        role="host",
        kernel=Kernel(release=release, cmdline=cmdline),
        kvm=Kvm(parameters={"vmentry_l1d_flush": parameter}),
    )
    assert facts_of(host, GUEST).values.get("host_kernel.l1d_flush_never") is never
