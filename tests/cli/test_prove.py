"""archcaps prove, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from archcaps import check, read_snapshot
from archcaps.tables.properties import properties
from tests.cli.running import ROOT, archcaps, assert_refused

NARROW = ("--kvm", "6.12.117,6.19.9,7.3.4", "--guest-kernel", "6.12.117,7.1.5")
#: What `check` says of a guest where each property fails.
LIES = {"false-immunity", "broken-promise", "false-alarm", "withheld"}
FORBIDDEN = {
    "no-broken-promise": ("truth", {"broken-promise"}),
    "no-false-immunity": ("truth", {"false-immunity"}),
    "offered-is-truthful": ("truth", LIES),
    "subset-safe": ("truth", LIES),
    "no-exposure": ("safety", {"exposed"}),
    "host-entry-protected": ("host_safety", {"exposed"}),
    "no-host-exposure": ("host_safety", {"exposed"}),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_every_counter_example_that_is_saved_is_one_to_check(name: str, tmp_path: Path) -> None:
    result = archcaps("prove", name, *NARROW, "--list", "2", "--save", str(tmp_path), "--json")
    assert result.returncode == 1
    answer = json.loads(result.stdout)
    saved = sorted(tmp_path.iterdir())
    assert len(result.stderr.splitlines()) == len(saved)
    tried = 0
    for outcome in answer["outcomes"]:
        for number, row in enumerate(outcome["deviations"], 1):
            start = tmp_path / f"{name}-{outcome['subject']}-{number}"
            host, guest = (start.with_name(f"{start.name}-{role}.json") for role in ("host", "guest"))
            assert {host, guest} <= set(saved)
            checked = check(read_snapshot(host), read_snapshot(guest), row["example"]["assumptions"])
            which, forbidden = FORBIDDEN[name]
            found = getattr(checked[outcome["subject"]], which)
            # What was supposed of facts that nobody knows is not in the snapshots: check then says what is possible.
            assert forbidden & set(found.possible), start
            if row["example"]["replayed"] and not row["example"]["supposed"]:
                assert found.value in forbidden, start
            tried += 1
    assert tried


def test_the_answer_as_json_fits_its_schema_and_leads_to_check() -> None:
    schema = json.loads((ROOT / "schemas" / "prove-1.json").read_text())
    for name, subject in (
        ("no-broken-promise", "mds"), ("offered-is-truthful", "tsa"), ("vcpus-agree", "fb_clear"),
        ("upgrade-keeps-verw", "tsa"), ("host-upgrade-keeps-verw", "tsa"),
    ):  # fmt: skip
        result = archcaps("prove", name, "--about", subject, *NARROW, "--json")
        answer = json.loads(result.stdout)
        jsonschema.validate(answer, schema)
        assert answer["exit_code"] == result.returncode
        assert answer["property"] == name
        assert [outcome["subject"] for outcome in answer["outcomes"]] == [subject]


def test_without_a_property_there_is_a_list_of_them() -> None:
    result = archcaps("prove")
    assert (result.returncode, result.stderr) == (0, "")
    assert [line.split()[0] for line in result.stdout.splitlines()] == list(properties())


@pytest.mark.parametrize(
    ("arguments", "code", "first"),
    [
        # VERW against MDS stands in the entry assembly since 6.8.
        (("host-entry-protected", "--about", "mds", "--kvm", "6.8-"), 0, "HOLDS: host-entry-protected"),
        (("no-broken-promise", "--about", "mds"), 1, "DOES NOT HOLD: no-broken-promise"),
        # Of some models of family 0x19 nobody says whether their microcode clears.
        (("offered-is-truthful", "--about", "tsa", "--kvm", "7.3.4", "--host-parts", "amd:0x19"), 3, "NOT KNOWN: "),
        (("no-broken-promise", "--about", "mds", "--seconds", "0"), 3, "NOT DECIDED: no-broken-promise"),
    ],
)
def test_exit_codes_and_headlines(arguments: tuple[str, ...], code: int, first: str) -> None:
    result = archcaps("prove", *arguments)
    assert (result.returncode, result.stderr) == (code, "")
    assert result.stdout.startswith(first)


def test_no_time_never_proves_anything() -> None:
    answer = json.loads(archcaps("prove", "host-entry-protected", "--seconds", "0", "--json").stdout)
    assert {outcome["verdict"] for outcome in answer["outcomes"]} == {"not-decided"}
    assert "HOLDS" not in archcaps("prove", "host-entry-protected", "--seconds", "0").stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("no-broken-promises",), "unknown property 'no-broken-promises'"),
        (("no-broken-promise", "--about", "mdss"), "unknown subject 'mdss'"),
        (("vcpus-agree", "--about", "mds"), "unknown subject 'mds'"),
        (("no-broken-promise", "--given", "host.mds_on=1"), "no rule reads a fact 'host.mds_on'"),
        (("no-broken-promise", "--given", "host.mds_no"), "'host.mds_no' gives nothing"),
        (("no-broken-promise", "--given", "host.mds_no=2"), "'host.mds_no=2' gives nothing"),
        (("no-broken-promise", "--kvm", "6.7"), "no release that was read is '6.7'"),
        (("no-broken-promise", "--kvm", "newest"), "--kvm"),
        (("no-broken-promise", "--guest-kernel", "9.9.9"), "no release that was read is '9.9.9'"),
        (("no-broken-promise", "--host-parts", "vax:1"), "unknown vendor 'vax'"),
        (("no-broken-promise", "--host-parts", "Nehalem-Nowhere"), "no part is 'Nehalem-Nowhere'"),
    ],
)
def test_wrong_input_is_one_line(arguments: tuple[str, ...], line: str) -> None:
    assert_refused(archcaps("prove", *arguments), 65, line)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [(("--nosuch",), "--nosuch"), (("no-broken-promise", "--list", "0"), "--list"), (("a", "b"), "b")],
)
def test_wrong_usage_is_one_line(arguments: tuple[str, ...], line: str) -> None:
    assert_refused(archcaps("prove", *arguments), 64, line)


def test_a_folder_that_can_not_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = archcaps("prove", "no-broken-promise", "--about", "mds", "--save", str(tmp_path / "file" / "folder"))
    assert_refused(result, 65, "cannot be written")


def test_a_given_rule_bounds_the_configurations() -> None:
    # No FB_CLEAR_DIS, and on silicon that VERW clears no promise is broken: a rule is given, not a bit.
    always = ("no-broken-promise", "--about", "mmio_stale_data", "--given", "host.fb_clear=1")
    assert archcaps("prove", *always).returncode == 1
    assert archcaps("prove", *always, "--given", "vcpu.vmx_update_fb_clear_dis=0").returncode == 0


def test_what_is_given_and_can_not_be_is_said() -> None:
    # FB_CLEAR_CTRL comes with FB_CLEAR (XSA-404).
    given = ("--given", "host.fb_clear_ctrl=1", "--given", "host.fb_clear=0")
    result = archcaps("prove", "no-broken-promise", "--about", "mds", *given)
    assert "mds: there is no such configuration" in result.stdout.splitlines()


def test_the_first_counter_example_is_enough_if_asked_so() -> None:
    # Xiaoyao Li's case needs a host with FB_CLEAR_CTRL; whatever is found first, check agrees that it is one.
    answer = json.loads(archcaps("prove", "no-broken-promise", "--first", "--json").stdout)
    (outcome,) = answer["outcomes"]
    assert (answer["exit_code"], answer["verdict"], outcome["configurations"]) == (1, "refuted", "")
    assert outcome["deviations"][0]["example"]["replayed"]


def test_the_first_of_none_is_a_proof() -> None:
    # AMD's VERW is run right before VMRUN, by the host's own rule: nothing comes between (svm/vmenter.S).
    answer = json.loads(archcaps("prove", "host-entry-protected", "--about", "tsa", "--first", "--json").stdout)
    assert (answer["exit_code"], answer["verdict"]) == (0, "holds")
    assert int(answer["outcomes"][0]["configurations"]) > 1 << 48


def test_the_example_on_a_terminal_says_what_it_is() -> None:
    result = archcaps("prove", "host-entry-protected", "--about", "mmio_stale_data", "--kvm", "7.3.4", COLUMNS="100")
    assert "fb_clear=0 vm.has_mapped_host_mmio" in result.stdout
    assert "The first of them, replayed:" in result.stdout
    assert "guest: host MMIO is mapped into it" in result.stdout


def test_subjects_asked_at_once_give_the_same_answer() -> None:
    bounds = ("--kvm", "7.3.4,6.12.117", "--guest-kernel", "6.12.117", "--json")
    one, two = (archcaps("prove", "no-false-immunity", *bounds, "--jobs", jobs) for jobs in ("1", "2"))
    assert one.stdout
    assert (one.stdout, one.returncode) == (two.stdout, two.returncode)


def test_counts_alone_are_those_of_the_whole_answer() -> None:
    bounds = ("--about", "mds", "--kvm", "7.3.4,6.12.117", "--guest-kernel", "6.12.117", "--json")
    whole, alone = (
        json.loads(archcaps("prove", "no-false-immunity", *bounds, *more).stdout)["outcomes"][0]
        for more in ((), ("--counts",))
    )
    assert whole["deviations"]
    assert not alone["deviations"]
    for count in ("configurations", "refuting", "hanging"):
        assert (count, whole[count]) == (count, alone[count])
