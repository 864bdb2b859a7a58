"""An option that takes one value is not answered for the last of two."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from archcaps.cli.main import cli


@pytest.mark.parametrize("command", ["check", "shown", "fix", "trace"])
@pytest.mark.parametrize("option", ["--guest", "--host", "--guest-kernel", "--machine"])
def test_twice_is_refused(command: str, option: str) -> None:
    with pytest.raises(click.UsageError, match=rf"{option} is given 2 times \(a and b\): it takes one"):
        CliRunner().invoke(cli, [command, option, "a", option, "b"], standalone_mode=False, catch_exceptions=False)


def test_what_may_be_given_again_may() -> None:
    words = ["check", "--guest", "-cpu EPYC", "--assume", "host-mmio", "--assume", "user-mmio"]
    done = CliRunner().invoke(cli, words, standalone_mode=False, catch_exceptions=False)
    assert done.return_value == 3
