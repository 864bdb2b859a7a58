"""A policy that replaces a rule which does not exist is refused, as is one that ends or breaks the program."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.running import archcaps

TODAY = Path(__file__).parents[2] / "examples" / "policies" / "today.py"
RULE = """\
from archcaps.policies import FALSE, rule

@rule("a proposal")
def {name}(vcpu{more}):
    "never"
    {body}
"""


def asked(path: Path, text: str) -> tuple[int, str]:
    path.write_text(text)
    done = archcaps("diff", str(TODAY), str(path), "--about", "mds", "--kvm", "7.3.4")
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            RULE.format(name="vmx_update_fb_clear_diss", more=", kvm", body="return FALSE"),
            "'vmx_update_fb_clear_diss' (did you mean vmx_update_fb_clear_dis?)",
        ),
        (
            RULE.format(name="noverw", more="", body="return FALSE")
            + RULE.format(name="on_vsm", more="", body="return FALSE"),
            "'on_vsm' (did you mean on_svm?)",
        ),
        ("import sys\nsys.exit(0)\n", "sys.exit"),
        ("x = 1\n", "no function in it is marked"),
        ("def f(:\n", ":1: no Python"),
        ("\nraise ValueError('a\\nb')\n", ":2: cannot be run: ValueError: a b"),
        (RULE.format(name="noverw", more="", body="raise SystemExit(0)"), "SystemExit"),
        (RULE.format(name="noverw", more="", body="return True"), "gives True"),
        (RULE.format(name="noverw", more=", kvm", body="return FALSE"), "TypeError"),
    ],
)
def test_what_is_no_policy_is_refused_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    code, error = asked(tmp_path / "mine.py", text)
    assert code == 65
    assert says in error
    assert error.count("\n") == 1


def test_the_same_policy_rightly_spelt_is_compared(tmp_path: Path) -> None:
    code, error = asked(
        tmp_path / "mine.py", RULE.format(name="vmx_update_fb_clear_dis", more=", kvm", body="return FALSE")
    )
    assert (code, error) == (1, "")
