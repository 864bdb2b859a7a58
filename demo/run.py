"""Two real cases, each through the installed command: exit 0 if both answers come with the expected exit codes."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
ARCHCAPS = Path(sys.executable).parent / "archcaps"


class Case(NamedTuple):
    title: str
    example: str
    exit_code: int


CASES = (
    Case(
        "1. The kvm mailing list's counter-example (May 2023): VERW is promised, and KVM switches it off", "thread", 1
    ),
    Case(
        "2. AMD TSA under KVM 6.18, as published fingerprints show it: immunity that is not there", "tsa-no-always", 2
    ),
)


def main() -> int:
    if not ARCHCAPS.exists():
        print(f"demo: {ARCHCAPS.name} is not installed beside this Python: run make demo", file=sys.stderr)
        return 1
    for number, case in enumerate(CASES):
        folder = f"examples/{case.example}"
        arguments = ["check", "--host", f"{folder}/host.toml", "--guest", f"{folder}/guest.toml"]
        blank = "\n" if number else ""
        print(f"{blank}{case.title}\n$ {shlex.join([ARCHCAPS.name, *arguments])}", flush=True)
        code = subprocess.run([ARCHCAPS, *arguments], cwd=ROOT, check=False).returncode
        if code != case.exit_code:
            print(f"demo: {folder}: exit code {code}, expected {case.exit_code}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # whoever read the output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
