"""Releases: which ones words name, and what each is to the rules, as a snapshot of a machine with it has it."""

from __future__ import annotations

import pytest

from archcaps.errors import InputError
from archcaps.machine.facts import facts_of, facts_of_host
from archcaps.machine.snapshot import Cpu, Cpuid, Kernel, Kvm, Snapshot
from archcaps.space.releases import choose_releases, fact_at, list_groups, releases
from archcaps.tables.files import read_toml
from archcaps.tables.kernels import BEHAVIOURS
from archcaps.tables.names import KERNEL_LOOKUPS


def places(*names: str) -> frozenset[int]:
    every = [release.text for release in releases()]
    return frozenset(every.index(name) for name in names)


def test_releases_come_oldest_first_and_each_once() -> None:
    versions = [release.version for release in releases()]
    assert versions == sorted(set(versions))
    assert not any(version.is_prerelease for version in versions)
    # Read for the VERW family, and for KVM.
    assert places("5.4.301", "6.1.192", "7.1.5")


SIX_EIGHTEEN = ("6.18.0", "6.18.2", "6.18.9", "6.18.15", "6.18.35")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("6.13", ("6.13.2", "6.13.7")),  # a line
        ("6.13.7", ("6.13.7",)),
        ("6.13.7, 5.19", ("6.13.7", "5.19.0")),
        ("6.8", ("6.8.0",)),
        ("6.8-6.10", ("6.8.0", "6.9.0", "6.10.0")),
        ("6.13.7-6.17", ("6.13.7", "6.14.0", "6.16.1", "6.16.12", "6.17.0", "6.17.13")),  # from within a line
        ("6.14-6.18", ("6.14.0", "6.16.1", "6.16.12", "6.17.0", "6.17.13", *SIX_EIGHTEEN)),  # with all of 6.18
        ("6.14-6.18.2", ("6.14.0", "6.16.1", "6.16.12", "6.17.0", "6.17.13", "6.18.0", "6.18.2")),  # up to within it
        ("-5.4.120", ("5.4.117", "5.4.120")),
        ("5.10.240-5.10.241", ("5.10.240", "5.10.241")),
    ],
)
def test_words_name_releases(words: str, named: tuple[str, ...]) -> None:
    assert choose_releases(words, "--kvm") == places(*named)


def test_all_and_open_ranges() -> None:
    every = frozenset(range(len(releases())))
    assert choose_releases("all", "") == choose_releases("-", "") == every
    newest = choose_releases("7.1-", "")
    assert {"7.1.5", "7.2.13", "7.3.4"} <= {releases()[place].text for place in newest}
    assert newest == every - choose_releases("-7.0", "")


@pytest.mark.parametrize("words", ["6.20", "", "6.13,", "none", "7.9-", "6.13-6.12", "6.13.99", "6-x"])
def test_a_word_that_names_none_is_refused(words: str) -> None:
    with pytest.raises(InputError) as error:
        choose_releases(words, "--kvm")
    assert "--kvm" in str(error.value)
    assert "\n" not in str(error.value)


# --- behaviours and options ---------------------------------------------------------------------------------------


def snapshot(role: str, release: str, *, built: bool | None = None) -> Snapshot:
    """Return a machine of which little more is known than its kernel."""
    config: str | dict[str, str] = "upstream-defaults"
    if built is not None:
        items = {
            key: value for key, value in read_toml("kernel_configs.toml")["upstream-defaults"].items() if key.isupper()
        }
        config = {**items, "KVM": "y" if built else "n"}
    return Snapshot(
        format_version=1,
        role=role,  # type: ignore[arg-type]  # "host" or "guest"
        cpu=Cpu(vendor="GenuineIntel", family=6, model=0x55, stepping=7),
        cpuid=Cpuid(shown=["hypervisor"] if role == "guest" else []),
        kernel=Kernel(release=release, cmdline="", config=config),
        kvm=Kvm(parameters={"vmentry_l1d_flush": "auto", "ept": "Y", "ignore_msrs": "N"} if role == "host" else {}),
    )


def known(values: dict[str, bool], scope: str) -> dict[str, bool | None]:
    return {name: values.get(f"{scope}.{name}") for name in (*BEHAVIOURS, *KERNEL_LOOKUPS)}


@pytest.mark.parametrize("place", range(len(releases())))
def test_a_release_is_what_a_snapshot_with_it_says(place: int) -> None:
    release = releases()[place].text
    host = snapshot("host", release)

    def found(*, host: bool, built: bool) -> dict[str, bool | None]:
        return {name: fact_at(place, "", name, host=host, kvm_built=built) for name in (*BEHAVIOURS, *KERNEL_LOOKUPS)}

    assert found(host=True, built=True) == known(facts_of_host(host).values, "host_kernel")
    for built in (True, False):
        values = facts_of(host, snapshot("guest", release, built=built)).values
        assert found(host=False, built=built) == known(values, "guest_kernel")


def test_a_command_line_reaches_the_options() -> None:
    (place,) = places("6.12.117")
    assert fact_at(place, "mds=off", "mds_off", host=True, kvm_built=True) is True
    assert fact_at(place, "", "mds_off", host=True, kvm_built=True) is False
    assert fact_at(place, "mitigations=off", "mitigations_off", host=False, kvm_built=False) is True


def test_the_attack_vectors_from_guests_follow_kvm() -> None:
    # Linux 6.17 kernel/cpu.c: attack vectors from guests are mitigated where KVM is built.
    for built in (True, False):
        found = {
            fact_at(place, "", "vector_guest_host", host=False, kvm_built=built) for place in range(len(releases()))
        }
        assert found == {built}


def test_releases_of_one_group_have_the_same_lists() -> None:
    groups = list_groups("blacklist", "TSA")
    assert all(groups[group] == group <= place for place, group in enumerate(groups))
    # Linux 6.12.37 has the rows about TSA, 6.12.36 has not.
    before, after = places("6.12.36"), places("6.12.117")
    assert groups[next(iter(before))] != groups[next(iter(after))]
