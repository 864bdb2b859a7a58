from __future__ import annotations

import json

import jsonschema
import pytest

from tests.cli.running import ROOT, archcaps, assert_refused

SMALL = ("--about", "mds", "--what", "broken-promise", "--host-parts", "6/0x6a/6", "--guest-kernel", "6.12.117")
TODAY, NEVER = "examples/policies/today.py", "examples/policies/no_toggling.py"


def test_json_follows_its_committed_schema() -> None:
    result = archcaps("diff", TODAY, NEVER, "--kvm", "7.3.4", *SMALL, "--json")
    answer = json.loads(result.stdout)
    jsonschema.validate(answer, json.loads((ROOT / "schemas" / "diff-1.json").read_text(encoding="utf-8")))
    assert (result.returncode, answer["relation"]) == (1, "better")


def test_the_same_is_equivalent_and_exits_with_0() -> None:
    result = archcaps("diff", TODAY, TODAY, "--kvm", "7.3.4", *SMALL)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("EQUIVALENT\nBoth tell the same truth.\n")


def test_what_takes_too_long_is_not_decided() -> None:
    result = archcaps("diff", TODAY, NEVER, "--kvm", "7.3.4", *SMALL, "--seconds", "0")
    assert result.returncode == 3
    assert result.stdout.startswith("NOT DECIDED\n")


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (("6.12.117", TODAY), "are not of one kind", 64),
        (("6.12", "6.13.2"), "names several releases", 65),
        (("6.12.117", "9.9.9"), "no release that was read is '9.9.9'", 65),
        (("none.py", TODAY), "cannot be read", 65),
        (("none.toml", "none.json"), "none.toml", 65),
        ((TODAY, NEVER, "--what", "lies"), "unknown 'lies'", 64),
        ((TODAY, NEVER, "--about", "mdss"), "did you mean mds", 65),
    ],
)
def test_wrong_input_is_one_line(arguments: tuple[str, ...], said: str, code: int) -> None:
    assert_refused(archcaps("diff", *arguments), code, said)
